/*
 * views - what REST shows, as plain structs and as JSON in Flink's shapes.
 *
 * The JobManager fills the structs; nothing here knows where they come from.
 * All pointers are borrowed for the call; the returned values are new. Times
 * are ms since 1970, -1: not yet; durations ms; sizes bytes. Fields of our own
 * stand in members named "weir", or in resources of our own.
 */
#ifndef REST_VIEWS_H
#define REST_VIEWS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "job/graph.h"
#include "job/spec.h"
#include "rest/traffic.h"

enum { VIEW_TASK_STATES = 10 }; /* in the order of view_task_state_name() */

const char *view_task_state_name(unsigned state); /* "CREATED", "SCHEDULED", ... */

struct view_stamp {
	const char *status; /* JobStatus */
	int64_t ms;         /* 0: never */
};

struct view_vertex {
	uint32_t tasks[VIEW_TASK_STATES];
	int64_t start_ms, end_ms;
	bool counted; /* its workers have said what went through it */
	struct traffic traffic, rate;
};

struct view_job {
	const char *id, *name, *state;
	int64_t start_ms, end_ms, now_ms, modified_ms;
	uint32_t tasks[VIEW_TASK_STATES];
	const struct view_stamp *stamps;
	unsigned n_stamps;
	const struct graph *graph;          /* NULL: the specification is not known any more */
	const struct view_vertex *vertices; /* per vertex of the graph */
	/* our own */
	const char *detail;  /* "WAITING", ... */
	const char *trouble; /* "" or why it does not go on, or goes on without what */
	bool degraded;       /* it goes on, with trouble */
	const char *waits;   /* "" or why no decision on it is taken now */
	uint32_t restarts;
	uint32_t attempt; /* highest of any region */
};

json_t *view_job_ids(const struct view_job *jobs, size_t n); /* /jobs */
json_t *view_jobs(const struct view_job *jobs, size_t n);    /* /jobs/overview */
json_t *view_job(const struct view_job *job);                /* /jobs/:id */
json_t *view_plan(const struct view_job *job);               /* /jobs/:id/plan */
json_t *view_job_config(const struct view_job *job);         /* /jobs/:id/config */

enum view_checkpoint_status { VIEW_IN_PROGRESS, VIEW_COMPLETED, VIEW_FAILED };

struct view_checkpoint {
	uint64_t id;
	enum view_checkpoint_status status;
	bool savepoint;
	int64_t trigger_ms;
	int64_t ack_ms; /* the latest acknowledgement, -1: none */
	int64_t end_ms; /* completed or given up; -1: in progress */
	uint64_t bytes;
	uint32_t parts, acked;
	const char *path;    /* completed: of the manifest */
	const char *failure; /* failed: why */
	bool discarded;
};

struct view_checkpoints {
	uint64_t total, in_progress, completed, failed, restored;
	const struct view_checkpoint *history; /* newest first */
	unsigned n;
	uint64_t restored_id; /* 0: the job has not been restored */
	int64_t restored_ms;
	const char *restored_path;
	int64_t now_ms;
	bool at_least_once;
};
json_t *view_checkpoints(const struct view_checkpoints *c);
json_t *view_checkpoints_config(const struct spec *spec, const char *storage);

struct view_failure {
	int64_t ms;
	const char *name; /* "lost TaskManager" ... : first line of the text */
	const char *text;
	const char *task; /* "" if none is to blame */
	const char *tm, *endpoint;
	bool external;
};
/* Newest first; at most `max` are shown. */
json_t *view_exceptions(const struct view_failure *failures, unsigned n, unsigned max);

struct view_tm {
	const char *id, *data_address, *host;
	int64_t heard_ms;
	uint32_t slots, free;
	int64_t pid;
	const char *instance, *state;
	const char *unusable; /* "" or why no task is placed there */
};
json_t *view_tms(const struct view_tm *tms, size_t n);

struct view_overview {
	uint64_t taskmanagers, slots, free, running, finished, cancelled, failed;
	/* our own */
	bool suspended;             /* the leader answers, and decides nothing */
	const char *const *reasons; /* why anything is degraded; none: all is well */
	unsigned n_reasons;
};
json_t *view_overview(const struct view_overview *o);
json_t *view_config(void); /* /config */

struct view_member {
	const char *id, *instance, *rest, *cluster;
	int64_t pid, start_ms;
	uint64_t revision;
	bool leader, self;
};

struct view_cluster {
	const char *cluster, *prefix;
	const char *id, *instance, *role;  /* of the process that answers */
	uint64_t epoch;                    /* 0: unknown */
	const struct view_member *members; /* in the order of the queue */
	size_t n_members;
	uint64_t lease_left_ms, revision, db_bytes, db_quota_bytes;
	bool nospace, regressed;
	const char *trouble, *endpoint; /* of etcd */
	const char *storage;
	const char *storage_trouble; /* "" */
};
json_t *view_cluster(const struct view_cluster *c);

#endif
