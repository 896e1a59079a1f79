/*
 * The HTTP client: one CURLM on the loop.
 *
 * Sent at most once: libcurl repeats a request by itself when a kept connection
 * was closed under it. The pre-request callback marks the exchange as sent and
 * refuses a second passage, and bodies come from a read function that cannot
 * seek, so a repetition ends with an error: ERR_UNKNOWN. The same mark decides
 * between ERR_NOTSENT and ERR_UNKNOWN for every other failure.
 */
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "base/mem.h"
#include "world/ev_impl.h"

struct ev_exchange {
	struct list hook; /* in ev->exchanges */
	struct ev *ev;
	struct world_http *h; /* borrowed until the end */
	CURL *easy;           /* owns */
	struct curl_slist *headers;
	char *body; /* owns: of the request */
	size_t body_len, body_read;
	struct buf reply; /* the body so far; of a stream: what is not delivered yet */
	struct world_timer timer;
	struct ev_task task; /* delivers */
	uint64_t timeout_ms;
	bool stream;
	bool in_multi;
	bool sent; /* some byte of the request may have left */
	bool limited;
	bool head_waits;
	bool ended; /* result is known: on_end is due */
	CURLcode result;
	bool timed_out;
	bool *alive; /* on deliver()'s stack while it runs a callback */
	char error[CURL_ERROR_SIZE];
};

/* ---- from libcurl ---- */

static size_t on_body(char *data, size_t size, size_t n, void *arg)
{
	struct ev_exchange *x = arg;
	buf_add(&x->reply, data, size * n);
	if (x->reply.full) {
		x->limited = true;
		return 0;
	}
	if (x->stream) {
		world_timer_arm(&x->ev->base, &x->timer, x->ev->now_ms + x->timeout_ms);
		ev_defer(x->ev, &x->task);
	}
	return size * n;
}

static long status_of(CURL *easy)
{
	long status = 0;
	curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
	return status;
}

/* The blank line after the last header: a stream's head is complete. */
static size_t on_header(char *data, size_t size, size_t n, void *arg)
{
	struct ev_exchange *x = arg;
	bool blank = size * n <= 2 && (data[0] == '\r' || data[0] == '\n');
	if (blank && x->stream && status_of(x->easy) >= 200) {
		x->head_waits = true;
		world_timer_arm(&x->ev->base, &x->timer, x->ev->now_ms + x->timeout_ms);
		ev_defer(x->ev, &x->task);
	}
	return size * n;
}

static size_t on_read(char *data, size_t size, size_t n, void *arg)
{
	struct ev_exchange *x = arg;
	size_t left = x->body_len - x->body_read;
	size_t len = left < size * n ? left : size * n;
	if (len)
		memcpy(data, x->body + x->body_read, len);
	x->body_read += len;
	return len;
}

static int on_prerequest(void *arg, char *to_ip, char *from_ip, int to_port, int from_port)
{
	(void)to_ip, (void)from_ip, (void)to_port, (void)from_port;
	struct ev_exchange *x = arg;
	if (x->sent)
		return CURL_PREREQFUNC_ABORT;
	x->sent = true;
	return CURL_PREREQFUNC_OK;
}

static curl_socket_t on_open(void *arg, curlsocktype purpose, struct curl_sockaddr *a)
{
	(void)arg, (void)purpose;
	int fd = socket(a->family, a->socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, a->protocol);
	if (fd < 0)
		return CURL_SOCKET_BAD;
	unsigned user_timeout = USER_TIMEOUT_MS;
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_timeout, sizeof(user_timeout));
	return fd;
}

/* ---- the end of an exchange ---- */

static enum net_cause connect_cause(CURL *easy)
{
	long error = 0;
	curl_easy_getinfo(easy, CURLINFO_OS_ERRNO, &error);
	/* Refused proves that nobody listens; an unreachable network proves nothing. */
	return error == ECONNREFUSED ? NET_REFUSED : NET_TIMEOUT;
}

static enum net_cause cause_of(const struct ev_exchange *x)
{
	if (x->timed_out)
		return NET_TIMEOUT;
	if (x->limited)
		return NET_LIMIT;
	/* libcurl has a hundred codes, most of other protocols: the rest is a broken connection. */
	switch ((int)x->result) {
	case CURLE_OK:
		return NET_OK;
	case CURLE_COULDNT_CONNECT:
		return connect_cause(x->easy);
	case CURLE_OPERATION_TIMEDOUT:
		return NET_TIMEOUT;
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_URL_MALFORMAT:
	case CURLE_UNSUPPORTED_PROTOCOL:
		return NET_RESOLVE;
	case CURLE_GOT_NOTHING:
	case CURLE_PARTIAL_FILE:
		return NET_EOF;
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CERTPROBLEM:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_ISSUER_ERROR:
	case CURLE_SSL_CIPHER:
		return NET_TLS;
	default:
		return NET_RESET;
	}
}

static enum errc code_of(const struct ev_exchange *x, enum net_cause cause)
{
	if (cause == NET_OK)
		return ERR_OK;
	if (cause == NET_LIMIT)
		return ERR_LIMIT;
	return x->sent ? ERR_UNKNOWN : ERR_NOTSENT;
}

static const char *reply_header(const struct world_reply *r, const char *name)
{
	struct curl_header *found;
	CURL *easy = *(CURL *const *)r->impl;
	if (curl_easy_header(easy, name, 0, CURLH_HEADER, -1, &found) != CURLHE_OK)
		return NULL;
	return found->value;
}

static void leave_multi(struct ev_exchange *x)
{
	if (x->in_multi)
		curl_multi_remove_handle(x->ev->multi, x->easy);
	x->in_multi = false;
	world_timer_cancel(&x->ev->base, &x->timer);
}

static void destroy(struct ev_exchange *x)
{
	struct ev *ev = x->ev;
	leave_multi(x);
	ev_undefer(&x->task);
	list_remove(&x->hook);
	/* A handle that failed, or was stopped half-way, is not used again: curl_easy_reset()
	 * forgets the options, not that a body is to be rewound (CURLE_SEND_FAIL_REWIND). */
	bool clean = x->ended && x->result == CURLE_OK && !x->timed_out;
	if (clean && ev->n_idle < IDLE_HANDLES_MAX) {
		curl_easy_reset(x->easy);
		ev->idle[ev->n_idle++] = x->easy;
	} else {
		curl_easy_cleanup(x->easy);
	}
	curl_slist_free_all(x->headers);
	buf_fini(&x->reply);
	free(x->body);
	free(x);
}

static void finish(struct ev_exchange *x)
{
	enum net_cause cause = cause_of(x);
	struct world_reply reply = {
		.code = code_of(x, cause),
		.cause = cause,
		.status = (int)status_of(x->easy),
		.body = x->stream || x->reply.data == NULL ? "" : x->reply.data,
		.body_len = x->stream ? 0 : x->reply.len,
		.header = reply_header,
		.impl = &x->easy,
	};
	struct world_http *h = x->h;
	h->impl = NULL;
	x->h = NULL;
	h->on_end(h, &reply);
	destroy(x);
}

static void deliver(struct ev_task *t)
{
	struct ev_exchange *x = MEM_OWNER(t, struct ev_exchange, task);
	bool alive = true;
	x->alive = &alive;
	if (x->head_waits) {
		x->head_waits = false;
		if (x->h->on_head)
			x->h->on_head(x->h, (int)status_of(x->easy));
	}
	if (alive && x->stream && x->reply.len > 0) {
		struct buf piece = x->reply;
		buf_init(&x->reply, 0);
		x->h->on_chunk(x->h, piece.data, piece.len);
		buf_fini(&piece);
	}
	if (!alive)
		return;
	x->alive = NULL;
	if (x->ended)
		finish(x);
}

static void end(struct ev_exchange *x)
{
	leave_multi(x);
	x->ended = true;
	ev_defer(x->ev, &x->task);
}

static void on_timeout(struct world_timer *t)
{
	struct ev_exchange *x = MEM_OWNER(t, struct ev_exchange, timer);
	x->timed_out = true;
	end(x);
}

/* ---- libcurl on the loop ---- */

static void collect(struct ev *ev)
{
	CURLMsg *msg;
	int left;
	while ((msg = curl_multi_info_read(ev->multi, &left)) != NULL) {
		if (msg->msg != CURLMSG_DONE)
			continue;
		struct ev_exchange *x;
		curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, &x);
		x->result = msg->data.result;
		end(x);
	}
}

static void act(struct ev *ev, curl_socket_t fd, int mask)
{
	int running;
	ev_wake(ev);
	curl_multi_socket_action(ev->multi, fd, mask, &running);
	collect(ev);
}

static void on_socket_event(evutil_socket_t fd, short what, void *arg)
{
	int mask =
		(what & EV_READ ? CURL_CSELECT_IN : 0) | (what & EV_WRITE ? CURL_CSELECT_OUT : 0);
	act(arg, fd, mask);
}

static void on_curl_timer(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	act(arg, CURL_SOCKET_TIMEOUT, 0);
}

static int on_timer_wanted(CURLM *multi, long timeout_ms, void *arg)
{
	(void)multi;
	struct ev *ev = arg;
	if (timeout_ms < 0) {
		event_del(ev->curl_timer);
		return 0;
	}
	struct timeval tv = {.tv_sec = timeout_ms / 1000, .tv_usec = timeout_ms % 1000 * 1000};
	event_add(ev->curl_timer, &tv);
	return 0;
}

static int on_socket_wanted(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
	(void)easy;
	struct ev *ev = arg;
	struct event *event = socket_arg;
	if (event)
		event_free(event);
	if (what == CURL_POLL_REMOVE) {
		curl_multi_assign(ev->multi, fd, NULL);
		return 0;
	}
	short mask = (short)(EV_PERSIST | (what & CURL_POLL_IN ? EV_READ : 0) |
			     (what & CURL_POLL_OUT ? EV_WRITE : 0));
	event = event_new(ev->loop, fd, mask, on_socket_event, ev);
	event_add(event, NULL);
	curl_multi_assign(ev->multi, fd, event);
	return 0;
}

bool ev_http_client_init(struct ev *ev, struct err *e)
{
	curl_global_init(CURL_GLOBAL_ALL);
	ev->multi = curl_multi_init();
	ev->curl_timer = evtimer_new(ev->loop, on_curl_timer, ev);
	if (ev->multi == NULL || ev->curl_timer == NULL) {
		err_set(e, ERR_IO, "cannot initialise the HTTP client");
		return false;
	}
	curl_multi_setopt(ev->multi, CURLMOPT_SOCKETFUNCTION, on_socket_wanted);
	curl_multi_setopt(ev->multi, CURLMOPT_SOCKETDATA, ev);
	curl_multi_setopt(ev->multi, CURLMOPT_TIMERFUNCTION, on_timer_wanted);
	curl_multi_setopt(ev->multi, CURLMOPT_TIMERDATA, ev);
	curl_multi_setopt(ev->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
	curl_multi_setopt(ev->multi, CURLMOPT_MAXCONNECTS, 64L);
	return true;
}

void ev_http_client_fini(struct ev *ev)
{
	list_each_safe (struct ev_exchange, x, &ev->exchanges, hook) {
		x->h->impl = NULL;
		destroy(x);
	}
	while (ev->n_idle > 0)
		curl_easy_cleanup(ev->idle[--ev->n_idle]);
	if (ev->multi)
		curl_multi_cleanup(ev->multi);
	if (ev->curl_timer)
		event_free(ev->curl_timer);
	curl_global_cleanup();
}

/* ---- starting ---- */

static void set_headers(struct ev_exchange *x, const struct world_http_spec *spec)
{
	bool typed = false;
	for (unsigned i = 0; i < spec->n_headers; i++) {
		const struct world_header *header = &spec->headers[i];
		typed = typed || strcasecmp(header->name, "Content-Type") == 0;
		/* libcurl's notation for an empty value is "Name;". */
		char *line = header->value[0] ? mem_printf("%s: %s", header->name, header->value)
					      : mem_printf("%s;", header->name);
		x->headers = curl_slist_append(x->headers, line);
		free(line);
	}
	if (spec->body_len > 0 && !typed)
		x->headers = curl_slist_append(x->headers, "Content-Type: application/json");
	x->headers = curl_slist_append(x->headers, "Expect:");
	curl_easy_setopt(x->easy, CURLOPT_HTTPHEADER, x->headers);
}

static void set_method(struct ev_exchange *x, const struct world_http_spec *spec)
{
	bool post = strcmp(spec->method, "POST") == 0;
	if (spec->body_len > 0 || post) {
		curl_easy_setopt(x->easy, CURLOPT_POST, 1L);
		curl_easy_setopt(x->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)spec->body_len);
		curl_easy_setopt(x->easy, CURLOPT_READFUNCTION, on_read);
		curl_easy_setopt(x->easy, CURLOPT_READDATA, x);
		x->body = mem_copy(spec->body, spec->body_len);
		x->body_len = spec->body_len;
	}
	if (strcmp(spec->method, "HEAD") == 0)
		curl_easy_setopt(x->easy, CURLOPT_NOBODY, 1L);
	else if (!post && (spec->body_len > 0 || strcmp(spec->method, "GET") != 0))
		curl_easy_setopt(x->easy, CURLOPT_CUSTOMREQUEST, spec->method);
}

static void set_tls(CURL *easy, const struct world_tls *tls)
{
	if (tls == NULL)
		return;
	if (tls->ca_file)
		curl_easy_setopt(easy, CURLOPT_CAINFO, tls->ca_file);
	if (tls->cert_file)
		curl_easy_setopt(easy, CURLOPT_SSLCERT, tls->cert_file);
	if (tls->key_file)
		curl_easy_setopt(easy, CURLOPT_SSLKEY, tls->key_file);
}

static void set_transport(struct ev_exchange *x, const struct world_http_spec *spec)
{
	CURL *easy = x->easy;
	curl_easy_setopt(easy, CURLOPT_PRIVATE, x);
	curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, x->error);
	curl_easy_setopt(easy, CURLOPT_URL, spec->url);
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(easy, CURLOPT_PROXY, ""); /* never by the environment */
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L); /* a cancel does not wait for slow DNS */
	curl_easy_setopt(easy, CURLOPT_MAXAGE_CONN, (long)SERVER_IDLE_S * 3 / 4);
	curl_easy_setopt(easy, CURLOPT_TCP_NODELAY, 1L);
	curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
	curl_easy_setopt(easy, CURLOPT_TCP_KEEPIDLE, 5L);
	curl_easy_setopt(easy, CURLOPT_TCP_KEEPINTVL, 2L);
	curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, (long)spec->fresh);
	curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, (long)spec->fresh);
	curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, on_open);
	curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, on_prerequest);
	curl_easy_setopt(easy, CURLOPT_PREREQDATA, x);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, x);
	curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(easy, CURLOPT_HEADERDATA, x);
	set_tls(easy, spec->tls);
}

static CURL *take_handle(struct ev *ev)
{
	CURL *easy = ev->n_idle > 0 ? ev->idle[--ev->n_idle] : curl_easy_init();
	if (easy == NULL)
		world_die(&ev->base, "no memory for an HTTP request");
	return easy;
}

void ev_http_start(struct world *w, struct world_http *h, const struct world_http_spec *spec)
{
	struct ev *ev = ev_of(w);
	assert(h->impl == NULL && spec->timeout_ms > 0);
	assert(spec->stream || spec->reply_max > 0);
	struct ev_exchange *x = mem_alloc(sizeof(*x));
	x->ev = ev;
	x->h = h;
	x->easy = take_handle(ev);
	x->stream = spec->stream;
	x->timeout_ms = spec->timeout_ms;
	x->timer.fire = on_timeout;
	buf_init(&x->reply, spec->stream ? 0 : spec->reply_max);
	ev_task_init(&x->task, deliver);
	list_append(&ev->exchanges, &x->hook);
	h->impl = x;
	set_transport(x, spec);
	set_method(x, spec);
	set_headers(x, spec);
	world_timer_arm(w, &x->timer, world_now_ms(w) + spec->timeout_ms);
	CURLMcode rc = curl_multi_add_handle(ev->multi, x->easy);
	assert(rc == CURLM_OK); /* anything else is a call from inside one of libcurl's callbacks */
	(void)rc;
	x->in_multi = true;
}

void ev_http_cancel(struct world *w, struct world_http *h)
{
	(void)w;
	struct ev_exchange *x = h->impl;
	if (x == NULL)
		return;
	h->impl = NULL;
	if (x->alive)
		*x->alive = false;
	destroy(x);
}
