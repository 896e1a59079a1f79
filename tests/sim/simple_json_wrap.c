/*
 * Puts simple_json in front of jansson in one program: linked with
 * --wrap=json_loadb, json_loads and json_dumps, every call of these from the
 * program's own objects comes here first (not those within jansson).
 */
#include <jansson.h>
#include <string.h>

#include "simple_json.h"

/* The names that the linker's --wrap gives. */
// NOLINTBEGIN(bugprone-reserved-identifier)
json_t *__real_json_loadb(const char *text, size_t len, size_t flags, json_error_t *error);
char *__real_json_dumps(const json_t *value, size_t flags);
json_t *__wrap_json_loadb(const char *text, size_t len, size_t flags, json_error_t *error);
json_t *__wrap_json_loads(const char *text, size_t flags, json_error_t *error);
char *__wrap_json_dumps(const json_t *value, size_t flags);

json_t *__wrap_json_loadb(const char *text, size_t len, size_t flags, json_error_t *error)
{
	size_t used;
	json_t *value = simple_json_load(text, len, flags, &used);
	if (!value)
		return __real_json_loadb(text, len, flags, error);
	if (error)
		error->position = (int)used;
	return value;
}

json_t *__wrap_json_loads(const char *text, size_t flags, json_error_t *error)
{
	return __wrap_json_loadb(text, strlen(text), flags, error);
}

char *__wrap_json_dumps(const json_t *value, size_t flags)
{
	char *text = simple_json_dump(value, flags);
	return text ? text : __real_json_dumps(value, flags);
}
// NOLINTEND(bugprone-reserved-identifier)
