// Text and bytes, converted as Node does it. The engine itself does it in another way if they are not valid.
#include <stdlib.h>
#include <string.h>
#include "door.h"

static const uint8_t REPLACEMENT[] = {0xef, 0xbf, 0xbd};

// How many bytes follow the first one of a character, or -1 if it begins none.
static int following(uint8_t first) {
  if (first < 0x80) return 0;
  if (first < 0xc2 || first > 0xf4) return -1;
  return first < 0xe0 ? 1 : first < 0xf0 ? 2 : 3;
}

// How many of the bytes behind the first belong to its character (Unicode 16.0, table 3-7).
static size_t belonging(const uint8_t *bytes, size_t size) {
  uint8_t low = bytes[0] == 0xe0 ? 0xa0 : bytes[0] == 0xf0 ? 0x90 : 0x80;
  uint8_t high = bytes[0] == 0xed ? 0x9f : bytes[0] == 0xf4 ? 0x8f : 0xbf;
  int count = following(bytes[0]);
  size_t found = 0;
  while ((int)found < count && 1 + found < size && bytes[1 + found] >= low && bytes[1 + found] <= high) {
    found++;
    low = 0x80;
    high = 0xbf;
  }
  return found;
}

// The length of the character that begins here. If there is no valid one, 0, and `broken` is the length of what is there of it.
static size_t character_at(const uint8_t *bytes, size_t size, size_t *broken) {
  int count = following(bytes[0]);
  size_t found = count > 0 ? belonging(bytes, size) : 0;
  *broken = 1 + found;
  return count == (int)found ? 1 + found : 0;
}

// Where the first invalid byte is, or the end.
static size_t valid_until(const uint8_t *bytes, size_t size) {
  size_t at = 0;
  while (at < size) {
    size_t broken, length = character_at(bytes + at, size - at, &broken);
    if (length == 0) return at;
    at += length;
  }
  return size;
}

// Copies bytes, with U+FFFD for each invalid part (WHATWG Encoding, "maximal subpart"). Returns the size.
static size_t repair(uint8_t *to, const uint8_t *bytes, size_t size) {
  size_t length = 0;
  for (size_t at = 0; at < size;) {
    size_t broken, whole = character_at(bytes + at, size - at, &broken);
    const uint8_t *from = whole > 0 ? bytes + at : REPLACEMENT;
    size_t count = whole > 0 ? whole : sizeof REPLACEMENT;
    memcpy(to + length, from, count);
    length += count;
    at += whole > 0 ? whole : broken;
  }
  return length;
}

JSValue text_of_utf8(JSContext *ctx, const uint8_t *bytes, size_t size) {
  if (valid_until(bytes, size) == size) return JS_NewStringLen(ctx, (const char *)bytes, size);
  if (size > SIZE_MAX / sizeof REPLACEMENT) return JS_ThrowOutOfMemory(ctx);
  uint8_t *repaired = js_malloc(ctx, size * sizeof REPLACEMENT);
  if (repaired == NULL) return JS_EXCEPTION;
  JSValue text = JS_NewStringLen(ctx, (const char *)repaired, repair(repaired, bytes, size));
  js_free(ctx, repaired);
  return text;
}

static bool is_ascii(const uint8_t *bytes, size_t size) {
  uint8_t all = 0;
  for (size_t at = 0; at < size; at++) all |= bytes[at];
  return all < 0x80;
}

JSValue text_of_latin1(JSContext *ctx, const uint8_t *bytes, size_t size) {
  if (is_ascii(bytes, size)) return JS_NewStringLen(ctx, (const char *)bytes, size);
  if (size > SIZE_MAX / 2) return JS_ThrowOutOfMemory(ctx);
  uint8_t *wide = js_malloc(ctx, size * 2);
  if (wide == NULL) return JS_EXCEPTION;
  size_t length = 0;
  for (size_t at = 0; at < size; at++) {
    if (bytes[at] >= 0x80) wide[length++] = 0xc0 | bytes[at] >> 6;
    wide[length++] = bytes[at] < 0x80 ? bytes[at] : 0x80 | (bytes[at] & 0x3f);
  }
  JSValue text = JS_NewStringLen(ctx, (const char *)wide, length);
  js_free(ctx, wide);
  return text;
}

// Half of a surrogate pair becomes U+FFFD, which has as many bytes. The engine gives a copy of texts that have one.
static void replace_surrogates(uint8_t *bytes, size_t size) {
  for (size_t at = 0; at + 2 < size; at++)
    if (bytes[at] == 0xed && bytes[at + 1] >= 0xa0) memcpy(bytes + at, REPLACEMENT, sizeof REPLACEMENT);
}

const char *utf8_of_text(JSContext *ctx, size_t *size, JSValueConst text) {
  const char *utf8 = JS_ToCStringLen(ctx, size, text);
  if (utf8 != NULL && memchr(utf8, 0xed, *size) != NULL) replace_surrogates((uint8_t *)utf8, *size);
  return utf8;
}

uint8_t *bytes_of(JSContext *ctx, size_t *size, JSValueConst value) {
  size_t offset, width, whole;
  JSValue buffer = JS_GetTypedArrayBuffer(ctx, value, &offset, size, &width);
  if (JS_IsException(buffer)) return NULL;
  uint8_t *bytes = JS_GetArrayBuffer(ctx, &whole, buffer);
  JS_FreeValue(ctx, buffer);
  if (bytes == NULL) return NULL;
  if (width == 1 && offset <= whole && *size <= whole - offset) return bytes + offset;
  JS_ThrowTypeError(ctx, "expected bytes, found another array");
  return NULL;
}

static int copy_path(JSContext *ctx, char path[PATH_MAX], const char *from, size_t size) {
  if (memchr(from, 0, size) != NULL) {
    JS_ThrowTypeError(ctx, "expected a path without NUL, found one");
    return -1;
  }
  if (size >= PATH_MAX) return ENAMETOOLONG;
  memcpy(path, from, size);
  path[size] = 0;
  return 0;
}

int path_of(JSContext *ctx, char path[PATH_MAX], JSValueConst value) {
  size_t size;
  if (!JS_IsString(value)) {
    const uint8_t *bytes = bytes_of(ctx, &size, value);
    return bytes == NULL ? -1 : copy_path(ctx, path, (const char *)bytes, size);
  }
  const char *text = utf8_of_text(ctx, &size, value);
  if (text == NULL) return -1;
  int refused = copy_path(ctx, path, text, size);
  JS_FreeCString(ctx, text);
  return refused;
}

int64_t number_of(JSContext *ctx, JSValueConst value) {
  int64_t number = 0;
  if (JS_IsNumber(value)) JS_ToInt64(ctx, &number, value);
  return number;
}

static void free_bytes(JSRuntime *rt, __attribute__((unused)) void *opaque, void *bytes) { js_free_rt(rt, bytes); }

JSValue buffer_of(JSContext *ctx, uint8_t *bytes, size_t size) {
  JSValue buffer = JS_NewArrayBuffer(ctx, bytes, size, free_bytes, NULL, false);
  if (JS_IsException(buffer)) js_free(ctx, bytes);
  return buffer;
}

// utf8(bytes), latin1(bytes): text
static DOOR(utf8) {
  size_t size;
  const uint8_t *bytes = bytes_of(ctx, &size, argv[0]);
  return bytes == NULL ? JS_EXCEPTION : text_of_utf8(ctx, bytes, size);
}

static DOOR(latin1) {
  size_t size;
  const uint8_t *bytes = bytes_of(ctx, &size, argv[0]);
  return bytes == NULL ? JS_EXCEPTION : text_of_latin1(ctx, bytes, size);
}

// hex(bytes): text
static DOOR(hex) {
  static const char digits[] = "0123456789abcdef";
  size_t size;
  const uint8_t *bytes = bytes_of(ctx, &size, argv[0]);
  if (bytes == NULL) return JS_EXCEPTION;
  if (size > SIZE_MAX / 2 - 1) return JS_ThrowOutOfMemory(ctx);
  char *text = js_malloc(ctx, size * 2 + 1);
  if (text == NULL) return JS_EXCEPTION;
  for (size_t at = 0; at < size; at++) {
    text[2 * at] = digits[bytes[at] >> 4];
    text[2 * at + 1] = digits[bytes[at] & 15];
  }
  JSValue result = JS_NewStringLen(ctx, text, size * 2);
  js_free(ctx, text);
  return result;
}

// encode(text): its UTF-8, an ArrayBuffer
static DOOR(encode) {
  size_t size;
  const char *text = utf8_of_text(ctx, &size, argv[0]);
  if (text == NULL) return JS_EXCEPTION;
  JSValue bytes = JS_NewArrayBufferCopy(ctx, (const uint8_t *)text, size);
  JS_FreeCString(ctx, text);
  return bytes;
}

// size(text): how many bytes its UTF-8 has
static DOOR(size) {
  size_t size;
  const char *text = utf8_of_text(ctx, &size, argv[0]);
  if (text == NULL) return JS_EXCEPTION;
  JS_FreeCString(ctx, text);
  return JS_NewInt64(ctx, (int64_t)size);
}

// equals(bytes, bytes)
static DOOR(equals) {
  size_t left, right;
  const uint8_t *a = bytes_of(ctx, &left, argv[0]);
  const uint8_t *b = a == NULL ? NULL : bytes_of(ctx, &right, argv[1]);
  if (b == NULL) return JS_EXCEPTION;
  return JS_NewBool(ctx, left == right && memcmp(a, b, left) == 0);
}

// find(bytes, text, from): where the text begins, or -1
static DOOR(find) {
  size_t size, length;
  const uint8_t *bytes = bytes_of(ctx, &size, argv[0]);
  const char *text = bytes == NULL ? NULL : utf8_of_text(ctx, &length, argv[1]);
  if (text == NULL) return JS_EXCEPTION;
  int64_t from = number_of(ctx, argv[2]);
  size_t start = from < 0 ? 0 : (uint64_t)from > size ? size : (size_t)from;
  const uint8_t *found = memmem(bytes + start, size - start, text, length);
  JS_FreeCString(ctx, text);
  return JS_NewInt64(ctx, found == NULL ? -1 : found - bytes);
}

// isDigest(text): whether it is a sha256 digest
static DOOR(is_digest) {
  static const char kind[] = "sha256:";
  enum { KIND = sizeof kind - 1, DIGITS = 64 };
  size_t size;
  const char *text = JS_ToCStringLen(ctx, &size, argv[0]);
  if (text == NULL) return JS_EXCEPTION;
  bool is_one = size == KIND + DIGITS && memcmp(text, kind, KIND) == 0;
  for (size_t at = KIND; is_one && at < size; at++)
    is_one = (text[at] >= '0' && text[at] <= '9') || (text[at] >= 'a' && text[at] <= 'f');
  JS_FreeCString(ctx, text);
  return JS_NewBool(ctx, is_one);
}

// isPlainPath(text): whether it is ASCII, and has no name that is empty or begins with a dot
static DOOR(is_plain_path) {
  size_t size;
  const char *text = JS_ToCStringLen(ctx, &size, argv[0]);
  if (text == NULL) return JS_EXCEPTION;
  bool is_plain = size > 0 && text[size - 1] != '/' && text[0] != '.';
  for (size_t at = 0; is_plain && at < size; at++)
    is_plain = (uint8_t)text[at] < 0x80 && !(text[at] == '/' && (text[at + 1] == '/' || text[at + 1] == '.'));
  JS_FreeCString(ctx, text);
  return JS_NewBool(ctx, is_plain);
}

static const JSCFunctionListEntry functions[] = {
  JS_CFUNC_DEF("utf8", 1, utf8),     JS_CFUNC_DEF("latin1", 1, latin1), JS_CFUNC_DEF("hex", 1, hex),
  JS_CFUNC_DEF("encode", 1, encode), JS_CFUNC_DEF("size", 1, size),     JS_CFUNC_DEF("equals", 2, equals),
  JS_CFUNC_DEF("find", 3, find),     JS_CFUNC_DEF("isDigest", 1, is_digest),
  JS_CFUNC_DEF("isPlainPath", 1, is_plain_path),
};

void add_text(JSContext *ctx, JSValueConst door) {
  JS_SetPropertyFunctionList(ctx, door, functions, sizeof functions / sizeof *functions);
}
