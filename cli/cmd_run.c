/* run, check - a job specification from a file. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/ids.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/yaml.h"
#include "cli/cli.h"
#include "cli/client.h"
#include "cli/table.h"
#include "job/spec.h"

enum { POLL_MS = 250 };

/* ---- the specification ---- */

/* *out is the caller's; it is an object. */
static enum errc read_document(const char *path, json_t **out, struct err *e)
{
	enum errc rc = yaml_read_file(path, LIMIT_SPEC_BYTES, out, e);
	if (rc == ERR_OK && !json_is_object(*out)) {
		json_decref(*out);
		rc = err_set(e, ERR_INVALID, "%s: must be an object (a job specification)", path);
	}
	return rc;
}

static void describe(const char *path, const struct spec *s)
{
	struct table t = {0};
	char p[TABLE_CELL_MAX], m[TABLE_CELL_MAX];
	printf("%s: \"%s\" is a valid job: %u operators, parallelism %u, max parallelism %u\n",
	       path, s->name, s->n_operators, s->parallelism, s->max_parallelism);
	table_row(&t, "OPERATOR", "TYPE", "INPUTS", "PARALLELISM", "MAX", NULL);
	for (unsigned i = 0; i < s->n_operators; i++) {
		const struct spec_operator *o = &s->operators[i];
		struct buf inputs = {0};
		for (unsigned k = 0; k < o->n_inputs; k++)
			buf_printf(&inputs, "%s%s %s", k ? ", " : "",
				   s->operators[o->inputs[k]].uid, spec_edge_name(o->edges[k]));
		table_row(&t, o->uid, o->type, inputs.data ? inputs.data : "-",
			  table_number(o->parallelism, p), table_number(o->max_parallelism, m),
			  NULL);
		buf_fini(&inputs);
	}
	table_print(&t);
}

static json_t *summary_of(const struct spec *s)
{
	return json_pack("{s:b, s:s, s:i, s:i, s:i}", "valid", 1, "name", s->name, "operators",
			 (int)s->n_operators, "parallelism", (int)s->parallelism, "maxParallelism",
			 (int)s->max_parallelism);
}

static int check(struct cli *c)
{
	struct err e = {0};
	json_t *document;
	if (read_document(c->args[0], &document, &e))
		return cli_fail(&e);
	struct spec *s = NULL;
	enum errc rc = spec_parse(document, &s, &e);
	json_decref(document);
	if (rc) {
		err_wrap(&e, rc, "%s", c->args[0]);
		if (c->json)
			cli_print_json(json_pack("{s:b, s:[s]}", "valid", 0, "errors", e.text));
		return cli_fail(&e);
	}
	if (c->json)
		cli_print_json(summary_of(s));
	else
		describe(c->args[0], s);
	spec_destroy(s);
	return CLI_OK;
}

/* ---- submitting ---- */

/* The document's own job id, else a random one that is put into it: so that sending it twice, when
 * the first answer was lost, is the same as sending it once. */
static enum errc choose_id(struct cli *c, json_t *document, struct job_id *out, struct err *e)
{
	const json_t *given = json_object_get(document, "jobId");
	if (given) {
		const char *text = json_string_value(given);
		enum errc rc = text ? job_id_parse(text, out, e)
				    : err_set(e, ERR_INVALID, "must be a text");
		return rc ? err_wrap(e, rc, "jobId") : ERR_OK;
	}
	job_id_make(world_rand64(c->world), world_rand64(c->world), out);
	json_object_set_new(document, "jobId", json_string(out->hex));
	return ERR_OK;
}

static enum errc submit(struct cli *c, struct job_id *out_id, struct err *e)
{
	json_t *document;
	enum errc rc = read_document(c->args[0], &document, e);
	if (rc)
		return rc;
	rc = choose_id(c, document, out_id, e);
	rc = rc ? rc : client_call(c->client, "POST", "/v1/jobs", document, NULL, e);
	json_decref(document);
	return rc ? err_wrap(e, rc, "%s", c->args[0]) : ERR_OK;
}

/* ---- waiting ---- */

struct progress {
	char state[32];
	int64_t checkpoint;
	bool terminal; /* the last line on stderr may be overwritten */
	bool line_open;
};

static void show(struct progress *p, bool change, const char *line)
{
	if (p->terminal)
		fprintf(stderr, "\r\033[K%s%s", line, change ? "\n" : "");
	else if (change)
		fprintf(stderr, "%s\n", line);
	p->line_open = p->terminal && !change;
	fflush(stderr);
}

static void report(struct cli *c, const char *id, const json_t *job, struct progress *p)
{
	char path[128], line[256], size[TABLE_CELL_MAX], took[TABLE_CELL_MAX];
	const char *state = table_text(job, "state");
	const json_t *counts = json_object_get(job, "status-counts");
	json_t *all = NULL;
	snprintf(path, sizeof(path), "/v1/jobs/%s/checkpoints", id);
	if (client_call(c->client, "GET", path, NULL, &all, NULL))
		all = NULL;
	const json_t *done = json_object_get(json_object_get(all, "latest"), "completed");
	int64_t checkpoint = table_integer(done, "id", 0);
	int n = snprintf(line, sizeof(line), "%s, %" PRId64 " tasks running", state,
			 table_integer(counts, "RUNNING", 0));
	if (checkpoint && n > 0)
		snprintf(line + n, sizeof(line) - (size_t)n, ", checkpoint %" PRId64 " (%s, %s)",
			 checkpoint, table_bytes(table_integer(done, "state_size", 0), size),
			 table_duration(table_integer(done, "end_to_end_duration", -1), took));
	bool change = strcmp(state, p->state) != 0;
	if (change || checkpoint != p->checkpoint)
		show(p, change, line);
	snprintf(p->state, sizeof(p->state), "%s", state);
	p->checkpoint = checkpoint;
	json_decref(all);
}

static bool is_terminal(const char *state)
{
	return strcmp(state, "FINISHED") == 0 || strcmp(state, "FAILED") == 0 ||
	       strcmp(state, "CANCELED") == 0;
}

static void print_cause(struct cli *c, const char *id)
{
	char path[128];
	json_t *all = NULL;
	snprintf(path, sizeof(path), "/v1/jobs/%s/exceptions", id);
	if (client_call(c->client, "GET", path, NULL, &all, NULL))
		return;
	const json_t *history =
		json_object_get(json_object_get(all, "exceptionHistory"), "entries");
	const json_t *newest = json_array_get(history, 0);
	if (newest)
		fprintf(stderr, "%s\n", table_text(newest, "stacktrace"));
	json_decref(all);
}

static int wait_for(struct cli *c, const char *id)
{
	char path[64];
	struct err e = {0};
	struct progress p = {.terminal = isatty(STDERR_FILENO) && !c->json};
	snprintf(path, sizeof(path), "/v1/jobs/%s", id);
	for (;;) {
		json_t *job;
		if (client_call(c->client, "GET", path, NULL, &job, &e))
			return cli_fail(&e);
		report(c, id, job, &p);
		bool end = is_terminal(p.state);
		if (end && c->json)
			cli_print_json(json_incref(job));
		json_decref(job);
		if (end)
			break;
		client_pause(c->client, POLL_MS);
	}
	if (strcmp(p.state, "FINISHED") == 0)
		return CLI_OK;
	print_cause(c, id);
	fprintf(stderr, "weir: job %s is %s\n", id, p.state);
	return CLI_JOB_FAILED;
}

static int run(struct cli *c)
{
	struct err e = {0};
	struct job_id id;
	bool wait = options_bool(c->options, "run.wait");
	if (submit(c, &id, &e))
		return cli_fail(&e);
	if (!c->json)
		printf("%s\n", id.hex);
	else if (!wait)
		cli_print_json(json_pack("{s:s}", "jobid", id.hex));
	fflush(stdout);
	return wait ? wait_for(c, id.hex) : CLI_OK;
}

static const struct option run_options[] = {{.key = "run.wait",
					     .flag = "--wait",
					     .type = OPTION_BOOL,
					     .help = "show progress until the job has ended"},
					    {0}};

const struct command run_commands[] = {
	{.name = "run",
	 .args = "FILE",
	 .summary = "submit a job (JSON or YAML)",
	 .args_min = 1,
	 .args_max = 1,
	 .options = run_options,
	 .run = run,
	 .help = "Prints the job's id once the job is accepted: from then on it is never forgotten.\n"
		 "FILE is a specification (docs/job-specification.md); - is the standard input. A\n"
		 "\"jobId\" in it makes repeating the command safe; without one a random id is used.\n\n"
		 "  weir run examples/wordcount.json\n"
		 "  weir run job.yaml --wait               until it ends; status 5 if not FINISHED\n"
		 "  weir run job.yaml --json | jq -r .jobid\n"},
	{.name = "check",
	 .args = "FILE",
	 .summary = "validate a job specification, without a cluster",
	 .args_min = 1,
	 .args_max = 1,
	 .run = check,
	 .help = "Says what is wrong, with the place in the document; or shows the operators, how\n"
		 "they are connected, and with which parallelism they run.\n\n"
		 "  weir check job.yaml\n"},
	{0}};
