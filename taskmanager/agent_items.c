/* Attempts and their workers: the lower two machines of agent_core.h. */
#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "base/mem.h"
#include "taskmanager/agent_parts.h"

static const struct sm_state item_states[] = {
	[CONTROL_STATE_PREPARING] = {"PREPARING", SM_TO(CONTROL_STATE_PREPARED) |
							  SM_TO(CONTROL_STATE_RUNNING) |
							  SM_TO(CONTROL_STATE_FAILED) |
							  SM_TO(CONTROL_STATE_ENDED)},
	[CONTROL_STATE_PREPARED] = {"PREPARED", SM_TO(CONTROL_STATE_RUNNING) |
							SM_TO(CONTROL_STATE_FAILED) |
							SM_TO(CONTROL_STATE_ENDED)},
	[CONTROL_STATE_RUNNING] = {"RUNNING",
				   SM_TO(CONTROL_STATE_FAILED) | SM_TO(CONTROL_STATE_ENDED)},
	[CONTROL_STATE_FAILED] = {"FAILED", SM_TO(CONTROL_STATE_ENDED)},
	[CONTROL_STATE_ENDED] = {"ENDED", 0},
};
const struct sm_table agent_item_table = {"attempt", item_states, CONTROL_STATE_COUNT};

static const struct sm_state worker_states[] = {
	[AGENT_WORKER_NONE] = {"NONE", SM_TO(AGENT_WORKER_UP)},
	[AGENT_WORKER_UP] = {"UP", SM_TO(AGENT_WORKER_ENDING) | SM_TO(AGENT_WORKER_GONE)},
	[AGENT_WORKER_ENDING] = {"ENDING", SM_TO(AGENT_WORKER_KILLED) | SM_TO(AGENT_WORKER_GONE)},
	[AGENT_WORKER_KILLED] = {"KILLED", SM_TO(AGENT_WORKER_GONE)},
	[AGENT_WORKER_GONE] = {"GONE", 0},
};
const struct sm_table agent_worker_table = {"worker", worker_states, AGENT_WORKER_COUNT};

/* ---- looking ---- */

static struct agent_item *item_by_id(const struct agent_core *c, uint64_t id)
{
	for (unsigned i = 0; i < c->n_items; i++) {
		if (c->items[i]->id == id)
			return c->items[i];
	}
	return NULL;
}

static struct agent_item *item_find(const struct agent_core *c, const struct job_id *job,
				    uint32_t region, struct attempt attempt)
{
	for (unsigned i = 0; i < c->n_items; i++) {
		struct agent_item *it = c->items[i];
		if (it->c.attempt.v == attempt.v && it->c.region == region &&
		    job_id_equal(&it->c.job, job))
			return it;
	}
	return NULL;
}

static bool has_process(const struct agent_item *it)
{
	unsigned s = sm_state(&it->worker);
	return s != AGENT_WORKER_NONE && s != AGENT_WORKER_GONE;
}

static bool going(const struct agent_item *it)
{
	return !it->closing && it->c.state < CONTROL_STATE_FAILED;
}

bool agent_items_going(const struct agent_core *c)
{
	for (unsigned i = 0; i < c->n_items; i++) {
		if (going(c->items[i]))
			return true;
	}
	return false;
}

bool agent_items_workers(const struct agent_core *c)
{
	for (unsigned i = 0; i < c->n_items; i++) {
		if (has_process(c->items[i]))
			return true;
	}
	return false;
}

const struct control_item *agent_item_of(const struct agent_core *c, uint64_t item)
{
	struct agent_item *it = item_by_id(c, item);
	return it ? &it->c : NULL;
}

uint32_t agent_item_slots(const struct agent_core *c, uint64_t item)
{
	struct agent_item *it = item_by_id(c, item);
	return it ? it->slots : 0;
}

unsigned agent_item_count(const struct agent_core *c)
{
	return c->n_items;
}

const struct control_item *agent_item_at(const struct agent_core *c, unsigned i, uint64_t *out_item,
					 enum agent_worker *out_worker)
{
	assert(i < c->n_items);
	*out_item = c->items[i]->id;
	*out_worker = (enum agent_worker)sm_state(&c->items[i]->worker);
	return &c->items[i]->c;
}

/* ---- slots ---- */

static uint32_t slots_needed(const json_t *subtasks)
{
	uint32_t most = 0;
	uint32_t *counts = mem_array(LIMIT_OPERATORS, sizeof(*counts));
	size_t i;
	json_t *pair;
	json_array_foreach (subtasks, i, pair) {
		json_int_t vertex = json_integer_value(json_array_get(pair, 0));
		if (vertex < 0 || vertex >= LIMIT_OPERATORS)
			vertex = LIMIT_OPERATORS - 1;
		if (++counts[vertex] > most)
			most = counts[vertex];
	}
	free(counts);
	return most;
}

/* The regions of one job share slots, so a job counts with its largest; `extra` is one more worker
 * of `job` (NULL: none). */
static uint32_t slots_with(const struct agent_core *c, const struct job_id *job, uint32_t extra)
{
	uint32_t used = 0;
	bool counted = !job;
	for (unsigned i = 0; i < c->n_items; i++) {
		const struct agent_item *it = c->items[i];
		uint32_t most = 0;
		bool first = going(it);
		for (unsigned k = 0; k < i && first; k++)
			first = !(going(c->items[k]) &&
				  job_id_equal(&c->items[k]->c.job, &it->c.job));
		if (!first)
			continue;
		for (unsigned k = i; k < c->n_items; k++) {
			const struct agent_item *o = c->items[k];
			if (going(o) && job_id_equal(&o->c.job, &it->c.job) && o->slots > most)
				most = o->slots;
		}
		if (job && job_id_equal(job, &it->c.job)) {
			counted = true;
			most = extra > most ? extra : most;
		}
		used += most;
	}
	return counted ? used : used + extra;
}

uint32_t agent_slots_used(const struct agent_core *c)
{
	return slots_with(c, NULL, 0);
}

/* ---- ended attempts ---- */

static bool has_ended(const struct agent_core *c, const struct job_id *job, uint32_t region,
		      struct attempt attempt)
{
	for (unsigned i = 0; i < c->n_ended; i++) {
		const struct agent_ended *e = &c->ended[i];
#ifndef WEIR_MUTANT_ENDED_ATTEMPT_STARTED_AGAIN
		if (e->region == region && e->attempt.v >= attempt.v && job_id_equal(&e->job, job))
			return true;
#else
		(void)e, (void)job, (void)region, (void)attempt;
#endif
	}
	return false;
}

/* One entry per (job, region): the newest attempt that ended. The oldest entry gives way. */
static void remember_ended(struct agent_core *c, const struct job_id *job, uint32_t region,
			   struct attempt attempt)
{
	for (unsigned i = 0; i < c->n_ended; i++) {
		struct agent_ended *e = &c->ended[i];
		if (e->region == region && job_id_equal(&e->job, job)) {
			if (attempt.v > e->attempt.v)
				e->attempt = attempt;
			return;
		}
	}
	if (!c->ended)
		c->ended = mem_array(AGENT_ENDED_MAX, sizeof(*c->ended));
	c->ended[c->next_ended] =
		(struct agent_ended){.job = *job, .region = region, .attempt = attempt};
	c->next_ended = (c->next_ended + 1) % AGENT_ENDED_MAX;
	if (c->n_ended < AGENT_ENDED_MAX)
		c->n_ended++;
}

/* ---- the life of an item ---- */

static void item_free(struct agent_item *it)
{
	json_decref(it->c.subtasks);
	json_decref(it->c.acks);
	json_decref(it->c.vertices);
	free(it);
}

void agent_items_fini(struct agent_core *c)
{
	for (unsigned i = 0; i < c->n_items; i++)
		item_free(c->items[i]);
	free(c->items);
	free(c->ended);
	c->items = NULL;
	c->ended = NULL;
	c->n_items = c->n_ended = 0;
}

static struct agent_item *item_add(struct agent_core *c, const struct control_command_msg *m)
{
	struct agent_item *it = mem_alloc(sizeof(*it));
	it->id = ++c->next_item;
	it->c.job = m->job;
	it->c.region = m->region;
	it->c.attempt = m->attempt;
	it->c.subtasks = m->subtasks ? json_incref(m->subtasks) : json_array();
	it->c.acks = json_array();
	it->slots = slots_needed(m->subtasks);
	sm_init(&it->state, &agent_item_table, CONTROL_STATE_PREPARING);
	sm_init(&it->worker, &agent_worker_table, AGENT_WORKER_NONE);
	c->items = mem_resize(c->items, c->n_items + 1, sizeof(struct agent_item *));
	c->items[c->n_items++] = it;
	return it;
}

static void item_remove(struct agent_core *c, struct agent_item *it)
{
	unsigned i = 0;
	while (c->items[i] != it)
		i++;
	c->n_items--;
	memmove(&c->items[i], &c->items[i + 1], (c->n_items - i) * sizeof(struct agent_item *));
	item_free(it);
}

static void item_move(struct agent_turn *t, struct agent_item *it, enum control_state next,
		      const char *why)
{
	const char *from = sm_name(&it->state);
	sm_move(&it->state, next, why);
	it->c.state = next;
	agent_log(t, LOG_LEVEL_INFO, "job=%s region=%u attempt=%u %s -> %s, %s", it->c.job.hex,
		  it->c.region, it->c.attempt.v, from, sm_name(&it->state), why);
}

static struct control_report_msg *report(struct agent_turn *t, struct agent_item *it,
					 enum control_report kind)
{
	return agent_report_add(t, kind, &it->c.job, it->c.region, it->c.attempt);
}

static void send_command(struct agent_turn *t, struct agent_item *it,
			 const struct control_command_msg *m)
{
	struct agent_effect *fx = agent_effect_add(t, AGENT_FX_SEND);
	fx->item = it->id;
	fx->command = *m;
}

/* The worker is to leave: by itself within `grace_ms`, else by force. */
static void worker_leave(struct agent_turn *t, struct agent_item *it,
			 const struct control_command_msg *m, uint64_t grace_ms)
{
	if (sm_state(&it->worker) != AGENT_WORKER_UP &&
	    sm_state(&it->worker) != AGENT_WORKER_ENDING)
		return;
	send_command(t, it, m);
	if (sm_state(&it->worker) == AGENT_WORKER_UP)
		sm_move(&it->worker, AGENT_WORKER_ENDING, "told to leave");
	it->kill_ms = t->ev->now_ms + grace_ms;
}

static void item_ended(struct agent_turn *t, struct agent_item *it, const char *why)
{
	item_move(t, it, CONTROL_STATE_ENDED, why);
	remember_ended(t->c, &it->c.job, it->c.region, it->c.attempt);
	(void)report(t, it, CONTROL_REPORT_ENDED);
	item_remove(t->c, it);
}

static void item_fail(struct agent_turn *t, struct agent_item *it,
		      const struct control_report_msg *how)
{
	if (!going(it))
		return;
	it->c.external = how->external;
	it->c.corrupt = how->corrupt;
	snprintf(it->c.text, sizeof(it->c.text), "%s", how->text);
	item_move(t, it, CONTROL_STATE_FAILED, how->text);
	struct control_report_msg *r = report(t, it, CONTROL_REPORT_FAILED);
	if (r) {
		r->vertex = how->vertex;
		r->subtask = how->subtask;
		r->external = how->external;
		r->corrupt = how->corrupt;
		snprintf(r->text, sizeof(r->text), "%s", how->text);
	}
	struct control_command_msg cancel = {.kind = CONTROL_CANCEL,
					     .epoch = t->c->highest,
					     .job = it->c.job,
					     .region = it->c.region,
					     .attempt = it->c.attempt};
	snprintf(cancel.text, sizeof(cancel.text), "%.255s", how->text);
	worker_leave(t, it, &cancel, AGENT_CANCEL_MS);
}

static void item_fail_external(struct agent_turn *t, struct agent_item *it, const char *why)
{
	struct control_report_msg how = {.vertex = -1, .subtask = -1, .external = true};
	snprintf(how.text, sizeof(how.text), "%s", why);
	item_fail(t, it, &how);
}

void agent_items_fail_all(struct agent_turn *t, const char *why)
{
	for (unsigned i = 0; i < t->c->n_items; i++)
		item_fail_external(t, t->c->items[i], why);
}

/* ---- commands ---- */

static void command_close(struct agent_turn *t, struct agent_item *it,
			  const struct control_command_msg *m)
{
	bool patient = m->kind == CONTROL_FINISH || m->terminal;
	it->closing = true;
	if (!has_process(it)) {
		item_ended(t, it, m->kind == CONTROL_FINISH ? "finished" : "cancelled");
		return;
	}
	worker_leave(t, it, m, patient ? AGENT_TERMINAL_MS : AGENT_CANCEL_MS);
}

/* The record says attempt n: everything older of that region is over. */
static void supersede(struct agent_turn *t, const struct control_command_msg *m)
{
	for (unsigned i = t->c->n_items; i-- > 0;) {
		struct agent_item *it = t->c->items[i];
		if (it->c.region != m->region || it->c.attempt.v >= m->attempt.v ||
		    !job_id_equal(&it->c.job, &m->job) || it->closing)
			continue;
		struct control_command_msg cancel = {.kind = CONTROL_CANCEL,
						     .epoch = m->epoch,
						     .job = m->job,
						     .region = m->region,
						     .attempt = it->c.attempt};
		snprintf(cancel.text, sizeof(cancel.text), "attempt %u takes over", m->attempt.v);
		command_close(t, it, &cancel);
	}
}

static bool newer_is_here(const struct agent_core *c, const struct control_command_msg *m)
{
	for (unsigned i = 0; i < c->n_items; i++) {
		const struct agent_item *it = c->items[i];
		if (it->c.region == m->region && it->c.attempt.v > m->attempt.v &&
		    job_id_equal(&it->c.job, &m->job))
			return true;
	}
	return false;
}

/* The leader asks again for what is here: tell it how far it has come. */
static void restate(struct agent_turn *t, struct agent_item *it)
{
	struct control_report_msg *r = NULL;
	if (it->closing)
		return;
	if (it->c.state == CONTROL_STATE_PREPARED)
		r = report(t, it, CONTROL_REPORT_PREPARED);
	else if (it->c.state == CONTROL_STATE_RUNNING)
		r = report(t, it, CONTROL_REPORT_RUNNING);
	else if (it->c.state == CONTROL_STATE_FAILED)
		r = report(t, it, CONTROL_REPORT_FAILED);
	if (!r)
		return;
	snprintf(r->address, sizeof(r->address), "%s", it->c.address);
	snprintf(r->text, sizeof(r->text), "%s", it->c.text);
	r->external = it->c.external;
	r->corrupt = it->c.corrupt;
}

static void command_prepare(struct agent_turn *t, const struct control_command_msg *m)
{
	struct agent_core *c = t->c;
	struct agent_item *it = item_find(c, &m->job, m->region, m->attempt);
	if (it) {
		restate(t, it);
		return;
	}
	if (has_ended(c, &m->job, m->region, m->attempt) || newer_is_here(c, m)) {
		agent_log(t, LOG_LEVEL_WARN,
			  "job=%s region=%u attempt=%u is over here; not started", m->job.hex,
			  m->region, m->attempt.v);
		(void)agent_report_add(t, CONTROL_REPORT_ENDED, &m->job, m->region, m->attempt);
		return;
	}
	supersede(t, m);
	uint32_t before = slots_with(c, &m->job, slots_needed(m->subtasks));
	bool full = c->n_items >= LIMIT_TASKMANAGER_JOBS;
	char why[160] = "";
	if (sm_state(&c->session) == AGENT_STOPPING)
		snprintf(why, sizeof(why), "the TaskManager was asked to stop");
	else if (before > c->options.slots)
		snprintf(why, sizeof(why), "%u slots would be in use, the TaskManager has %u",
			 before, c->options.slots);
	else if (full)
		snprintf(why, sizeof(why), "the TaskManager holds %u attempts already", c->n_items);
	it = item_add(c, m);
	agent_log(t, LOG_LEVEL_INFO, "job=%s region=%u attempt=%u PREPARING, %u slots", m->job.hex,
		  m->region, m->attempt.v, it->slots);
	if (*why) {
		item_fail_external(t, it, why);
		return;
	}
	sm_move(&it->worker, AGENT_WORKER_UP, "prepare");
	agent_effect_add(t, AGENT_FX_SPAWN)->item = it->id;
	send_command(t, it, m);
}

static void acks_drop(struct agent_item *it, struct ckpt_id checkpoint, bool and_older)
{
	for (size_t i = json_array_size(it->c.acks); i-- > 0;) {
		json_t *ack = json_array_get(it->c.acks, i);
		uint64_t id = (uint64_t)json_integer_value(json_object_get(ack, "checkpoint"));
		if (id == checkpoint.v || (and_older && id < checkpoint.v))
			json_array_remove(it->c.acks, i);
	}
}

static void command_item(struct agent_turn *t, struct agent_item *it,
			 const struct control_command_msg *m)
{
	if (m->kind == CONTROL_CANCEL || m->kind == CONTROL_FINISH) {
		command_close(t, it, m);
		return;
	}
	if (!going(it))
		return;
	if (m->kind == CONTROL_RUN) {
		if (it->run_sent)
			return; /* a new leader repeats what its predecessor had sent */
		it->run_sent = true;
	}
	if ((m->kind == CONTROL_RUN || m->kind == CONTROL_COMPLETE) &&
	    m->checkpoint.v > it->c.completed.v)
		it->c.completed = m->checkpoint;
	if (m->kind == CONTROL_COMPLETE)
		acks_drop(it, m->checkpoint, true);
	if (m->kind == CONTROL_ABORT)
		acks_drop(it, m->checkpoint, false);
	send_command(t, it, m);
}

/* The store does not know this job: only the unbroken repetition counts. */
static void command_unknown(struct agent_turn *t, const struct control_command_msg *m)
{
	uint64_t now = t->ev->now_ms;
	for (unsigned i = 0; i < t->c->n_items; i++) {
		struct agent_item *it = t->c->items[i];
		if (!job_id_equal(&it->c.job, &m->job) || !going(it))
			continue;
		if (!it->unknown_since_ms || now - it->unknown_ms > AGENT_UNKNOWN_GAP_MS) {
			it->unknown_since_ms = now;
			agent_log(t, LOG_LEVEL_WARN,
				  "job=%s is not known to the leader; its tasks go on for %llu ms",
				  m->job.hex, (unsigned long long)t->c->orphan_ms);
		}
		it->unknown_ms = now;
		if (now - it->unknown_since_ms >= t->c->orphan_ms)
			item_fail_external(t, it, "the leader's store does not know this job");
	}
}

static void known_again(struct agent_core *c, const struct job_id *job)
{
	for (unsigned i = 0; i < c->n_items; i++) {
		if (job_id_equal(&c->items[i]->c.job, job))
			c->items[i]->unknown_since_ms = 0;
	}
}

void agent_items_command(struct agent_turn *t, const struct control_command_msg *m)
{
	if (m->kind == CONTROL_UNKNOWN) {
		command_unknown(t, m);
		return;
	}
	known_again(t->c, &m->job);
	if (m->kind == CONTROL_PREPARE) {
		command_prepare(t, m);
		return;
	}
	struct agent_item *it = item_find(t->c, &m->job, m->region, m->attempt);
	if (it) {
		command_item(t, it, m);
		return;
	}
	agent_log(t, LOG_LEVEL_DEBUG, "job=%s region=%u attempt=%u is not here; %s ignored",
		  m->job.hex, m->region, m->attempt.v, control_command_name(m->kind));
	if (m->kind == CONTROL_CANCEL || m->kind == CONTROL_FINISH) {
		/* Whatever may still come of this attempt comes too late. */
		remember_ended(t->c, &m->job, m->region, m->attempt);
		(void)agent_report_add(t, CONTROL_REPORT_ENDED, &m->job, m->region, m->attempt);
	}
}

void agent_items_beat(struct agent_turn *t)
{
	for (unsigned i = 0; i < t->c->n_items; i++) {
		if (sm_state(&t->c->items[i]->worker) == AGENT_WORKER_UP)
			send_command(t, t->c->items[i], t->ev->command);
	}
}

/* ---- a worker's reports ---- */

/* Kept for beats and for the next leader, who may end the job before a beat. */
static void worker_traffic(struct agent_item *it, const struct control_report_msg *r)
{
	json_t *vertices = json_object_get(r->stats, "vertices");
	if (!json_is_array(vertices))
		return;
	json_decref(it->c.vertices);
	it->c.vertices = json_incref(vertices);
}

static void worker_ack(struct agent_turn *t, struct agent_item *it,
		       const struct control_report_msg *r)
{
	worker_traffic(it, r);
	if (r->checkpoint.v <= it->c.completed.v)
		return;
	acks_drop(it, r->checkpoint, false);
	/* Never more than the leader can have in flight. */
	if (json_array_size(it->c.acks) >= 2 * LIMIT_CHECKPOINTS_IN_FLIGHT)
		json_array_remove(it->c.acks, 0);
	json_t *ack = json_object();
	json_object_set_new(ack, "checkpoint", json_integer((json_int_t)r->checkpoint.v));
	json_object_set(ack, "object", r->object ? r->object : json_null());
	json_object_set(ack, "stats", r->stats ? r->stats : json_null());
	json_array_append_new(it->c.acks, ack);
	struct control_report_msg *out = report(t, it, CONTROL_REPORT_ACK);
	if (!out)
		return;
	out->checkpoint = r->checkpoint;
	out->object = json_incref(r->object);
	out->stats = json_incref(r->stats);
}

static void worker_state(struct agent_turn *t, struct agent_item *it,
			 const struct control_report_msg *r)
{
	bool running = r->kind == CONTROL_REPORT_RUNNING;
	enum control_state next = running ? CONTROL_STATE_RUNNING : CONTROL_STATE_PREPARED;
	if (it->c.state >= next)
		return;
	snprintf(it->c.address, sizeof(it->c.address), "%s", t->c->options.data_address);
	item_move(t, it, next, "its worker says so");
	struct control_report_msg *out = report(t, it, r->kind);
	if (!out)
		return;
	snprintf(out->address, sizeof(out->address), "%s", it->c.address);
	if (running)
		out->stats = json_incref(r->stats);
}

static void worker_decline(struct agent_turn *t, struct agent_item *it,
			   const struct control_report_msg *r)
{
	struct control_report_msg *out = report(t, it, CONTROL_REPORT_DECLINE);
	out->checkpoint = r->checkpoint;
	out->external = r->external;
	snprintf(out->text, sizeof(out->text), "%s", r->text);
}

json_t *agent_items_traffic(const struct agent_core *c)
{
	json_t *counts = json_array();
	for (unsigned i = 0; i < c->n_items; i++) {
		const struct agent_item *it = c->items[i];
		if (it->c.vertices)
			json_array_append_new(counts, json_pack("{s:s, s:I, s:I, s:O}", "job",
								it->c.job.hex, "region",
								(json_int_t)it->c.region, "attempt",
								(json_int_t)it->c.attempt.v,
								"vertices", it->c.vertices));
	}
	return json_pack("{s:o}", "counts", counts);
}

void agent_items_report(struct agent_turn *t, uint64_t item, const struct control_report_msg *r)
{
	struct agent_item *it = item_by_id(t->c, item);
	struct control_report_msg *out;
	/* Told to commit and then to end, a worker says that it has committed while it ends. */
	bool last_word =
		it && it->c.state < CONTROL_STATE_FAILED && r->kind == CONTROL_REPORT_COMMITTED;
	if (!it || !(going(it) || last_word))
		return;
	switch (r->kind) {
	case CONTROL_REPORT_PREPARED:
	case CONTROL_REPORT_RUNNING:
		worker_state(t, it, r);
		break;
	case CONTROL_REPORT_ACK:
		worker_ack(t, it, r);
		break;
	case CONTROL_REPORT_DECLINE:
		worker_decline(t, it, r);
		break;
	case CONTROL_REPORT_COMMITTED:
		if (r->checkpoint.v > it->c.committed.v)
			it->c.committed = r->checkpoint;
		out = report(t, it, CONTROL_REPORT_COMMITTED);
		if (out)
			out->checkpoint = it->c.committed;
		break;
	case CONTROL_REPORT_AT_END:
		if (it->c.at_end)
			break;
		it->c.at_end = true;
		(void)report(t, it, CONTROL_REPORT_AT_END);
		break;
	case CONTROL_REPORT_FAILED:
		item_fail(t, it, r);
		break;
	case CONTROL_REPORT_BEAT:
		worker_traffic(it, r);
		break;
	case CONTROL_REPORT_ENDED: /* the exit that follows tells */
	case CONTROL_REPORT_COUNT:
		break;
	}
}

/* ---- a worker's end ---- */

static bool from_outside(int sig)
{
	return sig == SIGKILL || sig == SIGTERM || sig == SIGINT || sig == SIGHUP;
}

void agent_items_exit(struct agent_turn *t)
{
	struct agent_item *it = item_by_id(t->c, t->ev->item);
	if (!it || !has_process(it))
		return;
	sm_move(&it->worker, AGENT_WORKER_GONE, "exit");
	it->kill_ms = 0;
	if (it->closing) {
		item_ended(t, it, "its worker is gone");
		return;
	}
	struct control_report_msg how = {.vertex = -1, .subtask = -1};
	if (t->ev->signal) {
		const char *name = sigabbrev_np(t->ev->signal);
		how.external = from_outside(t->ev->signal);
		snprintf(how.text, sizeof(how.text), "the worker was killed by signal %d (SIG%s)",
			 t->ev->signal, name ? name : "?");
	} else {
		snprintf(how.text, sizeof(how.text), "the worker exited with status %d",
			 t->ev->exit_status);
	}
	item_fail(t, it, &how);
}

void agent_items_spawn_failed(struct agent_turn *t)
{
	struct agent_item *it = item_by_id(t->c, t->ev->item);
	char why[AGENT_TEXT_MAX];
	if (!it || !has_process(it))
		return;
	sm_move(&it->worker, AGENT_WORKER_GONE, "it did not start");
	it->kill_ms = 0;
	if (it->closing) {
		item_ended(t, it, "its worker did not start");
		return;
	}
	snprintf(why, sizeof(why), "the worker did not start: %s", t->ev->text ? t->ev->text : "");
	item_fail_external(t, it, why);
}

void agent_items_time(struct agent_turn *t)
{
	for (unsigned i = 0; i < t->c->n_items; i++) {
		struct agent_item *it = t->c->items[i];
		if (!it->kill_ms || it->kill_ms > t->ev->now_ms)
			continue;
		it->kill_ms = 0;
		if (sm_state(&it->worker) != AGENT_WORKER_ENDING)
			continue;
		agent_log(t, LOG_LEVEL_WARN,
			  "job=%s region=%u attempt=%u its worker does not leave; killed",
			  it->c.job.hex, it->c.region, it->c.attempt.v);
		sm_move(&it->worker, AGENT_WORKER_KILLED, "too long");
		agent_effect_add(t, AGENT_FX_KILL)->item = it->id;
	}
}

uint64_t agent_items_wake_ms(const struct agent_core *c)
{
	uint64_t wake = UINT64_MAX;
	for (unsigned i = 0; i < c->n_items; i++) {
		uint64_t at = c->items[i]->kill_ms;
		if (at && at < wake)
			wake = at;
	}
	return wake;
}
