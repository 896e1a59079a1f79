/* drill - break things on purpose, and see whether the promises hold. */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/text.h"
#include "cli/cli.h"
#include "cli/client.h"
#include "cli/drill_cluster.h"
#include "cli/drill_faults.h"
#include "cli/drill_job.h"
#include "cli/drill_report.h"
#include "cli/drill_tally.h"
#include "cli/table.h"
#include "world/ev.h"

enum {
	RESULTS_MAX = 4096,
	SETTLE_MS = 60000,
	ROOM_MS = 5000, /* that a change of leader takes beside its hold, on average */
	SLOW_MS = 9000, /* likewise what restarts tasks, or several processes */
	TAIL_MS = 6000, /* of the job after the last fault */
	MIX_TAIL_MS = 15000,
	STEP_MS = 50
};

struct drill {
	struct cli *c;
	struct client *mine; /* knows the cluster's addresses; owns */
	const char *scenario;
	bool mix, stop;
	enum drill_fault fault;
	uint64_t seed, rate, for_ms, times, hold_ms;
	bool own_cluster, own_job;
	struct drill_cluster cluster;
	struct drill_ground ground;
	struct drill_job job;
	char *dir;       /* owns; of weir local; NULL: attached */
	char *committed; /* owns; the output; NULL: not known */
	char *storage;   /* owns; the directory; NULL */
	char *page;      /* owns; where the report goes, absolute; NULL: none is wanted */
	char *trouble;   /* owns */
	struct drill_result *results; /* owns */
	unsigned n;
	int64_t started_wall_ms;
};

static void on_signal(void *ctx, int signal)
{
	struct drill *d = ctx;
	(void)signal;
	d->stop = true;
	world_stop(d->c->world);
}

static void say(const struct drill *d, const char *fmt, ...) PRINTF_LIKE(2, 3);

static void say(const struct drill *d, const char *fmt, ...)
{
	va_list ap;
	int64_t ms = d->ground.watch ? drill_watch_now(d->ground.watch) : 0;
	fprintf(stderr, "[%3" PRId64 ".%" PRId64 " s] ", ms / 1000, ms % 1000 / 100);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

/* ---- what is asked for ---- */

static int list_scenarios(const struct cli *c)
{
	struct table t = {0};
	json_t *all = json_array();
	table_row(&t, "SCENARIO", "WHAT HAPPENS", NULL);
	for (int i = 0; i < DRILL_FAULTS; i++) {
		const struct drill_kind *k = drill_kind((enum drill_fault)i);
		table_row(&t, k->name, k->summary, NULL);
		json_array_append_new(all,
				      json_pack("{s:s, s:s}", "name", k->name, "what", k->summary));
	}
	table_row(&t, "mix", "all that is possible here, shuffled by a seed, for --for", NULL);
	if (c->json) {
		for (unsigned i = 0; i < t.n_rows * t.n_columns; i++)
			free(t.cells[i]);
		free(t.cells);
		cli_print_json(all);
		return CLI_OK;
	}
	json_decref(all);
	table_print(&t);
	return CLI_OK;
}

static int parse(struct drill *d, struct cli *c)
{
	const struct options *o = c->options;
	d->c = c;
	d->scenario = c->args[0];
	d->mix = strcmp(d->scenario, "mix") == 0;
	if (!d->mix && !drill_fault_named(d->scenario, &d->fault)) {
		fprintf(stderr, "weir: there is no drill %.40s; see weir drill list\n",
			d->scenario);
		return CLI_USAGE;
	}
	d->rate = options_u64(o, "drill.rate");
	d->for_ms = options_ms(o, "drill.for");
	d->times = options_u64(o, "drill.times");
	d->hold_ms = options_origin(o, "drill.hold") == OPTION_UNSET
			     ? drill_kind(d->mix ? DRILL_KILL_LEADER : d->fault)->hold_ms
			     : options_ms(o, "drill.hold");
	d->seed = options_origin(o, "drill.seed") == OPTION_UNSET ? world_rand64(c->world) % 1000000
								  : options_u64(o, "drill.seed");
	d->own_job = options_text(o, "drill.job") == NULL;
	d->own_cluster = options_origin(o, "server") == OPTION_DEFAULT &&
			 options_text(o, "drill.dir") == NULL;
	if (d->own_cluster && !d->own_job) {
		fprintf(stderr, "weir: --job needs --dir or --server: where does it run?\n");
		return CLI_USAGE;
	}
	return CLI_OK;
}

/* ---- where ---- */

static enum errc use_addresses(struct drill *d, struct local_cluster *l, struct err *e)
{
	const char *list[LOCAL_JOBMANAGERS_MAX];
	unsigned n = 0;
	size_t i;
	json_t *jm;
	json_array_foreach (local_cluster_entries(l, LOCAL_JOBMANAGER), i, jm)
		list[n++] = table_text(jm, "address");
	if (n == 0)
		return err_set(e, ERR_NOTFOUND, "%s has no JobManager", d->dir);
	d->mine = client_create(d->c->world, list, n, SETTLE_MS);
	d->ground.watch = drill_watch_create(d->c->world, list, n);
	return ERR_OK;
}

static enum errc use_local(struct drill *d, const char *dir, struct err *e)
{
	struct local_cluster *l;
	enum errc rc = local_cluster_open(dir, &l, e);
	if (rc)
		return rc;
	d->dir = mem_text(local_cluster_dir(l));
	json_t *all = local_cluster_json(l);
	const char *storage = table_text(all, "storage");
	if (text_starts(storage, "file://"))
		d->storage = mem_text(storage + strlen("file://"));
	if (d->own_job)
		d->committed = mem_text(local_cluster_files_root(l));
	json_decref(all);
	rc = local_cluster_any_alive(l)
		     ? use_addresses(d, l, e)
		     : err_set(e, ERR_NOTFOUND, "nothing runs in %s; start it: weir local --dir %s",
			       dir, dir);
	local_cluster_close(l);
	return rc;
}

static enum errc use_servers(struct drill *d, struct err *e)
{
	unsigned n;
	json_t *all = NULL;
	const char *list[DRILL_MEMBERS_MAX];
	const char *const *servers = options_list(d->c->options, "server", &n);
	d->mine = client_create(d->c->world, servers, n, SETTLE_MS);
	enum errc rc = client_call(d->mine, "GET", "/v1/cluster", NULL, &all, e);
	if (rc)
		return rc;
	const json_t *m;
	size_t i;
	n = 0;
	json_array_foreach (json_object_get(all, "members"), i, m)
		if (n < DRILL_MEMBERS_MAX)
			list[n++] = table_text(m, "rest");
	d->ground.watch = drill_watch_create(d->c->world, list, n);
	json_decref(all);
	const char *files = options_text(d->c->options, "drill.files");
	d->committed = d->own_job && files ? mem_text(files) : NULL;
	return ERR_OK;
}

/* A terrible thing to do to somebody else's cluster by mistake. */
static bool agreed(const struct drill *d)
{
	char line[16] = "";
	if (d->own_cluster || options_bool(d->c->options, "drill.yes"))
		return true;
	fprintf(stderr, "This breaks things in the cluster at %s on purpose (%s). Go on? [y/N] ",
		d->dir ? d->dir : options_list(d->c->options, "server", &(unsigned){0})[0],
		d->scenario);
	return fgets(line, sizeof(line), stdin) && (line[0] == 'y' || line[0] == 'Y');
}

static bool wants_network(const struct drill *d)
{
	return d->mix || d->fault == DRILL_PARTITION_LEADER;
}

static enum errc find_cluster(struct drill *d, struct err *e)
{
	const char *dir = options_text(d->c->options, "drill.dir");
	const char *missing = drill_net_missing();
	if (!d->own_cluster)
		return dir ? use_local(d, dir, e) : use_servers(d, e);
	if (missing && d->mix)
		say(d, "without partition-leader: %s", missing);
	say(d, "starting 3 members of etcd, 3 JobManagers, 3 TaskManagers");
	enum errc rc = drill_cluster_start(d->c, wants_network(d) && missing == NULL, &d->stop,
					   &d->cluster, e);
	return rc ? rc : use_local(d, d->cluster.dir, e);
}

static unsigned possibilities(const struct drill *d)
{
	char names[LOCAL_ETCD_MAX][DRILL_TARGET_NAME];
	unsigned have = d->dir ? DRILL_NEEDS_LOCAL : 0;
	if (drill_target_names(&d->ground.target, LOCAL_ETCD, names, LOCAL_ETCD_MAX) >= 3)
		have |= DRILL_NEEDS_ETCD;
	if (d->cluster.net.n)
		have |= DRILL_NEEDS_NETWORK;
	if (d->cluster.store || d->storage)
		have |= DRILL_NEEDS_STORAGE;
	if (d->cluster.store)
		have |= DRILL_NEEDS_SLOW_STORE;
	return have;
}

static enum errc check_possible(const struct drill *d, unsigned have, struct err *e)
{
	unsigned lacks = d->mix ? 0 : drill_kind(d->fault)->needs & ~have;
	if (lacks & DRILL_NEEDS_LOCAL)
		return err_set(e, ERR_INVALID, "%s needs a cluster of weir local (--dir)",
			       d->scenario);
	if (lacks & DRILL_NEEDS_ETCD)
		return err_set(e, ERR_INVALID, "%s needs three members of etcd (--etcd 3)",
			       d->scenario);
	if (lacks & DRILL_NEEDS_NETWORK)
		return err_set(e, ERR_INVALID, "%s: %s", d->scenario,
			       drill_net_missing() ? drill_net_missing()
						   : "only in a cluster that the drill starts "
						     "itself (without --dir)");
	if (lacks)
		return err_set(e, ERR_INVALID,
			       "%s needs storage that the drill can break: start it without --dir",
			       d->scenario);
	return ERR_OK;
}

/* ---- the job ---- */

/* Long enough, or the job has ended before the last fault. */
static uint64_t planned_ms(const struct drill *d)
{
	bool quick = drill_kind(d->fault)->commanding_ms >= 0;
	if (d->mix)
		return d->for_ms + MIX_TAIL_MS;
	return d->times * (d->hold_ms + (quick ? ROOM_MS : SLOW_MS)) + TAIL_MS;
}

static enum errc own_job(struct drill *d, struct err *e)
{
	uint64_t records = planned_ms(d) * d->rate / 1000;
	enum errc rc = drill_job_submit(d->c, records, d->rate, &d->job, e);
	if (rc)
		return rc;
	char *logs = d->dir ? mem_printf("%s/logs", d->dir) : NULL;
	if (d->committed) {
		char *root = d->committed;
		d->committed = mem_printf("%s/%s", root, d->job.output);
		free(root);
	}
	drill_watch_job(d->ground.watch, d->job.id.hex, logs, d->committed);
	d->ground.job = d->job.id.hex;
	free(logs);
	return ERR_OK;
}

static void users_job(struct drill *d)
{
	const char *output = options_text(d->c->options, "drill.output");
	d->ground.job = options_text(d->c->options, "drill.job");
	d->committed = output ? mem_text(output) : NULL;
	drill_watch_job(d->ground.watch, d->ground.job, NULL, d->committed);
}

/* ---- striking ---- */

static bool ended(const struct drill *d)
{
	const char *state = drill_watch_view(d->ground.watch)->job_state;
	return strcmp(state, "FINISHED") == 0 || strcmp(state, "FAILED") == 0 ||
	       strcmp(state, "CANCELED") == 0;
}

static void progress(const struct drill *d, const struct drill_result *r)
{
	char why[DRILL_WHY_MAX], detected[TABLE_CELL_MAX], next[TABLE_CELL_MAX],
		gap[TABLE_CELL_MAX], again[TABLE_CELL_MAX];
	bool held = drill_judge(r, why);
	say(d, "%s %s: noticed after %s, next leader %s, as before %s after it, gap %s: %s%s",
	    drill_kind(r->fault)->name, r->victim, table_duration(r->detected_ms, detected),
	    table_duration(r->commanding_ms, next), table_duration(r->recovered_ms, again),
	    table_duration(r->gap_ms, gap), held ? "held" : "BROKEN, ", why);
}

static enum errc one_fault(struct drill *d, const struct drill_step *step, struct err *e)
{
	struct drill_result *r = &d->results[d->n];
	enum errc rc = drill_fault_run(&d->ground, step, r, e);
	if (rc)
		return err_wrap(e, rc, "%s", drill_kind(step->fault)->name);
	if (d->stop)
		return err_set(e, ERR_CANCELED, "interrupted");
	d->n++;
	progress(d, r);
	if (r->recovered_ms < 0 || ended(d))
		return err_set(e, ERR_UNAVAILABLE, "after %s %s the cluster was not as before",
			       drill_kind(step->fault)->name, r->victim);
	return ERR_OK;
}

static enum errc strike_mix(struct drill *d, unsigned have, struct err *e)
{
	struct drill_mix mix;
	struct drill_step step;
	int64_t end = drill_watch_now(d->ground.watch) + (int64_t)d->for_ms;
	enum errc rc = ERR_OK;
	drill_mix_init(&mix, d->seed, have);
	while (rc == ERR_OK && drill_watch_now(d->ground.watch) < end && d->n < RESULTS_MAX) {
		drill_mix_next(&mix, &step);
		rc = one_fault(d, &step, e);
		if (rc == ERR_OK)
			client_pause(d->mine, step.pause_ms);
	}
	return rc;
}

static enum errc strike_times(struct drill *d, struct err *e)
{
	struct drill_step step = {.fault = d->fault, .hold_ms = d->hold_ms};
	enum errc rc = ERR_OK;
	for (uint64_t i = 0; i < d->times && rc == ERR_OK; i++)
		rc = one_fault(d, &step, e);
	return rc;
}

/* ---- counting ---- */

static enum errc drain(struct drill *d, struct err *e)
{
	int64_t end = drill_watch_now(d->ground.watch) +
		      (int64_t)(d->job.records * 1000 / d->rate) * 2 + SETTLE_MS;
	say(d, "waiting for the job to finish its %" PRIu64 " records", d->job.records);
	while (!ended(d) && !d->stop && drill_watch_now(d->ground.watch) < end)
		client_pause(d->mine, STEP_MS);
	const char *state = drill_watch_view(d->ground.watch)->job_state;
	if (strcmp(state, "FINISHED") != 0)
		return err_set(e, ERR_UNAVAILABLE, "the job is %s, not FINISHED", state);
	return ERR_OK;
}

static enum errc count(struct drill *d, struct drill_totals *out, struct err *e)
{
	struct drill_tally t;
	if (d->committed == NULL)
		return ERR_OK;
	drill_tally_init(&t, d->job.records, DRILL_KEYS);
	enum errc rc = drill_tally_directory(&t, d->committed, e);
	if (rc == ERR_OK)
		*out = (struct drill_totals){.counted = true,
					     .expected = (int64_t)d->job.records,
					     .lost = (int64_t)drill_tally_missing(&t),
					     .doubled = (int64_t)t.doubled};
	drill_tally_fini(&t);
	return rc;
}

/* ---- all of it ---- */

static int report(struct drill *d, const struct drill_totals *totals)
{
	struct err e = {0};
	struct drill_report r = {.scenario = d->scenario,
				 .seeded = d->mix,
				 .seed = d->seed,
				 .started_wall_ms = d->started_wall_ms,
				 .took_ms = drill_watch_now(d->ground.watch),
				 .results = d->results,
				 .n = d->n,
				 .totals = *totals,
				 .trouble = d->trouble};
	r.sees_output = drill_watch_sees_output(d->ground.watch);
	r.samples = drill_watch_samples(d->ground.watch, &r.n_samples);
	if (d->c->json)
		cli_print_json(drill_report_json(&r));
	else
		drill_report_table(&r);
	if (d->page && drill_report_page(&r, d->page, &e))
		return cli_fail(&e);
	if (d->page)
		say(d, "the page is %s/index.html", d->page);
	return drill_report_broken(&r) ? CLI_FAILED : CLI_OK;
}

static enum errc prepare(struct drill *d, unsigned *have, struct err *e)
{
	enum errc rc = find_cluster(d, e);
	if (rc)
		return rc;
	d->c->client = d->mine;
	d->ground.cli = d->c;
	d->ground.target =
		(struct drill_target){.cli = d->c, .dir = d->dir, .tied = d->own_cluster};
	d->ground.net = d->cluster.net;
	d->ground.store = d->cluster.store;
	d->ground.storage = d->storage;
	d->ground.stop = &d->stop;
	*have = possibilities(d);
	rc = check_possible(d, *have, e);
	if (rc)
		return rc;
	if (d->own_job)
		rc = own_job(d, e);
	else
		users_job(d);
	if (rc == ERR_OK && !drill_settle(&d->ground, SETTLE_MS))
		rc = err_set(e, ERR_UNAVAILABLE,
			     "the job does not run, or completes no checkpoint: nothing to drill");
	d->ground.taskmanagers = drill_watch_view(d->ground.watch)->taskmanagers;
	return rc;
}

static int carry_out(struct drill *d)
{
	struct err e = {0};
	struct drill_totals totals = {0};
	unsigned have = 0;
	if (prepare(d, &have, &e))
		return cli_fail(&e);
	if (d->mix)
		say(d, "mix for %" PRIu64 " s, seed %" PRIu64, d->for_ms / 1000, d->seed);
	enum errc rc = d->mix ? strike_mix(d, have, &e) : strike_times(d, &e);
	if (rc == ERR_OK && d->own_job)
		rc = drain(d, &e);
	if (rc == ERR_OK && d->own_job)
		rc = count(d, &totals, &e);
	if (rc)
		d->trouble = mem_text(e.text);
	return report(d, &totals);
}

static void finish(struct drill *d, struct client *before)
{
	drill_watch_destroy(d->ground.watch);
	d->ground.watch = NULL;
	client_destroy(d->mine);
	d->c->client = before;
	if (d->own_cluster) {
		bool keep = options_bool(d->c->options, "drill.keep");
		drill_cluster_stop(&d->cluster, keep);
		if (keep)
			fprintf(stderr, "kept: %s\n", d->cluster.dir);
	}
	free(d->dir);
	free(d->committed);
	free(d->storage);
	free(d->page);
	free(d->trouble);
	free(d->results);
}

/* The drill's own cluster changes the current directory. The caller's; NULL of NULL. */
static char *absolute(const char *path)
{
	char here[PATH_MAX];
	if (path == NULL)
		return NULL;
	if (path[0] == '/' || getcwd(here, sizeof(here)) == NULL)
		return mem_text(path);
	return mem_printf("%s/%s", here, path);
}

static int drill(struct cli *c)
{
	struct drill d = {0};
	struct client *before = c->client;
	if (strcmp(c->args[0], "list") == 0)
		return list_scenarios(c);
	int status = parse(&d, c);
	if (status)
		return status;
	if (!agreed(&d)) {
		fprintf(stderr, "nothing was done\n");
		return CLI_FAILED;
	}
	d.page = absolute(options_text(c->options, "drill.report"));
	d.results = mem_array(RESULTS_MAX, sizeof(*d.results));
	d.started_wall_ms = world_wall_ms(c->world);
	world_ev_on_signals(c->world, on_signal, &d);
	status = carry_out(&d);
	finish(&d, before);
	return status;
}

static const struct option drill_options[] = {
	{.key = "drill.dir",
	 .flag = "--dir",
	 .type = OPTION_TEXT,
	 .value = "DIR",
	 .help = "a cluster of weir local; without it (and --server) the drill starts its own"},
	{.key = "drill.times",
	 .flag = "--times",
	 .type = OPTION_U64,
	 .fallback = "1",
	 .min = 1,
	 .max = RESULTS_MAX,
	 .help = "how often the fault strikes"},
	{.key = "drill.hold",
	 .flag = "--hold",
	 .type = OPTION_DURATION,
	 .help = "how long a fault lasts; each has its own default"},
	{.key = "drill.for",
	 .flag = "--for",
	 .type = OPTION_DURATION,
	 .fallback = "1min",
	 .min = 1000,
	 .max = 86400000,
	 .help = "mix: how long faults go on striking"},
	{.key = "drill.seed",
	 .flag = "--seed",
	 .type = OPTION_U64,
	 .help = "mix: the same seed strikes in the same order; random"},
	{.key = "drill.rate",
	 .flag = "--rate",
	 .type = OPTION_U64,
	 .fallback = "5000",
	 .min = 1,
	 .max = 10000000,
	 .help = "records per second of the drill's own job"},
	{.key = "drill.job",
	 .flag = "--job",
	 .type = OPTION_TEXT,
	 .value = "ID",
	 .help = "watch this job instead of running one; its records are not counted"},
	{.key = "drill.output",
	 .flag = "--output",
	 .type = OPTION_TEXT,
	 .value = "DIR",
	 .help = "with --job: the directory of its sink, for the gaps in its output"},
	{.key = "drill.files",
	 .flag = "--files",
	 .type = OPTION_TEXT,
	 .value = "DIR",
	 .help = "with --server: the TaskManagers' files root, to count the drill's records"},
	{.key = "drill.report",
	 .flag = "--report",
	 .type = OPTION_TEXT,
	 .value = "DIR",
	 .help = "write DIR/index.html: a table, and plots with the faults marked"},
	{.key = "drill.keep",
	 .flag = "--keep",
	 .type = OPTION_BOOL,
	 .help = "leave the directory of the drill's own cluster, with all logs"},
	{.key = "drill.yes",
	 .flag = "--yes",
	 .type = OPTION_BOOL,
	 .help = "do not ask before a cluster is struck that the drill did not start"},
	{0}};

const struct command drill_commands[] = {
	{.name = "drill",
	 .args = "SCENARIO | list",
	 .summary = "break things on purpose, and see whether the promises hold",
	 .args_min = 1,
	 .args_max = 1,
	 .options = drill_options,
	 .run = drill,
	 .help = "Runs an exactly-once job, strikes (weir drill list says what there is), heals,\n"
		 "waits until all is as before, and goes on. Ends with a table; status 1 if a promise\n"
		 "was broken. Without --dir and --server it starts a cluster of its own, which is gone\n"
		 "at the end. Of a cluster reached with --server it strikes only processes on this\n"
		 "host that belong to you, and it asks first; docs/operations.md has more.\n\n"
		 "  weir drill kill-leader --times 5\n"
		 "  weir drill mix --for 3min --seed 7 --report /tmp/report\n"
		 "  weir drill freeze-leader --dir /tmp/w --job 0c8f... --output /tmp/out --yes\n"},
	{0}};
