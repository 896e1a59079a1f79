/*
 * agent_parts - what agent_core's files share among themselves; nobody else includes it.
 *
 *   agent_core.c     the session: finding a leader, registering, commands, timers
 *   agent_items.c    attempts and their workers
 *   agent_alone.c    saying that nobody is there
 *   agent_reports.c  effects, the queue of reports, the inventory
 */
#ifndef TASKMANAGER_AGENT_PARTS_H
#define TASKMANAGER_AGENT_PARTS_H

#include "taskmanager/agent_core.h"

struct agent_item {
	uint64_t id;
	struct control_item c; /* c.state mirrors `state` */
	struct sm state;       /* agent_item_table */
	struct sm worker;      /* agent_worker_table */
	uint32_t slots;
	bool run_sent;
	bool closing;     /* the leader cancelled or finished it: its exit means ENDED */
	uint64_t kill_ms; /* the worker must be gone by then; 0: no limit */
	uint64_t unknown_since_ms,
		unknown_ms; /* "unknown job": first and last of an unbroken row */
};

struct agent_ended {
	struct job_id job;
	uint32_t region;
	struct attempt attempt;
};

/* One step's arguments, handed down. */
struct agent_turn {
	struct agent_core *c;
	const struct agent_event *ev;
	struct agent_effects *out;
};

/* ---- agent_reports.c ---- */

struct agent_effect *agent_effect_add(struct agent_turn *t, enum agent_effect_kind kind);
void agent_log(struct agent_turn *t, enum log_level level, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* A queued report, identity and number filled in, for the caller to complete; NULL while no
 * registration is under way (the next inventory will tell it). */
struct control_report_msg *agent_report_add(struct agent_turn *t, enum control_report kind,
					    const struct job_id *job, uint32_t region,
					    struct attempt attempt);
/* Forget all but the declines, which are numbered anew from 1. */
void agent_reports_restart(struct agent_core *c);
void agent_reports_drop(struct agent_core *c, unsigned count); /* the first `count` */
void agent_reports_clear(struct agent_core *c);

/* ---- agent_alone.c ---- */

void agent_alone(struct agent_turn *t); /* says what is to be said */
uint64_t agent_alone_wake_ms(const struct agent_core *c);

/* ---- agent_items.c ---- */

void agent_items_fini(struct agent_core *c);
/* prepare, run, trigger, complete, abort, finish, cancel, unknown */
void agent_items_command(struct agent_turn *t, const struct control_command_msg *m);
/* Workers tell by the leader's beats whether there is a leader. */
void agent_items_beat(struct agent_turn *t);
void agent_items_report(struct agent_turn *t, uint64_t item, const struct control_report_msg *r);
/* What went through the tasks, for a beat's `stats`; a new value. */
json_t *agent_items_traffic(const struct agent_core *c);
void agent_items_exit(struct agent_turn *t);
void agent_items_spawn_failed(struct agent_turn *t);
void agent_items_time(struct agent_turn *t); /* workers that overstayed */
uint64_t agent_items_wake_ms(const struct agent_core *c);
/* Every attempt that goes on fails here, as external, for this reason. */
void agent_items_fail_all(struct agent_turn *t, const char *why);
bool agent_items_going(const struct agent_core *c);   /* any that is neither failed nor closing */
bool agent_items_workers(const struct agent_core *c); /* any process left */

#endif
