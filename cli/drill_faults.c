#include "cli/drill_faults.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/text.h"
#include "cli/client.h"
#include "cli/drill_store.h"
#include "cli/table.h"

enum {
	STEP_MS = 10,
	YOUNG_MS = 2500, /* leaders that die younger than 2 s look as if a job killed them: after
	                    three of them the job is quarantined, as it should be */
	FIND_MS = 15000, /* until there is somebody to strike */
	NEXT_MS = 30000, /* until there is a next leader */
	GONE_MS = 15000, /* until a process that was asked to end has ended */
	SLOW_MS = 2000   /* storage-slow: per access */
};

/* What a fault under way has struck. */
struct strike {
	struct drill_ground *ground;
	struct drill_victim victims[LOCAL_ETCD_MAX];
	unsigned n;
	unsigned port; /* of the bridge; 0: none cut */
	bool away;     /* the storage */
};

static bool stopped(const struct drill_ground *g)
{
	return *g->stop;
}

static void pause_a_step(struct drill_ground *g)
{
	client_pause(g->cli->client, STEP_MS);
}

static bool runs(const struct drill_ground *g)
{
	return strcmp(drill_watch_view(g->watch)->job_state, "RUNNING") == 0;
}

/* ---- as before ---- */

static unsigned jobmanagers(const struct drill_ground *g)
{
	char names[LOCAL_JOBMANAGERS_MAX][DRILL_TARGET_NAME];
	return g->target.dir ? drill_target_names(&g->target, LOCAL_JOBMANAGER, names,
						  LOCAL_JOBMANAGERS_MAX)
			     : 0;
}

bool drill_settle(struct drill_ground *g, uint64_t patience_ms)
{
	const struct drill_view *v = drill_watch_view(g->watch);
	int64_t end = drill_watch_now(g->watch) + (int64_t)patience_ms;
	unsigned members = jobmanagers(g);
	int64_t before = -1;
	uint64_t answers = v->answers;
	while (!stopped(g) && drill_watch_now(g->watch) < end) {
		bool there = v->leader[0] && v->standbys + 1 >= members && v->answers > answers &&
			     runs(g) && v->taskmanagers >= g->taskmanagers;
		if (there && before < 0)
			before = v->completed;
		if (there && v->completed > before)
			return true;
		pause_a_step(g);
	}
	return false;
}

/* ---- finding whom to strike ---- */

static enum errc the_leader(struct strike *s, struct err *e)
{
	struct drill_ground *g = s->ground;
	const struct drill_view *v = drill_watch_view(g->watch);
	int64_t end = drill_watch_now(g->watch) + FIND_MS;
	while (v->leader[0] == '\0' || drill_watch_now(g->watch) < v->leader_since + YOUNG_MS) {
		if (stopped(g) || drill_watch_now(g->watch) > end)
			return err_set(e, ERR_UNAVAILABLE, "nobody leads");
		pause_a_step(g);
	}
	s->n = 1;
	return drill_target_find(&g->target, drill_watch_view(g->watch)->leader, &s->victims[0], e);
}

static enum errc a_worker(struct strike *s, bool its_taskmanager, struct err *e)
{
	struct drill_ground *g = s->ground;
	struct drill_victim worker, tm;
	enum errc rc = drill_target_worker(&g->target, g->job, g->turn++, &worker, &tm, e);
	s->n = 1;
	s->victims[0] = its_taskmanager ? tm : worker;
	s->victims[1] = worker;
	return rc;
}

static enum errc a_frozen_machine(struct strike *s, struct err *e)
{
	enum errc rc = a_worker(s, true, e);
	s->n = 2;
	return rc;
}

static enum errc etcd_leader(struct strike *s, struct err *e)
{
	struct drill_ground *g = s->ground;
	int64_t end = drill_watch_now(g->watch) + FIND_MS;
	enum errc rc;
	s->n = 1;
	while ((rc = drill_target_etcd_leader(&g->target, &s->victims[0], e)) != ERR_OK) {
		if (stopped(g) || drill_watch_now(g->watch) > end)
			return rc;
		pause_a_step(g);
	}
	return ERR_OK;
}

/* All but the last one. */
static enum errc etcd_members(struct strike *s, struct err *e)
{
	char names[LOCAL_ETCD_MAX][DRILL_TARGET_NAME];
	unsigned n = drill_target_names(&s->ground->target, LOCAL_ETCD, names, LOCAL_ETCD_MAX);
	enum errc rc = ERR_OK;
	for (unsigned i = 0; rc == ERR_OK && i + 1 < n; i++)
		rc = drill_target_find(&s->ground->target, names[i], &s->victims[s->n++], e);
	return rc;
}

static enum errc choose(struct strike *s, enum drill_fault fault, struct err *e)
{
	switch (fault) {
	case DRILL_KILL_LEADER:
	case DRILL_FREEZE_LEADER:
	case DRILL_RESIGN_LEADER:
	case DRILL_PARTITION_LEADER:
		return the_leader(s, e);
	case DRILL_KILL_TASKMANAGER: /* its workers die with it */
		return a_worker(s, true, e);
	case DRILL_FREEZE_TASKMANAGER: /* its workers would go on */
		return a_frozen_machine(s, e);
	case DRILL_KILL_WORKER:
		return a_worker(s, false, e);
	case DRILL_KILL_ETCD_LEADER:
	case DRILL_FREEZE_ETCD_LEADER:
		return etcd_leader(s, e);
	case DRILL_STOP_ETCD_QUORUM:
		return etcd_members(s, e);
	case DRILL_STORAGE_ERRORS:
	case DRILL_STORAGE_SLOW:
	case DRILL_ROLLING_RESTART:
	case DRILL_FAULTS:
		break;
	}
	return ERR_OK;
}

/* ---- striking and healing ---- */

static void signal_all(const struct strike *s, int signal)
{
	for (unsigned i = 0; i < s->n; i++)
		local_process_signal(&s->victims[i].process, signal);
}

static enum errc start_all(const struct strike *s, struct err *e)
{
	enum errc rc = ERR_OK;
	for (unsigned i = 0; i < s->n && s->ground->target.dir; i++) {
		int64_t end = drill_watch_now(s->ground->watch) + GONE_MS;
		while (!drill_target_gone(&s->victims[i]) &&
		       drill_watch_now(s->ground->watch) < end)
			pause_a_step(s->ground);
		enum errc one = drill_target_start(&s->ground->target, s->victims[i].name, e);
		rc = rc ? rc : one;
	}
	return rc;
}

/* Requests are refused; or, of a directory, a file in its place makes every access fail (a mode
 * of 0 would not stop root). */
static enum errc break_storage(struct strike *s, bool away, struct err *e)
{
	if (s->ground->store) {
		drill_store_refuse(s->ground->store, away);
		return ERR_OK;
	}
	const char *path = s->ground->storage;
	char *aside = mem_printf("%s.away", path);
	enum errc rc = ERR_OK;
	if (away && rename(path, aside) == 0) {
		int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		if (fd >= 0)
			close(fd);
		s->away = true;
	} else if (away) {
		rc = err_errno(e, errno, "move %s", path);
	} else if (s->away && (unlink(path) != 0 || rename(aside, path) != 0)) {
		rc = err_errno(e, errno, "move %s back", path);
	}
	free(aside);
	return rc;
}

static enum errc cut(struct strike *s, bool off, struct err *e)
{
	uint64_t number;
	const char *dash = strrchr(s->victims[0].name, '-');
	if (dash == NULL || text_u64(dash + 1, &number, e))
		return err_set(e, ERR_INVALID, "%s has no namespace", s->victims[0].name);
	s->port = (unsigned)number;
	return drill_net_cut(&s->ground->net, s->port, off, e);
}

static enum errc strike(struct strike *s, enum drill_fault fault, struct err *e)
{
	switch (fault) {
	case DRILL_KILL_LEADER:
	case DRILL_KILL_TASKMANAGER:
	case DRILL_KILL_WORKER:
	case DRILL_KILL_ETCD_LEADER:
	case DRILL_STOP_ETCD_QUORUM:
		signal_all(s, SIGKILL);
		return ERR_OK;
	case DRILL_FREEZE_LEADER:
	case DRILL_FREEZE_TASKMANAGER:
	case DRILL_FREEZE_ETCD_LEADER:
		signal_all(s, SIGSTOP);
		return ERR_OK;
	case DRILL_RESIGN_LEADER:
		if (s->ground->target.dir == NULL) /* nobody would start it again */
			return client_call(s->ground->cli->client, "POST", "/v1/cluster/resign",
					   NULL, NULL, e);
		signal_all(s, SIGTERM);
		return ERR_OK;
	case DRILL_PARTITION_LEADER:
		return cut(s, true, e);
	case DRILL_STORAGE_ERRORS:
		return break_storage(s, true, e);
	case DRILL_STORAGE_SLOW:
		drill_store_delay(s->ground->store, SLOW_MS);
		return ERR_OK;
	case DRILL_ROLLING_RESTART:
	case DRILL_FAULTS:
		break;
	}
	return ERR_OK;
}

static enum errc heal(struct strike *s, enum drill_fault fault, struct err *e)
{
	switch (fault) {
	case DRILL_KILL_LEADER:
	case DRILL_RESIGN_LEADER:
	case DRILL_KILL_TASKMANAGER:
	case DRILL_KILL_ETCD_LEADER:
	case DRILL_STOP_ETCD_QUORUM:
		return start_all(s, e);
	case DRILL_FREEZE_LEADER:
	case DRILL_FREEZE_TASKMANAGER:
	case DRILL_FREEZE_ETCD_LEADER:
		signal_all(s, SIGCONT);
		return ERR_OK;
	case DRILL_PARTITION_LEADER:
		return s->port ? cut(s, false, e) : ERR_OK;
	case DRILL_STORAGE_ERRORS:
		return break_storage(s, false, e);
	case DRILL_STORAGE_SLOW:
		drill_store_delay(s->ground->store, 0);
		return ERR_OK;
	case DRILL_KILL_WORKER:
	case DRILL_ROLLING_RESTART:
	case DRILL_FAULTS:
		break;
	}
	return ERR_OK;
}

/* ---- holding ---- */

static bool needs_a_leader(enum drill_fault fault)
{
	return drill_kind(fault)->commanding_ms >= 0;
}

/* As long as it lasts; a leader that dies is not started again before somebody else leads. */
static void hold(struct drill_ground *g, const struct drill_step *step)
{
	const struct drill_window *w;
	struct drill_window seen = drill_watch_window(g->watch);
	int64_t from = seen.at_ms, least = from + (int64_t)step->hold_ms, most = from + NEXT_MS;
	w = &seen;
	while (!stopped(g)) {
		int64_t now = drill_watch_now(g->watch);
		bool waits = needs_a_leader(step->fault) && step->hold_ms == 0 &&
			     w->commanding_ms < 0 && now < most;
		if (now >= least && !waits)
			return;
		pause_a_step(g);
		seen = drill_watch_window(g->watch);
	}
}

/* ---- a rolling restart ---- */

static enum errc restart_one(struct drill_ground *g, const char *name, struct err *e)
{
	struct strike s = {.ground = g, .n = 1};
	enum errc rc = drill_target_find(&g->target, name, &s.victims[0], e);
	if (rc)
		return rc;
	signal_all(&s, SIGTERM);
	rc = start_all(&s, e);
	if (rc == ERR_OK && !drill_settle(g, NEXT_MS) && !stopped(g))
		rc = err_set(e, ERR_UNAVAILABLE, "not as before after the restart of %s", name);
	return rc;
}

static enum errc roll(struct drill_ground *g, struct err *e)
{
	static const enum local_kind kinds[] = {LOCAL_JOBMANAGER, LOCAL_ETCD};
	char names[LOCAL_ETCD_MAX][DRILL_TARGET_NAME];
	enum errc rc = ERR_OK;
	for (unsigned k = 0; k < 2; k++) {
		unsigned n = drill_target_names(&g->target, kinds[k], names, LOCAL_ETCD_MAX);
		for (unsigned i = 0; i < n && rc == ERR_OK && !stopped(g); i++)
			rc = restart_one(g, names[i], e);
	}
	return rc;
}

/* ---- one fault ---- */

static void note(struct drill_ground *g, struct drill_result *out)
{
	const struct drill_view *v = drill_watch_view(g->watch);
	struct drill_window w = drill_watch_window(g->watch);
	out->at_ms = w.at_ms;
	out->detected_ms = w.detected_ms;
	out->commanding_ms = w.commanding_ms;
	out->leaders = w.leaders;
	out->gap_ms = w.gap_ms;
	out->tasks_restarted = (unsigned)(w.restarts * v->tasks);
	out->checkpoints_lost = (unsigned)w.failed;
	out->job_failed =
		strcmp(v->job_state, "FAILED") == 0 || strcmp(v->job_state, "CANCELED") == 0;
}

enum errc drill_fault_run(struct drill_ground *g, const struct drill_step *step,
			  struct drill_result *out, struct err *e)
{
	const struct drill_kind *k = drill_kind(step->fault);
	struct strike s = {.ground = g};
	struct err after = {0};
	*out = (struct drill_result){
		.fault = step->fault, .hold_ms = step->hold_ms, .recovered_ms = -1};
	enum errc rc = choose(&s, step->fault, e);
	if (rc)
		return rc;
	if (s.n)
		snprintf(out->victim, sizeof(out->victim), "%s", s.victims[0].name);
	drill_watch_open(g->watch, s.n ? s.victims[0].name : NULL);
	rc = step->fault == DRILL_ROLLING_RESTART ? roll(g, e) : strike(&s, step->fault, e);
	if (rc == ERR_OK)
		hold(g, step);
	if (heal(&s, step->fault, &after) && rc == ERR_OK)
		rc = err_set(e, after.code, "%s", after.text);
	out->healed_ms = drill_watch_now(g->watch);
	if (drill_settle(g, k->recovered_ms))
		out->recovered_ms = drill_watch_now(g->watch) - out->healed_ms;
	note(g, out);
	return rc;
}
