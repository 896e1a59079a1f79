/*
 * What every keyed backend must do, run against the one that ships and against
 * the naive one; then both under the same random operations.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <string.h>

#include "base/prng.h"
#include "naive.h"
#include "state/hashmap.h"
#include "state/keyed.h"
#include "state/keyhash.h"
#include "state/segment.h"

enum { GROUPS = 5 };

static const struct backend_ops *const backends[] = {&hashmap_backend, &naive_backend};
static const struct backend_range everything = {GROUPS, 0, GROUPS};

struct bench {
	struct keyed *keyed;
	struct keyed_state *number, *text, *reduced, *list, *map;
};

static void sum_up(uint64_t *acc, const uint64_t *value, unsigned words)
{
	for (unsigned i = 0; i < words; i++)
		keyed_set(&acc[i], acc[i] + value[i]);
}

static void open_all(struct bench *b, const struct backend_ops *ops)
{
	const struct keyed_spec number = {"number", KEYED_VALUE, KEYED_INT64, 2, NULL, NULL};
	const struct keyed_spec text = {"text", KEYED_VALUE, KEYED_STRING, 1, NULL, NULL};
	const struct keyed_spec reduced = {"sum", KEYED_REDUCING, KEYED_INT64, 1, sum_up, NULL};
	const struct keyed_spec list = {"list", KEYED_LIST, KEYED_STRING, 0, NULL, NULL};
	const struct keyed_spec map = {"map", KEYED_MAP, KEYED_INT64, 0, NULL, NULL};

	b->keyed = keyed_create(ops, &everything);
	cr_assert(not(keyed_open(b->keyed, &number, &b->number, NULL)));
	cr_assert(not(keyed_open(b->keyed, &text, &b->text, NULL)));
	cr_assert(not(keyed_open(b->keyed, &reduced, &b->reduced, NULL)));
	cr_assert(not(keyed_open(b->keyed, &list, &b->list, NULL)));
	cr_assert(not(keyed_open(b->keyed, &map, &b->map, NULL)));
}

static struct backend_key of_number(int64_t k)
{
	return (struct backend_key){.number = k, .hash = keyhash_int64(k)};
}

static struct backend_key of_text(const char *text)
{
	struct backend_key key = {.bytes = {text, (uint32_t)strlen(text)}};

	key.hash = keyhash_of(&key);
	return key;
}

static struct backend_bytes bytes(const char *text)
{
	return (struct backend_bytes){text, (uint32_t)strlen(text)};
}

static bool is(struct backend_bytes b, const char *text)
{
	return b.data && b.len == strlen(text) && !memcmp(b.data, text, b.len);
}

/* ---- what every backend must do ---- */

static void values(struct bench *b)
{
	struct backend_key key = of_number(-7);
	const uint64_t *found;

	cr_assert(keyed_find(b->number, &key) == NULL);
	keyed_put(b->number, &key, (uint64_t[]){1, 2});
	keyed_put(b->number, &key, (uint64_t[]){3, 4});
	found = keyed_find(b->number, &key);
	cr_assert(found && found[0] == 3 && found[1] == 4);
	cr_assert(keyed_remove(b->number, &key));
	cr_assert(not(keyed_remove(b->number, &key)));
	cr_assert(keyed_find(b->number, &key) == NULL);
}

static void windows(struct bench *b)
{
	int64_t keys[4] = {5, 6, 5, INT64_MIN};
	uint64_t hashes[4], *value[4], created = 0;

	for (unsigned i = 0; i < 4; i++)
		hashes[i] = keyhash_int64(keys[i]);
	cr_assert(eq(uint, keyed_upsert_i64(b->number, keys, hashes, 4, value, &created), 4));
	cr_assert(eq(u64, created, 0xb)); /* 0, 1 and 3: the second 5 was there */
	cr_assert(value[0] == value[2]);
	cr_assert(eq(u64, value[3][0], 0));
	keyed_set(&value[3][1], 9);
	struct backend_key key = of_number(INT64_MIN);
	cr_assert(eq(u64, keyed_find(b->number, &key)[1], 9));
}

static void texts_of_all_lengths(struct bench *b)
{
	char text[41] = "";

	for (unsigned n = 0; n <= 40; n++) {
		struct backend_key key = of_text(text);

		cr_assert(keyed_find(b->text, &key) == NULL);
		keyed_put(b->text, &key, (uint64_t[]){n});
		text[n] = (char)('a' + n % 26);
		text[n < 40 ? n + 1 : 40] = '\0';
	}
	memset(text, 0, sizeof(text));
	for (unsigned n = 0; n <= 40; n++) {
		struct backend_key key = of_text(text);

		cr_assert(keyed_find(b->text, &key) && *keyed_find(b->text, &key) == n);
		text[n < 40 ? n : 39] = (char)('a' + n % 26);
		if (n >= 39)
			break;
	}
}

static void reducing(struct bench *b)
{
	struct backend_key key = of_number(1);

	for (uint64_t i = 1; i <= 10; i++)
		keyed_reduce(b->reduced, &key, &i);
	cr_assert(eq(u64, *keyed_find(b->reduced, &key), 55));
}

static void lists(struct bench *b)
{
	struct backend_key key = of_text("a key of more than twelve bytes");
	struct backend_bytes item;
	size_t at = 0;

	cr_assert(not(keyed_list_next(b->list, &key, &at, &item)));
	for (int i = 0; i < 100; i++) {
		char text[8];

		snprintf(text, sizeof(text), "%d", i);
		cr_assert(not(keyed_list_add(b->list, &key, bytes(text), NULL)));
	}
	cr_assert(not(keyed_list_add(b->list, &key, bytes(""), NULL)));
	for (int i = 0; i < 100; i++) {
		char text[8];

		snprintf(text, sizeof(text), "%d", i);
		cr_assert(keyed_list_next(b->list, &key, &at, &item));
		cr_assert(is(item, text));
	}
	cr_assert(keyed_list_next(b->list, &key, &at, &item) && item.len == 0);
	cr_assert(not(keyed_list_next(b->list, &key, &at, &item)));
}

static void maps(struct bench *b)
{
	struct backend_key key = of_number(3);

	cr_assert(keyed_map_get(b->map, &key, bytes("a")).data == NULL);
	cr_assert(not(keyed_map_put(b->map, &key, bytes("a"), bytes("1"), NULL)));
	cr_assert(not(keyed_map_put(b->map, &key, bytes("b"), bytes("2"), NULL)));
	cr_assert(not(keyed_map_put(b->map, &key, bytes("a"), bytes("three"), NULL)));
	cr_assert(is(keyed_map_get(b->map, &key, bytes("a")), "three"));
	cr_assert(is(keyed_map_get(b->map, &key, bytes("b")), "2"));
	cr_assert(keyed_map_remove(b->map, &key, bytes("a")));
	cr_assert(not(keyed_map_remove(b->map, &key, bytes("a"))));
	cr_assert(keyed_map_remove(b->map, &key, bytes("b")));
	cr_assert(not(keyed_remove(b->map, &key))); /* an empty map is no map */
}

static void refusals(struct bench *b)
{
	struct keyed_spec other = {
		.name = "number", .kind = KEYED_VALUE, .key = KEYED_STRING, .words = 2};
	struct keyed_state *s;
	struct keyed_capture *c, *second;
	struct block block;
	struct err e;

	cr_assert(eq(int, keyed_open(b->keyed, &other, &s, &e), ERR_INVALID));
	other.name = "";
	cr_assert(eq(int, keyed_open(b->keyed, &other, &s, &e), ERR_INVALID));
	cr_assert(not(keyed_capture_begin(b->keyed, &c, NULL)));
	cr_assert(eq(int, keyed_capture_begin(b->keyed, &second, &e), ERR_AGAIN));
	keyed_capture_end(c);
	keyed_poll(b->keyed);
	block_init(&block);
	block_begin(&block, 3, (uint32_t)(keyhash_int64(1) >> 32) % GROUPS);
	memcpy(block_row(&block), (uint64_t[]){2, 0, 0}, 24);
	for (int64_t k = 2; (keyhash_int64(k) >> 32) % GROUPS == block.group; k++)
		block.words[0] = (uint64_t)k + 1;
	cr_assert(eq(int, keyed_restore(b->number, &block, &e), ERR_CORRUPT));
	block.group = GROUPS;
	cr_assert(eq(int, keyed_restore(b->number, &block, &e), ERR_CORRUPT));
	block_fini(&block);
}

Test(keyed, conformance)
{
	for (unsigned i = 0; i < 2; i++) {
		struct bench b;

		open_all(&b, backends[i]);
		values(&b);
		windows(&b);
		texts_of_all_lengths(&b);
		reducing(&b);
		lists(&b);
		maps(&b);
		refusals(&b);
		keyed_destroy(b.keyed);
	}
}

/* ---- random operations on both ---- */

enum { KEYS = 700 };

static bool same_words(const uint64_t *a, const uint64_t *b, unsigned n)
{
	return (!a && !b) || (a && b && !memcmp(a, b, n * 8));
}

static bool same_bytes(struct backend_bytes a, struct backend_bytes b)
{
	return a.len == b.len && !a.data == !b.data && (!a.len || !memcmp(a.data, b.data, a.len));
}

static void change(struct bench *b, uint64_t what, uint64_t k, uint64_t v)
{
	char text[64];
	struct backend_key number = of_number((int64_t)k - KEYS / 2), name;
	struct err e;

	snprintf(text, sizeof(text), "%0*u", 1 + (int)(k % 40), (unsigned)k);
	name = of_text(text);
	switch (what) {
	case 0:
		keyed_put(b->number, &number, (uint64_t[]){v, k});
		break;
	case 1:
		keyed_put(b->text, &name, &v);
		break;
	case 2:
		keyed_reduce(b->reduced, &number, &v);
		break;
	case 3:
		cr_assert(not(keyed_list_add(b->list, &name, bytes(text), &e)));
		break;
	case 4:
		cr_assert(not(keyed_map_put(b->map, &number, bytes(v & 1 ? "odd" : "even"),
					    bytes(text), &e)));
		break;
	case 5:
		keyed_remove(b->number, &number);
		break;
	case 6:
		keyed_remove(b->text, &name);
		break;
	case 7:
		keyed_remove(v & 1 ? b->list : b->text, &name);
		break;
	default:
		keyed_map_remove(b->map, &number, bytes("odd"));
	}
	keyed_poll(b->keyed);
}

static void compare(struct bench *a, struct bench *b)
{
	cr_assert(eq(u64, keyed_sizes(a->keyed).entries, keyed_sizes(b->keyed).entries));
	for (unsigned k = 0; k < KEYS; k++) {
		struct backend_key number = of_number((int64_t)k - KEYS / 2), name;
		char text[64];

		snprintf(text, sizeof(text), "%0*u", 1 + (int)(k % 40), k);
		name = of_text(text);
		cr_assert(same_words(keyed_find(a->number, &number), keyed_find(b->number, &number),
				     2));
		cr_assert(same_words(keyed_find(a->text, &name), keyed_find(b->text, &name), 1));
		cr_assert(same_words(keyed_find(a->reduced, &number),
				     keyed_find(b->reduced, &number), 1));
		cr_assert(same_bytes(keyed_get_bytes(a->list, &name),
				     keyed_get_bytes(b->list, &name)));
		cr_assert(same_bytes(keyed_get_bytes(a->map, &number),
				     keyed_get_bytes(b->map, &number)));
	}
}

/* Move everything into a fresh store by way of a capture, after more changes beside it. */
static void move(struct bench *from, const struct backend_ops *ops, struct bench *to,
		 struct prng *prng, struct bench *also)
{
	struct keyed_state *states[5];
	struct keyed_capture *c;
	struct block block;
	unsigned state;

	open_all(to, ops);
	memcpy(states,
	       (struct keyed_state *[]){to->number, to->text, to->reduced, to->list, to->map},
	       sizeof(states));
	block_init(&block);
	cr_assert(not(keyed_capture_begin(from->keyed, &c, NULL)));
	for (unsigned i = 0; i < 300; i++) {
		uint64_t what = prng_below(prng, 9), k = prng_below(prng, KEYS),
			 v = prng_next(prng);

		change(from, what, k, v);
		if (also)
			change(also, what, k, v);
		if (i % 10 == 0 && keyed_capture_next(c, &state, &block))
			cr_assert(not(keyed_restore(states[state], &block, NULL)));
	}
	while (keyed_capture_next(c, &state, &block))
		cr_assert(not(keyed_restore(states[state], &block, NULL)));
	keyed_capture_end(c);
	keyed_poll(from->keyed);
	block_fini(&block);
}

Test(keyed, random_operations_agree)
{
	for (unsigned seed = 0; seed < 6; seed++) {
		struct bench a, b, a2, b2;
		struct prng prng, same;

		prng_init(&prng, seed);
		open_all(&a, &hashmap_backend);
		open_all(&b, &naive_backend);
		for (unsigned i = 0; i < 6000; i++) {
			uint64_t what = prng_below(&prng, 9), k = prng_below(&prng, KEYS),
				 v = prng_next(&prng);

			change(&a, what, k, v);
			change(&b, what, k, v);
		}
		compare(&a, &b);
		same = prng;
		move(&a, &naive_backend, &a2, &prng, NULL);
		move(&b, &hashmap_backend, &b2, &same, NULL);
		compare(&a, &b);
		compare(&a2, &b2);
		keyed_destroy(a.keyed);
		keyed_destroy(b.keyed);
		keyed_destroy(a2.keyed);
		keyed_destroy(b2.keyed);
	}
}

/* ---- growth, shrinking, tags ---- */

Test(keyed, grows_by_splits_and_forgets)
{
	enum { N = 200000 };
	struct backend_range one = {1, 0, 1};
	struct keyed_spec spec = {"n", KEYED_VALUE, KEYED_INT64, 1, NULL, NULL};
	struct keyed *k = keyed_create(&hashmap_backend, &one);
	struct keyed_state *s;

	cr_assert(not(keyed_open(k, &spec, &s, NULL)));
	for (int64_t i = 0; i < N; i++) {
		struct backend_key key = of_number(i);
		uint64_t v = (uint64_t)i * 3;

		keyed_put(s, &key, &v);
	}
	cr_assert(eq(u64, keyed_sizes(k).entries, N));
	cr_assert(lt(u64, keyed_sizes(k).bytes, (uint64_t)N * 40));
	for (int64_t i = 0; i < N; i++) {
		struct backend_key key = of_number(i);

		cr_assert(keyed_find(s, &key) && *keyed_find(s, &key) == (uint64_t)i * 3);
	}
	for (int64_t i = 0; i < N; i++) {
		struct backend_key key = of_number(i);

		cr_assert(keyed_remove(s, &key));
	}
	cr_assert(eq(u64, keyed_sizes(k).entries, 0));
	keyed_destroy(k);
}

Test(segment, tags_match_as_the_plain_way_does)
{
	struct prng prng;

	prng_init(&prng, 1);
	for (unsigned round = 0; round < 20000; round++) {
		_Alignas(64) struct bucket b = {0};
		uint64_t half[2];
		uint8_t t = (uint8_t)prng_below(&prng, 4);
		unsigned plain = 0;

		for (unsigned j = 0; j < SEGMENT_SLOTS; j++) {
			b.tag[j] = (uint8_t)(prng_chance(&prng, 500000) ? prng_below(&prng, 4)
									: prng_next(&prng));
			plain |= (unsigned)(b.tag[j] == t) << j;
		}
		b.ov = (uint8_t)prng_below(&prng, 4);
		memcpy(half, &b, sizeof(half));
		cr_assert(eq(uint, segment_match(&b, t), plain));
		cr_assert(eq(uint, segment_match_swar(half[0], half[1], t), plain));
	}
}
