#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/mem.h"
#include "base/text.h"
#include "state/s3_call.h"
#include "state/s3_credentials.h"
#include "state/storage_impl.h"

enum {
	PART_MIN = 5 << 20, /* the smallest that S3 takes, but for the last one */
	PART_DEFAULT = 8 << 20,
	PART_MAX = 1 << 30,
	PARTS_MAX = 10000, /* S3's */
	LIST_PAGE_BYTES = 8 << 20,
	OBJECT_MAX = 1 << 30 /* of one request */
};

struct s3_upload {
	struct storage_upload base;
	char *key, *name;
	char *id; /* of the multipart upload; NULL: none begun */
	struct buf part;
	size_t part_bytes;
	char (*etags)[S3_ETAG_MAX]; /* owns */
	unsigned n_parts, capacity;
	bool committed;
};

static struct s3 *of(struct storage *s)
{
	return MEM_OWNER(s, struct s3, base);
}

static char *key_of(const struct s3 *s, const char *name)
{
	return mem_printf("%s%s", s->prefix, name);
}

static void query(struct s3_request *r, const char *name, const char *value)
{
	r->query[r->n_query++] = (struct sigv4_pair){name, value};
}

/* ---- reading ---- */

static enum errc s3_get(struct storage *storage, const char *name, size_t max, struct buf *out,
			struct err *e)
{
	struct s3 *s = of(storage);
	char *key = key_of(s, name);
	struct s3_request r = {.method = "GET", .key = key, .reply_max = max};
	struct s3_reply reply = {0};
	enum errc code = s3_call(s, &r, &reply, e);

	if (!code)
		buf_add(out, reply.body.data, reply.body.len);
	s3_reply_fini(&reply);
	free(key);
	return code;
}

static enum errc s3_get_range(struct storage *storage, const char *name, uint64_t offset,
			      void *data, size_t len, struct err *e)
{
	struct s3 *s = of(storage);
	char *key = key_of(s, name);
	struct s3_request r = {.method = "GET",
			       .key = key,
			       .must_exist = true,
			       .ranged = true,
			       .offset = offset,
			       .reply_max = len};
	struct s3_reply reply = {0};
	enum errc code = s3_call(s, &r, &reply, e);

	if (!code && (reply.status != 206 || reply.body.len != len))
		code = err_set(e, ERR_CORRUPT,
			       "HTTP %d with %zu bytes from byte %llu on, %zu were asked for",
			       reply.status, reply.body.len, (unsigned long long)offset, len);
	if (!code)
		memcpy(data, reply.body.data, len);
	s3_reply_fini(&reply);
	free(key);
	return code;
}

static enum errc head(struct s3 *s, const char *key, bool must_exist, struct storage_object *out,
		      struct err *e)
{
	struct s3_request r = {.method = "HEAD", .key = key, .must_exist = must_exist};
	struct s3_reply reply = {0};
	enum errc code = s3_call(s, &r, &reply, e);

	if (!code)
		*out = (struct storage_object){reply.content_length, reply.written_ms};
	s3_reply_fini(&reply);
	return code;
}

static enum errc s3_look(struct storage *storage, const char *name, struct storage_object *out,
			 struct err *e)
{
	struct s3 *s = of(storage);
	char *key = key_of(s, name);
	enum errc code = head(s, key, false, out, e);

	free(key);
	return code;
}

/* ---- listing ---- */

static MUST_CHECK enum errc list_page(struct s3 *s, const char *prefix, const char *max_keys,
				      const char *token, struct s3_answer *out, struct err *e)
{
	struct s3_request r = {.method = "GET", .reply_max = LIST_PAGE_BYTES};
	struct s3_reply reply = {0};
	enum errc code;

	query(&r, "list-type", "2");
	query(&r, "prefix", prefix);
	query(&r, "max-keys", max_keys);
	if (token[0])
		query(&r, "continuation-token", token);
	code = s3_call(s, &r, &reply, e);
	if (!code)
		code = s3_answer_parse(reply.body.data ? reply.body.data : "", reply.body.len, out,
				       e);
	if (!code && strcmp(out->root, "ListBucketResult") != 0)
		code = err_set(e, ERR_CORRUPT, "the answer is no listing but <%s>", out->root);
	s3_reply_fini(&reply);
	return code;
}

static enum errc s3_list(struct storage *storage, const char *prefix, size_t max,
			 struct storage_names *out, struct err *e)
{
	struct s3 *s = of(storage);
	char *full = key_of(s, prefix);
	char token[S3_ANSWER_TEXT_MAX] = "";
	size_t skip = strlen(s->prefix);
	enum errc code;
	bool more;

	do {
		struct s3_answer page = {0};

		code = list_page(s, full, "1000", token, &page, e);
		for (size_t i = 0; !code && i < page.keys.n; i++)
			if (text_starts(page.keys.names[i], full) && page.keys.names[i][skip])
				code = storage_names_add(out, page.keys.names[i] + skip, max, e);
		more = !code && page.truncated;
		if (more && (!page.next[0] || !strcmp(page.next, token)))
			code = err_set(e, ERR_CORRUPT, "a listing that does not go on");
		memcpy(token, page.next, sizeof(token));
		s3_answer_fini(&page);
	} while (!code && more);
	free(full);
	return code;
}

static enum errc s3_check(struct storage *storage, struct err *e)
{
	struct s3 *s = of(storage);
	struct s3_answer page = {0};
	enum errc code = list_page(s, s->prefix, "1", "", &page, e);

	s3_answer_fini(&page);
	return code;
}

/* ---- removing ---- */

static void xml_text(struct buf *out, const char *text)
{
	for (; *text; text++) {
		switch (*text) {
		case '&':
			buf_text(out, "&amp;");
			break;
		case '<':
			buf_text(out, "&lt;");
			break;
		case '>':
			buf_text(out, "&gt;");
			break;
		case '"':
			buf_text(out, "&quot;");
			break;
		default:
			buf_add(out, text, 1);
		}
	}
}

static void md5_base64(const struct buf *body, struct buf *out)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned n = 0;

	if (!EVP_Digest(body->data, body->len, digest, &n, EVP_md5(), NULL))
		abort(); /* S3 demands MD5 here; an OpenSSL without it cannot be used */
	text_base64(out, digest, n);
}

/* A batch answers 200 even if some keys could not be removed. */
static MUST_CHECK enum errc check_removed(const struct s3_reply *reply, struct err *e)
{
	struct s3_answer a = {0};
	enum errc code =
		s3_answer_parse(reply->body.data ? reply->body.data : "", reply->body.len, &a, e);

	if (!code && a.code[0])
		code = err_set(e, !strcmp(a.code, "AccessDenied") ? ERR_DENIED : ERR_UNKNOWN,
			       "%zu objects were not removed, the first, %s: %s", a.keys.n,
			       a.keys.n ? a.keys.names[0] : "?", a.code);
	s3_answer_fini(&a);
	return code;
}

static enum errc s3_remove(struct storage *storage, const char *const names[], size_t n,
			   struct err *e)
{
	struct s3 *s = of(storage);
	struct s3_request r = {.method = "POST", .write = true, .reply_max = LIST_PAGE_BYTES};
	struct s3_reply reply = {0};
	struct buf body = {0}, md5 = {0};
	enum errc code;

	buf_text(&body, "<Delete xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">"
			"<Quiet>true</Quiet>");
	for (size_t i = 0; i < n; i++) {
		buf_text(&body, "<Object><Key>");
		xml_text(&body, s->prefix);
		xml_text(&body, names[i]);
		buf_text(&body, "</Key></Object>");
	}
	buf_text(&body, "</Delete>");
	md5_base64(&body, &md5);
	query(&r, "delete", "");
	r.body = body.data;
	r.body_len = body.len;
	r.content_md5 = md5.data;
	code = s3_call(s, &r, &reply, e);
	if (!code)
		code = check_removed(&reply, e);
	s3_reply_fini(&reply);
	buf_fini(&body);
	buf_fini(&md5);
	return code;
}

/* ---- writing at once ---- */

/* Somebody has the name: ourselves, by an attempt whose answer was lost, or another. */
static MUST_CHECK enum errc compare(struct s3 *s, const char *key, const void *data, size_t len,
				    struct err *e)
{
	struct s3_request r = {.method = "GET", .key = key, .must_exist = true, .reply_max = len};
	struct s3_reply reply = {0};
	enum errc code = s3_call(s, &r, &reply, e);

	if (code == ERR_LIMIT ||
	    (!code && (reply.body.len != len || (len && memcmp(reply.body.data, data, len) != 0))))
		code = err_set(e, ERR_EXISTS, "s3://%s/%s exists with other content", s->bucket,
			       key);
	s3_reply_fini(&reply);
	return code;
}

static MUST_CHECK enum errc put_key(struct s3 *s, const char *key, const void *data, size_t len,
				    struct err *e)
{
	struct s3_request r = {.method = "PUT",
			       .key = key,
			       .body = data,
			       .body_len = len,
			       .write = true,
			       .reply_max = S3_ERROR_BODY_MAX,
			       .if_none_match =
				       !__atomic_load_n(&s->no_conditional, __ATOMIC_RELAXED)};
	struct s3_reply reply = {0};
	enum errc code = s3_call(s, &r, &reply, e);

	if (code && r.if_none_match && reply.status == 501) {
		__atomic_store_n(&s->no_conditional, true, __ATOMIC_RELAXED);
		s3_reply_fini(&reply);
		return put_key(s, key, data, len, e);
	}
	if (code == ERR_EXISTS)
		code = compare(s, key, data, len, e);
	s3_reply_fini(&reply);
	return code;
}

static enum errc s3_put(struct storage *storage, const char *name, const void *data, size_t len,
			struct err *e)
{
	struct s3 *s = of(storage);
	char *key = key_of(s, name);
	enum errc code = put_key(s, key, data, len, e);

	free(key);
	return code;
}

/* ---- writing in parts ---- */

static enum errc s3_begin(struct storage *storage, const char *name, struct storage_upload **out,
			  struct err *e)
{
	struct s3 *s = of(storage);
	struct s3_upload *u = mem_alloc(sizeof(*u));

	(void)e;
	u->key = key_of(s, name);
	u->part_bytes = s->part_bytes;
	*out = &u->base;
	return ERR_OK;
}

static MUST_CHECK enum errc begin_parts(struct s3_upload *u, struct err *e)
{
	struct s3 *s = of(u->base.storage);
	struct s3_request r = {
		.method = "POST", .key = u->key, .write = true, .reply_max = S3_ERROR_BODY_MAX};
	struct s3_reply reply = {0};
	struct s3_answer a = {0};
	enum errc code;

	query(&r, "uploads", "");
	code = s3_call(s, &r, &reply, e);
	if (!code)
		code = s3_answer_parse(reply.body.data ? reply.body.data : "", reply.body.len, &a,
				       e);
	if (!code && !a.upload_id[0])
		code = err_set(e, ERR_CORRUPT, "POST %s?uploads: no <UploadId> in the answer",
			       u->key);
	if (!code)
		u->id = mem_text(a.upload_id);
	s3_answer_fini(&a);
	s3_reply_fini(&reply);
	return code;
}

static void keep_etag(struct s3_upload *u, const char *etag)
{
	if (u->n_parts == u->capacity) {
		u->capacity = u->capacity ? 2 * u->capacity : 16;
		u->etags = mem_resize(u->etags, u->capacity, sizeof(*u->etags));
	}
	snprintf(u->etags[u->n_parts++], S3_ETAG_MAX, "%s", etag);
}

static MUST_CHECK enum errc send_part(struct s3_upload *u, struct err *e)
{
	struct s3 *s = of(u->base.storage);
	struct s3_request r = {.method = "PUT",
			       .key = u->key,
			       .body = u->part.data,
			       .body_len = u->part.len,
			       .write = true,
			       .reply_max = S3_ERROR_BODY_MAX};
	struct s3_reply reply = {0};
	char number[16];
	enum errc code = u->id ? ERR_OK : begin_parts(u, e);

	if (code)
		return code;
	if (u->n_parts == PARTS_MAX)
		return err_set(e, ERR_LIMIT, "more than %d parts", PARTS_MAX);
	snprintf(number, sizeof(number), "%u", u->n_parts + 1);
	query(&r, "partNumber", number);
	query(&r, "uploadId", u->id);
	code = s3_call(s, &r, &reply, e);
	if (!code && !reply.etag[0])
		code = err_set(e, ERR_CORRUPT, "part %s of %s: no ETag in the answer", number,
			       u->key);
	if (!code)
		keep_etag(u, reply.etag);
	s3_reply_fini(&reply);
	buf_clear(&u->part);
	/* Ten thousand parts must do for an object of any size: let them grow. */
	if (u->n_parts % 1000 == 0 && u->part_bytes < PART_MAX / 2)
		u->part_bytes *= 2;
	return code;
}

static enum errc s3_write(struct storage_upload *upload, const void *data, size_t len,
			  struct err *e)
{
	struct s3_upload *u = MEM_OWNER(upload, struct s3_upload, base);
	const char *at = data;

	while (len) {
		size_t room = u->part_bytes - u->part.len;
		size_t some = len < room ? len : room;
		enum errc code;

		/* Full, and there is more: so the last part is never empty. */
		if (!room) {
			code = send_part(u, e);
			if (code)
				return code;
			continue;
		}
		buf_add(&u->part, at, some);
		at += some;
		len -= some;
	}
	return ERR_OK;
}

static void complete_body(const struct s3_upload *u, struct buf *out)
{
	buf_text(out, "<CompleteMultipartUpload "
		      "xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
	for (unsigned i = 0; i < u->n_parts; i++) {
		buf_printf(out, "<Part><PartNumber>%u</PartNumber><ETag>&quot;", i + 1);
		xml_text(out, u->etags[i]);
		buf_text(out, "&quot;</ETag></Part>");
	}
	buf_text(out, "</CompleteMultipartUpload>");
}

/* The answer may have been lost: then the upload is gone and the object is there. */
static MUST_CHECK enum errc completed_before(struct s3_upload *u, struct err *e)
{
	struct storage_object there = {0};
	enum errc code = head(of(u->base.storage), u->key, true, &there, e);

	if (!code && there.bytes != u->base.bytes)
		return err_set(e, ERR_EXISTS, "%s exists with %llu bytes instead of %llu", u->key,
			       (unsigned long long)there.bytes, (unsigned long long)u->base.bytes);
	return code;
}

static MUST_CHECK enum errc complete(struct s3_upload *u, struct err *e)
{
	struct s3 *s = of(u->base.storage);
	struct s3_request r = {
		.method = "POST", .key = u->key, .write = true, .reply_max = S3_ERROR_BODY_MAX};
	struct s3_reply reply = {0};
	struct s3_answer a = {0};
	struct buf body = {0};
	enum errc code;

	complete_body(u, &body);
	query(&r, "uploadId", u->id);
	r.body = body.data;
	r.body_len = body.len;
	code = s3_call(s, &r, &reply, e);
	/* S3 begins its answer with 200 before it knows the end. */
	if (!code && reply.body.len)
		code = s3_answer_parse(reply.body.data, reply.body.len, &a, e);
	if (!code && !strcmp(a.root, "Error"))
		code = err_set(e, ERR_UNKNOWN, "complete %s: 200 with <Code>%s", u->key, a.code);
	if (code == ERR_NOTFOUND && !strcmp(reply.answer.code, "NoSuchUpload"))
		code = completed_before(u, e);
	s3_answer_fini(&a);
	s3_reply_fini(&reply);
	buf_fini(&body);
	return code;
}

static enum errc s3_commit(struct storage_upload *upload, struct err *e)
{
	struct s3_upload *u = MEM_OWNER(upload, struct s3_upload, base);
	enum errc code;

	if (!u->id)
		return put_key(of(u->base.storage), u->key, u->part.data, u->part.len, e);
	code = send_part(u, e);
	if (!code)
		code = complete(u, e);
	u->committed = !code || code == ERR_UNKNOWN;
	return code;
}

static void s3_abort(struct storage_upload *upload)
{
	struct s3_upload *u = MEM_OWNER(upload, struct s3_upload, base);

	if (u->id && !u->committed) {
		struct s3_request r = {
			.method = "DELETE", .key = u->key, .reply_max = S3_ERROR_BODY_MAX};
		struct s3_reply reply = {0};

		query(&r, "uploadId", u->id);
		/* A failure leaves parts that cost space: the bucket's life-cycle rule has them. */
		(void)!s3_call(of(u->base.storage), &r, &reply, NULL);
		s3_reply_fini(&reply);
	}
	free(u->id);
	free(u->key);
	free(u->etags);
	buf_fini(&u->part);
	free(u);
}

/* ---- life cycle ---- */

static void s3_close(struct storage *storage)
{
	struct s3 *s = of(storage);

	for (unsigned i = 0; i < s->n_handles; i++)
		curl_easy_cleanup(s->handles[i]);
	if (s->secret_key)
		OPENSSL_cleanse(s->secret_key, strlen(s->secret_key));
	storage_fini(storage);
	free(s->scheme);
	free(s->host);
	free(s->bucket);
	free(s->prefix);
	free(s->region);
	free(s->access_key);
	free(s->secret_key);
	free(s->session_token);
	free(s->ca_file);
	free(s);
}

static const struct storage_ops s3_ops = {
	.close = s3_close,
	.check = s3_check,
	.put = s3_put,
	.get = s3_get,
	.get_range = s3_get_range,
	.look = s3_look,
	.remove = s3_remove,
	.list = s3_list,
	.begin = s3_begin,
	.write = s3_write,
	.commit = s3_commit,
	.abort = s3_abort,
};

/* "s3://bucket/a/b/" into bucket and "a/b/". */
static MUST_CHECK enum errc parse_url(struct s3 *s, const char *url, struct err *e)
{
	const char *bucket = url + strlen("s3://");
	size_t n = strspn(bucket, "abcdefghijklmnopqrstuvwxyz0123456789.-");
	const char *prefix = bucket + n;
	size_t len;

	if (n < 3 || n > 63 || (*prefix && *prefix != '/'))
		return err_set(e, ERR_INVALID,
			       "storage URL \"%s\": a bucket has 3 to 63 of a-z 0-9 . -", url);
	while (*prefix == '/')
		prefix++;
	len = strlen(prefix);
	while (len && prefix[len - 1] == '/')
		len--;
	if (len > 100)
		return err_set(e, ERR_INVALID, "storage URL \"%s\": a prefix of over 100 bytes",
			       url);
	s->bucket = mem_text_n(bucket, n);
	s->prefix = mem_printf("%.*s%s", (int)len, prefix, len ? "/" : "");
	return ERR_OK;
}

static MUST_CHECK enum errc parse_endpoint(struct s3 *s, const char *endpoint, struct err *e)
{
	const char *host = strstr(endpoint, "://");
	const char *own_port;
	size_t len;

	if (!host || (!text_starts(endpoint, "http://") && !text_starts(endpoint, "https://")))
		return err_set(e, ERR_INVALID, "S3 endpoint \"%s\": http://host or https://host",
			       endpoint);
	s->scheme = mem_text_n(endpoint, (size_t)(host - endpoint));
	host += 3;
	len = strlen(host);
	while (len && host[len - 1] == '/')
		len--;
	if (!len || memchr(host, '/', len) || memchr(host, '@', len) || memchr(host, '?', len))
		return err_set(e, ERR_INVALID, "S3 endpoint \"%s\": only a host and a port",
			       endpoint);
	s->host = mem_text_n(host, len);
	own_port = !strcmp(s->scheme, "https") ? ":443" : ":80";
	if (text_ends(s->host, own_port))
		s->host[len - strlen(own_port)] = '\0';
	return ERR_OK;
}

static char *text_or_null(const char *text)
{
	return text && *text ? mem_text(text) : NULL;
}

static MUST_CHECK enum errc configure(struct s3 *s, const struct storage_config *c, struct err *e)
{
	char *own = NULL;
	enum errc code = parse_url(s, c->url, e);

	if (code)
		return code;
	s->region = mem_text(c->region && *c->region ? c->region : "us-east-1");
	s->ca_file = text_or_null(c->ca_file);
	s->path_style = c->path_style || (c->endpoint && *c->endpoint && !c->virtual_host_style);
	s->attempts = c->attempts ? c->attempts : 6;
	s->budget_ms = c->budget_ms ? c->budget_ms : 30000;
	s->attempt_ms = c->attempt_ms ? c->attempt_ms : 10000;
	s->part_bytes = c->part_bytes ? c->part_bytes : PART_DEFAULT;
	if (c->path_style && c->virtual_host_style)
		return err_set(e, ERR_INVALID, "path style and virtual-host style at once");
	if (s->part_bytes < PART_MIN || s->part_bytes > PART_MAX)
		return err_set(e, ERR_INVALID, "parts of %zu bytes, not 5 MiB to 1 GiB",
			       s->part_bytes);
	if (!c->endpoint || !*c->endpoint)
		own = mem_printf("https://s3.%s.amazonaws.com", s->region);
	code = parse_endpoint(s, own ? own : c->endpoint, e);
	free(own);
	return code ? code
		    : s3_credentials(c, &s->access_key, &s->secret_key, &s->session_token, e);
}

enum errc storage_open_s3(const struct storage_config *c, struct storage **out, struct err *e)
{
	struct s3 *s = mem_alloc(sizeof(*s));
	uint64_t seed = storage_clock_ms();
	enum errc code;

	storage_init(&s->base, &s3_ops, c->url, c);
	(void)!getrandom(&seed, sizeof(seed), GRND_NONBLOCK); /* only for jitter */
	prng_init(&s->prng, seed);
	code = configure(s, c, e);
	if (code)
		s3_close(&s->base);
	else
		*out = &s->base;
	return code;
}
