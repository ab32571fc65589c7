/* What a fuzz target is made of. Each fuzz_NAME.c has both functions; libFuzzer or driver.c calls them. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* Must survive any bytes. A property that does not hold ends the program. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef void (*fuzz_seed_add)(const void *data, size_t size);

/* Gives good inputs to start from. */
void fuzz_seeds(fuzz_seed_add add);

#define FUZZ_CHECK(condition)                                                                                \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition);                   \
            abort();                                                                                         \
        }                                                                                                    \
    } while (0)
