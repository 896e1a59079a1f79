#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"

static json_t *parsed(const char *text)
{
	json_t *v = NULL;
	struct err e = {0};
	cr_assert(eq(int, json_parse(text, strlen(text), &v, &e), ERR_OK), "%s", e.text);
	return v;
}

Test(json, malformed_text_names_the_place)
{
	json_t *v = NULL;
	struct err e = {0};
	const char *text = "{\"a\": 1,\n \"b\": }";
	cr_assert(eq(int, json_parse(text, strlen(text), &v, &e), ERR_INVALID));
	cr_assert(eq(ptr, v, NULL));
	cr_assert(ne(ptr, strstr(e.text, "line 2"), NULL), "%s", e.text);
}

Test(json, duplicates_and_garbage_are_refused)
{
	static const char *const bad[] = {
		"{\"a\":1,\"a\":2}", "",         "{} x", "[1,]", "\"\\u0000\"",
		"{\"a\":1e999}",     "\"\xff\"", "nul"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		json_t *v = NULL;
		cr_expect(eq(int, json_parse(bad[i], strlen(bad[i]), &v, NULL), ERR_INVALID), "%s",
			  bad[i]);
	}
}

Test(json, text_keeps_the_order_of_members)
{
	json_t *v = parsed("{\"z\": 1, \"a\": [true, null]}");
	char *text = json_text(v);
	cr_assert(eq(str, text, "{\"z\":1,\"a\":[true,null]}"));
	free(text);
	json_decref(v);
}

Test(json, a_missing_member_is_named_with_its_path)
{
	json_t *v = parsed("{}"), *out = NULL;
	struct err e = {0};
	cr_assert(eq(int, json_need(v, "operators[2]", "uid", &out, &e), ERR_INVALID));
	cr_assert(eq(str, e.text, "operators[2].uid: is missing"));
	cr_assert(eq(int, json_need(v, "", "uid", &out, &e), ERR_INVALID));
	cr_assert(eq(str, e.text, "uid: is missing"));
	json_decref(v);
}

Test(json, integers_are_bounded_inclusively)
{
	json_t *v = parsed("{\"n\": 5, \"f\": 5.0, \"s\": \"5\"}");
	int64_t n = -1;
	cr_assert(eq(int, json_get_i64(v, "", "n", 5, 5, &n, NULL), ERR_OK));
	cr_assert(eq(i64, n, 5));
	cr_assert(eq(int, json_get_i64(v, "", "n", 6, 9, &n, NULL), ERR_INVALID));
	cr_assert(eq(int, json_get_i64(v, "", "n", 1, 4, &n, NULL), ERR_INVALID));
	cr_assert(eq(int, json_get_i64(v, "", "f", 1, 9, &n, NULL), ERR_INVALID));
	cr_assert(eq(int, json_get_i64(v, "", "s", 1, 9, &n, NULL), ERR_INVALID));
	cr_assert(eq(int, json_get_i64(v, "", "none", 1, 9, &n, NULL), ERR_INVALID));
	cr_assert(eq(int, json_get_i64_or(v, "", "none", 1, 9, 77, &n, NULL), ERR_OK));
	cr_assert(eq(i64, n, 77));
	json_decref(v);
}

Test(json, texts_and_booleans)
{
	json_t *v = parsed("{\"t\": \"x\", \"b\": true, \"n\": null}");
	const char *t = NULL;
	bool b = false;
	cr_assert(eq(int, json_get_text(v, "", "t", &t, NULL), ERR_OK));
	cr_assert(eq(str, (char *)t, "x"));
	cr_assert(eq(int, json_get_text(v, "", "b", &t, NULL), ERR_INVALID));
	cr_assert(eq(int, json_get_text_or(v, "", "n", "d", &t, NULL), ERR_INVALID));
	cr_assert(eq(int, json_get_text_or(v, "", "none", "d", &t, NULL), ERR_OK));
	cr_assert(eq(str, (char *)t, "d"));
	cr_assert(eq(int, json_get_bool_or(v, "", "b", false, &b, NULL), ERR_OK));
	cr_assert(b);
	cr_assert(eq(int, json_get_bool_or(v, "", "t", false, &b, NULL), ERR_INVALID));
	cr_assert(eq(int, json_get_bool_or(v, "", "none", false, &b, NULL), ERR_OK));
	cr_assert(not(b));
	json_decref(v);
}

Test(json, durations_name_the_field)
{
	json_t *v = parsed("{\"interval\": \"10s\", \"bad\": \"soon\", \"n\": 10}");
	uint64_t ms = 0;
	struct err e = {0};
	cr_assert(eq(int, json_get_ms_or(v, "", "interval", 1, &ms, NULL), ERR_OK));
	cr_assert(eq(u64, ms, 10000));
	cr_assert(eq(int, json_get_ms_or(v, "checkpointing", "bad", 1, &ms, &e), ERR_INVALID));
	cr_assert(eq(int, strncmp(e.text, "checkpointing.bad: ", 19), 0), "%s", e.text);
	cr_assert(eq(int, json_get_ms_or(v, "", "n", 1, &ms, NULL), ERR_INVALID));
	cr_assert(eq(int, json_get_ms_or(v, "", "none", 7, &ms, NULL), ERR_OK));
	cr_assert(eq(u64, ms, 7));
	json_decref(v);
}

Test(json, u64_travels_as_text_or_integer)
{
	json_t *v = parsed("{\"t\": \"18446744073709551615\", \"n\": 3, \"m\": -1, \"x\": \"-1\"}");
	uint64_t n = 0;
	cr_assert(eq(int, json_get_u64(v, "", "t", &n, NULL), ERR_OK));
	cr_assert(eq(u64, n, UINT64_MAX));
	cr_assert(eq(int, json_get_u64(v, "", "n", &n, NULL), ERR_OK));
	cr_assert(eq(u64, n, 3));
	cr_assert(eq(int, json_get_u64(v, "", "m", &n, NULL), ERR_INVALID));
	cr_assert(eq(int, json_get_u64(v, "", "x", &n, NULL), ERR_INVALID));
	cr_assert(eq(int, json_get_u64(v, "", "none", &n, NULL), ERR_INVALID));
	json_decref(v);
}

Test(json, unknown_members_are_named)
{
	static const char *const names[] = {"a", "b", NULL};
	json_t *good = parsed("{\"b\": 1}"), *bad = parsed("{\"a\": 1, \"c\": 1}"),
	       *list = parsed("[]");
	struct err e = {0};
	cr_assert(eq(int, json_only(good, "", names, NULL), ERR_OK));
	cr_assert(eq(int, json_only(bad, "restart", names, &e), ERR_INVALID));
	cr_assert(eq(str, e.text, "restart.c: unknown field"));
	cr_assert(eq(int, json_only(list, "", names, &e), ERR_INVALID));
	cr_assert(eq(str, e.text, "the document: must be an object"));
	json_decref(good);
	json_decref(bad);
	json_decref(list);
}
