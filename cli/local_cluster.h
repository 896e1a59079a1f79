/*
 * local_cluster - a whole cluster on loopback, recorded in DIR/local.json.
 *
 * The record is the truth for every later command (status, stop, start): for
 * each process its command line, pid, start time and addresses. It is changed
 * only under a lock on DIR/local.lock, and replaced by rename.
 *
 *   DIR/local.json  local.lock  logs/  storage/  etcd-1/ ...  tm-1/ ...
 *
 * Nothing is restarted by itself: a drill decides what dies and what returns.
 * Started again with the same directory, all processes come back with their
 * names, ports and data, and so do their jobs.
 */
#ifndef CLI_LOCAL_CLUSTER_H
#define CLI_LOCAL_CLUSTER_H

#include <jansson.h>
#include <stdbool.h>

#include "base/err.h"

enum { LOCAL_JOBMANAGERS_MAX = 9, LOCAL_ETCD_MAX = 9, LOCAL_TASKMANAGERS_MAX = 64 };

struct local_plan {
	unsigned etcd, jobmanagers, taskmanagers, slots;
	const char *storage; /* NULL: file://DIR/storage */
	const char *cluster; /* its name in etcd */
	unsigned port;       /* of the first JobManager's REST API; 0: any free one */
	bool temporary;      /* the directory is removed by stop */
	const char *const
		*env;    /* NULL-ended "NAME=value" for JobManagers and TaskManagers; or NULL */
	const char *net; /* NULL: loopback. Else jm-<i> runs in the network namespace "<net>-<i>"
	                        on 127.77.0.<10+i>, and etcd here on 127.77.0.2 (cli/drill_net.h) */
};

enum local_kind { LOCAL_ETCD, LOCAL_JOBMANAGER, LOCAL_TASKMANAGER };

struct local_cluster;

/* Make the directory and the record; nothing is started yet. EXISTS: there is a record already. */
MUST_CHECK enum errc local_cluster_plan(const char *dir, const struct local_plan *plan,
					struct local_cluster **out, struct err *e);
/* Read the record and hold its lock until close. NOTFOUND: no cluster was ever made in `dir`. */
MUST_CHECK enum errc local_cluster_open(const char *dir, struct local_cluster **out, struct err *e);
/* Let the lock go. NULL: no-op. */
void local_cluster_close(struct local_cluster *l);

/* Record one more TaskManager; *out_name is borrowed from the record. */
MUST_CHECK enum errc local_cluster_add_taskmanager(struct local_cluster *l, const char **out_name,
						   struct err *e);

/* The entries of one kind: objects with "name" and what local_cluster_json() shows. Borrowed. */
const json_t *local_cluster_entries(const struct local_cluster *l, enum local_kind kind);
/* NULL if there is none of that name. */
json_t *local_cluster_find(const struct local_cluster *l, const char *name,
			   enum local_kind *out_kind);
bool local_entry_alive(const json_t *entry);
/* Nothing happens if it is gone. */
void local_entry_signal(const json_t *entry, int signal);
/* Where paths of file sources and sinks begin. */
const char *local_cluster_files_root(const struct local_cluster *l);
const char *local_cluster_dir(const struct local_cluster *l);
bool local_cluster_any_alive(const struct local_cluster *l);

/* Start what an entry says and record pid and start time. CONFLICT if it runs already. */
MUST_CHECK enum errc local_cluster_start(struct local_cluster *l, json_t *entry, bool tied,
					 struct err *e);
/* SIGTERM to JobManagers, then TaskManagers, then etcd; SIGKILL after some seconds. Returns how
 * many were alive. Removes the directory if it was temporary. */
unsigned local_cluster_stop(struct local_cluster *l);

/* {"dir","storage","rest":[...],"etcd":[{"name","pid","address","alive"}],
 *  "jobmanagers":[{"id","pid","address","clusterAddress","alive"}],
 *  "taskmanagers":[{"id","pid","alive"}]}. The caller's. */
json_t *local_cluster_json(const struct local_cluster *l);
/* The last lines that a process has written, for an error message. The caller frees. */
char *local_cluster_last_words(const struct local_cluster *l, const json_t *entry);

#endif
