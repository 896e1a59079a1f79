/*
 * ha_inside - the driver's struct, shared by the files that make it up: ha.c (the core's
 * requests, the queue, roles, life) and ha_requests.c (what the JobManager asks for:
 * decisions, reads, barriers). Nobody else includes it.
 */
#ifndef HA_HA_INSIDE_H
#define HA_HA_INSIDE_H

#include "base/list.h"
#include "ha/elect.h"
#include "ha/etcd.h"
#include "ha/fence.h"
#include "ha/ha.h"
#include "ha/story.h"
#include "ha/upkeep.h"

enum { PAGE = 500 }; /* documents per answer */

/* Key-values as they come from etcd, handed on as documents. */
struct docs {
	struct wire_kv *kvs; /* owns */
	size_t n, capacity;
};

/* A decision in flight, or one that ended at once and is told soon. */
struct pending {
	struct list hook;
	struct ha *ha;
	struct ha_txn *txn;
	struct etcd_call call;
	unsigned slot;
	uint64_t number;
	struct err err; /* of one that ended at once */
};

struct reading {
	struct list hook;
	struct ha *ha;
	struct ha_read *read;
	struct etcd_call call;
	char *key; /* absolute */
	bool prefix;
	uint64_t revision, deadline_ms;
	struct docs docs;
};

struct waiter { /* for a barrier */
	struct list hook;
	struct ha_barrier *barrier;
	struct err err;
};

/* What others asked for from within some callback; taken up in the next turn. */
struct verdict {
	struct list hook;
	char instance[ID_TEXT];
	enum ha_cause cause;
	char why[128];
};

struct ha {
	struct world *w;
	struct ha_listener *listener;
	char *root, *value; /* of the own candidate key */
	char instance[ID_TEXT];
	uint64_t lease_ms;
	struct etcd *etcd;
	struct elect elect;
	struct upkeep upkeep;
	enum ha_role role;
	bool halted;        /* the store went back in time */
	char halt_why[256]; /* where a decision showed it; else the client of etcd knows */
	bool outrun;        /* to be told to the core in the next turn */
	struct world_timer wake, soon;
	/* requests of the core */
	struct etcd_call op, renew, list, ghost;
	uint32_t op_token, renew_token, list_token;
	enum elect_op op_kind;
	enum call_kind op_call;
	unsigned op_ranges; /* of a barrier or a takeover: so many in an answer of success */
	struct docs hot;    /* of the barrier or takeover, page by page, */
	struct wire_answer opening; /* and its answer, until they are complete */
	struct etcd_watch watch;
	uint64_t watch_at_ms;
	/* the queue, as others see it */
	struct ha_member known[ELECT_CANDIDATES_MAX], members[ELECT_CANDIDATES_MAX];
	unsigned n_known, n_members;
	/* decisions */
	struct list decisions, ended;
	struct pending **slots;
	unsigned n_slots;
	uint64_t numbers;
	/* reads */
	struct list readings, askings;
	/* barriers: waiting for the next, and with the one under way */
	struct list waiting, riding, refused;
	struct etcd_call barrier;
	struct world_timer barrier_gap;
	uint64_t barrier_at_ms;
	/* leaving */
	struct list verdicts;
	struct ha_resign *resign;
	struct world_timer resign_limit;
	bool leaving, left;
	bool coming_back; /* leaving, to queue again */
	struct story story;
};

struct asking {
	struct list hook;
	struct ha *ha;
	struct ha_renewal *renewal;
	struct etcd_call call;
};

/* ha.c: time from now; take up what was asked for in the next turn; the transactions' parameters;
 * documents gathered page by page; the queue as the core and others see it; an event of the core */
uint64_t ha_in_ms(const struct ha *ha, uint64_t ms);
void ha_turn_soon(struct ha *ha);
struct fence ha_fence_of(const struct ha *ha);
void docs_take(struct docs *d, struct wire_range *r);
void docs_fini(struct docs *d);
void ha_tell_queue(struct ha *ha, struct elect_event *ev, const struct wire_range *r,
		   uint64_t revision, struct elect_candidate *out);
void ha_step(struct ha *ha, struct elect_event *ev);
struct ha_doc *docs_view(const struct ha *ha, const struct docs *d);

/* ha_requests.c: whoever waits is told, or (free) forgotten */
void ha_asking_free(struct asking *a);
void ha_barrier_gap_over(struct world_timer *t);
void ha_end_decision(struct pending *p, enum errc code, const char *text, uint64_t revision);
void ha_end_waiter(struct waiter *b, enum errc code, const char *text);
void ha_end_waiters(struct list *from, enum errc code, const char *text);
void ha_reading_free(struct reading *r);
void ha_end_all_decisions(struct ha *ha, const char *why);

#endif
