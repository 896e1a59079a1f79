/*
 * storage_impl - what the two kinds of storage implement behind storage.h.
 * Private to state/.
 */
#ifndef STATE_STORAGE_IMPL_H
#define STATE_STORAGE_IMPL_H

#include <pthread.h>

#include "state/storage.h"

struct storage_upload {
	struct storage *storage;
	uint64_t bytes;    /* written so far */
	uint64_t begin_ms; /* for the pace */
};

/* As the functions of storage.h; names are checked and not cancelled before. */
struct storage_ops {
	void (*close)(struct storage *s);
	enum errc (*check)(struct storage *s, struct err *e);
	enum errc (*put)(struct storage *s, const char *name, const void *data, size_t len,
			 struct err *e);
	enum errc (*get)(struct storage *s, const char *name, size_t max, struct buf *out,
			 struct err *e);
	enum errc (*get_range)(struct storage *s, const char *name, uint64_t offset, void *data,
			       size_t len, struct err *e);
	enum errc (*look)(struct storage *s, const char *name, struct storage_object *out,
			  struct err *e);
	enum errc (*remove)(struct storage *s, const char *const names[], size_t n, struct err *e);
	enum errc (*list)(struct storage *s, const char *prefix, size_t max,
			  struct storage_names *out, struct err *e);
	enum errc (*begin)(struct storage *s, const char *name, struct storage_upload **out,
			   struct err *e);
	enum errc (*write)(struct storage_upload *u, const void *data, size_t len, struct err *e);
	enum errc (*commit)(struct storage_upload *u, struct err *e); /* does not free u */
	void (*abort)(struct storage_upload *u);                      /* frees u */
};

/* The head of both kinds. */
struct storage {
	const struct storage_ops *ops;
	char *root;
	uint64_t write_bytes_per_s;
	uint64_t write_delay_ms;
	bool cancelled; /* atomic; changed under the lock */
	pthread_mutex_t lock;
	pthread_cond_t wake; /* on CLOCK_MONOTONIC */
};

void storage_init(struct storage *s, const struct storage_ops *ops, const char *root,
		  const struct storage_config *c);
void storage_fini(struct storage *s);
/* Wait, or return CANCELED at once when storage_cancel() is called. */
MUST_CHECK enum errc storage_wait(struct storage *s, uint64_t ms, struct err *e);
uint64_t storage_clock_ms(void);
bool storage_cancelled(const struct storage *s);
/* Append a copy of `name`, LIMIT above `max`. */
MUST_CHECK enum errc storage_names_add(struct storage_names *n, const char *name, size_t max,
				       struct err *e);

MUST_CHECK enum errc storage_open_file(const struct storage_config *c, struct storage **out,
				       struct err *e);
MUST_CHECK enum errc storage_open_s3(const struct storage_config *c, struct storage **out,
				     struct err *e);

#endif
