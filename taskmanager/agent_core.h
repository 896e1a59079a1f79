/*
 * agent_core - what a TaskManager's agent decides: whom to register with, which
 * workers run, what to report, and when to stop for want of a leader.
 *
 * Pure: it reads no clock, opens nothing and calls nobody. agent_step() takes
 * one event with its time and appends effects, which the driver (agent.h)
 * carries out in order.
 *
 * The session with the leader:
 *
 *   FINDING --a leader is known--> REGISTERING --welcome--> REGISTERED
 *      ^                             |      ^                |     |
 *      +--refused, timed out---------+      +--cookie read---+     |
 *      |                             |                             |
 *    LOST <--refused, timed out------+                             |
 *      ^ \--a leader is known--> REGISTERING                       |
 *      +-------stream ended, silent, gap, lower epoch--------------+
 *   any --asked to stop--> STOPPING
 *
 * FINDING: never registered yet. LOST: tasks go on while a leader is looked for.
 *
 * One region attempt here, as the leader sees it (rest/control.h):
 *
 *   PREPARING --> PREPARED --> RUNNING --> FAILED --> ENDED   (each may be skipped)
 *
 * and its worker process:
 *
 *   NONE --spawn--> UP --cancel, finish, failed--> ENDING --too long--> KILLED
 *                   |                                |                    |
 *                   +------------ exit --------------+--------------------+--> GONE
 *
 * Invariants
 *  - there is at most one living attempt of a (job, region): a newer prepare ends the older one;
 *  - an attempt that ended here is never prepared again (the newest AGENT_ENDED_MAX stay known);
 *  - `highest` only grows, and no command of a lower epoch is carried out;
 *  - reports exist only while a registration is under way or stands: their numbers begin at 1 with
 *    it, its inventory holds all that was true when it began; declines alone are carried over;
 *  - the inventory holds no ENDED item: absent means ended;
 *  - a FAILED item stays until the leader cancels it or prepares a newer attempt.
 *
 * Without a leader (times count from the last sign of life)
 *  - no JobManager answered anything for orphan_ms: every attempt fails with "no JobManager";
 *  - some JobManager says who leads, and that one could not be registered with for
 *    heartbeat_ms + AGENT_UNREACHABLE_EXTRA_MS: likewise; it will have replaced this TaskManager;
 *  - a JobManager that answers "nobody leads now" keeps everything going for ever.
 *  - "unknown job" heard for orphan_ms with no pause over AGENT_UNKNOWN_GAP_MS: that job's
 *    attempts fail.
 * Such attempts fail as external: the next leader restarts them without counting it.
 *
 * Being without a leader is said (agent_alone.c): once when it has lasted some seconds, then every
 * minute, and when it is over.
 *
 * Slots: a worker needs as many as its largest number of subtasks of one vertex; regions of one job
 * share slots. A prepare beyond the slots fails (external: it was the leader's mistake).
 *
 * Ownership: the struct is the caller's (init/fini); it owns its items, queue and their JSON.
 * Events are borrowed for the step. Effects borrow from the event and the state until the next.
 * Threads: one. Limits: LIMIT_TASKMANAGER_JOBS items; AGENT_PEERS_MAX JobManagers.
 */
#ifndef TASKMANAGER_AGENT_CORE_H
#define TASKMANAGER_AGENT_CORE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/ids.h"
#include "base/log.h"
#include "base/sm.h"
#include "rest/control.h"

enum {
	AGENT_PEERS_MAX = 16,
	AGENT_ENDED_MAX = 4096,
	AGENT_POST_MAX = 256,     /* reports in one POST */
	AGENT_WITNESS_MS = 1500,  /* silence after which every JobManager is asked */
	AGENT_REGISTER_MS = 5000, /* from the POST to the welcome */
	AGENT_RETRY_MS = 200,     /* pause after a refused or failed request, plus jitter */
	AGENT_BEAT_MS = 1000,
	AGENT_COOKIE_RETRY_MS = 5000,
	AGENT_HEARTBEAT_MS = 5000, /* until a welcome says otherwise */
	AGENT_ORPHAN_MS = 60000,   /* likewise */
	AGENT_UNREACHABLE_EXTRA_MS = 10000,
	AGENT_UNKNOWN_GAP_MS = 20000,
	AGENT_CANCEL_MS = 2000,    /* a cancelled or failed worker must be gone by then */
	AGENT_TERMINAL_MS = 10000, /* the same when it finishes or rolls back first */
	AGENT_STOP_MS = 4000       /* longest orderly end of the agent itself */
};

enum agent_state {
	AGENT_FINDING,
	AGENT_REGISTERING,
	AGENT_REGISTERED,
	AGENT_LOST,
	AGENT_STOPPING,
	AGENT_STATE_COUNT
};

enum agent_worker {
	AGENT_WORKER_NONE,
	AGENT_WORKER_UP,
	AGENT_WORKER_ENDING,
	AGENT_WORKER_KILLED,
	AGENT_WORKER_GONE,
	AGENT_WORKER_COUNT
};

/* The tables behind the pictures above; a test compares them. */
extern const struct sm_table agent_session_table, agent_item_table, agent_worker_table;

/* ---- events ---- */

enum agent_event_kind {
	AGENT_EV_START,
	AGENT_EV_TIME,         /* agent_wake_ms() has come */
	AGENT_EV_LEADER,       /* answer of one JobManager, or that there was none */
	AGENT_EV_REFUSED,      /* the registration was answered with another status than 200 */
	AGENT_EV_COMMAND,      /* one line of the command stream */
	AGENT_EV_GARBLED,      /* a line that is no command; `text` says why */
	AGENT_EV_STREAM_END,   /* the registration's reply ended; `text` says how */
	AGENT_EV_POSTED,       /* the POST of reports ended */
	AGENT_EV_COOKIE,       /* the storage cookie was read, or not */
	AGENT_EV_SPAWN_FAILED, /* `item`; text */
	AGENT_EV_REPORT,       /* a worker's report */
	AGENT_EV_EXIT,         /* a worker is gone */
	AGENT_EV_STOP,         /* SIGTERM */
	AGENT_EV_COUNT
};

enum agent_answer { AGENT_ANSWER_LEADER, AGENT_ANSWER_NOBODY, AGENT_ANSWER_SILENT };
enum agent_posted { AGENT_POSTED_OK, AGENT_POSTED_AGAIN, AGENT_POSTED_REFUSED };

struct agent_event {
	enum agent_event_kind kind;
	uint64_t now_ms;
	uint64_t random; /* a fresh draw: jitter */
	unsigned peer;   /* leader: which JobManager */
	enum agent_answer answer;
	struct epoch epoch;  /* leader: AGENT_ANSWER_LEADER */
	const char *address; /* likewise: "host:port" */
	enum agent_posted posted;
	const char *cookie; /* cookie: NULL if it could not be read */
	uint64_t item;      /* report, exit, spawn failed: whose; an unknown one is ignored */
	int exit_status, signal;
	const char *text; /* leader: why a JobManager did not answer, may be NULL */
	const struct control_command_msg *command;
	const struct control_report_msg *report;
};

/* ---- effects ---- */

enum agent_effect_kind {
	AGENT_FX_ASK,      /* GET leader?after=`epoch` at `peer`; ends in one AGENT_EV_LEADER */
	AGENT_FX_WITHDRAW, /* abandon the GET at `peer`: no event comes */
	AGENT_FX_REGISTER, /* POST the registration to `address`, stream the answer */
	AGENT_FX_HANGUP,   /* abandon registration stream and POST: no event comes of either */
	AGENT_FX_POST, /* POST the first `count` reports of the queue; ends in AGENT_EV_POSTED */
	AGENT_FX_READ_COOKIE, /* of storage `text`; ends in AGENT_EV_COOKIE */
	AGENT_FX_SPAWN,       /* start the worker of `item` and give it its welcome */
	AGENT_FX_SEND,        /* `command` to the worker of `item` */
	AGENT_FX_KILL,        /* SIGKILL to the worker of `item` */
	AGENT_FX_LOG,         /* `text` at `level` */
	AGENT_FX_EXIT         /* everything is down: leave */
};

enum { AGENT_TEXT_MAX = 512 };

struct agent_effect {
	enum agent_effect_kind kind;
	unsigned peer;
	unsigned count;
	struct epoch epoch;
	uint64_t item;
	struct control_command_msg command; /* borrows its JSON */
	enum log_level level;
	char text[AGENT_TEXT_MAX]; /* address, storage URL or log line */
};

struct agent_effects { /* the caller's; grows as needed; zero is empty */
	unsigned n, capacity;
	struct agent_effect *at;
};

void agent_effects_fini(struct agent_effects *fx);

/* ---- state ---- */

struct agent_options {
	const char *id; /* borrowed, as all texts here */
	char instance[ID_TEXT];
	uint32_t slots;
	const char *data_address; /* where peers reach the data port */
	const char *rest_host;
	int64_t pid;
	unsigned n_peers;                   /* JobManagers */
	const char *peers[AGENT_PEERS_MAX]; /* "host:port" */
};

struct agent_item;
struct agent_ended;

struct agent_peer { /* private */
	bool asking;
	enum agent_answer answer;
	struct epoch epoch;
	uint64_t next_ask_ms;
	char why[32]; /* it did not answer; "" if it did */
};

struct agent_core { /* private; read it by the functions below */
	struct agent_options options;
	struct sm session;
	struct agent_peer peers[AGENT_PEERS_MAX];
	struct epoch highest;      /* ever seen */
	struct epoch leader_epoch; /* of the newest known leader */
	char leader_address[128];
	bool leader_known;
	uint64_t register_after_ms; /* pause before the next try */
	unsigned tries;             /* failed ones in a row */
	uint64_t deadline_ms;       /* registering: give up; stopping: leave */
	uint64_t heard_ms;          /* last line of the stream */
	uint64_t contact_ms;        /* last sign of life of any JobManager */
	uint64_t without_ms;        /* not welcomed: since when */
	uint64_t said_ms;           /* that was last said; 0: not since it began */
	uint64_t leader_since_ms;   /* a leader is known and not reached since; 0: not so */
	bool searching;  /* until the next welcome every JobManager is asked, over and over */
	bool witnessing; /* the stream stands, but is silent: they are asked as well */
	bool ever;       /* registered at least once */
	bool streaming;  /* a registration is under way or stands */
	bool welcomed;   /* it stands */
	bool left;       /* AGENT_FX_EXIT was given */
	uint64_t registration;
	struct epoch stream_epoch; /* of the registration's leader */
	uint64_t seq_in, seq_out;
	uint64_t beat_ms;
	bool beat_queued;
	struct control_report_msg *queue; /* in order; owns */
	unsigned n_queue, capacity, posting;
	uint64_t post_after_ms;
	uint64_t heartbeat_ms, orphan_ms;
	json_t *settings; /* of the last welcome */
	char storage[256], cluster[ID_TEXT], cookie[ID_TEXT];
	bool reading; /* the cookie */
	unsigned cookie_tries;
	uint64_t cookie_after_ms;
	struct agent_item **items;
	unsigned n_items;
	uint64_t next_item;
	struct agent_ended *ended;
	unsigned n_ended, next_ended;
};

/* `o` is copied, its texts are borrowed for the life of the core. */
void agent_core_init(struct agent_core *c, const struct agent_options *o);
void agent_core_fini(struct agent_core *c);

/* One event. Total: what no longer matters has no effect. Appends to `out` (clears it first). */
void agent_step(struct agent_core *c, const struct agent_event *ev, struct agent_effects *out);
/* When AGENT_EV_TIME is wanted next, UINT64_MAX never. */
uint64_t agent_wake_ms(const struct agent_core *c);

enum agent_state agent_session(const struct agent_core *c);
/* The body of AGENT_FX_REGISTER and of AGENT_FX_POST. Call while carrying the effect out. */
void agent_registration(const struct agent_core *c, struct buf *out);
void agent_reports(const struct agent_core *c, unsigned count, struct buf *out);
/* Is a report of this kind in the POST that is under way? */
bool agent_posting(const struct agent_core *c, enum control_report kind);
/* The last welcome's settings (borrowed), NULL before the first. */
const json_t *agent_settings(const struct agent_core *c);
/* What runs here: borrowed until the next step; NULL if there is no such item. */
const struct control_item *agent_item_of(const struct agent_core *c, uint64_t item);
unsigned agent_item_count(const struct agent_core *c);
const struct control_item *agent_item_at(const struct agent_core *c, unsigned i, uint64_t *out_item,
					 enum agent_worker *out_worker);
/* How many slots an item takes; 0 if there is no such item. */
uint32_t agent_item_slots(const struct agent_core *c, uint64_t item);
uint32_t agent_slots_used(const struct agent_core *c);

#endif
