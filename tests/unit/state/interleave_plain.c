/*
 * The reader of a snapshot stepped between any two steps of the writer, on one
 * thread: the sources are compiled in here with STATE_STEP() as the points at
 * which the other one may run. The reader is a coroutine; at each step of
 * either, a seed decides who goes on. What real threads show once in a billion
 * is so met within a second, and repeated exactly.
 *
 * usage: interleave_plain [first seed [seeds]]
 */
#include <stdbool.h>

static void step(void);
#define STATE_STEP() step()

/* What is defined here is not taken from the library. */
#include "state/table.c"
#include "state/walk.c"

#include <stdio.h>
#include <ucontext.h>

#include "base/prng.h"
#include "state/hashmap.h"
#include "state/keyhash.h"

enum { KEYS = 1000, STACK = 256 << 10 };

struct play {
	ucontext_t writer, reader;
	bool in_reader, reading;
	struct prng prng;
	unsigned chance; /* of a switch, per million */
	struct backend_capture *capture;
	uint64_t seen[2][KEYS]; /* value + 1 */
	const char *wrong;
	uint64_t switches;
};

static const struct backend_ops *const ops = &hashmap_backend;

/* The one stage: step() has no argument. */
static struct play stage;

static void step(void)
{
	if (!stage.reading || !prng_chance(&stage.prng, stage.chance))
		return;
	stage.switches++;
	stage.in_reader = !stage.in_reader;
	if (stage.in_reader)
		swapcontext(&stage.writer, &stage.reader);
	else
		swapcontext(&stage.reader, &stage.writer);
}

static void see(unsigned state, uint64_t key, uint64_t value)
{
	uint64_t *seen = key < KEYS ? &stage.seen[state][key] : NULL;

	if (!seen)
		stage.wrong = "a key that was never there";
	else if (*seen && *seen != value + 1)
		stage.wrong = "two different copies of one key";
	else
		*seen = value + 1;
}

static void read_capture(void)
{
	struct block b;
	unsigned state;

	block_init(&b);
	while (ops->capture_next(stage.capture, &state, &b)) {
		const char *heap = b.heap.data;

		for (uint32_t i = 0; i < b.rows; i++) {
			const uint64_t *row = b.words + (size_t)i * b.n_words;
			uint64_t value;

			if (state == 0) {
				if (row[1] != ~row[2])
					stage.wrong = "half a value";
				see(0, row[0], row[1]);
				continue;
			}
			memcpy(&value, heap, sizeof(value));
			heap += row[1];
			see(1, row[0], value);
		}
	}
	ops->capture_end(stage.capture);
	block_fini(&b);
	stage.reading = false;
	stage.in_reader = false;
	swapcontext(&stage.reader, &stage.writer);
}

/* ---- the writer ---- */

struct model {
	struct backend *store;
	struct backend_state *numbers, *texts;
	uint64_t number[KEYS], text[KEYS]; /* value + 1, 0 absent */
	uint64_t at_barrier[2][KEYS];
};

/* Three home buckets for all: they overflow, and segments are split long before they are full. */
static uint64_t crowded(const struct backend_key *key)
{
	uint64_t h = keyhash_int64(key->number);

	return (h & ~(uint64_t)0x3f00) | (uint64_t)(key->number % 3) << 8;
}

static void write_number(struct model *m, uint64_t k, uint64_t v)
{
	struct backend_key key = {.number = (int64_t)k};
	int64_t number = (int64_t)k;
	uint64_t *slot, created, hash = crowded(&key);

	ops->upsert_i64(m->numbers, &number, &hash, 1, &slot, &created);
	if ((slot[0] + 1 != m->number[k] && !created) || (created != 0) != !m->number[k])
		stage.wrong = "the writer's own value is gone";
	word_store(&slot[0], v);
	step();
	word_store(&slot[1], ~v);
	step();
	m->number[k] = v + 1;
}

static void write_text(struct model *m, uint64_t k, uint64_t v)
{
	struct backend_key key = {.number = (int64_t)k};
	uint64_t bytes[4] = {v, v, v, v};

	key.hash = crowded(&key);
	ops->put(m->texts, &key, (struct backend_bytes){bytes, (uint32_t)(8 + v % 24)});
	m->text[k] = v + 1;
}

static void write_one(struct model *m)
{
	uint64_t k = prng_below(&stage.prng, KEYS), v = prng_below(&stage.prng, 1000);
	struct backend_key key = {.number = (int64_t)k};

	key.hash = crowded(&key);
	switch (prng_below(&stage.prng, 6)) {
	case 0:
		if (ops->remove(m->numbers, &key) != (m->number[k] != 0))
			stage.wrong = "a removal that disagrees";
		m->number[k] = 0;
		break;
	case 1:
		if (ops->remove(m->texts, &key) != (m->text[k] != 0))
			stage.wrong = "a removal that disagrees";
		m->text[k] = 0;
		break;
	case 2:
	case 3:
		write_text(m, k, v);
		break;
	default:
		write_number(m, k, v);
	}
	ops->poll(m->store);
}

static void one_capture(struct model *m, char *stack)
{
	memcpy(m->at_barrier[0], m->number, sizeof(m->number));
	memcpy(m->at_barrier[1], m->text, sizeof(m->text));
	memset(stage.seen, 0, sizeof(stage.seen));
	stage.capture = ops->capture_begin(m->store);
	getcontext(&stage.reader);
	stage.reader.uc_stack.ss_sp = stack;
	stage.reader.uc_stack.ss_size = STACK;
	makecontext(&stage.reader, read_capture, 0);
	stage.reading = true;
	while (stage.reading && !stage.wrong) {
		write_one(m);
		step();
	}
	if (!stage.wrong && memcmp(stage.seen, m->at_barrier, sizeof(stage.seen)) != 0)
		stage.wrong = "the capture is not the state at the barrier";
}

static bool one_seed(uint64_t seed, char *stack)
{
	const struct backend_range range = {2, 0, 2};
	const struct block_layout number = {.value_words = 2}, text = {.value_bytes = true};
	struct model *m = mem_alloc(sizeof(*m));

	memset(&stage, 0, sizeof(stage));
	prng_init(&stage.prng, seed);
	stage.chance = (unsigned)prng_between(&stage.prng, 20000, 500000);
	m->store = ops->create(&range);
	m->numbers = ops->open(m->store, &number, crowded);
	m->texts = ops->open(m->store, &text, crowded);
	for (unsigned i = 0; i < 6 && !stage.wrong; i++) {
		for (uint64_t k = prng_below(&stage.prng, 1500); k; k--)
			write_one(m);
		one_capture(m, stack);
	}
	if (stage.wrong) {
		printf("seed %llu: %s\n", (unsigned long long)seed, stage.wrong);
		return false; /* the store may be beyond destroying */
	}
	ops->destroy(m->store);
	free(m);
	return true;
}

int main(int argc, char **argv)
{
	uint64_t first = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
	uint64_t n = argc > 2 ? strtoull(argv[2], NULL, 10) : 250;
	char *stack = mem_array(1, STACK);
	bool ok = true;

	for (uint64_t seed = first; ok && seed < first + n; seed++)
		ok = one_seed(seed, stack);
	if (ok)
		printf("%llu seeds, each capture was exactly the state at its barrier\n",
		       (unsigned long long)n);
	free(stack);
	return ok ? 0 : 1;
}
