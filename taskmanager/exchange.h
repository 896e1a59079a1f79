/*
 * exchange - the network thread of a worker and its links to all peers.
 *
 *   create -> out / in (every channel, in the order that both sides count) -> start -> attach ...
 *
 * There is one connection per pair of workers that share a channel. Channels of a pair are counted
 * per direction, in the order of exchange_out() here and exchange_in() there: both sides walk the
 * same graph. A broken connection is reported once and ends the attempt: it is never reconnected.
 *
 * Threads: one of its own. create, out, in, start from one thread; attach and bye from any.
 * Ownership: queues are borrowed and outlive the exchange.
 */
#ifndef TASKMANAGER_EXCHANGE_H
#define TASKMANAGER_EXCHANGE_H

#include "taskmanager/link.h"

struct exchange;

struct exchange_config {
	unsigned n_peers; /* places; those without a channel stay unused */
	struct batch_pool *pool;
	uint32_t credits; /* per channel */
	/* On the network thread: the connection to `peer` is lost, e is ERR_UNAVAILABLE. */
	void (*failed)(void *owner, unsigned peer, const struct err *e);
	void *owner;
};

struct exchange *exchange_create(const struct exchange_config *c);
void exchange_out(struct exchange *x, unsigned peer, struct queue *q);
void exchange_in(struct exchange *x, unsigned peer, struct queue *q);
bool exchange_uses(const struct exchange *x, unsigned peer); /* does it need a connection? */
void exchange_start(struct exchange *x);
/* Takes the socket. A second one for a peer is closed. */
void exchange_attach(struct exchange *x, unsigned peer, int fd);
/* Send BYE everywhere and wait, at most limit_ms, until it has left. */
void exchange_bye(struct exchange *x, unsigned limit_ms);
/* Joins the thread, closes. NULL: no-op. */
void exchange_destroy(struct exchange *x);
/* Bytes over all links so far (a little behind). */
void exchange_bytes(const struct exchange *x, uint64_t *out_sent, uint64_t *out_received);

/*
 * Connect to a peer's data address ("ip:port") and send the preface: blocks up to limit_ms, tries
 * again while refused. ERR_UNAVAILABLE: no connection.
 */
MUST_CHECK enum errc exchange_connect(const char *address, const unsigned char *preface,
				      size_t preface_len, unsigned limit_ms, int *out_fd,
				      struct err *e);

#endif
