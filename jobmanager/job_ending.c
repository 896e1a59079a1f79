/*
 * The end of a job whose output is in doubt. An intent to end is recorded (a cancel, or a failure
 * that no restart follows), and some sink has not confirmed the newest completed checkpoint.
 *
 *   intent recorded --all confirmed-------------------------------> the end
 *        |--the workers can still confirm------> wait for them ----> the end
 *        |--one is dead, but there is a place--> attempt + 1, only to commit --> the end
 *        +--commit timeout, or unreadable state------------> the end, and resolve/<job>
 *
 * The attempt that only commits restores the newest completed checkpoint like any other; its
 * sources read nothing, so its sinks have nothing to do but commit what that checkpoint holds and
 * to confirm it (H44).
 *
 * It is recorded together with its placement: as long as there is no place for it, the attempt
 * that ran is the recorded one, and its TaskManager may yet come back and commit. Afterwards the
 * document still names that attempt (`ran`): its workers, should they come back, are told to commit
 * before they are told to end. Both may do so, a commit is idempotent.
 *
 * The commit timeout counts only while this leader can decide and place.
 */
#include <stdlib.h>

#include "jobmanager/job_inside.h"

enum { COMMIT_AGAIN_MS = 500 }; /* an attempt that could not commit is not followed at once */

bool job_confirmed(const struct job *job, const struct doc *d)
{
	const struct doc_pointer *newest = doc_newest(d);
	if (!newest || (job->graph && !graph_has_transactional_sink(job->graph)))
		return true;
	return d->committed.v >= newest->id.v;
}

static bool has_sinks(const struct job *job, unsigned r)
{
	for (unsigned v = 0; v < job->graph->n_vertices; v++)
		if (job->graph->vertices[v].region == r && job->graph->vertices[v].transactional)
			return true;
	return false;
}

static bool owes(const struct job *job, const struct job_part *part)
{
	return part->sinks && part->committed.v < doc_newest(&job->doc)->id.v;
}

bool job_region_owes(const struct job *job, unsigned r)
{
	const struct job_region *region = &job->regions[r];
	if (!job->graph || job_confirmed(job, &job->doc) || !has_sinks(job, r))
		return false;
	for (unsigned i = 0; i < region->n_parts; i++)
		if (owes(job, &region->parts[i]))
			return true;
	return region->n_parts == 0;
}

/* Some of what it owes can be confirmed by no worker of the recorded attempt. */
static bool is_stuck(const struct job *job, unsigned r)
{
	const struct job_region *region = &job->regions[r];
	for (unsigned i = 0; i < region->n_parts; i++) {
		const struct job_part *part = &region->parts[i];
		bool dead = !part->tm || part->state >= PART_FAILED;
		bool never = region->failed && part->state < PART_RUNNING;
		if (owes(job, part) && (dead || never))
			return true;
	}
	return region->n_parts == 0;
}

/* Wants an attempt that only commits. */
static bool wants_attempt(const struct job *job, unsigned r)
{
	return job->doc.desired != DOC_RUN && !job_terminal(job) && !job->regions[r].corrupt &&
	       job_region_owes(job, r) && is_stuck(job, r);
}

bool job_wants_committing(const struct job *job)
{
	for (unsigned r = 0; r < job->doc.n_regions; r++)
		if (wants_attempt(job, r))
			return true;
	return false;
}

bool job_region_wants_slots(const struct job *job, unsigned r)
{
	return job->doc.desired == DOC_RUN ? job->regions[r].n_parts == 0 : wants_attempt(job, r);
}

bool job_may_be_confirmed(const struct job *job)
{
	for (unsigned r = 0; r < job->doc.n_regions; r++)
		if (job_region_owes(job, r) && !(job->regions[r].corrupt && is_stuck(job, r)))
			return true;
	return false;
}

uint64_t job_commit_wake_ms(const struct job *job)
{
	uint64_t wake = UINT64_MAX;
	for (unsigned r = 0; r < job->doc.n_regions; r++) {
		uint64_t again_ms = job->regions[r].commit_again_ms; /* 0: waits for slots */
		if (again_ms && again_ms < wake && wants_attempt(job, r))
			wake = again_ms;
	}
	return wake;
}

void job_begin_ending_again(struct job *job, uint64_t now_ms)
{
	if (job->ending_since_ms)
		job->ending_since_ms = now_ms;
}

/* Why the attempt before could not commit. What made the job fail stays the last of its list. */
static void keep_failure(const struct job *job, struct doc *draft, unsigned r)
{
	if (job->regions[r].failed && draft->desired == DOC_CANCEL)
		doc_add_failure(draft, &job->regions[r].failure);
}

/* False: there is no place, and the draft is as it was. */
static bool draft_attempt(struct job *job, const struct job_env *env, struct doc *draft, unsigned r)
{
	struct doc_region was = draft->regions[r];
	draft->regions[r].tms = NULL;
	draft->regions[r].owner = NULL;
	if (was.n_slots) { /* else: recorded after a failure, and not placed yet */
		job_remember_owners(&job->regions[r], &was);
		if (was.attempt.v < job->lost_attempt) /* of a history that the store has lost */
			draft->regions[r].attempt.v = job->lost_attempt;
		doc_next_attempt(draft, r);
	}
	if (was.ran.v)
		draft->regions[r].ran = was.ran;
	else /* one that was recorded and not placed has not run */
		draft->regions[r].ran.v = was.n_slots ? was.attempt.v : was.attempt.v - 1;
	if (!job_place_region(job, env, draft, r)) {
		draft->regions[r] = was;
		return false;
	}
	keep_failure(job, draft, r);
	draft->restarts += draft->regions[r].attempt.v != was.attempt.v;
	job->regions[r].commit_again_ms = env->now_ms + COMMIT_AGAIN_MS;
	free(was.tms);
	free(was.owner);
	return true;
}

bool job_draft_committing(struct job *job, const struct job_env *env, struct doc *draft)
{
	bool changed = false;
	if (job->doc.desired == DOC_RUN || job_confirmed(job, draft))
		return false;
	if (!env->may_place && job_wants_committing(job))
		job_begin_ending_again(job, env->now_ms);
	if (env->now_ms >= job->ending_since_ms + env->commit_timeout_ms)
		return false;
	for (unsigned r = 0; r < draft->n_regions; r++) {
		if (!wants_attempt(job, r) || env->now_ms < job->regions[r].commit_again_ms)
			continue;
		job->regions[r].commit_again_ms = 0; /* from now on slots are waited for */
		if (!env->may_place)
			continue;
		if (!job_region_may_be_placed(job, r, *env->free_slots)) {
			job_say_waiting(job, env, graph_region_slots(job->graph, r),
					*env->free_slots);
			continue;
		}
		if (*env->placements == 0)
			continue; /* in the next step */
		(*env->placements)--;
		job_count_own(job, env->tms);
		changed |= draft_attempt(job, env, draft, r);
	}
	return changed;
}
