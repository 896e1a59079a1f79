#include "taskmanager/task.h"

#include <assert.h>
#include <stdlib.h>
#include <time.h>

#include "base/mem.h"
#include "rest/control.h"

static const struct sm_state states[] = {
	[TASK_STATE_NEW] = {"NEW", SM_TO(TASK_STATE_RUNNING) | SM_TO(TASK_STATE_FAILED) |
					   SM_TO(TASK_STATE_ENDED)},
	[TASK_STATE_RUNNING] = {"RUNNING", SM_TO(TASK_STATE_ENDED) | SM_TO(TASK_STATE_FAILED)},
	[TASK_STATE_ENDED] = {"ENDED", 0},
	[TASK_STATE_FAILED] = {"FAILED", 0},
};

static const struct sm_table table = {"task", states, 4};

static uint64_t clock_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

void task_init(struct task *t, const struct task_config *c)
{
	*t = (struct task){.config = *c, .cache.pool = c->pool, .source = c->types[0]->source};
	if (!t->config.flush_ns)
		t->config.flush_ns = TASK_FLUSH_NS;
	sm_init(&t->sm, &table, TASK_STATE_NEW);
	chain_init(&t->chain, c->types, c->n_ops, &t->cache);
	for (unsigned i = 0; i < c->n_ops; i++)
		t->chain.links[i].context.task = t;
	waker_init(&t->waker);
	pthread_mutex_init(&t->lock, NULL);
}

void task_input(struct task *t, struct queue *q)
{
	t->inputs = mem_resize(t->inputs, t->n_inputs + 1, sizeof(*t->inputs));
	t->inputs[t->n_inputs++] = (struct task_input){.queue = q};
	q->to_consumer.waker = &t->waker;
}

static void keyed_fini(struct task *t)
{
	for (unsigned i = 0; i < t->chain.n; i++) {
		keyed_destroy(t->chain.links[i].op->keyed);
		t->chain.links[i].op->keyed = NULL;
	}
}

void task_fini(struct task *t)
{
	snapshot_part_destroy(t->part);
	keyed_fini(t);
	chain_fini(&t->chain);
	align_fini(&t->align);
	batch_cache_clear(&t->cache);
	waker_fini(&t->waker);
	pthread_mutex_destroy(&t->lock);
	free(t->inputs);
	free(t->orders);
}

static void fail(struct task *t)
{
	if (sm_may(&t->sm, TASK_STATE_FAILED))
		sm_move(&t->sm, TASK_STATE_FAILED, t->chain.err.text);
}

bool task_open(struct task *t, enum errc (*restore)(void *owner, struct task *t, struct err *e),
	       void *owner)
{
	struct err e = {0};

	align_init(&t->align, t->config.exactly_once, t->n_inputs);
	if (t->n_inputs)
		t->input_plan = t->chain.links[0].context.input;
	bool ok = chain_open(&t->chain);
	if (ok && restore && restore(owner, t, &e) != ERR_OK) {
		chain_fail(&t->chain, 0, &e);
		ok = false;
	}
	if (!ok || !chain_start(&t->chain)) {
		fail(t);
		return false;
	}
	sm_move(&t->sm, TASK_STATE_RUNNING, "opened");
	return true;
}

const struct err *task_error(const struct task *t)
{
	return &t->chain.err;
}

bool task_failed(const struct task *t)
{
	return sm_state(&t->sm) == TASK_STATE_FAILED;
}

/* ---- orders ---- */

void task_wake(struct task *t)
{
	waker_wake(&t->waker);
}

void task_order(struct task *t, const struct task_order *o)
{
	pthread_mutex_lock(&t->lock);
	if (t->n_orders == t->orders_capacity) {
		t->orders_capacity = t->orders_capacity * 2 + 8;
		t->orders = mem_resize(t->orders, t->orders_capacity, sizeof(*t->orders));
	}
	t->orders[t->n_orders++] = *o;
	pthread_mutex_unlock(&t->lock);
	atomic_store(&t->has_orders, true);
	task_wake(t);
}

static bool order_next(struct task *t, struct task_order *out)
{
	bool found;

	if (!atomic_load_explicit(&t->has_orders, memory_order_relaxed))
		return false;
	pthread_mutex_lock(&t->lock);
	found = t->n_orders > 0;
	if (found) {
		*out = t->orders[0];
		memmove(t->orders, t->orders + 1, --t->n_orders * sizeof(*t->orders));
	} else {
		atomic_store(&t->has_orders, false);
	}
	pthread_mutex_unlock(&t->lock);
	return found;
}

/* ---- barriers ---- */

static void release_inputs(struct task *t)
{
	for (uint32_t i = 0; i < t->n_inputs; i++)
		t->inputs[i].held = false;
}

static enum errc capture_begin(struct snapshot_op *s, struct err *e)
{
	if (!s->keyed || s->capture)
		return ERR_OK;
	return keyed_capture_begin(s->keyed, &s->capture, e);
}

static enum errc lists_take(struct op *op, struct ckpt_id id, uint32_t subtask,
			    struct snapshot_op *s, struct err *e)
{
	struct op_lists lists = {.n = op->type->n_lists};

	enum errc code = op->type->snapshot ? op->type->snapshot(op, id, &lists, e) : ERR_OK;
	for (unsigned i = 0; i < lists.n; i++) {
		if (code == ERR_OK)
			liststate_block(&lists.at[i], subtask, &s->lists[i]);
		liststate_fini(&lists.at[i]);
	}
	return code;
}

/* False: one before is still being walked. */
static bool captures_begin(struct task *t)
{
	for (unsigned i = 0; i < t->part->n_ops && !t->chain.failed; i++) {
		struct err e = {0};
		enum errc code = capture_begin(&t->part->ops[i], &e);
		if (code == ERR_AGAIN)
			return false;
		if (code != ERR_OK)
			chain_fail(&t->chain, i, &e);
	}
	return true;
}

/* Storage may be too slow to walk the capture before: rows are worth more than this checkpoint. */
static void snapshot_late(struct task *t, uint64_t now_ns)
{
	struct snapshot_part *p = t->part;

	if (now_ns - t->part_since_ns < TASK_CAPTURE_WAIT_NS)
		return;
	t->part = NULL;
	chain_control(&t->chain, BATCH_BARRIER, &p->barrier);
	t->config.port->declined(t->config.port, t, p->barrier.checkpoint,
				 "the snapshot before is still being written");
	snapshot_part_destroy(p);
}

/*
 * The synchronous part, then the barrier goes on. If a capture before is still being walked, the
 * task does nothing else until it can be done: called again, it goes on where it stopped.
 */
static void snapshot_try(struct task *t, uint64_t now_ns)
{
	struct snapshot_part *p = t->part;
	struct ckpt_id id = {p->barrier.checkpoint};
	uint64_t from = clock_ns();

	bool begun = captures_begin(t);
	for (unsigned i = 0; begun && i < p->n_ops && !t->chain.failed; i++) {
		struct err e = {0};
		if (lists_take(t->chain.links[i].op, id, t->config.subtask, &p->ops[i], &e) !=
		    ERR_OK)
			chain_fail(&t->chain, i, &e);
	}
	p->sync_ns += clock_ns() - from;
	if (t->chain.failed)
		return;
	if (!begun) {
		snapshot_late(t, now_ns);
		return;
	}
	p->rows = t->chain.rows_in;
	t->part = NULL;
	chain_control(&t->chain, BATCH_BARRIER, &p->barrier);
	t->config.port->snapshot(t->config.port, t, p);
	if (t->config.killpoint)
		killpoint_pass(t->config.killpoint, "worker-barrier-passed");
}

/* The barrier has passed every input. */
static void snapshot_begin(struct task *t, const struct batch_barrier *b, uint64_t waited_ns,
			   uint64_t now_ns)
{
	struct snapshot_part *p = snapshot_part_create(t->chain.n);

	assert(!t->part);
	p->barrier = *b;
	p->task = t->config.index;
	p->align_ns = waited_ns;
	for (unsigned i = 0; i < t->chain.n; i++) {
		const struct chain_link *l = &t->chain.links[i];
		struct snapshot_op *s = &p->ops[i];
		s->uid = l->context.uid;
		s->parallelism = l->context.parallelism;
		s->max_parallelism = l->context.max_parallelism;
		s->keyed = l->op->keyed;
		s->n_lists = l->op->type->n_lists;
		memcpy(s->modes, l->op->type->lists, sizeof(s->modes));
	}
	t->part = p;
	t->part_since_ns = now_ns;
	snapshot_try(t, now_ns);
}

static void on_barrier(struct task *t, uint32_t channel, const struct batch_barrier *b,
		       uint64_t now_ns)
{
	struct align_result r;

	align_barrier(&t->align, channel, b->checkpoint, now_ns, &r);
	for (unsigned i = 0; i < r.n_ended; i++)
		t->config.port->declined(t->config.port, t, r.ended[i],
					 "a newer barrier came first");
	if (r.release)
		release_inputs(t);
#ifndef WEIR_MUTANT_BARRIER_HOLDS_NOTHING
	if (r.verdict == ALIGN_HOLD)
		t->inputs[channel].held = t->config.exactly_once;
#endif
	if (r.verdict == ALIGN_COMPLETE)
		snapshot_begin(t, b, r.waited_ns, now_ns);
}

/* H30: nobody leads, and a channel has been held for too long: give that checkpoint up alone. */
static void align_limit(struct task *t, uint64_t now_ns)
{
	uint64_t limit = t->config.align_limit_ns;

	if (!limit || !t->align.n_pending || now_ns < limit)
		return;
	uint64_t before = now_ns - limit, id = align_overdue(&t->align, before);
	if (!id || (t->config.leader_seen_ns && atomic_load(t->config.leader_seen_ns) > before))
		return;
	if (align_abort(&t->align, id))
		release_inputs(t);
	t->config.port->declined(t->config.port, t, id, "alignment took too long while nobody led");
}

static void end_by(struct task *t, const struct task_order *o)
{
	struct ckpt_id completed = {o->barrier.checkpoint};

	if (o->kind == TASK_CANCEL && o->terminal && !chain_cancel(&t->chain, completed)) {
		fail(t);
		return;
	}
	sm_move(&t->sm, TASK_STATE_ENDED, o->kind == TASK_FINISH ? "finished" : "cancelled");
}

static void order_run(struct task *t, const struct task_order *o, uint64_t now_ns)
{
	struct ckpt_id id = {o->barrier.checkpoint};

	switch (o->kind) {
	case TASK_TRIGGER:
		if (t->source && align_trigger(&t->align, id.v))
			snapshot_begin(t, &o->barrier, 0, now_ns);
		break;
	case TASK_ABORT:
		if (align_abort(&t->align, id.v))
			release_inputs(t);
		chain_abort(&t->chain, id);
		break;
	case TASK_COMPLETE:
		if (chain_complete(&t->chain, id))
			t->config.port->committed(t->config.port, t, id.v);
		break;
	case TASK_FINISH:
	case TASK_CANCEL:
		end_by(t, o);
		break;
	}
}

/* A trigger waits while a former snapshot cannot begin; the orders behind it wait with it, but for
 * an end, which the worker sends once nothing else matters. */
static void orders_run(struct task *t, uint64_t now_ns)
{
	struct task_order o;

	while (!t->part && !t->chain.failed && sm_state(&t->sm) == TASK_STATE_RUNNING &&
	       order_next(t, &o))
		order_run(t, &o, now_ns);
}

/* ---- input ---- */

static void input_ended(struct task *t, uint32_t channel)
{
	if (t->inputs[channel].ended)
		return;
	t->inputs[channel].ended = true;
	if (++t->n_ended < t->n_inputs)
		return;
	if (chain_at_end(&t->chain))
		chain_control(&t->chain, BATCH_END, NULL);
}

static void data_push(struct task *t, struct batch *b)
{
	struct err e = {0};

	if (b->len && !b->rows && !batch_check(b, t->input_plan)) {
		err_set(&e, ERR_UNAVAILABLE, "malformed rows from a peer");
		chain_fail(&t->chain, 0, &e);
		return;
	}
	chain_push(&t->chain, b);
}

/* The next batch of any channel that is not held, in turn. */
static struct batch *input_next(struct task *t, uint32_t *out_channel)
{
	for (uint32_t k = 0; k < t->n_inputs; k++) {
		uint32_t i = t->next_input;
		t->next_input = i + 1 < t->n_inputs ? i + 1 : 0;
		if (t->inputs[i].held)
			continue;
		struct batch *b = queue_take(t->inputs[i].queue);
		if (b) {
			*out_channel = i;
			return b;
		}
	}
	return NULL;
}

static enum task_verdict input_step(struct task *t, uint64_t now_ns)
{
	uint32_t channel;
	struct batch *b = input_next(t, &channel);

	if (!b)
		return TASK_IDLE;
	switch ((enum batch_kind)b->kind) {
	case BATCH_DATA:
		data_push(t, b);
		break;
	case BATCH_BARRIER:
		on_barrier(t, channel, batch_barrier(b), now_ns);
		break;
	case BATCH_END:
		input_ended(t, channel);
		break;
	case BATCH_CREDIT:
	case BATCH_BYE:
		break;
	}
	batch_free(&t->cache, b);
	return TASK_BUSY;
}

static enum task_verdict source_step(struct task *t, struct task_wait *out, uint64_t now_ns)
{
	if (t->at_end || t->config.commit_only)
		return TASK_IDLE;
	if (!chain_poll(&t->chain, TASK_SOURCE_ROWS, &t->pause))
		return TASK_BUSY;
	switch (t->pause.state) {
	case OP_POLL_MORE:
		return TASK_BUSY;
	case OP_POLL_IDLE:
		out->until_ns = now_ns + (uint64_t)t->pause.wait_ms * 1000000;
		out->fd = t->pause.wait_fd;
		out->events = t->pause.wait_events;
		return TASK_IDLE;
	case OP_POLL_END:
		t->at_end = true;
		if (chain_at_end(&t->chain))
			chain_control(&t->chain, BATCH_END, NULL);
		t->config.port->at_end(t->config.port, t);
		return TASK_BUSY;
	}
	abort();
}

/* ---- the step ---- */

static void wait_at_most(struct task_wait *w, uint64_t until_ns)
{
	if (!w->until_ns || until_ns < w->until_ns)
		w->until_ns = until_ns;
}

/* Send what is open: at once if nothing was sent for the flush interval, else when that is over. */
static void flush_due(struct task *t, uint64_t now_ns, struct task_wait *out)
{
	if (!chain_unflushed(&t->chain))
		return;
	uint64_t due = t->flushed_ns + t->config.flush_ns;
	if (now_ns < due) {
		wait_at_most(out, due);
		return;
	}
	chain_flush(&t->chain);
	t->flushed_ns = now_ns;
}

static void ticks(struct task *t, uint64_t now_ns, struct task_wait *out)
{
	if (t->align.n_pending && t->config.align_limit_ns) {
		align_limit(t, now_ns);
		wait_at_most(out, now_ns + t->config.align_limit_ns / 4);
	}
	if (!chain_ticks(&t->chain))
		return;
	if (now_ns - t->ticked_ns >= (uint64_t)TASK_TICK_MS * 1000000) {
		t->ticked_ns = now_ns;
		chain_tick(&t->chain);
	}
	wait_at_most(out, t->ticked_ns + (uint64_t)TASK_TICK_MS * 1000000);
}

static void keyed_poll_all(struct task *t)
{
	for (unsigned i = 0; i < t->chain.n; i++)
		if (t->chain.links[i].op->keyed)
			keyed_poll(t->chain.links[i].op->keyed);
}

static enum task_verdict work(struct task *t, uint64_t now_ns, struct task_wait *out)
{
	if (t->part)
		snapshot_try(t, now_ns);
	if (t->part) {
		wait_at_most(out, now_ns + 1000000);
		return TASK_IDLE;
	}
	if (chain_stuck(&t->chain))
		return TASK_BLOCKED;
	return t->source ? source_step(t, out, now_ns) : input_step(t, now_ns);
}

/* Each number is right by itself; that is enough for who looks once a second. */
static void traffic_publish(struct task *t)
{
	struct traffic now;

	chain_traffic(&t->chain, &now);
	atomic_store_explicit(&t->rows_in, t->chain.rows_in, memory_order_relaxed);
	atomic_store_explicit(&t->read_records, now.read_records, memory_order_relaxed);
	atomic_store_explicit(&t->read_bytes, now.read_bytes, memory_order_relaxed);
	atomic_store_explicit(&t->write_records, now.write_records, memory_order_relaxed);
	atomic_store_explicit(&t->write_bytes, now.write_bytes, memory_order_relaxed);
}

void task_traffic(const struct task *t, struct traffic *out)
{
	*out = (struct traffic){atomic_load_explicit(&t->read_records, memory_order_relaxed),
				atomic_load_explicit(&t->read_bytes, memory_order_relaxed),
				atomic_load_explicit(&t->write_records, memory_order_relaxed),
				atomic_load_explicit(&t->write_bytes, memory_order_relaxed)};
}

enum task_verdict task_poll(struct task *t, uint64_t now_ns, struct task_wait *out)
{
	enum task_verdict v = TASK_ENDED;

	*out = (struct task_wait){.fd = -1};
	if (sm_state(&t->sm) != TASK_STATE_RUNNING)
		return TASK_ENDED;
	orders_run(t, now_ns);
	keyed_poll_all(t);
	if (sm_state(&t->sm) == TASK_STATE_RUNNING && !t->chain.failed) {
		v = work(t, now_ns, out);
		flush_due(t, now_ns, out);
		ticks(t, now_ns, out);
	}
	traffic_publish(t);
	if (t->chain.failed)
		fail(t);
	return sm_state(&t->sm) == TASK_STATE_RUNNING ? v : TASK_ENDED;
}

/* ---- services of operators ---- */

enum errc op_list_add(struct op_lists *l, unsigned list, const void *item, size_t len,
		      struct err *e)
{
	assert(list < l->n);
	return liststate_add(&l->at[list], item, len, e);
}

int64_t op_wall_ms(const struct op_context *c)
{
	struct timespec t;

	(void)c;
	clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

uint64_t op_now_ms(const struct op_context *c)
{
	struct timespec t;

	(void)c;
	clock_gettime(CLOCK_BOOTTIME, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

void op_wake(const struct op_context *c)
{
	task_wake(c->task);
}

void op_kill_point(const struct op_context *c, const char *name)
{
	if (c->task && c->task->config.killpoint)
		killpoint_pass(c->task->config.killpoint, name);
}
