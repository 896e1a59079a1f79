/*
 * blob - named objects in checkpoint storage, asynchronously: the control
 * plane's view of it.
 *
 * Implementations: blob_offload (state/storage.h's blocking client on
 * world_offload) in production, the simulator's store under world/sim/.
 * Names are relative to the configured root ("jobs/<id>/chk-7/manifest-...").
 * An object is written once and never changed; putting the same bytes again is
 * success, other bytes under a name that exists is ERR_EXISTS.
 *
 * Every operation ends exactly once, on the loop, never inside the call.
 * Outcomes: OK; NOTFOUND; CORRUPT; DENIED (credentials); UNAVAILABLE (surely
 * not done, retries are used up); UNKNOWN (a put or delete that may have
 * happened: do it again, both are idempotent).
 */
#ifndef STATE_BLOB_H
#define STATE_BLOB_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct blob_op {
	void (*done)(struct blob_op *op);
	struct err err; /* code OK on success */
	char *data;     /* get: owned by the op until done returns; ends in a zero byte */
	size_t len;
	char **names; /* list: likewise */
	size_t n_names;
	void *impl; /* private; not NULL while under way */
};

struct blob_port {
	void (*put)(struct blob_port *p, struct blob_op *op, const char *name, const void *data,
		    size_t len); /* copies */
	void (*get)(struct blob_port *p, struct blob_op *op, const char *name, size_t max);
	void (*remove)(struct blob_port *p, struct blob_op *op, const char *const names[],
		       size_t n); /* names that do not exist: success */
	void (*list)(struct blob_port *p, struct blob_op *op, const char *prefix);
	void (*cancel)(struct blob_port *p, struct blob_op *op); /* done will not run */
	const char *root; /* for display: "s3://bucket/prefix" */
};

#endif
