/*
 * aggregate: running count, sum, min, max and avg per key; one output row per input row.
 *
 * Works in windows of 64 rows: hash the keys, resolve their values in the table, fold each
 * aggregate in, column by column, remembering the running result of each row, and then lay the
 * output rows out. The value of a key is one run of words, by aggregate:
 *
 *   count              1 word: how many
 *   sum, min, max      2 words: how many were not null, and the result so far
 *   avg                2 words: how many, and their sum as a double
 *   min, max (string)  no word: a state of bytes of its own
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "job/optypes.h"
#include "state/keyed.h"
#include "taskmanager/keyplan.h"
#include "taskmanager/operators/operators.h"

enum { AGGREGATES_MAX = KEYED_WORDS_MAX / 2 };

enum function { COUNT_ALL, COUNT, SUM, MIN, MAX, AVG };

struct fold {
	enum function function;
	unsigned column;
	enum spec_type type; /* of the column */
	unsigned word;       /* the first in the value */
	const char *as;
	struct keyed_state *text; /* string min and max */
	struct buf scratch;       /* the running string of the row at hand */
};

struct aggregate {
	struct op op;
	struct key_plan key;
	struct keyed_state *state;
	unsigned n, words;
	struct fold *folds; /* owns */
	bool plain;         /* no output can be null, no strings but the key: the fast layout */
	struct buf canonical;
	struct row_value *values; /* owns: one per output column */
	uint64_t *results;        /* owns: [fold][row of the window] */
	uint64_t *nulls;          /* owns: [fold], a bit per row */
};

static struct aggregate *self(struct op *o)
{
	return (struct aggregate *)(void *)o;
}

/* ---- opening ---- */

static enum function function_of(const char *name, bool all)
{
	if (strcmp(name, "count") == 0)
		return all ? COUNT_ALL : COUNT;
	if (strcmp(name, "sum") == 0)
		return SUM;
	if (strcmp(name, "min") == 0)
		return MIN;
	return strcmp(name, "max") == 0 ? MAX : AVG;
}

static bool is_text(const struct fold *f)
{
	return (f->function == MIN || f->function == MAX) && f->type == SPEC_STRING;
}

static enum errc text_open(struct aggregate *a, struct fold *f, unsigned i, struct err *e)
{
	char name[KEYED_NAME_MAX];
	bool number = a->key.kind == KEY_INT64;

	snprintf(name, sizeof(name), "text-%u", i);
	struct keyed_spec spec = {.name = name,
				  .kind = KEYED_BYTES,
				  .key = number ? KEYED_INT64 : KEYED_STRING,
				  .hash = a->key.kind == KEY_TEXT ? key_hash_of_text : NULL};
	a->plain = false;
	return keyed_open(a->op.keyed, &spec, &f->text, e);
}

static enum errc fold_open(struct aggregate *a, unsigned i, const json_t *option, struct err *e)
{
	const struct op_context *c = a->op.context;
	struct fold *f = &a->folds[i];
	const char *column = json_string_value(json_object_get(option, "column"));

	f->function = function_of(json_string_value(json_object_get(option, "function")), !column);
	f->as = json_string_value(json_object_get(option, "as"));
	f->word = a->words;
	if (!column) {
		a->words++;
		return ERR_OK;
	}
	int at = op_input_column(c, column);
	if (at < 0)
		return err_set(e, ERR_INVALID, "no column \"%s\"", column);
	f->column = (unsigned)at;
	f->type = c->input->types[at];
	if (f->function != COUNT && c->input_schema->columns[at].nullable)
		a->plain = false;
	if (is_text(f))
		return text_open(a, f, i, e);
	a->words += f->function == COUNT ? 1 : 2;
	return ERR_OK;
}

static enum errc open_aggregate(struct op *o, struct err *e)
{
	struct aggregate *a = self(o);
	const struct op_context *c = o->context;
	const json_t *list = optype_array(c->spec, "aggregates");
	enum errc code = ERR_OK;

	key_plan_init(&a->key, c->input_schema, c->input, c->spec->keys, c->spec->n_keys);
	a->plain = a->key.kind != KEY_CANONICAL;
	a->n = (unsigned)json_array_size(list);
	if (a->n > AGGREGATES_MAX)
		return err_set(e, ERR_LIMIT, "%u aggregates: at most %d are possible", a->n,
			       AGGREGATES_MAX);
	a->folds = mem_array(a->n, sizeof(*a->folds));
	a->values = mem_array(c->output->n, sizeof(*a->values));
	a->results = mem_array((size_t)a->n * KEY_WINDOW, sizeof(*a->results));
	a->nulls = mem_array(a->n, sizeof(*a->nulls));
	for (unsigned i = 0; i < a->n && code == ERR_OK; i++)
		code = fold_open(a, i, json_array_get(list, i), e);
	struct keyed_spec spec = {.name = "aggregates",
				  .kind = KEYED_VALUE,
				  .key = a->key.kind == KEY_INT64 ? KEYED_INT64 : KEYED_STRING,
				  .words = a->words ? a->words : 1,
				  .hash = a->key.kind == KEY_TEXT ? key_hash_of_text : NULL};
	return code == ERR_OK ? keyed_open(o->keyed, &spec, &a->state, e) : code;
}

static void close_aggregate(struct op *o)
{
	struct aggregate *a = self(o);

	for (unsigned i = 0; i < a->n && a->folds; i++)
		buf_fini(&a->folds[i].scratch);
	key_plan_fini(&a->key);
	buf_fini(&a->canonical);
	free(a->folds);
	free(a->values);
	free(a->results);
	free(a->nulls);
}

/* ---- folding ---- */

struct window {
	unsigned n;
	const struct row *rows[KEY_WINDOW];
	uint64_t hashes[KEY_WINDOW];
	int64_t numbers[KEY_WINDOW];            /* KEY_INT64 */
	struct backend_bytes texts[KEY_WINDOW]; /* the others */
	uint64_t *values[KEY_WINDOW];           /* of rows from `first` on */
};

static double as_double(uint64_t bits)
{
	double d;

	memcpy(&d, &bits, sizeof(d));
	return d;
}

static uint64_t as_bits(double d)
{
	uint64_t bits;

	memcpy(&bits, &d, sizeof(bits));
	return bits;
}

static bool better(const struct fold *f, uint64_t candidate, uint64_t best)
{
	bool less;

	if (f->type == SPEC_FLOAT64)
		less = f->function == MIN ? as_double(candidate) < as_double(best)
					  : as_double(candidate) > as_double(best);
	else
		less = f->function == MIN ? (int64_t)candidate < (int64_t)best
					  : (int64_t)candidate > (int64_t)best;
	return less;
}

/* One value into (how many, result so far). False: overflow. */
static bool fold_value(const struct fold *f, uint64_t *v, uint64_t slot)
{
	uint64_t next = v[1];
	int64_t sum;

	if (f->function == AVG) {
		double d = f->type == SPEC_FLOAT64 ? as_double(slot) : (double)(int64_t)slot;
		next = as_bits(as_double(v[1]) + d);
	} else if (f->function == SUM && f->type == SPEC_FLOAT64) {
		next = as_bits(as_double(v[1]) + as_double(slot));
	} else if (f->function == SUM) {
		if (__builtin_add_overflow((int64_t)v[1], (int64_t)slot, &sum))
			return false;
		next = (uint64_t)sum;
	} else if (!v[0] || better(f, slot, v[1])) {
		next = slot;
	}
	keyed_set(&v[0], v[0] + 1);
	keyed_set(&v[1], next);
	return true;
}

static enum errc overflow(const struct fold *f, struct err *e)
{
	return err_set(e, ERR_LIMIT, "aggregate \"%s\": the result does not fit int64", f->as);
}

static enum errc fold_count(struct aggregate *a, const struct fold *f, const struct window *w,
			    unsigned first, unsigned got, struct err *e)
{
	uint64_t *results = a->results + (size_t)(f - a->folds) * KEY_WINDOW;
	bool all = f->function == COUNT_ALL;

	for (unsigned i = first; i < first + got; i++) {
		uint64_t *v = &w->values[i][f->word], n = *v;
		if (all || !row_null(a->op.context->input, w->rows[i], f->column))
			n++;
		if (n > INT64_MAX)
			return overflow(f, e);
		keyed_set(v, n);
		results[i] = n;
	}
	return ERR_OK;
}

static enum errc fold_rows(struct aggregate *a, const struct fold *f, const struct window *w,
			   unsigned first, unsigned got, struct err *e)
{
	uint64_t *results = a->results + (size_t)(f - a->folds) * KEY_WINDOW;
	uint64_t *nulls = &a->nulls[f - a->folds];

	if (f->function == COUNT_ALL || f->function == COUNT)
		return fold_count(a, f, w, first, got, e);
	for (unsigned i = first; i < first + got; i++) {
		uint64_t *v = &w->values[i][f->word];
		if (!row_null(a->op.context->input, w->rows[i], f->column) &&
		    !fold_value(f, v, w->rows[i]->slot[f->column]))
			return overflow(f, e);
		if (!v[0])
			*nulls |= UINT64_C(1) << i;
		results[i] =
			f->function == AVG && v[0] ? as_bits(as_double(v[1]) / (double)v[0]) : v[1];
	}
	return ERR_OK;
}

/* ---- keys ---- */

static void keys_take(struct aggregate *a, struct window *w)
{
	unsigned c = a->key.columns[0];
	size_t ends[KEY_WINDOW];

	key_hash_window(&a->key, w->rows, w->n, w->hashes);
	if (a->key.kind == KEY_INT64) {
		for (unsigned i = 0; i < w->n; i++)
			w->numbers[i] = row_i64(w->rows[i], c);
		return;
	}
	if (a->key.kind == KEY_TEXT) {
		for (unsigned i = 0; i < w->n; i++)
			w->texts[i].data = row_text(w->rows[i], c, &w->texts[i].len);
		return;
	}
	buf_clear(&a->canonical);
	for (unsigned i = 0; i < w->n; i++) {
		key_canonical(&a->key, w->rows[i], &a->canonical);
		ends[i] = a->canonical.len;
	}
	buf_add(&a->canonical, (const char[16]){0}, 16); /* keys are read in words */
	for (unsigned i = 0; i < w->n; i++) {
		size_t from = i ? ends[i - 1] : 0;
		w->texts[i] = (struct backend_bytes){a->canonical.data + from,
						     (uint32_t)(ends[i] - from)};
	}
}

static unsigned values_resolve(struct aggregate *a, struct window *w, unsigned at)
{
	uint64_t created;

	if (a->key.kind == KEY_INT64)
		return keyed_upsert_i64(a->state, w->numbers + at, w->hashes + at, w->n - at,
					w->values + at, &created);
	return keyed_upsert_bytes(a->state, w->texts + at, w->hashes + at, w->n - at,
				  w->values + at, &created);
}

/* ---- output ---- */

/* A key that is not null and results that are not null. */
static void emit_plain(struct aggregate *a, const struct window *w, struct op_out *out)
{
	bool text = a->key.kind == KEY_TEXT;
	size_t fixed = 16 + 8 * (size_t)a->n;

	for (unsigned i = 0; i < w->n; i++) {
		uint32_t len = text ? w->texts[i].len : 0;
		size_t padded = ((size_t)len + 7) & ~(size_t)7;
		uint64_t *r = op_out_row(out, fixed + padded);
		r[0] = (fixed + padded) / 8;
		if (text) {
			if (padded)
				r[(fixed + padded) / 8 - 1] = 0;
			memcpy((char *)r + fixed, w->texts[i].data, len);
			r[1] = fixed | (uint64_t)len << 32;
		} else {
			r[1] = (uint64_t)w->numbers[i];
		}
		for (unsigned k = 0; k < a->n; k++)
			r[2 + k] = a->results[k * KEY_WINDOW + i];
	}
}

/* The running minimum or maximum of strings: read, compare by bytes, replace. */
static enum errc text_fold(struct aggregate *a, struct fold *f, const struct window *w, unsigned i,
			   struct row_value *v, struct err *e)
{
	struct backend_key key = {w->hashes[i], w->numbers[i], w->texts[i]};
	struct backend_bytes best = keyed_get_bytes(f->text, &key), mine;

	v->null = true;
	if (!row_null(a->op.context->input, w->rows[i], f->column)) {
		mine.data = row_text(w->rows[i], f->column, &mine.len);
		uint32_t common = mine.len < best.len ? mine.len : best.len;
		int order = best.data && common ? memcmp(mine.data, best.data, common) : 0;
		if (order == 0)
			order = (mine.len > best.len) - (mine.len < best.len);
		if (!best.data || (f->function == MIN ? order < 0 : order > 0)) {
			enum errc code = keyed_put_bytes(f->text, &key, mine, e);
			if (code != ERR_OK)
				return code;
			best = mine;
		}
	}
	if (!best.data)
		return ERR_OK;
	buf_clear(&f->scratch);
	buf_add(&f->scratch, best.data, best.len);
	*v = (struct row_value){.len = best.len, .text = f->scratch.data ? f->scratch.data : ""};
	return ERR_OK;
}

static struct row_value column_value(const struct row_plan *p, const struct row *r, unsigned c)
{
	struct row_value v = {.null = row_null(p, r, c)};

	if (v.null)
		return v;
	if (p->types[c] == SPEC_STRING || p->types[c] == SPEC_BYTES)
		v.text = row_text(r, c, &v.len);
	else
		v.i64 = row_i64(r, c);
	return v;
}

static enum errc emit_any(struct aggregate *a, const struct window *w, struct op_out *out,
			  struct err *e)
{
	const struct op_context *c = a->op.context;
	enum errc code = ERR_OK;

	for (unsigned i = 0; i < w->n && code == ERR_OK; i++) {
		struct row_value *v = a->values;
		for (unsigned k = 0; k < a->key.n; k++)
			*v++ = column_value(c->input, w->rows[i], a->key.columns[k]);
		for (unsigned k = 0; k < a->n && code == ERR_OK; k++, v++) {
			*v = (struct row_value){.null = a->nulls[k] >> i & 1,
						.i64 = (int64_t)a->results[k * KEY_WINDOW + i]};
			if (a->folds[k].text)
				code = text_fold(a, &a->folds[k], w, i, v, e);
		}
		if (code == ERR_OK)
			code = op_emit(out, c->output, a->values, e);
	}
	return code;
}

/* ---- the window ---- */

static enum errc window_run(struct aggregate *a, struct window *w, struct op_out *out,
			    struct err *e)
{
	enum errc code = ERR_OK;

	keys_take(a, w);
	memset(a->nulls, 0, a->n * sizeof(*a->nulls));
	for (unsigned at = 0; at < w->n && code == ERR_OK && a->words;) {
		unsigned got = values_resolve(a, w, at);
		for (unsigned k = 0; k < a->n && code == ERR_OK; k++)
			if (!a->folds[k].text)
				code = fold_rows(a, &a->folds[k], w, at, got, e);
		at += got;
	}
	w->n = code == ERR_OK ? w->n : 0;
	if (a->plain)
		emit_plain(a, w, out);
	else if (code == ERR_OK)
		code = emit_any(a, w, out, e);
	return code;
}

static enum errc on_batch(struct op *o, const struct batch *in, struct op_out *out, struct err *e)
{
	struct aggregate *a = self(o);
	struct window w;
	enum errc code = ERR_OK;

	w.n = 0;
	memset(w.numbers, 0, sizeof(w.numbers));
	memset(w.texts, 0, sizeof(w.texts));
	batch_each(in, r)
	{
		w.rows[w.n++] = r;
		if (w.n < KEY_WINDOW)
			continue;
		code = window_run(a, &w, out, e);
		if (code != ERR_OK)
			return code;
		w.n = 0;
	}
	return w.n ? window_run(a, &w, out, e) : ERR_OK;
}

const struct op_type op_aggregate = {.name = "aggregate",
				     .size = sizeof(struct aggregate),
				     .keyed = true,
				     .open = open_aggregate,
				     .on_batch = on_batch,
				     .close = close_aggregate};
