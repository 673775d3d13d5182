// The calls of agent/system/libc.ts, by the names that it has for them. Texts come as bytes with a zero byte behind them.
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>
#include "door.h"

// A text; NULL stands for none. False: an exception is thrown.
static bool string_of(JSContext *ctx, const char **text, JSValueConst value) {
  size_t size;
  *text = NULL;
  if (JS_IsNull(value)) return true;
  const uint8_t *bytes = bytes_of(ctx, &size, value);
  if (bytes == NULL) return false;
  *text = (const char *)bytes;
  if (size > 0 && memchr(bytes, 0, size) == bytes + size - 1) return true;
  JS_ThrowTypeError(ctx, "expected bytes with a zero byte at their end alone, found others");
  return false;
}

// At least so many bytes. NULL: an exception is thrown.
static uint8_t *at_least(JSContext *ctx, JSValueConst value, uint64_t wanted) {
  size_t size;
  uint8_t *bytes = bytes_of(ctx, &size, value);
  if (bytes == NULL || size >= wanted) return bytes;
  JS_ThrowRangeError(ctx, "expected at least %lld bytes, found %lld", (long long)wanted, (long long)size);
  return NULL;
}

static int int_of(JSContext *ctx, JSValueConst value) { return (int)number_of(ctx, value); }

static DOOR(call_mount) {
  const char *source, *target, *type, *data;
  if (!string_of(ctx, &source, argv[0]) || !string_of(ctx, &target, argv[1]) || !string_of(ctx, &type, argv[2]) || !string_of(ctx, &data, argv[4]))
    return JS_EXCEPTION;
  return result_of(ctx, mount(source, target, type, (unsigned long)number_of(ctx, argv[3]), data));
}

static DOOR(call_umount2) {
  const char *target;
  if (!string_of(ctx, &target, argv[0])) return JS_EXCEPTION;
  return result_of(ctx, umount2(target, int_of(ctx, argv[1])));
}

static DOOR(call_unshare) { return result_of(ctx, unshare(int_of(ctx, argv[0]))); }
static DOOR(call_flock) { return result_of(ctx, flock(int_of(ctx, argv[0]), int_of(ctx, argv[1]))); }
static DOOR(call_syncfs) { return result_of(ctx, syncfs(int_of(ctx, argv[0]))); }
static DOOR(call_close) { return result_of(ctx, close(int_of(ctx, argv[0]))); }
static DOOR(call_alarm) { return JS_NewInt64(ctx, alarm((unsigned)number_of(ctx, argv[0]))); }
static DOOR(call_socket) { return result_of(ctx, socket(int_of(ctx, argv[0]), int_of(ctx, argv[1]), int_of(ctx, argv[2]))); }

static DOOR(call_sendto) {
  int64_t size = number_of(ctx, argv[2]), address_size = number_of(ctx, argv[5]);
  const uint8_t *message = at_least(ctx, argv[1], (uint64_t)size);
  const uint8_t *address = message == NULL ? NULL : at_least(ctx, argv[4], (uint64_t)address_size);
  if (address == NULL) return JS_EXCEPTION;
  ssize_t sent = sendto(int_of(ctx, argv[0]), message, (size_t)size, int_of(ctx, argv[3]), (const struct sockaddr *)address, (socklen_t)address_size);
  return result_of(ctx, sent);
}

// poll(bytes or null, count, milliseconds)
static DOOR(call_poll) {
  int64_t count = number_of(ctx, argv[1]);
  if (count < 0 || count > 1024) return JS_ThrowRangeError(ctx, "expected at most 1024 descriptors, found more");
  struct pollfd *fds = NULL;
  if (count > 0 && (fds = (struct pollfd *)(void *)at_least(ctx, argv[0], (uint64_t)count * sizeof *fds)) == NULL) return JS_EXCEPTION;
  return result_of(ctx, poll(fds, (nfds_t)count, int_of(ctx, argv[2])));
}

static DOOR(call_clock_gettime) {
  struct timespec now;
  uint8_t *into = at_least(ctx, argv[1], sizeof now);
  if (into == NULL) return JS_EXCEPTION;
  int status = clock_gettime((clockid_t)number_of(ctx, argv[0]), &now);
  memcpy(into, &now, sizeof now);
  return result_of(ctx, status);
}

// getdirentries64(fd, bytes, size): without the place in the folder that glibc tells besides
static DOOR(call_getdirentries64) {
  int64_t size = number_of(ctx, argv[2]);
  uint8_t *into = at_least(ctx, argv[1], (uint64_t)size);
  if (into == NULL) return JS_EXCEPTION;
  return result_of(ctx, syscall(SYS_getdents64, int_of(ctx, argv[0]), into, (size_t)size));
}

static DOOR(call_inotify_init1) { return result_of(ctx, inotify_init1(int_of(ctx, argv[0]))); }

static DOOR(call_inotify_add_watch) {
  const char *path;
  if (!string_of(ctx, &path, argv[1])) return JS_EXCEPTION;
  return result_of(ctx, inotify_add_watch(int_of(ctx, argv[0]), path, (uint32_t)number_of(ctx, argv[2])));
}

static DOOR(call_connect) {
  int64_t size = number_of(ctx, argv[2]);
  const uint8_t *address = at_least(ctx, argv[1], (uint64_t)size);
  if (address == NULL) return JS_EXCEPTION;
  return result_of(ctx, connect(int_of(ctx, argv[0]), (const struct sockaddr *)address, (socklen_t)size));
}

// posix_fadvise(fd, offset, length, advice): the number of an error, as it is
static DOOR(call_fadvise) {
  return JS_NewInt32(ctx, posix_fadvise(int_of(ctx, argv[0]), number_of(ctx, argv[1]), number_of(ctx, argv[2]), int_of(ctx, argv[3])));
}

// sync_file_range(fd, offset, length, flags)
static DOOR(call_sync_file_range) {
  return result_of(ctx, sync_file_range(int_of(ctx, argv[0]), number_of(ctx, argv[1]), number_of(ctx, argv[2]), (unsigned)number_of(ctx, argv[3])));
}

static DOOR(call_chmod) {
  const char *path;
  if (!string_of(ctx, &path, argv[0])) return JS_EXCEPTION;
  return result_of(ctx, chmod(path, (mode_t)number_of(ctx, argv[1])));
}

static DOOR(call_chown) {
  const char *path;
  if (!string_of(ctx, &path, argv[0])) return JS_EXCEPTION;
  return result_of(ctx, chown(path, (uid_t)number_of(ctx, argv[1]), (gid_t)number_of(ctx, argv[2])));
}

// lgetxattr(path, name, bytes, size)
static DOOR(call_lgetxattr) {
  const char *path, *name;
  if (!string_of(ctx, &path, argv[0]) || !string_of(ctx, &name, argv[1])) return JS_EXCEPTION;
  int64_t size = number_of(ctx, argv[3]);
  uint8_t *into = at_least(ctx, argv[2], (uint64_t)size);
  if (into == NULL) return JS_EXCEPTION;
  return result_of(ctx, (int)lgetxattr(path, name, into, (size_t)size));
}

static const JSCFunctionListEntry functions[] = {
  JS_CFUNC_DEF("mount", 5, call_mount),
  JS_CFUNC_DEF("umount2", 2, call_umount2),
  JS_CFUNC_DEF("unshare", 1, call_unshare),
  JS_CFUNC_DEF("flock", 2, call_flock),
  JS_CFUNC_DEF("syncfs", 1, call_syncfs),
  JS_CFUNC_DEF("close", 1, call_close),
  JS_CFUNC_DEF("alarm", 1, call_alarm),
  JS_CFUNC_DEF("socket", 3, call_socket),
  JS_CFUNC_DEF("sendto", 6, call_sendto),
  JS_CFUNC_DEF("poll", 3, call_poll),
  JS_CFUNC_DEF("clock_gettime", 2, call_clock_gettime),
  JS_CFUNC_DEF("getdirentries64", 3, call_getdirentries64),
  JS_CFUNC_DEF("inotify_init1", 1, call_inotify_init1),
  JS_CFUNC_DEF("inotify_add_watch", 3, call_inotify_add_watch),
  JS_CFUNC_DEF("connect", 3, call_connect),
  JS_CFUNC_DEF("posix_fadvise", 4, call_fadvise),
  JS_CFUNC_DEF("sync_file_range", 4, call_sync_file_range),
  JS_CFUNC_DEF("chmod", 2, call_chmod),
  JS_CFUNC_DEF("chown", 3, call_chown),
  JS_CFUNC_DEF("lgetxattr", 4, call_lgetxattr),
};

void add_system_calls(JSContext *ctx, JSValueConst door) {
  JSValue calls = JS_NewObject(ctx);
  JS_SetPropertyFunctionList(ctx, calls, functions, sizeof functions / sizeof *functions);
  JS_DefinePropertyValueStr(ctx, door, "calls", calls, JS_PROP_C_W_E);
}
