/*
 * sim_blob - checkpoint storage in the simulator: struct blob_port with delays,
 * refusals, unknown outcomes, and objects that were damaged or lost.
 *
 * One store, outside of every node, that outlives them; one port per process
 * (struct world). An operation takes effect when it is asked for or when it
 * completes, by the throw of a coin, so that a process that dies in between
 * leaves either behind. UNKNOWN means just that: some of those puts and
 * removals have happened, the others never will.
 *
 * Put of a name that exists: success if the bytes are the same, else EXISTS.
 */
#ifndef WORLD_SIM_SIM_BLOB_H
#define WORLD_SIM_SIM_BLOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "state/blob.h"
#include "world/sim/sim.h"

struct sim_blob;

struct sim_blob_knobs {
	uint32_t delay_min_ms, delay_max_ms;
	uint32_t unavailable_ppm; /* operations that fail, surely not done */
	uint32_t unknown_ppm;     /* puts and removals with an unknown outcome */
};

struct sim_blob *sim_blob_create(uint64_t seed, const char *root); /* 2 to 20 ms, no failures */
void sim_blob_destroy(struct sim_blob *b);                 /* after sim_destroy() and all ports */
struct sim_blob_knobs *sim_blob_knobs(struct sim_blob *b); /* may be changed at any time */

/* A process's view. Destroying it forgets its operations: their done() will not run. */
struct blob_port *sim_blob_port_create(struct sim_blob *b, struct world *w);
void sim_blob_port_destroy(struct blob_port *p); /* NULL: no-op */

void sim_blob_set_down(struct sim_blob *b, bool down); /* everything is UNAVAILABLE */
bool sim_blob_has(const struct sim_blob *b, const char *name);
size_t sim_blob_count(const struct sim_blob *b);
/* For checkers. The object's bytes, or NULL; borrowed until the next event. */
const char *sim_blob_peek(const struct sim_blob *b, const char *name, size_t *len);
/* Called after every change: data NULL when the object was removed. */
void sim_blob_on_change(struct sim_blob *b,
			void (*fn)(void *ctx, const char *name, const char *data, size_t len),
			void *ctx);
/* For tests: flip a byte of the object; let it vanish. False: there is no such object. */
bool sim_blob_damage(struct sim_blob *b, const char *name);
bool sim_blob_lose(struct sim_blob *b, const char *name);
/* Put an object there directly, as if by somebody else. */
void sim_blob_place(struct sim_blob *b, const char *name, const void *data, size_t len);

#endif
