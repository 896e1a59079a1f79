/*
 * source.socket - text lines from one TCP connection.
 *
 *   RESOLVING --address--> CONNECTING --connected--> READING
 *       ^  |                   |                        |
 *       |  +----- failed ------+---- closed, reset -----+
 *       |                      v
 *       +----- pause over --- WAITING     (or, closed in order with endOnClose: ENDED)
 *
 * It cannot be replayed: what was read after the last completed checkpoint is
 * lost when the job restarts. A record that lacks its delimiter is given when
 * the other side closes in order, and dropped when the connection breaks. With
 * the delimiter '\n' a '\r' before it is not part of the record. Nothing here
 * waits: names are resolved by the C library's own thread.
 */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/sm.h"
#include "job/optypes.h"
#include "taskmanager/connectors/connectors.h"

enum { READ_BYTES = 64 << 10, RESOLVE_POLL_MS = 20, CONNECT_MS = 10000 };

enum socket_state { RESOLVING, CONNECTING, READING, WAITING, ENDED, SOCKET_STATES };

static const struct sm_state states[] = {
	[RESOLVING] = {"RESOLVING", SM_TO(CONNECTING) | SM_TO(WAITING)},
	[CONNECTING] = {"CONNECTING", SM_TO(READING) | SM_TO(WAITING)},
	[READING] = {"READING", SM_TO(WAITING) | SM_TO(ENDED)},
	[WAITING] = {"WAITING", SM_TO(RESOLVING)},
	[ENDED] = {"ENDED", 0},
};
static const struct sm_table table = {"source.socket", states, SOCKET_STATES};

/* A look-up under way, complete in itself: one that cannot be stopped outlives the operator. */
struct lookup {
	struct gaicb request;
	struct addrinfo hints;
	char host[256], port[8];
};

struct source_socket {
	struct op op;
	struct sm sm;
	char host[256], port[8];
	char delimiter;
	uint64_t delay_ms;
	int64_t max_reconnects; /* -1: for ever */
	bool end_on_close;
	int64_t failures; /* in a row */
	char why[128];    /* the last failure */
	uint64_t until_ms;
	struct lookup *lookup;         /* owns; under way while RESOLVING */
	struct addrinfo *found, *next; /* owns found */
	int fd;
	struct buf data; /* read, not emitted yet */
	size_t scanned;  /* no delimiter before */
};

static struct source_socket *self(struct op *o)
{
	return (struct source_socket *)o;
}

static enum errc open_(struct op *o, struct err *e)
{
	struct source_socket *s = self(o);
	const struct spec_operator *spec = o->context->spec;
	(void)e;
	s->fd = -1;
	snprintf(s->host, sizeof(s->host), "%s", optype_text(spec, "host"));
	snprintf(s->port, sizeof(s->port), "%d", (int)optype_int(spec, "port"));
	s->delimiter = optype_text(spec, "delimiter")[0];
	s->delay_ms = (uint64_t)optype_int(spec, "reconnectDelay");
	s->max_reconnects = optype_int(spec, "maxReconnects");
	s->end_on_close = optype_bool(spec, "endOnClose");
	sm_init(&s->sm, &table, WAITING); /* the first try is at once: until_ms is 0 */
	return ERR_OK;
}

static void drop_connection(struct source_socket *s)
{
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
	if (s->found)
		freeaddrinfo(s->found);
	s->found = s->next = NULL;
}

/* Try again after the pause, unless the tries are used up. */
static enum errc fail(struct source_socket *s, const char *doing, const char *why, struct err *e)
{
	drop_connection(s);
	buf_clear(&s->data);
	s->scanned = 0;
	snprintf(s->why, sizeof(s->why), "%s: %s", doing, why);
	sm_move(&s->sm, WAITING, doing);
	s->until_ms = op_now_ms(s->op.context) + s->delay_ms;
	s->failures++;
	if (s->max_reconnects >= 0 && s->failures > s->max_reconnects)
		return err_set(e, ERR_IO, "%s:%s: %s (tried %lld times)", s->host, s->port, s->why,
			       (long long)s->failures);
	return ERR_OK;
}

static void idle(struct op_poll *result, uint32_t wait_ms, int fd, short events)
{
	*result = (struct op_poll){
		.state = OP_POLL_IDLE, .wait_ms = wait_ms, .wait_fd = fd, .wait_events = events};
}

/* ---- WAITING, RESOLVING ---- */

static enum errc resolve_start(struct source_socket *s, struct err *e)
{
	struct lookup *l = mem_alloc(sizeof(*l));
	memcpy(l->host, s->host, sizeof(l->host));
	memcpy(l->port, s->port, sizeof(l->port));
	l->hints.ai_socktype = SOCK_STREAM;
	l->request =
		(struct gaicb){.ar_name = l->host, .ar_service = l->port, .ar_request = &l->hints};
	s->lookup = l;
	sm_move(&s->sm, RESOLVING, "pause over");
	int rc = getaddrinfo_a(GAI_NOWAIT, &(struct gaicb *){&l->request}, 1, NULL);
	if (rc == 0)
		return ERR_OK;
	free(s->lookup);
	s->lookup = NULL;
	return fail(s, "resolve", gai_strerror(rc), e);
}

static enum errc poll_waiting(struct source_socket *s, struct op_poll *result, struct err *e)
{
	uint64_t now = op_now_ms(s->op.context);
	if (now >= s->until_ms)
		return resolve_start(s, e);
	uint64_t left = s->until_ms - now;
	idle(result, left < 60000 ? (uint32_t)left : 60000, -1, 0);
	return ERR_OK;
}

static enum errc connect_next(struct source_socket *s, const char *why, struct err *e);

static enum errc poll_resolving(struct source_socket *s, struct op_poll *result, struct err *e)
{
	int rc = gai_error(&s->lookup->request);
	if (rc == EAI_INPROGRESS) {
		idle(result, RESOLVE_POLL_MS, -1, 0);
		return ERR_OK;
	}
	s->found = s->next = s->lookup->request.ar_result;
	free(s->lookup);
	s->lookup = NULL;
	if (rc)
		return fail(s, "resolve", gai_strerror(rc), e);
	sm_move(&s->sm, CONNECTING, "address");
	return connect_next(s, "no address", e);
}

/* ---- CONNECTING ---- */

/* The next address of the list; `why` the one before failed. */
static enum errc connect_next(struct source_socket *s, const char *why, struct err *e)
{
	char text[64];
	snprintf(text, sizeof(text), "%s", why);
	for (; s->next; s->next = s->next->ai_next) {
		if (s->fd >= 0)
			close(s->fd);
		s->fd = socket(s->next->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		if (s->fd >= 0 && (connect(s->fd, s->next->ai_addr, s->next->ai_addrlen) == 0 ||
				   errno == EINPROGRESS)) {
			s->next = s->next->ai_next;
			s->until_ms = op_now_ms(s->op.context) + CONNECT_MS;
			return ERR_OK;
		}
		snprintf(text, sizeof(text), "%s", strerrordesc_np(errno));
	}
	return fail(s, "connect", text, e);
}

static enum errc poll_connecting(struct source_socket *s, struct op_poll *result, struct err *e)
{
	struct pollfd p = {.fd = s->fd, .events = POLLOUT};
	int error = 0, one = 1;
	socklen_t len = sizeof(error);
	if (poll(&p, 1, 0) <= 0) {
		uint64_t now = op_now_ms(s->op.context);
		if (now >= s->until_ms)
			return connect_next(s, "timed out", e);
		idle(result, (uint32_t)(s->until_ms - now), s->fd, POLLOUT);
		return ERR_OK;
	}
	if (getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0)
		error = errno;
	if (error)
		return connect_next(s, strerrordesc_np(error), e);
	/* A silent machine at the other end is noticed within a minute. */
	setsockopt(s->fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
	setsockopt(s->fd, IPPROTO_TCP, TCP_KEEPIDLE, &(int){30}, sizeof(int));
	setsockopt(s->fd, IPPROTO_TCP, TCP_KEEPINTVL, &(int){10}, sizeof(int));
	setsockopt(s->fd, IPPROTO_TCP, TCP_KEEPCNT, &(int){3}, sizeof(int));
	s->failures = 0;
	sm_move(&s->sm, READING, "connected");
	return ERR_OK;
}

/* ---- READING ---- */

static enum errc emit(struct source_socket *s, struct op_out *out, const char *text, size_t len,
		      struct err *e)
{
	if (s->delimiter == '\n' && len && text[len - 1] == '\r')
		len--;
	return op_emit_text(out, text, len, e);
}

static enum errc emit_records(struct source_socket *s, struct op_out *out, uint32_t budget,
			      bool *more, struct err *e)
{
	size_t from = 0;
	enum errc rc = ERR_OK;
	*more = false;
	for (uint32_t n = 0; !rc; n++) {
		size_t look = s->scanned > from ? s->scanned : from;
		const char *end = s->data.len > look ? memchr(s->data.data + look, s->delimiter,
							      s->data.len - look)
						     : NULL;
		s->scanned = end ? (size_t)(end - s->data.data) : s->data.len;
		if (!end)
			break;
		if (n == budget) {
			*more = true;
			break;
		}
		rc = emit(s, out, s->data.data + from, s->scanned - from, e);
		from = ++s->scanned;
	}
	if (from) {
		buf_shift(&s->data, from);
		s->scanned -= from;
	}
	if (!rc && !*more && s->data.len > ROW_BYTES_MAX - 16)
		return err_set(e, ERR_LIMIT, "%s:%s: a record is longer than %d bytes", s->host,
			       s->port, ROW_BYTES_MAX - 16);
	return rc;
}

static enum errc closed(struct source_socket *s, struct op_out *out, struct op_poll *result,
			struct err *e)
{
	enum errc rc = s->data.len ? emit(s, out, s->data.data, s->data.len, e) : ERR_OK;
	if (rc)
		return rc;
	if (!s->end_on_close)
		return fail(s, "read", "the other side closed the connection", e);
	drop_connection(s);
	sm_move(&s->sm, ENDED, "closed in order");
	result->state = OP_POLL_END;
	return ERR_OK;
}

static enum errc poll_reading(struct source_socket *s, struct op_out *out, uint32_t budget,
			      struct op_poll *result, struct err *e)
{
	bool more = false;
	enum errc rc = emit_records(s, out, budget, &more, e);
	if (rc || more)
		return rc;
	char *room = buf_reserve(&s->data, READ_BYTES);
	ssize_t n = read(s->fd, room, READ_BYTES);
	if (n > 0) {
		buf_grew(&s->data, (size_t)n);
		return ERR_OK;
	}
	if (n == 0)
		return closed(s, out, result, e);
	if (errno != EAGAIN && errno != EINTR)
		return fail(s, "read", strerrordesc_np(errno), e);
	idle(result, 1000, s->fd, POLLIN);
	return ERR_OK;
}

static enum errc poll_(struct op *o, struct op_out *out, uint32_t budget, struct op_poll *result,
		       struct err *e)
{
	struct source_socket *s = self(o);
	*result = (struct op_poll){.state = OP_POLL_MORE, .wait_fd = -1};
	switch ((enum socket_state)sm_state(&s->sm)) {
	case RESOLVING:
		return poll_resolving(s, result, e);
	case CONNECTING:
		return poll_connecting(s, result, e);
	case READING:
		return poll_reading(s, out, budget, result, e);
	case WAITING:
		return poll_waiting(s, result, e);
	case ENDED:
	case SOCKET_STATES:
		break;
	}
	result->state = OP_POLL_END;
	return ERR_OK;
}

static void close_(struct op *o)
{
	struct source_socket *s = self(o);
	if (s->lookup && gai_cancel(&s->lookup->request) != EAI_NOTCANCELED) {
		if (gai_error(&s->lookup->request) == 0)
			freeaddrinfo(s->lookup->request.ar_result);
		free(s->lookup);
	}
	drop_connection(s);
	buf_fini(&s->data);
}

const struct op_type connector_source_socket = {
	.name = "source.socket",
	.size = sizeof(struct source_socket),
	.source = true,
	.open = open_,
	.poll = poll_,
	.close = close_,
};
