#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

Test(buf, the_zero_value_is_usable)
{
	struct buf b = {0};
	buf_text(&b, "ab");
	buf_add(&b, "c\0d", 3);
	buf_printf(&b, "%d", 42);
	cr_assert(eq(sz, b.len, 7));
	cr_assert(eq(int, memcmp(b.data, "abc\0d42", 8), 0));
	buf_fini(&b);
	buf_fini(&b);
	buf_text(&b, "again");
	cr_assert(eq(str, b.data, "again"));
	buf_fini(&b);
}

Test(buf, an_empty_append_makes_data)
{
	struct buf b = {0};
	buf_text(&b, "");
	cr_assert(ne(ptr, b.data, NULL));
	cr_assert(eq(str, b.data, ""));
	buf_fini(&b);
}

Test(buf, the_limit_is_exact_and_changes_nothing_beyond)
{
	struct buf b;
	buf_init(&b, 4);
	buf_text(&b, "abcd");
	cr_assert(not(b.full));
	buf_text(&b, "e");
	cr_assert(b.full);
	cr_assert(eq(str, b.data, "abcd"));
	buf_text(&b, "");
	cr_assert(b.full, "full stays until clear");
	buf_clear(&b);
	cr_assert(not(b.full));
	buf_printf(&b, "%s", "12345");
	cr_assert(b.full);
	cr_assert(eq(sz, b.len, 0));
	cr_assert(eq(ptr, buf_reserve(&b, 5), NULL));
	cr_assert(ne(ptr, buf_reserve(&b, 4), NULL));
	cr_assert(eq(ptr, buf_reserve(&b, (size_t)-1), NULL), "no overflow");
	buf_fini(&b);
	cr_assert(eq(sz, b.max, 4), "the limit outlives fini");
}

Test(buf, reserve_then_grew)
{
	struct buf b = {0};
	char *to = buf_reserve(&b, 100);
	memset(to, 'x', 100);
	buf_grew(&b, 60);
	cr_assert(eq(sz, b.len, 60));
	cr_assert(eq(sz, strlen(b.data), 60));
	buf_fini(&b);
}

Test(buf, shift_removes_from_the_front)
{
	struct buf b = {0};
	buf_shift(&b, 0);
	buf_text(&b, "hello");
	buf_shift(&b, 2);
	cr_assert(eq(str, b.data, "llo"));
	buf_shift(&b, 3);
	cr_assert(eq(str, b.data, ""));
	buf_fini(&b);
}

Test(buf, take_hands_the_bytes_over)
{
	struct buf b = {.max = 9};
	size_t len = 99;
	char *nothing = buf_take(&b, &len);
	cr_assert(eq(str, nothing, ""));
	cr_assert(eq(sz, len, 0));
	free(nothing);
	buf_text(&b, "bytes");
	char *taken = buf_take(&b, NULL);
	cr_assert(eq(str, taken, "bytes"));
	cr_assert(eq(sz, b.len, 0));
	cr_assert(eq(sz, b.max, 9));
	free(taken);
}

Test(buf, grows_over_many_appends)
{
	struct buf b = {0};
	for (int i = 0; i < 10000; i++)
		buf_printf(&b, "%04d", i % 10000);
	cr_assert(eq(sz, b.len, 40000));
	cr_assert(eq(int, memcmp(b.data + 39996, "9999", 5), 0));
	buf_fini(&b);
}
