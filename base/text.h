/*
 * text - the small conversions that every folder needs: hexadecimal, base64
 * (OpenSSL's), durations and sizes as users write them, decimal integers.
 *
 * All parsers are strict (the whole string, no sign where none makes sense, no
 * white space) and write their result only on success.
 */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

/* "10s" -> 10000. An integer and one of ms, s, min, h, d. At most 365 d. */
MUST_CHECK enum errc text_duration_ms(const char *text, uint64_t *out_ms, struct err *e);
/* "64MiB" -> bytes. An integer and one of B, KiB, MiB, GiB (or nothing: bytes). */
MUST_CHECK enum errc text_size(const char *text, uint64_t *out_bytes, struct err *e);
MUST_CHECK enum errc text_u64(const char *text, uint64_t *out, struct err *e);
MUST_CHECK enum errc text_i64(const char *text, int64_t *out, struct err *e);

/* Lower-case hexadecimal; `out` has room for 2 * len + 1. */
void text_hex(const void *data, size_t len, char *out);
/* Exactly 2 * len hexadecimal digits of either case into `out`. */
MUST_CHECK bool text_unhex(const char *hex, void *out, size_t len);
/* Exactly 16 hexadecimal digits, the most significant first: a checksum as it is written. */
MUST_CHECK bool text_hex64(const char *hex, uint64_t *out);

void text_base64(struct buf *out, const void *data, size_t len);
/* Standard alphabet with padding; anything else is ERR_INVALID. Appends to `out`. */
MUST_CHECK enum errc text_unbase64(const char *text, struct buf *out, struct err *e);

/* Percent-encode everything but the unreserved characters of RFC 3986 (and '/' if keep_slash). */
void text_percent(struct buf *out, const char *text, bool keep_slash);

/* How many single-character insertions, deletions and replacements lead from a to b, whatever the
 * case of letters; texts of more than 63 bytes count as far (64). For "did you mean". */
unsigned text_distance(const char *a, const char *b);

bool text_starts(const char *text, const char *prefix);
bool text_ends(const char *text, const char *suffix);

#endif
