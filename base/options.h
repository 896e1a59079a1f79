/*
 * options - a program's configuration as constant tables.
 *
 *   static const struct option table[] = {
 *       {.key = "etcd.endpoints", .flag = "--etcd", .type = OPTION_LIST,
 *        .fallback = "http://127.0.0.1:2379", .value = "URL,...", .help = "etcd's members"},
 *       {.key = "s3.secretKey", .type = OPTION_TEXT, .secret = true, .help = "..."},
 *       {0}};
 *   struct options *o = options_create();
 *   options_add(o, table);
 *   rc = options_load(o, argc, argv, environ, &e);
 *   options_list(o, "etcd.endpoints", &n);
 *
 * One key has one value, from the first of these that sets it:
 *
 *   flag (--etcd URL, --etcd=URL, --set etcd.endpoints=URL; the last one wins)
 *   > environment (WEIR_ETCD_ENDPOINTS: upper case, '.' becomes '_', fooBar becomes FOO_BAR)
 *   > file (--config FILE or WEIR_CONFIG; YAML or JSON, keys nested or dotted)
 *   > default
 *
 * An unknown flag or key is an error that names it and the nearest known one; so is a value that
 * does not parse, with where it came from. Unknown WEIR_ variables are not errors: programs share
 * one environment. Every value is validated by options_load(); the getters cannot fail, and assert
 * that the key is in a table with that type.
 *
 * The flags --help, --version, --config and --set belong to every program.
 *
 * Ownership: tables are borrowed (constants); what getters return lives as long as the options.
 * Threads: immutable after options_load().
 */
#ifndef BASE_OPTIONS_H
#define BASE_OPTIONS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

enum option_type {
	OPTION_TEXT,
	OPTION_U64,
	OPTION_DURATION, /* "10s"; read as ms */
	OPTION_SIZE,     /* "64MiB"; read as bytes */
	OPTION_BOOL,     /* --flag alone means true */
	OPTION_LIST      /* comma-separated; in a file an array of strings will do too */
};

struct option {
	const char *key;  /* "etcd.endpoints"; NULL ends a table */
	const char *flag; /* "--etcd"; NULL: only by --set, environment and file */
	enum option_type type;
	const char *fallback; /* as a user would write it; NULL: unset */
	const char *value;    /* what --help calls the value: "URL"; NULL: by the type */
	const char *help;
	const char *const *choices; /* text: NULL-ended list of the allowed values; NULL: any */
	uint64_t min, max;          /* numbers, ms or bytes; max 0: no limit */
	bool secret;                /* shown as "******" wherever values are listed */
};

enum option_origin { OPTION_UNSET, OPTION_DEFAULT, OPTION_FILE, OPTION_ENV, OPTION_FLAG };

struct options;

struct options *options_create(void);
void options_destroy(struct options *o); /* NULL: no-op */
/* Before options_load(); no key or flag twice (asserted). */
void options_add(struct options *o, const struct option *table);

/* argv[0] is skipped; `env` is NULL-ended "NAME=value" (may be NULL). Call once. With --help or
 * --version on the command line nothing is validated: ask options_help_wanted() first. */
MUST_CHECK enum errc options_load(struct options *o, int argc, const char *const *argv,
				  const char *const *env, struct err *e);

bool options_help_wanted(const struct options *o);
bool options_version_wanted(const struct options *o);
/* What was neither a flag nor a flag's value, in order; all that follows "--" too. */
const char *const *options_args(const struct options *o, unsigned *out_n);

const char *options_text(const struct options *o, const char *key); /* NULL: unset */
uint64_t options_u64(const struct options *o, const char *key);     /* 0: unset */
uint64_t options_ms(const struct options *o, const char *key);
uint64_t options_bytes(const struct options *o, const char *key);
bool options_bool(const struct options *o, const char *key);
/* NULL-ended; empty if unset. */
const char *const *options_list(const struct options *o, const char *key, unsigned *out_n);
enum option_origin options_origin(const struct options *o, const char *key);
const char *option_origin_name(enum option_origin origin); /* "flag" */

/* All effective values: [{"key","value" (text, or null if unset),"origin"}], in the order of the
 * tables, secrets masked. This is what /v1/config and /jobmanager/config show. The caller's. */
json_t *options_json(const struct options *o);
/* The flags, aligned, with defaults and environment variables. */
void options_help(const struct options *o, struct buf *out);

#endif
