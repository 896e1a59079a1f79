#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <string.h>

#include "base/err.h"

Test(err, set_records_code_and_text)
{
	struct err e = {0};
	cr_assert(eq(int, err_set(&e, ERR_LIMIT, "at most %d", 7), ERR_LIMIT));
	cr_assert(eq(int, e.code, ERR_LIMIT));
	cr_assert(eq(str, e.text, "at most 7"));
}

Test(err, every_function_takes_null)
{
	cr_assert(eq(int, err_set(NULL, ERR_IO, "x"), ERR_IO));
	cr_assert(eq(int, err_wrap(NULL, ERR_IO, "x"), ERR_IO));
	cr_assert(eq(int, err_errno(NULL, ENOENT, "x"), ERR_NOTFOUND));
}

Test(err, wrap_reads_from_the_outside_in)
{
	struct err e;
	err_set(&e, ERR_UNKNOWN, "reset after send");
	cr_assert(eq(int, err_wrap(&e, ERR_UNKNOWN, "etcd txn"), ERR_UNKNOWN));
	err_wrap(&e, ERR_CONFLICT, "seal checkpoint %d", 7);
	cr_assert(eq(str, e.text, "seal checkpoint 7: etcd txn: reset after send"));
	cr_assert(eq(int, e.code, ERR_CONFLICT));
}

Test(err, long_text_is_cut_and_ends_in_zero)
{
	struct err e;
	char text[2 * ERR_TEXT_MAX];
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	err_set(&e, ERR_IO, "%s", text);
	cr_assert(eq(sz, strlen(e.text), ERR_TEXT_MAX - 1));
	err_wrap(&e, ERR_IO, "%s", text);
	cr_assert(eq(sz, strlen(e.text), ERR_TEXT_MAX - 1));
	err_wrap(&e, ERR_IO, "short");
	cr_assert(eq(sz, strlen(e.text), ERR_TEXT_MAX - 1));
	cr_assert(eq(int, strncmp(e.text, "short: xxx", 10), 0));
}

Test(err, errno_is_told_apart)
{
	static const struct {
		int error;
		enum errc code;
	} cases[] = {{ENOENT, ERR_NOTFOUND}, {EACCES, ERR_DENIED}, {EPERM, ERR_DENIED},
		     {EEXIST, ERR_EXISTS},   {ENOSPC, ERR_IO},     {EIO, ERR_IO}};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct err e;
		cr_assert(eq(int, err_errno(&e, cases[i].error, "open %s", "f"), cases[i].code));
		cr_assert(eq(int, strncmp(e.text, "open f: ", 8), 0), "%s", e.text);
		cr_assert(ne(ptr, strstr(e.text, strerror(cases[i].error)), NULL));
	}
}

Test(err, the_class_is_the_contract)
{
	cr_assert(eq(int, err_class(ERR_OK), ERR_CLASS_NONE));
	cr_assert(eq(int, err_class(ERR_NOTSENT), ERR_CLASS_RETRY));
	cr_assert(eq(int, err_class(ERR_UNKNOWN), ERR_CLASS_VERIFY));
	cr_assert(eq(int, err_class(ERR_CONFLICT), ERR_CLASS_VERIFY));
	cr_assert(eq(int, err_class(ERR_FENCED), ERR_CLASS_STOP));
	cr_assert(eq(int, err_class(ERR_INVALID), ERR_CLASS_REJECT));
	for (int i = ERR_OK; i < ERR_COUNT; i++) {
		cr_assert(ne(str, (char *)err_name((enum errc)i), ""));
		cr_assert(ne(str, (char *)err_text((enum errc)i), ""));
	}
}
