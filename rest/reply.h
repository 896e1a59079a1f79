/*
 * reply - how every answer looks: one JSON value; errors are exactly
 * {"errors": ["..."]}, nothing else in them (Flink's clients decide by that).
 */
#ifndef REST_REPLY_H
#define REST_REPLY_H

#include <jansson.h>

#include "base/err.h"
#include "world/world.h"

/* Takes `value`. */
void reply_json(struct world *w, struct world_request *r, int status, json_t *value);
void reply_error(struct world *w, struct world_request *r, int status, const char *fmt, ...)
	PRINTF_LIKE(4, 5);
/* 503 with Retry-After: clients try again; it never means that an object does not exist. */
void reply_later(struct world *w, struct world_request *r, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* By the code's class and `e`'s text. ERR_OK is a bug (asserted). */
void reply_err(struct world *w, struct world_request *r, const struct err *e);
int reply_status(enum errc code);
/* {"errors":[text]}; what is not UTF-8 in it is shown as '?'. */
json_t *reply_error_json(const char *text);

#endif
