#include "taskmanager/link.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/mem.h"

enum { FRAME = sizeof(struct batch_frame) };

void link_init(struct link *l, struct batch_cache *cache, uint32_t credits)
{
	*l = (struct link){.fd = -1, .cache = cache, .credits = credits};
}

static void chain_free(struct batch_cache *c, struct batch *b)
{
	while (b) {
		struct batch *next = b->next;
		batch_free(c, b);
		b = next;
	}
}

void link_fini(struct link *l)
{
	if (l->fd >= 0)
		close(l->fd);
	for (uint32_t i = 0; i < l->n_sending; i++)
		batch_free(l->cache, l->sending[i]);
	chain_free(l->cache, l->control_first);
	batch_free(l->cache, l->body);
	free(l->out);
	free(l->in);
	free(l->out_news);
	free(l->in_news);
	free(l->ready);
	*l = (struct link){.fd = -1};
}

void link_add_out(struct link *l, struct queue *q, struct waker *net)
{
	assert(l->n_out < LINK_CHANNELS_MAX);
	l->out = mem_resize(l->out, l->n_out + 1, sizeof(*l->out));
	l->out[l->n_out++] = (struct link_out){.queue = q};
	q->to_consumer.waker = net;
}

void link_add_in(struct link *l, struct queue *q, struct waker *net)
{
	assert(l->n_in < LINK_CHANNELS_MAX);
	l->in = mem_resize(l->in, l->n_in + 1, sizeof(*l->in));
	l->in[l->n_in++] = (struct link_in){.queue = q};
	q->to_producer.waker = net;
}

static void control_add(struct link *l, enum batch_kind kind, uint32_t channel, uint8_t flags)
{
	struct batch *b = batch_control(kind, NULL);

	b->frame.channel = (uint16_t)channel;
	b->frame.flags = flags;
	if (l->control_first)
		l->control_last->next = b;
	else
		l->control_first = b;
	l->control_last = b;
}

static void credit_grant(struct link *l, uint32_t channel, uint32_t n)
{
	l->in[channel].granted += n;
	control_add(l, BATCH_CREDIT, channel, (uint8_t)n);
}

void link_prepare(struct link *l)
{
	size_t out_words = l->n_out / 64 + 1, in_words = l->n_in / 64 + 1;

	l->out_news = mem_array(out_words, sizeof(*l->out_news));
	l->in_news = mem_array(in_words, sizeof(*l->in_news));
	l->ready = mem_array(out_words, sizeof(*l->ready));
	for (uint32_t i = 0; i < l->n_out; i++) {
		l->ready[i / 64] |= UINT64_C(1) << (i % 64);
		l->out[i].queue->to_consumer.bit = UINT64_C(1) << (i % 64);
		l->out[i].queue->to_consumer.word = &l->out_news[i / 64];
	}
	for (uint32_t i = 0; i < l->n_in; i++) {
		l->in[i].queue->to_producer.bit = UINT64_C(1) << (i % 64);
		l->in[i].queue->to_producer.word = &l->in_news[i / 64];
	}
}

void link_start(struct link *l, int fd)
{
	l->fd = fd;
	for (uint32_t i = 0; i < l->n_in; i++)
		credit_grant(l, i, l->credits);
}

/* ---- sending ---- */

bool link_news(const struct link *l)
{
	if (l->fd < 0)
		return false;
	for (uint32_t i = 0; i <= l->n_out / 64; i++)
		if (atomic_load(&l->out_news[i]))
			return true;
	for (uint32_t i = 0; i <= l->n_in / 64; i++)
		if (atomic_load(&l->in_news[i]))
			return true;
	return false;
}

/* Give back what the task of this channel has taken. */
static void credit_return(struct link *l, uint32_t channel)
{
	struct link_in *in = &l->in[channel];
	uint32_t taken = atomic_load_explicit(&in->queue->data_taken, memory_order_relaxed);

	queue_flush(in->queue);
	uint32_t give = taken + l->credits - in->granted;
	if (give && (give >= (l->credits + 3) / 4 || taken == in->received))
		credit_grant(l, channel, give);
}

static void news_take(struct link *l)
{
	for (uint32_t w = 0; w <= l->n_out / 64; w++)
		if (atomic_load_explicit(&l->out_news[w], memory_order_relaxed))
			l->ready[w] |= atomic_exchange(&l->out_news[w], 0);
	for (uint32_t w = 0; w <= l->n_in / 64; w++) {
		if (!atomic_load_explicit(&l->in_news[w], memory_order_relaxed))
			continue;
		uint64_t bits = atomic_exchange(&l->in_news[w], 0);
		for (; bits; bits &= bits - 1)
			credit_return(l, w * 64 + (uint32_t)__builtin_ctzll(bits));
	}
}

/* The first channel at or behind `from` that may have something; n_out: none. */
static uint32_t ready_from(const struct link *l, uint32_t from)
{
	for (uint32_t i = from; i < l->n_out;) {
		uint64_t bits = l->ready[i / 64] >> (i % 64);
		if (bits)
			return i + (uint32_t)__builtin_ctzll(bits);
		i = (i / 64 + 1) * 64;
	}
	return l->n_out;
}

/* The next frame of some channel, in turn; NULL: nothing, or no credit. */
static struct batch *frame_next(struct link *l)
{
	for (;;) {
		uint32_t i = ready_from(l, l->next);
		if (i == l->n_out)
			i = ready_from(l, 0);
		if (i == l->n_out)
			return NULL;
		struct link_out *o = &l->out[i];
		const struct batch *b = queue_peek(o->queue);
		if (!b || (b->kind == BATCH_DATA && !o->credit)) {
			l->ready[i / 64] &= ~(UINT64_C(1) << (i % 64));
			continue;
		}
		l->next = i + 1;
		if (b->kind == BATCH_DATA)
			o->credit--;
		struct batch *taken = queue_take(o->queue);
		taken->frame.channel = (uint16_t)i;
		taken->frame.flags = 0;
		return taken;
	}
}

static struct batch *control_next(struct link *l)
{
	struct batch *b = l->control_first;

	if (b)
		l->control_first = b->next;
	return b;
}

static void sending_fill(struct link *l)
{
	while (l->n_sending < LINK_BATCH) {
		struct batch *b = control_next(l);
		if (!b)
			b = frame_next(l);
		if (!b)
			return;
		b->frame.kind = b->kind;
		b->frame.length = b->len;
		b->frame.sequence = ++l->send_sequence;
		l->sending[l->n_sending++] = b;
	}
}

static void sending_done(struct link *l, size_t bytes)
{
	uint32_t done = 0;

	l->bytes_sent += bytes;
	l->sent += bytes;
	while (done < l->n_sending && l->sent >= FRAME + l->sending[done]->len) {
		l->sent -= FRAME + l->sending[done]->len;
		batch_free(l->cache, l->sending[done++]);
	}
	l->n_sending -= done;
	for (uint32_t i = 0; i < l->n_sending; i++)
		l->sending[i] = l->sending[i + done];
}

static enum errc sending_write(struct link *l, bool *progress, struct err *e)
{
	struct iovec v[LINK_BATCH];
	struct msghdr m = {.msg_iov = v, .msg_iovlen = l->n_sending};

	for (uint32_t i = 0; i < l->n_sending; i++) {
		v[i].iov_base = &l->sending[i]->frame;
		v[i].iov_len = FRAME + l->sending[i]->len;
	}
	v[0].iov_base = (char *)v[0].iov_base + l->sent;
	v[0].iov_len -= l->sent;
	ssize_t n = sendmsg(l->fd, &m, MSG_NOSIGNAL);
	if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
		l->stuck = errno == EAGAIN;
		return ERR_OK;
	}
	if (n < 0)
		return err_set(e, ERR_UNAVAILABLE, "send: %s", strerror(errno));
	*progress = true;
	sending_done(l, (size_t)n);
	return ERR_OK;
}

enum errc link_send(struct link *l, bool *progress, struct err *e)
{
	enum errc code = ERR_OK;

	if (l->fd < 0)
		return ERR_OK;
	news_take(l);
	while (code == ERR_OK && !l->stuck) {
		sending_fill(l);
		if (!l->n_sending)
			break;
		code = sending_write(l, progress, e);
	}
	return code;
}

void link_bye(struct link *l)
{
	if (l->fd < 0 || l->bye_asked)
		return;
	l->bye_asked = true;
	control_add(l, BATCH_BYE, 0, 0);
}

bool link_idle(const struct link *l)
{
	return l->fd < 0 || (!l->n_sending && !l->control_first);
}

/* ---- receiving ---- */

static enum errc broken(struct err *e, const char *what)
{
	return err_set(e, ERR_UNAVAILABLE, "protocol error: %s", what);
}

static enum errc head_check(struct link *l, struct err *e)
{
	const struct batch_frame *h = &l->head;

	if (h->sequence != ++l->receive_sequence)
		return broken(e, "a frame is missing");
	switch ((enum batch_kind)h->kind) {
	case BATCH_DATA:
		if (h->length == 0 || h->length > ROW_BYTES_MAX || h->length % 8)
			return broken(e, "impossible length");
		if (h->channel >= l->n_in)
			return broken(e, "unknown channel");
		if (l->in[h->channel].received++ == l->in[h->channel].granted)
			return broken(e, "data without credit");
		return ERR_OK;
	case BATCH_BARRIER:
		if (h->length != sizeof(struct batch_barrier) || h->channel >= l->n_in)
			return broken(e, "bad barrier");
		return ERR_OK;
	case BATCH_END:
		if (h->length || h->channel >= l->n_in)
			return broken(e, "bad end");
		return ERR_OK;
	case BATCH_CREDIT:
		if (h->length || h->channel >= l->n_out)
			return broken(e, "bad credit");
		return ERR_OK;
	case BATCH_BYE:
		return h->length ? broken(e, "bad bye") : ERR_OK;
	}
	return broken(e, "unknown kind");
}

/* A whole frame: body is NULL for those without payload. */
static void frame_deliver(struct link *l)
{
	const struct batch_frame *h = &l->head;
	struct batch *b = l->body;

	l->body = NULL;
	l->body_got = 0;
	switch ((enum batch_kind)h->kind) {
	case BATCH_CREDIT:
		l->out[h->channel].credit += h->flags;
		l->ready[h->channel / 64] |= UINT64_C(1) << (h->channel % 64);
		break;
	case BATCH_BYE:
		l->bye_seen = true;
		break;
	case BATCH_END:
		queue_offer(l->in[h->channel].queue, batch_control(BATCH_END, NULL));
		break;
	case BATCH_DATA:
	case BATCH_BARRIER:
		b->len = h->length;
		b->rows = 0; /* the task checks and counts them */
		queue_offer(l->in[h->channel].queue, b);
		break;
	}
}

/* The header is complete: get room for its payload, or be done with the frame. */
static enum errc head_done(struct link *l, struct err *e)
{
	static const struct batch_barrier empty;
	enum errc code = head_check(l, e);

	if (code != ERR_OK)
		return code;
	if (l->head.kind == BATCH_DATA)
		l->body = batch_get(l->cache, l->head.length);
	else if (l->head.kind == BATCH_BARRIER)
		l->body = batch_control(BATCH_BARRIER, &empty);
	if (l->body)
		return ERR_OK;
	frame_deliver(l);
	l->head_got = 0;
	return ERR_OK;
}

/* Where the next bytes belong: the rest of the payload and behind it the next header. */
static int read_plan(struct link *l, struct iovec v[2], struct batch_frame *next)
{
	if (!l->body) {
		v[0].iov_base = (char *)&l->head + l->head_got;
		v[0].iov_len = FRAME - l->head_got;
		return 1;
	}
	v[0].iov_base = l->body->data + l->body_got;
	v[0].iov_len = l->head.length - l->body_got;
	v[1].iov_base = next;
	v[1].iov_len = FRAME;
	return 2;
}

static enum errc received(struct link *l, size_t n, const struct batch_frame *next, struct err *e)
{
	l->bytes_received += n;
	if (!l->body) {
		l->head_got += n;
		return l->head_got == FRAME ? head_done(l, e) : ERR_OK;
	}
	size_t rest = l->head.length - l->body_got;
	if (n < rest) {
		l->body_got += n;
		return ERR_OK;
	}
	frame_deliver(l);
	l->head = *next;
	l->head_got = n - rest;
	return l->head_got == FRAME ? head_done(l, e) : ERR_OK;
}

enum errc link_receive(struct link *l, bool *progress, struct err *e)
{
	enum errc code = ERR_OK;

	if (l->fd < 0)
		return ERR_OK;
	for (unsigned i = 0; i < LINK_READ_FRAMES && code == ERR_OK; i++) {
		struct batch_frame next = {0};
		struct iovec v[2];
		int parts = read_plan(l, v, &next);
		ssize_t n = readv(l->fd, v, parts);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			break;
		if (n <= 0 && l->bye_seen) {
			close(l->fd);
			l->fd = -1;
			break;
		}
		if (n == 0)
			return err_set(e, ERR_UNAVAILABLE, "closed by the peer");
		if (n < 0)
			return err_set(e, ERR_UNAVAILABLE, "receive: %s", strerror(errno));
		*progress = true;
		code = received(l, (size_t)n, &next, e);
	}
	return code;
}
