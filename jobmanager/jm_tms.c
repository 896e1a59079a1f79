/* TaskManagers: registrations, reports, beats, losses, and the slots that they offer. */
#include "jobmanager/jm_inside.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"

/* Free slots there that may be given away. */
static uint64_t offer_of(const struct jm *jm, const struct taskmanager *tm)
{
	bool usable = tm->slots > tm->used && tms_unusable(tm, jm->cluster_id)[0] == '\0';
	return usable ? tm->slots - tm->used : 0;
}

/* Around whatever changes one TaskManager, so that not all of them have to be counted anew. */
static void withdraw_offer(struct jm *jm, const struct taskmanager *tm)
{
	uint64_t offer = offer_of(jm, tm);
	jm->free_slots -= offer < jm->free_slots ? offer : jm->free_slots;
}

static void make_offer(struct jm *jm, const struct taskmanager *tm)
{
	jm->free_slots += offer_of(jm, tm);
	jm->more_slots = true;
}

/* What runs there of jobs that are not opened (quarantined, unreadable, unknown to the store) may
 * run on: its slots are not given away. */
static void count_foreign(const struct jm *jm, struct taskmanager *tm)
{
	tm->foreign = 0;
	for (unsigned i = 0; i < tm->n_items; i++)
		if (!jm_find(jm, &tm->items[i].job))
			tm->foreign += tms_slots_of_job(tm, i);
}

void jm_recount(struct jm *jm)
{
	for (size_t i = 0; i < jm->tms.n; i++) {
		struct taskmanager *tm = jm->tms.at[i];
		tm->used = tm->foreign;
		tm->of_job = 0;
	}
	for (size_t i = 0; i < jm->n_jobs; i++)
		job_count_slots(jm->jobs[i]);
	jm->free_slots = 0;
	for (size_t i = 0; i < jm->tms.n; i++)
		jm->free_slots += offer_of(jm, jm->tms.at[i]);
	jm->dirty = false;
	jm->more_slots = true;
}

static uint64_t tm_wake_ms(const struct jm *jm, const struct taskmanager *tm)
{
	bool judges = jm_leads(jm);
	if (tm->state == TM_AWAY)
		return judges ? tm->gone_ms + jm->config.reconnect_ms : UINT64_MAX;
	uint64_t silent = judges ? tm->heard_ms + jm->config.heartbeat_timeout_ms : UINT64_MAX;
	return tm->beat_ms < silent ? tm->beat_ms : silent;
}

static void note_tm(struct jm *jm, const struct taskmanager *tm)
{
	uint64_t at = tm_wake_ms(jm, tm);
	if (at < jm->tms_wake_ms)
		jm->tms_wake_ms = at;
}

/* The next beat of a TaskManager: those of many fall together, so that one step sends them. */
static uint64_t next_beat_ms(const struct jm *jm)
{
	uint64_t at = jm->now_ms + jm->config.beat_ms;
	return at - at % JM_BEATS_ROUND_MS;
}

/* The same of one TaskManager, by the jobs that it concerns. */
static void recount_tm(struct taskmanager *tm, struct job *const *jobs, size_t n)
{
	tm->used = tm->foreign;
	for (size_t i = 0; i < n; i++)
		tm->used += job_slots_at(jobs[i], tm);
}

static void close_stream(struct jm *jm, struct taskmanager *tm, const char *why,
			 struct jm_effects *fx)
{
	struct control_command_msg bye = {.kind = CONTROL_GOODBYE};
	snprintf(bye.text, sizeof(bye.text), "%s", why);
	tms_send(tm, &bye, jm->epoch, fx);
	struct jm_effect *close = effects_add(fx, JM_CLOSE_STREAM);
	close->stream = tm->stream;
	close->registration = tm->registration;
}

/* The jobs that have, had or will have something on a TaskManager; each maybe more than once. */
struct concerned {
	size_t n, capacity;
	struct job **jobs; /* owns the places */
};

static void add_concerned(struct jm *jm, struct concerned *c, const struct job_id *id)
{
	struct job *job = jm_find(jm, id);
	for (size_t i = 0; i < c->n; i++)
		if (c->jobs[i] == job)
			return;
	if (!job)
		return;
	if (c->n == c->capacity) {
		c->capacity = c->capacity ? 2 * c->capacity : 16;
		c->jobs = mem_resize(c->jobs, c->capacity, sizeof(struct job *));
	}
	c->jobs[c->n++] = job;
}

static void concern(struct jm *jm, struct concerned *c, const struct taskmanager *tm)
{
	size_t n = 0;
	const struct job_id *placed = whereabouts_jobs(&jm->whereabouts, tm->id, &n);
	for (size_t i = 0; i < n; i++)
		add_concerned(jm, c, &placed[i]);
	for (unsigned i = 0; i < tm->n_items; i++)
		add_concerned(jm, c, &tm->items[i].job);
}

static void lose_tm(struct jm *jm, struct taskmanager *tm, const char *why, struct jm_effects *fx)
{
	effects_trace(fx, LOG_LEVEL_WARN, "tm=%s lost: it %s", tm->id, why);
	jm->counts.tms_lost++;
	struct job_env env = jm_env(jm, fx);
	struct concerned c = {0};
	concern(jm, &c, tm);
	for (size_t i = 0; i < c.n; i++) {
		job_tm_lost(c.jobs[i], &env, tm, why);
		jm_touch(jm, c.jobs[i]);
	}
	free(c.jobs);
	withdraw_offer(jm, tm);
	tms_remove(&jm->tms, tm);
}

/* The process behind this id was restarted: what was AWAY will not come back. */
static void lose_older(struct jm *jm, const struct control_registration *r, struct jm_effects *fx)
{
	struct taskmanager *tm;
	while (jm->tms.n_away && (tm = tms_older(&jm->tms, r->id, r->instance)) != NULL)
		lose_tm(jm, tm, "was restarted", fx);
}

static void welcome(struct jm *jm, struct taskmanager *tm, struct jm_effects *fx)
{
	const struct jm_config *k = &jm->config;
	struct control_command_msg m = {.kind = CONTROL_WELCOME};
	m.settings =
		json_pack("{s:I, s:I, s:I, s:I, s:s, s:s}", "heartbeatTimeoutMs",
			  (json_int_t)k->heartbeat_timeout_ms, "beatMs", (json_int_t)k->beat_ms,
			  "orphanTimeoutMs", (json_int_t)k->orphan_timeout_ms, "alignmentLimitMs",
			  (json_int_t)k->alignment_limit_ms, "storage", k->storage, "clusterId",
			  jm->cluster_id);
	tms_send(tm, &m, jm->epoch, fx);
}

static void refuse_stream(const struct jm_event *ev, const char *why, struct jm_effects *fx)
{
	effects_trace(fx, LOG_LEVEL_WARN, "tm=%s refused: %s", ev->registration->id, why);
	effects_add(fx, JM_CLOSE_STREAM)->stream = ev->token;
}

/* The registration cannot be trusted any more: a new one brings the truth. */
void jm_end_registration(struct jm *jm, struct taskmanager *tm, const char *why,
			 struct jm_effects *fx)
{
	effects_trace(fx, LOG_LEVEL_WARN, "tm=%s %s -> it has to register again", tm->id, why);
	close_stream(jm, tm, why, fx);
	withdraw_offer(jm, tm);
	tms_away(&jm->tms, tm, jm->now_ms);
	note_tm(jm, tm);
}

/* Jobs of which it has, had or should have something are told, in any order. */
static void tell_jobs(struct jm *jm, struct concerned *c, struct taskmanager *tm,
		      const struct control_registration *r, struct jm_effects *fx)
{
	struct job_env env = jm_env(jm, fx);
	concern(jm, c, tm);
	for (size_t i = 0; i < c->n; i++) {
		job_tm_registered(c->jobs[i], &env, tm, r);
		jm_touch(jm, c->jobs[i]);
	}
	recount_tm(tm, c->jobs, c->n);
	free(c->jobs);
	make_offer(jm, tm);
}

void jm_tm_register(struct jm *jm, const struct jm_event *ev, struct jm_effects *fx)
{
	const struct control_registration *r = ev->registration;
	struct concerned concerned = {0};
	if (jm->role == JM_IS_FOLLOWING || r->highest.v > jm->epoch.v) {
		refuse_stream(ev, "this JobManager does not lead, or not any more", fx);
		return;
	}
	struct taskmanager *known = tms_find(&jm->tms, r->id, r->instance);
	if (known)
		concern(jm, &concerned, known); /* what it had */
	if (known)
		withdraw_offer(jm, known);
	if (known && known->state == TM_CONNECTED)
		close_stream(jm, known, "it registered again", fx);
	lose_older(jm, r, fx);
	struct taskmanager *tm = tms_register(&jm->tms, r, ev->token, jm->now_ms);
	if (!tm) {
		refuse_stream(ev, "too many TaskManagers", fx);
		return;
	}
	tm->beat_ms = next_beat_ms(jm);
	note_tm(jm, tm);
	tm->forgiven = quarantine_forgives(&jm->quarantine, jm->wall_ms);
	const char *unusable = tms_unusable(tm, jm->cluster_id);
	effects_trace(fx, LOG_LEVEL_INFO, "tm=%s registered: %" PRIu32 " slots, %u attempts%s%s",
		      tm->id, tm->slots, r->n_items, unusable[0] ? "; not used: " : "", unusable);
	welcome(jm, tm, fx);
	count_foreign(jm, tm);
	tell_jobs(jm, &concerned, tm, r, fx);
}

void jm_tm_gone(struct jm *jm, uint64_t stream, struct jm_effects *fx)
{
	struct taskmanager *tm = tms_by_stream(&jm->tms, stream);
	if (!tm)
		return;
	effects_trace(fx, LOG_LEVEL_INFO, "tm=%s command stream ended: %" PRIu64 " ms to come back",
		      tm->id, jm->config.reconnect_ms);
	withdraw_offer(jm, tm);
	tms_away(&jm->tms, tm, jm->now_ms);
	note_tm(jm, tm);
	if (tm->doubted)
		return;
	struct jm_effect *probe = effects_add(fx, JM_PROBE);
	probe->token = stream;
	snprintf(probe->key, sizeof(probe->key), "%s", tm->data_address);
}

/* Its kernel refuses connections to its data port: the process is gone. If that is a mistake
 * (a firewall that answers for it), it registers again, and is then not probed any more. */
void jm_tm_dead(struct jm *jm, uint64_t stream, struct jm_effects *fx)
{
	struct taskmanager *tm = tms_away_from(&jm->tms, stream);
	if (!tm || jm->role != JM_IS_LEADING)
		return;
	tms_bury(&jm->tms, tm);
	lose_tm(jm, tm, "is dead: its data port refuses connections", fx);
}

static uint64_t count_of(const json_t *stats, const char *name)
{
	json_int_t n = json_integer_value(json_object_get(stats, name));
	return n > 0 ? (uint64_t)n : 0;
}

/* Where the state of an attempt came from, as its worker tells. */
static void count_restore(struct counts *c, const json_t *stats)
{
	c->restored_copies += count_of(stats, "localCopies");
	c->restored_local_bytes += count_of(stats, "localBytes");
	c->restored_storage_bytes += count_of(stats, "storageBytes");
}

/* Of attempts that count; anything else in it is passed over. */
static void note_traffic(struct jm *jm, const struct taskmanager *tm, const json_t *stats)
{
	const json_t *o;
	size_t i;
	json_array_foreach (json_object_get(stats, "counts"), i, o) {
		struct job_id id;
		const char *hex = json_string_value(json_object_get(o, "job"));
		json_int_t region = json_integer_value(json_object_get(o, "region"));
		json_int_t attempt = json_integer_value(json_object_get(o, "attempt"));
		if (!hex || job_id_parse(hex, &id, NULL) != ERR_OK)
			continue;
		struct job *job = jm_find(jm, &id);
		if (!job || region < 0 || region >= job->doc.n_regions ||
		    attempt != job->doc.regions[region].attempt.v)
			continue;
		job_note_flow(job, tm, (uint32_t)region, (struct attempt){(uint32_t)attempt},
			      json_object_get(o, "vertices"), jm->now_ms);
	}
}

static bool take_report(struct jm *jm, struct taskmanager *tm, const struct control_report_msg *m,
			struct jm_effects *fx)
{
	if (m->seq <= tm->report_seq)
		return true; /* sent again after an unknown outcome */
	if (m->seq != tm->report_seq + 1) {
		jm_end_registration(jm, tm, "reports are missing", fx);
		return false;
	}
	tm->report_seq = m->seq;
	if (m->kind == CONTROL_REPORT_BEAT) {
		note_traffic(jm, tm, m->stats);
		if (m->digest == control_digest(tm->items, tm->n_items))
			return true;
		jm_end_registration(jm, tm, "its inventory is not what was reported", fx);
		return false;
	}
	tms_note_report(tm, m);
	if (tm->foreign && (m->kind == CONTROL_REPORT_ENDED || m->kind == CONTROL_REPORT_FAILED)) {
		withdraw_offer(jm, tm);
		tm->used -= tm->foreign;
		count_foreign(jm, tm);
		tm->used += tm->foreign;
		make_offer(jm, tm);
	}
	if (m->kind == CONTROL_REPORT_RUNNING)
		count_restore(&jm->counts, m->stats);
	struct job_env env = jm_env(jm, fx);
	struct job *job = jm_find(jm, &m->job);
	if (job) {
		job_report(job, &env, tm, m);
		jm_touch(jm, job);
	}
	return true;
}

void jm_tm_reports(struct jm *jm, const struct jm_event *ev, struct jm_effects *fx)
{
	const struct control_reports *r = ev->reports;
	struct taskmanager *tm = tms_by_registration(&jm->tms, r->registration);
	bool good = tm && jm->role != JM_IS_FOLLOWING && r->epoch.v == jm->epoch.v;
	if (good)
		tm->heard_ms = jm->now_ms;
	for (unsigned i = 0; good && i < r->n; i++)
		good = take_report(jm, tm, &r->reports[i], fx);
	effects_reply(fx, ev->token, good ? ERR_OK : ERR_CONFLICT, "%s",
		      good ? "" : "this registration has ended: register again");
}

static bool in_store(const struct jm *jm, const struct job_id *id)
{
	for (size_t i = 0; i < jm->n_unreadable; i++)
		if (job_id_equal(&jm->unreadable[i], id))
			return true;
	return jm_find(jm, id) != NULL || quarantine_find(&jm->quarantine, id) != NULL;
}

static void say_unknown(struct jm *jm, struct taskmanager *tm, struct jm_effects *fx)
{
	for (unsigned i = 0; i < tm->n_items && jm->done_loaded; i++) {
		const struct control_item *item = &tm->items[i];
		if (in_store(jm, &item->job))
			continue;
		struct control_command_msg m = {.kind = CONTROL_UNKNOWN,
						.job = item->job,
						.region = item->region,
						.attempt = item->attempt};
		tms_send(tm, &m, jm->epoch, fx);
	}
}

static void beat(struct jm *jm, struct taskmanager *tm, struct jm_effects *fx)
{
	if (jm->now_ms < tm->beat_ms)
		return;
	tm->beat_ms = next_beat_ms(jm);
	struct control_command_msg m = {.kind = CONTROL_BEAT};
	if (jm->role == JM_IS_SUSPENDED)
		snprintf(m.text, sizeof(m.text), "suspended");
	tms_send(tm, &m, jm->epoch, fx);
	if (jm_leads(jm))
		say_unknown(jm, tm, fx);
}

void jm_watch_tms(struct jm *jm, struct jm_effects *fx)
{
	bool judges = jm_leads(jm);
	if (jm->now_ms < jm->tms_wake_ms)
		return;
	for (size_t i = jm->tms.n; i-- > 0;) {
		struct taskmanager *tm = jm->tms.at[i];
		if (judges && tm->state == TM_CONNECTED &&
		    jm->now_ms - tm->heard_ms >= jm->config.heartbeat_timeout_ms) {
			close_stream(jm, tm, "nothing was heard for the heartbeat timeout", fx);
			lose_tm(jm, tm, "was silent for the heartbeat timeout", fx);
		} else if (judges && tm->state == TM_AWAY &&
			   jm->now_ms - tm->gone_ms >= jm->config.reconnect_ms) {
			lose_tm(jm, tm, "went away and did not come back", fx);
		} else if (tm->state == TM_CONNECTED)
			beat(jm, tm, fx);
	}
	jm->tms_wake_ms = UINT64_MAX;
	for (size_t i = 0; i < jm->tms.n; i++)
		note_tm(jm, jm->tms.at[i]);
}

/* This process was paused: its own silence is not held against others. */
void jm_forgive_pause(struct jm *jm, uint64_t now_ms)
{
	uint64_t pause_ms = now_ms - jm->now_ms;
	if (!jm->now_ms || pause_ms < 2 * jm->config.beat_ms)
		return;
	for (size_t i = 0; i < jm->tms.n; i++) {
		jm->tms.at[i]->heard_ms += pause_ms;
		jm->tms.at[i]->gone_ms += pause_ms;
	}
}
