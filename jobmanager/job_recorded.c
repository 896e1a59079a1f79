/* A decision came back: the draft is the document now, or it was refused. */
#include "jobmanager/job_inside.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DECIDE_RETRY_MS = 1000 };

static bool in_flight(const struct doc *d, struct ckpt_id id)
{
	for (unsigned i = 0; i < d->n_flights; i++)
		if (d->flights[i].id.v == id.v)
			return true;
	return false;
}

static void count_recorded(const struct job *job, const struct doc *before, struct counts *counts)
{
	struct counts_takeover *t = &counts->takeover;
	const struct doc_pointer *newest = doc_newest(&job->doc);
	bool completed = job->doc.n_completed > before->n_completed;
	counts->restarts += job->doc.restarts - before->restarts;
	counts->ckpts_completed += job->doc.n_completed - before->n_completed;
	counts->ckpts_given_up += job->doc.n_given_up - before->n_given_up;
	if (completed && newest) {
		int64_t ms = newest->completed_wall_ms - newest->triggered_wall_ms;
		counts->ckpts_ms_sum += ms > 0 ? (uint64_t)ms : 0;
		counts->ckpts_bytes += newest->bytes;
	}
	for (unsigned i = 0; i < before->n_flights; i++) {
		struct ckpt_id id = before->flights[i].id;
		if (in_flight(&job->doc, id) || id.v >= job->inherited.v)
			continue;
		if (completed && newest && newest->id.v == id.v)
			t->ckpts_completed++;
		else
			t->ckpts_given_up++;
	}
}

static void narrate_region(const struct job *job, const struct job_env *env,
			   const struct doc *before, unsigned r)
{
	const struct doc_region *a = &before->regions[r], *b = &job->doc.regions[r];
	if (b->attempt.v != a->attempt.v) {
		const struct doc_failure *f =
			job->doc.n_failures ? &job->doc.failures[job->doc.n_failures - 1] : NULL;
		bool ends = job->doc.desired != DOC_RUN;
		TRACE(job, env, LOG_LEVEL_INFO,
		      "region %u attempt %" PRIu32 " recorded, restores checkpoint %" PRIu64
		      ", delay %" PRIu64 " ms: %.300s",
		      r, b->attempt.v, b->restore.id.v, b->delay_ms,
		      ends ? "only to commit"
		      : f  ? f->text
			   : "");
	}
	if (!b->n_slots || (a->n_slots && b->attempt.v == a->attempt.v))
		return;
	char where[256] = "";
	for (unsigned i = 0; i < b->n_tms; i++) {
		size_t used = strlen(where);
		if (used + 80 < sizeof(where))
			snprintf(where + used, sizeof(where) - used, "%s%s x%" PRIu32,
				 i ? ", " : "", b->tms[i].id, job->regions[r].parts[i].n_slots);
	}
	TRACE(job, env, LOG_LEVEL_INFO, "region %u attempt %" PRIu32 " placed: %s", r, b->attempt.v,
	      where);
}

static const char *why_given_up(const struct doc *d, struct ckpt_id id)
{
	for (unsigned i = d->n_given_up_kept; i-- > 0;)
		if (d->given_up[i].id.v == id.v)
			return d->given_up[i].text;
	return "?";
}

static const char *kind_name(enum control_trigger kind)
{
	return kind == CONTROL_TRIGGER_FINAL       ? "last checkpoint"
	       : kind == CONTROL_TRIGGER_SAVEPOINT ? "savepoint"
						   : "checkpoint";
}

static void narrate_checkpoints(const struct job *job, const struct job_env *env,
				const struct doc *before)
{
	const struct doc_pointer *newest = doc_newest(&job->doc);
	for (unsigned i = 0; i < before->n_flights; i++) {
		struct ckpt_id id = before->flights[i].id;
		if (in_flight(&job->doc, id))
			continue;
		if (newest && newest->id.v == id.v)
			TRACE(job, env, LOG_LEVEL_INFO,
			      "ckpt=%" PRIu64 " completed: %" PRIu32 " objects, %" PRIu64 " bytes",
			      id.v, newest->n_objects, newest->bytes);
		else
			TRACE(job, env, LOG_LEVEL_WARN, "ckpt=%" PRIu64 " given up: %s", id.v,
			      why_given_up(&job->doc, id));
	}
	for (unsigned i = 0; i < job->doc.n_flights; i++)
		if (!in_flight(before, job->doc.flights[i].id))
			TRACE(job, env, LOG_LEVEL_INFO, "ckpt=%" PRIu64 " begins: %s",
			      job->doc.flights[i].id.v, kind_name(job->doc.flights[i].kind));
}

static void end_old_parts(struct job *job, unsigned r, struct attempt attempt)
{
	struct job_region *region = &job->regions[r];
	for (unsigned i = 0; i < region->n_parts; i++) {
		const struct job_part *part = &region->parts[i];
		if (part->tm && part->state != PART_ENDED)
			add_leftover(job, part->tm, r, attempt);
	}
}

static void renew_region(struct job *job, const struct job_env *env, const struct doc *before,
			 unsigned r)
{
	struct job_region *region = &job->regions[r];
	bool again = job->doc.regions[r].attempt.v != before->regions[r].attempt.v;
	bool placed = job->doc.regions[r].n_slots && (again || !before->regions[r].n_slots);
	if (again) {
		end_old_parts(job, r, before->regions[r].attempt);
		region->failed = region->corrupt = region->ran = false;
		region->not_before_ms = job_back_off_end(&job->doc.regions[r], env);
	}
	job->slots_changed |= again;
	if (again || placed) {
		free(region->parts);
		region->parts = placed ? region->next : NULL;
		region->n_parts = placed ? region->n_next : 0;
		region->waiting_since_ms = 0;
		region->phase = placed ? REGION_DEPLOYING : REGION_WAITING;
		region->given_up_before = job->doc.n_given_up;
		for (unsigned i = 0; i < region->n_parts; i++)
			region->parts[i].seen = true;
	} else
		free(region->next);
	region->next = NULL;
	region->n_next = 0;
}

/* What still runs of a history that was given up. */
static void end_lost_attempts(struct job *job, const struct job_env *env)
{
	for (size_t i = 0; i < env->tms->n; i++)
		if (env->tms->at[i]->state == TM_CONNECTED && env->tms->at[i]->forgiven)
			job_leftovers(job, env, env->tms->at[i]);
}

static void queue_cleanup(struct job *job, const struct job_env *env, const struct doc *before)
{
	for (unsigned i = 0; i < job->drops.n; i++) {
		char key[JM_KEY_MAX];
		cleanup_key(job, before->next_cleanup + i, key);
		uint64_t wait_ms = job->drops.at[i].delay ? env->cleanup_delay_ms : 0;
		cleanup_add(env->cleanup, &job->doc.job, key, env->now_ms + wait_ms);
	}
	job->drops.n = 0;
}

static void answer_recorded(struct job *job, const struct job_env *env)
{
	job_answer(job, env, false, ERR_OK, "");
	if (job->doc.desired == DOC_CANCEL)
		job_answer(job, env, true, ERR_OK, "");
	else if (job_terminal(job) || job->doc.desired == DOC_FAIL)
		job_answer(job, env, true, ERR_CONFLICT, "the job already ended");
}

static void recorded(struct job *job, const struct job_env *env, uint64_t revision)
{
	struct doc before = job->doc;
	bool created = sm_state(&job->sm) == JOB_CREATING;
	job->doc = job->draft;
	job->draft = (struct doc){0};
	job->revision = revision;
	if (!job->frozen)
		job->trouble[0] = '\0'; /* what still is, the next draft says again */
	for (unsigned r = 0; r < job->doc.n_regions; r++) {
		renew_region(job, env, &before, r);
		narrate_region(job, env, &before, r);
	}
	if (job->lost_attempt)
		end_lost_attempts(job, env);
	mark_sinks(job);
	narrate_checkpoints(job, env, &before);
	ckpt_recorded(&job->ckpt, &job->doc, job_n_parts(job),
		      job->spec ? job->spec->checkpointing.timeout_ms : LOADED_TIMEOUT_MS,
		      env->now_ms);
	queue_cleanup(job, env, &before);
	count_recorded(job, &before, env->counts);
	if (job->doc.desired != before.desired)
		job->ending_since_ms = env->now_ms;
	job->slots_changed |= job_terminal(job);
	if (doc_terminal(before.status))
		TRACE(job, env, LOG_LEVEL_INFO, "%s: what it had left in doubt is committed",
		      sm_name(&job->sm));
	if (created)
		sm_move(&job->sm, JOB_WAITING, "recorded");
	job_resolve_tell(job);
	answer_recorded(job, env);
	doc_fini(&before);
}

/* There is, or was, a job of this id. If it ended, and the tombstone was not read yet, this may be
 * the same submission once more. */
static void creation_refused(struct job *job, const struct job_env *env, enum errc code,
			     const char *text)
{
	if (code == ERR_CONFLICT) {
		job->existed = true;
		read_key(job, env, DONE_KEY);
		return;
	}
	job_answer(job, env, false, code == ERR_FENCED ? ERR_UNAVAILABLE : code, text);
	job->gone = true;
}

void job_met(struct job *job, const struct job_env *env, enum errc code,
	     const struct doc *tombstone)
{
	const char *text = "jobId: a job with this id exists or existed";
	job->reading = 0;
	job->gone = true;
	if (code == ERR_OK && tombstone && strcmp(tombstone->spec_sum, job->doc.spec_sum) == 0) {
		job_answer(job, env, false, ERR_OK, "");
	} else if (code == ERR_OK || code == ERR_NOTFOUND)
		job_answer(job, env, false, ERR_EXISTS, text);
	else
		job_answer(
			job, env, false, ERR_UNAVAILABLE,
			"a job with this id exists or existed, and the store does not say which");
	job_answer(job, env, true, ERR_UNAVAILABLE, "this job is being looked up");
}

static void refused(struct job *job, const struct job_env *env, enum errc code, const char *text)
{
	job->slots_changed = true; /* those of its draft are free again */
	for (unsigned r = 0; r < job->doc.n_regions; r++) {
		free(job->regions[r].next);
		job->regions[r].next = NULL;
		job->regions[r].n_next = 0;
	}
	doc_fini(&job->draft);
	if (sm_state(&job->sm) == JOB_CREATING) {
		creation_refused(job, env, code, text);
		return;
	}
	if (code == ERR_CONFLICT)
		job_freeze(job, env, "its document is not the one that this leader wrote");
	else if (code == ERR_CORRUPT)
		job_freeze(job, env, "the store says so");
	else if (code != ERR_FENCED)
		TRACE(job, env, LOG_LEVEL_WARN, "a decision was refused: %.300s -> again later",
		      text);
	snprintf(job->trouble, sizeof(job->trouble), "the store refuses decisions: %.200s", text);
	job->retry_ms = env->now_ms + DECIDE_RETRY_MS;
	job_begin_ending_again(job, env->now_ms);
}

void job_decided(struct job *job, const struct job_env *env, enum errc code, const char *text,
		 uint64_t revision)
{
	job->deciding = 0;
	env->counts->decisions++;
	env->counts->decisions_refused += code != ERR_OK;
	if (code == ERR_OK)
		recorded(job, env, revision);
	else if (!job_resolve_refused(job, env))
		refused(job, env, code, text ? text : err_text(code));
}
