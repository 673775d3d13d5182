/*
 * The floor: nothing but the system calls by which the agent changes the machine, in its order, from a prepared list. It
 * reads and decides nothing, so no program can do the same work in less time.
 *
 * usage: floor LIST
 * LIST holds words that end with a zero byte:
 *   mount DEVICE PATH TYPE OPTIONS | folder PATH MODE | link TARGET PATH | file PATH TEMPORARY MODE CONTENT
 *   | copy SOURCE PATH | rename OLD NEW | begin LEDGER TEMPORARY MODE CONTENT NAMES MODE CONTENT
 *   | end LEDGER TEMPORARY MODE CONTENT NAMES PLACE | ready
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static char *next, *end;

static char *word(void) {
  char *start = next;
  next += strlen(next) + 1;
  return start;
}

static void check(int result, const char *what) {
  if (result >= 0) return;
  fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
  exit(1);
}

static int new_file(const char *path, int mode, const char *content) {
  int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, mode);
  check(fd, path);
  size_t length = strlen(content);
  if (length > 0) check(write(fd, content, length) == (ssize_t)length ? 0 : -1, path);
  return fd;
}

static void write_file(const char *path, const char *temporary, int mode, const char *content) {
  close(new_file(temporary, mode, content));
  if (strcmp(path, temporary) != 0) check(rename(temporary, path), path);
}

static void sync_and_close(int fd, const char *path) {
  check(fd, path);
  check(fsync(fd), path);
  close(fd);
}

static void sync_folder_of(const char *path) {
  char folder[4096];
  snprintf(folder, sizeof folder, "%s", path);
  sync_and_close(open(dirname(folder), O_RDONLY | O_DIRECTORY | O_CLOEXEC), path);
}

/* A ledger that is on its way to the disk, whose wait is then that of what is made durable before it. */
static int ledger_on_its_way(const char *temporary, int mode, const char *content) {
  int fd = new_file(temporary, mode, content);
  check(sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE), temporary);
  return fd;
}

static void begin(const char *ledger, const char *temporary, int mode, const char *content, const char *names, int names_mode,
                  const char *names_content) {
  int fd = ledger_on_its_way(temporary, mode, content);
  sync_and_close(new_file(names, names_mode, names_content), names);
  sync_and_close(fd, temporary);
  check(rename(temporary, ledger), ledger);
  sync_folder_of(ledger);
}

static void end_with(const char *ledger, const char *temporary, int mode, const char *content, const char *names, const char *place) {
  int fd = ledger_on_its_way(temporary, mode, content);
  check(rename(names, place), place);
  sync_folder_of(place);
  sync_and_close(fd, temporary);
  check(rename(temporary, ledger), ledger);
}

static void copy_file(const char *source, const char *path) {
  int in = open(source, O_RDONLY | O_CLOEXEC), out = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  check(in, source);
  check(out, path);
  struct stat stats;
  check(fstat(in, &stats), source);
  for (off_t left = stats.st_size; left > 0;) {
    ssize_t count = copy_file_range(in, NULL, out, NULL, left, 0);
    if (count <= 0) count = sendfile(out, in, NULL, left);
    check(count > 0 ? 0 : -1, path);
    left -= count;
  }
  close(in);
  close(out);
}

static void ready(void) {
  const char *path = getenv("NOTIFY_SOCKET");
  if (!path) return;
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
  int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  sendto(fd, "READY=1", 7, MSG_NOSIGNAL, (struct sockaddr *)&address, sizeof address);
  close(fd);
}

int main(int argc, char **argv) {
  if (argc != 2) return 2;
  int fd = open(argv[1], O_RDONLY | O_CLOEXEC);
  check(fd, argv[1]);
  struct stat stats;
  check(fstat(fd, &stats), argv[1]);
  next = mmap(NULL, stats.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
  end = next + stats.st_size;
  while (next < end) {
    char *what = word();
    if (strcmp(what, "mount") == 0) {
      char *device = word(), *path = word(), *type = word(), *options = word();
      check(mount(device, path, type, MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, options), path);
    } else if (strcmp(what, "folder") == 0) {
      char *path = word();
      if (mkdir(path, strtol(word(), NULL, 8)) < 0 && errno != EEXIST) check(-1, path);
    } else if (strcmp(what, "link") == 0) {
      char *target = word(), *path = word();
      check(symlink(target, path), path);
    } else if (strcmp(what, "file") == 0) {
      char *path = word(), *temporary = word();
      int mode = strtol(word(), NULL, 8);
      write_file(path, temporary, mode, word());
    } else if (strcmp(what, "copy") == 0) {
      char *source = word();
      copy_file(source, word());
    } else if (strcmp(what, "rename") == 0) {
      char *old = word(), *new = word();
      check(rename(old, new), new);
    } else if (strcmp(what, "begin") == 0 || strcmp(what, "end") == 0) {
      char *ledger = word(), *temporary = word();
      int mode = strtol(word(), NULL, 8);
      char *content = word(), *names = word(), *last = word();
      if (strcmp(what, "end") == 0) end_with(ledger, temporary, mode, content, names, last);
      else begin(ledger, temporary, mode, content, names, strtol(last, NULL, 8), word());
    } else if (strcmp(what, "ready") == 0) {
      ready();
    } else {
      fprintf(stderr, "floor: expected an action, found %s\n", what);
      return 1;
    }
  }
  return 0;
}
