// SHA-256 (FIPS 180-4), of data that comes in pieces.
#include <string.h>
#include "door.h"

enum { BLOCK = 64, DIGEST = 32 };

struct sha256 {
  uint32_t hash[8];
  uint64_t bytes;
  uint8_t block[BLOCK];
};

static const uint32_t FIRST[8] = {
  0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
};

static const uint32_t K[64] = {
  0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
  0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
  0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
  0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
  0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
  0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
  0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
  0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static inline uint32_t turned(uint32_t word, int bits) { return word >> bits | word << (32 - bits); }

static void expand(uint32_t w[64], const uint8_t *block) {
  for (int t = 0; t < 16; t++)
    w[t] = (uint32_t)block[4 * t] << 24 | (uint32_t)block[4 * t + 1] << 16 | (uint32_t)block[4 * t + 2] << 8 | block[4 * t + 3];
  for (int t = 16; t < 64; t++) {
    uint32_t small0 = turned(w[t - 15], 7) ^ turned(w[t - 15], 18) ^ w[t - 15] >> 3;
    uint32_t small1 = turned(w[t - 2], 17) ^ turned(w[t - 2], 19) ^ w[t - 2] >> 10;
    w[t] = small1 + w[t - 7] + small0 + w[t - 16];
  }
}

static void add_block(uint32_t hash[8], const uint8_t *block) {
  uint32_t w[64], a = hash[0], b = hash[1], c = hash[2], d = hash[3], e = hash[4], f = hash[5], g = hash[6], h = hash[7];
  expand(w, block);
  for (int t = 0; t < 64; t++) {
    uint32_t one = h + (turned(e, 6) ^ turned(e, 11) ^ turned(e, 25)) + ((e & f) ^ (~e & g)) + K[t] + w[t];
    uint32_t two = (turned(a, 2) ^ turned(a, 13) ^ turned(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
    h = g, g = f, f = e, e = d + one, d = c, c = b, b = a, a = one + two;
  }
  hash[0] += a, hash[1] += b, hash[2] += c, hash[3] += d, hash[4] += e, hash[5] += f, hash[6] += g, hash[7] += h;
}

static void add(struct sha256 *state, const uint8_t *bytes, size_t size) {
  size_t held = state->bytes % BLOCK;
  state->bytes += size;
  if (held > 0) {
    size_t count = size < BLOCK - held ? size : BLOCK - held;
    memcpy(state->block + held, bytes, count);
    if (held + count < BLOCK) return;
    add_block(state->hash, state->block);
    bytes += count, size -= count;
  }
  for (; size >= BLOCK; bytes += BLOCK, size -= BLOCK) add_block(state->hash, bytes);
  memcpy(state->block, bytes, size);
}

static void finish(struct sha256 *state, uint8_t digest[DIGEST]) {
  uint8_t end[BLOCK + 8] = {0x80};
  uint64_t bits = state->bytes * 8;
  size_t held = state->bytes % BLOCK, zeros = (held < 56 ? 56 : 56 + BLOCK) - held;
  for (int at = 0; at < 8; at++) end[zeros + at] = (uint8_t)(bits >> (56 - 8 * at));
  add(state, end, zeros + 8);
  for (int at = 0; at < DIGEST; at++) digest[at] = (uint8_t)(state->hash[at / 4] >> (24 - 8 * (at % 4)));
}

// The state is in an ArrayBuffer, which may have any alignment, so it is copied.
static bool state_of(JSContext *ctx, struct sha256 *state, JSValueConst value) {
  size_t size;
  const uint8_t *bytes = JS_GetArrayBuffer(ctx, &size, value);
  if (bytes == NULL) return false;
  if (size != sizeof *state) {
    JS_ThrowTypeError(ctx, "expected the state of a sha256, found another buffer");
    return false;
  }
  memcpy(state, bytes, sizeof *state);
  return true;
}

// sha256Begin(): the state
static DOOR(begin) {
  struct sha256 state = {.bytes = 0};
  memcpy(state.hash, FIRST, sizeof FIRST);
  return JS_NewArrayBufferCopy(ctx, (const uint8_t *)&state, sizeof state);
}

static bool add_value(JSContext *ctx, struct sha256 *state, JSValueConst value) {
  size_t size;
  if (!JS_IsString(value)) {
    const uint8_t *bytes = bytes_of(ctx, &size, value);
    if (bytes != NULL) add(state, bytes, size);
    return bytes != NULL;
  }
  const char *text = utf8_of_text(ctx, &size, value);
  if (text == NULL) return false;
  add(state, (const uint8_t *)text, size);
  JS_FreeCString(ctx, text);
  return true;
}

// sha256Add(state, bytes or text): the state from here on
static DOOR(add_more) {
  struct sha256 state;
  if (!state_of(ctx, &state, argv[0]) || !add_value(ctx, &state, argv[1])) return JS_EXCEPTION;
  return JS_NewArrayBufferCopy(ctx, (const uint8_t *)&state, sizeof state);
}

// sha256End(state): the digest, an ArrayBuffer
static DOOR(end) {
  struct sha256 state;
  uint8_t digest[DIGEST];
  if (!state_of(ctx, &state, argv[0])) return JS_EXCEPTION;
  finish(&state, digest);
  return JS_NewArrayBufferCopy(ctx, digest, sizeof digest);
}

static const JSCFunctionListEntry functions[] = {
  JS_CFUNC_DEF("sha256Begin", 0, begin),
  JS_CFUNC_DEF("sha256Add", 2, add_more),
  JS_CFUNC_DEF("sha256End", 1, end),
};

void add_sha256(JSContext *ctx, JSValueConst door) {
  JS_SetPropertyFunctionList(ctx, door, functions, sizeof functions / sizeof *functions);
}
