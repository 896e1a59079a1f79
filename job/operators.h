/*
 * operators - the "operators" array of a specification: private to spec.c.
 *
 * Four passes, each with a complete view of what the one before established:
 * names (uid, type), inputs (who reads whom), order (no cycle; inputs first),
 * and then, in that order, parallelism, options, keys, schema, edges. Errors
 * name the operator by its place in the document, whatever the order.
 */
#ifndef JOB_OPERATORS_H
#define JOB_OPERATORS_H

#include <jansson.h>

#include "base/err.h"
#include "job/spec.h"

/* Fills s->operators; s->parallelism is known. `job_max` is the job's own maxParallelism, 0 if it
 * has none. On an error what was filled in stays for spec_destroy(). */
MUST_CHECK enum errc operators_parse(struct spec *s, const json_t *array, uint32_t job_max,
				     struct err *e);
void operator_fini(struct spec_operator *op);

#endif
