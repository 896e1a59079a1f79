#include "state/table.h"

#include <assert.h>
#include <sched.h>
#include <string.h>
#include <time.h>

#include "state/head.h"

/* Chunks made ready for the log: up to a sixteenth of the table. */
enum { STOCK_SHARE = 16, AWAIT_YIELDS = 16 };

enum { COPY_WORDS = SEGMENT_SLOTS * (BLOCK_WORDS_MAX + 2) };

void table_walk_init(struct table_walk *w, struct table *t)
{
	memset(w, 0, sizeof(*w));
	w->table = t;
}

static bool full(const struct block *b)
{
	return block_raw_bytes(b) >= BLOCK_RAW_BYTES;
}

/* One row from a private copy of a slot. What it points to is not freed while the capture lasts. */
static void emit(const struct table *t, const uint64_t *slot, struct block *out)
{
	const uint64_t *value = slot + t->shape.key_words;
	uint64_t *row = block_row(out);

	if (t->layout.key_bytes) {
		struct backend_bytes key = head_bytes(slot);

		*row++ = key.len;
		buf_add(&out->heap, key.data, key.len);
	} else {
		*row++ = slot[0];
	}
	if (t->layout.value_bytes) {
		const struct blob *blob = (const struct blob *)(uintptr_t)value[0];

		*row = value[1];
		buf_add(&out->heap, blob->bytes, value[1]);
		return;
	}
	for (unsigned i = 0; i < t->layout.value_words; i++)
		row[i] = value[i];
}

/* Bit j: slot j is occupied and no copy of it has been saved in this capture. */
static unsigned wanted(const struct bucket *b, unsigned occupied, uint32_t cur)
{
	uint64_t sv = __atomic_load_n(&b->sv, __ATOMIC_ACQUIRE);

	return sv >> 32 == cur ? occupied & ~(unsigned)(sv & SEGMENT_SLOT_MASK) : occupied;
}

static unsigned occupied_slots(const struct bucket *b)
{
	const uint64_t *head = (const uint64_t *)(const void *)b;

	return ~segment_match_swar(word_load(head), word_load(head + 1), 0) & SEGMENT_SLOT_MASK;
}

/* Copy the occupied slots that are not saved to `copy`, one behind the other; which ones. */
static unsigned copy_slots(const struct table *t, const struct bucket *b, uint64_t *copy)
{
	unsigned take = wanted(b, SEGMENT_SLOT_MASK, t->snap->cur);

	STATE_STEP();
	take &= occupied_slots(b);
	STATE_STEP();
	for (unsigned m = take; m; m &= m - 1) {
		const uint64_t *slot =
			b->slots + (size_t)(unsigned)__builtin_ctz(m) * t->shape.slot_words;

		for (unsigned i = 0; i < t->shape.slot_words; i++)
			*copy++ = word_load(slot + i);
		STATE_STEP();
	}
	words_fence_acquire();
	return take;
}

/* A slot of words alone is a row as it is: copied to where it goes, the block shortened if the
 * second look says that slots were saved meanwhile. */
static void read_rows(const struct table *t, struct bucket *b, struct block *out)
{
	unsigned words = t->shape.slot_words;
	uint64_t *rows = block_room(out, SEGMENT_SLOTS), *to = rows;
	unsigned take = copy_slots(t, b, rows);
	unsigned keep = wanted(b, take, t->snap->cur);

	if (__builtin_expect(keep != take, 0)) {
		for (unsigned m = take; m; m &= m - 1, rows += words)
			if (keep & m & -m) {
				memmove(to, rows, (size_t)words * 8);
				to += words;
			}
	}
	out->rows += (uint32_t)__builtin_popcount(keep);
	STATE_STEP();
}

static void read_bucket(const struct table *t, struct bucket *b, struct block *out)
{
	uint64_t copy[COPY_WORDS], *at = copy;
	unsigned take, keep;

	if (!t->layout.key_bytes && !t->layout.value_bytes) {
		read_rows(t, b, out);
		return;
	}
	take = copy_slots(t, b, copy);
	keep = wanted(b, take, t->snap->cur);
	for (unsigned m = take; m; m &= m - 1, at += t->shape.slot_words)
		if (keep & m & -m)
			emit(t, at, out);
	STATE_STEP();
}

/* Segments until the block is full; true: the group's segments are done. */
static bool read_segments(struct table_walk *w, struct group *g, struct block *out)
{
	for (; w->segment < g->nsync; w->segment++, w->bucket = 0) {
		struct segment *s = g->snap_list[w->segment];

		for (; w->bucket < 1u << s->bits; w->bucket++) {
			if (full(out))
				return false;
			read_bucket(w->table, segment_bucket(&w->table->shape, s, w->bucket), out);
		}
		__atomic_store_n(&g->walked, w->segment + 1, __ATOMIC_RELEASE);
		STATE_STEP();
	}
	return true;
}

/* A call takes microseconds, unless the task has lost its core in the midst of it: then spinning
 * would only keep it from getting one. */
static void await_call(unsigned turns)
{
	const struct timespec moment = {.tv_nsec = 50000};

	if (turns < AWAIT_YIELDS)
		sched_yield();
	else
		(void)clock_nanosleep(CLOCK_MONOTONIC, 0, &moment, NULL);
}

/* From here on the group's log is ours: see "Handing the log over" in table.h. */
static void take_log(struct table_walk *w, struct group *g)
{
	const uint64_t *busy = &w->table->snap->busy;
	uint64_t seen;

	__atomic_store_n(&g->walked, TABLE_WALKED, __ATOMIC_SEQ_CST);
	STATE_STEP();
	seen = __atomic_load_n(busy, __ATOMIC_SEQ_CST);
	for (unsigned turns = 0; seen & 1 && __atomic_load_n(busy, __ATOMIC_ACQUIRE) == seen;
	     turns++) {
		STATE_STEP();
		await_call(turns);
	}
	w->logging = true;
	w->chunk = slotlog_take(&g->log);
	w->chunk_at = 0;
}

static bool read_log(struct table_walk *w, struct block *out)
{
	struct table *t = w->table;

	while (w->chunk) {
		struct slotlog_chunk *next = w->chunk->next;

		for (; w->chunk_at < w->chunk->used; w->chunk_at += t->shape.slot_words) {
			if (full(out))
				return false;
			emit(t, w->chunk->words + w->chunk_at, out);
		}
		slotlog_return(&t->snap->chunks, w->chunk);
		w->chunk = next;
		w->chunk_at = 0;
	}
	return true;
}

bool table_walk_next(struct table_walk *w, struct block *out)
{
	struct table *t = w->table;
	uint32_t n = t->range.end - t->range.first;
	uint64_t bytes = __atomic_load_n(&t->bytes, __ATOMIC_RELAXED);

	slotlog_stock(&t->snap->chunks, bytes / STOCK_SHARE / SLOTLOG_CHUNK);
	for (; w->group < n; w->group++) {
		struct group *g = &t->groups[w->group];

		block_begin(out, block_layout_words(&t->layout), t->range.first + w->group);
		if (!w->logging) {
			if (!read_segments(w, g, out))
				return true;
			take_log(w, g);
		}
		if (!read_log(w, out))
			return true;
		w->logging = false;
		w->segment = w->bucket = 0;
		if (out->rows) {
			w->group++;
			return true;
		}
	}
	return false;
}

void table_walk_fini(struct table_walk *w)
{
	while (w->chunk) {
		struct slotlog_chunk *next = w->chunk->next;

		slotlog_return(&w->table->snap->chunks, w->chunk);
		w->chunk = next;
	}
}
