/*
 * The HTTP server: evhttp.
 *
 * A request lives from on_request to its complete reply, or until its client
 * hangs up, which evhttp sees on a hanging GET too (it goes on reading). While
 * a request is open its connection has no timeout: how long a reply may take is
 * the business of whoever answers. In between, SERVER_IDLE_S closes the
 * connection, also one with half a request.
 */
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <event2/listener.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/text.h"
#include "world/ev_impl.h"

/* evhttp answers a body above its own limit with a page of HTML; up to this many times the limit
 * we take the body in and answer in JSON. */
enum { BODY_SLACK = 4, LISTEN_BACKLOG = 1024, PIPELINED_MAX = 65536 };

struct ev_server {
	struct list hook; /* in ev->servers */
	struct ev *ev;
	struct world_server *s; /* borrowed; NULL once unlistened */
	struct evhttp *http;
	SSL_CTX *tls; /* NULL: plain */
	size_t body_max;
	struct list requests; /* of struct ev_request */
	struct ev_task closing;
};

struct ev_request {
	struct list hook; /* in the server's requests */
	struct ev_server *server;
	struct evhttp_request *req; /* evhttp's */
	struct world_request r;
	char *path;
	char *body;
	size_t high_water;
	bool streaming;
	bool overrun; /* above the high-water mark: on_gone is due */
	struct ev_task hang_up;
};

/* ---- small pieces ---- */

static const char *method_name(enum evhttp_cmd_type type)
{
	switch (type) {
	case EVHTTP_REQ_GET:
		return "GET";
	case EVHTTP_REQ_POST:
		return "POST";
	case EVHTTP_REQ_HEAD:
		return "HEAD";
	case EVHTTP_REQ_PUT:
		return "PUT";
	case EVHTTP_REQ_DELETE:
		return "DELETE";
	case EVHTTP_REQ_OPTIONS:
		return "OPTIONS";
	case EVHTTP_REQ_TRACE:
		return "TRACE";
	case EVHTTP_REQ_CONNECT:
		return "CONNECT";
	case EVHTTP_REQ_PATCH:
		return "PATCH";
	}
	return "UNKNOWN";
}

static const char *reason_of(int status)
{
	switch (status) {
	case 200:
		return "OK";
	case 201:
		return "Created";
	case 202:
		return "Accepted";
	case 204:
		return "No Content";
	case 400:
		return "Bad Request";
	case 401:
		return "Unauthorized";
	case 403:
		return "Forbidden";
	case 404:
		return "Not Found";
	case 405:
		return "Method Not Allowed";
	case 409:
		return "Conflict";
	case 413:
		return "Content Too Large";
	case 500:
		return "Internal Server Error";
	case 503:
		return "Service Unavailable";
	case 504:
		return "Gateway Timeout";
	default:
		return "Status";
	}
}

static const char *request_header(const struct world_request *r, const char *name)
{
	const struct ev_request *q = r->impl;
	return evhttp_find_header(evhttp_request_get_input_headers(q->req), name);
}

/* While a request is open: no timeout, and read on. evhttp stops reading when it hands a request
 * over, and would not see a client hang up before the reply begins; its own read callback ends the
 * process (!) at bytes in this state, so there is none, and pipelined bytes wait, up to a limit. */
static void open_connection(struct evhttp_request *req)
{
	struct bufferevent *bev =
		evhttp_connection_get_bufferevent(evhttp_request_get_connection(req));
	bufferevent_event_cb on_event;
	bufferevent_data_cb on_write;
	void *arg;
	bufferevent_getcb(bev, NULL, &on_write, &on_event, &arg);
	bufferevent_setcb(bev, NULL, on_write, on_event, arg);
	bufferevent_set_timeouts(bev, NULL, NULL);
	bufferevent_setwatermark(bev, EV_READ, 0, PIPELINED_MAX);
	bufferevent_enable(bev, EV_READ);
}

static void on_reply_sent(struct evhttp_request *req, void *arg)
{
	(void)arg;
	struct evhttp_connection *con = evhttp_request_get_connection(req);
	struct timeval tv = {.tv_sec = SERVER_IDLE_S};
	if (con == NULL)
		return;
	struct bufferevent *bev = evhttp_connection_get_bufferevent(con);
	bufferevent_set_timeouts(bev, &tv, &tv);
	bufferevent_setwatermark(bev, EV_READ, 0, 0);
}

static void default_header(struct evkeyvalq *out, const char *name, const char *value)
{
	if (evhttp_find_header(out, name) == NULL)
		evhttp_add_header(out, name, value);
}

static void default_headers(struct evhttp_request *req)
{
	struct evkeyvalq *out = evhttp_request_get_output_headers(req);
	default_header(out, "Content-Type", "application/json; charset=UTF-8");
	default_header(out, "Access-Control-Allow-Origin", "*");
}

static void refuse(struct evhttp_request *req, int status, const char *text)
{
	struct evbuffer *body = evbuffer_new();
	default_headers(req);
	evbuffer_add_printf(body, "{\"errors\":[\"%s\"]}", text);
	evhttp_send_reply(req, status, reason_of(status), body);
	evbuffer_free(body);
}

/* ---- the life of a request ---- */

static void forget(struct ev_request *q)
{
	struct evhttp_connection *con = evhttp_request_get_connection(q->req);
	if (con)
		evhttp_connection_set_closecb(con, NULL, NULL);
	list_remove(&q->hook);
	ev_undefer(&q->hang_up);
	free(q->path);
	free(q->body);
	free(q);
}

static void on_close(struct evhttp_connection *con, void *arg)
{
	(void)con;
	struct ev_request *q = arg;
	struct ev_server *server = q->server;
	struct evhttp_request *req = q->req;
	ev_wake(server->ev);
	if (server->s && server->s->on_gone)
		server->s->on_gone(server->s, &q->r);
	bool ours = evhttp_request_get_connection(req) == NULL;
	forget(q);
	if (ours) /* evhttp has let go of an unanswered request: nobody else frees it */
		evhttp_request_free(req);
}

static void hang_up(struct ev_task *t)
{
	struct ev_request *q = MEM_OWNER(t, struct ev_request, hang_up);
	struct evhttp_connection *con = evhttp_request_get_connection(q->req);
	if (con)
		evhttp_connection_free(con); /* runs on_close */
}

/* evhttp_uridecode keeps going at a bad escape and stops at no zero byte: refuse both. */
static char *decode_path(const char *raw)
{
	size_t len = 0;
	char *path = evhttp_uridecode(raw, 0, &len);
	if (path && memchr(path, '\0', len) != NULL) {
		free(path);
		return NULL;
	}
	return path;
}

static bool take_body(struct ev_request *q)
{
	struct evbuffer *in = evhttp_request_get_input_buffer(q->req);
	size_t len = evbuffer_get_length(in);
	if (len > q->server->body_max)
		return false;
	q->body = mem_alloc(len + 1);
	evbuffer_remove(in, q->body, len);
	q->r.body = q->body;
	q->r.body_len = len;
	return true;
}

static void describe(struct ev_request *q, const struct evhttp_uri *uri)
{
	const char *query = evhttp_uri_get_query(uri);
	q->r.method = method_name(evhttp_request_get_command(q->req));
	q->r.path = q->path;
	q->r.query = query ? query : "";
	q->r.header = request_header;
	q->r.stamp = &q->server->s->stamp;
	q->r.impl = q;
}

static void on_request(struct evhttp_request *req, void *arg)
{
	struct ev_server *server = arg;
	const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(req);
	const char *raw = uri ? evhttp_uri_get_path(uri) : NULL;
	char *path = raw ? decode_path(raw) : NULL;
	ev_wake(server->ev);
	if (server->s == NULL || server->ev->stopped) {
		free(path);
		refuse(req, 503, "this server is shutting down");
		return;
	}
	if (path == NULL) {
		refuse(req, 400, "the path is not acceptable");
		return;
	}
	struct ev_request *q = mem_alloc(sizeof(*q));
	q->server = server;
	q->req = req;
	q->path = path;
	ev_task_init(&q->hang_up, hang_up);
	list_append(&server->requests, &q->hook);
	if (!take_body(q)) {
		forget(q);
		refuse(req, 413, "the request body is larger than this server accepts");
		return;
	}
	describe(q, uri);
	open_connection(req);
	evhttp_request_set_on_complete_cb(req, on_reply_sent, NULL);
	evhttp_connection_set_closecb(evhttp_request_get_connection(req), on_close, q);
	server->s->on_request(server->s, &q->r);
}

void ev_reply_with(struct world *w, struct world_request *r, int status,
		   const struct world_header *headers, unsigned n_headers, const void *body,
		   size_t len)
{
	(void)w;
	struct ev_request *q = r->impl;
	struct evhttp_request *req = q->req;
	struct evbuffer *out = evbuffer_new();
	for (unsigned i = 0; i < n_headers; i++)
		evhttp_add_header(evhttp_request_get_output_headers(req), headers[i].name,
				  headers[i].value);
	default_headers(req);
	evbuffer_add(out, body, len);
	forget(q);
	evhttp_send_reply(req, status, reason_of(status), out);
	evbuffer_free(out);
}

void ev_reply_start(struct world *w, struct world_request *r, int status, size_t high_water)
{
	(void)w;
	struct ev_request *q = r->impl;
	q->high_water = high_water;
	q->streaming = true;
	default_headers(q->req);
	evhttp_send_reply_start(q->req, status, reason_of(status));
}

void ev_reply_chunk(struct world *w, struct world_request *r, const void *data, size_t len)
{
	struct ev_request *q = r->impl;
	struct evhttp_connection *con = evhttp_request_get_connection(q->req);
	if (con == NULL || q->overrun || len == 0)
		return;
	struct evbuffer *out = evbuffer_new();
	evbuffer_add(out, data, len);
	evhttp_send_reply_chunk(q->req, out);
	evbuffer_free(out);
	struct bufferevent *bev = evhttp_connection_get_bufferevent(con);
	if (evbuffer_get_length(bufferevent_get_output(bev)) > q->high_water) {
		q->overrun = true;
		ev_defer(ev_of(w), &q->hang_up);
	}
}

void ev_reply_end(struct world *w, struct world_request *r)
{
	(void)w;
	struct ev_request *q = r->impl;
	struct evhttp_request *req = q->req;
	forget(q);
	evhttp_send_reply_end(req);
}

/* ---- listening ---- */

static SSL_CTX *tls_context(const struct world_tls *tls, struct err *e)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
	bool ok = ctx && tls->cert_file && tls->key_file &&
		  SSL_CTX_use_certificate_chain_file(ctx, tls->cert_file) == 1 &&
		  SSL_CTX_use_PrivateKey_file(ctx, tls->key_file, SSL_FILETYPE_PEM) == 1 &&
		  SSL_CTX_check_private_key(ctx) == 1;
	if (ok && tls->ca_file) {
		ok = SSL_CTX_load_verify_locations(ctx, tls->ca_file, NULL) == 1;
		SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	}
	if (ok) {
		SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
		return ctx;
	}
	SSL_CTX_free(ctx);
	err_set(e, ERR_INVALID, "certificate %s, key %s or CA %s cannot be used",
		tls->cert_file ? tls->cert_file : "(none)",
		tls->key_file ? tls->key_file : "(none)", tls->ca_file ? tls->ca_file : "(none)");
	return NULL;
}

static struct bufferevent *tls_connection(struct event_base *loop, void *arg)
{
	struct ev_server *server = arg;
	struct bufferevent *bev = bufferevent_openssl_socket_new(
		loop, -1, SSL_new(server->tls), BUFFEREVENT_SSL_ACCEPTING, BEV_OPT_CLOSE_ON_FREE);
	if (bev)
		bufferevent_openssl_set_allow_dirty_shutdown(bev, 1);
	return bev;
}

static enum errc resolve(const char *address, struct addrinfo **out, struct err *e)
{
	const char *colon = strrchr(address, ':');
	if (colon == NULL || strlen(address) >= sizeof(((struct world_server *)NULL)->address))
		return err_set(e, ERR_INVALID, "\"%s\" is not host:port", address);
	uint64_t port;
	if (text_u64(colon + 1, &port, NULL) != ERR_OK || port > UINT16_MAX)
		return err_set(e, ERR_INVALID, "\"%s\": a port is from 0 to 65535", address);
	bool brackets = address[0] == '[' && colon > address && colon[-1] == ']';
	char *host = brackets ? mem_text_n(address + 1, (size_t)(colon - address) - 2)
			      : mem_text_n(address, (size_t)(colon - address));
	struct addrinfo hints = {.ai_family = AF_UNSPEC,
				 .ai_socktype = SOCK_STREAM,
				 .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
	int rc = getaddrinfo(host[0] ? host : NULL, colon + 1, &hints, out);
	free(host);
	if (rc != 0)
		return err_set(e, ERR_INVALID, "address %s: %s", address, gai_strerror(rc));
	return ERR_OK;
}

/* Accepted sockets inherit these. */
static void set_options(int fd)
{
	int one = 1, idle_s = 5, interval_s = 2;
	unsigned user_timeout = USER_TIMEOUT_MS;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof(interval_s));
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_timeout, sizeof(user_timeout));
}

static void write_address(struct world_server *s, const char *address, int fd)
{
	struct sockaddr_storage bound = {0};
	socklen_t len = sizeof(bound);
	getsockname(fd, (struct sockaddr *)&bound, &len);
	in_port_t port = bound.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&bound)->sin6_port
						     : ((struct sockaddr_in *)&bound)->sin_port;
	snprintf(s->address, sizeof(s->address), "%.*s:%u", (int)(strrchr(address, ':') - address),
		 address, (unsigned)ntohs(port));
}

static enum errc bind_to(struct ev_server *server, const char *address, struct err *e)
{
	struct addrinfo *found = NULL;
	enum errc rc = resolve(address, &found, e);
	if (rc != ERR_OK)
		return rc;
	struct evconnlistener *listener = evconnlistener_new_bind(
		server->ev->loop, NULL, NULL,
		LEV_OPT_REUSEABLE | LEV_OPT_CLOSE_ON_EXEC | LEV_OPT_CLOSE_ON_FREE, LISTEN_BACKLOG,
		found->ai_addr, (int)found->ai_addrlen);
	int error = EVUTIL_SOCKET_ERROR();
	freeaddrinfo(found);
	if (listener == NULL)
		return err_errno(e, error, "listen on %s", address);
	set_options(evconnlistener_get_fd(listener));
	write_address(server->s, address, evconnlistener_get_fd(listener));
	evhttp_bind_listener(server->http, listener); /* takes it */
	return ERR_OK;
}

static void server_destroy(struct ev_server *server)
{
	while (!list_empty(&server->requests))
		forget(MEM_OWNER(server->requests.next, struct ev_request, hook));
	list_remove(&server->hook);
	ev_undefer(&server->closing);
	if (server->http)
		evhttp_free(server->http);
	SSL_CTX_free(server->tls);
	free(server);
}

static void close_server(struct ev_task *t)
{
	server_destroy(MEM_OWNER(t, struct ev_server, closing));
}

static void configure(struct ev_server *server)
{
	evhttp_set_gencb(server->http, on_request, server);
	evhttp_set_max_body_size(server->http, (ev_ssize_t)(server->body_max * BODY_SLACK));
	evhttp_set_max_headers_size(server->http, HEADERS_MAX);
	evhttp_set_timeout(server->http, SERVER_IDLE_S);
	evhttp_set_allowed_methods(
		server->http, EVHTTP_REQ_GET | EVHTTP_REQ_POST | EVHTTP_REQ_HEAD | EVHTTP_REQ_PUT |
				      EVHTTP_REQ_DELETE | EVHTTP_REQ_OPTIONS | EVHTTP_REQ_PATCH);
	if (server->tls)
		evhttp_set_bevcb(server->http, tls_connection, server);
}

enum errc ev_listen(struct world *w, struct world_server *s, const struct world_listen_spec *spec,
		    struct err *e)
{
	struct ev *ev = ev_of(w);
	struct ev_server *server = mem_alloc(sizeof(*server));
	server->ev = ev;
	server->s = s;
	server->body_max = spec->body_max;
	list_init(&server->requests);
	list_append(&ev->servers, &server->hook);
	ev_task_init(&server->closing, close_server);
	server->http = evhttp_new(ev->loop);
	server->tls = spec->tls ? tls_context(spec->tls, e) : NULL;
	if (spec->tls && server->tls == NULL) {
		server_destroy(server);
		return ERR_INVALID;
	}
	configure(server);
	enum errc rc = bind_to(server, spec->address, e);
	if (rc != ERR_OK) {
		server_destroy(server);
		return rc;
	}
	s->impl = server;
	return ERR_OK;
}

/* evhttp may be on the stack above us (a handler that stops its own server): it is freed in the
 * loop's next turn, but from now on nobody hears of it. */
void ev_unlisten(struct world *w, struct world_server *s)
{
	struct ev_server *server = s->impl;
	if (server == NULL)
		return;
	s->impl = NULL;
	server->s = NULL;
	while (!list_empty(&server->requests))
		forget(MEM_OWNER(server->requests.next, struct ev_request, hook));
	ev_defer(ev_of(w), &server->closing);
}

void ev_http_server_fini(struct ev *ev)
{
	list_each_safe (struct ev_server, server, &ev->servers, hook)
		server_destroy(server);
}
