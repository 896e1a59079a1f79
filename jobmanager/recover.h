/*
 * recover - a store that went back in time: what says so, what it would cost to
 * accept it, and accepting it.
 *
 * Signs that reach the driver (the brain has its own: job.h):
 *   - a TaskManager asks for a leader above an epoch that is higher than ours;
 *   - storage holds a manifest of a checkpoint that the store never began.
 * Either may only mean that we are deposed and do not know it: so a barrier is
 * asked for first. If it succeeds we lead, and the store has lost something.
 *
 * Accepting: a client of etcd that saw it go back believes nothing any more, so
 * it is begun anew (as a restart of the process would); then whoever leads
 * records the acceptance (quarantine.h: epochs go on above all that anybody
 * remembers), and hands over, so that the next leader begins with it.
 *
 * Threads: the loop's. Ownership: part of the node.
 */
#ifndef JOBMANAGER_RECOVER_H
#define JOBMANAGER_RECOVER_H

#include <stdbool.h>
#include <stdint.h>

#include "ha/ha.h"
#include "state/blob.h"
#include "world/world.h"

struct jm_node;
struct world_request;

struct recover {
	struct jm_node *node;
	bool proving;   /* a barrier is under way */
	uint64_t epoch; /* highest that somebody remembers; 0: none above ours */
	char why[200];  /* the sign that waits for its proof */
	struct ha_barrier barrier;
	bool listed; /* storage was looked at in this leadership */
	struct blob_op list;
	struct ha_read base; /* a standby's look at run/_cluster */
	struct world_timer base_later;
};

void recover_init(struct recover *r, struct jm_node *n);
void recover_fini(struct recover *r);
void recover_lead(struct recover *r);    /* the brain was told that it leads */
void recover_look(struct recover *r);    /* a while later: what does storage say? */
void recover_follow(struct recover *r);  /* we do not lead */
void recover_members(struct recover *r); /* the queue changed */
/* A TaskManager asks for a leader above this epoch. */
void recover_asked_above(struct recover *r, uint64_t epoch);
/* GET: what is wrong, and what accepting the store would cost. POST: accept it. */
void recover_show(struct recover *r, struct world_request *request);
bool recover_gone(struct recover *r, const struct world_request *request); /* its client hung up */
void recover_drop_looks(struct recover *r); /* those under way are answered with 503 */
void recover_accept(struct recover *r, struct world_request *request);

#endif
