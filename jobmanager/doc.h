/*
 * doc - the hot document of one job, `run/<job>`: everything that must survive
 * a leader, as a struct and as JSON.
 *
 * It is the job's chain: every decision rewrites it. The tombstone
 * `done/<job>` has the same form (with the specification inside when that is
 * small, and with what went through its vertices), so that a finished job can be
 * shown by any later leader.
 *
 * Members that this version does not know are kept and written again. Decoding
 * validates and bounds everything; encoding a decoded document gives the same
 * members back.
 *
 * Invariants (doc_holds)
 *  - regions: owner[i] < n_tms; no owners = not placed yet; attempt >= 1 once the job began;
 *  - in flight: ids ascending, above the newest completed, below next_checkpoint, and triggered
 *    under exactly the recorded attempts (another attempt gives them up in its own transaction);
 *  - retained: ids ascending;
 * and between two versions (doc_follows): attempts, next_checkpoint and newest
 * completed never fall; a region's placement and restore point never change
 * within an attempt, but for the step from "not placed" to "placed".
 *
 * Ownership: a document owns its arrays; doc_copy() makes a deep copy. Strings
 * are in place, so that arrays copy as bytes. Units: wall-clock times are ms
 * since 1970, 0 = never.
 */
#ifndef JOBMANAGER_DOC_H
#define JOBMANAGER_DOC_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/ids.h"
#include "base/limits.h"
#include "job/spec.h"
#include "jobmanager/restart.h"
#include "rest/control.h"

enum {
	DOC_FORMAT = 1,
	DOC_PATH_MAX = 320,
	DOC_CHECKSUM_MAX = 17,
	DOC_TEXT_MAX = 512,
	DOC_FAILURES_MAX = 16, /* kept in the ring of exceptions */
	DOC_GIVEN_UP_MAX = 16, /* kept in the ring of given-up checkpoints */
	DOC_REGIONS_MAX = LIMIT_OPERATORS,
	DOC_SPEC_IN_TOMBSTONE = 64 << 10
};

enum doc_status { /* names as in Flink's JobStatus */
		  DOC_CREATED,
		  DOC_RUNNING,
		  DOC_RESTARTING,
		  DOC_FAILING,
		  DOC_CANCELLING,
		  DOC_FINISHED,
		  DOC_FAILED,
		  DOC_CANCELED,
		  DOC_STATUS_COUNT
};

enum doc_desired { DOC_RUN, DOC_CANCEL, DOC_FAIL, DOC_DESIRED_COUNT };

struct doc_tm {
	char id[NODE_ID_MAX];
	char instance[ID_TEXT];
};

/* A completed checkpoint that can be restored; id 0: none. */
struct doc_pointer {
	struct ckpt_id id;
	enum control_trigger kind;
	char manifest[DOC_PATH_MAX];
	char checksum[DOC_CHECKSUM_MAX]; /* XXH3-64 of the manifest's bytes, hexadecimal */
	uint64_t bytes;                  /* of all objects */
	int64_t triggered_wall_ms, completed_wall_ms;
	uint64_t epoch; /* of the leader that completed it */
	uint32_t n_objects;
};

struct doc_flight {
	struct ckpt_id id;
	enum control_trigger kind;
	int64_t triggered_wall_ms;
	uint32_t *attempts; /* per region; owns */
};

/* Room for the name of an object and what storage said about it. */
enum { DOC_WHY_MAX = 320 };

struct doc_given_up {
	struct ckpt_id id;
	enum control_trigger kind;
	int64_t triggered_wall_ms, wall_ms;
	char text[DOC_WHY_MAX];
};

struct doc_failure {
	int64_t wall_ms;
	uint32_t region, attempt;
	int32_t vertex, subtask; /* -1: none to blame */
	bool external;
	char tm[NODE_ID_MAX];
	char text[DOC_TEXT_MAX];
};

struct doc_region {
	struct attempt attempt;
	struct attempt ran; /* 0; or `attempt` only commits, and this is the last that did more */
	struct doc_pointer restore; /* of this attempt; id 0: starts empty */
	int64_t not_before_wall_ms; /* back-off: not placed before */
	uint64_t delay_ms;          /* the back-off's length */
	uint32_t n_tms;
	struct doc_tm *tms; /* owns */
	uint32_t n_slots;   /* 0: not placed */
	uint16_t *owner;    /* slot i (= subtask i of every vertex) is on tms[owner[i]]; owns */
};

struct doc {
	char tag[80]; /* who wrote this version: "<instance>/<number>" */
	struct job_id job;
	char name[SPEC_NAME_MAX];
	char spec_sum[DOC_CHECKSUM_MAX]; /* of the specification: tells a repeated submission */
	enum doc_status status;
	enum doc_desired desired;
	int64_t stamps[DOC_STATUS_COUNT]; /* when each status was last entered */
	struct ckpt_id next_checkpoint;
	uint64_t next_cleanup;
	struct ckpt_id
		committed; /* every sink confirmed it; written with other decisions, may lag */
	uint32_t restarts; /* attempts after the first, over all regions */
	uint64_t n_completed, n_given_up; /* counts since creation */
	struct restart_state restart;
	unsigned n_regions;
	struct doc_region *regions; /* owns */
	unsigned n_flights;
	struct doc_flight *flights; /* owns */
	unsigned n_retained;
	struct doc_pointer *retained; /* the last is the newest completed; owns */
	unsigned n_failures;
	struct doc_failure *failures; /* oldest first; owns */
	unsigned n_given_up_kept;
	struct doc_given_up *given_up; /* oldest first; owns */
	bool discarded; /* tombstones: the files of `retained` were given to cleanup */
	json_t *spec;   /* tombstones only, may be NULL; owns a reference */
	json_t *flow; /* tombstones only, may be NULL: a list of rest/traffic.h; owns a reference */
	json_t *unknown; /* members of other versions; may be NULL; owns a reference */
};

void doc_init(struct doc *d, const struct job_id *job, const char *name, unsigned n_regions);
void doc_fini(struct doc *d);
void doc_copy(struct doc *to, const struct doc *from); /* `to` is uninitialised */

/* The JSON text, to be freed. */
char *doc_encode(const struct doc *d);
/* *out is initialised on success only. A format number above DOC_FORMAT is ERR_INVALID. */
MUST_CHECK enum errc doc_decode(const char *text, size_t len, struct doc *out, struct err *e);

bool doc_terminal(enum doc_status status);
const struct doc_pointer *doc_newest(const struct doc *d); /* NULL: none completed */

/* ---- changes (of a draft) ---- */

void doc_enter(struct doc *d, enum doc_status status, int64_t wall_ms);
void doc_add_failure(struct doc *d, const struct doc_failure *f);
void doc_add_given_up(struct doc *d, const struct doc_given_up *g);
/* Attempt + 1, not placed, restored from the newest completed checkpoint. */
void doc_next_attempt(struct doc *d, unsigned region);
void doc_add_flight(struct doc *d, enum control_trigger kind, int64_t wall_ms); /* takes next id */
void doc_drop_flight(struct doc *d, unsigned index);
void doc_add_retained(struct doc *d, const struct doc_pointer *p);
void doc_drop_retained(struct doc *d, unsigned index);
/* Takes the arrays. */
void doc_place(struct doc *d, unsigned region, struct doc_tm *tms, uint32_t n_tms, uint16_t *owner,
	       uint32_t n_slots);

bool doc_holds(const struct doc *d);
bool doc_follows(const struct doc *before, const struct doc *after);

const char *doc_status_name(enum doc_status status);    /* "CANCELLING" */
const char *doc_desired_name(enum doc_desired desired); /* "RUN" */

#endif
