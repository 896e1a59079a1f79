#include "jobmanager/tms.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/limits.h"
#include "base/mem.h"

enum { TMS_ITEMS_MAX = 4 * LIMIT_TASKMANAGER_JOBS };

/* ---- tables ---- */

static uint64_t hash_number(uint64_t number)
{
	return XXH3_64bits(&number, sizeof(number));
}

static uint64_t hash_id(const char *id)
{
	return XXH3_64bits(id, strlen(id));
}

static uint64_t hash_of(const struct taskmanager *tm, enum tms_key key)
{
	return key == TMS_BY_ID       ? hash_id(tm->id)
	       : key == TMS_BY_STREAM ? hash_number(tm->stream)
				      : hash_number(tm->registration);
}

static void table_put(struct tms_table *t, struct taskmanager *tm, uint64_t hash)
{
	size_t i = hash & (t->capacity - 1);
	while (t->at[i])
		i = (i + 1) & (t->capacity - 1);
	t->at[i] = tm;
	t->n++;
}

static void table_add(struct tms *tms, enum tms_key key, struct taskmanager *tm)
{
	struct tms_table *t = &tms->by[key];
	if (2 * (t->n + 1) > t->capacity) {
		struct tms_table old = *t;
		*t = (struct tms_table){.capacity = old.capacity ? 2 * old.capacity : 64};
		t->at = mem_array(t->capacity, sizeof(struct taskmanager *));
		for (size_t i = 0; i < old.capacity; i++)
			if (old.at[i])
				table_put(t, old.at[i], hash_of(old.at[i], key));
		free(old.at);
	}
	table_put(t, tm, hash_of(tm, key));
}

/* Those behind the gap that would not be found any more move up. */
static void table_drop(struct tms *tms, enum tms_key key, const struct taskmanager *tm)
{
	struct tms_table *t = &tms->by[key];
	size_t mask = t->capacity - 1, i = hash_of(tm, key) & mask;
	while (t->at[i] != tm)
		i = (i + 1) & mask;
	t->n--;
	t->at[i] = NULL;
	for (size_t k = (i + 1) & mask; t->at[k]; k = (k + 1) & mask) {
		size_t home = hash_of(t->at[k], key) & mask;
		if (((k - home) & mask) < ((k - i) & mask))
			continue;
		t->at[i] = t->at[k];
		t->at[k] = NULL;
		i = k;
	}
}

/* The first at or behind place *i; NULL: no more. Moves *i behind it. */
static struct taskmanager *table_next(const struct tms_table *t, size_t *i)
{
	if (!t->capacity)
		return NULL;
	struct taskmanager *tm = t->at[*i & (t->capacity - 1)];
	(*i)++;
	return tm;
}

/* ---- life ---- */

void tms_init(struct tms *t)
{
	*t = (struct tms){.next_registration = 1};
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
	for (int key = 0; key < TMS_KEYS; key++)
		free(t->by[key].at);
	*t = (struct tms){0};
}

/* ---- finding ---- */

struct taskmanager *tms_find(const struct tms *t, const char *id, const char *instance)
{
	size_t i = hash_id(id);
	struct taskmanager *tm;
	while ((tm = table_next(&t->by[TMS_BY_ID], &i)) != NULL)
		if (strcmp(tm->id, id) == 0 && strcmp(tm->instance, instance) == 0)
			return tm;
	return NULL;
}

struct taskmanager *tms_older(const struct tms *t, const char *id, const char *instance)
{
	size_t i = hash_id(id);
	struct taskmanager *tm;
	while ((tm = table_next(&t->by[TMS_BY_ID], &i)) != NULL)
		if (tm->state == TM_AWAY && strcmp(tm->id, id) == 0 &&
		    strcmp(tm->instance, instance) != 0)
			return tm;
	return NULL;
}

static struct taskmanager *by_stream(const struct tms *t, uint64_t stream, enum tm_state state)
{
	size_t i = hash_number(stream);
	struct taskmanager *tm;
	while ((tm = table_next(&t->by[TMS_BY_STREAM], &i)) != NULL)
		if (tm->state == state && tm->stream == stream)
			return tm;
	return NULL;
}

struct taskmanager *tms_by_stream(const struct tms *t, uint64_t stream)
{
	return by_stream(t, stream, TM_CONNECTED);
}

struct taskmanager *tms_away_from(const struct tms *t, uint64_t stream)
{
	return by_stream(t, stream, TM_AWAY);
}

struct taskmanager *tms_by_registration(const struct tms *t, uint64_t registration)
{
	size_t i = hash_number(registration);
	struct taskmanager *tm;
	while ((tm = table_next(&t->by[TMS_BY_REGISTRATION], &i)) != NULL)
		if (tm->state == TM_CONNECTED && tm->registration == registration)
			return tm;
	return NULL;
}

/* ---- the inventory ---- */

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

/* Slot i holds subtask i of every vertex: as many slots as the widest vertex has subtasks. They are
 * listed vertex by vertex. */
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
		item->vertices = NULL;
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
	struct taskmanager *tm = mem_alloc(sizeof(*tm));
	tm->index = t->n;
	return t->at[t->n++] = tm;
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
	bool known = tm != NULL;
	if (!tm)
		tm = add_tm(t);
	if (!tm)
		return NULL;
	if (known) {
		t->n_away -= tm->state == TM_AWAY;
		table_drop(t, TMS_BY_REGISTRATION, tm);
		table_drop(t, TMS_BY_STREAM, tm);
	}
	snprintf(tm->id, sizeof(tm->id), "%s", r->id);
	snprintf(tm->instance, sizeof(tm->instance), "%s", r->instance);
	snprintf(tm->data_address, sizeof(tm->data_address), "%s", r->data_address);
	snprintf(tm->rest_host, sizeof(tm->rest_host), "%s", r->rest_host);
	snprintf(tm->cookie, sizeof(tm->cookie), "%s", r->cookie);
	tm->state = TM_CONNECTED;
	tm->registration = t->next_registration++;
	tm->stream = stream;
	if (!known)
		table_add(t, TMS_BY_ID, tm);
	table_add(t, TMS_BY_REGISTRATION, tm);
	table_add(t, TMS_BY_STREAM, tm);
	tm->command_seq = tm->report_seq = 0;
	tm->heard_ms = tm->beat_ms = now_ms;
	tm->slots = r->slots;
	tm->pid = r->pid;
	tm->doubted = tm->doubted || is_buried(t, r->instance);
	take_inventory(tm, r);
	return tm;
}

void tms_away(struct tms *t, struct taskmanager *tm, uint64_t now_ms)
{
	assert(tm->state == TM_CONNECTED);
	tm->state = TM_AWAY;
	tm->gone_ms = now_ms;
	t->n_away++;
}

void tms_bury(struct tms *t, const struct taskmanager *tm)
{
	memcpy(t->graves[t->n_graves++ % TMS_GRAVES], tm->instance, ID_TEXT);
}

void tms_remove(struct tms *t, struct taskmanager *tm)
{
	assert(t->at[tm->index] == tm);
	for (int key = 0; key < TMS_KEYS; key++)
		table_drop(t, (enum tms_key)key, tm);
	t->n_away -= tm->state == TM_AWAY;
	t->at[tm->index] = t->at[--t->n];
	t->at[tm->index]->index = tm->index;
	tm_destroy(tm);
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
	for (int key = 0; key < TMS_KEYS; key++)
		if (t->by[key].n != t->n)
			return false;
	return t->n_away <= t->n;
}

const char *tms_state_name(enum tm_state state)
{
	static const char *const names[] = {
		[TM_CONNECTED] = "CONNECTED", [TM_AWAY] = "AWAY", [TM_LOST] = "LOST"};
	return state < TM_STATE_COUNT ? names[state] : "?";
}
