/*
 * simple_json - the JSON that Weir and its simulated etcd write, read and
 * written in a fraction of jansson's time; the rest is left to jansson.
 *
 *   text ----> simple_json_load ---- simple ----> json_t
 *                    | anything else: NULL
 *                    v
 *                 jansson ---------------------> json_t, or the error
 *
 * Simple: one object or list, not deeper than SIMPLE_DEPTH, of strings of
 * printable ASCII without an escape, integers of at most 18 digits, booleans,
 * null. What is not certainly simple is refused, never guessed: malformed text
 * is jansson's to report. Numbers with a fraction are handed to jansson alone.
 *
 * Only the simulator uses this (simple_json_wrap.c puts it in front of
 * jansson): half of its time went into reading text byte by byte, and it
 * measures protocols, not a JSON library. simple_json_test.c holds it against
 * jansson. No state; threads: any.
 */
#ifndef TESTS_SIM_SIMPLE_JSON_H
#define TESTS_SIM_SIMPLE_JSON_H

#include <jansson.h>
#include <stddef.h>

enum { SIMPLE_DEPTH = 32 };

/* As json_loadb(); `used`: the bytes read. Flags other than JSON_REJECT_DUPLICATES,
 * JSON_DECODE_ANY and JSON_DISABLE_EOF_CHECK are refused. NULL: ask jansson. */
json_t *simple_json_load(const char *text, size_t len, size_t flags, size_t *used);

/* As json_dumps(), with the flags JSON_COMPACT and, if need be, JSON_ENCODE_ANY. NULL: ask
 * jansson. The caller frees the text. */
char *simple_json_dump(const json_t *value, size_t flags);

#endif
