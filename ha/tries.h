/*
 * tries - how etcd answers: every try of every call is counted, and how long it took. For
 * /metrics; nothing depends on it.
 *
 * Plain data; the client (ha/etcd.h) owns one. A watch's try is its whole life, so only whether
 * it came about is counted, not its time.
 */
#ifndef HA_TRIES_H
#define HA_TRIES_H

#include <stdint.h>

#include "ha/calls.h"

enum try_outcome {
	TRY_ANSWERED, /* definitely, refusals by the store among them */
	TRY_REFUSED,  /* not carried out, and another member is asked */
	TRY_UNKNOWN,  /* may have been carried out: no answer, or one that does not say */
	TRY_OUTCOMES
};

enum { TRIES_BUCKETS = 11 };
extern const uint32_t tries_bounds_ms[TRIES_BUCKETS]; /* of the buckets; above: in the sum only */

struct tries {
	uint64_t by_outcome[CALL_COUNT][TRY_OUTCOMES];
	uint64_t buckets[CALL_COUNT][TRIES_BUCKETS]; /* not cumulative */
	uint64_t sum_ms[CALL_COUNT];
};

void tries_note(struct tries *t, enum call_kind kind, enum try_outcome outcome, uint64_t ms);
const char *try_outcome_name(enum try_outcome outcome);

#endif
