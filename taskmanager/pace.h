/*
 * pace - how long the snapshot thread rests, so that a snapshot is a shallow dip in the job's
 * throughput and not a deep one.
 *
 *   bytes   |                 ...-- due: PACE_RATE, or all of it within PACE_LONGEST
 *   packed  |        ___...---
 *           |  _.../#   #         # ahead of that while cores are scarce: rest
 *           +------------------> time since the part was taken
 *
 * What a snapshot costs the tasks is nearly fixed: a copy of each value that is about to change,
 * the snapshot thread's own CPU time, cache. Taken in a burst beside tasks that need every core it
 * shows; spread it hardly does. So the thread keeps to a rate as long as it has to wait for a core
 * itself: when of the time it wanted to run it waited more than a fifth. With a core to spare it
 * never waits, and the snapshot is as fast as it can be. The price is a longer checkpoint on a
 * machine that is full, and with it the memory of the values set aside (state/table.h).
 *
 * Pure: times arrive as arguments (ns, CLOCK_MONOTONIC; ran and waited are the thread's own, since
 * any fixed moment). Threads: the snapshot thread's.
 */
#ifndef TASKMANAGER_PACE_H
#define TASKMANAGER_PACE_H

#include <stdint.h>

#define PACE_RATE        (UINT64_C(64) << 20)       /* bytes of packed rows per second, at least */
#define PACE_LONGEST_NS  (UINT64_C(5) * 1000000000) /* for all parts of a worker */
#define PACE_REST_MAX_NS UINT64_C(2000000)          /* at once: it may be given up meanwhile */

struct pace_time {
	uint64_t now_ns, ran_ns, waited_ns;
};

struct pace {
	struct pace_time began;
	uint64_t whole;       /* rows, of all parts */
	uint64_t rows, bytes; /* done */
};

/* A part of about `rows` begins, one of `parts` alike that are taken one after the other. */
void pace_begin(struct pace *p, const struct pace_time *t, uint64_t rows, uint32_t parts);
/* So many rows more are done, of so many bytes: how long to rest now, in ns; 0: go on. */
uint64_t pace_rest(struct pace *p, const struct pace_time *t, uint64_t rows, uint64_t bytes);

#endif
