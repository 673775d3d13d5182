// This process: what it was started with, and how it ends or becomes another program.
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "door.h"

extern char **environ;

// The command line, to the byte, because it need not be valid text.
static char **given;

static JSValue texts_of(JSContext *ctx, char **texts, int count) {
  JSValue list = JS_NewArray(ctx);
  for (int at = 0; at < count; at++)
    JS_DefinePropertyValueUint32(ctx, list, (uint32_t)at, text_of_utf8(ctx, (const uint8_t *)texts[at], strlen(texts[at])), JS_PROP_C_W_E);
  return list;
}

// environment(): `NAME=value` of each variable
static DOOR(environment) {
  int count = 0;
  while (environ != NULL && environ[count] != NULL) count++;
  return texts_of(ctx, environ, count);
}

// umask(mask): the mask before
static DOOR(door_umask) { return JS_NewInt32(ctx, (int32_t)umask((mode_t)number_of(ctx, argv[0]))); }

// exit(status)
static DOOR(door_exit) { _exit((int)number_of(ctx, argv[0])); }

static DOOR(door_isatty) { return JS_NewBool(ctx, isatty((int)number_of(ctx, argv[0]))); }

void free_words(JSContext *ctx, char **words) {
  for (size_t at = 0; words[at] != NULL; at++) js_free(ctx, words[at]);
  js_free(ctx, words);
}

static char *word_of(JSContext *ctx, JSValueConst list, uint32_t at) {
  JSValue value = JS_GetPropertyUint32(ctx, list, at);
  const char *text = JS_ToCString(ctx, value);
  char *word = text == NULL ? NULL : js_strdup(ctx, text);
  if (text != NULL) JS_FreeCString(ctx, text);
  JS_FreeValue(ctx, value);
  return word;
}

enum { MAX_WORDS = 1000 };

char **words_of(JSContext *ctx, JSValueConst list) {
  JSValue length = JS_GetPropertyStr(ctx, list, "length");
  int64_t count = number_of(ctx, length);
  JS_FreeValue(ctx, length);
  char **words = count > MAX_WORDS ? NULL : js_mallocz(ctx, ((size_t)count + 1) * sizeof *words);
  if (count > MAX_WORDS) JS_ThrowRangeError(ctx, "expected at most %d words, found more", MAX_WORDS);
  for (int64_t at = 0; words != NULL && at < count; at++)
    if ((words[at] = word_of(ctx, list, (uint32_t)at)) == NULL) {
      free_words(ctx, words);
      words = NULL;
    }
  return words;
}

static JSValue become(JSContext *ctx, const char *path, char **words) {
  if (!leave_signals()) return JS_NewInt32(ctx, -EINTR);
  execv(path, words);
  JSValue failed = result_of(ctx, -1);
  take_signals_again();
  return failed;
}

// exec(path, words, variable): becomes another program. Without words, that gets our own command line. The variable, as
// `NAME=value`, is added to its environment. Returns an error number. EINTR means that a signal has come, which is to be
// obeyed first.
static DOOR(door_exec) {
  TAKE_PATH(path, argv[0]);
  if (!JS_IsUndefined(argv[2])) {
    const char *variable = JS_ToCString(ctx, argv[2]);
    if (variable == NULL) return JS_EXCEPTION;
    // The environment keeps it.
    char *kept = strdup(variable);
    JS_FreeCString(ctx, variable);
    if (kept == NULL || putenv(kept) != 0) return JS_ThrowOutOfMemory(ctx);
  }
  if (JS_IsUndefined(argv[1])) {
    static char name[] = "docker-preloader";
    if (given[0] != NULL) given[0] = name;
    return become(ctx, path, given);
  }
  char **words = words_of(ctx, argv[1]);
  if (words == NULL) return JS_EXCEPTION;
  JSValue failed = become(ctx, path, words);
  free_words(ctx, words);
  return failed;
}

static const JSCFunctionListEntry functions[] = {
  JS_CFUNC_DEF("environment", 0, environment), JS_CFUNC_DEF("umask", 1, door_umask), JS_CFUNC_DEF("exit", 1, door_exit),
  JS_CFUNC_DEF("isatty", 1, door_isatty),      JS_CFUNC_DEF("exec", 3, door_exec),
};

void add_process(JSContext *ctx, JSValueConst door, int argc, char **argv) {
  given = argv;
  JS_SetPropertyFunctionList(ctx, door, functions, sizeof functions / sizeof *functions);
  JS_DefinePropertyValueStr(ctx, door, "words", texts_of(ctx, argv, argc), JS_PROP_C_W_E);
  JS_DefinePropertyValueStr(ctx, door, "pid", JS_NewInt32(ctx, getpid()), JS_PROP_C_W_E);
}
