/*
 * job - one job: what is recorded about it, what is known about it, and the
 * step from the one to the other.
 *
 *  CREATING --recorded--> WAITING --slots--> DEPLOYING --all run--> RUNNING --at end--> FINISHING
 *                          ^  ^                 |                      |                       |
 *  RECONCILING --adopted---|--|-----------------+--> (or straight there)                       |
 *     (new leader)         |  +---- delay over ---- RESTARTING <--failed--+--------------------+
 *                                                                                              |
 *  any of them --intent recorded--> CANCELLING / FAILING --commits confirmed--> CANCELED / FAILED
 *                                                                                FINISHED <----+
 *  (FINISHED also from RESTARTING, DEPLOYING, RUNNING: the decision was on its way when a
 *  worker died)
 *
 * How it works: events change facts (what each worker reported, acknowledgements,
 * failures); then job_advance() looks at recorded document and facts and
 *  (1) sends every command that the *recorded* document calls for and that was not yet sent
 *      (prepare, run, trigger, complete, abort, cancel, finish);
 *  (2) if no decision is in flight, drafts the next document; if that differs, asks for it to be
 *      recorded. Nothing follows from a draft: once it is recorded it is the document, and (1)
 *      sees it.
 * So a command can only repeat what is recorded, and a lost command is sent again when its
 * TaskManager registers again, by the same rule that sent it first. A new leader's adoption is
 * the same step: facts come from the inventories.
 *
 * The state of the machine above is derived from document and facts at the end of each step; it
 * decides nothing by itself. Regions of a job restart alone; the state shows the least advanced.
 *
 * The end: an intent (cancel, or a failure that no restart follows) is recorded; every flight is
 * given up with it; sinks confirm the newest completed checkpoint, if need be those of another
 * attempt that does nothing else (job_ending.c), or the commit timeout passes: then
 * `resolve/<job>` names what was left; the tombstone `done/<job>` replaces `run/<job>` and
 * `spec/<job>` in one transaction; then workers are told, and roll back what no completed
 * checkpoint holds. When the sinks that were left confirm after all, `resolve/<job>` is deleted
 * (job_resolve.c).
 *
 * A report ahead of the document (a higher attempt, an unknown newer checkpoint), or a chain that
 * somebody else moved, means that the store went back in time: the job is frozen (it neither
 * decides nor commands) and says so.
 *
 * Ownership: jm owns the jobs. Threads: one.
 */
#ifndef JOBMANAGER_JOB_H
#define JOBMANAGER_JOB_H

#include <stdbool.h>
#include <stdint.h>

#include "base/ids.h"
#include "base/sm.h"
#include "job/graph.h"
#include "job/spec.h"
#include "jobmanager/ckpt.h"
#include "jobmanager/cleanup.h"
#include "jobmanager/counts.h"
#include "jobmanager/doc.h"
#include "jobmanager/effects.h"
#include "jobmanager/flow.h"
#include "jobmanager/tms.h"
#include "jobmanager/whereabouts.h"

enum job_state {
	JOB_CREATING,    /* the transaction that creates it is in flight */
	JOB_RECONCILING, /* a new leader waits for the specification and the TaskManagers */
	JOB_WAITING,     /* for slots */
	JOB_DEPLOYING,
	JOB_RUNNING,
	JOB_RESTARTING, /* the delay after a failure */
	JOB_FINISHING,  /* all sources at their end: last checkpoint, commits */
	JOB_CANCELLING,
	JOB_FAILING,
	JOB_FINISHED,
	JOB_FAILED,
	JOB_CANCELED,
	JOB_STATE_COUNT
};

enum part_state {                 /* of one worker of the recorded attempt */
		  PART_ABSENT,    /* not there, or no word yet */
		  PART_PREPARING, /* the TaskManager said so */
		  PART_PREPARED,
		  PART_RUNNING,
		  PART_FAILED,
		  PART_ENDED,
		  PART_STATE_COUNT
};

struct job_part {
	struct taskmanager *tm; /* borrows; NULL: not registered now */
	enum part_state state;
	uint32_t n_slots;
	bool seen; /* an inventory was read for it */
	bool told_prepare, told_run, told_end;
	bool sinks; /* hosts a subtask of a sink that commits */
	bool at_end;
	struct ckpt_id told_complete;
	uint64_t told_aborts; /* of the document's n_given_up, so many */
	struct ckpt_id committed;
	char address[128];
};

enum region_phase { REGION_WAITING, REGION_DEPLOYING, REGION_RUNNING, REGION_PHASE_COUNT };

/* Who held the slots of the attempt before: a hint for the next placement. */
struct job_former {
	uint32_t n_tms, n_slots; /* 0: nobody */
	struct doc_tm *tms;      /* owns */
	uint16_t *owner;         /* owns; per slot */
};

struct job_region {
	enum region_phase phase;
	unsigned n_parts;       /* = recorded n_tms */
	struct job_part *parts; /* owns */
	unsigned n_next;        /* parts of the placement in the draft that is in flight */
	struct job_part *next;  /* owns */
	struct job_former former;
	uint64_t given_up_before; /* the document's n_given_up as this attempt was placed */
	uint64_t waiting_since_ms;
	uint64_t not_before_ms;   /* of the recorded back-off, on our clock */
	uint64_t commit_again_ms; /* another attempt that only commits: not before */
	bool ran;                 /* this attempt was RUNNING */
	bool failed;              /* the recorded attempt failed; `failure` says how */
	bool corrupt;
	struct doc_failure failure;
};

enum { JOB_WAITERS_MAX = 64 };

struct job_waiter {
	uint64_t token;
	bool cancel; /* else: submit */
};

/* A worker of an attempt that is over (or of a job that is), still to be told so. */
struct job_leftover {
	struct taskmanager *tm; /* borrows */
	uint32_t region;
	struct attempt attempt;
};

struct job {
	struct doc doc;      /* as recorded */
	uint64_t revision;   /* of the chain as recorded */
	struct doc draft;    /* while deciding */
	uint64_t deciding;   /* token of the decision in flight; 0: none */
	uint64_t retry_ms;   /* a refused decision: not again before */
	struct sm sm;        /* enum job_state */
	struct spec *spec;   /* owns; NULL until read */
	struct graph *graph; /* owns */
	uint64_t reading;    /* token of the read of the specification; 0: none */
	uint64_t read_retry_ms;
	uint64_t grace_until_ms;    /* RECONCILING at most until then; 0: not reconciling */
	struct job_region *regions; /* owns; as many as the document has */
	struct ckpt ckpt;
	uint32_t lost_attempt;    /* highest seen of a history that the store has lost; 0: none */
	uint64_t lost_checkpoint; /* likewise */
	struct ckpt_id inherited; /* checkpoints below were begun by another leader; 0: none */
	bool cancel_wanted;
	bool fatal; /* no restart follows; `fatal_failure` says why */
	struct doc_failure fatal_failure;
	uint64_t ending_since_ms; /* an intent to end is recorded */
	bool frozen;              /* contradicts the store */
	char trouble[256];        /* "" or why it does not go on */
	unsigned n_waiters;
	struct job_waiter waiters[JOB_WAITERS_MAX];
	struct ckpt_drops drops; /* of the draft in flight */
	struct flow flow;        /* what went through its vertices */
	unsigned n_leftovers;
	struct job_leftover *leftovers; /* to be cancelled; owns */
	bool slots_changed;             /* jm: which slots it has, or has no more */
	uint64_t wake_ms;               /* jm: of its last step */
	bool gone;                      /* jm: remove it */
	bool existed; /* its creation met one of this id in the store: `reading` its tombstone */
	bool touched; /* jm: an event concerned it */
};

/* What a job's step may use: everything else of the brain. Borrowed for the call. */
struct job_env {
	uint64_t now_ms;
	int64_t wall_ms;
	struct epoch epoch;
	bool leading;         /* may decide and command; else only facts are taken */
	bool may_place;       /* every job is opened: what slots they take is known */
	unsigned *placements; /* that may still be made in this step of the brain */
	uint64_t
		*free_slots; /* of all TaskManagers that may be used; goes down as they are given */
	struct whereabouts *whereabouts;
	const char *cluster_id;
	const char *instance;
	uint64_t reconcile_grace_ms, commit_timeout_ms, cleanup_delay_ms;
	struct tms *tms;
	struct cleanup *cleanup;
	uint64_t *next_token;
	struct counts *counts;
	char *stopped; /* of the brain, 256 bytes: a contradiction stops everything */
	struct jm_effects *fx;
};

/* A new job (state CREATING). Takes `spec`. */
struct job *job_create(const struct job_env *env, const struct job_id *id, struct spec *spec);
/* A job found by a new leader (RECONCILING), or a tombstone (terminal). Takes `doc`. */
struct job *job_load(const struct job_env *env, struct doc *doc, uint64_t revision);
void job_destroy(struct job *job);

/* ---- facts ---- */

void job_tm_registered(struct job *job, const struct job_env *env, struct taskmanager *tm,
		       const struct control_registration *r);
/* The TaskManager is lost for good. `why` completes "TaskManager tm-1 ...". */
void job_tm_lost(struct job *job, const struct job_env *env, struct taskmanager *tm,
		 const char *why);
void job_report(struct job *job, const struct job_env *env, struct taskmanager *tm,
		const struct control_report_msg *m);
/* What a worker of the recorded attempt, or of `ran`, says of its vertices (flow.h). */
void job_note_flow(struct job *job, const struct taskmanager *tm, uint32_t region,
		   struct attempt attempt, const json_t *vertices, uint64_t now_ms);
/* Nothing could be decided or commanded until now: the commit timeout of a job that is to end
 * counts from now. */
void job_begin_ending_again(struct job *job, uint64_t now_ms);
void job_decided(struct job *job, const struct job_env *env, enum errc code, const char *text,
		 uint64_t revision);
void job_spec_read(struct job *job, const struct job_env *env, enum errc code, const char *text,
		   const char *value, size_t len);
/* Its creation met a job of this id; what was read at `done/<job>` says which. Whoever waits is
 * answered, and the job is gone. `tombstone` NULL: there is none, or it cannot be read. */
void job_met(struct job *job, const struct job_env *env, enum errc code,
	     const struct doc *tombstone);
/* `resolve/<job>` was read: it has this revision. */
void job_resolve_read(struct job *job, const struct job_env *env, enum errc code,
		      uint64_t revision);
/* This leader is deposed: whoever waits is told so. */
void job_abandon(struct job *job, const struct job_env *env);
/* Answered at once, or when the intent is recorded. */
void job_cancel(struct job *job, const struct job_env *env, uint64_t token);
/* The same submission again: answered when the creation is recorded. */
void job_submitted_again(struct job *job, const struct job_env *env, uint64_t token,
			 const json_t *spec);

/* ---- step ---- */

void job_advance(struct job *job, const struct job_env *env);
uint64_t job_wake_ms(const struct job *job, uint64_t commit_timeout_ms);
/* Its workers in this TaskManager's inventory whose attempts are over are cancelled. */
void job_leftovers(struct job *job, const struct job_env *env, struct taskmanager *tm);
/* Add this job's slots to tm->used of every registered TaskManager. */
void job_count_slots(const struct job *job);
/* Those on one TaskManager. */
uint32_t job_slots_at(const struct job *job, const struct taskmanager *tm);
bool job_waits_for_slots(const struct job *job);
/* Could one of its regions be placed, with so many free slots? No, if not. */
bool job_may_be_placed(const struct job *job, uint64_t free_slots);
bool job_holds(const struct job *job);
bool job_terminal(const struct job *job);
const char *job_status_name(const struct job *job); /* Flink's JobStatus */
extern const struct sm_table job_table;
const char *part_state_name(enum part_state state);

#endif
