#include "state/segment.h"

#include <assert.h>

struct bucket *segment_room(const struct segment_shape *s, struct segment *g, uint64_t hash,
			    unsigned probe)
{
	uint32_t mask = (1u << g->bits) - 1;
	uint32_t home = segment_home(g, hash);

	for (uint32_t i = 0; i <= mask && i < probe; i++) {
		struct bucket *b = segment_bucket(s, g, (home + i) & mask);

		if (b->cnt < SEGMENT_SLOTS)
			return b;
	}
	return NULL;
}

void segment_passed(const struct segment_shape *s, struct segment *g, uint64_t hash,
		    const struct bucket *b, int change)
{
	uint32_t mask = (1u << g->bits) - 1;

	for (uint32_t at = segment_home(g, hash);; at = (at + 1) & mask) {
		struct bucket *on_the_way = segment_bucket(s, g, at);

		if (on_the_way == b)
			return;
		if (on_the_way->ov != UINT8_MAX)
			segment_byte(&on_the_way->ov, (uint8_t)(on_the_way->ov + change));
	}
}

static void copy_in(const struct segment_shape *s, struct segment *to, uint64_t hash,
		    const uint64_t *slot)
{
	struct bucket *b = segment_room(s, to, hash, 1u << to->bits);
	unsigned j;

	assert(b);
	segment_passed(s, to, hash, b, 1);
	j = (unsigned)__builtin_ctz(segment_match(b, 0));
	memcpy(segment_slot(s, b, j), slot, (size_t)s->slot_words * 8);
	b->tag[j] = segment_tag(hash);
	b->cnt++;
	to->entries++;
}

void segment_rehash(const struct segment_shape *s, struct segment *from, struct segment *const to[],
		    unsigned n_to, uint64_t (*hash_of)(const void *owner, const uint64_t *slot),
		    const void *owner)
{
	unsigned shift = 31u - from->depth; /* the next bit of the directory, from bit 31 down */

	for (uint32_t at = 0; at < 1u << from->bits; at++) {
		struct bucket *b = segment_bucket(s, from, at);

		for (unsigned left = ~segment_match(b, 0) & SEGMENT_SLOT_MASK; left;
		     left &= left - 1) {
			unsigned j = (unsigned)__builtin_ctz(left);
			const uint64_t *slot = segment_slot(s, b, j);
			uint64_t hash = hash_of(owner, slot);

			copy_in(s, to[n_to > 1 ? hash >> shift & 1 : 0], hash, slot);
		}
	}
}
