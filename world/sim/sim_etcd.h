/*
 * sim_etcd - a simulated etcd cluster that answers the JSON gateway's bytes.
 *
 * Members are nodes of the simulator named "etcd-1" ... "etcd-n" that listen on
 * port 2379, written against world.h. Behind them is one store with its whole
 * history; each member sees it up to the revision that it has applied, and a
 * member that is cut off stays where it was. Raft is not simulated message by
 * message, only what a client can observe of it; what is asserted here was
 * measured on etcd 3.4.23:
 *
 *  - a leader needs a majority it can reach; without one it steps down after
 *    the election timeout (1 to 2 s), and where a majority is, another is
 *    elected, which gives every lease its full time and a timeout more;
 *  - a frozen leader (paused) does not step down: if nobody could replace it,
 *    the leases have run out by its clock at the thaw, and are revoked;
 *  - a write that cannot be committed hangs for 7 s and then fails (500/2 or
 *    503/14); it may still be applied later: what sits in a log is carried
 *    out when the quorum returns, or, at a change of leader, by the throw of a
 *    coin. A paused member carries out what piled up when it goes on;
 *  - a transaction without a write and without a linearizable read, and a
 *    serializable range, are answered locally, however stale;
 *  - a keep-alive is answered by whoever believes to be leader (a deposed one
 *    says OK for up to 2 s), with HTTP 200 and no TTL if the lease is gone;
 *  - a watch on a cut-off member is silent, unless it asked for
 *    Grpc-Metadata-hasleader, which also makes other requests fail at once;
 *  - a watch on a compacted revision says canceled and stays open, silent;
 *  - under NOSPACE puts and grants fail, also a put in a branch not taken;
 *    deletions, keep-alives and reads work.
 *
 * Faults: sim_node_pause/resume/crash/start and sim_cut/heal on the members,
 * and the switches below. Not simulated: nested transactions, sorting, users
 * and tokens, late creation and cancellation on an open watch, learners.
 */
#ifndef WORLD_SIM_SIM_ETCD_H
#define WORLD_SIM_SIM_ETCD_H

#include <stdbool.h>
#include <stdint.h>

#include "world/sim/sim.h"

struct sim_etcd;
struct sim_etcd_backup;

/* Adds and starts the members (1, 3 or 5). Elects at once. */
struct sim_etcd *sim_etcd_create(struct sim *s, unsigned n_members);
void sim_etcd_destroy(struct sim_etcd *c); /* after sim_destroy() */

/* The member that leads, from 1; 0: none, or it has no majority. */
unsigned sim_etcd_leader(struct sim_etcd *c);
/* Let another member lead now, as `etcdctl move-leader` does. */
void sim_etcd_move_leader(struct sim_etcd *c);
void sim_etcd_set_nospace(struct sim_etcd *c, bool on);
/* So many of a million linearizable reads do not see the last write (#20418). */
void sim_etcd_set_stale_reads(struct sim_etcd *c, uint32_t ppm);
/* Back to what a backup holds: revision, keys and leases go back, ids and term do not. All members
 * are restarted. The backup may be restored again; free it by sim_etcd_backup_free(). */
struct sim_etcd_backup *sim_etcd_backup(struct sim_etcd *c);
void sim_etcd_restore(struct sim_etcd *c, const struct sim_etcd_backup *b);
void sim_etcd_backup_free(struct sim_etcd_backup *b);

/* For checkers: a write that is about to be applied. Keys end in a zero byte. */
struct sim_etcd_compare {
	const char *key;
	bool range;         /* over all keys that begin with it */
	const char *target; /* "CREATE", "MOD", ... */
	const char *result; /* "EQUAL", "GREATER", ... */
	uint64_t revision;
};
struct sim_etcd_write {
	const char *key;
	bool range;
	const char *value; /* NULL: a deletion */
	uint64_t lease;
};
struct sim_etcd_read {
	const char *key;
	bool range;
};
struct sim_etcd_txn {
	const struct sim_etcd_compare *compares; /* all of them hold, if `succeeded` */
	unsigned n_compares;
	const struct sim_etcd_write *writes; /* of the branch that is taken */
	unsigned n_writes;
	const struct sim_etcd_read *reads; /* of that branch, behind its last write */
	unsigned n_reads;
	bool succeeded;
};
/* Before every transaction, put or deletion with at least one write is carried out. */
void sim_etcd_on_txn(struct sim_etcd *c, void (*fn)(void *ctx, const struct sim_etcd_txn *t),
		     void *ctx);
/* The create_revision of a key as it is; 0: it does not exist. */
uint64_t sim_etcd_created(struct sim_etcd *c, const char *key);
/* The lowest create_revision below a prefix; 0: there is no key. */
uint64_t sim_etcd_lowest(struct sim_etcd *c, const char *prefix);

/* For checkers: the store as it is, past all members. */
uint64_t sim_etcd_revision(struct sim_etcd *c);
/* The newest value of the key, or NULL; borrowed until the next event. */
const char *sim_etcd_get(struct sim_etcd *c, const char *key);
/* Called for every committed change, in order: value NULL when deleted. */
void sim_etcd_on_change(struct sim_etcd *c,
			void (*fn)(void *ctx, uint64_t revision, const char *key,
				   const char *value),
			void *ctx);

#endif
