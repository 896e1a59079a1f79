/*
 * storage - checkpoint storage for threads that may block: file:///dir and
 * s3://bucket/prefix behind one set of calls.
 *
 * Names are relative to the root: 1 to STORAGE_NAME_MAX bytes of UTF-8 without
 * control characters, no empty, "." or ".." part. An object is written once and
 * never changed: putting the same bytes again is success, other bytes under a
 * name that exists is ERR_EXISTS (always for files; for S3 where the server
 * knows If-None-Match). A reader never sees half an object.
 *
 * Outcomes
 *   OK           done, and durable (files: data and directory are synced)
 *   NOTFOUND     no such object
 *   EXISTS       the name is taken by other bytes
 *   DENIED       credentials or permissions; the text has the server's <Code>
 *   INVALID      bucket missing, a redirect (wrong region or endpoint), a bad name: configuration
 *   UNAVAILABLE  surely not done; attempts or time are used up
 *   UNKNOWN      a write that may have happened: do it again, all calls are idempotent
 *   CORRUPT      what came back is not what the server announced
 *   CANCELED     storage_cancel() was called
 * Texts name bucket, key and the server's <Code>, never a secret.
 *
 * Retries: connection errors, 429, 500, 502, 503, 504, SlowDown, RequestTimeout,
 * InternalError and truncated bodies are tried again with jittered, doubling
 * pauses, within attempts and total time (budget_ms). A 404 for an object that
 * this process has written is tried again too: the store is slow to show it.
 * Redirects are never followed (a signature is for one host).
 *
 * Threads: all calls on a storage may come from any thread at once; an upload
 * belongs to one thread at a time. Calls block up to budget_ms (per part).
 * curl_global_init() must have been called by the program before threads start.
 */
#ifndef STATE_STORAGE_H
#define STATE_STORAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

enum { STORAGE_NAME_MAX = 900, STORAGE_REMOVE_MAX = 1000 };

/* Every pointer is copied, NULL or "" is the default, 0 likewise. storage_config_env() fills from
 * the environment what is not set yet: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN,
 * AWS_REGION, AWS_DEFAULT_REGION, AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, AWS_CA_BUNDLE,
 * AWS_SHARED_CREDENTIALS_FILE, AWS_PROFILE; and WEIR_STORAGE_DELAY_MS (write_delay_ms). */
struct storage_config {
	const char *url;      /* "file:///dir" or "s3://bucket/prefix" */
	const char *endpoint; /* "http://host:port", "https://host"; default AWS's of the region */
	const char *region;   /* default us-east-1 */
	bool path_style;      /* http://host/bucket/key; default with a custom endpoint */
	bool virtual_host_style; /* http://bucket.host/key; default without */
	const char *ca_file;
	const char *access_key, *secret_key, *session_token;
	const char *credentials_file; /* default ~/.aws/credentials */
	const char *profile;          /* default "default" */
	unsigned attempts;            /* per request; default 6 */
	uint64_t budget_ms;           /* per request with its retries; default 30 s */
	uint64_t attempt_ms;          /* silence that ends one attempt; default 10 s */
	size_t part_bytes;            /* of a streamed upload; 5 MiB to 1 GiB, default 8 MiB */
	uint64_t write_bytes_per_s;   /* pace of streamed uploads; 0: none */
	uint64_t write_delay_ms;      /* before each write becomes durable: for tests and drills */
};

void storage_config_env(struct storage_config *c);

struct storage;

/* Checks the configuration, touches nothing: the first call does (or storage_check()). */
MUST_CHECK enum errc storage_open(const struct storage_config *c, struct storage **out,
				  struct err *e);
void storage_close(struct storage *s);             /* NULL: no-op; no call may be under way */
const char *storage_root(const struct storage *s); /* "s3://bucket/prefix", for display */
/* Can the root be reached and listed with these credentials? */
MUST_CHECK enum errc storage_check(struct storage *s, struct err *e);
/* End all calls under way, and all to come, with CANCELED. Any thread; lasting. */
void storage_cancel(struct storage *s);

MUST_CHECK enum errc storage_put(struct storage *s, const char *name, const void *data, size_t len,
				 struct err *e);
/* The whole object, appended to `out`; ERR_LIMIT if it has more than `max` bytes. */
MUST_CHECK enum errc storage_get(struct storage *s, const char *name, size_t max, struct buf *out,
				 struct err *e);
/* Bytes [offset, offset + len): all of them, or an error (CORRUPT: the object ends before). The
 * object is known to exist: a 404 is tried a few times before it is believed. */
MUST_CHECK enum errc storage_get_range(struct storage *s, const char *name, uint64_t offset,
				       void *data, size_t len, struct err *e);
MUST_CHECK enum errc storage_size(struct storage *s, const char *name, uint64_t *out,
				  struct err *e);
/* Size, and when it was written, by the storage's own clock. */
struct storage_object {
	uint64_t bytes;
	int64_t written_ms; /* since 1970; 0: the store does not say */
};
MUST_CHECK enum errc storage_look(struct storage *s, const char *name, struct storage_object *out,
				  struct err *e);
/* Names that do not exist: success. Any number. */
MUST_CHECK enum errc storage_remove(struct storage *s, const char *const names[], size_t n,
				    struct err *e);

struct storage_names {
	char **names; /* sorted by bytes; relative to the root */
	size_t n;
};

/* All names that start with `prefix` (of text, not a folder), at most `max` (else LIMIT). */
MUST_CHECK enum errc storage_list(struct storage *s, const char *prefix, size_t max,
				  struct storage_names *out, struct err *e);
void storage_names_fini(struct storage_names *n);

/* ---- streamed upload ---- */

struct storage_upload;

/* Nothing is visible under `name` before commit succeeds. */
MUST_CHECK enum errc storage_put_begin(struct storage *s, const char *name,
				       struct storage_upload **out, struct err *e);
MUST_CHECK enum errc storage_put_write(struct storage_upload *u, const void *data, size_t len,
				       struct err *e);
/* Success or not, the upload is gone afterwards. */
MUST_CHECK enum errc storage_put_commit(struct storage_upload *u, struct err *e);
/* Leave nothing behind, as far as the store lets us. NULL: no-op. */
void storage_put_abort(struct storage_upload *u);

#endif
