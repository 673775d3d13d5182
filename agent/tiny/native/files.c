// Files: each function is one call of the system, as node:fs makes it.
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/vfs.h>
#include <unistd.h>
#include "door.h"

// Puts numbers into a Float64Array, as far as it reaches.
static bool put_numbers(JSContext *ctx, JSValueConst into, const double *numbers, size_t count) {
  size_t offset, size, width, whole;
  JSValue buffer = JS_GetTypedArrayBuffer(ctx, into, &offset, &size, &width);
  if (JS_IsException(buffer)) return false;
  uint8_t *bytes = JS_GetArrayBuffer(ctx, &whole, buffer);
  JS_FreeValue(ctx, buffer);
  if (bytes == NULL) return false;
  if (width != sizeof *numbers || size < count * sizeof *numbers || offset > whole || size > whole - offset) {
    JS_ThrowTypeError(ctx, "expected a Float64Array for %d numbers, found another array", (int)count);
    return false;
  }
  memcpy(bytes + offset, numbers, count * sizeof *numbers);
  return true;
}

static double milliseconds(struct timespec time) { return (double)time.tv_sec * 1000.0 + (double)time.tv_nsec / 1e6; }

static JSValue put_stats(JSContext *ctx, JSValueConst into, int status, const struct stat *stats) {
  if (status == -1) return result_of(ctx, -1);
  const double numbers[] = {
    (double)stats->st_dev,  (double)stats->st_ino,  stats->st_mode, (double)stats->st_size,
    (double)stats->st_rdev, milliseconds(stats->st_mtim), milliseconds(stats->st_ctim), stats->st_uid, stats->st_gid,
  };
  return put_numbers(ctx, into, numbers, sizeof numbers / sizeof *numbers) ? JS_NewInt32(ctx, 0) : JS_EXCEPTION;
}

// stat(path, into), lstat(path, into), fstat(fd, into): [dev, ino, mode, size, rdev, mtimeMs, ctimeMs, uid, gid]
static DOOR(door_stat) {
  struct stat stats;
  TAKE_PATH(path, argv[0]);
  return put_stats(ctx, argv[1], stat(path, &stats), &stats);
}

static DOOR(door_lstat) {
  struct stat stats;
  TAKE_PATH(path, argv[0]);
  return put_stats(ctx, argv[1], lstat(path, &stats), &stats);
}

static DOOR(door_fstat) {
  struct stat stats;
  return put_stats(ctx, argv[1], fstat((int)number_of(ctx, argv[0]), &stats), &stats);
}

// statfs(path, into): [type, bsize, blocks, bfree, bavail, files, ffree]
static DOOR(door_statfs) {
  struct statfs found;
  TAKE_PATH(path, argv[0]);
  if (statfs(path, &found) == -1) return result_of(ctx, -1);
  const double numbers[] = {
    (double)found.f_type,   (double)found.f_bsize, (double)found.f_blocks, (double)found.f_bfree,
    (double)found.f_bavail, (double)found.f_files, (double)found.f_ffree,
  };
  return put_numbers(ctx, argv[1], numbers, sizeof numbers / sizeof *numbers) ? JS_NewInt32(ctx, 0) : JS_EXCEPTION;
}

// open(path, flags, mode): a descriptor
static DOOR(door_open) {
  TAKE_PATH(path, argv[0]);
  int fd;
  do fd = open(path, (int)number_of(ctx, argv[1]) | O_CLOEXEC, (mode_t)number_of(ctx, argv[2]));
  while (fd == -1 && errno == EINTR);
  return result_of(ctx, fd);
}

// close(fd). It is closed also where a signal came between (close(2)).
static DOOR(door_close) {
  int status = close((int)number_of(ctx, argv[0]));
  return status == -1 && errno == EINTR ? JS_NewInt32(ctx, 0) : result_of(ctx, status);
}

// The part of bytes that a read or write is about. NULL: an exception is thrown.
static uint8_t *part_of(JSContext *ctx, JSValueConst value, int64_t offset, int64_t length) {
  size_t size;
  uint8_t *bytes = bytes_of(ctx, &size, value);
  if (bytes == NULL) return NULL;
  if (offset >= 0 && length >= 0 && (uint64_t)offset <= size && (uint64_t)length <= size - (uint64_t)offset) return bytes + offset;
  JS_ThrowRangeError(ctx, "expected a part of %lld bytes, found one beyond", (long long)size);
  return NULL;
}

// read(fd, bytes, offset, length, position): how many; a position of -1 is where the file is
static DOOR(door_read) {
  int fd = (int)number_of(ctx, argv[0]);
  int64_t length = number_of(ctx, argv[3]), position = number_of(ctx, argv[4]);
  uint8_t *part = part_of(ctx, argv[1], number_of(ctx, argv[2]), length);
  if (part == NULL) return JS_EXCEPTION;
  ssize_t count;
  do count = position < 0 ? read(fd, part, (size_t)length) : pread(fd, part, (size_t)length, position);
  while (count == -1 && errno == EINTR);
  return result_of(ctx, count);
}

// write(fd, bytes, offset, length): how many
static DOOR(door_write) {
  int fd = (int)number_of(ctx, argv[0]);
  int64_t length = number_of(ctx, argv[3]);
  const uint8_t *part = part_of(ctx, argv[1], number_of(ctx, argv[2]), length);
  if (part == NULL) return JS_EXCEPTION;
  ssize_t count;
  do count = write(fd, part, (size_t)length);
  while (count == -1 && errno == EINTR);
  return result_of(ctx, count);
}

// How much room a file's content probably takes, with a byte more, which finds the end.
static size_t room_for(int fd) {
  struct stat stats;
  bool is_known = fstat(fd, &stats) == 0 && S_ISREG(stats.st_mode) && stats.st_size > 0 && stats.st_size < INT32_MAX;
  return is_known ? (size_t)stats.st_size + 1 : 4096;
}

// readAll(fd): an ArrayBuffer of all that is left. What the engine may take in all limits it.
static DOOR(read_all) {
  int fd = (int)number_of(ctx, argv[0]);
  size_t room = room_for(fd), size = 0;
  uint8_t *bytes = js_malloc(ctx, room);
  for (ssize_t count = -1; bytes != NULL && count != 0;) {
    if (size == room) {
      uint8_t *more = room > SIZE_MAX / 2 ? NULL : js_realloc(ctx, bytes, room *= 2);
      if (more == NULL) break;
      bytes = more;
    }
    count = read(fd, bytes + size, room - size);
    if (count == -1 && errno == EINTR) continue;
    if (count == -1) {
      JSValue failed = result_of(ctx, -1);
      js_free(ctx, bytes);
      return failed;
    }
    size += (size_t)count;
    if (count == 0) return buffer_of(ctx, bytes, size);
  }
  js_free(ctx, bytes);
  return JS_ThrowOutOfMemory(ctx);
}

static DOOR(door_fsync) {
  int status;
  do status = fsync((int)number_of(ctx, argv[0]));
  while (status == -1 && errno == EINTR);
  return result_of(ctx, status);
}

static DOOR(door_fchmod) { return result_of(ctx, fchmod((int)number_of(ctx, argv[0]), (mode_t)number_of(ctx, argv[1]))); }

static struct timespec time_of(JSContext *ctx, JSValueConst value) {
  double seconds = 0;
  JS_ToFloat64(ctx, &seconds, value);
  struct timespec time = {.tv_sec = (time_t)seconds, .tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e6) * 1000};
  return time;
}

// futimes(fd, accessedSec, modifiedSec)
static DOOR(door_futimes) {
  const struct timespec times[] = {time_of(ctx, argv[1]), time_of(ctx, argv[2])};
  return result_of(ctx, futimens((int)number_of(ctx, argv[0]), times));
}

// exists(path)
static DOOR(door_exists) {
  TAKE_PATH(path, argv[0]);
  return result_of(ctx, access(path, F_OK));
}

static DOOR(door_unlink) {
  TAKE_PATH(path, argv[0]);
  return result_of(ctx, unlink(path));
}

static DOOR(door_rename) {
  TAKE_PATH(from, argv[0]);
  TAKE_PATH(to, argv[1]);
  return result_of(ctx, rename(from, to));
}

static DOOR(door_symlink) {
  TAKE_PATH(target, argv[0]);
  TAKE_PATH(path, argv[1]);
  return result_of(ctx, symlink(target, path));
}

// readlink(path), realpath(path): text, or an error number
static DOOR(door_readlink) {
  TAKE_PATH(path, argv[0]);
  char target[PATH_MAX];
  ssize_t size = readlink(path, target, sizeof target);
  return size == -1 ? result_of(ctx, -1) : text_of_utf8(ctx, (const uint8_t *)target, (size_t)size);
}

static DOOR(door_realpath) {
  TAKE_PATH(path, argv[0]);
  char real[PATH_MAX];
  if (realpath(path, real) == NULL) return result_of(ctx, -1);
  return text_of_utf8(ctx, (const uint8_t *)real, strlen(real));
}

static const JSCFunctionListEntry functions[] = {
  JS_CFUNC_DEF("stat", 2, door_stat),         JS_CFUNC_DEF("lstat", 2, door_lstat),       JS_CFUNC_DEF("fstat", 2, door_fstat),
  JS_CFUNC_DEF("statfs", 2, door_statfs),     JS_CFUNC_DEF("open", 3, door_open),         JS_CFUNC_DEF("close", 1, door_close),
  JS_CFUNC_DEF("read", 5, door_read),         JS_CFUNC_DEF("write", 4, door_write),       JS_CFUNC_DEF("readAll", 1, read_all),
  JS_CFUNC_DEF("fsync", 1, door_fsync),       JS_CFUNC_DEF("fchmod", 2, door_fchmod),     JS_CFUNC_DEF("futimes", 3, door_futimes),
  JS_CFUNC_DEF("exists", 1, door_exists),     JS_CFUNC_DEF("unlink", 1, door_unlink),     JS_CFUNC_DEF("rename", 2, door_rename),
  JS_CFUNC_DEF("symlink", 2, door_symlink),   JS_CFUNC_DEF("readlink", 1, door_readlink), JS_CFUNC_DEF("realpath", 1, door_realpath),
  JS_PROP_INT32_DEF("O_DIRECTORY", O_DIRECTORY, JS_PROP_C_W_E), JS_PROP_INT32_DEF("O_NOFOLLOW", O_NOFOLLOW, JS_PROP_C_W_E),
};

void add_files(JSContext *ctx, JSValueConst door) {
  JS_SetPropertyFunctionList(ctx, door, functions, sizeof functions / sizeof *functions);
}
