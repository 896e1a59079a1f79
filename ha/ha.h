/*
 * ha - leadership and durable decisions on etcd: what the JobManager sees.
 *
 * One struct ha per JobManager process. Below it: the etcd client (ha/etcd.h),
 * the election core (ha/elect.h, pure), the lease keeper, and the one function
 * that writes decisions. Above it nobody knows that etcd exists.
 *
 *   STARTING --queued--> FOLLOWING --barrier ok--> LEADING <--barrier ok-- SUSPENDED
 *                            ^                      |  ^--deadline passed-->  |
 *                            +------ key gone ------+-------------------------+
 *
 * What a leader may rely on
 *  - on_role(LEADING) comes after the barrier, with every hot document as of it;
 *  - ha_decide() carries predicate + write + chain; its outcome is definite;
 *  - in SUSPENDED no decision is taken; those in flight go on being resent;
 *  - in a store that went back in time nobody becomes LEADING: who is first becomes
 *    SUSPENDED, with the documents, and can be asked to accept the store;
 *  - after on_role(FOLLOWING) every pending decision has ended with FENCED.
 *
 * Keys are relative to "/<prefix>/<cluster>/": "run/<job>", "spec/<job>", ...
 * Values are bytes (JSON by convention). Threads: the loop's. No callback runs
 * inside the call that requested it.
 */
#ifndef HA_HA_H
#define HA_HA_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/ids.h"
#include "world/world.h"

struct ha;

enum { HA_ENDPOINTS_MAX = 9, HA_TXN_OPS_MAX = 100 };

struct ha_config {
	const char *prefix;                      /* "weir" */
	const char *cluster;                     /* "default" */
	const char *endpoints[HA_ENDPOINTS_MAX]; /* "http://127.0.0.1:2379" */
	unsigned n_endpoints;
	const char *user, *password; /* NULL: no authentication */
	const struct world_tls *tls;
	uint32_t lease_s;    /* default 5 */
	uint32_t renew_ms;   /* default 500 */
	uint32_t attempt_ms; /* default 300: one try of a small call, doubling to a quarter lease */
	bool dedicated;      /* etcd is ours alone: the leader compacts */
	bool fixed;          /* ask `endpoints` only, not what etcd's list of its members adds */
	/* what others see of this process */
	const char *id;              /* node id */
	char instance[ID_TEXT];      /* random, new in each process */
	const char *user_address;    /* "host:port" of the REST API */
	const char *cluster_address; /* "host:port" for TaskManagers and peers */
	int64_t pid;
};

enum ha_role { HA_STARTING, HA_FOLLOWING, HA_LEADING, HA_SUSPENDED };

struct ha_member { /* a candidate: a living JobManager */
	char id[NODE_ID_MAX];
	char instance[ID_TEXT];
	char user_address[128], cluster_address[128];
	int64_t pid;
	int64_t start_wall_ms;
	uint64_t create_revision; /* place in the queue; the leader's is the epoch */
	bool self;
};

struct ha_doc {            /* one key as read */
	const char *key;   /* relative */
	const char *value; /* ends in a zero byte */
	size_t len;
	uint64_t mod_revision, create_revision;
};

struct ha_listener {
	/* The role changed. LEADING or SUSPENDED after FOLLOWING brings `docs`: everything below
	 * "run/" at the barrier (borrowed for the call). LEADING after SUSPENDED has the same epoch
	 * and no docs: what this process remembers is still true. */
	void (*on_role)(struct ha_listener *l, enum ha_role role, struct epoch epoch,
			const struct ha_doc *docs, size_t n_docs);
	/* The queue of candidates changed (first is the leader); borrowed. May be NULL. */
	void (*on_members)(struct ha_listener *l, const struct ha_member *members, size_t n);
};

/* Starts at once; nothing fails here: an unreachable etcd is retried and shown in ha_status(). */
struct ha *ha_create(struct world *w, const struct ha_config *config, struct ha_listener *l);
/* Cancels everything; keys and lease are left to expire (or resign first). Not from within a
 * callback of ha. NULL: no-op. */
void ha_destroy(struct ha *ha);

/* Hand leadership over, or leave the queue: finish the decision in hand, delete the own key, revoke
 * the lease. `done` runs when that is known (or after a quarter of the lease). Not reversible. */
struct ha_resign {
	void (*done)(struct ha_resign *r);
};
void ha_resign(struct ha *ha, struct ha_resign *r);

/* The same, but queue again at the tail: the next in line leads, this process stays a candidate.
 * `done` runs when the key is known to be gone. Not while another resignation is under way; one for
 * good (ha_resign) may follow at any time and overrides it: this `done` then never runs. */
void ha_step_down(struct ha *ha, struct ha_resign *r);

/* Why the lead changed hands. */
enum ha_cause {
	HA_CAUSE_NONE,      /* it never did, as far as this process knows */
	HA_CAUSE_FIRST,     /* nobody led before */
	HA_CAUSE_KILLED,    /* its address refused connections: the process is gone */
	HA_CAUSE_REPLACED,  /* another instance answers at its address */
	HA_CAUSE_RESIGNED,  /* it was asked to stop or to resign, and said so */
	HA_CAUSE_SUSPECTED, /* silent; witnesses, other standbys and etcd agreed */
	HA_CAUSE_LEASE,     /* silent until its lease had expired */
	HA_CAUSE_KEY_LOST /* its key went while it was heard: a lease revoked, another's verdict */
};
const char *ha_cause_name(enum ha_cause cause); /* "killed", "lease-expired", ... */

/* A candidate's process is dead (KILLED, REPLACED), or silent and given up by all who were asked
 * (SUSPECTED): take over once all who stand before us are declared so, deleting their keys
 * together. A verdict may be wrong; it costs that process its place, never safety. Remembered; an
 * instance that is not among the members is ignored, and so is KILLED or REPLACED at an address
 * about which the last verdict was wrong (30 s, doubling to 10 min: see ha_doubted). */
void ha_declare_dead(struct ha *ha, const char *instance, enum ha_cause cause, const char *why);
/* Somebody says that a candidate with a later key than ours leads. While SUSPENDED (etcd, which
 * would tell us, does not answer) that is the end of this candidacy; otherwise nothing. It may be
 * wrong: it costs the place in the queue. */
void ha_outrun(struct ha *ha);
/* It was given up as SUSPECTED, and is heard again: forget that, unless its key is gone already. */
void ha_take_back(struct ha *ha, const char *instance);
/* Was a verdict about this instance's address wrong lately? Then a refusal is no proof. */
bool ha_doubted(struct ha *ha, const char *instance);

/* What was seen of a candidate, for the story of a takeover. Only the newest of each is kept. */
enum ha_sign { HA_SIGN_HEARD, HA_SIGN_SUSPECTED, HA_SIGN_RESIGNING, HA_SIGN_COUNT };
void ha_note_sign(struct ha *ha, const char *instance, enum ha_sign sign, uint64_t at_ms);

/* How much is left of a candidate's lease, as etcd says? In whole seconds, rounded down. Of one who
 * is no candidate: nothing is left. */
struct ha_renewal {
	void (*done)(struct ha_renewal *r);
	struct err err;     /* OK; UNAVAILABLE: no answer in time */
	uint64_t granted_s; /* the lease's full length */
	uint64_t left_s;    /* 0: it is gone, or will be in less than a second */
	void *impl;         /* private; not NULL while under way */
};
void ha_renewal(struct ha *ha, struct ha_renewal *r, const char *instance);
void ha_renewal_cancel(struct ha *ha, struct ha_renewal *r);

/*
 * The story of how this process came to lead, in the world's milliseconds
 * (world_now_ms: later moments, such as the first command, can be compared).
 * 0: does not apply or was not seen. Complete when on_role(LEADING) with
 * documents is called; unchanged until this process leads anew.
 *
 *   heard <= suspected <= confirmed <= key_gone <= barrier <= read
 */
struct ha_takeover {
	enum ha_cause cause;
	char why[128];      /* in words */
	struct epoch epoch; /* ours */
	/* who led before; empty and 0 if nobody was seen to */
	struct epoch before;
	char before_id[NODE_ID_MAX];
	char before_instance[ID_TEXT];
	char before_address[128]; /* its cluster address */
	uint64_t heard_ms;        /* the last sign of life */
	uint64_t suspected_ms;    /* silent for too long */
	uint64_t confirmed_ms;    /* declared dead by us, or it said that it resigns */
	uint64_t key_gone_ms;     /* its key was deleted, by us or otherwise */
	uint64_t barrier_ms;      /* the barrier was committed */
	uint64_t read_ms;         /* the last page of the hot documents had been read */
	int64_t read_wall_ms;     /* the same moment on the wall clock */
};
/* Borrowed for the life of `ha`; cause NONE until it led. */
const struct ha_takeover *ha_takeover(const struct ha *ha);

/* ---- decisions ---- */

struct ha_op {
	const char *key;   /* relative; borrowed until done */
	const char *value; /* put; NULL: delete */
	size_t len;
};

/*
 * One durable decision on one chain: compares that we lead, that `chain_key`
 * has `chain_revision` (0: that it does not exist), that the `absent` keys do
 * not exist; then writes `ops`, among them chain_key. At most one decision per
 * chain_key is in flight (asserted). An unknown outcome is resolved inside, by
 * sending the identical transaction until the answer is definite.
 *
 * Outcomes: OK (chain_revision_after is set); CONFLICT (the chain had moved or
 * an absent key exists, and it was not us: read again); FENCED (no longer
 * leader: forget it all); LIMIT / INVALID (the store refused it for what it is;
 * nothing was written); UNAVAILABLE, nothing was written: no decisions are taken now
 * (SUSPENDED, leaving), or the text begins with "NOSPACE" (etcd's quota).
 * CORRUPT: the store went back in time (see ha_status); nothing can be concluded.
 * Everything that the txn points to is borrowed until done.
 */
struct ha_txn {
	const char *chain_key;
	uint64_t chain_revision;
	const char *absent[4];
	unsigned n_absent;
	const struct ha_op *ops;
	unsigned n_ops;
	void (*done)(struct ha_txn *t);
	/* results */
	struct err err;
	uint64_t chain_revision_after; /* 0 if the chain key was deleted */
	void *impl;                    /* private; not NULL while in flight */
};
void ha_decide(struct ha *ha, struct ha_txn *t);

/* ---- reads ---- */

struct ha_read {
	void (*done)(struct ha_read *r);
	struct err err;
	struct ha_doc *docs; /* borrowed until done returns */
	size_t n_docs;
	uint64_t revision; /* of the store as read */
	void *impl;        /* private */
};
/* One key, or with `prefix` all that begin with it. at_revision 0: now, linearizable; all pages are
 * of one revision. UNAVAILABLE after two leases without an answer; CONFLICT: that revision has been
 * compacted. A key that does not exist: OK with no docs. */
void ha_get(struct ha *ha, struct ha_read *r, const char *key, bool prefix, uint64_t at_revision);
void ha_get_cancel(struct ha *ha, struct ha_read *r);

/* A committed write that proves leadership now (shared by all who wait; at most 20 a second). OK or
 * FENCED or UNAVAILABLE. */
struct ha_barrier {
	void (*done)(struct ha_barrier *b);
	struct err err;
	void *impl; /* private */
};
void ha_barrier(struct ha *ha, struct ha_barrier *b);
void ha_barrier_cancel(struct ha *ha, struct ha_barrier *b);

/* ---- what to show ---- */

struct members; /* ha/members.h */
struct tries;   /* ha/tries.h */

struct ha_status {
	enum ha_role role;
	struct epoch
		epoch; /* own, while LEADING or SUSPENDED; else the leader's as last seen, or 0 */
	const struct ha_member *members; /* borrowed until the next loop turn */
	size_t n_members;
	uint64_t lease_left_ms; /* by our own careful count */
	uint64_t revision;      /* highest seen */
	uint64_t db_bytes, db_quota_bytes;
	bool nospace;
	bool regressed;             /* the store went back in time: nothing is decided */
	char trouble[256];          /* "" or what is wrong with etcd now */
	char endpoint[128];         /* the member last used */
	const struct members *etcd; /* all of them; borrowed, like the next */
	const struct tries *tries;
};
void ha_status(struct ha *ha, struct ha_status *out);
const char *ha_role_name(enum ha_role role);

#endif
