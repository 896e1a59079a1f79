/*
 * ckpt - the checkpoint coordinator of one job.
 *
 * Decides when a checkpoint starts, when it is complete and when it is given
 * up. The truth is the hot document; this struct holds what is volatile about
 * the checkpoints in flight. One flight's life:
 *
 *  (recorded) --> TRIGGERED --last ack--> SEALING --manifest durable--> SEALED --> (completion
 *                     |                      |                                      recorded)
 *                     +- declined, timeout --+- timeout, refused --> DOOMED --> (giving up
 *                                                                                recorded)
 *
 * Invariants
 *  - the id and the attempts are recorded before anybody is told to start;
 *  - an acknowledgement counts only for the attempt under which the flight was recorded;
 *  - the pointer is recorded only after the manifest is durable;
 *  - completing n gives up every older flight in the same transaction;
 *  - giving up is recorded, with the paths queued for removal, before a file is removed;
 *  - there is one flight here for each of the recorded document, same order.
 *
 * Storage that refuses or cannot be reached, a timeout, and a change of attempt
 * never count as the job's failure; a worker's decline that is not external does.
 *
 * Parts: workers of all regions, numbered flat (region by region, as placed).
 * Ownership: the job embeds it. Limits: LIMIT_CHECKPOINTS_IN_FLIGHT.
 */
#ifndef JOBMANAGER_CKPT_H
#define JOBMANAGER_CKPT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/ids.h"
#include "base/limits.h"
#include "base/sm.h"
#include "job/graph.h"
#include "jobmanager/counts.h"
#include "jobmanager/doc.h"
#include "jobmanager/effects.h"

enum ckpt_state { CKPT_TRIGGERED, CKPT_SEALING, CKPT_SEALED, CKPT_DOOMED, CKPT_STATE_COUNT };

struct ckpt_ack {
	bool told; /* the trigger was sent within the part's present registration */
	bool got;
	json_t *object; /* owns; NULL: the part has nothing to store */
	char tm[NODE_ID_MAX];
	uint32_t region;
};

struct ckpt_flight {
	struct ckpt_id id;
	enum control_trigger kind;
	struct sm sm;
	int64_t triggered_wall_ms, latest_ack_wall_ms;
	uint64_t deadline_ms;
	unsigned n_parts, n_got;
	struct ckpt_ack *acks; /* owns */
	uint64_t bytes;
	uint32_t n_objects;
	char manifest[DOC_PATH_MAX];
	char checksum[DOC_CHECKSUM_MAX];
	char *text;        /* SEALING: the manifest; owns */
	uint64_t token;    /* SEALING: the put in flight, 0: none */
	uint64_t retry_ms; /* SEALING without a put in flight: when to put again */
	uint64_t backoff_ms;
	char put_error[DOC_WHY_MAX - 64]; /* SEALING: "" or why the last put failed */
	bool own_fault;                   /* DOOMED by the job's own doing */
	char why[DOC_WHY_MAX];            /* DOOMED */
};

struct ckpt {
	unsigned n;
	struct ckpt_flight *flights[LIMIT_CHECKPOINTS_IN_FLIGHT]; /* owns; ids ascending */
	uint64_t last_trigger_ms; /* the interval counts from here */
	uint64_t last_end_ms;     /* minPause counts from here */
	struct counts *counts;    /* borrows; may be NULL */
	uint32_t failures;        /* own-fault failures in a row */
	char trouble
		[DOC_WHY_MAX]; /* "" or why the last one failed although the job is not to blame */
};

/* What of a job's storage a draft no longer refers to. Every job has room for it: kept small. */
struct ckpt_drops {
	unsigned n;
	struct ckpt_drop {
		struct ckpt_id id;
		bool all;   /* that the job has, not `id` alone */
		bool delay; /* workers may still be writing there */
	} at[2 * LIMIT_CHECKPOINTS_IN_FLIGHT + LIMIT_CHECKPOINTS_RETAINED];
};

void ckpt_init(struct ckpt *c, uint64_t now_ms);
void ckpt_fini(struct ckpt *c);

/* ---- facts ---- */

/* A part acknowledged. `attempt` is the report's. Late, repeated and foreign ones: false, nothing
 * changes. Takes a reference of `object` (NULL or JSON null: nothing stored). */
bool ckpt_ack(struct ckpt *c, const struct doc *d, struct ckpt_id id, uint32_t region,
	      struct attempt attempt, unsigned part, const char *tm, json_t *object,
	      int64_t wall_ms);
bool ckpt_decline(struct ckpt *c, const struct doc *d, struct ckpt_id id, uint32_t region,
		  struct attempt attempt, bool external, const char *why);
/* The outcome of a manifest's put. False: an unknown token. */
bool ckpt_blob_done(struct ckpt *c, uint64_t token, enum errc code, const char *text,
		    uint64_t now_ms);
void ckpt_time(struct ckpt *c, uint64_t now_ms); /* deadlines */

/* ---- decisions: change a draft of the document ---- */

/* The newest sealed one completes, older ones are given up; the doomed; what retention drops. */
bool ckpt_draft_ends(struct ckpt *c, struct doc *draft, uint32_t retained, uint64_t epoch,
		     int64_t wall_ms, struct ckpt_drops *drops);
/* After attempts changed in the draft, or the job ends: give up all flights that no longer fit
 * (`all`: every one). */
bool ckpt_draft_stale(struct doc *draft, bool all, const char *why, int64_t wall_ms,
		      struct ckpt_drops *drops);
/* May a periodic checkpoint be begun now? */
bool ckpt_due(const struct ckpt *c, const struct doc *d, const struct spec_checkpointing *k,
	      uint64_t now_ms);

/* ---- after a decision was recorded ---- */

/* Make the flights equal to the recorded ones: new ones begin (n_parts workers), others end. */
void ckpt_recorded(struct ckpt *c, const struct doc *d, unsigned n_parts, uint64_t timeout_ms,
		   uint64_t now_ms);

/* Put the manifests that are due. `token` is asked for each put. */
void ckpt_seal(struct ckpt *c, const struct doc *d, const struct graph *g, const char *cluster_id,
	       uint64_t epoch, uint64_t now_ms, uint64_t *next_token, struct jm_effects *fx);

struct ckpt_flight *ckpt_find(struct ckpt *c, struct ckpt_id id); /* NULL: not in flight */
uint64_t ckpt_wake_ms(const struct ckpt *c, const struct doc *d, const struct spec_checkpointing *k,
		      bool may_begin);
bool ckpt_holds(const struct ckpt *c, const struct doc *d);
extern const struct sm_table ckpt_table;
void ckpt_prefix(const struct job_id *job, struct ckpt_id id, char out[DOC_PATH_MAX]);
void ckpt_drop_prefix(const struct job_id *job, const struct ckpt_drop *d, char out[DOC_PATH_MAX]);

#endif
