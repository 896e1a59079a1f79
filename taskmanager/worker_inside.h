/*
 * worker_inside - the worker's struct, shared by the files that make it up. Nobody else includes
 * it.
 *
 *   worker.c           the control thread's loop; beginning and end
 *   worker_commands.c  what the agent's lines tell it
 *   worker_start.c     storage, peers, restore, tasks: from `run` to the first row
 *   worker_notes.c     what other threads tell it
 *   worker_reports.c   what it tells the agent, and its log
 *
 * Everything but worker_note_send() and the callbacks beside it belongs to the control thread.
 */
#ifndef TASKMANAGER_WORKER_INSIDE_H
#define TASKMANAGER_WORKER_INSIDE_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/killpoint.h"
#include "base/sm.h"
#include "taskmanager/deploy.h"
#include "taskmanager/exec.h"
#include "taskmanager/local.h"
#include "taskmanager/restore.h"
#include "taskmanager/wire.h"
#include "taskmanager/worker.h"

enum worker_state {
	WORKER_WAITING,
	WORKER_PREPARED,
	WORKER_STARTING,
	WORKER_RUNNING,
	WORKER_ENDING,
	WORKER_FAILED,
	WORKER_STATE_COUNT
};

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

/* ---- worker.c ---- */

uint64_t worker_clock_ns(void);
/* Of the welcome. */
const char *worker_setting(const struct worker *w, const char *name, const char *fallback);
uint64_t worker_setting_u64(const struct worker *w, const char *name, uint64_t fallback);

/* ---- worker_commands.c ---- */

void worker_lines_run(struct worker *w); /* all lines that have been read */
/* All is told: leave without waiting for anything that may block. */
void worker_end_now(struct worker *w);

/* ---- worker_start.c ---- */

MUST_CHECK enum errc worker_storage_start(struct worker *w, struct err *e);
void worker_local_start(struct worker *w);
void worker_uploader_start(struct worker *w);
/* Reads the manifest and connects to the peers on a thread of its own; ends in a note. */
void worker_start(struct worker *w);
void worker_sockets_attach(struct worker *w);
void worker_tasks_start(struct worker *w);

/* ---- worker_notes.c ---- */

struct note *worker_note_make(enum note_kind kind);
void worker_note_send(struct worker *w, struct note *n); /* any thread; takes the note */
bool worker_notes_wait(struct worker *w);                /* are there any? */
void worker_notes_run(struct worker *w);
void worker_notes_clear(struct worker *w);
extern const struct task_port worker_port; /* and the other callbacks: any thread */
void worker_task_opened(void *owner, struct task *t);
void worker_task_ended(void *owner, struct task *t);
void worker_snapshot_done(void *owner, const struct snapshot_result *r);
void worker_link_failed(void *owner, unsigned peer, const struct err *e);

/* ---- worker_reports.c ---- */

struct control_report_msg worker_report_of(const struct worker *w, enum control_report kind);
void worker_report(struct worker *w, const struct control_report_msg *m);
void worker_report_plain(struct worker *w, enum control_report kind, uint64_t checkpoint);
/* What has been done so far: the answer to the agent's beat. */
void worker_report_traffic(struct worker *w);
json_t *worker_vertices_json(const struct worker *w);
/* The attempt has failed here. Only the first reason counts. */
void worker_failed(struct worker *w, const struct err *e, const struct task *t);
void worker_orders_all(struct worker *w, const struct task_order *o);
/* One line for who measures (setting metricsMs): rows that the tasks have taken so far, and the CPU
 * time of this process. `event` says what happened at that moment. */
void worker_metrics_line(const struct worker *w, const char *event, uint64_t checkpoint,
			 uint64_t sync_ns);
void worker_metrics_tick(struct worker *w);

#endif
