/*
 * jm_inside - the brain's own struct, for jm.c, jm_*.c and inspect.c. Nobody else includes it.
 */
#ifndef JOBMANAGER_JM_INSIDE_H
#define JOBMANAGER_JM_INSIDE_H

#include "jobmanager/cleanup.h"
#include "jobmanager/counts.h"
#include "jobmanager/inspect.h"
#include "jobmanager/jm.h"
#include "jobmanager/job.h"
#include "jobmanager/quarantine.h"
#include "jobmanager/tms.h"

enum {
	JM_DUE = 64,                 /* jobs whose time has come, in one step */
	JM_PLACEMENTS = 4,           /* in one step */
	JM_OPENED_BYTES = 256 << 10, /* of documents, in one step */
	JM_READ_DONE_MS = 50,        /* after the lead began: by then what runs has been adopted */
	JM_BEATS_ROUND_MS = 50,      /* beats are due together, at its multiples */
	JM_ENDED_SHOWN = 500,        /* terminal jobs in memory; older ones are in the store only */
	JM_TOMBSTONE_DAYS = 7        /* and then their tombstones are deleted */
};

struct jm {
	struct jm_config config; /* owns its strings */
	enum jm_role_view role;
	struct epoch epoch;
	char cluster_id[ID_TEXT];
	uint64_t now_ms; /* of the last step */
	int64_t wall_ms;
	uint64_t next_token; /* for this process's whole life */
	struct tms tms;
	struct cleanup cleanup;
	struct quarantine quarantine;
	char stopped[256];    /* "" or why the store cannot be believed: nothing is changed */
	struct epoch ahead;   /* the highest epoch that anybody remembers, when stopped */
	uint64_t accepting;   /* token of the request to accept the store; 0: none */
	struct counts counts; /* of this process's whole life */
	struct job **jobs;    /* owns; ascending ids; terminal ones too */
	size_t n_jobs, jobs_capacity;
	struct job_id *unreadable; /* documents of another format: left alone; owns */
	size_t n_unreadable;
	struct job **touched; /* owns the places: an event concerned them */
	size_t n_touched, touched_capacity;
	uint64_t jobs_wake_ms; /* nothing is due in any job before; may be too early */
	uint64_t tms_wake_ms;  /* likewise of the TaskManagers */
	uint64_t free_slots;   /* of the TaskManagers that may be used */
	bool any_gone;
	unsigned placements_left; /* in this step */
	bool unfinished;          /* a step left something for the next one, at once */
	struct whereabouts whereabouts;
	bool dirty;                         /* slots in use have to be counted anew */
	bool more_slots;                    /* there may be more free slots than before */
	bool done_loaded;                   /* tombstones of earlier leaders are here */
	bool cleanup_missing;               /* their cleanup entries are not */
	uint64_t done_token, cleanup_token; /* reads in flight; 0: none */
	uint64_t reread_ms;                 /* 0: not */
};

bool jm_leads(const struct jm *jm); /* may decide and command */
struct job_env jm_env(struct jm *jm, struct jm_effects *fx);

/* jm_jobs.c: the jobs by id, and their turns. */
struct job *jm_find(const struct jm *jm, const struct job_id *id); /* NULL: none */
void jm_add_job(struct jm *jm, struct job *job);                   /* takes it */
void jm_touch(struct jm *jm, struct job *job); /* it is advanced at the end of this step */
size_t jm_count_jobs(const struct jm *jm, bool terminal);
/* Those touched, those whose time has come, or `all`; then those that wait for slots. */
void jm_advance_jobs(struct jm *jm, bool all, struct jm_effects *fx);
void jm_remove_gone(struct jm *jm);
void jm_forget_jobs(struct jm *jm); /* all of them; also the first call of all */

/* jm_open.c: a new leader opens what it found. */
void jm_say_careful(const struct jm *jm, struct jm_effects *fx);
bool jm_open_jobs(struct jm *jm, struct jm_effects *fx); /* true: there were some */
void jm_watch_opened(struct jm *jm);

/* jm_tms.c: TaskManagers and their slots. */
void jm_tm_register(struct jm *jm, const struct jm_event *ev, struct jm_effects *fx);
void jm_tm_gone(struct jm *jm, uint64_t stream, struct jm_effects *fx);
void jm_tm_dead(struct jm *jm, uint64_t stream, struct jm_effects *fx);
void jm_tm_reports(struct jm *jm, const struct jm_event *ev, struct jm_effects *fx);
/* Its registration cannot be trusted any more: a new one brings the truth. `why`: it ... */
void jm_end_registration(struct jm *jm, struct taskmanager *tm, const char *why,
			 struct jm_effects *fx);
void jm_watch_tms(struct jm *jm, struct jm_effects *fx); /* beats that are due, and silence */
void jm_forgive_pause(struct jm *jm, uint64_t now_ms);
void jm_recount(struct jm *jm); /* all slots in use, anew */

/* jm_ended.c: what earlier leaders left behind. */
void jm_reread(struct jm *jm, struct jm_effects *fx); /* ask for it, when it is time */
void jm_done_read(struct jm *jm, const struct jm_event *ev, struct jm_effects *fx);
void jm_cleanup_read(struct jm *jm, const struct jm_event *ev);
void jm_met(struct jm *jm, struct job *job, const struct jm_event *ev, struct jm_effects *fx);

/* jm_requests.c: what users ask for; each is answered by a reply. */
void jm_submit(struct jm *jm, const struct jm_event *ev, struct jm_effects *fx);
void jm_cancel(struct jm *jm, const struct jm_event *ev, struct jm_effects *fx);
void jm_release(struct jm *jm, const struct jm_event *ev, struct jm_effects *fx);
void jm_accept(struct jm *jm, const struct jm_event *ev, struct jm_effects *fx);
void jm_accepted(struct jm *jm, const struct jm_event *ev, struct jm_effects *fx); /* recorded */
/* Something is ahead of the store: from now on nothing is changed. */
void jm_ahead(struct jm *jm, const struct jm_event *ev, struct jm_effects *fx);

#endif
