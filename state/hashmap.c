#include "state/hashmap.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "state/table.h"

/* IDLE --begin (task)--> RUNNING --end (snapshot thread)--> ENDED --poll (task)--> IDLE */
enum { CAPTURE_IDLE, CAPTURE_RUNNING, CAPTURE_ENDED };

struct backend_capture {
	struct hashmap *owner;
	uint32_t state; /* atomic */
	unsigned n, at; /* tables in it; the one being walked */
	struct table_walk walk;
};

struct backend_state {
	struct table table;
};

struct hashmap {
	struct backend base;
	struct backend_range range;
	struct snap snap;
	struct backend_state *states[BACKEND_STATES_MAX]; /* owns */
	unsigned n;
	struct backend_capture capture;
};

static struct hashmap *of(struct backend *b)
{
	return MEM_OWNER(b, struct hashmap, base);
}

/* ---- life cycle ---- */

static struct backend *create(const struct backend_range *range)
{
	struct hashmap *h = aligned_alloc(128, (sizeof(*h) + 127) & ~(size_t)127);

	if (!h)
		abort();
	memset(h, 0, sizeof(*h));
	h->base.ops = &hashmap_backend;
	h->range = *range;
	h->snap.cur = 1; /* 0 is what a fresh bucket has */
	h->capture.owner = h;
	return &h->base;
}

/* The capture has ended: what it held up may go. */
static void finish(struct hashmap *h)
{
	h->snap.active = false;
	for (unsigned i = 0; i < h->n; i++)
		table_reclaim(&h->states[i]->table);
	blobs_release(&h->snap.blobs);
	__atomic_store_n(&h->capture.state, CAPTURE_IDLE, __ATOMIC_RELAXED);
}

static uint32_t capture_state(const struct hashmap *h)
{
	return __atomic_load_n(&h->capture.state, __ATOMIC_ACQUIRE);
}

static void destroy(struct backend *b)
{
	struct hashmap *h = of(b);

	assert(capture_state(h) != CAPTURE_RUNNING);
	finish(h);
	for (unsigned i = 0; i < h->n; i++) {
		table_fini(&h->states[i]->table);
		free(h->states[i]);
	}
	blobs_fini(&h->snap.blobs);
	slotlog_pool_fini(&h->snap.chunks);
	free(h);
}

static struct backend_state *open_state(struct backend *b, const struct block_layout *layout,
					uint64_t (*hash)(const struct backend_key *key))
{
	struct hashmap *h = of(b);
	struct backend_state *s = mem_alloc(sizeof(*s));

	assert(h->n < BACKEND_STATES_MAX);
	table_init(&s->table, layout, &h->range, hash, &h->snap);
	h->states[h->n] = s;
	__atomic_store_n(&h->n, h->n + 1, __ATOMIC_RELEASE);
	return s;
}

/* ---- operations: the table's ---- */

static unsigned upsert_i64(struct backend_state *s, const int64_t *keys, const uint64_t *hashes,
			   unsigned n, uint64_t **out, uint64_t *created)
{
	return table_upsert_i64(&s->table, keys, hashes, n, out, created);
}

static unsigned upsert_bytes(struct backend_state *s, const struct backend_bytes *keys,
			     const uint64_t *hashes, unsigned n, uint64_t **out, uint64_t *created)
{
	return table_upsert_bytes(&s->table, keys, hashes, n, out, created);
}

static const uint64_t *find(struct backend_state *s, const struct backend_key *key)
{
	return table_find(&s->table, key);
}

static struct backend_bytes get(struct backend_state *s, const struct backend_key *key)
{
	return table_get(&s->table, key);
}

static void put(struct backend_state *s, const struct backend_key *key, struct backend_bytes v)
{
	table_put(&s->table, key, v);
}

static void append(struct backend_state *s, const struct backend_key *key, struct backend_bytes v)
{
	table_append(&s->table, key, v);
}

static bool remove_key(struct backend_state *s, const struct backend_key *key)
{
	return table_remove(&s->table, key);
}

static void reserve(struct backend_state *s, uint32_t group, uint64_t rows)
{
	table_reserve(&s->table, group, rows);
}

static struct backend_sizes sizes(const struct backend *b)
{
	const struct hashmap *h = (const struct hashmap *)(const void *)b;
	struct backend_sizes sum = {0};

	for (unsigned i = 0; i < __atomic_load_n(&h->n, __ATOMIC_ACQUIRE); i++) {
		const struct table *t = &h->states[i]->table;

		sum.entries += __atomic_load_n(&t->entries, __ATOMIC_RELAXED);
		sum.bytes += __atomic_load_n(&t->bytes, __ATOMIC_RELAXED);
	}
	sum.bytes += __atomic_load_n(&h->snap.blobs.bytes, __ATOMIC_RELAXED);
	sum.bytes += __atomic_load_n(&h->snap.chunks.bytes, __ATOMIC_RELAXED);
	return sum;
}

/* ---- captures ---- */

static struct backend_capture *capture_begin(struct backend *b)
{
	struct hashmap *h = of(b);

	if (capture_state(h) == CAPTURE_RUNNING)
		return NULL;
	if (capture_state(h) == CAPTURE_ENDED)
		finish(h);
	h->snap.cur++;
	for (unsigned i = 0; i < h->n; i++)
		table_note(&h->states[i]->table);
	h->snap.active = true;
	h->capture.n = h->n;
	h->capture.at = 0;
	if (h->n)
		table_walk_init(&h->capture.walk, &h->states[0]->table);
	__atomic_store_n(&h->capture.state, CAPTURE_RUNNING, __ATOMIC_RELEASE);
	return &h->capture;
}

static bool capture_next(struct backend_capture *c, unsigned *out_state, struct block *out)
{
	while (c->at < c->n) {
		if (table_walk_next(&c->walk, out)) {
			*out_state = c->at;
			return true;
		}
		if (++c->at < c->n)
			table_walk_init(&c->walk, &c->owner->states[c->at]->table);
	}
	return false;
}

static void capture_end(struct backend_capture *c)
{
	if (c->at < c->n)
		table_walk_fini(&c->walk);
	__atomic_store_n(&c->state, CAPTURE_ENDED, __ATOMIC_RELEASE);
}

static void poll(struct backend *b)
{
	struct hashmap *h = of(b);

	if (capture_state(h) == CAPTURE_ENDED)
		finish(h);
	if (h->snap.blobs.free.n)
		blobs_sweep(&h->snap.blobs, BLOBS_FREE_AT_ONCE);
	if (!h->snap.active)
		slotlog_trim(&h->snap.chunks, SLOTLOG_TRIM);
}

/* ---- restore ---- */

static MUST_CHECK enum errc check_group(const struct table *t, const struct block *rows,
					struct err *e)
{
	if (rows->group < t->range.first || rows->group >= t->range.end)
		return err_set(e, ERR_CORRUPT, "key group %u is not in [%u, %u)", rows->group,
			       t->range.first, t->range.end);
	return ERR_OK;
}

static MUST_CHECK enum errc restore_row(struct table *t, const struct block *rows,
					const uint64_t *row, const char **heap, struct err *e)
{
	const uint64_t *value = row + 1;
	struct backend_key key = {0};
	uint64_t *slot, created;

	if (t->layout.key_bytes) {
		key.bytes = (struct backend_bytes){*heap, (uint32_t)row[0]};
		*heap += row[0];
	} else {
		key.number = (int64_t)row[0];
	}
	key.hash = t->hash(&key);
	if (table_group_of(t, key.hash) != rows->group)
		return err_set(
			e, ERR_CORRUPT,
			"a key of group %u among those of group %u: other hash or max parallelism",
			table_group_of(t, key.hash), rows->group);
	if (t->layout.value_bytes) {
		table_put(t, &key, (struct backend_bytes){*heap, (uint32_t)value[0]});
		*heap += value[0];
		return ERR_OK;
	}
	if (t->layout.key_bytes)
		table_upsert_bytes(t, &key.bytes, &key.hash, 1, &slot, &created);
	else
		table_upsert_i64(t, &key.number, &key.hash, 1, &slot, &created);
	for (unsigned i = 0; i < t->layout.value_words; i++)
		word_store(&slot[i], value[i]);
	return ERR_OK;
}

static enum errc restore(struct backend_state *s, const struct block *rows, struct err *e)
{
	const char *heap = rows->heap.data;
	enum errc code = check_group(&s->table, rows, e);

	for (uint32_t i = 0; !code && i < rows->rows; i++)
		code = restore_row(&s->table, rows, rows->words + (size_t)i * rows->n_words, &heap,
				   e);
	return code;
}

const struct backend_ops hashmap_backend = {
	.name = "hashmap",
	.create = create,
	.destroy = destroy,
	.open = open_state,
	.upsert_i64 = upsert_i64,
	.upsert_bytes = upsert_bytes,
	.find = find,
	.get = get,
	.put = put,
	.append = append,
	.remove = remove_key,
	.sizes = sizes,
	.capture_begin = capture_begin,
	.capture_next = capture_next,
	.capture_end = capture_end,
	.poll = poll,
	.reserve = reserve,
	.restore = restore,
};
