/*
 * spec - a job as its user wrote it: parsed, validated, with every default in.
 *
 * Strict: an unknown field is an error that names it. The text of every error
 * is "<JSON path>: <reason>", and nothing else changes on an error.
 *
 * Ownership: a spec owns everything it points to; it is immutable once parsed,
 * so it may be read from any thread. Options of an operator stay JSON: the
 * operator's own table (job/optypes.h) has validated them and filled defaults in.
 */
#ifndef JOB_SPEC_H
#define JOB_SPEC_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum { SPEC_UID_MAX = 64, SPEC_NAME_MAX = 128 };

enum spec_mode { SPEC_EXACTLY_ONCE, SPEC_AT_LEAST_ONCE };

struct spec_checkpointing {
	bool enabled; /* an interval was given */
	uint64_t interval_ms;
	enum spec_mode mode;
	uint64_t timeout_ms;   /* default 10min */
	uint64_t min_pause_ms; /* default 0 */
	uint32_t max_concurrent;
	uint32_t tolerable_failures;
	uint32_t retained;
};

enum spec_restart_kind {
	SPEC_RESTART_NONE,
	SPEC_RESTART_FIXED,
	SPEC_RESTART_RATE,
	SPEC_RESTART_EXPONENTIAL
};

struct spec_restart {
	enum spec_restart_kind kind;
	uint32_t attempts;     /* fixed-delay: how many restarts */
	uint64_t delay_ms;     /* fixed-delay, failure-rate */
	uint32_t max_failures; /* failure-rate: within interval_ms */
	uint64_t interval_ms;
	uint64_t initial_ms, max_ms, reset_after_ms; /* exponential-delay */
	double multiplier, jitter;
};

enum spec_edge { SPEC_EDGE_FORWARD, SPEC_EDGE_HASH, SPEC_EDGE_REBALANCE, SPEC_EDGE_BROADCAST };

enum spec_type { SPEC_BOOL, SPEC_INT64, SPEC_FLOAT64, SPEC_STRING, SPEC_BYTES, SPEC_TIMESTAMP };

struct spec_column {
	char *name;
	enum spec_type type;
	bool nullable;
};

struct spec_schema {
	unsigned n;
	struct spec_column *columns;
};

struct spec_operator {
	char *uid;
	char *type; /* "source.file", ... */
	unsigned n_inputs;
	unsigned *inputs;      /* indexes of operators */
	enum spec_edge *edges; /* per input, as resolved: keyBy makes HASH, equal parallelism
	                                FORWARD, unequal REBALANCE; "partitioning" overrides */
	unsigned n_keys;
	unsigned *keys; /* keyBy: column indexes of the (single) input schema */
	uint32_t parallelism;
	uint32_t max_parallelism;
	json_t *options;           /* every option of the type, defaults filled in */
	struct spec_schema output; /* sinks: no column */
};

struct spec {
	char *name;
	uint32_t parallelism;
	uint32_t max_parallelism;
	char *state_backend; /* "hashmap" */
	struct spec_checkpointing checkpointing;
	struct spec_restart restart;
	uint64_t slot_timeout_ms;
	unsigned n_operators;
	struct spec_operator *operators; /* in an order in which inputs come first */
	json_t *source;                  /* the document as accepted */
};

/* `document` is borrowed; *out is written only on success. */
MUST_CHECK enum errc spec_parse(const json_t *document, struct spec **out, struct err *e);
void spec_destroy(struct spec *s); /* NULL: no-op */

/* The default of design: 128 up to parallelism 128, else min(nextPowerOfTwo(p + p/2), 32768). */
uint32_t spec_default_max_parallelism(uint32_t parallelism);
const char *spec_edge_name(enum spec_edge edge); /* "HASH" */
const char *spec_type_name(enum spec_type type); /* "int64" */

#endif
