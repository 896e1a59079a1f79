/* The vectors of docs/formats/key-hash.md, and that all ways to a hash agree. */
#include "taskmanager/keyplan.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "base/prng.h"
#include "base/text.h"
#include "job/keygroup.h"
#include "state/keyhash.h"

static struct spec_column columns[] = {{"i", SPEC_INT64, false},    {"s", SPEC_STRING, false},
				       {"b", SPEC_BOOL, true},      {"f", SPEC_FLOAT64, true},
				       {"t", SPEC_TIMESTAMP, true}, {"y", SPEC_BYTES, true},
				       {"n", SPEC_INT64, true}};
static struct spec_schema schema = {7, columns};

struct made {
	struct row_plan plan;
	struct key_plan key;
	_Alignas(64) unsigned char room[4096];
};

static const struct row *made(struct made *m, unsigned column, struct row_value value)
{
	struct row_value v[7] = {0};

	v[1].text = "";
	for (unsigned i = 2; i < 7; i++)
		v[i].null = true;
	v[column] = value;
	row_plan_init(&m->plan, &schema);
	key_plan_init(&m->key, &schema, &m->plan, &column, 1);
	row_put(&m->plan, v, m->room);
	return (const struct row *)(const void *)m->room;
}

static void expect(unsigned column, struct row_value value, const char *hex, uint64_t hash)
{
	struct made m;
	struct buf b = {0};
	char text[512];
	const struct row *r = made(&m, column, value);

	key_canonical(&m.key, r, &b);
	text_hex(b.data, b.len, text);
	cr_expect(eq(str, text, (char *)hex));
	cr_expect(eq(u64, key_hash(&m.key, r), hash), "%s: 0x%016lx", hex,
		  (unsigned long)key_hash(&m.key, r));
	cr_expect(eq(u64, keyhash_bytes(b.data, b.len), hash));
	buf_fini(&b);
	key_plan_fini(&m.key);
	row_plan_fini(&m.plan);
}

#define TEXT(t) ((struct row_value){.len = sizeof(t) - 1, .text = t})

Test(keyplan, published_vectors){
#include "key_vectors.inc"
}

Test(keyplan, several_columns_are_hashed_together)
{
	struct row_plan plan;
	struct key_plan key;
	_Alignas(64) unsigned char room[512];
	struct row_value v[7] = {{.i64 = 7}, TEXT("a")};

	for (unsigned i = 2; i < 7; i++)
		v[i].null = true;
	row_plan_init(&plan, &schema);
	key_plan_init(&key, &schema, &plan, (const unsigned[]){0, 1}, 2);
	row_put(&plan, v, room);
	cr_assert(eq(int, key.kind, KEY_CANONICAL));
	cr_assert(eq(u64, key_hash(&key, (const void *)room), UINT64_C(0x9f77b8ab47fe8333)));
	key_plan_fini(&key);
	row_plan_fini(&plan);
}

Test(keyplan, one_zero_and_one_nan)
{
	struct made a, b;
	const struct row *minus = made(&a, 3, (struct row_value){.f64 = -0.0});
	const struct row *zero = made(&b, 3, (struct row_value){.f64 = 0.0});
	cr_assert(eq(u64, key_hash(&a.key, minus), key_hash(&b.key, zero)));
	key_plan_fini(&a.key);
	row_plan_fini(&a.plan);
	minus = made(&a, 3, (struct row_value){.f64 = __builtin_nan("1")});
	struct made c;
	const struct row *nan = made(&c, 3, (struct row_value){.f64 = -__builtin_nan("7")});
	cr_assert(eq(u64, key_hash(&a.key, minus), key_hash(&c.key, nan)));
	key_plan_fini(&a.key);
	row_plan_fini(&a.plan);
	key_plan_fini(&b.key);
	row_plan_fini(&b.plan);
	key_plan_fini(&c.key);
	row_plan_fini(&c.plan);
}

/* The short cuts for one int64 or string column hash as the canonical bytes do, at every length. */
Test(keyplan, windows_agree_with_canonical_bytes)
{
	struct spec_column two[] = {{"i", SPEC_INT64, false}, {"s", SPEC_STRING, false}};
	struct spec_schema s = {2, two};
	struct row_plan plan;
	struct key_plan key[2];
	struct prng r;
	enum { N = 64, ROOM = 512 };
	static _Alignas(64) unsigned char room[N][ROOM];
	const struct row *rows[N];
	uint64_t hashes[N];

	prng_init(&r, 3);
	row_plan_init(&plan, &s);
	for (unsigned c = 0; c < 2; c++)
		key_plan_init(&key[c], &s, &plan, &c, 1);
	cr_assert(eq(int, key[0].kind, KEY_INT64));
	cr_assert(eq(int, key[1].kind, KEY_TEXT));
	for (unsigned round = 0; round < 300; round++) {
		for (unsigned i = 0; i < N; i++) {
			char text[ROOM];
			for (unsigned k = 0; k < ROOM; k++)
				text[k] = (char)prng_next(&r);
			struct row_value v[2] = {
				{.i64 = (int64_t)prng_next(&r)},
				{.len = (uint32_t)prng_below(&r, 400), .text = text}};
			if (round % 2)
				v[1].len %= 40;
			row_put(&plan, v, room[i]);
			rows[i] = (const void *)room[i];
		}
		for (unsigned c = 0; c < 2; c++) {
			key_hash_window(&key[c], rows, N, hashes);
			for (unsigned i = 0; i < N; i++) {
				struct buf b = {0};
				key_canonical(&key[c], rows[i], &b);
				cr_assert(eq(u64, hashes[i], keyhash_bytes(b.data, b.len)));
				buf_fini(&b);
			}
		}
		struct backend_key k = {0};
		k.bytes.data = row_text(rows[0], 1, &k.bytes.len);
		cr_assert(eq(u64, key_hash_of_text(&k), hashes[0]));
	}
	key_plan_fini(&key[0]);
	key_plan_fini(&key[1]);
	row_plan_fini(&plan);
}
