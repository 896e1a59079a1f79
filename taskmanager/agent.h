/*
 * agent - the driver of agent_core on `world`: HTTP to the JobManagers, worker
 * processes, timers. It decides nothing.
 *
 *   JobManagers <--HTTP-- [ agent_core ] --lines over descriptor 3--> worker processes
 *                              |
 *                         agent_port: gives each worker its end of the data port (descriptor 4)
 *
 * A worker's first line is a welcome whose settings are those of the leader's
 * welcome ("storage", "clusterId", timeouts) and of config.worker_settings on
 * top; then come the leader's commands as they are.
 *
 * Ownership: the config is borrowed for the agent's life. agent_destroy()
 * abandons (kills) every worker. Threads: the loop's.
 */
#ifndef TASKMANAGER_AGENT_H
#define TASKMANAGER_AGENT_H

#include <jansson.h>
#include <stdint.h>

#include "state/blob.h"
#include "taskmanager/agent_core.h"
#include "world/world.h"

struct agent;

/* Where data connections come in. NULL in the simulator: workers get no descriptor 4. */
struct agent_port {
	/* A unix socket's end for the worker's descriptor 4, the caller's to close; -1: failed. */
	int (*open)(struct agent_port *p, const struct job_id *job, uint32_t region,
		    struct attempt attempt);
	void (*close)(struct agent_port *p, const struct job_id *job, uint32_t region,
		      struct attempt attempt);
};

struct agent_config {
	const char *id;                 /* node id */
	const char *const *jobmanagers; /* "host:port", the cluster port of each */
	unsigned n_jobmanagers;         /* at most AGENT_PEERS_MAX */
	uint32_t slots;
	int64_t pid; /* for display */
	/* Advertised. Somebody must listen there for as long as the agent lives: when its command
	 * stream ends, a connection that is refused is taken for its death. */
	const char *data_address;
	const char *rest_host;          /* name or address of this machine, for display */
	struct agent_port *port;        /* NULL: none */
	const char *const *worker_argv; /* NULL-ended: the worker's program and arguments */
	const char *const *worker_env;  /* NULL-ended additions, or NULL */
	/* Workers write to DIR/<id>-worker-<job>-<region>-<attempt>.log; NULL: as we do. */
	const char *log_dir;
	const json_t *worker_settings; /* object merged over the welcome's; NULL: nothing */
	uint64_t slot_bytes;           /* memory of one slot, told to workers; 0: not told */
	const struct world_tls *tls;   /* to the JobManagers; NULL: plain HTTP */
	/* The storage named by a welcome, to read its cookie. The port is borrowed until
	 * the next call or the agent's end. NULL with e set if the URL is not usable. */
	struct blob_port *(*storage)(void *owner, const char *url, struct err *e);
	void *owner;
	/* Everything is down after agent_stop(). Called on the loop; may destroy nothing. */
	void (*stopped)(void *owner);
};

struct agent *agent_create(struct world *w, const struct agent_config *config);
void agent_destroy(struct agent *a); /* NULL: no-op */

/* Orderly end: attempts fail as external, workers end, the leader is told; then config.stopped. */
void agent_stop(struct agent *a);
const struct agent_core *agent_core_of(const struct agent *a); /* for display and tests */

#endif
