/*
 * Reading ahead as well as it can be done: what a recorded run had in the page cache, in the order in which it lies on the disk.
 *
 * usage: read-ahead record MOUNT DEVICE       prints what of a mounted disk is in memory: PHYSICAL OFFSET LENGTH PATH a line,
 *                                             in the order to read it in; without PATH it is metadata, on the device itself
 *        read-ahead replay MOUNT DEVICE LIST  reads that, without waiting for what it need not wait for
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Where a disk gives 3000 reads and 125 MB a second, a gap of 40 KiB is read as fast as left out. */
enum { SYS_CACHESTAT = 451, PAGE = 4096, GAP = 10, CHUNK = 128 * 1024 };

struct range { long long physical, offset, length; char *path; };
static struct range *ranges;
static size_t count, room, prefix;

static void fail(const char *what) {
  fprintf(stderr, "read-ahead: %s: %s\n", what, strerror(errno));
  exit(1);
}

static long long physical_of(int fd, long long offset) {
  union { struct fiemap map; char space[sizeof(struct fiemap) + sizeof(struct fiemap_extent)]; } u = {0};
  u.map.fm_start = offset, u.map.fm_length = 1, u.map.fm_extent_count = 1;
  if (ioctl(fd, FS_IOC_FIEMAP, &u.map) < 0 || u.map.fm_mapped_extents == 0) return 0;
  return u.map.fm_extents[0].fe_physical + (offset - (long long)u.map.fm_extents[0].fe_logical);
}

static void add(int fd, long long first, long long end, const char *path) {
  struct range *last = ranges + count - 1;
  if (count > 0 && strcmp(last->path, path) == 0 && first * PAGE - last->offset - last->length <= GAP * PAGE) {
    last->length = end * PAGE - last->offset;
    return;
  }
  if (count == room && !(ranges = realloc(ranges, (room = room * 2 + 64) * sizeof *ranges))) fail("memory");
  char *name = strdup(path);
  if (!name) fail("memory");
  ranges[count++] = (struct range){*path ? physical_of(fd, first * PAGE) : first * PAGE, first * PAGE, (end - first) * PAGE, name};
}

/* How many of these pages are in memory. mincore(2) leaves out what ext4 read by single blocks, as inodes. */
static long long cached(int fd, long long first, long long end) {
  struct { unsigned long long offset, length; } range = {first * PAGE, (end - first) * PAGE};
  struct { unsigned long long cache, dirty, writeback, evicted, recently_evicted; } found;
  if (syscall(SYS_CACHESTAT, fd, &range, &found, 0) < 0) fail("cachestat");
  return found.cache;
}

static void split(int fd, long long first, long long end, const char *path) {
  long long pages = cached(fd, first, end), middle = (first + end) / 2;
  if (pages == 0) return;
  if (pages == end - first) add(fd, first, end, path);
  else split(fd, first, middle, path), split(fd, middle, end, path);
}

static void look(const char *file, const char *path, long long size) {
  int fd = open(file, O_RDONLY | O_NOATIME);
  if (fd < 0) fail(file);
  if (size > 0) split(fd, 0, (size + PAGE - 1) / PAGE, path);
  close(fd);
}

static int visit(const char *file, const struct stat *stats, int type, struct FTW *where) {
  (void)where;
  if (type == FTW_F && S_ISREG(stats->st_mode)) look(file, file + prefix + 1, stats->st_size);
  return 0;
}

static int by_place(const void *a, const void *b) {
  const struct range *x = a, *y = b;
  if (!*x->path != !*y->path) return *x->path ? 1 : -1;
  return (x->physical > y->physical) - (x->physical < y->physical);
}

static void record(const char *mount, const char *device) {
  long long size;
  int fd = open(device, O_RDONLY);
  if (fd < 0 || ioctl(fd, BLKGETSIZE64, &size) < 0) fail(device);
  close(fd);
  /* First of all: to look for files is to read metadata. */
  look(device, "", size);
  prefix = strlen(mount);
  if (nftw(mount, visit, 64, FTW_PHYS | FTW_MOUNT) < 0) fail(mount);
  qsort(ranges, count, sizeof *ranges, by_place);
  for (size_t i = 0; i < count; i++) printf("%lld %lld %lld %s\n", ranges[i].physical, ranges[i].offset, ranges[i].length, ranges[i].path);
}

static void replay(const char *mount, const char *device, const char *list) {
  FILE *lines = fopen(list, "r");
  int disk = open(device, O_RDONLY), folder = open(mount, O_RDONLY | O_DIRECTORY);
  char *line = NULL;
  size_t space = 0;
  if (!lines || disk < 0 || folder < 0) fail(list);
  while (getline(&line, &space, lines) > 0) {
    long long offset, length;
    int at = 0;
    line[strcspn(line, "\n")] = 0;
    if (sscanf(line, "%*d %lld %lld %n", &offset, &length, &at) < 2) fail("a line of the list");
    int fd = line[at] ? openat(folder, line + at, O_RDONLY | O_NOATIME | O_NOFOLLOW) : disk;
    if (fd < 0) fail(line + at);
    /* One call reads no more than the device's read_ahead_kb or its largest request (mm/readahead.c, force_page_cache_ra). */
    for (long long end = offset + length; offset < end; offset += CHUNK) posix_fadvise(fd, offset, end - offset < CHUNK ? end - offset : CHUNK, POSIX_FADV_WILLNEED);
    if (fd != disk) close(fd);
  }
}

int main(int argc, char **argv) {
  if (argc == 4 && strcmp(argv[1], "record") == 0) record(argv[2], argv[3]);
  else if (argc == 5 && strcmp(argv[1], "replay") == 0) replay(argv[2], argv[3], argv[4]);
  else {
    fprintf(stderr, "read-ahead: see its source for the arguments\n");
    return 2;
  }
}
