/*
 * Commands: whatever the recorded document calls for and was not yet sent
 * within the TaskManager's present registration. Nothing here looks at a draft.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "jobmanager/job_inside.h"

static struct control_command_msg message(const struct job *job, enum control_command kind,
					  unsigned region, struct attempt attempt)
{
	return (struct control_command_msg){
		.kind = kind, .job = job->doc.job, .region = region, .attempt = attempt};
}

static struct ckpt_id newest_id(const struct doc *d)
{
	const struct doc_pointer *newest = doc_newest(d);
	return newest ? newest->id : (struct ckpt_id){0};
}

/* [[vertex, subtask], ...] of one TaskManager's share of a region. */
static json_t *subtasks_json(const struct job *job, const struct doc *doc, unsigned region,
			     unsigned part)
{
	const struct doc_region *r = &doc->regions[region];
	json_t *list = json_array();
	for (unsigned v = 0; v < job->graph->n_vertices; v++) {
		const struct graph_vertex *vertex = &job->graph->vertices[v];
		if (vertex->region != region)
			continue;
		for (uint32_t s = 0; s < vertex->parallelism && s < r->n_slots; s++)
			if (r->owner[s] == part)
				json_array_append_new(list, json_pack("[i,i]", (int)v, (int)s));
	}
	return list;
}

void job_send_prepare(const struct job *job, const struct doc *doc, const struct job_env *env,
		      unsigned region, unsigned part, struct taskmanager *tm)
{
	struct control_command_msg m =
		message(job, CONTROL_PREPARE, region, doc->regions[region].attempt);
	m.spec = json_incref(job->spec->source);
	m.subtasks = subtasks_json(job, doc, region, part);
	tms_send(tm, &m, env->epoch, env->fx);
}

static json_t *peers_json(const struct job *job, unsigned region)
{
	const struct doc_region *r = &job->doc.regions[region];
	json_t *peers = json_array();
	for (unsigned i = 0; i < r->n_tms; i++) {
		json_t *peer = json_object();
		json_object_set_new(peer, "tm", json_string(r->tms[i].id));
		json_object_set_new(peer, "instance", json_string(r->tms[i].instance));
		json_object_set_new(peer, "address",
				    json_string(job->regions[region].parts[i].address));
		json_object_set_new(peer, "subtasks", subtasks_json(job, &job->doc, region, i));
		json_array_append_new(peers, peer);
	}
	return peers;
}

static void send_run(const struct job *job, const struct job_env *env, unsigned region,
		     struct taskmanager *tm, json_t *peers)
{
	const struct doc_region *r = &job->doc.regions[region];
	struct control_command_msg m = message(job, CONTROL_RUN, region, r->attempt);
	m.checkpoint = newest_id(&job->doc);
	m.commit_only = job->doc.desired != DOC_RUN;
	m.peers = json_incref(peers);
	m.restore = r->restore.id.v
			    ? json_pack("{s:I, s:s, s:s}", "checkpoint",
					(json_int_t)r->restore.id.v, "manifest",
					r->restore.manifest, "checksum", r->restore.checksum)
			    : json_null();
	tms_send(tm, &m, env->epoch, env->fx);
}

static bool all_at_least(const struct job_region *region, enum part_state state)
{
	for (unsigned i = 0; i < region->n_parts; i++)
		if (region->parts[i].state < state)
			return false;
	return region->n_parts > 0;
}

static void deploy(struct job *job, const struct job_env *env, unsigned r)
{
	struct job_region *region = &job->regions[r];
	for (unsigned i = 0; i < region->n_parts; i++) {
		struct job_part *part = &region->parts[i];
		if (!part_online(part) || part->told_prepare || part->state > PART_PREPARING)
			continue;
		part->told_prepare = true;
		job_send_prepare(job, &job->doc, env, r, i, part->tm);
	}
	if (!all_at_least(region, PART_PREPARED))
		return;
	json_t *peers = NULL;
	for (unsigned i = 0; i < region->n_parts; i++) {
		struct job_part *part = &region->parts[i];
		if (!part_online(part) || part->told_run || part->state != PART_PREPARED)
			continue;
		part->told_run = true;
		if (!peers)
			peers = peers_json(job, r);
		send_run(job, env, r, part->tm, peers);
	}
	json_decref(peers);
}

static void announce(struct job *job, const struct job_env *env, unsigned r)
{
	struct job_region *region = &job->regions[r];
	struct ckpt_id newest = newest_id(&job->doc);
	for (unsigned i = 0; i < region->n_parts; i++) {
		struct job_part *part = &region->parts[i];
		if (!part_online(part) || part->state != PART_RUNNING ||
		    part->told_complete.v >= newest.v)
			continue;
		part->told_complete = newest;
		struct control_command_msg m =
			message(job, CONTROL_COMPLETE, r, job->doc.regions[r].attempt);
		m.checkpoint = newest;
		tms_send(part->tm, &m, env->epoch, env->fx);
	}
}

static void trigger(struct job *job, const struct job_env *env, struct ckpt_flight *f)
{
	for (unsigned r = 0; r < job->doc.n_regions; r++)
		for (unsigned i = 0; i < job->regions[r].n_parts; i++) {
			struct job_part *part = &job->regions[r].parts[i];
			struct ckpt_ack *ack = &f->acks[job_flat(job, r, i)];
			if (!part_online(part) || part->state != PART_RUNNING || ack->told ||
			    ack->got)
				continue;
			ack->told = true;
			struct control_command_msg m =
				message(job, CONTROL_TRIGGER, r, job->doc.regions[r].attempt);
			m.checkpoint = f->id;
			m.trigger = f->kind;
			tms_send(part->tm, &m, env->epoch, env->fx);
		}
}

static void send_abort(const struct job *job, const struct job_env *env, unsigned r,
		       struct taskmanager *tm, struct ckpt_id id)
{
	struct control_command_msg m = message(job, CONTROL_ABORT, r, job->doc.regions[r].attempt);
	m.checkpoint = id;
	tms_send(tm, &m, env->epoch, env->fx);
}

/* How many of the newest given up a worker may not have been told: those since it was told last, in
 * its own attempt, and no more than were in flight at once (the last of the job among them). */
static uint64_t untold(const struct job *job, const struct job_region *region,
		       const struct job_part *part)
{
	uint64_t told = part->told_aborts > region->given_up_before ? part->told_aborts
								    : region->given_up_before;
	uint64_t n = job->doc.n_given_up - told;
	uint64_t most = job->spec->checkpointing.max_concurrent + 1;
	most = most < job->doc.n_given_up_kept ? most : job->doc.n_given_up_kept;
	return n < most ? n : most;
}

/* The tasks of a worker may hold channels for the barrier of what was given up: it is told so with
 * every registration, whoever recorded it. An abort is idempotent. */
static void tell_given_up(struct job *job, const struct job_env *env, unsigned r)
{
	const struct doc *d = &job->doc;
	struct job_region *region = &job->regions[r];
	for (unsigned i = 0; i < region->n_parts; i++) {
		struct job_part *part = &region->parts[i];
		if (!part_online(part) || part->state != PART_RUNNING ||
		    part->told_aborts == d->n_given_up)
			continue;
		uint64_t n = untold(job, region, part);
		part->told_aborts = d->n_given_up;
		for (uint64_t k = d->n_given_up_kept - n; k < d->n_given_up_kept; k++)
			if (d->given_up[k].id.v > part->told_complete.v)
				send_abort(job, env, r, part->tm, d->given_up[k].id);
	}
}

/* The job is to end before every sink has confirmed: who still holds that output may yet commit it.
 * That is a worker of the recorded attempt, or of the last that did more than commit. Not one of
 * an attempt before, whose ids mean other output. */
static void complete_first(const struct job *job, const struct job_env *env, struct taskmanager *tm,
			   uint32_t region, struct attempt attempt)
{
	struct ckpt_id newest = newest_id(&job->doc);
	if (job->doc.desired == DOC_RUN || job_confirmed(job, &job->doc) ||
	    region >= job->doc.n_regions)
		return;
	const struct doc_region *r = &job->doc.regions[region];
	if (attempt.v != r->ran.v && !(job_terminal(job) && attempt.v == r->attempt.v))
		return;
	struct control_command_msg m = message(job, CONTROL_COMPLETE, region, attempt);
	m.checkpoint = newest;
	tms_send(tm, &m, env->epoch, env->fx);
}

/* A terminal job ends its workers; another ends those of attempts that are over. */
static void send_end(const struct job *job, const struct job_env *env, struct taskmanager *tm,
		     uint32_t region, struct attempt attempt)
{
	complete_first(job, env, tm, region, attempt);
	bool finished = job->doc.status == DOC_FINISHED;
	struct control_command_msg m =
		message(job, finished ? CONTROL_FINISH : CONTROL_CANCEL, region, attempt);
	m.checkpoint = newest_id(&job->doc);
	m.terminal = job_terminal(job);
	snprintf(m.text, sizeof(m.text), "%s",
		 finished            ? ""
		 : job_terminal(job) ? doc_status_name(job->doc.status)
				     : "a later attempt is recorded");
	tms_send(tm, &m, env->epoch, env->fx);
}

void job_send_cancel(const struct job *job, const struct job_env *env, struct taskmanager *tm,
		     uint32_t region, struct attempt attempt)
{
	send_end(job, env, tm, region, attempt);
}

static void end_leftovers(struct job *job, const struct job_env *env)
{
	for (unsigned i = 0; i < job->n_leftovers; i++) {
		const struct job_leftover *left = &job->leftovers[i];
		send_end(job, env, left->tm, left->region, left->attempt);
	}
	job->n_leftovers = 0;
}

static void end_parts(struct job *job, const struct job_env *env)
{
	for (unsigned r = 0; r < job->doc.n_regions; r++)
		for (unsigned i = 0; i < job->regions[r].n_parts; i++) {
			struct job_part *part = &job->regions[r].parts[i];
			if (!part_online(part) || part->told_end || part->state == PART_ENDED)
				continue;
			part->told_end = true;
			send_end(job, env, part->tm, r, job->doc.regions[r].attempt);
		}
}

void job_command(struct job *job, const struct job_env *env)
{
	end_leftovers(job, env);
	if (job_terminal(job)) {
		end_parts(job, env);
		return;
	}
	if (job->grace_until_ms || !job->graph)
		return;
	for (unsigned r = 0; r < job->doc.n_regions; r++) {
		bool wanted = job->doc.desired == DOC_RUN || job_region_owes(job, r);
		if (wanted && !job->regions[r].failed)
			deploy(job, env, r);
		tell_given_up(job, env, r);
		announce(job, env, r);
	}
	if (job->doc.desired != DOC_RUN)
		return;
	for (unsigned i = 0; i < job->ckpt.n; i++)
		if (sm_state(&job->ckpt.flights[i]->sm) == CKPT_TRIGGERED)
			trigger(job, env, job->ckpt.flights[i]);
}
