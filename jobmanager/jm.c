#include "jobmanager/jm_inside.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

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
	jm_forget_jobs(jm);
	return jm;
}

void jm_destroy(struct jm *jm)
{
	if (!jm)
		return;
	jm_forget_jobs(jm);
	tms_fini(&jm->tms);
	cleanup_fini(&jm->cleanup);
	quarantine_fini(&jm->quarantine);
	whereabouts_fini(&jm->whereabouts);
	free((void *)(uintptr_t)jm->config.instance);
	free((void *)(uintptr_t)jm->config.storage);
	free(jm);
}

/* ---- the step's tools ---- */

/* May decide and command. */
bool jm_leads(const struct jm *jm)
{
	return jm->role == JM_IS_LEADING && jm->stopped[0] == '\0';
}

struct job_env jm_env(struct jm *jm, struct jm_effects *fx)
{
	return (struct job_env){
		.now_ms = jm->now_ms,
		.wall_ms = jm->wall_ms,
		.epoch = jm->epoch,
		.leading = jm_leads(jm),
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

/* ---- roles ---- */

static void forget_all(struct jm *jm, struct jm_effects *fx)
{
	struct job_env env = jm_env(jm, fx);
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
	jm_forget_jobs(jm);
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

static void lead(struct jm *jm, const struct jm_event *ev, struct jm_effects *fx)
{
	forget_all(jm, fx);
	jm->role = ev->suspended ? JM_IS_SUSPENDED : JM_IS_LEADING;
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
	jm_say_careful(jm, fx);
	effects_trace(fx, LOG_LEVEL_INFO, "leads with epoch %" PRIu64 ": %zu jobs to reconcile%s",
		      jm->epoch.v, jm->quarantine.n_docs,
		      ev->suspended ? ", but suspended: decides nothing" : "");
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
	/* Nor has anybody been able to commit. */
	for (size_t i = 0; to == JM_IS_LEADING && i < jm->n_jobs; i++)
		job_begin_ending_again(jm->jobs[i], jm->now_ms);
	jm->role = to;
	jm->tms_wake_ms = 0;
	effects_trace(fx, LOG_LEVEL_WARN, "%s with epoch %" PRIu64,
		      to == JM_IS_LEADING ? "goes on leading" : "suspended: decides nothing",
		      jm->epoch.v);
}

/* ---- completions ---- */

static void decided(struct jm *jm, const struct jm_event *ev, struct jm_effects *fx)
{
	struct job_env env = jm_env(jm, fx);
	struct job *job = jm_find(jm, &ev->job);
	if (job && job->deciding && job->deciding == ev->token) {
		job_decided(job, &env, ev->code, ev->text, ev->revision);
		jm_touch(jm, job);
	} else if (quarantine_decided(&jm->quarantine, ev->token, ev->code, ev->text, ev->revision,
				      jm->now_ms)) {
		jm_accepted(jm, ev, fx);
	} else if (!cleanup_decided(&jm->cleanup, ev->token, ev->code, jm->now_ms))
		effects_trace(fx, LOG_LEVEL_DEBUG, "decision %" PRIu64 " is not awaited -> ignored",
			      ev->token);
}

static void read_done(struct jm *jm, const struct jm_event *ev, struct jm_effects *fx)
{
	struct job_env env = jm_env(jm, fx);
	struct job *job = jm_find(jm, &ev->job);
	if (ev->token && ev->token == jm->done_token) {
		jm_done_read(jm, ev, fx);
	} else if (ev->token && ev->token == jm->cleanup_token) {
		jm_cleanup_read(jm, ev);
	} else if (job && job->reading && job->reading == ev->token && job->existed) {
		jm_met(jm, job, ev, fx);
	} else if (job && job->reading && job->reading == ev->token && job_terminal(job)) {
		enum errc code = ev->code == ERR_OK && !ev->n_docs ? ERR_NOTFOUND : ev->code;
		job_resolve_read(job, &env, code, ev->n_docs ? ev->docs[0].revision : 0);
		jm_touch(jm, job);
	} else if (job && job->reading && job->reading == ev->token) {
		const struct jm_doc *doc = ev->n_docs ? &ev->docs[0] : NULL;
		enum errc code = ev->code == ERR_OK && !doc ? ERR_NOTFOUND : ev->code;
		job_spec_read(job, &env, code, ev->text, doc ? doc->value : "", doc ? doc->len : 0);
		jm_touch(jm, job);
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
		jm_touch(jm, job);
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
		jm_tm_register(jm, ev, fx);
		return false;
	case JM_TM_GONE:
		jm_tm_gone(jm, ev->token, fx);
		return false;
	case JM_TM_DEAD:
		jm_tm_dead(jm, ev->token, fx);
		return false;
	case JM_TM_REPORTS:
		jm_tm_reports(jm, ev, fx);
		return false;
	case JM_SUBMIT:
		jm_submit(jm, ev, fx);
		return false;
	case JM_CANCEL:
		jm_cancel(jm, ev, fx);
		return false;
	case JM_AHEAD:
		jm_ahead(jm, ev, fx);
		return false;
	case JM_ACCEPT:
		jm_accept(jm, ev, fx);
		return false;
	case JM_RELEASE:
		jm_release(jm, ev, fx);
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
	jm_forgive_pause(jm, ev->now_ms);
	jm->now_ms = ev->now_ms;
	jm->wall_ms = ev->wall_ms;
	bool all = take_event(jm, ev, fx);
	if (jm->role == JM_IS_FOLLOWING)
		return;
	if (ev->kind == JM_TIME || ev->kind == JM_LEADING)
		jm_watch_tms(jm, fx);
	all |= jm_open_jobs(jm, fx) && quarantine_all_opened(&jm->quarantine);
	jm_reread(jm, fx);
	jm_advance_jobs(jm, all, fx);
	if (jm_leads(jm))
		jm_watch_opened(jm);
	if (jm_leads(jm))
		cleanup_run(&jm->cleanup, jm->now_ms, &jm->next_token, fx);
	note_progress(jm, fx, before);
	assert(tms_holds(&jm->tms));
}

uint64_t jm_wake_ms(const struct jm *jm)
{
	uint64_t wake = jm->tms.n ? jm->tms_wake_ms : UINT64_MAX;
	if (jm->unfinished)
		return jm->now_ms + 1;
	if (jm_leads(jm)) {
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
