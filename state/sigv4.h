/*
 * sigv4 - AWS Signature Version 4, as a pure function of a request, keys and a
 * moment.
 *
 * Sends nothing and reads no clock, so it is tested with AWS's published
 * vectors. The result is the value of the Authorization header; the caller
 * sends exactly the headers that were signed.
 *
 * Limits: SIGV4_HEADERS_MAX headers, SIGV4_QUERY_MAX query parameters.
 * Threads: any.
 */
#ifndef STATE_SIGV4_H
#define STATE_SIGV4_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

enum { SIGV4_HEADERS_MAX = 16, SIGV4_QUERY_MAX = 16, SIGV4_DATE = 17, SIGV4_HASH = 65 };

#define SIGV4_UNSIGNED "UNSIGNED-PAYLOAD"

struct sigv4_pair {
	const char *name, *value;
};

struct sigv4_request {
	const char *method;
	const char *path; /* encoded as it is sent, "/a%20b" */
	/* Not encoded, in any order; sigv4_query() makes what is sent. */
	struct sigv4_pair query[SIGV4_QUERY_MAX];
	unsigned n_query;
	/* Host, x-amz-date, x-amz-content-sha256 and all others; names in any case and order. */
	struct sigv4_pair headers[SIGV4_HEADERS_MAX];
	unsigned n_headers;
	const char *payload_hash; /* hex, or SIGV4_UNSIGNED */
};

struct sigv4_keys {
	const char *access_key, *secret_key;
	const char *region, *service; /* "us-east-1", "s3" */
};

/* "20130524T000000Z" of seconds since 1970. */
void sigv4_date(int64_t unix_s, char out[SIGV4_DATE]);
/* SHA-256 in lower-case hexadecimal. */
void sigv4_hash(const void *data, size_t len, char out[SIGV4_HASH]);
/* "a=1&b=%2F": sorted and encoded, as it is signed and must be sent. */
void sigv4_query(const struct sigv4_request *r, struct buf *out);
/* The canonical request, for tests and errors. */
void sigv4_canonical(const struct sigv4_request *r, struct buf *out);
/* The Authorization header's value. `date` as of sigv4_date(). */
void sigv4_sign(const struct sigv4_request *r, const struct sigv4_keys *k, const char *date,
		struct buf *out);

#endif
