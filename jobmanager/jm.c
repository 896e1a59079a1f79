#include "jobmanager/jm_inside.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "base/mem.h"

static const char *const event_names[] = {
	[JM_TIME] = "time",
	[JM_LEADING] = "leading",
	[JM_RESUMED] = "resumed",
	[JM_SUSPENDED] = "suspended",
	[JM_FOLLOWING] = "following",
	[JM_TM_REGISTER] = "tm-register",
	[JM_TM_GONE] = "tm-gone",
	[JM_TM_DEAD] = "tm-dead",
	[JM_TM_REPORTS] = "tm-reports",
	[JM_SUBMIT] = "submit",
	[JM_CANCEL] = "cancel",
	[JM_AHEAD] = "ahead",
	[JM_ACCEPT] = "accept",
	[JM_RELEASE] = "release",
	[JM_DECIDED] = "decided",
	[JM_READ_DONE] = "read-done",
	[JM_BLOB_DONE] = "blob-done",
};

const char *jm_event_name(enum jm_event_kind kind)
{
	return kind < JM_EVENT_COUNT ? event_names[kind] : "?";
}

/* ---- life ---- */

/* A job that a list of whereabouts names: worth asking? */
static bool job_lives(void *ctx, const struct job_id *id)
{
	return jm_find(ctx, id) != NULL;
}

static uint64_t value_or(uint64_t value, uint64_t fallback)
{
	return value ? value : fallback;
}

struct jm *jm_create(const struct jm_config *config)
{
	struct jm *jm = mem_alloc(sizeof(*jm));
	jm->config = *config;
	jm->config.instance = mem_text(config->instance ? config->instance : "");
	jm->config.storage = mem_text(config->storage ? config->storage : "");
	jm->config.heartbeat_timeout_ms = value_or(config->heartbeat_timeout_ms, 5000);
	jm->config.reconnect_ms = value_or(config->reconnect_ms, 1000);
	jm->config.beat_ms = value_or(config->beat_ms, 1000);
	jm->config.reconcile_grace_ms = value_or(config->reconcile_grace_ms, 5000);
	jm->config.orphan_timeout_ms = value_or(config->orphan_timeout_ms, 60000);
	jm->config.alignment_limit_ms = value_or(config->alignment_limit_ms, 10000);
	jm->config.commit_timeout_ms = value_or(config->commit_timeout_ms, 10000);
	jm->config.cleanup_delay_ms = value_or(config->cleanup_delay_ms, 10000);
	jm->next_token = 1;
	jm->role = JM_IS_FOLLOWING;
	tms_init(&jm->tms);
	cleanup_init(&jm->cleanup);
	quarantine_init(&jm->quarantine);
	whereabouts_init(&jm->whereabouts, job_lives, jm);
	return jm;
}

static void forget_jobs(struct jm *jm)
{
	for (size_t i = 0; i < jm->n_jobs; i++)
		job_destroy(jm->jobs[i]);
	free(jm->jobs);
	free(jm->unreadable);
	jm->unreadable = NULL;
	jm->n_unreadable = 0;
	jm->jobs = NULL;
	jm->n_jobs = jm->jobs_capacity = 0;
	free(jm->touched);
	jm->touched = NULL;
	jm->n_touched = jm->touched_capacity = 0;
	jm->jobs_wake_ms = jm->tms_wake_ms = 0;
	jm->unfinished = false;
	whereabouts_fini(&jm->whereabouts);
	whereabouts_init(&jm->whereabouts, job_lives, jm);
}

void jm_destroy(struct jm *jm)
{
	if (!jm)
		return;
	forget_jobs(jm);
	tms_fini(&jm->tms);
	cleanup_fini(&jm->cleanup);
	quarantine_fini(&jm->quarantine);
	whereabouts_fini(&jm->whereabouts);
	free((void *)(uintptr_t)jm->config.instance);
	free((void *)(uintptr_t)jm->config.storage);
	free(jm);
}

/* ---- jobs by id ---- */

static size_t lower_bound(const struct jm *jm, const char *hex)
{
	size_t low = 0, high = jm->n_jobs;
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		if (strcmp(jm->jobs[mid]->doc.job.hex, hex) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

struct job *jm_find(const struct jm *jm, const struct job_id *id)
{
	size_t at = lower_bound(jm, id->hex);
	return at < jm->n_jobs && job_id_equal(&jm->jobs[at]->doc.job, id) ? jm->jobs[at] : NULL;
}

static void add_job(struct jm *jm, struct job *job)
{
	if (jm->n_jobs == jm->jobs_capacity) {
		jm->jobs_capacity = jm->jobs_capacity ? 2 * jm->jobs_capacity : 16;
		jm->jobs = mem_resize(jm->jobs, jm->jobs_capacity, sizeof(struct job *));
	}
	size_t at = lower_bound(jm, job->doc.job.hex);
	memmove(&jm->jobs[at + 1], &jm->jobs[at], (jm->n_jobs - at) * sizeof(struct job *));
	jm->jobs[at] = job;
	jm->n_jobs++;
}

/* It is advanced at the end of this step. */
static void touch(struct jm *jm, struct job *job)
{
	if (job->touched)
		return;
	job->touched = true;
	if (jm->n_touched == jm->touched_capacity) {
		jm->touched_capacity = jm->touched_capacity ? 2 * jm->touched_capacity : 16;
		jm->touched = mem_resize(jm->touched, jm->touched_capacity, sizeof(struct job *));
	}
	jm->touched[jm->n_touched++] = job;
}

static void remove_gone(struct jm *jm)
{
	size_t kept = 0, left = 0;
	jm->any_gone = false;
	for (size_t i = 0; i < jm->n_touched; i++)
		if (!jm->touched[i]->gone)
			jm->touched[left++] = jm->touched[i];
	jm->n_touched = left;
	for (size_t i = 0; i < jm->n_jobs; i++) {
		if (jm->jobs[i]->gone)
			job_destroy(jm->jobs[i]);
		else
			jm->jobs[kept++] = jm->jobs[i];
	}
	jm->n_jobs = kept;
}

/* ---- the step's tools ---- */

/* May decide and command. */
static bool leads(const struct jm *jm)
{
	return jm->role == JM_IS_LEADING && jm->stopped[0] == '\0';
}

static struct job_env env_of(struct jm *jm, struct jm_effects *fx)
{
	return (struct job_env){
		.now_ms = jm->now_ms,
		.wall_ms = jm->wall_ms,
		.epoch = jm->epoch,
		.leading = leads(jm),
		.may_place = quarantine_all_opened(&jm->quarantine),
		.placements = &jm->placements_left,
		.free_slots = &jm->free_slots,
		.whereabouts = &jm->whereabouts,
		.cluster_id = jm->cluster_id,
		.instance = jm->config.instance,
		.reconcile_grace_ms = jm->config.reconcile_grace_ms,
		.commit_timeout_ms = jm->config.commit_timeout_ms,
		.cleanup_delay_ms = jm->config.cleanup_delay_ms,
		.tms = &jm->tms,
		.cleanup = &jm->cleanup,
		.next_token = &jm->next_token,
		.counts = &jm->counts,
		.stopped = jm->stopped,
		.fx = fx,
	};
}

/* ---- slots ---- */

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

static void recount(struct jm *jm)
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
	bool judges = leads(jm);
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

static uint64_t read_keys(struct jm *jm, const char *prefix, struct jm_effects *fx)
{
	struct jm_effect *read = effects_add(fx, JM_READ);
	read->token = jm->next_token++;
	read->prefix = true;
	snprintf(read->key, sizeof(read->key), "%s", prefix);
	return read->token;
}

/* ---- roles ---- */

static struct job *load_hot(struct jm *jm, const struct job_env *env,
			    const struct quarantine_doc *doc)
{
	struct job_id id = doc->job;
	struct doc hot;
	struct err e = {0};
	if (doc_decode(doc->value, doc->len, &hot, &e) != ERR_OK) {
		effects_trace(env->fx, LOG_LEVEL_ERROR,
			      "job=%s cannot be read: %.300s -> left alone, its tasks too", id.hex,
			      e.text);
		jm->unreadable = mem_resize(jm->unreadable, jm->n_unreadable + 1, sizeof(id));
		jm->unreadable[jm->n_unreadable++] = id;
		return NULL;
	}
	if (!job_id_equal(&hot.job, &id) || jm_find(jm, &id)) {
		doc_fini(&hot);
		return NULL;
	}
	struct job *job = job_load(env, &hot, doc->revision);
	add_job(jm, job);
	return job;
}

static void end_registration(struct jm *jm, struct taskmanager *tm, const char *why,
			     struct jm_effects *fx);

static bool has_items_of(const struct taskmanager *tm, const struct job_id *job)
{
	for (unsigned i = 0; i < tm->n_items; i++)
		if (job_id_equal(&tm->items[i].job, job))
			return true;
	return false;
}

/* The job was opened after these TaskManagers registered: what they hold of it they tell in a new
 * registration; that others hold nothing is known. */
static void meet(struct jm *jm, struct job *job, const struct job_env *env)
{
	for (size_t i = 0; i < jm->tms.n; i++) {
		struct taskmanager *tm = jm->tms.at[i];
		struct control_registration none = {.slots = tm->slots};
		if (tm->state != TM_CONNECTED)
			continue;
		if (has_items_of(tm, &job->doc.job))
			end_registration(jm, tm, "has tasks of a job that was opened just now",
					 env->fx);
		else
			job_tm_registered(job, env, tm, &none);
	}
	jm->dirty = true;
}

/* Open the jobs that may be opened now; true: there were some. */
static bool open_jobs(struct jm *jm, struct jm_effects *fx)
{
	struct quarantine *q = &jm->quarantine;
	struct quarantine_doc next;
	bool any = false;
	size_t bytes = 0;
	if (!leads(jm))
		return false;
	quarantine_run(q, jm->now_ms, jm->wall_ms, jm->config.instance, &jm->next_token, fx);
	struct job_env env = env_of(jm, fx);
	while (bytes < JM_OPENED_BYTES && quarantine_next(q, jm->now_ms, &next)) {
		bytes += next.len + 1;
		struct job *job = load_hot(jm, &env, &next);
		if (job && q->mode != QUARANTINE_CALM)
			effects_trace(fx, LOG_LEVEL_INFO, "job=%s opened: %u marks", next.job.hex,
				      quarantine_count(q, &next.job));
		if (job)
			meet(jm, job, &env);
		if (job)
			touch(jm, job);
		struct jm_effect *moment = effects_add(fx, JM_MOMENT);
		snprintf(moment->key, sizeof(moment->key), "leader-open-%s", next.job.hex);
		free(next.key);
		free(next.value);
		any = true;
	}
	quarantine_run(q, jm->now_ms, jm->wall_ms, jm->config.instance, &jm->next_token, fx);
	return any;
}

static void forget_all(struct jm *jm, struct jm_effects *fx)
{
	struct job_env env = env_of(jm, fx);
	for (size_t i = 0; i < jm->n_jobs; i++)
		job_abandon(jm->jobs[i], &env);
	for (size_t i = 0; i < jm->tms.n; i++) {
		const struct taskmanager *tm = jm->tms.at[i];
		if (tm->state != TM_CONNECTED)
			continue;
		struct jm_effect *close = effects_add(fx, JM_CLOSE_STREAM);
		close->stream = tm->stream;
		close->registration = tm->registration;
	}
	uint64_t next_registration = jm->tms.next_registration;
	forget_jobs(jm);
	tms_fini(&jm->tms);
	cleanup_fini(&jm->cleanup);
	quarantine_fini(&jm->quarantine);
	tms_init(&jm->tms);
	cleanup_init(&jm->cleanup);
	jm->tms.next_registration = next_registration;
	jm->done_loaded = false;
	jm->done_token = jm->cleanup_token = 0;
	jm->reread_ms = 0;
	jm->stopped[0] = '\0';
	jm->ahead.v = jm->accepting = 0;
	jm->epoch.v = 0;
}

static void say_careful(const struct jm *jm, struct jm_effects *fx)
{
	const struct quarantine *q = &jm->quarantine;
	if (q->mode != QUARANTINE_CALM)
		effects_trace(fx, LOG_LEVEL_WARN,
			      "leaders before crashed as they began -> %s: jobs are opened %s",
			      quarantine_mode_name(q->mode),
			      q->mode == QUARANTINE_WARY ? "once that is recorded"
							 : "one by one, each behind a mark");
	for (size_t i = 0; i < q->n_docs; i++)
		if (q->docs[i].held)
			effects_trace(fx, LOG_LEVEL_ERROR,
				      "job=%s quarantined: it crashed %u leaders in a row -> its "
				      "tasks are left alone",
				      q->docs[i].job.hex, quarantine_count(q, &q->docs[i].job));
}

static void lead(struct jm *jm, const struct jm_event *ev, struct jm_effects *fx)
{
	forget_all(jm, fx);
	jm->role = JM_IS_LEADING;
	jm->epoch = ev->epoch;
	snprintf(jm->cluster_id, sizeof(jm->cluster_id), "%s",
		 ev->cluster_id ? ev->cluster_id : "");
	const struct quarantine_start start = {.now_ms = jm->now_ms,
					       .wall_ms = jm->wall_ms,
					       .epoch = ev->epoch,
					       .before = ev->before,
					       .before_crashed = ev->before_crashed,
					       .nospace = ev->nospace,
					       .docs = ev->docs,
					       .n_docs = ev->n_docs};
	jm->counts.takeover = (struct counts_takeover){.began_ms = jm->now_ms};
	jm->cleanup.counts = &jm->counts;
	quarantine_begin(&jm->quarantine, &start);
	jm->epoch.v = ev->epoch.v + jm->quarantine.epoch_base;
	counts_watch(&jm->counts, &jm->quarantine.sm);
	say_careful(jm, fx);
	effects_trace(fx, LOG_LEVEL_INFO, "leads with epoch %" PRIu64 ": %zu jobs to reconcile",
		      jm->epoch.v, jm->quarantine.n_docs);
	/* What has ended may be a lot to read, and nobody's life depends on it. */
	jm->cleanup_missing = true;
	jm->reread_ms = jm->now_ms + JM_READ_DONE_MS;
}

static void follow(struct jm *jm, struct jm_effects *fx)
{
	if (jm->role != JM_IS_FOLLOWING)
		effects_trace(fx, LOG_LEVEL_INFO, "no longer leads (epoch %" PRIu64 ")",
			      jm->epoch.v);
	forget_all(jm, fx);
	jm->role = JM_IS_FOLLOWING;
}

static void change_role(struct jm *jm, enum jm_role_view to, struct jm_effects *fx)
{
	if (jm->role == JM_IS_FOLLOWING || jm->role == to)
		return;
	/* While suspended nobody is judged: what was not heard then may have been our doing. */
	for (size_t i = 0; to == JM_IS_LEADING && i < jm->tms.n; i++)
		jm->tms.at[i]->heard_ms = jm->tms.at[i]->gone_ms = jm->now_ms;
	jm->role = to;
	jm->tms_wake_ms = 0;
	effects_trace(fx, LOG_LEVEL_WARN, "%s with epoch %" PRIu64,
		      to == JM_IS_LEADING ? "goes on leading" : "suspended: decides nothing",
		      jm->epoch.v);
}

/* ---- TaskManagers ---- */

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
	struct job_env env = env_of(jm, fx);
	struct concerned c = {0};
	concern(jm, &c, tm);
	for (size_t i = 0; i < c.n; i++) {
		job_tm_lost(c.jobs[i], &env, tm, why);
		touch(jm, c.jobs[i]);
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

/* Jobs of which it has, had or should have something are told, in any order. */
static void tell_jobs(struct jm *jm, struct concerned *c, struct taskmanager *tm,
		      const struct control_registration *r, struct jm_effects *fx)
{
	struct job_env env = env_of(jm, fx);
	concern(jm, c, tm);
	for (size_t i = 0; i < c->n; i++) {
		job_tm_registered(c->jobs[i], &env, tm, r);
		touch(jm, c->jobs[i]);
	}
	recount_tm(tm, c->jobs, c->n);
	free(c->jobs);
	make_offer(jm, tm);
}

static void register_tm(struct jm *jm, const struct jm_event *ev, struct jm_effects *fx)
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

static void gone(struct jm *jm, uint64_t stream, struct jm_effects *fx)
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
static void dead(struct jm *jm, uint64_t stream, struct jm_effects *fx)
{
	struct taskmanager *tm = tms_away_from(&jm->tms, stream);
	if (!tm || jm->role != JM_IS_LEADING)
		return;
	tms_bury(&jm->tms, tm);
	lose_tm(jm, tm, "is dead: its data port refuses connections", fx);
}

/* The registration cannot be trusted any more: a new one brings the truth. */
static void end_registration(struct jm *jm, struct taskmanager *tm, const char *why,
			     struct jm_effects *fx)
{
	effects_trace(fx, LOG_LEVEL_WARN, "tm=%s %s -> it has to register again", tm->id, why);
	close_stream(jm, tm, why, fx);
	withdraw_offer(jm, tm);
	tms_away(&jm->tms, tm, jm->now_ms);
	note_tm(jm, tm);
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
		flow_note(&job->flow, tm->id, (uint32_t)region, (struct attempt){(uint32_t)attempt},
			  json_object_get(o, "vertices"), jm->now_ms);
	}
}

static bool take_report(struct jm *jm, struct taskmanager *tm, const struct control_report_msg *m,
			struct jm_effects *fx)
{
	if (m->seq <= tm->report_seq)
		return true; /* sent again after an unknown outcome */
	if (m->seq != tm->report_seq + 1) {
		end_registration(jm, tm, "reports are missing", fx);
		return false;
	}
	tm->report_seq = m->seq;
	if (m->kind == CONTROL_REPORT_BEAT) {
		note_traffic(jm, tm, m->stats);
		if (m->digest == control_digest(tm->items, tm->n_items))
			return true;
		end_registration(jm, tm, "its inventory is not what was reported", fx);
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
	struct job_env env = env_of(jm, fx);
	struct job *job = jm_find(jm, &m->job);
	if (job) {
		job_report(job, &env, tm, m);
		touch(jm, job);
	}
	return true;
}

static void take_reports(struct jm *jm, const struct jm_event *ev, struct jm_effects *fx)
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
	if (leads(jm))
		say_unknown(jm, tm, fx);
}

static void watch_tms(struct jm *jm, struct jm_effects *fx)
{
	bool judges = leads(jm);
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
static void forgive_pause(struct jm *jm, uint64_t now_ms)
{
	uint64_t pause_ms = now_ms - jm->now_ms;
	if (!jm->now_ms || pause_ms < 2 * jm->config.beat_ms)
		return;
	for (size_t i = 0; i < jm->tms.n; i++) {
		jm->tms.at[i]->heard_ms += pause_ms;
		jm->tms.at[i]->gone_ms += pause_ms;
	}
}

/* ---- requests ---- */

static size_t count_jobs(const struct jm *jm, bool terminal)
{
	size_t n = 0;
	for (size_t i = 0; i < jm->n_jobs; i++)
		n += job_terminal(jm->jobs[i]) == terminal;
	return n;
}

static const char *not_leading(const struct jm *jm)
{
	if (jm->stopped[0])
		return jm->stopped;
	return jm->role == JM_IS_SUSPENDED ? "leadership is suspended: etcd cannot be reached, so "
					     "nothing can be decided now; tasks go on"
					   : "this JobManager does not lead now";
}

static void submit(struct jm *jm, const struct jm_event *ev, struct jm_effects *fx)
{
	struct job_env env = env_of(jm, fx);
	struct job *known = jm_find(jm, &ev->job);
	if (!leads(jm)) {
		effects_reply(fx, ev->token, ERR_UNAVAILABLE, "%s", not_leading(jm));
		return;
	}
	if (known) {
		job_submitted_again(known, &env, ev->token, ev->spec);
		return;
	}
	/* Created again, it would stand in the way of the one that is there. */
	if (quarantine_find(&jm->quarantine, &ev->job)) {
		effects_reply(fx, ev->token, ERR_UNAVAILABLE,
			      "job %s exists, and is not opened yet", ev->job.hex);
		return;
	}
	if (count_jobs(jm, false) >= LIMIT_JOBS) {
		effects_reply(fx, ev->token, ERR_LIMIT, "there are %d jobs already", LIMIT_JOBS);
		return;
	}
	struct spec *spec = NULL;
	struct err e = {0};
	if (spec_parse(ev->spec, &spec, &e) != ERR_OK) {
		effects_reply(fx, ev->token, ERR_INVALID, "%s", e.text);
		return;
	}
	struct job *job = job_create(&env, &ev->job, spec);
	touch(jm, job);
	job_submitted_again(job, &env, ev->token, ev->spec);
	add_job(jm, job);
}

static void cancel(struct jm *jm, const struct jm_event *ev, struct jm_effects *fx)
{
	struct job_env env = env_of(jm, fx);
	struct job *job = jm_find(jm, &ev->job);
	if (!leads(jm)) {
		effects_reply(fx, ev->token, ERR_UNAVAILABLE, "%s", not_leading(jm));
	} else if (quarantine_find(&jm->quarantine, &ev->job)) {
		effects_reply(fx, ev->token, ERR_UNAVAILABLE,
			      "Job %s is not opened: it may be quarantined; release it first",
			      ev->job.hex);
	} else if (!job) {
		bool sure = jm->done_loaded;
		effects_reply(fx, ev->token, sure ? ERR_NOTFOUND : ERR_UNAVAILABLE, "Job %s %s",
			      ev->job.hex, sure ? "not found" : "is not known yet");
	} else {
		job_cancel(job, &env, ev->token);
		touch(jm, job);
	}
}

static void release(struct jm *jm, const struct jm_event *ev, struct jm_effects *fx)
{
	bool known = jm_find(jm, &ev->job) || quarantine_find(&jm->quarantine, &ev->job);
	if (!leads(jm))
		effects_reply(fx, ev->token, ERR_UNAVAILABLE, "%s", not_leading(jm));
	else if (quarantine_release(&jm->quarantine, &ev->job))
		effects_reply(fx, ev->token, ERR_OK, "%s", "");
	else
		effects_reply(fx, ev->token, known ? ERR_CONFLICT : ERR_NOTFOUND, "Job %s %s",
			      ev->job.hex, known ? "is not quarantined" : "not found");
}

/* ---- a store that went back in time ---- */

static void ahead(struct jm *jm, const struct jm_event *ev, struct jm_effects *fx)
{
	if (jm->role == JM_IS_FOLLOWING)
		return;
	if (ev->epoch.v > jm->ahead.v)
		jm->ahead = ev->epoch;
	if (jm->stopped[0])
		return;
	snprintf(jm->stopped, sizeof(jm->stopped), "%.180s: the store went back in time",
		 ev->text ? ev->text : "something is ahead of the store");
	effects_trace(fx, LOG_LEVEL_ERROR, "%s; nothing is changed until `weir recover`",
		      jm->stopped);
}

/* What anybody remembers lies below the epochs to come; who has not met one of them speaks of a
 * history that is given up. */
static void accept(struct jm *jm, const struct jm_event *ev, struct jm_effects *fx)
{
	if (jm->role != JM_IS_LEADING || jm->accepting)
		effects_reply(fx, ev->token, ERR_UNAVAILABLE, "this JobManager does not lead now");
	else if (!jm->stopped[0])
		effects_reply(fx, ev->token, ERR_CONFLICT,
			      "nothing contradicts the store: there is nothing to accept");
	else {
		jm->accepting = ev->token;
		quarantine_accept(&jm->quarantine, jm->epoch, jm->ahead, jm->wall_ms,
				  jm->config.instance, &jm->next_token, fx);
	}
}

static void accepted(struct jm *jm, const struct jm_event *ev, struct jm_effects *fx)
{
	if (!jm->accepting)
		return;
	effects_reply(fx, jm->accepting, ev->code, "%s", ev->text ? ev->text : "");
	jm->accepting = 0;
	if (ev->code == ERR_OK)
		effects_trace(fx, LOG_LEVEL_WARN,
			      "the store is accepted as it is: epochs go on above %" PRIu64,
			      jm->ahead.v > jm->epoch.v ? jm->ahead.v : jm->epoch.v);
}

/* ---- completions ---- */

static void decided(struct jm *jm, const struct jm_event *ev, struct jm_effects *fx)
{
	struct job_env env = env_of(jm, fx);
	struct job *job = jm_find(jm, &ev->job);
	if (job && job->deciding && job->deciding == ev->token) {
		job_decided(job, &env, ev->code, ev->text, ev->revision);
		touch(jm, job);
	} else if (quarantine_decided(&jm->quarantine, ev->token, ev->code, ev->text, ev->revision,
				      jm->now_ms)) {
		accepted(jm, ev, fx);
	} else if (!cleanup_decided(&jm->cleanup, ev->token, ev->code, jm->now_ms))
		effects_trace(fx, LOG_LEVEL_DEBUG, "decision %" PRIu64 " is not awaited -> ignored",
			      ev->token);
}

static bool expired(const struct doc *tombstone, int64_t wall_ms)
{
	const int64_t kept_ms = (int64_t)JM_TOMBSTONE_DAYS * 24 * 3600 * 1000;
	return wall_ms - tombstone->stamps[tombstone->status] > kept_ms;
}

/* Delete an old tombstone; its key is its own chain. Nobody waits for the outcome: the next leader
 * finds it again if it failed. */
static void bury(struct jm *jm, const struct doc *tombstone, const struct jm_doc *doc,
		 struct jm_effects *fx)
{
	struct jm_effect *decide = effects_add(fx, JM_DECIDE);
	decide->token = jm->next_token++;
	decide->job = tombstone->job;
	decide->revision = doc->revision;
	snprintf(decide->key, sizeof(decide->key), "done/%s", tombstone->job.hex);
	effects_op(decide, decide->key, NULL);
}

static void load_done(struct jm *jm, const struct job_env *env, const struct jm_doc *doc)
{
	struct job_id id;
	struct doc tombstone;
	if (strncmp(doc->key, "done/", 5) != 0 || job_id_parse(doc->key + 5, &id, NULL) != ERR_OK ||
	    jm_find(jm, &id) || doc_decode(doc->value, doc->len, &tombstone, NULL) != ERR_OK)
		return;
	if (!doc_terminal(tombstone.status) || !job_id_equal(&id, &tombstone.job)) {
		doc_fini(&tombstone);
		return;
	}
	if (env->leading && expired(&tombstone, jm->wall_ms)) {
		bury(jm, &tombstone, doc, env->fx);
		doc_fini(&tombstone);
		return;
	}
	struct job *job = job_load(env, &tombstone, doc->revision);
	add_job(jm, job);
	for (size_t i = 0; i < jm->tms.n; i++)
		if (jm->tms.at[i]->state == TM_CONNECTED)
			job_leftovers(job, env, jm->tms.at[i]);
	touch(jm, job);
}

static void done_read(struct jm *jm, const struct jm_event *ev, struct jm_effects *fx)
{
	struct job_env env = env_of(jm, fx);
	jm->done_token = 0;
	jm->done_loaded = ev->code == ERR_OK || ev->code == ERR_NOTFOUND;
	for (size_t i = 0; i < ev->n_docs && jm->done_loaded; i++)
		load_done(jm, &env, &ev->docs[i]);
	if (!jm->done_loaded)
		jm->reread_ms = jm->now_ms + 1000;
}

static void cleanup_read(struct jm *jm, const struct jm_event *ev)
{
	jm->cleanup_token = 0;
	if (ev->code != ERR_OK && ev->code != ERR_NOTFOUND) {
		jm->reread_ms = jm->now_ms + 1000;
		jm->cleanup_missing = true;
		return;
	}
	jm->cleanup_missing = false;
	for (size_t i = 0; i < ev->n_docs; i++) {
		struct job_id id = {""};
		const char *key = ev->docs[i].key;
		if (strlen(key) > 8 + ID_HEX && strlen(key) < JM_KEY_MAX) {
			snprintf(id.hex, sizeof(id.hex), "%.*s", ID_HEX, key + 8);
			cleanup_add(&jm->cleanup, &id, key, jm->now_ms);
		}
	}
}

/* A creation met a job of its id: here is its tombstone, if it ended. */
static void met(struct jm *jm, struct job *job, const struct jm_event *ev, struct jm_effects *fx)
{
	struct job_env env = env_of(jm, fx);
	struct doc tombstone;
	bool there = ev->n_docs &&
		     doc_decode(ev->docs[0].value, ev->docs[0].len, &tombstone, NULL) == ERR_OK;
	job_met(job, &env, ev->code, there ? &tombstone : NULL);
	if (!there)
		return;
	doc_fini(&tombstone);
	remove_gone(jm);
	load_done(jm, &env, &ev->docs[0]);
}

static void reread(struct jm *jm, struct jm_effects *fx)
{
	if (jm->role != JM_IS_LEADING || !jm->reread_ms || jm->now_ms < jm->reread_ms)
		return;
	jm->reread_ms = 0;
	if (!jm->done_loaded && !jm->done_token)
		jm->done_token = read_keys(jm, "done/", fx);
	if (jm->cleanup_missing && !jm->cleanup_token)
		jm->cleanup_token = read_keys(jm, "cleanup/", fx);
}

static void read_done(struct jm *jm, const struct jm_event *ev, struct jm_effects *fx)
{
	struct job_env env = env_of(jm, fx);
	struct job *job = jm_find(jm, &ev->job);
	if (ev->token && ev->token == jm->done_token) {
		done_read(jm, ev, fx);
	} else if (ev->token && ev->token == jm->cleanup_token) {
		cleanup_read(jm, ev);
	} else if (job && job->reading && job->reading == ev->token && job->existed) {
		met(jm, job, ev, fx);
	} else if (job && job->reading && job->reading == ev->token && job_terminal(job)) {
		enum errc code = ev->code == ERR_OK && !ev->n_docs ? ERR_NOTFOUND : ev->code;
		job_resolve_read(job, &env, code, ev->n_docs ? ev->docs[0].revision : 0);
		touch(jm, job);
	} else if (job && job->reading && job->reading == ev->token) {
		const struct jm_doc *doc = ev->n_docs ? &ev->docs[0] : NULL;
		enum errc code = ev->code == ERR_OK && !doc ? ERR_NOTFOUND : ev->code;
		job_spec_read(job, &env, code, ev->text, doc ? doc->value : "", doc ? doc->len : 0);
		touch(jm, job);
	} else if (!cleanup_read_done(&jm->cleanup, ev->token, ev->code, ev->docs, ev->n_docs,
				      jm->now_ms))
		effects_trace(fx, LOG_LEVEL_DEBUG, "read %" PRIu64 " is not awaited -> ignored",
			      ev->token);
}

static void blob_done(struct jm *jm, const struct jm_event *ev, struct jm_effects *fx)
{
	struct job *job = jm_find(jm, &ev->job);
	if (job && ev->token &&
	    ckpt_blob_done(&job->ckpt, ev->token, ev->code, ev->text, jm->now_ms))
		touch(jm, job);
	else if (!cleanup_blob_done(&jm->cleanup, ev->token, ev->code, jm->now_ms))
		effects_trace(fx, LOG_LEVEL_DEBUG,
			      "storage's answer %" PRIu64 " is not awaited -> ignored", ev->token);
}

/* ---- step ---- */

/* True: every job may be concerned. */
static bool take_event(struct jm *jm, const struct jm_event *ev, struct jm_effects *fx)
{
	switch (ev->kind) {
	case JM_TIME:
		return false;
	case JM_LEADING:
		lead(jm, ev, fx);
		return true;
	case JM_RESUMED:
		change_role(jm, JM_IS_LEADING, fx);
		return true;
	case JM_SUSPENDED:
		change_role(jm, JM_IS_SUSPENDED, fx);
		return false;
	case JM_FOLLOWING:
		follow(jm, fx);
		return false;
	case JM_TM_REGISTER:
		register_tm(jm, ev, fx);
		return false;
	case JM_TM_GONE:
		gone(jm, ev->token, fx);
		return false;
	case JM_TM_DEAD:
		dead(jm, ev->token, fx);
		return false;
	case JM_TM_REPORTS:
		take_reports(jm, ev, fx);
		return false;
	case JM_SUBMIT:
		submit(jm, ev, fx);
		return false;
	case JM_CANCEL:
		cancel(jm, ev, fx);
		return false;
	case JM_AHEAD:
		ahead(jm, ev, fx);
		return false;
	case JM_ACCEPT:
		accept(jm, ev, fx);
		return false;
	case JM_RELEASE:
		release(jm, ev, fx);
		return false;
	case JM_DECIDED:
		decided(jm, ev, fx);
		return false;
	case JM_READ_DONE:
		read_done(jm, ev, fx);
		return false;
	case JM_BLOB_DONE:
		blob_done(jm, ev, fx);
		return false;
	case JM_EVENT_COUNT:
		break;
	}
	assert(false && "an event");
	return false;
}

static int64_t ended_ms(const struct job *job)
{
	return job->doc.stamps[job->doc.status];
}

/* Of the jobs that ended, the newest are kept in memory to be shown. */
static void evict_ended(struct jm *jm)
{
	while (count_jobs(jm, true) > JM_ENDED_SHOWN) {
		struct job *oldest = NULL;
		for (size_t i = 0; i < jm->n_jobs; i++) {
			struct job *job = jm->jobs[i];
			if (job_terminal(job) && (!oldest || ended_ms(job) < ended_ms(oldest)))
				oldest = job;
		}
		if (!oldest)
			return;
		oldest->gone = true;
		remove_gone(jm);
	}
}

static void advance(struct jm *jm, struct job *job, const struct job_env *env)
{
	job_advance(job, env);
	jm->any_gone |= job->gone;
	jm->dirty |= job->slots_changed;
	job->slots_changed = false;
	job->wake_ms = job_wake_ms(job, jm->config.commit_timeout_ms);
	if (job->wake_ms < jm->jobs_wake_ms)
		jm->jobs_wake_ms = job->wake_ms;
	assert(job_holds(job));
}

static void advance_touched(struct jm *jm, const struct job_env *env)
{
	for (size_t i = 0; i < jm->n_touched; i++) {
		jm->touched[i]->touched = false;
		advance(jm, jm->touched[i], env);
	}
	jm->n_touched = 0;
}

/* Those that wait for slots, as far as there are enough. True: not all of them had their turn. */
static bool advance_waiting(struct jm *jm, const struct job_env *env)
{
	for (size_t i = 0; i < jm->n_jobs; i++) {
		struct job *job = jm->jobs[i];
		if (!job_waits_for_slots(job) || !job_may_be_placed(job, jm->free_slots) ||
		    job->deciding)
			continue;
		if (!jm->placements_left)
			return true;
		advance(jm, job, env);
	}
	return false;
}

/* All whose time has come, or simply all. Of very many that are due together (checkpoints, after a
 * takeover) the rest follow in the next step. */
static void advance_due(struct jm *jm, bool all, const struct job_env *env)
{
	unsigned n = 0;
	jm->jobs_wake_ms = UINT64_MAX;
	for (size_t i = 0; i < jm->n_jobs; i++) {
		struct job *job = jm->jobs[i];
		bool due = job->wake_ms <= jm->now_ms && n < JM_DUE;
		n += due;
		if (all || due)
			advance(jm, job, env);
		else if (job->wake_ms < jm->jobs_wake_ms)
			jm->jobs_wake_ms = job->wake_ms;
	}
}

static void advance_jobs(struct jm *jm, bool all, struct jm_effects *fx)
{
	struct job_env env = env_of(jm, fx);
	jm->placements_left = JM_PLACEMENTS;
	if (all || jm->dirty)
		recount(jm);
	advance_touched(jm, &env);
	if (all || jm->now_ms >= jm->jobs_wake_ms)
		advance_due(jm, all, &env);
	if (jm->dirty)
		recount(jm);
	bool again = jm->more_slots || jm->unfinished || !jm->placements_left;
	jm->more_slots = false;
	jm->unfinished = again && leads(jm) && advance_waiting(jm, &env);
	if (again)
		evict_ended(jm);
	if (jm->any_gone)
		remove_gone(jm);
}

/* The job that was opened last behind a mark: does it live? One that cannot be read is left alone,
 * and one that ended has nothing left to kill with. */
static void watch_opened(struct jm *jm)
{
	struct quarantine *q = &jm->quarantine;
	const struct job *job = jm_find(jm, &q->opening);
	if (job && sm_state(&job->sm) == JOB_RECONCILING)
		return;
	const struct doc_pointer *newest = job ? doc_newest(&job->doc) : NULL;
	quarantine_lives(q, newest && newest->epoch == jm->epoch.v, jm->now_ms);
}

static bool inherits_flight(const struct job *job)
{
	for (unsigned i = 0; i < job->doc.n_flights; i++)
		if (job->doc.flights[i].id.v < job->inherited.v)
			return true;
	return false;
}

/* How far the takeover has come: for people, nothing depends on it. */
static void note_progress(struct jm *jm, const struct jm_effects *fx, size_t from)
{
	struct counts_takeover *t = &jm->counts.takeover;
	uint64_t sent = 0;
	for (size_t i = from; i < fx->n; i++)
		sent += fx->at[i].kind == JM_COMMAND && fx->at[i].job.hex[0];
	jm->counts.commands += sent;
	if (sent && !t->first_command_ms)
		t->first_command_ms = jm->now_ms;
	if (jm->role != JM_IS_LEADING || t->settled_ms || !quarantine_all_opened(&jm->quarantine))
		return;
	bool inherits = false;
	for (size_t i = 0; i < jm->n_jobs; i++) {
		if (sm_state(&jm->jobs[i]->sm) == JOB_RECONCILING)
			return;
		inherits |= !job_terminal(jm->jobs[i]) && inherits_flight(jm->jobs[i]);
	}
	if (!t->reconciled_ms)
		t->reconciled_ms = jm->now_ms;
	if (!inherits)
		t->settled_ms = jm->now_ms;
}

void jm_step(struct jm *jm, const struct jm_event *ev, struct jm_effects *fx)
{
	assert(ev->kind < JM_EVENT_COUNT && ev->now_ms >= jm->now_ms);
	size_t before = fx->n;
	forgive_pause(jm, ev->now_ms);
	jm->now_ms = ev->now_ms;
	jm->wall_ms = ev->wall_ms;
	bool all = take_event(jm, ev, fx);
	if (jm->role == JM_IS_FOLLOWING)
		return;
	if (ev->kind == JM_TIME || ev->kind == JM_LEADING)
		watch_tms(jm, fx);
	all |= open_jobs(jm, fx) && quarantine_all_opened(&jm->quarantine);
	reread(jm, fx);
	advance_jobs(jm, all, fx);
	if (leads(jm))
		watch_opened(jm);
	if (leads(jm))
		cleanup_run(&jm->cleanup, jm->now_ms, &jm->next_token, fx);
	note_progress(jm, fx, before);
	assert(tms_holds(&jm->tms));
}

uint64_t jm_wake_ms(const struct jm *jm)
{
	uint64_t wake = jm->tms.n ? jm->tms_wake_ms : UINT64_MAX;
	if (jm->unfinished)
		return jm->now_ms + 1;
	if (leads(jm)) {
		wake = jm->jobs_wake_ms < wake ? jm->jobs_wake_ms : wake;
		uint64_t at = cleanup_wake_ms(&jm->cleanup);
		wake = at < wake ? at : wake;
		at = quarantine_wake_ms(&jm->quarantine, jm->now_ms, jm->wall_ms);
		wake = at < wake ? at : wake;
		wake = jm->reread_ms && jm->reread_ms < wake ? jm->reread_ms : wake;
	}
	/* What is overdue waits for an event that only time cannot bring: do not spin. */
	return wake <= jm->now_ms ? jm->now_ms + 1 : wake;
}
