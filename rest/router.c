#include "rest/router.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

/* The next part of a path: its length; *path moves behind it and its slash. */
static size_t part(const char **path, const char **out)
{
	const char *p = *path;
	size_t n = strcspn(p, "/");
	*out = p;
	*path = p[n] == '/' ? p + n + 1 : p + n;
	return n;
}

static bool fits(const char *pattern, const char *path, struct route_match *m)
{
	m->n_params = 0;
	while (*pattern && *path) {
		const char *want, *have;
		size_t n_want = part(&pattern, &want), n_have = part(&path, &have);
		if (want[0] != ':') {
			if (n_want != n_have || memcmp(want, have, n_want) != 0)
				return false;
			continue;
		}
		if (n_have == 0 || n_have >= ROUTE_PARAM_BYTES || m->n_params == ROUTE_PARAMS_MAX)
			return false;
		memcpy(m->params[m->n_params], have, n_have);
		m->params[m->n_params++][n_have] = '\0';
	}
	return *pattern == '\0' && *path == '\0';
}

enum route_result route_find(const struct route *table, const char *method, const char *path,
			     struct route_match *out)
{
	enum route_result result = ROUTE_NOT_FOUND;
	const char *bare = text_starts(path, "/v1/") ? path + 3 : path;
	if (bare[0] != '/')
		return result;
	for (const struct route *r = table; r->method; r++) {
		const char *pattern = text_starts(r->pattern, "/v1/") ? r->pattern + 3 : r->pattern;
		if (!fits(pattern + 1, bare + 1, out))
			continue;
		if (strcmp(r->method, method) == 0) {
			out->route = r;
			return ROUTE_FOUND;
		}
		result = ROUTE_METHOD;
	}
	return result;
}

static bool decode(const char *from, size_t len, char *out, size_t size)
{
	size_t n = 0;
	for (size_t i = 0; i < len; i++) {
		if (n + 1 >= size)
			return false;
		if (from[i] == '%' && i + 2 < len && isxdigit((unsigned char)from[i + 1]) &&
		    isxdigit((unsigned char)from[i + 2])) {
			const char hex[3] = {from[i + 1], from[i + 2], '\0'};
			out[n++] = (char)strtol(hex, NULL, 16);
			i += 2;
		} else {
			out[n++] = from[i] == '+' ? ' ' : from[i];
		}
	}
	out[n] = '\0';
	return true;
}

bool route_query(const char *query, const char *name, char *out, size_t size)
{
	size_t n_name = strlen(name);
	for (const char *p = query; *p;) {
		size_t n = strcspn(p, "&");
		if (n > n_name && memcmp(p, name, n_name) == 0 && p[n_name] == '=')
			return decode(p + n_name + 1, n - n_name - 1, out, size);
		p += n + (p[n] == '&');
	}
	return false;
}
