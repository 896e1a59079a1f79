#include "taskmanager/worker_inside.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "base/log.h"

/* ---- metrics lines, for who measures: setting metricsMs ---- */

static uint64_t cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* One line: rows that the tasks have taken so far, and the CPU time of this process. `event` says
 * what happened at that moment. */
void worker_metrics_line(const struct worker *w, const char *event, uint64_t checkpoint,
			 uint64_t sync_ns)
{
	uint64_t rows = 0;

	if (!w->metrics_ns)
		return;
	for (unsigned i = 0; i < w->d.n_tasks; i++)
		rows += atomic_load_explicit(&w->d.tasks[i]->rows_in, memory_order_relaxed);
	log_line(LOG_LEVEL_INFO,
		 "metrics job=%s us=%" PRIu64 " rows=%" PRIu64 " cpuUs=%" PRIu64
		 " event=%s ckpt=%" PRIu64 " syncNs=%" PRIu64,
		 w->config.job.hex, worker_clock_ns() / 1000, rows, cpu_ns() / 1000, event,
		 checkpoint, sync_ns);
}

void worker_metrics_tick(struct worker *w)
{
	uint64_t now_ns = worker_clock_ns();

	if (!w->metrics_ns || !w->execs || now_ns < w->metrics_due_ns)
		return;
	w->metrics_due_ns = now_ns + w->metrics_ns;
	worker_metrics_line(w, "tick", 0, 0);
}

/* ---- reports ---- */

struct control_report_msg worker_report_of(const struct worker *w, enum control_report kind)
{
	return (struct control_report_msg){.kind = kind,
					   .job = w->config.job,
					   .region = w->config.region,
					   .attempt = w->config.attempt,
					   .vertex = -1,
					   .subtask = -1};
}

void worker_report(struct worker *w, const struct control_report_msg *m)
{
	if (!wire_report(&w->wire, m))
		w->over = true;
}

/* Per vertex, the sum of its subtasks here. */
json_t *worker_vertices_json(const struct worker *w)
{
	const struct graph *g = w->d.graph;
	json_t *list = json_array();

	for (unsigned v = 0; v < g->n_vertices; v++) {
		struct traffic sum = {0}, t;
		bool here = false;
		for (unsigned i = 0; i < w->d.n_tasks; i++) {
			if (w->d.tasks[i]->config.vertex != v)
				continue;
			task_traffic(w->d.tasks[i], &t);
			traffic_add(&sum, &t);
			here = true;
		}
		if (here)
			traffic_put(list, v, &sum);
	}
	return list;
}

/* The agent's beat is answered by what has been done so far. */
void worker_report_traffic(struct worker *w)
{
	struct control_report_msg m = worker_report_of(w, CONTROL_REPORT_BEAT);

	if (sm_state(&w->sm) != WORKER_RUNNING)
		return;
	m.stats = json_pack("{s:o}", "vertices", worker_vertices_json(w));
	worker_report(w, &m);
	json_decref(m.stats);
}

void worker_report_plain(struct worker *w, enum control_report kind, uint64_t checkpoint)
{
	struct control_report_msg m = worker_report_of(w, kind);

	m.checkpoint.v = checkpoint;
	worker_report(w, &m);
}

void worker_orders_all(struct worker *w, const struct task_order *o)
{
	for (unsigned i = 0; w->d.tasks && i < w->d.n_tasks; i++)
		task_order(w->d.tasks[i], o);
}

/* The attempt has failed here. Only the first reason counts. */
void worker_failed(struct worker *w, const struct err *e, const struct task *t)
{
	struct control_report_msg m = worker_report_of(w, CONTROL_REPORT_FAILED);

	if (!sm_may(&w->sm, WORKER_FAILED))
		return;
	sm_move(&w->sm, WORKER_FAILED, e->text);
	m.external = e->code == ERR_UNAVAILABLE;
	m.corrupt = e->code == ERR_CORRUPT;
	if (t) {
		m.vertex = (int32_t)t->config.vertex;
		m.subtask = (int32_t)t->config.subtask;
	}
	snprintf(m.text, sizeof(m.text), "%s%s%s", t ? t->config.name : "", t ? ": " : "", e->text);
	log_line(LOG_LEVEL_WARN, "job=%s attempt=%u failed external=%d: %s", w->config.job.hex,
		 w->config.attempt.v, m.external, m.text);
	worker_report(w, &m);
	worker_orders_all(w, &(struct task_order){.kind = TASK_CANCEL});
}
