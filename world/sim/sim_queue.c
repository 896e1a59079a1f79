/* The queue of events, running, the trace and its hash. */
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "world/sim/sim_impl.h"

/* ---- the queue: a binary heap by (time, seq) ---- */

static bool before(const struct sim_event *a, const struct sim_event *b)
{
	return a->at_us != b->at_us ? a->at_us < b->at_us : a->seq < b->seq;
}

static void place(struct sim_queue *q, size_t i, struct sim_event *e)
{
	q->at[i] = e;
	e->slot = i + 1;
}

static void sift_up(struct sim_queue *q, size_t i, struct sim_event *e)
{
	while (i > 0 && before(e, q->at[(i - 1) / 2])) {
		place(q, i, q->at[(i - 1) / 2]);
		i = (i - 1) / 2;
	}
	place(q, i, e);
}

static void sift_down(struct sim_queue *q, size_t i, struct sim_event *e)
{
	for (;;) {
		size_t child = 2 * i + 1;
		if (child >= q->n)
			break;
		if (child + 1 < q->n && before(q->at[child + 1], q->at[child]))
			child++;
		if (!before(q->at[child], e))
			break;
		place(q, i, q->at[child]);
		i = child;
	}
	place(q, i, e);
}

void sim_schedule(struct sim *s, struct sim_event *e, uint64_t at_us)
{
	struct sim_queue *q = &s->queue;
	sim_unschedule(s, e);
	if (q->n == q->capacity) {
		q->capacity = q->capacity ? 2 * q->capacity : 256;
		q->at = mem_resize(q->at, q->capacity, sizeof(struct sim_event *));
	}
	e->at_us = at_us < s->now_us ? s->now_us : at_us;
	e->seq = q->seq++;
	sift_up(q, q->n++, e);
}

void sim_unschedule(struct sim *s, struct sim_event *e)
{
	struct sim_queue *q = &s->queue;
	if (e->slot == 0)
		return;
	size_t i = e->slot - 1;
	assert(i < q->n && q->at[i] == e);
	e->slot = 0;
	struct sim_event *last = q->at[--q->n];
	if (last == e)
		return;
	if (i > 0 && before(last, q->at[(i - 1) / 2]))
		sift_up(q, i, last);
	else
		sift_down(q, i, last);
}

/* ---- running ---- */

uint64_t sim_now_us(const struct sim *s)
{
	return s->now_us;
}

uint64_t sim_events(const struct sim *s)
{
	return s->n_events;
}

bool sim_step(struct sim *s)
{
	if (s->queue.n == 0)
		return false;
	struct sim_event *e = s->queue.at[0];
	sim_unschedule(s, e);
	s->now_us = e->at_us;
	s->n_events++;
	e->run(s, e);
	if (s->watch && s->watch->on_event)
		s->watch->on_event(s->watch);
	return true;
}

static bool due(const struct sim *s, uint64_t end_us)
{
	return s->queue.n > 0 && s->queue.at[0]->at_us <= end_us;
}

void sim_run_for(struct sim *s, uint64_t ms)
{
	uint64_t end_us = s->now_us + ms * 1000;
	while (due(s, end_us))
		sim_step(s);
	s->now_us = end_us;
}

bool sim_run_until(struct sim *s, const bool *flag, uint64_t ms)
{
	uint64_t end_us = s->now_us + ms * 1000;
	while (!*flag && due(s, end_us))
		sim_step(s);
	if (!*flag)
		s->now_us = end_us;
	return *flag;
}

struct planned {
	struct sim_event event;
	void (*fn)(void *ctx);
	void *ctx;
};

static void drop_planned(struct sim_event *e)
{
	free(MEM_OWNER(e, struct planned, event));
}

static void run_planned(struct sim *s, struct sim_event *e)
{
	(void)s;
	struct planned *p = MEM_OWNER(e, struct planned, event);
	void (*fn)(void *ctx) = p->fn;
	void *ctx = p->ctx;
	free(p);
	fn(ctx);
}

void sim_at(struct sim *s, uint64_t ms, void (*fn)(void *ctx), void *ctx)
{
	struct planned *p = mem_alloc(sizeof(*p));
	*p = (struct planned){
		.event = {.run = run_planned, .drop = drop_planned}, .fn = fn, .ctx = ctx};
	sim_schedule(s, &p->event, s->now_us + ms * 1000);
}

/* ---- the trace ---- */

void sim_mix(struct sim *s, const void *data, size_t len)
{
	XXH3_64bits_update(s->hash, &s->now_us, sizeof(s->now_us));
	XXH3_64bits_update(s->hash, data, len);
}

uint64_t sim_hash(const struct sim *s)
{
	return XXH3_64bits_digest(s->hash);
}

void sim_note(struct sim *s, const char *node, enum log_level level, const char *text)
{
	sim_mix(s, node, strlen(node));
	sim_mix(s, text, strlen(text));
	if (s->trace && level <= s->trace_level)
		s->trace->line(s->trace, s->now_us, node, level, text);
}

void sim_set_trace(struct sim *s, struct sim_trace *t, enum log_level up_to)
{
	s->trace = t;
	s->trace_level = up_to;
}

void sim_set_watch(struct sim *s, struct sim_watch *t)
{
	s->watch = t;
}

void sim_narrate(struct sim *s, const char *fmt, ...)
{
	char text[1024];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	sim_note(s, "sim", LOG_LEVEL_INFO, text);
}

void sim_trace_format(struct buf *out, uint64_t at_us, const char *node, const char *text)
{
	buf_printf(out, "[%3llu.%03us] %s %s\n", (unsigned long long)(at_us / 1000000),
		   (unsigned)(at_us / 1000 % 1000), node, text);
}

/* ---- knobs ---- */

struct sim_knobs sim_knobs_calm(void)
{
	return (struct sim_knobs){
		.delay_min_us = 100, .delay_max_us = 400, .work_min_us = 500, .work_max_us = 2000};
}

/* Swarm testing: each seed has its own weather, and most kinds of trouble are off in most seeds,
 * so that each gets to act without the others hiding it. */
struct sim_knobs sim_knobs_of_seed(uint64_t seed)
{
	struct prng p;
	struct sim_knobs k = sim_knobs_calm();
	prng_init(&p, seed ^ UINT64_C(0x6b6e6f6273));
	k.delay_min_us = (uint32_t)prng_between(&p, 20, 500);
	k.delay_max_us = k.delay_min_us + (uint32_t)prng_between(&p, 100, 20000);
	if (prng_chance(&p, 400000)) {
		k.spike_ppm = (uint32_t)prng_between(&p, 100, 20000);
		k.spike_us = (uint32_t)prng_between(&p, 10000, 1500000);
	}
	if (prng_chance(&p, 500000))
		k.lost_before_ppm = (uint32_t)prng_between(&p, 100, 50000);
	if (prng_chance(&p, 500000))
		k.lost_after_ppm = (uint32_t)prng_between(&p, 100, 50000);
	if (prng_chance(&p, 300000))
		k.stream_break_ppm = (uint32_t)prng_between(&p, 100, 5000);
	if (prng_chance(&p, 300000))
		k.kill_ppm = (uint32_t)prng_between(&p, 10, 2000);
	if (prng_chance(&p, 500000))
		k.drift_ppm_max = (uint32_t)prng_between(&p, 10, 50000);
	k.work_max_us = (uint32_t)prng_between(&p, 1000, 200000);
	return k;
}

void sim_knobs_print(const struct sim_knobs *k, struct buf *out)
{
	buf_printf(out,
		   "delay=%u..%uus spike=%uppm/%uus lost-before=%uppm lost-after=%uppm "
		   "stream-break=%uppm kill=%uppm drift=%uppm work=%u..%uus",
		   k->delay_min_us, k->delay_max_us, k->spike_ppm, k->spike_us, k->lost_before_ppm,
		   k->lost_after_ppm, k->stream_break_ppm, k->kill_ppm, k->drift_ppm_max,
		   k->work_min_us, k->work_max_us);
}
