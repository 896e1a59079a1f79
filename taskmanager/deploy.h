/*
 * deploy - from a job's graph and a placement to the tasks, queues and connections of one worker.
 *
 *   deploy_prepare(spec, my subtasks)  checks and expands the job
 *   deploy_wire(peers)                 makes tasks and every channel between them
 *
 * Channels are walked in one fixed order (receiving vertex, input, sending subtask, receiving
 * subtask) by every worker of the region, so the channels of a pair of workers have the same
 * numbers on both sides without being told.
 *
 * Memory: the pool holds the credits of every channel from a peer, the rings of all others, and a
 * few buffers per task; when that is more than half of the worker's share, credits shrink to
 * DEPLOY_CREDITS_MIN.
 *
 * Ownership: the deployment owns all it makes. Threads: one; tasks may then run on theirs.
 */
#ifndef TASKMANAGER_DEPLOY_H
#define TASKMANAGER_DEPLOY_H

#include <jansson.h>

#include "job/graph.h"
#include "taskmanager/exchange.h"
#include "taskmanager/task.h"

enum {
	DEPLOY_CREDITS_MIN = 2,
	DEPLOY_LOCAL_DEPTH = 8,
	DEPLOY_OUT_DEPTH = 4,
	DEPLOY_PEERS_MAX = 20000
};

struct deploy_peer {
	char tm[NODE_ID_MAX];
	char instance[ID_TEXT];
	char address[128];
};

struct deploy_config {
	const struct op_type *const *types, *const *more; /* NULL-ended; more may be NULL */
	struct job_id job;
	uint32_t region;
	struct attempt attempt;
	const char *files_root, *cluster; /* borrowed */
	uint64_t memory_bytes;
	uint64_t flush_ns, align_limit_ns;
	bool commit_only; /* of the run command: sources read nothing */
	const _Atomic uint64_t *leader_seen_ns;
	struct killpoint *killpoint;
	struct task_port *port;
	void (*link_failed)(void *owner, unsigned peer, const struct err *e);
	void *owner;
};

struct deployment {
	struct deploy_config config;
	struct spec *spec;
	struct graph *graph;
	struct row_plan *plans; /* of each operator's output */
	unsigned *base;         /* per vertex: number of its subtask 0 */
	unsigned n_subtasks;    /* of the whole job */
	unsigned *place;        /* per subtask of the job: 1 + peer, 0: elsewhere */
	bool *mine;             /* per subtask of the job */
	unsigned n_peers, me;
	struct deploy_peer *peers;
	uint32_t credits;
	struct batch_pool *pool;
	struct batch_cache cache; /* of who takes it all down */
	struct exchange *exchange;
	unsigned n_tasks;
	struct task **tasks;
	char **names;
	unsigned n_queues;
	struct queue **queues;
};

/* `spec` and `subtasks` are the prepare command's. On failure *d is empty again. */
MUST_CHECK enum errc deploy_prepare(struct deployment *d, const struct deploy_config *c,
				    const json_t *spec, const json_t *subtasks, struct err *e);
/* `peers` is the run command's. */
MUST_CHECK enum errc deploy_wire(struct deployment *d, const json_t *peers, struct err *e);
/* After all threads are gone. Zeroed: no-op. */
void deploy_fini(struct deployment *d);

#endif
