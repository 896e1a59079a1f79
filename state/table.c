#include "state/table.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "state/head.h"

#define ALWAYS_INLINE inline __attribute__((always_inline))

/* Where a key is, or NULL. */
struct place {
	struct segment *segment;
	struct bucket *bucket;
	unsigned slot;
};

/* ---- accounting ---- */

static void count_bytes(struct table *t, uint64_t change)
{
	__atomic_store_n(&t->bytes, t->bytes + change, __ATOMIC_RELAXED);
}

static void count_entries(struct table *t, uint64_t change)
{
	__atomic_store_n(&t->entries, t->entries + change, __ATOMIC_RELAXED);
}

/* ---- groups ---- */

static ALWAYS_INLINE uint32_t group_of(const struct table *t, uint64_t hash)
{
	/* (hash >> 32) % max_parallelism without a division: Lemire, Kaser, Kurz 2019. */
	uint64_t low = t->fast_mod * (hash >> 32);

	return (uint32_t)((__extension__(unsigned __int128) low) * t->range.max_parallelism >> 64);
}

uint32_t table_group_of(const struct table *t, uint64_t hash)
{
	return group_of(t, hash);
}

static ALWAYS_INLINE struct group *group_at(const struct table *t, uint64_t hash)
{
	uint32_t g = group_of(t, hash) - t->range.first;

	assert(g < t->range.end - t->range.first);
	return &t->groups[g];
}

static ALWAYS_INLINE struct segment *segment_of(const struct group *g, uint64_t hash)
{
	/* Shifted in 64 bits, so that depth 0 needs no case of its own. */
	return g->dir ? g->dir[(uint64_t)(uint32_t)hash >> (32 - g->depth)] : NULL;
}

/* ---- segments ---- */

static struct segment *segment_make(struct table *t, uint32_t group, unsigned bits, unsigned depth)
{
	size_t bytes = segment_bytes(&t->shape, bits);
	struct segment *s;

	if (bits == SEGMENT_BITS_MAX) {
		s = pool_take(&t->full);
	} else {
		s = aligned_alloc(64, bytes);
		if (!s)
			abort(); /* as base/mem.h */
		memset(s, 0, bytes);
	}
	s->born = t->snap->cur;
	s->group = group;
	s->bits = (uint8_t)bits;
	s->depth = (uint8_t)depth;
	count_bytes(t, bytes);
	return s;
}

static void segment_free(struct table *t, struct segment *s)
{
	count_bytes(t, -(uint64_t)segment_bytes(&t->shape, s->bits));
	if (s->bits == SEGMENT_BITS_MAX)
		pool_give(&t->full, s);
	else
		free(s);
}

static void retire(struct table *t, struct segment *s, void *list)
{
	if (t->n_retired == t->retired_capacity) {
		t->retired_capacity = t->retired_capacity ? 2 * t->retired_capacity : 64;
		t->retired = mem_resize(t->retired, t->retired_capacity, sizeof(*t->retired));
	}
	t->retired[t->n_retired++] = (struct table_retired){.segment = s, .list = list};
}

static void list_grow(struct table *t, struct group *g)
{
	uint32_t capacity = g->capacity ? 2 * g->capacity : 4;
	struct segment **list = mem_array(capacity, sizeof(struct segment *));

	if (g->n)
		memcpy(list, g->list, g->n * sizeof(*list));
	if (t->snap->active && g->list_noted)
		retire(t, NULL, g->list);
	else
		free(g->list);
	g->list_noted = false;
	g->list = list;
	g->capacity = capacity;
}

static void list_add(struct table *t, struct group *g, struct segment *s)
{
	if (g->n == g->capacity)
		list_grow(t, g);
	s->index = g->n;
	g->list[g->n++] = s;
}

/* Only outside of captures: indexes change. */
static void list_remove_segment(struct group *g, struct segment *s)
{
	struct segment *last = g->list[--g->n];

	g->list[s->index] = last;
	last->index = s->index;
}

/* `s` has been replaced. Whatever a capture may still read stays as it is until that has ended. */
static void segment_replaced(struct table *t, struct group *g, struct segment *s)
{
	if (t->snap->active) {
		retire(t, s, NULL);
		return;
	}
	list_remove_segment(g, s);
	segment_free(t, s);
}

static void dir_double(struct group *g)
{
	size_t n = (size_t)1 << g->depth;
	struct segment **dir = mem_array(2 * n, sizeof(struct segment *));

	for (size_t i = 0; i < n; i++)
		dir[2 * i] = dir[2 * i + 1] = g->dir[i];
	free(g->dir);
	g->dir = dir;
	g->depth++;
}

static void dir_point(struct group *g, uint64_t hash, unsigned depth, struct segment *s)
{
	/* All entries whose top `depth` bits are those of the hash. */
	size_t first = (uint64_t)(uint32_t)hash >> (32 - depth) << (g->depth - depth);
	size_t n = (size_t)1 << (g->depth - depth);

	for (size_t i = 0; i < n; i++)
		g->dir[first + i] = s;
}

static void group_start(struct table *t, struct group *g, unsigned bits)
{
	struct segment *s = segment_make(t, (uint32_t)(g - t->groups), bits, 0);

	g->dir = mem_array(1, sizeof(struct segment *));
	g->dir[0] = s;
	g->depth = 0;
	list_add(t, g, s);
}

static void segment_double(struct table *t, struct group *g, struct segment *s)
{
	struct segment *larger = segment_make(t, s->group, s->bits + 1u, s->depth);

	segment_rehash(&t->shape, s, &larger, 1, table_slot_hash, t);
	g->dir[0] = larger;
	list_add(t, g, larger);
	segment_replaced(t, g, s);
}

static void segment_split(struct table *t, struct group *g, struct segment *s, uint64_t hash)
{
	unsigned depth = s->depth + 1u;
	uint64_t bit = UINT64_C(1) << (32 - depth);
	struct segment *half[2];

	if (depth > TABLE_DEPTH_MAX) {
		fprintf(stderr, "keyed state: too many keys have the same 32 bits of hash\n");
		abort();
	}
	if (s->depth == g->depth)
		dir_double(g);
	half[0] = segment_make(t, s->group, SEGMENT_BITS_MAX, depth);
	half[1] = segment_make(t, s->group, SEGMENT_BITS_MAX, depth);
	segment_rehash(&t->shape, s, half, 2, table_slot_hash, t);
	dir_point(g, hash & ~bit, depth, half[0]);
	dir_point(g, hash | bit, depth, half[1]);
	list_add(t, g, half[0]);
	list_add(t, g, half[1]);
	segment_replaced(t, g, s);
}

/* Room for a key with this hash; every pointer into the group's segments is void afterwards. */
static __attribute__((noinline)) void make_room(struct table *t, struct group *g, uint64_t hash)
{
	struct segment *s = segment_of(g, hash);

	if (!s)
		group_start(t, g, SEGMENT_BITS_MIN);
	else if (s->bits < SEGMENT_BITS_MAX)
		segment_double(t, g, s);
	else
		segment_split(t, g, s, hash);
}

/* ---- the write barrier ---- */

static void busy_begin(struct snap *s)
{
	if (s->active)
		__atomic_store_n(&s->busy, s->busy + 1, __ATOMIC_SEQ_CST);
	STATE_STEP();
}

static void busy_end(struct snap *s)
{
	if (s->active)
		__atomic_store_n(&s->busy, s->busy + 1, __ATOMIC_RELEASE);
	STATE_STEP();
}

static ALWAYS_INLINE uint64_t saved_bit(const struct place *p)
{
	return UINT64_C(1) << p->slot;
}

static ALWAYS_INLINE void log_slot(struct table *t, struct group *g, const struct place *p)
{
	const uint64_t *slot = segment_slot(&t->shape, p->bucket, p->slot);
	uint64_t *to = slotlog_add(&g->log, &t->snap->chunks, t->shape.slot_words);

	/* Two or three words, mostly: a call of memcpy() would cost more than they do. */
	for (unsigned i = 0; i < t->shape.slot_words; i++)
		to[i] = word_load(slot + i);
}

static __attribute__((noinline)) void save_slot(struct table *t, const struct place *p,
						bool occupied)
{
	struct group *g = &t->groups[p->segment->group];
	uint64_t number = (uint64_t)t->snap->cur << 32;
	uint64_t sv;

	if (p->segment->index < __atomic_load_n(&g->walked, __ATOMIC_SEQ_CST))
		return;
	STATE_STEP();
	sv = __atomic_load_n(&p->bucket->sv, __ATOMIC_RELAXED);
	if (sv >> 32 != t->snap->cur)
		sv = number;
	else if (sv & saved_bit(p))
		return;
	if (occupied)
		log_slot(t, g, p);
	STATE_STEP();
	__atomic_store_n(&p->bucket->sv, sv | saved_bit(p), __ATOMIC_RELEASE);
	words_fence_release();
	STATE_STEP();
}

static ALWAYS_INLINE void before_change(struct table *t, const struct place *p, bool occupied)
{
	if (__builtin_expect(t->snap->active && p->segment->born != t->snap->cur, 0))
		save_slot(t, p, occupied);
}

/* Steps 1 to 3 for the places of a window: bit i says that place i goes on to step 4. */
static ALWAYS_INLINE uint64_t unsaved(const struct table *t, const struct place *places, unsigned n)
{
	uint32_t cur = t->snap->cur;
	uint64_t mask = 0;

	for (unsigned i = 0; i < n; i++) {
		const struct place *p = &places[i];
		const struct group *g = &t->groups[p->segment->group];
		uint32_t walked = __atomic_load_n(&g->walked, __ATOMIC_SEQ_CST);
		uint64_t sv = __atomic_load_n(&p->bucket->sv, __ATOMIC_RELAXED);
		uint64_t saved = (uint64_t)(sv >> 32 == cur) & sv >> p->slot;
		uint64_t old = (uint64_t)(p->segment->born != cur) &
			       (uint64_t)(p->segment->index >= walked);

		/* Relaxed: where the log is the other thread's by now, this is only a hint. */
		__builtin_prefetch(__atomic_load_n(&g->log.at, __ATOMIC_RELAXED), 1);
		mask |= (old & ~saved & 1) << i;
		STATE_STEP();
	}
	return mask;
}

/* Before the caller changes the values of a window: what save_slot() does, for all of them. */
static __attribute__((noinline)) void save_window(struct table *t, const struct place *places,
						  unsigned n)
{
	uint64_t number = (uint64_t)t->snap->cur << 32;

	for (uint64_t left = unsaved(t, places, n); left; left &= left - 1) {
		const struct place *p = &places[__builtin_ctzll(left)];
		uint64_t sv = __atomic_load_n(&p->bucket->sv, __ATOMIC_RELAXED);

		if (sv >> 32 != t->snap->cur)
			sv = number;
		else if (sv & saved_bit(p))
			continue; /* the same key twice in the window */
		log_slot(t, &t->groups[p->segment->group], p);
		STATE_STEP();
		__atomic_store_n(&p->bucket->sv, sv | saved_bit(p), __ATOMIC_RELEASE);
		STATE_STEP();
	}
	words_fence_release();
}

/* ---- one key ---- */

static ALWAYS_INLINE bool find(const struct table *t, struct segment *s, uint64_t hash,
			       const struct head *key, struct place *out, const bool key_bytes)
{
	uint32_t mask = (1u << s->bits) - 1;
	uint32_t at = segment_home(s, hash);

	for (uint32_t i = 0; i <= mask; i++, at = (at + 1) & mask) {
		struct bucket *b = segment_bucket(&t->shape, s, at);

		for (unsigned m = segment_match(b, segment_tag(hash)); m; m &= m - 1) {
			unsigned j = (unsigned)__builtin_ctz(m);

			if (head_equal(key, segment_slot(&t->shape, b, j), key_bytes)) {
				*out = (struct place){s, b, j};
				return true;
			}
		}
		if (!b->ov)
			return false;
	}
	return false;
}

/* Put an absent key in, its value zero; false: no room. */
static bool insert(struct table *t, struct segment *s, uint64_t hash, const struct head *key,
		   struct place *out, const bool key_bytes)
{
	struct bucket *b = segment_room(&t->shape, s, hash, SEGMENT_PROBE);
	uint64_t *slot;

	if (!b)
		return false;
	*out = (struct place){s, b, (unsigned)__builtin_ctz(segment_match(b, 0))};
	before_change(t, out, false);
	slot = segment_slot(&t->shape, b, out->slot);
	word_store(slot, key->w0);
	if (key_bytes)
		word_store(slot + 1, head_keep(key, &t->snap->blobs, t->snap->cur));
	STATE_STEP();
	for (unsigned i = t->shape.key_words; i < t->shape.slot_words; i++)
		word_store(slot + i, 0);
	STATE_STEP();
	segment_passed(&t->shape, s, hash, b, 1);
	segment_byte(&b->cnt, (uint8_t)(b->cnt + 1));
	__atomic_store_n(&b->tag[out->slot], segment_tag(hash), __ATOMIC_RELEASE);
	STATE_STEP();
	s->entries++;
	count_entries(t, 1);
	return true;
}

/* The place of a key, made if absent; one that was there is not saved yet. False: the table had to
 * be rearranged and may not yet. */
static ALWAYS_INLINE bool upsert(struct table *t, uint64_t hash, const struct head *key,
				 bool may_rearrange, struct place *out, bool *created,
				 const bool key_bytes)
{
	struct group *g = group_at(t, hash);
	struct segment *s = segment_of(g, hash);

	*created = false;
	if (s && find(t, s, hash, key, out, key_bytes))
		return true;
	while (!s || !insert(t, s, hash, key, out, key_bytes)) {
		if (s && !may_rearrange)
			return false;
		make_room(t, g, hash);
		s = segment_of(g, hash);
	}
	*created = true;
	return true;
}

/* ---- windows ---- */

/* Bring what the window will touch into the cache, a pass per level of indirection. */
static ALWAYS_INLINE void prefetch(const struct table *t, const uint64_t *hashes, unsigned n,
				   const bool key_bytes)
{
	struct bucket *home[BACKEND_WINDOW];
	size_t slot_bytes = (size_t)t->shape.slot_words * 8;

	for (unsigned i = 0; i < n; i++) {
		struct segment *s = segment_of(group_at(t, hashes[i]), hashes[i]);

		home[i] = s ? segment_bucket(&t->shape, s, segment_home(s, hashes[i])) : NULL;
		__builtin_prefetch(home[i]);
	}
	for (unsigned i = 0; i < n; i++) {
		unsigned m = home[i] ? segment_match(home[i], segment_tag(hashes[i])) : 0;

		if (m) {
			const char *slot = (const char *)segment_slot(&t->shape, home[i],
								      (unsigned)__builtin_ctz(m));

			__builtin_prefetch(slot);
			__builtin_prefetch(slot + slot_bytes - 1);
		}
	}
	if (!key_bytes)
		return;
	for (unsigned i = 0; i < n; i++) {
		unsigned m = home[i] ? segment_match(home[i], segment_tag(hashes[i])) : 0;

		if (m)
			head_prefetch(segment_slot(&t->shape, home[i], (unsigned)__builtin_ctz(m)));
	}
}

static ALWAYS_INLINE unsigned window(struct table *t, const int64_t *numbers,
				     const struct backend_bytes *bytes, const uint64_t *hashes,
				     unsigned n, uint64_t **out, uint64_t *created,
				     const bool key_bytes)
{
	struct place places[BACKEND_WINDOW];
	uint64_t made = 0;
	unsigned i;

	assert(n && n <= BACKEND_WINDOW);
	if (t->bytes > TABLE_SMALL_BYTES)
		prefetch(t, hashes, n, key_bytes);
	busy_begin(t->snap);
	for (i = 0; i < n; i++) {
		struct head key = key_bytes ? head_of_bytes(bytes[i]) : head_of_number(numbers[i]);
		bool fresh;

		if (!upsert(t, hashes[i], &key, i == 0, &places[i], &fresh, key_bytes))
			break;
		made |= (uint64_t)fresh << i;
		out[i] = segment_slot(&t->shape, places[i].bucket, places[i].slot) +
			 t->shape.key_words;
	}
	if (t->snap->active)
		save_window(t, places, i);
	busy_end(t->snap);
	*created = made;
	return i;
}

unsigned table_upsert_i64(struct table *t, const int64_t *keys, const uint64_t *hashes, unsigned n,
			  uint64_t **out, uint64_t *created)
{
	return window(t, keys, NULL, hashes, n, out, created, false);
}

unsigned table_upsert_bytes(struct table *t, const struct backend_bytes *keys,
			    const uint64_t *hashes, unsigned n, uint64_t **out, uint64_t *created)
{
	return window(t, NULL, keys, hashes, n, out, created, true);
}

/* ---- one at a time ---- */

static struct head head_of(const struct table *t, const struct backend_key *key)
{
	return t->layout.key_bytes ? head_of_bytes(key->bytes) : head_of_number(key->number);
}

static bool find_key(const struct table *t, const struct backend_key *key, struct place *out)
{
	struct segment *s = segment_of(group_at(t, key->hash), key->hash);
	struct head h = head_of(t, key);

	if (!s)
		return false;
	return t->layout.key_bytes ? find(t, s, key->hash, &h, out, true)
				   : find(t, s, key->hash, &h, out, false);
}

const uint64_t *table_find(struct table *t, const struct backend_key *key)
{
	struct place p;

	if (!find_key(t, key, &p))
		return NULL;
	return segment_slot(&t->shape, p.bucket, p.slot) + t->shape.key_words;
}

static uint64_t *upsert_key(struct table *t, const struct backend_key *key)
{
	uint64_t *value, created;

	if (t->layout.key_bytes)
		table_upsert_bytes(t, &key->bytes, &key->hash, 1, &value, &created);
	else
		table_upsert_i64(t, &key->number, &key->hash, 1, &value, &created);
	return value;
}

static void drop(struct table *t, uint64_t address)
{
	if (address)
		blobs_drop(&t->snap->blobs, (struct blob *)(uintptr_t)address, t->snap->active,
			   t->snap->cur);
}

bool table_remove(struct table *t, const struct backend_key *key)
{
	const struct segment_shape *shape = &t->shape;
	struct place p;
	uint64_t *slot;

	if (!find_key(t, key, &p))
		return false;
	busy_begin(t->snap);
	before_change(t, &p, true);
	__atomic_store_n(&p.bucket->tag[p.slot], 0, __ATOMIC_RELEASE);
	STATE_STEP();
	segment_byte(&p.bucket->cnt, (uint8_t)(p.bucket->cnt - 1));
	segment_passed(shape, p.segment, key->hash, p.bucket, -1);
	slot = segment_slot(shape, p.bucket, p.slot);
	if (t->layout.key_bytes)
		drop(t, head_blob(slot));
	if (t->layout.value_bytes)
		drop(t, slot[shape->key_words]);
	p.segment->entries--;
	count_entries(t, (uint64_t)-1);
	busy_end(t->snap);
	return true;
}

struct backend_bytes table_get(struct table *t, const struct backend_key *key)
{
	const uint64_t *value = table_find(t, key);
	struct backend_bytes bytes = {NULL, 0};

	if (value) {
		bytes.data = ((struct blob *)(uintptr_t)value[0])->bytes;
		bytes.len = (uint32_t)value[1];
	}
	return bytes;
}

void table_put(struct table *t, const struct backend_key *key, struct backend_bytes value)
{
	/* The value first: it may point into the state itself. */
	struct blob *blob = blobs_make(&t->snap->blobs, value.len, t->snap->cur);
	uint64_t *slot, old;

	if (value.len)
		memcpy(blob->bytes, value.data, value.len);
	slot = upsert_key(t, key);
	old = slot[0];
	word_store(&slot[0], (uintptr_t)blob);
	STATE_STEP();
	word_store(&slot[1], value.len);
	STATE_STEP();
	drop(t, old);
}

void table_append(struct table *t, const struct backend_key *key, struct backend_bytes value)
{
	uint64_t *slot = upsert_key(t, key);
	struct blob *old = (struct blob *)(uintptr_t)slot[0];
	struct blob *blob = old;
	size_t len = slot[1] + value.len;

	assert(len <= UINT32_MAX / 2);
	if (!old || old->capacity < len) {
		blob = blobs_make(&t->snap->blobs, (uint32_t)(old ? 2 * len : len), t->snap->cur);
		if (old)
			memcpy(blob->bytes, old->bytes, slot[1]);
	}
	if (value.len)
		memcpy(blob->bytes + slot[1], value.data, value.len);
	word_store(&slot[0], (uintptr_t)blob);
	STATE_STEP();
	word_store(&slot[1], len);
	if (old != blob)
		drop(t, (uintptr_t)old);
}

void table_reserve(struct table *t, uint32_t group, uint64_t rows)
{
	struct group *g = &t->groups[group - t->range.first];
	uint64_t slots = rows + rows / 3; /* filled to three quarters at most */
	unsigned bits = SEGMENT_BITS_MIN, depth = 0;

	assert(group >= t->range.first && group < t->range.end);
	if (g->dir || !rows)
		return;
	while (bits < SEGMENT_BITS_MAX && (uint64_t)SEGMENT_SLOTS << bits < slots)
		bits++;
	group_start(t, g, bits);
	while ((uint64_t)SEGMENT_SLOTS << (SEGMENT_BITS_MAX + depth) < slots &&
	       depth < TABLE_DEPTH_MAX)
		depth++;
	if (!depth)
		return;
	segment_free(t, g->dir[0]);
	free(g->dir);
	g->n = 0;
	g->depth = (uint8_t)depth;
	g->dir = mem_array((size_t)1 << depth, sizeof(struct segment *));
	for (size_t i = 0; i < (size_t)1 << depth; i++) {
		g->dir[i] = segment_make(t, group - t->range.first, SEGMENT_BITS_MAX, depth);
		list_add(t, g, g->dir[i]);
	}
}

/* ---- captures ---- */

void table_note(struct table *t)
{
	for (uint32_t i = 0; i < t->range.end - t->range.first; i++) {
		struct group *g = &t->groups[i];

		g->snap_list = g->list;
		g->nsync = g->n;
		g->list_noted = true;
		__atomic_store_n(&g->walked, 0, __ATOMIC_RELAXED);
	}
}

void table_reclaim(struct table *t)
{
	for (size_t i = 0; i < t->n_retired; i++) {
		struct segment *s = t->retired[i].segment;

		if (s) {
			list_remove_segment(&t->groups[s->group], s);
			segment_free(t, s);
		}
		free(t->retired[i].list);
	}
	t->n_retired = 0;
	for (uint32_t i = 0; i < t->range.end - t->range.first; i++)
		slotlog_drop(&t->groups[i].log, &t->snap->chunks);
}

/* ---- life cycle ---- */

uint64_t table_slot_hash(const void *table, const uint64_t *slot)
{
	const struct table *t = table;
	struct backend_key key = {0};

	if (t->layout.key_bytes)
		key.bytes = head_bytes(slot);
	else
		key.number = (int64_t)slot[0];
	return t->hash(&key);
}

void table_init(struct table *t, const struct block_layout *layout,
		const struct backend_range *range, uint64_t (*hash)(const struct backend_key *key),
		struct snap *snap)
{
	uint32_t n = range->end - range->first;

	assert(range->first <= range->end && range->end <= range->max_parallelism);
	memset(t, 0, sizeof(*t));
	segment_shape_init(&t->shape, layout->key_bytes ? 2 : 1,
			   layout->value_bytes ? 2 : layout->value_words);
	t->layout = *layout;
	t->range = *range;
	t->hash = hash;
	t->snap = snap;
	t->fast_mod = UINT64_MAX / range->max_parallelism + 1;
	t->groups = aligned_alloc(128, sizeof(*t->groups) * (n ? n : 1));
	if (!t->groups)
		abort();
	memset(t->groups, 0, sizeof(*t->groups) * n);
	pool_init(&t->full, segment_bytes(&t->shape, SEGMENT_BITS_MAX));
}

static void drop_entries(struct table *t, struct segment *s)
{
	for (uint32_t at = 0; at < 1u << s->bits; at++) {
		struct bucket *b = segment_bucket(&t->shape, s, at);

		for (unsigned m = ~segment_match(b, 0) & SEGMENT_SLOT_MASK; m; m &= m - 1) {
			uint64_t *slot = segment_slot(&t->shape, b, (unsigned)__builtin_ctz(m));

			if (t->layout.key_bytes)
				drop(t, head_blob(slot));
			if (t->layout.value_bytes)
				drop(t, slot[t->shape.key_words]);
		}
	}
}

void table_fini(struct table *t)
{
	assert(!t->snap->active && !t->n_retired);
	for (uint32_t i = 0; i < t->range.end - t->range.first; i++) {
		struct group *g = &t->groups[i];

		for (uint32_t k = 0; k < g->n; k++) {
			if (t->layout.key_bytes || t->layout.value_bytes)
				drop_entries(t, g->list[k]);
			if (g->list[k]->bits != SEGMENT_BITS_MAX)
				free(g->list[k]);
		}
		free(g->dir);
		free(g->list);
	}
	pool_fini(&t->full);
	free(t->groups);
	free(t->retired);
	memset(t, 0, sizeof(*t));
}
