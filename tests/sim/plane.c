#include "plane.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/mem.h"

enum { QUEUE_MAX = 24, CUT_US = 5000000, RUN_CHANNELS = PARALLELISM_MAX * PARALLELISM_MAX };

struct channel {
	struct plane_element at[QUEUE_MAX + 8];
	unsigned n;
	uint64_t last_us;
};

struct plane_run {
	struct list hook;
	struct plane *plane;
	char job[33];
	uint32_t region, attempt, sources, sinks;
	bool chained;
	unsigned members;
	uint64_t broken_us; /* when it will be noticed; 0: whole */
	uint64_t cut_us;    /* since when a link is cut; 0: none is */
	char source_node[PARALLELISM_MAX][16], sink_node[PARALLELISM_MAX][16];
	struct channel channels[RUN_CHANNELS];
};

struct plane {
	struct cluster *c;
	struct prng rng;
	uint64_t delay_us; /* most */
	struct list runs;
};

struct plane *plane_create(struct cluster *c)
{
	static const uint64_t delays[] = {500, 5000, 60000, 400000};
	struct plane *p = mem_alloc(sizeof(*p));
	p->c = c;
	list_init(&p->runs);
	prng_init(&p->rng, c->seed ^ UINT64_C(0x706c616e65));
	p->delay_us = delays[prng_below(&p->rng, 4)];
	return p;
}

void plane_destroy(struct plane *p)
{
	if (!p)
		return;
	list_each_safe (struct plane_run, r, &p->runs, hook)
		free(r);
	free(p);
}

struct plane_run *plane_join(struct plane *p, const char *job, uint32_t region, uint32_t attempt,
			     uint32_t sources, uint32_t sinks, bool chained)
{
	list_each (struct plane_run, r, &p->runs, hook) {
		if (r->region == region && r->attempt == attempt && strcmp(r->job, job) == 0) {
			r->members++;
			return r;
		}
	}
	struct plane_run *r = mem_alloc(sizeof(*r));
	assert(sources <= PARALLELISM_MAX && sinks <= PARALLELISM_MAX);
	r->plane = p;
	r->region = region;
	r->attempt = attempt;
	r->sources = sources;
	r->sinks = sinks;
	r->chained = chained;
	r->members = 1;
	snprintf(r->job, sizeof(r->job), "%s", job);
	list_append(&p->runs, &r->hook);
	return r;
}

static void break_run(struct plane_run *r)
{
	struct plane *p = r->plane;
	if (!r->broken_us)
		r->broken_us = sim_now_us(p->c->sim) + prng_between(&p->rng, 500, 50000);
}

void plane_leave(struct plane_run *r, bool died)
{
	if (died)
		break_run(r);
	if (--r->members)
		return;
	list_remove(&r->hook);
	free(r);
}

void plane_host_source(struct plane_run *r, uint32_t source, const char *node)
{
	snprintf(r->source_node[source], sizeof(r->source_node[0]), "%s", node);
}

void plane_host_sink(struct plane_run *r, uint32_t sink, const char *node)
{
	snprintf(r->sink_node[sink], sizeof(r->sink_node[0]), "%s", node);
}

static struct channel *channel_of(struct plane_run *r, uint32_t source, uint32_t sink)
{
	return &r->channels[source * PARALLELISM_MAX + sink];
}

static bool joined(const struct plane_run *r, uint32_t source, uint32_t sink)
{
	return !r->chained || source == sink;
}

bool plane_full(const struct plane_run *r, uint32_t source)
{
	for (uint32_t k = 0; k < r->sinks; k++)
		if (joined(r, source, k) &&
		    r->channels[source * PARALLELISM_MAX + k].n >= QUEUE_MAX)
			return true;
	return false;
}

static void push(struct plane_run *r, uint32_t source, uint32_t sink, struct plane_element e)
{
	struct channel *ch = channel_of(r, source, sink);
	if (ch->n == sizeof(ch->at) / sizeof(ch->at[0]))
		return; /* a broken run that nobody reads */
	uint64_t delay_us = r->chained ? 0 : prng_below(&r->plane->rng, r->plane->delay_us);
	e.ready_us = sim_now_us(r->plane->c->sim) + delay_us;
	if (e.ready_us < ch->last_us)
		e.ready_us = ch->last_us;
	ch->last_us = e.ready_us;
	ch->at[ch->n++] = e;
}

void plane_emit(struct plane_run *r, uint32_t source, uint64_t from, uint64_t to)
{
	for (uint32_t k = 0; k < r->sinks; k++)
		if (joined(r, source, k))
			push(r, source, k, (struct plane_element){.from = from, .to = to});
}

void plane_barrier(struct plane_run *r, uint32_t source, uint64_t checkpoint)
{
	for (uint32_t k = 0; k < r->sinks; k++)
		if (joined(r, source, k))
			push(r, source, k, (struct plane_element){.checkpoint = checkpoint});
}

const struct plane_element *plane_peek(struct plane_run *r, uint32_t source, uint32_t sink)
{
	struct channel *ch = channel_of(r, source, sink);
	const char *from = r->source_node[source], *to = r->sink_node[sink];
	struct sim *s = r->plane->c->sim;
	uint64_t now_us = sim_now_us(s);
	if (ch->n == 0 || ch->at[0].ready_us > now_us)
		return NULL;
	if (from[0] && to[0] && strcmp(from, to) != 0 && sim_is_cut_between(s, from, to)) {
		if (!r->cut_us)
			r->cut_us = now_us;
		if (now_us - r->cut_us > CUT_US)
			break_run(r);
		return NULL;
	}
	r->cut_us = 0;
	return &ch->at[0];
}

void plane_take(struct plane_run *r, uint32_t source, uint32_t sink)
{
	struct channel *ch = channel_of(r, source, sink);
	memmove(ch->at, ch->at + 1, --ch->n * sizeof(ch->at[0]));
}

bool plane_broken(struct plane_run *r)
{
	return r->broken_us && sim_now_us(r->plane->c->sim) >= r->broken_us;
}
