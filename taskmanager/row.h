/*
 * row - one record in its compact binary form.
 *
 *   +-------+------+-------+----------+--------+ - - +--------+---------+---------------+
 *   | units | kind | flags |   hash   | slot 0 |     | slot n | [nulls] | variable part |
 *   +-------+------+-------+----------+--------+ - - +--------+---------+---------------+
 *     u16     u8     u8      u32        8 bytes per column      u64 x k   padded to 8
 *
 * `units` is the size of the whole row in units of 8 bytes. A slot holds a bool (0 or 1), an int64,
 * a timestamp (int64, ms since 1970 UTC), the bits of a float64, or for string and bytes the offset
 * from the row's start (low 32 bits) and the length (high 32 bits): a row is independent of its
 * place. The null words (bit i: column i is null, one word per 64 columns) exist only if ROW_NULLS
 * is set in `flags`; the slot of a null is 0. Padding is zero. `hash` is 32 bits of the key's hash,
 * set by a hash partitioner, else 0.
 *
 * Invariants: a row is 8-byte aligned, at least 8 and at most ROW_BYTES_MAX bytes long, and
 * followed by at least BATCH_SLACK readable bytes (batch.h), so that it may be copied in chunks of
 * 16 and strings read in words of 8. Bytes are those of the machine: little-endian on all that
 * Weir builds for.
 *
 * Rows from a peer are checked once by row_check() when they arrive; readers then trust them.
 *
 * Threads: none here; rows are plain memory of the batch's holder.
 */
#ifndef TASKMANAGER_ROW_H
#define TASKMANAGER_ROW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/err.h"
#include "job/spec.h"

enum { ROW_BYTES_MAX = 0xffff * 8, ROW_COLUMNS_MAX = 1024 };

enum row_kind { ROW_DATA = 0 };
enum row_flags { ROW_NULLS = 1 };

struct row {
	uint16_t units;
	uint8_t kind;
	uint8_t flags;
	uint32_t hash;
	uint64_t slot[];
};

/* A schema, compiled. Immutable: any thread may read it. */
struct row_plan {
	uint32_t n;            /* columns */
	uint32_t null_words;   /* of a row with ROW_NULLS */
	uint32_t fixed_bytes;  /* header and slots, without null words */
	bool variable;         /* has a string or bytes column */
	enum spec_type *types; /* owns */
};

void row_plan_init(struct row_plan *p, const struct spec_schema *schema); /* copies */
void row_plan_fini(struct row_plan *p);

/* Is there a well-formed row of this plan in the `room` bytes at `r`? */
MUST_CHECK bool row_check(const struct row_plan *p, const struct row *r, size_t room);

static inline size_t row_bytes(const struct row *r)
{
	return (size_t)r->units * 8;
}

static inline const struct row *row_next(const struct row *r)
{
	return (const struct row *)(const void *)((const char *)r + row_bytes(r));
}

/* ---- reading a column; the caller knows its type from the plan ---- */

static inline bool row_null(const struct row_plan *p, const struct row *r, unsigned column)
{
	return (r->flags & ROW_NULLS) && (r->slot[p->n + column / 64] >> (column % 64) & 1);
}

static inline int64_t row_i64(const struct row *r, unsigned column)
{
	return (int64_t)r->slot[column];
}

static inline double row_f64(const struct row *r, unsigned column)
{
	double d;

	memcpy(&d, &r->slot[column], sizeof(d));
	return d;
}

static inline const char *row_text(const struct row *r, unsigned column, uint32_t *out_len)
{
	*out_len = (uint32_t)(r->slot[column] >> 32);
	return (const char *)r + (uint32_t)r->slot[column];
}

/* ---- building, one value per column (convenient; hot loops lay out rows themselves) ---- */

struct row_value {
	bool null;
	uint32_t len; /* string, bytes */
	union {
		int64_t i64; /* bool (0 or 1), int64, timestamp */
		double f64;
		const char *text; /* borrows for the call */
	};
};

/* The bytes that row_put() will use; over ROW_BYTES_MAX: the row is too large to exist. */
size_t row_size(const struct row_plan *p, const struct row_value *values);
/* Lay the row out at `at` (8-aligned, row_size() bytes of room). */
void row_put(const struct row_plan *p, const struct row_value *values, void *at);

/* Bytes of a row with one string column that is not null: the shape of text lines and words. */
static inline size_t row_text_size(size_t len)
{
	return 16 + ((len + 7) & ~(size_t)7);
}

static inline void row_text_put(void *at, const char *text, size_t len)
{
	struct row *r = at;
	size_t size = row_text_size(len);

	r->units = (uint16_t)(size / 8);
	r->kind = ROW_DATA;
	r->flags = 0;
	r->hash = 0;
	if (len)
		*(uint64_t *)(void *)((char *)at + size - 8) = 0;
	r->slot[0] = 16 | (uint64_t)len << 32;
	memcpy((char *)at + 16, text, len);
}

/* Copy a row in chunks of 16 bytes: both sides have BATCH_SLACK bytes behind their end. */
static inline void row_copy(void *restrict to, const struct row *restrict from, size_t bytes)
{
	char *t = to;
	const char *f = (const char *)from;

	for (size_t i = 0; i < bytes; i += 16)
		memcpy(t + i, f + i, 16);
}

#endif
