/*
 * queue - a bounded ring of batches between two threads, and how they sleep.
 *
 *   producer --offer--> [overflow] -> ring (at most `capacity`) --take--> consumer
 *
 * One producer, one consumer. queue_offer() always takes the batch; what does not fit waits in the
 * producer's own overflow list, in order, until queue_flush() finds room. A producer that sees
 * queue_stuck() should produce nothing more.
 *
 * Sleeping: a thread has one waker. It calls waker_prepare(), looks once more for anything to do,
 * and then waker_wait() or waker_cancel(). Whoever changes something for it calls waker_wake()
 * afterwards. No wake-up is lost: prepare's store and the other side's change are both sequentially
 * consistent, so at least one side sees the other.
 *
 * A signal says whom to wake and which bit to set for it, so that a thread with many channels looks
 * only at those with news. The consumer raises its signal to the producer not for every batch but
 * when a quarter of the ring is free again or the ring is empty: a wake-up costs microseconds.
 *
 * Limits: QUEUE_MAX batches in the ring.
 */
#ifndef TASKMANAGER_QUEUE_H
#define TASKMANAGER_QUEUE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "taskmanager/batch.h"

enum { QUEUE_MAX = 64 };

struct waker {
	_Alignas(128) atomic_int asleep;
	int fd; /* an eventfd, readable once woken; its owner may poll it itself */
};

void waker_init(struct waker *w);
void waker_fini(struct waker *w);
void waker_wake(struct waker *w); /* any thread */
void waker_prepare(struct waker *w);
void waker_cancel(struct waker *w);
/* Until woken, `fd` (-1: none) has one of `events`, or timeout_ns (-1: no limit) passed. */
void waker_wait(struct waker *w, int fd, short events, int64_t timeout_ns);
/* For owners that poll `fd` themselves: call when it was readable. */
void waker_drain(struct waker *w);

struct signal {
	struct waker *waker;    /* borrows; NULL: nobody to wake */
	_Atomic uint64_t *word; /* borrows; NULL: no bit */
	uint64_t bit;
};

static inline void signal_raise(const struct signal *s)
{
	if (s->word)
		atomic_fetch_or(s->word, s->bit);
	if (s->waker)
		waker_wake(s->waker);
}

struct queue {
	/* the producer's */
	_Alignas(128) _Atomic uint32_t head;
	uint32_t tail_seen;
	struct batch *first, *last; /* overflow */
	struct signal to_consumer;
	/* the consumer's */
	_Alignas(128) _Atomic uint32_t tail;
	uint32_t head_seen;
	uint32_t unsaid;             /* taken since the producer was last signalled */
	_Atomic uint32_t data_taken; /* data batches ever taken: what credits are computed from */
	struct signal to_producer;
	/* constant */
	_Alignas(128) uint32_t capacity;
	struct batch *slot[QUEUE_MAX];
};

void queue_init(struct queue *q, uint32_t capacity); /* capacity at most QUEUE_MAX */
/* Frees what is still in it. Both threads are gone. */
void queue_fini(struct queue *q, struct batch_cache *c);

/* The producer. Takes the batch. */
void queue_offer(struct queue *q, struct batch *b);
/* Move the overflow into the ring as far as it goes; true if nothing is left over. */
bool queue_flush(struct queue *q);
static inline bool queue_stuck(const struct queue *q)
{
	return q->first != NULL;
}

/* The consumer. NULL: empty. The batch is the caller's. */
struct batch *queue_take(struct queue *q);
/* Look without taking. */
const struct batch *queue_peek(struct queue *q);

#endif
