/* docs/rest.md lists the routes that there are. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "jobmanager/node_inside.h"

static void print(struct buf *out, const struct route *table)
{
	buf_text(out, "| method | path | | what |\n|---|---|---|---|\n");
	for (const struct route *r = table; r->method; r++)
		buf_printf(out, "| %s | `%s` | %s%s%s | %s |\n", r->method, r->pattern,
			   r->local ? "local" : "", r->local && r->repeatable ? ", " : "",
			   r->repeatable ? "repeatable" : "", r->help);
}

static void check(const char *docs, const char *from, const char *to, const struct route *table)
{
	struct buf want;
	buf_init(&want, 0);
	print(&want, table);
	const char *a = strstr(docs, from), *b = strstr(docs, to);
	cr_assert(a && b);
	a += strlen(from);
	bool same = (size_t)(b - a) == want.len && memcmp(a, want.data, want.len) == 0;
	cr_expect(same, "put this between the marks of docs/rest.md:\n%s", want.data);
	buf_fini(&want);
}

Test(routes, the_documentation_lists_them)
{
	FILE *f = fopen(SOURCE_DIR "/docs/rest.md", "r");
	cr_assert(f != NULL);
	char *docs = mem_alloc(1 << 20);
	size_t n = fread(docs, 1, (1 << 20) - 1, f);
	docs[n] = '\0';
	fclose(f);
	check(docs, "<!-- routes -->\n", "<!-- end of routes -->", api_routes);
	check(docs, "<!-- cluster routes -->\n", "<!-- end of cluster routes -->", cluster_routes);
	free(docs);
}
