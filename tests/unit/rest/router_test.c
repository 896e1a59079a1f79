/* Which route answers, and what a query says. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

#include "rest/reply.h"
#include "rest/router.h"

static void nothing(void *owner, struct world_request *r, const struct route_match *m)
{
	(void)owner, (void)r, (void)m;
}

static const struct route table[] = {
	{"GET", "/v1/jobs", nothing, false, true, "list"},
	{"GET", "/v1/jobs/overview", nothing, false, true, "overview"},
	{"GET", "/v1/jobs/:id", nothing, false, true, "one"},
	{"PATCH", "/v1/jobs/:id", nothing, false, true, "change"},
	{"GET", "/v1/jobs/:id/checkpoints/details/:cid", nothing, false, true, "two"},
	{"GET", "/healthz", nothing, true, true, "health"},
	{.method = NULL}};

static const char *found(const char *method, const char *path, struct route_match *m)
{
	switch (route_find(table, method, path, m)) {
	case ROUTE_FOUND:
		return m->route->help;
	case ROUTE_NOT_FOUND:
		return "404";
	case ROUTE_METHOD:
		return "405";
	}
	return "";
}

Test(router, finds)
{
	static const struct {
		const char *method, *path, *help;
	} rows[] = {{"GET", "/v1/jobs", "list"},
		    {"GET", "/jobs", "list"},
		    {"GET", "/v1/jobs/overview", "overview"},
		    {"GET", "/jobs/overview", "overview"},
		    {"GET", "/v1/jobs/x", "one"},
		    {"PATCH", "/jobs/x", "change"},
		    {"DELETE", "/jobs/x", "405"},
		    {"POST", "/jobs/overview", "405"},
		    {"GET", "/jobs/x/checkpoints/details/7", "two"},
		    {"GET", "/jobs/x/checkpoints/details", "404"},
		    {"GET", "/jobs/x/checkpoints/details/7/8", "404"},
		    {"GET", "/jobs//checkpoints/details/7", "404"},
		    {"GET", "/healthz", "health"},
		    {"GET", "/v1/healthz", "health"},
		    {"GET", "/v2/jobs", "404"},
		    {"GET", "/v1/Jobs", "404"},
		    {"GET", "/v1", "404"},
		    {"GET", "/", "404"},
		    {"GET", "", "404"},
		    {"GET", "jobs", "404"},
		    {"GET", "/job", "404"},
		    {"GET", "/jobsx", "404"}};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct route_match m;
		const char *help = found(rows[i].method, rows[i].path, &m);
		cr_expect(strcmp(help, rows[i].help) == 0, "%s %s: %s", rows[i].method,
			  rows[i].path, help);
	}
}

Test(router, parameters_in_order)
{
	struct route_match m;
	cr_assert(eq(int, route_find(table, "GET", "/jobs/a:b/checkpoints/details/7", &m), 0));
	cr_assert(eq(u32, m.n_params, 2));
	cr_assert(eq(str, m.params[0], "a:b"));
	cr_assert(eq(str, m.params[1], "7"));
}

Test(router, a_parameter_that_is_too_long_is_not_found)
{
	struct route_match m;
	char path[300] = "/jobs/";
	memset(path + 6, 'x', 200);
	path[206] = '\0';
	cr_assert(eq(int, route_find(table, "GET", path, &m), ROUTE_NOT_FOUND));
}

Test(router, queries)
{
	char out[8];
	cr_assert(route_query("mode=cancel", "mode", out, sizeof(out)));
	cr_assert(eq(str, out, "cancel"));
	cr_assert(route_query("a=1&mode=x%20y+z", "mode", out, sizeof(out)));
	cr_assert(eq(str, out, "x y z"));
	cr_assert(route_query("mode=&a=1", "mode", out, sizeof(out)));
	cr_assert(eq(str, out, ""));
	cr_assert(route_query("mode=%4", "mode", out, sizeof(out)));
	cr_assert(eq(str, out, "%4"));
	cr_assert(not(route_query("xmode=1", "mode", out, sizeof(out))));
	cr_assert(not(route_query("mode", "mode", out, sizeof(out))));
	cr_assert(not(route_query("", "mode", out, sizeof(out))));
	cr_assert(not(route_query("mode=12345678", "mode", out, sizeof(out))));
}

Test(reply, each_code_has_a_status)
{
	for (int code = ERR_OK + 1; code < ERR_COUNT; code++) {
		int status = reply_status((enum errc)code);
		cr_assert(status >= 400 && status <= 503);
	}
	cr_assert(eq(int, reply_status(ERR_UNKNOWN), 503));
	cr_assert(eq(int, reply_status(ERR_NOTFOUND), 404));
	cr_assert(eq(int, reply_status(ERR_EXISTS), 409));
}

Test(reply, an_error_is_one_array_and_nothing_else)
{
	json_t *o = reply_error_json("no \xff utf8");
	cr_assert(eq(sz, json_object_size(o), 1));
	cr_assert(eq(str,
		     (char *)json_string_value(json_array_get(json_object_get(o, "errors"), 0)),
		     "no ? utf8"));
	json_decref(o);
}
