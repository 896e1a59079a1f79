/*
 * What a job that ended has left in doubt: sinks that had not confirmed its
 * newest completed checkpoint when the end was recorded, named by
 * `resolve/<job>`. Their workers were told "complete" and only then "cancel"
 * (job_command.c), or are told so when their TaskManager comes back. When all have
 * confirmed, nothing is in doubt any more:
 *
 *   ended --all confirmed--> read resolve/<job> (its revision is the chain)
 *         --> one decision: it is deleted, the tombstone says so, the files may go
 *
 * Facts are collected as for a living job; of one that an earlier leader ended,
 * from the placement in its tombstone. A job whose specification was too large for
 * the tombstone stays in doubt: nobody knows where its sinks were.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "jobmanager/job_inside.h"

enum { RESOLVE_RETRY_MS = 1000 };

bool job_in_doubt(const struct job *job)
{
	return job_terminal(job) && job->graph && !job_confirmed(job, &job->doc);
}

static const char *why_in_doubt(const struct job *job)
{
	for (unsigned r = 0; r < job->doc.n_regions; r++)
		if (job->regions[r].failed && job_region_owes(job, r))
			return job->regions[r].failure.text;
	return "";
}

void job_resolve_tell(struct job *job)
{
	if (job->frozen)
		return;
	if (job_in_doubt(job)) {
		const char *why = why_in_doubt(job);
		snprintf(job->trouble, sizeof(job->trouble),
			 "not every sink confirmed checkpoint %" PRIu64
			 ", its output may be incomplete%s%.140s",
			 doc_newest(&job->doc)->id.v, why[0] ? ": " : "", why);
	} else if (job_terminal(job))
		job->trouble[0] = '\0';
}

/* Nobody is told anything because of this: what they still have, the leftovers end. */
void job_resolve_load(struct job *job)
{
	for (unsigned r = 0; r < job->doc.n_regions && job_in_doubt(job); r++) {
		parts_from_doc(job, r);
		for (unsigned i = 0; i < job->regions[r].n_parts; i++)
			job->regions[r].parts[i].told_end = true;
	}
	mark_sinks(job);
	job_resolve_tell(job);
}

void job_resolve_registered(struct job *job, struct taskmanager *tm,
			    const struct control_registration *reg)
{
	const struct doc_pointer *newest = doc_newest(&job->doc);
	for (unsigned r = 0; r < job->doc.n_regions && job_in_doubt(job); r++)
		for (unsigned i = 0; i < job->regions[r].n_parts; i++) {
			struct job_part *part = &job->regions[r].parts[i];
			if (!is_at(&job->doc.regions[r].tms[i], tm))
				continue;
			part->tm = tm;
			part->told_end = true; /* as a leftover */
			const struct control_item *item = find_item(reg, job, r);
			if (item && item->committed.v > part->committed.v &&
			    item->committed.v <= newest->id.v)
				part->committed = item->committed;
		}
}

static bool all_confirmed(const struct job *job)
{
	return job_in_doubt(job) && job_committed(job).v >= doc_newest(&job->doc)->id.v;
}

uint64_t job_resolve_wake_ms(const struct job *job)
{
	return all_confirmed(job) && !job->reading && !job->deciding ? job->retry_ms : UINT64_MAX;
}

void job_resolve(struct job *job, const struct job_env *env)
{
	if (!all_confirmed(job) || job->reading || job->deciding || env->now_ms < job->retry_ms)
		return;
	read_key(job, env, RESOLVE_KEY);
}

void job_resolve_read(struct job *job, const struct job_env *env, enum errc code, uint64_t revision)
{
	job->reading = 0;
	job->retry_ms = env->now_ms + RESOLVE_RETRY_MS;
	if (!all_confirmed(job))
		return;
	if (code != ERR_OK) {
		/* Nothing is recorded as in doubt (any more): then nothing is. */
		if (code == ERR_NOTFOUND)
			job->doc.committed = job_committed(job);
		job_resolve_tell(job);
		return;
	}
	char key[JM_KEY_MAX];
	doc_copy(&job->draft, &job->doc);
	job->draft.committed = job_committed(job);
	job->drops.n = 0;
	draft_discard(job, &job->draft);
	job->deciding = (*env->next_token)++;
	struct jm_effect *decide = effects_add(env->fx, JM_DECIDE);
	decide->token = job->deciding;
	decide->job = job->doc.job;
	decide->revision = revision;
	job_key(job, RESOLVE_KEY, decide->key);
	effects_op(decide, decide->key, NULL);
	add_cleanup(job, decide);
	job_key(job, DONE_KEY, key);
	effects_op(decide, key, doc_encode(&job->draft));
}

/* Refused: another reading tells what became of it. */
bool job_resolve_refused(struct job *job, const struct job_env *env)
{
	if (!job_terminal(job))
		return false;
	doc_fini(&job->draft);
	job->drops.n = 0;
	job->retry_ms = env->now_ms + RESOLVE_RETRY_MS;
	return true;
}
