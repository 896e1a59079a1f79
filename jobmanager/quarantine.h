/*
 * quarantine - a job that kills its leader must not kill the next.
 *
 *  IDLE --a leader begins--> OPENING (calm) ------------------------------+
 *            |                  ^                                         |
 *            +--> RECORDING ----+--- recorded, or there are no marks now  |
 *                     ^                                                   v
 *                     +------ the next mark ------- WATCHING <--opened----+
 *                     |                                |
 *                     +-- a held job is tried again -- SETTLED <-- two seconds after the last
 *
 * The document `run/_cluster`, which the barrier reads, holds when the last
 * leaders began and whether they lived for two seconds (settled). From it a new
 * leader knows how careful it has to be:
 *
 *   calm     nobody crashed early lately: opens all jobs at once, and records itself a moment
 *            later (QUARANTINE_CALM_MS): what users wait for goes to the store first. Should it
 *            die within that moment, its successor saw it in the queue and counts it all the same
 *   wary     the one before crashed early: records itself first, then opens all
 *   careful  two in a row crashed early within the last minute: opens the jobs one by one,
 *            each behind a recorded mark; those with marks last
 *
 * A mark that a leader left when it died counts against the job. Three in a row hold
 * the job: it is not opened, not even read; its tasks are left alone. It is tried
 * again after five minutes, or when somebody asks (release), behind a mark.
 *
 * The mark stands as long as its job is being opened, no longer: a leader that was
 * killed from outside soon afterwards says nothing about the job. It, and all marks
 * that the job had, are dropped as soon as the job was taken up (its workers adopted or
 * given up; then QUARANTINE_DWELL_MS, for what the first commands may do), when a checkpoint
 * of it completes, and QUARANTINE_EARLY_MS after it was opened in any case.
 *
 * A store that takes no writes (NOSPACE) gets no marks: all jobs are opened.
 *
 * Ownership: owns copies of the documents that are not opened yet. Pure; one
 * thread. Limits: QUARANTINE_LEADERS, QUARANTINE_MARKS (jobs beyond: no mark is kept).
 */
#ifndef JOBMANAGER_QUARANTINE_H
#define JOBMANAGER_QUARANTINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/ids.h"
#include "base/sm.h"
#include "jobmanager/effects.h"
#include "jobmanager/jm.h"

enum {
	QUARANTINE_LEADERS = 8,
	QUARANTINE_MARKS = 64,
	QUARANTINE_COUNT = 3, /* marks that hold a job */
	QUARANTINE_EARLY_MS = 2000,
	QUARANTINE_DWELL_MS = 100, /* after a job was taken up */
	QUARANTINE_WINDOW_MS = 60000,
	QUARANTINE_AGAIN_MS = 300000,
	QUARANTINE_RETRY_MS = 1000,
	QUARANTINE_CALM_MS = 20,
	QUARANTINE_FORGIVE_MS = 120000 /* the orphan timeout, and as much again */
};

#define QUARANTINE_KEY "run/_cluster"

enum quarantine_state {
	QUARANTINE_IDLE,
	QUARANTINE_RECORDING, /* nothing is opened before it is recorded */
	QUARANTINE_OPENING,
	QUARANTINE_WATCHING,
	QUARANTINE_SETTLED,
	QUARANTINE_STATE_COUNT
};

enum quarantine_mode { QUARANTINE_CALM, QUARANTINE_WARY, QUARANTINE_CAREFUL };

struct quarantine_leader {
	uint64_t epoch;
	int64_t began_wall_ms;
	bool settled;
};

struct quarantine_mark {
	struct job_id job;
	uint32_t count;
	int64_t held_wall_ms; /* 0: not held */
};

struct quarantine_doc { /* of a job that is not opened yet */
	struct job_id job;
	char *key, *value; /* owns */
	size_t len;
	uint64_t revision;
	bool held;
	bool asked; /* to be tried now */
};

struct quarantine {
	/* recorded */
	uint64_t epoch_base;   /* added to every epoch: raised when a restored store was accepted */
	struct epoch accepted; /* epochs from here on follow the last acceptance of a store */
	int64_t accepted_wall_ms; /* when that was; 0: never */
	unsigned n_leaders;
	struct quarantine_leader leaders[QUARANTINE_LEADERS]; /* oldest first; the last is ours */
	struct job_id opening;                                /* "": no mark is set */
	unsigned n_marks;
	struct quarantine_mark marks[QUARANTINE_MARKS];
	uint64_t revision; /* of the document; 0: there is none */
	/* volatile */
	struct sm sm;
	enum quarantine_mode mode;
	bool blind;          /* the store takes no marks */
	bool dirty;          /* something recorded has changed */
	bool taken_up;       /* the job that the mark is of */
	uint64_t token;      /* of the write in flight; 0: none */
	uint64_t due_ms;     /* WATCHING: until then */
	uint64_t settles_ms; /* not settled before: the last job was opened two seconds ago */
	uint64_t retry_ms;   /* nothing is written before */
	size_t n_docs;
	struct quarantine_doc *docs; /* owns; in the order of opening */
};

/* How a leader begins. */
struct quarantine_start {
	uint64_t now_ms;
	int64_t wall_ms;
	struct epoch epoch;
	struct epoch before; /* who led before; 0: nobody was seen to */
	bool before_crashed; /* it did not hand over */
	bool nospace;
	const struct jm_doc *docs; /* everything below run/; copied */
	size_t n_docs;
};

void quarantine_init(struct quarantine *q);
void quarantine_fini(struct quarantine *q); /* can be begun again */
void quarantine_begin(struct quarantine *q, const struct quarantine_start *start);

/* Emit the write that is due. */
void quarantine_run(struct quarantine *q, uint64_t now_ms, int64_t wall_ms, const char *instance,
		    uint64_t *next_token, struct jm_effects *fx);
/* Record at once that the store is accepted as it is: epochs go on above `ahead` and `epoch` (which
 * has the present base in it). */
void quarantine_accept(struct quarantine *q, struct epoch epoch, struct epoch ahead,
		       int64_t wall_ms, const char *instance, uint64_t *next_token,
		       struct jm_effects *fx);
/* Was a store accepted so lately that what TaskManagers know beyond it is to be given up? */
bool quarantine_forgives(const struct quarantine *q, int64_t wall_ms);
/* What run/_cluster says; 0: nothing. */
uint64_t quarantine_epoch_base(const char *value, size_t len);
/* The outcome of a write; false: not ours. */
bool quarantine_decided(struct quarantine *q, uint64_t token, enum errc code, const char *text,
			uint64_t revision, uint64_t now_ms);
/* Take the next document that may be opened now; false: none. The caller frees key and value. */
bool quarantine_next(struct quarantine *q, uint64_t now_ms, struct quarantine_doc *out);

/* The job that was opened last lives: it is taken up, or (`proven`) a checkpoint of it completed
 * under this leader. May be said again and again. */
void quarantine_lives(struct quarantine *q, bool proven, uint64_t now_ms);

/* Was every job opened that is not held? */
bool quarantine_all_opened(const struct quarantine *q);
/* Is this job known, but not opened? NULL: no. */
const struct quarantine_doc *quarantine_find(const struct quarantine *q, const struct job_id *job);
/* Try a held job again, now; false: it is not held. */
bool quarantine_release(struct quarantine *q, const struct job_id *job);
uint32_t quarantine_count(const struct quarantine *q, const struct job_id *job); /* marks */
int64_t quarantine_held_since(const struct quarantine *q, const struct job_id *job);
uint64_t quarantine_wake_ms(const struct quarantine *q, uint64_t now_ms, int64_t wall_ms);
const char *quarantine_mode_name(enum quarantine_mode mode);
extern const struct sm_table quarantine_table;

#endif
