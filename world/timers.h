/*
 * timers - the one heap of timers, shared by both worlds, so that equal
 * deadlines behave identically in production and in the simulator.
 *
 * A binary heap keyed by (deadline, seq); seq counts armings, so timers with
 * equal deadlines come out in the order in which they were armed. A timer
 * knows its place (slot), so that cancelling is O(log n) and needs no search.
 *
 * Ownership: the heap borrows a timer from timers_arm() until it is cancelled
 * or taken. Arming an armed timer moves it to the back of its new deadline.
 * Threads: one.
 */
#ifndef WORLD_TIMERS_H
#define WORLD_TIMERS_H

#include <stddef.h>
#include <stdint.h>

#include "world/world.h"

struct timers {
	struct world_timer **at; /* owns the array, borrows the timers */
	size_t n, capacity;
	uint64_t seq; /* of the next arming */
};

void timers_fini(struct timers *ts); /* the timers left in it become idle */
void timers_arm(struct timers *ts, struct world_timer *t, uint64_t deadline_ms);
void timers_cancel(struct timers *ts, struct world_timer *t); /* idle: no-op */
struct world_timer *timers_first(const struct timers *ts);    /* NULL when empty */
/* Take the first timer out if it is due at `now_ms` and was armed before `seq_limit`; else NULL.
 * The limit keeps a timer that arms itself for "now" from starving the rest of the loop. */
struct world_timer *timers_take_due(struct timers *ts, uint64_t now_ms, uint64_t seq_limit);

#endif
