#include "taskmanager/chain.h"

#include <assert.h>
#include <stdlib.h>

#include "base/mem.h"

static void refill(struct op_out *o, size_t bytes);

void chain_init(struct chain *c, const struct op_type *const *types, unsigned n,
		struct batch_cache *cache)
{
	*c = (struct chain){.n = n, .links = mem_array(n, sizeof(*c->links)), .cache = cache};
	for (unsigned i = 0; i < n; i++) {
		struct chain_link *l = &c->links[i];
		*l = (struct chain_link){.chain = c, .index = i, .out.refill = refill};
		l->op = mem_alloc(types[i]->size);
		l->op->type = types[i];
		l->op->context = &l->context;
	}
}

void chain_edges(struct chain *c, unsigned n)
{
	c->n_routers = n;
	c->routers = mem_array(n + 1, sizeof(*c->routers));
}

void chain_fini(struct chain *c)
{
	for (unsigned i = 0; i < c->n; i++) {
		struct chain_link *l = &c->links[i];
		if (l->opened && l->op->type->close)
			l->op->type->close(l->op);
		batch_free(c->cache, l->out.batch);
		free(l->op);
	}
	for (unsigned i = 0; i < c->n_routers; i++)
		router_fini(&c->routers[i]);
	free(c->routers);
	free(c->links);
	*c = (struct chain){0};
}

void chain_fail(struct chain *c, unsigned link, const struct err *e)
{
	if (c->failed)
		return;
	c->failed = true;
	c->failed_link = link;
	c->err = *e;
}

/* ---- rows through the links ---- */

static void op_rows(struct chain *c, unsigned i, const struct batch *b)
{
	struct op *op = c->links[i].op;
	struct err e = {0};

	if (c->failed)
		return;
	if (op->type->on_batch(op, b, op->type->sink ? NULL : &c->links[i].out, &e) != ERR_OK)
		chain_fail(c, i, &e);
}

static bool tail(const struct chain_link *l)
{
	return l->index + 1 == l->chain->n;
}

/* What the link has filled goes to who comes next; its buffer is empty afterwards, or gone. */
static void link_pass(struct chain_link *l)
{
	struct chain *c = l->chain;
	struct op_out *o = &l->out;
	struct batch *b = o->batch;

	if (!b || o->at == b->data)
		return;
	b->len = (uint32_t)(o->at - b->data);
	b->rows = o->rows;
	o->rows_total += o->rows;
	o->bytes_total += b->len;
	o->rows = 0;
	if (tail(l) && c->direct) {
		router_batch(&c->routers[0], b);
		o->batch = NULL;
		o->at = o->end = NULL;
		return;
	}
	if (!tail(l))
		op_rows(c, l->index + 1, b);
	for (unsigned i = 0; tail(l) && i < c->n_routers; i++)
		router_rows(&c->routers[i], b);
	o->at = b->data;
}

static void refill(struct op_out *o, size_t bytes)
{
	struct chain_link *l = (struct chain_link *)(void *)o;

	link_pass(l);
	if (!o->batch || o->batch->capacity < bytes) {
		batch_free(l->chain->cache, o->batch);
		o->batch = batch_get(l->chain->cache, bytes);
		o->at = o->batch->data;
		o->end = o->at + o->batch->capacity;
	}
}

/* No row stays between two operators. */
static bool chain_settle(struct chain *c)
{
	for (unsigned i = 0; i < c->n; i++)
		if (!(i + 1 == c->n && c->direct))
			link_pass(&c->links[i]);
	return !c->failed;
}

bool chain_push(struct chain *c, const struct batch *b)
{
	c->rows_in += b->rows;
	c->bytes_in += b->len;
	op_rows(c, 0, b);
	return chain_settle(c);
}

bool chain_poll(struct chain *c, uint32_t budget, struct op_poll *out)
{
	struct op *op = c->links[0].op;
	struct err e = {0};

	*out = (struct op_poll){.state = OP_POLL_MORE, .wait_fd = -1};
	if (op->type->poll(op, &c->links[0].out, budget, out, &e) != ERR_OK)
		chain_fail(c, 0, &e);
	return chain_settle(c);
}

/* ---- calls to every operator ---- */

bool chain_open(struct chain *c)
{
	c->direct = c->n_routers == 1 && c->routers[0].n == 1;
	for (unsigned i = 0; i < c->n && !c->failed; i++) {
		struct op *op = c->links[i].op;
		struct err e = {0};
		c->links[i].opened = true;
		if (op->type->open && op->type->open(op, &e) != ERR_OK)
			chain_fail(c, i, &e);
	}
	return !c->failed;
}

bool chain_start(struct chain *c)
{
	for (unsigned i = 0; i < c->n && !c->failed; i++) {
		struct op *op = c->links[i].op;
		struct err e = {0};
		if (op->type->start && op->type->start(op, &e) != ERR_OK)
			chain_fail(c, i, &e);
	}
	return !c->failed;
}

bool chain_at_end(struct chain *c)
{
	for (unsigned i = 0; i < c->n && !c->failed; i++) {
		struct op *op = c->links[i].op;
		struct err e = {0};
		if (op->type->at_end &&
		    op->type->at_end(op, op->type->sink ? NULL : &c->links[i].out, &e) != ERR_OK)
			chain_fail(c, i, &e);
		chain_settle(c);
	}
	return !c->failed;
}

bool chain_complete(struct chain *c, struct ckpt_id id)
{
	for (unsigned i = 0; i < c->n && !c->failed; i++) {
		struct op *op = c->links[i].op;
		struct err e = {0};
		if (op->type->on_complete && op->type->on_complete(op, id, &e) != ERR_OK)
			chain_fail(c, i, &e);
	}
	return !c->failed;
}

bool chain_abort(struct chain *c, struct ckpt_id id)
{
	for (unsigned i = 0; i < c->n && !c->failed; i++) {
		struct op *op = c->links[i].op;
		struct err e = {0};
		if (op->type->on_abort && op->type->on_abort(op, id, &e) != ERR_OK)
			chain_fail(c, i, &e);
	}
	return !c->failed;
}

bool chain_cancel(struct chain *c, struct ckpt_id completed)
{
	for (unsigned i = 0; i < c->n && !c->failed; i++) {
		struct op *op = c->links[i].op;
		struct err e = {0};
		if (op->type->on_cancel && op->type->on_cancel(op, completed, &e) != ERR_OK)
			chain_fail(c, i, &e);
	}
	return !c->failed;
}

bool chain_ticks(const struct chain *c)
{
	for (unsigned i = 0; i < c->n; i++)
		if (c->links[i].op->type->on_tick)
			return true;
	return false;
}

bool chain_tick(struct chain *c)
{
	for (unsigned i = 0; i < c->n && !c->failed; i++) {
		struct op *op = c->links[i].op;
		struct err e = {0};
		if (op->type->on_tick && op->type->on_tick(op, &e) != ERR_OK)
			chain_fail(c, i, &e);
	}
	return chain_settle(c);
}

/* ---- the edges ---- */

void chain_flush(struct chain *c)
{
	if (c->direct)
		link_pass(&c->links[c->n - 1]);
	for (unsigned i = 0; i < c->n_routers; i++)
		router_flush(&c->routers[i]);
}

bool chain_unflushed(const struct chain *c)
{
	const struct op_out *o = &c->links[c->n - 1].out;

	if (c->direct)
		return o->batch && o->at != o->batch->data;
	for (unsigned i = 0; i < c->n_routers; i++)
		if (router_open(&c->routers[i]))
			return true;
	return false;
}

void chain_control(struct chain *c, enum batch_kind kind, const struct batch_barrier *barrier)
{
	chain_flush(c);
	for (unsigned i = 0; i < c->n_routers; i++)
		router_control(&c->routers[i], kind, barrier);
}

bool chain_stuck(struct chain *c)
{
	bool stuck = false;

	for (unsigned i = 0; i < c->n_routers; i++)
		if (router_stuck(&c->routers[i]))
			stuck = true;
	return stuck;
}

void chain_traffic(const struct chain *c, struct traffic *out)
{
	const struct chain_link *first = &c->links[0], *last = &c->links[c->n - 1];
	*out = (struct traffic){.read_records = c->rows_in, .read_bytes = c->bytes_in};
	if (first->op->type->poll) { /* a source: what it brought in */
		out->read_records = first->out.rows_total;
		out->read_bytes = first->out.bytes_total;
	}
	out->write_records = last->out.rows_total;
	out->write_bytes = last->out.bytes_total;
	if (last->op->type->sink) { /* what it was given to take out */
		out->write_records = c->n == 1 ? c->rows_in : last[-1].out.rows_total;
		out->write_bytes = c->n == 1 ? c->bytes_in : last[-1].out.bytes_total;
	}
}
