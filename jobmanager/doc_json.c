/*
 * The hot document's JSON, both ways: one function per element and direction,
 * beside each other, so that a member added to one is seen missing in the other.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "jobmanager/doc.h"

/* Decoding: `if (failed(code)) return code`, in one word. */
#define TRY(call)                                                                                  \
	do {                                                                                       \
		enum errc try_code = (call);                                                       \
		if (try_code != ERR_OK)                                                            \
			return try_code;                                                           \
	} while (0)

static const char *const kind_names[] = {
	[CONTROL_TRIGGER_CHECKPOINT] = "checkpoint",
	[CONTROL_TRIGGER_SAVEPOINT] = "savepoint",
	[CONTROL_TRIGGER_FINAL] = "final",
};

static const char *const known[] = {"format",         "tag",         "job",       "name",
				    "specSum",        "status",      "desired",   "stamps",
				    "nextCheckpoint", "nextCleanup", "committed", "restarts",
				    "completed",      "givenUp",     "restart",   "regions",
				    "inFlight",       "retained",    "failures",  "lastGivenUp",
				    "discarded",      "spec",        "flow",      NULL};

static void put(json_t *o, const char *name, json_t *value)
{
	json_object_set_new(o, name, value);
}

static void put_u64(json_t *o, const char *name, uint64_t value)
{
	put(o, name, json_integer((json_int_t)value));
}

static void put_text(json_t *o, const char *name, const char *value)
{
	/* Texts of others may hold broken UTF-8, which jansson refuses. */
	json_t *text = json_string(value);
	put(o, name, text ? text : json_string("(text was not UTF-8)"));
}

static enum errc get_u64(const json_t *o, const char *at, const char *name, uint64_t *out,
			 struct err *e)
{
	int64_t value = 0;
	TRY(json_get_i64_or(o, at, name, 0, INT64_MAX, 0, &value, e));
	*out = (uint64_t)value;
	return ERR_OK;
}

static enum errc get_u32(const json_t *o, const char *at, const char *name, uint32_t *out,
			 struct err *e)
{
	int64_t value = 0;
	TRY(json_get_i64_or(o, at, name, 0, UINT32_MAX, 0, &value, e));
	*out = (uint32_t)value;
	return ERR_OK;
}

static enum errc get_i64(const json_t *o, const char *at, const char *name, int64_t *out,
			 struct err *e)
{
	return json_get_i64_or(o, at, name, INT64_MIN, INT64_MAX, 0, out, e);
}

static enum errc get_text(const json_t *o, const char *at, const char *name, char *out, size_t size,
			  struct err *e)
{
	const char *text = NULL;
	TRY(json_get_text_or(o, at, name, "", &text, e));
	if (strlen(text) >= size)
		return err_set(e, ERR_INVALID, "%s.%s: longer than %zu bytes", at, name, size - 1);
	snprintf(out, size, "%s", text);
	return ERR_OK;
}

static enum errc get_name(const json_t *o, const char *at, const char *name,
			  const char *const names[], unsigned n, unsigned *out, struct err *e)
{
	const char *text = NULL;
	TRY(json_get_text(o, at, name, &text, e));
	for (unsigned i = 0; i < n; i++)
		if (strcmp(names[i], text) == 0) {
			*out = i;
			return ERR_OK;
		}
	return err_set(e, ERR_INVALID, "%s.%s: \"%.40s\" is not known", at, name, text);
}

/* An absent array is empty; a longer one than `max` is an error. */
static enum errc get_array(const json_t *o, const char *at, const char *name, size_t max,
			   json_t **out, size_t *out_n, struct err *e)
{
	json_t *array = json_object_get(o, name);
	if (array && !json_is_array(array))
		return err_set(e, ERR_INVALID, "%s.%s: not an array", at, name);
	if (json_array_size(array) > max)
		return err_set(e, ERR_LIMIT, "%s.%s: more than %zu elements", at, name, max);
	*out = array;
	*out_n = json_array_size(array);
	return ERR_OK;
}

/* ---- pointers, flights, rings ---- */

static json_t *pointer_json(const struct doc_pointer *p)
{
	json_t *o = json_object();
	put_u64(o, "id", p->id.v);
	put_text(o, "kind", kind_names[p->kind]);
	put_text(o, "manifest", p->manifest);
	put_text(o, "checksum", p->checksum);
	put_u64(o, "bytes", p->bytes);
	put(o, "triggeredMs", json_integer(p->triggered_wall_ms));
	put(o, "completedMs", json_integer(p->completed_wall_ms));
	put_u64(o, "epoch", p->epoch);
	put_u64(o, "objects", p->n_objects);
	return o;
}

static enum errc pointer_read(const json_t *o, const char *at, struct doc_pointer *p, struct err *e)
{
	unsigned kind = 0;
	TRY(get_u64(o, at, "id", &p->id.v, e));
	TRY(get_name(o, at, "kind", kind_names, 3, &kind, e));
	p->kind = (enum control_trigger)kind;
	TRY(get_text(o, at, "manifest", p->manifest, sizeof(p->manifest), e));
	TRY(get_text(o, at, "checksum", p->checksum, sizeof(p->checksum), e));
	TRY(get_u64(o, at, "bytes", &p->bytes, e));
	TRY(get_i64(o, at, "triggeredMs", &p->triggered_wall_ms, e));
	TRY(get_i64(o, at, "completedMs", &p->completed_wall_ms, e));
	TRY(get_u64(o, at, "epoch", &p->epoch, e));
	return get_u32(o, at, "objects", &p->n_objects, e);
}

static json_t *flight_json(const struct doc_flight *f, unsigned n_regions)
{
	json_t *o = json_object();
	put_u64(o, "id", f->id.v);
	put_text(o, "kind", kind_names[f->kind]);
	put(o, "triggeredMs", json_integer(f->triggered_wall_ms));
	json_t *attempts = json_array();
	for (unsigned i = 0; i < n_regions; i++)
		json_array_append_new(attempts, json_integer(f->attempts[i]));
	put(o, "attempts", attempts);
	return o;
}

static enum errc flight_read(const json_t *o, struct doc *d, struct err *e)
{
	struct doc_flight f = {0};
	unsigned kind = 0;
	json_t *attempts = NULL;
	size_t n = 0;
	TRY(get_u64(o, "inFlight", "id", &f.id.v, e));
	TRY(get_name(o, "inFlight", "kind", kind_names, 3, &kind, e));
	f.kind = (enum control_trigger)kind;
	TRY(get_i64(o, "inFlight", "triggeredMs", &f.triggered_wall_ms, e));
	TRY(get_array(o, "inFlight", "attempts", DOC_REGIONS_MAX, &attempts, &n, e));
	if (n != d->n_regions)
		return err_set(e, ERR_INVALID, "inFlight.attempts: not one per region");
	f.attempts = mem_array(n, sizeof(f.attempts[0]));
	for (size_t i = 0; i < n; i++)
		f.attempts[i] = (uint32_t)json_integer_value(json_array_get(attempts, i));
	d->flights[d->n_flights++] = f;
	return ERR_OK;
}

static json_t *failure_json(const struct doc_failure *f)
{
	json_t *o = json_object();
	put(o, "ms", json_integer(f->wall_ms));
	put_u64(o, "region", f->region);
	put_u64(o, "attempt", f->attempt);
	put(o, "vertex", json_integer(f->vertex));
	put(o, "subtask", json_integer(f->subtask));
	put(o, "external", json_boolean(f->external));
	put_text(o, "tm", f->tm);
	put_text(o, "text", f->text);
	return o;
}

static enum errc failure_read(const json_t *o, struct doc *d, struct err *e)
{
	struct doc_failure f = {0};
	int64_t vertex = -1, subtask = -1;
	TRY(get_i64(o, "failures", "ms", &f.wall_ms, e));
	TRY(get_u32(o, "failures", "region", &f.region, e));
	TRY(get_u32(o, "failures", "attempt", &f.attempt, e));
	TRY(json_get_i64_or(o, "failures", "vertex", -1, INT32_MAX, -1, &vertex, e));
	TRY(json_get_i64_or(o, "failures", "subtask", -1, INT32_MAX, -1, &subtask, e));
	TRY(json_get_bool_or(o, "failures", "external", false, &f.external, e));
	TRY(get_text(o, "failures", "tm", f.tm, sizeof(f.tm), e));
	TRY(get_text(o, "failures", "text", f.text, sizeof(f.text), e));
	f.vertex = (int32_t)vertex;
	f.subtask = (int32_t)subtask;
	doc_add_failure(d, &f);
	return ERR_OK;
}

static json_t *given_up_json(const struct doc_given_up *g)
{
	json_t *o = json_object();
	put_u64(o, "id", g->id.v);
	put_text(o, "kind", kind_names[g->kind]);
	put(o, "triggeredMs", json_integer(g->triggered_wall_ms));
	put(o, "ms", json_integer(g->wall_ms));
	put_text(o, "text", g->text);
	return o;
}

static enum errc given_up_read(const json_t *o, struct doc *d, struct err *e)
{
	struct doc_given_up g = {0};
	unsigned kind = 0;
	TRY(get_u64(o, "lastGivenUp", "id", &g.id.v, e));
	TRY(get_name(o, "lastGivenUp", "kind", kind_names, 3, &kind, e));
	g.kind = (enum control_trigger)kind;
	TRY(get_i64(o, "lastGivenUp", "triggeredMs", &g.triggered_wall_ms, e));
	TRY(get_i64(o, "lastGivenUp", "ms", &g.wall_ms, e));
	TRY(get_text(o, "lastGivenUp", "text", g.text, sizeof(g.text), e));
	doc_add_given_up(d, &g);
	return ERR_OK;
}

/* ---- regions ---- */

static json_t *region_json(const struct doc_region *r)
{
	json_t *o = json_object();
	put_u64(o, "attempt", r->attempt.v);
	if (r->ran.v)
		put_u64(o, "ran", r->ran.v);
	put(o, "restore", r->restore.id.v ? pointer_json(&r->restore) : json_null());
	put(o, "notBeforeMs", json_integer(r->not_before_wall_ms));
	put_u64(o, "delayMs", r->delay_ms);
	json_t *tms = json_array(), *owner = json_array();
	for (uint32_t i = 0; i < r->n_tms; i++) {
		json_t *tm = json_object();
		put_text(tm, "id", r->tms[i].id);
		put_text(tm, "instance", r->tms[i].instance);
		json_array_append_new(tms, tm);
	}
	for (uint32_t i = 0; i < r->n_slots; i++)
		json_array_append_new(owner, json_integer(r->owner[i]));
	put(o, "tms", tms);
	put(o, "slots", owner);
	return o;
}

static enum errc placement_read(const json_t *o, struct doc_region *r, struct err *e)
{
	json_t *tms = NULL, *owner = NULL;
	size_t n_tms = 0, n_slots = 0;
	TRY(get_array(o, "regions", "tms", LIMIT_TASKMANAGERS, &tms, &n_tms, e));
	TRY(get_array(o, "regions", "slots", LIMIT_PARALLELISM, &owner, &n_slots, e));
	if (!n_tms != !n_slots)
		return err_set(e, ERR_INVALID,
			       "regions: TaskManagers without slots, or the reverse");
	if (!n_tms)
		return ERR_OK;
	r->tms = mem_array(n_tms, sizeof(r->tms[0]));
	r->owner = mem_array(n_slots, sizeof(r->owner[0]));
	r->n_tms = (uint32_t)n_tms;
	r->n_slots = (uint32_t)n_slots;
	for (size_t i = 0; i < n_tms; i++) {
		const json_t *tm = json_array_get(tms, i);
		TRY(get_text(tm, "regions.tms", "id", r->tms[i].id, NODE_ID_MAX, e));
		TRY(get_text(tm, "regions.tms", "instance", r->tms[i].instance, ID_TEXT, e));
	}
	for (size_t i = 0; i < n_slots; i++) {
		json_int_t at = json_integer_value(json_array_get(owner, i));
		if (at < 0 || (size_t)at >= n_tms)
			return err_set(e, ERR_INVALID, "regions.slots: no such TaskManager");
		r->owner[i] = (uint16_t)at;
	}
	return ERR_OK;
}

static enum errc region_read(const json_t *o, struct doc_region *r, struct err *e)
{
	TRY(get_u32(o, "regions", "attempt", &r->attempt.v, e));
	TRY(get_u32(o, "regions", "ran", &r->ran.v, e));
	const json_t *restore = json_object_get(o, "restore");
	if (json_is_object(restore))
		TRY(pointer_read(restore, "regions.restore", &r->restore, e));
	TRY(get_i64(o, "regions", "notBeforeMs", &r->not_before_wall_ms, e));
	TRY(get_u64(o, "regions", "delayMs", &r->delay_ms, e));
	return placement_read(o, r, e);
}

/* ---- restart counters, stamps ---- */

static json_t *restart_json(const struct restart_state *s)
{
	json_t *o = json_object(), *stamps = json_array();
	put_u64(o, "count", s->count);
	put_u64(o, "delayMs", s->delay_ms);
	put(o, "lastMs", json_integer(s->last_wall_ms));
	for (uint32_t i = 0; i < s->n_stamps; i++)
		json_array_append_new(stamps, json_integer(s->stamps[i]));
	put(o, "stamps", stamps);
	return o;
}

static enum errc restart_read(const json_t *o, struct restart_state *s, struct err *e)
{
	json_t *stamps = NULL;
	size_t n = 0;
	TRY(get_u32(o, "restart", "count", &s->count, e));
	TRY(get_u64(o, "restart", "delayMs", &s->delay_ms, e));
	TRY(get_i64(o, "restart", "lastMs", &s->last_wall_ms, e));
	TRY(get_array(o, "restart", "stamps", RESTART_STAMPS_MAX, &stamps, &n, e));
	for (size_t i = 0; i < n; i++)
		s->stamps[s->n_stamps++] = json_integer_value(json_array_get(stamps, i));
	return ERR_OK;
}

static json_t *stamps_json(const struct doc *d)
{
	json_t *o = json_object();
	for (unsigned i = 0; i < DOC_STATUS_COUNT; i++)
		if (d->stamps[i])
			put(o, doc_status_name((enum doc_status)i), json_integer(d->stamps[i]));
	return o;
}

static enum errc stamps_read(const json_t *o, struct doc *d, struct err *e)
{
	for (unsigned i = 0; i < DOC_STATUS_COUNT; i++)
		TRY(get_i64(o, "stamps", doc_status_name((enum doc_status)i), &d->stamps[i], e));
	return ERR_OK;
}

/* ---- the whole ---- */

static void encode_arrays(const struct doc *d, json_t *o)
{
	json_t *regions = json_array(), *flights = json_array(), *retained = json_array();
	json_t *failures = json_array(), *given_up = json_array();
	for (unsigned i = 0; i < d->n_regions; i++)
		json_array_append_new(regions, region_json(&d->regions[i]));
	for (unsigned i = 0; i < d->n_flights; i++)
		json_array_append_new(flights, flight_json(&d->flights[i], d->n_regions));
	for (unsigned i = 0; i < d->n_retained; i++)
		json_array_append_new(retained, pointer_json(&d->retained[i]));
	for (unsigned i = 0; i < d->n_failures; i++)
		json_array_append_new(failures, failure_json(&d->failures[i]));
	for (unsigned i = 0; i < d->n_given_up_kept; i++)
		json_array_append_new(given_up, given_up_json(&d->given_up[i]));
	put(o, "regions", regions);
	put(o, "inFlight", flights);
	put(o, "retained", retained);
	put(o, "failures", failures);
	put(o, "lastGivenUp", given_up);
}

char *doc_encode(const struct doc *d)
{
	json_t *o = json_object();
	put_u64(o, "format", DOC_FORMAT);
	put_text(o, "tag", d->tag);
	put_text(o, "job", d->job.hex);
	put_text(o, "name", d->name);
	put_text(o, "specSum", d->spec_sum);
	put_text(o, "status", doc_status_name(d->status));
	put_text(o, "desired", doc_desired_name(d->desired));
	put(o, "stamps", stamps_json(d));
	put_u64(o, "nextCheckpoint", d->next_checkpoint.v);
	put_u64(o, "nextCleanup", d->next_cleanup);
	put_u64(o, "committed", d->committed.v);
	put_u64(o, "restarts", d->restarts);
	put_u64(o, "completed", d->n_completed);
	put_u64(o, "givenUp", d->n_given_up);
	if (d->discarded)
		put(o, "discarded", json_true());
	put(o, "restart", restart_json(&d->restart));
	encode_arrays(d, o);
	if (d->spec)
		json_object_set(o, "spec", d->spec);
	if (d->flow)
		json_object_set(o, "flow", d->flow);
	if (d->unknown)
		json_object_update_missing(o, d->unknown);
	char *text = json_text(o);
	json_decref(o);
	return text;
}

static enum errc get_status(const json_t *o, struct doc *d, struct err *e)
{
	const char *status = NULL, *desired = NULL;
	unsigned s = 0, k = 0;
	TRY(json_get_text(o, "", "status", &status, e));
	TRY(json_get_text(o, "", "desired", &desired, e));
	while (s < DOC_STATUS_COUNT && strcmp(doc_status_name((enum doc_status)s), status) != 0)
		s++;
	while (k < DOC_DESIRED_COUNT && strcmp(doc_desired_name((enum doc_desired)k), desired) != 0)
		k++;
	if (s == DOC_STATUS_COUNT || k == DOC_DESIRED_COUNT)
		return err_set(e, ERR_INVALID, "status \"%.40s\" or desired \"%.40s\" is not known",
			       status, desired);
	d->status = (enum doc_status)s;
	d->desired = (enum doc_desired)k;
	return ERR_OK;
}

static enum errc read_heads(const json_t *o, struct doc *d, struct err *e)
{
	int64_t format = 0;
	const char *job = NULL;
	TRY(json_get_i64(o, "", "format", 1, INT32_MAX, &format, e));
	if (format > DOC_FORMAT)
		return err_set(e, ERR_INVALID, "format %d is newer than this program's %d",
			       (int)format, DOC_FORMAT);
	TRY(get_text(o, "", "tag", d->tag, sizeof(d->tag), e));
	TRY(json_get_text(o, "", "job", &job, e));
	TRY(job_id_parse(job, &d->job, e));
	TRY(get_text(o, "", "name", d->name, sizeof(d->name), e));
	TRY(get_text(o, "", "specSum", d->spec_sum, sizeof(d->spec_sum), e));
	TRY(get_status(o, d, e));
	TRY(get_u64(o, "", "nextCheckpoint", &d->next_checkpoint.v, e));
	TRY(get_u64(o, "", "nextCleanup", &d->next_cleanup, e));
	TRY(get_u64(o, "", "committed", &d->committed.v, e));
	TRY(get_u32(o, "", "restarts", &d->restarts, e));
	TRY(json_get_bool_or(o, "", "discarded", false, &d->discarded, e));
	TRY(get_u64(o, "", "completed", &d->n_completed, e));
	return get_u64(o, "", "givenUp", &d->n_given_up, e);
}

static enum errc read_regions(const json_t *o, struct doc *d, struct err *e)
{
	json_t *regions = NULL;
	size_t n = 0;
	TRY(get_array(o, "", "regions", DOC_REGIONS_MAX, &regions, &n, e));
	if (n == 0)
		return err_set(e, ERR_INVALID, "regions: none");
	d->regions = mem_array(n, sizeof(d->regions[0]));
	d->n_regions = (unsigned)n;
	for (size_t i = 0; i < n; i++)
		TRY(region_read(json_array_get(regions, i), &d->regions[i], e));
	return ERR_OK;
}

static enum errc read_checkpoints(const json_t *o, struct doc *d, struct err *e)
{
	json_t *flights = NULL, *retained = NULL;
	size_t n = 0;
	TRY(get_array(o, "", "inFlight", LIMIT_CHECKPOINTS_IN_FLIGHT, &flights, &n, e));
	d->flights = mem_array(n + 1, sizeof(d->flights[0]));
	for (size_t i = 0; i < n; i++)
		TRY(flight_read(json_array_get(flights, i), d, e));
	TRY(get_array(o, "", "retained", LIMIT_CHECKPOINTS_RETAINED + 1, &retained, &n, e));
	d->retained = mem_array(n + 1, sizeof(d->retained[0]));
	for (size_t i = 0; i < n; i++) {
		TRY(pointer_read(json_array_get(retained, i), "retained", &d->retained[i], e));
		d->n_retained++;
	}
	return ERR_OK;
}

static enum errc read_rings(const json_t *o, struct doc *d, struct err *e)
{
	json_t *failures = NULL, *given_up = NULL;
	size_t n = 0;
	uint64_t counted = d->n_given_up;
	TRY(get_array(o, "", "failures", DOC_FAILURES_MAX, &failures, &n, e));
	for (size_t i = 0; i < n; i++)
		TRY(failure_read(json_array_get(failures, i), d, e));
	TRY(get_array(o, "", "lastGivenUp", DOC_GIVEN_UP_MAX, &given_up, &n, e));
	for (size_t i = 0; i < n; i++)
		TRY(given_up_read(json_array_get(given_up, i), d, e));
	d->n_given_up = counted;
	return ERR_OK;
}

static void keep_unknown(const json_t *o, struct doc *d)
{
	d->unknown = json_copy((json_t *)(uintptr_t)o);
	for (unsigned i = 0; known[i]; i++)
		json_object_del(d->unknown, known[i]);
	if (json_object_size(d->unknown) == 0) {
		json_decref(d->unknown);
		d->unknown = NULL;
	}
}

static enum errc read_document(const json_t *o, struct doc *d, struct err *e)
{
	if (!json_is_object(o))
		return err_set(e, ERR_INVALID, "not an object");
	TRY(read_heads(o, d, e));
	TRY(read_regions(o, d, e));
	TRY(read_checkpoints(o, d, e));
	TRY(read_rings(o, d, e));
	json_t *restart = json_object_get(o, "restart"), *stamps = json_object_get(o, "stamps");
	if (json_is_object(restart))
		TRY(restart_read(restart, &d->restart, e));
	if (json_is_object(stamps))
		TRY(stamps_read(stamps, d, e));
	d->spec = json_incref(json_object_get(o, "spec"));
	json_t *flow = NULL;
	size_t n_flow = 0;
	TRY(get_array(o, "", "flow", LIMIT_OPERATORS, &flow, &n_flow, e));
	d->flow = json_incref(flow);
	keep_unknown(o, d);
	if (!doc_terminal(d->status) && !doc_holds(d))
		return err_set(e, ERR_CORRUPT, "the document contradicts itself");
	return ERR_OK;
}

enum errc doc_decode(const char *text, size_t len, struct doc *out, struct err *e)
{
	json_t *o = NULL;
	struct doc d = {0};
	enum errc code = json_parse(text, len, &o, e);
	if (code == ERR_OK)
		code = read_document(o, &d, e);
	json_decref(o);
	if (code != ERR_OK) {
		doc_fini(&d);
		return err_wrap(e, code, "a job's hot document");
	}
	*out = d;
	return ERR_OK;
}
