/*
 * Runs a program and says in one line of JSON when it was executed, when it sent READY=1, when it ended, what it used and
 * how much was read from block devices meanwhile. In C, since an event loop would add milliseconds of its own.
 *
 * usage: stopwatch NOTIFY_SOCKET LISTENING_SOCKET|- CGROUP_PROCS|- SETTLE_MS LOOP,LOOP...|- PROGRAM [ARGUMENT...]
 * The program gets the listening socket as systemd hands one over (sd_listen_fds(3)). One that sends READY=1 is looked at SETTLE_MS later (its memory) and then ended with SIGTERM.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long long now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000LL + t.tv_nsec / 1000;
}

static void fail(const char *what) {
  fprintf(stderr, "stopwatch: %s: %s\n", what, strerror(errno));
  exit(1);
}

/* Bytes read from all the devices together (third field of /sys/block/NAME/stat, in sectors), or only their number. */
static long long bytes_read(const char *names) {
  char list[1024], path[256];
  long long total = 0;
  if (strcmp(names, "-") == 0) return 0;
  snprintf(list, sizeof list, "%s", names);
  for (char *name = strtok(list, ","); name; name = strtok(NULL, ",")) {
    long long sectors = 0;
    snprintf(path, sizeof path, "/sys/block/%s/stat", name);
    FILE *file = fopen(path, "r");
    if (!file || fscanf(file, "%*s %*s %lld", &sectors) != 1) fail(path);
    fclose(file);
    total += sectors * 512;
  }
  return total;
}

static long field(pid_t pid, const char *file, const char *name) {
  char path[64], line[256];
  long value = -1;
  snprintf(path, sizeof path, "/proc/%d/%s", pid, file);
  FILE *status = fopen(path, "r");
  if (!status) return -1;
  while (fgets(line, sizeof line, status)) {
    if (strncmp(line, name, strlen(name)) == 0) value = strtol(line + strlen(name), NULL, 10);
  }
  fclose(status);
  return value;
}

static struct sockaddr_un address_of(const char *path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
  unlink(path);
  return address;
}

/* Gives it to this process as descriptor 3, as its only one. */
static void hand_over(int listening) {
  char pid[32];
  snprintf(pid, sizeof pid, "%d", getpid());
  setenv("LISTEN_PID", pid, 1);
  setenv("LISTEN_FDS", "1", 1);
  if (dup2(listening, 3) < 0) fail("dup2");
  close(listening);
}

int main(int argc, char **argv) {
  if (argc < 7) {
    fprintf(stderr, "stopwatch: see its source for the arguments\n");
    return 2;
  }
  const char *path = argv[1], *listen_path = argv[2], *cgroup = argv[3], *devices = argv[5];
  int settle_ms = atoi(argv[4]);

  struct sockaddr_un address = address_of(path);
  int notify = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (notify < 0 || bind(notify, (struct sockaddr *)&address, sizeof address) < 0) fail(path);
  setenv("NOTIFY_SOCKET", path, 1);

  int listening = -1;
  if (strcmp(listen_path, "-") != 0) {
    struct sockaddr_un listen_address = address_of(listen_path);
    int listener = socket(AF_UNIX, SOCK_STREAM, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&listen_address, sizeof listen_address) < 0 || listen(listener, 128) < 0)
      fail(listen_path);
    /* Not where the program gets it. */
    listening = fcntl(listener, F_DUPFD_CLOEXEC, 10);
    close(listener);
  }
  int started[2];
  if (pipe2(started, O_CLOEXEC) < 0) fail("pipe");
  long long bytes_before = bytes_read(devices);
  pid_t pid = fork();
  if (pid < 0) fail("fork");
  if (pid == 0) {
    if (strcmp(cgroup, "-") != 0) {
      int fd = open(cgroup, O_WRONLY);
      if (fd < 0 || write(fd, "0", 1) != 1) fail(cgroup);
      close(fd);
    }
    int null = open("/dev/null", O_RDWR);
    dup2(null, 0);
    dup2(null, 1);
    int report = fcntl(started[1], F_DUPFD_CLOEXEC, 10);
    if (listening >= 0) hand_over(listening);
    long long start = now();
    if (write(report, &start, sizeof start) != sizeof start) fail("write");
    execvp(argv[6], argv + 6);
    fail(argv[6]);
  }
  close(started[1]);
  if (listening >= 0) close(listening);
  long long start = 0, ready = 0, ready_bytes = 0;
  if (read(started[0], &start, sizeof start) != sizeof start) fail("the program did not start");

  int process = syscall(SYS_pidfd_open, pid, 0);
  struct pollfd polled[2] = {{.fd = process, .events = POLLIN}, {.fd = notify, .events = POLLIN}};
  long rss = -1, anonymous = -1, private_dirty = -1;
  while (poll(polled, 2, -1) >= 0 || errno == EINTR) {
    if (polled[1].revents) {
      char message[4096];
      long long at = now();
      ssize_t length = recv(notify, message, sizeof message - 1, 0);
      message[length < 0 ? 0 : length] = 0;
      if (strstr(message, "READY=1")) {
        ready = at;
        ready_bytes = bytes_read(devices) - bytes_before;
        if (settle_ms > 0) {
          struct timespec wait = {settle_ms / 1000, settle_ms % 1000 * 1000000L};
          nanosleep(&wait, NULL);
          rss = field(pid, "status", "VmRSS:");
          anonymous = field(pid, "status", "RssAnon:");
          private_dirty = field(pid, "smaps_rollup", "Private_Dirty:");
        }
        kill(pid, SIGTERM);
      }
    } else if (polled[0].revents)
      break;
  }
  long long end = now();
  int status;
  struct rusage usage;
  if (wait4(pid, &status, 0, &usage) < 0) fail("wait4");
  long long end_bytes = bytes_read(devices) - bytes_before;
  unlink(path);
  printf("{\"startUsec\":%lld,\"readyUsec\":%lld,\"endUsec\":%lld,\"exitStatus\":%d,\"userUsec\":%lld,\"systemUsec\":%lld,"
         "\"maxResidentKb\":%ld,\"residentKb\":%ld,\"anonymousKb\":%ld,\"privateDirtyKb\":%ld,\"bytesToReady\":%lld,\"bytesToEnd\":%lld}\n",
         start, ready, end, WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status),
         usage.ru_utime.tv_sec * 1000000LL + usage.ru_utime.tv_usec, usage.ru_stime.tv_sec * 1000000LL + usage.ru_stime.tv_usec,
         usage.ru_maxrss, rss, anonymous, private_dirty, ready ? ready_bytes : end_bytes, end_bytes);
  return 0;
}
