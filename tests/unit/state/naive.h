/*
 * naive - a second keyed state backend, so slow and simple that it is right:
 * an array of entries, searched from the front; a capture is a deep copy made
 * at the barrier. The oracle of the conformance suite and of the random tests.
 */
#ifndef TESTS_UNIT_STATE_NAIVE_H
#define TESTS_UNIT_STATE_NAIVE_H

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "job/keygroup.h"
#include "state/backend.h"

struct naive_entry {
	uint64_t hash;
	int64_t number;
	char *key; /* NULL: number */
	uint32_t key_len;
	uint64_t *words; /* on the heap, so that they do not move */
	char *bytes;
	uint32_t len;
};

struct naive_list {
	struct naive_entry *at;
	size_t n, capacity;
};

struct backend_state {
	struct naive *owner;
	struct block_layout layout;
	uint64_t (*hash)(const struct backend_key *key);
	struct naive_list live, captured;
};

struct backend_capture {
	struct naive *owner;
	bool running;
	unsigned state, n;
	size_t at;
};

struct naive {
	struct backend base;
	struct backend_range range;
	struct backend_state *states[BACKEND_STATES_MAX];
	unsigned n;
	struct backend_capture capture;
};

static inline void naive_list_clear(struct naive_list *l)
{
	for (size_t i = 0; i < l->n; i++) {
		free(l->at[i].key);
		free(l->at[i].words);
		free(l->at[i].bytes);
	}
	free(l->at);
	memset(l, 0, sizeof(*l));
}

static inline struct naive_entry *naive_add(struct naive_list *l)
{
	if (l->n == l->capacity) {
		l->capacity = l->capacity ? 2 * l->capacity : 16;
		l->at = mem_resize(l->at, l->capacity, sizeof(*l->at));
	}
	memset(&l->at[l->n], 0, sizeof(l->at[0]));
	return &l->at[l->n++];
}

static inline struct naive_entry *naive_lookup(struct backend_state *s,
					       const struct backend_key *key)
{
	for (size_t i = 0; i < s->live.n; i++) {
		struct naive_entry *x = &s->live.at[i];

		if (s->layout.key_bytes ? x->key_len == key->bytes.len &&
						  !memcmp(x->key, key->bytes.data, x->key_len)
					: x->number == key->number)
			return x;
	}
	return NULL;
}

static inline struct naive_entry *naive_get_or_add(struct backend_state *s,
						   const struct backend_key *key, bool *created)
{
	struct naive_entry *x = naive_lookup(s, key);

	*created = !x;
	if (x)
		return x;
	x = naive_add(&s->live);
	x->hash = key->hash;
	x->number = key->number;
	if (s->layout.key_bytes) {
		x->key = mem_copy(key->bytes.data, key->bytes.len);
		x->key_len = key->bytes.len;
	}
	x->words = mem_array(s->layout.value_words + 1u, 8);
	return x;
}

static inline struct backend *naive_create(const struct backend_range *range)
{
	extern const struct backend_ops naive_backend;
	struct naive *n = mem_alloc(sizeof(*n));

	n->base.ops = &naive_backend;
	n->range = *range;
	n->capture.owner = n;
	return &n->base;
}

static inline void naive_destroy(struct backend *b)
{
	struct naive *n = (struct naive *)b;

	for (unsigned i = 0; i < n->n; i++) {
		naive_list_clear(&n->states[i]->live);
		naive_list_clear(&n->states[i]->captured);
		free(n->states[i]);
	}
	free(n);
}

static inline struct backend_state *naive_open(struct backend *b, const struct block_layout *layout,
					       uint64_t (*hash)(const struct backend_key *key))
{
	struct naive *n = (struct naive *)b;
	struct backend_state *s = mem_alloc(sizeof(*s));

	s->owner = n;
	s->layout = *layout;
	s->hash = hash;
	n->states[n->n++] = s;
	return s;
}

static inline unsigned naive_upsert_i64(struct backend_state *s, const int64_t *keys,
					const uint64_t *hashes, unsigned n, uint64_t **out,
					uint64_t *created)
{
	*created = 0;
	for (unsigned i = 0; i < n; i++) {
		struct backend_key key = {.hash = hashes[i], .number = keys[i]};
		bool made;

		out[i] = naive_get_or_add(s, &key, &made)->words;
		*created |= (uint64_t)made << i;
	}
	return n;
}

static inline unsigned naive_upsert_bytes(struct backend_state *s, const struct backend_bytes *keys,
					  const uint64_t *hashes, unsigned n, uint64_t **out,
					  uint64_t *created)
{
	*created = 0;
	for (unsigned i = 0; i < n; i++) {
		struct backend_key key = {.hash = hashes[i], .bytes = keys[i]};
		bool made;

		out[i] = naive_get_or_add(s, &key, &made)->words;
		*created |= (uint64_t)made << i;
	}
	return n;
}

static inline const uint64_t *naive_find(struct backend_state *s, const struct backend_key *key)
{
	struct naive_entry *x = naive_lookup(s, key);

	return x ? x->words : NULL;
}

static inline struct backend_bytes naive_get(struct backend_state *s, const struct backend_key *key)
{
	struct naive_entry *x = naive_lookup(s, key);

	return x ? (struct backend_bytes){x->bytes, x->len} : (struct backend_bytes){NULL, 0};
}

static inline void naive_put(struct backend_state *s, const struct backend_key *key,
			     struct backend_bytes v)
{
	bool created;
	char *copy = mem_copy(v.data, v.len);
	struct naive_entry *x = naive_get_or_add(s, key, &created);

	free(x->bytes);
	x->bytes = copy;
	x->len = v.len;
}

static inline void naive_append(struct backend_state *s, const struct backend_key *key,
				struct backend_bytes v)
{
	bool created;
	struct naive_entry *x = naive_get_or_add(s, key, &created);

	x->bytes = mem_resize(x->bytes, x->len + v.len + 1u, 1);
	if (v.len)
		memcpy(x->bytes + x->len, v.data, v.len);
	x->len += v.len;
}

static inline bool naive_remove(struct backend_state *s, const struct backend_key *key)
{
	struct naive_entry *x = naive_lookup(s, key);

	if (!x)
		return false;
	free(x->key);
	free(x->words);
	free(x->bytes);
	*x = s->live.at[--s->live.n];
	return true;
}

static inline struct backend_sizes naive_sizes(const struct backend *b)
{
	const struct naive *n = (const struct naive *)b;
	struct backend_sizes sum = {0};

	for (unsigned i = 0; i < n->n; i++)
		sum.entries += n->states[i]->live.n;
	sum.bytes = sum.entries * sizeof(struct naive_entry);
	return sum;
}

static inline struct backend_capture *naive_capture_begin(struct backend *b)
{
	struct naive *n = (struct naive *)b;

	if (n->capture.running)
		return NULL;
	for (unsigned i = 0; i < n->n; i++) {
		struct backend_state *s = n->states[i];

		naive_list_clear(&s->captured);
		for (size_t k = 0; k < s->live.n; k++) {
			struct naive_entry *x = naive_add(&s->captured);

			*x = s->live.at[k];
			if (x->key)
				x->key = mem_copy(x->key, x->key_len);
			if (x->bytes)
				x->bytes = mem_copy(x->bytes, x->len);
			x->words = mem_copy(x->words, (s->layout.value_words + 1u) * 8);
		}
	}
	n->capture.running = true;
	n->capture.state = 0;
	n->capture.n = n->n;
	n->capture.at = 0;
	return &n->capture;
}

/* One row per block: what a caller may have to cope with. */
static inline bool naive_capture_next(struct backend_capture *c, unsigned *out_state,
				      struct block *out)
{
	for (; c->state < c->n; c->state++, c->at = 0) {
		struct backend_state *s = c->owner->states[c->state];
		struct naive_entry *x;
		uint64_t *row;

		if (c->at == s->captured.n)
			continue;
		x = &s->captured.at[c->at++];
		block_begin(out, block_layout_words(&s->layout),
			    keygroup_of(x->hash, c->owner->range.max_parallelism));
		row = block_row(out);
		*row++ = x->key ? x->key_len : (uint64_t)x->number;
		if (x->key)
			buf_add(&out->heap, x->key, x->key_len);
		if (s->layout.value_bytes) {
			*row = x->len;
			buf_add(&out->heap, x->bytes, x->len);
		} else {
			memcpy(row, x->words, s->layout.value_words * 8u);
		}
		*out_state = c->state;
		return true;
	}
	return false;
}

static inline void naive_capture_end(struct backend_capture *c)
{
	c->running = false;
}

static inline void naive_poll(struct backend *b)
{
	(void)b;
}

static inline void naive_reserve(struct backend_state *s, uint32_t group, uint64_t rows)
{
	(void)s;
	(void)group;
	(void)rows;
}

static inline enum errc naive_restore(struct backend_state *s, const struct block *rows,
				      struct err *e)
{
	const char *heap = rows->heap.data;

	if (rows->group < s->owner->range.first || rows->group >= s->owner->range.end)
		return err_set(e, ERR_CORRUPT, "key group %u", rows->group);
	for (uint32_t i = 0; i < rows->rows; i++) {
		const uint64_t *row = rows->words + (size_t)i * rows->n_words;
		struct backend_key key = {.number = (int64_t)row[0]};
		bool created;

		if (s->layout.key_bytes) {
			key.bytes = (struct backend_bytes){heap, (uint32_t)row[0]};
			heap += row[0];
		}
		key.hash = s->hash(&key);
		if (keygroup_of(key.hash, s->owner->range.max_parallelism) != rows->group)
			return err_set(e, ERR_CORRUPT, "a key of another group");
		if (s->layout.value_bytes) {
			naive_put(s, &key, (struct backend_bytes){heap, (uint32_t)row[1]});
			heap += row[1];
		} else {
			memcpy(naive_get_or_add(s, &key, &created)->words, row + 1,
			       s->layout.value_words * 8u);
		}
	}
	return ERR_OK;
}

const struct backend_ops naive_backend = {
	.name = "naive",
	.create = naive_create,
	.destroy = naive_destroy,
	.open = naive_open,
	.upsert_i64 = naive_upsert_i64,
	.upsert_bytes = naive_upsert_bytes,
	.find = naive_find,
	.get = naive_get,
	.put = naive_put,
	.append = naive_append,
	.remove = naive_remove,
	.sizes = naive_sizes,
	.capture_begin = naive_capture_begin,
	.capture_next = naive_capture_next,
	.capture_end = naive_capture_end,
	.poll = naive_poll,
	.reserve = naive_reserve,
	.restore = naive_restore,
};

#endif
