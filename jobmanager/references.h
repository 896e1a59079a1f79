/*
 * references - what in checkpoint storage is still needed, as the store says
 * now: for who wants to remove what is not (`weir storage check`).
 *
 * GET asks the store for run/, done/ and resolve/, all at one revision: that of
 * a barrier made after the question came. So whatever was in storage before
 * the question and is not needed by the answer is never needed again (numbers
 * of checkpoints only grow; what was given up or dropped is never taken back; a
 * name is never used twice). The brain's memory is not asked: it forgets jobs
 * that ended long ago.
 *
 *   barrier (api.c) -> RUN -> DONE -> RESOLVE -> answered
 *
 * `trouble` is not empty while the store cannot be believed or no decision is
 * taken: then nothing may be removed.
 *
 * Threads: the loop's. Ownership: part of the node; a question is dropped, and
 * answered with 503, when the node begins anew.
 */
#ifndef JOBMANAGER_REFERENCES_H
#define JOBMANAGER_REFERENCES_H

#include <stdbool.h>

struct jm_node;
struct world_request;

/* After the barrier. */
void references_show(struct jm_node *n, struct world_request *request);
bool references_gone(struct jm_node *n, const struct world_request *request); /* client hung up */
void references_drop(struct jm_node *n);

#endif
