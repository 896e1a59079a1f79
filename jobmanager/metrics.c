#include "jobmanager/metrics.h"

#include <inttypes.h>
#include <string.h>

#include "ha/members.h"
#include "ha/tries.h"
#include "jobmanager/inspect.h"

static void head(struct buf *out, const char *name, const char *type, const char *help)
{
	buf_printf(out, "# HELP weir_%s %s\n# TYPE weir_%s %s\n", name, help, name, type);
}

static void one(struct buf *out, const char *name, const char *type, const char *help,
		uint64_t value)
{
	head(out, name, type, help);
	buf_printf(out, "weir_%s %" PRIu64 "\n", name, value);
}

/* ---- this process ---- */

static void leadership(const struct jm_node *n, const struct ha_status *s, struct buf *out)
{
	one(out, "leader", "gauge", "1 if this JobManager leads", n->leader.self);
	one(out, "suspended", "gauge", "1 if it leads and may not decide now",
	    n->role == HA_SUSPENDED);
	one(out, "epoch", "gauge", "epoch of the leader, as seen here; 0: nobody leads",
	    n->leader.epoch);
	one(out, "lease_left_milliseconds", "gauge", "what is left of this process's lease",
	    s->lease_left_ms);
	one(out, "jobmanagers", "gauge", "JobManagers in the queue", s->n_members);
	one(out, "loop_lateness_milliseconds", "gauge", "how late the loop ran its last timer",
	    world_lateness_ms(n->w));
}

static void etcd(const struct ha_status *s, struct buf *out)
{
	one(out, "etcd_revision", "gauge", "highest revision seen", s->revision);
	one(out, "etcd_db_bytes", "gauge", "size of etcd's database", s->db_bytes);
	one(out, "etcd_db_quota_bytes", "gauge", "its quota", s->db_quota_bytes);
	one(out, "etcd_nospace", "gauge", "1 under etcd's NOSPACE alarm", s->nospace);
	one(out, "etcd_regressed", "gauge", "1 if etcd went back in time", s->regressed);
	one(out, "etcd_members", "gauge", "members that are asked: configured ones and learnt ones",
	    s->etcd->n_used);
	one(out, "etcd_trouble", "gauge", "1 while etcd does not serve", s->trouble[0] != '\0');
}

/* What the calls cost, by kind; those that never were made are left out. */
static void etcd_tries(const struct tries *t, struct buf *out)
{
	head(out, "etcd_tries_total", "counter",
	     "requests to etcd, by call and by what came of them");
	for (unsigned k = 0; k < CALL_COUNT; k++)
		for (unsigned o = 0; o < TRY_OUTCOMES; o++)
			if (t->by_outcome[k][o])
				buf_printf(out,
					   "weir_etcd_tries_total{call=\"%s\",outcome=\"%s\"} "
					   "%" PRIu64 "\n",
					   call_of((enum call_kind)k)->name,
					   try_outcome_name((enum try_outcome)o),
					   t->by_outcome[k][o]);
}

static void etcd_histogram(const struct tries *t, unsigned k, uint64_t n, struct buf *out)
{
	const char *call = call_of((enum call_kind)k)->name;
	uint64_t below = 0;
	for (unsigned i = 0; i < TRIES_BUCKETS; i++) {
		below += t->buckets[k][i];
		buf_printf(out,
			   "weir_etcd_try_milliseconds_bucket{call=\"%s\",le=\"%" PRIu32
			   "\"} %" PRIu64 "\n",
			   call, tries_bounds_ms[i], below);
	}
	buf_printf(out,
		   "weir_etcd_try_milliseconds_bucket{call=\"%s\",le=\"+Inf\"} %" PRIu64
		   "\nweir_etcd_try_milliseconds_sum{call=\"%s\"} %" PRIu64
		   "\nweir_etcd_try_milliseconds_count{call=\"%s\"} %" PRIu64 "\n",
		   call, n, call, t->sum_ms[k], call, n);
}

static void etcd_latency(const struct tries *t, struct buf *out)
{
	head(out, "etcd_try_milliseconds", "histogram", "how long requests to etcd took");
	for (unsigned k = 0; k < CALL_COUNT; k++) {
		uint64_t n = 0;
		for (unsigned o = 0; o < TRY_OUTCOMES; o++)
			n += t->by_outcome[k][o];
		if (n && k != CALL_WATCH)
			etcd_histogram(t, k, n, out);
	}
}

/* ---- the brain ---- */

static void transitions(const struct counts *c, struct buf *out)
{
	head(out, "transitions_total", "counter", "moves of the state machines");
	for (int m = 0; m < COUNTS_MACHINES; m++) {
		const struct sm_table *t = c->machines[m].table;
		for (unsigned from = 0; t && from < t->n_states; from++)
			for (unsigned to = 0; to < t->n_states; to++)
				if (c->machines[m].moves[from][to])
					buf_printf(out,
						   "weir_transitions_total{machine=\"%s\",from=\""
						   "%s\",to=\"%s\"} %" PRIu64 "\n",
						   t->machine, t->states[from].name,
						   t->states[to].name,
						   c->machines[m].moves[from][to]);
	}
}

static void counters(const struct counts *c, struct buf *out)
{
	one(out, "checkpoints_completed_total", "counter", "checkpoints completed by this process",
	    c->ckpts_completed);
	one(out, "checkpoints_failed_total", "counter", "checkpoints given up by this process",
	    c->ckpts_given_up);
	one(out, "checkpoint_duration_milliseconds_total", "counter",
	    "from trigger to completion, sum", c->ckpts_ms_sum);
	one(out, "checkpoint_bytes_total", "counter", "bytes of completed checkpoints",
	    c->ckpts_bytes);
	one(out, "restarts_total", "counter", "attempts after the first", c->restarts);
	one(out, "restored_local_copies_total", "counter",
	    "snapshot objects that workers restored from their own machine", c->restored_copies);
	one(out, "restored_local_bytes_total", "counter", "bytes read of them",
	    c->restored_local_bytes);
	one(out, "restored_storage_bytes_total", "counter",
	    "bytes that workers restored from checkpoint storage", c->restored_storage_bytes);
	one(out, "taskmanagers_lost_total", "counter", "TaskManagers given up", c->tms_lost);
	one(out, "decisions_total", "counter", "decisions on jobs, as answered by the store",
	    c->decisions);
	one(out, "decisions_refused_total", "counter", "of them refused", c->decisions_refused);
	one(out, "commands_total", "counter", "commands sent to workers", c->commands);
	one(out, "takeover_tasks_adopted", "gauge", "tasks found running by the last takeover here",
	    c->takeover.tasks_adopted);
	one(out, "takeover_tasks_restarted", "gauge", "tasks that it had to restart",
	    c->takeover.tasks_restarted);
	transitions(c, out);
}

static void cluster(const struct jm_node *n, struct buf *out)
{
	struct jm_cluster_view v;
	jm_view_cluster(n->jm, &v);
	one(out, "taskmanagers", "gauge", "TaskManagers registered", v.n_tms);
	one(out, "slots", "gauge", "slots of all TaskManagers", v.slots_total);
	one(out, "slots_free", "gauge", "slots that hold no subtask", v.slots_free);
	head(out, "jobs", "gauge", "jobs by how they are");
	buf_printf(out,
		   "weir_jobs{state=\"running\"} %zu\nweir_jobs{state=\"finished\"} %zu\n"
		   "weir_jobs{state=\"canceled\"} %zu\nweir_jobs{state=\"failed\"} %zu\n"
		   "weir_jobs{state=\"quarantined\"} %zu\n",
		   v.jobs_running, v.jobs_finished, v.jobs_canceled, v.jobs_failed,
		   jm_view_helds(n->jm));
}

static void failovers(const struct jm_node *n, struct buf *out)
{
	const char *cause;
	json_t *count;
	head(out, "failovers_total", "counter", "changes of leader of this cluster, by cause");
	json_object_foreach (n->history.ring.causes, cause, count)
		buf_printf(out, "weir_failovers_total{cause=\"%s\"} %" PRId64 "\n", cause,
			   (int64_t)json_integer_value(count));
}

enum job_metric { JOB_STATE, JOB_RESTARTS, JOB_COMPLETED, JOB_FAILED_CHECKPOINTS, JOB_DEGRADED };

static uint64_t of_job(const struct jm_job_view *v, enum job_metric what)
{
	switch (what) {
	case JOB_STATE:
		return strcmp(v->status, "RUNNING") == 0;
	case JOB_RESTARTS:
		return v->doc->restarts;
	case JOB_COMPLETED:
		return v->doc->n_completed;
	case JOB_FAILED_CHECKPOINTS:
		return v->doc->n_given_up;
	case JOB_DEGRADED:
		return v->trouble[0] != '\0';
	}
	return 0;
}

/* A job's name is its owner's text: what Prometheus gives a meaning to is left out. */
static void label(struct buf *out, const char *text)
{
	for (; *text; text++)
		if (*text != '"' && *text != '\\' && *text != '\n')
			buf_add(out, text, 1);
}

static void jobs(const struct jm_node *n, const char *name, const char *type, const char *help,
		 enum job_metric what, struct buf *out)
{
	head(out, name, type, help);
	for (size_t i = 0; i < jm_view_jobs(n->jm); i++) {
		struct jm_job_view v;
		jm_view_job_at(n->jm, i, &v);
		if (!v.accepted || v.terminal)
			continue;
		buf_printf(out, "weir_%s{job=\"%s\",name=\"", name, v.doc->job.hex);
		label(out, v.doc->name);
		buf_printf(out, "\"} %" PRIu64 "\n", of_job(&v, what));
	}
}

enum vertex_metric { READ_RECORDS, READ_BYTES, WRITE_RECORDS, WRITE_BYTES, RECORDS_PER_SECOND };

static uint64_t of_vertex(const struct flow_vertex *f, enum vertex_metric what)
{
	switch (what) {
	case READ_RECORDS:
		return f->total.read_records;
	case READ_BYTES:
		return f->total.read_bytes;
	case WRITE_RECORDS:
		return f->total.write_records;
	case WRITE_BYTES:
		return f->total.write_bytes;
	case RECORDS_PER_SECOND:
		return f->rate.read_records;
	}
	return 0;
}

static void vertices(const struct jm_node *n, const char *name, const char *type, const char *help,
		     enum vertex_metric what, struct buf *out)
{
	head(out, name, type, help);
	for (size_t i = 0; i < jm_view_jobs(n->jm); i++) {
		struct jm_job_view v;
		struct flow_vertex f;
		jm_view_job_at(n->jm, i, &v);
		for (unsigned k = 0; !v.terminal && v.graph && k < v.graph->n_vertices; k++) {
			if (!jm_view_flow(n->jm, &v.doc->job, k, &f))
				continue;
			buf_printf(out, "weir_%s{job=\"%s\",vertex=\"%s\",name=\"", name,
				   v.doc->job.hex, v.graph->vertices[k].id);
			label(out, v.graph->vertices[k].name);
			buf_printf(out, "\"} %" PRIu64 "\n", of_vertex(&f, what));
		}
	}
}

static void traffic(const struct jm_node *n, struct buf *out)
{
	vertices(n, "vertex_read_records_total", "counter",
		 "records that the vertex took in since its attempt began", READ_RECORDS, out);
	vertices(n, "vertex_read_bytes_total", "counter", "their bytes", READ_BYTES, out);
	vertices(n, "vertex_write_records_total", "counter",
		 "records that the vertex gave out since its attempt began", WRITE_RECORDS, out);
	vertices(n, "vertex_write_bytes_total", "counter", "their bytes", WRITE_BYTES, out);
	vertices(n, "vertex_read_records_per_second", "gauge", "between its last two reports",
		 RECORDS_PER_SECOND, out);
}

void metrics_write(const struct jm_node *n, struct buf *out)
{
	struct ha_status s;
	ha_status(n->ha, &s);
	leadership(n, &s, out);
	etcd(&s, out);
	etcd_tries(s.tries, out);
	etcd_latency(s.tries, out);
	counters(jm_view_counts(n->jm), out);
	if (!node_leads(n))
		return;
	cluster(n, out);
	failovers(n, out);
	jobs(n, "job_running", "gauge", "1 while all tasks of the job run", JOB_STATE, out);
	jobs(n, "job_degraded", "gauge", "1 while the job has trouble, and goes on", JOB_DEGRADED,
	     out);
	jobs(n, "job_restarts_total", "counter", "attempts after the first", JOB_RESTARTS, out);
	jobs(n, "job_checkpoints_completed_total", "counter", "since the job was created",
	     JOB_COMPLETED, out);
	jobs(n, "job_checkpoints_failed_total", "counter", "since the job was created",
	     JOB_FAILED_CHECKPOINTS, out);
	traffic(n, out);
}
