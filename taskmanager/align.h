/*
 * align - which barrier completes when, and which channels must wait: the barrier alignment of one
 * task, as pure arithmetic.
 *
 *   barriers:   channel 0 --13--------------\
 *               channel 1 -------13----------+--> ALIGN_COMPLETE at the last one
 *               channel 2 ------------13----/
 *
 * Exactly-once: a channel that brought the barrier is held until the barrier completes or is given
 * up. At-least-once: no channel is ever held, and several barriers may be under way.
 *
 * Rules
 *  - ids at a task strictly increase: what is not above the newest taken id passes unnoticed;
 *  - a given up id passes, whether it was given up before its first barrier, between two, or after
 *    the last; ids given up are remembered (the newest ALIGN_GIVEN_UP);
 *  - exactly-once: a barrier newer than the one being aligned ends the older (it is `ended`), and
 *    every channel held for it is released; at-least-once: completing one ends all older ones.
 *
 * Pure: time arrives as an argument. Threads: the task's.
 */
#ifndef TASKMANAGER_ALIGN_H
#define TASKMANAGER_ALIGN_H

#include <stdbool.h>
#include <stdint.h>

enum { ALIGN_PENDING_MAX = 16, ALIGN_GIVEN_UP = 64 };

enum align_verdict {
	ALIGN_PASS,    /* nothing to do with this barrier */
	ALIGN_HOLD,    /* counted; exactly-once: hold this channel now */
	ALIGN_COMPLETE /* the last one: snapshot, send the barrier on; all channels are released */
};

struct align_pending {
	uint64_t id, since_ns;
	uint32_t n_seen;
	uint64_t *seen; /* owns: a bit per channel */
};

struct align {
	bool exactly_once;
	uint32_t n_channels;
	uint64_t newest; /* the highest id taken; ids up to it pass */
	uint32_t n_pending;
	struct align_pending pending[ALIGN_PENDING_MAX]; /* by id */
	uint64_t given_up[ALIGN_GIVEN_UP];
	uint32_t n_given_up; /* ever */
};

struct align_result {
	enum align_verdict verdict;
	uint64_t waited_ns; /* COMPLETE: since its first barrier */
	bool release;       /* release every held channel (before holding this one) */
	unsigned n_ended;   /* ids that can no longer complete here: decline them */
	uint64_t ended[ALIGN_PENDING_MAX];
};

void align_init(struct align *a, bool exactly_once, uint32_t n_channels);
void align_fini(struct align *a);

void align_barrier(struct align *a, uint32_t channel, uint64_t id, uint64_t now_ns,
		   struct align_result *out);
/* A source's trigger: is this id to be taken now? */
bool align_trigger(struct align *a, uint64_t id);
/* The id was given up. True: release every held channel. */
bool align_abort(struct align *a, uint64_t id);
/* Exactly-once: the id being aligned since before `before_ns`, or 0. */
uint64_t align_overdue(const struct align *a, uint64_t before_ns);

#endif
