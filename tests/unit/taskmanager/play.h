/*
 * play - plays the agent for workers: starts them as child processes, sends them command lines,
 * reads their reports, and passes data connections on as the data port does.
 *
 * For tests and benchmarks with their own main. Every wait has a deadline; a broken expectation
 * prints what was seen and aborts (children die with us).
 */
#ifndef TESTS_TASKMANAGER_PLAY_H
#define TESTS_TASKMANAGER_PLAY_H

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "rest/control.h"
#include "taskmanager/preface.h"
#include "taskmanager/worker.h"

enum { PLAY_WORKERS_MAX = 8, PLAY_WAIT_MS = 60000 };

#define PLAY_JOB "0123456789abcdef0123456789abcdef"

struct play_worker {
	pid_t pid;
	int lines, sockets;
	struct buf in;
};

struct play {
	unsigned n;
	struct play_worker workers[PLAY_WORKERS_MAX];
	int listener;
	uint16_t port;
	pthread_t thread;
	uint64_t seq;
	char root[64];     /* of the checkpoint storage and files */
	const char *extra; /* more members of the welcome's settings, or "" */
};

#define play_check(ok, ...)                                                                        \
	do {                                                                                       \
		if (!(ok)) {                                                                       \
			fprintf(stderr, "%s:%d: %s: ", __FILE__, __LINE__, #ok);                   \
			fprintf(stderr, __VA_ARGS__);                                              \
			fprintf(stderr, "\n");                                                     \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

static inline uint64_t play_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* ---- the data port ---- */

static inline void play_pass(int to, int fd, const unsigned char *preface)
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} control;
	unsigned char copy[PREFACE_BYTES];
	struct iovec v = {copy, PREFACE_BYTES};
	struct msghdr m = {.msg_iov = &v,
			   .msg_iovlen = 1,
			   .msg_control = control.room,
			   .msg_controllen = sizeof(control.room)};

	memcpy(copy, preface, sizeof(copy));
	memset(&control, 0, sizeof(control));
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	play_check(sendmsg(to, &m, 0) == PREFACE_BYTES, "%s", strerror(errno));
}

static inline void *play_port(void *arg)
{
	struct play *p = arg;
	unsigned char bytes[PREFACE_BYTES];
	struct preface preface;

	for (;;) {
		int fd = accept(p->listener, NULL, NULL);
		if (fd < 0)
			return NULL;
		if (recv(fd, bytes, sizeof(bytes), MSG_WAITALL) == PREFACE_BYTES &&
		    preface_decode(bytes, &preface, NULL) == ERR_OK && preface.receiver < p->n)
			play_pass(p->workers[preface.receiver].sockets, fd, bytes);
		close(fd);
	}
}

/* ---- workers ---- */

static inline void play_child(int lines, int sockets, const struct op_type *const *more)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	int a = fcntl(lines, F_DUPFD, 10), b = fcntl(sockets, F_DUPFD, 10);
	dup2(a, 3);
	dup2(b, 4);
	for (int fd = 5; fd < 256; fd++)
		close(fd);
	char *argv[] = {NULL};
	exit(worker_main(more, 0, argv)); /* not _exit: the leak check runs at exit */
}

/* `root` NULL: a new directory. Workers' own operators beside the built-in ones: `more`. */
static inline void play_begin(struct play *p, unsigned n, const struct op_type *const *more,
			      const char *extra, const char *root)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(a);

	memset(p, 0, sizeof(*p));
	p->n = n;
	p->extra = extra;
	snprintf(p->root, sizeof(p->root), "%s", root ? root : "/tmp/weir-engine-XXXXXX");
	play_check(root || mkdtemp(p->root), "%s", strerror(errno));
	p->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	play_check(bind(p->listener, (struct sockaddr *)&a, sizeof(a)) == 0 &&
			   listen(p->listener, 16) == 0,
		   "%s", strerror(errno));
	getsockname(p->listener, (struct sockaddr *)&a, &len);
	p->port = ntohs(a.sin_port);
	for (unsigned i = 0; i < n; i++) {
		int lines[2], sockets[2];
		play_check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, lines) == 0, "pair");
		play_check(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) == 0,
			   "pair");
		pid_t pid = fork();
		if (pid == 0)
			play_child(lines[1], sockets[1], more);
		close(lines[1]);
		close(sockets[1]);
		p->workers[i] = (struct play_worker){pid, lines[0], sockets[0], {0}};
	}
	play_check(pthread_create(&p->thread, NULL, play_port, p) == 0, "thread");
}

static inline void play_send(struct play *p, unsigned i, struct control_command_msg *m)
{
	struct buf b = {0};

	m->seq = ++p->seq;
	m->epoch.v = 7;
	m->registration = 1;
	snprintf(m->job.hex, sizeof(m->job.hex), "%s", PLAY_JOB);
	if (!m->attempt.v)
		m->attempt.v = 1;
	control_command_encode(m, &b);
	play_check(write(p->workers[i].lines, b.data, b.len) == (ssize_t)b.len, "%s",
		   strerror(errno));
	buf_fini(&b);
}

static inline void play_all(struct play *p, enum control_command kind, uint64_t checkpoint)
{
	for (unsigned i = 0; i < p->n; i++) {
		struct control_command_msg m = {.kind = kind, .checkpoint.v = checkpoint};
		play_send(p, i, &m);
	}
}

/* The next report of worker i, the caller's to fini; false: none in time, or the worker is gone. */
static inline bool play_report(struct play *p, unsigned i, int wait_ms,
			       struct control_report_msg *out)
{
	struct play_worker *w = &p->workers[i];
	uint64_t until = play_ms() + (uint64_t)wait_ms;

	for (;;) {
		char *end = w->in.len ? memchr(w->in.data, '\n', w->in.len) : NULL;
		if (end) {
			struct control_reports r;
			struct err e = {0};
			size_t len = (size_t)(end - w->in.data);
			play_check(control_reports_decode(w->in.data, len, &r, &e) == ERR_OK, "%s",
				   e.text);
			play_check(r.n == 1, "%u reports in a line", r.n);
			*out = r.reports[0];
			memset(&r.reports[0], 0, sizeof(r.reports[0]));
			control_reports_fini(&r);
			buf_shift(&w->in, len + 1);
			return true;
		}
		struct pollfd f = {.fd = w->lines, .events = POLLIN};
		uint64_t now = play_ms();
		if (poll(&f, 1, now < until ? (int)(until - now) : 0) != 1)
			return false;
		char *room = buf_reserve(&w->in, 65536);
		ssize_t n = read(w->lines, room, 65536);
		if (n <= 0)
			return false;
		buf_grew(&w->in, (size_t)n);
	}
}

/* The next report must be of this kind. */
static inline struct control_report_msg play_expect(struct play *p, unsigned i,
						    enum control_report kind)
{
	struct control_report_msg m;

	play_check(play_report(p, i, PLAY_WAIT_MS, &m), "worker %u: no %s", i,
		   control_report_name(kind));
	play_check(m.kind == kind, "worker %u: %s instead of %s: %s", i,
		   control_report_name(m.kind), control_report_name(kind), m.text);
	return m;
}

/* The next report of this kind, whatever comes before it but a failure. */
static inline struct control_report_msg play_until(struct play *p, unsigned i,
						   enum control_report kind)
{
	struct control_report_msg m;

	for (;;) {
		play_check(play_report(p, i, PLAY_WAIT_MS, &m), "worker %u: no %s", i,
			   control_report_name(kind));
		if (m.kind == kind)
			return m;
		play_check(m.kind != CONTROL_REPORT_FAILED, "worker %u: %s", i, m.text);
		control_report_fini(&m);
	}
}

/*
 * Welcome, prepare, run, and wait until all run. `placement[i]` is worker i's subtasks as JSON.
 * `restore` is JSON or NULL.
 */
static inline void play_deploy(struct play *p, const char *spec, const char *const *placement,
			       const char *restore, uint64_t completed)
{
	json_error_t je;
	char *settings = mem_printf("{\"storage\":\"file://%s\",\"clusterId\":\"c\",\"filesRoot\":"
				    "\"%s\",\"logLevel\":\"warn\"%s}",
				    p->root, p->root, p->extra ? p->extra : "");
	json_t *peers = json_array();

	for (unsigned i = 0; i < p->n; i++) {
		struct control_command_msg w = {.kind = CONTROL_WELCOME,
						.settings = json_loads(settings, 0, &je)};
		play_send(p, i, &w);
		json_decref(w.settings);
		struct control_command_msg m = {.kind = CONTROL_PREPARE,
						.spec = json_loads(spec, 0, &je),
						.subtasks = json_loads(placement[i], 0, &je)};
		play_check(m.spec && m.subtasks, "%s", je.text);
		play_send(p, i, &m);
		json_array_append_new(peers,
				      json_pack("{s:o,s:s,s:o,s:O}", "tm", json_sprintf("tm-%u", i),
						"instance", "abcdefabcdef", "address",
						json_sprintf("127.0.0.1:%u", p->port), "subtasks",
						m.subtasks));
		control_command_fini(&m);
	}
	for (unsigned i = 0; i < p->n; i++) {
		struct control_report_msg r = play_expect(p, i, CONTROL_REPORT_PREPARED);
		control_report_fini(&r);
	}
	for (unsigned i = 0; i < p->n; i++) {
		struct control_command_msg m = {.kind = CONTROL_RUN,
						.checkpoint.v = completed,
						.peers = json_incref(peers),
						.restore = restore ? json_loads(restore, 0, &je)
								   : json_null()};
		play_send(p, i, &m);
		control_command_fini(&m);
	}
	json_decref(peers);
	free(settings);
	for (unsigned i = 0; i < p->n; i++) {
		struct control_report_msg r = play_expect(p, i, CONTROL_REPORT_RUNNING);
		control_report_fini(&r);
	}
}

static inline void play_remove(const struct play *p)
{
	char *command = mem_printf("rm -rf %s", p->root);

	play_check(system(command) == 0, "rm");
	free(command);
}

/* Kill them all; the root stays. */
static inline void play_kill(struct play *p)
{
	for (unsigned i = 0; i < p->n; i++)
		kill(p->workers[i].pid, SIGKILL);
	shutdown(p->listener, SHUT_RDWR);
	pthread_join(p->thread, NULL);
	close(p->listener);
	for (unsigned i = 0; i < p->n; i++) {
		waitpid(p->workers[i].pid, NULL, 0);
		close(p->workers[i].lines);
		close(p->workers[i].sockets);
		buf_fini(&p->workers[i].in);
	}
}

/* Every worker has ended by itself with status 0. Removes the root. */
static inline void play_end(struct play *p)
{
	shutdown(p->listener, SHUT_RDWR);
	pthread_join(p->thread, NULL);
	close(p->listener);
	for (unsigned i = 0; i < p->n; i++) {
		int status;
		play_check(waitpid(p->workers[i].pid, &status, 0) == p->workers[i].pid, "waitpid");
		play_check(WIFEXITED(status) && WEXITSTATUS(status) == 0, "worker %u: status %x", i,
			   (unsigned)status);
		close(p->workers[i].lines);
		close(p->workers[i].sockets);
		buf_fini(&p->workers[i].in);
	}
	play_remove(p);
}

#endif
