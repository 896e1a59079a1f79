/*
 * drill_report - a drill's results: a table, JSON, and a page with a plot.
 *
 * The page is one file without anything from elsewhere: a table and an SVG of
 * throughput and of the output's age over time, with the faults marked.
 */
#ifndef CLI_DRILL_REPORT_H
#define CLI_DRILL_REPORT_H

#include <jansson.h>

#include "base/err.h"
#include "cli/drill_verdict.h"
#include "cli/drill_watch.h"

struct drill_report {
	const char *scenario;
	bool seeded; /* a mix */
	uint64_t seed;
	int64_t started_wall_ms, took_ms;
	const struct drill_result *results;
	unsigned n;
	struct drill_totals totals;
	const char *trouble; /* why the drill itself did not come to its end; NULL: it did */
	bool sees_output;    /* else samples have none */
	const struct drill_sample *samples;
	unsigned n_samples;
};

/* How many promises were broken, the drill's own trouble included. */
unsigned drill_report_broken(const struct drill_report *r);
void drill_report_table(const struct drill_report *r);   /* to stdout */
json_t *drill_report_json(const struct drill_report *r); /* the caller's */
/* DIR/index.html; DIR is made. */
MUST_CHECK enum errc drill_report_page(const struct drill_report *r, const char *dir,
				       struct err *e);

#endif
