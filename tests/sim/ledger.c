#include "ledger.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/mem.h"
#include "check.h"

struct entry {
	struct list hook;
	struct ledger_name name;
	enum ledger_state state;
	struct ledger_range *ranges; /* owns */
	unsigned n;
	uint32_t n_sinks; /* 0: chained */
};

/* What is visible of one source subtask. */
struct shown {
	struct list hook;
	char job[33];
	uint32_t region, source;
	uint8_t *at; /* owns: one byte per record */
	uint64_t capacity;
};

struct ledger {
	struct cluster *c;
	struct list entries, shown;
	uint64_t total;
};

struct ledger *ledger_create(struct cluster *c)
{
	struct ledger *l = mem_alloc(sizeof(*l));
	l->c = c;
	list_init(&l->entries);
	list_init(&l->shown);
	return l;
}

void ledger_destroy(struct ledger *l)
{
	if (!l)
		return;
	list_each_safe (struct entry, e, &l->entries, hook) {
		free(e->ranges);
		free(e);
	}
	list_each_safe (struct shown, s, &l->shown, hook) {
		free(s->at);
		free(s);
	}
	free(l);
}

static bool same_sink(const struct ledger_name *a, const struct ledger_name *b)
{
	return a->sink == b->sink && a->region == b->region && strcmp(a->job, b->job) == 0;
}

static bool same(const struct ledger_name *a, const struct ledger_name *b)
{
	return a->checkpoint == b->checkpoint && a->attempt == b->attempt && same_sink(a, b);
}

static struct entry *find(const struct ledger *l, const struct ledger_name *name)
{
	list_each (struct entry, e, &l->entries, hook) {
		if (same(&e->name, name))
			return e;
	}
	return NULL;
}

static const char *text_of(const struct ledger_name *n, char out[128])
{
	snprintf(out, 128, "%.8s/%u sink %u attempt %u checkpoint %" PRIu64, n->job, n->region,
		 n->sink, n->attempt, n->checkpoint);
	return out;
}

void ledger_precommit(struct ledger *l, const struct ledger_name *name,
		      const struct ledger_range *ranges, unsigned n, uint32_t n_sinks)
{
	char text[128];
	if (find(l, name)) {
		check_fail(l->c->check, "transaction %s was used twice", text_of(name, text));
		return;
	}
	struct entry *e = mem_alloc(sizeof(*e));
	*e = (struct entry){.name = *name, .n = n, .n_sinks = n_sinks};
	e->ranges = mem_array(n + 1, sizeof(*ranges));
	if (n)
		memcpy(e->ranges, ranges, n * sizeof(*ranges));
	list_append(&l->entries, &e->hook);
}

static struct shown *shown_of(struct ledger *l, const char *job, uint32_t region, uint32_t source)
{
	list_each (struct shown, s, &l->shown, hook) {
		if (s->region == region && s->source == source && strcmp(s->job, job) == 0)
			return s;
	}
	struct shown *s = mem_alloc(sizeof(*s));
	*s = (struct shown){.region = region, .source = source};
	snprintf(s->job, sizeof(s->job), "%s", job);
	list_append(&l->shown, &s->hook);
	return s;
}

static void show(struct ledger *l, const struct entry *e, const struct ledger_range *r)
{
	struct shown *s = shown_of(l, e->name.job, e->name.region, r->source);
	char text[128];
	if (r->to > s->capacity) {
		uint64_t more = 2 * r->to;
		s->at = mem_resize(s->at, more, 1);
		memset(s->at + s->capacity, 0, more - s->capacity);
		s->capacity = more;
	}
	for (uint64_t o = r->from; o < r->to; o++) {
		if (e->n_sinks && ledger_route(r->source, o, e->n_sinks, false) != e->name.sink)
			continue;
		if (s->at[o]++)
			check_fail(l->c->check,
				   "record %" PRIu64 " of source %u is visible twice: %s", o,
				   r->source, text_of(&e->name, text));
		l->total++;
	}
}

void ledger_commit(struct ledger *l, const struct ledger_name *name)
{
	struct entry *e = find(l, name);
	char text[128];
	if (!e) {
		check_fail(l->c->check, "commit of what was never pre-committed: %s",
			   text_of(name, text));
	} else if (e->state == LEDGER_ROLLED_BACK) {
		check_fail(l->c->check, "commit of what was rolled back, output is lost: %s",
			   text_of(name, text));
	} else if (e->state == LEDGER_PENDING) {
		check_commit(l->c->check, name->job, name->checkpoint);
		e->state = LEDGER_COMMITTED;
		for (unsigned i = 0; i < e->n; i++)
			show(l, e, &e->ranges[i]);
	}
}

void ledger_roll_back(struct ledger *l, const struct ledger_name *name)
{
	struct entry *e = find(l, name);
	if (e && e->state == LEDGER_PENDING)
		e->state = LEDGER_ROLLED_BACK;
}

static bool kept(const struct ledger_name *name, const struct ledger_name *keep, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (same(name, &keep[i]))
			return true;
	return false;
}

void ledger_sweep(struct ledger *l, const struct ledger_name *mine, const struct ledger_name *keep,
		  unsigned n_keep)
{
	list_each (struct entry, e, &l->entries, hook) {
		if (e->state == LEDGER_PENDING && same_sink(&e->name, mine) &&
		    e->name.attempt < mine->attempt && !kept(&e->name, keep, n_keep))
			e->state = LEDGER_ROLLED_BACK;
	}
}

uint64_t ledger_visible(const struct ledger *l, const char *job, uint32_t region, uint32_t source,
			uint64_t to)
{
	uint64_t n = 0;
	list_each (struct shown, s, &l->shown, hook) {
		if (s->region != region || s->source != source || strcmp(s->job, job) != 0)
			continue;
		for (uint64_t o = 0; o < to && o < s->capacity; o++)
			n += s->at[o] != 0;
	}
	return n;
}

uint64_t ledger_total(const struct ledger *l)
{
	return l->total;
}
