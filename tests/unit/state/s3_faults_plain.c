/*
 * What the S3 client makes of a server that fails: a small server that answers
 * by script, one answer per request, in the order of the script.
 */
#include <arpa/inet.h>
#include <curl/curl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "state/storage.h"

enum { REQUEST_MAX = 8 << 20, SCRIPT_MAX = 16 };

/* HANG answers nothing and keeps the connection; CUT closes it without an answer; SHORT announces
 * more than it sends. */
enum how { ANSWER, HANG, CUT, SHORT };

struct step {
	enum how how;
	int status;
	const char *headers; /* more lines, each with \r\n */
	const char *body;
};

struct server {
	int fd;
	char endpoint[64];
	const struct step *script;
	unsigned n, at;                 /* at: atomic, requests so far */
	char requests[SCRIPT_MAX][256]; /* request lines */
	pthread_t thread;
	int held[SCRIPT_MAX], n_held;
};

static bool read_request(int fd, char *line, size_t room)
{
	char *all = mem_array(1, REQUEST_MAX), *head_end = NULL, *length;
	size_t len = 0, want = SIZE_MAX;
	bool ok = false;

	while (len < REQUEST_MAX - 1 && len < want) {
		ssize_t n = recv(fd, all + len, REQUEST_MAX - 1 - len, 0);

		if (n <= 0)
			break;
		len += (size_t)n;
		all[len] = '\0';
		head_end = head_end ? head_end : strstr(all, "\r\n\r\n");
		if (head_end && want == SIZE_MAX) {
			length = strcasestr(all, "content-length:");
			want = (size_t)(head_end + 4 - all) +
			       (length ? strtoul(length + 15, NULL, 10) : 0);
		}
		ok = len >= want;
	}
	if (ok)
		snprintf(line, room, "%.*s", (int)strcspn(all, "\r"), all);
	free(all);
	return ok;
}

static void answer(int fd, const struct step *s)
{
	size_t len = strlen(s->body);
	char *text = mem_printf(
		"HTTP/1.1 %d X\r\nConnection: close\r\nContent-Length: %zu\r\n%s\r\n%s", s->status,
		s->how == SHORT ? len + 10 : len, s->headers ? s->headers : "", s->body);

	(void)!send(fd, text, strlen(text), MSG_NOSIGNAL);
	free(text);
}

static void *serve(void *arg)
{
	struct server *s = arg;

	for (;;) {
		int fd = accept(s->fd, NULL, NULL);
		unsigned at = s->at;

		if (fd < 0)
			return NULL;
		if (at < s->n && read_request(fd, s->requests[at], sizeof(s->requests[at]))) {
			__atomic_store_n(&s->at, at + 1, __ATOMIC_RELEASE);
			if (s->script[at].how == HANG) {
				s->held[s->n_held++] = fd;
				continue;
			}
			if (s->script[at].how != CUT)
				answer(fd, &s->script[at]);
		}
		shutdown(fd, SHUT_WR);
		close(fd);
	}
}

static void server_start(struct server *s, const struct step *script, unsigned n)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(a);

	memset(s, 0, sizeof(*s));
	s->script = script;
	s->n = n;
	s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(s->fd, (struct sockaddr *)&a, sizeof(a)) || listen(s->fd, 16) ||
	    getsockname(s->fd, (struct sockaddr *)&a, &len) ||
	    pthread_create(&s->thread, NULL, serve, s))
		abort();
	snprintf(s->endpoint, sizeof(s->endpoint), "http://127.0.0.1:%d", ntohs(a.sin_port));
}

static void server_stop(struct server *s)
{
	shutdown(s->fd, SHUT_RDWR);
	pthread_join(s->thread, NULL);
	close(s->fd);
	for (int i = 0; i < s->n_held; i++)
		close(s->held[i]);
}

/* ---- tests ---- */

struct outcome {
	enum errc code;
	struct err e;
	unsigned requests;
	char lines[SCRIPT_MAX][256];
	struct buf got;
};

enum call { PUT, GET, RANGE, REMOVE, STREAM };

static enum errc stream(struct storage *s, struct err *e)
{
	struct storage_upload *u = NULL;
	char *data = mem_array(1, 6 << 20);
	enum errc code = storage_put_begin(s, "obj", &u, e);

	if (!code)
		code = storage_put_write(u, data, 6 << 20, e);
	free(data);
	if (!code)
		return storage_put_commit(u, e);
	storage_put_abort(u);
	return code;
}

static enum errc do_call(struct storage *s, enum call call, struct outcome *o)
{
	const char *name = "obj";
	char range[4] = "";
	enum errc code;

	switch (call) {
	case PUT:
		return storage_put(s, "obj", "data", 4, &o->e);
	case GET:
		return storage_get(s, "obj", 1000, &o->got, &o->e);
	case RANGE:
		code = storage_get_range(s, "obj", 0, range, 4, &o->e);
		buf_add(&o->got, range, 4);
		return code;
	case REMOVE:
		return storage_remove(s, &name, 1, &o->e);
	case STREAM:
		return stream(s, &o->e);
	}
	abort();
}

static void run(enum call call, const struct step *script, unsigned n, struct outcome *o)
{
	struct server *server = mem_alloc(sizeof(*server));
	struct storage_config c = {.url = "s3://bucket",
				   .access_key = "key",
				   .secret_key = "a-secret",
				   .attempts = 3,
				   .budget_ms = 8000,
				   .attempt_ms = 700,
				   .part_bytes = 5 << 20};
	struct storage *s = NULL;

	memset(o, 0, sizeof(*o));
	server_start(server, script, n);
	c.endpoint = server->endpoint;
	if (storage_open(&c, &s, &o->e))
		abort();
	o->code = do_call(s, call, o);
	storage_close(s);
	server_stop(server);
	o->requests = server->at;
	memcpy(o->lines, server->requests, sizeof(o->lines));
	free(server);
}

struct tally {
	unsigned passed, failed;
};

static void check(struct tally *t, bool ok, const char *what, const struct outcome *o)
{
	if (ok) {
		t->passed++;
		return;
	}
	t->failed++;
	printf("FAILED: %s: %s after %u requests: %s\n", what, err_name(o->code), o->requests,
	       o->e.text);
}

#define ERROR(code) "<Error><Code>" code "</Code></Error>"
#define SCRIPT(...)                                                                                \
	(const struct step[]){__VA_ARGS__},                                                        \
		sizeof((const struct step[]){__VA_ARGS__}) / sizeof(struct step)

static void retried(struct tally *t)
{
	struct outcome o;

	run(PUT, SCRIPT({ANSWER, 500, NULL, ERROR("InternalError")}, {ANSWER, 200, NULL, ""}), &o);
	check(t, !o.code && o.requests == 2, "put, 500, 200", &o);
	run(GET,
	    SCRIPT({ANSWER, 503, NULL, ERROR("SlowDown")}, {CUT, 0, NULL, ""},
		   {ANSWER, 200, NULL, "hello"}),
	    &o);
	check(t, !o.code && !strcmp(o.got.data, "hello"), "get, 503, cut, 200", &o);
	buf_fini(&o.got);
	run(GET, SCRIPT({SHORT, 200, NULL, "half of"}, {ANSWER, 200, NULL, "all of it"}), &o);
	check(t, !o.code && !strcmp(o.got.data, "all of it"), "truncated, then whole", &o);
	buf_fini(&o.got);
	run(GET, SCRIPT({HANG, 0, NULL, ""}, {ANSWER, 200, NULL, "late"}), &o);
	check(t, !o.code && !strcmp(o.got.data, "late"), "hang, then 200", &o);
	buf_fini(&o.got);
	run(RANGE, SCRIPT({ANSWER, 404, NULL, ERROR("NoSuchKey")}, {ANSWER, 206, NULL, "four"}),
	    &o);
	check(t, !o.code && !strcmp(o.got.data, "four"), "404 for what must exist, then there", &o);
	buf_fini(&o.got);
}

static void given_up(struct tally *t)
{
	struct outcome o;

	run(PUT,
	    SCRIPT({ANSWER, 503, NULL, ERROR("SlowDown")}, {ANSWER, 503, NULL, ""},
		   {ANSWER, 429, NULL, ""}),
	    &o);
	check(t, o.code == ERR_UNAVAILABLE && o.requests == 3, "surely not done", &o);
	run(PUT, SCRIPT({CUT, 0, NULL, ""}, {ANSWER, 503, NULL, ""}, {ANSWER, 503, NULL, ""}), &o);
	check(t, o.code == ERR_UNKNOWN, "a put that may have happened", &o);
	run(GET, SCRIPT({CUT, 0, NULL, ""}, {CUT, 0, NULL, ""}, {CUT, 0, NULL, ""}), &o);
	check(t, o.code == ERR_UNAVAILABLE, "a get is never unknown", &o);
	run(REMOVE,
	    SCRIPT({ANSWER, 500, NULL, ""}, {ANSWER, 500, NULL, ""}, {ANSWER, 500, NULL, ""}), &o);
	check(t, o.code == ERR_UNKNOWN, "a remove that may have happened", &o);
}

static void refused(struct tally *t)
{
	struct outcome o;

	run(PUT, SCRIPT({ANSWER, 403, NULL, ERROR("AccessDenied")}), &o);
	check(t,
	      o.code == ERR_DENIED && o.requests == 1 && strstr(o.e.text, "AccessDenied") &&
		      strstr(o.e.text, "s3://bucket/obj") && !strstr(o.e.text, "a-secret"),
	      "denied at once", &o);
	run(GET,
	    SCRIPT({ANSWER, 307, "Location: http://127.0.0.1:1/\r\n", ERROR("TemporaryRedirect")}),
	    &o);
	check(t, o.code == ERR_INVALID && o.requests == 1 && strstr(o.e.text, "redirect"),
	      "a redirect is not followed", &o);
	run(GET, SCRIPT({ANSWER, 404, NULL, ERROR("NoSuchKey")}), &o);
	check(t, o.code == ERR_NOTFOUND && o.requests == 1, "not found at once", &o);
	run(RANGE, SCRIPT({ANSWER, 206, NULL, "two"}), &o);
	check(t, o.code == ERR_CORRUPT, "fewer bytes than asked for", &o);
	buf_fini(&o.got);
	run(RANGE, SCRIPT({ANSWER, 200, NULL, "four"}), &o);
	check(t, o.code == ERR_CORRUPT, "a server that ignores Range", &o);
	buf_fini(&o.got);
	run(GET, SCRIPT({ANSWER, 502, NULL, "<html>proxy</html>"}, {ANSWER, 403, NULL, "no XML <"}),
	    &o);
	check(t, o.code == ERR_DENIED, "a proxy's page", &o);
}

static void conditional(struct tally *t)
{
	struct outcome o;

	run(PUT,
	    SCRIPT({CUT, 0, NULL, ""}, {ANSWER, 412, NULL, ERROR("PreconditionFailed")},
		   {ANSWER, 200, NULL, "data"}),
	    &o);
	check(t, !o.code && !strncmp(o.lines[2], "GET", 3), "412 is one's own lost put", &o);
	run(PUT,
	    SCRIPT({ANSWER, 412, NULL, ERROR("PreconditionFailed")}, {ANSWER, 200, NULL, "DATA"}),
	    &o);
	check(t, o.code == ERR_EXISTS, "412 is somebody else's object", &o);
	run(PUT, SCRIPT({ANSWER, 501, NULL, ERROR("NotImplemented")}, {ANSWER, 200, NULL, ""}), &o);
	check(t, !o.code && o.requests == 2, "a server without conditions", &o);
}

#define UPLOAD                                                                                     \
	"<InitiateMultipartUploadResult><UploadId>id</UploadId></InitiateMultipartUploadResult>"

static void multipart(struct tally *t)
{
	const char *etag = "ETag: \"e\"\r\n";
	struct outcome o;

	run(STREAM,
	    SCRIPT({ANSWER, 200, NULL, UPLOAD}, {ANSWER, 500, NULL, ""}, {ANSWER, 200, etag, ""},
		   {ANSWER, 200, etag, ""},
		   {ANSWER, 200, NULL, "<CompleteMultipartUploadResult/>"}),
	    &o);
	check(t, !o.code && o.requests == 5, "a part is tried again", &o);
	run(STREAM,
	    SCRIPT({ANSWER, 200, NULL, UPLOAD}, {ANSWER, 200, etag, ""}, {ANSWER, 200, etag, ""},
		   {CUT, 0, NULL, ""}, {ANSWER, 404, NULL, ERROR("NoSuchUpload")},
		   {ANSWER, 200, "Content-Type: x\r\n", ""}),
	    &o);
	check(t, o.code == ERR_EXISTS, "completed before, but of another size", &o);
	run(STREAM,
	    SCRIPT({ANSWER, 200, NULL, UPLOAD}, {ANSWER, 200, etag, ""}, {ANSWER, 200, etag, ""},
		   {ANSWER, 200, NULL, ERROR("InternalError")}),
	    &o);
	check(t, o.code == ERR_UNKNOWN, "200 with an error inside", &o);
	run(STREAM,
	    SCRIPT({ANSWER, 200, NULL, UPLOAD}, {ANSWER, 403, NULL, ERROR("AccessDenied")},
		   {ANSWER, 204, NULL, ""}),
	    &o);
	check(t, o.code == ERR_DENIED && !strncmp(o.lines[2], "DELETE", 6), "given up: aborted",
	      &o);
}

int main(void)
{
	struct tally t = {0};

	curl_global_init(CURL_GLOBAL_ALL);
	retried(&t);
	given_up(&t);
	refused(&t);
	conditional(&t);
	multipart(&t);
	curl_global_cleanup();
	printf("s3 faults: %u checks passed, %u failed\n", t.passed, t.failed);
	return t.failed ? 1 : 0;
}
