/*
 * Decisions: one draft of the hot document that holds everything that is due
 * now, in an order in which each part may rely on the ones before:
 *
 *   1. what checkpoints came to (valid under the recorded attempts)
 *   2. failures: attempt + 1, or the intent to fail
 *   3. intents: cancel, fail: every flight is given up; an attempt that only commits (job_ending.c)
 *   4. placements
 *   5. a new checkpoint
 *   6. the status, or the tombstone
 */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "jobmanager/job_inside.h"
#include "jobmanager/moments.h"
#include "jobmanager/place.h"

enum {
	EXTERNAL_DELAY_MS = 50,        /* lets the registry hear of a TaskManager that just died */
	EXTERNAL_AGAIN_DELAY_MS = 500, /* the attempt never ran: do not spin */
	FINAL_AGAIN_MS = 1000
};

/* ---- 2. failures ---- */

static void set_delay(struct doc_region *r, uint64_t delay_ms, int64_t wall_ms)
{
	r->delay_ms = delay_ms;
	r->not_before_wall_ms = wall_ms + (int64_t)delay_ms;
}

static uint64_t dice_of(const struct job *job)
{
	uint64_t dice = job->doc.restart.count;
	for (const char *c = job->doc.job.hex; *c; c++)
		dice = dice * 31 + (unsigned char)*c;
	return dice;
}

/* What follows from a failure: restart after a delay, or (false) none. Appends the reason. */
static bool judge(const struct job *job, struct doc *draft, unsigned r, struct doc_failure *f,
		  uint64_t *delay_ms, int64_t wall_ms)
{
	const struct job_region *region = &job->regions[r];
	size_t used = strlen(f->text);
	if (region->corrupt) {
		snprintf(f->text + used, sizeof(f->text) - used,
			 " (not restarted: an older checkpoint could repeat committed output)");
		return false;
	}
	if (f->external && job->spec->restart.kind != SPEC_RESTART_NONE) {
		*delay_ms = region->ran ? EXTERNAL_DELAY_MS : EXTERNAL_AGAIN_DELAY_MS;
		return true;
	}
	struct restart_verdict verdict;
	restart_decide(&job->spec->restart, &draft->restart, wall_ms, dice_of(job), &verdict);
	*delay_ms = verdict.delay_ms;
	if (!verdict.restart)
		snprintf(f->text + used, sizeof(f->text) - used, " (%s)", verdict.why);
	return verdict.restart;
}

/* For the placement that follows. A change of leader forgets it. */
void job_remember_owners(struct job_region *region, const struct doc_region *d)
{
	if (!d->n_slots)
		return; /* it failed before it was placed */
	job_forget_owners(region);
	region->former.n_tms = d->n_tms;
	region->former.n_slots = d->n_slots;
	region->former.tms = mem_copy(d->tms, d->n_tms * sizeof(d->tms[0]));
	region->former.owner = mem_copy(d->owner, d->n_slots * sizeof(d->owner[0]));
}

void job_forget_owners(struct job_region *region)
{
	free(region->former.tms);
	free(region->former.owner);
	region->former = (struct job_former){0};
}

static bool draft_failures(struct job *job, struct doc *draft, int64_t wall_ms)
{
	bool changed = false;
	for (unsigned r = 0; r < draft->n_regions; r++) {
		if (!job->regions[r].failed)
			continue;
		struct doc_failure f = job->regions[r].failure;
		uint64_t delay_ms = 0;
		if (!judge(job, draft, r, &f, &delay_ms, wall_ms)) {
			job->fatal = true;
			job->fatal_failure = f;
			return changed;
		}
		doc_add_failure(draft, &f);
		job_remember_owners(&job->regions[r], &draft->regions[r]);
		doc_next_attempt(draft, r);
		draft->restarts++;
		set_delay(&draft->regions[r], delay_ms, wall_ms);
		changed = true;
	}
	return changed;
}

/* A history that the store has lost, and that is given up: all attempts and ids go on above it. */
static bool draft_lost(struct job *job, struct doc *draft, int64_t wall_ms)
{
	bool changed = false;
	for (unsigned r = 0; r < draft->n_regions; r++) {
		if (draft->regions[r].attempt.v > job->lost_attempt || !job->lost_attempt)
			continue;
		struct doc_failure f = {.wall_ms = wall_ms,
					.region = r,
					.attempt = job->lost_attempt,
					.vertex = -1,
					.subtask = -1,
					.external = true};
		snprintf(f.text, sizeof(f.text),
			 "a restored store was accepted: attempt %" PRIu32
			 " and checkpoint %" PRIu64 " are given up",
			 job->lost_attempt, job->lost_checkpoint);
		doc_add_failure(draft, &f);
		draft->regions[r].attempt.v = job->lost_attempt;
		doc_next_attempt(draft, r);
		draft->restarts++;
		set_delay(&draft->regions[r], EXTERNAL_DELAY_MS, wall_ms);
		changed = true;
	}
	if (draft->next_checkpoint.v <= job->lost_checkpoint) {
		draft->next_checkpoint.v = job->lost_checkpoint + 1;
		changed = true;
	}
	return changed;
}

/* All regions begin again, and that counts once. */
static void fail_all(struct job *job, const struct doc_failure *failure)
{
	struct doc_failure f = *failure;
	for (unsigned r = 0; r < job->doc.n_regions; r++) {
		region_fail(job, r, &f, false);
		f.external = true;
	}
}

static void judge_checkpoints(struct job *job, int64_t wall_ms)
{
	if (job->ckpt.failures <= job->spec->checkpointing.tolerable_failures)
		return;
	struct doc_failure f = {.wall_ms = wall_ms,
				.attempt = job->doc.regions[0].attempt.v,
				.vertex = -1,
				.subtask = -1};
	snprintf(f.text, sizeof(f.text),
		 "%" PRIu32 " checkpoints in a row failed by the job's own doing, %" PRIu32
		 " are tolerated",
		 job->ckpt.failures, job->spec->checkpointing.tolerable_failures);
	fail_all(job, &f);
	job->ckpt.failures = 0;
}

/* ---- 3. intents ---- */

static bool draft_intent(struct job *job, struct doc *draft, int64_t wall_ms)
{
	if (draft->desired != DOC_RUN)
		return false;
	if (job->cancel_wanted) {
		draft->desired = DOC_CANCEL;
		doc_enter(draft, DOC_CANCELLING, wall_ms);
	} else if (job->fatal) {
		draft->desired = DOC_FAIL;
		doc_add_failure(draft, &job->fatal_failure);
		doc_enter(draft, DOC_FAILING, wall_ms);
	} else
		return false;
	ckpt_draft_stale(draft, true, "the job ends", wall_ms, &job->drops);
	return true;
}

/* ---- 4. placements ---- */

/* Slots of this job's other regions on each TaskManager: regions share slots. */
void job_count_own(const struct job *job, const struct tms *tms)
{
	for (size_t i = 0; i < tms->n; i++)
		tms->at[i]->of_job = 0;
	for (unsigned r = 0; r < job->doc.n_regions; r++) {
		const struct job_region *region = &job->regions[r];
		for (unsigned i = 0; i < region->n_parts; i++)
			if (region->parts[i].tm &&
			    region->parts[i].n_slots > region->parts[i].tm->of_job)
				region->parts[i].tm->of_job = region->parts[i].n_slots;
		for (unsigned i = 0; i < region->n_next; i++)
			if (region->next[i].tm &&
			    region->next[i].n_slots > region->next[i].tm->of_job)
				region->next[i].tm->of_job = region->next[i].n_slots;
	}
}

static void drop_next(struct job_region *region)
{
	free(region->next);
	region->next = NULL;
	region->n_next = 0;
}

/* Turn owners (indexes of the registry) into a placement of the draft and parts to be. */
static void take_placement(struct job *job, const struct job_env *env, struct doc *draft,
			   unsigned r, uint16_t *owner, uint32_t n_slots)
{
	struct job_region *region = &job->regions[r];
	uint16_t *index_of = mem_array(env->tms->n + 1, sizeof(*index_of)); /* 0: none yet */
	struct doc_tm *list = mem_array(n_slots, sizeof(*list));
	drop_next(region);
	region->next = mem_array(n_slots, sizeof(region->next[0]));
	for (uint32_t s = 0; s < n_slots; s++) {
		struct taskmanager *tm = env->tms->at[owner[s]];
		if (!index_of[owner[s]]) {
			snprintf(list[region->n_next].id, NODE_ID_MAX, "%s", tm->id);
			snprintf(list[region->n_next].instance, ID_TEXT, "%s", tm->instance);
			region->next[region->n_next].tm = tm;
			index_of[owner[s]] = (uint16_t)++region->n_next;
		}
		owner[s] = (uint16_t)(index_of[owner[s]] - 1);
		struct job_part *part = &region->next[owner[s]];
		if (++part->n_slots > part->tm->of_job) {
			part->tm->of_job++;
			part->tm->used++;
			if (*env->free_slots)
				(*env->free_slots)--;
		}
	}
	for (uint32_t i = 0; i < region->n_next; i++)
		whereabouts_add(env->whereabouts, list[i].id, &job->doc.job);
	doc_place(draft, r, list, region->n_next, owner, n_slots);
	free(index_of);
}

struct named {
	const char *id;
	uint16_t index;
};

static int by_id(const void *left, const void *right)
{
	const struct named *a = left, *b = right;
	return strcmp(a->id, b->id);
}

/* Who held each slot before, as indexes of the registry; NULL: nobody. The id counts, not the
 * instance: a restarted process finds what the one before left on its disk. */
static uint16_t *former_owners(const struct job_region *region, const struct tms *tms,
			       uint32_t n_slots)
{
	if (region->former.n_slots != n_slots)
		return NULL;
	struct named *all = mem_array(tms->n + 1, sizeof(*all));
	uint16_t *now = mem_array(region->former.n_tms + 1, sizeof(*now));
	uint16_t *former = mem_array(n_slots, sizeof(*former));
	for (size_t i = 0; i < tms->n; i++)
		all[i] = (struct named){tms->at[i]->id, (uint16_t)i};
	qsort(all, tms->n, sizeof(*all), by_id);
	for (uint32_t i = 0; i < region->former.n_tms; i++) {
		const struct named key = {.id = region->former.tms[i].id};
		const struct named *at = bsearch(&key, all, tms->n, sizeof(*all), by_id);
		now[i] = at ? at->index : (uint16_t)PLACE_NOBODY;
	}
	for (uint32_t s = 0; s < n_slots; s++)
		former[s] = now[region->former.owner[s]];
	free(all);
	free(now);
	return former;
}

void job_say_waiting(struct job *job, const struct job_env *env, uint32_t n_slots,
		     uint64_t free_slots)
{
	snprintf(job->trouble, sizeof(job->trouble),
		 "waits for slots: %" PRIu32 " needed, %" PRIu64 " free on %zu TaskManagers",
		 n_slots, free_slots, env->tms->n);
}

bool job_place_region(struct job *job, const struct job_env *env, struct doc *draft, unsigned r)
{
	uint32_t n_slots = graph_region_slots(job->graph, r), n_tms = (uint32_t)env->tms->n;
	struct place_offer *offers = mem_array(n_tms + 1, sizeof(*offers));
	for (uint32_t i = 0; i < n_tms; i++) {
		const struct taskmanager *tm = env->tms->at[i];
		uint32_t others = tm->used - tm->of_job;
		if (tms_unusable(tm, env->cluster_id)[0] == '\0' && tm->slots > others)
			offers[i] = (struct place_offer){.free = tm->slots - others,
							 .shared = tm->of_job};
	}
	uint16_t *owner = mem_array(n_slots, sizeof(*owner));
	uint64_t free_slots = 0;
	uint16_t *former = former_owners(&job->regions[r], env->tms, n_slots);
	bool placed = place(offers, n_tms, n_slots, former, owner, &free_slots);
	free(former);
	if (placed) {
		take_placement(job, env, draft, r, owner, n_slots);
		job->trouble[0] = '\0';
	} else {
		free(owner);
		job_say_waiting(job, env, n_slots, free_slots);
	}
	free(offers);
	return placed;
}

static void slot_timeout(struct job *job, unsigned r, const struct job_env *env)
{
	struct job_region *region = &job->regions[r];
	if (!region->waiting_since_ms)
		region->waiting_since_ms = env->now_ms;
	if (env->now_ms - region->waiting_since_ms < job->spec->slot_timeout_ms || job->fatal)
		return;
	job->fatal = true;
	job->fatal_failure = (struct doc_failure){.wall_ms = env->wall_ms,
						  .region = r,
						  .attempt = job->doc.regions[r].attempt.v,
						  .vertex = -1,
						  .subtask = -1};
	snprintf(job->fatal_failure.text, sizeof(job->fatal_failure.text),
		 "no slots within %" PRIu64 " ms: %.200s", job->spec->slot_timeout_ms,
		 job->trouble);
}

static bool draft_placements(struct job *job, const struct job_env *env, struct doc *draft)
{
	bool changed = false, counted = false;
	for (unsigned r = 0; r < draft->n_regions; r++) {
		struct job_region *region = &job->regions[r];
		const struct doc_region *d = &draft->regions[r];
		bool fresh = d->attempt.v == job->doc.regions[r].attempt.v;
		if (d->n_slots || !fresh || env->now_ms < region->not_before_ms || !env->may_place)
			continue;
		if (!job_may_be_placed(job, *env->free_slots)) {
			job_say_waiting(job, env, graph_region_slots(job->graph, r),
					*env->free_slots);
			slot_timeout(job, r, env);
			continue;
		}
		if (*env->placements == 0)
			continue; /* in the next step */
		(*env->placements)--;
		if (!counted)
			job_count_own(job, env->tms);
		counted = true;
		if (job_place_region(job, env, draft, r))
			changed = true;
		else
			slot_timeout(job, r, env);
	}
	return changed;
}

/* ---- 5. a new checkpoint ---- */

static bool final_is_done(const struct doc *d)
{
	const struct doc_pointer *newest = doc_newest(d);
	return newest && newest->kind == CONTROL_TRIGGER_FINAL;
}

static bool final_in_flight(const struct doc *d)
{
	for (unsigned i = 0; i < d->n_flights; i++)
		if (d->flights[i].kind == CONTROL_TRIGGER_FINAL)
			return true;
	return false;
}

static bool final_is_missing(const struct doc *d)
{
	return !final_is_done(d) && !final_in_flight(d) &&
	       d->n_flights < LIMIT_CHECKPOINTS_IN_FLIGHT;
}

static uint64_t final_not_before_ms(const struct job *job, const struct doc *d)
{
	bool again = d->n_given_up_kept &&
		     d->given_up[d->n_given_up_kept - 1].kind == CONTROL_TRIGGER_FINAL;
	return again ? job->ckpt.last_end_ms + FINAL_AGAIN_MS : 0;
}

uint64_t job_final_wake_ms(const struct job *job)
{
	if (job->doc.desired != DOC_RUN || !job_all_running(job) || !job_all_at_end(job) ||
	    !final_is_missing(&job->doc))
		return 0;
	return final_not_before_ms(job, &job->doc);
}

static bool draft_checkpoint(struct job *job, const struct job_env *env, struct doc *draft)
{
	if (draft->desired != DOC_RUN || !job_all_running(job))
		return false;
	for (unsigned r = 0; r < draft->n_regions; r++)
		if (job->regions[r].failed)
			return false;
	if (job_all_at_end(job)) {
		if (!final_is_missing(draft) || env->now_ms < final_not_before_ms(job, draft))
			return false;
		doc_add_flight(draft, CONTROL_TRIGGER_FINAL, env->wall_ms);
		return true;
	}
	if (!ckpt_due(&job->ckpt, draft, &job->spec->checkpointing, env->now_ms))
		return false;
	doc_add_flight(draft, CONTROL_TRIGGER_CHECKPOINT, env->wall_ms);
	return true;
}

/* ---- 6. the status, the end ---- */

static bool draft_status(const struct job *job, struct doc *draft, int64_t wall_ms)
{
	if (draft->desired != DOC_RUN)
		return false;
	bool first = true, same = true;
	for (unsigned r = 0; r < draft->n_regions; r++) {
		first &= draft->regions[r].attempt.v == 1;
		same &= draft->regions[r].attempt.v == job->doc.regions[r].attempt.v;
	}
	enum doc_status want = DOC_RESTARTING;
	if (same && job_all_running(job))
		want = DOC_RUNNING;
	else if (first)
		want = DOC_CREATED;
	if (draft->status == want)
		return false;
	doc_enter(draft, want, wall_ms);
	return true;
}

static bool may_end(const struct job *job, const struct doc *draft, const struct job_env *env)
{
	if (job->doc.desired == DOC_RUN) /* finishing */
		return job_all_running(job) && job_all_at_end(job) && final_is_done(&job->doc) &&
		       job_confirmed(job, draft);
	return job_confirmed(job, draft) || !job_may_be_confirmed(job) ||
	       env->now_ms >= job->ending_since_ms + env->commit_timeout_ms;
}

static enum doc_status end_status(const struct job *job)
{
	switch (job->doc.desired) {
	case DOC_CANCEL:
		return DOC_CANCELED;
	case DOC_FAIL:
		return DOC_FAILED;
	case DOC_RUN:
	case DOC_DESIRED_COUNT:
		break;
	}
	return DOC_FINISHED;
}

/* The specification goes into the tombstone, so that the job can be shown later. */
static void keep_spec(const struct job *job, struct doc *draft)
{
	if (!job->spec)
		return;
	char *text = json_text(job->spec->source);
	if (strlen(text) <= DOC_SPEC_IN_TOMBSTONE) {
		json_decref(draft->spec);
		draft->spec = json_incref(job->spec->source);
	}
	free(text);
}

/* What went through it, likewise. */
static void keep_flow(const struct job *job, struct doc *draft)
{
	json_decref(draft->flow);
	draft->flow = job->graph ? flow_list(&job->flow, job->graph->n_vertices) : NULL;
}

/* A failed job keeps its checkpoints for the user; so does one whose output is in doubt. */
void draft_discard(struct job *job, struct doc *draft)
{
	draft->discarded = draft->status != DOC_FAILED && job_confirmed(job, draft);
	if (!draft->discarded)
		return;
	job->drops.n = 1;
	job->drops.at[0] = (struct ckpt_drop){.all = true, .delay = true};
}

static void draft_end(struct job *job, struct doc *draft, int64_t wall_ms)
{
	ckpt_draft_stale(draft, true, "the job ended", wall_ms, &job->drops);
	doc_enter(draft, end_status(job), wall_ms);
	keep_spec(job, draft);
	keep_flow(job, draft);
	draft_discard(job, draft);
}

/* ---- asking for it ---- */

static char *resolve_value(const struct doc *d)
{
	const struct doc_pointer *p = doc_newest(d);
	json_t *o = json_pack("{s:i, s:s, s:I, s:s, s:s, s:I}", "format", 1, "job", d->job.hex,
			      "checkpoint", (json_int_t)p->id.v, "manifest", p->manifest,
			      "checksum", p->checksum, "committed", (json_int_t)d->committed.v);
	char *text = json_text(o);
	json_decref(o);
	return text;
}

void add_cleanup(struct job *job, struct jm_effect *decide)
{
	for (unsigned i = 0; i < job->drops.n; i++) {
		char key[JM_KEY_MAX], prefix[DOC_PATH_MAX];
		cleanup_key(job, job->doc.next_cleanup + i, key);
		ckpt_drop_prefix(&job->doc.job, &job->drops.at[i], prefix);
		effects_op(decide, key, cleanup_value(prefix));
	}
	job->draft.next_cleanup += job->drops.n;
}

static void add_end(struct job *job, struct jm_effect *decide)
{
	char key[JM_KEY_MAX];
	job_key(job, RUN_KEY, key);
	effects_op(decide, key, NULL);
	job_key(job, SPEC_KEY, key);
	effects_op(decide, key, NULL);
	if (!job_confirmed(job, &job->draft)) {
		job_key(job, RESOLVE_KEY, key);
		effects_op(decide, key, resolve_value(&job->draft));
	}
	job_key(job, DONE_KEY, key);
	effects_op(decide, key, doc_encode(&job->draft));
}

static void add_creation(struct job *job, struct jm_effect *decide)
{
	char key[JM_KEY_MAX];
	job_key(job, DONE_KEY, decide->absent[0]);
	decide->n_absent = 1;
	job_key(job, SPEC_KEY, key);
	effects_op(decide, key, json_text(job->spec->source));
}

/* What must never happen, one switch each: a test that does not know of it has to fail. */
static void planted_bugs(struct job *job, const struct job_env *env)
{
	(void)job, (void)env;
#ifdef WEIR_MUTANT_CANCEL_BEFORE_RECORD
	for (unsigned r = 0; r < job->doc.n_regions; r++)
		for (unsigned i = 0; i < job->regions[r].n_parts; i++)
			if (job->draft.regions[r].attempt.v != job->doc.regions[r].attempt.v &&
			    job->regions[r].parts[i].tm)
				job_send_cancel(job, env, job->regions[r].parts[i].tm, r,
						job->doc.regions[r].attempt);
#endif
#ifdef WEIR_MUTANT_PREPARE_BEFORE_RECORD
	for (unsigned r = 0; r < job->doc.n_regions; r++)
		for (unsigned i = 0; i < job->regions[r].n_next; i++) {
			job_send_prepare(job, &job->draft, env, r, i, job->regions[r].next[i].tm);
			job->regions[r].next[i].told_prepare = true;
		}
#endif
#ifdef WEIR_MUTANT_DELETE_BEFORE_RECORD
	for (unsigned i = 0; i < job->drops.n; i++) {
		char prefix[DOC_PATH_MAX];
		ckpt_drop_prefix(&job->doc.job, &job->drops.at[i], prefix);
		struct jm_effect *remove = effects_add(env->fx, JM_BLOB_REMOVE);
		remove->token = (*env->next_token)++;
		remove->job = job->doc.job;
		snprintf(remove->key, sizeof(remove->key), "%.*s", JM_KEY_MAX - 1, prefix);
	}
#endif
}

static void ask(struct job *job, const struct job_env *env)
{
	job->deciding = (*env->next_token)++;
	snprintf(job->draft.tag, sizeof(job->draft.tag), "%.32s/%" PRIu64, env->instance,
		 job->deciding);
	struct jm_effect *decide = effects_add(env->fx, JM_DECIDE);
	decide->token = job->deciding;
	decide->job = job->doc.job;
	decide->revision = job->revision;
	decide->moments = moments_of(&job->doc, &job->draft, sm_state(&job->sm) == JOB_CREATING);
	job_key(job, RUN_KEY, decide->key);
	add_cleanup(job, decide);
	if (sm_state(&job->sm) == JOB_CREATING)
		add_creation(job, decide);
	else
		assert(doc_holds(&job->draft) && doc_follows(&job->doc, &job->draft));
	if (doc_terminal(job->draft.status))
		add_end(job, decide);
	else
		effects_op(decide, decide->key, doc_encode(&job->draft));
	planted_bugs(job, env);
}

static bool draft_all(struct job *job, const struct job_env *env, struct doc *draft)
{
	struct ckpt_id committed = job_committed(job);
	if (committed.v > draft->committed.v)
		draft->committed = committed;
	if (!job->spec || job->grace_until_ms)
		return false;
	bool changed = ckpt_draft_ends(&job->ckpt, draft, job->spec->checkpointing.retained,
				       env->epoch.v, env->wall_ms, &job->drops);
	if (draft->desired == DOC_RUN && !job->cancel_wanted) {
		judge_checkpoints(job, env->wall_ms);
		changed |= draft_lost(job, draft, env->wall_ms);
		changed |= draft_failures(job, draft, env->wall_ms);
		changed |= ckpt_draft_stale(draft, false, "a region was restarted", env->wall_ms,
					    &job->drops);
		if (!job->fatal)
			changed |= draft_placements(job, env, draft);
	}
	changed |= draft_intent(job, draft, env->wall_ms);
	changed |= job_draft_committing(job, env, draft);
	if (!changed && may_end(job, draft, env)) {
		draft_end(job, draft, env->wall_ms);
		return true;
	}
	changed |= draft_checkpoint(job, env, draft);
	changed |= draft_status(job, draft, env->wall_ms);
	return changed;
}

/* Surely draft_all() would find nothing to do: then the document, which may be large, need not be
 * copied. Most reports end here. */
static bool nothing_is_due(const struct job *job, const struct job_env *env)
{
	const struct doc *d = &job->doc;
	if (sm_state(&job->sm) == JOB_CREATING)
		return false;
	if (!job->spec || job->grace_until_ms)
		return true;
	if (d->desired != DOC_RUN || job->cancel_wanted || job->fatal || job->lost_attempt ||
	    job->lost_checkpoint ||
	    job->ckpt.failures > job->spec->checkpointing.tolerable_failures)
		return false;
	bool first = true;
	for (unsigned r = 0; r < d->n_regions; r++) {
		if (job->regions[r].failed || d->regions[r].n_slots == 0)
			return false;
		first &= d->regions[r].attempt.v == 1;
	}
	for (unsigned i = 0; i < job->ckpt.n; i++)
		if (sm_state(&job->ckpt.flights[i]->sm) >= CKPT_SEALED)
			return false;
	bool running = job_all_running(job);
	if (running && job_all_at_end(job))
		return false;
	if (running && ckpt_due(&job->ckpt, d, &job->spec->checkpointing, env->now_ms))
		return false;
	return d->status == (running ? DOC_RUNNING : first ? DOC_CREATED : DOC_RESTARTING);
}

void job_decide(struct job *job, const struct job_env *env)
{
	if (job->deciding || job->existed || env->now_ms < job->retry_ms || job_terminal(job))
		return;
	job->retry_ms = 0;
	if (nothing_is_due(job, env))
		return;
	for (unsigned r = 0; r < job->doc.n_regions; r++)
		drop_next(&job->regions[r]);
	job->drops.n = 0;
	doc_copy(&job->draft, &job->doc);
	if (sm_state(&job->sm) == JOB_CREATING || draft_all(job, env, &job->draft))
		ask(job, env);
	else
		doc_fini(&job->draft);
}
