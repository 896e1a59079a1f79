/*
 * model - a worker process as a model: it speaks the real control lines and
 * keeps the promises that a worker must keep, without a data plane of sockets.
 *
 *   prepare -> PREPARED -- run -> restoring -> RUNNING -- finish, cancel -> gone
 *
 * A source has an offset; a sink has, for each source, the next offset that it
 * expects, the sum of what it processed (the keyed state), and transactions
 * that are not confirmed. On a barrier from all channels the sink pre-commits;
 * when all subtasks here have passed the barrier, one object with their states
 * is put into storage, and acknowledged. Restoring reads manifest and objects,
 * and checks that they are one consistent cut.
 *
 * The rules of two-phase commit are kept: "complete n" commits all up to n;
 * abort touches no transaction; roll-back only by a later attempt that has
 * restored, or when a job is over.
 */
#ifndef TESTS_SIM_MODEL_H
#define TESTS_SIM_MODEL_H

#include "cluster.h"

extern const struct sim_program model_program; /* ctx: the cluster */

/* For faults: a worker that lives, drawn by `draw`; NULL: there is none. */
struct model;
struct model *model_pick(struct cluster *c, uint64_t draw);
/* Die at the next tick: by a signal, or (0) with this exit status. */
void model_doom(struct model *m, int status, int signal);
/* Report a failure of the job's own. */
void model_fail(struct model *m);

/* The offset of a source of a region that a snapshot object holds. False: it holds none. */
bool model_object_source(const char *bytes, size_t len, uint32_t source, uint64_t *offset);

#endif
