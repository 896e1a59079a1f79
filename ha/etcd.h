/*
 * etcd - a client of etcd's JSON gateway on the world's HTTP.
 *
 *   etcd_start(call) --> try at a member --answer--> definite? --yes--> done(call)
 *                          ^                            | no
 *                          +-- next member, longer try <+      (or the deadline: UNKNOWN)
 *
 * A call is tried at one member after the other, each try short (attempt_ms,
 * doubling up to attempt_max_ms), with the identical bytes, until the answer is
 * definite or the call's deadline has passed. Invariants:
 *  - a try whose outcome is unknown is never called failed: once one try of a
 *    call that changes the store may have been carried out, or may still be, a
 *    later refusal does not end the call; only an answer of the store does;
 *  - done() runs exactly once, never inside etcd_start(), and not after
 *    etcd_cancel();
 *  - every request says "hasleader", so that a member that has lost its leader
 *    refuses in a millisecond instead of hanging for seven seconds;
 *  - a token that a member does not know (they are per member, and expire) costs
 *    one login and one more try at that member; it is not a fault.
 *
 * The client remembers the highest revision and the cluster id it has seen. A
 * transaction answered with a revision below what was known before it was sent,
 * or by another cluster, is the sign of a store that went back in time:
 * etcd_view.regressed is then set for ever. (Other answers may come from a
 * member that lags, and prove nothing.)
 *
 * An answer with a lower raft term than another member's within the last ten
 * seconds is none: the next member is asked.
 *
 * Which members there are: those configured, and those that etcd's own list names (ha/members.h);
 * etcd_learn() and etcd_proved() bring the news.
 *
 * Lanes: keep-alives use another member than the rest where there are several,
 * because a large read starves them.
 *
 * Ownership: calls and watches are embedded in their owners and zero before
 * use; the client owns the bytes. Threads: the loop's.
 */
#ifndef HA_ETCD_H
#define HA_ETCD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "ha/calls.h"
#include "ha/members.h"
#include "ha/tries.h"
#include "ha/wire.h"
#include "world/world.h"

struct etcd;

struct etcd_config {
	const char *const *endpoints; /* copied; "http://host:port", tried in this order */
	unsigned n_endpoints;         /* at most MEMBERS_MAX */
	const char *user, *password;  /* copied; NULL: none */
	const struct world_tls *tls;  /* borrowed */
	uint64_t attempt_ms, attempt_max_ms;
};

struct etcd *etcd_create(struct world *w, const struct etcd_config *config);
void etcd_destroy(struct etcd *c); /* cancels everything; NULL: no-op */

struct etcd_call {
	void (*done)(struct etcd_call *call);
	/* results, valid in done(), which takes `answer` and releases it (wire_answer_fini) */
	struct err err;            /* OK; or the refusal; or UNKNOWN / NOTSENT at the deadline */
	struct wire_answer answer; /* of etcd, when OK */
	uint64_t sent_ms;          /* when the try that was answered left */
	uint64_t first_sent_ms;    /* when the first try left; 0: none did */
	void *impl;                /* private; not NULL while under way */
};

/* `body` is taken (freed by the client). deadline_ms: absolute; 0: go on until definite. */
void etcd_start(struct etcd *c, struct etcd_call *call, enum call_kind kind, char *body,
		uint64_t deadline_ms);
/* The same, at one member and nowhere else (defragment). */
void etcd_start_at(struct etcd *c, struct etcd_call *call, enum call_kind kind, char *body,
		   uint64_t deadline_ms, unsigned endpoint);
void etcd_cancel(struct etcd *c, struct etcd_call *call); /* not under way: no-op */

/*
 * A watch of a prefix from a revision on: a hint, never a truth. It ends by
 * itself, once, for any reason (connection, cancellation by etcd, compaction,
 * silence of silence_ms); on_lost is the last that is heard of it, and the owner lists again
 * and starts anew.
 */
struct etcd_watch {
	void (*on_frame)(struct etcd_watch *watch, const struct wire_frame *frame);
	void (*on_lost)(struct etcd_watch *watch, const char *why);
	void *impl; /* private; not NULL while under way */
};
void etcd_watch_start(struct etcd *c, struct etcd_watch *watch, const char *prefix,
		      uint64_t from_revision, uint64_t silence_ms);
void etcd_watch_cancel(struct etcd *c, struct etcd_watch *watch);

/* Etcd's list of its members (answer of CALL_MEMBERS). */
void etcd_learn(struct etcd *c, char *const *urls, size_t n);
/* How a STATUS at members_unproved() went. */
void etcd_proved(struct etcd *c, unsigned endpoint, bool answered);

struct etcd_view {
	uint64_t cluster_id, revision, term; /* highest seen; 0: none yet */
	bool regressed;
	const char *regress_why; /* "" if not */
	const char *trouble;     /* what the last try said that failed; "" after one that did not */
	const char *endpoint;    /* the member last used */
	const struct members *members; /* places are endpoints */
	const struct tries *tries;
};
void etcd_view(const struct etcd *c, struct etcd_view *out);

#endif
