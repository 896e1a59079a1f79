/* The loop: clock, timers, deferred tasks, signals, the end. */
#include "world/ev.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "base/killpoint.h"
#include "base/mem.h"
#include "world/ev_impl.h"

/* ---- clock ---- */

static uint64_t read_clock(clockid_t clock)
{
	struct timespec ts;
	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

void ev_wake(struct ev *ev)
{
	ev->now_ms = read_clock(CLOCK_BOOTTIME);
}

/* Before and after the loop runs nothing refreshes the clock, so it is read each time. */
static uint64_t now_ms(struct world *w)
{
	struct ev *ev = ev_of(w);
	if (!ev->running)
		ev_wake(ev);
	return ev->now_ms;
}

static int64_t wall_ms(struct world *w)
{
	(void)w;
	return (int64_t)read_clock(CLOCK_REALTIME);
}

static uint64_t rand64(struct world *w)
{
	uint64_t v;
	if (getrandom(&v, sizeof(v), 0) != (ssize_t)sizeof(v))
		world_die(w, "the kernel gives no random numbers");
	return v;
}

static uint64_t lateness_ms(struct world *w)
{
	return ev_of(w)->lateness_ms;
}

static bool is_log_on(struct world *w, enum log_level level)
{
	(void)w;
	return log_on(level);
}

static void log_text(struct world *w, enum log_level level, const char *text)
{
	(void)w;
	log_line(level, "%s", text);
}

/* ---- timers ---- */

/* A timerfd on CLOCK_BOOTTIME goes off after a suspended machine wakes up; epoll's own timeout,
 * which libevent would use, counts only the time awake. */
static void timer_follow(struct ev *ev)
{
	struct world_timer *first = timers_first(&ev->timers);
	uint64_t at_ms = first == NULL ? 0 : first->deadline_ms ? first->deadline_ms : 1;
	if (at_ms == ev->timer_set_ms)
		return;
	ev->timer_set_ms = at_ms;
	struct itimerspec spec = {.it_value = {.tv_sec = (time_t)(at_ms / 1000),
					       .tv_nsec = (long)(at_ms % 1000) * 1000000}};
	if (at_ms > (uint64_t)INT64_MAX / 1000)
		spec.it_value.tv_sec = (time_t)(INT64_MAX / 1000000);
	int rc = timerfd_settime(ev->timer_fd, TFD_TIMER_ABSTIME, &spec, NULL);
	assert(rc == 0);
	(void)rc;
}

static void timer_arm(struct world *w, struct world_timer *t, uint64_t deadline_ms)
{
	struct ev *ev = ev_of(w);
	timers_arm(&ev->timers, t, deadline_ms);
	timer_follow(ev);
}

static void timer_cancel(struct world *w, struct world_timer *t)
{
	struct ev *ev = ev_of(w);
	timers_cancel(&ev->timers, t);
	timer_follow(ev);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	(void)what;
	struct ev *ev = arg;
	uint64_t expirations;
	ssize_t n = read(fd, &expirations, sizeof(expirations));
	(void)n; /* EAGAIN when the timer was moved in the meantime */
	ev_wake(ev);
	ev->timer_set_ms = 0;
	uint64_t limit = ev->timers.seq;
	while (!ev->stopped) {
		struct world_timer *t = timers_take_due(&ev->timers, ev->now_ms, limit);
		if (t == NULL)
			break;
		ev->lateness_ms = ev->now_ms - t->deadline_ms;
		t->fire(t);
		ev_wake(ev);
	}
	ev->timer_set_ms = UINT64_MAX; /* whatever it was: set it anew */
	timer_follow(ev);
}

/* ---- deferred tasks ---- */

void ev_task_init(struct ev_task *t, void (*run)(struct ev_task *t))
{
	list_init(&t->hook);
	t->run = run;
}

void ev_defer(struct ev *ev, struct ev_task *t)
{
	if (!list_empty(&t->hook))
		return;
	list_append(&ev->tasks, &t->hook);
	event_active(ev->task_event, EV_TIMEOUT, 0);
}

void ev_undefer(struct ev_task *t)
{
	list_remove(&t->hook);
}

static void on_tasks(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	struct ev *ev = arg;
	struct list turn;
	list_init(&turn);
	/* Only what is in line now: what tasks put in line waits for the next turn. */
	while (!list_empty(&ev->tasks)) {
		struct list *hook = ev->tasks.next;
		list_remove(hook);
		list_append(&turn, hook);
	}
	while (!list_empty(&turn) && !ev->stopped) {
		struct ev_task *t = MEM_OWNER(turn.next, struct ev_task, hook);
		list_remove(&t->hook);
		ev_wake(ev);
		t->run(t);
	}
	while (!list_empty(&turn)) { /* stopped: they stay in line, to be cleaned up */
		struct list *hook = turn.next;
		list_remove(hook);
		list_append(&ev->tasks, hook);
	}
}

/* ---- descriptors of one's own ---- */

struct fd_watch {
	struct event *event;
	struct ev *ev;
	struct world_ev_fd *f;
};

static void on_fd(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	struct fd_watch *watch = arg;
	ev_wake(watch->ev);
	watch->f->ready(watch->f, (what & EV_READ) != 0, (what & EV_WRITE) != 0);
}

void world_ev_fd_start(struct world *w, struct world_ev_fd *f, bool readable, bool writable)
{
	struct fd_watch *watch = f->impl;
	short what = (short)(EV_PERSIST | (readable ? EV_READ : 0) | (writable ? EV_WRITE : 0));
	if (watch == NULL) {
		watch = mem_alloc(sizeof(*watch));
		*watch = (struct fd_watch){.ev = ev_of(w), .f = f};
		watch->event = event_new(ev_of(w)->loop, f->fd, what, on_fd, watch);
		f->impl = watch;
	} else {
		event_del(watch->event);
		event_assign(watch->event, ev_of(w)->loop, f->fd, what, on_fd, watch);
	}
	event_add(watch->event, NULL);
}

void world_ev_fd_stop(struct world *w, struct world_ev_fd *f)
{
	(void)w;
	struct fd_watch *watch = f->impl;
	if (watch == NULL)
		return;
	event_free(watch->event);
	free(watch);
	f->impl = NULL;
}

/* ---- signals, kill points, the end ---- */

static void on_signal_event(evutil_socket_t signal, short what, void *arg)
{
	(void)what;
	struct ev *ev = arg;
	ev_wake(ev);
	ev->on_signal(ev->signal_ctx, (int)signal);
}

void world_ev_on_signals(struct world *w, void (*on_signal)(void *ctx, int signal), void *ctx)
{
	struct ev *ev = ev_of(w);
	static const int which[] = {SIGTERM, SIGINT};
	assert(ev->on_signal == NULL);
	ev->on_signal = on_signal;
	ev->signal_ctx = ctx;
	for (int i = 0; i < 2; i++) {
		ev->signals[i] = evsignal_new(ev->loop, which[i], on_signal_event, ev);
		event_add(ev->signals[i], NULL);
	}
}

static void kill_point(struct world *w, const char *name)
{
	killpoint_pass(&ev_of(w)->kill, name);
}

static void stop(struct world *w)
{
	ev_of(w)->stopped = true;
	event_base_loopbreak(ev_of(w)->loop);
}

static void die(struct world *w, const char *why)
{
	(void)w;
	log_line(LOG_LEVEL_ERROR, "this process must not go on: %s", why);
	log_close();
	abort();
}

static const struct world_ops ops = {
	.now_ms = now_ms,
	.wall_ms = wall_ms,
	.rand64 = rand64,
	.lateness_ms = lateness_ms,
	.log_on = is_log_on,
	.log = log_text,
	.timer_arm = timer_arm,
	.timer_cancel = timer_cancel,
	.http_start = ev_http_start,
	.http_cancel = ev_http_cancel,
	.listen = ev_listen,
	.unlisten = ev_unlisten,
	.reply_with = ev_reply_with,
	.reply_start = ev_reply_start,
	.reply_chunk = ev_reply_chunk,
	.reply_end = ev_reply_end,
	.spawn = ev_spawn,
	.child_send = ev_child_send,
	.child_kill = ev_child_kill,
	.child_abandon = ev_child_abandon,
	.offload = ev_offload,
	.stop = stop,
	.die = die,
	.kill_point = kill_point,
};

static bool open_loop(struct ev *ev, struct err *e)
{
	ev->loop = event_base_new();
	ev->timer_fd = timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK | TFD_CLOEXEC);
	if (ev->loop == NULL || ev->timer_fd < 0) {
		err_errno(e, errno, "create the event loop");
		return false;
	}
	ev->timer_event = event_new(ev->loop, ev->timer_fd, EV_READ | EV_PERSIST, on_timer, ev);
	ev->task_event = event_new(ev->loop, -1, 0, on_tasks, ev);
	event_add(ev->timer_event, NULL);
	return ev_http_client_init(ev, e);
}

struct world *world_ev_create(struct err *e)
{
	struct ev *ev = mem_alloc(sizeof(*ev));
	ev->base.ops = &ops;
	ev->timer_fd = -1;
	ev->off.wake_fd = -1;
	list_init(&ev->tasks);
	list_init(&ev->exchanges);
	list_init(&ev->servers);
	list_init(&ev->children);
	signal(SIGPIPE, SIG_IGN);
	killpoint_init(&ev->kill);
	ev->base.kill_armed = ev->kill.armed;
	if (!open_loop(ev, e)) {
		world_ev_destroy(&ev->base);
		return NULL;
	}
	ev_wake(ev);
	return &ev->base;
}

void world_ev_run(struct world *w)
{
	struct ev *ev = ev_of(w);
	ev->running = true;
	if (!list_empty(&ev->tasks)) /* left in line when the loop was stopped before */
		event_active(ev->task_event, EV_TIMEOUT, 0);
	while (!ev->stopped)
		event_base_loop(ev->loop, EVLOOP_NO_EXIT_ON_EMPTY);
	ev->running = false;
	ev->stopped = false;
}

void world_ev_destroy(struct world *w)
{
	if (w == NULL)
		return;
	struct ev *ev = ev_of(w);
	ev_offload_fini(ev);
	ev_children_fini(ev);
	ev_http_server_fini(ev);
	ev_http_client_fini(ev);
	for (int i = 0; i < 2; i++) {
		if (ev->signals[i])
			event_free(ev->signals[i]);
	}
	timers_fini(&ev->timers);
	if (ev->timer_event)
		event_free(ev->timer_event);
	if (ev->task_event)
		event_free(ev->task_event);
	if (ev->timer_fd >= 0)
		close(ev->timer_fd);
	if (ev->loop)
		event_base_free(ev->loop);
	free(ev);
}

struct event_base *world_ev_base(struct world *w)
{
	return ev_of(w)->loop;
}
