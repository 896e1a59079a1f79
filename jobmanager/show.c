#include "jobmanager/show.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "rest/views.h"

enum { FLIGHTS_MAX = 32, HELD_WHY_MAX = 256, REASONS_MAX = 16 };

/* A job with the arrays that its view borrows. */
struct shown {
	struct view_job job;
	struct view_stamp stamps[DOC_STATUS_COUNT];
	struct view_vertex *vertices; /* owns */
	char waits[320];
};

/* "" or why decisions wait: the leader may not take any now. */
static const char *why_waiting(const struct jm_node *n, char *out, size_t size)
{
	struct ha_status s;
	ha_status(n->ha, &s);
	out[0] = '\0';
	struct jm_stopped_view stopped;
	jm_view_stopped(n->jm, &stopped);
	if (stopped.why[0])
		snprintf(out, size, "%.200s; nothing is changed until `weir recover`", stopped.why);
	else if (s.regressed)
		snprintf(out, size,
			 "etcd went back in time: nothing is changed until `weir recover`");
	else if (n->role == HA_SUSPENDED)
		snprintf(out, size, "leadership is suspended, tasks go on: %.200s",
			 s.trouble[0] ? s.trouble : "etcd did not renew the lease in time");
	else if (s.nospace)
		snprintf(out, size, "etcd is full (NOSPACE): it takes no new values");
	return out;
}

static unsigned end_state(const struct doc *d)
{
	return d->status == DOC_FINISHED   ? JM_TASK_FINISHED
	       : d->status == DOC_CANCELED ? JM_TASK_CANCELED
					   : JM_TASK_FAILED;
}

static void count_tasks(const struct jm_node *n, const struct jm_job_view *v, struct shown *s)
{
	for (unsigned i = 0; i < v->graph->n_vertices; i++) {
		struct view_vertex *vertex = &s->vertices[i];
		for (uint32_t k = 0; k < v->graph->vertices[i].parallelism; k++) {
			struct jm_task_view task = {.state = JM_TASK_CREATED};
			if (!jm_view_task(n->jm, &v->doc->job, i, k, &task) || v->terminal)
				task.state = v->terminal ? end_state(v->doc) : JM_TASK_CREATED;
			vertex->tasks[task.state]++;
			s->job.tasks[task.state]++;
		}
		struct flow_vertex flow;
		vertex->counted = jm_view_flow(n->jm, &v->doc->job, i, &flow);
		vertex->traffic = flow.total;
		vertex->rate = flow.rate;
		vertex->start_ms = v->doc->stamps[DOC_RUNNING] ? v->doc->stamps[DOC_RUNNING] : -1;
		vertex->end_ms = v->terminal ? v->doc->stamps[v->doc->status] : -1;
	}
}

static void fill(const struct jm_node *n, const struct jm_job_view *v, struct shown *s)
{
	const struct doc *d = v->doc;
	*s = (struct shown){0};
	struct view_job *j = &s->job;
	j->id = d->job.hex;
	j->name = d->name;
	j->state = v->status;
	j->start_ms = d->stamps[DOC_CREATED];
	j->end_ms = v->terminal ? d->stamps[d->status] : -1;
	j->now_ms = world_wall_ms(n->w);
	j->detail = v->state;
	j->trouble = v->trouble;
	j->degraded = v->trouble[0] != '\0' && !v->terminal;
	j->waits = v->terminal ? "" : why_waiting(n, s->waits, sizeof(s->waits));
	j->restarts = d->restarts;
	j->n_stamps = DOC_STATUS_COUNT;
	j->stamps = s->stamps;
	for (unsigned i = 0; i < DOC_STATUS_COUNT; i++) {
		s->stamps[i].status = doc_status_name((enum doc_status)i);
		s->stamps[i].ms = d->stamps[i];
		if (d->stamps[i] > j->modified_ms)
			j->modified_ms = d->stamps[i];
	}
	for (unsigned i = 0; i < d->n_regions; i++)
		if (d->regions[i].attempt.v > j->attempt)
			j->attempt = d->regions[i].attempt.v;
	j->graph = v->graph;
	if (v->graph == NULL)
		return;
	s->vertices = mem_array(v->graph->n_vertices, sizeof(*s->vertices));
	j->vertices = s->vertices;
	count_tasks(n, v, s);
}

static json_t *with_job(const struct jm_node *n, const struct jm_job_view *v,
			json_t *(*view)(const struct view_job *))
{
	struct shown s;
	fill(n, v, &s);
	json_t *out = view(&s.job);
	free(s.vertices);
	return out;
}

json_t *show_job(const struct jm_node *n, const struct jm_job_view *job)
{
	return with_job(n, job, view_job);
}

json_t *show_plan(const struct jm_node *n, const struct jm_job_view *job)
{
	return with_job(n, job, view_plan);
}

json_t *show_job_config(const struct jm_node *n, const struct jm_job_view *job)
{
	return with_job(n, job, view_job_config);
}

static void fill_held(const struct jm_node *n, const struct jm_held_view *v, struct shown *s,
		      char *why, size_t size)
{
	*s = (struct shown){0};
	if (v->held)
		snprintf(why, size,
			 "quarantined: %" PRIu32 " leaders died as they opened it; its tasks are "
			 "left alone; tried again at %" PRId64 " (ms since 1970), or by POST "
			 "/v1/jobs/%s/release",
			 v->marks, v->again_wall_ms, v->job.hex);
	else if (why_waiting(n, why, size)[0] == '\0')
		snprintf(why, size, "its turn to be opened has not come");
	s->job = (struct view_job){.id = v->job.hex,
				   .name = "",
				   .state = "SUSPENDED",
				   .start_ms = -1,
				   .end_ms = -1,
				   .now_ms = world_wall_ms(n->w),
				   .modified_ms = v->since_wall_ms,
				   .detail = v->held ? "QUARANTINED" : "OPENING",
				   .trouble = why};
}

json_t *show_held(const struct jm_node *n, const struct jm_held_view *held)
{
	struct shown s;
	char why[HELD_WHY_MAX];
	fill_held(n, held, &s, why, sizeof(why));
	return view_job(&s.job);
}

static json_t *with_jobs(const struct jm_node *n, json_t *(*view)(const struct view_job *, size_t))
{
	size_t total = jm_view_jobs(n->jm), helds = jm_view_helds(n->jm), count = 0;
	struct shown *all = mem_array(total + helds + 1, sizeof(*all));
	struct view_job *jobs = mem_array(total + helds + 1, sizeof(*jobs));
	struct jm_held_view *held = mem_array(helds + 1, sizeof(*held));
	char(*why)[HELD_WHY_MAX] = mem_array(helds + 1, sizeof(*why));
	for (size_t i = 0; i < total; i++) {
		struct jm_job_view v;
		jm_view_job_at(n->jm, i, &v);
		if (!v.accepted)
			continue;
		fill(n, &v, &all[count]);
		jobs[count] = all[count].job;
		jobs[count].stamps = all[count].stamps;
		count++;
	}
	for (size_t i = 0; i < helds; i++) {
		jm_view_held_at(n->jm, i, &held[i]);
		fill_held(n, &held[i], &all[count], why[i], sizeof(why[i]));
		jobs[count] = all[count].job;
		count++;
	}
	json_t *out = view(jobs, count);
	for (size_t i = 0; i < count; i++)
		free(all[i].vertices);
	free(all);
	free(jobs);
	free(held);
	free(why);
	return out;
}

json_t *show_job_ids(const struct jm_node *n)
{
	return with_jobs(n, view_job_ids);
}

json_t *show_jobs(const struct jm_node *n)
{
	return with_jobs(n, view_jobs);
}

/* ---- checkpoints ---- */

struct listing {
	struct view_checkpoint *at; /* owns */
	unsigned n;
};

static struct view_checkpoint *add(struct listing *h)
{
	h->at = mem_resize(h->at, h->n + 1, sizeof(*h->at));
	h->at[h->n] =
		(struct view_checkpoint){.ack_ms = -1, .end_ms = -1, .path = "", .failure = ""};
	return &h->at[h->n++];
}

static int newest_first(const void *a, const void *b)
{
	const struct view_checkpoint *x = a, *y = b;
	return x->id > y->id ? -1 : x->id < y->id;
}

static char *path_of(const struct jm_node *n, const char *manifest)
{
	return mem_printf("%s/%s", n->blobs->root ? n->blobs->root : "", manifest);
}

static void add_flights(const struct jm_node *n, const struct jm_job_view *v, struct listing *h)
{
	struct jm_flight_view flights[FLIGHTS_MAX];
	size_t count = jm_view_flights(n->jm, &v->doc->job, flights, FLIGHTS_MAX);
	for (size_t i = 0; i < count; i++) {
		struct view_checkpoint *c = add(h);
		c->id = flights[i].id.v;
		c->status = VIEW_IN_PROGRESS;
		c->savepoint = flights[i].kind == CONTROL_TRIGGER_SAVEPOINT;
		c->trigger_ms = flights[i].triggered_wall_ms;
		c->ack_ms = flights[i].latest_ack_wall_ms ? flights[i].latest_ack_wall_ms : -1;
		c->bytes = flights[i].bytes;
		c->parts = flights[i].parts;
		c->acked = flights[i].acked;
	}
}

static void add_recorded(const struct jm_node *n, const struct doc *d, struct listing *h)
{
	for (unsigned i = 0; i < d->n_retained; i++) {
		const struct doc_pointer *p = &d->retained[i];
		struct view_checkpoint *c = add(h);
		c->id = p->id.v;
		c->status = VIEW_COMPLETED;
		c->savepoint = p->kind == CONTROL_TRIGGER_SAVEPOINT;
		c->trigger_ms = p->triggered_wall_ms;
		c->ack_ms = c->end_ms = p->completed_wall_ms;
		c->bytes = p->bytes;
		c->parts = c->acked = p->n_objects;
		c->path = path_of(n, p->manifest);
	}
	for (unsigned i = 0; i < d->n_given_up_kept; i++) {
		const struct doc_given_up *g = &d->given_up[i];
		struct view_checkpoint *c = add(h);
		c->id = g->id.v;
		c->status = VIEW_FAILED;
		c->savepoint = g->kind == CONTROL_TRIGGER_SAVEPOINT;
		c->trigger_ms = g->triggered_wall_ms;
		c->end_ms = g->wall_ms;
		c->failure = g->text;
	}
}

json_t *show_checkpoints(const struct jm_node *n, const struct jm_job_view *v)
{
	const struct doc *d = v->doc;
	struct listing h = {0};
	struct view_checkpoints all = {.now_ms = world_wall_ms(n->w), .restored_path = ""};
	char *restored = NULL;
	add_flights(n, v, &h);
	all.in_progress = h.n;
	add_recorded(n, d, &h);
	if (h.n)
		qsort(h.at, h.n, sizeof(*h.at), newest_first);
	all.completed = d->n_completed;
	all.failed = d->n_given_up;
	all.total = all.completed + all.failed + all.in_progress;
	for (unsigned i = 0; i < d->n_regions; i++) {
		const struct doc_pointer *p = &d->regions[i].restore;
		if (p->id.v <= all.restored_id)
			continue;
		free(restored);
		restored = path_of(n, p->manifest);
		all.restored_id = p->id.v;
		all.restored_path = restored;
		all.restored_ms = d->stamps[DOC_RESTARTING] ? d->stamps[DOC_RESTARTING]
							    : d->stamps[DOC_RUNNING];
		all.restored = d->restarts;
	}
	all.history = h.at;
	all.n = h.n;
	json_t *out = view_checkpoints(&all);
	for (unsigned i = 0; i < h.n; i++)
		if (h.at[i].status == VIEW_COMPLETED)
			free((char *)(uintptr_t)h.at[i].path);
	free(h.at);
	free(restored);
	return out;
}

/* ---- exceptions ---- */

static const char *endpoint_of(const struct jm_node *n, const char *id)
{
	for (size_t i = 0; i < jm_view_tms(n->jm); i++) {
		struct jm_tm_view v;
		jm_view_tm_at(n->jm, i, &v);
		if (strcmp(v.tm->id, id) == 0)
			return v.tm->rest_host;
	}
	return "";
}

static char *task_name(const struct jm_job_view *v, const struct doc_failure *f)
{
	if (v->graph == NULL || f->vertex < 0 || (unsigned)f->vertex >= v->graph->n_vertices)
		return mem_text("");
	const struct graph_vertex *vertex = &v->graph->vertices[f->vertex];
	if (f->subtask < 0)
		return mem_text(vertex->name);
	return mem_printf("%s (%d/%u)", vertex->name, f->subtask + 1, vertex->parallelism);
}

json_t *show_exceptions(const struct jm_node *n, const struct jm_job_view *v, unsigned max)
{
	const struct doc *d = v->doc;
	struct view_failure *all = mem_array(d->n_failures + 1, sizeof(*all));
	char *names[DOC_FAILURES_MAX] = {NULL}, *tasks[DOC_FAILURES_MAX] = {NULL};
	unsigned count = d->n_failures < DOC_FAILURES_MAX ? d->n_failures : DOC_FAILURES_MAX;
	for (unsigned i = 0; i < count; i++) {
		const struct doc_failure *f = &d->failures[d->n_failures - 1 - i];
		names[i] = mem_text_n(f->text, strcspn(f->text, "\n"));
		tasks[i] = task_name(v, f);
		all[i] = (struct view_failure){.ms = f->wall_ms,
					       .name = names[i],
					       .text = f->text,
					       .task = tasks[i],
					       .tm = f->tm,
					       .endpoint = endpoint_of(n, f->tm),
					       .external = f->external};
	}
	json_t *out = view_exceptions(all, count, max);
	for (unsigned i = 0; i < count; i++) {
		free(names[i]);
		free(tasks[i]);
	}
	free(all);
	return out;
}

/* ---- what is degraded, and why ---- */

struct reasons {
	unsigned n;
	const char *at[REASONS_MAX]; /* owns */
};

static void add_reason(struct reasons *r, const char *what, const char *why)
{
	if (r->n < REASONS_MAX && why[0])
		r->at[r->n++] = mem_printf("%s: %s", what, why);
}

static void find_reasons(const struct jm_node *n, struct reasons *r)
{
	struct ha_status s;
	char waits[320];
	ha_status(n->ha, &s);
	add_reason(r, "decisions wait", why_waiting(n, waits, sizeof(waits)));
	add_reason(r, "etcd", s.trouble);
	add_reason(r, "storage", n->storage_trouble);
	for (size_t i = 0; i < jm_view_helds(n->jm); i++) {
		struct jm_held_view held;
		jm_view_held_at(n->jm, i, &held);
		add_reason(r, held.job.hex, held.held ? "quarantined" : "");
	}
	for (size_t i = 0; i < jm_view_jobs(n->jm); i++) {
		struct jm_job_view v;
		jm_view_job_at(n->jm, i, &v);
		if (v.accepted && !v.terminal)
			add_reason(r, v.doc->job.hex, v.trouble);
	}
}

/* ---- the rest ---- */

json_t *show_overview(const struct jm_node *n)
{
	struct jm_cluster_view c;
	jm_view_cluster(n->jm, &c);
	struct reasons why = {0};
	find_reasons(n, &why);
	const struct view_overview o = {.suspended = n->role == HA_SUSPENDED,
					.reasons = why.at,
					.n_reasons = why.n,
					.taskmanagers = c.n_tms,
					.slots = c.slots_total,
					.free = c.slots_free,
					.running = c.jobs_running,
					.finished = c.jobs_finished,
					.cancelled = c.jobs_canceled,
					.failed = c.jobs_failed};
	json_t *out = view_overview(&o);
	for (unsigned i = 0; i < why.n; i++)
		free((char *)(uintptr_t)why.at[i]);
	return out;
}

json_t *show_taskmanagers(const struct jm_node *n)
{
	size_t count = jm_view_tms(n->jm);
	struct view_tm *all = mem_array(count + 1, sizeof(*all));
	for (size_t i = 0; i < count; i++) {
		struct jm_tm_view v;
		jm_view_tm_at(n->jm, i, &v);
		all[i] = (struct view_tm){.id = v.tm->id,
					  .data_address = v.tm->data_address,
					  .host = v.tm->rest_host,
					  .heard_ms = world_wall_ms(n->w) - (int64_t)v.silent_ms,
					  .slots = v.tm->slots,
					  .free = v.free,
					  .pid = v.tm->pid,
					  .instance = v.tm->instance,
					  .state = tms_state_name(v.tm->state),
					  .unusable = v.unusable};
	}
	json_t *out = view_tms(all, count);
	free(all);
	return out;
}

static const char *role_name(const struct jm_node *n)
{
	switch (n->role) {
	case HA_STARTING:
		return "starting";
	case HA_FOLLOWING:
		return "standby";
	case HA_LEADING:
		return n->told ? "leader" : "starting to lead";
	case HA_SUSPENDED:
		return "suspended";
	}
	return "";
}

json_t *show_cluster(const struct jm_node *n)
{
	struct ha_status s;
	ha_status(n->ha, &s);
	struct view_member *members = mem_array(s.n_members + 1, sizeof(*members));
	for (size_t i = 0; i < s.n_members; i++) {
		const struct ha_member *m = &s.members[i];
		members[i] = (struct view_member){.id = m->id,
						  .instance = m->instance,
						  .rest = m->user_address,
						  .cluster = m->cluster_address,
						  .pid = m->pid,
						  .start_ms = m->start_wall_ms,
						  .revision = m->create_revision,
						  .leader = m->create_revision + n->epoch_base ==
							    n->leader.epoch,
						  .self = m->self};
	}
	const struct view_cluster c = {.cluster = n->config.ha.cluster,
				       .prefix = n->config.ha.prefix,
				       .id = n->config.ha.id,
				       .instance = n->instance,
				       .role = role_name(n),
				       .epoch = n->leader.epoch,
				       .members = members,
				       .n_members = s.n_members,
				       .lease_left_ms = s.lease_left_ms,
				       .revision = s.revision,
				       .db_bytes = s.db_bytes,
				       .db_quota_bytes = s.db_quota_bytes,
				       .nospace = s.nospace,
				       .regressed = s.regressed,
				       .trouble = s.trouble,
				       .endpoint = s.endpoint,
				       .storage = n->blobs->root ? n->blobs->root : "",
				       .storage_trouble = n->storage_trouble};
	json_t *out = view_cluster(&c);
	free(members);
	return out;
}
