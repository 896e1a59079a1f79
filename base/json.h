/*
 * json - reading jansson values from outside with errors that name the place.
 *
 * `at` is the path of `o` as a user would write it ("operators[2]"); the error
 * text is "<path>: <reason>". A getter writes its result only on success. The
 * _or forms accept an absent member; a member of the wrong type is always an
 * error. Strings are borrowed from the value.
 */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/* Parse one document, at most `depth`-checked by jansson; duplicate members are an error. */
MUST_CHECK enum errc json_parse(const char *text, size_t len, json_t **out, struct err *e);
/* Compact text, members in order of insertion; the caller frees. Never NULL. */
char *json_text(const json_t *value);

MUST_CHECK enum errc json_need(const json_t *o, const char *at, const char *name, json_t **out,
			       struct err *e);
MUST_CHECK enum errc json_get_text(const json_t *o, const char *at, const char *name,
				   const char **out, struct err *e);
MUST_CHECK enum errc json_get_text_or(const json_t *o, const char *at, const char *name,
				      const char *fallback, const char **out, struct err *e);
MUST_CHECK enum errc json_get_i64(const json_t *o, const char *at, const char *name, int64_t min,
				  int64_t max, int64_t *out, struct err *e);
MUST_CHECK enum errc json_get_i64_or(const json_t *o, const char *at, const char *name, int64_t min,
				     int64_t max, int64_t fallback, int64_t *out, struct err *e);
MUST_CHECK enum errc json_get_bool_or(const json_t *o, const char *at, const char *name,
				      bool fallback, bool *out, struct err *e);
/* A duration as users write it ("10s"). */
MUST_CHECK enum errc json_get_ms_or(const json_t *o, const char *at, const char *name,
				    uint64_t fallback, uint64_t *out, struct err *e);
/* 64-bit numbers travel as decimal strings in etcd; accept string or integer. */
MUST_CHECK enum errc json_get_u64(const json_t *o, const char *at, const char *name, uint64_t *out,
				  struct err *e);
/* Every member of `o` is in the NULL-ended list; else the error names the first that is not. */
MUST_CHECK enum errc json_only(const json_t *o, const char *at, const char *const names[],
			       struct err *e);

#endif
