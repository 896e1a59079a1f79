/*
 * worker - the process that runs one TaskManager's share of one region attempt of a job.
 *
 *   agent --lines, descriptor 3--> [ control thread ] --orders--> [ task threads, one per chain ]
 *   agent --sockets, descriptor 4-->      |    ^                        | rows, barriers
 *                                         |    +--acks-- [ uploader ] <-+ captures
 *                                         +----------------------------[ network thread ] <-> peers
 *
 * The life of a worker, and what it reports at each step:
 *
 *   WAITING --prepare--> PREPARED --run--> STARTING --all restored--> RUNNING
 *                        `prepared`                                   `running`
 *   any --cancel, finish--> ENDING --tasks gone--> `ended`, exit status 0
 *   any --a task or a connection fails--> FAILED   `failed`; waits for cancel
 *
 * A worker without a source reports `at_end` as soon as it runs. It serves one attempt and dies
 * with descriptor 3 (or when the agent kills it). Commands for another attempt are an error of the
 * agent and ignored with a log line. Commands that come twice, late or out of order do nothing: ids
 * of checkpoints only grow.
 *
 * Without a leader: if a channel is held for a barrier for longer than the alignment limit and no
 * line (a beat counts) came from the agent for that long, the task gives that checkpoint up by
 * itself, goes on, and declines it.
 *
 * Settings taken from the welcome: "storage" (URL), "clusterId", "filesRoot", "taskManager" (id),
 * "instance", "alignmentLimitMs", "memoryBytes" (this worker's share; default 512 MiB), "flushMs",
 * "logLevel", and the storage client's "s3..." ones.
 */
#ifndef TASKMANAGER_WORKER_H
#define TASKMANAGER_WORKER_H

#include "taskmanager/op.h"

/* The operators of this folder's operators/. NULL-ended. */
extern const struct op_type *const engine_op_types[];

/*
 * `weir-taskmanager --worker`: descriptors 3 and 4 are as in rest/control.h and dataport.h. `more`
 * are further operator types (connectors), NULL-ended, or NULL. Returns the exit status: 0 after
 * `ended`, or when descriptor 3 ended; 1 if it could not start.
 */
int worker_main(const struct op_type *const more[], int argc, char **argv);

#endif
