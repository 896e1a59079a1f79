/*
 * tms - the registry of TaskManagers.
 *
 *   register --> CONNECTED --stream ended--> AWAY --came back--> CONNECTED
 *                    |                         |
 *                    +-- silent for the        +-- not back within reconnect_ms,
 *                        heartbeat timeout       |   or its data port refuses connections
 *                                          +-----+--> LOST (removed)
 *
 * Identity is (id, instance): a restarted process is another TaskManager, and
 * takes the place of an AWAY one of the same id at once. A registration has a
 * number; commands are numbered within it, reports too, and a gap or a wrong
 * number ends it. `items` is the inventory as this side was told it:
 * registration first, reports after, in order; its digest must equal the one
 * in every beat, else the registration ends and a new one brings the truth.
 *
 * Slots in use are not kept here but counted anew from the recorded (and being
 * recorded) placements of all jobs: `used`.
 *
 * Found by id, by registration and by stream in constant time, however many there are.
 *
 * Ownership: the registry owns every struct taskmanager; pointers are good until the
 * step in which it is LOST. Limits: LIMIT_TASKMANAGERS.
 */
#ifndef JOBMANAGER_TMS_H
#define JOBMANAGER_TMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/ids.h"
#include "jobmanager/effects.h"
#include "rest/control.h"

enum { TMS_GRAVES = 64 };

enum tm_state { TM_CONNECTED, TM_AWAY, TM_LOST, TM_STATE_COUNT };

struct taskmanager {
	char id[NODE_ID_MAX];
	char instance[ID_TEXT];
	enum tm_state state;
	size_t index;          /* in tms->at */
	uint64_t registration; /* number of the current or last one */
	uint64_t stream;       /* token of its command stream */
	uint64_t command_seq;  /* last sent */
	uint64_t report_seq;   /* last received */
	uint64_t heard_ms;     /* last registration or report */
	uint64_t gone_ms;      /* AWAY: since */
	uint64_t beat_ms;      /* next beat is due */
	uint32_t slots, used;
	uint32_t foreign; /* of `used`: by jobs that are not opened */
	uint32_t of_job;  /* scratch of job_count_slots() */
	char data_address[128];
	char rest_host[64];
	char cookie[ID_TEXT];
	int64_t pid;
	bool forgiven; /* it speaks of a history that was given up: no contradiction */
	bool doubted;  /* was called dead, and lives: a refused connection proves nothing here */
	unsigned n_items, items_capacity;
	struct control_item *items; /* owns; without acks, subtasks and vertices */
	uint32_t *item_slots;       /* owns; of each item that a registration brought, else 0 */
};

/* Open addressing; a key may be there more than once (an id: an old instance beside a new one). */
struct tms_table {
	struct taskmanager **at; /* owns the places */
	size_t capacity, n;      /* capacity: 0, or a power of two, at least twice n */
};

enum tms_key { TMS_BY_ID, TMS_BY_REGISTRATION, TMS_BY_STREAM, TMS_KEYS };

struct tms {
	struct taskmanager **at; /* owns */
	size_t n, capacity;
	size_t n_away;
	uint64_t next_registration;
	struct tms_table by[TMS_KEYS];
	char graves[TMS_GRAVES][ID_TEXT]; /* instances last called dead; a ring */
	unsigned n_graves;                /* ever */
};

void tms_init(struct tms *t);
void tms_fini(struct tms *t);
struct taskmanager *tms_find(const struct tms *t, const char *id,
			     const char *instance); /* NULL: none */
struct taskmanager *tms_by_stream(const struct tms *t, uint64_t stream);
/* The one that is AWAY since this stream ended; NULL: none. */
struct taskmanager *tms_away_from(const struct tms *t, uint64_t stream);
struct taskmanager *tms_by_registration(const struct tms *t, uint64_t registration);
/* One of this id, but of another instance, that is AWAY; NULL: none. */
struct taskmanager *tms_older(const struct tms *t, const char *id, const char *instance);

/* A new registration of a new or known TaskManager. NULL: LIMIT_TASKMANAGERS is reached. */
struct taskmanager *tms_register(struct tms *t, const struct control_registration *r,
				 uint64_t stream, uint64_t now_ms);
void tms_away(struct tms *t, struct taskmanager *tm, uint64_t now_ms);
/* It was called dead: should it register again, that was a mistake. */
void tms_bury(struct tms *t, const struct taskmanager *tm);
void tms_remove(struct tms *t, struct taskmanager *tm); /* frees it */

/* Apply one report to the inventory. */
void tms_note_report(struct taskmanager *tm, const struct control_report_msg *m);
struct control_item *tms_item(struct taskmanager *tm, const struct job_id *job, uint32_t region,
			      struct attempt attempt); /* NULL: none */

/* The slots that the job of items[i] takes here if items[i] is its first live one, else 0: the
 * sum over all items counts each job once. Regions of a job share slots. */
uint32_t tms_slots_of_job(const struct taskmanager *tm, unsigned i);

/* Number and emit one command. Dropped unless CONNECTED. Takes the message's references. */
void tms_send(struct taskmanager *tm, struct control_command_msg *msg, struct epoch epoch,
	      struct jm_effects *fx);

/* "" if tasks may be placed there, else why not. */
const char *tms_unusable(const struct taskmanager *tm, const char *cluster_id);
bool tms_holds(const struct tms *t);
const char *tms_state_name(enum tm_state state);

#endif
