#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/prng.h"
#include "state/hashmap.h"
#include "state/keyed.h"
#include "state/keyhash.h"
#include "state/object.h"

enum { GROUPS = 8 };

/* ---- an object in memory ---- */

struct memory {
	struct object_sink sink;
	struct object_source source;
	struct buf bytes;
	unsigned reads;
};

static enum errc memory_write(struct object_sink *s, const void *data, size_t len, struct err *e)
{
	(void)e;
	buf_add(&MEM_OWNER(s, struct memory, sink)->bytes, data, len);
	return ERR_OK;
}

static enum errc memory_read(struct object_source *s, uint64_t offset, void *data, size_t len,
			     struct err *e)
{
	struct memory *m = MEM_OWNER(s, struct memory, source);

	m->reads++;
	if (offset > m->bytes.len || len > m->bytes.len - offset)
		return err_set(e, ERR_CORRUPT, "object ends at %zu", m->bytes.len);
	memcpy(data, m->bytes.data + offset, len);
	return ERR_OK;
}

static void memory_init(struct memory *m)
{
	memset(m, 0, sizeof(*m));
	m->sink.write = memory_write;
	m->source.read = memory_read;
	m->source.name = "mem:object";
}

/* ---- a store with all kinds of state, written and read back ---- */

struct all {
	struct keyed *keyed;
	struct keyed_state *count, *text, *list;
};

static void all_open(struct all *a, uint32_t first, uint32_t end)
{
	struct backend_range range = {.max_parallelism = GROUPS, .first = first, .end = end};
	struct keyed_spec count = {
		.name = "count", .kind = KEYED_VALUE, .key = KEYED_INT64, .words = 3};
	struct keyed_spec text = {.name = "text", .kind = KEYED_BYTES, .key = KEYED_STRING};
	struct keyed_spec list = {.name = "list", .kind = KEYED_LIST, .key = KEYED_INT64};

	a->keyed = keyed_create(&hashmap_backend, &range);
	cr_assert(not(keyed_open(a->keyed, &count, &a->count, NULL)));
	cr_assert(not(keyed_open(a->keyed, &text, &a->text, NULL)));
	cr_assert(not(keyed_open(a->keyed, &list, &a->list, NULL)));
}

static struct backend_key number_key(int64_t k)
{
	return (struct backend_key){.number = k, .hash = keyhash_int64(k)};
}

static struct backend_key text_key(const char *text)
{
	struct backend_key key = {.bytes = {text, (uint32_t)strlen(text)}};

	key.hash = keyhash_of(&key);
	return key;
}

static void all_fill(struct all *a, int n)
{
	char text[64];

	for (int i = 0; i < n; i++) {
		struct backend_key key = number_key(i - n / 2);
		uint64_t words[3] = {(uint64_t)i * 3, UINT64_MAX - (uint64_t)i, 7};

		keyed_put(a->count, &key, words);
		snprintf(text, sizeof(text), "key number %d", i);
		struct backend_key name = text_key(text);
		cr_assert(not(keyed_put_bytes(a->text, &name,
					      (struct backend_bytes){text, (uint32_t)strlen(text)},
					      NULL)));
		for (int k = 0; k < i % 3; k++)
			cr_assert(not(keyed_list_add(a->list, &key, (struct backend_bytes){text, 5},
						     NULL)));
	}
}

static bool all_has(struct all *a, int i, int n)
{
	struct backend_key key = number_key(i - n / 2);
	const uint64_t *words = keyed_find(a->count, &key);

	return words && words[0] == (uint64_t)i * 3 && words[1] == UINT64_MAX - (uint64_t)i &&
	       words[2] == 7;
}

static void write_list(struct object_writer *w)
{
	struct object_state state = {.uid = "source",
				     .name = "offsets",
				     .layout = {.list = true},
				     .kind = LISTSTATE_SPLIT,
				     .parallelism = 2,
				     .max_parallelism = GROUPS};
	struct block b;
	unsigned id;

	block_init(&b);
	cr_assert(not(object_writer_state(w, &state, &id, NULL)));
	for (uint32_t subtask = 0; subtask < 2; subtask++) {
		struct liststate l = {0};

		for (uint32_t i = 0; i < 3; i++) {
			uint32_t item = subtask * 10 + i;

			cr_assert(not(liststate_add(&l, &item, sizeof(item), NULL)));
		}
		liststate_block(&l, subtask, &b);
		cr_assert(not(object_writer_block(w, id, &b, NULL)));
		liststate_fini(&l);
	}
	block_fini(&b);
}

static void all_write(struct all *a, struct memory *m, struct object_summary *summary)
{
	struct keyed_capture *c;
	struct object_writer *w;
	unsigned ids[8], state;
	struct block b;

	block_init(&b);
	cr_assert(not(object_writer_create(&m->sink, &w, NULL)));
	for (unsigned i = 0; i < keyed_count(a->keyed); i++) {
		const struct keyed_spec *spec = keyed_spec_at(a->keyed, i);
		struct object_state s = {.uid = "agg",
					 .kind = (uint8_t)spec->kind,
					 .parallelism = 1,
					 .max_parallelism = GROUPS};

		snprintf(s.name, sizeof(s.name), "%s", spec->name);
		keyed_layout(spec, &s.layout);
		cr_assert(not(object_writer_state(w, &s, &ids[i], NULL)));
	}
	cr_assert(not(keyed_capture_begin(a->keyed, &c, NULL)));
	while (keyed_capture_next(c, &state, &b))
		cr_assert(not(object_writer_block(w, ids[state], &b, NULL)));
	keyed_capture_end(c);
	write_list(w);
	cr_assert(not(object_writer_finish(w, summary, NULL)));
	object_writer_destroy(w);
	block_fini(&b);
	m->source.bytes = summary->bytes;
	cr_assert(eq(sz, m->bytes.len, summary->bytes));
}

struct into_state {
	struct object_visitor visitor;
	struct keyed_state *state;
};

static enum errc restore_block(struct object_visitor *v, const struct block *b, struct err *e)
{
	return keyed_restore(MEM_OWNER(v, struct into_state, visitor)->state, b, e);
}

static enum errc restore_state(struct object_reader *r, struct keyed_state *s, uint32_t first,
			       uint32_t end, struct err *e)
{
	struct into_state into = {.visitor.block = restore_block, .state = s};
	int id = object_reader_find(r, "agg", s->spec.name);

	cr_assert(ge(int, id, 0));
	for (uint32_t g = first; g < end; g++)
		keyed_reserve(s, g, object_reader_rows(r, (unsigned)id, g));
	return object_reader_read(r, (unsigned)id, first, end, &into.visitor, e);
}

Test(object, round_trip_with_two_shares)
{
	enum { N = 20000 };
	struct object_summary summary;
	struct object_reader *r;
	struct memory m;
	struct all a, half[2];
	unsigned found = 0;

	memory_init(&m);
	all_open(&a, 0, GROUPS);
	all_fill(&a, N);
	all_write(&a, &m, &summary);
	cr_assert(not(object_reader_open(&m.source, summary.checksum, &r, NULL)));
	cr_assert(eq(int, object_reader_find(r, "agg", "nothing"), -1));
	for (uint32_t h = 0; h < 2; h++) {
		uint32_t first = h * 3, end = h ? GROUPS : 3;

		all_open(&half[h], first, end);
		cr_assert(not(restore_state(r, half[h].count, first, end, NULL)));
		cr_assert(not(restore_state(r, half[h].text, first, end, NULL)));
		cr_assert(not(restore_state(r, half[h].list, first, end, NULL)));
	}
	for (int i = 0; i < N; i++) {
		struct backend_key key = number_key(i - N / 2);
		unsigned h = (key.hash >> 32) % GROUPS >= 3;
		size_t at = 0;
		struct backend_bytes item;
		int items = 0;

		found += all_has(&half[h], i, N);
		while (keyed_list_next(half[h].list, &key, &at, &item))
			items++;
		cr_assert(eq(int, items, i % 3));
	}
	cr_assert(eq(uint, found, N));
	cr_assert(eq(u64, keyed_sizes(half[0].keyed).entries + keyed_sizes(half[1].keyed).entries,
		     keyed_sizes(a.keyed).entries));
	object_reader_close(r);
	keyed_destroy(a.keyed);
	keyed_destroy(half[0].keyed);
	keyed_destroy(half[1].keyed);
	buf_fini(&m.bytes);
}

struct into_lists {
	struct object_visitor visitor;
	struct liststate lists[2];
};

static enum errc list_block(struct object_visitor *v, const struct block *b, struct err *e)
{
	return liststate_restore(&MEM_OWNER(v, struct into_lists, visitor)->lists[b->group], b, e);
}

Test(object, list_state_is_dealt_out)
{
	struct into_lists into = {.visitor.block = list_block};
	struct object_summary summary;
	struct object_reader *r;
	struct memory m;
	struct all a;
	struct liststate mine = {0};
	int id;

	memory_init(&m);
	all_open(&a, 0, GROUPS);
	all_write(&a, &m, &summary);
	cr_assert(not(object_reader_open(&m.source, summary.checksum, &r, NULL)));
	id = object_reader_find(r, "source", "offsets");
	cr_assert(ge(int, id, 0));
	cr_assert(not(object_reader_read(r, (unsigned)id, 0, 2, &into.visitor, NULL)));
	cr_assert(not(liststate_deal(into.lists, 2, LISTSTATE_SPLIT, 1, 2, &mine, NULL)));
	cr_assert(eq(sz, mine.n, 3)); /* the same parallelism: what subtask 1 wrote */
	cr_assert(eq(u32, *(uint32_t *)mine.items[0].data, 10));
	liststate_clear(&mine);
	cr_assert(not(liststate_deal(into.lists, 2, LISTSTATE_SPLIT, 1, 4, &mine, NULL)));
	cr_assert(eq(sz, mine.n, 2)); /* items 1 and 5 of six */
	cr_assert(eq(u32, *(uint32_t *)mine.items[0].data, 1));
	cr_assert(eq(u32, *(uint32_t *)mine.items[1].data, 12));
	liststate_clear(&mine);
	cr_assert(not(liststate_deal(into.lists, 2, LISTSTATE_UNION, 3, 4, &mine, NULL)));
	cr_assert(eq(sz, mine.n, 6));
	liststate_fini(&mine);
	liststate_fini(&into.lists[0]);
	liststate_fini(&into.lists[1]);
	object_reader_close(r);
	keyed_destroy(a.keyed);
	buf_fini(&m.bytes);
}

/* Read everything there is; the first error. */
static enum errc read_everything(struct memory *m, uint64_t checksum, struct err *e)
{
	struct object_reader *r = NULL;
	enum errc code = object_reader_open(&m->source, checksum, &r, e);
	struct all a;

	if (code)
		return code;
	all_open(&a, 0, GROUPS);
	code = restore_state(r, a.count, 0, GROUPS, e);
	if (!code)
		code = restore_state(r, a.text, 0, GROUPS, e);
	if (!code)
		code = restore_state(r, a.list, 0, GROUPS, e);
	if (!code) {
		struct into_lists into = {.visitor.block = list_block};

		code = object_reader_read(r, (unsigned)object_reader_find(r, "source", "offsets"),
					  0, 2, &into.visitor, e);
		liststate_fini(&into.lists[0]);
		liststate_fini(&into.lists[1]);
	}
	object_reader_close(r);
	keyed_destroy(a.keyed);
	return code;
}

Test(object, every_flipped_bit_is_found)
{
	struct object_summary summary;
	struct memory m;
	struct prng prng;
	struct all a;
	struct err e;

	memory_init(&m);
	prng_init(&prng, 3);
	all_open(&a, 0, GROUPS);
	all_fill(&a, 300);
	all_write(&a, &m, &summary);
	keyed_destroy(a.keyed);
	cr_assert(not(read_everything(&m, summary.checksum, &e)));
	for (size_t at = 0; at < m.bytes.len; at += 1 + prng_below(&prng, 7)) {
		/* bytes 12 to 31 are reserved, and read by nobody */
		if (at >= 12 && at < 32)
			continue;
		char flip = (char)(1 << prng_below(&prng, 8));
		m.bytes.data[at] ^= flip;
		enum errc code = read_everything(&m, summary.checksum, &e);
		m.bytes.data[at] ^= flip;
		cr_assert(code == ERR_CORRUPT || code == ERR_INVALID, "byte %zu: %s", at,
			  code ? e.text : "not noticed");
		cr_assert(strstr(e.text, "mem:object") != NULL, "%s", e.text);
	}
	cr_assert(not(read_everything(&m, summary.checksum, &e)));
	buf_fini(&m.bytes);
}

Test(object, truncated_and_exchanged_objects_are_found)
{
	struct object_summary summary;
	struct memory m;
	struct all a;
	struct err e;

	memory_init(&m);
	all_open(&a, 0, GROUPS);
	all_fill(&a, 300);
	all_write(&a, &m, &summary);
	keyed_destroy(a.keyed);
	cr_assert(eq(int, read_everything(&m, summary.checksum + 1, &e), ERR_CORRUPT));
	cr_assert(strstr(e.text, "manifest") != NULL);
	for (size_t len = 0; len < summary.bytes; len += 97) {
		m.source.bytes = len;
		cr_assert(eq(int, read_everything(&m, summary.checksum, &e), ERR_CORRUPT));
	}
	buf_fini(&m.bytes);
}
