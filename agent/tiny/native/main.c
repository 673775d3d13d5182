// The small engine: QuickJS, the door, and the boot path as bytecode. There is no parser of JavaScript in it.
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include "door.h"
#include "memory.h"

enum {
  NAME_BYTES = 32,
  // The memory that the engine may take for all that disks and stores have. 5,000 images take 67 MB.
  MEMORY_BYTES = 1 << 30,
  // Up to READY, garbage is not worth collecting.
  GC_BYTES = 64 << 20,
  // Of the stack, for C.
  STACK_RESERVE_BYTES = 256 << 10,
  STACK_BYTES = 8 << 20,
  // No work was left before the end was reached.
  UNFINISHED = 13,
};

// The module to begin with.
static const char FIRST[] = "first.js";

// Where each module is in the bytecode. The last entry has no name.
extern const struct {
  char name[NAME_BYTES];
  uint32_t at, size;
} bytecode[];

// If a standard descriptor is missing, a file would get its number, and messages would go there. So it is filled. Another program
// finds it missing again.
static void open_standard_streams(void) {
  for (int fd = 0; fd <= 2; fd++)
    if (fcntl(fd, F_GETFD) == -1 && open("/dev/null", (fd == 0 ? O_RDONLY : O_WRONLY) | O_CLOEXEC) != fd) _exit(70);
}

static size_t stack_bytes(void) {
  struct rlimit limit;
  bool is_known = getrlimit(RLIMIT_STACK, &limit) == 0 && limit.rlim_cur < STACK_BYTES;
  size_t bytes = is_known ? limit.rlim_cur : STACK_BYTES;
  return bytes > 2 * STACK_RESERVE_BYTES ? bytes - STACK_RESERVE_BYTES : bytes / 2;
}

static JSContext *new_context(JSRuntime *rt) {
  JSContext *ctx = JS_NewContextRaw(rt);
  if (ctx == NULL) return NULL;
  JS_AddIntrinsicBaseObjects(ctx);
  JS_AddIntrinsicDate(ctx);
  // This compiles patterns, not programs.
  JS_AddIntrinsicRegExpCompiler(ctx);
  JS_AddIntrinsicRegExp(ctx);
  JS_AddIntrinsicJSON(ctx);
  JS_AddIntrinsicMapSet(ctx);
  JS_AddIntrinsicTypedArrays(ctx);
  JS_AddIntrinsicPromise(ctx);
  return ctx;
}

// load(name): a promise of all that a module exports. import() gives the same, but would need to know in which file it is.
static DOOR(load) {
  const char *name = JS_ToCString(ctx, argv[0]);
  JSValue all = name == NULL ? JS_EXCEPTION : JS_LoadModule(ctx, FIRST, name);
  if (name != NULL) JS_FreeCString(ctx, name);
  return all;
}

static void add_door(JSContext *ctx, int argc, char **argv) {
  JSValue global = JS_GetGlobalObject(ctx), door = JS_NewObject(ctx);
  JS_DefinePropertyValueStr(ctx, door, "load", JS_NewCFunction(ctx, load, "load", 1), JS_PROP_C_W_E);
  add_files(ctx, door);
  add_folders(ctx, door);
  add_text(ctx, door);
  add_json(ctx, door);
  add_sha256(ctx, door);
  add_ed25519(ctx, door);
  add_process(ctx, door, argc, argv);
  add_children(ctx, door);
  add_events(ctx, door);
  add_system_calls(ctx, door);
  JS_DefinePropertyValueStr(ctx, global, "door", door, JS_PROP_C_W_E);
  JS_FreeValue(ctx, global);
}

static void print_text(JSContext *ctx, JSValueConst value, const char *before) {
  const char *text = JS_ToCString(ctx, value);
  dprintf(2, "%s%s\n", before, text == NULL ? "an error that cannot be told" : text);
  if (text != NULL) JS_FreeCString(ctx, text);
}

// What nothing has caught is told, and ends the process.
static int tell(JSContext *ctx) {
  JSValue error = JS_GetException(ctx), stack = JS_GetPropertyStr(ctx, error, "stack");
  print_text(ctx, error, "docker-preloader: ");
  print_text(ctx, stack, "");
  return 1;
}

// Does one step. Returns 1 if more is to be done, 0 if nothing is, and -1 if an exception was thrown.
static int step(JSContext *ctx) {
  JSContext *which;
  for (int left = 1; left != 0;)
    if ((left = JS_ExecutePendingJob(JS_GetRuntime(ctx), &which)) < 0) return -1;
  JSValue more = JS_Call(ctx, turn_of(), JS_UNDEFINED, 0, NULL);
  return JS_IsException(more) ? -1 : JS_ToBool(ctx, more);
}

static int exit_status(JSContext *ctx) {
  JSValue global = JS_GetGlobalObject(ctx), process = JS_GetPropertyStr(ctx, global, "process");
  JSValue status = JS_GetPropertyStr(ctx, process, "exitCode");
  return JS_IsNumber(status) ? (int)number_of(ctx, status) : UNFINISHED;
}

// Reads a module when it is first imported. They are modules and not scripts, because a function of a script would look up each
// variable of its scope in a list.
static JSModuleDef *load_module(JSContext *ctx, const char *name, __attribute__((unused)) void *opaque) {
  size_t found = 0;
  while (bytecode[found].name[0] != 0 && strcmp(bytecode[found].name, name) != 0) found++;
  JSValue module = JS_ReadObject(ctx, (const uint8_t *)bytecode + bytecode[found].at, bytecode[found].size, JS_READ_OBJ_BYTECODE);
  return JS_IsException(module) ? NULL : JS_VALUE_GET_PTR(module);
}

static bool begin(JSContext *ctx) {
  JSModuleDef *first = load_module(ctx, FIRST, NULL);
  if (first == NULL) return false;
  JSValue program = JS_MKPTR(JS_TAG_MODULE, first);
  if (JS_ResolveModule(ctx, program) < 0) return false;
  JSValue promise = JS_EvalFunction(ctx, program);
  if (JS_IsException(promise)) return false;
  if (JS_PromiseState(ctx, promise) != JS_PROMISE_REJECTED) return true;
  JS_Throw(ctx, JS_PromiseResult(ctx, promise));
  return false;
}

static int run(JSContext *ctx) {
  if (!begin(ctx)) return tell(ctx);
  int more;
  while ((more = step(ctx)) == 1) {}
  return more < 0 ? tell(ctx) : exit_status(ctx);
}

int main(int argc, char **argv) {
  open_standard_streams();
  JSRuntime *rt = new_runtime();
  if (rt == NULL) return 70;
  JS_SetMemoryLimit(rt, MEMORY_BYTES);
  JS_SetGCThreshold(rt, GC_BYTES);
  JS_SetMaxStackSize(rt, stack_bytes());
  JS_SetModuleLoaderFunc(rt, NULL, load_module, NULL);
  JSContext *ctx = new_context(rt);
  if (ctx == NULL) return 70;
  add_door(ctx, argc, argv);
  // The kernel takes back what the engine has, faster than the engine could.
  _exit(run(ctx));
}
