#include "state/s3_call.h"

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>

#include "base/mem.h"
#include "base/text.h"

enum { BACKOFF_FIRST_MS = 50, BACKOFF_MAX_MS = 5000, MISSING_TRIES = 4 };

/* What one attempt came to, as far as trying again goes. */
enum verdict { DONE, REFUSED, AGAIN_NOT_DONE, AGAIN_UNKNOWN };

struct attempt {
	struct s3 *s;
	const struct s3_request *r;
	struct s3_reply *reply;
	uint64_t last_ms; /* when bytes last moved */
	curl_off_t moved;
	size_t max;
	bool too_large, silent;
};

void s3_reply_fini(struct s3_reply *reply)
{
	buf_fini(&reply->body);
	s3_answer_fini(&reply->answer);
}

/* ---- handles ---- */

static CURL *take_handle(struct s3 *s)
{
	CURL *h = NULL;

	pthread_mutex_lock(&s->base.lock);
	if (s->n_handles)
		h = s->handles[--s->n_handles];
	pthread_mutex_unlock(&s->base.lock);
	if (!h)
		h = curl_easy_init();
	assert(h);
	return h;
}

static void give_handle(struct s3 *s, CURL *h)
{
	curl_easy_reset(h);
	pthread_mutex_lock(&s->base.lock);
	if (s->n_handles < S3_HANDLES_MAX) {
		s->handles[s->n_handles++] = h;
		h = NULL;
	}
	pthread_mutex_unlock(&s->base.lock);
	if (h)
		curl_easy_cleanup(h);
}

/* ---- callbacks of curl ---- */

static size_t on_body(char *data, size_t size, size_t n, void *arg)
{
	struct attempt *a = arg;
	size_t len = size * n;

	if (a->reply->body.len + len > a->max) {
		a->too_large = true;
		return 0;
	}
	buf_add(&a->reply->body, data, len);
	return len;
}

static size_t on_header(char *data, size_t size, size_t n, void *arg)
{
	struct attempt *a = arg;
	size_t len = size * n, at = 5;

	if (len > 5 && !strncasecmp(data, "HTTP/", 5)) {
		const char *blank = memchr(data, ' ', len);

		a->reply->status = blank ? (int)strtol(blank, NULL, 10) : 0;
		/* Errors explain themselves in XML, however small the body that was asked for. */
		a->max = a->reply->status / 100 == 2 ? a->r->reply_max : S3_ERROR_BODY_MAX;
	} else if (len > 5 && !strncasecmp(data, "etag:", 5)) {
		size_t to = 0;

		for (; at < len && to < S3_ETAG_MAX - 1; at++)
			if (!strchr("\" \t\r\n", data[at]))
				a->reply->etag[to++] = data[at];
		a->reply->etag[to] = '\0';
	}
	return len;
}

static int on_progress(void *arg, curl_off_t down_all, curl_off_t down, curl_off_t up_all,
		       curl_off_t up)
{
	struct attempt *a = arg;
	uint64_t now = storage_clock_ms();

	(void)down_all, (void)up_all;
	if (down + up != a->moved) {
		a->moved = down + up;
		a->last_ms = now;
	}
	a->silent = now - a->last_ms > a->s->attempt_ms;
	return a->silent || storage_cancelled(&a->s->base);
}

/* No descriptor of ours is inherited by workers. */
static curl_socket_t open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
	(void)arg, (void)purpose;
	return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

/* ---- one attempt ---- */

static void make_path(const struct s3 *s, const struct s3_request *r, struct buf *out)
{
	buf_text(out, "/");
	if (s->path_style) {
		text_percent(out, s->bucket, false);
		if (r->key)
			buf_text(out, "/");
	}
	if (r->key)
		text_percent(out, r->key, true);
}

static void add_header(struct sigv4_request *q, const char *name, const char *value)
{
	assert(q->n_headers < SIGV4_HEADERS_MAX);
	q->headers[q->n_headers++] = (struct sigv4_pair){name, value};
}

static struct curl_slist *add_line(struct curl_slist *list, const char *name, const char *value)
{
	char *line = mem_printf("%s: %s", name, value);
	struct curl_slist *longer = curl_slist_append(list, line);

	assert(longer);
	free(line);
	return longer;
}

struct signed_request {
	struct buf url, path, host, range, authorization;
	char date[SIGV4_DATE], hash[SIGV4_HASH];
	struct curl_slist *headers;
};

static void signed_fini(struct signed_request *g)
{
	buf_fini(&g->url);
	buf_fini(&g->path);
	buf_fini(&g->host);
	buf_fini(&g->range);
	buf_fini(&g->authorization);
	curl_slist_free_all(g->headers);
}

static void make_url(const struct s3 *s, const struct sigv4_request *q, struct signed_request *g)
{
	buf_printf(&g->url, "%s://%s%s", s->scheme, g->host.data, g->path.data);
	if (q->n_query) {
		buf_text(&g->url, "?");
		sigv4_query(q, &g->url);
	}
}

static int64_t unix_seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return now.tv_sec;
}

static void sign(const struct s3 *s, const struct s3_request *r, struct signed_request *g)
{
	struct sigv4_keys keys = {s->access_key, s->secret_key, s->region, "s3"};
	struct sigv4_request q = {.method = r->method, .n_query = r->n_query};

	make_path(s, r, &g->path);
	buf_printf(&g->host, "%s%s%s", s->path_style ? "" : s->bucket, s->path_style ? "" : ".",
		   s->host);
	sigv4_date(unix_seconds(), g->date);
	/* Over TLS the body is protected already, and hashing it would be the slowest step. */
	if (!strcmp(s->scheme, "https"))
		snprintf(g->hash, sizeof(g->hash), "%s", SIGV4_UNSIGNED);
	else
		sigv4_hash(r->body_len ? r->body : "", r->body_len, g->hash);
	q.path = g->path.data;
	q.payload_hash = g->hash;
	memcpy(q.query, r->query, sizeof(r->query));
	add_header(&q, "Host", g->host.data);
	add_header(&q, "x-amz-date", g->date);
	add_header(&q, "x-amz-content-sha256", g->hash);
	if (s->session_token)
		add_header(&q, "x-amz-security-token", s->session_token);
	if (r->content_md5)
		add_header(&q, "Content-MD5", r->content_md5);
	if (r->if_none_match)
		add_header(&q, "If-None-Match", "*");
	if (r->ranged) {
		buf_printf(&g->range, "bytes=%llu-%llu", (unsigned long long)r->offset,
			   (unsigned long long)(r->offset + r->reply_max - 1));
		add_header(&q, "Range", g->range.data);
	}
	sigv4_sign(&q, &keys, g->date, &g->authorization);
	for (unsigned i = 0; i < q.n_headers; i++)
		g->headers = add_line(g->headers, q.headers[i].name, q.headers[i].value);
	g->headers = add_line(g->headers, "Authorization", g->authorization.data);
	g->headers = add_line(g->headers, "Content-Type", "application/octet-stream");
	g->headers = curl_slist_append(g->headers, "Expect:");
	make_url(s, &q, g);
}

static void configure(CURL *h, struct attempt *a, const struct signed_request *g, uint64_t left_ms)
{
	const struct s3_request *r = a->r;

	curl_easy_setopt(h, CURLOPT_URL, g->url.data);
	curl_easy_setopt(h, CURLOPT_PATH_AS_IS, 1L);
	curl_easy_setopt(h, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(h, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(h, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(h, CURLOPT_FILETIME, 1L);
	curl_easy_setopt(h, CURLOPT_HTTPHEADER, g->headers);
	curl_easy_setopt(h, CURLOPT_CONNECTTIMEOUT_MS, (long)a->s->attempt_ms);
	curl_easy_setopt(h, CURLOPT_TIMEOUT_MS, (long)left_ms);
	curl_easy_setopt(h, CURLOPT_OPENSOCKETFUNCTION, open_socket);
	curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(h, CURLOPT_WRITEDATA, a);
	curl_easy_setopt(h, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(h, CURLOPT_HEADERDATA, a);
	curl_easy_setopt(h, CURLOPT_NOPROGRESS, 0L);
	curl_easy_setopt(h, CURLOPT_XFERINFOFUNCTION, on_progress);
	curl_easy_setopt(h, CURLOPT_XFERINFODATA, a);
	if (a->s->ca_file)
		curl_easy_setopt(h, CURLOPT_CAINFO, a->s->ca_file);
	if (!strcmp(r->method, "HEAD")) {
		curl_easy_setopt(h, CURLOPT_NOBODY, 1L);
	} else if (!strcmp(r->method, "PUT") || !strcmp(r->method, "POST")) {
		curl_easy_setopt(h, CURLOPT_POSTFIELDS, r->body_len ? r->body : "");
		curl_easy_setopt(h, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->body_len);
	}
	if (strcmp(r->method, "HEAD") != 0)
		curl_easy_setopt(h, CURLOPT_CUSTOMREQUEST, r->method);
}

static enum verdict of_curl(CURLcode rc)
{
	/* The others end before anything was sent; these may end after all of it was. */
	switch ((int)rc) {
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_COULDNT_RESOLVE_PROXY:
	case CURLE_COULDNT_CONNECT:
	case CURLE_SSL_CONNECT_ERROR:
		return AGAIN_NOT_DONE;
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_URL_MALFORMAT:
	case CURLE_UNSUPPORTED_PROTOCOL:
		return REFUSED;
	default:
		return AGAIN_UNKNOWN;
	}
}

static enum verdict of_answer(const struct s3_reply *reply)
{
	const char *code = reply->answer.code;

	if (reply->status / 100 == 2)
		return DONE;
	if (reply->status == 429 || reply->status == 503 || !strcmp(code, "SlowDown"))
		return AGAIN_NOT_DONE;
	if (reply->status == 500 || reply->status == 502 || reply->status == 504 ||
	    !strcmp(code, "RequestTimeout") || !strcmp(code, "InternalError"))
		return AGAIN_UNKNOWN;
	if (reply->status == 409) /* ConditionalRequestConflict, OperationAborted: a race */
		return AGAIN_NOT_DONE;
	return REFUSED;
}

static enum errc class_of_answer(const struct s3_reply *reply)
{
	const char *code = reply->answer.code;

	if (!strcmp(code, "NoSuchBucket"))
		return ERR_INVALID;
	switch (reply->status) {
	case 401:
	case 403:
		return ERR_DENIED;
	case 404:
		return ERR_NOTFOUND;
	case 412:
		return ERR_EXISTS;
	case 416:
		return ERR_CORRUPT;
	default:
		return ERR_INVALID;
	}
}

static void describe(const struct s3_reply *reply, char out[256])
{
	if (reply->status / 100 == 3)
		snprintf(out, 256, "HTTP %d %s: a redirect, so region or endpoint are wrong",
			 reply->status, reply->answer.code);
	else
		snprintf(out, 256, "HTTP %d %s", reply->status,
			 reply->answer.code[0] ? reply->answer.code : "(no code)");
}

/* The error of the attempt is in *e unless the verdict is DONE. */
static enum verdict attempt(struct s3 *s, const struct s3_request *r, struct s3_reply *reply,
			    uint64_t left_ms, struct err *e)
{
	struct attempt a = {
		.s = s, .r = r, .reply = reply, .last_ms = storage_clock_ms(), .max = r->reply_max};
	bool repeated = reply->repeated;
	struct signed_request g = {0};
	CURL *h = take_handle(s);
	char text[256];
	curl_off_t length = -1, written = -1;
	CURLcode rc;

	s3_reply_fini(reply);
	*reply = (struct s3_reply){.repeated = repeated};
	sign(s, r, &g);
	configure(h, &a, &g, left_ms);
	rc = curl_easy_perform(h);
	curl_easy_getinfo(h, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
	reply->content_length = length > 0 ? (uint64_t)length : 0;
	curl_easy_getinfo(h, CURLINFO_FILETIME_T, &written);
	reply->written_ms = written > 0 ? (int64_t)written * 1000 : 0;
	give_handle(s, h);
	signed_fini(&g);
	if (a.too_large) {
		err_set(e, ERR_LIMIT, "the answer has more than %zu bytes", a.max);
		return REFUSED;
	}
	if (rc != CURLE_OK) {
		err_set(e, of_curl(rc) == REFUSED ? ERR_INVALID : ERR_UNAVAILABLE, "%s",
			a.silent ? "no byte moved for too long" : curl_easy_strerror(rc));
		return of_curl(rc);
	}
	if (reply->status / 100 != 2 && reply->body.len &&
	    s3_answer_parse(reply->body.data, reply->body.len, &reply->answer, NULL))
		reply->answer.code[0] = '\0'; /* a proxy's page: the status must do */
	if (of_answer(reply) != DONE) {
		describe(reply, text);
		err_set(e, of_answer(reply) == REFUSED ? class_of_answer(reply) : ERR_UNAVAILABLE,
			"%s", text);
	}
	return of_answer(reply);
}

/* ---- trying again ---- */

static uint64_t backoff_ms(struct s3 *s, unsigned tries)
{
	uint64_t ms = BACKOFF_FIRST_MS;

	while (--tries && ms < BACKOFF_MAX_MS)
		ms *= 2;
	pthread_mutex_lock(&s->base.lock);
	ms = prng_between(&s->prng, ms / 2, ms);
	pthread_mutex_unlock(&s->base.lock);
	return ms;
}

enum errc s3_call(struct s3 *s, const struct s3_request *r, struct s3_reply *reply, struct err *e)
{
	uint64_t end_ms = storage_clock_ms() + s->budget_ms, now_ms = storage_clock_ms();
	unsigned tries = 0;
	struct err last;
	enum verdict v;

	do {
		uint64_t pause_ms = tries ? backoff_ms(s, tries) : 0;

		if (pause_ms && now_ms + pause_ms >= end_ms)
			break;
		if (pause_ms && storage_wait(&s->base, pause_ms, &last))
			break;
		now_ms = storage_clock_ms();
		v = attempt(s, r, reply, end_ms > now_ms ? end_ms - now_ms : 1, &last);
		tries++;
		if (v == DONE)
			return ERR_OK;
		if (v == AGAIN_UNKNOWN)
			reply->repeated = true;
		if (v == REFUSED && r->must_exist && last.code == ERR_NOTFOUND &&
		    tries < MISSING_TRIES)
			v = AGAIN_NOT_DONE;
		now_ms = storage_clock_ms();
	} while (v != REFUSED && tries < s->attempts && !storage_cancelled(&s->base));
	if (storage_cancelled(&s->base))
		last.code = r->write && reply->repeated ? ERR_UNKNOWN : ERR_CANCELED;
	else if (last.code == ERR_UNAVAILABLE && r->write && reply->repeated)
		last.code = ERR_UNKNOWN;
	return err_set(e, last.code, "%s s3://%s/%s: %s (attempt %u)", r->method, s->bucket,
		       r->key ? r->key : "", last.text, tries);
}
