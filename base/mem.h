/*
 * mem - allocation that does not fail.
 *
 * Running out of memory for a small control object ends the process by design:
 * another JobManager leads, another worker is started. What a peer can make
 * large is bounded before it is allocated, and uses malloc with a check.
 * Memory is the caller's and is released with free().
 */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <stddef.h>

#include "base/err.h"

void *mem_alloc(size_t size) __attribute__((malloc, returns_nonnull));               /* zeroed */
void *mem_array(size_t count, size_t size) __attribute__((malloc, returns_nonnull)); /* zeroed */
void *mem_resize(void *old, size_t count, size_t size) __attribute__((returns_nonnull));
char *mem_text(const char *text) __attribute__((malloc, returns_nonnull)); /* a copy */
char *mem_text_n(const char *text, size_t len) __attribute__((malloc, returns_nonnull));
char *mem_printf(const char *fmt, ...) PRINTF_LIKE(1, 2) __attribute__((malloc, returns_nonnull));
void *mem_copy(const void *data, size_t len) __attribute__((malloc, returns_nonnull));

/* The struct that embeds `member`: MEM_OWNER(timer, struct lease, renew_timer). */
#define MEM_OWNER(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

#endif
