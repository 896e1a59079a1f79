#include "job/optypes.h"

#include <string.h>

#include "base/mem.h"

/* ---- schemas ---- */

static void columns_add(struct spec_schema *s, const char *name, enum spec_type type, bool nullable)
{
	s->columns = mem_resize(s->columns, s->n + 1, sizeof(*s->columns));
	s->columns[s->n++] =
		(struct spec_column){.name = mem_text(name), .type = type, .nullable = nullable};
}

int spec_schema_find(const struct spec_schema *schema, const char *name)
{
	for (unsigned i = 0; i < schema->n; i++)
		if (strcmp(schema->columns[i].name, name) == 0)
			return (int)i;
	return -1;
}

static enum errc lines(struct spec_operator *op, const struct spec_schema *in, const char *at,
		       struct err *e)
{
	(void)in, (void)at, (void)e;
	columns_add(&op->output, "line", SPEC_STRING, false);
	return ERR_OK;
}

static enum errc sequence(struct spec_operator *op, const struct spec_schema *in, const char *at,
			  struct err *e)
{
	(void)in;
	int64_t from = optype_int(op, "from"), to = optype_int(op, "to");
	if (from > to)
		return err_set(e, ERR_INVALID, "%s.to: must not be below from", at);
	if ((uint64_t)to - (uint64_t)from >= INT64_MAX)
		return err_set(e, ERR_INVALID, "%s.to: more than 2^63 - 1 values", at);
	columns_add(&op->output, "value", SPEC_INT64, false);
	if (optype_int(op, "keys") == 0)
		return ERR_OK;
	bool text = strcmp(optype_text(op, "keyType"), "string") == 0;
	columns_add(&op->output, "key", text ? SPEC_STRING : SPEC_INT64, false);
	return ERR_OK;
}

/* The column to work on: the one that was named, else the only one of type string. */
static enum errc choose_column(struct spec_operator *op, const struct spec_schema *in,
			       const char *at, struct err *e)
{
	if (optype_text(op, "column") != NULL)
		return ERR_OK;
	const char *only = NULL;
	for (unsigned i = 0; i < in->n; i++) {
		if (in->columns[i].type != SPEC_STRING)
			continue;
		if (only != NULL)
			return err_set(
				e, ERR_INVALID,
				"%s.column: is missing, and both \"%s\" and \"%s\" are strings", at,
				only, in->columns[i].name);
		only = in->columns[i].name;
	}
	if (only == NULL)
		return err_set(e, ERR_INVALID, "%s.inputs: no column of the input is a string", at);
	json_object_set_new(op->options, "column", json_string(only));
	return ERR_OK;
}

static enum errc words(struct spec_operator *op, const struct spec_schema *in, const char *at,
		       struct err *e)
{
	enum errc rc = choose_column(op, in, at, e);
	if (rc == ERR_OK)
		columns_add(&op->output, "word", SPEC_STRING, false);
	return rc;
}

static void same(struct spec_operator *op, const struct spec_schema *in)
{
	for (unsigned i = 0; i < in->n; i++)
		columns_add(&op->output, in->columns[i].name, in->columns[i].type,
			    in->columns[i].nullable);
}

static enum errc filtered(struct spec_operator *op, const struct spec_schema *in, const char *at,
			  struct err *e)
{
	enum errc rc = choose_column(op, in, at, e);
	if (rc == ERR_OK)
		same(op, in);
	return rc;
}

static enum errc mapped(struct spec_operator *op, const struct spec_schema *in, const char *at,
			struct err *e)
{
	bool any = false;
	for (unsigned i = 0; i < in->n; i++)
		any = any || in->columns[i].type == SPEC_STRING;
	if (!any)
		return err_set(e, ERR_INVALID, "%s.inputs: no column of the input is a string", at);
	same(op, in);
	return ERR_OK;
}

/* The type of one aggregate's result; false: the function does not take such a column. */
static bool aggregate_type(const char *function, const struct spec_column *c, enum spec_type *out)
{
	bool number = c->type == SPEC_INT64 || c->type == SPEC_FLOAT64;
	if (strcmp(function, "avg") == 0) {
		*out = SPEC_FLOAT64;
		return number;
	}
	*out = c->type;
	if (strcmp(function, "sum") == 0)
		return number;
	return number || c->type == SPEC_STRING || c->type == SPEC_TIMESTAMP;
}

static enum errc aggregated(struct spec_operator *op, const struct spec_schema *in, const char *at,
			    struct err *e)
{
	for (unsigned i = 0; i < op->n_keys; i++) {
		const struct spec_column *c = &in->columns[op->keys[i]];
		columns_add(&op->output, c->name, c->type, c->nullable);
	}
	size_t i;
	const json_t *a;
	json_array_foreach (optype_array(op, "aggregates"), i, a) {
		const char *function = json_string_value(json_object_get(a, "function"));
		const char *as = json_string_value(json_object_get(a, "as"));
		const char *column = json_string_value(json_object_get(a, "column"));
		if (spec_schema_find(&op->output, as) >= 0)
			return err_set(e, ERR_INVALID,
				       "%s.aggregates[%zu].as: \"%s\" is a column already", at, i,
				       as);
		enum spec_type type = SPEC_INT64;
		bool nullable = false;
		if (column != NULL) {
			const struct spec_column *c = &in->columns[spec_schema_find(in, column)];
			bool counts = strcmp(function, "count") == 0;
			if (!counts && !aggregate_type(function, c, &type))
				return err_set(e, ERR_INVALID,
					       "%s.aggregates[%zu].%s: column \"%s\" is of type %s",
					       at, i, function, column, spec_type_name(c->type));
			nullable = !counts && c->nullable;
		}
		columns_add(&op->output, as, type, nullable);
	}
	return ERR_OK;
}

static enum errc nothing(struct spec_operator *op, const struct spec_schema *in, const char *at,
			 struct err *e)
{
	(void)op, (void)in, (void)at, (void)e;
	return ERR_OK;
}

/* ---- options ---- */

static const struct optype_option file_source_options[] = {
	{.name = "path",
	 .type = OPTYPE_PATHS,
	 .required = true,
	 .help = "one file or an array of files, below the files root"},
	{.name = "loop",
	 .type = OPTYPE_INT,
	 .fallback = "1",
	 .min = 1,
	 .max = 1000000000,
	 .help = "how often the files are read, one round after the other"},
	{.name = "rateLimit",
	 .type = OPTYPE_INT,
	 .fallback = "0",
	 .max = INT64_C(1000000000000),
	 .help = "records per second of all subtasks together; 0: no limit"},
	{.name = NULL}};

static const struct optype_option socket_source_options[] = {
	{.name = "host",
	 .type = OPTYPE_TEXT,
	 .required = true,
	 .min = 1,
	 .max = 255,
	 .help = "name or address to connect to"},
	{.name = "port",
	 .type = OPTYPE_INT,
	 .required = true,
	 .min = 1,
	 .max = 65535,
	 .help = "TCP port"},
	{.name = "delimiter",
	 .type = OPTYPE_TEXT,
	 .fallback = "\"\\n\"",
	 .min = 1,
	 .max = 1,
	 .help = "one ASCII character that ends a record"},
	{.name = "reconnectDelay",
	 .type = OPTYPE_MS,
	 .fallback = "\"1s\"",
	 .min = 10,
	 .max = 3600000,
	 .help = "pause before a lost or refused connection is tried again"},
	{.name = "maxReconnects",
	 .type = OPTYPE_INT,
	 .fallback = "-1",
	 .min = -1,
	 .max = 1000000000,
	 .help = "connections tried in a row without success before the job fails; -1: for ever"},
	{.name = "endOnClose",
	 .type = OPTYPE_BOOL,
	 .fallback = "false",
	 .help = "an orderly close by the other side is the end of the input, not a lost connection"},
	{.name = NULL}};

static const char *const key_types[] = {"int64", "string", NULL};
static const struct optype_option sequence_options[] = {
	{.name = "from",
	 .type = OPTYPE_INT,
	 .required = true,
	 .min = INT64_MIN,
	 .max = INT64_MAX,
	 .help = "first value"},
	{.name = "to",
	 .type = OPTYPE_INT,
	 .required = true,
	 .min = INT64_MIN,
	 .max = INT64_MAX,
	 .help = "last value (included)"},
	{.name = "rateLimit",
	 .type = OPTYPE_INT,
	 .fallback = "0",
	 .max = INT64_C(1000000000000),
	 .help = "records per second of all subtasks together; 0: no limit"},
	{.name = "keys",
	 .type = OPTYPE_INT,
	 .fallback = "0",
	 .max = INT64_MAX,
	 .help = "above 0: a second column `key`, the value modulo this number (never negative)"},
	{.name = "keyType",
	 .type = OPTYPE_CHOICE,
	 .fallback = "\"int64\"",
	 .choices = key_types,
	 .help = "type of `key`; string: its decimal digits"},
	{.name = NULL}};

static const struct optype_option one_text_column[] = {
	{.name = "column",
	 .type = OPTYPE_COLUMN,
	 .help = "a string column of the input; without it: every string column"},
	{.name = NULL}};

static const struct optype_option split_options[] = {
	{.name = "column",
	 .type = OPTYPE_COLUMN,
	 .help = "a string column of the input; may be left out if there is exactly one"},
	{.name = NULL}};

static const struct optype_option regex_options[] = {
	{.name = "pattern",
	 .type = OPTYPE_REGEX,
	 .required = true,
	 .help = "POSIX extended regular expression, matched anywhere in the text, byte by byte"},
	{.name = "column",
	 .type = OPTYPE_COLUMN,
	 .help = "a string column of the input; may be left out if there is exactly one"},
	{.name = "invert",
	 .type = OPTYPE_BOOL,
	 .fallback = "false",
	 .help = "keep the rows that do not match"},
	{.name = NULL}};

static const struct optype_option aggregate_options[] = {
	{.name = "aggregates",
	 .type = OPTYPE_AGGREGATES,
	 .required = true,
	 .help = "array of {\"count\": \"*\"} or {function: column}, the function being count, sum, "
		 "min, max or avg; each with \"as\": name of the result column"},
	{.name = NULL}};

static const struct optype_option no_options[] = {{.name = NULL}};

static const char *const formats[] = {"jsonl", "tsv", NULL};
static const char *const semantics[] = {"exactly-once", "at-least-once", NULL};
static const struct optype_option file_sink_options[] = {
	{.name = "path",
	 .type = OPTYPE_PATH,
	 .required = true,
	 .help = "directory for the part files, below the files root; created if missing"},
	{.name = "format",
	 .type = OPTYPE_CHOICE,
	 .fallback = "\"jsonl\"",
	 .choices = formats,
	 .help = "JSON lines, or tab-separated values"},
	{.name = "semantics",
	 .type = OPTYPE_CHOICE,
	 .fallback = "\"exactly-once\"",
	 .choices = semantics,
	 .help = "exactly-once: parts become visible when their checkpoint is complete; "
		 "at-least-once: at every checkpoint's barrier"},
	{.name = "rollBytes",
	 .type = OPTYPE_BYTES,
	 .fallback = "\"128MiB\"",
	 .min = 1024,
	 .max = INT64_C(1) << 40,
	 .help = "a part that has grown to this size is closed and the next one begun"},
	{.name = NULL}};

/* ---- the table ---- */

static const struct optype table[] = {
	{.name = "source.file",
	 .kind = OPTYPE_SOURCE,
	 .output = "`line` string",
	 .help = "The lines of one or several files. The files are cut into byte ranges once, at the "
		 "first start; a line belongs to the range in which it begins. A file that changes "
		 "while it is read is an error.",
	 .options = file_source_options,
	 .schema = lines},
	{.name = "source.socket",
	 .kind = OPTYPE_SOURCE,
	 .flags = OPTYPE_SINGLE | OPTYPE_NOT_REPLAYABLE | OPTYPE_UNBOUNDED,
	 .output = "`line` string",
	 .help = "Text lines from a TCP connection. It cannot be replayed: what was read after the "
		 "last completed checkpoint is lost when the job restarts.",
	 .options = socket_source_options,
	 .schema = lines},
	{.name = "source.sequence",
	 .kind = OPTYPE_SOURCE,
	 .output = "`value` int64; with keys also `key`",
	 .help = "Whole numbers from `from` to `to`, each once, split evenly over the subtasks.",
	 .options = sequence_options,
	 .schema = sequence},
	{.name = "map.upper",
	 .kind = OPTYPE_TRANSFORM,
	 .n_inputs = 1,
	 .output = "as its input",
	 .help = "Turns a to z into A to Z; other bytes stay as they are.",
	 .options = one_text_column,
	 .schema = mapped},
	{.name = "map.lower",
	 .kind = OPTYPE_TRANSFORM,
	 .n_inputs = 1,
	 .output = "as its input",
	 .help = "Turns A to Z into a to z; other bytes stay as they are.",
	 .options = one_text_column,
	 .schema = mapped},
	{.name = "flatmap.split",
	 .kind = OPTYPE_TRANSFORM,
	 .n_inputs = 1,
	 .output = "`word` string",
	 .help = "One row per word: the runs of bytes between ASCII white space.",
	 .options = split_options,
	 .schema = words},
	{.name = "filter.regex",
	 .kind = OPTYPE_TRANSFORM,
	 .n_inputs = 1,
	 .output = "as its input",
	 .help = "Keeps the rows whose column matches a pattern. A null never matches.",
	 .options = regex_options,
	 .schema = filtered},
	{.name = "aggregate",
	 .kind = OPTYPE_TRANSFORM,
	 .flags = OPTYPE_KEYED,
	 .n_inputs = 1,
	 .output = "the key columns, then one column per aggregate",
	 .help = "Running aggregates per key: one row out per row in. count is int64, avg float64, "
		 "the others are of their column's type. Nulls are not counted and not added. An "
		 "integer that overflows fails the job.",
	 .options = aggregate_options,
	 .schema = aggregated},
	{.name = "sink.print",
	 .kind = OPTYPE_SINK,
	 .n_inputs = 1,
	 .help = "Prints each row to its worker's standard output, behind the number of its subtask. "
		 "With `--log-dir` of the TaskManager that is "
		 "`<id>-worker-<job>-<region>-<attempt>.log` there, else the TaskManager's own.",
	 .options = no_options,
	 .schema = nothing},
	{.name = "sink.discard",
	 .kind = OPTYPE_SINK,
	 .n_inputs = 1,
	 .help = "Drops every row.",
	 .options = no_options,
	 .schema = nothing},
	{.name = "sink.file",
	 .kind = OPTYPE_SINK,
	 .flags = OPTYPE_TRANSACTIONAL,
	 .n_inputs = 1,
	 .help = "Part files in a directory.",
	 .options = file_sink_options,
	 .schema = nothing},
};

const struct optype *optype_at(unsigned i)
{
	return i < sizeof(table) / sizeof(table[0]) ? &table[i] : NULL;
}

const struct optype *optype_find(const char *name)
{
	for (unsigned i = 0; optype_at(i); i++)
		if (strcmp(table[i].name, name) == 0)
			return &table[i];
	return NULL;
}

const char *optype_kind_name(enum optype_kind kind)
{
	static const char *const names[] = {"source", "transform", "sink"};
	return names[kind];
}

bool optype_transactional(const struct spec_operator *op)
{
	const struct optype *t = optype_find(op->type);
	return (t->flags & OPTYPE_TRANSACTIONAL) != 0 &&
	       strcmp(optype_text(op, "semantics"), "exactly-once") == 0;
}
