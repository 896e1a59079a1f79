#include "job/operators.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "job/optypes.h"

enum { KEYS_MAX = 16, INPUTS_MAX = 16, AT_MAX = 40 };

static const char *const common[] = {"uid",         "type",           "inputs",      "keyBy",
				     "parallelism", "maxParallelism", "partitioning"};
enum { N_COMMON = sizeof(common) / sizeof(common[0]) };

/* One operator while it is parsed: `place` is its index in the document. */
struct draft {
	const json_t *json;
	const struct optype *type;
	unsigned place;
	char at[AT_MAX];
	unsigned readers;
};

void operator_fini(struct spec_operator *op)
{
	free(op->uid);
	free(op->type);
	free(op->inputs);
	free(op->edges);
	free(op->keys);
	json_decref(op->options);
	for (unsigned i = 0; i < op->output.n; i++)
		free(op->output.columns[i].name);
	free(op->output.columns);
}

/* ---- pass 1: names ---- */

static enum errc uid_check(const char *uid, const char *at, struct err *e)
{
	size_t len = strlen(uid);
	bool ok = len >= 1 && len <= SPEC_UID_MAX && isalnum((unsigned char)uid[0]);
	for (size_t i = 0; ok && i < len; i++)
		ok = isalnum((unsigned char)uid[i]) || strchr("._-", uid[i]) != NULL;
	if (ok)
		return ERR_OK;
	return err_set(e, ERR_INVALID,
		       "%s.uid: must have 1 to %d of A-Z a-z 0-9 . _ - and begin with a letter or "
		       "digit, is \"%.80s\"",
		       at, SPEC_UID_MAX, uid);
}

static enum errc unknown_type(const char *type, const char *at, struct err *e)
{
	struct buf all;
	buf_init(&all, 400);
	for (unsigned i = 0; optype_at(i); i++)
		buf_printf(&all, "%s%s", i ? ", " : "", optype_at(i)->name);
	enum errc rc = err_set(e, ERR_INVALID, "%s.type: \"%.60s\" is unknown (known: %s)", at,
			       type, all.data);
	buf_fini(&all);
	return rc;
}

static enum errc unknown_field(const struct draft *d, struct err *e)
{
	const char *names[N_COMMON + 32];
	unsigned n = 0;
	for (unsigned i = 0; i < N_COMMON; i++)
		names[n++] = common[i];
	for (const struct optype_option *o = d->type->options; o->name; o++)
		names[n++] = o->name;
	names[n] = NULL;
	return json_only(d->json, d->at, names, e);
}

static enum errc names_pass(struct spec *s, struct draft *drafts, struct err *e)
{
	for (unsigned i = 0; i < s->n_operators; i++) {
		struct draft *d = &drafts[i];
		const char *uid, *type;
		if (!json_is_object(d->json))
			return err_set(e, ERR_INVALID, "%s: must be an object", d->at);
		enum errc rc = json_get_text(d->json, d->at, "uid", &uid, e);
		if (rc == ERR_OK)
			rc = uid_check(uid, d->at, e);
		if (rc == ERR_OK)
			rc = json_get_text(d->json, d->at, "type", &type, e);
		if (rc)
			return rc;
		for (unsigned j = 0; j < i; j++)
			if (strcmp(s->operators[j].uid, uid) == 0)
				return err_set(e, ERR_INVALID,
					       "%s.uid: \"%s\" is the uid of operators[%u] already",
					       d->at, uid, j);
		d->type = optype_find(type);
		if (d->type == NULL)
			return unknown_type(type, d->at, e);
		s->operators[i].uid = mem_text(uid);
		s->operators[i].type = mem_text(type);
		rc = unknown_field(d, e);
		if (rc)
			return rc;
	}
	return ERR_OK;
}

/* ---- pass 2: inputs, still by place in the document ---- */

static int find_uid(const struct spec *s, const char *uid)
{
	for (unsigned i = 0; i < s->n_operators; i++)
		if (strcmp(s->operators[i].uid, uid) == 0)
			return (int)i;
	return -1;
}

static enum errc input_of(struct spec *s, struct draft *drafts, struct draft *d, unsigned k,
			  const json_t *given, struct err *e)
{
	struct spec_operator *op = &s->operators[d->place];
	if (!json_is_string(given))
		return err_set(e, ERR_INVALID, "%s.inputs[%u]: must be the uid of an operator",
			       d->at, k);
	int from = find_uid(s, json_string_value(given));
	if (from < 0)
		return err_set(e, ERR_INVALID, "%s.inputs[%u]: no operator has the uid \"%.80s\"",
			       d->at, k, json_string_value(given));
	if (drafts[from].type->kind == OPTYPE_SINK)
		return err_set(e, ERR_INVALID, "%s.inputs[%u]: \"%s\" is a sink and gives nothing",
			       d->at, k, s->operators[from].uid);
	op->inputs[k] = (unsigned)from;
	drafts[from].readers++;
	return ERR_OK;
}

static enum errc inputs_of(struct spec *s, struct draft *drafts, struct draft *d, struct err *e)
{
	const json_t *inputs = json_object_get(d->json, "inputs");
	unsigned want = d->type->n_inputs;
	if (inputs == NULL && want > 0)
		return err_set(e, ERR_INVALID, "%s.inputs: is missing; %s needs %u", d->at,
			       d->type->name, want);
	if (inputs && !json_is_array(inputs))
		return err_set(e, ERR_INVALID, "%s.inputs: must be an array of uids", d->at);
	if (json_array_size(inputs) != want)
		return err_set(e, ERR_INVALID, "%s.inputs: %s takes %u, here are %zu", d->at,
			       d->type->name, want, json_array_size(inputs));
	struct spec_operator *op = &s->operators[d->place];
	op->n_inputs = want;
	op->inputs = mem_array(want + 1, sizeof(*op->inputs));
	op->edges = mem_array(want + 1, sizeof(*op->edges));
	for (unsigned k = 0; k < want; k++) {
		enum errc rc = input_of(s, drafts, d, k, json_array_get(inputs, k), e);
		if (rc)
			return rc;
	}
	return ERR_OK;
}

static enum errc inputs_pass(struct spec *s, struct draft *drafts, struct err *e)
{
	for (unsigned i = 0; i < s->n_operators; i++) {
		enum errc rc = inputs_of(s, drafts, &drafts[i], e);
		if (rc)
			return rc;
	}
	return ERR_OK;
}

/* ---- pass 3: order ---- */

static bool inputs_placed(const struct spec_operator *op, const unsigned *new_place)
{
	for (unsigned k = 0; k < op->n_inputs; k++)
		if (new_place[op->inputs[k]] == UINT32_MAX)
			return false;
	return true;
}

/* Walk against the edges from an operator that could not be placed until one comes again. */
static enum errc name_cycle(const struct spec *s, const struct draft *drafts,
			    const unsigned *new_place, struct err *e)
{
	unsigned at = 0;
	while (new_place[at] != UINT32_MAX)
		at++;
	bool *seen = mem_array(s->n_operators, sizeof(*seen));
	while (!seen[at]) {
		seen[at] = true;
		unsigned k = 0;
		while (new_place[s->operators[at].inputs[k]] != UINT32_MAX)
			k++;
		at = s->operators[at].inputs[k];
	}
	free(seen);
	return err_set(e, ERR_INVALID, "%s.inputs: \"%s\" reads, in a cycle, its own output",
		       drafts[at].at, s->operators[at].uid);
}

/* Inputs first; otherwise as in the document. Moves operators and drafts, renames the inputs. */
static enum errc order_pass(struct spec *s, struct draft *drafts, struct err *e)
{
	unsigned n = s->n_operators, placed = 0;
	unsigned *new_place = mem_array(n, sizeof(*new_place));
	unsigned *old_place = mem_array(n, sizeof(*old_place));
	memset(new_place, 0xff, n * sizeof(*new_place));
	for (bool moved = true; moved;) {
		moved = false;
		for (unsigned i = 0; i < n; i++) {
			if (new_place[i] != UINT32_MAX ||
			    !inputs_placed(&s->operators[i], new_place))
				continue;
			old_place[placed] = i;
			new_place[i] = placed++;
			moved = true;
		}
	}
	enum errc rc = ERR_OK;
	if (placed < n) {
		rc = name_cycle(s, drafts, new_place, e);
		goto out;
	}
	struct spec_operator *operators = mem_array(n, sizeof(*operators));
	struct draft *ordered = mem_array(n, sizeof(*ordered));
	for (unsigned i = 0; i < n; i++) {
		operators[i] = s->operators[old_place[i]];
		ordered[i] = drafts[old_place[i]];
		for (unsigned k = 0; k < operators[i].n_inputs; k++)
			operators[i].inputs[k] = new_place[operators[i].inputs[k]];
	}
	memcpy(drafts, ordered, n * sizeof(*drafts));
	free(ordered);
	free(s->operators);
	s->operators = operators;
out:
	free(new_place);
	free(old_place);
	return rc;
}

/* ---- pass 4: everything else, inputs before their readers ---- */

static enum errc parallelism_of(const struct spec *s, struct spec_operator *op,
				const struct draft *d, uint32_t job_max, struct err *e)
{
	bool single = (d->type->flags & OPTYPE_SINGLE) != 0;
	int64_t parallelism, max;
	enum errc rc = json_get_i64_or(d->json, d->at, "parallelism", 1, LIMIT_PARALLELISM,
				       single ? 1 : s->parallelism, &parallelism, e);
	if (rc)
		return rc;
	if (single && parallelism != 1)
		return err_set(e, ERR_INVALID, "%s.parallelism: %s runs with 1 only", d->at,
			       op->type);
	int64_t fallback = job_max ? job_max : spec_default_max_parallelism((uint32_t)parallelism);
	rc = json_get_i64_or(d->json, d->at, "maxParallelism", 1, LIMIT_PARALLELISM, fallback, &max,
			     e);
	if (rc)
		return rc;
	if (parallelism > max)
		return err_set(e, ERR_INVALID, "%s.parallelism: %lld is above maxParallelism %lld",
			       d->at, (long long)parallelism, (long long)max);
	op->parallelism = (uint32_t)parallelism;
	op->max_parallelism = (uint32_t)max;
	return ERR_OK;
}

static enum errc keys_of(struct spec_operator *op, const struct spec_schema *in,
			 const struct draft *d, struct err *e)
{
	const json_t *keys = json_object_get(d->json, "keyBy");
	if (keys == NULL && (d->type->flags & OPTYPE_KEYED) == 0)
		return ERR_OK;
	if (keys == NULL)
		return err_set(e, ERR_INVALID, "%s.keyBy: is missing; %s needs it", d->at,
			       op->type);
	if (in == NULL)
		return err_set(e, ERR_INVALID, "%s.keyBy: a source has no input to key", d->at);
	size_t n = json_array_size(keys);
	if (n == 0 || n > KEYS_MAX)
		return err_set(e, ERR_INVALID, "%s.keyBy: must be an array of 1 to %d columns",
			       d->at, KEYS_MAX);
	op->keys = mem_array(n, sizeof(*op->keys));
	for (size_t i = 0; i < n; i++) {
		const char *name = json_string_value(json_array_get(keys, i));
		int column = name ? spec_schema_find(in, name) : -1;
		if (column < 0)
			return err_set(e, ERR_INVALID,
				       "%s.keyBy[%zu]: must be a column of the input, is %s%.60s%s",
				       d->at, i, name ? "\"" : "", name ? name : "no string",
				       name ? "\"" : "");
		for (unsigned j = 0; j < op->n_keys; j++)
			if (op->keys[j] == (unsigned)column)
				return err_set(e, ERR_INVALID, "%s.keyBy[%zu]: \"%s\" comes twice",
					       d->at, i, name);
		op->keys[op->n_keys++] = (unsigned)column;
	}
	return ERR_OK;
}

static enum errc options_of(struct spec_operator *op, const struct spec_schema *in,
			    const struct draft *d, struct err *e)
{
	op->options = json_object();
	for (const struct optype_option *o = d->type->options; o->name; o++) {
		json_t *fallback =
			o->fallback ? json_loads(o->fallback, JSON_DECODE_ANY, NULL) : NULL;
		const json_t *given = json_object_get(d->json, o->name);
		json_t *normal = NULL;
		enum errc rc = ERR_OK;
		if (given == NULL && o->required)
			rc = err_set(e, ERR_INVALID, "%s.%s: is missing", d->at, o->name);
		else if (given != NULL || fallback != NULL)
			rc = optype_option_normal(o, given ? given : fallback, in, d->at, &normal,
						  e);
		json_decref(fallback);
		if (rc)
			return rc;
		json_object_set_new(op->options, o->name, normal ? normal : json_null());
	}
	return ERR_OK;
}

static int edge_named(const char *name)
{
	static const char *const names[] = {"forward", "hash", "rebalance", "broadcast"};
	for (int i = 0; i < 4; i++)
		if (strcmp(names[i], name) == 0)
			return i;
	return -1;
}

/* What an input's edge is unless the user says otherwise, and what the user may say. */
static enum errc edge_of(const struct spec *s, const struct spec_operator *op, unsigned k,
			 const struct draft *d, enum spec_edge *out, struct err *e)
{
	const char *name;
	bool same = s->operators[op->inputs[k]].parallelism == op->parallelism;
	enum errc rc = json_get_text_or(d->json, d->at, "partitioning", NULL, &name, e);
	if (rc)
		return rc;
	enum spec_edge natural = op->n_keys ? SPEC_EDGE_HASH
				 : same     ? SPEC_EDGE_FORWARD
					    : SPEC_EDGE_REBALANCE;
	int edge = name ? edge_named(name) : (int)natural;
	if (edge < 0)
		return err_set(
			e, ERR_INVALID,
			"%s.partitioning: must be one of forward, hash, rebalance, broadcast, "
			"is \"%.40s\"",
			d->at, name);
	if ((edge == SPEC_EDGE_HASH) != (op->n_keys > 0))
		return err_set(e, ERR_INVALID, "%s.partitioning: keyBy and hash go together",
			       d->at);
	if (edge == SPEC_EDGE_FORWARD && !same)
		return err_set(
			e, ERR_INVALID,
			"%s.partitioning: forward needs the parallelism of its input (%u, not %u)",
			d->at, s->operators[op->inputs[k]].parallelism, op->parallelism);
	*out = (enum spec_edge)edge;
	return ERR_OK;
}

static enum errc finish_operator(struct spec *s, unsigned i, const struct draft *d,
				 uint32_t job_max, struct err *e)
{
	struct spec_operator *op = &s->operators[i];
	const struct spec_schema *in = op->n_inputs ? &s->operators[op->inputs[0]].output : NULL;
	enum errc rc = parallelism_of(s, op, d, job_max, e);
	if (rc == ERR_OK)
		rc = keys_of(op, in, d, e);
	if (rc == ERR_OK)
		rc = options_of(op, in, d, e);
	if (rc == ERR_OK)
		rc = d->type->schema(op, in, d->at, e);
	for (unsigned k = 0; rc == ERR_OK && k < op->n_inputs; k++)
		rc = edge_of(s, op, k, d, &op->edges[k], e);
	if (rc == ERR_OK && op->n_inputs == 0 && json_object_get(d->json, "partitioning"))
		rc = err_set(e, ERR_INVALID, "%s.partitioning: a source has no input", d->at);
	if (rc == ERR_OK && d->type->kind != OPTYPE_SINK && d->readers == 0)
		rc = err_set(
			e, ERR_INVALID,
			"%s: nobody reads its output; end it in a sink (sink.discard drops it)",
			d->at);
	return rc;
}

enum errc operators_parse(struct spec *s, const json_t *array, uint32_t job_max, struct err *e)
{
	size_t n = json_array_size(array);
	if (!json_is_array(array) || n == 0 || n > LIMIT_OPERATORS)
		return err_set(e, ERR_INVALID, "operators: must be an array of 1 to %d operators",
			       LIMIT_OPERATORS);
	s->n_operators = (unsigned)n;
	s->operators = mem_array(n, sizeof(*s->operators));
	struct draft *drafts = mem_array(n, sizeof(*drafts));
	for (unsigned i = 0; i < n; i++) {
		drafts[i] = (struct draft){.json = json_array_get(array, i), .place = i};
		snprintf(drafts[i].at, AT_MAX, "operators[%u]", i);
	}
	enum errc rc = names_pass(s, drafts, e);
	if (rc == ERR_OK)
		rc = inputs_pass(s, drafts, e);
	if (rc == ERR_OK)
		rc = order_pass(s, drafts, e);
	for (unsigned i = 0; rc == ERR_OK && i < n; i++)
		rc = finish_operator(s, i, &drafts[i], job_max, e);
	free(drafts);
	return rc;
}
