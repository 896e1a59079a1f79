/*
 * link - one data connection to a peer worker: frames, credit, and the queues at both ends.
 *
 *   task --queue--> out channel --\                          /--> in channel --queue--> task
 *                                  +--[ frames ] TCP [ frames ]
 *   task --queue--> out channel --/                          \--> in channel --queue--> task
 *
 * A frame is a batch with its 16-byte header in front (batch.h). Frames of one direction are
 * numbered from 1; a gap, an unknown channel or kind, an impossible length, or data without credit
 * ends the connection: bytes in flight are lost then, so the attempt has failed.
 *
 * Credit: the receiver grants LINK_CREDITS data frames per channel at the start and gives credits
 * back as the task takes batches (in quarters, or when the queue is empty). Barriers, ends and
 * credits need none, but stay behind the data of their channel. The reader never waits for one
 * channel: what a full queue does not take goes to the queue's overflow, which credit bounds.
 *
 * Sending collects up to LINK_BATCH frames into one writev; receiving reads a payload and the next
 * header in one readv but never waits for that header.
 *
 * Orderly end: link_bye() sends BYE behind everything; after the peer's BYE an end of the stream is
 * no error.
 *
 * Threads: the network thread; tasks reach it through queues and news bits only.
 */
#ifndef TASKMANAGER_LINK_H
#define TASKMANAGER_LINK_H

#include <stdatomic.h>

#include "taskmanager/queue.h"

enum { LINK_BATCH = 8, LINK_CREDITS = 16, LINK_CHANNELS_MAX = 65535, LINK_READ_FRAMES = 32 };

struct link_out {
	struct queue *queue; /* borrows */
	uint32_t credit;
};

struct link_in {
	struct queue *queue;        /* borrows */
	uint32_t granted, received; /* data frames, ever (wrap) */
};

struct link {
	int fd;                    /* owns; -1: not connected */
	struct batch_cache *cache; /* borrows: the network thread's */
	uint32_t credits;          /* per in channel; LINK_CREDITS unless memory is short */
	uint32_t n_out, n_in;
	struct link_out *out;                 /* owns */
	struct link_in *in;                   /* owns */
	_Atomic uint64_t *out_news, *in_news; /* own: a bit per channel, set by tasks */
	uint64_t *ready; /* owns: out channels that may have something to send */
	uint32_t next;   /* out channel to begin with */
	struct batch *control_first, *control_last; /* credits, bye: go first */
	struct batch *sending[LINK_BATCH];
	uint32_t n_sending;
	size_t sent; /* bytes of sending[0] */
	bool stuck;  /* the socket is full: wait for it to be writable */
	uint64_t send_sequence, receive_sequence;
	struct batch_frame head;
	size_t head_got;
	struct batch *body;
	size_t body_got;
	bool bye_seen, bye_asked;
	uint64_t bytes_sent, bytes_received;
};

void link_init(struct link *l, struct batch_cache *cache, uint32_t credits);
void link_fini(struct link *l); /* closes */
/* Before link_prepare. Sets the queue's signal on the network side. */
void link_add_out(struct link *l, struct queue *q, struct waker *net);
void link_add_in(struct link *l, struct queue *q, struct waker *net);
/* After all channels, before any task runs: from now on queues may be used. */
void link_prepare(struct link *l);
/* Takes the socket (non-blocking) and queues the first credits. */
void link_start(struct link *l, int fd);

/* Send what can be sent, credits included. *progress: something moved. */
MUST_CHECK enum errc link_send(struct link *l, bool *progress, struct err *e);
/* Receive up to LINK_READ_FRAMES frames. */
MUST_CHECK enum errc link_receive(struct link *l, bool *progress, struct err *e);
/* Is there news that link_send has not seen? For the last look before sleeping. */
bool link_news(const struct link *l);
void link_bye(struct link *l);
bool link_idle(const struct link *l); /* nothing left to send */

#endif
