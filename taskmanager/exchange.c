#include "taskmanager/exchange.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"

enum { EVENTS = 64 };

struct peer {
	struct link link;
	bool used, attached, failed;
	int pending_fd;    /* under the lock; -1: none */
	uint32_t interest; /* as told to epoll */
};

struct exchange {
	struct exchange_config config;
	struct peer *peers; /* owns */
	struct batch_cache cache;
	struct waker waker;
	int epoll;
	pthread_t thread;
	bool started;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool stop, bye, bye_done; /* under the lock */
	_Atomic bool news;        /* of stop, bye or a pending_fd */
	bool saying_bye;          /* the thread's own copy */
	_Atomic uint64_t sent, received;
};

struct exchange *exchange_create(const struct exchange_config *c)
{
	struct exchange *x = mem_alloc(sizeof(*x));
	pthread_condattr_t attr;

	x->config = *c;
	x->cache.pool = c->pool;
	x->peers = mem_array(c->n_peers + 1, sizeof(*x->peers));
	for (unsigned i = 0; i < c->n_peers; i++) {
		link_init(&x->peers[i].link, &x->cache, c->credits);
		x->peers[i].pending_fd = -1;
	}
	waker_init(&x->waker);
	x->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (x->epoll < 0)
		abort();
	struct epoll_event ev = {.events = EPOLLIN, .data.u32 = UINT32_MAX};
	if (epoll_ctl(x->epoll, EPOLL_CTL_ADD, x->waker.fd, &ev) != 0)
		abort();
	pthread_mutex_init(&x->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&x->changed, &attr);
	pthread_condattr_destroy(&attr);
	return x;
}

void exchange_out(struct exchange *x, unsigned peer, struct queue *q)
{
	x->peers[peer].used = true;
	link_add_out(&x->peers[peer].link, q, &x->waker);
}

void exchange_in(struct exchange *x, unsigned peer, struct queue *q)
{
	x->peers[peer].used = true;
	link_add_in(&x->peers[peer].link, q, &x->waker);
}

bool exchange_uses(const struct exchange *x, unsigned peer)
{
	return x->peers[peer].used;
}

/* ---- the thread ---- */

static void peer_fail(struct exchange *x, unsigned i, struct err *e)
{
	struct peer *p = &x->peers[i];

	if (p->failed)
		return;
	p->failed = true;
	close(p->link.fd);
	p->link.fd = -1;
	x->config.failed(x->config.owner, i, e);
}

static void peer_interest(struct exchange *x, unsigned i)
{
	struct peer *p = &x->peers[i];
	uint32_t want = EPOLLIN | (p->link.stuck ? EPOLLOUT : 0);
	struct epoll_event ev = {.events = want, .data.u32 = i};

	if (p->link.fd < 0 || p->interest == want)
		return;
	if (epoll_ctl(x->epoll, p->interest ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, p->link.fd, &ev) != 0)
		abort();
	p->interest = want;
}

static void peer_attach(struct exchange *x, unsigned i, int fd)
{
	struct peer *p = &x->peers[i];
	int one = 1;

	if (p->attached || !p->used) {
		close(fd);
		return;
	}
	p->attached = true;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	(void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	link_start(&p->link, fd);
	peer_interest(x, i);
}

/* What other threads asked for. False: stop. */
static bool news_take(struct exchange *x)
{
	bool go_on;

	if (!atomic_exchange(&x->news, false))
		return true;
	pthread_mutex_lock(&x->lock);
	for (unsigned i = 0; i < x->config.n_peers; i++) {
		int fd = x->peers[i].pending_fd;
		x->peers[i].pending_fd = -1;
		if (fd >= 0)
			peer_attach(x, i, fd);
		if (x->bye)
			link_bye(&x->peers[i].link);
	}
	x->saying_bye = x->bye;
	go_on = !x->stop;
	pthread_mutex_unlock(&x->lock);
	return go_on;
}

static void bye_check(struct exchange *x)
{
	pthread_mutex_lock(&x->lock);
	bool done = x->bye;
	for (unsigned i = 0; done && i < x->config.n_peers; i++)
		done = link_idle(&x->peers[i].link);
	if (done && !x->bye_done) {
		x->bye_done = true;
		pthread_cond_broadcast(&x->changed);
	}
	pthread_mutex_unlock(&x->lock);
}

/* A peer that has said BYE may be gone before we are: read what it left before judging it. */
static void send_failed(struct exchange *x, unsigned i, struct err *e)
{
	struct link *l = &x->peers[i].link;
	struct err end = {0};
	bool progress = true;

	while (progress && l->fd >= 0 && !l->bye_seen) {
		progress = false;
		if (link_receive(l, &progress, &end) != ERR_OK)
			break;
	}
	if (!l->bye_seen) {
		peer_fail(x, i, e);
	} else if (l->fd >= 0) {
		close(l->fd);
		l->fd = -1;
	}
}

static bool peers_send(struct exchange *x)
{
	bool progress = false;
	uint64_t sent = 0, received = 0;

	for (unsigned i = 0; i < x->config.n_peers; i++) {
		struct err e = {0};
		struct link *l = &x->peers[i].link;
		if (link_send(l, &progress, &e) != ERR_OK)
			send_failed(x, i, &e);
		peer_interest(x, i);
		sent += l->bytes_sent;
		received += l->bytes_received;
	}
	atomic_store_explicit(&x->sent, sent, memory_order_relaxed);
	atomic_store_explicit(&x->received, received, memory_order_relaxed);
	return progress;
}

static bool anything(struct exchange *x)
{
	if (atomic_load(&x->news))
		return true;
	for (unsigned i = 0; i < x->config.n_peers; i++)
		if (link_news(&x->peers[i].link))
			return true;
	return false;
}

static void peer_event(struct exchange *x, unsigned i, uint32_t events)
{
	struct peer *p = &x->peers[i];
	struct err e = {0};
	bool progress = false;

	if (events & EPOLLOUT)
		p->link.stuck = false;
	if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		return;
	if (link_receive(&p->link, &progress, &e) != ERR_OK)
		peer_fail(x, i, &e);
}

static void events_wait(struct exchange *x, bool block)
{
	struct epoll_event ev[EVENTS];
	int n;

	if (block) {
		waker_prepare(&x->waker);
		if (anything(x))
			block = false;
		n = epoll_wait(x->epoll, ev, EVENTS, block ? -1 : 0);
		waker_cancel(&x->waker);
	} else {
		n = epoll_wait(x->epoll, ev, EVENTS, 0);
	}
	for (int i = 0; i < n; i++) {
		if (ev[i].data.u32 == UINT32_MAX)
			waker_drain(&x->waker);
		else
			peer_event(x, ev[i].data.u32, ev[i].events);
	}
}

static void *thread_main(void *arg)
{
	struct exchange *x = arg;

	while (news_take(x)) {
		bool progress = peers_send(x);
		if (x->saying_bye)
			bye_check(x);
		events_wait(x, !progress);
	}
	return NULL;
}

void exchange_start(struct exchange *x)
{
	for (unsigned i = 0; i < x->config.n_peers; i++)
		link_prepare(&x->peers[i].link);
	x->started = true;
	if (pthread_create(&x->thread, NULL, thread_main, x) != 0)
		abort();
	pthread_setname_np(x->thread, "net");
}

static void news_raise(struct exchange *x)
{
	atomic_store(&x->news, true);
	waker_wake(&x->waker);
}

void exchange_attach(struct exchange *x, unsigned peer, int fd)
{
	assert(peer < x->config.n_peers);
	pthread_mutex_lock(&x->lock);
	int old = x->peers[peer].pending_fd;
	x->peers[peer].pending_fd = old >= 0 ? old : fd;
	pthread_mutex_unlock(&x->lock);
	if (old >= 0)
		close(fd);
	news_raise(x);
}

void exchange_bye(struct exchange *x, unsigned limit_ms)
{
	struct timespec until;

	if (!x->started)
		return;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += limit_ms / 1000;
	until.tv_nsec += (long)(limit_ms % 1000) * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	pthread_mutex_lock(&x->lock);
	x->bye = true;
	pthread_mutex_unlock(&x->lock);
	news_raise(x);
	pthread_mutex_lock(&x->lock);
	while (!x->bye_done && pthread_cond_timedwait(&x->changed, &x->lock, &until) == 0)
		;
	pthread_mutex_unlock(&x->lock);
}

void exchange_destroy(struct exchange *x)
{
	if (!x)
		return;
	if (x->started) {
		pthread_mutex_lock(&x->lock);
		x->stop = true;
		pthread_mutex_unlock(&x->lock);
		news_raise(x);
		pthread_join(x->thread, NULL);
	}
	for (unsigned i = 0; i < x->config.n_peers; i++) {
		link_fini(&x->peers[i].link);
		if (x->peers[i].pending_fd >= 0)
			close(x->peers[i].pending_fd);
	}
	batch_cache_clear(&x->cache);
	waker_fini(&x->waker);
	close(x->epoll);
	pthread_mutex_destroy(&x->lock);
	pthread_cond_destroy(&x->changed);
	free(x->peers);
	free(x);
}

void exchange_bytes(const struct exchange *x, uint64_t *out_sent, uint64_t *out_received)
{
	*out_sent = atomic_load_explicit(&x->sent, memory_order_relaxed);
	*out_received = atomic_load_explicit(&x->received, memory_order_relaxed);
}

/* ---- connecting ---- */

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_BOOTTIME, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static enum errc address_parse(const char *address, struct sockaddr_storage *out, socklen_t *len,
			       struct err *e)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
	const char *colon = strrchr(address, ':');
	char host[256];

	if (!colon || (size_t)(colon - address) >= sizeof(host))
		return err_set(e, ERR_INVALID, "not an address: \"%s\"", address);
	memcpy(host, address, (size_t)(colon - address));
	host[colon - address] = 0;
	if (host[0] == '[' && colon[-1] == ']') {
		memmove(host, host + 1, strlen(host));
		host[strlen(host) - 1] = 0;
	}
	int code = getaddrinfo(host, colon + 1, &hints, &found);
	if (code != 0)
		return err_set(e, ERR_UNAVAILABLE, "%s: %s", address, gai_strerror(code));
	memcpy(out, found->ai_addr, found->ai_addrlen);
	*len = found->ai_addrlen;
	freeaddrinfo(found);
	return ERR_OK;
}

/* One try. A connected socket that took the preface, or -1 with errno. */
static int connect_once(const struct sockaddr_storage *to, socklen_t len, const void *preface,
			size_t preface_len, uint64_t until_ms)
{
	int fd = socket(to->ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int error = 0;
	socklen_t error_len = sizeof(error);

	if (fd < 0)
		return -1;
	if (connect(fd, (const struct sockaddr *)to, len) != 0 && errno != EINPROGRESS)
		error = errno;
	struct pollfd p = {.fd = fd, .events = POLLOUT};
	uint64_t now = now_ms();
	if (!error && poll(&p, 1, now < until_ms ? (int)(until_ms - now) : 0) != 1)
		error = ETIMEDOUT;
	if (!error)
		(void)getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &error_len);
	if (!error && send(fd, preface, preface_len, MSG_NOSIGNAL) != (ssize_t)preface_len)
		error = errno ? errno : EPIPE;
	if (!error)
		return fd;
	close(fd);
	errno = error;
	return -1;
}

enum errc exchange_connect(const char *address, const unsigned char *preface, size_t preface_len,
			   unsigned limit_ms, int *out_fd, struct err *e)
{
	struct sockaddr_storage to;
	socklen_t len = 0;
	uint64_t until = now_ms() + limit_ms;
	enum errc code = address_parse(address, &to, &len, e);

	if (code != ERR_OK)
		return code;
	for (;;) {
		int fd = connect_once(&to, len, preface, preface_len, until);
		if (fd >= 0) {
			*out_fd = fd;
			return ERR_OK;
		}
		if (errno != ECONNREFUSED || now_ms() >= until)
			return err_set(e, ERR_UNAVAILABLE, "connect to %s: %s", address,
				       strerror(errno));
		(void)poll(NULL, 0, 20);
	}
}
