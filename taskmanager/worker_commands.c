#include "taskmanager/worker_inside.h"

#include <stdlib.h>

#include "base/log.h"

enum { MEMORY_DEFAULT = 512 << 20 };

static void on_welcome(struct worker *w, struct control_command_msg *m)
{
	enum log_level level;

	if (w->settings || !m->settings)
		return;
	w->settings = json_incref(m->settings);
	if (log_level_parse(worker_setting(w, "logLevel", "info"), &level, NULL) != ERR_OK)
		level = LOG_LEVEL_INFO;
	if (log_open(worker_setting(w, "taskManager", "worker"), NULL, level, NULL) != ERR_OK)
		log_set_level(level);
}

static void on_prepare(struct worker *w, struct control_command_msg *m)
{
	struct err e = {0};

	if (sm_state(&w->sm) != WORKER_WAITING)
		return;
	w->config.job = m->job;
	w->config.region = m->region;
	w->config.attempt = m->attempt;
	w->config.files_root = worker_setting(w, "filesRoot", ".");
	w->config.cluster = worker_setting(w, "clusterId", "");
	w->config.memory_bytes = worker_setting_u64(w, "memoryBytes", MEMORY_DEFAULT);
	w->config.flush_ns = worker_setting_u64(w, "flushMs", 1) * 1000000;
	w->config.align_limit_ns = worker_setting_u64(w, "alignmentLimitMs", 0) * 1000000;
	w->metrics_ns = worker_setting_u64(w, "metricsMs", 0) * 1000000;
	enum errc code = deploy_prepare(&w->d, &w->config, m->spec, m->subtasks, &e);
	if (code == ERR_OK)
		code = worker_storage_start(w, &e);
	if (code != ERR_OK) {
		worker_failed(w, &e, NULL);
		return;
	}
	worker_local_start(w);
	sm_move(&w->sm, WORKER_PREPARED, "prepared");
	worker_report_plain(w, CONTROL_REPORT_PREPARED, 0);
}

static void on_run(struct worker *w, struct control_command_msg *m)
{
	struct err e = {0};

	if (sm_state(&w->sm) != WORKER_PREPARED)
		return;
	sm_move(&w->sm, WORKER_STARTING, m->commit_only ? "run, only to commit" : "run");
	w->d.config.commit_only = m->commit_only;
	if (deploy_wire(&w->d, m->peers, &e) != ERR_OK) {
		worker_failed(w, &e, NULL);
		return;
	}
	w->newest = m->checkpoint;
	w->restoring = json_is_object(m->restore);
	w->restore_json = json_incref(m->restore);
	worker_uploader_start(w);
	exchange_start(w->d.exchange);
	worker_sockets_attach(w);
	worker_start(w);
}

static void on_checkpoint(struct worker *w, const struct control_command_msg *m,
			  enum task_order_kind kind)
{
	struct task_order o = {.kind = kind,
			       .barrier = {m->checkpoint.v, m->epoch.v, (uint64_t)m->trigger}};

	if (sm_state(&w->sm) != WORKER_RUNNING && sm_state(&w->sm) != WORKER_STARTING)
		return;
	if (kind == TASK_TRIGGER && sm_state(&w->sm) == WORKER_STARTING)
		return; /* nothing runs here yet: the leader triggers after `running` */
	if (kind == TASK_TRIGGER)
		worker_metrics_line(w, "triggered", m->checkpoint.v, 0);
	if (kind == TASK_ABORT && w->uploader)
		uploader_abort(w->uploader, m->checkpoint.v);
	if (kind == TASK_COMPLETE && w->uploader)
		uploader_complete(w->uploader, m->checkpoint.v);
	if (kind == TASK_COMPLETE && m->checkpoint.v > w->newest.v)
		w->newest = m->checkpoint;
	worker_orders_all(w, &o);
}

/* All is told: leave without waiting for anything that may block. */
void worker_end_now(struct worker *w)
{
	worker_report_plain(w, CONTROL_REPORT_ENDED, 0);
	if (w->job_over)
		local_drop_all(w->local);
	w->over = true;
}

static void on_end(struct worker *w, const struct control_command_msg *m)
{
	enum worker_state was = (enum worker_state)sm_state(&w->sm);

	if (was == WORKER_ENDING)
		return;
	w->job_over = m->kind == CONTROL_FINISH || m->terminal;
	sm_move(&w->sm, WORKER_ENDING, m->kind == CONTROL_FINISH ? "finish" : "cancel");
	log_line(LOG_LEVEL_INFO, "job=%s attempt=%u ends: %s", w->config.job.hex,
		 w->config.attempt.v, m->kind == CONTROL_FINISH ? "finished" : m->text);
	if (!w->execs || w->n_ended == w->d.n_tasks) {
		worker_end_now(w);
		return;
	}
	worker_orders_all(w, &(struct task_order){.kind = m->kind == CONTROL_FINISH ? TASK_FINISH
										    : TASK_CANCEL,
						  .barrier.checkpoint = m->checkpoint.v,
						  .terminal = m->terminal});
}

static bool for_us(const struct worker *w, const struct control_command_msg *m)
{
	return sm_state(&w->sm) == WORKER_WAITING ||
	       (job_id_equal(&m->job, &w->config.job) && m->region == w->config.region &&
		m->attempt.v == w->config.attempt.v);
}

static void command_run(struct worker *w, struct control_command_msg *m)
{
	if (m->kind != CONTROL_WELCOME && m->kind != CONTROL_BEAT && !for_us(w, m)) {
		log_line(LOG_LEVEL_WARN, "%s for another attempt, ignored",
			 control_command_name(m->kind));
		return;
	}
	switch (m->kind) {
	case CONTROL_WELCOME:
		on_welcome(w, m);
		break;
	case CONTROL_PREPARE:
		on_prepare(w, m);
		break;
	case CONTROL_RUN:
		on_run(w, m);
		break;
	case CONTROL_TRIGGER:
		on_checkpoint(w, m, TASK_TRIGGER);
		break;
	case CONTROL_COMPLETE:
		on_checkpoint(w, m, TASK_COMPLETE);
		break;
	case CONTROL_ABORT:
		on_checkpoint(w, m, TASK_ABORT);
		break;
	case CONTROL_FINISH:
	case CONTROL_CANCEL:
		on_end(w, m);
		break;
	case CONTROL_BEAT:
		worker_report_traffic(w);
		break;
	case CONTROL_UNKNOWN:
	case CONTROL_GOODBYE:
	case CONTROL_COMMAND_COUNT:
		break;
	}
}

void worker_lines_run(struct worker *w)
{
	char *line;
	size_t len;

	atomic_store(&w->leader_seen_ns, worker_clock_ns());
	while (!w->over && wire_line(&w->wire, &line, &len)) {
		struct control_command_msg m;
		struct err e = {0};
		if (control_command_decode(line, len, &m, &e) != ERR_OK) {
			log_line(LOG_LEVEL_WARN, "a line from the agent is ignored: %s", e.text);
			continue;
		}
		command_run(w, &m);
		control_command_fini(&m);
	}
}
