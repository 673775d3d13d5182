// The engine's memory. It takes and gives back small blocks all the time. With malloc(3), that was a fifth of all instructions
// up to READY. Here, each slab has blocks of one size, and a block's address tells its slab.
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "door.h"
#include "memory.h"

enum {
  SLAB_BYTES = 16 << 10,
  UNIT = 16,
  // Larger blocks are malloc's.
  LARGEST = 512,
  SLABS = 1 << 16,
  // How many slabs become usable at once.
  STEP = 64,
  // What the engine counts for a block in addition to its size.
  OVERHEAD = 8,
};

struct block {
  struct block *next;
};

// The head of a slab, at the beginning of its bytes.
struct slab {
  // The blocks that were given back, and where those begin that were never given out.
  struct block *free;
  uint32_t fresh, live, block_bytes;
  // Its neighbours in the list of the slabs of its size that have room.
  struct slab *before, *after;
};
enum { HEAD_BYTES = (sizeof(struct slab) + UNIT - 1) / UNIT * UNIT };

static struct {
  // All slabs. The kernel gives memory only for what is used. NULL if it gives none.
  uint8_t *start;
  uint32_t usable, used, empty_count;
  struct slab *with_room[LARGEST / UNIT + 1];
  // The numbers of empty slabs.
  uint16_t empty[SLABS];
} memory;

static bool is_in_slab(const void *block) {
  return (uintptr_t)block - (uintptr_t)memory.start < (size_t)memory.used * SLAB_BYTES;
}
static struct slab *slab_of(const void *block) { return (struct slab *)((uintptr_t)block & ~(uintptr_t)(SLAB_BYTES - 1)); }
static struct slab *slab_at(uint32_t number) { return (struct slab *)(void *)(memory.start + (size_t)number * SLAB_BYTES); }
static uint16_t place_of(const struct slab *slab) {
  return (uint16_t)(((uintptr_t)slab - (uintptr_t)memory.start) / SLAB_BYTES);
}

static void leave_list(struct slab *slab) {
  if (slab->before != NULL) slab->before->after = slab->after;
  else memory.with_room[slab->block_bytes / UNIT] = slab->after;
  if (slab->after != NULL) slab->after->before = slab->before;
}

static void join_list(struct slab *slab) {
  struct slab **first = &memory.with_room[slab->block_bytes / UNIT];
  slab->before = NULL;
  slab->after = *first;
  if (*first != NULL) (*first)->before = slab;
  *first = slab;
}

static bool is_full(const struct slab *slab) { return slab->free == NULL && slab->fresh + slab->block_bytes > SLAB_BYTES; }

static struct slab *new_slab(uint32_t block_bytes) {
  struct slab *slab;
  if (memory.empty_count > 0) slab = slab_at(memory.empty[--memory.empty_count]);
  else {
    if (memory.used == memory.usable) {
      if (memory.start == NULL || memory.usable == SLABS) return NULL;
      if (mprotect(slab_at(memory.usable), (size_t)STEP * SLAB_BYTES, PROT_READ | PROT_WRITE) == -1) return NULL;
      memory.usable += STEP;
    }
    slab = slab_at(memory.used++);
  }
  *slab = (struct slab){.fresh = HEAD_BYTES, .block_bytes = block_bytes};
  join_list(slab);
  return slab;
}

// How many units a block of this many bytes takes.
static uint32_t units_of(size_t size) { return size == 0 ? 1 : (uint32_t)((size + UNIT - 1) / UNIT); }

static inline void *take_small(uint32_t units) {
  struct slab *slab = memory.with_room[units];
  if (slab == NULL && (slab = new_slab(units * UNIT)) == NULL) return NULL;
  struct block *block = slab->free;
  if (block != NULL) slab->free = block->next;
  else {
    block = (struct block *)(void *)((uint8_t *)slab + slab->fresh);
    slab->fresh += slab->block_bytes;
  }
  slab->live++;
  if (is_full(slab)) leave_list(slab);
  return block;
}

static inline void give_small(struct slab *slab, struct block *block) {
  if (is_full(slab)) join_list(slab);
  block->next = slab->free;
  slab->free = block;
  if (--slab->live > 0) return;
  leave_list(slab);
  memory.empty[memory.empty_count++] = place_of(slab);
}

static size_t size_of(const void *block) {
  return is_in_slab(block) ? slab_of(block)->block_bytes : malloc_usable_size((void *)(uintptr_t)block);
}

static void *counted(JSMallocState *state, void *block, size_t size) {
  if (block == NULL) return NULL;
  state->malloc_count++;
  state->malloc_size += size + OVERHEAD;
  return block;
}

static void *take_large(JSMallocState *state, size_t size) {
  void *block = malloc(size);
  return counted(state, block, malloc_usable_size(block));
}

static void *engine_malloc(JSMallocState *state, size_t size) {
  if (state->malloc_size + size > state->malloc_limit) return NULL;
  if (size > LARGEST) return take_large(state, size);
  uint32_t units = units_of(size);
  void *block = take_small(units);
  return block != NULL ? counted(state, block, units * UNIT) : take_large(state, size);
}

static void engine_free(JSMallocState *state, void *block) {
  if (block == NULL) return;
  state->malloc_count--;
  state->malloc_size -= size_of(block) + OVERHEAD;
  if (is_in_slab(block)) give_small(slab_of(block), block);
  else free(block);
}

static void *move_block(JSMallocState *state, void *block, size_t before, size_t size) {
  void *moved = engine_malloc(state, size);
  if (moved == NULL) return NULL;
  memcpy(moved, block, before < size ? before : size);
  engine_free(state, block);
  return moved;
}

static void *resize_large(JSMallocState *state, void *block, size_t before, size_t size) {
  void *moved = realloc(block, size);
  if (moved != NULL) state->malloc_size += malloc_usable_size(moved) - before;
  return moved;
}

static void *engine_realloc(JSMallocState *state, void *block, size_t size) {
  if (block == NULL) return size == 0 ? NULL : engine_malloc(state, size);
  if (size == 0) {
    engine_free(state, block);
    return NULL;
  }
  size_t before = size_of(block);
  if (state->malloc_size + size - before > state->malloc_limit) return NULL;
  if (size <= before && before - size < UNIT) return block;
  bool stays_large = size > LARGEST && !is_in_slab(block);
  return stays_large ? resize_large(state, block, before, size) : move_block(state, block, before, size);
}

// Under AddressSanitizer all blocks are malloc's, because it watches each of these.
JSRuntime *new_runtime(void) {
  static const JSMallocFunctions functions = {engine_malloc, engine_free, engine_realloc, size_of};
#ifndef __SANITIZE_ADDRESS__
  size_t size = (size_t)(SLABS + 1) * SLAB_BYTES;
  void *place = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (place != MAP_FAILED) memory.start = (uint8_t *)(((uintptr_t)place + SLAB_BYTES - 1) / SLAB_BYTES * SLAB_BYTES);
#endif
  return JS_NewRuntime2(&functions, NULL);
}

void give_back_memory(void) {
  for (uint32_t at = 0; at < memory.empty_count; at++) madvise(slab_at(memory.empty[at]), SLAB_BYTES, MADV_DONTNEED);
  malloc_trim(0);
}
