/*
 * drill_job - the job that a drill runs of its own: numbers at a steady rate are
 * counted by key and written twice, at once (sink.print, into the workers'
 * logs) and exactly once (sink.file, "drill-<first 8 of the id>" below the files root).
 */
#ifndef CLI_DRILL_JOB_H
#define CLI_DRILL_JOB_H

#include <stdint.h>

#include "base/err.h"
#include "base/ids.h"
#include "cli/cli.h"

enum { DRILL_KEYS = 1000 };

struct drill_job {
	struct job_id id;
	char output[24]; /* below the files root */
	uint64_t records;
};

/* Accepted when this returns. It ends by itself after `records`, `rate` a second. */
MUST_CHECK enum errc drill_job_submit(struct cli *c, uint64_t records, uint64_t rate,
				      struct drill_job *out, struct err *e);

#endif
