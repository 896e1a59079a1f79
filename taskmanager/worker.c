#include "taskmanager/worker.h"

#include <curl/curl.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "taskmanager/deploy.h"
#include "taskmanager/exec.h"
#include "taskmanager/restore.h"
#include "taskmanager/wire.h"

enum {
	FD_LINES = 3,
	FD_SOCKETS = 4,
	CONNECT_MS = 5000,
	BYE_MS = 500,
	PENDING_MAX = 1024,
	SPINS = 20,
	MEMORY_DEFAULT = 512 << 20,
	BUDGET_LEAST_MS = 1000, /* of one storage request with its retries */
	BUDGET_MOST_MS = 30000,
	ATTEMPT_MOST_MS = 10000,
	ATTEMPTS = 100 /* time is what ends it */
};

enum state { WAITING, PREPARED, STARTING, RUNNING, ENDING, FAILED };

static const struct sm_state states[] = {
	[WAITING] = {"WAITING", SM_TO(PREPARED) | SM_TO(ENDING) | SM_TO(FAILED)},
	[PREPARED] = {"PREPARED", SM_TO(STARTING) | SM_TO(ENDING) | SM_TO(FAILED)},
	[STARTING] = {"STARTING", SM_TO(RUNNING) | SM_TO(ENDING) | SM_TO(FAILED)},
	[RUNNING] = {"RUNNING", SM_TO(ENDING) | SM_TO(FAILED)},
	[ENDING] = {"ENDING", 0},
	[FAILED] = {"FAILED", SM_TO(ENDING)},
};

static const struct sm_table table = {"worker", states, 6};

/* What another thread has to tell the control thread. */
enum note_kind {
	NOTE_STARTED,  /* manifest read, peers connected */
	NOTE_OPENED,   /* a task has restored and runs */
	NOTE_ENDED,    /* a task's thread is done */
	NOTE_SNAPSHOT, /* the object is durable, or is not */
	NOTE_DECLINED,
	NOTE_AT_END,
	NOTE_COMMITTED,
	NOTE_BROKEN /* the start failed, or a connection is lost */
};

struct note {
	struct note *next;
	enum note_kind kind;
	struct task *task;
	uint64_t checkpoint;
	struct err err;
	struct snapshot_result *snapshot; /* owns */
};

struct pending_socket {
	int fd;
	struct preface preface;
};

struct worker {
	struct sm sm;
	struct wire wire;
	struct waker waker;
	struct deploy_config config;
	struct deployment d;
	struct task_port port;
	struct killpoint killpoint;
	struct storage *storage;
	struct local *local; /* owns; NULL: none */
	struct uploader *uploader;
	struct restore restore;
	bool restoring;
	json_t *settings;      /* owns */
	json_t *restore_json;  /* owns: the run command's */
	struct ckpt_id newest; /* the run command's newest completed */
	struct exec *execs;    /* owns; one per task */
	uint32_t n_sources, n_opened, n_ended, n_at_end;
	uint64_t *committed; /* owns; per task */
	uint64_t committed_said;
	bool running_said;
	bool job_over; /* no attempt follows */
	pthread_t starter;
	bool starter_started, starter_done;
	unsigned n_pending;
	struct pending_socket *pending; /* owns: sockets that came before `run` */
	_Atomic uint64_t leader_seen_ns;
	uint64_t metrics_ns, metrics_due_ns; /* interval of the metrics lines; 0: none */
	pthread_mutex_t lock;
	struct note *first, *last; /* under the lock */
	int exit_status;
	bool over;
};

static uint64_t clock_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static const char *setting(const struct worker *w, const char *name, const char *fallback)
{
	const char *text = json_string_value(json_object_get(w->settings, name));

	return text ? text : fallback;
}

static uint64_t setting_u64(const struct worker *w, const char *name, uint64_t fallback)
{
	const json_t *v = json_object_get(w->settings, name);

	return json_is_integer(v) && json_integer_value(v) > 0 ? (uint64_t)json_integer_value(v)
							       : fallback;
}

/* ---- metrics lines, for who measures: setting metricsMs ---- */

static uint64_t cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* One line: rows that the tasks have taken so far, and the CPU time of this process. `event` says
 * what happened at that moment. */
static void metrics_line(const struct worker *w, const char *event, uint64_t checkpoint,
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
		 w->config.job.hex, clock_ns() / 1000, rows, cpu_ns() / 1000, event, checkpoint,
		 sync_ns);
}

static void metrics_tick(struct worker *w)
{
	uint64_t now_ns = clock_ns();

	if (!w->metrics_ns || !w->execs || now_ns < w->metrics_due_ns)
		return;
	w->metrics_due_ns = now_ns + w->metrics_ns;
	metrics_line(w, "tick", 0, 0);
}

/* ---- notes ---- */

static struct note *note_make(enum note_kind kind)
{
	struct note *n = mem_alloc(sizeof(*n));

	n->kind = kind;
	return n;
}

static void note_send(struct worker *w, struct note *n)
{
	pthread_mutex_lock(&w->lock);
	if (w->first)
		w->last->next = n;
	else
		w->first = n;
	w->last = n;
	pthread_mutex_unlock(&w->lock);
	waker_wake(&w->waker);
}

static struct note *note_take(struct worker *w)
{
	pthread_mutex_lock(&w->lock);
	struct note *n = w->first;
	if (n)
		w->first = n->next;
	pthread_mutex_unlock(&w->lock);
	return n;
}

static struct worker *worker_of(struct task_port *p)
{
	return MEM_OWNER(p, struct worker, port);
}

static void port_snapshot(struct task_port *p, struct task *t, struct snapshot_part *part)
{
	(void)t;
	uploader_part(worker_of(p)->uploader, part);
}

static void port_declined(struct task_port *p, struct task *t, uint64_t checkpoint, const char *why)
{
	struct note *n = note_make(NOTE_DECLINED);

	n->task = t;
	n->checkpoint = checkpoint;
	err_set(&n->err, ERR_CANCELED, "%s: %s", t->config.name, why);
	note_send(worker_of(p), n);
}

static void port_at_end(struct task_port *p, struct task *t)
{
	struct note *n = note_make(NOTE_AT_END);

	n->task = t;
	note_send(worker_of(p), n);
}

static void port_committed(struct task_port *p, struct task *t, uint64_t checkpoint)
{
	struct note *n = note_make(NOTE_COMMITTED);

	n->task = t;
	n->checkpoint = checkpoint;
	note_send(worker_of(p), n);
}

static void task_opened(void *owner, struct task *t)
{
	struct note *n = note_make(NOTE_OPENED);

	n->task = t;
	note_send(owner, n);
}

static void task_ended(void *owner, struct task *t)
{
	struct note *n = note_make(NOTE_ENDED);

	n->task = t;
	note_send(owner, n);
}

static void snapshot_done(void *owner, const struct snapshot_result *r)
{
	struct note *n = note_make(NOTE_SNAPSHOT);

	n->snapshot = mem_copy(r, sizeof(*r));
	note_send(owner, n);
}

static void link_failed(void *owner, unsigned peer, const struct err *e)
{
	struct worker *w = owner;
	struct note *n = note_make(NOTE_BROKEN);

	err_set(&n->err, ERR_UNAVAILABLE, "data connection to %s (%s): %s", w->d.peers[peer].tm,
		w->d.peers[peer].address, e->text);
	note_send(w, n);
}

/* ---- reports ---- */

static struct control_report_msg report_of(const struct worker *w, enum control_report kind)
{
	return (struct control_report_msg){.kind = kind,
					   .job = w->config.job,
					   .region = w->config.region,
					   .attempt = w->config.attempt,
					   .vertex = -1,
					   .subtask = -1};
}

static void report(struct worker *w, const struct control_report_msg *m)
{
	if (!wire_report(&w->wire, m))
		w->over = true;
}

/* Per vertex, the sum of its subtasks here. */
static json_t *vertices_json(const struct worker *w)
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
static void report_traffic(struct worker *w)
{
	struct control_report_msg m = report_of(w, CONTROL_REPORT_BEAT);

	if (sm_state(&w->sm) != RUNNING)
		return;
	m.stats = json_pack("{s:o}", "vertices", vertices_json(w));
	report(w, &m);
	json_decref(m.stats);
}

static void report_plain(struct worker *w, enum control_report kind, uint64_t checkpoint)
{
	struct control_report_msg m = report_of(w, kind);

	m.checkpoint.v = checkpoint;
	report(w, &m);
}

static void orders_all(struct worker *w, const struct task_order *o)
{
	for (unsigned i = 0; w->d.tasks && i < w->d.n_tasks; i++)
		task_order(w->d.tasks[i], o);
}

/* The attempt has failed here. Only the first reason counts. */
static void failed(struct worker *w, const struct err *e, const struct task *t)
{
	struct control_report_msg m = report_of(w, CONTROL_REPORT_FAILED);

	if (!sm_may(&w->sm, FAILED))
		return;
	sm_move(&w->sm, FAILED, e->text);
	m.external = e->code == ERR_UNAVAILABLE;
	m.corrupt = e->code == ERR_CORRUPT;
	if (t) {
		m.vertex = (int32_t)t->config.vertex;
		m.subtask = (int32_t)t->config.subtask;
	}
	snprintf(m.text, sizeof(m.text), "%s%s%s", t ? t->config.name : "", t ? ": " : "", e->text);
	log_line(LOG_LEVEL_WARN, "job=%s attempt=%u failed external=%d: %s", w->config.job.hex,
		 w->config.attempt.v, m.external, m.text);
	report(w, &m);
	orders_all(w, &(struct task_order){.kind = TASK_CANCEL});
}

/* ---- starting ---- */

static enum errc peers_connect(struct worker *w, struct err *e)
{
	for (unsigned i = w->d.me + 1; i < w->d.n_peers; i++) {
		unsigned char bytes[PREFACE_BYTES];
		struct preface p = {.job = w->config.job,
				    .region = w->config.region,
				    .attempt = w->config.attempt,
				    .sender = w->d.me,
				    .receiver = i};
		int fd;
		if (!exchange_uses(w->d.exchange, i))
			continue;
		preface_encode(&p, bytes);
		enum errc code = exchange_connect(w->d.peers[i].address, bytes, sizeof(bytes),
						  CONNECT_MS, &fd, e);
		if (code != ERR_OK)
			return err_wrap(e, ERR_UNAVAILABLE, "data connection to %s",
					w->d.peers[i].tm);
		exchange_attach(w->d.exchange, i, fd);
	}
	return ERR_OK;
}

/* What may block: read the manifest, connect to the peers behind us in the list. */
static void *starter_main(void *arg)
{
	struct worker *w = arg;
	struct note *n = note_make(NOTE_STARTED);
	enum errc code = ERR_OK;

	if (w->restoring) {
		const char *manifest =
			json_string_value(json_object_get(w->restore_json, "manifest"));
		const char *checksum =
			json_string_value(json_object_get(w->restore_json, "checksum"));
		code = manifest ? restore_load(w->storage, w->local, manifest,
					       checksum ? checksum : "", &w->restore, &n->err)
				: err_set(&n->err, ERR_INVALID, "run: restore has no manifest");
	}
	if (code == ERR_OK)
		code = peers_connect(w, &n->err);
	if (code != ERR_OK)
		n->kind = NOTE_BROKEN;
	note_send(w, n);
	return NULL;
}

static uint64_t clamp(uint64_t v, uint64_t least, uint64_t most)
{
	return v < least ? least : v > most ? most : v;
}

/* A request that fails is tried again for as long as the checkpoint can still make it; then it is
 * declined with the reason, before the leader's clock ends it without one. */
static void storage_patience(const struct worker *w, struct storage_config *c)
{
	const struct spec_checkpointing *k = &w->d.spec->checkpointing;

	if (!k->enabled)
		return;
	c->budget_ms = clamp(k->timeout_ms / 2, BUDGET_LEAST_MS, BUDGET_MOST_MS);
	c->attempt_ms = clamp(c->budget_ms / 2, BUDGET_LEAST_MS / 2, ATTEMPT_MOST_MS);
	c->attempts = ATTEMPTS;
}

static enum errc storage_start(struct worker *w, struct err *e)
{
	struct storage_config c = {
		.url = setting(w, "storage", ""),
		.endpoint = setting(w, "s3Endpoint", NULL),
		.region = setting(w, "s3Region", NULL),
		.path_style = json_is_true(json_object_get(w->settings, "s3PathStyle")),
		.virtual_host_style =
			json_is_true(json_object_get(w->settings, "s3VirtualHostStyle")),
		.ca_file = setting(w, "s3CaFile", NULL),
		.access_key = setting(w, "s3AccessKey", NULL),
		.secret_key = setting(w, "s3SecretKey", NULL),
		.session_token = setting(w, "s3SessionToken", NULL),
		.credentials_file = setting(w, "s3CredentialsFile", NULL),
		.profile = setting(w, "s3Profile", NULL)};

	storage_config_env(&c);
	storage_patience(w, &c);
	return storage_open(&c, &w->storage, e);
}

static void local_start(struct worker *w)
{
	const char *dir = setting(w, "workDir", NULL);

	if (dir)
		w->local = local_create(dir, setting_u64(w, "localCopyBytes", 0), &w->config.job,
					w->config.region);
}

static void uploader_start(struct worker *w)
{
	const struct deploy_peer *me = &w->d.peers[w->d.me];
	char *folder = mem_printf("jobs/%s", w->config.job.hex);
	char *file = mem_printf("%u-%u-%s-%.8s", w->config.region, w->config.attempt.v, me->tm,
				me->instance);
	struct uploader_config c = {.storage = w->storage,
				    .local = w->local,
				    .n_tasks = w->d.n_tasks,
				    .folder = folder,
				    .file = file,
				    .done = snapshot_done,
				    .owner = w};

	w->uploader = uploader_create(&c);
	free(folder);
	free(file);
}

static void sockets_attach(struct worker *w)
{
	for (unsigned i = 0; i < w->n_pending; i++) {
		const struct preface *p = &w->pending[i].preface;
		if (p->sender < w->d.n_peers && p->receiver == w->d.me)
			exchange_attach(w->d.exchange, p->sender, w->pending[i].fd);
		else
			close(w->pending[i].fd);
	}
	w->n_pending = 0;
}

static void tasks_start(struct worker *w)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);

	w->execs = mem_array(w->d.n_tasks, sizeof(*w->execs));
	w->committed = mem_array(w->d.n_tasks, sizeof(*w->committed));
	for (unsigned i = 0; i < w->d.n_tasks; i++) {
		struct task *t = w->d.tasks[i];
		for (unsigned k = 0; k < t->chain.n; k++) {
			struct op_context *c = &t->chain.links[k].context;
			c->restored = w->restore.checkpoint;
			c->found = w->restoring && restore_find(&w->restore, c->uid);
		}
		w->n_sources += t->source;
		w->execs[i] = (struct exec){.task = t,
					    .spins = cores > (long)w->d.n_tasks + 1 ? SPINS : 0,
					    .restore = w->restoring ? restore_task : NULL,
					    .restore_owner = &w->restore,
					    .opened = task_opened,
					    .ended = task_ended,
					    .owner = w};
	}
	for (unsigned i = 0; i < w->d.n_tasks; i++)
		exec_start(&w->execs[i]);
}

/* ---- commands ---- */

static void on_welcome(struct worker *w, struct control_command_msg *m)
{
	enum log_level level;

	if (w->settings || !m->settings)
		return;
	w->settings = json_incref(m->settings);
	if (log_level_parse(setting(w, "logLevel", "info"), &level, NULL) != ERR_OK)
		level = LOG_LEVEL_INFO;
	if (log_open(setting(w, "taskManager", "worker"), NULL, level, NULL) != ERR_OK)
		log_set_level(level);
}

static void on_prepare(struct worker *w, struct control_command_msg *m)
{
	struct err e = {0};

	if (sm_state(&w->sm) != WAITING)
		return;
	w->config.job = m->job;
	w->config.region = m->region;
	w->config.attempt = m->attempt;
	w->config.files_root = setting(w, "filesRoot", ".");
	w->config.cluster = setting(w, "clusterId", "");
	w->config.memory_bytes = setting_u64(w, "memoryBytes", MEMORY_DEFAULT);
	w->config.flush_ns = setting_u64(w, "flushMs", 1) * 1000000;
	w->config.align_limit_ns = setting_u64(w, "alignmentLimitMs", 0) * 1000000;
	w->metrics_ns = setting_u64(w, "metricsMs", 0) * 1000000;
	enum errc code = deploy_prepare(&w->d, &w->config, m->spec, m->subtasks, &e);
	if (code == ERR_OK)
		code = storage_start(w, &e);
	if (code != ERR_OK) {
		failed(w, &e, NULL);
		return;
	}
	local_start(w);
	sm_move(&w->sm, PREPARED, "prepared");
	report_plain(w, CONTROL_REPORT_PREPARED, 0);
}

static void on_run(struct worker *w, struct control_command_msg *m)
{
	struct err e = {0};

	if (sm_state(&w->sm) != PREPARED)
		return;
	sm_move(&w->sm, STARTING, "run");
	if (deploy_wire(&w->d, m->peers, &e) != ERR_OK) {
		failed(w, &e, NULL);
		return;
	}
	w->newest = m->checkpoint;
	w->restoring = json_is_object(m->restore);
	w->restore_json = json_incref(m->restore);
	uploader_start(w);
	exchange_start(w->d.exchange);
	sockets_attach(w);
	if (pthread_create(&w->starter, NULL, starter_main, w) != 0)
		abort();
	w->starter_started = true;
}

static void on_checkpoint(struct worker *w, const struct control_command_msg *m,
			  enum task_order_kind kind)
{
	struct task_order o = {.kind = kind,
			       .barrier = {m->checkpoint.v, m->epoch.v, (uint64_t)m->trigger}};

	if (sm_state(&w->sm) != RUNNING && sm_state(&w->sm) != STARTING)
		return;
	if (kind == TASK_TRIGGER && sm_state(&w->sm) == STARTING)
		return; /* nothing runs here yet: the leader triggers after `running` */
	if (kind == TASK_TRIGGER)
		metrics_line(w, "triggered", m->checkpoint.v, 0);
	if (kind == TASK_ABORT && w->uploader)
		uploader_abort(w->uploader, m->checkpoint.v);
	if (kind == TASK_COMPLETE && w->uploader)
		uploader_complete(w->uploader, m->checkpoint.v);
	if (kind == TASK_COMPLETE && m->checkpoint.v > w->newest.v)
		w->newest = m->checkpoint;
	orders_all(w, &o);
}

/* All is told: leave without waiting for anything that may block. */
static void end_now(struct worker *w)
{
	report_plain(w, CONTROL_REPORT_ENDED, 0);
	if (w->job_over)
		local_drop_all(w->local);
	w->over = true;
}

static void on_end(struct worker *w, const struct control_command_msg *m)
{
	enum state was = (enum state)sm_state(&w->sm);

	if (was == ENDING)
		return;
	w->job_over = m->kind == CONTROL_FINISH || m->terminal;
	sm_move(&w->sm, ENDING, m->kind == CONTROL_FINISH ? "finish" : "cancel");
	log_line(LOG_LEVEL_INFO, "job=%s attempt=%u ends: %s", w->config.job.hex,
		 w->config.attempt.v, m->kind == CONTROL_FINISH ? "finished" : m->text);
	if (!w->execs || w->n_ended == w->d.n_tasks) {
		end_now(w);
		return;
	}
	orders_all(w, &(struct task_order){.kind = m->kind == CONTROL_FINISH ? TASK_FINISH
									     : TASK_CANCEL,
					   .barrier.checkpoint = m->checkpoint.v,
					   .terminal = m->terminal});
}

static bool for_us(const struct worker *w, const struct control_command_msg *m)
{
	return sm_state(&w->sm) == WAITING ||
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
		report_traffic(w);
		break;
	case CONTROL_UNKNOWN:
	case CONTROL_GOODBYE:
	case CONTROL_COMMAND_COUNT:
		break;
	}
}

static void lines_run(struct worker *w)
{
	char *line;
	size_t len;

	atomic_store(&w->leader_seen_ns, clock_ns());
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

/* ---- what the notes say ---- */

static void on_started(struct worker *w)
{
	pthread_join(w->starter, NULL);
	w->starter_started = false;
	if (sm_state(&w->sm) == STARTING)
		tasks_start(w);
}

/* Never before `running`: a restored source may be at its end while others still restore. */
static void at_end_check(struct worker *w)
{
	if (sm_state(&w->sm) == RUNNING && w->n_at_end == w->n_sources)
		report_plain(w, CONTROL_REPORT_AT_END, 0);
}

/* With where its state came from. */
static void report_running(struct worker *w)
{
	struct control_report_msg m = report_of(w, CONTROL_REPORT_RUNNING);

	if (w->restoring) {
		uint64_t local = atomic_load(&w->restore.tally.local_bytes);
		uint64_t storage = atomic_load(&w->restore.tally.storage_bytes);
		size_t copies = restore_copies(&w->restore);
		log_line(LOG_LEVEL_INFO,
			 "job=%s attempt=%u restored ckpt=%" PRIu64 ": %" PRIu64
			 " bytes from %zu local copies, %" PRIu64 " from storage",
			 w->config.job.hex, w->config.attempt.v, w->restore.checkpoint.v, local,
			 copies, storage);
		m.stats =
			json_pack("{s:I,s:I,s:I}", "localCopies", (json_int_t)copies, "localBytes",
				  (json_int_t)local, "storageBytes", (json_int_t)storage);
	}
	report(w, &m);
	json_decref(m.stats);
}

static void on_opened(struct worker *w)
{
	if (++w->n_opened < w->d.n_tasks || sm_state(&w->sm) != STARTING)
		return;
	killpoint_pass(&w->killpoint, "worker-restored");
	sm_move(&w->sm, RUNNING, "all tasks run");
	report_running(w);
	at_end_check(w);
	/* Commit what the restored state holds as pre-committed, and what completed since. */
	if (w->restore.checkpoint.v > w->newest.v)
		w->newest = w->restore.checkpoint;
	if (w->newest.v)
		orders_all(w, &(struct task_order){.kind = TASK_COMPLETE,
						   .barrier.checkpoint = w->newest.v});
}

static void on_ended(struct worker *w, struct task *t)
{
	exec_join(&w->execs[t->config.index]);
	w->n_ended++;
	if (task_failed(t) && sm_state(&w->sm) != ENDING)
		failed(w, task_error(t), t);
	if (w->n_ended < w->d.n_tasks || sm_state(&w->sm) != ENDING)
		return;
	exchange_bye(w->d.exchange, BYE_MS);
	end_now(w);
}

static void on_committed(struct worker *w, const struct note *n)
{
	uint64_t least = UINT64_MAX;

	if (n->checkpoint > w->committed[n->task->config.index])
		w->committed[n->task->config.index] = n->checkpoint;
	for (unsigned i = 0; i < w->d.n_tasks; i++)
		least = w->committed[i] < least ? w->committed[i] : least;
	if (least <= w->committed_said || sm_state(&w->sm) == FAILED)
		return;
	w->committed_said = least;
	report_plain(w, CONTROL_REPORT_COMMITTED, least);
}

static json_t *object_json(const struct snapshot_result *r)
{
	char checksum[17];

	if (!r->object.bytes)
		return json_null();
	snprintf(checksum, sizeof(checksum), "%016" PRIx64, r->object.checksum);
	return json_pack("{s:s,s:I,s:s}", "path", r->path, "bytes", (json_int_t)r->object.bytes,
			 "checksum", checksum);
}

static void on_snapshot(struct worker *w, const struct snapshot_result *r)
{
	bool ok = r->err.code == ERR_OK;
	struct control_report_msg m =
		report_of(w, ok ? CONTROL_REPORT_ACK : CONTROL_REPORT_DECLINE);

	m.checkpoint.v = r->barrier.checkpoint;
	if (!ok) {
		/* All but what the job itself has made too large is for storage to answer for. */
		m.external = r->err.code != ERR_LIMIT;
		snprintf(m.text, sizeof(m.text), "snapshot: %s", r->err.text);
		log_line(LOG_LEVEL_WARN, "job=%s ckpt=%" PRIu64 " declined: %s", w->config.job.hex,
			 m.checkpoint.v, m.text);
		report(w, &m);
		return;
	}
	metrics_line(w, "acked", m.checkpoint.v, r->sync_ns);
	killpoint_pass(&w->killpoint, "worker-snapshot-stored");
	m.object = object_json(r);
	m.stats = json_pack("{s:I,s:I,s:I,s:I,s:I,s:o}", "syncUs", (json_int_t)(r->sync_ns / 1000),
			    "asyncMs", (json_int_t)r->async_ms, "alignmentMs",
			    (json_int_t)r->align_ms, "bytes", (json_int_t)r->object.bytes,
			    "records", (json_int_t)r->rows, "vertices", vertices_json(w));
	report(w, &m);
	json_decref(m.object);
	json_decref(m.stats);
}

static void on_declined(struct worker *w, const struct note *n)
{
	struct control_report_msg m = report_of(w, CONTROL_REPORT_DECLINE);

	uploader_abort(w->uploader, n->checkpoint);
	m.checkpoint.v = n->checkpoint;
	m.external = true;
	snprintf(m.text, sizeof(m.text), "%s", n->err.text);
	log_line(LOG_LEVEL_WARN, "job=%s ckpt=%" PRIu64 " declined: %s", w->config.job.hex,
		 n->checkpoint, m.text);
	report(w, &m);
}

static void note_run(struct worker *w, struct note *n)
{
	switch (n->kind) {
	case NOTE_STARTED:
		on_started(w);
		break;
	case NOTE_OPENED:
		on_opened(w);
		break;
	case NOTE_ENDED:
		on_ended(w, n->task);
		break;
	case NOTE_SNAPSHOT:
		on_snapshot(w, n->snapshot);
		break;
	case NOTE_DECLINED:
		on_declined(w, n);
		break;
	case NOTE_AT_END:
		w->n_at_end++;
		at_end_check(w);
		break;
	case NOTE_COMMITTED:
		on_committed(w, n);
		break;
	case NOTE_BROKEN:
		failed(w, &n->err, NULL);
		break;
	}
}

/* ---- the loop ---- */

static void sockets_run(struct worker *w)
{
	struct pending_socket s;

	while (wire_socket(&w->wire, &s.fd, &s.preface)) {
		if (w->n_pending == PENDING_MAX) {
			close(s.fd);
			continue;
		}
		w->pending = mem_resize(w->pending, w->n_pending + 1, sizeof(*w->pending));
		w->pending[w->n_pending++] = s;
	}
	if (w->d.exchange)
		sockets_attach(w);
}

static void notes_run(struct worker *w)
{
	struct note *n;

	while (!w->over && (n = note_take(w)) != NULL) {
		note_run(w, n);
		free(n->snapshot);
		free(n);
	}
}

static bool notes_wait(struct worker *w)
{
	pthread_mutex_lock(&w->lock);
	bool any = w->first != NULL;
	pthread_mutex_unlock(&w->lock);
	return any;
}

static void loop(struct worker *w)
{
	while (!w->over) {
		struct pollfd p[3] = {{.fd = w->wire.lines, .events = POLLIN},
				      {.fd = w->waker.fd, .events = POLLIN},
				      {.fd = w->wire.sockets, .events = POLLIN}};
		waker_prepare(&w->waker);
		(void)poll(p, 3,
			   notes_wait(w)   ? 0
			   : w->metrics_ns ? (int)(w->metrics_ns / 1000000)
					   : -1);
		waker_cancel(&w->waker);
		if (p[1].revents)
			waker_drain(&w->waker);
		metrics_tick(w);
		notes_run(w);
		if (p[2].revents)
			sockets_run(w);
		if (p[0].revents && !w->over) {
			if (!wire_read(&w->wire))
				w->over = true;
			lines_run(w);
		}
	}
}

static void worker_init(struct worker *w, const struct op_type *const more[])
{
	memset(w, 0, sizeof(*w));
	sm_init(&w->sm, &table, WAITING);
	waker_init(&w->waker);
	pthread_mutex_init(&w->lock, NULL);
	killpoint_init(&w->killpoint);
	int flags = fcntl(FD_SOCKETS, F_GETFD);
	wire_init(&w->wire, FD_LINES, flags < 0 ? -1 : FD_SOCKETS);
	atomic_store(&w->leader_seen_ns, clock_ns());
	w->port = (struct task_port){port_snapshot, port_declined, port_at_end, port_committed};
	w->config = (struct deploy_config){.types = engine_op_types,
					   .more = more,
					   .leader_seen_ns = &w->leader_seen_ns,
					   .killpoint = &w->killpoint,
					   .port = &w->port,
					   .link_failed = link_failed,
					   .owner = w};
}

/* Only when every thread of tasks has ended: else the process just exits. */
static void worker_fini(struct worker *w)
{
	struct note *n;

	if (w->starter_started || (w->execs && w->n_ended < w->d.n_tasks))
		_exit(w->exit_status);
	if (w->storage)
		storage_cancel(w->storage);
	uploader_destroy(w->uploader);
	deploy_fini(&w->d);
	while ((n = note_take(w)) != NULL) {
		free(n->snapshot);
		free(n);
	}
	for (unsigned i = 0; i < w->n_pending; i++)
		close(w->pending[i].fd);
	storage_close(w->storage);
	restore_fini(&w->restore);
	local_destroy(w->local);
	json_decref(w->settings);
	json_decref(w->restore_json);
	wire_fini(&w->wire);
	waker_fini(&w->waker);
	pthread_mutex_destroy(&w->lock);
	free(w->execs);
	free(w->committed);
	free(w->pending);
}

int worker_main(const struct op_type *const more[], int argc, char **argv)
{
	struct worker *w = aligned_alloc(128, (sizeof(*w) + 127) & ~(size_t)127);

	(void)argc;
	(void)argv;
	if (!w || fcntl(FD_LINES, F_GETFD) < 0) {
		fprintf(stderr, "a worker is started by the agent only: descriptor 3 is missing\n");
		free(w);
		return 1;
	}
	curl_global_init(CURL_GLOBAL_DEFAULT);
	worker_init(w, more);
	loop(w);
	int status = w->exit_status;
	worker_fini(w);
	free(w);
	return status;
}
