/*
 * inspect - what REST may show of the brain, as plain structs.
 *
 * Everything here is read only and borrowed until the next jm_step(). Times
 * `*_wall_ms` are since 1970. The hot document (doc.h) is handed out as it is
 * recorded: checkpoints retained, in flight and given up, failures, attempts
 * and time stamps are read there.
 */
#ifndef JOBMANAGER_INSPECT_H
#define JOBMANAGER_INSPECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "job/graph.h"
#include "job/spec.h"
#include "jobmanager/counts.h"
#include "jobmanager/doc.h"
#include "jobmanager/flow.h"
#include "jobmanager/jm.h"
#include "jobmanager/tms.h"

enum jm_role_view { JM_IS_FOLLOWING, JM_IS_LEADING, JM_IS_SUSPENDED };

struct jm_cluster_view {
	enum jm_role_view role;
	struct epoch epoch; /* 0 unless leading or suspended */
	size_t n_tms;       /* CONNECTED or AWAY */
	uint64_t slots_total, slots_free;
	size_t jobs_running, jobs_finished, jobs_canceled,
		jobs_failed; /* as Flink counts: running =
	                             not terminal */
	bool done_loaded;    /* terminal jobs of earlier leaders are known */
};
void jm_view_cluster(const struct jm *jm, struct jm_cluster_view *out);

struct jm_job_view {
	const struct doc *doc;     /* as recorded (a job being created: as proposed) */
	const struct spec *spec;   /* NULL: not known (not read yet; a tombstone without it) */
	const struct graph *graph; /* NULL with spec */
	const char *state;   /* the machine's own: "WAITING", "DEPLOYING", "RECONCILING", ... */
	const char *status;  /* Flink's JobStatus: "CREATED", "RUNNING", "RECONCILING", ... */
	const char *trouble; /* "" or why it does not go on: slots missing, storage unavailable */
	bool terminal;
	bool accepted; /* false while its creation is being recorded: do not show it */
	bool deciding; /* a decision is in flight */
};
size_t jm_view_jobs(const struct jm *jm);                                        /* how many */
void jm_view_job_at(const struct jm *jm, size_t index, struct jm_job_view *out); /* by job id */
bool jm_view_job(const struct jm *jm, const struct job_id *job, struct jm_job_view *out);

/* Why nothing is changed: the store cannot be believed. */
struct jm_stopped_view {
	const char *why;       /* "": it can */
	struct epoch ahead;    /* the highest epoch that somebody remembers; 0: none above ours */
	struct epoch accepted; /* what older leaders left is no contradiction; 0: nothing is */
};
void jm_view_stopped(const struct jm *jm, struct jm_stopped_view *out);

const struct counts *jm_view_counts(const struct jm *jm);

/* A job that is in the store and was not opened: quarantined, or its turn has not come. */
struct jm_held_view {
	struct job_id job;
	bool held;             /* quarantined */
	uint32_t marks;        /* leaders that died as they opened it */
	int64_t since_wall_ms; /* quarantined since, 0: not */
	int64_t again_wall_ms; /* will be tried again, 0: soon */
};
size_t jm_view_helds(const struct jm *jm);
void jm_view_held_at(const struct jm *jm, size_t index, struct jm_held_view *out);
bool jm_view_held(const struct jm *jm, const struct job_id *job, struct jm_held_view *out);

enum jm_task_state { /* ExecutionState names: jm_task_state_name() */
		     JM_TASK_CREATED,
		     JM_TASK_SCHEDULED, /* waits for a slot */
		     JM_TASK_DEPLOYING,
		     JM_TASK_INITIALIZING, /* prepared, told to run */
		     JM_TASK_RUNNING,
		     JM_TASK_FINISHED,
		     JM_TASK_CANCELING,
		     JM_TASK_CANCELED,
		     JM_TASK_FAILED,
		     JM_TASK_RECONCILING,
		     JM_TASK_STATE_COUNT
};

struct jm_task_view {
	enum jm_task_state state;
	struct attempt attempt;
	const char *tm_id;    /* "" if not placed */
	const char *endpoint; /* host of that TaskManager, "" if unknown */
	bool at_end;
};
/* Subtask of a vertex of a job with a graph; false if there is no such. */
bool jm_view_task(const struct jm *jm, const struct job_id *job, unsigned vertex, uint32_t subtask,
		  struct jm_task_view *out);
/* What went through a vertex, as last said; false: nothing is known (yet, or any more). */
bool jm_view_flow(const struct jm *jm, const struct job_id *job, unsigned vertex,
		  struct flow_vertex *out);
const char *jm_task_state_name(enum jm_task_state state);

/* A checkpoint in flight, beyond what the document says. */
struct jm_flight_view {
	struct ckpt_id id;
	enum control_trigger kind;
	int64_t triggered_wall_ms;
	int64_t latest_ack_wall_ms; /* 0: none yet */
	uint32_t parts, acked;      /* workers asked, workers that acknowledged */
	uint64_t bytes;             /* acknowledged so far */
	const char *state;          /* "TRIGGERED", "SEALING", "SEALED", "DOOMED" */
};
size_t jm_view_flights(const struct jm *jm, const struct job_id *job, struct jm_flight_view *out,
		       size_t max);

struct jm_tm_view {
	const struct taskmanager *tm;
	const char *unusable; /* "" or why no task is placed there */
	uint32_t free;
	uint64_t silent_ms; /* since it was last heard, as of the last step */
};
size_t jm_view_tms(const struct jm *jm);
void jm_view_tm_at(const struct jm *jm, size_t index, struct jm_tm_view *out);

#endif
