// JSON as RFC 8259 has it, in the words of agent/text/strict-json.ts. The engine's own parser takes more than that ([1.], [-01], "\x41"), so a text is looked at first.
#include <string.h>
#include "door.h"

// As many levels as Go's encoding/json takes, and so dockerd and containerd (src/encoding/json/scanner.go, maxNestingDepth).
enum { MAX_DEPTH = 10000 };

struct scan {
  const uint8_t *at, *end;
  const char *expected;
  unsigned depth;
  // For each level a bit: whether it is an object.
  uint8_t kinds[MAX_DEPTH / 8 + 1];
};

static bool refuse(struct scan *scan, const char *expected) {
  if (scan->expected == NULL) scan->expected = expected;
  return false;
}

static int peek(const struct scan *scan) { return scan->at < scan->end ? *scan->at : -1; }

static void skip_space(struct scan *scan) {
  while (scan->at < scan->end && (*scan->at == ' ' || *scan->at == '\n' || *scan->at == '\r' || *scan->at == '\t')) scan->at++;
}

static bool take(struct scan *scan, int wanted) {
  if (peek(scan) != wanted) return false;
  scan->at++;
  return true;
}

static bool is_digit(int byte) { return byte >= '0' && byte <= '9'; }
static bool is_hex(int byte) { return is_digit(byte) || (byte >= 'a' && byte <= 'f') || (byte >= 'A' && byte <= 'F'); }

static bool scan_digits(struct scan *scan) {
  if (!is_digit(peek(scan))) return refuse(scan, "a digit");
  while (is_digit(peek(scan))) scan->at++;
  return true;
}

static bool scan_number(struct scan *scan) {
  take(scan, '-');
  if (!take(scan, '0') && !scan_digits(scan)) return false;
  if (take(scan, '.') && !scan_digits(scan)) return false;
  if (!take(scan, 'e') && !take(scan, 'E')) return true;
  if (!take(scan, '+')) take(scan, '-');
  return scan_digits(scan);
}

static bool scan_escape(struct scan *scan) {
  int letter = peek(scan);
  if (letter == -1 || strchr("\"\\/bfnrtu", letter) == NULL || letter == 0) return refuse(scan, "one of \"\\/bfnrtu behind a backslash");
  scan->at++;
  for (int count = 0; letter == 'u' && count < 4; count++) {
    if (!is_hex(peek(scan))) return refuse(scan, "four hex digits behind \\u");
    scan->at++;
  }
  return true;
}

static bool scan_string(struct scan *scan) {
  if (!take(scan, '"')) return refuse(scan, "a string");
  for (;;) {
    int byte = peek(scan);
    if (byte < 0x20) return refuse(scan, byte == -1 ? "the end of a string" : "no control character in a string");
    scan->at++;
    if (byte == '"') return true;
    if (byte == '\\' && !scan_escape(scan)) return false;
  }
}

static bool scan_word(struct scan *scan, const char *word) {
  size_t size = strlen(word);
  if ((size_t)(scan->end - scan->at) < size || memcmp(scan->at, word, size) != 0) return refuse(scan, "a value");
  scan->at += size;
  return true;
}

static bool scan_scalar(struct scan *scan) {
  switch (peek(scan)) {
    case '"': return scan_string(scan);
    case 't': return scan_word(scan, "true");
    case 'f': return scan_word(scan, "false");
    case 'n': return scan_word(scan, "null");
    default: return peek(scan) == '-' || is_digit(peek(scan)) ? scan_number(scan) : refuse(scan, "a value");
  }
}

static bool in_object(const struct scan *scan) { return scan->kinds[scan->depth / 8] >> scan->depth % 8 & 1; }

static bool enter(struct scan *scan, bool is_object) {
  if (scan->depth == MAX_DEPTH) return refuse(scan, "");
  scan->depth++;
  uint8_t bit = (uint8_t)(1 << scan->depth % 8), *kinds = &scan->kinds[scan->depth / 8];
  *kinds = is_object ? *kinds | bit : *kinds & (uint8_t)~bit;
  return true;
}

static bool scan_key(struct scan *scan) {
  skip_space(scan);
  if (!scan_string(scan)) return false;
  skip_space(scan);
  return take(scan, ':') || refuse(scan, "':'");
}

// Goes on behind a value: to the next one, or out of what ends here. Sets `done` behind the outermost.
static bool scan_behind(struct scan *scan, bool *done) {
  for (;;) {
    skip_space(scan);
    *done = scan->depth == 0;
    if (*done) return scan->at == scan->end || refuse(scan, "the end");
    if (take(scan, ',')) return in_object(scan) ? scan_key(scan) : true;
    if (!take(scan, in_object(scan) ? '}' : ']')) return refuse(scan, in_object(scan) ? "',' or '}'" : "',' or ']'");
    scan->depth--;
  }
}

// Enters an array or an object. Sets `empty` where it has nothing.
static bool scan_opening(struct scan *scan, bool is_object, bool *empty) {
  scan->at++;
  if (!enter(scan, is_object)) return false;
  skip_space(scan);
  *empty = peek(scan) == (is_object ? '}' : ']');
  return *empty || !is_object || scan_key(scan);
}

static bool scan_text(struct scan *scan) {
  for (bool done = false; !done;) {
    skip_space(scan);
    bool is_object = peek(scan) == '{', empty = true;
    if (is_object || peek(scan) == '[') {
      if (!scan_opening(scan, is_object, &empty)) return false;
      if (!empty) continue;
    } else if (!scan_scalar(scan)) return false;
    if (!scan_behind(scan, &done)) return false;
  }
  return true;
}

static JSValue complain(JSContext *ctx, const struct scan *scan, const char *text) {
  if (scan->depth == MAX_DEPTH && scan->expected[0] == 0)
    return JS_ThrowRangeError(ctx, "expected JSON of at most %d levels, found more", MAX_DEPTH);
  int found = peek(scan);
  // Half of a surrogate pair has no UTF-8. The character that stands for it elsewhere is told.
  if (found == 0xed && scan->end - scan->at > 1 && scan->at[1] >= 0xa0) found = 0xef;
  int64_t at = scan->at - (const uint8_t *)text + 1;
  if (found == -1) return JS_ThrowSyntaxError(ctx, "expected JSON, found its end where %s was expected", scan->expected);
  if (found > 0x20 && found < 0x7f)
    return JS_ThrowSyntaxError(ctx, "expected JSON, found '%c' as byte %lld, where %s was expected", found, (long long)at, scan->expected);
  return JS_ThrowSyntaxError(ctx, "expected JSON, found 0x%02x as byte %lld, where %s was expected", found, (long long)at, scan->expected);
}

// parseJson(text): what JSON.parse gives
static DOOR(parse_json) {
  size_t size;
  const char *text = JS_ToCStringLen(ctx, &size, argv[0]);
  if (text == NULL) return JS_EXCEPTION;
  struct scan scan = {.at = (const uint8_t *)text, .end = (const uint8_t *)text + size};
  JSValue value = scan_text(&scan) ? JS_ParseJSON(ctx, text, size, "JSON") : complain(ctx, &scan, text);
  JS_FreeCString(ctx, text);
  return value;
}

// countStarts(text): how many of [, { and , it has
static DOOR(count_starts) {
  size_t size, count = 0;
  const char *text = JS_ToCStringLen(ctx, &size, argv[0]);
  if (text == NULL) return JS_EXCEPTION;
  for (size_t at = 0; at < size; at++) count += text[at] == '[' || text[at] == '{' || text[at] == ',';
  JS_FreeCString(ctx, text);
  return JS_NewInt64(ctx, (int64_t)count);
}

static const JSCFunctionListEntry functions[] = {JS_CFUNC_DEF("parseJson", 1, parse_json), JS_CFUNC_DEF("countStarts", 1, count_starts)};

void add_json(JSContext *ctx, JSValueConst door) {
  JS_SetPropertyFunctionList(ctx, door, functions, sizeof functions / sizeof *functions);
}
