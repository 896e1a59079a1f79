/*
 * jm - the JobManager's brain: dispatcher, scheduler, checkpoint coordinator
 * and registry of TaskManagers as one pure machine.
 *
 *              events                            effects
 *   ha     ---- role, decided, read ---->  ---- decide, read ------------> ha
 *   REST   ---- submit, cancel --------->  ---- reply -------------------> REST
 *   agents ---- register, reports, gone ->  ---- command, close stream ---> streams
 *   blobs  ---- blob done -------------->  ---- blob put, blob remove ---> storage
 *   clock  ---- time ------------------->  ---- trace -------------------> log
 *
 * jm_step() reads no clock, does no I/O and calls nobody back. Feed it one
 * event, carry the effects out in their order, and step JM_TIME when
 * jm_wake_ms() is reached. Any effect may be slow; none has to be waited for:
 * what depends on the outcome of an effect is emitted by the step of its
 * completion. So "record first, then command" is kept inside, not by drivers.
 *
 * Invariants (asserted at the end of every step)
 *  - a command repeats what the newest confirmed decision of its job says;
 *  - one decision per chain key is in flight;
 *  - recorded attempts and checkpoint ids only grow;
 *  - while not LEADING no decision, no read, no blob effect, and of commands
 *    only welcome, beat and goodbye.
 *
 * Totality: every event is legal in every state. Late, repeated and reordered
 * events (an unknown token, a closed registration, a report of an old attempt)
 * change nothing and leave a trace line at debug.
 *
 * Ownership: an event and all it points to is borrowed for the call. Effects own
 * what they point to until jm_effects_clear(); the vector is the caller's.
 * Threads: one. Limits: base/limits.h; an effect vector grows as needed (a step
 * emits at most a few effects per TaskManager or subtask).
 */
#ifndef JOBMANAGER_JM_H
#define JOBMANAGER_JM_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/ids.h"
#include "jobmanager/effects.h"
#include "rest/control.h"

struct jm;

/* All durations in ms; 0 takes the default. Strings are copied. */
struct jm_config {
	const char *instance;          /* of this process: part of every written document's tag */
	const char *storage;           /* URL, told to TaskManagers */
	uint64_t heartbeat_timeout_ms; /* 5000: a silent TaskManager is lost */
	uint64_t reconnect_ms; /* 1000: one whose stream ended and did not come back is lost */
	uint64_t beat_ms;      /* 1000 */
	uint64_t reconcile_grace_ms; /* 5000: a new leader waits so long for known TaskManagers */
	uint64_t orphan_timeout_ms;  /* 60000, told to TaskManagers */
	uint64_t alignment_limit_ms; /* 10000, told to TaskManagers */
	uint64_t commit_timeout_ms;  /* 10000: an ending job waits so long for its sinks */
	uint64_t cleanup_delay_ms;   /* 10000: before files of a given-up checkpoint are removed */
};

enum jm_event_kind {
	JM_TIME,
	JM_LEADING, /* after the barrier: `docs` are the hot documents (keys "run/..."); the driver
	                   has seen to it that the key `cluster` exists */
	JM_RESUMED, /* LEADING again after SUSPENDED, same epoch */
	JM_SUSPENDED,
	JM_FOLLOWING,   /* everything is forgotten; streams are closed */
	JM_TM_REGISTER, /* `token` is the new command stream */
	JM_TM_GONE,     /* the command stream `token` ended */
	JM_TM_DEAD, /* answers JM_PROBE: nobody listens at its data address; `token`: the stream */
	JM_TM_REPORTS, /* answered by a reply with `token`: OK, or CONFLICT (409: register again) */
	JM_SUBMIT,     /* a validated specification; answered by a reply with `token` */
	JM_CANCEL,     /* answered by a reply with `token` once the intent is recorded */
	JM_AHEAD,      /* something is ahead of the store, and we lead for sure: the store went back
	              in time; `text` says what, `epoch` is the highest that somebody remembers */
	JM_ACCEPT,     /* take the store as it is, for good: answered by a reply with `token` once
	              that is recorded; the driver then lets somebody lead anew */
	JM_RELEASE,    /* try a quarantined job again, now; answered by a reply with `token` */
	JM_DECIDED,    /* outcome of a DECIDE effect */
	JM_READ_DONE,  /* outcome of a READ effect */
	JM_BLOB_DONE,  /* outcome of a BLOB_PUT or BLOB_REMOVE effect */
	JM_EVENT_COUNT
};

/* One key as read; the value ends in a zero byte beyond len. */
struct jm_doc {
	const char *key;
	const char *value;
	size_t len;
	uint64_t revision; /* mod_revision */
};

struct jm_event {
	enum jm_event_kind kind;
	uint64_t now_ms; /* monotonic; never goes back */
	int64_t wall_ms; /* since 1970: for display, and for what must survive a change of leader */
	uint64_t token;  /* request or stream: the driver's; completions: the effect's */
	struct job_id job;         /* submit, cancel; completions: the effect's */
	enum errc code;            /* completions */
	const char *text;          /* completions: the error's text, or NULL; ahead: what */
	struct epoch epoch;        /* leading, ahead */
	struct epoch before;       /* leading: of who led before; 0: nobody was seen to */
	bool before_crashed;       /* leading: it did not hand over */
	bool suspended;            /* leading: but suspended, from the start */
	bool nospace;              /* leading: the store takes no new values now */
	const char *cluster_id;    /* leading: the storage cookie */
	const struct jm_doc *docs; /* leading, read done */
	size_t n_docs;
	const struct control_registration *registration;
	const struct control_reports *reports;
	const json_t *spec; /* submit */
	uint64_t revision;  /* decided OK: chain_revision_after */
};

struct jm *jm_create(const struct jm_config *config);
void jm_destroy(struct jm *jm); /* NULL: no-op */

/* Advance by one event. Effects are appended to `out`. */
void jm_step(struct jm *jm, const struct jm_event *ev, struct jm_effects *out);

/* When to step JM_TIME next; UINT64_MAX: nothing is waited for. Never in the past of the last step
 * by more than its own work: stepping at or after it makes progress. */
uint64_t jm_wake_ms(const struct jm *jm);

const char *jm_event_name(enum jm_event_kind kind); /* "tm-register" */

#endif
