#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "state/hashmap.h"
#include "state/keyed.h"
#include "state/keyhash.h"
#include "state/object.h"

/* What may never change: docs/formats/. */

Test(format, int64_hashes)
{
	cr_assert(eq(u64, keyhash_int64(0), 0x8da2b7ab8b1ee0e7));
	cr_assert(eq(u64, keyhash_int64(1), 0x77b9ee4e4f0d5d17));
	cr_assert(eq(u64, keyhash_int64(-1), 0x51957c455b8e6c65));
	cr_assert(eq(u64, keyhash_int64(42), 0xa21e1a867f970bec));
	cr_assert(eq(u64, keyhash_int64(INT64_MAX), 0xe043660fb5b7a3db));
	cr_assert(eq(u64, keyhash_int64(INT64_MIN), 0x0982fc13c6eac8cb));
}

static uint64_t hash_text(const char *text)
{
	unsigned char canonical[64] = {KEYHASH_STRING, (unsigned char)strlen(text)};

	memcpy(canonical + 5, text, strlen(text));
	return keyhash_bytes(canonical, 5 + strlen(text));
}

Test(format, other_hashes)
{
	const unsigned char both[] = {KEYHASH_INT64,  7, 0, 0, 0, 0,  0, 0, 0,
				      KEYHASH_STRING, 1, 0, 0, 0, 'x'};

	cr_assert(eq(u64, hash_text(""), 0x8978bc5fbc70dc4e));
	cr_assert(eq(u64, hash_text("a"), 0xb94d94c274946938));
	cr_assert(eq(u64, hash_text("weir"), 0x7b52eae3dd79f79c));
	cr_assert(eq(u64, hash_text("the quick brown fox"), 0x571678a96819ae30));
	cr_assert(eq(u64, keyhash_bytes("\0", 1), 0xc44bdff4074eecdb));
	cr_assert(eq(u64, keyhash_bytes("\1\1", 2), 0x070d80d6a76865f3));
	cr_assert(eq(u64, keyhash_bytes(both, sizeof(both)), 0x429a768e9674d5f1));
}

/* ---- the sample object ---- */

enum { GROUPS = 4, KEYS = 50 };

struct sample {
	struct object_sink sink;
	struct object_source source;
	FILE *file;
};

static enum errc to_file(struct object_sink *s, const void *data, size_t len, struct err *e)
{
	(void)e;
	cr_assert(eq(sz, fwrite(data, 1, len, MEM_OWNER(s, struct sample, sink)->file), len));
	return ERR_OK;
}

static enum errc from_file(struct object_source *s, uint64_t offset, void *data, size_t len,
			   struct err *e)
{
	struct sample *m = MEM_OWNER(s, struct sample, source);

	if (fseek(m->file, (long)offset, SEEK_SET) || fread(data, 1, len, m->file) != len)
		return err_set(e, ERR_CORRUPT, "short");
	return ERR_OK;
}

struct states {
	struct keyed *keyed;
	struct keyed_state *at[2];
};

static void open_states(struct states *s)
{
	const struct backend_range range = {GROUPS, 0, GROUPS};
	const struct keyed_spec sum = {"sum", KEYED_VALUE, KEYED_INT64, 2, NULL, NULL};
	const struct keyed_spec map = {"map", KEYED_MAP, KEYED_STRING, 0, NULL, NULL};

	s->keyed = keyed_create(&hashmap_backend, &range);
	cr_assert(not(keyed_open(s->keyed, &sum, &s->at[0], NULL)));
	cr_assert(not(keyed_open(s->keyed, &map, &s->at[1], NULL)));
}

static struct backend_key name_key(int i, char *text)
{
	struct backend_key key = {
		.bytes = {text, (uint32_t)snprintf(text, 40, "key-%0*d", i % 20, i)}};

	key.hash = keyhash_of(&key);
	return key;
}

static void fill(struct states *s)
{
	for (int i = 0; i < KEYS; i++) {
		struct backend_key key = {.number = i - 20, .hash = keyhash_int64(i - 20)};
		char text[64];

		keyed_put(s->at[0], &key, (uint64_t[]){(uint64_t)i, (uint64_t)-i});
		key = name_key(i, text);
		cr_assert(not(keyed_map_put(s->at[1], &key, (struct backend_bytes){"a", 1},
					    (struct backend_bytes){text, 4}, NULL)));
	}
}

static void expect_filled(struct states *s)
{
	cr_assert(eq(u64, keyed_sizes(s->keyed).entries, 2 * KEYS));
	for (int i = 0; i < KEYS; i++) {
		struct backend_key key = {.number = i - 20, .hash = keyhash_int64(i - 20)};
		const uint64_t *sum = keyed_find(s->at[0], &key);
		struct backend_bytes got;
		char text[64];

		cr_assert(sum && sum[0] == (uint64_t)i && sum[1] == (uint64_t)-i);
		key = name_key(i, text);
		got = keyed_map_get(s->at[1], &key, (struct backend_bytes){"a", 1});
		cr_assert(got.data && got.len == 4 && !memcmp(got.data, "key-", 4));
	}
}

static void write_sample(const char *path)
{
	struct sample m = {.sink.write = to_file, .file = fopen(path, "wbe")};
	struct object_summary summary;
	struct keyed_capture *c;
	struct object_writer *w;
	unsigned ids[2], state;
	struct block b;
	struct states s;

	cr_assert(m.file != NULL);
	open_states(&s);
	fill(&s);
	block_init(&b);
	cr_assert(not(object_writer_create(&m.sink, &w, NULL)));
	for (unsigned i = 0; i < 2; i++) {
		const struct keyed_spec *spec = keyed_spec_at(s.keyed, i);
		struct object_state o = {.uid = "op",
					 .kind = (uint8_t)spec->kind,
					 .parallelism = 1,
					 .max_parallelism = GROUPS};

		snprintf(o.name, sizeof(o.name), "%s", spec->name);
		keyed_layout(spec, &o.layout);
		cr_assert(not(object_writer_state(w, &o, &ids[i], NULL)));
	}
	cr_assert(not(keyed_capture_begin(s.keyed, &c, NULL)));
	while (keyed_capture_next(c, &state, &b))
		cr_assert(not(object_writer_block(w, ids[state], &b, NULL)));
	keyed_capture_end(c);
	cr_assert(not(object_writer_finish(w, &summary, NULL)));
	printf("sample: %llu bytes, checksum %016llx\n", (unsigned long long)summary.bytes,
	       (unsigned long long)summary.checksum);
	object_writer_destroy(w);
	block_fini(&b);
	keyed_destroy(s.keyed);
	fclose(m.file);
}

struct into {
	struct object_visitor visitor;
	struct keyed_state *state;
};

static enum errc restore(struct object_visitor *v, const struct block *b, struct err *e)
{
	return keyed_restore(MEM_OWNER(v, struct into, visitor)->state, b, e);
}

/* To make a sample of a new format: WEIR_WRITE_SAMPLE=path of the new file. */
Test(format, sample_object_loads)
{
	const char *path = getenv("WEIR_WRITE_SAMPLE");
	struct sample m = {.source = {from_file, SAMPLE_PATH, 0}};
	struct object_reader *r;
	struct states s;
	struct err e;

	if (path)
		write_sample(path);
	m.file = fopen(path ? path : SAMPLE_PATH, "rbe");
	cr_assert(m.file != NULL);
	fseek(m.file, 0, SEEK_END);
	m.source.bytes = (uint64_t)ftell(m.file);
	cr_assert(not(object_reader_open(&m.source, SAMPLE_CHECKSUM, &r, &e)), "%s", e.text);
	open_states(&s);
	for (unsigned i = 0; i < 2; i++) {
		struct into into = {.visitor.block = restore, .state = s.at[i]};
		int id = object_reader_find(r, "op", s.at[i]->spec.name);

		cr_assert(ge(int, id, 0));
		cr_assert(not(object_reader_read(r, (unsigned)id, 0, GROUPS, &into.visitor, &e)),
			  "%s", e.text);
	}
	expect_filled(&s);
	object_reader_close(r);
	keyed_destroy(s.keyed);
	fclose(m.file);
}
