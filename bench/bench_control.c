/*
 * bench_control - how long the JobManager's brain thinks, with very many TaskManagers.
 *
 *   bench_control [--tms N] [--slots N] [--jobs N] [--parallelism N] [--waiting N] [--limit MS]
 *
 * The pure core (jobmanager/jm.h) alone, in virtual time: a store, storage and TaskManagers that do
 * at once what they are told stand around it, and only the steps of the core are timed. Phases:
 *
 *   register    all TaskManagers, with empty inventories
 *   submit      all jobs, until they are RUNNING: placed, prepared, run
 *   beats       ten seconds of heartbeats in both directions
 *   checkpoint  one checkpoint of every job, until it is complete
 *   wait        more jobs, for which there are no slots
 *   lose        one TaskManager dies, and those that it concerned run again
 *   takeover    another leader: all documents, all inventories, until every job is adopted
 *
 * For each: steps, CPU time of all of them, the mean, the longest with the event that it was. Exit
 * status 1: something did not come about, or a step took longer than --limit (0: no limit).
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <xxhash.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"
#include "job/spec.h"
#include "jobmanager/inspect.h"
#include "jobmanager/jm.h"

enum { STORE_BUCKETS = 1 << 16, WAKES_MAX = 100000000, BEATS_S = 10 };

struct options {
	uint64_t tms, slots, jobs, parallelism, waiting, limit;
};

/* ---- the store ---- */

struct record {
	struct record *next;
	char *key, *value;
	size_t len;
	uint64_t revision;
};

struct item {
	struct control_item told; /* without acks */
	json_t *acks;             /* owns */
};

struct player {
	uint64_t stream, registration, report_seq, beat_ms;
	unsigned n_items, capacity;
	struct item *items; /* owns */
};

/* What is to come to the brain: in the order in which it was asked for. */
struct coming {
	struct jm_effect effect; /* owns; kind JM_COMMAND: a report that `tm` makes of it */
	uint32_t tm;
};

struct phase {
	const char *name, *worst_event;
	uint64_t steps, total_ns, worst_ns;
};

struct bench {
	struct options o;
	struct jm *jm;
	uint64_t now_ms, revision, epoch, next_stream, next_request;
	struct record *store[STORE_BUCKETS];
	struct player *tms; /* owns */
	struct coming *queue;
	size_t head, tail, capacity;
	struct phase phase;
	uint64_t refused;
	bool too_long;
};

static struct record **bucket_of(struct bench *b, const char *key)
{
	return &b->store[XXH3_64bits(key, strlen(key)) % STORE_BUCKETS];
}

static struct record *find(struct bench *b, const char *key)
{
	struct record *r = *bucket_of(b, key);
	while (r && strcmp(r->key, key) != 0)
		r = r->next;
	return r;
}

static void put(struct bench *b, const char *key, const char *value)
{
	struct record *r = find(b, key);
	if (!r) {
		r = mem_alloc(sizeof(*r));
		r->key = mem_text(key);
		r->next = *bucket_of(b, key);
		*bucket_of(b, key) = r;
	}
	free(r->value);
	r->value = mem_text(value);
	r->len = strlen(value);
	r->revision = b->revision;
}

static void erase(struct bench *b, const char *key)
{
	for (struct record **at = bucket_of(b, key); *at; at = &(*at)->next) {
		struct record *r = *at;
		if (strcmp(r->key, key) != 0)
			continue;
		*at = r->next;
		free(r->key);
		free(r->value);
		free(r);
		return;
	}
}

static struct jm_doc *docs_below(struct bench *b, const char *key, bool prefix, size_t *n)
{
	size_t capacity = 16;
	struct jm_doc *docs = mem_array(capacity, sizeof(*docs));
	*n = 0;
	for (unsigned i = 0; i < STORE_BUCKETS; i++)
		for (const struct record *r = b->store[i]; r; r = r->next) {
			if (prefix ? !text_starts(r->key, key) : strcmp(r->key, key) != 0)
				continue;
			if (*n == capacity)
				docs = mem_resize(docs, capacity *= 2, sizeof(*docs));
			docs[(*n)++] = (struct jm_doc){r->key, r->value, r->len, r->revision};
		}
	return docs;
}

/* ---- steps ---- */

static uint64_t clock_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static struct coming *append(struct bench *b)
{
	if (b->head > 4096 && b->head > b->tail / 2) {
		memmove(b->queue, b->queue + b->head, (b->tail - b->head) * sizeof(*b->queue));
		b->tail -= b->head;
		b->head = 0;
	}
	if (b->tail == b->capacity)
		b->queue = mem_resize(b->queue, b->capacity = b->capacity ? 2 * b->capacity : 1024,
				      sizeof(*b->queue));
	struct coming *c = &b->queue[b->tail++];
	memset(c, 0, sizeof(*c));
	return c;
}

static void keep(struct bench *b, struct jm_effect *e, uint32_t tm)
{
	struct coming *c = append(b);
	c->effect = *e;
	c->tm = tm;
	memset(e, 0, sizeof(*e));
}

static void begins(struct bench *b, const char *name)
{
	b->phase = (struct phase){.name = name, .worst_event = "-"};
}

static void ends(struct bench *b)
{
	const struct phase *p = &b->phase;
	printf("%-10s %8" PRIu64 " steps %9.1f ms %8.1f us each %8.2f ms longest (%s)\n", p->name,
	       p->steps, (double)p->total_ns / 1e6,
	       p->steps ? (double)p->total_ns / 1e3 / (double)p->steps : 0.0,
	       (double)p->worst_ns / 1e6, p->worst_event);
	fflush(stdout);
	b->too_long |= b->o.limit && p->worst_ns > b->o.limit * 1000000;
}

static void refused(struct bench *b, const struct jm_effect *e)
{
	if (e->code != ERR_OK && b->refused++ == 0)
		fprintf(stderr, "refused: %s %s\n", err_name(e->code), e->text ? e->text : "");
}

/* One step, and the question when the next is due, as the driver asks it: timed together. */
static uint64_t step(struct bench *b, struct jm_event *ev)
{
	struct jm_effects fx = {0};
	ev->now_ms = b->now_ms;
	ev->wall_ms = INT64_C(1700000000000) + (int64_t)b->now_ms;
	uint64_t from = clock_ns();
	jm_step(b->jm, ev, &fx);
	uint64_t wake = jm_wake_ms(b->jm), took = clock_ns() - from;
	b->phase.steps++;
	b->phase.total_ns += took;
	if (took > b->phase.worst_ns) {
		b->phase.worst_ns = took;
		b->phase.worst_event = jm_event_name(ev->kind);
	}
	for (size_t i = 0; i < fx.n; i++) {
		struct jm_effect *e = &fx.at[i];
		if (e->kind == JM_COMMAND)
			keep(b, e, (uint32_t)(e->stream % 100000000));
		else if (e->kind == JM_DECIDE || e->kind == JM_READ || e->kind == JM_BLOB_PUT ||
			 e->kind == JM_BLOB_REMOVE)
			keep(b, e, 0);
		else if (e->kind == JM_REPLY)
			refused(b, e);
	}
	jm_effects_clear(&fx);
	return wake;
}

/* ---- what comes back ---- */

static void decided(struct bench *b, const struct jm_effect *e)
{
	struct jm_event ev = {.kind = JM_DECIDED, .token = e->token, .job = e->job};
	const struct record *chain = find(b, e->key);
	if ((chain ? chain->revision : 0) != e->revision) {
		ev.code = ERR_CONFLICT;
	} else {
		b->revision++;
		for (unsigned i = 0; i < e->n_ops; i++) {
			if (e->ops[i].value)
				put(b, e->ops[i].key, e->ops[i].value);
			else
				erase(b, e->ops[i].key);
		}
		chain = find(b, e->key);
		ev.revision = chain ? chain->revision : 0;
	}
	step(b, &ev);
}

static void read_done(struct bench *b, const struct jm_effect *e)
{
	struct jm_event ev = {.kind = JM_READ_DONE, .token = e->token, .job = e->job};
	struct jm_doc *docs = docs_below(b, e->key, e->prefix, &ev.n_docs);
	ev.docs = docs;
	step(b, &ev);
	free(docs);
}

static struct item *item_of(struct player *p, const struct control_command_msg *m)
{
	for (unsigned i = 0; i < p->n_items; i++)
		if (p->items[i].told.region == m->region &&
		    p->items[i].told.attempt.v == m->attempt.v &&
		    job_id_equal(&p->items[i].told.job, &m->job))
			return &p->items[i];
	return NULL;
}

static void drop(struct player *p, struct item *x)
{
	json_decref(x->told.subtasks);
	json_decref(x->acks);
	*x = p->items[--p->n_items];
}

static struct item *prepared(struct player *p, const struct control_command_msg *m)
{
	if (p->n_items == p->capacity)
		p->items = mem_resize(p->items, p->capacity = p->capacity ? 2 * p->capacity : 4,
				      sizeof(*p->items));
	struct item *x = &p->items[p->n_items++];
	*x = (struct item){.told = {.job = m->job, .region = m->region, .attempt = m->attempt}};
	x->told.subtasks = json_incref(m->subtasks);
	x->told.state = CONTROL_STATE_PREPARED;
	snprintf(x->told.address, sizeof(x->told.address), "10.0.0.1:7000");
	return x;
}

static json_t *object_of(const struct control_command_msg *m, uint32_t tm)
{
	char path[160];
	snprintf(path, sizeof(path), "jobs/%s/chk-%" PRIu64 "/%" PRIu32 "-%" PRIu32 ".snap",
		 m->job.hex, m->checkpoint.v, m->attempt.v, tm);
	return json_pack("{s:s, s:i, s:s}", "path", path, "bytes", 1000, "checksum",
			 "0123456789abcdef");
}

static void report(struct bench *b, uint32_t tm, struct control_report_msg *r)
{
	struct player *p = &b->tms[tm];
	r->seq = ++p->report_seq;
	struct control_reports all = {
		.registration = p->registration, .epoch = {b->epoch}, .n = 1, .reports = r};
	step(b, &(struct jm_event){.kind = JM_TM_REPORTS, .token = 7, .reports = &all});
}

/* What a TaskManager says to a command; nothing: it says nothing. */
static void obey(struct bench *b, uint32_t tm, const struct control_command_msg *m)
{
	struct player *p = &b->tms[tm];
	struct item *x = item_of(p, m);
	struct control_report_msg r = {.kind = CONTROL_REPORT_BEAT,
				       .job = m->job,
				       .region = m->region,
				       .attempt = m->attempt,
				       .vertex = -1,
				       .subtask = -1,
				       .checkpoint = m->checkpoint};
	if (m->kind == CONTROL_WELCOME)
		p->registration = m->registration;
	else if (m->kind == CONTROL_PREPARE && !x) {
		r.kind = CONTROL_REPORT_PREPARED;
		memcpy(r.address, prepared(p, m)->told.address, sizeof(r.address));
	} else if (m->kind == CONTROL_RUN && x) {
		x->told.state = CONTROL_STATE_RUNNING;
		r.kind = CONTROL_REPORT_RUNNING;
	} else if (m->kind == CONTROL_TRIGGER && x) {
		r.kind = CONTROL_REPORT_ACK;
		r.object = object_of(m, tm);
	} else if (m->kind == CONTROL_COMPLETE && x) {
		x->told.completed = x->told.committed = m->checkpoint;
		r.kind = CONTROL_REPORT_COMMITTED;
	} else if ((m->kind == CONTROL_CANCEL || m->kind == CONTROL_FINISH) && x) {
		r.kind = CONTROL_REPORT_ENDED;
		drop(p, x);
	}
	if (r.kind != CONTROL_REPORT_BEAT)
		report(b, tm, &r);
	json_decref(r.object);
}

static void come(struct bench *b)
{
	struct coming c = b->queue[b->head++];
	struct jm_effects fx = {0};
	struct jm_event blob = {.kind = JM_BLOB_DONE, .token = c.effect.token, .job = c.effect.job};
	if (c.effect.kind == JM_DECIDE)
		decided(b, &c.effect);
	else if (c.effect.kind == JM_READ)
		read_done(b, &c.effect);
	else if (c.effect.kind != JM_COMMAND)
		step(b, &blob);
	else if (b->tms[c.tm].stream == c.effect.stream)
		obey(b, c.tm, c.effect.command);
	*effects_add(&fx, c.effect.kind) = c.effect;
	jm_effects_clear(&fx);
}

/* All that is to come comes, without time. */
static void settle(struct bench *b)
{
	while (b->head < b->tail)
		come(b);
}

static void beats(struct bench *b)
{
	for (uint32_t i = 0; i < b->o.tms; i++) {
		struct player *p = &b->tms[i];
		if (!p->stream || b->now_ms < p->beat_ms)
			continue;
		p->beat_ms += 1000;
		struct control_item *items = mem_array(p->n_items + 1, sizeof(*items));
		for (unsigned k = 0; k < p->n_items; k++)
			items[k] = p->items[k].told;
		struct control_report_msg r = {.kind = CONTROL_REPORT_BEAT,
					       .digest = control_digest(items, p->n_items)};
		free(items);
		report(b, i, &r);
	}
}

/* So much time passes, with whatever it brings. */
static void pass(struct bench *b, uint64_t ms)
{
	uint64_t end = b->now_ms + ms;
	while (b->now_ms < end) {
		b->now_ms++;
		beats(b);
		if (jm_wake_ms(b->jm) <= b->now_ms)
			step(b, &(struct jm_event){.kind = JM_TIME});
		settle(b);
	}
}

/* ---- phases ---- */

static void register_one(struct bench *b, uint32_t i)
{
	struct player *p = &b->tms[i];
	struct control_registration r = {.slots = (uint32_t)b->o.slots, .pid = 1};
	snprintf(r.id, sizeof(r.id), "taskmanager-%05" PRIu32, i);
	snprintf(r.instance, sizeof(r.instance), "%032" PRIx32, i);
	snprintf(r.cookie, sizeof(r.cookie), "c1");
	snprintf(r.data_address, sizeof(r.data_address), "10.0.0.1:7000");
	r.items = mem_array(p->n_items + 1, sizeof(*r.items));
	for (unsigned k = 0; k < p->n_items; k++)
		r.items[r.n_items++] = p->items[k].told;
	p->stream = ++b->next_stream * 100000000 + i;
	p->report_seq = 0;
	p->beat_ms = b->now_ms + i % 1000;
	step(b, &(struct jm_event){.kind = JM_TM_REGISTER, .token = p->stream, .registration = &r});
	free(r.items);
	settle(b);
}

static void lead(struct bench *b)
{
	struct jm_config config = {.instance = "jm", .storage = "file:///storage"};
	b->jm = jm_create(&config);
	b->epoch = ++b->revision;
	struct jm_event ev = {.kind = JM_LEADING, .epoch = {b->epoch}, .cluster_id = "c1"};
	struct jm_doc *docs = docs_below(b, "run/", true, &ev.n_docs);
	ev.docs = docs;
	step(b, &ev);
	free(docs);
	settle(b);
}

static void submit(struct bench *b, uint64_t number, uint64_t parallelism)
{
	struct jm_event ev = {.kind = JM_SUBMIT, .token = ++b->next_request};
	char name[32];
	snprintf(name, sizeof(name), "job-%" PRIu64, number);
	snprintf(ev.job.hex, sizeof(ev.job.hex), "%032" PRIx64, number * UINT64_C(2654435761));
	json_t *spec = json_pack(
		"{s:s, s:I, s:s, s:I, s:{s:s}, s:[{s:s,s:s,s:i,s:i,s:i}, {s:s,s:s,s:[s],s:[s],s:[{s:s,s:s}]},"
		" {s:s,s:s,s:[s],s:s,s:s}]}",
		"name", name, "parallelism", (json_int_t)parallelism, "slotTimeout", "1h",
		"maxParallelism", (json_int_t)32768, "checkpointing", "interval", "20s",
		"operators", "uid", "numbers", "type", "source.sequence", "from", 0, "to", 1000000,
		"keys", 1000, "uid", "counts", "type", "aggregate", "inputs", "numbers", "keyBy",
		"key", "aggregates", "count", "*", "as", "n", "uid", "out", "type", "sink.file",
		"inputs", "counts", "path", "out", "semantics", "exactly-once");
	ev.spec = spec;
	step(b, &ev);
	json_decref(spec);
	settle(b);
}

static size_t count_state(struct bench *b, const char *state, bool checkpointed)
{
	size_t n = 0;
	for (size_t i = 0; i < jm_view_jobs(b->jm); i++) {
		struct jm_job_view v;
		jm_view_job_at(b->jm, i, &v);
		const struct doc_pointer *newest = doc_newest(v.doc);
		n += strcmp(v.state, state) == 0 && (!checkpointed || newest != NULL);
	}
	return n;
}

static bool await(struct bench *b, const char *state, bool checkpointed, size_t n, uint64_t ms)
{
	uint64_t end = b->now_ms + ms;
	while (count_state(b, state, checkpointed) < n && b->now_ms < end)
		pass(b, 20);
	if (count_state(b, state, checkpointed) >= n)
		return true;
	fprintf(stderr, "%s: %zu of %zu jobs are %s\n", b->phase.name,
		count_state(b, state, checkpointed), n, state);
	return false;
}

static void forget(struct player *p)
{
	while (p->n_items)
		drop(p, &p->items[0]);
	p->stream = 0;
}

static bool lose_one(struct bench *b)
{
	struct player *p = &b->tms[0];
	uint64_t stream = p->stream;
	forget(p);
	step(b, &(struct jm_event){.kind = JM_TM_GONE, .token = stream});
	step(b, &(struct jm_event){.kind = JM_TM_DEAD, .token = stream});
	settle(b);
	register_one(b, 0); /* it is started again */
	return await(b, "RUNNING", false, b->o.jobs, 60000);
}

static bool take_over(struct bench *b)
{
	jm_destroy(b->jm);
	while (b->head < b->tail) {
		struct jm_effects fx = {0};
		*effects_add(&fx, JM_TRACE) = b->queue[b->head++].effect;
		jm_effects_clear(&fx);
	}
	lead(b);
	for (uint32_t i = 0; i < b->o.tms; i++)
		register_one(b, i);
	return await(b, "RUNNING", false, b->o.jobs, 5000);
}

static bool play(struct bench *b)
{
	begins(b, "register");
	lead(b);
	for (uint32_t i = 0; i < b->o.tms; i++)
		register_one(b, i);
	ends(b);
	begins(b, "submit");
	for (uint64_t i = 0; i < b->o.jobs; i++)
		submit(b, i, b->o.parallelism);
	bool ok = await(b, "RUNNING", false, b->o.jobs, 10000);
	ends(b);
	begins(b, "beats");
	pass(b, BEATS_S * 1000);
	ends(b);
	begins(b, "checkpoint");
	ok = await(b, "RUNNING", true, b->o.jobs, 30000) && ok;
	ends(b);
	begins(b, "wait");
	for (uint64_t i = 0; i < b->o.waiting; i++)
		submit(b, b->o.jobs + i, b->o.parallelism);
	ends(b);
	begins(b, "lose");
	ok = lose_one(b) && ok;
	ends(b);
	begins(b, "takeover");
	ok = take_over(b) && ok;
	ends(b);
	const struct counts_takeover *t = &jm_view_counts(b->jm)->takeover;
	uint64_t adopted = t->tasks_adopted, restarted = t->tasks_restarted;
	printf("tasks adopted %" PRIu64 ", restarted %" PRIu64 "; requests refused %" PRIu64 "\n",
	       adopted, restarted, b->refused);
	return ok && !restarted && !b->refused && !b->too_long;
}

static bool read_options(int argc, char **argv, struct options *o)
{
	const struct {
		const char *name;
		uint64_t *value;
	} all[] = {{"--tms", &o->tms},         {"--slots", &o->slots},
		   {"--jobs", &o->jobs},       {"--parallelism", &o->parallelism},
		   {"--waiting", &o->waiting}, {"--limit", &o->limit}};
	for (int i = 1; i < argc; i += 2) {
		size_t k = 0;
		while (k < sizeof(all) / sizeof(all[0]) && strcmp(argv[i], all[k].name) != 0)
			k++;
		if (k == sizeof(all) / sizeof(all[0]) || i + 1 == argc ||
		    text_u64(argv[i + 1], all[k].value, NULL) != ERR_OK)
			return false;
	}
	return o->tms > 0 && o->jobs > 0;
}

int main(int argc, char **argv)
{
	struct bench *b = mem_alloc(sizeof(*b));
	b->o = (struct options){
		.tms = 10000, .slots = 5, .jobs = 1000, .parallelism = 50, .waiting = 200};
	if (!read_options(argc, argv, &b->o)) {
		fprintf(stderr, "bench_control: see the head of bench/bench_control.c\n");
		return 2;
	}
	printf("%" PRIu64 " TaskManagers, %" PRIu64 " slots each; %" PRIu64
	       " jobs of parallelism %" PRIu64 ", and %" PRIu64 " that wait\n",
	       b->o.tms, b->o.slots, b->o.jobs, b->o.parallelism, b->o.waiting);
	b->tms = mem_array(b->o.tms, sizeof(*b->tms));
	bool ok = play(b);
	jm_destroy(b->jm);
	for (uint32_t i = 0; i < b->o.tms; i++) {
		forget(&b->tms[i]);
		free(b->tms[i].items);
	}
	while (b->head < b->tail) {
		struct jm_effects fx = {0};
		*effects_add(&fx, JM_TRACE) = b->queue[b->head++].effect;
		jm_effects_clear(&fx);
	}
	for (unsigned i = 0; i < STORE_BUCKETS; i++)
		while (b->store[i])
			erase(b, b->store[i]->key);
	free(b->queue);
	free(b->tms);
	free(b);
	return ok ? 0 : 1;
}
