/*
 * plane - the data plane of the model: channels from source subtasks to sink
 * subtasks of one attempt of one region, wherever their workers are.
 *
 *   source 0 --[rec 0..5][barrier 3][rec 5..9]--> sink 0
 *            \---------------------------------> sink 1
 *
 * First in, first out, each element after a delay. A worker that dies, or a
 * link that is cut for longer than TCP bears, breaks the run for all who take
 * part: they see it a moment later, and must fail the attempt. Attempts never
 * share a channel: a zombie talks to zombies.
 */
#ifndef TESTS_SIM_PLANE_H
#define TESTS_SIM_PLANE_H

#include <stdbool.h>
#include <stdint.h>

#include "cluster.h"

struct plane_run; /* one attempt of one region */

struct plane_element {
	uint64_t ready_us;
	uint64_t from, to;   /* records; both 0: a barrier */
	uint64_t checkpoint; /* barrier */
};

struct plane *plane_create(struct cluster *c);
void plane_destroy(struct plane *p);

/* The run of this attempt, made by whoever comes first. `chained`: source i feeds sink i only. */
struct plane_run *plane_join(struct plane *p, const char *job, uint32_t region, uint32_t attempt,
			     uint32_t sources, uint32_t sinks, bool chained);
/* `died`: without a goodbye; the others will notice. */
void plane_leave(struct plane_run *r, bool died);
void plane_host_source(struct plane_run *r, uint32_t source, const char *node);
void plane_host_sink(struct plane_run *r, uint32_t sink, const char *node);

bool plane_full(const struct plane_run *r, uint32_t source);
void plane_emit(struct plane_run *r, uint32_t source, uint64_t from, uint64_t to);
void plane_barrier(struct plane_run *r, uint32_t source, uint64_t checkpoint);
/* The next element that has arrived; NULL: none. plane_take() removes it. */
const struct plane_element *plane_peek(struct plane_run *r, uint32_t source, uint32_t sink);
void plane_take(struct plane_run *r, uint32_t source, uint32_t sink);
/* A connection of this attempt is broken, and that has come around. */
bool plane_broken(struct plane_run *r);

#endif
