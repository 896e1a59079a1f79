/*
 * block - some rows of one state and one key group (or of one subtask's list
 * state), and how they are packed into bytes.
 *
 *   words, row after row      heap
 *   +----------+----------+   +----------------------------------+
 *   | w0 w1 w2 | w0 w1 w2 |   | key bytes | value bytes | key ... |
 *   +----------+----------+   +----------------------------------+
 *
 * A row is n_words words of 8 bytes: the key (an int64, or the length of a key
 * of bytes), then the value (its words, or the length of a value of bytes).
 * The bytes that the lengths speak of lie in the heap, row after row, key
 * before value, without padding. list state has rows of one word, the length.
 *
 * Packed: per column of words the minimum (8 bytes), a width w (1 byte), then
 * the w low bytes of (word - minimum) of each row; then the heap, as it is or
 * by lz4 if that saves a tenth. docs/formats/snapshot-object.md has the bytes.
 *
 * Pure: no clock, no I/O. Threads: a block belongs to one at a time.
 * Limits: BLOCK_RAW_BYTES of words and heap per block (a single row may be
 * larger, up to BLOCK_ROW_BYTES_MAX), BLOCK_WORDS_MAX words per row.
 */
#ifndef STATE_BLOCK_H
#define STATE_BLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

enum {
	BLOCK_RAW_BYTES = 64 << 10,
	BLOCK_WORDS_MAX = 64,
	BLOCK_ROW_BYTES_MAX = 64 << 20,
	BLOCK_HEAP_BYTES_MAX = 1 << 30,
	BLOCK_ROWS_MAX = 64 << 10
};

/* What a row of one state looks like; part of the object's index. */
struct block_layout {
	bool key_bytes;       /* word 0 is a length; else an int64 */
	bool value_bytes;     /* the last word is a length; else value_words words */
	uint16_t value_words; /* 0 if value_bytes; list state: 0 and no key */
	bool list;            /* list state: one word, the item's length; no key */
};

unsigned block_layout_words(const struct block_layout *l);

struct block {
	uint32_t group; /* key group; list state: the subtask */
	uint32_t rows;
	uint16_t n_words;
	uint64_t *words; /* owns: rows * n_words */
	size_t words_capacity;
	struct buf heap; /* owns */
};

void block_init(struct block *b);
void block_fini(struct block *b);
/* Empty it for rows of `n_words` words of `group`; memory is kept. */
void block_begin(struct block *b, unsigned n_words, uint32_t group);
void block_grow(struct block *b, size_t words); /* private: room for so many in all */

/* Room for one more row; fill its words in, and append its bytes to b->heap. */
static inline uint64_t *block_row(struct block *b)
{
	size_t at = (size_t)b->rows++ * b->n_words;

	if (at + b->n_words > b->words_capacity)
		block_grow(b, at + b->n_words);
	return b->words + at;
}

/* Where the next rows go, with room for n: for who counts b->rows up by itself. */
static inline uint64_t *block_room(struct block *b, unsigned n)
{
	size_t at = (size_t)b->rows * b->n_words, need = at + (size_t)n * b->n_words;

	if (need > b->words_capacity)
		block_grow(b, need);
	return b->words + at;
}

size_t block_raw_bytes(const struct block *b);

/* Append the packed form to `out`. */
void block_pack(const struct block *b, struct buf *out);
/* The reverse. `layout` says how many words a row has and which are lengths: their sum must be the
 * heap's size. Anything else than what block_pack() makes is ERR_CORRUPT; `out` is then undefined
 * but may be reused. */
MUST_CHECK enum errc block_unpack(const void *data, size_t len, const struct block_layout *layout,
				  uint32_t group, uint32_t rows, struct block *out, struct err *e);

#endif
