#include "tests/sim/simple_json.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/prng.h"

static unsigned written_alike; /* texts that both wrote; each test is a process of its own */

/* What simple_json writes, jansson has to write alike. */
static void writes_alike(const json_t *value)
{
	char *expected = json_dumps(value, JSON_COMPACT);
	char *written = simple_json_dump(value, JSON_COMPACT);
	cr_assert(written == NULL || strcmp(written, expected) == 0, "%s\n%s", written, expected);
	written_alike += written != NULL;
	free(written);
	free(expected);
}

/* Where simple_json gives an answer, jansson has to give the same. True: it gave one. */
static bool agrees(const char *text, size_t len, size_t flags)
{
	size_t used = 0;
	json_error_t error;
	json_t *ours = simple_json_load(text, len, flags, &used);
	json_t *theirs = json_loadb(text, len, flags, &error);
	if (ours) {
		cr_assert(ne(ptr, theirs, NULL), "taken, and malformed: %.*s", (int)len, text);
		cr_assert(json_equal(ours, theirs), "read otherwise: %.*s", (int)len, text);
		cr_assert(eq(sz, used, (size_t)error.position), "%.*s", (int)len, text);
	}
	if (json_is_object(theirs) || json_is_array(theirs))
		writes_alike(theirs);
	bool answered = ours != NULL;
	json_decref(ours);
	json_decref(theirs);
	return answered;
}

static const char *const simple[] = {
	"{}",
	"[]",
	" \r\n\t{ \"a\" : [ 1 , -2 , 0 , -0 ] } ",
	"{\"a\":999999999999999999,\"b\":-999999999999999999,\"c\":[true,false,null]}",
	"[\"\",\"seven..\",\"eight...\",\"nine.....\",\"\x7f\"]",
	"{\"kvs\":[{\"key\":\"L3dlaXIvc2ltL2xlYWRlci8=\",\"mod_revision\":\"12\"}],\"count\":\"1\"}",
	"{\"rate\":0.25,\"deep\":[1e3,-1.5E-7,{\"x\":2.0}]}",
	"{\"\":{\"\":{}}}",
};

Test(simple_json, takes_what_is_simple)
{
	for (size_t i = 0; i < sizeof(simple) / sizeof(simple[0]); i++)
		cr_expect(agrees(simple[i], strlen(simple[i]), JSON_REJECT_DUPLICATES), "%s",
			  simple[i]);
	cr_expect(eq(uint, written_alike, sizeof(simple) / sizeof(simple[0])));
}

Test(simple_json, leaves_the_rest_to_jansson)
{
	static const char *const rest[] = {"",
					   "1",
					   "\"text\"",
					   "null",
					   "{\"a\":1,\"a\":2}",
					   "[\"\\n\"]",
					   "[\"\xc3\xa9\"]",
					   "[\"\t\"]",
					   "[\"open",
					   "[1234567890123456789]",
					   "[01]",
					   "[-]",
					   "[1.]",
					   "[+1]",
					   "[1e999]",
					   "[1,]",
					   "[,1]",
					   "{\"a\"}",
					   "{\"a\":}",
					   "{\"a\":1,}",
					   "{a:1}",
					   "[tru]",
					   "[true",
					   "[]]",
					   "{} x",
					   "[1 2]"};
	for (size_t i = 0; i < sizeof(rest) / sizeof(rest[0]); i++)
		cr_expect(not(agrees(rest[i], strlen(rest[i]), JSON_REJECT_DUPLICATES)), "%s",
			  rest[i]);
	cr_expect(not(agrees("[]\0", 3, 0)), "a zero byte behind the end");
	cr_expect(not(agrees("[]", 2, JSON_ALLOW_NUL)), "a flag that it does not know");
}

Test(simple_json, stops_behind_the_first_of_several)
{
	const char *text = "{\"a\":1} {\"b\":2}";
	size_t used = 0;
	json_t *o = simple_json_load(text, strlen(text), JSON_DISABLE_EOF_CHECK, &used);
	cr_assert(ne(ptr, o, NULL));
	cr_expect(eq(sz, used, 7));
	json_decref(o);
	cr_expect(agrees(text, strlen(text), JSON_DISABLE_EOF_CHECK));
}

Test(simple_json, depth_is_bounded)
{
	char text[2 * (SIMPLE_DEPTH + 2)];
	for (size_t depth = SIMPLE_DEPTH - 1; depth <= SIMPLE_DEPTH + 1; depth++) {
		memset(text, '[', depth);
		text[depth] = '1';
		memset(text + depth + 1, ']', depth);
		cr_expect(eq(int, agrees(text, 2 * depth + 1, 0), depth <= SIMPLE_DEPTH));
	}
}

/* One byte of a text replaced, put in or taken away, some times over. */
static size_t damage(char *text, size_t len, struct prng *p)
{
	static const char bytes[] = "\"\\{}[]:,0123456789-+.eE truefalsn\x01\x1f\x80\xff\n";
	for (uint64_t n = prng_below(p, 4); n > 0 && len > 1; n--) {
		size_t at = (size_t)prng_below(p, len);
		size_t how = (size_t)prng_below(p, 3);
		if (how == 1)
			memmove(text + at, text + at + 1, --len - at);
		if (how == 2)
			memmove(text + at + 1, text + at, len++ - at);
		if (how != 1)
			text[at] = bytes[prng_below(p, sizeof(bytes))];
	}
	return len;
}

Test(simple_json, damaged_text_is_read_as_jansson_reads_it)
{
	struct prng p;
	unsigned taken = 0;
	prng_init(&p, 7);
	for (unsigned i = 0; i < 100000; i++) {
		char text[256];
		const char *from = simple[i % (sizeof(simple) / sizeof(simple[0]))];
		size_t len = strlen(from);
		memcpy(text, from, len);
		len = damage(text, len, &p);
		taken += agrees(text, len, i % 2 ? JSON_REJECT_DUPLICATES : JSON_DISABLE_EOF_CHECK);
	}
	cr_expect(gt(uint, taken, 10000), "only %u were read", taken);
	cr_expect(gt(uint, written_alike, 10000), "only %u were written", written_alike);
}

/* What the writer may not write itself: strings that need an escape, deep trees. */
Test(simple_json, text_that_needs_an_escape_is_not_written)
{
	json_t *o = json_pack("{s:s}", "a", "say \"no\"");
	cr_expect(eq(ptr, simple_json_dump(o, JSON_COMPACT), NULL));
	cr_expect(eq(ptr, simple_json_dump(json_object_get(o, "a"), JSON_COMPACT | JSON_ENCODE_ANY),
		     NULL));
	json_decref(o);
	o = json_pack("{s:I,s:I,s:f}", "least", INT64_MIN, "most", INT64_MAX, "half", 0.5);
	char *text = simple_json_dump(o, JSON_COMPACT);
	cr_expect(eq(str, text,
		     "{\"least\":-9223372036854775808,"
		     "\"most\":9223372036854775807,\"half\":0.5}"));
	cr_expect(eq(ptr, simple_json_dump(o, JSON_INDENT(2)), NULL));
	free(text);
	json_decref(o);
}
