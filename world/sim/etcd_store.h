/*
 * etcd_store - the multi-version store of the simulated etcd. Pure.
 *
 * Every key keeps all its versions; a view is the store as of a revision. The
 * log lists the changes in order, several of one revision together. Restoring
 * an older state is cutting both off behind a revision.
 */
#ifndef WORLD_SIM_ETCD_STORE_H
#define WORLD_SIM_ETCD_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct etcd_version {
	uint64_t mod, create, version, lease;
	char *value; /* owns; ends in a zero byte; NULL: deleted */
	size_t len;
};

struct etcd_key {
	char *key; /* owns; ends in a zero byte */
	size_t len;
	struct etcd_version *versions; /* owns, oldest first */
	size_t n;
};

struct etcd_change {
	uint64_t revision;
	struct etcd_key *key;
	size_t version; /* index in key->versions */
};

struct etcd_store {
	struct etcd_key **keys; /* sorted by bytes */
	size_t n_keys, keys_capacity;
	struct etcd_change *log;
	size_t n_log, log_capacity;
	uint64_t revision;  /* of the last change; 1 when empty */
	uint64_t compacted; /* below this no history is given */
};

/* A range as etcd has it: end_len 0: one key; end a single zero byte: all from key on. */
struct etcd_range {
	const char *key, *end;
	size_t key_len, end_len;
};

void etcd_store_init(struct etcd_store *st);
void etcd_store_fini(struct etcd_store *st);
/* Changes carry the revision that the caller decides on (revision + 1 for a whole transaction) and
 * become visible with it; the caller then sets st->revision. */
void etcd_store_put(struct etcd_store *st, uint64_t revision, const char *key, size_t key_len,
		    const char *value, size_t len, uint64_t lease);
void etcd_store_delete(struct etcd_store *st, uint64_t revision, struct etcd_key *k);
bool etcd_range_has(const struct etcd_range *r, const struct etcd_key *k);
/* The index of the first key at or behind r->key; iterate while etcd_range_has(). */
size_t etcd_store_first(const struct etcd_store *st, const struct etcd_range *r);
/* The version as of `revision`; NULL if the key did not exist then. */
const struct etcd_version *etcd_key_at(const struct etcd_key *k, uint64_t revision);
void etcd_store_truncate(struct etcd_store *st, uint64_t revision);

#endif
