/*
 * yaml - YAML and JSON documents as jansson values (libyaml reads the YAML).
 *
 * YAML's core schema, so that what looks like a word stays a word: only null,
 * true/false, integers (decimal, 0o17, 0x1f) and floats have a type; `no`,
 * `on`, `1:30` and `2020-01-01` are strings, as is everything in quotes.
 *
 * What the schema of a document could not express in JSON is refused with the
 * line and column: anchors and aliases (a bomb or a surprise), tags other than
 * !!str, a second document, a key that is not a scalar, a duplicate key, .inf
 * and .nan, integers beyond 64 bits, a zero byte in a text.
 *
 * Limits: YAML_DEPTH_MAX levels, YAML_NODES_MAX values; the size is the
 * caller's (text) or an argument (file). No state, so any thread.
 */
#ifndef BASE_YAML_H
#define BASE_YAML_H

#include <jansson.h>
#include <stddef.h>

#include "base/err.h"

enum { YAML_DEPTH_MAX = 64, YAML_NODES_MAX = 200000 };

/* One YAML document. An empty one is JSON null. *out is the caller's (json_decref). */
MUST_CHECK enum errc yaml_to_json(const char *text, size_t len, json_t **out, struct err *e);

/* The document in a file of at most `max` bytes: JSON if the name ends in .json, YAML if in .yaml
 * or .yml, else JSON if the text begins with '{' or '['. "-" is the standard input. Errors name
 * the file. */
MUST_CHECK enum errc yaml_read_file(const char *path, size_t max, json_t **out, struct err *e);

#endif
