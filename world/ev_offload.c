/* Blocking work on a few threads; completions come back to the loop through an eventfd. */
#include <assert.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/mem.h"
#include "world/ev_impl.h"

struct ev_job {
	struct world_work *work; /* borrowed until done */
	struct ev_job *next;
};

static struct ev_job *take(struct ev_job **first, struct ev_job ***end)
{
	struct ev_job *job = *first;
	if (job == NULL)
		return NULL;
	*first = job->next;
	if (*first == NULL)
		*end = first;
	job->next = NULL;
	return job;
}

static void put(struct ev_job ***end, struct ev_job *job)
{
	**end = job;
	*end = &job->next;
}

static void *thread_main(void *arg)
{
	struct ev_offload *off = arg;
	pthread_mutex_lock(&off->lock);
	while (!off->stopping) {
		struct ev_job *job = take(&off->waiting, &off->waiting_end);
		if (job == NULL) {
			pthread_cond_wait(&off->more, &off->lock);
			continue;
		}
		pthread_mutex_unlock(&off->lock);
		job->work->run(job->work);
		pthread_mutex_lock(&off->lock);
		put(&off->finished_end, job);
		uint64_t one = 1;
		ssize_t n = write(off->wake_fd, &one, sizeof(one));
		assert(n == (ssize_t)sizeof(one));
		(void)n;
	}
	pthread_mutex_unlock(&off->lock);
	return NULL;
}

static void on_finished(evutil_socket_t fd, short what, void *arg)
{
	(void)what;
	struct ev *ev = arg;
	uint64_t count;
	ssize_t n = read(fd, &count, sizeof(count));
	(void)n;
	while (!ev->stopped) {
		pthread_mutex_lock(&ev->off.lock);
		struct ev_job *job = take(&ev->off.finished, &ev->off.finished_end);
		pthread_mutex_unlock(&ev->off.lock);
		if (job == NULL)
			return;
		struct world_work *work = job->work;
		free(job);
		work->impl = NULL;
		ev_wake(ev);
		work->done(work);
	}
	/* Stopped in the middle: if the loop runs again, the rest is delivered then. */
	event_active(ev->off.wake, EV_READ, 0);
}

/* Signals are the loop's: a thread that took SIGTERM would only confuse. */
static void start_threads(struct ev *ev)
{
	struct ev_offload *off = &ev->off;
	sigset_t all, before;
	pthread_mutex_init(&off->lock, NULL);
	pthread_cond_init(&off->more, NULL);
	off->waiting_end = &off->waiting;
	off->finished_end = &off->finished;
	off->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	off->wake = event_new(ev->loop, off->wake_fd, EV_READ | EV_PERSIST, on_finished, ev);
	if (off->wake_fd < 0 || off->wake == NULL)
		world_die(&ev->base, "no descriptor for blocking work");
	event_add(off->wake, NULL);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	while (off->n_threads < OFFLOAD_THREADS) {
		if (pthread_create(&off->threads[off->n_threads], NULL, thread_main, off) != 0)
			world_die(&ev->base, "no thread for blocking work");
		off->n_threads++;
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void ev_offload(struct world *w, struct world_work *k)
{
	struct ev *ev = ev_of(w);
	if (ev->off.n_threads == 0)
		start_threads(ev);
	struct ev_job *job = mem_alloc(sizeof(*job));
	job->work = k;
	assert(k->impl == NULL);
	k->impl = job;
	pthread_mutex_lock(&ev->off.lock);
	put(&ev->off.waiting_end, job);
	pthread_cond_signal(&ev->off.more);
	pthread_mutex_unlock(&ev->off.lock);
}

static void drop(struct ev_job *job)
{
	while (job) {
		struct ev_job *next = job->next;
		free(job);
		job = next;
	}
}

void ev_offload_fini(struct ev *ev)
{
	struct ev_offload *off = &ev->off;
	if (off->n_threads == 0)
		return;
	pthread_mutex_lock(&off->lock);
	off->stopping = true;
	pthread_cond_broadcast(&off->more);
	pthread_mutex_unlock(&off->lock);
	for (unsigned i = 0; i < off->n_threads; i++)
		pthread_join(off->threads[i], NULL);
	drop(off->waiting);
	drop(off->finished);
	event_free(off->wake);
	close(off->wake_fd);
	pthread_cond_destroy(&off->more);
	pthread_mutex_destroy(&off->lock);
	off->n_threads = 0;
}
