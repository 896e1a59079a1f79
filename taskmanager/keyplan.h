/*
 * keyplan - from a row to its key: canonical bytes, hash, and the form in which state keeps it.
 *
 * The canonical key and its hash are part of the snapshot format (docs/formats/key-hash.md,
 * state/keyhash.h). A plan picks the cheapest form for its columns:
 *
 *   KEY_INT64      one int64 column, never null: the number itself      (KEYED_INT64)
 *   KEY_TEXT       one string column, never null: the string's bytes    (KEYED_STRING)
 *   KEY_CANONICAL  everything else: the canonical bytes                 (KEYED_STRING)
 *
 * The hash is that of the canonical bytes in all three. Hashing works in windows of KEY_WINDOW
 * rows: all keys are laid out first and hashed afterwards, since loading bytes that were stored
 * piecewise a moment ago stalls the processor.
 *
 * Threads: a plan is immutable; any thread may use it.
 */
#ifndef TASKMANAGER_KEYPLAN_H
#define TASKMANAGER_KEYPLAN_H

#include <stdint.h>

#include "base/buf.h"
#include "state/backend.h"
#include "taskmanager/row.h"

enum { KEY_WINDOW = BACKEND_WINDOW };

enum key_kind { KEY_INT64, KEY_TEXT, KEY_CANONICAL };

struct key_plan {
	enum key_kind kind;
	unsigned n;
	unsigned *columns;          /* owns */
	const struct row_plan *row; /* borrows */
};

/* `schema` is the one that `row` was made of. n > 0. */
void key_plan_init(struct key_plan *p, const struct spec_schema *schema, const struct row_plan *row,
		   const unsigned *columns, unsigned n);
void key_plan_fini(struct key_plan *p);

/* The hashes of n (at most KEY_WINDOW) rows. */
void key_hash_window(const struct key_plan *p, const struct row *const *rows, unsigned n,
		     uint64_t *out);
uint64_t key_hash(const struct key_plan *p, const struct row *r);
/* Append the canonical bytes. */
void key_canonical(const struct key_plan *p, const struct row *r, struct buf *out);
/* For keyed_spec.hash of KEY_TEXT: the canonical hash of a key stored as its string alone. */
uint64_t key_hash_of_text(const struct backend_key *key);

#endif
