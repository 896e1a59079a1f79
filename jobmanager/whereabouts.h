/*
 * whereabouts - which jobs concern a TaskManager, by its id: those that are, were
 * or are about to be placed there.
 *
 * A superset, so that it needs no care: a job is added when its document or draft
 * names the TaskManager, and nothing takes it away but the sweep that a long list brings,
 * which asks `lives` about each. Whoever reads it asks the job itself.
 *
 * Without it every registration would have to ask every job, and the first second
 * of a new leader is nothing but registrations.
 *
 * Ownership: embedded; owns copies of all ids. Threads: one.
 */
#ifndef JOBMANAGER_WHEREABOUTS_H
#define JOBMANAGER_WHEREABOUTS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/ids.h"

struct whereabouts_list {
	struct whereabouts_list *next; /* with the same hash */
	char tm[NODE_ID_MAX];
	size_t n, capacity;
	struct job_id *jobs; /* owns */
};

struct whereabouts {
	size_t n, capacity; /* capacity: 0, or a power of two */
	struct whereabouts_list **at;
	bool (*lives)(void *ctx, const struct job_id *job);
	void *ctx;
};

void whereabouts_init(struct whereabouts *w, bool (*lives)(void *ctx, const struct job_id *job),
		      void *ctx);
void whereabouts_fini(struct whereabouts *w); /* can be used again after an init */
void whereabouts_add(struct whereabouts *w, const char *tm, const struct job_id *job);
/* Borrowed until the next add. */
const struct job_id *whereabouts_jobs(const struct whereabouts *w, const char *tm, size_t *n);

#endif
