/*
 * bench_state - the hashmap backend by itself: updates per second, and what a
 * snapshot costs.
 *
 *   bench_state                      int64 and string keys; 1e3, 1e6, 1e7 distinct
 *   bench_state KEYS KIND [WORDS [N [WORK]]]
 *       one case: KIND is int or string, values of WORDS words (1), N snapshots (2), and
 *       WORK multiplications per update (0) in the place of what else a task does for a row
 *
 * Each line: M updates per second of the task thread's own CPU time (wall time
 * would measure who else runs here) without a snapshot; size; the synchronous
 * part in us; the capture (walk and packing, nothing stored) in s, and in CPU s
 * per GiB; M updates per CPU second during it and as a share, and the same
 * share in wall time. Keys are uniform.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "base/prng.h"
#include "state/hashmap.h"
#include "state/keyed.h"
#include "state/keyhash.h"
#include "state/object.h"

enum { GROUPS = 128, TEXT = 16 };

struct bench {
	struct keyed *keyed;
	struct keyed_state *state;
	struct prng prng;
	uint64_t n_keys;
	bool text;
	unsigned words, work;
	uint64_t sink; /* what the work came to */
};

struct reader {
	struct keyed_capture *capture;
	struct object_sink sink;
	struct object_state state;
	struct object_summary summary;
	double cpu_s;
	bool done; /* atomic */
};

/* Updates per second. */
struct rate {
	double wall, cpu;
};

static double seconds(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double now_s(void)
{
	return seconds(CLOCK_MONOTONIC);
}

static double cpu_s(void)
{
	return seconds(CLOCK_THREAD_CPUTIME_ID);
}

static void update(struct bench *b, const uint64_t *numbers)
{
	char texts[KEYED_WINDOW][TEXT];
	struct backend_bytes bytes[KEYED_WINDOW];
	int64_t keys[KEYED_WINDOW];
	uint64_t hashes[KEYED_WINDOW];

	for (unsigned i = 0; i < KEYED_WINDOW; i++) {
		if (!b->text) {
			keys[i] = (int64_t)numbers[i];
			hashes[i] = keyhash_int64(keys[i]);
			continue;
		}
		/* "u00000001", in hexadecimal: cheap to make */
		memcpy(texts[i], "u00000000", 10);
		for (unsigned k = 0; k < 8; k++)
			texts[i][8 - k] = (char)('a' + (numbers[i] >> 4 * k & 15));
		bytes[i] = (struct backend_bytes){texts[i], 9};
		hashes[i] = keyhash_bytes(texts[i], 9);
	}
	for (unsigned at = 0; at < KEYED_WINDOW;) {
		uint64_t *value[KEYED_WINDOW], created;
		unsigned n = KEYED_WINDOW - at;
		unsigned got = b->text ? keyed_upsert_bytes(b->state, bytes + at, hashes + at, n,
							    value, &created)
				       : keyed_upsert_i64(b->state, keys + at, hashes + at, n,
							  value, &created);

		for (unsigned i = 0; i < got; i++)
			for (unsigned k = 0; k < b->words; k++)
				keyed_set(&value[i][k], value[i][k] + k + 1);
		at += got;
	}
}

static void update_random(struct bench *b)
{
	uint64_t numbers[KEYED_WINDOW];

	for (unsigned i = 0; i < KEYED_WINDOW; i++) {
		uint64_t x = prng_next(&b->prng);

		numbers[i] = (x >> 32) * b->n_keys >> 32;
		for (unsigned k = 0; k < b->work; k++)
			x = x * x + k;
		b->sink += x;
	}
	update(b, numbers);
}

static void fill(struct bench *b)
{
	uint64_t numbers[KEYED_WINDOW];

	for (uint64_t k = 0; k < b->n_keys; k += KEYED_WINDOW) {
		for (uint64_t i = 0; i < KEYED_WINDOW; i++)
			numbers[i] = (k + i) % b->n_keys;
		update(b, numbers);
	}
}

static struct rate rate(struct bench *b, double lasting)
{
	double begin = now_s(), cpu = cpu_s(), end;
	uint64_t n = 0;

	do {
		for (unsigned i = 0; i < 200; i++)
			update_random(b);
		n += 200 * KEYED_WINDOW;
		end = now_s();
	} while (end - begin < lasting);
	return (struct rate){(double)n / (end - begin), (double)n / (cpu_s() - cpu)};
}

static enum errc discard(struct object_sink *s, const void *data, size_t len, struct err *e)
{
	(void)s, (void)data, (void)len, (void)e;
	return ERR_OK;
}

static void *read_capture(void *arg)
{
	struct reader *r = arg;
	struct object_writer *w = NULL;
	struct block block;
	unsigned state, id;

	block_init(&block);
	if (object_writer_create(&r->sink, &w, NULL) ||
	    object_writer_state(w, &r->state, &id, NULL))
		abort();
	while (keyed_capture_next(r->capture, &state, &block))
		if (object_writer_block(w, id, &block, NULL))
			abort();
	keyed_capture_end(r->capture);
	if (object_writer_finish(w, &r->summary, NULL))
		abort();
	object_writer_destroy(w);
	block_fini(&block);
	r->cpu_s = cpu_s();
	__atomic_store_n(&r->done, true, __ATOMIC_RELEASE);
	return NULL;
}

static void snapshot(struct bench *b, struct rate base)
{
	struct reader r = {.sink.write = discard,
			   .state = {.uid = "bench", .name = "count", .max_parallelism = GROUPS}};
	double gib = (double)keyed_sizes(b->keyed).bytes / (1 << 30);
	double begin, synced, end, cpu;
	struct rate during;
	pthread_t thread;
	uint64_t n = 0;

	keyed_layout(keyed_spec_at(b->keyed, 0), &r.state.layout);
	begin = now_s();
	if (keyed_capture_begin(b->keyed, &r.capture, NULL))
		abort();
	synced = now_s();
	if (pthread_create(&thread, NULL, read_capture, &r))
		abort();
	cpu = cpu_s();
	do {
		update_random(b);
		n += KEYED_WINDOW;
	} while (!__atomic_load_n(&r.done, __ATOMIC_ACQUIRE));
	end = now_s();
	during = (struct rate){(double)n / (end - synced), (double)n / (cpu_s() - cpu)};
	pthread_join(thread, NULL);
	printf("  %-6s %9llu keys: %5.1f M/s, %7.1f MiB (%4.1f B/key, %4.1f more for it); sync "
	       "%5.1f us, capture %6.3f s (%.2f CPU s/GiB), object %6.1f MiB; during %5.1f M/s = "
	       "%3.0f %% (wall: %3.0f %%)\n",
	       b->text ? "string" : "int", (unsigned long long)b->n_keys, base.cpu * 1e-6,
	       gib * 1024, gib * (1 << 30) / (double)b->n_keys,
	       (double)keyed_sizes(b->keyed).bytes / (1 << 20) - gib * 1024, (synced - begin) * 1e6,
	       end - synced, r.cpu_s / gib, (double)r.summary.bytes / (1 << 20), during.cpu * 1e-6,
	       during.cpu / base.cpu * 100, during.wall / base.wall * 100);
	fflush(stdout);
	keyed_poll(b->keyed);
}

static void run(struct bench *b, unsigned snapshots)
{
	const struct backend_range range = {GROUPS, 0, GROUPS};
	struct keyed_spec spec = {.name = "count",
				  .kind = KEYED_VALUE,
				  .key = b->text ? KEYED_STRING : KEYED_INT64,
				  .words = b->words};

	prng_init(&b->prng, 1);
	b->keyed = keyed_create(&hashmap_backend, &range);
	if (keyed_open(b->keyed, &spec, &b->state, NULL))
		abort();
	fill(b);
	rate(b, 0.2);
	while (snapshots--)
		snapshot(b, rate(b, 0.5));
	keyed_destroy(b->keyed);
}

static unsigned number(int argc, char **argv, int at, unsigned otherwise)
{
	return argc > at ? (unsigned)strtoul(argv[at], NULL, 10) : otherwise;
}

int main(int argc, char **argv)
{
	static const uint64_t sizes[] = {1000, 1000000, 10000000};

	if (argc >= 3) {
		struct bench b = {.n_keys = strtoull(argv[1], NULL, 10),
				  .text = argv[2][0] == 's',
				  .words = number(argc, argv, 3, 1),
				  .work = number(argc, argv, 5, 0)};
		run(&b, number(argc, argv, 4, 2));
		return 0;
	}
	for (unsigned text = 0; text < 2; text++)
		for (unsigned i = 0; i < 3; i++) {
			struct bench b = {.n_keys = sizes[i], .text = text, .words = 1};
			run(&b, 2);
		}
	return 0;
}
