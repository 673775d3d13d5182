// Takes, moves and gives back blocks of the engine's memory at random, and looks whether each still has its content.
#include "../../agent/tiny/native/memory.c"
#include <stdio.h>

enum { BLOCKS = 30000, STEPS = 3000000, PHASE = 700000 };

static const JSMallocFunctions *functions;
static JSMallocState state = {.malloc_limit = (size_t)1 << 30};
static struct {
  uint8_t *bytes;
  size_t size;
  uint8_t content;
} blocks[BLOCKS];

JSRuntime *JS_NewRuntime2(const JSMallocFunctions *given, void *opaque) {
  functions = given;
  return opaque;
}

static void check(bool is_right, const char *what) {
  if (is_right) return;
  printf("%s\n", what);
  exit(1);
}

static void check_content(const uint8_t *bytes, size_t size, uint8_t content) {
  for (size_t at = 0; at < size; at++) check(bytes[at] == content, "a block has lost its content");
}

static uint64_t next_random(void) {
  static uint64_t word = 88172645463325252u;
  return word ^= word << 13, word ^= word >> 7, word ^= word << 17;
}

static void change(unsigned which, size_t size, uint8_t content, bool moves) {
  uint8_t *before = blocks[which].bytes;
  size_t kept = blocks[which].size < size ? blocks[which].size : size;
  check_content(before, blocks[which].size, blocks[which].content);
  if (!moves) {
    functions->js_free(&state, before);
    before = NULL, kept = 0;
  }
  uint8_t *bytes = functions->js_realloc(&state, before, size);
  check((bytes != NULL) == (size > 0), "a block was expected where there is room, and none of no bytes");
  check(functions->js_malloc_usable_size == size_of && (bytes == NULL || size_of(bytes) >= size), "a block is too small");
  check_content(bytes, kept, blocks[which].content);
  if (size > 0) memset(bytes, content, size);
  blocks[which].bytes = bytes, blocks[which].size = size, blocks[which].content = content;
}

int main(void) {
  new_runtime();
  for (unsigned at = 0; at < STEPS; at++) {
    uint64_t word = next_random();
    // Of the sizes of an engine, most are small. Every other phase, more is given back than taken.
    size_t size = word >> 20 & 15 ? (word >> 24) % 200 : (word >> 24) % 3000;
    bool ends = at / PHASE % 2 == 1 && (word >> 50 & 3) != 0;
    change((unsigned)(word % BLOCKS), ends ? 0 : size, (uint8_t)(word >> 40), word >> 60 & 1);
    if (at % 100003 == 0) give_back_memory();
  }
  size_t most = memory.used;
  for (unsigned which = 0; which < BLOCKS; which++) change(which, 0, 0, true);
  check(state.malloc_count == 0 && state.malloc_size == 0, "something is counted where nothing is left");
  check(most > 0 && memory.used == most && memory.empty_count == most, "a slab is not empty where nothing is left");
  state.malloc_limit = 1000;
  check(functions->js_malloc(&state, 400) != NULL && functions->js_malloc(&state, 700) == NULL, "the limit does not hold");
  return 0;
}
