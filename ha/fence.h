/*
 * fence - the transactions that Weir sends, and what their answers mean.
 *
 * Pure. Leadership is a predicate in etcd: my candidate key has my epoch as its
 * create_revision, and no candidate key has a lower one. A decision is one
 * transaction: predicate, chain (the mod_revision of the job's hot document,
 * which the decision rewrites), the absence of keys that must not exist; and
 * the writes. With the predicate no other leader's late request takes effect,
 * with the chain none of one's own past.
 *
 * The tag. After an attempt of unknown outcome the identical transaction may
 * fail because the chain has moved: by oneself, a moment ago. To tell, each
 * decision also writes its number to one key of the writer's own,
 *     tag/<lease>/<slot> = "<instance> <number>"      with the writer's lease
 * where the slot is not used by another decision until this one's outcome is
 * definite. The failure branch reads it: our number = it was us, and the tag's
 * mod_revision is that of the decision. This way the values stay the caller's
 * bytes, a decision that deletes its chain can be told too, and the tags go
 * away with the lease. (The tag is a put; a decision of deletes alone would
 * need space as well. There is none: a chain's end leaves a tombstone.)
 *
 * The barrier is predicate + deletion of a key that never exists (a committed
 * write which works without space in the quota, too) + a range over the hot documents.
 *
 * Taking over: compares see the store before the operations, with the dead
 * candidates' keys in it, so the transaction that deletes them cannot carry the
 * predicate. It reads the queue instead, behind its own deletions: where that
 * shows us first, the predicate held at the revision of a committed write, and
 * with the hot documents read there too it was a barrier.
 */
#ifndef HA_FENCE_H
#define HA_FENCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ha/ha.h"
#include "ha/wire.h"

struct fence {
	const char *root;     /* "/weir/default/" */
	const char *instance; /* of this process */
	uint64_t lease;
	uint64_t epoch; /* create_revision of the own candidate key */
};

/* Names below the root. The caller frees. */
char *fence_key(const char *root, const char *relative);
char *fence_candidate_key(const char *root, uint64_t lease);

/* The request bodies; the caller frees. */
char *fence_decision(const struct fence *f, const struct ha_txn *t, unsigned slot, uint64_t number);
char *fence_barrier(const struct fence *f, bool with_docs, uint64_t page);
char *fence_enqueue(const struct fence *f, const char *value);
/* Delete the candidates that were found dead, all of them or nothing; then read the queue and the
 * first `page` hot documents. */
struct fence_victim {
	const char *key; /* absolute */
	uint64_t create_revision;
};
char *fence_take(const struct fence *f, const struct fence_victim *dead, unsigned n, uint64_t page);
char *fence_ghost(const struct fence *f, const struct fence_victim *ghost);
char *fence_leave(const struct fence *f);
char *fence_candidates(const struct fence *f); /* a range */

/* The candidates in the answer of any transaction above (of a barrier and a decision: when it was
 * refused), or of the range; in the order of the queue. NULL: not in this answer. */
const struct wire_range *fence_queue(enum call_kind kind, const struct wire_answer *a);
/* Does this queue, read in one transaction, make us the leader? */
bool fence_leads(const struct fence *f, const struct wire_range *queue);

/* The documents in the answer of a barrier, or of a takeover after which we lead. NULL: none. */
struct wire_range *fence_docs(const struct fence *f, enum call_kind kind, struct wire_answer *a);

enum fence_verdict {
	FENCE_DONE,      /* carried out, at `revision` */
	FENCE_CONFLICT,  /* never carried out: the chain moved, or an absent key exists */
	FENCE_DEPOSED,   /* we do not lead */
	FENCE_REGRESSED, /* the chain is older than what we know was committed */
	FENCE_UNCLEAR    /* not an answer to this request */
};

struct fence_outcome {
	enum fence_verdict verdict;
	uint64_t revision;
	char text[160];
};
void fence_judge(const struct fence *f, const struct ha_txn *t, unsigned slot, uint64_t number,
		 const struct wire_answer *a, struct fence_outcome *out);

/* Too many or too large for one transaction: ERR_LIMIT, with the numbers. */
MUST_CHECK enum errc fence_check(const struct ha_txn *t, struct err *e);

#endif
