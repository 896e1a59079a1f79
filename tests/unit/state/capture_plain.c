/*
 * Captures under a writer that does not stop: at each barrier the writer notes
 * how many entries there are and a sum over all of them; the snapshot thread,
 * running at the same time, must find exactly that. A plain program, so that
 * ThreadSanitizer can watch it.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/prng.h"
#include "state/hashmap.h"
#include "state/keyed.h"
#include "state/keyhash.h"

enum { KEYS = 60000, GROUPS = 16, TEXT_MAX = 40, CAPTURES = 25, PAYLOAD_MAX = 100 };

struct sums {
	uint64_t count[2], sum[2]; /* of the numbers state, of the texts state */
};

struct writer {
	struct keyed *keyed;
	struct keyed_state *numbers, *texts;
	struct prng prng;
	struct sums now;
	uint64_t number[KEYS]; /* the model: version of the key, 0 absent */
	uint32_t text[KEYS];
};

struct reader {
	struct keyed_capture *capture;
	struct sums found;
	uint64_t seen[2][KEYS]; /* the entry's sum, 0 absent */
	uint64_t twice;
	bool give_up, done; /* done: atomic */
	const char *wrong;
};

static uint64_t mix(uint64_t a, uint64_t b)
{
	uint64_t both[2] = {a, b};

	return keyhash_bytes(both, sizeof(both)) | 1;
}

static struct backend_key text_key(uint32_t k, char *text)
{
	struct backend_key key = {0};
	size_t len = (size_t)snprintf(text, TEXT_MAX, "k%u", k) + k % 24;

	memset(text + strlen(text), 'x', len - strlen(text));
	key.bytes = (struct backend_bytes){text, (uint32_t)len};
	key.hash = keyhash_of(&key);
	return key;
}

/* The payload of a version: its length and bytes follow from key and version. */
static uint32_t payload(uint32_t k, uint32_t version, char *out)
{
	uint32_t len = 4 + (k + version * 7) % (PAYLOAD_MAX - 4);

	memset(out, (int)(version & 127), len);
	memcpy(out, &version, 4);
	return len;
}

/* ---- writer ---- */

static void upsert_numbers(struct writer *w, unsigned n)
{
	int64_t keys[KEYED_WINDOW];
	uint64_t hashes[KEYED_WINDOW];

	for (unsigned i = 0; i < n; i++) {
		keys[i] = (int64_t)prng_below(&w->prng, KEYS);
		hashes[i] = keyhash_int64(keys[i]);
	}
	for (unsigned at = 0; at < n;) {
		uint64_t *value[KEYED_WINDOW], created;
		unsigned got = keyed_upsert_i64(w->numbers, keys + at, hashes + at, n - at, value,
						&created);

		for (unsigned i = 0; i < got; i++) {
			uint64_t *model = &w->number[keys[at + i]];

			if (value[i][0] != *model || (created >> i & 1) != !*model)
				abort();
			if (*model)
				w->now.sum[0] -= mix((uint64_t)keys[at + i], *model);
			else
				w->now.count[0]++;
			++*model;
			keyed_set(&value[i][0], *model);
			keyed_set(&value[i][1], ~*model);
			w->now.sum[0] += mix((uint64_t)keys[at + i], *model);
		}
		at += got;
	}
}

static void remove_number(struct writer *w)
{
	int64_t k = (int64_t)prng_below(&w->prng, KEYS);
	struct backend_key key = {.number = k, .hash = keyhash_int64(k)};
	bool was = keyed_remove(w->numbers, &key);

	if (was != (w->number[k] != 0))
		abort();
	if (was) {
		w->now.count[0]--;
		w->now.sum[0] -= mix((uint64_t)k, w->number[k]);
		w->number[k] = 0;
	}
}

static void change_text(struct writer *w)
{
	uint32_t k = (uint32_t)prng_below(&w->prng, KEYS);
	uint32_t old = w->text[k];
	char text[TEXT_MAX * 2], bytes[PAYLOAD_MAX];
	struct backend_key key = text_key(k, text);

	if (old) {
		w->now.sum[1] -= mix(k, old);
		w->now.count[1]--;
	}
	if (old && prng_chance(&w->prng, 100000)) {
		if (!keyed_remove(w->texts, &key))
			abort();
		w->text[k] = 0;
		return;
	}
	w->text[k] = old + 1 + (uint32_t)prng_below(&w->prng, 3);
	if (keyed_put_bytes(w->texts, &key,
			    (struct backend_bytes){bytes, payload(k, w->text[k], bytes)}, NULL))
		abort();
	w->now.sum[1] += mix(k, w->text[k]);
	w->now.count[1]++;
}

static void write_some(struct writer *w)
{
	upsert_numbers(w, (unsigned)prng_between(&w->prng, 1, KEYED_WINDOW));
	for (unsigned i = 0; i < 4; i++)
		remove_number(w);
	for (unsigned i = 0; i < 16; i++)
		change_text(w);
	keyed_poll(w->keyed);
}

/* ---- reader ---- */

static void see(struct reader *r, unsigned state, uint64_t k, uint64_t sum)
{
	if (k >= KEYS) {
		r->wrong = "a key that was never there";
		return;
	}
	if (r->seen[state][k]) {
		r->twice++;
		if (r->seen[state][k] != sum)
			r->wrong = "two different copies of one key";
		return;
	}
	r->seen[state][k] = sum;
	r->found.count[state]++;
	r->found.sum[state] += sum;
}

static void see_number(struct reader *r, const uint64_t *row)
{
	if (row[1] != ~row[2])
		r->wrong = "half a value";
	see(r, 0, row[0], mix(row[0], row[1]));
}

/* The number in a key "k12xxx". No zero byte ends it: the value follows, and may be digits. */
static uint32_t key_number(const char *key, uint64_t len)
{
	uint32_t k = 0;

	for (uint64_t i = 1; i < len && key[i] != 'x'; i++)
		k = k * 10 + (uint32_t)(key[i] - '0');
	return k;
}

static void see_text(struct reader *r, const char *key, uint64_t key_len, const char *value,
		     uint64_t len)
{
	char expected[PAYLOAD_MAX];
	uint32_t k = key_number(key, key_len), version;

	memcpy(&version, value, 4);
	if (len != payload(k, version, expected) || memcmp(expected, value, len) != 0)
		r->wrong = "a damaged value of bytes";
	see(r, 1, k, mix(k, version));
}

static void see_block(struct reader *r, unsigned state, const struct block *b)
{
	const char *heap = b->heap.data;

	for (uint32_t i = 0; i < b->rows; i++) {
		const uint64_t *row = b->words + (size_t)i * b->n_words;

		if (state == 0) {
			see_number(r, row);
			continue;
		}
		see_text(r, heap, row[0], heap + row[0], row[1]);
		heap += row[0] + row[1];
	}
}

static void *read_all(void *arg)
{
	struct reader *r = arg;
	struct block b;
	unsigned state, blocks = 0;

	block_init(&b);
	while (keyed_capture_next(r->capture, &state, &b)) {
		see_block(r, state, &b);
		if (r->give_up && ++blocks > 20)
			break;
	}
	keyed_capture_end(r->capture);
	block_fini(&b);
	__atomic_store_n(&r->done, true, __ATOMIC_RELEASE);
	return NULL;
}

/* ---- one capture ---- */

static bool check(const struct reader *r, const struct sums *expected, unsigned round)
{
	if (!r->wrong && r->give_up)
		return true;
	if (!r->wrong && !memcmp(&r->found, expected, sizeof(*expected)))
		return true;
	printf("capture %u: %s: %" PRIu64 "+%" PRIu64 " entries, expected %" PRIu64 "+%" PRIu64
	       "\n",
	       round, r->wrong ? r->wrong : "other entries", r->found.count[0], r->found.count[1],
	       expected->count[0], expected->count[1]);
	return false;
}

static bool capture_once(struct writer *w, unsigned round)
{
	struct reader *r = mem_alloc(sizeof(*r));
	struct sums expected = w->now;
	pthread_t thread;
	uint64_t writes = 0;
	bool ok;

	r->give_up = round % 5 == 3;
	if (keyed_capture_begin(w->keyed, &r->capture, NULL))
		abort();
	if (pthread_create(&thread, NULL, read_all, r))
		abort();
	while (!__atomic_load_n(&r->done, __ATOMIC_ACQUIRE) || writes < 20) {
		write_some(w);
		writes++;
	}
	pthread_join(thread, NULL);
	ok = check(r, &expected, round);
	printf("capture %u: %" PRIu64 "+%" PRIu64 " entries, %" PRIu64 " twice, %" PRIu64
	       " batches beside it\n",
	       round, expected.count[0], expected.count[1], r->twice, writes);
	free(r);
	return ok;
}

int main(void)
{
	struct backend_range range = {.max_parallelism = GROUPS, .first = 0, .end = GROUPS};
	struct keyed_spec numbers = {
		.name = "numbers", .kind = KEYED_VALUE, .key = KEYED_INT64, .words = 2};
	struct keyed_spec texts = {.name = "texts", .kind = KEYED_BYTES, .key = KEYED_STRING};
	struct writer *w = mem_alloc(sizeof(*w));
	bool ok = true;

	prng_init(&w->prng, 7);
	w->keyed = keyed_create(&hashmap_backend, &range);
	if (keyed_open(w->keyed, &numbers, &w->numbers, NULL) ||
	    keyed_open(w->keyed, &texts, &w->texts, NULL))
		abort();
	for (unsigned i = 0; i < CAPTURES && ok; i++) {
		for (unsigned k = 0; k < i * 20; k++)
			write_some(w);
		ok = capture_once(w, i);
	}
	keyed_destroy(w->keyed);
	free(w);
	return ok ? 0 : 1;
}
