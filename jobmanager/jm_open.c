/* A new leader opens the jobs that it found, as carefully as the quarantine says. */
#include "jobmanager/jm_inside.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"

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
	jm_add_job(jm, job);
	return job;
}

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
			jm_end_registration(jm, tm, "has tasks of a job that was opened just now",
					    env->fx);
		else
			job_tm_registered(job, env, tm, &none);
	}
	jm->dirty = true;
}

/* Open the jobs that may be opened now; true: there were some. */
bool jm_open_jobs(struct jm *jm, struct jm_effects *fx)
{
	struct quarantine *q = &jm->quarantine;
	struct quarantine_doc next;
	bool any = false;
	size_t bytes = 0;
	if (!jm_leads(jm))
		return false;
	quarantine_run(q, jm->now_ms, jm->wall_ms, jm->config.instance, &jm->next_token, fx);
	struct job_env env = jm_env(jm, fx);
	while (bytes < JM_OPENED_BYTES && quarantine_next(q, jm->now_ms, &next)) {
		bytes += next.len + 1;
		struct job *job = load_hot(jm, &env, &next);
		if (job && q->mode != QUARANTINE_CALM)
			effects_trace(fx, LOG_LEVEL_INFO, "job=%s opened: %u marks", next.job.hex,
				      quarantine_count(q, &next.job));
		if (job)
			meet(jm, job, &env);
		if (job)
			jm_touch(jm, job);
		struct jm_effect *moment = effects_add(fx, JM_MOMENT);
		snprintf(moment->key, sizeof(moment->key), "leader-open-%s", next.job.hex);
		free(next.key);
		free(next.value);
		any = true;
	}
	quarantine_run(q, jm->now_ms, jm->wall_ms, jm->config.instance, &jm->next_token, fx);
	return any;
}

void jm_say_careful(const struct jm *jm, struct jm_effects *fx)
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

/* The job that was opened last behind a mark: does it live? One that cannot be read is left alone,
 * and one that ended has nothing left to kill with. */
void jm_watch_opened(struct jm *jm)
{
	struct quarantine *q = &jm->quarantine;
	const struct job *job = jm_find(jm, &q->opening);
	if (job && sm_state(&job->sm) == JOB_RECONCILING)
		return;
	const struct doc_pointer *newest = job ? doc_newest(&job->doc) : NULL;
	quarantine_lives(q, newest && newest->epoch == jm->epoch.v, jm->now_ms);
}
