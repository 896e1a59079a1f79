#include "taskmanager/exec.h"

#include <stdlib.h>
#include <time.h>

static uint64_t clock_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void pause_cpu(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#endif
}

static bool waits(enum task_verdict v)
{
	return v == TASK_IDLE || v == TASK_BLOCKED;
}

/* Nothing to do: look a few times more, then once after saying that we sleep, then sleep. */
static enum task_verdict idle(struct exec *x, enum task_verdict v)
{
	struct task_wait w;

	for (unsigned i = 0; i < x->spins && waits(v); i++) {
		pause_cpu();
		v = task_poll(x->task, clock_ns(), &w);
	}
	if (!waits(v))
		return v;
	waker_prepare(&x->task->waker);
	uint64_t now = clock_ns();
	v = task_poll(x->task, now, &w);
	if (!waits(v)) {
		waker_cancel(&x->task->waker);
		return v;
	}
	int64_t timeout = -1;
	if (w.until_ns)
		timeout = w.until_ns > now ? (int64_t)(w.until_ns - now) : 0;
	waker_wait(&x->task->waker, w.fd, w.events, timeout);
	return v;
}

static void *thread_main(void *arg)
{
	struct exec *x = arg;
	enum task_verdict v = TASK_BUSY;
	struct task_wait w;

	if (task_open(x->task, x->restore, x->restore_owner))
		x->opened(x->owner, x->task);
	else
		v = TASK_ENDED;
	while (v != TASK_ENDED) {
		v = task_poll(x->task, clock_ns(), &w);
		if (waits(v))
			v = idle(x, v);
	}
	batch_cache_clear(&x->task->cache);
	x->ended(x->owner, x->task);
	return NULL;
}

void exec_start(struct exec *x)
{
	if (pthread_create(&x->thread, NULL, thread_main, x) != 0)
		abort();
	x->started = true;
}

void exec_join(struct exec *x)
{
	if (x->started)
		pthread_join(x->thread, NULL);
	x->started = false;
}
