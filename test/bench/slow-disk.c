/*
 * A file that is read as slowly as a disk, for a loop device to stand on: so many bytes and reads a second, and a latency
 * for each read, whoever reads. A control group would do for one process, but containers get groups of their own, and
 * version 1 does not hold these to the limits of the group above.
 *
 * usage: slow-disk FILE FOLDER BYTES_PER_SEC READS_PER_SEC LATENCY_USEC
 * Mounts FOLDER, in which FILE then is `disk`, read only, and ends when that is unmounted. Speaks the kernel's protocol
 * itself (linux/fuse.h). 64 reads may wait at a time.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { THREADS = 64, MOST = 1 << 20, DISK = 2 };

static int fuse, backing;
static long long size, bytes_per_sec, reads_per_sec, latency_nsec;
static long long bytes_free, reads_free;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void fail(const char *what) {
  fprintf(stderr, "slow-disk: %s: %s\n", what, strerror(errno));
  exit(1);
}

static long long later(long long a, long long b) { return a > b ? a : b; }

/* A read begins when both budgets have recovered from those before it. */
static void wait_as_a_disk(long long bytes) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  pthread_mutex_lock(&lock);
  long long begin = later(t.tv_sec * 1000000000LL + t.tv_nsec, later(bytes_free, reads_free));
  bytes_free = begin + bytes * 1000000000LL / bytes_per_sec;
  reads_free = begin + 1000000000LL / reads_per_sec;
  pthread_mutex_unlock(&lock);
  long long end = begin + latency_nsec;
  t = (struct timespec){end / 1000000000LL, end % 1000000000LL};
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR) {}
}

static void answer(const struct fuse_in_header *in, int error, const void *body, size_t length) {
  struct fuse_out_header out = {.len = sizeof out + length, .error = error, .unique = in->unique};
  struct iovec parts[2] = {{&out, sizeof out}, {(void *)body, length}};
  /* ENOENT: whoever asked was interrupted and is gone. */
  if (writev(fuse, parts, 2) < 0 && errno != ENOENT) fail("answer");
}

static struct fuse_attr attributes(uint64_t node) {
  struct fuse_attr attr = {.ino = node, .mode = S_IFDIR | 0500, .nlink = 1, .blksize = 4096};
  if (node == DISK) attr.mode = S_IFREG | 0400, attr.size = size, attr.blocks = size / 512;
  return attr;
}

static void handle(const struct fuse_in_header *in, char *buffer) {
  const void *body = in + 1;
  if (in->opcode == FUSE_INIT) {
    struct fuse_init_out out = {.major = FUSE_KERNEL_VERSION, .minor = 31, .max_readahead = MOST, .flags = FUSE_ASYNC_READ | FUSE_ASYNC_DIO | FUSE_MAX_PAGES,
      .max_background = THREADS, .congestion_threshold = THREADS, .max_write = 4096, .time_gran = 1, .max_pages = MOST / 4096};
    answer(in, 0, &out, sizeof out);
  } else if (in->opcode == FUSE_LOOKUP) {
    struct fuse_entry_out out = {.nodeid = DISK, .entry_valid = 3600, .attr_valid = 3600, .attr = attributes(DISK)};
    if (strcmp(body, "disk") == 0) answer(in, 0, &out, sizeof out);
    else answer(in, -ENOENT, NULL, 0);
  } else if (in->opcode == FUSE_GETATTR) {
    struct fuse_attr_out out = {.attr_valid = 3600, .attr = attributes(in->nodeid)};
    answer(in, 0, &out, sizeof out);
  } else if (in->opcode == FUSE_OPEN) {
    struct fuse_open_out out = {.open_flags = FOPEN_DIRECT_IO};
    answer(in, 0, &out, sizeof out);
  } else if (in->opcode == FUSE_READ) {
    const struct fuse_read_in *read_in = body;
    wait_as_a_disk(read_in->size);
    ssize_t length = pread(backing, buffer, read_in->size, read_in->offset);
    answer(in, length < 0 ? -errno : 0, buffer, length < 0 ? 0 : length);
  } else if (in->opcode == FUSE_RELEASE || in->opcode == FUSE_FLUSH) {
    answer(in, 0, NULL, 0);
  } else if (in->opcode != FUSE_FORGET && in->opcode != FUSE_BATCH_FORGET && in->opcode != FUSE_INTERRUPT) {
    answer(in, -ENOSYS, NULL, 0);
  }
}

static void *serve(void *unused) {
  char *request = malloc(FUSE_MIN_READ_BUFFER + 4096), *buffer = malloc(MOST);
  if (!request || !buffer) fail("memory");
  prctl(PR_SET_TIMERSLACK, 1);
  for (;;) {
    if (read(fuse, request, FUSE_MIN_READ_BUFFER + 4096) >= 0) handle((void *)request, buffer);
    else if (errno == ENODEV) exit(0);
    else if (errno != EINTR && errno != ENOENT && errno != EAGAIN) fail("/dev/fuse");
  }
  return unused;
}

int main(int argc, char **argv) {
  if (argc != 6) {
    fprintf(stderr, "slow-disk: see its source for the arguments\n");
    return 2;
  }
  bytes_per_sec = atoll(argv[3]), reads_per_sec = atoll(argv[4]), latency_nsec = atoll(argv[5]) * 1000;
  backing = open(argv[1], O_RDONLY | O_CLOEXEC);
  struct stat stats;
  if (backing < 0 || fstat(backing, &stats) < 0) fail(argv[1]);
  size = stats.st_size;
  fuse = open("/dev/fuse", O_RDWR | O_CLOEXEC);
  if (fuse < 0) fail("/dev/fuse");
  char options[128];
  snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=0,group_id=0,max_read=%d", fuse, MOST);
  if (mount("slow-disk", argv[2], "fuse", MS_NOSUID | MS_NODEV, options) < 0) fail(argv[2]);
  puts("mounted");
  fflush(stdout);
  pthread_t thread;
  for (int i = 1; i < THREADS; i++) if (pthread_create(&thread, NULL, serve, NULL)) fail("thread");
  serve(NULL);
}
