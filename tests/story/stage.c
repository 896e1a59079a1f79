#include "stage.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"
#include "job/spec.h"
#include "jobmanager/doc.h"
#include "jobmanager/moments.h"
#include "rest/control.h"

enum { TMS_MAX = 16, ITEMS_MAX = 64, JOBS_MAX = 16, DECIDE_MS = 3, BLOB_MS = 20, TM_MS = 1 };

#define WALL_ZERO INT64_C(1700000000000)

struct record {
	char *key, *value;
	uint64_t revision;
};

struct player { /* a TaskManager */
	char id[NODE_ID_MAX], instance[ID_TEXT], cookie[ID_TEXT];
	unsigned births;
	uint32_t slots;
	bool alive, silent, online, away;
	bool refuses;                                       /* its data port: a probe is refused */
	uint64_t registration, stream, report_seq, highest; /* epoch */
	bool hold[HOLD_COUNT];
	unsigned n_items;
	struct control_item items[ITEMS_MAX];
};

enum pending_kind { P_EFFECT, P_COMMAND, P_REPORT, P_BEAT, P_REGISTER, P_DEAD };

struct pending {
	uint64_t at, seq;
	enum pending_kind kind;
	unsigned life;           /* of the leader (effects) */
	struct jm_effect effect; /* owns: effects and commands */
	struct player *tm;
	char instance[ID_TEXT];
	uint64_t registration;
	bool left;                        /* command: it arrives although its leader died */
	uint64_t token;                   /* dead: the stream's */
	struct control_report_msg report; /* owns */
	struct pending *next;
};

struct stage {
	struct buf page;
	uint64_t now, seq, next_stream, next_request, revision, epoch;
	unsigned life, violations;
	char kill_at[64];   /* the moment at which the leader dies, once; "" none */
	char poison[64];    /* the moment at which every leader dies */
	bool dying;         /* it has come */
	uint64_t led_epoch; /* of the leader before */
	bool crashed;       /* it did not hand over */
	bool storage_down, store_held, nospace, suspended, quiet, show_commands;
	struct jm *jm;
	struct pending *queue; /* owns; ascending (at, seq) */
	struct record *store;
	size_t n_store;
	struct record *backup; /* owns */
	size_t n_backup;
	uint64_t backup_revision;
	char **blobs;
	size_t n_blobs;
	struct player tms[TMS_MAX];
	unsigned n_tms;
	char names[JOBS_MAX][64];
	unsigned n_names;
};

static void dispatch(struct stage *s, struct jm_event *ev);
static void leader_kill(struct stage *s, bool lost);

/* ---- narration ---- */

static void say(struct stage *s, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void say(struct stage *s, const char *fmt, ...)
{
	char line[1024];
	va_list args;
	va_start(args, fmt);
	vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	if (!s->quiet)
		buf_printf(&s->page, "[%4" PRIu64 ".%03" PRIu64 "s] %s\n", s->now / 1000,
			   s->now % 1000, line);
}

static void violate(struct stage *s, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void violate(struct stage *s, const char *fmt, ...)
{
	char line[512];
	va_list args;
	va_start(args, fmt);
	vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	s->violations++;
	buf_printf(&s->page, "[%4" PRIu64 ".%03" PRIu64 "s] VIOLATION: %s\n", s->now / 1000,
		   s->now % 1000, line);
}

/* ---- the queue ---- */

static struct pending *later(struct stage *s, enum pending_kind kind, uint64_t ms)
{
	struct pending *p = mem_alloc(sizeof(*p));
	p->at = s->now + ms;
	p->seq = s->seq++;
	p->kind = kind;
	p->life = s->life;
	struct pending **at = &s->queue;
	while (*at && (*at)->at <= p->at)
		at = &(*at)->next;
	p->next = *at;
	*at = p;
	return p;
}

static void pending_destroy(struct pending *p)
{
	struct jm_effects fx = {0};
	if (p->kind == P_EFFECT || p->kind == P_COMMAND) {
		*effects_add(&fx, p->effect.kind) = p->effect;
		jm_effects_clear(&fx);
	}
	control_report_fini(&p->report);
	free(p);
}

/* ---- the store ---- */

static struct record *find(const struct stage *s, const char *key)
{
	for (size_t i = 0; i < s->n_store; i++)
		if (strcmp(s->store[i].key, key) == 0)
			return &s->store[i];
	return NULL;
}

static void put(struct stage *s, const char *key, const char *value)
{
	struct record *r = find(s, key);
	if (!r) {
		s->store = mem_resize(s->store, s->n_store + 1, sizeof(*s->store));
		r = &s->store[s->n_store++];
		*r = (struct record){.key = mem_text(key)};
	}
	free(r->value);
	r->value = mem_text(value);
	r->revision = s->revision;
}

static void erase(struct stage *s, const char *key)
{
	struct record *r = find(s, key);
	if (!r)
		return;
	free(r->key);
	free(r->value);
	*r = s->store[--s->n_store];
}

static bool stored_doc(const struct stage *s, const char *folder, const struct job_id *job,
		       struct doc *out)
{
	char key[JM_KEY_MAX];
	snprintf(key, sizeof(key), "%s/%s", folder, job->hex);
	const struct record *r = find(s, key);
	return r && doc_decode(r->value, strlen(r->value), out, NULL) == ERR_OK;
}

static bool blob_there(const struct stage *s, const char *name)
{
	for (size_t i = 0; i < s->n_blobs; i++)
		if (strcmp(s->blobs[i], name) == 0)
			return true;
	return false;
}

/* ---- the checker ---- */

static void check_pointers(struct stage *s, const struct doc *d)
{
	for (unsigned i = 0; i < d->n_retained && !d->discarded; i++)
		if (!blob_there(s, d->retained[i].manifest))
			violate(s, "checkpoint %" PRIu64 " is recorded, its manifest is not there",
				d->retained[i].id.v);
	for (unsigned i = 0; i < d->n_flights; i++)
		for (unsigned k = 0; k < d->n_given_up_kept; k++)
			if (d->given_up[k].id.v == d->flights[i].id.v)
				violate(s, "checkpoint %" PRIu64 " was given up and is in flight",
					d->flights[i].id.v);
}

static bool doc_refers(const struct doc *d, const char *prefix)
{
	for (unsigned i = 0; i < d->n_retained && !d->discarded; i++)
		if (text_starts(d->retained[i].manifest, prefix))
			return true;
	for (unsigned i = 0; i < d->n_flights; i++) {
		char own[DOC_PATH_MAX];
		snprintf(own, sizeof(own), "jobs/%s/chk-%" PRIu64 "/", d->job.hex,
			 d->flights[i].id.v);
		if (text_starts(own, prefix))
			return true;
	}
	return false;
}

static void check_remove(struct stage *s, const char *prefix)
{
	bool recorded = false, referred = false;
	for (size_t i = 0; i < s->n_store; i++) {
		const struct record *r = &s->store[i];
		struct doc d;
		if (text_starts(r->key, "cleanup/") && strstr(r->value, prefix))
			recorded = true;
		if (!text_starts(r->key, "run/") && !text_starts(r->key, "done/"))
			continue;
		if (doc_decode(r->value, strlen(r->value), &d, NULL) != ERR_OK)
			continue;
		referred |= doc_refers(&d, prefix);
		doc_fini(&d);
	}
	if (!recorded)
		violate(s, "%s is removed, and that was never recorded", prefix);
	if (referred)
		violate(s, "%s is removed, and something recorded refers to it", prefix);
}

static bool placed_at(const struct doc_region *r, const struct player *tm)
{
	for (unsigned i = 0; i < r->n_tms; i++)
		if (strcmp(r->tms[i].id, tm->id) == 0 &&
		    strcmp(r->tms[i].instance, tm->instance) == 0)
			return true;
	return false;
}

static bool in_flight(const struct doc *d, uint64_t id)
{
	for (unsigned i = 0; i < d->n_flights; i++)
		if (d->flights[i].id.v == id)
			return true;
	return false;
}

static void check_live(struct stage *s, const struct player *tm, const struct doc *d,
		       const struct control_command_msg *m)
{
	const char *name = control_command_name(m->kind);
	const struct doc_region *r = &d->regions[m->region];
	uint64_t newest = doc_newest(d) ? doc_newest(d)->id.v : 0;
	bool same = m->attempt.v == r->attempt.v;
	switch (m->kind) {
	case CONTROL_PREPARE:
	case CONTROL_RUN:
		if (!same || !placed_at(r, tm))
			violate(s, "%s of attempt %" PRIu32 ", which is not recorded there", name,
				m->attempt.v);
		break;
	case CONTROL_TRIGGER:
		if (!same || !in_flight(d, m->checkpoint.v))
			violate(s, "trigger %" PRIu64 ", which is not recorded", m->checkpoint.v);
		break;
	case CONTROL_COMPLETE:
		if (m->checkpoint.v > newest)
			violate(s, "complete %" PRIu64 ", which is not recorded", m->checkpoint.v);
		break;
	case CONTROL_ABORT:
		if (in_flight(d, m->checkpoint.v) || m->checkpoint.v == newest)
			violate(s, "abort %" PRIu64 ", which is not given up", m->checkpoint.v);
		break;
	case CONTROL_CANCEL:
		if (m->attempt.v >= r->attempt.v || m->terminal)
			violate(s, "cancel of attempt %" PRIu32 ", which is the recorded one",
				m->attempt.v);
		break;
	case CONTROL_FINISH:
		violate(s, "%s of a job that has not ended", name);
		break;
	case CONTROL_WELCOME:
	case CONTROL_BEAT:
	case CONTROL_UNKNOWN:
	case CONTROL_GOODBYE:
	case CONTROL_COMMAND_COUNT:
		break;
	}
}

/* Who still holds output that the job's newest checkpoint promised may commit it: the recorded
 * attempt alone. */
static void check_ended(struct stage *s, const struct doc *d, const struct control_command_msg *m)
{
	const struct doc_pointer *newest = doc_newest(d);
	bool owed = m->kind == CONTROL_COMPLETE && newest && m->checkpoint.v == newest->id.v &&
		    d->committed.v < newest->id.v && m->region < d->n_regions &&
		    d->regions[m->region].attempt.v == m->attempt.v;
	if (m->kind != CONTROL_CANCEL && m->kind != CONTROL_FINISH && !owed)
		violate(s, "%s of a job that ended", control_command_name(m->kind));
}

static void check_command(struct stage *s, const struct player *tm,
			  const struct control_command_msg *m)
{
	struct doc d;
	if (m->kind == CONTROL_WELCOME || m->kind == CONTROL_BEAT || m->kind == CONTROL_GOODBYE)
		return;
	if (s->suspended)
		violate(s, "%s while suspended", control_command_name(m->kind));
	if (stored_doc(s, "run", &m->job, &d)) {
		check_live(s, tm, &d, m);
		doc_fini(&d);
	} else if (stored_doc(s, "done", &m->job, &d)) {
		check_ended(s, &d, m);
		doc_fini(&d);
	} else if (m->kind != CONTROL_UNKNOWN)
		violate(s, "%s of a job that is not in the store", control_command_name(m->kind));
}

/* ---- carrying effects out ---- */

static enum errc carry_out(struct stage *s, const struct jm_effect *e, uint64_t *revision)
{
	const struct record *chain = find(s, e->key);
	if (s->nospace)
		return ERR_UNAVAILABLE;
	if ((chain ? chain->revision : 0) != e->revision)
		return ERR_CONFLICT;
	for (unsigned i = 0; i < e->n_absent; i++)
		if (find(s, e->absent[i]))
			return ERR_CONFLICT;
	struct doc before = {0}, after = {0};
	bool had = chain && doc_decode(chain->value, strlen(chain->value), &before, NULL) == ERR_OK;
	s->revision++;
	for (unsigned i = 0; i < e->n_ops; i++) {
		if (e->ops[i].value)
			put(s, e->ops[i].key, e->ops[i].value);
		else
			erase(s, e->ops[i].key);
	}
	chain = find(s, e->key);
	*revision = chain ? chain->revision : 0;
	if (chain && doc_decode(chain->value, strlen(chain->value), &after, NULL) == ERR_OK) {
		check_pointers(s, &after);
		if (had && !doc_follows(&before, &after))
			violate(s, "%s went backwards", e->key);
		doc_fini(&after);
	}
	if (had)
		doc_fini(&before);
	return ERR_OK;
}

/* Whoever leads by now has read; what one before it asked for and comes only now is refused by its
 * predicate, the key of the leader that asked. */
static void end_decide(struct stage *s, const struct pending *p, struct jm_event *ev)
{
	bool fenced = s->jm && p->life != s->life;
	ev->kind = JM_DECIDED;
	ev->code = fenced ? ERR_FENCED : carry_out(s, &p->effect, &ev->revision);
	ev->text = ev->code == ERR_UNAVAILABLE ? "NOSPACE" : NULL;
}

static void end_read(struct stage *s, const struct jm_effect *e, struct jm_event *ev)
{
	struct jm_doc *docs = mem_array(s->n_store + 1, sizeof(*docs));
	ev->kind = JM_READ_DONE;
	for (size_t i = 0; i < s->n_store; i++) {
		const struct record *r = &s->store[i];
		if (e->prefix ? !text_starts(r->key, e->key) : strcmp(r->key, e->key) != 0)
			continue;
		docs[ev->n_docs++] = (struct jm_doc){.key = mem_text(r->key),
						     .value = mem_text(r->value),
						     .len = strlen(r->value),
						     .revision = r->revision};
	}
	ev->docs = docs;
	ev->code = ERR_OK;
}

static void free_docs(const struct jm_event *ev)
{
	for (size_t i = 0; i < ev->n_docs; i++) {
		free((void *)(uintptr_t)ev->docs[i].key);
		free((void *)(uintptr_t)ev->docs[i].value);
	}
	free((void *)(uintptr_t)ev->docs);
}

static void end_blob(struct stage *s, const struct jm_effect *e, struct jm_event *ev)
{
	ev->kind = JM_BLOB_DONE;
	ev->code = s->storage_down ? ERR_UNAVAILABLE : ERR_OK;
	ev->text = s->storage_down ? "storage cannot be reached" : NULL;
	if (s->storage_down)
		return;
	if (e->kind == JM_BLOB_PUT) {
		s->blobs = mem_resize(s->blobs, s->n_blobs + 1, sizeof(char *));
		s->blobs[s->n_blobs++] = mem_text(e->key);
		return;
	}
	say(s, "storage removes %.6s...%s", e->key, e->key + 5 + ID_HEX);
	for (size_t i = s->n_blobs; i-- > 0;)
		if (text_starts(s->blobs[i], e->key)) {
			free(s->blobs[i]);
			s->blobs[i] = s->blobs[--s->n_blobs];
		}
}

static void moment(struct stage *s, const char *name)
{
	if (s->kill_at[0] && strcmp(s->kill_at, name) == 0) {
		s->kill_at[0] = '\0';
		s->dying = true;
	}
	if (s->poison[0] && strcmp(s->poison, name) == 0)
		s->dying = true;
	if (s->dying)
		say(s, "at %.27s", name);
}

static void pass(struct stage *s, unsigned moments)
{
	for (unsigned i = 0; moments >> i && !s->dying; i++)
		if (moments >> i & 1)
			moment(s, moment_name((enum moment)i));
}

static void end_effect(struct stage *s, const struct pending *p)
{
	struct jm_event ev = {.token = p->effect.token, .job = p->effect.job};
	if (p->effect.kind == JM_DECIDE)
		end_decide(s, p, &ev);
	else if (p->effect.kind == JM_READ)
		end_read(s, &p->effect, &ev);
	else
		end_blob(s, &p->effect, &ev);
	bool ours = s->jm && p->life == s->life;
	if (ours && p->effect.kind == JM_DECIDE && ev.code == ERR_OK)
		pass(s, p->effect.moments);
	if (ours && p->effect.kind == JM_BLOB_PUT && ev.code == ERR_OK)
		moment(s, "leader-manifest-stored");
	if (ours && s->dying)
		leader_kill(s, false);
	else if (ours)
		dispatch(s, &ev);
	free_docs(&ev);
}

static struct player *by_stream(struct stage *s, uint64_t stream)
{
	for (unsigned i = 0; i < s->n_tms; i++)
		if (s->tms[i].stream == stream && s->tms[i].online)
			return &s->tms[i];
	return NULL;
}

static void plan_register(struct stage *s, struct player *tm, uint64_t ms)
{
	tm->online = false;
	if (!tm->alive || tm->away)
		return;
	struct pending *p = later(s, P_REGISTER, ms);
	p->tm = tm;
	memcpy(p->instance, tm->instance, sizeof(p->instance));
}

static void start_effect(struct stage *s, struct jm_effect *e)
{
	struct player *tm = by_stream(s, e->stream);
	if (e->kind == JM_TRACE) {
		if (e->level <= LOG_LEVEL_INFO)
			say(s, "%s", e->text);
	} else if (e->kind == JM_REPLY) {
		if (e->token >= 1000000)
			say(s, "answer: %s%s%s", err_name(e->code), e->text[0] ? ": " : "",
			    e->text);
		else if (e->code != ERR_OK && (tm = by_stream(s, e->token)))
			plan_register(s, tm, 100);
	} else if (e->kind == JM_CLOSE_STREAM) {
		if (tm)
			plan_register(s, tm, 100);
	} else if (e->kind == JM_PROBE) {
		for (unsigned i = 0; i < s->n_tms; i++)
			if (s->tms[i].stream == e->token && s->tms[i].refuses)
				later(s, P_DEAD, 1)->token = e->token;
	} else if (e->kind == JM_MOMENT) {
		moment(s, e->key);
	} else if (e->kind == JM_COMMAND) {
		unsigned passed = moments_of_command(e->command->kind);
		if (!tm || !tm->alive)
			return;
		check_command(s, tm, e->command);
		struct pending *p = later(s, P_COMMAND, TM_MS);
		p->effect = *e;
		p->tm = tm;
		memcpy(p->instance, tm->instance, sizeof(p->instance));
		memset(e, 0, sizeof(*e));
		pass(s, passed);
		p->left = s->dying;
	} else {
		if (e->kind == JM_BLOB_REMOVE)
			check_remove(s, e->key);
		if (s->suspended)
			violate(s, "an effect while suspended");
		uint64_t ms = e->kind == JM_DECIDE ? DECIDE_MS : e->kind == JM_READ ? 1 : BLOB_MS;
		struct pending *p =
			later(s, P_EFFECT, s->store_held && e->kind == JM_DECIDE ? 60000 : ms);
		p->effect = *e;
		memset(e, 0, sizeof(*e));
	}
}

static void dispatch(struct stage *s, struct jm_event *ev)
{
	struct jm_effects fx = {0};
	ev->now_ms = s->now;
	ev->wall_ms = WALL_ZERO + (int64_t)s->now;
	jm_step(s->jm, ev, &fx);
	for (size_t i = 0; i < fx.n && !s->dying; i++)
		start_effect(s, &fx.at[i]);
	jm_effects_clear(&fx);
	if (s->dying)
		leader_kill(s, false);
}

/* ---- TaskManagers ---- */

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
}

static void drop_item(struct player *tm, struct control_item *item)
{
	item_fini(item);
	*item = tm->items[--tm->n_items];
}

static struct pending *plan_report(struct stage *s, struct player *tm, enum control_report kind,
				   const struct control_item *item, uint64_t ms)
{
	struct pending *p = later(s, P_REPORT, ms);
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
	plan_report(s, tm, CONTROL_REPORT_PREPARED, item, 5);
}

static void take_trigger(struct stage *s, struct player *tm, struct control_item *item,
			 const struct control_command_msg *m)
{
	struct pending *p = plan_report(s, tm, CONTROL_REPORT_ACK, item, 15);
	p->report.checkpoint = m->checkpoint;
	char path[160];
	snprintf(path, sizeof(path), "jobs/%s/chk-%" PRIu64 "/%" PRIu32 "-%s.snap", m->job.hex,
		 m->checkpoint.v, m->attempt.v, tm->id);
	p->report.object =
		json_pack("{s:s, s:i, s:s}", "path", path, "bytes", 1000, "checksum", "00");
}

static void take_command(struct stage *s, struct player *tm, const struct control_command_msg *m)
{
	struct control_item *item = item_of(tm, &m->job, m->region, m->attempt);
	if (m->kind == CONTROL_WELCOME)
		tm->registration = m->registration;
	else if (m->kind == CONTROL_PREPARE)
		take_prepare(s, tm, m);
	else if (!item)
		return;
	else if (m->kind == CONTROL_RUN)
		plan_report(s, tm, CONTROL_REPORT_RUNNING, item, 10);
	else if (m->kind == CONTROL_TRIGGER)
		take_trigger(s, tm, item, m);
	else if (m->kind == CONTROL_COMPLETE) {
		item->completed = m->checkpoint;
		plan_report(s, tm, CONTROL_REPORT_COMMITTED, item, 5)->report.checkpoint =
			m->checkpoint;
	} else if (m->kind == CONTROL_CANCEL || m->kind == CONTROL_FINISH)
		plan_report(s, tm, CONTROL_REPORT_ENDED, item, 5);
}

static void narrate_command(struct stage *s, const struct player *tm,
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
	say(s, "  %s <- %s attempt=%" PRIu32 "%s%s", tm->id, control_command_name(m->kind),
	    m->attempt.v, more, m->terminal ? " terminal" : "");
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
		json_array_append_new(item->acks,
				      json_pack("{s:I, s:O}", "checkpoint",
						(json_int_t)m->checkpoint.v, "object", m->object));
	else if (m->kind == CONTROL_REPORT_ENDED)
		drop_item(tm, item);
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
	dispatch(s, &ev);
}

static void give_report(struct stage *s, struct pending *p)
{
	struct player *tm = p->tm;
	struct control_item *item =
		item_of(tm, &p->report.job, p->report.region, p->report.attempt);
	if (!item ||
	    (item->state >= CONTROL_STATE_FAILED && p->report.kind != CONTROL_REPORT_ENDED))
		return;
	if (held_back(tm, p->report.kind)) {
		struct pending *again = later(s, P_REPORT, 50);
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
static void register_late(struct stage *s, const struct player *tm)
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
	dispatch(s, &ev);
	if (s->jm)
		dispatch(s, &(struct jm_event){.kind = JM_TM_GONE, .token = token});
}

static void do_register(struct stage *s, struct player *tm)
{
	if (!s->jm || tm->online || tm->away)
		return;
	if (tm->highest > s->epoch) { /* it asks for a leader above, and hears of none */
		struct jm_event ev = {.kind = JM_AHEAD,
				      .epoch = {tm->highest},
				      .text = "a TaskManager remembers a later epoch"};
		dispatch(s, &ev);
		plan_register(s, tm, 1000);
		return;
	}
	struct control_registration r = registration_of(tm, tm->items);
	tm->highest = s->epoch;
	tm->online = true;
	tm->silent = false;
	tm->stream = s->next_stream++;
	tm->report_seq = 0;
	struct jm_event ev = {.kind = JM_TM_REGISTER, .token = tm->stream, .registration = &r};
	dispatch(s, &ev);
	struct pending *beat = later(s, P_BEAT, 1000);
	beat->tm = tm;
	beat->registration = tm->stream;
}

static void give_beat(struct stage *s, struct pending *p)
{
	struct player *tm = p->tm;
	if (!tm->alive || !tm->online || tm->stream != p->registration)
		return;
	struct control_report_msg m = {.kind = CONTROL_REPORT_BEAT,
				       .digest = control_digest(tm->items, tm->n_items)};
	struct pending *next = later(s, P_BEAT, 1000);
	next->tm = tm;
	next->registration = p->registration;
	send_report(s, tm, &m);
}

/* ---- time ---- */

static void happen(struct stage *s, struct pending *p)
{
	bool same = p->tm && p->tm->alive && strcmp(p->instance, p->tm->instance) == 0;
	switch (p->kind) {
	case P_EFFECT:
		end_effect(s, p);
		break;
	case P_COMMAND:
		if (same && (p->left || (p->tm->online && p->tm->stream == p->effect.stream))) {
			narrate_command(s, p->tm, p->effect.command);
			take_command(s, p->tm, p->effect.command);
		}
		break;
	case P_REPORT:
		if (same)
			give_report(s, p);
		break;
	case P_BEAT:
		give_beat(s, p);
		break;
	case P_REGISTER:
		if (same)
			do_register(s, p->tm);
		break;
	case P_DEAD:
		if (s->jm && p->life == s->life)
			dispatch(s, &(struct jm_event){.kind = JM_TM_DEAD, .token = p->token});
		break;
	}
}

static bool tick(struct stage *s, uint64_t until)
{
	uint64_t wake = s->jm ? jm_wake_ms(s->jm) : UINT64_MAX;
	uint64_t next = s->queue ? s->queue->at : UINT64_MAX;
	if (next > until && wake > until) {
		s->now = until;
		return false;
	}
	struct pending *p = s->queue;
	if (p && next <= wake) {
		s->queue = p->next;
		s->now = p->at > s->now ? p->at : s->now;
		happen(s, p);
		pending_destroy(p);
		return true;
	}
	s->now = wake > s->now ? wake : s->now;
	struct jm_event ev = {.kind = JM_TIME};
	dispatch(s, &ev);
	return true;
}

void stage_run(struct stage *s, uint64_t ms)
{
	uint64_t until = s->now + ms;
	while (tick(s, until))
		;
}

/* ---- commands of a story ---- */

static struct player *find_tm(struct stage *s, const char *id)
{
	for (unsigned i = 0; i < s->n_tms; i++)
		if (strcmp(s->tms[i].id, id) == 0)
			return &s->tms[i];
	return NULL;
}

static void id_of(struct stage *s, const char *name, struct job_id *out)
{
	unsigned i = 0;
	while (i < s->n_names && strcmp(s->names[i], name) != 0)
		i++;
	if (i == s->n_names && s->n_names < JOBS_MAX)
		snprintf(s->names[s->n_names++], sizeof(s->names[0]), "%s", name);
	memset(out->hex, 'a' + (char)(i % 6), ID_HEX);
	out->hex[ID_HEX] = '\0';
}

static const char *option(char *words[], unsigned n, const char *name, const char *fallback)
{
	size_t len = strlen(name);
	for (unsigned i = 0; i < n; i++)
		if (strncmp(words[i], name, len) == 0 && words[i][len] == '=')
			return words[i] + len + 1;
	return fallback;
}

static void birth(struct stage *s, struct player *tm)
{
	snprintf(tm->instance, sizeof(tm->instance), "%016x%016x", ++tm->births,
		 (unsigned)(tm - s->tms) + 1);
	tm->alive = true;
	tm->away = tm->silent = tm->online = false;
	plan_register(s, tm, 5);
}

static void death(struct stage *s, struct player *tm)
{
	bool was_online = tm->online;
	tm->alive = tm->online = false;
	while (tm->n_items)
		drop_item(tm, &tm->items[0]);
	struct jm_event ev = {.kind = JM_TM_GONE, .token = tm->stream};
	if (s->jm && was_online)
		dispatch(s, &ev);
}

static bool hold_of(const char *name, enum stage_hold *out)
{
	static const char *const names[HOLD_COUNT] = {"prepared", "running", "ack", "committed"};
	for (int i = 0; i < HOLD_COUNT; i++)
		if (strcmp(names[i], name) == 0) {
			*out = (enum stage_hold)i;
			return true;
		}
	return false;
}

static void report_all(struct stage *s, struct player *tm, enum control_report kind, char *words[],
		       unsigned n)
{
	const char *region = option(words, n, "region", "");
	for (unsigned i = 0; i < tm->n_items; i++) {
		if (region[0] && tm->items[i].region != (uint32_t)(region[0] - '0'))
			continue;
		struct pending *p = plan_report(s, tm, kind, &tm->items[i], 0);
		p->report.external = strcmp(option(words, n, "external", "no"), "yes") == 0;
		p->report.corrupt = strcmp(option(words, n, "corrupt", "no"), "yes") == 0;
		snprintf(p->report.text, sizeof(p->report.text), "%s",
			 option(words, n, "text", "division by zero"));
		for (char *c = p->report.text; *c; c++)
			*c = *c == '_' ? ' ' : *c;
		uint64_t id = 0;
		if (text_u64(option(words, n, "ckpt", "0"), &id, NULL) == ERR_OK)
			p->report.checkpoint.v = id;
	}
	stage_run(s, 0);
}

static bool do_tm(struct stage *s, char *words[], unsigned n)
{
	enum stage_hold hold;
	if (n < 3)
		return false;
	struct player *tm = find_tm(s, words[2]);
	if (strcmp(words[1], "add") == 0 && !tm && s->n_tms < TMS_MAX) {
		uint64_t slots = 4;
		tm = &s->tms[s->n_tms++];
		snprintf(tm->id, sizeof(tm->id), "%s", words[2]);
		snprintf(tm->cookie, sizeof(tm->cookie), "%s", option(words, n, "cookie", "c1"));
		if (text_u64(option(words, n, "slots", "4"), &slots, NULL) == ERR_OK)
			tm->slots = (uint32_t)slots;
		birth(s, tm);
		stage_run(s, 10);
		return true;
	}
	if (!tm)
		return false;
	if (strcmp(words[1], "kill") == 0) /* with its machine: nobody answers */
		death(s, tm);
	else if (strcmp(words[1], "die") == 0) { /* the process: its kernel refuses */
		tm->refuses = true;
		death(s, tm);
	} else if (strcmp(words[1], "blip") == 0) { /* the stream breaks; a firewall refuses */
		tm->refuses = true;
		plan_register(s, tm, 300);
		struct jm_event gone = {.kind = JM_TM_GONE, .token = tm->stream};
		if (s->jm)
			dispatch(s, &gone);
	} else if (strcmp(words[1], "drop") == 0) { /* the stream breaks, nothing else */
		plan_register(s, tm, 300);
		struct jm_event gone = {.kind = JM_TM_GONE, .token = tm->stream};
		if (s->jm)
			dispatch(s, &gone);
	} else if (strcmp(words[1], "restart") == 0) {
		tm->refuses = false;
		death(s, tm);
		birth(s, tm);
	} else if (strcmp(words[1], "silent") == 0)
		tm->silent = true;
	else if (strcmp(words[1], "late") == 0 && s->jm)
		register_late(s, tm);
	else if (strcmp(words[1], "away") == 0) /* cannot reach the JobManager */
		tm->away = true;
	else if (strcmp(words[1], "back") == 0) {
		tm->away = false;
		plan_register(s, tm, 5);
	} else if (strcmp(words[1], "fail") == 0)
		report_all(s, tm, CONTROL_REPORT_FAILED, words, n);
	else if (strcmp(words[1], "at-end") == 0)
		report_all(s, tm, CONTROL_REPORT_AT_END, words, n);
	else if (strcmp(words[1], "decline") == 0)
		report_all(s, tm, CONTROL_REPORT_DECLINE, words, n);
	else if (n > 3 && strcmp(words[1], "hold") == 0 && hold_of(words[3], &hold))
		tm->hold[hold] = true;
	else if (n > 3 && strcmp(words[1], "release") == 0 && hold_of(words[3], &hold))
		tm->hold[hold] = false;
	else
		return false;
	return true;
}

static json_t *spec_of(const char *name, char *words[], unsigned n)
{
	uint64_t parallelism = 2, retained = 1, concurrent = 1, tolerable = 0, attempts = 1;
	(void)!text_u64(option(words, n, "parallelism", "2"), &parallelism, NULL);
	(void)!text_u64(option(words, n, "retained", "1"), &retained, NULL);
	(void)!text_u64(option(words, n, "concurrent", "1"), &concurrent, NULL);
	(void)!text_u64(option(words, n, "tolerable", "0"), &tolerable, NULL);
	(void)!text_u64(option(words, n, "attempts", "1"), &attempts, NULL);
	const char *strategy = option(words, n, "restart", "exponential-delay");
	json_t *restart = json_pack("{s:s}", "strategy", strategy);
	if (strcmp(strategy, "fixed-delay") == 0) {
		json_object_set_new(restart, "attempts", json_integer((json_int_t)attempts));
		json_object_set_new(restart, "delay", json_string("1s"));
	}
	if (strcmp(strategy, "failure-rate") == 0) {
		json_object_set_new(restart, "maxFailuresPerInterval",
				    json_integer((json_int_t)attempts));
		json_object_set_new(restart, "interval", json_string("10s"));
		json_object_set_new(restart, "delay", json_string("1s"));
	}
	if (strcmp(strategy, "exponential-delay") == 0)
		json_object_set_new(restart, "jitter", json_real(0.0));
	json_t *operators = json_array();
	int regions = option(words, n, "regions", "1")[0] - '0';
	for (int i = 0; i < regions; i++) {
		char source[16], sink[16];
		snprintf(source, sizeof(source), "numbers%d", i);
		snprintf(sink, sizeof(sink), "out%d", i);
		json_array_append_new(operators,
				      json_pack("{s:s,s:s,s:i,s:i}", "uid", source, "type",
						"source.sequence", "from", 1, "to", 100));
		json_array_append_new(operators,
				      json_pack("{s:s,s:s,s:[s],s:s,s:s}", "uid", sink, "type",
						"sink.file", "inputs", source, "path", sink,
						"semantics", "exactly-once"));
	}
	return json_pack("{s:s, s:I, s:s, s:{s:s, s:I, s:I, s:I, s:s}, s:o, s:o}", "name", name,
			 "parallelism", (json_int_t)parallelism, "slotTimeout",
			 option(words, n, "slot-timeout", "5min"), "checkpointing", "interval",
			 option(words, n, "interval", "10s"), "retained", (json_int_t)retained,
			 "maxConcurrent", (json_int_t)concurrent, "tolerableFailures",
			 (json_int_t)tolerable, "timeout", option(words, n, "timeout", "1min"),
			 "restart", restart, "operators", operators);
}

static bool do_submit(struct stage *s, char *words[], unsigned n)
{
	if (!s->jm || n < 2)
		return false;
	struct jm_event ev = {.kind = JM_SUBMIT, .token = 1000000 + s->next_request++};
	json_t *spec = spec_of(words[1], words, n);
	assert(spec);
	id_of(s, words[1], &ev.job);
	ev.spec = spec;
	dispatch(s, &ev);
	json_decref(spec);
	return true;
}

static bool do_cancel(struct stage *s, const char *name)
{
	if (!s->jm)
		return false;
	struct jm_event ev = {.kind = JM_CANCEL, .token = 1000000 + s->next_request++};
	id_of(s, name, &ev.job);
	dispatch(s, &ev);
	return true;
}

static void leader_start(struct stage *s)
{
	struct jm_config config = {.instance = "jm", .storage = "file:///storage"};
	s->jm = jm_create(&config);
	s->epoch = ++s->revision;
	s->suspended = false;
	struct jm_effect all = {.kind = JM_READ, .key = "run/", .prefix = true};
	struct jm_event ev = {0};
	end_read(s, &all, &ev);
	ev.kind = JM_LEADING;
	ev.epoch.v = s->epoch;
	ev.before.v = s->led_epoch;
	ev.before_crashed = s->crashed;
	ev.nospace = s->nospace;
	ev.cluster_id = "c1";
	s->led_epoch = s->epoch;
	s->crashed = true; /* unless it hands over */
	dispatch(s, &ev);
	free_docs(&ev);
	if (!s->jm)
		return; /* it died at once */
	struct jm_cluster_view view;
	jm_view_cluster(s->jm, &view);
	s->epoch = view.epoch.v;
	for (unsigned i = 0; i < s->n_tms; i++)
		plan_register(s, &s->tms[i], 10 + i);
}

/* The process dies; what it asked of the store happens, or (`lost`) never will. */
static void leader_kill(struct stage *s, bool lost)
{
	jm_destroy(s->jm);
	s->jm = NULL;
	s->life++;
	s->dying = false;
	for (unsigned i = 0; i < s->n_tms; i++)
		s->tms[i].online = false;
	for (struct pending **at = &s->queue; *at;) {
		struct pending *p = *at;
		if (p->kind != P_EFFECT || !lost) {
			at = &p->next;
			continue;
		}
		*at = p->next;
		pending_destroy(p);
	}
	say(s, s->crashed ? "the leader dies" : "the leader hands over");
}

static bool do_leader(struct stage *s, const char *what)
{
	struct jm_event ev = {.kind = JM_SUSPENDED};
	if (strcmp(what, "start") == 0 && !s->jm)
		leader_start(s);
	else if (strcmp(what, "kill") == 0 && s->jm)
		leader_kill(s, false);
	else if (strcmp(what, "kill-lost") == 0 && s->jm)
		leader_kill(s, true);
	else if (strcmp(what, "accept") == 0 && s->jm) {
		ev = (struct jm_event){.kind = JM_ACCEPT, .token = 1000000 + s->next_request++};
		dispatch(s, &ev);
	} else if (strcmp(what, "resign") == 0 && s->jm) {
		s->crashed = false;
		leader_kill(s, false);
	} else if (strcmp(what, "suspend") == 0 && s->jm) {
		s->suspended = true;
		dispatch(s, &ev);
	} else if (strcmp(what, "resume") == 0 && s->jm) {
		s->suspended = false;
		ev.kind = JM_RESUMED;
		dispatch(s, &ev);
	} else
		return false;
	return true;
}

static bool do_release(struct stage *s, const char *name)
{
	struct jm_event ev = {.kind = JM_RELEASE, .token = 1000000 + s->next_request++};
	if (!s->jm)
		return false;
	id_of(s, name, &ev.job);
	dispatch(s, &ev);
	return true;
}

/* Whoever opens this job dies; "none" ends it. */
static bool do_poison(struct stage *s, const char *name)
{
	struct job_id id;
	id_of(s, name, &id);
	s->poison[0] = '\0';
	if (strcmp(name, "none") != 0)
		snprintf(s->poison, sizeof(s->poison), "leader-open-%s", id.hex);
	return true;
}

/* Start leaders, one as soon as another died, until one has lived for three seconds. */
static bool do_succession(struct stage *s)
{
	for (int i = 0; i < 30; i++) {
		if (!s->jm)
			leader_start(s);
		uint64_t end = s->now + 3000;
		while (s->jm && tick(s, end))
			;
		if (s->jm)
			return true;
	}
	return false;
}

static bool do_until(struct stage *s, const char *name, const char *state, const char *within)
{
	uint64_t ms = 0;
	struct job_id id;
	struct jm_job_view v;
	id_of(s, name, &id);
	if (text_duration_ms(within, &ms, NULL) != ERR_OK)
		return false;
	uint64_t end = s->now + ms;
	for (;;) {
		if (s->jm && jm_view_job(s->jm, &id, &v) && strcmp(v.state, state) == 0)
			return true;
		if (!tick(s, end)) {
			violate(s, "%s is not %s within %s", name, state, within);
			return true;
		}
	}
}

static void show_store(struct stage *s)
{
	for (size_t i = 0; i < s->n_store; i++) {
		char brief[64];
		const char *slash = strchr(s->store[i].key, '/');
		snprintf(brief, sizeof(brief), "%.*s/%.8s%s",
			 (int)(slash ? slash - s->store[i].key : 0), s->store[i].key,
			 slash ? slash + 1 : "",
			 slash && strlen(slash + 1) > ID_HEX ? slash + 1 + ID_HEX : "");
		buf_printf(&s->page, "  %s\n", brief);
	}
}

static void show_job(struct stage *s, const char *name)
{
	struct job_id id;
	struct jm_job_view v;
	id_of(s, name, &id);
	struct jm_held_view held;
	if (s->jm && jm_view_held(s->jm, &id, &held)) {
		buf_printf(&s->page, "  not opened: %s, %" PRIu32 " marks\n",
			   held.held ? "quarantined" : "its turn has not come", held.marks);
		return;
	}
	if (!s->jm || !jm_view_job(s->jm, &id, &v)) {
		buf_printf(&s->page, "  no such job\n");
		return;
	}
	const struct doc_pointer *newest = doc_newest(v.doc);
	buf_printf(&s->page,
		   "  status=%s attempt=%" PRIu32 " restarts=%" PRIu32 " counted=%" PRIu32
		   " newest=%" PRIu64 " committed=%" PRIu64 " failures=%u%s%s\n",
		   v.status, v.doc->regions[0].attempt.v, v.doc->restarts, v.doc->restart.count,
		   newest ? newest->id.v : 0, v.doc->committed.v, v.doc->n_failures,
		   v.trouble[0] ? " trouble: " : "", v.trouble);
}

static void free_backup(struct stage *s)
{
	for (size_t i = 0; i < s->n_backup; i++) {
		free(s->backup[i].key);
		free(s->backup[i].value);
	}
	free(s->backup);
	s->backup = NULL;
	s->n_backup = 0;
}

static void store_backup(struct stage *s)
{
	free_backup(s);
	s->backup = mem_array(s->n_store + 1, sizeof(*s->backup));
	for (size_t i = 0; i < s->n_store; i++)
		s->backup[s->n_backup++] = (struct record){.key = mem_text(s->store[i].key),
							   .value = mem_text(s->store[i].value),
							   .revision = s->store[i].revision};
	s->backup_revision = s->revision;
}

/* Everything as it was, revisions too: nothing tells it from what it was then. */
static void store_restore(struct stage *s)
{
	while (s->n_store)
		erase(s, s->store[0].key);
	for (size_t i = 0; i < s->n_backup; i++) {
		s->revision = s->backup[i].revision;
		put(s, s->backup[i].key, s->backup[i].value);
	}
	s->revision = s->backup_revision;
}

static bool do_switch(struct stage *s, const char *verb, const char *what)
{
	if (strcmp(verb, "storage") == 0)
		s->storage_down = strcmp(what, "down") == 0;
	else if (strcmp(verb, "store") == 0 && strcmp(what, "show") == 0)
		show_store(s);
	else if (strcmp(verb, "store") == 0 && strcmp(what, "backup") == 0)
		store_backup(s);
	else if (strcmp(verb, "store") == 0 && strcmp(what, "restore") == 0)
		store_restore(s);
	else if (strcmp(verb, "store") == 0 && strcmp(what, "wipe") == 0)
		while (s->n_store)
			erase(s, s->store[0].key);
	else if (strcmp(verb, "store") == 0)
		s->nospace = strcmp(what, "full") == 0;
	else
		return false;
	return true;
}

bool stage_do(struct stage *s, const char *line)
{
	char text[512];
	char *words[16];
	unsigned n = 0;
	uint64_t ms = 0;
	snprintf(text, sizeof(text), "%s", line);
	char *rest = NULL;
	for (char *w = strtok_r(text, " \t", &rest); w && n < 16; w = strtok_r(NULL, " \t", &rest))
		words[n++] = w;
	if (n == 0)
		return true;
	if (strcmp(words[0], "quiet") == 0 || strcmp(words[0], "loud") == 0) {
		s->quiet = words[0][0] == 'q';
		return true;
	}
	if (n < 2)
		return false;
	if (strcmp(words[0], "tm") == 0)
		return do_tm(s, words, n);
	if (strcmp(words[0], "submit") == 0)
		return do_submit(s, words, n);
	if (strcmp(words[0], "cancel") == 0)
		return do_cancel(s, words[1]);
	if (strcmp(words[0], "leader") == 0 && n > 2 && strcmp(words[1], "kill-at") == 0) {
		snprintf(s->kill_at, sizeof(s->kill_at), "%s", words[2]);
		return true;
	}
	if (strcmp(words[0], "leader") == 0 && strcmp(words[1], "succession") == 0)
		return do_succession(s);
	if (strcmp(words[0], "leader") == 0)
		return do_leader(s, words[1]);
	if (strcmp(words[0], "release") == 0)
		return do_release(s, words[1]);
	if (strcmp(words[0], "poison") == 0)
		return do_poison(s, words[1]);
	if (strcmp(words[0], "until") == 0 && n > 2)
		return do_until(s, words[1], words[2], n > 3 ? words[3] : "60s");
	if (strcmp(words[0], "show") == 0) {
		show_job(s, words[1]);
		return true;
	}
	if (strcmp(words[0], "run") == 0 && text_duration_ms(words[1], &ms, NULL) == ERR_OK) {
		stage_run(s, ms);
		return true;
	}
	return do_switch(s, words[0], words[1]);
}

/* ---- life ---- */

struct stage *stage_create(void)
{
	struct stage *s = mem_alloc(sizeof(*s));
	s->next_stream = 1;
	return s;
}

void stage_destroy(struct stage *s)
{
	jm_destroy(s->jm);
	while (s->queue) {
		struct pending *p = s->queue;
		s->queue = p->next;
		pending_destroy(p);
	}
	while (s->n_store)
		erase(s, s->store[0].key);
	free_backup(s);
	free(s->store);
	for (size_t i = 0; i < s->n_blobs; i++)
		free(s->blobs[i]);
	free(s->blobs);
	for (unsigned i = 0; i < s->n_tms; i++)
		while (s->tms[i].n_items)
			drop_item(&s->tms[i], &s->tms[i].items[0]);
	buf_fini(&s->page);
	free(s);
}

struct buf *stage_page(struct stage *s)
{
	return &s->page;
}

uint64_t stage_now(const struct stage *s)
{
	return s->now;
}

unsigned stage_violations(const struct stage *s)
{
	return s->violations;
}

const struct jm *stage_jm(const struct stage *s)
{
	return s->jm;
}
