#include "jobmanager/flow.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

struct entry {
	unsigned vertex;
	struct traffic now, before; /* before: as of since_ms */
	struct traffic rate;
};

struct flow_part {
	char tm[NODE_ID_MAX];
	uint32_t region;
	struct attempt attempt;
	uint64_t heard_ms, since_ms;
	unsigned n;
	struct entry *entries; /* owns */
};

static void drop_older(struct flow *f, uint32_t region, struct attempt attempt)
{
	size_t kept = 0;
	for (size_t i = 0; i < f->n; i++) {
		if (f->parts[i].region == region && f->parts[i].attempt.v < attempt.v)
			free(f->parts[i].entries);
		else
			f->parts[kept++] = f->parts[i];
	}
	f->n = kept;
}

/* NULL: of an attempt that is over. */
static struct flow_part *part_of(struct flow *f, const char *tm, uint32_t region,
				 struct attempt attempt, uint64_t now_ms)
{
	drop_older(f, region, attempt);
	for (size_t i = 0; i < f->n; i++) {
		struct flow_part *p = &f->parts[i];
		if (p->region != region)
			continue;
		if (p->attempt.v > attempt.v)
			return NULL;
		if (strcmp(p->tm, tm) == 0)
			return p;
	}
	f->parts = mem_resize(f->parts, f->n + 1, sizeof(*f->parts));
	struct flow_part *p = &f->parts[f->n++];
	*p = (struct flow_part){.region = region, .attempt = attempt, .since_ms = now_ms};
	snprintf(p->tm, sizeof(p->tm), "%s", tm);
	return p;
}

/* What is seen first is also the base of the rate: a leader that comes to an attempt late has not
 * seen how long its total took. */
static struct entry *entry_of(struct flow_part *p, unsigned vertex, const struct traffic *first)
{
	for (unsigned i = 0; i < p->n; i++)
		if (p->entries[i].vertex == vertex)
			return &p->entries[i];
	p->entries = mem_resize(p->entries, p->n + 1, sizeof(*p->entries));
	p->entries[p->n] = (struct entry){.vertex = vertex, .now = *first, .before = *first};
	return &p->entries[p->n++];
}

static void raise_to(uint64_t *to, uint64_t n)
{
	if (n > *to)
		*to = n;
}

/* Within an attempt nothing is counted down: who says less was under way for long, like a
 * registration behind a later one. */
static void keep_most(struct traffic *to, const struct traffic *said)
{
	raise_to(&to->read_records, said->read_records);
	raise_to(&to->read_bytes, said->read_bytes);
	raise_to(&to->write_records, said->write_records);
	raise_to(&to->write_bytes, said->write_bytes);
}

static uint64_t per_second(uint64_t now, uint64_t before, uint64_t ms)
{
	return now > before ? (now - before) * 1000 / ms : 0;
}

static void rate(struct entry *e, uint64_t ms)
{
	e->rate = (struct traffic){per_second(e->now.read_records, e->before.read_records, ms),
				   per_second(e->now.read_bytes, e->before.read_bytes, ms),
				   per_second(e->now.write_records, e->before.write_records, ms),
				   per_second(e->now.write_bytes, e->before.write_bytes, ms)};
	e->before = e->now;
}

void flow_note(struct flow *f, const char *tm, uint32_t region, struct attempt attempt,
	       const json_t *vertices, uint64_t now_ms)
{
	if (!json_is_array(vertices))
		return;
	struct flow_part *p = part_of(f, tm, region, attempt, now_ms);
	if (!p)
		return;
	uint64_t ms = now_ms - p->since_ms;
	for (size_t i = 0; i < json_array_size(vertices); i++) {
		struct traffic t;
		unsigned vertex;
		if (!traffic_get(vertices, i, &vertex, &t))
			continue;
		struct entry *e = entry_of(p, vertex, &t);
		keep_most(&e->now, &t);
		if (ms >= FLOW_RATE_MS)
			rate(e, ms);
	}
	if (ms >= FLOW_RATE_MS)
		p->since_ms = now_ms;
	p->heard_ms = now_ms;
}

bool flow_of(const struct flow *f, unsigned vertex, uint64_t now_ms, struct flow_vertex *out)
{
	bool any = false;
	*out = (struct flow_vertex){0};
	for (size_t i = 0; i < f->n; i++) {
		const struct flow_part *p = &f->parts[i];
		for (unsigned k = 0; k < p->n; k++) {
			if (p->entries[k].vertex != vertex)
				continue;
			any = true;
			traffic_add(&out->total, &p->entries[k].now);
			if (now_ms - p->heard_ms < FLOW_SILENT_MS)
				traffic_add(&out->rate, &p->entries[k].rate);
		}
	}
	return any;
}

json_t *flow_list(const struct flow *f, unsigned n_vertices)
{
	json_t *list = NULL;
	for (unsigned v = 0; v < n_vertices; v++) {
		struct flow_vertex seen;
		if (!flow_of(f, v, 0, &seen))
			continue;
		if (!list)
			list = json_array();
		traffic_put(list, v, &seen.total);
	}
	return list;
}

void flow_fini(struct flow *f)
{
	for (size_t i = 0; i < f->n; i++)
		free(f->parts[i].entries);
	free(f->parts);
	*f = (struct flow){0};
}
