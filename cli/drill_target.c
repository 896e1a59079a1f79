#include "cli/drill_target.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/text.h"
#include "cli/client.h"
#include "cli/table.h"

enum { ANSWER_MS = 1000, WORKERS_MAX = 64, PATH_BYTES = 512 };

static void name_it(struct drill_victim *v, const char *name)
{
	snprintf(v->name, sizeof(v->name), "%s", name);
}

bool drill_target_gone(const struct drill_victim *v)
{
	return !local_process_alive(&v->process);
}

/* ---- recorded by weir local ---- */

static enum errc find_local(const struct drill_target *t, const char *name,
			    struct drill_victim *out, struct err *e)
{
	struct local_cluster *l;
	enum local_kind kind;
	enum errc rc = local_cluster_open(t->dir, &l, e);
	if (rc)
		return rc;
	const json_t *entry = local_cluster_find(l, name, &kind);
	if (entry == NULL) {
		rc = err_set(e, ERR_NOTFOUND, "there is no %s in %s", name, t->dir);
	} else {
		name_it(out, name);
		out->process.pid = (int)table_integer(entry, "pid", 0);
		out->process.start = (uint64_t)table_integer(entry, "start", 0);
	}
	local_cluster_close(l);
	return rc;
}

enum errc drill_target_start(const struct drill_target *t, const char *name, struct err *e)
{
	struct local_cluster *l;
	enum local_kind kind;
	if (t->dir == NULL)
		return err_set(e, ERR_DENIED, "%s was not started by weir local: start it yourself",
			       name);
	enum errc rc = local_cluster_open(t->dir, &l, e);
	if (rc)
		return rc;
	json_t *entry = local_cluster_find(l, name, &kind);
	if (entry == NULL)
		rc = err_set(e, ERR_NOTFOUND, "there is no %s in %s", name, t->dir);
	else if (!local_entry_alive(entry))
		rc = local_cluster_start(l, entry, t->tied, e);
	local_cluster_close(l);
	return rc;
}

/* ---- attached over REST ---- */

static bool on_this_host(const char *address)
{
	char host[64];
	struct in_addr wanted;
	struct ifaddrs *all = NULL;
	snprintf(host, sizeof(host), "%.*s", (int)strcspn(address, ":"), address);
	if (inet_pton(AF_INET, host, &wanted) != 1 || getifaddrs(&all) != 0)
		return false;
	bool found = ntohl(wanted.s_addr) >> 24 == 127;
	for (const struct ifaddrs *i = all; i && !found; i = i->ifa_next) {
		struct sockaddr_in at;
		if (i->ifa_addr == NULL || i->ifa_addr->sa_family != AF_INET)
			continue;
		memcpy(&at, i->ifa_addr, sizeof(at));
		found = at.sin_addr.s_addr == wanted.s_addr;
	}
	freeifaddrs(all);
	return found;
}

/* Is it the program that it should be, and this user's? */
static enum errc may_strike(int pid, const char *name, const char *program,
			    struct drill_victim *out, struct err *e)
{
	char path[64];
	struct stat st;
	snprintf(path, sizeof(path), "/proc/%d", pid);
	if (pid <= 1 || stat(path, &st) != 0)
		return err_set(e, ERR_NOTFOUND, "%s: there is no process %d on this host", name,
			       pid);
	if (st.st_uid != geteuid())
		return err_set(e, ERR_DENIED, "%s (pid %d) belongs to another user", name, pid);
	if (!local_process_runs(pid, program))
		return err_set(e, ERR_DENIED, "%s: process %d on this host is no %s", name, pid,
			       program);
	name_it(out, name);
	return local_process_find(pid, &out->process, e);
}

/* The leader's list: NULL if nobody answers. The caller's. */
static json_t *rest(const struct drill_target *t, const char *path)
{
	json_t *all = NULL;
	return client_call(t->cli->client, "GET", path, NULL, &all, NULL) ? NULL : all;
}

static enum errc attached_jobmanager(const json_t *all, const char *name, struct drill_victim *out,
				     struct err *e)
{
	const json_t *m;
	size_t i;
	json_array_foreach (json_object_get(all, "members"), i, m) {
		if (strcmp(table_text(m, "id"), name) != 0)
			continue;
		if (!on_this_host(table_text(m, "rest")))
			return err_set(e, ERR_DENIED, "%s (%s) is not on this host", name,
				       table_text(m, "rest"));
		return may_strike((int)table_integer(m, "pid", 0), name, "weir-jobmanager", out, e);
	}
	return ERR_NOTFOUND;
}

static enum errc attached_taskmanager(const json_t *all, const char *name, struct drill_victim *out,
				      struct err *e)
{
	const json_t *tm;
	size_t i;
	json_array_foreach (json_object_get(all, "taskmanagers"), i, tm) {
		const json_t *more = json_object_get(tm, "weir");
		if (strcmp(table_text(tm, "id"), name) != 0)
			continue;
		if (!on_this_host(table_text(more, "dataAddress")))
			return err_set(e, ERR_DENIED, "%s (%s) is not on this host", name,
				       table_text(more, "dataAddress"));
		return may_strike((int)table_integer(more, "pid", 0), name, "weir-taskmanager", out,
				  e);
	}
	return err_set(e, ERR_NOTFOUND, "nobody knows of %s", name);
}

static enum errc find_attached(const struct drill_target *t, const char *name,
			       struct drill_victim *out, struct err *e)
{
	json_t *all = rest(t, "/v1/cluster");
	enum errc rc = attached_jobmanager(all, name, out, e);
	json_decref(all);
	if (rc != ERR_NOTFOUND)
		return rc;
	all = rest(t, "/v1/taskmanagers");
	rc = attached_taskmanager(all, name, out, e);
	json_decref(all);
	return rc;
}

enum errc drill_target_find(const struct drill_target *t, const char *name,
			    struct drill_victim *out, struct err *e)
{
	*out = (struct drill_victim){0};
	return t->dir ? find_local(t, name, out, e) : find_attached(t, name, out, e);
}

/* ---- names ---- */

static unsigned names_of(const json_t *list, const char *member, char (*out)[DRILL_TARGET_NAME],
			 unsigned max)
{
	unsigned n = 0;
	size_t i;
	const json_t *o;
	json_array_foreach (list, i, o)
		if (n < max)
			snprintf(out[n++], DRILL_TARGET_NAME, "%s", table_text(o, member));
	return n;
}

unsigned drill_target_names(const struct drill_target *t, enum local_kind kind,
			    char (*out)[DRILL_TARGET_NAME], unsigned max)
{
	struct local_cluster *l;
	if (t->dir) {
		if (local_cluster_open(t->dir, &l, NULL))
			return 0;
		unsigned n = names_of(local_cluster_entries(l, kind), "name", out, max);
		local_cluster_close(l);
		return n;
	}
	if (kind == LOCAL_ETCD)
		return 0;
	bool jm = kind == LOCAL_JOBMANAGER;
	json_t *all = rest(t, jm ? "/v1/cluster" : "/v1/taskmanagers");
	unsigned n =
		names_of(json_object_get(all, jm ? "members" : "taskmanagers"), "id", out, max);
	json_decref(all);
	return n;
}

/* ---- workers ---- */

/* A worker's output goes to a log that is named after its job. */
static bool works_for(int pid, const char *job)
{
	char path[64], log[PATH_BYTES];
	snprintf(path, sizeof(path), "/proc/%d/fd/1", pid);
	ssize_t n = readlink(path, log, sizeof(log) - 1);
	log[n > 0 ? n : 0] = '\0';
	return strstr(log, job) != NULL;
}

static unsigned workers_below(int parent, const char *job, int *out, unsigned max)
{
	char path[64], text[2048] = "";
	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", parent, parent);
	FILE *f = fopen(path, "re");
	if (f == NULL)
		return 0;
	unsigned n = 0;
	char *rest_of = fgets(text, sizeof(text), f) ? text : NULL, *word;
	while (rest_of && (word = strsep(&rest_of, " \n")) != NULL && n < max) {
		uint64_t pid;
		if (text_u64(word, &pid, NULL) == ERR_OK && works_for((int)pid, job))
			out[n++] = (int)pid;
	}
	fclose(f);
	return n;
}

enum errc drill_target_worker(const struct drill_target *t, const char *job, unsigned i,
			      struct drill_victim *out_worker, struct drill_victim *out_taskmanager,
			      struct err *e)
{
	char names[LOCAL_TASKMANAGERS_MAX][DRILL_TARGET_NAME];
	unsigned n = drill_target_names(t, LOCAL_TASKMANAGER, names, LOCAL_TASKMANAGERS_MAX);
	enum errc rc = ERR_NOTFOUND;
	err_set(e, rc, "no worker of this job runs on this host");
	for (unsigned k = 0; k < n; k++) {
		int pids[WORKERS_MAX];
		struct drill_victim tm;
		if (drill_target_find(t, names[(i + k) % n], &tm, e) || drill_target_gone(&tm))
			continue;
		unsigned n_pids = workers_below(tm.process.pid, job, pids, WORKERS_MAX);
		if (n_pids == 0)
			continue;
		int pid = pids[i % n_pids];
		snprintf(out_worker->name, DRILL_TARGET_NAME, "%.20s/%d", tm.name, pid);
		*out_taskmanager = tm;
		return local_process_find(pid, &out_worker->process, e);
	}
	return rc;
}

/* ---- etcd ---- */

static bool leads(const struct drill_target *t, const char *address)
{
	json_t *nothing = json_object(), *o = NULL;
	int status = 0;
	enum errc rc = client_once(t->cli->client, "POST", address, "/v3/maintenance/status",
				   nothing, ANSWER_MS, &status, &o, NULL);
	json_decref(nothing);
	if (rc)
		return false;
	const char *self = table_text(json_object_get(o, "header"), "member_id");
	bool yes = self[0] != '-' && strcmp(self, table_text(o, "leader")) == 0;
	json_decref(o);
	return yes;
}

enum errc drill_target_etcd_leader(const struct drill_target *t, struct drill_victim *out,
				   struct err *e)
{
	struct local_cluster *l;
	enum errc rc = local_cluster_open(t->dir, &l, e);
	if (rc)
		return rc;
	json_t *members = json_deep_copy(local_cluster_entries(l, LOCAL_ETCD)), *m;
	size_t i;
	local_cluster_close(l);
	rc = err_set(e, ERR_NOTFOUND, "etcd has no leader now");
	json_array_foreach (members, i, m)
		if (rc && leads(t, table_text(m, "address")))
			rc = drill_target_find(t, table_text(m, "name"), out, e);
	json_decref(members);
	return rc;
}
