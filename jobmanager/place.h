/*
 * place - which TaskManager holds which slot of a region. A pure function of
 * what it is shown.
 *
 * Slot i holds subtask i of every vertex of the region, so a region needs as
 * many slots as its largest parallelism. Slots go round the usable
 * TaskManagers, those with most free slots first (ties: as listed), until
 * all are given: the load is spread evenly as far as free slots allow.
 * The same view gives the same assignment.
 *
 * Slots that other regions of the job have are taken first: regions share them,
 * and a job that spread its regions would hold more slots than it needs, while
 * another waits for them for good.
 *
 * At a restart slots stay where they were, as far as each TaskManager's even
 * share allows: what ran there has a local copy of its state. Among those with
 * as many free slots, the ones that held more of this region come first.
 */
#ifndef JOBMANAGER_PLACE_H
#define JOBMANAGER_PLACE_H

#include <stdbool.h>
#include <stdint.h>

enum { PLACE_NOBODY = UINT16_MAX };

struct place_offer {
	uint32_t free;   /* slots; 0 for a TaskManager that may not be used */
	uint32_t shared; /* of these: held by other regions of this job, so they cost nothing */
};

/*
 * owner[i] (of n_slots) becomes the index of an offer. former[i] is the offer that held slot i, or
 * PLACE_NOBODY; NULL: nobody held any. False, and nothing
 * written, when the offers are too few. `*out_free` (may be NULL) is the sum of
 * free slots in either case.
 */
bool place(const struct place_offer *offers, uint32_t n_offers, uint32_t n_slots,
	   const uint16_t *former, uint16_t *owner, uint64_t *out_free);

#endif
