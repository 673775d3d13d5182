// The engine's memory.
#ifndef MEMORY_H
#define MEMORY_H
#include "quickjs.h"

// NULL: there is not enough.
JSRuntime *new_runtime(void);

// Gives what is not used to the kernel.
void give_back_memory(void);

#endif
