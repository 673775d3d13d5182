// Folders.
#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "door.h"

// mkdir(path, mode)
static DOOR(door_mkdir) {
  TAKE_PATH(path, argv[0]);
  return result_of(ctx, mkdir(path, (mode_t)number_of(ctx, argv[1])));
}

static DOOR(door_rmdir) {
  TAKE_PATH(path, argv[0]);
  return result_of(ctx, rmdir(path));
}

static bool is_itself(const char *name) { return strcmp(name, ".") == 0 || strcmp(name, "..") == 0; }

// The type of an entry; where the filesystem does not give it, the file is looked at.
static int type_of(DIR *folder, const struct dirent *entry) {
  struct stat stats;
  if (entry->d_type != DT_UNKNOWN) return entry->d_type;
  return fstatat(dirfd(folder), entry->d_name, &stats, AT_SYMLINK_NOFOLLOW) == 0 ? (int)IFTODT(stats.st_mode) : DT_UNKNOWN;
}

static bool append(JSContext *ctx, JSValueConst list, uint32_t at, JSValue value) {
  return !JS_IsException(value) && JS_DefinePropertyValueUint32(ctx, list, at, value, JS_PROP_C_W_E) >= 0;
}

// Puts the names into a list, with types behind each where they are wanted. Returns 0, an error number, or -1: an exception is thrown.
static int read_names(JSContext *ctx, DIR *folder, JSValueConst list, bool types, bool as_latin1) {
  for (uint32_t count = 0;;) {
    errno = 0;
    const struct dirent *entry = readdir(folder);
    if (entry == NULL) return errno;
    if (is_itself(entry->d_name)) continue;
    const uint8_t *name = (const uint8_t *)entry->d_name;
    size_t size = strlen(entry->d_name);
    JSValue text = as_latin1 ? text_of_latin1(ctx, name, size) : text_of_utf8(ctx, name, size);
    if (!append(ctx, list, count++, text)) return -1;
    if (types && !append(ctx, list, count++, JS_NewInt32(ctx, type_of(folder, entry)))) return -1;
  }
}

// readdir(path, types, asLatin1): names, or names and types in turn; or an error number
static DOOR(door_readdir) {
  TAKE_PATH(path, argv[0]);
  DIR *folder = opendir(path);
  if (folder == NULL) return result_of(ctx, -1);
  JSValue list = JS_NewArray(ctx);
  int failed = JS_IsException(list) ? -1 : read_names(ctx, folder, list, JS_ToBool(ctx, argv[1]), JS_ToBool(ctx, argv[2]));
  closedir(folder);
  if (failed == 0) return list;
  JS_FreeValue(ctx, list);
  return failed < 0 ? JS_EXCEPTION : JS_NewInt32(ctx, -failed);
}

static const JSCFunctionListEntry functions[] = {
  JS_CFUNC_DEF("mkdir", 2, door_mkdir),
  JS_CFUNC_DEF("rmdir", 1, door_rmdir),
  JS_CFUNC_DEF("readdir", 3, door_readdir),
};

void add_folders(JSContext *ctx, JSValueConst door) {
  JS_SetPropertyFunctionList(ctx, door, functions, sizeof functions / sizeof *functions);
}
