/*
 * control - the messages between JobManager and TaskManager, as C structs and
 * as the JSON lines that travel.
 *
 *   TaskManager                                    JobManager (leader)
 *   GET  /v1/cluster/leader?after=E   ------------> held until there is an answer
 *   POST /v1/cluster/taskmanagers     ------------> registration with the whole inventory
 *        <------------ 200, the command stream: one JSON object per line, numbered,
 *                      a beat every second; it ends with the registration
 *   POST /v1/cluster/taskmanagers/ID/reports -----> numbered reports, in order, one POST at a
 *                      time; a beat every second with a digest of the inventory
 *
 * Rules that both sides rely on
 *  - a command only repeats what is recorded in the store; it names job, region and attempt;
 *  - commands travel in order down one stream, reports in order up one stream, each numbered from
 *    1 within a registration; a gap or a wrong registration ends the registration;
 *  - every message carries the leader's epoch; a TaskManager remembers the highest it has seen and
 *    refuses lower ones; a report's answer of 409 means "register again";
 *  - an attempt's state only moves forward; an ended attempt is never started again.
 *
 * A region is a connected component of the job's graph; one worker process runs one TaskManager's
 * share of one region attempt (so a restart is a new process, and a crash takes nothing else down).
 *
 * The answer of GET /v1/cluster/leader?after=E is 200 {"leader":{"id","instance","epoch",
 * "address"}} or {"leader":null}. It comes at once when a leader above E is known; else it is
 * held for at most 5 s and then tells what is so: the leader of epoch E still leads, or nobody
 * leads now (null, on which a TaskManager relies to let its tasks go on). `address` is where to
 * register.
 *
 * Ownership: a decoded message owns its json_t members (control_*_fini releases them) and borrows
 * nothing. Encoders borrow for the call. Every decoder validates and bounds everything: messages
 * come from outside.
 */
#ifndef REST_CONTROL_H
#define REST_CONTROL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/ids.h"

/* ---- commands: JobManager -> TaskManager ---- */

enum control_command {
	CONTROL_WELCOME,  /* first line of the stream: registration, timeouts, storage */
	CONTROL_BEAT,     /* `text` not empty: from a leader that may not decide now (suspended) */
	CONTROL_PREPARE,  /* start the worker of an attempt and report its data address */
	CONTROL_RUN,      /* all peers' addresses and what to restore: go; or `commit_only` */
	CONTROL_TRIGGER,  /* start checkpoint `checkpoint` at the sources */
	CONTROL_COMPLETE, /* checkpoint `checkpoint` is recorded: commit everything up to it */
	CONTROL_ABORT, /* checkpoint `checkpoint` was given up: release alignment; delete nothing */
	CONTROL_FINISH, /* all sinks confirmed the last checkpoint: end the tasks of this attempt */
	CONTROL_CANCEL, /* end the attempt; with `terminal` the job is over: roll back what lies
	                     above `checkpoint`, the newest completed one */
	CONTROL_UNKNOWN, /* the store does not know this job; the orphan rule ends it */
	CONTROL_GOODBYE, /* the registration ends; `text` says why */
	CONTROL_COMMAND_COUNT
};

enum control_trigger {
	CONTROL_TRIGGER_CHECKPOINT,
	CONTROL_TRIGGER_SAVEPOINT,
	CONTROL_TRIGGER_FINAL
};

struct control_command_msg {
	enum control_command kind;
	uint64_t seq;
	struct epoch epoch;
	uint64_t registration;
	/* all but welcome, beat, goodbye: */
	struct job_id job;
	uint32_t region;
	struct attempt attempt;
	struct ckpt_id
		checkpoint; /* of a checkpoint's command; run: the newest completed (0 none) */
	enum control_trigger trigger;
	bool terminal;    /* cancel */
	json_t *spec;     /* prepare: the job specification as accepted */
	json_t *subtasks; /* prepare: [[vertex, subtask], ...] of this TaskManager */
	json_t *peers;    /* run: all of the region:
	                     [{"tm","instance","address","subtasks":[[v,s],...]}, ...] */
	json_t *restore;  /* run: null, or {"checkpoint","manifest","checksum"} */
	bool commit_only; /* run: the job is to end; restore and commit, but read nothing */
	json_t *settings; /* welcome: {"heartbeatTimeoutMs","orphanTimeoutMs","alignmentLimitMs",
	                                  "storage","clusterId"} */
	char text[256];   /* goodbye, cancel: why */
};

/* ---- reports: TaskManager -> JobManager ---- */

enum control_report {
	CONTROL_REPORT_BEAT, /* `digest` of the inventory; `stats`. From a worker: `stats` alone */
	CONTROL_REPORT_PREPARED, /* the worker is up; `address` is where its peers reach it */
	CONTROL_REPORT_RUNNING,  /* all its subtasks have restored and run */
	CONTROL_REPORT_ACK,      /* snapshot of `checkpoint` is durable: `object` and `stats` */
	CONTROL_REPORT_DECLINE, /* it could not be taken: `text`; `external`: storage is to blame */
	CONTROL_REPORT_COMMITTED, /* every sink here has committed all up to `checkpoint` */
	CONTROL_REPORT_AT_END,    /* every source here is at its end */
	CONTROL_REPORT_FAILED,    /* the attempt failed here: `text`, `external`, vertex, subtask */
	CONTROL_REPORT_ENDED,     /* cancel or finish was carried out; the worker is gone */
	CONTROL_REPORT_COUNT
};

struct control_report_msg {
	enum control_report kind;
	uint64_t seq;
	struct job_id job;
	uint32_t region;
	struct attempt attempt;
	struct ckpt_id checkpoint;
	int32_t vertex, subtask; /* failed: -1 unless one subtask is to blame */
	bool external;           /* failed, decline: not the job's own doing (killed from outside, a
	                             peer or connection lost, storage unavailable) */
	bool corrupt;            /* failed: a snapshot object could not be read: the job stops */
	json_t *object;  /* ack: null or {"path","bytes","checksum"} and what the manifest needs */
	json_t *stats;   /* ack: {"syncUs","asyncMs","alignmentMs","bytes","records","vertices"};
	                    running: null, or after a restore where its state came from:
	                    {"localCopies","localBytes","storageBytes"};
	                    beat: null, or what went through the tasks (rest/traffic.h):
	                    {"counts"}; from a worker {"vertices"} */
	uint64_t digest; /* beat */
	char address[128]; /* prepared: "ip:port" */
	char text[1024];
};

/* ---- inventory: what a TaskManager has, at registration ---- */

enum control_state { /* of one region attempt on one TaskManager; only moves forward */
		     CONTROL_STATE_PREPARING,
		     CONTROL_STATE_PREPARED,
		     CONTROL_STATE_RUNNING,
		     CONTROL_STATE_FAILED,
		     CONTROL_STATE_ENDED,
		     CONTROL_STATE_COUNT
};

struct control_item {
	struct job_id job;
	uint32_t region;
	struct attempt attempt;
	enum control_state state;
	bool at_end;
	struct ckpt_id completed; /* newest it was told is complete */
	struct ckpt_id committed; /* newest its sinks confirmed */
	json_t *subtasks;         /* [[vertex, subtask], ...] */
	json_t *acks;      /* [{"checkpoint","object","stats"}, ...] held, above `completed` */
	json_t *vertices;  /* what went through it (traffic.h); NULL: nothing said, or nonsense */
	char address[128]; /* when PREPARED or RUNNING */
	char text[1024];   /* when FAILED */
	bool external, corrupt; /* when FAILED */
};

struct control_registration {
	char id[NODE_ID_MAX];
	char instance[ID_TEXT]; /* random per process: (id, instance) is the identity */
	uint32_t slots;
	char data_address[128];
	char rest_host[64];
	int64_t pid;
	struct epoch highest; /* highest epoch it has seen */
	char cookie[ID_TEXT]; /* of the storage root it reads; "" if not read yet */
	unsigned n_items;
	struct control_item *items;
};

const char *control_command_name(enum control_command kind); /* "prepare" */
const char *control_report_name(enum control_report kind);   /* "prepared" */
const char *control_state_name(enum control_state state);    /* "RUNNING" */

/* Append one line (with its newline). */
void control_command_encode(const struct control_command_msg *m, struct buf *out);
MUST_CHECK enum errc control_command_decode(const char *line, size_t len,
					    struct control_command_msg *out, struct err *e);
void control_command_fini(struct control_command_msg *m);

/* A body holds {"registration","epoch","reports":[...]}. */
void control_reports_encode(uint64_t registration, struct epoch epoch,
			    const struct control_report_msg *reports, unsigned n, struct buf *out);
struct control_reports {
	uint64_t registration;
	struct epoch epoch;
	unsigned n;
	struct control_report_msg *reports; /* owns */
};
MUST_CHECK enum errc control_reports_decode(const char *body, size_t len,
					    struct control_reports *out, struct err *e);
void control_reports_fini(struct control_reports *r);
void control_report_fini(struct control_report_msg *m);

void control_registration_encode(const struct control_registration *r, struct buf *out);
MUST_CHECK enum errc control_registration_decode(const char *body, size_t len,
						 struct control_registration *out, struct err *e);
void control_registration_fini(struct control_registration *r);

/* XXH3-64 over every item's identity and state, independent of order: both sides compute it (the
 * leader from what it was told), and a mismatch ends the registration. Covers job, region,
 * attempt, state, at_end, committed; not acks, nor vertices. Items in PREPARING and ENDED do not
 * count: a prepare may be under way while the beat is, and an attempt reported as ended leaves the
 * inventory on both sides (absent in a registration means ended, or never heard of). */
uint64_t control_digest(const struct control_item *items, unsigned n);

#endif
