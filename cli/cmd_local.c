/* local - a whole cluster on this machine: etcd, JobManagers, TaskManagers. */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cli/cli.h"
#include "cli/client.h"
#include "cli/local_cluster.h"
#include "cli/local_ready.h"
#include "cli/table.h"
#include "world/ev.h"

enum { WATCH_MS = 250 };

/* ---- showing ---- */

static void print_kind(struct table *t, const json_t *all, const char *key, const char *id,
		       const char *what)
{
	json_t *p;
	size_t i;
	char pid[TABLE_CELL_MAX];
	json_array_foreach (json_object_get(all, key), i, p) {
		bool alive = json_is_true(json_object_get(p, "alive"));
		table_row(t, table_text(p, id), what, table_number(table_integer(p, "pid", 0), pid),
			  alive ? "runs" : "gone", table_text(p, "address"), NULL);
	}
}

static void show(const struct cli *c, const struct local_cluster *l)
{
	json_t *all = local_cluster_json(l);
	if (c->json) {
		cli_print_json(all);
		fflush(stdout);
		return;
	}
	struct table t = {0};
	table_row(&t, "NAME", "WHAT", "PID", "STATE", "ADDRESS", NULL);
	print_kind(&t, all, "etcd", "name", "etcd");
	print_kind(&t, all, "jobmanagers", "id", "JobManager");
	print_kind(&t, all, "taskmanagers", "id", "TaskManager");
	table_print(&t);
	printf("\nstorage    %s\nlogs       %s/logs\n", table_text(all, "storage"),
	       table_text(all, "dir"));
	json_t *address;
	size_t i;
	json_array_foreach (json_object_get(all, "rest"), i, address)
		printf("%s%s",
		       i ? "," : "talk to it  export WEIR_SERVER=", json_string_value(address));
	printf("\n");
	fflush(stdout);
	json_decref(all);
}

/* ---- starting all ---- */

static unsigned number(const struct cli *c, const char *key)
{
	return (unsigned)options_u64(c->options, key);
}

static enum errc plan(struct cli *c, const char *dir, bool temporary, struct local_cluster **out,
		      struct err *e)
{
	struct local_plan p = {.etcd = number(c, "local.etcd"),
			       .jobmanagers = number(c, "local.jobmanagers"),
			       .taskmanagers = number(c, "local.taskmanagers"),
			       .slots = number(c, "local.slots"),
			       .storage = options_text(c->options, "local.storage"),
			       .cluster = "local",
			       .port = number(c, "local.port"),
			       .net = options_text(c->options, "local.net"),
			       .temporary = temporary};
	enum errc rc = local_cluster_plan(dir, &p, out, e);
	if (rc != ERR_EXISTS)
		return rc;
	rc = local_cluster_open(dir, out, e);
	if (rc == ERR_OK && local_cluster_any_alive(*out)) {
		local_cluster_close(*out);
		rc = err_set(e, ERR_CONFLICT,
			     "the cluster in %s runs already; see weir local status --dir %s", dir,
			     dir);
	}
	if (rc == ERR_OK)
		fprintf(stderr, "starting the cluster in %s again, as it was\n", dir);
	return rc;
}

/* ---- watching it ---- */

struct watch {
	struct world *world;
	bool stop;
};

static void on_signal(void *ctx, int signal)
{
	struct watch *w = ctx;
	(void)signal;
	w->stop = true;
	world_stop(w->world);
}

/* Says once of each process that it ended; true while any is alive. */
static bool note_deaths(const json_t *all, json_t *gone)
{
	static const char *const kinds[] = {"etcd", "jobmanagers", "taskmanagers"};
	bool any = false;
	for (unsigned k = 0; k < 3; k++) {
		json_t *p;
		size_t i;
		json_array_foreach (json_object_get(all, kinds[k]), i, p) {
			const char *name = table_text(p, k ? "id" : "name");
			int64_t pid = table_integer(p, "pid", 0);
			bool alive = json_is_true(json_object_get(p, "alive"));
			any = any || alive;
			if (alive || table_integer(gone, name, 0) == pid)
				continue;
			fprintf(stderr,
				"%s (pid %" PRId64 ") is gone; weir local start %s --dir %s\n",
				name, pid, name, table_text(all, "dir"));
			json_object_set_new(gone, name, json_integer(pid));
		}
	}
	return any;
}

static int watch_and_stop(struct cli *c, const char *dir, struct watch *w)
{
	struct err e = {0};
	struct local_cluster *l;
	json_t *gone = json_object();
	bool any = true;
	while (any && !w->stop) {
		client_pause(c->client, WATCH_MS);
		if (local_cluster_open(dir, &l, &e))
			break; /* somebody stopped a temporary one: the directory is gone */
		json_t *all = local_cluster_json(l);
		local_cluster_close(l);
		any = note_deaths(all, gone);
		json_decref(all);
	}
	json_decref(gone);
	if (local_cluster_open(dir, &l, &e))
		return e.code == ERR_NOTFOUND ? CLI_OK : cli_fail(&e);
	if (!c->json)
		fprintf(stderr, "stopping\n");
	(void)local_cluster_stop(l);
	local_cluster_close(l);
	return CLI_OK;
}

static int up(struct cli *c)
{
	struct err e = {0};
	char fresh[] = "/tmp/weir-local-XXXXXX";
	const char *dir = options_text(c->options, "local.dir");
	bool temporary = dir == NULL, detach = options_bool(c->options, "local.detach");
	if (temporary && (dir = mkdtemp(fresh)) == NULL) {
		err_errno(&e, errno, "make a temporary directory");
		return cli_fail(&e);
	}
	struct watch w = {.world = c->world};
	world_ev_on_signals(c->world, on_signal, &w);
	struct local_cluster *l;
	if (plan(c, dir, temporary, &l, &e))
		return cli_fail(&e);
	char *absolute = mem_text(local_cluster_dir(l));
	enum errc rc = local_start_all(c, l, !detach, &w.stop, &e);
	if (rc)
		(void)local_cluster_stop(l);
	else
		show(c, l);
	local_cluster_close(l);
	int status = rc ? cli_fail(&e) : CLI_OK;
	if (rc == ERR_OK && !detach) {
		if (!c->json)
			printf("\nCtrl-C stops everything.\n");
		fflush(stdout);
		status = watch_and_stop(c, absolute, &w);
	}
	free(absolute);
	return rc == ERR_CANCELED ? CLI_OK : status;
}

/* ---- the commands on a directory ---- */

static int status(struct cli *c, struct local_cluster *l)
{
	show(c, l);
	return CLI_OK;
}

static int stop(struct cli *c, struct local_cluster *l)
{
	unsigned n = local_cluster_stop(l);
	if (c->json)
		cli_print_json(json_pack("{s:i}", "stopped", (int)n));
	else if (n == 0)
		printf("nothing ran any more: what was started in %s had ended before (%s/logs)\n",
		       local_cluster_dir(l), local_cluster_dir(l));
	else
		printf("stopped %u %s\n", n, n == 1 ? "process" : "processes");
	return CLI_OK;
}

static int start_named(struct cli *c, struct local_cluster *l, const char *name)
{
	struct err e = {0};
	bool never = false;
	enum local_kind kind;
	json_t *entry = local_cluster_find(l, name, &kind);
	if (entry == NULL) {
		err_set(&e, ERR_NOTFOUND, "there is no %.40s in %s (see weir local status)", name,
			local_cluster_dir(l));
		return cli_fail(&e);
	}
	if (local_cluster_start(l, entry, false, &e) || local_await(c, l, entry, kind, &never, &e))
		return cli_fail(&e);
	if (c->json)
		cli_print_json(
			json_pack("{s:s, s:O}", "id", name, "pid", json_object_get(entry, "pid")));
	else
		printf("%s runs, pid %" PRId64 "\n", name, table_integer(entry, "pid", 0));
	return CLI_OK;
}

static int start(struct cli *c, struct local_cluster *l)
{
	return start_named(c, l, c->args[1]);
}

static int add_taskmanager(struct cli *c, struct local_cluster *l)
{
	struct err e = {0};
	const char *name;
	if (local_cluster_add_taskmanager(l, &name, &e))
		return cli_fail(&e);
	return start_named(c, l, name);
}

static const struct {
	const char *name;
	unsigned args;
	int (*run)(struct cli *c, struct local_cluster *l);
} verbs[] = {{"status", 1, status},
	     {"stop", 1, stop},
	     {"start", 2, start},
	     {"add-taskmanager", 1, add_taskmanager}};

static int on_directory(struct cli *c, int (*run)(struct cli *c, struct local_cluster *l))
{
	struct err e = {0};
	const char *dir = options_text(c->options, "local.dir");
	if (dir == NULL) {
		fprintf(stderr, "weir: local %s: --dir DIR is missing\n", c->args[0]);
		return CLI_USAGE;
	}
	struct local_cluster *l;
	if (local_cluster_open(dir, &l, &e))
		return cli_fail(&e);
	int result = run(c, l);
	local_cluster_close(l);
	return result;
}

static int local(struct cli *c)
{
	if (c->n_args == 0)
		return up(c);
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		if (strcmp(verbs[i].name, c->args[0]) == 0 && verbs[i].args == c->n_args)
			return on_directory(c, verbs[i].run);
	fprintf(stderr, "weir: usage: weir local [status | stop | start NAME | add-taskmanager] "
			"[--dir DIR]\n");
	return CLI_USAGE;
}

static const struct option local_options[] = {
	{.key = "local.dir",
	 .flag = "--dir",
	 .type = OPTION_TEXT,
	 .value = "DIR",
	 .help = "where data and logs are kept; without it a temporary one, removed at the end"},
	{.key = "local.jobmanagers",
	 .flag = "--jobmanagers",
	 .type = OPTION_U64,
	 .fallback = "1",
	 .min = 1,
	 .max = LOCAL_JOBMANAGERS_MAX,
	 .help = "how many JobManagers"},
	{.key = "local.taskmanagers",
	 .flag = "--taskmanagers",
	 .type = OPTION_U64,
	 .fallback = "1",
	 .max = LOCAL_TASKMANAGERS_MAX,
	 .help = "how many TaskManagers"},
	{.key = "local.slots",
	 .flag = "--slots",
	 .type = OPTION_U64,
	 .fallback = "4",
	 .min = 1,
	 .max = 1024,
	 .help = "slots of each TaskManager"},
	{.key = "local.etcd",
	 .flag = "--etcd",
	 .type = OPTION_U64,
	 .fallback = "1",
	 .min = 1,
	 .max = LOCAL_ETCD_MAX,
	 .help = "how many etcd members"},
	{.key = "local.storage",
	 .flag = "--storage",
	 .type = OPTION_TEXT,
	 .value = "URL",
	 .help = "where snapshots go (file:///dir or s3://bucket/prefix); DIR/storage"},
	{.key = "local.port",
	 .flag = "--port",
	 .type = OPTION_U64,
	 .max = 65535,
	 .help = "REST port of the first JobManager; any free one"},
	{.key = "local.net",
	 .flag = "--net",
	 .type = OPTION_TEXT,
	 .value = "NAME",
	 .help = "for drills: jm-N runs in the network namespace NAME-N on 127.77.0.(10+N)"},
	{.key = "local.detach",
	 .flag = "--detach",
	 .type = OPTION_BOOL,
	 .help = "return once all are ready, and leave them running"},
	{0}};

const struct command local_commands[] = {
	{.name = "local",
	 .args = "[status | stop | start NAME | add-taskmanager]",
	 .summary = "run a whole cluster on this machine",
	 .args_max = 2,
	 .options = local_options,
	 .run = local,
	 .help = "Starts etcd, JobManagers and TaskManagers on loopback, waits until all are ready,\n"
		 "shows them, and stops them all on Ctrl-C. Paths of file sources and sinks are\n"
		 "relative to the current directory. Nothing is restarted by itself: kill one and\n"
		 "watch the others. With --dir, data stays there: start it again and its jobs go on.\n\n"
		 "  weir local --jobmanagers 3 --taskmanagers 2 --port 8081\n"
		 "  weir local --dir /tmp/w --detach --json     {\"rest\":[...],\"jobmanagers\":[...],...}\n"
		 "  weir local status --dir /tmp/w\n"
		 "  weir local start jm-2 --dir /tmp/w          bring back one that was killed\n"
		 "  weir local add-taskmanager --dir /tmp/w\n"
		 "  weir local stop --dir /tmp/w\n"},
	{0}};
