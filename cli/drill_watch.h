/*
 * drill_watch - looks at a cluster and at a job's output all the time, and
 * remembers what a fault's table line needs.
 *
 *   every 5 ms    has the output grown?
 *   every 15 ms   each JobManager: GET /v1/cluster (who leads, under which epoch, its troubles)
 *   every 100 ms  the job and the TaskManagers, asked of who leads; a sample for the plot
 *
 * A window is opened when a fault strikes; what the window's members say is
 * relative to that moment. Outside of a window the same is kept for the plot.
 *
 * The output is a directory of files that grow or become more. Two of them:
 * what is written at once (printed) and what is committed. Either may be
 * missing.
 *
 * Threads: the loop's. Never stops the world; works whenever it runs.
 */
#ifndef CLI_DRILL_WATCH_H
#define CLI_DRILL_WATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "world/world.h"

enum { DRILL_MEMBERS_MAX = 16, DRILL_ID_MAX = 40 };

/* Opened by drill_watch_open(). Times are ms after that; -1: not seen. */
struct drill_window {
	int64_t at_ms;         /* when it was opened, since the watch began */
	int64_t detected_ms;   /* who was not struck said that something is wrong */
	int64_t commanding_ms; /* the first new leader */
	unsigned leaders;      /* new ones */
	int64_t gap_ms;   /* longest silence, of what is written at once if that is known; -1: no
	                          output is watched */
	int64_t restarts; /* attempts of the job */
	int64_t failed;   /* checkpoints */
};

/* What was seen last. */
struct drill_view {
	char leader[DRILL_ID_MAX];   /* "" while nobody leads */
	int64_t epoch, leader_since; /* since the watch began */
	unsigned standbys;           /* that its leader names */
	char job_state[32];          /* "" before the first answer */
	int64_t restarts, completed, failed, tasks;
	unsigned taskmanagers; /* CONNECTED */
	bool store_trouble, storage_trouble;
	uint64_t answers; /* of leaders about the job, so far */
};

struct drill_sample {
	int64_t at_ms;
	int64_t rows;                      /* written since the one before */
	int64_t silent_ms, uncommitted_ms; /* age of the last output, and of the last commit */
};

struct drill_watch;

/* Addresses are copied. The job is named later. */
struct drill_watch *drill_watch_create(struct world *w, const char *const *addresses, unsigned n);
void drill_watch_destroy(struct drill_watch *w); /* NULL: no-op */
/* Directories are copied; NULL: not known. Of `printed` only files that have the job's id in their
 * names count. */
void drill_watch_job(struct drill_watch *w, const char *job, const char *printed,
		     const char *committed);

bool drill_watch_sees_output(const struct drill_watch *w);
int64_t drill_watch_now(const struct drill_watch *w); /* ms since it began */
const struct drill_view *drill_watch_view(const struct drill_watch *w);

/* `struck`: the JobManager whose own word does not count; NULL: none. */
void drill_watch_open(struct drill_watch *w, const char *struck);
/* What the open window has seen until now. */
struct drill_window drill_watch_window(const struct drill_watch *w);
/* Borrowed until the next sample. */
const struct drill_sample *drill_watch_samples(const struct drill_watch *w, unsigned *out_n);

#endif
