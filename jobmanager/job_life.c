/* A job is created, or found by a new leader; it is asked to end; it is forgotten. */
#include "jobmanager/job_inside.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/mem.h"

/* Of the specification without the id that a client may have chosen. */
static void format_sum(const json_t *spec, char out[DOC_CHECKSUM_MAX])
{
	json_t *plain = json_copy((json_t *)(uintptr_t)spec);
	json_object_del(plain, "jobId");
	char *text = json_dumps(plain, JSON_COMPACT | JSON_SORT_KEYS);
	uint64_t sum = text ? XXH3_64bits(text, strlen(text)) : 0;
	snprintf(out, DOC_CHECKSUM_MAX, "%016" PRIx64, sum);
	free(text);
	json_decref(plain);
}

void job_take_spec(struct job *job, struct spec *spec)
{
	job->spec = spec;
	job->graph = graph_create(spec);
	mark_sinks(job);
}

struct job *job_create(const struct job_env *env, const struct job_id *id, struct spec *spec)
{
	struct job *job = mem_alloc(sizeof(*job));
	struct graph *g = graph_create(spec);
	doc_init(&job->doc, id, spec->name, g->n_regions);
	graph_destroy(g);
	format_sum(spec->source, job->doc.spec_sum);
	doc_enter(&job->doc, DOC_CREATED, env->wall_ms);
	job->regions = mem_array(job->doc.n_regions, sizeof(job->regions[0]));
	job_take_spec(job, spec);
	ckpt_init(&job->ckpt, env->now_ms);
	job->ckpt.counts = env->counts;
	sm_init(&job->sm, &job_table, JOB_CREATING);
	counts_watch(env->counts, &job->sm);
	return job;
}

enum job_state job_terminal_state(enum doc_status status)
{
	if (status == DOC_FINISHED)
		return JOB_FINISHED;
	return status == DOC_FAILED ? JOB_FAILED : JOB_CANCELED;
}

/* Workers as the recorded placement has them; nothing is known about them yet. */
void parts_from_doc(struct job *job, unsigned r)
{
	const struct doc_region *d = &job->doc.regions[r];
	struct job_region *region = &job->regions[r];
	region->n_parts = d->n_tms;
	region->parts = mem_array(d->n_tms + 1, sizeof(region->parts[0]));
	for (uint32_t s = 0; s < d->n_slots; s++)
		region->parts[d->owner[s]].n_slots++;
}

static void note_whereabouts(const struct job *job, const struct job_env *env)
{
	for (unsigned r = 0; r < job->doc.n_regions; r++)
		for (unsigned i = 0; i < job->doc.regions[r].n_tms; i++)
			whereabouts_add(env->whereabouts, job->doc.regions[r].tms[i].id,
					&job->doc.job);
}

uint64_t job_back_off_end(const struct doc_region *d, const struct job_env *env)
{
	int64_t left = d->not_before_wall_ms - env->wall_ms;
	if (left <= 0)
		return 0;
	/* A wall clock that stepped makes the wait no longer than the delay was. */
	return env->now_ms + ((uint64_t)left < d->delay_ms ? (uint64_t)left : d->delay_ms);
}

static void count_inherited(struct job *job, struct counts *counts)
{
	job->inherited = job->doc.next_checkpoint;
	counts->takeover.jobs++;
	counts->takeover.ckpts_inherited += job->doc.n_flights;
}

struct job *job_load(const struct job_env *env, struct doc *doc, uint64_t revision)
{
	struct job *job = mem_alloc(sizeof(*job));
	job->doc = *doc;
	job->revision = revision;
	job->regions = mem_array(job->doc.n_regions, sizeof(job->regions[0]));
	ckpt_init(&job->ckpt, env->now_ms);
	job->ckpt.counts = env->counts;
	note_whereabouts(job, env);
	if (doc_terminal(job->doc.status)) {
		struct spec *spec = NULL;
		if (job->doc.spec && spec_parse(job->doc.spec, &spec, NULL) == ERR_OK)
			job_take_spec(job, spec);
		sm_init(&job->sm, &job_table, job_terminal_state(job->doc.status));
		job_resolve_load(job);
		return job;
	}
	for (unsigned r = 0; r < job->doc.n_regions; r++) {
		parts_from_doc(job, r);
		job->regions[r].not_before_ms = job_back_off_end(&job->doc.regions[r], env);
		job->regions[r].ran = job->doc.status == DOC_RUNNING;
	}
#ifdef WEIR_MUTANT_ADOPT_GIVEN_UP
	if (job->doc.n_flights == 0 && job->doc.n_given_up_kept) {
		struct ckpt_id next = job->doc.next_checkpoint;
		doc_add_flight(&job->doc, CONTROL_TRIGGER_CHECKPOINT, env->wall_ms);
		job->doc.flights[0].id = job->doc.given_up[job->doc.n_given_up_kept - 1].id;
		job->doc.next_checkpoint = next;
	}
#endif
	ckpt_recorded(&job->ckpt, &job->doc, job_n_parts(job), LOADED_TIMEOUT_MS, env->now_ms);
	job->grace_until_ms = env->now_ms + env->reconcile_grace_ms;
	job->ending_since_ms = env->now_ms;
	sm_init(&job->sm, &job_table, JOB_RECONCILING);
	counts_watch(env->counts, &job->sm);
	count_inherited(job, env->counts);
	return job;
}

void job_destroy(struct job *job)
{
	if (!job)
		return;
	for (unsigned r = 0; r < job->doc.n_regions; r++) {
		free(job->regions[r].parts);
		free(job->regions[r].next);
		job_forget_owners(&job->regions[r]);
	}
	free(job->regions);
	free(job->leftovers);
	flow_fini(&job->flow);
	ckpt_fini(&job->ckpt);
	graph_destroy(job->graph);
	spec_destroy(job->spec);
	if (job->deciding)
		doc_fini(&job->draft);
	doc_fini(&job->doc);
	free(job);
}

/* ---- waiters ---- */

static bool add_waiter(struct job *job, const struct job_env *env, uint64_t token, bool cancel)
{
	if (job->n_waiters == JOB_WAITERS_MAX) {
		effects_reply(env->fx, token, ERR_AGAIN, "too many requests wait for this job");
		return false;
	}
	job->waiters[job->n_waiters++] = (struct job_waiter){.token = token, .cancel = cancel};
	return true;
}

void job_answer(struct job *job, const struct job_env *env, bool cancels, enum errc code,
		const char *text)
{
	unsigned kept = 0;
	for (unsigned i = 0; i < job->n_waiters; i++) {
		if (job->waiters[i].cancel == cancels)
			effects_reply(env->fx, job->waiters[i].token, code, "%s", text);
		else
			job->waiters[kept++] = job->waiters[i];
	}
	job->n_waiters = kept;
}

void job_abandon(struct job *job, const struct job_env *env)
{
	job_answer(job, env, false, ERR_UNAVAILABLE, "this JobManager no longer leads");
	job_answer(job, env, true, ERR_UNAVAILABLE, "this JobManager no longer leads");
}

void job_cancel(struct job *job, const struct job_env *env, uint64_t token)
{
	if (job->doc.status == DOC_CANCELED || job->doc.desired == DOC_CANCEL) {
		effects_reply(env->fx, token, ERR_OK, "%s", "");
	} else if (job_terminal(job)) {
		effects_reply(env->fx, token, ERR_CONFLICT,
			      "Job %s already reached another terminal state (%s)",
			      job->doc.job.hex, doc_status_name(job->doc.status));
	} else if (job->doc.desired == DOC_FAIL) {
		effects_reply(env->fx, token, ERR_CONFLICT, "Job %s is failing", job->doc.job.hex);
	} else if (job->frozen) {
		effects_reply(env->fx, token, ERR_UNAVAILABLE, "%s", job->trouble);
	} else if (add_waiter(job, env, token, true)) {
		job->cancel_wanted = true;
	}
}

void job_submitted_again(struct job *job, const struct job_env *env, uint64_t token,
			 const json_t *spec)
{
	char sum[DOC_CHECKSUM_MAX];
	format_sum(spec, sum);
	if (strcmp(sum, job->doc.spec_sum) != 0)
		effects_reply(env->fx, token, ERR_EXISTS,
			      "jobId: job %s exists with another specification", job->doc.job.hex);
	else if (sm_state(&job->sm) == JOB_CREATING)
		add_waiter(job, env, token, false);
	else
		effects_reply(env->fx, token, ERR_OK, "%s", "");
}
