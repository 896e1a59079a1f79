/* TaskManagers that obey. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "stage_inside.h"

struct player *stage_by_stream(struct stage *s, uint64_t stream)
{
	for (unsigned i = 0; i < s->n_tms; i++)
		if (s->tms[i].stream == stream && s->tms[i].online)
			return &s->tms[i];
	return NULL;
}

void stage_plan_register(struct stage *s, struct player *tm, uint64_t ms)
{
	tm->online = false;
	if (!tm->alive || tm->away)
		return;
	struct pending *p = stage_later(s, P_REGISTER, ms);
	p->tm = tm;
	memcpy(p->instance, tm->instance, sizeof(p->instance));
}

static struct control_item *item_of(struct player *tm, const struct job_id *job, uint32_t region,
				    struct attempt attempt)
{
	for (unsigned i = 0; i < tm->n_items; i++)
		if (tm->items[i].region == region && tm->items[i].attempt.v == attempt.v &&
		    job_id_equal(&tm->items[i].job, job))
			return &tm->items[i];
	return NULL;
}

static void item_fini(struct control_item *item)
{
	json_decref(item->subtasks);
	json_decref(item->acks);
	json_decref(item->vertices);
}

void stage_drop_item(struct player *tm, struct control_item *item)
{
	item_fini(item);
	*item = tm->items[--tm->n_items];
}

struct pending *stage_plan_report(struct stage *s, struct player *tm, enum control_report kind,
				  const struct control_item *item, uint64_t ms)
{
	struct pending *p = stage_later(s, P_REPORT, ms);
	p->tm = tm;
	memcpy(p->instance, tm->instance, sizeof(p->instance));
	p->report = (struct control_report_msg){.kind = kind,
						.job = item->job,
						.region = item->region,
						.attempt = item->attempt,
						.vertex = -1,
						.subtask = -1};
	return p;
}

static void take_prepare(struct stage *s, struct player *tm, const struct control_command_msg *m)
{
	struct control_item *item = item_of(tm, &m->job, m->region, m->attempt);
	if (!item) {
		assert(tm->n_items < ITEMS_MAX);
		item = &tm->items[tm->n_items++];
		*item = (struct control_item){
			.job = m->job, .region = m->region, .attempt = m->attempt};
		item->subtasks = json_incref(m->subtasks);
		item->acks = json_array();
		snprintf(item->address, sizeof(item->address), "10.0.0.%u:6000",
			 (unsigned)(tm - s->tms) + 1);
	}
	stage_plan_report(s, tm, CONTROL_REPORT_PREPARED, item, 5);
}

static void take_trigger(struct stage *s, struct player *tm, struct control_item *item,
			 const struct control_command_msg *m)
{
	struct pending *p = stage_plan_report(s, tm, CONTROL_REPORT_ACK, item, 15);
	p->report.checkpoint = m->checkpoint;
	char path[160];
	snprintf(path, sizeof(path), "jobs/%s/chk-%" PRIu64 "/%" PRIu32 "-%s.snap", m->job.hex,
		 m->checkpoint.v, m->attempt.v, tm->id);
	p->report.object =
		json_pack("{s:s, s:i, s:s}", "path", path, "bytes", 1000, "checksum", "00");
}

void stage_take_command(struct stage *s, struct player *tm, const struct control_command_msg *m)
{
	struct control_item *item = item_of(tm, &m->job, m->region, m->attempt);
	if (m->kind == CONTROL_WELCOME)
		tm->registration = m->registration;
	else if (m->kind == CONTROL_PREPARE)
		take_prepare(s, tm, m);
	else if (!item)
		return;
	else if (m->kind == CONTROL_RUN)
		stage_plan_report(s, tm, CONTROL_REPORT_RUNNING, item, 10);
	else if (m->kind == CONTROL_TRIGGER)
		take_trigger(s, tm, item, m);
	else if (m->kind == CONTROL_COMPLETE) {
		item->completed = m->checkpoint;
		stage_plan_report(s, tm, CONTROL_REPORT_COMMITTED, item, 5)->report.checkpoint =
			m->checkpoint;
	} else if (m->kind == CONTROL_CANCEL || m->kind == CONTROL_FINISH)
		stage_plan_report(s, tm, CONTROL_REPORT_ENDED, item, 5);
}

void stage_narrate_command(struct stage *s, const struct player *tm,
			   const struct control_command_msg *m)
{
	char more[64] = "";
	if (m->kind == CONTROL_WELCOME || m->kind == CONTROL_BEAT)
		return;
	if (m->checkpoint.v)
		snprintf(more, sizeof(more), " ckpt=%" PRIu64, m->checkpoint.v);
	if (m->region)
		snprintf(more + strlen(more), sizeof(more) - strlen(more), " region=%" PRIu32,
			 m->region);
	stage_say(s, "  %s <- %s attempt=%" PRIu32 "%s%s", tm->id, control_command_name(m->kind),
		  m->attempt.v, more,
		  m->terminal      ? " terminal"
		  : m->commit_only ? " only to commit"
				   : "");
}

static bool held_back(const struct player *tm, enum control_report kind)
{
	static const int holds[CONTROL_REPORT_COUNT] = {
		[CONTROL_REPORT_PREPARED] = 1 + HOLD_PREPARED,
		[CONTROL_REPORT_RUNNING] = 1 + HOLD_RUNNING,
		[CONTROL_REPORT_ACK] = 1 + HOLD_ACK,
		[CONTROL_REPORT_COMMITTED] = 1 + HOLD_COMMITTED};
	return holds[kind] && tm->hold[holds[kind] - 1];
}

static void change_acked(const struct player *tm, struct control_item *item,
			 const struct control_report_msg *m)
{
	json_t *counts = json_pack("[[i,i,i,i,i]]", 0, 100, 0, 0, 0);
	json_t *stats = json_object();
	if (tm->before)
		json_object_set(stats, "vertices", counts);
	else {
		json_decref(item->vertices);
		item->vertices = json_incref(counts);
	}
	json_array_append_new(item->acks, json_pack("{s:I, s:O, s:o}", "checkpoint",
						    (json_int_t)m->checkpoint.v, "object",
						    m->object, "stats", stats));
	json_decref(counts);
}

/* The TaskManager's own state changes whether or not anybody hears of it. */
static bool change_item(struct player *tm, const struct control_report_msg *m)
{
	struct control_item *item = item_of(tm, &m->job, m->region, m->attempt);
	if (!item)
		return false;
	if (m->kind == CONTROL_REPORT_PREPARED && item->state < CONTROL_STATE_PREPARED)
		item->state = CONTROL_STATE_PREPARED;
	else if (m->kind == CONTROL_REPORT_RUNNING && item->state < CONTROL_STATE_RUNNING)
		item->state = CONTROL_STATE_RUNNING;
	else if (m->kind == CONTROL_REPORT_FAILED) {
		item->state = CONTROL_STATE_FAILED;
		item->external = m->external;
		item->corrupt = m->corrupt;
		snprintf(item->text, sizeof(item->text), "%s", m->text);
	} else if (m->kind == CONTROL_REPORT_AT_END)
		item->at_end = true;
	else if (m->kind == CONTROL_REPORT_COMMITTED) {
		if (m->checkpoint.v > item->committed.v)
			item->committed = m->checkpoint;
	} else if (m->kind == CONTROL_REPORT_ACK)
		change_acked(tm, item, m);
	else if (m->kind == CONTROL_REPORT_ENDED)
		stage_drop_item(tm, item);
	return true;
}

static void send_report(struct stage *s, struct player *tm, struct control_report_msg *m)
{
	if (!s->jm || !tm->online || tm->silent)
		return;
	m->seq = ++tm->report_seq;
	struct control_reports reports = {
		.registration = tm->registration, .epoch = {s->epoch}, .n = 1, .reports = m};
	struct jm_event ev = {.kind = JM_TM_REPORTS, .token = tm->stream, .reports = &reports};
	stage_dispatch(s, &ev);
}

void stage_give_report(struct stage *s, struct pending *p)
{
	struct player *tm = p->tm;
	struct control_item *item =
		item_of(tm, &p->report.job, p->report.region, p->report.attempt);
	if (!item ||
	    (item->state >= CONTROL_STATE_FAILED && p->report.kind != CONTROL_REPORT_ENDED))
		return;
	if (held_back(tm, p->report.kind)) {
		struct pending *again = stage_later(s, P_REPORT, 50);
		again->tm = tm;
		memcpy(again->instance, tm->instance, sizeof(again->instance));
		again->report = p->report;
		memset(&p->report, 0, sizeof(p->report));
		return;
	}
	if (change_item(tm, &p->report))
		send_report(s, tm, &p->report);
}

static struct control_registration registration_of(const struct player *tm,
						   struct control_item *items)
{
	struct control_registration r = {.slots = tm->slots,
					 .pid = 1,
					 .highest = {tm->highest},
					 .n_items = tm->n_items,
					 .items = items};
	snprintf(r.id, sizeof(r.id), "%s", tm->id);
	snprintf(r.instance, sizeof(r.instance), "%s", tm->instance);
	snprintf(r.cookie, sizeof(r.cookie), "%s", tm->cookie);
	snprintf(r.data_address, sizeof(r.data_address), "%s:6000", tm->id);
	return r;
}

/* A registration that was given up long ago, when all its tasks were prepared, arrives; its
 * connection is closed already. */
void stage_register_late(struct stage *s, const struct player *tm)
{
	struct control_item items[ITEMS_MAX];
	memcpy(items, tm->items, sizeof(items));
	for (unsigned i = 0; i < tm->n_items; i++) {
		items[i].state = CONTROL_STATE_PREPARED;
		items[i].at_end = false;
		items[i].completed = items[i].committed = (struct ckpt_id){0};
	}
	struct control_registration r = registration_of(tm, items);
	struct jm_event ev = {
		.kind = JM_TM_REGISTER, .token = s->next_stream++, .registration = &r};
	uint64_t token = ev.token;
	stage_dispatch(s, &ev);
	if (s->jm)
		stage_dispatch(s, &(struct jm_event){.kind = JM_TM_GONE, .token = token});
}

void stage_register(struct stage *s, struct player *tm)
{
	if (!s->jm || tm->online || tm->away)
		return;
	if (tm->highest > s->epoch) { /* it asks for a leader above, and hears of none */
		struct jm_event ev = {.kind = JM_AHEAD,
				      .epoch = {tm->highest},
				      .text = "a TaskManager remembers a later epoch"};
		stage_dispatch(s, &ev);
		stage_plan_register(s, tm, 1000);
		return;
	}
	struct control_registration r = registration_of(tm, tm->items);
	tm->highest = s->epoch;
	tm->online = true;
	tm->silent = false;
	tm->stream = s->next_stream++;
	tm->report_seq = 0;
	struct jm_event ev = {.kind = JM_TM_REGISTER, .token = tm->stream, .registration = &r};
	stage_dispatch(s, &ev);
	struct pending *beat = stage_later(s, P_BEAT, 1000);
	beat->tm = tm;
	beat->registration = tm->stream;
}

void stage_give_beat(struct stage *s, struct pending *p)
{
	struct player *tm = p->tm;
	if (!tm->alive || !tm->online || tm->stream != p->registration)
		return;
	struct control_report_msg m = {.kind = CONTROL_REPORT_BEAT,
				       .digest = control_digest(tm->items, tm->n_items)};
	struct pending *next = stage_later(s, P_BEAT, 1000);
	next->tm = tm;
	next->registration = p->registration;
	send_report(s, tm, &m);
}

/* ---- birth and death ---- */

void stage_birth(struct stage *s, struct player *tm)
{
	snprintf(tm->instance, sizeof(tm->instance), "%016x%016x", ++tm->births,
		 (unsigned)(tm - s->tms) + 1);
	tm->alive = true;
	tm->away = tm->silent = tm->online = false;
	stage_plan_register(s, tm, 5);
}

void stage_death(struct stage *s, struct player *tm)
{
	bool was_online = tm->online;
	tm->alive = tm->online = false;
	while (tm->n_items)
		stage_drop_item(tm, &tm->items[0]);
	struct jm_event ev = {.kind = JM_TM_GONE, .token = tm->stream};
	if (s->jm && was_online)
		stage_dispatch(s, &ev);
}
