/*
 * render - rows as text: JSON lines and tab-separated values.
 *
 *            JSON                            TSV
 *   null     null                            \N
 *   string   escaped; a byte that is no      \t \n \r \\ escaped by a backslash, other bytes
 *            UTF-8 becomes U+FFFD            as they are
 *   bytes    base64                          base64
 *   float64  shortest text that reads back   the same
 *            as the same number; NaN,
 *            Infinity, -Infinity as strings  without quotes
 *   timestamp  "2026-01-31T12:00:00.123Z"    without quotes
 *
 * Every row ends with '\n'. Threads: none; memory is the caller's buffer.
 */
#ifndef TASKMANAGER_CONNECTORS_RENDER_H
#define TASKMANAGER_CONNECTORS_RENDER_H

#include "base/buf.h"
#include "job/spec.h"
#include "taskmanager/row.h"

enum render_format { RENDER_JSON, RENDER_TSV };

/* `schema` is that of the rows: names and types of the columns. */
void render_row(enum render_format format, const struct spec_schema *schema,
		const struct row_plan *plan, const struct row *row, struct buf *out);

#endif
