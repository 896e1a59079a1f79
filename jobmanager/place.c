#include "jobmanager/place.h"

#include <assert.h>
#include <stdlib.h>

#include "base/mem.h"

struct rank {
	uint32_t index, free;
};

static int more_free_first(const void *left, const void *right)
{
	const struct rank *a = left, *b = right;
	if (a->free != b->free)
		return a->free > b->free ? -1 : 1;
	return a->index < b->index ? -1 : a->index > b->index;
}

static uint64_t rank_offers(const struct place_offer *offers, uint32_t n_offers, struct rank *ranks)
{
	uint64_t free_slots = 0;
	for (uint32_t i = 0; i < n_offers; i++) {
		ranks[i] = (struct rank){.index = i, .free = offers[i].free};
		free_slots += offers[i].free;
	}
	qsort(ranks, n_offers, sizeof(*ranks), more_free_first);
	return free_slots;
}

bool place(const struct place_offer *offers, uint32_t n_offers, uint32_t n_slots, uint16_t *owner,
	   uint64_t *out_free)
{
	assert(n_offers <= UINT16_MAX);
	struct rank *ranks = mem_array((size_t)n_offers + 1, sizeof(*ranks));
	uint64_t free_slots = rank_offers(offers, n_offers, ranks);
	if (out_free)
		*out_free = free_slots;
	bool enough = free_slots >= n_slots;
	uint32_t given = 0;
	/* One slot to each that has one left, until all are given; the ranks are in falling
	 * order, so the first that is used up ends the round. */
	for (uint32_t round = 0; enough && given < n_slots; round++)
		for (uint32_t i = 0; i < n_offers && given < n_slots; i++) {
			if (ranks[i].free <= round)
				break;
			owner[given++] = (uint16_t)ranks[i].index;
		}
	free(ranks);
	return enough;
}
