/*
 * client - asks JobManagers over REST, one request at a time, and waits.
 *
 * Any JobManager of the list answers for all. One that refuses the connection
 * or does not answer is passed over for the next; 503 (nobody leads just now)
 * is asked again after its Retry-After. So a command survives a failover in
 * its middle. That goes on for the client's patience (--timeout); but when
 * every address refuses twice in a row there is nobody to wait for.
 *
 * Every request that the command line sends may be repeated: submissions carry
 * a job id of their own, canceling twice is canceling once.
 *
 * Threads: one; a call runs the world until it has its answer.
 */
#ifndef CLI_CLIENT_H
#define CLI_CLIENT_H

#include <jansson.h>
#include <stdint.h>

#include "base/err.h"
#include "world/world.h"

struct client;

/* Copies the addresses ("host:port", or "http://host:port"). */
struct client *client_create(struct world *w, const char *const *servers, unsigned n,
			     uint64_t patience_ms);
void client_destroy(struct client *c); /* NULL: no-op */

/*
 * One request. OK: the answer is a 2xx, and *out its JSON (the caller's; may be
 * NULL if it does not matter). NOTFOUND: 404; INVALID: another 4xx; both with
 * the text of the answer's "errors". UNAVAILABLE: nobody answered in time.
 * `body` is borrowed, NULL for none.
 */
MUST_CHECK enum errc client_call(struct client *c, const char *method, const char *path,
				 const json_t *body, json_t **out, struct err *e);
/* One attempt at one address: OK with any status but 0, *out NULL if the body is no JSON. */
MUST_CHECK enum errc client_probe(struct client *c, const char *address, const char *path,
				  uint64_t timeout_ms, int *out_status, json_t **out,
				  struct err *e);
/* Likewise with any method; `body` is borrowed, NULL for none. */
MUST_CHECK enum errc client_once(struct client *c, const char *method, const char *address,
				 const char *path, const json_t *body, uint64_t timeout_ms,
				 int *out_status, json_t **out, struct err *e);
/* Let that much time pass on the world. Ends early when the world is stopped. */
void client_pause(struct client *c, uint64_t ms);

#endif
