#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdint.h>
#include <string.h>

#include "base/text.h"

static const uint64_t untouched = 0xfeedface;

struct number_case {
	const char *text;
	enum errc code;
	uint64_t value;
};

typedef enum errc (*parser)(const char *text, uint64_t *out, struct err *e);

static void check(parser parse, const struct number_case *cases, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct err e = {0};
		uint64_t got = untouched;
		enum errc rc = parse(cases[i].text, &got, &e);
		cr_expect(eq(int, rc, cases[i].code), "\"%s\": %s", cases[i].text, e.text);
		uint64_t want = cases[i].code ? untouched : cases[i].value;
		cr_expect(eq(u64, got, want), "\"%s\"", cases[i].text);
	}
}

#define CHECK(parse, ...)                                                                          \
	do {                                                                                       \
		const struct number_case cases[] = {__VA_ARGS__};                                  \
		check(parse, cases, sizeof(cases) / sizeof(cases[0]));                             \
	} while (0)

Test(text, durations)
{
	CHECK(text_duration_ms, {"0ms", ERR_OK, 0}, {"1ms", ERR_OK, 1}, {"10s", ERR_OK, 10000},
	      {"1min", ERR_OK, 60000}, {"2h", ERR_OK, 7200000}, {"365d", ERR_OK, 31536000000},
	      {"366d", ERR_INVALID, 0}, {"10", ERR_INVALID, 0}, {"", ERR_INVALID, 0},
	      {"s", ERR_INVALID, 0}, {"-1s", ERR_INVALID, 0}, {"+1s", ERR_INVALID, 0},
	      {" 1s", ERR_INVALID, 0}, {"1s ", ERR_INVALID, 0}, {"1 s", ERR_INVALID, 0},
	      {"1.5s", ERR_INVALID, 0}, {"1m", ERR_INVALID, 0}, {"1S", ERR_INVALID, 0},
	      {"99999999999999999999s", ERR_INVALID, 0}, {"31536000000ms", ERR_OK, 31536000000},
	      {"31536000001ms", ERR_INVALID, 0});
}

Test(text, sizes)
{
	CHECK(text_size, {"0", ERR_OK, 0}, {"17", ERR_OK, 17}, {"17B", ERR_OK, 17},
	      {"1KiB", ERR_OK, 1024}, {"64MiB", ERR_OK, 67108864}, {"1GiB", ERR_OK, 1073741824},
	      {"1048576GiB", ERR_OK, UINT64_C(1) << 50}, {"1048577GiB", ERR_INVALID, 0},
	      {"1KB", ERR_INVALID, 0}, {"1kib", ERR_INVALID, 0}, {"", ERR_INVALID, 0},
	      {"MiB", ERR_INVALID, 0}, {"18446744073709551616", ERR_INVALID, 0});
}

Test(text, whole_numbers)
{
	CHECK(text_u64, {"0", ERR_OK, 0}, {"007", ERR_OK, 7},
	      {"18446744073709551615", ERR_OK, UINT64_MAX},
	      {"18446744073709551616", ERR_INVALID, 0}, {"-1", ERR_INVALID, 0},
	      {"+1", ERR_INVALID, 0}, {"", ERR_INVALID, 0}, {" 1", ERR_INVALID, 0},
	      {"1 ", ERR_INVALID, 0}, {"0x10", ERR_INVALID, 0});
}

Test(text, integers)
{
	int64_t n = 5;
	cr_assert(eq(int, text_i64("-9223372036854775808", &n, NULL), ERR_OK));
	cr_assert(eq(i64, n, INT64_MIN));
	cr_assert(eq(int, text_i64("9223372036854775807", &n, NULL), ERR_OK));
	cr_assert(eq(i64, n, INT64_MAX));
	static const char *const bad[] = {
		"9223372036854775808", "-9223372036854775809", "-", "--1", "", "1e3", "- 1"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_expect(eq(int, text_i64(bad[i], &n, NULL), ERR_INVALID), "%s", bad[i]);
	cr_assert(eq(i64, n, INT64_MAX));
}

Test(text, hexadecimal_there_and_back)
{
	const unsigned char data[] = {0x00, 0x7f, 0x80, 0xff, 0xa5};
	char hex[11];
	unsigned char back[5];
	text_hex(data, 5, hex);
	cr_assert(eq(str, hex, "007f80ffa5"));
	cr_assert(text_unhex("007F80ffA5", back, 5));
	cr_assert(eq(int, memcmp(back, data, 5), 0));
	cr_assert(not(text_unhex("007f80ffa", back, 5)));
	cr_assert(not(text_unhex("007f80ffa5a5", back, 5)));
	cr_assert(not(text_unhex("007f80ffag", back, 5)));
	cr_assert(text_unhex("", back, 0));
}

Test(text, a_checksum_as_it_is_written)
{
	uint64_t sum = 0;
	cr_assert(text_hex64("0123456789abcdeF", &sum));
	cr_assert(eq(u64, sum, UINT64_C(0x0123456789abcdef)));
	cr_assert(not(text_hex64("0123456789abcde", &sum)));
	cr_assert(not(text_hex64("0123456789abcdef0", &sum)));
	cr_assert(not(text_hex64("0123456789abcdeg", &sum)));
}

Test(text, base64_vectors_of_rfc_4648)
{
	static const char *const vectors[][2] = {{"", ""},
						 {"f", "Zg=="},
						 {"fo", "Zm8="},
						 {"foo", "Zm9v"},
						 {"foob", "Zm9vYg=="},
						 {"fooba", "Zm9vYmE="},
						 {"foobar", "Zm9vYmFy"}};
	for (size_t i = 0; i < 7; i++) {
		struct buf b = {0}, back = {0};
		buf_text(&b, "");
		buf_text(&back, "");
		text_base64(&b, vectors[i][0], strlen(vectors[i][0]));
		cr_expect(eq(str, b.data, (char *)vectors[i][1]));
		cr_expect(eq(int, text_unbase64(b.data, &back, NULL), ERR_OK));
		cr_expect(eq(str, back.data, (char *)vectors[i][0]));
		cr_expect(eq(sz, back.len, strlen(vectors[i][0])));
		buf_fini(&b);
		buf_fini(&back);
	}
}

Test(text, base64_refuses_what_is_not)
{
	static const char *const bad[] = {
		"Zg", "Zg=", "Zg==\n", " Zg==", "Z===", "Zm9v-_", "====", "Zm 9v", "*g=="};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct buf b = {0};
		cr_expect(eq(int, text_unbase64(bad[i], &b, NULL), ERR_INVALID), "\"%s\"", bad[i]);
		cr_expect(eq(sz, b.len, 0));
		buf_fini(&b);
	}
}

Test(text, percent_encoding)
{
	struct buf b = {0};
	text_percent(&b, "a/b c~\xc3\xa9", true);
	cr_assert(eq(str, b.data, "a/b%20c~%C3%A9"));
	buf_clear(&b);
	text_percent(&b, "a/b", false);
	cr_assert(eq(str, b.data, "a%2Fb"));
	buf_fini(&b);
}

Test(text, distance)
{
	cr_assert(eq(uint, text_distance("", ""), 0));
	cr_assert(eq(uint, text_distance("", "abc"), 3));
	cr_assert(eq(uint, text_distance("abc", ""), 3));
	cr_assert(eq(uint, text_distance("kitten", "sitting"), 3));
	cr_assert(eq(uint, text_distance("parallelism", "paralelism"), 1));
	cr_assert(eq(uint, text_distance("minPause", "minpause"), 0));
	char longest[64], beyond[65];
	memset(longest, 'a', 63);
	longest[63] = '\0';
	memset(beyond, 'a', 64);
	beyond[64] = '\0';
	cr_assert(eq(uint, text_distance(longest, longest), 0));
	cr_assert(eq(uint, text_distance(beyond, beyond), 64));
}

Test(text, starts_and_ends)
{
	cr_assert(text_starts("abc", ""));
	cr_assert(text_starts("abc", "abc"));
	cr_assert(not(text_starts("ab", "abc")));
	cr_assert(text_ends("abc", "bc"));
	cr_assert(text_ends("abc", ""));
	cr_assert(not(text_ends("bc", "abc")));
}
