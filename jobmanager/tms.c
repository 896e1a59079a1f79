#include "jobmanager/tms.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "base/mem.h"

enum { TMS_ITEMS_MAX = 4 * LIMIT_TASKMANAGER_JOBS, TMS_RECENT = 4096 };

void tms_init(struct tms *t)
{
	*t = (struct tms){.next_registration = 1};
	t->recent = mem_array(TMS_RECENT, sizeof(struct taskmanager *));
}

static void tm_destroy(struct taskmanager *tm)
{
	free(tm->items);
	free(tm->item_slots);
	free(tm);
}

void tms_fini(struct tms *t)
{
	for (size_t i = 0; i < t->n; i++)
		tm_destroy(t->at[i]);
	free(t->at);
	free(t->recent);
	*t = (struct tms){0};
}

struct taskmanager *tms_find(const struct tms *t, const char *id, const char *instance)
{
	for (size_t i = 0; i < t->n; i++)
		if (strcmp(t->at[i]->id, id) == 0 && strcmp(t->at[i]->instance, instance) == 0)
			return t->at[i];
	return NULL;
}

struct taskmanager *tms_by_stream(const struct tms *t, uint64_t stream)
{
	for (size_t i = 0; i < t->n; i++)
		if (t->at[i]->state == TM_CONNECTED && t->at[i]->stream == stream)
			return t->at[i];
	return NULL;
}

/* Every report asks for its registration: what was found last at this place is tried first. */
static struct taskmanager **place_of(const struct tms *t, uint64_t registration)
{
	return &t->recent[registration % TMS_RECENT];
}

static void forget_place(struct tms *t, const struct taskmanager *tm)
{
	if (*place_of(t, tm->registration) == tm)
		*place_of(t, tm->registration) = NULL;
}

struct taskmanager *tms_by_registration(const struct tms *t, uint64_t registration)
{
	struct taskmanager *recent = *place_of(t, registration);
	if (recent && recent->state == TM_CONNECTED && recent->registration == registration)
		return recent;
	for (size_t i = 0; i < t->n; i++)
		if (t->at[i]->state == TM_CONNECTED && t->at[i]->registration == registration) {
			*place_of(t, registration) = t->at[i];
			return t->at[i];
		}
	return NULL;
}

static struct control_item *add_item(struct taskmanager *tm)
{
	if (tm->n_items == tm->items_capacity) {
		tm->items_capacity = tm->items_capacity ? 2 * tm->items_capacity : 4;
		tm->items = mem_resize(tm->items, tm->items_capacity, sizeof(tm->items[0]));
		tm->item_slots = mem_resize(tm->item_slots, tm->items_capacity, sizeof(uint32_t));
	}
	tm->item_slots[tm->n_items] = 0;
	struct control_item *item = &tm->items[tm->n_items++];
	memset(item, 0, sizeof(*item));
	return item;
}

/* Slot i holds subtask i of every vertex, so there are as many as the widest vertex has subtasks. They
 * are listed vertex by vertex. */
static uint32_t slots_of(const json_t *subtasks)
{
	uint32_t most = 0, run = 0;
	json_int_t before = -1;
	for (size_t i = 0; i < json_array_size(subtasks); i++) {
		const json_t *subtask = json_array_get(subtasks, i);
		json_int_t vertex = json_integer_value(json_array_get(subtask, 0));
		run = vertex == before ? run + 1 : 1;
		before = vertex;
		most = run > most ? run : most;
	}
	return most;
}

static void take_inventory(struct taskmanager *tm, const struct control_registration *r)
{
	tm->n_items = 0;
	for (unsigned i = 0; i < r->n_items; i++) {
		struct control_item *item = add_item(tm);
		*item = r->items[i];
		tm->item_slots[i] = slots_of(item->subtasks);
		item->subtasks = NULL;
		item->acks = NULL;
	}
}

static struct taskmanager *add_tm(struct tms *t)
{
	if (t->n == LIMIT_TASKMANAGERS)
		return NULL;
	if (t->n == t->capacity) {
		t->capacity = t->capacity ? 2 * t->capacity : 16;
		t->at = mem_resize(t->at, t->capacity, sizeof(struct taskmanager *));
	}
	return t->at[t->n++] = mem_alloc(sizeof(struct taskmanager));
}

static bool is_buried(const struct tms *t, const char *instance)
{
	for (unsigned i = 0; i < TMS_GRAVES && i < t->n_graves; i++)
		if (strcmp(t->graves[i], instance) == 0)
			return true;
	return false;
}

struct taskmanager *tms_register(struct tms *t, const struct control_registration *r,
				 uint64_t stream, uint64_t now_ms)
{
	struct taskmanager *tm = tms_find(t, r->id, r->instance);
	if (!tm)
		tm = add_tm(t);
	if (!tm)
		return NULL;
	snprintf(tm->id, sizeof(tm->id), "%s", r->id);
	snprintf(tm->instance, sizeof(tm->instance), "%s", r->instance);
	snprintf(tm->data_address, sizeof(tm->data_address), "%s", r->data_address);
	snprintf(tm->rest_host, sizeof(tm->rest_host), "%s", r->rest_host);
	snprintf(tm->cookie, sizeof(tm->cookie), "%s", r->cookie);
	forget_place(t, tm);
	tm->state = TM_CONNECTED;
	tm->registration = t->next_registration++;
	tm->stream = stream;
	tm->command_seq = tm->report_seq = 0;
	tm->heard_ms = tm->beat_ms = now_ms;
	tm->slots = r->slots;
	tm->pid = r->pid;
	tm->doubted = tm->doubted || is_buried(t, r->instance);
	take_inventory(tm, r);
	return tm;
}

void tms_away(struct taskmanager *tm, uint64_t now_ms)
{
	assert(tm->state == TM_CONNECTED);
	tm->state = TM_AWAY;
	tm->gone_ms = now_ms;
}

struct taskmanager *tms_away_from(const struct tms *t, uint64_t stream)
{
	for (size_t i = 0; i < t->n; i++)
		if (t->at[i]->state == TM_AWAY && t->at[i]->stream == stream)
			return t->at[i];
	return NULL;
}

void tms_bury(struct tms *t, const struct taskmanager *tm)
{
	memcpy(t->graves[t->n_graves++ % TMS_GRAVES], tm->instance, ID_TEXT);
}

void tms_remove(struct tms *t, struct taskmanager *tm)
{
	for (size_t i = 0; i < t->n; i++)
		if (t->at[i] == tm) {
			forget_place(t, tm);
			t->at[i] = t->at[--t->n];
			tm_destroy(tm);
			return;
		}
	assert(false && "a TaskManager of the registry");
}

struct control_item *tms_item(struct taskmanager *tm, const struct job_id *job, uint32_t region,
			      struct attempt attempt)
{
	for (unsigned i = 0; i < tm->n_items; i++) {
		struct control_item *item = &tm->items[i];
		if (item->region == region && item->attempt.v == attempt.v &&
		    job_id_equal(&item->job, job))
			return item;
	}
	return NULL;
}

static void drop_item(struct taskmanager *tm, struct control_item *item)
{
	tm->item_slots[item - tm->items] = tm->item_slots[tm->n_items - 1];
	*item = tm->items[--tm->n_items];
}

static bool lives(const struct control_item *item)
{
	return item->state < CONTROL_STATE_FAILED;
}

uint32_t tms_slots_of_job(const struct taskmanager *tm, unsigned i)
{
	uint32_t most = 0;
	for (unsigned k = 0; k < tm->n_items && lives(&tm->items[i]); k++) {
		if (!lives(&tm->items[k]) || !job_id_equal(&tm->items[k].job, &tm->items[i].job))
			continue;
		if (k < i)
			return 0; /* counted there */
		if (tm->item_slots[k] > most)
			most = tm->item_slots[k];
	}
	return most;
}

/* The item that a report is about; one that is not known yet begins. */
static struct control_item *item_of(struct taskmanager *tm, const struct control_report_msg *m)
{
	struct control_item *item = tms_item(tm, &m->job, m->region, m->attempt);
	if (item)
		return item;
	item = add_item(tm);
	item->job = m->job;
	item->region = m->region;
	item->attempt = m->attempt;
	item->state = CONTROL_STATE_PREPARING;
	return item;
}

static void forward(struct control_item *item, enum control_state state)
{
	if (state > item->state)
		item->state = state;
}

void tms_note_report(struct taskmanager *tm, const struct control_report_msg *m)
{
	/* Beyond that nothing is honest: the digest will differ, and end the registration. */
	if (tm->n_items >= TMS_ITEMS_MAX && !tms_item(tm, &m->job, m->region, m->attempt))
		return;
	switch (m->kind) {
	case CONTROL_REPORT_PREPARED:
		forward(item_of(tm, m), CONTROL_STATE_PREPARED);
		break;
	case CONTROL_REPORT_RUNNING:
		forward(item_of(tm, m), CONTROL_STATE_RUNNING);
		break;
	case CONTROL_REPORT_COMMITTED:
		if (m->checkpoint.v > item_of(tm, m)->committed.v)
			item_of(tm, m)->committed = m->checkpoint;
		break;
	case CONTROL_REPORT_AT_END:
		item_of(tm, m)->at_end = true;
		break;
	case CONTROL_REPORT_FAILED:
		forward(item_of(tm, m), CONTROL_STATE_FAILED);
		break;
	case CONTROL_REPORT_ENDED:
		drop_item(tm, item_of(tm, m));
		break;
	case CONTROL_REPORT_BEAT:
	case CONTROL_REPORT_ACK:
	case CONTROL_REPORT_DECLINE:
	case CONTROL_REPORT_COUNT:
		break;
	}
}

void tms_send(struct taskmanager *tm, struct control_command_msg *msg, struct epoch epoch,
	      struct jm_effects *fx)
{
	if (tm->state != TM_CONNECTED) {
		control_command_fini(msg);
		return;
	}
	msg->seq = ++tm->command_seq;
	msg->registration = tm->registration;
	msg->epoch = epoch;
	struct jm_effect *effect = effects_add(fx, JM_COMMAND);
	effect->job = msg->job;
	effect->registration = tm->registration;
	effect->stream = tm->stream;
	effect->command = mem_copy(msg, sizeof(*msg));
}

const char *tms_unusable(const struct taskmanager *tm, const char *cluster_id)
{
	if (tm->state != TM_CONNECTED)
		return "its command stream ended; it may come back";
	if (tm->cookie[0] == '\0')
		return "it has not read the cluster's mark in checkpoint storage yet";
	if (strcmp(tm->cookie, cluster_id) != 0)
		return "its checkpoint storage carries the mark of another cluster: it is not the "
		       "same disk or bucket";
	return "";
}

bool tms_holds(const struct tms *t)
{
	for (size_t i = 0; i < t->n; i++)
		if (t->at[i]->state == TM_LOST || t->at[i]->registration >= t->next_registration)
			return false;
	return true;
}

const char *tms_state_name(enum tm_state state)
{
	static const char *const names[] = {
		[TM_CONNECTED] = "CONNECTED", [TM_AWAY] = "AWAY", [TM_LOST] = "LOST"};
	return state < TM_STATE_COUNT ? names[state] : "?";
}
