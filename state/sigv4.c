#include "state/sigv4.h"

#include <assert.h>
#include <ctype.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/text.h"

enum { MAC_BYTES = 32 };

void sigv4_date(int64_t unix_s, char out[SIGV4_DATE])
{
	time_t t = (time_t)unix_s;
	struct tm tm;
	size_t n;

	gmtime_r(&t, &tm);
	n = strftime(out, SIGV4_DATE, "%Y%m%dT%H%M%SZ", &tm);
	assert(n == SIGV4_DATE - 1);
}

void sigv4_hash(const void *data, size_t len, char out[SIGV4_HASH])
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned n = 0;
	int ok = EVP_Digest(data, len, digest, &n, EVP_sha256(), NULL);

	assert(ok && n == MAC_BYTES);
	text_hex(digest, n, out);
}

/* ---- query ---- */

struct encoded {
	struct buf name, value;
};

static int by_name(const void *left, const void *right)
{
	const struct encoded *a = left, *b = right;
	int order = strcmp(a->name.data, b->name.data);

	return order ? order : strcmp(a->value.data, b->value.data);
}

static void encode(struct buf *out, const char *text)
{
	buf_text(out, "");
	text_percent(out, text, false);
}

void sigv4_query(const struct sigv4_request *r, struct buf *out)
{
	struct encoded all[SIGV4_QUERY_MAX] = {0};

	assert(r->n_query <= SIGV4_QUERY_MAX);
	buf_text(out, "");
	for (unsigned i = 0; i < r->n_query; i++) {
		encode(&all[i].name, r->query[i].name);
		encode(&all[i].value, r->query[i].value);
	}
	qsort(all, r->n_query, sizeof(all[0]), by_name);
	for (unsigned i = 0; i < r->n_query; i++) {
		buf_printf(out, "%s%s=%s", i ? "&" : "", all[i].name.data, all[i].value.data);
		buf_fini(&all[i].name);
		buf_fini(&all[i].value);
	}
}

/* ---- headers ---- */

static int by_header(const void *left, const void *right)
{
	const struct sigv4_pair *a = left, *b = right;

	return strcasecmp(a->name, b->name);
}

static void lower(struct buf *out, const char *name)
{
	for (; *name; name++) {
		char c = (char)tolower((unsigned char)*name);

		buf_add(out, &c, 1);
	}
}

/* Without white space at the ends, runs of it as one blank. */
static void trimmed(struct buf *out, const char *value)
{
	bool blank = false, any = false;

	for (; *value; value++) {
		if (*value == ' ' || *value == '\t') {
			blank = true;
			continue;
		}
		if (blank && any)
			buf_text(out, " ");
		blank = false;
		any = true;
		buf_add(out, value, 1);
	}
}

static void sorted_headers(const struct sigv4_request *r, struct sigv4_pair out[SIGV4_HEADERS_MAX])
{
	assert(r->n_headers <= SIGV4_HEADERS_MAX);
	memcpy(out, r->headers, r->n_headers * sizeof(*out));
	qsort(out, r->n_headers, sizeof(*out), by_header);
}

/* "host;x-amz-date" */
static void signed_names(const struct sigv4_request *r, struct buf *out)
{
	struct sigv4_pair headers[SIGV4_HEADERS_MAX];

	sorted_headers(r, headers);
	for (unsigned i = 0; i < r->n_headers; i++) {
		if (i)
			buf_text(out, ";");
		lower(out, headers[i].name);
	}
}

void sigv4_canonical(const struct sigv4_request *r, struct buf *out)
{
	struct sigv4_pair headers[SIGV4_HEADERS_MAX];

	buf_printf(out, "%s\n%s\n", r->method, r->path);
	sigv4_query(r, out);
	buf_text(out, "\n");
	sorted_headers(r, headers);
	for (unsigned i = 0; i < r->n_headers; i++) {
		lower(out, headers[i].name);
		buf_text(out, ":");
		trimmed(out, headers[i].value);
		buf_text(out, "\n");
	}
	buf_text(out, "\n");
	signed_names(r, out);
	buf_printf(out, "\n%s", r->payload_hash);
}

/* ---- signature ---- */

static void mac(const void *key, size_t key_len, const char *text, unsigned char out[MAC_BYTES])
{
	unsigned n = 0;
	unsigned char *done = HMAC(EVP_sha256(), key, (int)key_len, (const unsigned char *)text,
				   strlen(text), out, &n);

	assert(done && n == MAC_BYTES);
}

static void signing_key(const struct sigv4_keys *k, const char *day, unsigned char out[MAC_BYTES])
{
	struct buf secret = {0};

	buf_printf(&secret, "AWS4%s", k->secret_key);
	mac(secret.data, secret.len, day, out);
	mac(out, MAC_BYTES, k->region, out);
	mac(out, MAC_BYTES, k->service, out);
	mac(out, MAC_BYTES, "aws4_request", out);
	OPENSSL_cleanse(secret.data, secret.len);
	buf_fini(&secret);
}

void sigv4_sign(const struct sigv4_request *r, const struct sigv4_keys *k, const char *date,
		struct buf *out)
{
	struct buf canonical = {0}, scope = {0}, to_sign = {0}, names = {0};
	char day[9] = {0}, hash[SIGV4_HASH], signature[SIGV4_HASH];
	unsigned char key[MAC_BYTES], digest[MAC_BYTES];

	memcpy(day, date, 8);
	sigv4_canonical(r, &canonical);
	sigv4_hash(canonical.data, canonical.len, hash);
	buf_printf(&scope, "%s/%s/%s/aws4_request", day, k->region, k->service);
	buf_printf(&to_sign, "AWS4-HMAC-SHA256\n%s\n%s\n%s", date, scope.data, hash);
	signing_key(k, day, key);
	mac(key, sizeof(key), to_sign.data, digest);
	text_hex(digest, sizeof(digest), signature);
	signed_names(r, &names);
	buf_printf(out, "AWS4-HMAC-SHA256 Credential=%s/%s,SignedHeaders=%s,Signature=%s",
		   k->access_key, scope.data, names.data, signature);
	OPENSSL_cleanse(key, sizeof(key));
	buf_fini(&canonical);
	buf_fini(&scope);
	buf_fini(&to_sign);
	buf_fini(&names);
}
