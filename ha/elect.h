/*
 * elect - one process's candidacy for the lead. Pure.
 *
 *  STARTING --lease granted--> QUEUEING --key made--> FOLLOWING
 *
 *  FOLLOWING --all before us found dead--> TAKING --deleted, we are first--> LEADING
 *  FOLLOWING --nobody before us--> BARRIER --committed--> LEADING
 *  LEADING --deadline passed--> SUSPENDED --barrier committed--> LEADING
 *  LEADING --the store went back--> SUSPENDED, for good; TAKING, BARRIER: there instead of LEADING
 *
 *  TAKING, BARRIER, LEADING, SUSPENDED --we are not the first--> FOLLOWING
 *  QUEUEING ... SUSPENDED --own key or lease gone--> STARTING
 *  QUEUEING ... BARRIER --the store went back--> STARTING
 *  any but LEFT --asked to leave--> LEAVING --key and lease gone--> LEFT
 *  any with a lease --asked to step down--> LEAVING --likewise--> STARTING
 *
 *  STARTING   no usable lease. An earlier one of unknown fate is revoked to a
 *             definite answer first; only then is another granted (else a late
 *             key with the old one could lead, embodied by nobody).
 *  QUEUEING   the lease lives; the key `leader/<lease>` is being made.
 *  FOLLOWING  epoch is the key's create_revision: our place in the queue.
 *  TAKING     a transaction that deletes the keys of the dead before us, and reads
 *             who is left. If we are first, it was a barrier, too. Otherwise
 *             (refused, not known, somebody left, deadline passed): FOLLOWING,
 *             which looks again.
 *  BARRIER    first by what we know; a committed write has to confirm it.
 *  LEADING    confirmed, and the lease's deadline has not passed.
 *  SUSPENDED  the deadline passed. Nothing is decided or commanded, nothing is
 *             forgotten: once renewed, the barrier is tried again; success =
 *             the same epoch goes on. If only we are cut off from etcd, a
 *             later candidate leads meanwhile: who hears of it begins anew.
 *             In a store that went back in time there is no barrier and no way back.
 *
 * Invariants
 *  - the deadline of the lease is counted from when the renewal that was
 *    answered had been SENT, less a tenth of the lease;
 *  - at most one request of this core is under way, besides a renewal and a
 *    list; an answer is known by its token, a stale one has no effect;
 *  - LEADING is entered by a committed write only whose transaction shows that
 *    nobody is before us, and is never kept beyond the deadline, nor at all in a
 *    store that went back in time;
 *  - hints (a watch) may be wrong, late or missing: a list from time to time
 *    repairs it, and safety does not rest on either;
 *  - a list older than our own key, or than the last list, is dropped (a member
 *    may answer with what was).
 *
 * A verdict of death may be wrong. It proves itself wrong when the instance
 * queues again: then verdicts about its address that rest on a refused
 * connection or another instance's answer count for nothing for 30 s, doubling
 * up to 10 min. A verdict upon suspicion (all who were asked had lost it, etcd
 * too) claims no death: it is neither doubted nor proved wrong.
 *
 * Ownership: the struct is the caller's and holds everything; no allocation.
 * Threads: one. Limits: ELECT_CANDIDATES_MAX candidates; more are not seen.
 */
#ifndef HA_ELECT_H
#define HA_ELECT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/ids.h"
#include "base/sm.h"

enum elect_state {
	ELECT_STARTING,
	ELECT_QUEUEING,
	ELECT_FOLLOWING,
	ELECT_TAKING,
	ELECT_BARRIER,
	ELECT_LEADING,
	ELECT_SUSPENDED,
	ELECT_LEAVING,
	ELECT_LEFT,
	ELECT_STATES
};

enum {
	ELECT_CANDIDATES_MAX = 32,
	ELECT_KEY_MAX = 64,
	ELECT_ADDRESS_MAX = 128,
	ELECT_VERDICTS_MAX = 16,
	ELECT_EFFECTS_MAX = 12,
};

struct elect_candidate {
	char key[ELECT_KEY_MAX]; /* behind "leader/"; ours is the lease in hexadecimal */
	uint64_t create_revision;
	char instance[ID_TEXT];          /* "" if its value could not be read */
	char address[ELECT_ADDRESS_MAX]; /* for peers */
};

struct elect_config {
	char instance[ID_TEXT];
	uint32_t lease_s;
	uint64_t renew_ms, relist_ms;
};

enum elect_op {
	ELECT_OP_NONE,
	ELECT_OP_REVOKE,
	ELECT_OP_GRANT,
	ELECT_OP_ENQUEUE,
	ELECT_OP_TAKE,
	ELECT_OP_BARRIER,
	ELECT_OP_LEAVE
};

enum elect_result {
	ELECT_DONE,    /* GRANT: also when the lease exists; REVOKE: also when it does not */
	ELECT_REFUSED, /* definitely not carried out */
	ELECT_UNKNOWN  /* no definite answer in time */
};

enum elect_event_kind {
	ELECT_EV_TIME, /* the time asked for by elect_wake_ms(), or any other */
	ELECT_EV_OP,   /* token, result; of GRANT sent_ms and ttl_s; a queue if the answer had one.
		      * DONE of a BARRIER, or of a TAKE whose queue begins with us: the documents
		      * have been read as well */
	ELECT_EV_RENEWED,   /* token, result, sent_ms, ttl_s (0: the lease is gone) */
	ELECT_EV_LISTED,    /* token, queue; or result other than DONE and none */
	ELECT_EV_HINT,      /* something changed among the candidates: look */
	ELECT_EV_DELETED,   /* hint: `key` is gone, since `revision` */
	ELECT_EV_DEPOSED,   /* a decision or barrier was refused by the predicate; with a queue */
	ELECT_EV_DEAD,      /* instance: its process is known to be dead, or suspected by all */
	ELECT_EV_ALIVE,     /* instance: a suspicion, unless it had its effect, is taken back */
	ELECT_EV_RESIGN,    /* leave the queue for good */
	ELECT_EV_STEP_DOWN, /* leave the queue, and join it again at its end */
	ELECT_EV_REGRESSED, /* the store went back in time: never lead again, only be suspended */
	ELECT_EV_OUTRUN,    /* another candidate is known to lead with an epoch above ours */
	ELECT_EVENTS
};

struct elect_event {
	enum elect_event_kind kind;
	uint64_t now_ms;
	uint64_t random; /* fresh in each event; used when a lease needs an id */
	uint32_t token;
	enum elect_result result;
	uint64_t sent_ms;
	uint32_t ttl_s;
	const struct elect_candidate *queue; /* ordered by create_revision; NULL: none came */
	unsigned n_queue;
	uint64_t revision;    /* of the store as the queue shows it, or of the deletion */
	const char *key;      /* DELETED */
	const char *instance; /* DEAD, ALIVE */
	bool suspected;       /* DEAD: nothing proves it, but all have lost it */
};

enum elect_effect_kind {
	ELECT_DO,      /* start `op` (forget one before it); answer with EV_OP and token */
	ELECT_RENEW,   /* one renewal; EV_RENEWED */
	ELECT_LIST,    /* read the queue; EV_LISTED */
	ELECT_GHOST,   /* delete queue[index], a key of ours that is not ours; EV_HINT then */
	ELECT_ROLE,    /* the role changed: elect_role() */
	ELECT_MEMBERS, /* the queue changed */
	ELECT_NOTE     /* a line for the log */
};

struct elect_effect {
	enum elect_effect_kind kind;
	enum elect_op op;
	uint32_t token;
	unsigned index; /* GHOST; of TAKE: how many at the head of the queue are to be deleted */
	const char *text;
};

struct elect_effects {
	unsigned n;
	struct elect_effect at[ELECT_EFFECTS_MAX];
};

enum elect_role {
	ELECT_ROLE_STARTING,
	ELECT_ROLE_FOLLOWING,
	ELECT_ROLE_LEADING,
	ELECT_ROLE_SUSPENDED
};

struct elect_verdict { /* somebody whom we declared dead */
	char instance[ID_TEXT];
	char address[ELECT_ADDRESS_MAX];
	bool gone;      /* its key has been missing since */
	bool suspected; /* not claimed to be dead */
};

struct elect_doubt { /* an address about which a verdict was wrong */
	char address[ELECT_ADDRESS_MAX];
	uint64_t until_ms, span_ms;
};

struct elect {
	struct elect_config config;
	struct sm sm;
	/* the candidacy */
	uint64_t lease; /* 0: none */
	char key[ELECT_KEY_MAX];
	uint64_t epoch;       /* 0: no key yet */
	bool lease_unsettled; /* may exist, is not wanted: revoke before another grant */
	uint64_t deadline_ms;
	bool queued_once; /* the role is FOLLOWING, not STARTING, from the first key on */
	bool halted;      /* the store went back in time */
	bool own_deleted; /* LEAVING: the key is gone, the lease comes next */
	bool coming_back; /* LEAVING: to queue again afterwards */
	enum elect_role role;
	/* requests */
	uint32_t tokens;
	enum elect_op op;
	uint32_t op_token, renew_token, list_token; /* 0: not under way */
	uint64_t retry_ms, pause_ms, renew_at_ms, list_at_ms;
	/* the queue as last seen */
	struct elect_candidate queue[ELECT_CANDIDATES_MAX];
	unsigned n_queue;
	uint64_t queue_revision;
	/* death */
	struct elect_verdict verdicts[ELECT_VERDICTS_MAX];
	unsigned next_verdict;
	struct elect_doubt doubts[ELECT_VERDICTS_MAX];
	unsigned next_doubt;
};

extern const struct sm_table elect_table;

void elect_init(struct elect *e, const struct elect_config *config, uint64_t now_ms);

/* Advance by one event. Total: every event is legal in every state; `out` is overwritten. */
void elect_step(struct elect *e, const struct elect_event *ev, struct elect_effects *out);

uint64_t elect_wake_ms(const struct elect *e); /* when to send the next ELECT_EV_TIME */
enum elect_state elect_state(const struct elect *e);
enum elect_role elect_role(const struct elect *e);
/* Was a verdict about this candidate's address wrong lately? */
bool elect_doubts(const struct elect *e, const char *instance, uint64_t now_ms);
bool elect_holds(const struct elect *e,
		 uint64_t now_ms); /* the invariants that a struct can show */

#endif
