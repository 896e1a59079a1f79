#include "taskmanager/dataport.h"

#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "taskmanager/preface.h"

enum { DEAF_MS = 100 };

struct pending {
	int fd;
	size_t got;
	uint64_t deadline_ms;
	unsigned char bytes[PREFACE_BYTES];
};

struct target {
	struct job_id job;
	uint32_t region;
	struct attempt attempt;
	int fd; /* our end of its unix socket */
};

struct dataport {
	pthread_t thread;
	int listen_fd;
	int wake_fd; /* readable: the thread is to end */
	atomic_bool stop;
	char address[128];
	pthread_mutex_t lock; /* of the targets */
	unsigned n_targets;
	struct target *targets;
	uint64_t deaf_until_ms; /* the thread's own: no descriptor was left to accept with */
	unsigned n_pending;     /* likewise, oldest first */
	struct pending pending[DATAPORT_PENDING_MAX];
};

static uint64_t now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_BOOTTIME, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* ---- passing a socket on ---- */

static struct target *target_find(struct dataport *p, const struct job_id *job, uint32_t region,
				  struct attempt attempt)
{
	for (unsigned i = 0; i < p->n_targets; i++) {
		struct target *t = &p->targets[i];
		bool same = t->attempt.v == attempt.v;
#ifdef WEIR_MUTANT_OLD_ATTEMPT_ACCEPTED_ON_DATA_PORT
		same = true;
#endif
		if (t->region == region && same && job_id_equal(&t->job, job))
			return t;
	}
	return NULL;
}

static void send_socket(int to, int fd, unsigned char *preface)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {0};
	struct iovec piece = {.iov_base = preface, .iov_len = PREFACE_BYTES};
	struct msghdr m = {.msg_iov = &piece,
			   .msg_iovlen = 1,
			   .msg_control = control.bytes,
			   .msg_controllen = sizeof(control.bytes)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(int));
	/* A worker that does not take it loses it: its peer sees the connection close. */
	(void)!sendmsg(to, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void route(struct dataport *p, struct pending *c)
{
	struct preface preface;
	if (preface_decode(c->bytes, &preface, NULL))
		return;
	pthread_mutex_lock(&p->lock);
	struct target *t = target_find(p, &preface.job, preface.region, preface.attempt);
	if (t)
		send_socket(t->fd, c->fd, c->bytes);
	pthread_mutex_unlock(&p->lock);
}

/* ---- the thread ---- */

static void pending_close(struct dataport *p, unsigned i)
{
	close(p->pending[i].fd);
	p->n_pending--;
	memmove(&p->pending[i], &p->pending[i + 1], (p->n_pending - i) * sizeof(struct pending));
}

/* Reads no byte beyond the preface: those are the worker's. True: this connection is done with. */
static bool pending_read(struct dataport *p, struct pending *c)
{
	ssize_t n = recv(c->fd, c->bytes + c->got, PREFACE_BYTES - c->got, MSG_DONTWAIT);
	if (n < 0)
		return errno != EAGAIN && errno != EINTR;
	if (n == 0)
		return true;
	c->got += (size_t)n;
	if (c->got < PREFACE_BYTES)
		return false;
	route(p, c);
	return true;
}

static void accept_some(struct dataport *p)
{
	for (int i = 0; i < 64; i++) {
		int one = 1, fd = accept4(p->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd < 0) {
			/* Connections that wait keep the listener readable: look again later. */
			if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS ||
			    errno == ENOMEM)
				p->deaf_until_ms = now_ms() + DEAF_MS;
			return;
		}
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		if (p->n_pending == DATAPORT_PENDING_MAX)
			pending_close(p, 0);
		p->pending[p->n_pending++] =
			(struct pending){.fd = fd, .deadline_ms = now_ms() + DATAPORT_PREFACE_MS};
	}
}

static bool deaf(const struct dataport *p)
{
	return p->deaf_until_ms > now_ms();
}

static int patience_ms(const struct dataport *p)
{
	uint64_t now = now_ms(), first = deaf(p) ? p->deaf_until_ms : UINT64_MAX;
	if (p->n_pending && p->pending[0].deadline_ms < first) /* the oldest is the first */
		first = p->pending[0].deadline_ms;
	return first == UINT64_MAX ? -1 : first > now ? (int)(first - now) : 0;
}

static void *run(void *arg)
{
	struct dataport *p = arg;
	static_assert(DATAPORT_PENDING_MAX <= 1024, "the poll set lives on the stack");
	struct pollfd set[DATAPORT_PENDING_MAX + 2];
	while (!atomic_load(&p->stop)) {
		unsigned n = p->n_pending;
		set[0] = (struct pollfd){.fd = p->wake_fd, .events = POLLIN};
		set[1] = (struct pollfd){.fd = deaf(p) ? -1 : p->listen_fd, .events = POLLIN};
		for (unsigned i = 0; i < n; i++)
			set[2 + i] = (struct pollfd){.fd = p->pending[i].fd, .events = POLLIN};
		if (poll(set, 2 + n, patience_ms(p)) < 0 && errno != EINTR) {
			/* A TaskManager that nobody can reach must not look as if it worked. */
			log_line(LOG_LEVEL_ERROR, "the data port cannot go on: %s",
				 strerrordesc_np(errno));
			abort();
		}
		uint64_t now = now_ms();
		for (unsigned i = n; i-- > 0;) { /* from behind: closing moves those above */
			bool done = set[2 + i].revents && pending_read(p, &p->pending[i]);
			if (done || now >= p->pending[i].deadline_ms)
				pending_close(p, i);
		}
		if (set[1].revents)
			accept_some(p);
	}
	while (p->n_pending)
		pending_close(p, 0);
	return NULL;
}

/* ---- life ---- */

static enum errc split_address(const char *text, char host[128], char port[8], struct err *e)
{
	const char *colon = strrchr(text, ':');
	if (!colon || colon - text >= 128 || strlen(colon + 1) > 5 || !colon[1])
		return err_set(e, ERR_INVALID, "data address %s: not HOST:PORT", text);
	size_t len = (size_t)(colon - text);
	if (len >= 2 && text[0] == '[' && text[len - 1] == ']') {
		text++;
		len -= 2;
	}
	memcpy(host, text, len);
	host[len] = '\0';
	snprintf(port, 8, "%s", colon + 1);
	return ERR_OK;
}

static enum errc bind_first(const char *listen_at, int *out, struct err *e)
{
	char host[128], port[8];
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *found = NULL;
	enum errc rc = split_address(listen_at, host, port, e);
	if (rc)
		return rc;
	int failed = getaddrinfo(*host ? host : NULL, port, &hints, &found);
	if (failed)
		return err_set(e, ERR_INVALID, "data address %s: %s", listen_at,
			       gai_strerror(failed));
	int fd = -1, error = 0, one = 1;
	for (struct addrinfo *a = found; a && fd < 0; a = a->ai_next) {
		fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		if (fd >= 0 && (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
				bind(fd, a->ai_addr, a->ai_addrlen) || listen(fd, 1024))) {
			error = errno;
			close(fd);
			fd = -1;
		} else if (fd < 0) {
			error = errno;
		}
	}
	freeaddrinfo(found);
	if (fd < 0)
		return err_errno(e, error, "listen on %s", listen_at);
	*out = fd;
	return ERR_OK;
}

static void bound_address(int fd, char out[128])
{
	struct sockaddr_storage a;
	socklen_t len = sizeof(a);
	char host[100] = "", port[8] = "";
	if (getsockname(fd, (struct sockaddr *)&a, &len) == 0)
		getnameinfo((struct sockaddr *)&a, len, host, sizeof(host), port, sizeof(port),
			    NI_NUMERICHOST | NI_NUMERICSERV);
	snprintf(out, 128, strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, port);
}

enum errc dataport_create(const char *listen_at, struct dataport **out, struct err *e)
{
	int fd = -1;
	enum errc rc = bind_first(listen_at, &fd, e);
	if (rc)
		return rc;
	struct dataport *p = mem_alloc(sizeof(*p));
	p->listen_fd = fd;
	p->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	pthread_mutex_init(&p->lock, NULL);
	bound_address(fd, p->address);
	int failed = p->wake_fd < 0 ? errno : pthread_create(&p->thread, NULL, run, p);
	if (failed) {
		close(fd);
		if (p->wake_fd >= 0)
			close(p->wake_fd);
		free(p);
		return err_errno(e, failed, "start the thread of the data port");
	}
	*out = p;
	return ERR_OK;
}

void dataport_destroy(struct dataport *p)
{
	if (!p)
		return;
	uint64_t one = 1;
	atomic_store(&p->stop, true);
	(void)!write(p->wake_fd, &one, sizeof(one));
	pthread_join(p->thread, NULL);
	for (unsigned i = 0; i < p->n_targets; i++)
		close(p->targets[i].fd);
	free(p->targets);
	close(p->listen_fd);
	close(p->wake_fd);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

const char *dataport_address(const struct dataport *p)
{
	return p->address;
}

int dataport_open(struct dataport *p, const struct job_id *job, uint32_t region,
		  struct attempt attempt)
{
	int pair[2];
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
		return -1;
	pthread_mutex_lock(&p->lock);
	assert(!target_find(p, job, region, attempt));
	p->targets = mem_resize(p->targets, p->n_targets + 1, sizeof(*p->targets));
	p->targets[p->n_targets++] =
		(struct target){.job = *job, .region = region, .attempt = attempt, .fd = pair[0]};
	pthread_mutex_unlock(&p->lock);
	return pair[1];
}

void dataport_close(struct dataport *p, const struct job_id *job, uint32_t region,
		    struct attempt attempt)
{
	pthread_mutex_lock(&p->lock);
	struct target *t = target_find(p, job, region, attempt);
	if (t) {
		close(t->fd);
		*t = p->targets[--p->n_targets];
	}
	pthread_mutex_unlock(&p->lock);
}
