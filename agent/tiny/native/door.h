// What the parts of the door have in common. The door is all that the small engine has of the operating system: functions of
// one object, `door`. A function whose system call fails returns the negative of errno, from which agent/tiny/errno.ts makes an
// error. A function that is called in a wrong way throws.
#ifndef DOOR_H
#define DOOR_H
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "quickjs.h"

#define DOOR(name) \
  JSValue name(JSContext *ctx, __attribute__((unused)) JSValueConst self, __attribute__((unused)) int argc, __attribute__((unused)) JSValueConst *argv)

// Adds what a part has to `door`.
void add_files(JSContext *ctx, JSValueConst door);
void add_folders(JSContext *ctx, JSValueConst door);
void add_text(JSContext *ctx, JSValueConst door);
void add_json(JSContext *ctx, JSValueConst door);
void add_sha256(JSContext *ctx, JSValueConst door);
void add_ed25519(JSContext *ctx, JSValueConst door);
void add_process(JSContext *ctx, JSValueConst door, int argc, char **argv);
void add_children(JSContext *ctx, JSValueConst door);
void add_events(JSContext *ctx, JSValueConst door);
void add_system_calls(JSContext *ctx, JSValueConst door);

// Text of bytes in UTF-8, or in latin1.
JSValue text_of_utf8(JSContext *ctx, const uint8_t *bytes, size_t size);
JSValue text_of_latin1(JSContext *ctx, const uint8_t *bytes, size_t size);

// The UTF-8 of a text, with a zero byte at its end. To be freed by JS_FreeCString. NULL: an exception is thrown.
const char *utf8_of_text(JSContext *ctx, size_t *size, JSValueConst text);

// The bytes of a Uint8Array, as long as it lives. NULL: an exception is thrown.
uint8_t *bytes_of(JSContext *ctx, size_t *size, JSValueConst value);

// Puts a path, which is a text or bytes, into `path`. Returns 0, an error number, or -1: an exception is thrown.
int path_of(JSContext *ctx, char path[PATH_MAX], JSValueConst value);

// Takes an argument as a path, or returns from the function.
#define TAKE_PATH(path, value) \
  char path[PATH_MAX]; \
  do { \
    int refused = path_of(ctx, path, value); \
    if (refused != 0) return refused < 0 ? JS_EXCEPTION : JS_NewInt32(ctx, -refused); \
  } while (0)

// A whole number; 0 where there is none.
int64_t number_of(JSContext *ctx, JSValueConst value);

// What a call has returned, or the negative of errno.
static inline JSValue result_of(JSContext *ctx, int64_t result) {
  return JS_NewInt64(ctx, result == -1 ? -(int64_t)errno : result);
}

// An ArrayBuffer that owns bytes from js_malloc.
JSValue buffer_of(JSContext *ctx, uint8_t *bytes, size_t size);

// The signals that have come and were not told yet, each a bit.
uint64_t take_signals(void);

// Restores how signals are handled, as another program expects it. False: one has come, and is to be obeyed first.
bool leave_signals(void);

// Takes them as before, where there is no other program.
void take_signals_again(void);

// The same as leave_signals for a process that is to become another program, whatever has come.
void restore_signals(void);

// The words of a command line, and NULL behind the last. NULL: an exception is thrown.
char **words_of(JSContext *ctx, JSValueConst list);
void free_words(JSContext *ctx, char **words);

// The function that is called whenever nothing else is to be done. It returns false when nothing is left to wait for.
JSValue turn_of(void);

#endif
