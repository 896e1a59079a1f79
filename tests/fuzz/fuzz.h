/*
 * fuzz - one input at a time into what parses bytes from outside.
 *
 * A target is a file that defines fuzz_one() and fuzz_seeds. With the preset
 * "fuzz" (clang) it becomes a libFuzzer program:
 *
 *   build/fuzz/bin/fuzz_spec -max_total_time=60 some/corpus
 *
 * In every other build it is a program that feeds WEIR_FUZZ_ROUNDS (3000)
 * inputs made from its seeds by the same few mutations each time, so that the
 * sanitizers look at them in every run of the tests.
 *
 * fuzz_one() keeps nothing: what it parses it frees. It fails by an assertion,
 * a signal or a sanitizer.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <stddef.h>

extern const char *const fuzz_seeds[]; /* ended by NULL */

void fuzz_one(const char *data, size_t size);

#endif
