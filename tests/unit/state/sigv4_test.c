#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

#include "state/s3_answer.h"
#include "state/sigv4.h"

/* AWS's published vectors: the Signature Version 4 test suite, and the examples of S3's
 * documentation ("Signature Calculations for the Authorization Header"). */

static const struct sigv4_keys suite_keys = {
	"AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "us-east-1", "service"};
static const struct sigv4_keys s3_keys = {
	"AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "us-east-1", "s3"};

#define EMPTY_HASH "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

static void expect(const struct sigv4_request *r, const struct sigv4_keys *k, const char *date,
		   const char *signature)
{
	struct buf out = {0};

	sigv4_sign(r, k, date, &out);
	cr_assert(strstr(out.data, signature) != NULL, "%s", out.data);
	buf_fini(&out);
}

Test(sigv4, date)
{
	char date[SIGV4_DATE];

	sigv4_date(1369353600, date);
	cr_assert(eq(str, date, "20130524T000000Z"));
}

Test(sigv4, get_vanilla)
{
	struct sigv4_request r = {
		.method = "GET",
		.path = "/",
		.payload_hash = EMPTY_HASH,
		.headers = {{"Host", "example.amazonaws.com"}, {"X-Amz-Date", "20150830T123600Z"}},
		.n_headers = 2};

	expect(&r, &suite_keys, "20150830T123600Z",
	       "Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31");
}

Test(sigv4, get_vanilla_query_order_key_case)
{
	struct sigv4_request r = {
		.method = "GET",
		.path = "/",
		.payload_hash = EMPTY_HASH,
		.query = {{"Param2", "value2"}, {"Param1", "value1"}},
		.n_query = 2,
		.headers = {{"Host", "example.amazonaws.com"}, {"X-Amz-Date", "20150830T123600Z"}},
		.n_headers = 2};

	expect(&r, &suite_keys, "20150830T123600Z",
	       "Signature=b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500");
}

Test(sigv4, get_header_value_trim)
{
	struct sigv4_request r = {.method = "GET",
				  .path = "/",
				  .payload_hash = EMPTY_HASH,
				  .headers = {{"Host", "example.amazonaws.com"},
					      {"My-Header1", " value1"},
					      {"My-Header2", " \"a   b   c\""},
					      {"X-Amz-Date", "20150830T123600Z"}},
				  .n_headers = 4};

	expect(&r, &suite_keys, "20150830T123600Z",
	       "Signature=acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736");
}

Test(sigv4, s3_get_object)
{
	struct sigv4_request r = {.method = "GET",
				  .path = "/test.txt",
				  .payload_hash = EMPTY_HASH,
				  .headers = {{"Host", "examplebucket.s3.amazonaws.com"},
					      {"Range", "bytes=0-9"},
					      {"x-amz-content-sha256", EMPTY_HASH},
					      {"x-amz-date", "20130524T000000Z"}},
				  .n_headers = 4};

	expect(&r, &s3_keys, "20130524T000000Z",
	       "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
}

Test(sigv4, s3_put_object)
{
	char hash[SIGV4_HASH];

	sigv4_hash("Welcome to Amazon S3.", 21, hash);
	struct sigv4_request r = {.method = "PUT",
				  .path = "/test%24file.text",
				  .payload_hash = hash,
				  .headers = {{"x-amz-storage-class", "REDUCED_REDUNDANCY"},
					      {"Date", "Fri, 24 May 2013 00:00:00 GMT"},
					      {"Host", "examplebucket.s3.amazonaws.com"},
					      {"x-amz-date", "20130524T000000Z"},
					      {"x-amz-content-sha256", hash}},
				  .n_headers = 5};

	expect(&r, &s3_keys, "20130524T000000Z",
	       "Signature=98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd");
}

Test(sigv4, s3_bucket_lifecycle)
{
	struct sigv4_request r = {.method = "GET",
				  .path = "/",
				  .payload_hash = EMPTY_HASH,
				  .query = {{"lifecycle", ""}},
				  .n_query = 1,
				  .headers = {{"Host", "examplebucket.s3.amazonaws.com"},
					      {"x-amz-content-sha256", EMPTY_HASH},
					      {"x-amz-date", "20130524T000000Z"}},
				  .n_headers = 3};

	expect(&r, &s3_keys, "20130524T000000Z",
	       "Signature=fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");
}

Test(sigv4, s3_list_objects)
{
	struct sigv4_request r = {.method = "GET",
				  .path = "/",
				  .payload_hash = EMPTY_HASH,
				  .query = {{"prefix", "J"}, {"max-keys", "2"}},
				  .n_query = 2,
				  .headers = {{"Host", "examplebucket.s3.amazonaws.com"},
					      {"x-amz-content-sha256", EMPTY_HASH},
					      {"x-amz-date", "20130524T000000Z"}},
				  .n_headers = 3};

	expect(&r, &s3_keys, "20130524T000000Z",
	       "Signature=34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
}

Test(sigv4, query_is_encoded)
{
	struct sigv4_request r = {.query = {{"prefix", "a b/c+d=e&f"}, {"delete", ""}},
				  .n_query = 2};
	struct buf out = {0};

	sigv4_query(&r, &out);
	cr_assert(eq(str, out.data, "delete=&prefix=a%20b%2Fc%2Bd%3De%26f"));
	buf_fini(&out);
}

/* ---- answers ---- */

Test(s3_answer, error)
{
	const char *xml = "<?xml version=\"1.0\"?><Error xmlns=\"http://s3.amazonaws.com/doc/\">"
			  "<Code>NoSuchKey</Code><Message></Message></Error>";
	struct s3_answer a = {0};

	cr_assert(not(s3_answer_parse(xml, strlen(xml), &a, NULL)));
	cr_assert(eq(str, a.root, "Error"));
	cr_assert(eq(str, a.code, "NoSuchKey"));
	s3_answer_fini(&a);
}

Test(s3_answer, listing)
{
	const char *xml = "<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">"
			  "<IsTruncated>true</IsTruncated>"
			  "<NextContinuationToken>a&amp;b</NextContinuationToken>"
			  "<Contents><Key>x&lt;&#233;</Key></Contents>"
			  "<Contents><Key>y</Key></Contents></ListBucketResult>";
	struct s3_answer a = {0};

	cr_assert(not(s3_answer_parse(xml, strlen(xml), &a, NULL)));
	cr_assert(a.truncated);
	cr_assert(eq(str, a.next, "a&b"));
	cr_assert(eq(sz, a.keys.n, 2));
	cr_assert(eq(str, a.keys.names[0], "x<\xc3\xa9"));
	s3_answer_fini(&a);
}

Test(s3_answer, bad_input)
{
	static const char deep[] =
		"<a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a/></a></a></a></a></a>"
		"</a></a></a></a></a></a></a></a></a></a></a>";
	const char *bad[] = {"",
			     "<a>",
			     "<a></b>",
			     "hello",
			     "<!DOCTYPE a [<!ENTITY x \"yyyyyyyy\">]><Code>&x;</Code>",
			     deep};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct s3_answer a = {0};

		cr_assert(eq(int, s3_answer_parse(bad[i], strlen(bad[i]), &a, NULL), ERR_CORRUPT),
			  "%s", bad[i]);
		s3_answer_fini(&a);
	}
}
