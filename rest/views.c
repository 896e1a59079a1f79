#include "rest/views.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "job/optypes.h"
#include "rest/reply.h"

static const char *const task_states[VIEW_TASK_STATES] = {
	"CREATED",  "SCHEDULED", "DEPLOYING", "INITIALIZING", "RUNNING",
	"FINISHED", "CANCELING", "CANCELED",  "FAILED",       "RECONCILING"};

/* The same, as /jobs/overview wants them. */
static const char *const task_members[VIEW_TASK_STATES] = {
	"created",  "scheduled", "deploying", "initializing", "running",
	"finished", "canceling", "canceled",  "failed",       "reconciling"};

const char *view_task_state_name(unsigned state)
{
	return task_states[state];
}

static void put_text(json_t *o, const char *name, const char *text)
{
	json_t *value = json_string(text);
	json_object_set_new(o, name, value ? value : json_string("(not printable)"));
}

static void put_int(json_t *o, const char *name, int64_t n)
{
	json_object_set_new(o, name, json_integer(n));
}

static void put_size(json_t *o, const char *name, uint64_t n)
{
	json_object_set_new(o, name, json_integer((json_int_t)(n > INT64_MAX ? INT64_MAX : n)));
}

static json_t *counts_json(const uint32_t counts[VIEW_TASK_STATES], const char *const *names)
{
	json_t *o = json_object();
	for (unsigned i = 0; i < VIEW_TASK_STATES; i++)
		put_int(o, names[i], counts[i]);
	return o;
}

static int64_t duration(int64_t start, int64_t end, int64_t now)
{
	int64_t until = end >= 0 ? end : now;
	return start > 0 && until > start ? until - start : 0;
}

/* ---- jobs ---- */

json_t *view_job_ids(const struct view_job *jobs, size_t n)
{
	json_t *list = json_array();
	for (size_t i = 0; i < n; i++)
		json_array_append_new(
			list, json_pack("{s:s,s:s}", "id", jobs[i].id, "status", jobs[i].state));
	return json_pack("{s:o}", "jobs", list);
}

static json_t *job_row(const struct view_job *j)
{
	json_t *o = json_object();
	uint32_t total = 0;
	for (unsigned i = 0; i < VIEW_TASK_STATES; i++)
		total += j->tasks[i];
	put_text(o, "jid", j->id);
	put_text(o, "name", j->name);
	put_int(o, "start-time", j->start_ms);
	put_int(o, "end-time", j->end_ms);
	put_int(o, "duration", duration(j->start_ms, j->end_ms, j->now_ms));
	put_text(o, "state", j->state);
	put_int(o, "last-modification", j->modified_ms);
	json_t *tasks = counts_json(j->tasks, task_members);
	put_int(tasks, "total", total);
	json_object_set_new(o, "tasks", tasks);
	return o;
}

json_t *view_jobs(const struct view_job *jobs, size_t n)
{
	json_t *list = json_array();
	for (size_t i = 0; i < n; i++)
		json_array_append_new(list, job_row(&jobs[i]));
	return json_pack("{s:o}", "jobs", list);
}

/* What a vertex shows for its subtasks: what hinders it most; FINISHED only if all are. */
static const char *vertex_status(const struct view_vertex *v)
{
	static const unsigned order[] = {8, 6, 7, 9, 0, 1, 2, 3, 4, 5};
	for (unsigned i = 0; i < VIEW_TASK_STATES; i++)
		if (v->tasks[order[i]] > 0)
			return task_states[order[i]];
	return task_states[0];
}

static json_t *metrics_json(const struct view_vertex *v)
{
	static const char *const names[] = {"read-bytes", "write-bytes", "read-records",
					    "write-records"};
	const uint64_t values[] = {v->traffic.read_bytes, v->traffic.write_bytes,
				   v->traffic.read_records, v->traffic.write_records};
	json_t *o = json_object();
	for (unsigned i = 0; i < 4; i++) {
		char complete[40];
		snprintf(complete, sizeof(complete), "%s-complete", names[i]);
		put_size(o, names[i], values[i]);
		json_object_set_new(o, complete, json_boolean(v->counted));
	}
	put_int(o, "accumulated-backpressured-time", 0);
	put_int(o, "accumulated-idle-time", 0);
	json_object_set_new(o, "accumulated-busy-time", json_real(0));
	return o;
}

static json_t *vertex_json(const struct view_job *j, unsigned i)
{
	const struct graph_vertex *v = &j->graph->vertices[i];
	const struct view_vertex *shown = &j->vertices[i];
	json_t *o = json_object();
	put_text(o, "id", v->id);
	put_text(o, "slotSharingGroupId", "00000000000000000000000000000000");
	put_text(o, "name", v->name);
	put_int(o, "maxParallelism", v->max_parallelism);
	put_int(o, "parallelism", v->parallelism);
	put_text(o, "status", vertex_status(shown));
	put_int(o, "start-time", shown->start_ms);
	put_int(o, "end-time", shown->end_ms);
	put_int(o, "duration",
		shown->start_ms < 0 ? -1 : duration(shown->start_ms, shown->end_ms, j->now_ms));
	json_object_set_new(o, "tasks", counts_json(shown->tasks, task_states));
	json_object_set_new(o, "metrics", metrics_json(shown));
	json_object_set_new(o, "weir",
			    json_pack("{s:I, s:I}", "readRecordsPerSecond",
				      (json_int_t)shown->rate.read_records, "writeRecordsPerSecond",
				      (json_int_t)shown->rate.write_records));
	return o;
}

static json_t *plan_node(const struct graph *g, const struct graph_vertex *v)
{
	json_t *o = json_object();
	put_text(o, "id", v->id);
	put_int(o, "parallelism", v->parallelism);
	put_text(o, "operator", "");
	put_text(o, "operator_strategy", "");
	put_text(o, "description", v->name);
	json_t *inputs = json_array();
	for (unsigned k = 0; k < v->n_inputs; k++)
		json_array_append_new(inputs,
				      json_pack("{s:i,s:s,s:s,s:s}", "num", (int)k, "id",
						g->vertices[v->inputs[k].from].id, "ship_strategy",
						spec_edge_name(v->inputs[k].edge), "exchange",
						"pipelined_bounded"));
	if (v->n_inputs)
		json_object_set(o, "inputs", inputs);
	json_decref(inputs);
	json_object_set_new(o, "optimizer_properties", json_object());
	return o;
}

static json_t *plan_json(const struct view_job *j)
{
	json_t *nodes = json_array();
	for (unsigned i = 0; j->graph && i < j->graph->n_vertices; i++)
		json_array_append_new(nodes, plan_node(j->graph, &j->graph->vertices[i]));
	json_t *o = json_object();
	put_text(o, "jid", j->id);
	put_text(o, "name", j->name);
	put_text(o, "type", "STREAMING");
	json_object_set_new(o, "nodes", nodes);
	return o;
}

json_t *view_plan(const struct view_job *job)
{
	return json_pack("{s:o}", "plan", plan_json(job));
}

static bool replayable(const struct spec *s)
{
	for (unsigned i = 0; i < s->n_operators; i++)
		if (optype_find(s->operators[i].type)->flags & OPTYPE_NOT_REPLAYABLE)
			return false;
	return true;
}

static json_t *own_part(const struct view_job *j)
{
	json_t *o = json_object();
	put_text(o, "state", j->detail);
	put_text(o, "trouble", j->trouble);
	json_object_set_new(o, "degraded", json_boolean(j->degraded));
	put_text(o, "waits", j->waits ? j->waits : "");
	put_int(o, "attempt", j->attempt);
	put_int(o, "restarts", j->restarts);
	if (j->graph) {
		put_int(o, "slots", j->graph->slots);
		json_object_set_new(o, "replayable", json_boolean(replayable(j->graph->spec)));
	}
	return o;
}

json_t *view_job(const struct view_job *j)
{
	json_t *o = json_object(), *stamps = json_object(), *vertices = json_array();
	put_text(o, "jid", j->id);
	put_text(o, "name", j->name);
	json_object_set_new(o, "isStoppable", json_false());
	put_text(o, "state", j->state);
	put_text(o, "job-type", "STREAMING");
	put_int(o, "start-time", j->start_ms);
	put_int(o, "end-time", j->end_ms);
	put_int(o, "duration", duration(j->start_ms, j->end_ms, j->now_ms));
	put_int(o, "maxParallelism", j->graph ? (int64_t)j->graph->spec->max_parallelism : -1);
	put_int(o, "now", j->now_ms);
	for (unsigned i = 0; i < j->n_stamps; i++)
		put_int(stamps, j->stamps[i].status, j->stamps[i].ms);
	json_object_set_new(o, "timestamps", stamps);
	for (unsigned i = 0; j->graph && i < j->graph->n_vertices; i++)
		json_array_append_new(vertices, vertex_json(j, i));
	json_object_set_new(o, "vertices", vertices);
	json_object_set_new(o, "status-counts", counts_json(j->tasks, task_states));
	json_object_set_new(o, "plan", plan_json(j));
	json_object_set_new(o, "weir", own_part(j));
	return o;
}

static const char *restart_name(const struct spec *s)
{
	static const char *const names[] = {"none", "fixed-delay", "failure-rate",
					    "exponential-delay"};
	return names[s->restart.kind];
}

json_t *view_job_config(const struct view_job *j)
{
	json_t *e = json_object();
	const struct spec *s = j->graph ? j->graph->spec : NULL;
	put_text(e, "restart-strategy", s ? restart_name(s) : "");
	put_int(e, "job-parallelism", s ? (int64_t)s->parallelism : -1);
	json_object_set_new(e, "object-reuse-mode", json_true());
	json_object_set_new(e, "user-config", json_object());
	json_t *o = json_object();
	put_text(o, "jid", j->id);
	put_text(o, "name", j->name);
	json_object_set_new(o, "execution-config", e);
	return o;
}

/* ---- checkpoints ---- */

static json_t *checkpoint_json(const struct view_checkpoint *c, int64_t now)
{
	static const char *const classes[] = {"in_progress", "completed", "failed"};
	static const char *const statuses[] = {"IN_PROGRESS", "COMPLETED", "FAILED"};
	json_t *o = json_object();
	put_text(o, "className", classes[c->status]);
	put_size(o, "id", c->id);
	put_text(o, "status", statuses[c->status]);
	json_object_set_new(o, "is_savepoint", json_boolean(c->savepoint));
	json_object_set_new(o, "savepointFormat",
			    c->savepoint ? json_string("NATIVE") : json_null());
	put_text(o, "checkpoint_type", c->savepoint ? "SAVEPOINT" : "CHECKPOINT");
	put_int(o, "trigger_timestamp", c->trigger_ms);
	put_int(o, "latest_ack_timestamp", c->ack_ms);
	put_size(o, "checkpointed_size", c->bytes);
	put_size(o, "state_size", c->bytes);
	put_int(o, "end_to_end_duration", duration(c->trigger_ms, c->end_ms, now));
	put_int(o, "alignment_buffered", 0);
	put_int(o, "processed_data", 0);
	put_int(o, "persisted_data", 0);
	put_int(o, "num_subtasks", c->parts);
	put_int(o, "num_acknowledged_subtasks", c->acked);
	json_object_set_new(o, "tasks", json_object());
	if (c->status == VIEW_COMPLETED) {
		put_text(o, "external_path", c->path);
		json_object_set_new(o, "discarded", json_boolean(c->discarded));
	}
	if (c->status == VIEW_FAILED) {
		put_int(o, "failure_timestamp", c->end_ms);
		put_text(o, "failure_message", c->failure);
	}
	return o;
}

static int by_value(const void *a, const void *b)
{
	const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return x < y ? -1 : x > y;
}

/* Sorts the values. */
static json_t *statistics(uint64_t *values, unsigned n)
{
	static const struct {
		const char *name;
		double rank;
	} ranks[] = {{"p50", 0.5}, {"p90", 0.9}, {"p95", 0.95}, {"p99", 0.99}, {"p999", 0.999}};
	json_t *o = json_object();
	double sum = 0;
	if (n)
		qsort(values, n, sizeof(*values), by_value);
	for (unsigned i = 0; i < n; i++)
		sum += (double)values[i];
	put_size(o, "min", n ? values[0] : 0);
	put_size(o, "max", n ? values[n - 1] : 0);
	put_size(o, "avg", n ? (uint64_t)(sum / n) : 0);
	for (unsigned i = 0; i < 5; i++) {
		unsigned at = (unsigned)(ranks[i].rank * (double)n);
		double value = n ? (double)values[at < n ? at : n - 1] : 0;
		json_object_set_new(o, ranks[i].name, json_real(value));
	}
	return o;
}

static json_t *summary(const struct view_checkpoints *c)
{
	uint64_t *sizes = calloc(c->n + 1, sizeof(*sizes));
	uint64_t *times = calloc(c->n + 1, sizeof(*times));
	unsigned n = 0;
	for (unsigned i = 0; sizes && times && i < c->n; i++) {
		const struct view_checkpoint *k = &c->history[i];
		if (k->status != VIEW_COMPLETED)
			continue;
		sizes[n] = k->bytes;
		times[n++] = (uint64_t)duration(k->trigger_ms, k->end_ms, c->now_ms);
	}
	uint64_t none[1] = {0};
	json_t *o = json_object();
	json_object_set_new(o, "checkpointed_size", statistics(sizes ? sizes : none, n));
	json_object_set_new(o, "state_size", statistics(sizes ? sizes : none, n));
	json_object_set_new(o, "end_to_end_duration", statistics(times ? times : none, n));
	json_object_set_new(o, "alignment_buffered", statistics(none, 0));
	json_object_set_new(o, "processed_data", statistics(none, 0));
	json_object_set_new(o, "persisted_data", statistics(none, 0));
	free(sizes);
	free(times);
	return o;
}

static json_t *latest(const struct view_checkpoints *c, enum view_checkpoint_status status,
		      bool savepoint)
{
	for (unsigned i = 0; i < c->n; i++) {
		const struct view_checkpoint *k = &c->history[i];
		if (k->status == status && (status == VIEW_FAILED || k->savepoint == savepoint))
			return checkpoint_json(k, c->now_ms);
	}
	return json_null();
}

static json_t *restored(const struct view_checkpoints *c)
{
	if (c->restored_id == 0)
		return json_null();
	json_t *o = json_object();
	put_size(o, "id", c->restored_id);
	put_int(o, "restore_timestamp", c->restored_ms);
	json_object_set_new(o, "is_savepoint", json_false());
	put_text(o, "external_path", c->restored_path);
	return o;
}

json_t *view_checkpoints(const struct view_checkpoints *c)
{
	json_t *counts = json_object(), *last = json_object(), *history = json_array();
	put_size(counts, "restored", c->restored);
	put_size(counts, "total", c->total);
	put_size(counts, "in_progress", c->in_progress);
	put_size(counts, "completed", c->completed);
	put_size(counts, "failed", c->failed);
	json_object_set_new(last, "completed", latest(c, VIEW_COMPLETED, false));
	json_object_set_new(last, "savepoint", latest(c, VIEW_COMPLETED, true));
	json_object_set_new(last, "failed", latest(c, VIEW_FAILED, false));
	json_object_set_new(last, "restored", restored(c));
	for (unsigned i = 0; i < c->n; i++)
		json_array_append_new(history, checkpoint_json(&c->history[i], c->now_ms));
	json_t *o = json_object();
	json_object_set_new(o, "counts", counts);
	json_object_set_new(o, "summary", summary(c));
	json_object_set_new(o, "latest", last);
	json_object_set_new(o, "history", history);
	return o;
}

json_t *view_checkpoints_config(const struct spec *s, const char *storage)
{
	const struct spec_checkpointing *c = &s->checkpointing;
	json_t *o = json_object();
	put_text(o, "mode", c->mode == SPEC_EXACTLY_ONCE ? "exactly_once" : "at_least_once");
	put_size(o, "interval", c->interval_ms);
	put_size(o, "timeout", c->timeout_ms);
	put_size(o, "min_pause", c->min_pause_ms);
	put_int(o, "max_concurrent", c->max_concurrent);
	json_object_set_new(o, "externalization",
			    json_pack("{s:b,s:b}", "enabled", 1, "delete_on_cancellation", 0));
	put_text(o, "state_backend", s->state_backend);
	put_text(o, "checkpoint_storage", storage);
	json_object_set_new(o, "unaligned_checkpoints", json_false());
	put_int(o, "tolerable_failed_checkpoints", c->tolerable_failures);
	put_int(o, "aligned_checkpoint_timeout", 0);
	json_object_set_new(o, "checkpoints_after_tasks_finish", json_true());
	json_object_set_new(o, "state_changelog_enabled", json_false());
	put_int(o, "changelog_periodic_materialization_interval", -1);
	put_text(o, "changelog_storage", "");
	return o;
}

/* ---- exceptions ---- */

json_t *view_exceptions(const struct view_failure *failures, unsigned n, unsigned max)
{
	json_t *entries = json_array();
	for (unsigned i = 0; i < n && i < max; i++) {
		const struct view_failure *f = &failures[i];
		json_t *o = json_object();
		put_text(o, "exceptionName", f->name);
		put_text(o, "stacktrace", f->text);
		put_int(o, "timestamp", f->ms);
		json_object_set_new(o, "failureLabels",
				    json_pack("{s:s}", "cause", f->external ? "external" : "job"));
		if (f->task[0])
			put_text(o, "taskName", f->task);
		if (f->endpoint[0])
			put_text(o, "endpoint", f->endpoint);
		if (f->tm[0])
			put_text(o, "taskManagerId", f->tm);
		json_object_set_new(o, "concurrentExceptions", json_array());
		json_array_append_new(entries, o);
	}
	return json_pack("{s:{s:o,s:b}}", "exceptionHistory", "entries", entries, "truncated",
			 n > max);
}

/* ---- TaskManagers, overview, configuration ---- */

static json_t *zeros(const char *const *names)
{
	json_t *o = json_object();
	for (; *names; names++)
		put_int(o, *names, 0);
	return o;
}

static json_t *resource(void)
{
	static const char *const names[] = {"taskHeapMemory", "taskOffHeapMemory", "managedMemory",
					    "networkMemory", NULL};
	json_t *o = zeros(names);
	json_object_set_new(o, "cpuCores", json_real(0));
	json_object_set_new(o, "extendedResources", json_object());
	return o;
}

static int port_of(const char *address)
{
	const char *colon = strrchr(address, ':');
	return colon ? (int)strtol(colon + 1, NULL, 10) : 0;
}

static json_t *tm_json(const struct view_tm *t)
{
	static const char *const hardware[] = {"cpuCores", "physicalMemory", "freeMemory",
					       "managedMemory", NULL};
	static const char *const memory[] = {"frameworkHeap",
					     "taskHeap",
					     "frameworkOffHeap",
					     "taskOffHeap",
					     "networkMemory",
					     "managedMemory",
					     "jvmMetaspace",
					     "jvmOverhead",
					     "totalFlinkMemory",
					     "totalProcessMemory",
					     NULL};
	json_t *o = json_object();
	put_text(o, "id", t->id);
	put_text(o, "path", t->host);
	put_int(o, "dataPort", port_of(t->data_address));
	put_int(o, "jmxPort", -1);
	put_int(o, "timeSinceLastHeartbeat", t->heard_ms);
	put_int(o, "slotsNumber", t->slots);
	put_int(o, "freeSlots", t->free);
	json_object_set_new(o, "totalResource", resource());
	json_object_set_new(o, "freeResource", resource());
	json_object_set_new(o, "hardware", zeros(hardware));
	json_object_set_new(o, "memoryConfiguration", zeros(memory));
	json_object_set_new(o, "weir",
			    json_pack("{s:s,s:s,s:I,s:s,s:s}", "instance", t->instance, "state",
				      t->state, "pid", (json_int_t)t->pid, "dataAddress",
				      t->data_address, "unusable", t->unusable));
	return o;
}

json_t *view_tms(const struct view_tm *tms, size_t n)
{
	json_t *list = json_array();
	for (size_t i = 0; i < n; i++)
		json_array_append_new(list, tm_json(&tms[i]));
	return json_pack("{s:o}", "taskmanagers", list);
}

json_t *view_overview(const struct view_overview *v)
{
	json_t *o = json_object();
	put_size(o, "taskmanagers", v->taskmanagers);
	put_size(o, "slots-total", v->slots);
	put_size(o, "slots-available", v->free);
	put_size(o, "jobs-running", v->running);
	put_size(o, "jobs-finished", v->finished);
	put_size(o, "jobs-cancelled", v->cancelled);
	put_size(o, "jobs-failed", v->failed);
	put_text(o, "flink-version", "weir " WEIR_VERSION);
	put_text(o, "flink-commit", "unknown");
	json_t *own = json_object(), *reasons = json_array();
	for (unsigned i = 0; i < v->n_reasons; i++)
		json_array_append_new(reasons, json_string(v->reasons[i]));
	json_object_set_new(own, "suspended", json_boolean(v->suspended));
	json_object_set_new(own, "degraded", json_boolean(v->n_reasons > 0));
	json_object_set_new(own, "reasons", reasons);
	json_object_set_new(o, "weir", own);
	return o;
}

json_t *view_config(void)
{
	json_t *o = json_object();
	put_int(o, "refresh-interval", 3000);
	put_text(o, "timezone-name", "UTC");
	put_int(o, "timezone-offset", 0);
	put_text(o, "flink-version", "weir " WEIR_VERSION);
	put_text(o, "flink-revision", "unknown");
	json_object_set_new(o, "features",
			    json_pack("{s:b,s:b,s:b,s:b}", "web-submit", 0, "web-cancel", 1,
				      "web-rescale", 0, "web-history", 0));
	return o;
}

/* ---- the cluster ---- */

static json_t *member_json(const struct view_member *m)
{
	json_t *o = json_object();
	put_text(o, "id", m->id);
	put_text(o, "instance", m->instance);
	put_text(o, "rest", m->rest);
	put_text(o, "cluster", m->cluster);
	put_int(o, "pid", m->pid);
	put_int(o, "startTime", m->start_ms);
	put_size(o, "revision", m->revision);
	put_text(o, "role", m->leader ? "leader" : "standby");
	json_object_set_new(o, "self", json_boolean(m->self));
	return o;
}

json_t *view_cluster(const struct view_cluster *c)
{
	json_t *o = json_object(), *members = json_array(), *etcd = json_object();
	json_t *leader = json_null();
	for (size_t i = 0; i < c->n_members; i++) {
		json_t *m = member_json(&c->members[i]);
		if (c->members[i].leader)
			leader = json_incref(m);
		json_array_append_new(members, m);
	}
	put_text(o, "cluster", c->cluster);
	put_text(o, "prefix", c->prefix);
	put_text(o, "id", c->id);
	put_text(o, "instance", c->instance);
	put_text(o, "role", c->role);
	put_size(o, "epoch", c->epoch);
	json_object_set_new(o, "leader", leader);
	json_object_set_new(o, "members", members);
	put_text(etcd, "endpoint", c->endpoint);
	put_text(etcd, "trouble", c->trouble);
	put_size(etcd, "revision", c->revision);
	put_size(etcd, "dbBytes", c->db_bytes);
	put_size(etcd, "dbQuotaBytes", c->db_quota_bytes);
	json_object_set_new(etcd, "nospace", json_boolean(c->nospace));
	json_object_set_new(etcd, "regressed", json_boolean(c->regressed));
	put_size(etcd, "leaseLeftMs", c->lease_left_ms);
	json_object_set_new(o, "etcd", etcd);
	json_object_set_new(
		o, "storage",
		json_pack("{s:s,s:s}", "url", c->storage, "trouble", c->storage_trouble));
	return o;
}
