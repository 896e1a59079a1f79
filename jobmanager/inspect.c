#include "jobmanager/inspect.h"

#include <string.h>

#include "jobmanager/jm_inside.h"

void jm_view_cluster(const struct jm *jm, struct jm_cluster_view *out)
{
	*out = (struct jm_cluster_view){.role = jm->role,
					.epoch = jm->epoch,
					.n_tms = jm->tms.n,
					.done_loaded = jm->done_loaded};
	for (size_t i = 0; i < jm->tms.n; i++) {
		const struct taskmanager *tm = jm->tms.at[i];
		out->slots_total += tm->slots;
		out->slots_free += tm->slots > tm->used ? tm->slots - tm->used : 0;
	}
	for (size_t i = 0; i < jm->n_jobs; i++) {
		enum doc_status status = jm->jobs[i]->doc.status;
		out->jobs_finished += status == DOC_FINISHED;
		out->jobs_canceled += status == DOC_CANCELED;
		out->jobs_failed += status == DOC_FAILED;
		out->jobs_running += !doc_terminal(status);
	}
}

static void view_job(const struct job *job, struct jm_job_view *out)
{
	*out = (struct jm_job_view){
		.doc = &job->doc,
		.spec = job->spec,
		.graph = job->graph,
		.state = sm_name(&job->sm),
		.status = job_status_name(job),
		.trouble = job->trouble[0] ? job->trouble : job->ckpt.trouble,
		.terminal = job_terminal(job),
		.accepted = sm_state(&job->sm) != JOB_CREATING,
		.deciding = job->deciding != 0,
	};
}

size_t jm_view_jobs(const struct jm *jm)
{
	return jm->n_jobs;
}

void jm_view_job_at(const struct jm *jm, size_t index, struct jm_job_view *out)
{
	view_job(jm->jobs[index], out);
}

bool jm_view_job(const struct jm *jm, const struct job_id *id, struct jm_job_view *out)
{
	const struct job *job = jm_find(jm, id);
	if (job)
		view_job(job, out);
	return job != NULL;
}

void jm_view_stopped(const struct jm *jm, struct jm_stopped_view *out)
{
	*out = (struct jm_stopped_view){
		.why = jm->stopped, .ahead = jm->ahead, .accepted = jm->quarantine.accepted};
}

const struct counts *jm_view_counts(const struct jm *jm)
{
	return &jm->counts;
}

/* ---- jobs that are not opened ---- */

size_t jm_view_helds(const struct jm *jm)
{
	return jm->quarantine.n_docs;
}

void jm_view_held_at(const struct jm *jm, size_t index, struct jm_held_view *out)
{
	const struct quarantine_doc *d = &jm->quarantine.docs[index];
	int64_t since = quarantine_held_since(&jm->quarantine, &d->job);
	*out = (struct jm_held_view){.job = d->job,
				     .held = d->held && !d->asked,
				     .marks = quarantine_count(&jm->quarantine, &d->job),
				     .since_wall_ms = since};
	if (out->held)
		out->again_wall_ms = since + QUARANTINE_AGAIN_MS;
}

bool jm_view_held(const struct jm *jm, const struct job_id *job, struct jm_held_view *out)
{
	const struct quarantine_doc *d = quarantine_find(&jm->quarantine, job);
	if (d)
		jm_view_held_at(jm, (size_t)(d - jm->quarantine.docs), out);
	return d != NULL;
}

/* ---- tasks ---- */

const char *jm_task_state_name(enum jm_task_state state)
{
	static const char *const names[] = {
		[JM_TASK_CREATED] = "CREATED",     [JM_TASK_SCHEDULED] = "SCHEDULED",
		[JM_TASK_DEPLOYING] = "DEPLOYING", [JM_TASK_INITIALIZING] = "INITIALIZING",
		[JM_TASK_RUNNING] = "RUNNING",     [JM_TASK_FINISHED] = "FINISHED",
		[JM_TASK_CANCELING] = "CANCELING", [JM_TASK_CANCELED] = "CANCELED",
		[JM_TASK_FAILED] = "FAILED",       [JM_TASK_RECONCILING] = "RECONCILING",
	};
	return state < JM_TASK_STATE_COUNT ? names[state] : "?";
}

static enum jm_task_state ended_task(enum doc_status status)
{
	if (status == DOC_FINISHED)
		return JM_TASK_FINISHED;
	return status == DOC_FAILED ? JM_TASK_FAILED : JM_TASK_CANCELED;
}

static enum jm_task_state placed_task(const struct job *job, const struct job_part *part)
{
	if (job->grace_until_ms && !part->tm)
		return JM_TASK_RECONCILING;
	if (job->doc.desired != DOC_RUN)
		return JM_TASK_CANCELING;
	switch (part->state) {
	case PART_ABSENT:
	case PART_PREPARING:
		return JM_TASK_DEPLOYING;
	case PART_PREPARED:
		return JM_TASK_INITIALIZING;
	case PART_RUNNING:
		return JM_TASK_RUNNING;
	case PART_FAILED:
	case PART_ENDED:
	case PART_STATE_COUNT:
		break;
	}
	return JM_TASK_FAILED;
}

bool jm_view_task(const struct jm *jm, const struct job_id *id, unsigned vertex, uint32_t subtask,
		  struct jm_task_view *out)
{
	const struct job *job = jm_find(jm, id);
	if (!job || !job->graph || vertex >= job->graph->n_vertices ||
	    subtask >= job->graph->vertices[vertex].parallelism)
		return false;
	unsigned r = job->graph->vertices[vertex].region;
	const struct doc_region *d = &job->doc.regions[r];
	*out = (struct jm_task_view){.attempt = d->attempt, .tm_id = "", .endpoint = ""};
	out->state = job_terminal(job)                    ? ended_task(job->doc.status)
		     : sm_state(&job->sm) == JOB_CREATING ? JM_TASK_CREATED
		     : job->doc.desired != DOC_RUN        ? JM_TASK_CANCELING
							  : JM_TASK_SCHEDULED;
	if (subtask >= d->n_slots)
		return true;
	unsigned i = d->owner[subtask];
	out->tm_id = d->tms[i].id;
	if (job_terminal(job) || i >= job->regions[r].n_parts)
		return true;
	const struct job_part *part = &job->regions[r].parts[i];
	out->state = placed_task(job, part);
	out->endpoint = part->tm ? part->tm->rest_host : "";
	out->at_end = part->at_end;
	return true;
}

bool jm_view_flow(const struct jm *jm, const struct job_id *id, unsigned vertex,
		  struct flow_vertex *out)
{
	const struct job *job = jm_find(jm, id);
	if (!job || !job_terminal(job))
		return job && flow_of(&job->flow, vertex, jm->now_ms, out);
	unsigned v = 0;
	*out = (struct flow_vertex){0};
	struct traffic total;
	for (size_t i = 0; traffic_get(job->doc.flow, i, &v, &total); i++)
		if (v == vertex) {
			out->total = total;
			return true;
		}
	return false;
}

/* ---- checkpoints in flight ---- */

size_t jm_view_flights(const struct jm *jm, const struct job_id *id, struct jm_flight_view *out,
		       size_t max)
{
	const struct job *job = jm_find(jm, id);
	size_t n = 0;
	for (unsigned i = 0; job && i < job->ckpt.n && n < max; i++) {
		const struct ckpt_flight *f = job->ckpt.flights[i];
		out[n++] = (struct jm_flight_view){
			.id = f->id,
			.kind = f->kind,
			.triggered_wall_ms = f->triggered_wall_ms,
			.latest_ack_wall_ms = f->latest_ack_wall_ms,
			.parts = f->n_parts,
			.acked = f->n_got,
			.bytes = f->bytes,
			.state = sm_name(&f->sm),
		};
	}
	return n;
}

/* ---- TaskManagers ---- */

size_t jm_view_tms(const struct jm *jm)
{
	return jm->tms.n;
}

void jm_view_tm_at(const struct jm *jm, size_t index, struct jm_tm_view *out)
{
	const struct taskmanager *tm = jm->tms.at[index];
	*out = (struct jm_tm_view){
		.tm = tm,
		.unusable = tms_unusable(tm, jm->cluster_id),
		.free = tm->slots > tm->used ? tm->slots - tm->used : 0,
		.silent_ms = jm->now_ms - tm->heard_ms,
	};
}
