/* list, info, cancel, checkpoints - jobs that were submitted. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ids.h"
#include "cli/cli.h"
#include "cli/client.h"
#include "cli/table.h"

enum { PATH_MAX_BYTES = 128, SHOWN_CHECKPOINTS = 10 };

static enum errc get(struct cli *c, const char *path, json_t **out, struct err *e)
{
	return client_call(c->client, "GET", path, NULL, out, e);
}

/* "/v1/jobs/<id><rest>", for the job that the first argument names. */
static enum errc job_path(const struct cli *c, const char *rest, char *out, struct err *e)
{
	struct job_id id;
	enum errc rc = job_id_parse(c->args[0], &id, e);
	if (rc)
		return rc;
	snprintf(out, PATH_MAX_BYTES, "/v1/jobs/%s%s", id.hex, rest);
	return ERR_OK;
}

/* ---- list ---- */

static bool has_ended(const json_t *job)
{
	return table_integer(job, "end-time", -1) > 0;
}

static void list_row(struct table *t, const json_t *job)
{
	char tasks[2 * TABLE_CELL_MAX], start[TABLE_CELL_MAX], duration[TABLE_CELL_MAX];
	const json_t *counts = json_object_get(job, "tasks");
	snprintf(tasks, sizeof(tasks), "%" PRId64 "/%" PRId64, table_integer(counts, "running", 0),
		 table_integer(counts, "total", 0));
	table_row(t, table_text(job, "jid"), table_text(job, "name"), table_text(job, "state"),
		  tasks, table_time(table_integer(job, "start-time", -1), start),
		  table_duration(table_integer(job, "duration", -1), duration), NULL);
}

static int list(struct cli *c)
{
	struct err e = {0};
	json_t *all, *job;
	size_t i, shown = 0;
	if (get(c, "/v1/jobs/overview", &all, &e))
		return cli_fail(&e);
	if (c->json) {
		cli_print_json(all);
		return CLI_OK;
	}
	bool ended_too = options_bool(c->options, "list.all");
	const json_t *jobs = json_object_get(all, "jobs");
	struct table t = {0};
	table_row(&t, "JOB", "NAME", "STATE", "TASKS", "STARTED", "DURATION", NULL);
	json_array_foreach (jobs, i, job) {
		if (has_ended(job) && !ended_too)
			continue;
		list_row(&t, job);
		shown++;
	}
	size_t hidden = json_array_size(jobs) - shown;
	table_print(&t);
	if (hidden)
		printf("%zu ended %s not shown (--all)\n", hidden,
		       hidden == 1 ? "job is" : "jobs are");
	json_decref(all);
	return CLI_OK;
}

/* ---- info ---- */

static void print_vertices(const json_t *job)
{
	const json_t *vertices = json_object_get(job, "vertices");
	json_t *v;
	size_t i;
	struct table t = {0};
	char p[TABLE_CELL_MAX], in[TABLE_CELL_MAX], out[TABLE_CELL_MAX], rate[TABLE_CELL_MAX];
	table_row(&t, "VERTEX", "STATUS", "PARALLELISM", "RECORDS IN", "RECORDS OUT", "IN/S", NULL);
	json_array_foreach (vertices, i, v) {
		const json_t *m = json_object_get(v, "metrics");
		table_row(&t, table_text(v, "name"), table_text(v, "status"),
			  table_number(table_integer(v, "parallelism", 0), p),
			  table_number(table_integer(m, "read-records", 0), in),
			  table_number(table_integer(m, "write-records", 0), out),
			  table_number(table_integer(json_object_get(v, "weir"),
						     "readRecordsPerSecond", 0),
				       rate),
			  NULL);
	}
	table_print(&t);
}

/* A line, if there is something to say. */
static void print_why(const char *word, const json_t *o, const char *name)
{
	const char *text = json_string_value(json_object_get(o, name));
	if (text && text[0])
		printf("%-7s  %s\n", word, text);
}

static void print_job(const json_t *job)
{
	char a[TABLE_CELL_MAX], b[TABLE_CELL_MAX];
	const json_t *own = json_object_get(job, "weir");
	const char *state = table_text(job, "state"), *detail = table_text(own, "state");
	printf("job      %s\nname     %s\nstate    %s", table_text(job, "jid"),
	       table_text(job, "name"), state);
	if (!has_ended(job) && strcmp(state, detail) != 0)
		printf(" (%s)", detail);
	printf("\nstarted  %s, %s ago\n", table_time(table_integer(job, "start-time", -1), a),
	       table_duration(table_integer(job, "duration", -1), b));
	if (has_ended(job))
		printf("ended    %s\n", table_time(table_integer(job, "end-time", -1), a));
	print_why("trouble", own, "trouble");
	print_why("waits", own, "waits");
}

static void print_latest(const json_t *checkpoints)
{
	char size[TABLE_CELL_MAX], took[TABLE_CELL_MAX];
	const json_t *done = json_object_get(json_object_get(checkpoints, "latest"), "completed");
	if (json_is_object(done))
		printf("newest   checkpoint %" PRId64 ", %s in %s\n", table_integer(done, "id", 0),
		       table_bytes(table_integer(done, "state_size", 0), size),
		       table_duration(table_integer(done, "end_to_end_duration", -1), took));
}

static void print_exceptions(const json_t *all)
{
	const json_t *entries =
		json_object_get(json_object_get(all, "exceptionHistory"), "entries");
	json_t *x;
	size_t i;
	char at[TABLE_CELL_MAX];
	json_array_foreach (entries, i, x) {
		if (i == 0)
			printf("\nwhat went wrong, newest first:\n");
		printf("%s  %s\n", table_time(table_integer(x, "timestamp", -1), at),
		       table_text(x, "stacktrace"));
	}
}

/* The parts that are not the job itself may be missing: then they are not shown. */
static json_t *part(struct cli *c, const char *rest)
{
	char path[PATH_MAX_BYTES];
	json_t *out = NULL;
	if (job_path(c, rest, path, NULL) || get(c, path, &out, NULL))
		return NULL;
	return out;
}

static int info(struct cli *c)
{
	struct err e = {0};
	char path[PATH_MAX_BYTES];
	json_t *job;
	if (job_path(c, "", path, &e) || get(c, path, &job, &e))
		return cli_fail(&e);
	json_t *checkpoints = part(c, "/checkpoints");
	json_t *exceptions = part(c, "/exceptions");
	if (c->json) {
		cli_print_json(json_pack("{s:o, s:o*, s:o*}", "job", job, "checkpoints",
					 checkpoints, "exceptions", exceptions));
		return CLI_OK;
	}
	print_job(job);
	print_latest(checkpoints);
	printf("\n");
	print_vertices(job);
	print_exceptions(exceptions);
	json_decref(job);
	json_decref(checkpoints);
	json_decref(exceptions);
	return CLI_OK;
}

/* ---- cancel ---- */

static int cancel(struct cli *c)
{
	struct err e = {0};
	char path[PATH_MAX_BYTES];
	json_t *answer;
	if (job_path(c, "?mode=cancel", path, &e) ||
	    client_call(c->client, "PATCH", path, NULL, &answer, &e))
		return cli_fail(&e);
	if (c->json)
		cli_print_json(answer);
	else {
		printf("canceling %s\n", c->args[0]);
		json_decref(answer);
	}
	return CLI_OK;
}

/* ---- checkpoints ---- */

static void print_history(const json_t *all)
{
	const json_t *history = json_object_get(all, "history");
	json_t *k;
	size_t i;
	struct table t = {0};
	char id[TABLE_CELL_MAX], at[TABLE_CELL_MAX], took[TABLE_CELL_MAX], size[TABLE_CELL_MAX];
	char acks[2 * TABLE_CELL_MAX];
	table_row(&t, "CHECKPOINT", "STATUS", "TRIGGERED", "DURATION", "SIZE", "ACKS", "REMARK",
		  NULL);
	json_array_foreach (history, i, k) {
		if (i == SHOWN_CHECKPOINTS)
			break;
		snprintf(acks, sizeof(acks), "%" PRId64 "/%" PRId64,
			 table_integer(k, "num_acknowledged_subtasks", 0),
			 table_integer(k, "num_subtasks", 0));
		table_row(&t, table_number(table_integer(k, "id", 0), id), table_text(k, "status"),
			  table_time(table_integer(k, "trigger_timestamp", -1), at),
			  table_duration(table_integer(k, "end_to_end_duration", -1), took),
			  table_bytes(table_integer(k, "state_size", 0), size), acks,
			  table_text(k, "failure_message"), NULL);
	}
	table_print(&t);
}

static int checkpoints(struct cli *c)
{
	struct err e = {0};
	char path[PATH_MAX_BYTES];
	json_t *all;
	if (job_path(c, "/checkpoints", path, &e) || get(c, path, &all, &e))
		return cli_fail(&e);
	if (c->json) {
		cli_print_json(all);
		return CLI_OK;
	}
	const json_t *n = json_object_get(all, "counts");
	printf("%" PRId64 " completed, %" PRId64 " failed, %" PRId64 " in progress, %" PRId64
	       " restored\n",
	       table_integer(n, "completed", 0), table_integer(n, "failed", 0),
	       table_integer(n, "in_progress", 0), table_integer(n, "restored", 0));
	print_history(all);
	json_decref(all);
	return CLI_OK;
}

static const struct option list_options[] = {{.key = "list.all",
					      .flag = "--all",
					      .type = OPTION_BOOL,
					      .help = "jobs that have ended, too"},
					     {0}};

const struct command job_commands[] = {
	{.name = "list",
	 .args = "",
	 .summary = "the jobs that run or wait",
	 .options = list_options,
	 .run = list,
	 .help = "  weir list\n"
		 "  weir list --all\n"
		 "  weir list --json | jq -r '.jobs[] | select(.state==\"FAILED\").jid'\n"},
	{.name = "info",
	 .args = "JOB",
	 .summary = "one job: state, trouble, tasks, newest checkpoint, what went wrong",
	 .args_min = 1,
	 .args_max = 1,
	 .run = info,
	 .help = "JOB is the id that run printed. With --json: {\"job\", \"checkpoints\",\n"
		 "\"exceptions\"}, as the REST API has them.\n\n"
		 "  weir info 0123456789abcdef0123456789abcdef\n"},
	{.name = "cancel",
	 .args = "JOB",
	 .summary = "end a job; output that is not committed is rolled back",
	 .args_min = 1,
	 .args_max = 1,
	 .run = cancel,
	 .help = "Returns when the wish is recorded; the job is CANCELED soon after. Canceling\n"
		 "twice is canceling once. A job that has ended otherwise is left as it is\n"
		 "(status 1).\n\n"
		 "  weir cancel 0123456789abcdef0123456789abcdef\n"},
	{.name = "checkpoints",
	 .args = "JOB",
	 .summary = "a job's checkpoints, newest first",
	 .args_min = 1,
	 .args_max = 1,
	 .run = checkpoints,
	 .help = "  weir checkpoints 0123456789abcdef0123456789abcdef\n"
		 "  weir checkpoints 0123456789abcdef0123456789abcdef --json | jq .latest.completed.id\n"},
	{0}};
