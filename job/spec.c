#include "job/spec.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/ids.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/text.h"
#include "job/operators.h"

/* What a restart strategy may have to remember in the job's hot document. */
enum { FAILURES_MAX = 64 };

const char *spec_edge_name(enum spec_edge edge)
{
	static const char *const names[] = {"FORWARD", "HASH", "REBALANCE", "BROADCAST"};
	return names[edge];
}

const char *spec_type_name(enum spec_type type)
{
	static const char *const names[] = {"bool",   "int64", "float64",
					    "string", "bytes", "timestamp"};
	return names[type];
}

uint32_t spec_default_max_parallelism(uint32_t parallelism)
{
	if (parallelism <= 128)
		return 128;
	uint32_t want = parallelism + parallelism / 2, power = 128;
	while (power < want && power < LIMIT_PARALLELISM)
		power *= 2;
	return power;
}

static enum errc get_u32(const json_t *o, const char *at, const char *name, uint32_t min,
			 uint32_t max, uint32_t fallback, uint32_t *out, struct err *e)
{
	int64_t n;
	enum errc rc = json_get_i64_or(o, at, name, min, max, fallback, &n, e);
	if (rc == ERR_OK)
		*out = (uint32_t)n;
	return rc;
}

/* A duration of at least `min` ms. */
static enum errc get_ms(const json_t *o, const char *at, const char *name, uint64_t min,
			uint64_t fallback, uint64_t *out, struct err *e)
{
	uint64_t ms;
	enum errc rc = json_get_ms_or(o, at, name, fallback, &ms, e);
	if (rc)
		return rc;
	if (ms < min)
		return err_set(e, ERR_INVALID, "%s%s%s: must be at least %llums", at,
			       at[0] ? "." : "", name, (unsigned long long)min);
	*out = ms;
	return ERR_OK;
}

static enum errc get_real(const json_t *o, const char *at, const char *name, double min, double max,
			  double fallback, double *out, struct err *e)
{
	const json_t *value = json_object_get(o, name);
	if (value && !json_is_number(value))
		return err_set(e, ERR_INVALID, "%s.%s: must be a number", at, name);
	double x = value ? json_number_value(value) : fallback;
	if (!isfinite(x) || x < min || x > max)
		return err_set(e, ERR_INVALID, "%s.%s: must be from %g to %g, is %g", at, name, min,
			       max, x);
	*out = x;
	return ERR_OK;
}

/* ---- checkpointing ---- */

static enum errc mode_of(const json_t *o, enum spec_mode *out, struct err *e)
{
	const char *mode;
	enum errc rc = json_get_text_or(o, "checkpointing", "mode", "exactly-once", &mode, e);
	if (rc)
		return rc;
	if (strcmp(mode, "exactly-once") != 0 && strcmp(mode, "at-least-once") != 0)
		return err_set(
			e, ERR_INVALID,
			"checkpointing.mode: must be exactly-once or at-least-once, is \"%.40s\"",
			mode);
	*out = mode[0] == 'e' ? SPEC_EXACTLY_ONCE : SPEC_AT_LEAST_ONCE;
	return ERR_OK;
}

/* Fields of the format that this version reads but has only one value for. */
static enum errc only_off(const json_t *o, const char *name, struct err *e)
{
	bool on;
	enum errc rc = json_get_bool_or(o, "checkpointing", name, false, &on, e);
	if (rc == ERR_OK && on)
		rc = err_set(e, ERR_INVALID, "checkpointing.%s: true is not supported", name);
	return rc;
}

static enum errc checkpointing_of(const json_t *o, struct spec_checkpointing *c, struct err *e)
{
	static const char *const known[] = {
		"interval",          "mode",     "timeout",   "minPause",    "maxConcurrent",
		"tolerableFailures", "retained", "unaligned", "incremental", NULL};
	static const char at[] = "checkpointing";
	bool incremental;
	enum errc rc = o ? json_only(o, at, known, e) : ERR_OK;
	if (rc == ERR_OK && o && json_object_get(o, "interval") == NULL)
		rc = err_set(e, ERR_INVALID, "checkpointing.interval: is missing");
	if (rc == ERR_OK)
		rc = get_ms(o, at, "interval", o ? 10 : 0, 0, &c->interval_ms, e);
	if (rc == ERR_OK)
		rc = mode_of(o, &c->mode, e);
	if (rc == ERR_OK)
		rc = get_ms(o, at, "timeout", 10, 600000, &c->timeout_ms, e);
	if (rc == ERR_OK)
		rc = get_ms(o, at, "minPause", 0, 0, &c->min_pause_ms, e);
	if (rc == ERR_OK)
		rc = get_u32(o, at, "maxConcurrent", 1, LIMIT_CHECKPOINTS_IN_FLIGHT, 1,
			     &c->max_concurrent, e);
	if (rc == ERR_OK)
		rc = get_u32(o, at, "tolerableFailures", 0, 1000000, 0, &c->tolerable_failures, e);
	if (rc == ERR_OK)
		rc = get_u32(o, at, "retained", 1, LIMIT_CHECKPOINTS_RETAINED, 1, &c->retained, e);
	if (rc == ERR_OK)
		rc = only_off(o, "unaligned", e);
	if (rc == ERR_OK) /* asks for what the hashmap backend never does; nothing to refuse */
		rc = json_get_bool_or(o, at, "incremental", true, &incremental, e);
	c->enabled = o != NULL;
	return rc;
}

/* ---- restart ---- */

static enum errc fixed_of(const json_t *o, struct spec_restart *r, struct err *e)
{
	static const char *const known[] = {"strategy", "attempts", "delay", NULL};
	enum errc rc = json_only(o, "restart", known, e);
	if (rc == ERR_OK)
		rc = get_u32(o, "restart", "attempts", 0, INT32_MAX, 1, &r->attempts, e);
	if (rc == ERR_OK)
		rc = get_ms(o, "restart", "delay", 0, 1000, &r->delay_ms, e);
	return rc;
}

static enum errc rate_of(const json_t *o, struct spec_restart *r, struct err *e)
{
	static const char *const known[] = {"strategy", "maxFailuresPerInterval", "interval",
					    "delay", NULL};
	enum errc rc = json_only(o, "restart", known, e);
	if (rc == ERR_OK)
		rc = get_u32(o, "restart", "maxFailuresPerInterval", 1, FAILURES_MAX, 1,
			     &r->max_failures, e);
	if (rc == ERR_OK)
		rc = get_ms(o, "restart", "interval", 1, 60000, &r->interval_ms, e);
	if (rc == ERR_OK)
		rc = get_ms(o, "restart", "delay", 0, 1000, &r->delay_ms, e);
	return rc;
}

static enum errc exponential_of(const json_t *o, struct spec_restart *r, struct err *e)
{
	static const char *const known[] = {"strategy", "initialDelay", "maxDelay", "multiplier",
					    "jitter",   "resetAfter",   NULL};
	enum errc rc = o ? json_only(o, "restart", known, e) : ERR_OK;
	if (rc == ERR_OK)
		rc = get_ms(o, "restart", "initialDelay", 1, 100, &r->initial_ms, e);
	if (rc == ERR_OK)
		rc = get_ms(o, "restart", "maxDelay", 1, 60000, &r->max_ms, e);
	if (rc == ERR_OK && r->max_ms < r->initial_ms)
		rc = err_set(e, ERR_INVALID, "restart.maxDelay: must not be below initialDelay");
	if (rc == ERR_OK)
		rc = get_real(o, "restart", "multiplier", 1, 100, 1.5, &r->multiplier, e);
	if (rc == ERR_OK)
		rc = get_real(o, "restart", "jitter", 0, 1, 0.1, &r->jitter, e);
	if (rc == ERR_OK)
		rc = get_ms(o, "restart", "resetAfter", 1, 3600000, &r->reset_after_ms, e);
	return rc;
}

static enum errc restart_of(const json_t *o, struct spec_restart *r, struct err *e)
{
	static const char *const only_strategy[] = {"strategy", NULL};
	const char *strategy = "exponential-delay";
	if (o && !json_is_object(o))
		return err_set(e, ERR_INVALID, "restart: must be an object");
	enum errc rc = o ? json_get_text(o, "restart", "strategy", &strategy, e) : ERR_OK;
	if (rc)
		return rc;
	if (strcmp(strategy, "none") == 0) {
		r->kind = SPEC_RESTART_NONE;
		return json_only(o, "restart", only_strategy, e);
	}
	if (strcmp(strategy, "fixed-delay") == 0) {
		r->kind = SPEC_RESTART_FIXED;
		return fixed_of(o, r, e);
	}
	if (strcmp(strategy, "failure-rate") == 0) {
		r->kind = SPEC_RESTART_RATE;
		return rate_of(o, r, e);
	}
	if (strcmp(strategy, "exponential-delay") == 0) {
		r->kind = SPEC_RESTART_EXPONENTIAL;
		return exponential_of(o, r, e);
	}
	return err_set(e, ERR_INVALID,
		       "restart.strategy: must be one of none, fixed-delay, failure-rate, "
		       "exponential-delay, is \"%.40s\"",
		       strategy);
}

/* ---- the document ---- */

static enum errc name_of(const json_t *doc, struct spec *s, struct err *e)
{
	const char *name;
	enum errc rc = json_get_text(doc, "", "name", &name, e);
	if (rc)
		return rc;
	size_t len = strlen(name);
	bool clean = true;
	for (size_t i = 0; i < len; i++)
		clean = clean && (unsigned char)name[i] >= 0x20 && name[i] != 0x7f;
	if (len == 0 || len > SPEC_NAME_MAX || !clean)
		return err_set(e, ERR_INVALID,
			       "name: must have 1 to %d bytes and no control character",
			       SPEC_NAME_MAX);
	s->name = mem_text(name);
	return ERR_OK;
}

static enum errc backend_of(const json_t *doc, struct spec *s, struct err *e)
{
	const char *backend;
	enum errc rc = json_get_text_or(doc, "", "stateBackend", "hashmap", &backend, e);
	if (rc)
		return rc;
	if (strcmp(backend, "hashmap") != 0)
		return err_set(e, ERR_INVALID, "stateBackend: must be hashmap, is \"%.40s\"",
			       backend);
	s->state_backend = mem_text(backend);
	return ERR_OK;
}

static enum errc parallelism_of(const json_t *doc, struct spec *s, uint32_t *out_max, struct err *e)
{
	uint32_t max = 0;
	enum errc rc = get_u32(doc, "", "parallelism", 1, LIMIT_PARALLELISM, 1, &s->parallelism, e);
	if (rc == ERR_OK && json_object_get(doc, "maxParallelism"))
		rc = get_u32(doc, "", "maxParallelism", 1, LIMIT_PARALLELISM, 1, &max, e);
	if (rc)
		return rc;
	s->max_parallelism = max ? max : spec_default_max_parallelism(s->parallelism);
	if (s->parallelism > s->max_parallelism)
		return err_set(e, ERR_INVALID, "parallelism: %u is above maxParallelism %u",
			       s->parallelism, s->max_parallelism);
	*out_max = max;
	return ERR_OK;
}

static enum errc job_id_of(const json_t *doc, struct err *e)
{
	const char *text;
	struct job_id id;
	enum errc rc = json_get_text_or(doc, "", "jobId", NULL, &text, e);
	if (rc == ERR_OK && text && job_id_parse(text, &id, e))
		rc = err_wrap(e, ERR_INVALID, "jobId");
	return rc;
}

static enum errc document(const json_t *doc, struct spec *s, struct err *e)
{
	static const char *const known[] = {
		"jobId",         "name",    "parallelism", "maxParallelism", "stateBackend",
		"checkpointing", "restart", "slotTimeout", "operators",      NULL};
	uint32_t job_max = 0;
	json_t *operators;
	enum errc rc = json_only(doc, "", known, e);
	if (rc == ERR_OK)
		rc = job_id_of(doc, e);
	if (rc == ERR_OK)
		rc = name_of(doc, s, e);
	if (rc == ERR_OK)
		rc = parallelism_of(doc, s, &job_max, e);
	if (rc == ERR_OK)
		rc = backend_of(doc, s, e);
	if (rc == ERR_OK)
		rc = checkpointing_of(json_object_get(doc, "checkpointing"), &s->checkpointing, e);
	if (rc == ERR_OK)
		rc = restart_of(json_object_get(doc, "restart"), &s->restart, e);
	if (rc == ERR_OK)
		rc = get_ms(doc, "", "slotTimeout", 1, 300000, &s->slot_timeout_ms, e);
	if (rc == ERR_OK)
		rc = json_need(doc, "", "operators", &operators, e);
	if (rc == ERR_OK)
		rc = operators_parse(s, operators, job_max, e);
	return rc;
}

enum errc spec_parse(const json_t *doc, struct spec **out, struct err *e)
{
	struct spec *s = mem_alloc(sizeof(*s));
	enum errc rc = document(doc, s, e);
	if (rc) {
		spec_destroy(s);
		return rc;
	}
	s->source = json_deep_copy(doc);
	json_object_del(s->source, "jobId");
	*out = s;
	return ERR_OK;
}

void spec_destroy(struct spec *s)
{
	if (s == NULL)
		return;
	for (unsigned i = 0; i < s->n_operators; i++)
		operator_fini(&s->operators[i]);
	free(s->operators);
	free(s->name);
	free(s->state_backend);
	json_decref(s->source);
	free(s);
}
