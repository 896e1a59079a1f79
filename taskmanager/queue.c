#include "taskmanager/queue.h"

#include <assert.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

/* ---- sleeping ---- */

void waker_init(struct waker *w)
{
	atomic_init(&w->asleep, 0);
	w->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (w->fd < 0)
		abort(); /* out of descriptors at start: nothing useful can be done */
}

void waker_fini(struct waker *w)
{
	if (w->fd > 0)
		close(w->fd);
	w->fd = -1;
}

void waker_wake(struct waker *w)
{
	uint64_t one = 1;

	if (atomic_load(&w->asleep) && atomic_exchange(&w->asleep, 0)) {
		ssize_t n = write(w->fd, &one, sizeof(one));
		(void)n; /* a full counter is awake enough */
	}
}

void waker_prepare(struct waker *w)
{
	atomic_store(&w->asleep, 1);
}

void waker_cancel(struct waker *w)
{
	if (!atomic_exchange(&w->asleep, 0))
		waker_drain(w);
}

void waker_drain(struct waker *w)
{
	uint64_t count;
	ssize_t n = read(w->fd, &count, sizeof(count));

	(void)n; /* nothing there: the wake-up is still on its way and will cost one empty round */
}

void waker_wait(struct waker *w, int fd, short events, int64_t timeout_ns)
{
	struct timespec t = {.tv_sec = timeout_ns / 1000000000, .tv_nsec = timeout_ns % 1000000000};
	struct pollfd p[2] = {{.fd = w->fd, .events = POLLIN}, {.fd = fd, .events = events}};

	(void)ppoll(p, fd >= 0 ? 2 : 1, timeout_ns >= 0 ? &t : NULL, NULL);
	waker_cancel(w);
}

/* ---- the ring ---- */

void queue_init(struct queue *q, uint32_t capacity)
{
	assert(capacity > 0 && capacity <= QUEUE_MAX);
	*q = (struct queue){.capacity = capacity};
}

void queue_fini(struct queue *q, struct batch_cache *c)
{
	struct batch *b;

	q->to_consumer = q->to_producer = (struct signal){0};
	queue_flush(q);
	while ((b = queue_take(q)) != NULL) {
		batch_free(c, b);
		queue_flush(q);
	}
}

static bool ring_push(struct queue *q, struct batch *b)
{
	uint32_t head = atomic_load_explicit(&q->head, memory_order_relaxed);

	if (head - q->tail_seen >= q->capacity) {
		q->tail_seen = atomic_load(&q->tail);
		if (head - q->tail_seen >= q->capacity)
			return false;
	}
	q->slot[head % QUEUE_MAX] = b;
	atomic_store(&q->head, head + 1);
	return true;
}

void queue_offer(struct queue *q, struct batch *b)
{
	b->next = NULL;
	if (!q->first && ring_push(q, b)) {
		signal_raise(&q->to_consumer);
		return;
	}
	if (q->first)
		q->last->next = b;
	else
		q->first = b;
	q->last = b;
}

bool queue_flush(struct queue *q)
{
	bool moved = false;

	while (q->first) {
		struct batch *b = q->first, *next = b->next;
		if (!ring_push(q, b))
			break;
		q->first = next;
		moved = true;
	}
	if (moved)
		signal_raise(&q->to_consumer);
	return !q->first;
}

const struct batch *queue_peek(struct queue *q)
{
	uint32_t tail = atomic_load_explicit(&q->tail, memory_order_relaxed);

	if (tail == q->head_seen) {
		q->head_seen = atomic_load(&q->head);
		if (tail == q->head_seen)
			return NULL;
	}
	return q->slot[tail % QUEUE_MAX];
}

struct batch *queue_take(struct queue *q)
{
	if (!queue_peek(q))
		return NULL;
	uint32_t tail = atomic_load_explicit(&q->tail, memory_order_relaxed);
	struct batch *b = q->slot[tail % QUEUE_MAX];
	if (b->kind == BATCH_DATA)
		atomic_fetch_add_explicit(&q->data_taken, 1, memory_order_relaxed);
	atomic_store(&q->tail, tail + 1);
	bool empty = tail + 1 == q->head_seen && tail + 1 == atomic_load(&q->head);
	if (++q->unsaid >= (q->capacity + 3) / 4 || empty) {
		q->unsaid = 0;
		signal_raise(&q->to_producer);
	}
	return b;
}
