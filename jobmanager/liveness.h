/*
 * liveness - a hanging GET on each JobManager ahead in the queue: its kernel
 * ends it the moment the process dies.
 *
 *   WATCHING --bytes come--> WATCHING
 *      | connection ended                  | silent
 *      v                                   v
 *   ASKING --refused, or another instance--> dead: ha_declare_dead()
 *      | answered by the same instance: WATCHING
 *      | reset (its kernel still takes connections for it): asked again, 4 ms to 500 ms later
 *      | no answer: suspected; the lease decides
 *
 * Only a refusal by the very address, or an answer by another instance, proves
 * a death; silence and timeouts prove nothing. A verdict that was wrong (the
 * instance queues again) makes verdicts about that address worthless for 30 s,
 * doubling to 10 min: they are then left to the lease.
 *
 * Threads: the loop's. Ownership: the members are copied.
 */
#ifndef JOBMANAGER_LIVENESS_H
#define JOBMANAGER_LIVENESS_H

#include <stddef.h>

#include "ha/ha.h"
#include "world/world.h"

enum {
	LIVENESS_SILENCE_MS = 2000, /* a stream without a byte for so long is opened anew */
	LIVENESS_ASK_MS = 1000,
	LIVENESS_DISTRUST_MS = 30000,
	LIVENESS_DISTRUST_MAX_MS = 600000
};

struct liveness;

struct liveness *liveness_create(struct world *w, struct ha *ha, const struct world_tls *tls);
void liveness_destroy(struct liveness *l); /* NULL: no-op */
/* The queue changed: watch all that stand before ourselves, forget the others. */
void liveness_members(struct liveness *l, const struct ha_member *members, size_t n);

#endif
