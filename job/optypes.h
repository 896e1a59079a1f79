/*
 * optypes - the table of operator types: what an operator may be, what it
 * reads, what it gives, and which options it takes.
 *
 * One constant row per type. The validator (job/spec.c) checks options against
 * it and fills in defaults, the operator implementations read their options
 * through the getters below, and the documentation is printed from it
 * (optypes_markdown), so that the three cannot differ.
 *
 * Normal form of a validated option, as found in spec_operator.options:
 *   OPTYPE_TEXT, _PATH, _REGEX, _CHOICE   string
 *   OPTYPE_INT                            integer
 *   OPTYPE_BOOL                           true or false
 *   OPTYPE_MS                             integer, milliseconds ("10s" -> 10000)
 *   OPTYPE_BYTES                          integer, bytes ("64MiB" -> 67108864)
 *   OPTYPE_COLUMN                         string: a column of the input; null: see the type
 *   OPTYPE_PATHS                          array of strings (also if the user wrote one string)
 *   OPTYPE_AGGREGATES                     array of {"function","column","as"}; column null: "*"
 * An option that is neither given nor has a default is null there, so every
 * option of the type is always present.
 *
 * Threads: constants; any thread.
 */
#ifndef JOB_OPTYPES_H
#define JOB_OPTYPES_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "job/spec.h"

enum optype_kind { OPTYPE_SOURCE, OPTYPE_TRANSFORM, OPTYPE_SINK };

enum optype_option_type {
	OPTYPE_TEXT,
	OPTYPE_INT,
	OPTYPE_BOOL,
	OPTYPE_MS,
	OPTYPE_BYTES,
	OPTYPE_CHOICE,
	OPTYPE_PATH,
	OPTYPE_PATHS,
	OPTYPE_COLUMN,
	OPTYPE_REGEX,
	OPTYPE_AGGREGATES
};

struct optype_option {
	const char *name;
	enum optype_option_type type;
	bool required;
	const char *fallback;       /* as a user would write it, as JSON; NULL: none */
	int64_t min, max;           /* OPTYPE_INT, _MS, _BYTES; TEXT: length */
	const char *const *choices; /* OPTYPE_CHOICE: NULL-ended */
	const char *help;
};

enum optype_flag {
	OPTYPE_SINGLE = 1,         /* parallelism is 1, whatever the job's */
	OPTYPE_TRANSACTIONAL = 2,  /* with semantics exactly-once: two-phase commit */
	OPTYPE_NOT_REPLAYABLE = 4, /* what was read cannot be read again after a failure */
	OPTYPE_UNBOUNDED = 8,      /* never at its end by itself */
	OPTYPE_KEYED = 16          /* keyBy is required */
};

struct optype {
	const char *name; /* "source.file" */
	enum optype_kind kind;
	unsigned flags;
	unsigned n_inputs;
	const char *output; /* what it gives, in words; NULL for sinks */
	const char *help;
	const struct optype_option *options; /* ends with a NULL name */
	/* Fills in op->output from op->options, op->keys and the schema of its input (NULL for
	 * sources); may choose an option that was left out. `at` is the operator's JSON path. */
	enum errc (*schema)(struct spec_operator *op, const struct spec_schema *in, const char *at,
			    struct err *e);
};

const struct optype *optype_find(const char *name); /* NULL: unknown */
const struct optype *optype_at(unsigned i);         /* NULL: behind the last */
const char *optype_kind_name(enum optype_kind kind);
const char *optype_option_type_name(enum optype_option_type type);

/* Is every record that this operator wrote visible exactly once (a two-phase commit)? */
bool optype_transactional(const struct spec_operator *op);

/* ---- options of a validated operator; a name that its type does not have is asserted ---- */

const char *optype_text(const struct spec_operator *op, const char *name); /* NULL if not given */
int64_t optype_int(const struct spec_operator *op, const char *name);      /* 0 if not given */
bool optype_bool(const struct spec_operator *op, const char *name);
const json_t *optype_array(const struct spec_operator *op, const char *name);

/* Index of a column, or -1. */
int spec_schema_find(const struct spec_schema *schema, const char *name);

/* ---- for the validator and the documentation ---- */

/* Validate `given` against `option`, return its normal form (a new reference) in *out. `at` is the
 * path of the operator; `in` the schema of its input (NULL for sources). */
MUST_CHECK enum errc optype_option_normal(const struct optype_option *option, const json_t *given,
					  const struct spec_schema *in, const char *at,
					  json_t **out, struct err *e);
/* A path below the files root, judged by its text: relative, no "..", no control character. */
MUST_CHECK enum errc optype_path_check(const char *path, struct err *e);
/* POSIX extended, at most 1000 characters, and repetitions that multiply to at most 1000 (compiling
 * nested ones takes memory without bound). */
MUST_CHECK enum errc optype_regex_check(const char *pattern, struct err *e);

/* The reference of all types in Markdown. */
void optypes_markdown(struct buf *out);

#endif
