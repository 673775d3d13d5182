// compile IN.js OUT: makes the bytecode of one module, without its source. Others import it as IN.js. Runs where the small engine
// is built.
#include <stdio.h>
#include <stdlib.h>
#include "quickjs.h"

static void fail(const char *what) {
  fprintf(stderr, "compile: %s\n", what);
  exit(1);
}

static char *read_whole(const char *path, size_t *size) {
  FILE *file = fopen(path, "rb");
  if (file == NULL || fseek(file, 0, SEEK_END) != 0) fail("expected a file that can be read, found none");
  long length = ftell(file);
  char *text = length < 0 ? NULL : calloc((size_t)length + 1, 1);
  if (text == NULL) fail("expected room for the program, found none");
  rewind(file);
  if (fread(text, 1, (size_t)length, file) != (size_t)length) fail("the program cannot be read");
  fclose(file);
  *size = (size_t)length;
  return text;
}

static void write_whole(const char *path, const uint8_t *bytes, size_t size) {
  FILE *file = fopen(path, "wb");
  if (file == NULL || fwrite(bytes, 1, size, file) != size || fclose(file) != 0) fail("the bytecode cannot be written");
}

static int begin_nothing(JSContext *ctx, JSModuleDef *module) { return ctx == NULL || module == NULL; }

// Another one that it imports is looked for, but is not needed yet.
static JSModuleDef *promise_module(JSContext *ctx, const char *name, void *opaque) {
  (void)opaque;
  return JS_NewCModule(ctx, name, begin_nothing);
}

int main(int argc, char **argv) {
  if (argc != 3) fail("expected two paths");
  size_t length, size;
  char *source = read_whole(argv[1], &length);
  JSRuntime *rt = JS_NewRuntime();
  JS_SetStripInfo(rt, JS_STRIP_DEBUG);
  JS_SetModuleLoaderFunc(rt, NULL, promise_module, NULL);
  JSContext *ctx = JS_NewContext(rt);
  JSValue program = JS_Eval(ctx, source, length, argv[1], JS_EVAL_TYPE_MODULE | JS_EVAL_FLAG_COMPILE_ONLY);
  if (JS_IsException(program)) fail(JS_ToCString(ctx, JS_GetException(ctx)));
  uint8_t *bytes = JS_WriteObject(ctx, &size, program, JS_WRITE_OBJ_BYTECODE);
  if (bytes == NULL) fail("no bytecode was made");
  write_whole(argv[2], bytes, size);
  return 0;
}
