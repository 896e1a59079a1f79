/*
 * router - which handler answers a request.
 *
 * A constant table of method and pattern. A pattern begins with "/v1/"; the
 * same path without "/v1" is the same route. A part ":name" matches any one
 * part and is a parameter. The first row that fits wins.
 *
 *   static const struct route table[] = {
 *       {"GET", "/v1/jobs/:id", job_get}, ..., {0}};
 *
 * Threads: pure functions of their arguments.
 */
#ifndef REST_ROUTER_H
#define REST_ROUTER_H

#include <stdbool.h>
#include <stddef.h>

#include "world/world.h"

enum { ROUTE_PARAMS_MAX = 3, ROUTE_PARAM_BYTES = 128 };

struct route_match {
	const struct route *route;
	unsigned n_params;
	char params[ROUTE_PARAMS_MAX][ROUTE_PARAM_BYTES]; /* percent-decoded, never empty */
};

struct route {
	const char *method; /* NULL ends the table */
	const char *pattern;
	void (*handle)(void *owner, struct world_request *r, const struct route_match *m);
	bool local;       /* answered by the process that was asked, leader or not */
	bool repeatable;  /* forwarding it a second time does no harm */
	const char *help; /* for the documentation */
};

enum route_result {
	ROUTE_FOUND,
	ROUTE_NOT_FOUND, /* 404 */
	ROUTE_METHOD     /* 405: the path exists, the method does not */
};

enum route_result route_find(const struct route *table, const char *method, const char *path,
			     struct route_match *out);

/* The percent-decoded value of a query parameter. False: absent, or longer than `size` - 1. */
bool route_query(const char *query, const char *name, char *out, size_t size);

#endif
