#include "jobmanager/job_inside.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/json.h"
#include "base/mem.h"

enum {
	READ_RETRY_MS = 1000,
	DECIDE_RETRY_MS = 1000,
	LOADED_TIMEOUT_MS = 600000,
	STOPPED_MAX = 256
};

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

#define TRACE(job, env, level, fmt, ...)                                                           \
	do {                                                                                       \
		char trace_tag[JOB_TAG_MAX];                                                       \
		effects_trace((env)->fx, (level), "job=%s " fmt, job_tag((job), trace_tag),        \
			      __VA_ARGS__);                                                        \
	} while (0)

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
		if (vertex->region != region || !vertex->sink)
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

/* ---- life ---- */

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

static void take_spec(struct job *job, struct spec *spec)
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
	take_spec(job, spec);
	ckpt_init(&job->ckpt, env->now_ms);
	job->ckpt.counts = env->counts;
	sm_init(&job->sm, &job_table, JOB_CREATING);
	counts_watch(env->counts, &job->sm);
	return job;
}

static enum job_state terminal_state(enum doc_status status)
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

static uint64_t back_off_end(const struct doc_region *d, const struct job_env *env)
{
	int64_t left = d->not_before_wall_ms - env->wall_ms;
	if (left <= 0)
		return 0;
	/* A wall clock that stepped makes the wait no longer than the delay was. */
	return env->now_ms + ((uint64_t)left < d->delay_ms ? (uint64_t)left : d->delay_ms);
}

static bool in_flight(const struct doc *d, struct ckpt_id id)
{
	for (unsigned i = 0; i < d->n_flights; i++)
		if (d->flights[i].id.v == id.v)
			return true;
	return false;
}

static void count_inherited(struct job *job, struct counts *counts)
{
	job->inherited = job->doc.next_checkpoint;
	counts->takeover.jobs++;
	counts->takeover.ckpts_inherited += job->doc.n_flights;
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
			take_spec(job, spec);
		sm_init(&job->sm, &job_table, terminal_state(job->doc.status));
		job_resolve_load(job);
		return job;
	}
	for (unsigned r = 0; r < job->doc.n_regions; r++) {
		parts_from_doc(job, r);
		job->regions[r].not_before_ms = back_off_end(&job->doc.regions[r], env);
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

bool job_terminal(const struct job *job)
{
	return doc_terminal(job->doc.status);
}

const char *job_status_name(const struct job *job)
{
	unsigned state = sm_state(&job->sm);
	return state == JOB_RECONCILING ? "RECONCILING" : doc_status_name(job->doc.status);
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

static void answer(struct job *job, const struct job_env *env, bool cancels, enum errc code,
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
	answer(job, env, false, ERR_UNAVAILABLE, "this JobManager no longer leads");
	answer(job, env, true, ERR_UNAVAILABLE, "this JobManager no longer leads");
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

/* ---- facts ---- */

void job_freeze(struct job *job, const struct job_env *env, const char *why)
{
	if (job->frozen)
		return;
	job->frozen = true;
	if (env->stopped[0] == '\0')
		snprintf(env->stopped, STOPPED_MAX, "job %s: %.160s: the store went back in time",
			 job->doc.job.hex, why);
	snprintf(job->trouble, sizeof(job->trouble),
		 "%.180s: the store went back in time; nothing is changed", why);
	TRACE(job, env, LOG_LEVEL_ERROR, "%s", job->trouble);
}

/* A TaskManager knows more than the store. Either the store went back in time: nothing may be
 * changed; or that was accepted: what it knows is given up, and numbers go on above it. */
static void contradicts(struct job *job, const struct job_env *env, const struct taskmanager *tm,
			struct attempt attempt, struct ckpt_id checkpoint, const char *why)
{
	if (!tm->forgiven) {
		job_freeze(job, env, why);
		return;
	}
	if (attempt.v > job->lost_attempt)
		job->lost_attempt = attempt.v;
	if (checkpoint.v > job->lost_checkpoint)
		job->lost_checkpoint = checkpoint.v;
}

void region_fail(struct job *job, unsigned region, const struct doc_failure *failure, bool corrupt)
{
	struct job_region *r = &job->regions[region];
	if (r->failed || job_terminal(job) || job->doc.regions[region].n_slots == 0)
		return;
	r->failed = true;
	r->corrupt = corrupt;
	r->failure = *failure;
	r->failure.region = region;
	r->failure.attempt = job->doc.regions[region].attempt.v;
}

static void fail_external(struct job *job, const struct job_env *env, unsigned r, unsigned part,
			  const char *why)
{
	struct doc_failure f = {
		.wall_ms = env->wall_ms, .vertex = -1, .subtask = -1, .external = true};
	const char *id = job->doc.regions[r].tms[part].id;
	snprintf(f.tm, sizeof(f.tm), "%s", id);
	snprintf(f.text, sizeof(f.text), "TaskManager %s %.300s", id, why);
	region_fail(job, r, &f, false);
}

bool is_at(const struct doc_tm *at, const struct taskmanager *tm)
{
	return strcmp(at->id, tm->id) == 0 && strcmp(at->instance, tm->instance) == 0;
}

const struct control_item *find_item(const struct control_registration *reg, const struct job *job,
				     unsigned r)
{
	for (unsigned i = 0; i < reg->n_items; i++) {
		const struct control_item *item = &reg->items[i];
		if (item->region == r && item->attempt.v == job->doc.regions[r].attempt.v &&
		    job_id_equal(&item->job, &job->doc.job))
			return item;
	}
	return NULL;
}

static void item_failed(struct job *job, const struct job_env *env, unsigned r,
			const struct taskmanager *tm, const struct control_item *item)
{
	struct doc_failure f = {
		.wall_ms = env->wall_ms, .vertex = -1, .subtask = -1, .external = item->external};
	snprintf(f.tm, sizeof(f.tm), "%s", tm->id);
	snprintf(f.text, sizeof(f.text), "%.480s", item->text);
	region_fail(job, r, &f, item->corrupt);
}

static void adopt_acks(struct job *job, const struct job_env *env, unsigned r, unsigned i,
		       const struct control_item *item)
{
	size_t index = 0;
	json_t *ack = NULL;
	json_array_foreach (item->acks, index, ack) {
		struct ckpt_id id = {0};
		if (json_get_u64(ack, "acks", "checkpoint", &id.v, NULL) != ERR_OK)
			continue;
		if (id.v >= job->doc.next_checkpoint.v)
			contradicts(job, env, job->regions[r].parts[i].tm, item->attempt, id,
				    "a TaskManager holds a checkpoint that was never begun");
		else
			ckpt_ack(&job->ckpt, &job->doc, id, r, item->attempt, job_flat(job, r, i),
				 job->regions[r].parts[i].tm->id, json_object_get(ack, "object"),
				 env->wall_ms);
	}
}

static uint64_t newest_value(const struct job *job)
{
	const struct doc_pointer *newest = doc_newest(&job->doc);
	return newest ? newest->id.v : 0;
}

static void adopt_item(struct job *job, const struct job_env *env, unsigned r, unsigned i,
		       const struct control_item *item)
{
	struct job_part *part = &job->regions[r].parts[i];
	static const enum part_state states_of[] = {[CONTROL_STATE_PREPARING] = PART_PREPARING,
						    [CONTROL_STATE_PREPARED] = PART_PREPARED,
						    [CONTROL_STATE_RUNNING] = PART_RUNNING,
						    [CONTROL_STATE_FAILED] = PART_FAILED,
						    [CONTROL_STATE_ENDED] = PART_ENDED};
	/* A registration may have been under way for long, behind a later one. */
	enum part_state now = states_of[item->state];
	if (now > part->state)
		part->state = now;
	part->at_end |= item->at_end;
	part->told_complete = item->completed;
	if (item->committed.v > part->committed.v && item->committed.v <= newest_value(job))
		part->committed = item->committed;
	snprintf(part->address, sizeof(part->address), "%s", item->address);
	if (item->completed.v > newest_value(job) || item->committed.v > newest_value(job))
		contradicts(job, env, part->tm, item->attempt,
			    item->completed.v > item->committed.v ? item->completed
								  : item->committed,
			    "a TaskManager knows a newer completed checkpoint");
	if (now == PART_FAILED)
		item_failed(job, env, r, part->tm, item);
	else if (now == PART_ENDED)
		fail_external(job, env, r, i, "ended its worker");
	adopt_acks(job, env, r, i, item);
}

static void register_part(struct job *job, const struct job_env *env, unsigned r, unsigned i,
			  struct taskmanager *tm, const struct control_registration *reg)
{
	struct job_part *part = &job->regions[r].parts[i];
	bool known = part->seen && part->state > PART_ABSENT;
	part->tm = tm;
	part->seen = true;
	part->told_prepare = part->told_run = part->told_end = false;
	part->told_complete = (struct ckpt_id){0};
	part->told_aborts = 0;
	for (unsigned k = 0; k < job->ckpt.n; k++)
		job->ckpt.flights[k]->acks[job_flat(job, r, i)].told = false;
	const struct control_item *item = find_item(reg, job, r);
	if (item)
		adopt_item(job, env, r, i, item);
	else if (known)
		fail_external(job, env, r, i, "came back without its worker");
}

static void register_region(struct job *job, const struct job_env *env, unsigned r,
			    struct taskmanager *tm, const struct control_registration *reg)
{
	struct job_region *region = &job->regions[r];
	for (unsigned i = 0; i < region->n_parts; i++) {
		const struct doc_tm *at = &job->doc.regions[r].tms[i];
		if (is_at(at, tm))
			register_part(job, env, r, i, tm, reg);
		else if (!region->parts[i].tm && strcmp(at->id, tm->id) == 0)
			fail_external(job, env, r, i, "was restarted");
	}
	for (unsigned i = 0; i < region->n_next; i++)
		if (region->next[i].tm == tm)
			region->next[i].seen = true;
}

/* What this TaskManager still has of attempts that are over. */
void job_leftovers(struct job *job, const struct job_env *env, struct taskmanager *tm)
{
	for (unsigned i = 0; i < tm->n_items; i++) {
		const struct control_item *item = &tm->items[i];
		if (!job_id_equal(&item->job, &job->doc.job) || item->state == CONTROL_STATE_ENDED)
			continue;
		bool known = item->region < job->doc.n_regions;
		uint32_t recorded = known ? job->doc.regions[item->region].attempt.v : 0;
#ifdef WEIR_MUTANT_TERMINAL_LEFT_ALONE
		if (job_terminal(job))
			continue;
#endif
		if (job_terminal(job) || (known && item->attempt.v < recorded))
			add_leftover(job, tm, item->region, item->attempt);
		else if (!known || item->attempt.v > recorded)
			contradicts(job, env, tm, item->attempt, item->completed,
				    "a TaskManager runs an attempt that is not recorded");
	}
}

static void drop_leftovers(struct job *job, const struct taskmanager *tm)
{
	unsigned kept = 0;
	for (unsigned i = 0; i < job->n_leftovers; i++)
		if (job->leftovers[i].tm != tm)
			job->leftovers[kept++] = job->leftovers[i];
	job->n_leftovers = kept;
}

void job_tm_registered(struct job *job, const struct job_env *env, struct taskmanager *tm,
		       const struct control_registration *r)
{
	if (sm_state(&job->sm) == JOB_CREATING)
		return;
	drop_leftovers(job, tm);
	for (unsigned i = 0; i < job->doc.n_regions && !job_terminal(job); i++)
		register_region(job, env, i, tm, r);
	job_resolve_registered(job, tm, r);
	job_leftovers(job, env, tm);
}

void job_tm_lost(struct job *job, const struct job_env *env, struct taskmanager *tm,
		 const char *why)
{
	drop_leftovers(job, tm);
	for (unsigned r = 0; r < job->doc.n_regions; r++) {
		struct job_region *region = &job->regions[r];
		for (unsigned i = 0; i < region->n_parts; i++)
			if (region->parts[i].tm == tm) {
				region->parts[i].tm = NULL;
				fail_external(job, env, r, i, why);
			}
		for (unsigned i = 0; i < region->n_next; i++)
			if (region->next[i].tm == tm)
				region->next[i].tm = NULL;
	}
}

static void report_failed(struct job *job, const struct job_env *env, const struct taskmanager *tm,
			  const struct control_report_msg *m)
{
	struct doc_failure f = {.wall_ms = env->wall_ms,
				.vertex = m->vertex,
				.subtask = m->subtask,
				.external = m->external};
	snprintf(f.tm, sizeof(f.tm), "%s", tm->id);
	snprintf(f.text, sizeof(f.text), "%.480s", m->text);
	region_fail(job, m->region, &f, m->corrupt);
}

static void report_part(struct job *job, const struct job_env *env, struct taskmanager *tm,
			unsigned i, const struct control_report_msg *m)
{
	struct job_part *part = &job->regions[m->region].parts[i];
	switch (m->kind) {
	case CONTROL_REPORT_PREPARED:
		if (part->state < PART_PREPARED)
			part->state = PART_PREPARED;
		snprintf(part->address, sizeof(part->address), "%s", m->address);
		break;
	case CONTROL_REPORT_RUNNING:
		if (part->state < PART_RUNNING)
			part->state = PART_RUNNING;
		break;
	case CONTROL_REPORT_ACK:
		flow_note(&job->flow, tm->id, m->region, m->attempt,
			  json_object_get(m->stats, "vertices"), env->now_ms);
		if (m->checkpoint.v >= job->doc.next_checkpoint.v)
			contradicts(job, env, tm, m->attempt, m->checkpoint,
				    "a TaskManager acknowledged a checkpoint never begun");
		else if (!ckpt_ack(&job->ckpt, &job->doc, m->checkpoint, m->region, m->attempt,
				   job_flat(job, m->region, i), tm->id, m->object, env->wall_ms))
			TRACE(job, env, LOG_LEVEL_DEBUG,
			      "ckpt=%" PRIu64 " late acknowledgement from %s -> ignored",
			      m->checkpoint.v, tm->id);
		break;
	case CONTROL_REPORT_DECLINE:
		if (ckpt_decline(&job->ckpt, &job->doc, m->checkpoint, m->region, m->attempt,
				 m->external, m->text))
			TRACE(job, env, LOG_LEVEL_WARN, "ckpt=%" PRIu64 " declined by %s: %.300s",
			      m->checkpoint.v, tm->id, m->text);
		break;
	case CONTROL_REPORT_COMMITTED:
		if (m->checkpoint.v > newest_value(job))
			contradicts(job, env, tm, m->attempt, m->checkpoint,
				    "a TaskManager committed a checkpoint never completed");
		else if (m->checkpoint.v > part->committed.v)
			part->committed = m->checkpoint;
		break;
	case CONTROL_REPORT_AT_END:
		part->at_end = true;
		break;
	case CONTROL_REPORT_FAILED:
		part->state = PART_FAILED;
		report_failed(job, env, tm, m);
		break;
	case CONTROL_REPORT_ENDED:
		part->state = PART_ENDED;
		fail_external(job, env, m->region, i, "ended its worker");
		break;
	case CONTROL_REPORT_BEAT:
	case CONTROL_REPORT_COUNT:
		break;
	}
}

static bool attempt_counts(const struct job *job, const struct control_report_msg *m)
{
#ifdef WEIR_MUTANT_ACK_ANY_ATTEMPT
	if (m->kind == CONTROL_REPORT_ACK)
		return true;
#endif
	return job->doc.regions[m->region].attempt.v == m->attempt.v;
}

void job_report(struct job *job, const struct job_env *env, struct taskmanager *tm,
		const struct control_report_msg *m)
{
	if (sm_state(&job->sm) == JOB_CREATING)
		return;
	if (m->region >= job->doc.n_regions)
		return;
	if (m->attempt.v > job->doc.regions[m->region].attempt.v) {
		if (!job_terminal(job))
			contradicts(job, env, tm, m->attempt, (struct ckpt_id){0},
				    "a TaskManager reports an attempt that is not recorded");
		return;
	}
	struct job_region *region = &job->regions[m->region];
	for (unsigned i = 0; i < region->n_parts && attempt_counts(job, m); i++)
		if (region->parts[i].tm == tm) {
			report_part(job, env, tm, i, m);
			return;
		}
	TRACE(job, env, LOG_LEVEL_DEBUG,
	      "attempt %" PRIu32 " of region %" PRIu32 " is over: %s from %s -> ignored",
	      m->attempt.v, m->region, control_report_name(m->kind), tm->id);
}

void job_spec_read(struct job *job, const struct job_env *env, enum errc code, const char *text,
		   const char *value, size_t len)
{
	job->reading = 0;
	json_t *document = NULL;
	struct spec *spec = NULL;
	struct err e = {0};
	if (code == ERR_OK)
		code = json_parse(value, len, &document, &e);
	else
		err_set(&e, code, "%s", text ? text : err_text(code));
	if (code == ERR_OK)
		code = spec_parse(document, &spec, &e);
	json_decref(document);
	if (code != ERR_OK) {
		job->read_retry_ms = env->now_ms + READ_RETRY_MS;
		snprintf(job->trouble, sizeof(job->trouble), "its specification: %.220s", e.text);
		TRACE(job, env, LOG_LEVEL_WARN,
		      "cannot read its specification: %.300s -> again later", e.text);
		return;
	}
	job->trouble[0] = '\0';
	take_spec(job, spec);
	if (job->graph->n_regions != job->doc.n_regions)
		job_freeze(job, env, "specification and document differ in their regions");
	for (unsigned i = 0; i < job->ckpt.n; i++)
		job->ckpt.flights[i]->deadline_ms =
			env->now_ms + job->spec->checkpointing.timeout_ms;
}

/* ---- a decision came back ---- */

static void narrate_region(const struct job *job, const struct job_env *env,
			   const struct doc *before, unsigned r)
{
	const struct doc_region *a = &before->regions[r], *b = &job->doc.regions[r];
	if (b->attempt.v != a->attempt.v) {
		const struct doc_failure *f =
			job->doc.n_failures ? &job->doc.failures[job->doc.n_failures - 1] : NULL;
		TRACE(job, env, LOG_LEVEL_INFO,
		      "region %u attempt %" PRIu32 " recorded, restores checkpoint %" PRIu64
		      ", delay %" PRIu64 " ms: %.300s",
		      r, b->attempt.v, b->restore.id.v, b->delay_ms, f ? f->text : "");
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
		region->not_before_ms = back_off_end(&job->doc.regions[r], env);
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
	answer(job, env, false, ERR_OK, "");
	if (job->doc.desired == DOC_CANCEL)
		answer(job, env, true, ERR_OK, "");
	else if (job_terminal(job) || job->doc.desired == DOC_FAIL)
		answer(job, env, true, ERR_CONFLICT, "the job already ended");
}

static void recorded(struct job *job, const struct job_env *env, uint64_t revision)
{
	struct doc before = job->doc;
	bool created = sm_state(&job->sm) == JOB_CREATING;
	job->doc = job->draft;
	job->draft = (struct doc){0};
	job->revision = revision;
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
	answer(job, env, false, code == ERR_FENCED ? ERR_UNAVAILABLE : code, text);
	job->gone = true;
}

void job_met(struct job *job, const struct job_env *env, enum errc code,
	     const struct doc *tombstone)
{
	const char *text = "jobId: a job with this id exists or existed";
	job->reading = 0;
	job->gone = true;
	if (code == ERR_OK && tombstone && strcmp(tombstone->spec_sum, job->doc.spec_sum) == 0) {
		answer(job, env, false, ERR_OK, "");
	} else if (code == ERR_OK || code == ERR_NOTFOUND)
		answer(job, env, false, ERR_EXISTS, text);
	else
		answer(job, env, false, ERR_UNAVAILABLE,
		       "a job with this id exists or existed, and the store does not say which");
	answer(job, env, true, ERR_UNAVAILABLE, "this job is being looked up");
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
				fail_external(job, env, r, i,
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
				fail_external(job, env, r, i, "was lost");
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
		return terminal_state(job->doc.status);
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
	if (to == JOB_RESTARTING || to == JOB_FAILING || to == JOB_FAILED)
		return d->n_failures ? d->failures[d->n_failures - 1].text : "";
	return reasons[to] ? reasons[to] : "";
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
	bool may_begin = !job->deciding && job->doc.desired == DOC_RUN && job_all_running(job) &&
			 !job_all_at_end(job);
	uint64_t of_ckpt =
		ckpt_wake_ms(&job->ckpt, &job->doc, &job->spec->checkpointing, may_begin);
	wake = earlier(wake, of_ckpt);
	if (job->deciding)
		return wake;
	wake = earlier(wake, job->retry_ms);
	wake = earlier(wake, placing_wake_ms(job));
	if (job->doc.desired != DOC_RUN)
		wake = earlier(wake, job->ending_since_ms + commit_timeout_ms);
	return earlier(wake, job_final_wake_ms(job));
}

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
	if (job_terminal(job) || job->grace_until_ms || job->frozen || job->doc.desired != DOC_RUN)
		return false;
	for (unsigned r = 0; r < job->doc.n_regions; r++)
		if (job->regions[r].n_parts == 0)
			return sm_state(&job->sm) != JOB_CREATING;
	return false;
}

bool job_may_be_placed(const struct job *job, uint64_t free_slots)
{
	uint64_t own = 0; /* regions share slots */
	for (unsigned r = 0; r < job->doc.n_regions; r++) {
		own += job->doc.regions[r].n_slots;
		for (unsigned i = 0; i < job->regions[r].n_next; i++)
			own += job->regions[r].next[i].n_slots;
	}
	for (unsigned r = 0; r < job->doc.n_regions; r++)
		if (!job->graph || (job->regions[r].n_parts == 0 &&
				    graph_region_slots(job->graph, r) <= free_slots + own))
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
