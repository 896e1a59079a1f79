/*
 * Child processes: fork and exec, a socket of lines, a pidfd for the end.
 *
 *   RUNNING --pidfd readable--> drain the channel, deliver its lines --> on_exit
 *
 * A grandchild may hold the channel open for ever, so the drain reads what is
 * there and does not wait for the end of file.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "world/ev_impl.h"

enum { CHANNEL_FD = 3, PASSED_FD = 4, READ_BYTES = 65536 };

struct ev_child {
	struct list hook; /* in ev->children */
	struct ev *ev;
	struct world_child *c; /* borrowed */
	pid_t pid;
	int pidfd;
	int channel; /* -1: none, or closed by the child */
	struct event *exit_event, *read_event, *write_event;
	struct buf in, out;
	size_t line_max;
	bool *alive; /* on the stack of who runs a callback */
};

/* ---- in the child, between fork and exec: async-signal-safe calls only ---- */

struct launch {
	const char *path;
	char *const *argv;
	char *const *envp;
	int channel, pass, log, null, report;
	pid_t parent;
};

static void put_fd(int from, int to)
{
	if (from < 0)
		return;
	if (from == to) {
		int flags = fcntl(from, F_GETFD);
		fcntl(from, F_SETFD, flags & ~FD_CLOEXEC);
	} else {
		dup2(from, to);
	}
}

static void default_signals(void)
{
	struct sigaction normal = {.sa_handler = SIG_DFL};
	sigset_t none;
	for (int i = 1; i < NSIG; i++)
		sigaction(i, &normal, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

_Noreturn static void exec_child(const struct launch *l)
{
	/* Out of the way first, so that no dup2 below overwrites a source. */
	int channel = l->channel < 0 ? -1 : fcntl(l->channel, F_DUPFD_CLOEXEC, 16);
	int pass = l->pass < 0 ? -1 : fcntl(l->pass, F_DUPFD_CLOEXEC, 16);
	int log = l->log < 0 ? -1 : fcntl(l->log, F_DUPFD_CLOEXEC, 16);
	int report = fcntl(l->report, F_DUPFD_CLOEXEC, 16);
	default_signals();
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != l->parent) /* it died before the line above */
		_exit(127);
	dup2(l->null, STDIN_FILENO);
	put_fd(log, STDOUT_FILENO);
	put_fd(log, STDERR_FILENO);
	unsigned keep = STDERR_FILENO + 1;
	close_range(keep, 15, 0);
	put_fd(channel, CHANNEL_FD);
	put_fd(pass, PASSED_FD);
	close_range(16, ~0U, CLOSE_RANGE_CLOEXEC);
	execve(l->path, l->argv, l->envp);
	int error = errno;
	ssize_t n = write(report, &error, sizeof(error));
	(void)n;
	_exit(127);
}

/* ---- environment ---- */

static bool same_name(const char *a, const char *b)
{
	size_t len = strcspn(a, "=");
	return len == strcspn(b, "=") && strncmp(a, b, len) == 0;
}

static bool is_replaced(const char *entry, const char *const *additions)
{
	for (size_t i = 0; additions && additions[i]; i++) {
		if (same_name(entry, additions[i]))
			return true;
	}
	return false;
}

/* Borrowed strings in an array of one's own; "NAME" without "=" removes the name. */
static const char **merge_env(const char *const *additions)
{
	size_t n = 0, added = 0;
	while (environ[n])
		n++;
	while (additions && additions[added])
		added++;
	const char **out = mem_array(n + added + 1, sizeof(*out));
	size_t used = 0;
	for (size_t i = 0; i < n; i++) {
		if (!is_replaced(environ[i], additions))
			out[used++] = environ[i];
	}
	for (size_t i = 0; i < added; i++) {
		if (strchr(additions[i], '='))
			out[used++] = additions[i];
	}
	return out;
}

/* ---- lines ---- */

static void close_channel(struct ev_child *k)
{
	if (k->channel < 0)
		return;
	event_free(k->read_event);
	event_free(k->write_event);
	k->read_event = k->write_event = NULL;
	close(k->channel);
	k->channel = -1;
}

/* False when the child was abandoned by a callback. */
static bool deliver_lines(struct ev_child *k)
{
	bool alive = true;
	char *line, *newline;
	size_t done = 0;
	k->alive = &alive;
	struct buf in = k->in; /* a callback may destroy k, but not what it is looking at */
	buf_init(&k->in, 0);
	while (alive && done < in.len &&
	       (newline = memchr(line = in.data + done, '\n', in.len - done)) != NULL) {
		*newline = '\0';
		done += (size_t)(newline - line) + 1;
		k->c->on_line(k->c, line, (size_t)(newline - line));
	}
	if (!alive) {
		buf_fini(&in);
		return false;
	}
	k->alive = NULL;
	buf_shift(&in, done);
	k->in = in;
	if (k->in.len > k->line_max) { /* whoever sends this is broken beyond talking to */
		log_line(LOG_LEVEL_ERROR, "child %d sent a line of more than %zu bytes, killed",
			 (int)k->pid, k->line_max);
		kill(k->pid, SIGKILL);
		close_channel(k);
	}
	return true;
}

/* Reads what is there; false at the end of the channel. */
static bool read_some(struct ev_child *k, size_t limit)
{
	for (size_t total = 0; total < limit;) {
		char *room = buf_reserve(&k->in, READ_BYTES);
		ssize_t n = recv(k->channel, room, READ_BYTES, MSG_DONTWAIT);
		if (n <= 0)
			return n < 0 && (errno == EAGAIN || errno == EINTR);
		buf_grew(&k->in, (size_t)n);
		total += (size_t)n;
	}
	return true;
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	struct ev_child *k = arg;
	ev_wake(k->ev);
	if (!read_some(k, READ_BYTES))
		close_channel(k);
	(void)deliver_lines(k);
}

static void write_some(struct ev_child *k)
{
	while (k->channel >= 0 && k->out.len > 0) {
		ssize_t n = send(k->channel, k->out.data, k->out.len, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n > 0) {
			buf_shift(&k->out, (size_t)n);
		} else if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
			event_add(k->write_event, NULL);
			return;
		} else {
			buf_clear(&k->out); /* the other end is gone; its exit is on its way */
			return;
		}
	}
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	struct ev_child *k = arg;
	ev_wake(k->ev);
	write_some(k);
}

void ev_child_send(struct world *w, struct world_child *c, const char *line, size_t len)
{
	(void)w;
	struct ev_child *k = c->impl;
	if (k == NULL || k->channel < 0)
		return;
	bool idle = k->out.len == 0;
	buf_add(&k->out, line, len);
	buf_add(&k->out, "\n", 1);
	if (idle)
		write_some(k);
}

/* ---- the end ---- */

static void destroy(struct ev_child *k)
{
	close_channel(k);
	if (k->exit_event)
		event_free(k->exit_event);
	if (k->pidfd >= 0)
		close(k->pidfd);
	list_remove(&k->hook);
	buf_fini(&k->in);
	buf_fini(&k->out);
	free(k);
}

static void on_child_exit(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	struct ev_child *k = arg;
	int status = 0;
	ev_wake(k->ev);
	if (waitpid(k->pid, &status, WNOHANG) != k->pid)
		return;
	if (k->channel >= 0) {
		(void)read_some(k, SIZE_MAX);
		if (!deliver_lines(k))
			return; /* abandoned from within */
	}
	struct world_child *c = k->c;
	c->impl = NULL;
	destroy(k);
	c->on_exit(c, WIFEXITED(status) ? WEXITSTATUS(status) : 0,
		   WIFSIGNALED(status) ? WTERMSIG(status) : 0);
}

void ev_child_kill(struct world *w, struct world_child *c, int signal)
{
	(void)w;
	struct ev_child *k = c->impl;
	if (k)
		pidfd_send_signal(k->pidfd, signal, NULL, 0);
}

/* SIGKILL cannot be refused: the wait is as long as the kernel needs to end the process. */
static void kill_and_reap(struct ev_child *k)
{
	pidfd_send_signal(k->pidfd, SIGKILL, NULL, 0);
	while (waitpid(k->pid, NULL, 0) < 0 && errno == EINTR)
		continue;
}

void ev_child_abandon(struct world *w, struct world_child *c)
{
	(void)w;
	struct ev_child *k = c->impl;
	if (k == NULL)
		return;
	c->impl = NULL;
	if (k->alive)
		*k->alive = false;
	kill_and_reap(k);
	destroy(k);
}

void ev_children_fini(struct ev *ev)
{
	list_each_safe (struct ev_child, k, &ev->children, hook)
		ev_child_abandon(&ev->base, k->c);
}

/* ---- the start ---- */

struct opened {
	int channel[2], report[2], log, null;
};

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static enum errc open_all(struct opened *o, const struct world_spawn_spec *spec, struct err *e)
{
	*o = (struct opened){{-1, -1}, {-1, -1}, -1, -1};
	if (spec->channel && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, o->channel) != 0)
		return err_errno(e, errno, "create the control channel");
	if (pipe2(o->report, O_CLOEXEC) != 0)
		return err_errno(e, errno, "create a pipe");
	o->null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (o->null < 0)
		return err_errno(e, errno, "open /dev/null");
	if (spec->log_path) {
		o->log = open(spec->log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
		if (o->log < 0)
			return err_errno(e, errno, "open %s", spec->log_path);
	}
	return ERR_OK;
}

static void close_all(struct opened *o)
{
	close_fd(&o->channel[0]);
	close_fd(&o->channel[1]);
	close_fd(&o->report[0]);
	close_fd(&o->report[1]);
	close_fd(&o->log);
	close_fd(&o->null);
}

/* Forks; waits until exec has succeeded or failed, which is a matter of microseconds. */
static enum errc launch(struct opened *o, const struct world_spawn_spec *spec, pid_t *out_pid,
			struct err *e)
{
	const char **env = merge_env(spec->env);
	struct launch l = {.path = spec->argv[0],
			   .argv = (char *const *)(uintptr_t)spec->argv,
			   .envp = (char *const *)(uintptr_t)env,
			   .channel = o->channel[1],
			   .pass = spec->pass_fd,
			   .log = o->log,
			   .null = o->null,
			   .report = o->report[1],
			   .parent = getpid()};
	sigset_t all, before;
	sigfillset(&all); /* no handler of ours may run in the child */
	pthread_sigmask(SIG_SETMASK, &all, &before);
	pid_t pid = fork();
	if (pid == 0)
		exec_child(&l);
	int error = pid < 0 ? errno : 0;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	free(env);
	close_fd(&o->report[1]);
	if (pid > 0 && read(o->report[0], &error, sizeof(error)) == (ssize_t)sizeof(error))
		waitpid(pid, NULL, 0);
	if (error != 0)
		return err_errno(e, error, "start %s", spec->argv[0]);
	*out_pid = pid;
	return ERR_OK;
}

static void watch(struct ev_child *k)
{
	k->pidfd = pidfd_open(k->pid, 0);
	if (k->pidfd < 0)
		world_die(&k->ev->base, "no descriptor for a child process");
	k->exit_event = event_new(k->ev->loop, k->pidfd, EV_READ | EV_PERSIST, on_child_exit, k);
	event_add(k->exit_event, NULL);
	if (k->channel < 0)
		return;
	k->read_event = event_new(k->ev->loop, k->channel, EV_READ | EV_PERSIST, on_readable, k);
	k->write_event = event_new(k->ev->loop, k->channel, EV_WRITE, on_writable, k);
	event_add(k->read_event, NULL);
}

enum errc ev_spawn(struct world *w, struct world_child *c, const struct world_spawn_spec *spec,
		   struct err *e)
{
	struct ev *ev = ev_of(w);
	struct opened o;
	pid_t pid = 0;
	enum errc rc = open_all(&o, spec, e);
	if (rc == ERR_OK)
		rc = launch(&o, spec, &pid, e);
	if (rc != ERR_OK) {
		close_all(&o);
		return rc;
	}
	struct ev_child *k = mem_alloc(sizeof(*k));
	*k = (struct ev_child){
		.ev = ev, .c = c, .pid = pid, .channel = o.channel[0], .line_max = spec->line_max};
	o.channel[0] = -1;
	close_all(&o);
	list_append(&ev->children, &k->hook);
	c->pid = pid;
	c->impl = k;
	watch(k);
	return ERR_OK;
}
