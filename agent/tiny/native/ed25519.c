// Ed25519 (RFC 8032, 5.1), only to verify. Nothing here is secret, so nothing hides how long it takes. An S that is not below
// the order is refused, and so is an R that is not encoded in the one right way. The equation is the one without the cofactor.
// OpenSSL and BoringSSL do the same (curve25519.c), and test/tiny/ed25519.test.ts compares it with them.
#include <string.h>
#include "door.h"
#include "sha512.h"

enum { KEY_BYTES = 32, SIGNATURE_BYTES = 64, LIMBS = 5, LIMB_BITS = 51 };
__extension__ typedef unsigned __int128 wide;

static const uint64_t LIMB = ((uint64_t)1 << LIMB_BITS) - 1;

// A number modulo p = 2^255 - 19, in limbs of 51 bits. A limb may exceed that by less than 2^16.
typedef struct {
  uint64_t limb[LIMBS];
} number;

// A point (x, y) as X/Z, Y/Z, and T = XY/Z.
typedef struct {
  number x, y, z, t;
} point;

// d of the curve -x^2 + y^2 = 1 + d x^2 y^2, and a square root of -1.
static const number D = {{0x34dca135978a3, 0x1a8283b156ebd, 0x5e7a26001c029, 0x739c663a03cbb, 0x52036cee2b6ff}};
static const number TWICE_D = {{0x69b9426b2f159, 0x35050762add7a, 0x3cf44c0038052, 0x6738cc7407977, 0x2406d9dc56dff}};
static const number ROOT_OF_MINUS_ONE = {{0x61b274a0ea0b0, 0x0d5a5fc8f189d, 0x7ef5e9cbd0c60, 0x78595a6804c9e, 0x2b8324804fc1d}};

// The base point, and the order of the group that it generates, with the least byte first, as RFC 8032 writes numbers.
static const uint8_t BASE[32] = {
  0x58, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66,
  0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66,
};
static const uint8_t ORDER[32] = {
  0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
  0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x10,
};

static const number ZERO = {{0}};
static const number ONE = {{1}};

static inline int bit_of(const uint8_t *bytes, int at) { return bytes[at / 8] >> (at % 8) & 1; }

// What exceeds a limb is carried to the next one, and from the last one, 19 times, to the first.
static number carried(wide sums[LIMBS]) {
  number result;
  for (int at = 0; at < LIMBS - 1; at++) {
    sums[at + 1] += sums[at] >> LIMB_BITS;
    sums[at] &= LIMB;
  }
  sums[0] += 19 * (sums[LIMBS - 1] >> LIMB_BITS);
  sums[LIMBS - 1] &= LIMB;
  sums[1] += sums[0] >> LIMB_BITS;
  sums[0] &= LIMB;
  for (int at = 0; at < LIMBS; at++) result.limb[at] = (uint64_t)sums[at];
  return result;
}

// The same, for limbs that are several times too large.
static number settled(number a) {
  for (int at = 0; at < LIMBS - 1; at++) {
    a.limb[at + 1] += a.limb[at] >> LIMB_BITS;
    a.limb[at] &= LIMB;
  }
  a.limb[0] += 19 * (a.limb[LIMBS - 1] >> LIMB_BITS);
  a.limb[LIMBS - 1] &= LIMB;
  return a;
}

static number sum(number a, number b) {
  for (int at = 0; at < LIMBS; at++) a.limb[at] += b.limb[at];
  return settled(a);
}

// a + 2p - b, so that no limb becomes negative.
static number difference(number a, number b) {
  for (int at = 0; at < LIMBS; at++) a.limb[at] += 2 * (LIMB - (at == 0 ? 18 : 0)) - b.limb[at];
  return settled(a);
}

static number product(number a, number b) {
  wide sums[LIMBS] = {0};
#pragma GCC unroll 5
  for (int i = 0; i < LIMBS; i++)
#pragma GCC unroll 5
    for (int j = 0; j < LIMBS; j++)
      sums[(i + j) % LIMBS] += (wide)a.limb[i] * (i + j < LIMBS ? b.limb[j] : 19 * b.limb[j]);
  return carried(sums);
}

// @param exponent of 255 bits, all of which are set but some of the first byte, and of the last
static number power(number base, uint8_t first, uint8_t last) {
  uint8_t exponent[32];
  memset(exponent, 0xff, sizeof exponent);
  exponent[0] = first, exponent[31] = last;
  number result = ONE;
  for (int at = 254; at >= 0; at--) {
    result = product(result, result);
    if (bit_of(exponent, at)) result = product(result, base);
  }
  return result;
}

// To the power of p - 2.
static number inverse(number a) { return power(a, 0xeb, 0x7f); }

// From the 255 lower bits.
static number number_of_bytes(const uint8_t bytes[32]) {
  number result = ZERO;
  for (int at = 0; at < 255; at++) result.limb[at / LIMB_BITS] |= (uint64_t)bit_of(bytes, at) << (at % LIMB_BITS);
  return result;
}

// The value below p. 19 is added to see whether it is p or more.
static void bytes_of_number(uint8_t bytes[32], number a) {
  uint64_t over = 19;
  for (int at = 0; at < LIMBS; at++) over = (a.limb[at] + over) >> LIMB_BITS;
  uint64_t rest = 19 * over;
  memset(bytes, 0, 32);
  for (int at = 0; at < LIMBS; at++) {
    rest += a.limb[at];
    for (int bit = 0; bit < LIMB_BITS; bit++) {
      int place = at * LIMB_BITS + bit;
      bytes[place / 8] |= (uint8_t)((rest >> bit & 1) << (place % 8));
    }
    rest >>= LIMB_BITS;
  }
}

static bool is_same(number a, number b) {
  uint8_t left[32], right[32];
  bytes_of_number(left, a);
  bytes_of_number(right, b);
  return memcmp(left, right, 32) == 0;
}

static bool is_odd(number a) {
  uint8_t bytes[32];
  bytes_of_number(bytes, a);
  return bytes[0] & 1;
}

// RFC 8032, 5.1.4: for any two points, even for the same one twice.
static point added(point a, point b) {
  number one = product(difference(a.y, a.x), difference(b.y, b.x)), two = product(sum(a.y, a.x), sum(b.y, b.x));
  number t = product(product(a.t, b.t), TWICE_D), z = product(a.z, sum(b.z, b.z));
  number e = difference(two, one), f = difference(z, t), g = sum(z, t), h = sum(two, one);
  return (point){product(e, f), product(g, h), product(f, g), product(e, h)};
}

// RFC 8032, 5.1.3: x^2 = (y^2 - 1) / (d y^2 + 1), by one power. Returns false if there is no such point.
static bool point_of_bytes(point *result, const uint8_t bytes[32]) {
  number y = number_of_bytes(bytes), square = product(y, y);
  number u = difference(square, ONE), v = sum(product(D, square), ONE);
  number v3 = product(product(v, v), v), v7 = product(product(v3, v3), v);
  number x = product(product(u, v3), power(product(u, v7), 0xfd, 0x0f));
  number found = product(v, product(x, x));
  if (!is_same(found, u)) {
    if (!is_same(found, difference(ZERO, u))) return false;
    x = product(x, ROOT_OF_MINUS_ONE);
  }
  if (is_odd(x) != bytes[31] >> 7) x = difference(ZERO, x);
  *result = (point){x, y, ONE, product(x, y)};
  return true;
}

static void bytes_of_point(uint8_t bytes[32], point a) {
  number z = inverse(a.z);
  bytes_of_number(bytes, product(a.y, z));
  bytes[31] |= (uint8_t)(is_odd(product(a.x, z)) << 7);
}

// One bit after the other of both numbers.
static point combined(const uint8_t s[32], point a, const uint8_t t[32], point b) {
  point both = added(a, b), result = {ZERO, ONE, ONE, ZERO};
  for (int at = 255; at >= 0; at--) {
    result = added(result, result);
    bool has_s = bit_of(s, at), has_t = bit_of(t, at);
    if (has_s || has_t) result = added(result, has_s ? has_t ? both : a : b);
  }
  return result;
}

static bool is_below_order(const uint8_t bytes[32]) {
  for (int at = 31; at >= 0; at--)
    if (bytes[at] != ORDER[at]) return bytes[at] < ORDER[at];
  return false;
}

// The remainder of a number of 512 bits, bit by bit. The remainder so far is doubled, so that it is below twice the order.
static void reduce(uint8_t rest[32], const uint8_t digest[SHA512_BYTES]) {
  memset(rest, 0, 32);
  for (int bit = 511; bit >= 0; bit--) {
    int carry = bit_of(digest, bit);
    for (int at = 0; at < 32; at++) {
      carry += 2 * rest[at];
      rest[at] = (uint8_t)carry, carry >>= 8;
    }
    if (is_below_order(rest)) continue;
    for (int at = 0, borrow = 0; at < 32; at++) {
      borrow += rest[at] - ORDER[at];
      rest[at] = (uint8_t)borrow, borrow >>= 8;
    }
  }
}

// RFC 8032, 5.1.7: whether R = S B - h A.
static bool is_signed(const uint8_t *key, struct part message, const uint8_t *signature) {
  const uint8_t *r = signature, *s = signature + 32;
  uint8_t digest[SHA512_BYTES], h[32], found[32];
  point a, base;
  if (!is_below_order(s) || !point_of_bytes(&a, key) || !point_of_bytes(&base, BASE)) return false;
  sha512(digest, (const struct part[]){{r, 32}, {key, KEY_BYTES}, message}, 3);
  reduce(h, digest);
  point minus = {difference(ZERO, a.x), a.y, a.z, difference(ZERO, a.t)};
  bytes_of_point(found, combined(s, base, h, minus));
  return memcmp(found, r, 32) == 0;
}

// ed25519(key, message, signature): whether the key has signed the message
static DOOR(verify) {
  struct part key, message, signature;
  key.bytes = bytes_of(ctx, &key.size, argv[0]);
  message.bytes = key.bytes == NULL ? NULL : bytes_of(ctx, &message.size, argv[1]);
  signature.bytes = message.bytes == NULL ? NULL : bytes_of(ctx, &signature.size, argv[2]);
  if (signature.bytes == NULL) return JS_EXCEPTION;
  bool is_whole = key.size == KEY_BYTES && signature.size == SIGNATURE_BYTES;
  return JS_NewBool(ctx, is_whole && is_signed(key.bytes, message, signature.bytes));
}

static const JSCFunctionListEntry functions[] = {JS_CFUNC_DEF("ed25519", 3, verify)};

void add_ed25519(JSContext *ctx, JSValueConst door) {
  JS_SetPropertyFunctionList(ctx, door, functions, sizeof functions / sizeof *functions);
}
