/*
 * log - one line per fact, logfmt.
 *
 *   2026-01-31T12:00:00.123Z info node=jm-2 job=wordcount ckpt=12 acked from=tm-3, 1 of 4 missing
 *
 * Levels: error = somebody must look; warn = we cope, and the line ends with
 * what we do instead; info = changes of state only; debug = messages.
 * Libraries and cores do not log: they return text or trace effects, and
 * drivers write them through the world (world_log). Only world_ev, mains and
 * worker threads call this module. Thread-safe: one write(2) per line.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* Call once at start. `node` is copied (63 bytes at most). `dir` NULL: stderr only; else also
 * DIR/node.log, rotated at 10 MiB, five kept. */
MUST_CHECK enum errc log_open(const char *node, const char *dir, enum log_level level,
			      struct err *e);
void log_close(void);
void log_set_level(enum log_level level);
bool log_on(enum log_level level);
void log_line(enum log_level level, const char *fmt, ...) PRINTF_LIKE(2, 3);
const char *log_level_name(enum log_level level);
MUST_CHECK enum errc log_level_parse(const char *text, enum log_level *out, struct err *e);
/* The path of the log file, or NULL. */
const char *log_path(void);

#endif
