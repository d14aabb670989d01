/* What the fuzz targets share. Each target is one file with LLVMFuzzerTestOneInput; libFuzzer
 * drives it, or replay_main.c. */
#ifndef FLOWFS_TESTS_FUZZ_HARNESS_H
#define FLOWFS_TESTS_FUZZ_HARNESS_H

#include "bytes.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A promise of the code under test: the input that breaks it is kept by the driver. */
#define HOLDS(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition);         \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* The same for what takes words to tell: a printf format and its arguments. */
#define BROKEN(...)                                                                                \
    do {                                                                                           \
        fprintf(stderr, "%s:%d: ", __FILE__, __LINE__);                                            \
        fprintf(stderr, __VA_ARGS__);                                                              \
        fputc('\n', stderr);                                                                       \
        abort();                                                                                   \
    } while (0)

/* A copy of the input that ends where memory ends: a read behind it faults, without a sanitizer
 * too. Valid until the next call. */
struct bytes guarded(const uint8_t *data, size_t size);

#endif
