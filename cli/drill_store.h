/*
 * drill_store - an object store in this process's memory, for drills only.
 *
 * Speaks as much of S3 as Weir asks of it for small objects (PUT with
 * If-None-Match, GET with a range, HEAD, ListObjectsV2, batch deletion), so
 * that Weir's own S3 client meets the faults: every request may be refused
 * with 503 SlowDown, or answered late. Signatures are not checked; it listens on
 * loopback only. It serves while the world runs, and forgets all at the end.
 *
 * Limits: 64 MiB an object, no multipart uploads (501).
 */
#ifndef CLI_DRILL_STORE_H
#define CLI_DRILL_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "world/world.h"

struct drill_store;

MUST_CHECK enum errc drill_store_create(struct world *w, const char *host, struct drill_store **out,
					struct err *e);
void drill_store_destroy(struct drill_store *s);              /* NULL: no-op */
const char *drill_store_address(const struct drill_store *s); /* "host:port" */

/* From now on every answer is so late. 0: at once again. */
void drill_store_delay(struct drill_store *s, uint64_t ms);
/* From now on every request is refused, or served again. */
void drill_store_refuse(struct drill_store *s, bool refuse);

#endif
