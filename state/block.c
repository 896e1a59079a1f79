#include "state/block.h"

#include <assert.h>
#include <lz4.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum { CODEC_RAW, CODEC_LZ4, HEAP_HEAD = 9, COLUMN_HEAD = 9, SAMPLE_BYTES = 4096 };

#define SIGN_BIT (UINT64_C(1) << 63)

unsigned block_layout_words(const struct block_layout *l)
{
	if (l->list)
		return 1;
	return 1u + (l->value_bytes ? 1u : l->value_words);
}

/* ---- building ---- */

void block_init(struct block *b)
{
	memset(b, 0, sizeof(*b));
}

void block_fini(struct block *b)
{
	free(b->words);
	buf_fini(&b->heap);
	memset(b, 0, sizeof(*b));
}

void block_begin(struct block *b, unsigned n_words, uint32_t group)
{
	assert(n_words && n_words <= BLOCK_WORDS_MAX);
	b->group = group;
	b->rows = 0;
	b->n_words = (uint16_t)n_words;
	buf_clear(&b->heap);
}

void block_grow(struct block *b, size_t words)
{
	if (words <= b->words_capacity)
		return;
	if (words < 2 * b->words_capacity)
		words = 2 * b->words_capacity;
	b->words = mem_resize(b->words, words, sizeof(uint64_t));
	b->words_capacity = words;
}

size_t block_raw_bytes(const struct block *b)
{
	return (size_t)b->rows * b->n_words * 8 + b->heap.len;
}

/* ---- packing ---- */

static void put_le(char *at, uint64_t v, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		at[i] = (char)(v >> 8 * i);
}

static uint64_t get_le(const char *at, unsigned bytes)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < bytes; i++)
		v |= (uint64_t)(unsigned char)at[i] << 8 * i;
	return v;
}

/* Signed order on unsigned words. */
static uint64_t biased(uint64_t word)
{
	return word ^ SIGN_BIT;
}

static void pack_column(const struct block *b, unsigned column, struct buf *out)
{
	const uint64_t *word = b->words + column;
	uint64_t low = UINT64_MAX, high = 0;
	unsigned width = 0;
	char *at;

	for (uint32_t i = 0; i < b->rows; i++) {
		uint64_t v = biased(word[(size_t)i * b->n_words]);

		low = v < low ? v : low;
		high = v > high ? v : high;
	}
	while (width < 8 && (high - low) >> 8 * width)
		width++;
	at = buf_reserve(out, COLUMN_HEAD + (size_t)b->rows * width + 8);
	assert(at);
	put_le(at, low, 8);
	at[8] = (char)width;
	at += COLUMN_HEAD;
	for (uint32_t i = 0; i < b->rows; i++, at += width) {
		/* Eight bytes at a time, overlapping: the next one covers what is too much. */
		uint64_t v = biased(word[(size_t)i * b->n_words]) - low;

		memcpy(at, &v, 8);
	}
	buf_grew(out, COLUMN_HEAD + (size_t)b->rows * width);
}

static bool worth_trying(const struct buf *heap)
{
	char scratch[LZ4_COMPRESSBOUND(SAMPLE_BYTES)];
	int n;

	if (heap->len <= 2 * SAMPLE_BYTES)
		return heap->len >= 64;
	n = LZ4_compress_default(heap->data, scratch, SAMPLE_BYTES, sizeof(scratch));
	return n > 0 && n < SAMPLE_BYTES - SAMPLE_BYTES / 10;
}

static void pack_heap(const struct buf *heap, struct buf *out)
{
	char *at = buf_reserve(out, HEAP_HEAD + heap->len);
	int limit = (int)(heap->len - heap->len / 10);
	int n = 0;

	assert(at && heap->len <= UINT32_MAX / 2);
	if (worth_trying(heap))
		n = LZ4_compress_default(heap->data, at + HEAP_HEAD, (int)heap->len, limit);
	at[0] = n > 0 ? CODEC_LZ4 : CODEC_RAW;
	put_le(at + 1, heap->len, 4);
	if (n <= 0 && heap->len)
		memcpy(at + HEAP_HEAD, heap->data, heap->len);
	put_le(at + 5, n > 0 ? (uint64_t)n : heap->len, 4);
	buf_grew(out, HEAP_HEAD + (n > 0 ? (size_t)n : heap->len));
}

void block_pack(const struct block *b, struct buf *out)
{
	for (unsigned c = 0; c < b->n_words; c++)
		pack_column(b, c, out);
	pack_heap(&b->heap, out);
}

/* ---- unpacking ---- */

struct input {
	const char *at;
	size_t left;
};

static bool take(struct input *in, size_t n, const char **out)
{
	if (in->left < n)
		return false;
	*out = in->at;
	in->at += n;
	in->left -= n;
	return true;
}

static bool unpack_column(struct input *in, unsigned column, struct block *out)
{
	const char *head, *data;
	uint64_t low, mask;
	unsigned width;

	if (!take(in, COLUMN_HEAD, &head))
		return false;
	low = get_le(head, 8);
	width = (unsigned char)head[8];
	if (width > 8 || !take(in, (size_t)out->rows * width, &data))
		return false;
	mask = width == 8 ? UINT64_MAX : (UINT64_C(1) << 8 * width) - 1;
	for (uint32_t i = 0; i < out->rows; i++, data += width) {
		uint64_t v;

		if (in->left + (size_t)(in->at - data) >= 8) {
			memcpy(&v, data, 8);
			v &= mask;
		} else {
			v = get_le(data, width);
		}
		out->words[(size_t)i * out->n_words + column] = biased(v + low);
	}
	return true;
}

static bool unpack_heap(struct input *in, uint64_t expected, struct buf *out)
{
	const char *head, *data;
	uint64_t raw, stored;
	char *at;

	if (!take(in, HEAP_HEAD, &head))
		return false;
	raw = get_le(head + 1, 4);
	stored = get_le(head + 5, 4);
	if (raw != expected || !take(in, stored, &data) || in->left)
		return false;
	at = buf_reserve(out, raw);
	if (!at)
		return false;
	if (head[0] == CODEC_RAW && stored == raw) {
		if (raw)
			memcpy(at, data, raw);
	} else if (head[0] != CODEC_LZ4 ||
		   LZ4_decompress_safe(data, at, (int)stored, (int)raw) != (int)raw) {
		return false;
	}
	buf_grew(out, raw);
	return true;
}

/* The sum of the columns that are lengths; false: more than a block may hold. */
static bool heap_bytes(const struct block *b, const struct block_layout *l, uint64_t *out)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < b->rows; i++) {
		const uint64_t *row = b->words + (size_t)i * b->n_words;
		uint64_t key = l->list || l->key_bytes ? row[0] : 0;
		uint64_t value = !l->list && l->value_bytes ? row[b->n_words - 1] : 0;

		if (key > BLOCK_ROW_BYTES_MAX || value > BLOCK_ROW_BYTES_MAX)
			return false;
		sum += key + value;
		if (sum > BLOCK_HEAP_BYTES_MAX)
			return false;
	}
	*out = sum;
	return true;
}

enum errc block_unpack(const void *data, size_t len, const struct block_layout *layout,
		       uint32_t group, uint32_t rows, struct block *out, struct err *e)
{
	struct input in = {data, len};
	unsigned n_words = block_layout_words(layout);
	uint64_t expected = 0;

	if (n_words > BLOCK_WORDS_MAX || rows > BLOCK_ROWS_MAX)
		return err_set(e, ERR_CORRUPT, "%u rows of %u words", rows, n_words);
	block_begin(out, n_words, group);
	block_grow(out, (size_t)rows * n_words);
	out->rows = rows;
	for (unsigned c = 0; c < n_words; c++)
		if (!unpack_column(&in, c, out))
			return err_set(e, ERR_CORRUPT, "column %u does not fit", c);
	if (!heap_bytes(out, layout, &expected) || !unpack_heap(&in, expected, &out->heap))
		return err_set(e, ERR_CORRUPT, "the heap is not what the lengths say");
	return ERR_OK;
}
