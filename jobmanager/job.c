#include "jobmanager/job_inside.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/mem.h"

#define TO_LIVE                                                                                    \
	(SM_TO(JOB_WAITING) | SM_TO(JOB_DEPLOYING) | SM_TO(JOB_RUNNING) | SM_TO(JOB_RESTARTING) |  \
	 SM_TO(JOB_FINISHING))
#define TO_ENDING (SM_TO(JOB_CANCELLING) | SM_TO(JOB_FAILING))
/* A worker may die while the decision that the job is FINISHED is on its way. */
#define TO_RECORDED_END SM_TO(JOB_FINISHED)

static const struct sm_state states[] = {
	[JOB_CREATING] = {"CREATING", SM_TO(JOB_WAITING)},
	[JOB_RECONCILING] = {"RECONCILING", TO_LIVE | TO_ENDING},
	[JOB_WAITING] = {"WAITING", SM_TO(JOB_DEPLOYING) | SM_TO(JOB_RESTARTING) | TO_ENDING},
	[JOB_DEPLOYING] = {"DEPLOYING", SM_TO(JOB_RUNNING) | SM_TO(JOB_FINISHING) |
						SM_TO(JOB_RESTARTING) | SM_TO(JOB_WAITING) |
						TO_ENDING | TO_RECORDED_END},
	[JOB_RUNNING] = {"RUNNING", SM_TO(JOB_FINISHING) | SM_TO(JOB_RESTARTING) |
					    SM_TO(JOB_WAITING) | TO_ENDING | TO_RECORDED_END},
	[JOB_RESTARTING] = {"RESTARTING", SM_TO(JOB_WAITING) | SM_TO(JOB_DEPLOYING) | TO_ENDING |
						  TO_RECORDED_END},
	[JOB_FINISHING] = {"FINISHING", SM_TO(JOB_FINISHED) | SM_TO(JOB_RESTARTING) |
						SM_TO(JOB_WAITING) | TO_ENDING},
	[JOB_CANCELLING] = {"CANCELLING", SM_TO(JOB_CANCELED)},
	[JOB_FAILING] = {"FAILING", SM_TO(JOB_FAILED)},
	[JOB_FINISHED] = {"FINISHED", 0},
	[JOB_FAILED] = {"FAILED", 0},
	[JOB_CANCELED] = {"CANCELED", 0},
};
const struct sm_table job_table = {"job", states, JOB_STATE_COUNT};

const char *part_state_name(enum part_state state)
{
	static const char *const names[] = {
		[PART_ABSENT] = "ABSENT",     [PART_PREPARING] = "PREPARING",
		[PART_PREPARED] = "PREPARED", [PART_RUNNING] = "RUNNING",
		[PART_FAILED] = "FAILED",     [PART_ENDED] = "ENDED"};
	return state < PART_STATE_COUNT ? names[state] : "?";
}

bool job_terminal(const struct job *job)
{
	return doc_terminal(job->doc.status);
}

const char *job_status_name(const struct job *job)
{
	unsigned state = sm_state(&job->sm);
	return state == JOB_RECONCILING ? "RECONCILING" : doc_status_name(job->doc.status);
}

/* ---- names ---- */

void job_key(const struct job *job, int which, char out[JM_KEY_MAX])
{
	static const char *const folders[] = {"run", "spec", "done", "resolve"};
	snprintf(out, JM_KEY_MAX, "%s/%s", folders[which], job->doc.job.hex);
}

void cleanup_key(const struct job *job, uint64_t seq, char out[JM_KEY_MAX])
{
	snprintf(out, JM_KEY_MAX, "cleanup/%s/%08" PRIu64, job->doc.job.hex, seq);
}

const char *job_tag(const struct job *job, char out[JOB_TAG_MAX])
{
	snprintf(out, JOB_TAG_MAX, "%s/%.8s", job->doc.name, job->doc.job.hex);
	return out;
}

void read_key(struct job *job, const struct job_env *env, int which)
{
	job->reading = (*env->next_token)++;
	struct jm_effect *read = effects_add(env->fx, JM_READ);
	read->token = job->reading;
	read->job = job->doc.job;
	job_key(job, which, read->key);
}

/* ---- parts ---- */

bool part_online(const struct job_part *part)
{
	return part->tm && part->tm->state == TM_CONNECTED;
}

unsigned job_n_parts(const struct job *job)
{
	unsigned n = 0;
	for (unsigned r = 0; r < job->doc.n_regions; r++)
		n += job->regions[r].n_parts;
	return n;
}

unsigned job_flat(const struct job *job, unsigned region, unsigned part)
{
	unsigned n = part;
	for (unsigned r = 0; r < region; r++)
		n += job->regions[r].n_parts;
	return n;
}

bool job_all_running(const struct job *job)
{
	for (unsigned r = 0; r < job->doc.n_regions; r++)
		if (job->regions[r].phase != REGION_RUNNING)
			return false;
	return true;
}

bool job_all_at_end(const struct job *job)
{
	for (unsigned r = 0; r < job->doc.n_regions; r++)
		for (unsigned i = 0; i < job->regions[r].n_parts; i++)
			if (!job->regions[r].parts[i].at_end)
				return false;
	return true;
}

struct ckpt_id job_committed(const struct job *job)
{
	struct ckpt_id low = {UINT64_MAX};
	for (unsigned r = 0; r < job->doc.n_regions; r++) {
		if (job->regions[r].n_parts == 0)
			return (struct ckpt_id){0};
		for (unsigned i = 0; i < job->regions[r].n_parts; i++) {
			const struct job_part *part = &job->regions[r].parts[i];
			if (part->sinks && part->committed.v < low.v)
				low = part->committed;
		}
	}
	const struct doc_pointer *newest = doc_newest(&job->doc);
	if (low.v == UINT64_MAX) /* no sink at all: nothing to wait for */
		return newest ? newest->id : (struct ckpt_id){0};
	return low;
}

static bool hosts_sink(const struct job *job, unsigned region, unsigned part)
{
	const struct doc_region *r = &job->doc.regions[region];
	for (unsigned v = 0; v < job->graph->n_vertices; v++) {
		const struct graph_vertex *vertex = &job->graph->vertices[v];
		if (vertex->region != region || !vertex->transactional)
			continue;
		for (uint32_t s = 0; s < vertex->parallelism && s < r->n_slots; s++)
			if (r->owner[s] == part)
				return true;
	}
	return false;
}

void mark_sinks(struct job *job)
{
	for (unsigned r = 0; job->graph && r < job->doc.n_regions; r++)
		for (unsigned i = 0; i < job->regions[r].n_parts; i++)
			job->regions[r].parts[i].sinks = hosts_sink(job, r, i);
}

void add_leftover(struct job *job, struct taskmanager *tm, uint32_t region, struct attempt attempt)
{
	job->leftovers =
		mem_resize(job->leftovers, job->n_leftovers + 1, sizeof(job->leftovers[0]));
	job->leftovers[job->n_leftovers++] =
		(struct job_leftover){.tm = tm, .region = region, .attempt = attempt};
}

/* ---- step ---- */

static void read_spec(struct job *job, const struct job_env *env)
{
	if (job->spec || job->reading || job_terminal(job) || env->now_ms < job->read_retry_ms)
		return;
	read_key(job, env, SPEC_KEY);
}

static bool all_seen(const struct job *job)
{
	for (unsigned r = 0; r < job->doc.n_regions; r++)
		for (unsigned i = 0; i < job->regions[r].n_parts; i++)
			if (!job->regions[r].parts[i].tm && !job->regions[r].failed)
				return false;
	return true;
}

static void end_grace(struct job *job, const struct job_env *env)
{
	if (!job->grace_until_ms || !job->spec)
		return;
	bool all = all_seen(job);
	if (!all && env->now_ms < job->grace_until_ms)
		return;
	job->grace_until_ms = 0;
	if (job->ending_since_ms)
		job->ending_since_ms = env->now_ms;
	for (unsigned r = 0; r < job->doc.n_regions; r++)
		for (unsigned i = 0; i < job->regions[r].n_parts; i++)
			if (!job->regions[r].parts[i].tm)
				job_fail_external(job, env, r, i,
						  "did not come back to the new leader");
}

static enum region_phase phase_of(const struct job_region *region)
{
	if (region->n_parts == 0)
		return REGION_WAITING;
	for (unsigned i = 0; i < region->n_parts; i++) {
		enum part_state state = region->parts[i].state;
#ifdef WEIR_MUTANT_PREPARED_IS_RUNNING
		const bool runs = state == PART_RUNNING || state == PART_PREPARED;
#else
		const bool runs = state == PART_RUNNING;
#endif
		if (!runs)
			return REGION_DEPLOYING;
	}
	return REGION_RUNNING;
}

/* Facts that follow from facts. */
static void settle_regions(struct job *job, const struct job_env *env)
{
	bool ran_all = job_all_running(job);
	for (unsigned r = 0; r < job->doc.n_regions; r++) {
		struct job_region *region = &job->regions[r];
		region->phase = phase_of(region);
		region->ran |= region->phase == REGION_RUNNING;
		for (unsigned i = 0; i < region->n_parts && !job->grace_until_ms; i++)
			if (!region->parts[i].tm)
				job_fail_external(job, env, r, i, "was lost");
	}
	if (!ran_all && job_all_running(job))
		job->ckpt.last_trigger_ms = env->now_ms;
}

static enum job_state live_state(const struct job *job, const struct job_env *env)
{
	bool waiting = false, delayed = false;
	for (unsigned r = 0; r < job->doc.n_regions; r++) {
		const struct job_region *region = &job->regions[r];
		delayed |= region->failed ||
			   (region->n_parts == 0 && env->now_ms < region->not_before_ms);
		waiting |= region->n_parts == 0;
	}
	if (delayed)
		return JOB_RESTARTING;
	if (waiting)
		return JOB_WAITING;
	if (!job_all_running(job))
		return JOB_DEPLOYING;
	return job_all_at_end(job) ? JOB_FINISHING : JOB_RUNNING;
}

static enum job_state derive(const struct job *job, const struct job_env *env)
{
	if (job_terminal(job))
		return job_terminal_state(job->doc.status);
	if (sm_state(&job->sm) == JOB_CREATING)
		return JOB_CREATING;
	if (job->doc.desired != DOC_RUN)
		return job->doc.desired == DOC_CANCEL ? JOB_CANCELLING : JOB_FAILING;
	if (job->grace_until_ms)
		return JOB_RECONCILING;
	return live_state(job, env);
}

static const char *reason(const struct job *job, enum job_state to)
{
	static const char *const reasons[JOB_STATE_COUNT] = {
		[JOB_WAITING] = "needs slots",
		[JOB_DEPLOYING] = "slots are taken",
		[JOB_RUNNING] = "all its tasks run",
		[JOB_FINISHING] = "all its sources are at their end",
		[JOB_CANCELLING] = "as asked",
		[JOB_FINISHED] = "its last output is committed",
		[JOB_CANCELED] = "what was completed is committed",
	};
	const struct doc *d = &job->doc;
	for (unsigned r = 0; to == JOB_RESTARTING && r < d->n_regions; r++)
		if (job->regions[r].failed)
			return job->regions[r].failure.text;
	if (to == JOB_CANCELED && job_in_doubt(job))
		return "not all that was completed is committed";
	if (to == JOB_RESTARTING || to == JOB_FAILING || to == JOB_FAILED)
		return d->n_failures ? d->failures[d->n_failures - 1].text : "";
	return reasons[to] ? reasons[to] : "";
}

/* What a new leader made of the regions that it found. */
static void count_taken_over(const struct job *job, enum job_state to, struct counts_takeover *t)
{
	t->jobs_adopted += to == JOB_RUNNING || to == JOB_FINISHING;
	t->jobs_restarted += to == JOB_RESTARTING;
	t->jobs_resumed += to == JOB_WAITING || to == JOB_DEPLOYING;
	for (unsigned v = 0; job->graph && v < job->graph->n_vertices; v++) {
		const struct graph_vertex *vertex = &job->graph->vertices[v];
		const struct job_region *region = &job->regions[vertex->region];
		if (region->failed)
			t->tasks_restarted += vertex->parallelism;
		else if (region->phase == REGION_RUNNING)
			t->tasks_adopted += vertex->parallelism;
	}
}

static void settle_state(struct job *job, const struct job_env *env)
{
	enum job_state to = derive(job, env);
	if (to == sm_state(&job->sm))
		return;
	const char *from = sm_name(&job->sm);
	bool adopted = sm_state(&job->sm) == JOB_RECONCILING && to == JOB_RUNNING;
	if (sm_state(&job->sm) == JOB_RECONCILING)
		count_taken_over(job, to, &env->counts->takeover);
	sm_move(&job->sm, to, "");
	TRACE(job, env, LOG_LEVEL_INFO, "%s -> %s: %.300s", from, sm_name(&job->sm),
	      adopted ? "adopted as it runs" : reason(job, to));
}

void job_advance(struct job *job, const struct job_env *env)
{
	if (job->gone)
		return;
	ckpt_time(&job->ckpt, env->now_ms);
	bool act = env->leading && !job->frozen;
	if (act && sm_state(&job->sm) != JOB_CREATING)
		read_spec(job, env);
	end_grace(job, env);
	settle_regions(job, env);
	settle_state(job, env);
	if (!act)
		return;
	job_command(job, env);
	job_resolve(job, env);
	if (job->graph && !job->grace_until_ms && !job_terminal(job))
		ckpt_seal(&job->ckpt, &job->doc, job->graph, env->cluster_id, env->epoch.v,
			  env->now_ms, env->next_token, env->fx);
	job_decide(job, env);
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return b && b < a ? b : a;
}

/* When a region's back-off or its wait for slots ends. */
static uint64_t placing_wake_ms(const struct job *job)
{
	uint64_t wake = UINT64_MAX;
	for (unsigned r = 0; r < job->doc.n_regions; r++) {
		const struct job_region *region = &job->regions[r];
		if (region->n_parts || job->doc.desired != DOC_RUN || job->fatal)
			continue;
		if (region->waiting_since_ms)
			wake = earlier(wake, region->waiting_since_ms + job->spec->slot_timeout_ms);
		else
			wake = earlier(wake, region->not_before_ms);
	}
	return wake;
}

uint64_t job_wake_ms(const struct job *job, uint64_t commit_timeout_ms)
{
	uint64_t wake = UINT64_MAX;
	if (job_terminal(job))
		return job_resolve_wake_ms(job);
	if (job->frozen || sm_state(&job->sm) == JOB_CREATING)
		return wake;
	if (!job->spec && !job->reading)
		wake = earlier(wake, job->read_retry_ms);
	wake = earlier(wake, job->grace_until_ms);
	if (!job->spec || job->grace_until_ms)
		return wake;
	/* A decision that was refused is not asked for again before retry_ms: what would only lead
	 * to one need not wake us sooner. */
	uint64_t decide = UINT64_MAX;
	bool may_begin = !job->deciding && job->doc.desired == DOC_RUN && job_all_running(job) &&
			 !job_all_at_end(job);
	uint64_t of_ckpt =
		ckpt_wake_ms(&job->ckpt, &job->doc, &job->spec->checkpointing, may_begin);
	wake = earlier(wake, of_ckpt);
	if (job->deciding)
		return wake;
	decide = earlier(decide, placing_wake_ms(job));
	if (job->doc.desired != DOC_RUN) {
		decide = earlier(decide, job->ending_since_ms + commit_timeout_ms);
		decide = earlier(decide, job_commit_wake_ms(job));
	}
	decide = earlier(decide, job_final_wake_ms(job));
	wake = earlier(wake, job->retry_ms);
	return earlier(wake, decide < job->retry_ms ? job->retry_ms : decide);
}

/* ---- slots ---- */

void job_count_slots(const struct job *job)
{
	if (job_terminal(job))
		return;
	for (int pass = 0; pass < 3; pass++)
		for (unsigned r = 0; r < job->doc.n_regions; r++) {
			const struct job_region *region = &job->regions[r];
			for (unsigned i = 0; i < region->n_parts + region->n_next; i++) {
				const struct job_part *part =
					i < region->n_parts ? &region->parts[i]
							    : &region->next[i - region->n_parts];
				struct taskmanager *tm = part->tm;
				if (!tm)
					continue;
				if (pass == 0)
					tm->of_job = 0;
				else if (pass == 1 && part->n_slots > tm->of_job)
					tm->of_job = part->n_slots;
				else if (pass == 2) {
					tm->used += tm->of_job;
					tm->of_job = 0;
				}
			}
		}
}

uint32_t job_slots_at(const struct job *job, const struct taskmanager *tm)
{
	uint32_t most = 0;
	for (unsigned r = 0; r < job->doc.n_regions && !job_terminal(job); r++) {
		const struct job_region *region = &job->regions[r];
		for (unsigned i = 0; i < region->n_parts; i++)
			if (region->parts[i].tm == tm && region->parts[i].n_slots > most)
				most = region->parts[i].n_slots;
		for (unsigned i = 0; i < region->n_next; i++)
			if (region->next[i].tm == tm && region->next[i].n_slots > most)
				most = region->next[i].n_slots;
	}
	return most;
}

bool job_waits_for_slots(const struct job *job)
{
	if (job_terminal(job) || job->grace_until_ms || job->frozen)
		return false;
	if (job->doc.desired != DOC_RUN)
		return job_wants_committing(job);
	for (unsigned r = 0; r < job->doc.n_regions; r++)
		if (job->regions[r].n_parts == 0)
			return sm_state(&job->sm) != JOB_CREATING;
	return false;
}

/* That a region could share, at most: those of the dead are gone. */
static uint64_t own_slots(const struct job *job)
{
	uint64_t own = 0;
	for (unsigned r = 0; r < job->doc.n_regions; r++) {
		const struct job_region *region = &job->regions[r];
		for (unsigned i = 0; i < region->n_parts; i++)
			own += region->parts[i].tm ? region->parts[i].n_slots : 0;
		for (unsigned i = 0; i < region->n_next; i++)
			own += region->next[i].n_slots;
	}
	return own;
}

bool job_region_may_be_placed(const struct job *job, unsigned r, uint64_t free_slots)
{
	return graph_region_slots(job->graph, r) <= free_slots + own_slots(job);
}

bool job_may_be_placed(const struct job *job, uint64_t free_slots)
{
	if (!job->graph)
		return true;
	uint64_t most = free_slots + own_slots(job);
	for (unsigned r = 0; r < job->doc.n_regions; r++)
		if (job_region_wants_slots(job, r) && graph_region_slots(job->graph, r) <= most)
			return true;
	return false;
}

bool job_holds(const struct job *job)
{
	if (sm_state(&job->sm) == JOB_CREATING)
		return true;
	for (unsigned r = 0; r < job->doc.n_regions && !job_terminal(job); r++)
		if (job->regions[r].n_parts != job->doc.regions[r].n_tms)
			return false;
	return job_terminal(job) || (doc_holds(&job->doc) && ckpt_holds(&job->ckpt, &job->doc));
}
