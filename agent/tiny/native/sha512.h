// SHA-512, which Ed25519 is made with.
#ifndef SHA512_H
#define SHA512_H
#include <stddef.h>
#include <stdint.h>

enum { SHA512_BYTES = 64 };

struct part {
  const uint8_t *bytes;
  size_t size;
};

// The digest of parts that follow each other.
void sha512(uint8_t digest[SHA512_BYTES], const struct part *parts, size_t count);

#endif
