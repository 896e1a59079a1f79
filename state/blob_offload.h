/*
 * blob_offload - state/blob.h's port: the blocking storage client on
 * world_offload. What the control plane uses in production.
 *
 * The loop never waits: each operation is one piece of work on the world's
 * offload threads, and ends by done() on the loop. cancel() forgets the
 * operation at once; the work itself may still be carried out (a put or remove
 * may happen after its cancel).
 *
 * Ownership: world and storage are borrowed and outlive it. destroy() may be
 * called with work under way: no done() runs afterwards, the memory goes with
 * the last piece of work. Threads: the loop's.
 */
#ifndef STATE_BLOB_OFFLOAD_H
#define STATE_BLOB_OFFLOAD_H

#include "state/blob.h"
#include "state/storage.h"
#include "world/world.h"

struct blob_offload;

struct blob_offload *blob_offload_create(struct world *w, struct storage *s);
void blob_offload_destroy(struct blob_offload *b); /* NULL: no-op */
struct blob_port *blob_offload_port(struct blob_offload *b);

#endif
