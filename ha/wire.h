/*
 * wire - etcd's JSON gateway, as bytes: requests built, answers parsed.
 *
 * Pure: no clock, no socket. The one place where a field of etcd's messages is
 * spelt, because the gateway drops a misspelt one without a word.
 *
 * Requests: 64-bit numbers are sent as strings, keys and values as standard
 * base64 with padding. A builder returns the text; the caller frees it.
 *
 * Answers: an absent member has its default (that is how etcd writes it), a
 * member of the wrong type is an error, and an answer without `header` is no
 * answer (except of maintenance calls). Both spellings of members
 * (mod_revision, modRevision) are accepted.
 * What a parser filled in is released with its _fini, which is harmless on a
 * zeroed struct. After an error nothing needs to be released.
 *
 * Errors of etcd come in four shapes:
 *     {"error": M, "message": M, "code": N}                        one answer, 3.4 and 3.5
 *     {"code": N, "message": M}                                    one answer, 3.6 on
 *     {"error": {"grpc_code": N, "http_code": S, "message": M}}    in a stream, 3.4 and 3.5
 *     {"error": {"code": N, "message": M}}                         in a stream, 3.6 on
 * They are classified by the gRPC code first, then by the text, into what the
 * caller may do (base/err.h): ERR_UNKNOWN means that a write may have happened
 * or may still happen.
 */
#ifndef HA_WIRE_H
#define HA_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "ha/calls.h"

/* ---- requests ---- */

enum wire_target { WIRE_CREATE, WIRE_MOD };
enum wire_relation { WIRE_EQUAL, WIRE_GREATER };

/* create_revision or mod_revision of a key, or of every key below a prefix, against a number.
 * Beware: over an empty prefix GREATER is false. */
struct wire_compare {
	const char *key;
	bool prefix;
	enum wire_target target;
	enum wire_relation relation;
	uint64_t revision; /* 0: the key does not exist */
};

enum wire_op_kind { WIRE_PUT, WIRE_DELETE, WIRE_RANGE };

struct wire_op {
	enum wire_op_kind kind;
	const char *key;
	bool prefix; /* RANGE: every key that begins with it */
	const char
		*after; /* RANGE with prefix: only keys behind this one (the next page); or NULL */
	uint64_t limit; /* RANGE: at most so many; 0: all */
	uint64_t revision; /* RANGE outside a transaction: as of then; 0: now */
	const void *value; /* PUT */
	size_t len;
	uint64_t lease; /* PUT: 0: none */
};

enum { WIRE_OPS_MAX = 128, WIRE_RANGES_MAX = 4 };

struct wire_txn {
	const struct wire_compare *compares;
	unsigned n_compares;
	const struct wire_op *success;
	unsigned n_success;
	const struct wire_op *failure; /* ranges only: a put here is refused under NOSPACE too */
	unsigned n_failure;
};

char *wire_txn(const struct wire_txn *t);
char *wire_range(const struct wire_op *op);
char *wire_grant(uint64_t lease, uint32_t ttl_s);
char *wire_lease(uint64_t lease); /* renew, revoke, time to live */
char *wire_watch(const char *prefix, uint64_t from_revision);
char *wire_compact(uint64_t revision);
char *wire_login(const char *user, const char *password);
char *wire_alarms(void);
char *wire_disarm(uint64_t member); /* with member 0 etcd says OK and does nothing */

/* ---- answers ---- */

struct wire_header {
	uint64_t cluster_id, member_id, revision, term; /* 0: absent */
};

struct wire_kv {
	char *key, *value; /* own; end in a zero byte */
	size_t key_len, len;
	uint64_t create_revision, mod_revision, lease;
};

struct wire_range {
	struct wire_kv *kvs; /* owns */
	size_t n;
	bool more;
};

struct wire_answer {
	struct wire_header header;
	bool succeeded; /* TXN */
	struct wire_range
		ranges[WIRE_RANGES_MAX]; /* TXN: of the branch taken, in order; RANGE: one */
	unsigned n_ranges;
	uint64_t lease, ttl_s, granted_s;               /* LEASE; ttl_s 0: the lease is gone */
	uint64_t db_bytes, db_quota_bytes, etcd_leader; /* STATUS; 0: not said */
	uint64_t nospace_member; /* ALARMS: a member that raised NOSPACE, or 0 */
	char *token;             /* TOKEN; owns */
	char **urls;             /* MEMBERS: where clients reach those that are no learners; owns */
	size_t n_urls;
};

MUST_CHECK enum errc wire_parse(enum call_answer shape, const char *body, size_t len,
				struct wire_answer *out, struct err *e);
void wire_answer_fini(struct wire_answer *a);

/* The error in an answer whose HTTP status is not 200: never ERR_OK. */
enum errc wire_error(int http_status, const char *body, size_t len, struct err *e);
/* The table behind it, for a gRPC code and text. */
enum errc wire_classify(int64_t grpc_code, const char *text);
/* A token that is missing, unknown to this member, or older than the last change of a user. */
bool wire_needs_login(int64_t grpc_code, const char *text);
int64_t wire_error_code(const char *body, size_t len, char *text, size_t text_size);

struct wire_event {
	bool deleted;
	struct wire_kv kv; /* deleted: only key and mod_revision */
};

struct wire_frame {
	struct wire_header header;
	bool created, canceled; /* canceled: nothing follows, though the stream stays open */
	uint64_t compact_revision;
	struct wire_event *events; /* owns */
	size_t n_events;
};

/* One line of a watch. An error frame is an error. */
MUST_CHECK enum errc wire_parse_frame(const char *line, size_t len, struct wire_frame *out,
				      struct err *e);
void wire_frame_fini(struct wire_frame *f);

#endif
