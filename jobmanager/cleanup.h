/*
 * cleanup - removes what recorded decisions said may be removed.
 *
 *   (recorded) --> READING --there--> REMOVING --done--> FORGETTING --> gone
 *                     |                  |  ^                |
 *                     +-- not there      +--+ storage away   +-- conflict: READING again
 *                         --> gone           (retried)
 *
 * An entry is a key `cleanup/<job>/<seq>`, written in the transaction that
 * dropped the last reference to a prefix in storage. It is read before
 * anything is removed (so nothing unrecorded ever is), and deleted after; a
 * leader that dies between repeats the removal, which is idempotent. Nothing
 * recorded is ever referred to again, so a removal by a deposed leader is
 * harmless however late it comes. The entry's key is its own chain.
 *
 * Limits: CLEANUP_BUSY_MAX at once; entries wait in order.
 */
#ifndef JOBMANAGER_CLEANUP_H
#define JOBMANAGER_CLEANUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "base/sm.h"
#include "jobmanager/counts.h"
#include "jobmanager/effects.h"

enum { CLEANUP_BUSY_MAX = 4, CLEANUP_RETRY_MS = 5000 };

enum cleanup_state {
	CLEANUP_WAITING,
	CLEANUP_READING,
	CLEANUP_REMOVING,
	CLEANUP_FORGETTING,
	CLEANUP_STATE_COUNT
};

struct cleanup {
	struct list entries; /* owns */
	size_t n;
	unsigned n_busy;
	struct counts *counts; /* borrows; may be NULL */
};

struct jm_doc;

void cleanup_init(struct cleanup *c);
void cleanup_fini(struct cleanup *c);
/* A key that is recorded. Known keys: no-op. */
void cleanup_add(struct cleanup *c, const struct job_id *job, const char *key,
		 uint64_t not_before_ms);
/* Completions; false: the token is not one of ours. */
bool cleanup_read_done(struct cleanup *c, uint64_t token, enum errc code, const struct jm_doc *docs,
		       size_t n_docs, uint64_t now_ms);
bool cleanup_blob_done(struct cleanup *c, uint64_t token, enum errc code, uint64_t now_ms);
bool cleanup_decided(struct cleanup *c, uint64_t token, enum errc code, uint64_t now_ms);
/* Start what is due. */
void cleanup_run(struct cleanup *c, uint64_t now_ms, uint64_t *next_token, struct jm_effects *fx);
uint64_t cleanup_wake_ms(const struct cleanup *c);
char *cleanup_value(const char *prefix); /* the document of an entry, to be freed */
extern const struct sm_table cleanup_table;

#endif
