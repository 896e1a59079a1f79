/*
 * liveness - a hanging GET on each other JobManager: its kernel ends it the
 * moment the process dies, and its bytes stop when the process does.
 *
 *   GET /v1/cluster/liveness
 *   {"id":"jm-1","instance":"4f..","epoch":7,"witnesses":["tm-1","tm-2"]}\n
 *   ......                     a byte every 100 ms
 *   {..., "resigning":true}\n  the line again, whenever it changes
 *
 * This is the driver: connections, timers, questions. What follows from a
 * refusal or from silence is decided in ha/suspect.h. A connection that ends is
 * opened anew at once, since a refusal then proves the death within
 * milliseconds; one that is silent for LIVENESS_SILENCE_MS, too.
 *
 * Our own vote against a silent leader is a hanging GET as well, at each other
 * standby, the same that a TaskManager sends:
 *   GET /v1/cluster/leader?after=<its epoch>&jobmanager=<id>&instance=<ours>
 * It counts there for as long as it hangs. Votes that arrive here come by
 * liveness_vote() and its companions.
 *
 * Who stands first in the queue watches nobody. But when it is suspended, it may be the only one
 * that etcd is out of reach for, and another may lead meanwhile, whom its TaskManagers will not
 * look for as long as they hear it. So it asks the others who leads after it, and gives up
 * its candidacy when somebody does.
 *
 * Epochs on the wire have the base in them that was recorded when a restored store was accepted
 * (quarantine.h); the queue, and what is decided from it, knows revisions. This file translates.
 *
 * Threads: the loop's. Ownership: the members are copied.
 */
#ifndef JOBMANAGER_LIVENESS_H
#define JOBMANAGER_LIVENESS_H

#include <stddef.h>

#include "ha/ha.h"
#include "world/world.h"

enum { LIVENESS_SILENCE_MS = 2000, LIVENESS_LINE_MAX = 1024 };

struct liveness;

struct liveness *liveness_create(struct world *w, struct ha *ha, const struct world_tls *tls);
void liveness_destroy(struct liveness *l); /* NULL: no-op */
/* The queue changed: watch the others, forget who left. */
void liveness_members(struct liveness *l, const struct ha_member *members, size_t n);

/* What is added to a candidate's revision to make its epoch; 0 until told. */
void liveness_epoch_base(struct liveness *l, uint64_t base);

/* `voter` (a TaskManager's id, or a JobManager's instance) has lost the leader of `epoch`: its
 * question hangs here. NULL liveness: no-op, here, above and below. */
void liveness_vote(struct liveness *l, const char *voter, uint64_t epoch);
void liveness_vote_ended(struct liveness *l, const char *voter); /* had its time; may come again */
void liveness_vote_withdrawn(struct liveness *l, const char *voter);

#endif
