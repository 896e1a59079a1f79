#include "jobmanager/place.h"

#include <assert.h>
#include <stdlib.h>

#include "base/mem.h"

struct rank {
	uint32_t index, free, shared;
	uint32_t had;   /* slots of this region before */
	uint32_t share; /* slots that it is to get, and has not got yet */
};

static int more_free_first(const void *left, const void *right)
{
	const struct rank *a = left, *b = right;
	if (a->free != b->free)
		return a->free > b->free ? -1 : 1;
	if (a->had != b->had)
		return a->had > b->had ? -1 : 1;
	return a->index < b->index ? -1 : a->index > b->index;
}

static uint64_t rank_offers(const struct place_offer *offers, uint32_t n_offers,
			    const uint16_t *former, uint32_t n_slots, struct rank *ranks)
{
	uint64_t free_slots = 0;
	for (uint32_t i = 0; i < n_offers; i++) {
		ranks[i] = (struct rank){
			.index = i, .free = offers[i].free, .shared = offers[i].shared};
		free_slots += offers[i].free;
	}
	for (uint32_t s = 0; former && s < n_slots; s++)
		if (former[s] < n_offers)
			ranks[former[s]].had++;
	qsort(ranks, n_offers, sizeof(*ranks), more_free_first);
	return free_slots;
}

static uint32_t most(const struct rank *r, bool shared)
{
	return shared && r->shared < r->free ? r->shared : r->free;
}

/* One slot to each that has one left, until all are given or none has: the shares grow evenly. */
static uint32_t share_out(struct rank *ranks, uint32_t n_offers, uint32_t n_slots, bool shared)
{
	uint32_t given = 0;
	bool more = true;
	for (uint32_t round = 0; given < n_slots && more; round++) {
		more = false;
		for (uint32_t i = 0; i < n_offers && given < n_slots; i++) {
			more |= most(&ranks[i], shared) > round;
			if (most(&ranks[i], shared) <= round || ranks[i].share > round)
				continue;
			ranks[i].share++;
			given++;
		}
	}
	return given;
}

/* Who held a slot keeps it, within its share. */
static void keep(struct rank *ranks, uint32_t n_offers, uint32_t n_slots, const uint16_t *former,
		 uint16_t *owner)
{
	uint16_t *rank_of = mem_array((size_t)n_offers + 1, sizeof(*rank_of));
	for (uint32_t i = 0; i < n_offers; i++)
		rank_of[ranks[i].index] = (uint16_t)i;
	for (uint32_t s = 0; s < n_slots; s++) {
		owner[s] = PLACE_NOBODY;
		if (!former || former[s] >= n_offers || !ranks[rank_of[former[s]]].share)
			continue;
		ranks[rank_of[former[s]]].share--;
		owner[s] = former[s];
	}
	free(rank_of);
}

/* The slots that are left go round the shares that are left. */
static void give(struct rank *ranks, uint32_t n_offers, uint32_t n_slots, uint16_t *owner)
{
	uint32_t next = 0;
	for (uint32_t s = 0; s < n_slots; s++) {
		if (owner[s] != PLACE_NOBODY)
			continue;
		while (!ranks[next].share)
			next = (next + 1) % n_offers;
		ranks[next].share--;
		owner[s] = (uint16_t)ranks[next].index;
		next = (next + 1) % n_offers;
	}
}

bool place(const struct place_offer *offers, uint32_t n_offers, uint32_t n_slots,
	   const uint16_t *former, uint16_t *owner, uint64_t *out_free)
{
	assert(n_offers < PLACE_NOBODY);
	struct rank *ranks = mem_array((size_t)n_offers + 1, sizeof(*ranks));
	uint64_t free_slots = rank_offers(offers, n_offers, former, n_slots, ranks);
	if (out_free)
		*out_free = free_slots;
	bool enough = free_slots >= n_slots;
	if (enough) {
		uint32_t given = share_out(ranks, n_offers, n_slots, true);
		share_out(ranks, n_offers, n_slots - given, false);
		keep(ranks, n_offers, n_slots, former, owner);
		give(ranks, n_offers, n_slots, owner);
	}
	free(ranks);
	return enough;
}
