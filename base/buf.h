/*
 * buf - a growing run of bytes with a limit.
 *
 * Invariants: data is never NULL after the first append and always ends in a
 * zero byte beyond len; len <= max (max 0: no limit). An append that would
 * pass the limit changes nothing and sets `full`, which stays set until
 * buf_clear(): check it once at the end. The zero value is an empty buffer
 * without a limit.
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

struct buf {
	char *data; /* owns */
	size_t len;
	size_t capacity;
	size_t max; /* 0: no limit */
	bool full;  /* an append was refused */
};

void buf_init(struct buf *b, size_t max);
void buf_fini(struct buf *b); /* also of a zeroed one; usable again afterwards */
void buf_clear(struct buf *b);
void buf_add(struct buf *b, const void *data, size_t len);
void buf_text(struct buf *b, const char *text);
void buf_printf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Room for `len` more bytes; NULL (and full) when over the limit. Follow with buf_grew(). */
void *buf_reserve(struct buf *b, size_t len);
void buf_grew(struct buf *b, size_t len);
/* Remove the first `len` bytes. */
void buf_shift(struct buf *b, size_t len);
/* Hand the bytes over: the caller frees them; the buffer is empty again. Never NULL. */
char *buf_take(struct buf *b, size_t *out_len);

#endif
