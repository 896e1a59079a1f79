#include "taskmanager/router.h"

#include <assert.h>
#include <stdlib.h>

#include "base/mem.h"
#include "job/keygroup.h"

static void groups_init(struct router *r)
{
	r->outlet_of_group = mem_array(r->max_parallelism, sizeof(*r->outlet_of_group));
	for (uint32_t g = 0; g < r->max_parallelism; g++)
		r->outlet_of_group[g] = (uint16_t)keygroup_subtask(g, r->n, r->max_parallelism);
}

void router_init(struct router *r, const struct router_config *c)
{
	assert(c->n > 0);
	*r = (struct router){.edge = c->edge,
			     .max_parallelism = c->max_parallelism,
			     .n = c->n,
			     .outlets = mem_array(c->n, sizeof(*r->outlets)),
			     .cache = c->cache};
	for (uint32_t i = 0; i < c->n; i++)
		r->outlets[i].queue = c->queues[i];
	if (c->edge != SPEC_EDGE_HASH)
		return;
	key_plan_init(&r->keys, c->schema, c->plan, c->keys, c->n_keys);
	groups_init(r);
}

void router_fini(struct router *r)
{
	for (uint32_t i = 0; i < r->n; i++)
		batch_free(r->cache, r->outlets[i].open);
	free(r->outlets);
	free(r->outlet_of_group);
	key_plan_fini(&r->keys);
	*r = (struct router){0};
}

/* ---- outlets ---- */

static void outlet_send(struct outlet *o)
{
	struct batch *b = o->open;

	if (!b)
		return;
	b->len = (uint32_t)(o->at - b->data);
	b->rows = o->rows;
	o->open = NULL;
	o->at = o->end = NULL;
	o->rows = 0;
	queue_offer(o->queue, b);
}

static void outlet_refill(struct router *r, struct outlet *o, size_t bytes)
{
	outlet_send(o);
	o->open = batch_get(r->cache, bytes);
	o->at = o->open->data;
	o->end = o->at + o->open->capacity;
}

static inline struct row *outlet_row(struct router *r, struct outlet *o, const struct row *row)
{
	size_t bytes = row_bytes(row);

	if (__builtin_expect((size_t)(o->end - o->at) < bytes, 0))
		outlet_refill(r, o, bytes);
	struct row *to = (struct row *)(void *)o->at;
	row_copy(to, row, bytes);
	o->at += bytes;
	o->rows++;
	return to;
}

/* ---- partitioners ---- */

static void route_hash(struct router *r, const struct row *const *rows, unsigned n)
{
	uint64_t hashes[KEY_WINDOW];

	key_hash_window(&r->keys, rows, n, hashes);
	for (unsigned i = 0; i < n; i++) {
		uint32_t group = keygroup_of(hashes[i], r->max_parallelism);
		struct outlet *o = &r->outlets[r->outlet_of_group[group]];
		outlet_row(r, o, rows[i])->hash = (uint32_t)(hashes[i] >> 32);
	}
}

static void rows_hash(struct router *r, const struct batch *b)
{
	const struct row *window[KEY_WINDOW];
	unsigned n = 0;

	batch_each(b, row)
	{
		window[n++] = row;
		if (n == KEY_WINDOW) {
			route_hash(r, window, n);
			n = 0;
		}
	}
	if (n)
		route_hash(r, window, n);
}

static void rows_rebalance(struct router *r, const struct batch *b)
{
	batch_each(b, row)
	{
		outlet_row(r, &r->outlets[r->next], row);
		if (++r->next == r->n)
			r->next = 0;
	}
}

static void rows_broadcast(struct router *r, const struct batch *b)
{
	for (uint32_t i = 0; i < r->n; i++)
		batch_each(b, row) outlet_row(r, &r->outlets[i], row);
}

void router_rows(struct router *r, const struct batch *b)
{
	if (r->n == 1) {
		rows_broadcast(r, b);
		return;
	}
	switch (r->edge) {
	case SPEC_EDGE_HASH:
		rows_hash(r, b);
		break;
	case SPEC_EDGE_REBALANCE:
	case SPEC_EDGE_FORWARD:
		rows_rebalance(r, b);
		break;
	case SPEC_EDGE_BROADCAST:
		rows_broadcast(r, b);
		break;
	}
}

void router_batch(struct router *r, struct batch *b)
{
	assert(r->n == 1 && !r->outlets[0].open);
	queue_offer(r->outlets[0].queue, b);
}

void router_flush(struct router *r)
{
	for (uint32_t i = 0; i < r->n; i++)
		outlet_send(&r->outlets[i]);
}

bool router_open(const struct router *r)
{
	for (uint32_t i = 0; i < r->n; i++)
		if (r->outlets[i].open)
			return true;
	return false;
}

void router_control(struct router *r, enum batch_kind kind, const struct batch_barrier *barrier)
{
	router_flush(r);
	for (uint32_t i = 0; i < r->n; i++)
		queue_offer(r->outlets[i].queue, batch_control(kind, barrier));
}

bool router_stuck(struct router *r)
{
	bool stuck = false;

	for (uint32_t i = 0; i < r->n; i++)
		if (!queue_flush(r->outlets[i].queue))
			stuck = true;
	return stuck;
}
