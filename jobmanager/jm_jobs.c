/* The jobs by id, and their turns in a step. */
#include "jobmanager/jm_inside.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

/* A job that a list of whereabouts names: worth asking? */
static bool job_lives(void *ctx, const struct job_id *id)
{
	return jm_find(ctx, id) != NULL;
}

void jm_forget_jobs(struct jm *jm)
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

void jm_add_job(struct jm *jm, struct job *job)
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
void jm_touch(struct jm *jm, struct job *job)
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

void jm_remove_gone(struct jm *jm)
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

size_t jm_count_jobs(const struct jm *jm, bool terminal)
{
	size_t n = 0;
	for (size_t i = 0; i < jm->n_jobs; i++)
		n += job_terminal(jm->jobs[i]) == terminal;
	return n;
}

static int64_t ended_ms(const struct job *job)
{
	return job->doc.stamps[job->doc.status];
}

/* Of the jobs that ended, the newest are kept in memory to be shown. */
static void evict_ended(struct jm *jm)
{
	while (jm_count_jobs(jm, true) > JM_ENDED_SHOWN) {
		struct job *oldest = NULL;
		for (size_t i = 0; i < jm->n_jobs; i++) {
			struct job *job = jm->jobs[i];
			if (job_terminal(job) && (!oldest || ended_ms(job) < ended_ms(oldest)))
				oldest = job;
		}
		if (!oldest)
			return;
		oldest->gone = true;
		jm_remove_gone(jm);
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

void jm_advance_jobs(struct jm *jm, bool all, struct jm_effects *fx)
{
	struct job_env env = jm_env(jm, fx);
	jm->placements_left = JM_PLACEMENTS;
	if (all || jm->dirty)
		jm_recount(jm);
	advance_touched(jm, &env);
	if (all || jm->now_ms >= jm->jobs_wake_ms)
		advance_due(jm, all, &env);
	if (jm->dirty)
		jm_recount(jm);
	bool again = jm->more_slots || jm->unfinished || !jm->placements_left;
	jm->more_slots = false;
	jm->unfinished = again && jm_leads(jm) && advance_waiting(jm, &env);
	if (again)
		evict_ended(jm);
	if (jm->any_gone)
		jm_remove_gone(jm);
}
