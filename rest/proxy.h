/*
 * proxy - a request that only the leader can answer, passed on to it.
 *
 * Marked with a header, so that it is never passed on twice: two standbys that
 * think the other leads would send it round for ever. Repeated once, at the
 * next leader, only if that does no harm: a repeatable request, or any whose
 * first try surely was not carried out.
 *
 *   accept --> FORWARDED --reply--> answered
 *                  |--503 of no leader, lost--> WAITING for another leader --> FORWARDED (once)
 *                  |--another leads now, repeatable--> likewise, at once: the old
 *                  |    one may be frozen, and its answer never come
 *                                     |--too long--> 503
 *                                     |--it is ourselves--> handed back to the owner
 *
 * Answers name the epoch of the leader that gave them: so its own 503 (it cannot do that now) is
 * told from that of somebody who does not lead. One that names a lower epoch than that of who
 * leads now, as far as we know, is dropped if the request is repeatable, as if it had been lost.
 *
 * The owner says who leads: proxy_leader() or proxy_ours() whenever that
 * changes. Requests that arrive while nobody leads wait up to PROXY_WAIT_MS
 * for somebody: longer than a leader's lease.
 *
 * Ownership: from proxy_forward() on the request is the proxy's until it is
 * answered or gone (then the owner's on_gone calls proxy_gone()).
 */
#ifndef REST_PROXY_H
#define REST_PROXY_H

#include <stdbool.h>

#include "world/world.h"

enum {
	PROXY_WAIT_MS = 8000,
	PROXY_HOLD_MS = 1000,
	PROXY_TIMEOUT_MS = 30000,
	PROXY_OPEN_MAX = 1000
};

/* On every forwarded request: the id of the JobManager that passed it on. */
#define PROXY_HEADER "X-Weir-Forwarded"
/* On every answer of a leader: its epoch. */
#define PROXY_EPOCH "X-Weir-Epoch"

struct proxy;

struct proxy *proxy_create(struct world *w, const char *own_id, const struct world_tls *tls);
void proxy_destroy(struct proxy *p); /* open requests are forgotten. NULL: no-op */

/* `address` "host:port" of the leader's REST API, `epoch` its number; NULL: nobody leads. */
void proxy_leader(struct proxy *p, const char *address, uint64_t epoch);
/* We lead: requests that wait are handed back by handle(), with the body that they were given (or
 * their own), borrowed for the call. */
void proxy_ours(struct proxy *p,
		void (*handle)(void *owner, struct world_request *r, const char *body),
		void *owner);

/* `body` replaces the request's own if not NULL (copied). */
void proxy_forward(struct proxy *p, struct world_request *r, bool repeatable, const char *body);
/* A request that was forwarded to us while we do not lead, or not yet: the one who sent it may have
 * seen the queue change before our barrier was through. Handed back if we come to lead; 503 after
 * PROXY_HOLD_MS, or when somebody else does. Never sent anywhere. */
void proxy_hold(struct proxy *p, struct world_request *r);
/* True if the request was the proxy's. */
bool proxy_gone(struct proxy *p, struct world_request *r);
bool proxy_forwarded(const struct world_request *r); /* came from another JobManager */

#endif
