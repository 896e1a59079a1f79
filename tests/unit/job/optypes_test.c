/* The table of operator types, and that the documentation is what it prints. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "job/optypes.h"

Test(optypes, every_row_is_complete)
{
	const struct optype *t;
	unsigned n = 0;
	for (; (t = optype_at(n)) != NULL; n++) {
		cr_assert(optype_find(t->name) == t);
		cr_assert(t->help && t->schema && t->options);
		cr_assert(eq(int, t->kind == OPTYPE_SINK, t->output == NULL));
		cr_assert(eq(int, t->kind == OPTYPE_SOURCE, t->n_inputs == 0));
		for (const struct optype_option *o = t->options; o->name; o++) {
			cr_assert(o->help != NULL);
			cr_assert(not(o->required && o->fallback));
			cr_assert(eq(int, o->type == OPTYPE_CHOICE, o->choices != NULL));
		}
	}
	cr_assert(eq(u32, n, 11));
	cr_assert(optype_find("source.nothing") == NULL);
}

/* A default that its own rule refuses would break every job that leaves the option out. */
Test(optypes, every_default_is_acceptable)
{
	const struct optype *t;
	for (unsigned i = 0; (t = optype_at(i)) != NULL; i++) {
		for (const struct optype_option *o = t->options; o->name; o++) {
			if (o->fallback == NULL)
				continue;
			json_t *given = json_loads(o->fallback, JSON_DECODE_ANY, NULL);
			json_t *normal = NULL;
			struct err e;
			cr_assert(given != NULL, "%s.%s", t->name, o->name);
			cr_assert(
				eq(int, optype_option_normal(o, given, NULL, "x", &normal, &e), 0),
				"%s", e.text);
			json_decref(given);
			json_decref(normal);
		}
	}
}

Test(optypes, paths)
{
	static const char *const good[] = {"a", "a/b.txt", "a..b", "...", "./a", "a//b", "a/"};
	static const char *const bad[] = {"", "/", "/a", "..", "../a", "a/..", "a/../b", "a\nb"};
	struct err e;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		cr_expect(eq(int, optype_path_check(good[i], &e), ERR_OK), "%s", good[i]);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_expect(eq(int, optype_path_check(bad[i], &e), ERR_INVALID), "%s", bad[i]);
}

Test(optypes, patterns)
{
	static const char *const good[] = {"",    "a",      "^[a-z]+$", "a{2,30}b{3}",
					   "\\{", "[{]{5}", "(a|b)*"};
	static const char *const bad[] = {"(", "[a", "a{1001}", "(a{40}){40}", "a**{9999}", "\\"};
	struct err e;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		cr_expect(eq(int, optype_regex_check(good[i], &e), ERR_OK), "%s", good[i]);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_expect(eq(int, optype_regex_check(bad[i], &e), ERR_INVALID), "%s", bad[i]);
}

static char *documentation(void)
{
	FILE *f = fopen(SOURCE_DIR "/docs/job-specification.md", "r");
	cr_assert(f != NULL);
	char *text = mem_alloc(1 << 20);
	size_t n = fread(text, 1, (1 << 20) - 1, f);
	text[n] = '\0';
	fclose(f);
	return text;
}

Test(optypes, the_documentation_is_what_the_table_prints)
{
	struct buf want;
	buf_init(&want, 0);
	optypes_markdown(&want);
	char *docs = documentation();
	char *from = strstr(docs, "<!-- operator types -->\n");
	char *to = strstr(docs, "<!-- end of operator types -->");
	cr_assert(from && to);
	from += strlen("<!-- operator types -->\n");
	bool same = (size_t)(to - from) == want.len && memcmp(from, want.data, want.len) == 0;
	cr_assert(same, "put this between the marks of docs/job-specification.md:\n%s", want.data);
	buf_fini(&want);
	free(docs);
}
