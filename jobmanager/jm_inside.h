/*
 * jm_inside - the brain's own struct, for jm.c and inspect.c. Nobody else includes it.
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
	JM_ENDED_SHOWN = 500, /* terminal jobs in memory; older ones are in the store only */
	JM_TOMBSTONE_DAYS = 7 /* and then their tombstones are deleted */
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
	bool dirty;                         /* slots in use may have changed */
	bool done_loaded;                   /* tombstones of earlier leaders are here */
	bool cleanup_missing;               /* their cleanup entries are not */
	uint64_t done_token, cleanup_token; /* reads in flight; 0: none */
	uint64_t reread_ms;                 /* 0: not */
};

struct job *jm_find(const struct jm *jm, const struct job_id *id); /* NULL: none */

#endif
