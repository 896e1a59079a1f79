/*
 * segment - up to 64 buckets of 14 slots: the piece that a table is made of.
 *
 *   bucket, 64-byte aligned
 *   +---------+----+-----+----+-------+--------+--------+- - -+---------+
 *   | tag[14] | ov | cnt | sv | spare | slot 0 | slot 1 |     | slot 13 |
 *   +---------+----+-----+----+-------+--------+--------+- - -+---------+
 *
 * tag 0 is an empty slot, else it is bits 0-7 of the hash (0 becomes 1). The
 * home bucket is bits 8 and up. `ov` counts the entries that passed this bucket
 * because it was full (255: it has stopped counting). A look-up goes from home
 * on until a bucket with ov 0. No entry ever moves within a segment: the
 * snapshot depends on that. `sv` belongs to the snapshot (state/table.h).
 *
 * Private to state/. Threads: the task thread changes; the snapshot thread
 * reads tags, sv and slots through word_load().
 */
#ifndef STATE_SEGMENT_H
#define STATE_SEGMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

#include "state/words.h"

enum {
	SEGMENT_SLOTS = 14, /* per bucket */
	SEGMENT_BITS_MIN = 2,
	SEGMENT_BITS_MAX = 6,
	SEGMENT_PROBE = 16, /* buckets that an insert tries before the segment is split */
	SEGMENT_SLOT_MASK = (1 << SEGMENT_SLOTS) - 1
};

struct bucket {
	uint8_t tag[SEGMENT_SLOTS];
	uint8_t ov, cnt;
	uint64_t sv;
	uint64_t spare;
	uint64_t slots[];
};

struct segment {
	uint32_t index; /* place in the group's list */
	uint32_t born;  /* number of the newest capture when it was made */
	uint32_t group; /* index in the table */
	uint32_t entries;
	uint8_t depth; /* bits of the directory that it stands for */
	uint8_t bits;  /* 2^bits buckets */
	uint8_t fill[46];
	/* buckets follow */
};
_Static_assert(sizeof(struct segment) == 64, "buckets stay aligned");

/* What all segments of a table have in common. */
struct segment_shape {
	uint32_t key_words;  /* 1: int64; 2: head of a key of bytes */
	uint32_t slot_words; /* key and value */
	uint32_t bucket_bytes;
};

static inline void segment_shape_init(struct segment_shape *s, unsigned key_words,
				      unsigned value_words)
{
	s->key_words = key_words;
	s->slot_words = key_words + value_words;
	s->bucket_bytes = (uint32_t)((sizeof(struct bucket) +
				      (size_t)SEGMENT_SLOTS * s->slot_words * 8 + 63) &
				     ~(size_t)63);
}

static inline size_t segment_bytes(const struct segment_shape *s, unsigned bits)
{
	return sizeof(struct segment) + ((size_t)s->bucket_bytes << bits);
}

static inline struct bucket *segment_bucket(const struct segment_shape *s, struct segment *g,
					    uint32_t at)
{
	return (struct bucket *)(void *)((char *)g + sizeof(*g) + (size_t)at * s->bucket_bytes);
}

static inline uint64_t *segment_slot(const struct segment_shape *s, struct bucket *b, unsigned j)
{
	return b->slots + (size_t)j * s->slot_words;
}

static inline uint8_t segment_tag(uint64_t hash)
{
	uint8_t t = (uint8_t)hash;

	return t ? t : 1;
}

static inline uint32_t segment_home(const struct segment *g, uint64_t hash)
{
	return (uint32_t)(hash >> 8) & ((1u << g->bits) - 1);
}

/* ---- bit j: tag j equals t; exact, the oracle of the others ---- */

static inline unsigned segment_match_word(uint64_t word, uint8_t t)
{
	const uint64_t low7 = UINT64_C(0x7f7f7f7f7f7f7f7f);
	uint64_t x = word ^ (UINT64_C(0x0101010101010101) * t);
	uint64_t zero = ~(((x & low7) + low7) | x | low7);

	return (unsigned)((zero >> 7) * UINT64_C(0x0102040810204080) >> 56);
}

static inline unsigned segment_match_swar(uint64_t low, uint64_t high, uint8_t t)
{
	return (segment_match_word(low, t) | segment_match_word(high, t) << 8) & SEGMENT_SLOT_MASK;
}

static inline unsigned segment_match(const struct bucket *b, uint8_t t)
{
#if defined(__SSE2__)
	__m128i tags = _mm_load_si128((const __m128i *)(const void *)b);

	return (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(tags, _mm_set1_epi8((char)t))) &
	       SEGMENT_SLOT_MASK;
#elif defined(__ARM_NEON) && defined(__aarch64__)
	static const uint8_t weight[16] = {1, 2, 4, 8, 16, 32, 64, 128,
					   1, 2, 4, 8, 16, 32, 64, 128};
	uint8x16_t equal = vceqq_u8(vld1q_u8(b->tag), vdupq_n_u8(t));
	uint8x16_t bits = vandq_u8(equal, vld1q_u8(weight));

	return ((unsigned)vaddv_u8(vget_low_u8(bits)) | (unsigned)vaddv_u8(vget_high_u8(bits))
								<< 8) &
	       SEGMENT_SLOT_MASK;
#else
	uint64_t half[2];

	memcpy(half, b, sizeof(half));
	return segment_match_swar(half[0], half[1], t);
#endif
}

/* ---- changing the head of a bucket; the snapshot thread may look ---- */

static inline void segment_byte(uint8_t *at, uint8_t value)
{
	__atomic_store_n(at, value, WORDS_STORE);
}

/* The first bucket from home on with an empty slot, among `probe`; NULL: none. */
struct bucket *segment_room(const struct segment_shape *s, struct segment *g, uint64_t hash,
			    unsigned probe);
/* Count the entry that goes to (or leaves) bucket b on the buckets that it passed. */
void segment_passed(const struct segment_shape *s, struct segment *g, uint64_t hash,
		    const struct bucket *b, int change);
/* Copy all entries of `from` into fresh segments: `to[0]`, or by the bit of the hash behind depth
 * to[0] and to[1]. `hash_of` tells the hash of a slot. */
void segment_rehash(const struct segment_shape *s, struct segment *from, struct segment *const to[],
		    unsigned n_to, uint64_t (*hash_of)(const void *owner, const uint64_t *slot),
		    const void *owner);

#endif
