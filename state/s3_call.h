/*
 * s3_call - one S3 request: signed, sent, tried again while that can help, and
 * its end told in the outcomes of storage.h. Private to state/.
 *
 * Threads: any number at once; each call uses a curl handle from a small pool,
 * so connections are kept.
 */
#ifndef STATE_S3_CALL_H
#define STATE_S3_CALL_H

#include <curl/curl.h>

#include "base/prng.h"
#include "state/s3_answer.h"
#include "state/sigv4.h"
#include "state/storage_impl.h"

enum { S3_HANDLES_MAX = 8, S3_ERROR_BODY_MAX = 64 << 10, S3_ETAG_MAX = 160 };

struct s3 {
	struct storage base;
	char *scheme;          /* "http" or "https" */
	char *host;            /* as in the Host header: without the scheme's own port */
	char *bucket, *prefix; /* prefix: "" or "a/b/" */
	char *region, *access_key, *secret_key, *session_token, *ca_file;
	bool path_style;
	unsigned attempts;
	uint64_t budget_ms, attempt_ms;
	size_t part_bytes;
	bool no_conditional; /* atomic: the server does not know If-None-Match */
	/* under base.lock */
	CURL *handles[S3_HANDLES_MAX];
	unsigned n_handles;
	struct prng prng;
};

struct s3_request {
	const char *method;
	const char *key; /* with the prefix, not encoded; NULL: the bucket itself */
	struct sigv4_pair query[8];
	unsigned n_query;
	const void *body; /* borrowed */
	size_t body_len;
	const char *content_md5; /* base64, or NULL */
	bool if_none_match;
	bool write;      /* an attempt with unknown outcome makes the whole UNKNOWN */
	bool must_exist; /* a 404 is tried again */
	bool ranged;
	uint64_t offset;
	size_t reply_max; /* of a successful answer; more is ERR_LIMIT */
};

struct s3_reply {
	int status;
	uint64_t content_length;
	int64_t written_ms;     /* Last-Modified; 0: none given */
	char etag[S3_ETAG_MAX]; /* without quotes */
	struct buf body;
	struct s3_answer answer; /* of an error: <Code> */
	bool repeated;           /* an earlier attempt may have been carried out */
};

/*
 * OK: a 2xx answer, in `reply`. Else the error says method, bucket, key and
 * <Code>; reply->status and reply->answer.code say what the last answer was.
 * `reply` is zeroed before and the caller's to fini in any case.
 */
MUST_CHECK enum errc s3_call(struct s3 *s, const struct s3_request *r, struct s3_reply *reply,
			     struct err *e);
void s3_reply_fini(struct s3_reply *reply);

#endif
