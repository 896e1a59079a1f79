/* Options of operators: from what a user wrote to the normal form, and the getters that read it. */
#include <assert.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/text.h"
#include "job/optypes.h"

enum {
	PATHS_MAX = 1000,
	PATH_MAX_BYTES = 1024,
	REGEX_MAX_BYTES = 1000,
	REGEX_REPEAT_MAX = 1000,
	AGGREGATES_MAX = 100,
	COLUMN_NAME_MAX = 128
};

const char *optype_option_type_name(enum optype_option_type type)
{
	static const char *const names[] = {[OPTYPE_TEXT] = "string",
					    [OPTYPE_INT] = "integer",
					    [OPTYPE_BOOL] = "boolean",
					    [OPTYPE_MS] = "duration",
					    [OPTYPE_BYTES] = "size",
					    [OPTYPE_CHOICE] = "one of",
					    [OPTYPE_PATH] = "path",
					    [OPTYPE_PATHS] = "path or array of paths",
					    [OPTYPE_COLUMN] = "column",
					    [OPTYPE_REGEX] = "regular expression",
					    [OPTYPE_AGGREGATES] = "array of aggregates"};
	return names[type];
}

/* ---- getters ---- */

static const json_t *member(const struct spec_operator *op, const char *name)
{
	const json_t *value = json_object_get(op->options, name);
	assert(value != NULL);
	return value;
}

const char *optype_text(const struct spec_operator *op, const char *name)
{
	return json_string_value(member(op, name));
}

int64_t optype_int(const struct spec_operator *op, const char *name)
{
	return json_integer_value(member(op, name));
}

bool optype_bool(const struct spec_operator *op, const char *name)
{
	return json_is_true(member(op, name));
}

const json_t *optype_array(const struct spec_operator *op, const char *name)
{
	return member(op, name);
}

/* ---- texts with rules of their own ---- */

enum errc optype_path_check(const char *path, struct err *e)
{
	size_t len = strlen(path);
	if (len == 0)
		return err_set(e, ERR_INVALID, "is empty");
	if (len > PATH_MAX_BYTES)
		return err_set(e, ERR_INVALID, "is longer than %d bytes", PATH_MAX_BYTES);
	if (path[0] == '/')
		return err_set(e, ERR_INVALID,
			       "\"%.80s\" leaves the files root: it must be relative", path);
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)path[i] < 0x20 || path[i] == 0x7f)
			return err_set(e, ERR_INVALID, "contains a control character");
	for (const char *part = path; part != NULL;) {
		const char *slash = strchr(part, '/');
		size_t n = slash ? (size_t)(slash - part) : strlen(part);
		if (n == 2 && part[0] == '.' && part[1] == '.')
			return err_set(e, ERR_INVALID,
				       "\"%.80s\" leaves the files root: \"..\" is not allowed",
				       path);
		part = slash ? slash + 1 : NULL;
	}
	return ERR_OK;
}

/* The product of all upper bounds of {m,n} in the pattern; nesting multiplies, and so does this. */
static uint64_t repetitions(const char *p)
{
	uint64_t product = 1;
	for (; *p && product <= REGEX_REPEAT_MAX; p++) {
		if (*p == '\\' && p[1] != '\0') {
			p++;
			continue;
		}
		if (*p != '{')
			continue;
		uint64_t largest = 1, n = 0;
		for (p++; *p && *p != '}'; p++) {
			n = *p >= '0' && *p <= '9' && n < 100000 ? n * 10 + (uint64_t)(*p - '0')
								 : 0;
			largest = n > largest ? n : largest;
		}
		product *= largest;
		if (*p == '\0')
			break;
	}
	return product;
}

enum errc optype_regex_check(const char *pattern, struct err *e)
{
	if (strlen(pattern) > REGEX_MAX_BYTES)
		return err_set(e, ERR_INVALID, "is longer than %d bytes", REGEX_MAX_BYTES);
	if (repetitions(pattern) > REGEX_REPEAT_MAX)
		return err_set(e, ERR_INVALID, "its repetitions multiply to more than %d",
			       REGEX_REPEAT_MAX);
	regex_t compiled;
	int rc = regcomp(&compiled, pattern, REG_EXTENDED | REG_NOSUB);
	if (rc == 0) {
		regfree(&compiled);
		return ERR_OK;
	}
	char why[128];
	regerror(rc, &compiled, why, sizeof(why));
	return err_set(e, ERR_INVALID, "not a regular expression: %s", why);
}

/* ---- normal forms: each takes the given value and the path of the option ---- */

static enum errc need_text(const json_t *given, const char *what, const char **out, struct err *e)
{
	if (!json_is_string(given))
		return err_set(e, ERR_INVALID, "must be %s", what);
	*out = json_string_value(given);
	return ERR_OK;
}

static enum errc text_normal(const struct optype_option *o, const json_t *given, json_t **out,
			     struct err *e)
{
	const char *text;
	enum errc rc = need_text(given, "a string", &text, e);
	if (rc)
		return rc;
	size_t len = strlen(text);
	if (len < (size_t)o->min || len > (size_t)o->max)
		return err_set(e, ERR_INVALID, "must have from %d to %d bytes, has %zu",
			       (int)o->min, (int)o->max, len);
	*out = json_string(text);
	return ERR_OK;
}

static enum errc within(const struct optype_option *o, int64_t n, json_t **out, struct err *e)
{
	if (n < o->min || n > o->max)
		return err_set(e, ERR_INVALID, "must be from %lld to %lld, is %lld",
			       (long long)o->min, (long long)o->max, (long long)n);
	*out = json_integer(n);
	return ERR_OK;
}

static enum errc int_normal(const struct optype_option *o, const json_t *given, json_t **out,
			    struct err *e)
{
	if (!json_is_integer(given))
		return err_set(e, ERR_INVALID, "must be an integer");
	return within(o, json_integer_value(given), out, e);
}

static enum errc ms_normal(const struct optype_option *o, const json_t *given, json_t **out,
			   struct err *e)
{
	const char *text;
	uint64_t ms = 0;
	enum errc rc = need_text(given, "a duration such as \"10s\"", &text, e);
	if (rc == ERR_OK)
		rc = text_duration_ms(text, &ms, e);
	return rc ? rc : within(o, (int64_t)ms, out, e);
}

static enum errc bytes_normal(const struct optype_option *o, const json_t *given, json_t **out,
			      struct err *e)
{
	if (json_is_integer(given))
		return within(o, json_integer_value(given), out, e);
	const char *text;
	uint64_t bytes = 0;
	enum errc rc = need_text(given, "a size such as \"64MiB\"", &text, e);
	if (rc == ERR_OK)
		rc = text_size(text, &bytes, e);
	return rc ? rc : within(o, (int64_t)bytes, out, e);
}

static enum errc choice_normal(const struct optype_option *o, const json_t *given, json_t **out,
			       struct err *e)
{
	const char *text;
	enum errc rc = need_text(given, "a string", &text, e);
	if (rc)
		return rc;
	struct buf all;
	buf_init(&all, 200);
	for (const char *const *c = o->choices; *c; c++) {
		if (strcmp(*c, text) == 0) {
			buf_fini(&all);
			*out = json_string(text);
			return ERR_OK;
		}
		buf_printf(&all, "%s%s", c == o->choices ? "" : ", ", *c);
	}
	rc = err_set(e, ERR_INVALID, "must be one of %s, is \"%.40s\"", all.data, text);
	buf_fini(&all);
	return rc;
}

static enum errc path_normal(const json_t *given, json_t **out, struct err *e)
{
	const char *text;
	enum errc rc = need_text(given, "a string", &text, e);
	if (rc == ERR_OK)
		rc = optype_path_check(text, e);
	if (rc == ERR_OK)
		*out = json_string(text);
	return rc;
}

static enum errc paths_normal(const json_t *given, const char *at, json_t **out, struct err *e)
{
	bool many = json_is_array(given);
	size_t n = many ? json_array_size(given) : 1;
	if (n == 0 || n > PATHS_MAX)
		return err_set(e, ERR_INVALID, "%s: must have from 1 to %d elements", at,
			       PATHS_MAX);
	json_t *all = json_array();
	for (size_t i = 0; i < n; i++) {
		json_t *one = NULL;
		enum errc rc = path_normal(many ? json_array_get(given, i) : given, &one, e);
		if (rc) {
			json_decref(all);
			return many ? err_wrap(e, rc, "%s[%zu]", at, i) : err_wrap(e, rc, "%s", at);
		}
		json_array_append_new(all, one);
	}
	*out = all;
	return ERR_OK;
}

static enum errc column_of(const struct spec_schema *in, const char *name, struct err *e)
{
	if (spec_schema_find(in, name) >= 0)
		return ERR_OK;
	struct buf all;
	buf_init(&all, 200);
	for (unsigned i = 0; i < in->n; i++)
		buf_printf(&all, "%s%s", i ? ", " : "", in->columns[i].name);
	enum errc rc = err_set(e, ERR_INVALID, "the input has no column \"%.60s\" (it has: %s)",
			       name, all.len ? all.data : "none");
	buf_fini(&all);
	return rc;
}

static enum errc column_normal(const json_t *given, const struct spec_schema *in, json_t **out,
			       struct err *e)
{
	const char *name;
	enum errc rc = need_text(given, "the name of a column", &name, e);
	if (rc == ERR_OK)
		rc = column_of(in, name, e);
	if (rc)
		return rc;
	const struct spec_column *c = &in->columns[spec_schema_find(in, name)];
	if (c->type != SPEC_STRING)
		return err_set(e, ERR_INVALID, "column \"%s\" is of type %s, not string", name,
			       spec_type_name(c->type));
	*out = json_string(name);
	return ERR_OK;
}

static enum errc regex_normal(const json_t *given, json_t **out, struct err *e)
{
	const char *text;
	enum errc rc = need_text(given, "a string", &text, e);
	if (rc == ERR_OK)
		rc = optype_regex_check(text, e);
	if (rc == ERR_OK)
		*out = json_string(text);
	return rc;
}

static const char *const functions[] = {"count", "sum", "min", "max", "avg", NULL};

/* Of one aggregate: the function that it names; an error if there is none, or more than one. */
static enum errc function_of(const json_t *given, const char **out, struct err *e)
{
	const char *found = NULL;
	for (const char *const *f = functions; *f; f++) {
		if (json_object_get(given, *f) == NULL)
			continue;
		if (found != NULL)
			return err_set(e, ERR_INVALID, "names two functions, %s and %s", found, *f);
		found = *f;
	}
	if (found == NULL)
		return err_set(e, ERR_INVALID, "names no function (count, sum, min, max, avg)");
	*out = found;
	return ERR_OK;
}

static enum errc aggregate_normal(const json_t *given, const char *at, const struct spec_schema *in,
				  json_t *all, struct err *e)
{
	static const char *const known[] = {"count", "sum", "min", "max", "avg", "as", NULL};
	const char *function = NULL, *column = NULL, *as = NULL;
	enum errc rc = json_only(given, at, known, e);
	if (rc)
		return rc;
	rc = function_of(given, &function, e);
	if (rc)
		return err_wrap(e, rc, "%s", at);
	rc = json_get_text(given, at, function, &column, e);
	if (rc == ERR_OK)
		rc = json_get_text(given, at, "as", &as, e);
	if (rc)
		return rc;
	bool star = strcmp(column, "*") == 0;
	if (star && strcmp(function, "count") != 0)
		return err_set(e, ERR_INVALID, "%s.%s: \"*\" can only be counted", at, function);
	rc = star ? ERR_OK : column_of(in, column, e);
	if (rc)
		return err_wrap(e, rc, "%s.%s", at, function);
	if (as[0] == '\0' || strlen(as) > COLUMN_NAME_MAX)
		return err_set(e, ERR_INVALID, "%s.as: must have from 1 to %d bytes", at,
			       COLUMN_NAME_MAX);
	json_t *one = json_object();
	json_object_set_new(one, "function", json_string(function));
	json_object_set_new(one, "column", star ? json_null() : json_string(column));
	json_object_set_new(one, "as", json_string(as));
	json_array_append_new(all, one);
	return ERR_OK;
}

static enum errc aggregates_normal(const json_t *given, const struct spec_schema *in,
				   const char *at, json_t **out, struct err *e)
{
	size_t n = json_array_size(given);
	if (n == 0 || n > AGGREGATES_MAX)
		return err_set(e, ERR_INVALID, "%s: must be an array of 1 to %d aggregates", at,
			       AGGREGATES_MAX);
	json_t *all = json_array();
	enum errc rc = ERR_OK;
	for (size_t i = 0; rc == ERR_OK && i < n; i++) {
		char path[160];
		snprintf(path, sizeof(path), "%s[%zu]", at, i);
		rc = aggregate_normal(json_array_get(given, i), path, in, all, e);
	}
	if (rc)
		json_decref(all);
	else
		*out = all;
	return rc;
}

/* Everything but arrays, whose errors name a place below the option. */
static enum errc plain_normal(const struct optype_option *o, const json_t *given,
			      const struct spec_schema *in, json_t **out, struct err *e)
{
	switch (o->type) {
	case OPTYPE_TEXT:
		return text_normal(o, given, out, e);
	case OPTYPE_INT:
		return int_normal(o, given, out, e);
	case OPTYPE_BOOL:
		if (!json_is_boolean(given))
			return err_set(e, ERR_INVALID, "must be true or false");
		*out = json_boolean(json_is_true(given));
		return ERR_OK;
	case OPTYPE_MS:
		return ms_normal(o, given, out, e);
	case OPTYPE_BYTES:
		return bytes_normal(o, given, out, e);
	case OPTYPE_CHOICE:
		return choice_normal(o, given, out, e);
	case OPTYPE_PATH:
		return path_normal(given, out, e);
	case OPTYPE_COLUMN:
		return column_normal(given, in, out, e);
	case OPTYPE_REGEX:
		return regex_normal(given, out, e);
	case OPTYPE_PATHS:
	case OPTYPE_AGGREGATES:
		break;
	}
	return err_set(e, ERR_INVALID, "has no plain form");
}

enum errc optype_option_normal(const struct optype_option *option, const json_t *given,
			       const struct spec_schema *in, const char *at, json_t **out,
			       struct err *e)
{
	char path[128];
	snprintf(path, sizeof(path), "%s.%s", at, option->name);
	if (option->type == OPTYPE_AGGREGATES)
		return aggregates_normal(given, in, path, out, e);
	if (option->type == OPTYPE_PATHS)
		return paths_normal(given, path, out, e);
	enum errc rc = plain_normal(option, given, in, out, e);
	return rc ? err_wrap(e, rc, "%s", path) : ERR_OK;
}
