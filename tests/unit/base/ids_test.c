#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

#include "base/ids.h"

Test(ids, a_job_id_is_32_lower_case_digits)
{
	struct job_id id;
	cr_assert(eq(int, job_id_parse("0123456789abcdef0123456789abcdef", &id, NULL), ERR_OK));
	cr_assert(eq(str, id.hex, "0123456789abcdef0123456789abcdef"));
	static const char *const bad[] = {"",
					  "0123456789abcdef0123456789abcde",
					  "0123456789abcdef0123456789abcdef0",
					  "0123456789ABCDEF0123456789abcdef",
					  "0123456789abcdeg0123456789abcdef",
					  "0123456789abcdef 123456789abcdef"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct err e = {0};
		cr_expect(eq(int, job_id_parse(bad[i], &id, &e), ERR_INVALID), "%s", bad[i]);
		cr_expect(ne(str, e.text, ""));
	}
	cr_assert(eq(str, id.hex, "0123456789abcdef0123456789abcdef"));
}

Test(ids, make_and_compare)
{
	struct job_id a, b;
	job_id_make(0, 1, &a);
	cr_assert(eq(str, a.hex, "00000000000000000000000000000001"));
	job_id_make(UINT64_MAX, 0xabc, &b);
	cr_assert(eq(str, b.hex, "ffffffffffffffff0000000000000abc"));
	cr_assert(job_id_equal(&a, &a));
	cr_assert(not(job_id_equal(&a, &b)));
}

Test(ids, node_ids)
{
	char text[65];
	memset(text, 'a', 64);
	text[64] = '\0';
	cr_assert(eq(int, node_id_check(text, NULL), ERR_INVALID));
	text[63] = '\0';
	cr_assert(eq(int, node_id_check(text, NULL), ERR_OK));
	cr_assert(eq(int, node_id_check("", NULL), ERR_INVALID));
	cr_assert(eq(int, node_id_check("jm-1.az_B", NULL), ERR_OK));
	cr_assert(eq(int, node_id_check("jm/1", NULL), ERR_INVALID));
	cr_assert(eq(int, node_id_check("jm 1", NULL), ERR_INVALID));
	cr_assert(eq(int, node_id_check("j\xc3\xa9", NULL), ERR_INVALID));
}
