#include "taskmanager/deploy.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "base/mem.h"
#include "job/keygroup.h"
#include "state/hashmap.h"

/* ---- preparing ---- */

static const struct op_type *type_of(const struct deploy_config *c, const char *name)
{
	const struct op_type *t = op_type_find(c->types, name);

	if (!t && c->more)
		t = op_type_find(c->more, name);
	return t;
}

/* [[vertex, subtask], ...] into numbers of subtasks of the job. */
static enum errc subtask_parse(const struct deployment *d, const json_t *pair, unsigned *out,
			       struct err *e)
{
	const json_t *v = json_array_get(pair, 0), *s = json_array_get(pair, 1);

	if (!json_is_integer(v) || !json_is_integer(s))
		return err_set(e, ERR_INVALID, "subtasks: [vertex, subtask] expected");
	json_int_t vertex = json_integer_value(v), subtask = json_integer_value(s);
	if (vertex < 0 || vertex >= (json_int_t)d->graph->n_vertices || subtask < 0 ||
	    subtask >= (json_int_t)d->graph->vertices[vertex].parallelism)
		return err_set(e, ERR_INVALID, "subtasks: the job has no [%lld, %lld]",
			       (long long)vertex, (long long)subtask);
	*out = d->base[vertex] + (unsigned)subtask;
	return ERR_OK;
}

static void expand(struct deployment *d)
{
	d->graph = graph_create(d->spec);
	d->base = mem_array(d->graph->n_vertices + 1, sizeof(*d->base));
	for (unsigned v = 0; v < d->graph->n_vertices; v++) {
		d->base[v] = d->n_subtasks;
		d->n_subtasks += d->graph->vertices[v].parallelism;
	}
	d->mine = mem_array(d->n_subtasks + 1, sizeof(*d->mine));
	d->place = mem_array(d->n_subtasks + 1, sizeof(*d->place));
	d->plans = mem_array(d->spec->n_operators + 1, sizeof(*d->plans));
	for (unsigned i = 0; i < d->spec->n_operators; i++)
		row_plan_init(&d->plans[i], &d->spec->operators[i].output);
}

static enum errc types_check(const struct deployment *d, struct err *e)
{
	for (unsigned i = 0; i < d->spec->n_operators; i++)
		if (!type_of(&d->config, d->spec->operators[i].type))
			return err_set(e, ERR_INVALID, "operators[%u].type: this worker has no %s",
				       i, d->spec->operators[i].type);
	return ERR_OK;
}

enum errc deploy_prepare(struct deployment *d, const struct deploy_config *c, const json_t *spec,
			 const json_t *subtasks, struct err *e)
{
	size_t i;
	const json_t *pair;

	*d = (struct deployment){.config = *c};
	enum errc code = spec_parse(spec, &d->spec, e);
	if (code != ERR_OK)
		return code;
	expand(d);
	code = types_check(d, e);
	if (code == ERR_OK && json_array_size(subtasks) == 0)
		code = err_set(e, ERR_INVALID, "subtasks: none");
	json_array_foreach (subtasks, i, pair) {
		unsigned number;
		if (code == ERR_OK)
			code = subtask_parse(d, pair, &number, e);
		if (code != ERR_OK)
			break;
		d->n_tasks += !d->mine[number];
		d->mine[number] = true;
	}
	if (code != ERR_OK)
		deploy_fini(d);
	return code;
}

/* ---- peers ---- */

static enum errc text_take(const json_t *o, const char *name, char *out, size_t size, struct err *e)
{
	const char *text;
	enum errc code = json_get_text(o, "peers[]", name, &text, e);

	if (code == ERR_OK && strlen(text) >= size)
		code = err_set(e, ERR_LIMIT, "peers[].%s: too long", name);
	if (code == ERR_OK)
		memcpy(out, text, strlen(text) + 1);
	return code;
}

static enum errc peer_parse(struct deployment *d, const json_t *o, unsigned i, struct err *e)
{
	struct deploy_peer *p = &d->peers[i];
	size_t k;
	json_t *subtasks, *pair;
	enum errc code = text_take(o, "tm", p->tm, sizeof(p->tm), e);

	if (code == ERR_OK)
		code = text_take(o, "instance", p->instance, sizeof(p->instance), e);
	if (code == ERR_OK)
		code = text_take(o, "address", p->address, sizeof(p->address), e);
	if (code == ERR_OK)
		code = json_need(o, "peers[]", "subtasks", &subtasks, e);
	if (code != ERR_OK)
		return code;
	json_array_foreach (subtasks, k, pair) {
		unsigned number;
		code = subtask_parse(d, pair, &number, e);
		if (code != ERR_OK)
			return code;
		if (d->place[number])
			return err_set(e, ERR_INVALID, "peers: a subtask is placed twice");
		d->place[number] = i + 1;
		if (d->mine[number])
			d->me = i;
	}
	return ERR_OK;
}

static enum errc peers_parse(struct deployment *d, const json_t *peers, struct err *e)
{
	size_t i;
	const json_t *o;

	d->n_peers = (unsigned)json_array_size(peers);
	if (d->n_peers == 0 || d->n_peers > DEPLOY_PEERS_MAX)
		return err_set(e, ERR_INVALID, "peers: %u entries", d->n_peers);
	d->peers = mem_array(d->n_peers, sizeof(*d->peers));
	json_array_foreach (peers, i, o) {
		enum errc code = peer_parse(d, o, (unsigned)i, e);
		if (code != ERR_OK)
			return code;
	}
	for (unsigned n = 0; n < d->n_subtasks; n++)
		if (d->mine[n] && d->place[n] != d->me + 1)
			return err_set(e, ERR_INVALID, "peers: not what was prepared here");
	return ERR_OK;
}

/* ---- channels ---- */

enum channel { CHANNEL_NONE, CHANNEL_LOCAL, CHANNEL_OUT, CHANNEL_IN };

static enum channel channel_of(const struct deployment *d, unsigned from, unsigned to)
{
	if (d->mine[from])
		return d->mine[to] ? CHANNEL_LOCAL : CHANNEL_OUT;
	return d->mine[to] ? CHANNEL_IN : CHANNEL_NONE;
}

struct counts {
	uint64_t local, out, in;
};

static void channels_count(const struct deployment *d, struct counts *c)
{
	for (unsigned v = 0; v < d->graph->n_vertices; v++) {
		const struct graph_vertex *to = &d->graph->vertices[v];
		for (unsigned k = 0; k < to->n_inputs; k++) {
			unsigned u = to->inputs[k].from, n = d->graph->vertices[u].parallelism;
			bool forward = to->inputs[k].edge == SPEC_EDGE_FORWARD;
			for (unsigned a = 0; a < n; a++)
				for (unsigned b = forward ? a : 0;
				     b < (forward ? a + 1 : to->parallelism); b++) {
					enum channel ch =
						channel_of(d, d->base[u] + a, d->base[v] + b);
					c->local += ch == CHANNEL_LOCAL;
					c->out += ch == CHANNEL_OUT;
					c->in += ch == CHANNEL_IN;
				}
		}
	}
}

static void memory_plan(struct deployment *d)
{
	struct counts c = {0};
	uint64_t half = d->config.memory_bytes / 2 / BATCH_BYTES;

	channels_count(d, &c);
	uint64_t base = c.local * (DEPLOY_LOCAL_DEPTH + 1) + c.out * (DEPLOY_OUT_DEPTH + 1) +
			(uint64_t)d->n_tasks * (BATCH_CACHE + 4) + 64;
	d->credits = LINK_CREDITS;
	while (d->credits > DEPLOY_CREDITS_MIN && base + c.in * d->credits > half)
		d->credits /= 2;
	uint64_t want = base + c.in * d->credits;
	if (want > half)
		want = half > 64 ? half : 64;
	d->pool = batch_pool_create(want < UINT32_MAX ? (uint32_t)want : UINT32_MAX);
	d->cache.pool = d->pool;
}

static void *aligned_new(size_t size)
{
	size_t rounded = (size + 127) & ~(size_t)127;
	void *p = aligned_alloc(128, rounded);

	if (!p)
		abort();
	memset(p, 0, rounded);
	return p;
}

static struct queue *queue_new(struct deployment *d, uint32_t capacity)
{
	struct queue *q = aligned_new(sizeof(*q));

	queue_init(q, capacity);
	if (d->n_queues % 64 == 0)
		d->queues = mem_resize(d->queues, d->n_queues + 64, sizeof(*d->queues));
	d->queues[d->n_queues++] = q;
	return q;
}

/* ---- tasks ---- */

static struct task *task_at(const struct deployment *d, unsigned v, unsigned subtask)
{
	for (unsigned i = 0; i < d->n_tasks; i++)
		if (d->tasks[i]->config.vertex == v && d->tasks[i]->config.subtask == subtask)
			return d->tasks[i];
	return NULL;
}

static void context_fill(struct deployment *d, struct task *t, unsigned i, unsigned op)
{
	const struct spec_operator *s = &d->spec->operators[op];
	struct op_context *c = &t->chain.links[i].context;
	const struct spec_operator *from = s->n_inputs ? &d->spec->operators[s->inputs[0]] : NULL;

	*c = (struct op_context){.uid = s->uid,
				 .spec = s,
				 .options = s->options,
				 .input = from ? &d->plans[s->inputs[0]] : NULL,
				 .output = s->output.n ? &d->plans[op] : NULL,
				 .input_schema = from ? &from->output : NULL,
				 .job = d->config.job,
				 .job_name = d->spec->name,
				 .region = d->config.region,
				 .attempt = d->config.attempt,
				 .subtask = t->config.subtask,
				 .parallelism = s->parallelism,
				 .max_parallelism = s->max_parallelism,
				 .files_root = d->config.files_root,
				 .cluster = d->config.cluster,
				 .worker = t->config.name,
				 .task = t};
	if (!t->chain.links[i].op->type->keyed)
		return;
	struct backend_range range = {
		s->max_parallelism, keygroup_first(c->subtask, s->parallelism, s->max_parallelism),
		keygroup_end(c->subtask, s->parallelism, s->max_parallelism)};
	t->chain.links[i].op->keyed = keyed_create(&hashmap_backend, &range);
}

static struct task *task_new(struct deployment *d, unsigned v, unsigned subtask, unsigned index)
{
	const struct graph_vertex *g = &d->graph->vertices[v];
	const struct op_type **types = mem_array(g->n_operators, sizeof(*types));
	struct task *t = aligned_new(sizeof(*t));

	for (unsigned i = 0; i < g->n_operators; i++)
		types[i] = type_of(&d->config, d->spec->operators[g->operators[i]].type);
	d->names[index] = mem_printf("%s (%u/%u)", g->name, subtask + 1, g->parallelism);
	struct task_config c = {.n_ops = g->n_operators,
				.types = types,
				.name = d->names[index],
				.index = index,
				.vertex = v,
				.subtask = subtask,
				.exactly_once = d->spec->checkpointing.mode == SPEC_EXACTLY_ONCE,
				.commit_only = d->config.commit_only,
				.flush_ns = d->config.flush_ns,
				.align_limit_ns = d->config.align_limit_ns,
				.leader_seen_ns = d->config.leader_seen_ns,
				.pool = d->pool,
				.killpoint = d->config.killpoint,
				.port = d->config.port};
	task_init(t, &c);
	t->config.types = NULL;
	for (unsigned i = 0; i < g->n_operators; i++)
		context_fill(d, t, i, g->operators[i]);
	chain_edges(&t->chain, 0);
	free(types);
	return t;
}

static void tasks_make(struct deployment *d)
{
	unsigned index = 0;

	d->tasks = mem_array(d->n_tasks, sizeof(*d->tasks));
	d->names = mem_array(d->n_tasks, sizeof(*d->names));
	for (unsigned v = 0; v < d->graph->n_vertices; v++)
		for (unsigned s = 0; s < d->graph->vertices[v].parallelism; s++)
			if (d->mine[d->base[v] + s]) {
				d->tasks[index] = task_new(d, v, s, index);
				index++;
			}
	assert(index == d->n_tasks);
}

/* One more output edge of a task, to the subtasks that `queues` lead to. */
static void edge_add(struct deployment *d, struct task *t, unsigned v, unsigned k,
		     struct queue **queues, unsigned n)
{
	const struct graph_vertex *to = &d->graph->vertices[v];
	const struct spec_operator *head = &d->spec->operators[to->operators[0]];
	unsigned from_op = to->inputs[k].from_op;
	struct chain *c = &t->chain;

	c->routers = mem_resize(c->routers, c->n_routers + 1, sizeof(*c->routers));
	struct router_config rc = {.edge = to->inputs[k].edge,
				   .schema = &d->spec->operators[from_op].output,
				   .plan = &d->plans[from_op],
				   .keys = head->keys,
				   .n_keys = head->n_keys,
				   .max_parallelism = to->max_parallelism,
				   .n = n,
				   .queues = queues,
				   .cache = &t->cache};
	router_init(&c->routers[c->n_routers++], &rc);
}

/* The channel from subtask number `from` to number `to`, as far as it touches this worker. */
static struct queue *channel_make(struct deployment *d, unsigned from, unsigned to,
				  struct task *receiver)
{
	struct queue *q = NULL;

	switch (channel_of(d, from, to)) {
	case CHANNEL_NONE:
		break;
	case CHANNEL_LOCAL:
		q = queue_new(d, DEPLOY_LOCAL_DEPTH);
		task_input(receiver, q);
		break;
	case CHANNEL_OUT:
		q = queue_new(d, DEPLOY_OUT_DEPTH);
		exchange_out(d->exchange, d->place[to] - 1, q);
		break;
	case CHANNEL_IN:
		q = queue_new(d, d->credits + 8);
		task_input(receiver, q);
		exchange_in(d->exchange, d->place[from] - 1, q);
		break;
	}
	return q;
}

static void edge_wire(struct deployment *d, unsigned v, unsigned k)
{
	const struct graph_vertex *to = &d->graph->vertices[v];
	unsigned u = to->inputs[k].from;
	bool forward = to->inputs[k].edge == SPEC_EDGE_FORWARD;
	struct queue **queues = mem_array(to->parallelism, sizeof(struct queue *));

	for (unsigned a = 0; a < d->graph->vertices[u].parallelism; a++) {
		unsigned n = 0, first = forward ? a : 0, end = forward ? a + 1 : to->parallelism;
		struct task *sender = d->mine[d->base[u] + a] ? task_at(d, u, a) : NULL;
		for (unsigned b = first; b < end; b++) {
			struct task *receiver = d->mine[d->base[v] + b] ? task_at(d, v, b) : NULL;
			struct queue *q = channel_make(d, d->base[u] + a, d->base[v] + b, receiver);
			if (!sender)
				continue;
			q->to_producer.waker = &sender->waker;
			queues[n++] = q;
		}
		if (sender)
			edge_add(d, sender, v, k, queues, n);
	}
	free(queues);
}

/* Are all subtasks placed that subtasks here exchange rows with? */
static enum errc places_check(const struct deployment *d, struct err *e)
{
	for (unsigned v = 0; v < d->graph->n_vertices; v++)
		for (unsigned s = 0; s < d->graph->vertices[v].parallelism; s++)
			if (d->graph->vertices[v].region == d->config.region &&
			    !d->place[d->base[v] + s])
				return err_set(e, ERR_INVALID, "peers: [%u, %u] is placed nowhere",
					       v, s);
	return ERR_OK;
}

enum errc deploy_wire(struct deployment *d, const json_t *peers, struct err *e)
{
	enum errc code = peers_parse(d, peers, e);

	if (code == ERR_OK)
		code = places_check(d, e);
	if (code != ERR_OK)
		return code;
	memory_plan(d);
	struct exchange_config xc = {.n_peers = d->n_peers,
				     .pool = d->pool,
				     .credits = d->credits,
				     .failed = d->config.link_failed,
				     .owner = d->config.owner};
	d->exchange = exchange_create(&xc);
	tasks_make(d);
	for (unsigned v = 0; v < d->graph->n_vertices; v++)
		for (unsigned k = 0; k < d->graph->vertices[v].n_inputs; k++)
			edge_wire(d, v, k);
	return ERR_OK;
}

void deploy_fini(struct deployment *d)
{
	exchange_destroy(d->exchange);
	for (unsigned i = 0; d->tasks && i < d->n_tasks; i++) {
		task_fini(d->tasks[i]);
		free(d->tasks[i]);
		free(d->names[i]);
	}
	for (unsigned i = 0; i < d->n_queues; i++) {
		queue_fini(d->queues[i], &d->cache);
		free(d->queues[i]);
	}
	if (d->pool)
		batch_cache_clear(&d->cache);
	batch_pool_destroy(d->pool);
	for (unsigned i = 0; d->plans && i < d->spec->n_operators; i++)
		row_plan_fini(&d->plans[i]);
	free(d->plans);
	free(d->base);
	free(d->place);
	free(d->mine);
	free(d->peers);
	free(d->tasks);
	free(d->names);
	free(d->queues);
	graph_destroy(d->graph);
	spec_destroy(d->spec);
	*d = (struct deployment){0};
}
