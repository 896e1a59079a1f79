#include "world/sim/etcd_store.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

static int compare(const char *a, size_t a_len, const char *b, size_t b_len)
{
	int c = memcmp(a, b, a_len < b_len ? a_len : b_len);
	return c != 0 ? c : (a_len > b_len) - (a_len < b_len);
}

void etcd_store_init(struct etcd_store *st)
{
	*st = (struct etcd_store){.revision = 1};
}

static void key_free(struct etcd_key *k)
{
	for (size_t i = 0; i < k->n; i++)
		free(k->versions[i].value);
	free(k->versions);
	free(k->key);
	free(k);
}

void etcd_store_fini(struct etcd_store *st)
{
	for (size_t i = 0; i < st->n_keys; i++)
		key_free(st->keys[i]);
	free(st->keys);
	free(st->log);
	*st = (struct etcd_store){0};
}

/* The first index whose key is not before `key`. */
static size_t lower_bound(const struct etcd_store *st, const char *key, size_t len)
{
	size_t low = 0, high = st->n_keys;
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		if (compare(st->keys[mid]->key, st->keys[mid]->len, key, len) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static struct etcd_key *key_need(struct etcd_store *st, const char *key, size_t len)
{
	size_t i = lower_bound(st, key, len);
	if (i < st->n_keys && compare(st->keys[i]->key, st->keys[i]->len, key, len) == 0)
		return st->keys[i];
	if (st->n_keys == st->keys_capacity) {
		st->keys_capacity = st->keys_capacity ? 2 * st->keys_capacity : 64;
		st->keys = mem_resize(st->keys, st->keys_capacity, sizeof(struct etcd_key *));
	}
	memmove(st->keys + i + 1, st->keys + i, (st->n_keys - i) * sizeof(struct etcd_key *));
	st->n_keys++;
	struct etcd_key *k = mem_alloc(sizeof(*k));
	*k = (struct etcd_key){.key = mem_text_n(key, len), .len = len};
	st->keys[i] = k;
	return k;
}

static void append(struct etcd_store *st, struct etcd_key *k, struct etcd_version v)
{
	k->versions = mem_resize(k->versions, k->n + 1, sizeof(v));
	k->versions[k->n++] = v;
	if (st->n_log == st->log_capacity) {
		st->log_capacity = st->log_capacity ? 2 * st->log_capacity : 256;
		st->log = mem_resize(st->log, st->log_capacity, sizeof(*st->log));
	}
	st->log[st->n_log++] =
		(struct etcd_change){.revision = v.mod, .key = k, .version = k->n - 1};
}

void etcd_store_put(struct etcd_store *st, uint64_t revision, const char *key, size_t key_len,
		    const char *value, size_t len, uint64_t lease)
{
	struct etcd_key *k = key_need(st, key, key_len);
	const struct etcd_version *old = etcd_key_at(k, revision);
	append(st, k,
	       (struct etcd_version){.mod = revision,
				     .create = old ? old->create : revision,
				     .version = old ? old->version + 1 : 1,
				     .lease = lease,
				     .value = mem_text_n(value, len),
				     .len = len});
}

void etcd_store_delete(struct etcd_store *st, uint64_t revision, struct etcd_key *k)
{
	append(st, k, (struct etcd_version){.mod = revision});
}

bool etcd_range_has(const struct etcd_range *r, const struct etcd_key *k)
{
	if (r->end_len == 0)
		return compare(k->key, k->len, r->key, r->key_len) == 0;
	if (compare(k->key, k->len, r->key, r->key_len) < 0)
		return false;
	if (r->end_len == 1 && r->end[0] == '\0')
		return true;
	return compare(k->key, k->len, r->end, r->end_len) < 0;
}

size_t etcd_store_first(const struct etcd_store *st, const struct etcd_range *r)
{
	return lower_bound(st, r->key, r->key_len);
}

const struct etcd_version *etcd_key_at(const struct etcd_key *k, uint64_t revision)
{
	for (size_t i = k->n; i > 0; i--) {
		const struct etcd_version *v = &k->versions[i - 1];
		if (v->mod <= revision)
			return v->value ? v : NULL;
	}
	return NULL;
}

void etcd_store_truncate(struct etcd_store *st, uint64_t revision)
{
	assert(revision <= st->revision);
	while (st->n_log > 0 && st->log[st->n_log - 1].revision > revision)
		st->n_log--;
	for (size_t i = 0; i < st->n_keys; i++) {
		struct etcd_key *k = st->keys[i];
		while (k->n > 0 && k->versions[k->n - 1].mod > revision)
			free(k->versions[--k->n].value);
	}
	st->revision = revision;
}
