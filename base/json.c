#include "base/json.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"

static const char *dot(const char *at)
{
	return at[0] ? "." : "";
}

enum errc json_parse(const char *text, size_t len, json_t **out, struct err *e)
{
	json_error_t error;
	json_t *value = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
	if (value == NULL)
		return err_set(e, ERR_INVALID, "malformed JSON at line %d, column %d: %s",
			       error.line, error.column, error.text);
	*out = value;
	return ERR_OK;
}

char *json_text(const json_t *value)
{
	char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
	return text ? text : mem_text("null");
}

enum errc json_need(const json_t *o, const char *at, const char *name, json_t **out, struct err *e)
{
	json_t *value = json_object_get(o, name);
	if (value == NULL)
		return err_set(e, ERR_INVALID, "%s%s%s: is missing", at, dot(at), name);
	*out = value;
	return ERR_OK;
}

enum errc json_get_text_or(const json_t *o, const char *at, const char *name, const char *fallback,
			   const char **out, struct err *e)
{
	const json_t *value = json_object_get(o, name);
	if (value == NULL) {
		*out = fallback;
		return ERR_OK;
	}
	if (!json_is_string(value))
		return err_set(e, ERR_INVALID, "%s%s%s: must be a string", at, dot(at), name);
	*out = json_string_value(value);
	return ERR_OK;
}

enum errc json_get_text(const json_t *o, const char *at, const char *name, const char **out,
			struct err *e)
{
	json_t *value;
	enum errc rc = json_need(o, at, name, &value, e);
	return rc ? rc : json_get_text_or(o, at, name, NULL, out, e);
}

enum errc json_get_i64_or(const json_t *o, const char *at, const char *name, int64_t min,
			  int64_t max, int64_t fallback, int64_t *out, struct err *e)
{
	const json_t *value = json_object_get(o, name);
	if (value == NULL) {
		*out = fallback;
		return ERR_OK;
	}
	if (!json_is_integer(value))
		return err_set(e, ERR_INVALID, "%s%s%s: must be an integer", at, dot(at), name);
	int64_t n = json_integer_value(value);
	if (n < min || n > max)
		return err_set(e, ERR_INVALID,
			       "%s%s%s: must be from %" PRId64 " to %" PRId64 ", is %" PRId64, at,
			       dot(at), name, min, max, n);
	*out = n;
	return ERR_OK;
}

enum errc json_get_i64(const json_t *o, const char *at, const char *name, int64_t min, int64_t max,
		       int64_t *out, struct err *e)
{
	json_t *value;
	enum errc rc = json_need(o, at, name, &value, e);
	return rc ? rc : json_get_i64_or(o, at, name, min, max, 0, out, e);
}

enum errc json_get_bool_or(const json_t *o, const char *at, const char *name, bool fallback,
			   bool *out, struct err *e)
{
	const json_t *value = json_object_get(o, name);
	if (value && !json_is_boolean(value))
		return err_set(e, ERR_INVALID, "%s%s%s: must be true or false", at, dot(at), name);
	*out = value ? json_is_true(value) : fallback;
	return ERR_OK;
}

enum errc json_get_ms_or(const json_t *o, const char *at, const char *name, uint64_t fallback,
			 uint64_t *out, struct err *e)
{
	const char *text;
	enum errc rc = json_get_text_or(o, at, name, NULL, &text, e);
	if (rc)
		return rc;
	if (text == NULL) {
		*out = fallback;
		return ERR_OK;
	}
	rc = text_duration_ms(text, out, e);
	return rc ? err_wrap(e, rc, "%s%s%s", at, dot(at), name) : ERR_OK;
}

enum errc json_get_u64(const json_t *o, const char *at, const char *name, uint64_t *out,
		       struct err *e)
{
	json_t *value;
	enum errc rc = json_need(o, at, name, &value, e);
	if (rc)
		return rc;
	if (json_is_integer(value) && json_integer_value(value) >= 0) {
		*out = (uint64_t)json_integer_value(value);
		return ERR_OK;
	}
	if (!json_is_string(value))
		return err_set(e, ERR_INVALID, "%s%s%s: must be a whole number", at, dot(at), name);
	rc = text_u64(json_string_value(value), out, e);
	return rc ? err_wrap(e, rc, "%s%s%s", at, dot(at), name) : ERR_OK;
}

enum errc json_only(const json_t *o, const char *at, const char *const names[], struct err *e)
{
	if (!json_is_object(o))
		return err_set(e, ERR_INVALID, "%s: must be an object",
			       at[0] ? at : "the document");
	for (void *it = json_object_iter((json_t *)(uintptr_t)o); it;
	     it = json_object_iter_next((json_t *)(uintptr_t)o, it)) {
		const char *key = json_object_iter_key(it);
		const char *const *name = names;
		while (*name && strcmp(*name, key) != 0)
			name++;
		if (*name == NULL)
			return err_set(e, ERR_INVALID, "%s%s%.60s: unknown field", at, dot(at),
				       key);
	}
	return ERR_OK;
}
