#include "model.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/json.h"
#include "base/mem.h"
#include "check.h"
#include "job/graph.h"
#include "ledger.h"
#include "model_object.h"
#include "plane.h"

enum { FLIGHTS_MAX = 8, GIVEN_UP_MAX = 64, TRIES_MAX = 8, RETRY_MS = 150, OBJECT_MAX = 1 << 20 };

enum phase { IDLE, PREPARED, RESTORING, RUNNING, FAILED, GONE };

/* A checkpoint as this worker takes it. */
struct flight {
	uint64_t id; /* 0: free */
	unsigned n_done;
	struct model_state state;
	struct buf bytes; /* the object; not empty: being put */
};

struct sink_run {
	uint64_t aligning; /* 0: no */
	uint64_t since_ms;
	uint64_t ended; /* newest alignment that ended here, well or not */
	unsigned n_arrived;
	bool blocked[PARALLELISM_MAX];
	uint64_t begun[PARALLELISM_MAX]; /* the open transaction holds [begun, next) */
};

struct model {
	struct list hook;
	struct cluster *c;
	struct world *w;
	struct blob_port *port;
	struct world_timer tick;
	struct prng rng;
	enum phase phase;
	/* who we are */
	char tm[NODE_ID_MAX], instance[ID_TEXT];
	struct job_id job;
	uint32_t region;
	struct attempt attempt;
	uint64_t epoch, align_ms;
	/* what we run */
	struct plane_run *run;
	unsigned n_sources, n_sinks; /* of the region */
	unsigned n_here, sinks_here, sources_here;
	bool chained;
	uint64_t limit;   /* offset at which a source ends */
	bool commit_only; /* the job is to end: nothing is read */
	unsigned rate;
	struct model_state state;
	struct sink_run sinks[PARALLELISM_MAX];
	uint64_t triggers[FLIGHTS_MAX]; /* not injected yet */
	unsigned n_triggers;
	uint64_t last_trigger;
	uint64_t given_up[GIVEN_UP_MAX];
	unsigned n_given_up;
	struct flight flights[FLIGHTS_MAX];
	uint64_t complete_to, committed_said;
	bool at_end_said;
	/* storage: one operation at a time */
	struct blob_op put, get;
	uint64_t putting; /* checkpoint */
	unsigned tries;
	uint64_t retry_ms;
	char path[320];
	/* restoring */
	json_t *restore, *manifest;
	size_t next_object;
	struct model_state found;
	/* faults */
	bool doomed, failing;
	int doom_status, doom_signal;
};

/* ---- reports ---- */

static struct control_report_msg report_of(const struct model *m, enum control_report kind)
{
	return (struct control_report_msg){.kind = kind,
					   .seq = 1,
					   .job = m->job,
					   .region = m->region,
					   .attempt = m->attempt,
					   .vertex = -1,
					   .subtask = -1};
}

static void say(struct model *m, const struct control_report_msg *r)
{
	struct buf line = {0};
	control_reports_encode(0, (struct epoch){0}, r, 1, &line);
	sim_say(m->w, line.data, line.len - 1);
	buf_fini(&line);
}

static void say_plain(struct model *m, enum control_report kind, uint64_t checkpoint)
{
	struct control_report_msg r = report_of(m, kind);
	r.checkpoint.v = checkpoint;
	say(m, &r);
}

static void fail(struct model *m, bool external, bool corrupt, const char *why)
{
	struct control_report_msg r = report_of(m, CONTROL_REPORT_FAILED);
	if (m->phase == FAILED)
		return;
	m->phase = FAILED;
	r.external = external;
	r.corrupt = corrupt;
	snprintf(r.text, sizeof(r.text), "%s", why);
	say(m, &r);
}

static void decline(struct model *m, uint64_t checkpoint, const char *why)
{
	struct control_report_msg r = report_of(m, CONTROL_REPORT_DECLINE);
	r.checkpoint.v = checkpoint;
	r.external = true;
	snprintf(r.text, sizeof(r.text), "%s", why);
	say(m, &r);
}

/* ---- a checkpoint here ---- */

static bool is_given_up(const struct model *m, uint64_t id)
{
	for (unsigned i = 0; i < m->n_given_up; i++)
		if (m->given_up[i] == id)
			return true;
	return false;
}

static struct flight *flight_find(struct model *m, uint64_t id)
{
	for (unsigned i = 0; i < FLIGHTS_MAX; i++)
		if (m->flights[i].id == id)
			return &m->flights[i];
	return NULL;
}

static void flight_free(struct flight *f)
{
	buf_fini(&f->bytes);
	*f = (struct flight){0};
}

static void give_up(struct model *m, uint64_t id)
{
	struct flight *f = flight_find(m, id);
	if (m->putting == id) {
		m->port->cancel(m->port, &m->put);
		m->putting = 0;
	}
	if (f)
		flight_free(f);
	if (m->n_given_up < GIVEN_UP_MAX)
		m->given_up[m->n_given_up++] = id;
	else
		m->given_up[id % GIVEN_UP_MAX] = id;
	for (unsigned i = 0; i < PARALLELISM_MAX; i++) {
		struct sink_run *k = &m->sinks[i];
		if (k->aligning != id)
			continue;
		k->aligning = 0;
		k->n_arrived = 0;
		memset(k->blocked, 0, sizeof(k->blocked));
	}
}

/* The flight that a subtask adds to; the oldest makes room. */
static struct flight *flight_of(struct model *m, uint64_t id)
{
	struct flight *f = flight_find(m, id);
	if (f)
		return f;
	f = flight_find(m, 0);
	for (unsigned i = 0; !f && i < FLIGHTS_MAX; i++)
		if (!m->flights[i].bytes.len)
			f = &m->flights[i];
	if (!f)
		f = &m->flights[0];
	if (f->id)
		give_up(m, f->id);
	f->id = id;
	return f;
}

static void subtask_done(struct model *m, struct flight *f)
{
	if (++f->n_done == m->n_here)
		model_object_write(&f->state, &f->bytes);
}

/* ---- sinks ---- */

static struct ledger_name txn_name(const struct model *m, uint32_t sink,
				   const struct model_txn *txn)
{
	struct ledger_name name = {.region = m->region,
				   .sink = sink,
				   .attempt = txn->attempt,
				   .checkpoint = txn->checkpoint};
	snprintf(name.job, sizeof(name.job), "%s", m->job.hex);
	return name;
}

static void pre_commit(struct model *m, uint32_t sink, uint64_t id)
{
	struct model_sink *k = &m->state.sinks[sink];
	struct sink_run *run = &m->sinks[sink];
	struct ledger_range ranges[PARALLELISM_MAX];
	struct model_txn txn = {.attempt = m->attempt.v, .checkpoint = id};
	unsigned n = 0;
	for (uint32_t s = 0; s < m->n_sources; s++) {
		if (k->next[s] > run->begun[s])
			ranges[n++] = (struct ledger_range){
				.source = s, .from = run->begun[s], .to = k->next[s]};
		run->begun[s] = k->next[s];
	}
	assert(k->n_txns < TXNS_MAX);
	k->txns[k->n_txns++] = txn;
	struct ledger_name name = txn_name(m, sink, &txn);
	ledger_precommit(m->c->ledger, &name, ranges, n, m->chained ? 0 : m->n_sinks);
}

/* The barrier has come by all channels. */
static void aligned(struct model *m, uint32_t sink)
{
	struct sink_run *run = &m->sinks[sink];
	uint64_t id = run->aligning;
	run->aligning = 0;
	run->n_arrived = 0;
	run->ended = id;
	memset(run->blocked, 0, sizeof(run->blocked));
	pre_commit(m, sink, id);
	struct flight *f = flight_of(m, id);
	f->state.sinks[sink] = m->state.sinks[sink];
	subtask_done(m, f);
}

static void on_barrier(struct model *m, uint32_t sink, uint32_t source, uint64_t id)
{
	struct sink_run *run = &m->sinks[sink];
	if (id <= run->ended || is_given_up(m, id) || (run->aligning && id < run->aligning))
		return;
	if (run->aligning && id > run->aligning) {
		uint64_t old = run->aligning;
		run->ended = old;
		give_up(m, old);
		decline(m, old, "a newer barrier came first");
	}
	if (!run->aligning) {
		run->aligning = id;
		run->since_ms = world_now_ms(m->w);
	}
	run->blocked[source] = true;
	if (++run->n_arrived == (m->chained ? 1 : m->n_sources))
		aligned(m, sink);
}

static void process(struct model *m, uint32_t sink, uint32_t source, const struct plane_element *e)
{
	struct model_sink *k = &m->state.sinks[sink];
	if (e->from != k->next[source])
		check_fail(m->c->check,
			   "%.8s/%u attempt %u: sink %u expects record %" PRIu64
			   " of source %u, gets %" PRIu64,
			   m->job.hex, m->region, m->attempt.v, sink, k->next[source], source,
			   e->from);
	for (uint64_t o = e->from; o < e->to; o++) {
		if (ledger_route(source, o, m->n_sinks, m->chained) != sink)
			continue;
		k->sum += o * 31 + source;
		k->count++;
	}
	k->next[source] = e->to;
}

static void sink_tick(struct model *m, uint32_t sink)
{
	struct sink_run *run = &m->sinks[sink];
	bool more = true;
	while (more) {
		more = false;
		for (uint32_t s = 0; s < m->n_sources; s++) {
			if (run->blocked[s] || (m->chained && s != sink))
				continue;
			const struct plane_element *head = plane_peek(m->run, s, sink);
			if (!head)
				continue;
			struct plane_element e = *head;
			plane_take(m->run, s, sink);
			more = true;
			if (e.checkpoint)
				on_barrier(m, sink, s, e.checkpoint);
			else
				process(m, sink, s, &e);
		}
	}
	if (run->aligning && m->align_ms && world_now_ms(m->w) >= run->since_ms + m->align_ms) {
		uint64_t id = run->aligning;
		run->ended = id;
		give_up(m, id);
		decline(m, id, "aligned for too long");
	}
}

static void commit_tick(struct model *m)
{
	if (m->complete_to <= m->committed_said)
		return;
	for (uint32_t i = 0; i < m->n_sinks; i++) {
		struct model_sink *k = &m->state.sinks[i];
		unsigned left = 0;
		for (unsigned t = 0; k->here && t < k->n_txns; t++) {
			struct ledger_name name = txn_name(m, i, &k->txns[t]);
			if (k->txns[t].checkpoint <= m->complete_to)
				ledger_commit(m->c->ledger, &name);
			else
				k->txns[left++] = k->txns[t];
		}
		k->n_txns = left;
	}
	m->committed_said = m->complete_to;
	say_plain(m, CONTROL_REPORT_COMMITTED, m->complete_to);
}

/* ---- sources ---- */

static void inject(struct model *m)
{
	if (!m->n_triggers)
		return;
	for (uint32_t s = 0; s < m->n_sources; s++)
		if (m->state.sources[s].here && plane_full(m->run, s))
			return;
	uint64_t id = m->triggers[0];
	memmove(m->triggers, m->triggers + 1, --m->n_triggers * sizeof(m->triggers[0]));
	if (is_given_up(m, id))
		return;
	for (uint32_t s = 0; s < m->n_sources; s++) {
		if (!m->state.sources[s].here)
			continue;
		struct flight *f = flight_of(m, id);
		f->state.sources[s] = m->state.sources[s];
		plane_barrier(m->run, s, id);
		subtask_done(m, f);
	}
}

static void source_tick(struct model *m, uint32_t source)
{
	struct model_source *s = &m->state.sources[source];
	if (s->offset >= m->limit || m->commit_only || plane_full(m->run, source))
		return;
	uint64_t to = s->offset + prng_between(&m->rng, 1, m->rate);
	if (to > m->limit)
		to = m->limit;
	plane_emit(m->run, source, s->offset, to);
	s->offset = to;
}

static void at_end_tick(struct model *m)
{
	if (m->at_end_said)
		return;
	for (uint32_t s = 0; s < m->n_sources; s++)
		if (m->state.sources[s].here && m->state.sources[s].offset < m->limit)
			return;
	m->at_end_said = true;
	say_plain(m, CONTROL_REPORT_AT_END, 0);
}

/* ---- storage: acknowledging ---- */

static void put_done(struct blob_op *op)
{
	struct model *m = MEM_OWNER(op, struct model, put);
	struct control_report_msg r = report_of(m, CONTROL_REPORT_ACK);
	struct flight *f = flight_find(m, m->putting);
	uint64_t id = m->putting;
	m->putting = 0;
	if (!f)
		return;
	if (op->err.code != ERR_OK) {
		m->retry_ms = world_now_ms(m->w) + RETRY_MS;
		if (++m->tries < TRIES_MAX)
			return;
		give_up(m, id);
		decline(m, id, "storage cannot be reached");
		return;
	}
	char sum[17];
	snprintf(sum, sizeof(sum), "%016" PRIx64,
		 (uint64_t)XXH3_64bits(f->bytes.data, f->bytes.len));
	r.checkpoint.v = id;
	r.object = json_pack("{s:s,s:I,s:s}", "path", m->path, "bytes", (json_int_t)f->bytes.len,
			     "checksum", sum);
	r.stats = json_object();
	say(m, &r);
	json_decref(r.object);
	json_decref(r.stats);
	flight_free(f);
}

static void put_tick(struct model *m)
{
	struct flight *next = NULL;
	if (m->putting || world_now_ms(m->w) < m->retry_ms)
		return;
	for (unsigned i = 0; i < FLIGHTS_MAX; i++) {
		struct flight *f = &m->flights[i];
		if (f->id && f->bytes.len && (!next || f->id < next->id))
			next = f;
	}
	if (!next)
		return;
	snprintf(m->path, sizeof(m->path),
		 "jobs/%s/chk-%" PRIu64 "/%u-%u-%s-%.8s-e%" PRIu64 ".snap", m->job.hex, next->id,
		 m->region, m->attempt.v, m->tm, m->instance, m->epoch);
	m->putting = next->id;
	m->put = (struct blob_op){.done = put_done};
	m->port->put(m->port, &m->put, m->path, next->bytes.data, next->bytes.len);
}

/* ---- restoring ---- */

static void restore_step(struct model *m);

static void start_running(struct model *m)
{
	m->phase = RUNNING;
	for (uint32_t s = 0; s < m->n_sources; s++)
		if (m->state.sources[s].here)
			plane_host_source(m->run, s, m->tm);
	for (uint32_t k = 0; k < m->n_sinks; k++) {
		struct ledger_name mine, keep[TXNS_MAX];
		struct model_sink *sink = &m->state.sinks[k];
		if (!sink->here)
			continue;
		plane_host_sink(m->run, k, m->tm);
		memcpy(m->sinks[k].begun, sink->next, sizeof(sink->next));
		mine = txn_name(m, k, &(struct model_txn){.attempt = m->attempt.v});
		for (unsigned t = 0; t < sink->n_txns; t++)
			keep[t] = txn_name(m, k, &sink->txns[t]);
		ledger_sweep(m->c->ledger, &mine, keep, sink->n_txns);
	}
	say_plain(m, CONTROL_REPORT_RUNNING, 0);
}

static bool consistent(const struct model *m, uint32_t sink)
{
	const struct model_sink *k = &m->found.sinks[sink];
	uint64_t sum = 0, count = 0;
	if (!k->here)
		return false;
	for (uint32_t s = 0; s < m->n_sources; s++) {
		if (m->chained && s != sink)
			continue;
		if (!m->found.sources[s].here || m->found.sources[s].offset != k->next[s])
			return false;
		for (uint64_t o = 0; o < k->next[s]; o++) {
			if (ledger_route(s, o, m->n_sinks, m->chained) != sink)
				continue;
			sum += o * 31 + s;
			count++;
		}
	}
	return sum == k->sum && count == k->count;
}

static void restored(struct model *m)
{
	for (uint32_t s = 0; s < m->n_sources; s++) {
		if (!m->state.sources[s].here)
			continue;
		m->state.sources[s] = m->found.sources[s];
		m->state.sources[s].here = true;
	}
	for (uint32_t k = 0; k < m->n_sinks; k++) {
		if (!m->state.sinks[k].here)
			continue;
		if (!consistent(m, k))
			check_fail(m->c->check,
				   "%.8s/%u attempt %u: what was restored is not one cut",
				   m->job.hex, m->region, m->attempt.v);
		m->state.sinks[k] = m->found.sinks[k];
		m->state.sinks[k].here = true;
	}
	start_running(m);
}

static void unreadable(struct model *m, const char *what)
{
	char why[400];
	snprintf(why, sizeof(why), "%.300s cannot be restored", what);
	check_unreadable(m->c->check, m->job.hex, m->region, m->attempt.v, why);
	fail(m, false, true, why);
}

static bool sum_is(const struct blob_op *op, const json_t *o)
{
	char sum[17];
	const char *want = json_string_value(json_object_get(o, "checksum"));
	snprintf(sum, sizeof(sum), "%016" PRIx64, (uint64_t)XXH3_64bits(op->data, op->len));
	return want && strcmp(want, sum) == 0;
}

static const json_t *object_at(const struct model *m)
{
	return json_array_get(json_object_get(m->manifest, "objects"), m->next_object);
}

static void take_bytes(struct model *m, const struct blob_op *op)
{
	if (!m->manifest) {
		if (!sum_is(op, m->restore) || json_parse(op->data, op->len, &m->manifest, NULL))
			unreadable(m, "the manifest");
	} else if (!sum_is(op, object_at(m)) || !model_object_read(&m->found, op->data, op->len)) {
		unreadable(m, m->path);
	} else {
		m->next_object++;
	}
}

static void get_done(struct blob_op *op)
{
	struct model *m = MEM_OWNER(op, struct model, get);
	if (m->phase != RESTORING)
		return;
	if (op->err.code == ERR_OK) {
		m->tries = 0;
		take_bytes(m, op);
	} else if (op->err.code == ERR_NOTFOUND) {
		unreadable(m, m->path);
	} else if (++m->tries > 4 * TRIES_MAX) {
		fail(m, true, false, "storage cannot be reached");
	} else {
		m->retry_ms = world_now_ms(m->w) + RETRY_MS;
		return;
	}
	restore_step(m);
}

/* The next thing to read; past objects of other regions. */
static void restore_step(struct model *m)
{
	const char *name = json_string_value(json_object_get(m->restore, "manifest"));
	m->retry_ms = 0;
	if (m->phase != RESTORING)
		return;
	if (m->manifest) {
		const json_t *o = object_at(m);
		while (o && json_integer_value(json_object_get(o, "region")) != m->region) {
			m->next_object++;
			o = object_at(m);
		}
		if (!o) {
			restored(m);
			return;
		}
		name = json_string_value(json_object_get(o, "path"));
	}
	snprintf(m->path, sizeof(m->path), "%s", name ? name : "");
	m->get = (struct blob_op){.done = get_done};
	m->port->get(m->port, &m->get, m->path, OBJECT_MAX);
}

/* ---- the tick ---- */

static void run_tick(struct model *m)
{
	if (plane_broken(m->run)) {
		fail(m, true, false, "the connection to a peer broke");
		return;
	}
	commit_tick(m);
	inject(m);
	for (uint32_t s = 0; s < m->n_sources; s++)
		if (m->state.sources[s].here)
			source_tick(m, s);
	for (uint32_t k = 0; k < m->n_sinks; k++)
		if (m->state.sinks[k].here)
			sink_tick(m, k);
	at_end_tick(m);
	put_tick(m);
}

static void on_tick(struct world_timer *t)
{
	struct model *m = MEM_OWNER(t, struct model, tick);
	world_timer_arm(m->w, t, world_now_ms(m->w) + prng_between(&m->rng, 20, 90));
	if (m->doomed) {
		m->phase = GONE;
		sim_exit(m->w, m->doom_status, m->doom_signal);
		return;
	}
	if (m->failing && m->phase == RUNNING)
		fail(m, false, false, "division by zero");
	if (m->phase == RESTORING && m->retry_ms && world_now_ms(m->w) >= m->retry_ms)
		restore_step(m);
	if (m->phase == RUNNING)
		run_tick(m);
}

/* ---- commands ---- */

static void take_vertex(struct model *m, const struct graph *g, unsigned v, uint32_t subtask)
{
	const struct graph_vertex *vertex = &g->vertices[v];
	if (vertex->source && subtask < PARALLELISM_MAX) {
		m->state.sources[subtask].here = true;
		m->n_here++;
	}
	if (vertex->sink && subtask < PARALLELISM_MAX) {
		m->state.sinks[subtask].here = true;
		m->n_here++;
	}
}

static void take_shape(struct model *m, const struct spec *spec, const struct graph *g)
{
	for (unsigned v = 0; v < g->n_vertices; v++) {
		const struct graph_vertex *vertex = &g->vertices[v];
		if (vertex->region != m->region)
			continue;
		if (vertex->source)
			m->n_sources = vertex->parallelism;
		if (vertex->sink)
			m->n_sinks = vertex->parallelism;
		if (vertex->source && vertex->sink)
			m->chained = true;
		if (!vertex->source)
			continue;
		const json_t *o = spec->operators[vertex->operators[0]].options;
		m->limit = (uint64_t)json_integer_value(json_object_get(o, "to"));
		m->rate = (unsigned)json_integer_value(json_object_get(o, "rateLimit"));
	}
}

static void on_prepare(struct model *m, const struct control_command_msg *c)
{
	struct spec *spec = NULL;
	struct err e;
	size_t i;
	const json_t *pair;
	m->job = c->job;
	m->region = c->region;
	m->attempt = c->attempt;
	if (spec_parse(c->spec, &spec, &e) != ERR_OK) {
		check_fail(m->c->check, "a worker got a bad specification: %s", e.text);
		return;
	}
	struct graph *g = graph_create(spec);
	take_shape(m, spec, g);
	json_array_foreach (c->subtasks, i, pair)
		take_vertex(m, g, (unsigned)json_integer_value(json_array_get(pair, 0)),
			    (uint32_t)json_integer_value(json_array_get(pair, 1)));
	graph_destroy(g);
	spec_destroy(spec);
	m->run = plane_join(m->c->plane, m->job.hex, m->region, m->attempt.v, m->n_sources,
			    m->n_sinks, m->chained);
	m->phase = PREPARED;
	say_plain(m, CONTROL_REPORT_PREPARED, 0);
}

static void on_run(struct model *m, const struct control_command_msg *c)
{
	if (m->phase != PREPARED)
		return;
	m->complete_to = c->checkpoint.v;
	m->commit_only = c->commit_only;
	if (!json_is_object(c->restore)) {
		start_running(m);
		return;
	}
	m->phase = RESTORING;
	m->restore = json_incref(c->restore);
	restore_step(m);
}

static void on_trigger(struct model *m, const struct control_command_msg *c)
{
	if (c->checkpoint.v <= m->last_trigger || m->n_triggers == FLIGHTS_MAX)
		return;
	m->last_trigger = c->checkpoint.v;
	m->triggers[m->n_triggers++] = c->checkpoint.v;
}

/* The job is over: what no completed checkpoint can hold is taken back. The rest stays as it is:
 * this worker may be of an attempt that others have replaced, and then nobody holds it. */
static void settle(struct model *m, const struct control_command_msg *c)
{
	for (uint32_t i = 0; i < m->n_sinks; i++) {
		struct model_sink *k = &m->state.sinks[i];
		for (unsigned t = 0; k->here && t < k->n_txns; t++) {
			struct ledger_name name = txn_name(m, i, &k->txns[t]);
			if (k->txns[t].checkpoint > c->checkpoint.v)
				ledger_roll_back(m->c->ledger, &name);
		}
	}
}

static void on_command(struct model *m, const struct control_command_msg *c)
{
	switch (c->kind) {
	case CONTROL_WELCOME:
		snprintf(m->tm, sizeof(m->tm), "%s",
			 json_string_value(json_object_get(c->settings, "taskManager")));
		snprintf(m->instance, sizeof(m->instance), "%s",
			 json_string_value(json_object_get(c->settings, "instance")));
		m->align_ms = (uint64_t)json_integer_value(
			json_object_get(c->settings, "alignmentLimitMs"));
		break;
	case CONTROL_PREPARE:
		on_prepare(m, c);
		break;
	case CONTROL_RUN:
		on_run(m, c);
		break;
	case CONTROL_TRIGGER:
		on_trigger(m, c);
		break;
	case CONTROL_COMPLETE:
		if (c->checkpoint.v > m->complete_to)
			m->complete_to = c->checkpoint.v;
		break;
	case CONTROL_ABORT:
		give_up(m, c->checkpoint.v);
		break;
	case CONTROL_FINISH:
	case CONTROL_CANCEL:
		if (m->phase == RUNNING && c->kind == CONTROL_CANCEL && c->terminal)
			settle(m, c);
		m->phase = GONE;
		sim_exit(m->w, 0, 0);
		break;
	case CONTROL_BEAT:
	case CONTROL_UNKNOWN:
	case CONTROL_GOODBYE:
	case CONTROL_COMMAND_COUNT:
		break;
	}
}

/* ---- the process ---- */

static void *model_start(struct world *w, void *ctx, const char *const *argv)
{
	struct model *m = mem_alloc(sizeof(*m));
	(void)argv;
	m->c = ctx;
	m->w = w;
	m->port = sim_blob_port_create(m->c->blobs, w);
	m->tick.fire = on_tick;
	prng_init(&m->rng, world_rand64(w));
	list_append(&m->c->models, &m->hook);
	world_timer_arm(w, &m->tick, world_now_ms(w) + 20);
	return m;
}

static void model_stop(void *objects)
{
	struct model *m = objects;
	list_remove(&m->hook);
	if (m->put.impl)
		m->port->cancel(m->port, &m->put);
	if (m->get.impl)
		m->port->cancel(m->port, &m->get);
	sim_blob_port_destroy(m->port);
	if (m->run)
		plane_leave(m->run, m->phase != GONE || m->doomed);
	for (unsigned i = 0; i < FLIGHTS_MAX; i++)
		flight_free(&m->flights[i]);
	json_decref(m->restore);
	json_decref(m->manifest);
	free(m);
}

static void model_line(void *objects, const char *line, size_t len)
{
	struct model *m = objects;
	struct control_command_msg c;
	struct err e;
	if (control_command_decode(line, len, &c, &e) != ERR_OK) {
		check_fail(m->c->check, "a worker got a broken line: %s", e.text);
		return;
	}
	if (c.epoch.v > m->epoch)
		m->epoch = c.epoch.v;
	if (m->phase != GONE)
		on_command(m, &c);
	control_command_fini(&c);
}

const struct sim_program model_program = {
	.start = model_start, .stop = model_stop, .on_line = model_line};

/* ---- faults ---- */

struct model *model_pick(struct cluster *c, uint64_t draw)
{
	uint64_t n = 0, i = 0;
	list_each (struct model, m, &c->models, hook)
		n += m->phase != GONE;
	list_each (struct model, m, &c->models, hook)
		if (m->phase != GONE && i++ == draw % n)
			return m;
	return NULL;
}

void model_doom(struct model *m, int status, int signal)
{
	m->doomed = true;
	m->doom_status = status;
	m->doom_signal = signal;
}

void model_fail(struct model *m)
{
	m->failing = true;
}

bool model_object_source(const char *bytes, size_t len, uint32_t source, uint64_t *offset)
{
	struct model_state s = {0};
	if (source >= PARALLELISM_MAX || !model_object_read(&s, bytes, len) ||
	    !s.sources[source].here)
		return false;
	*offset = s.sources[source].offset;
	return true;
}
