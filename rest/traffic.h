/*
 * traffic - how many records and bytes have gone through each vertex of an attempt, as workers
 * count and messages carry it: [[vertex, readRecords, readBytes, writeRecords, writeBytes], ...].
 *
 * Read: taken from the vertex's inputs, or by a source from outside. Written: handed to the
 * vertices behind it, or by a sink to outside. Counted since the attempt began, so that a restart
 * begins at 0. For people and dashboards; nothing is decided by it.
 *
 * The list travels in the `stats` of a worker's beat and acknowledgement ("vertices"), and of a
 * TaskManager's beat ("counts": [{"job","region","attempt","vertices"}]); and in a registration's
 * items, for a leader that ends the job before the next beat.
 */
#ifndef REST_TRAFFIC_H
#define REST_TRAFFIC_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct traffic {
	uint64_t read_records, read_bytes, write_records, write_bytes;
};

void traffic_add(struct traffic *to, const struct traffic *more);
void traffic_put(json_t *list, unsigned vertex, const struct traffic *t);
/* Entry `i`; false: there is none, or it is malformed. `list` may be anything. */
bool traffic_get(const json_t *list, size_t i, unsigned *vertex, struct traffic *out);

#endif
