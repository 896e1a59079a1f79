/*
 * node - one JobManager process as an object: the pure brain (jm.h) on a world,
 * on leadership (ha.h) and on checkpoint storage. The program and the simulator
 * create the same one.
 *
 *   user listener  --> api     --+            +--> ha    (decide, read, barrier)
 *   cluster listener -> streams -+-> jm_step -+--> streams (command lines)
 *   ha roles, clock, blobs ------+            +--> blobs, replies, log
 *
 * It decides nothing: callbacks become events, effects become calls, in their
 * order. The one thing that it does by itself is to make the cluster's identity
 * exist before it says that it leads: the key `cluster` (once, for ever), and
 * the same in the object weir-cluster.json, by which TaskManagers prove that
 * they see the same storage. Storage that is away does not hold up a takeover:
 * the object is looked at a moment after it, and put again until it is there.
 *
 * Ownership: the configuration's strings are borrowed for the node's life; the
 * world and the blob port too. Threads: the loop's.
 */
#ifndef JOBMANAGER_NODE_H
#define JOBMANAGER_NODE_H

#include <jansson.h>

#include "base/err.h"
#include "ha/ha.h"
#include "jobmanager/jm.h"
#include "state/blob.h"
#include "world/world.h"

struct jm_node;

struct jm_node_config {
	struct ha_config ha;        /* id, prefix, cluster, endpoints...; instance "" = chosen here;
	                               addresses are filled in from the listeners */
	struct jm_config jm;        /* instance is filled in */
	const char *listen;         /* "host:port" for users; port 0: any free one */
	const char *cluster_listen; /* "host:port" for TaskManagers and other JobManagers */
	const char *advertise;      /* host that others reach us by; NULL: the listener's own */
	const json_t *settings;     /* what /jobmanager/config shows: [{"key","value"}]; NULL: [] */
	bool no_liveness; /* do not watch the JobManagers ahead (tests of the slow path) */
};

/* NULL: a listener could not be opened. Nothing else fails here: an etcd or a storage that is away
 * is retried, and shown. */
struct jm_node *jm_node_create(struct world *w, const struct jm_node_config *config,
			       struct blob_port *blobs, struct err *e);
/* Drops everything, as a crash would, but for the listeners' sockets. NULL: no-op. */
void jm_node_destroy(struct jm_node *n);

/* Hand leadership over, end the streams; `done` when that is known. Not reversible. */
void jm_node_resign(struct jm_node *n, void (*done)(void *ctx), void *ctx);
/* Hand leadership over, and queue again at the tail. False: it does not lead, or is leaving. */
bool jm_node_step_down(struct jm_node *n);

/* ---- for tests, the simulator and the log ---- */

const char *jm_node_user_address(const struct jm_node *n);
const char *jm_node_cluster_address(const struct jm_node *n);
enum ha_role jm_node_role(const struct jm_node *n);
const struct jm *jm_node_brain(const struct jm_node *n);

#endif
