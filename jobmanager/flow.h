/*
 * flow - records and bytes through the vertices of one job, as its workers last said. Facts for
 * people: nothing is decided by them, a new leader learns them with the registrations. What the
 * workers of an attempt said last is recorded when the job ends, and only then.
 *
 * A newer attempt of a region forgets the older; what an older one says late is ignored. Within an
 * attempt no number falls: what comes behind a later report changes nothing. Rates are between the
 * last two reports that were at least FLOW_RATE_MS apart, and 0 for who has spoken once, or has
 * been silent for FLOW_SILENT_MS.
 *
 * Pure. Ownership: owns its lists. Limits: one part per TaskManager and region.
 */
#ifndef JOBMANAGER_FLOW_H
#define JOBMANAGER_FLOW_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/ids.h"
#include "rest/traffic.h"

enum { FLOW_RATE_MS = 500, FLOW_SILENT_MS = 5000 };

struct flow_part;

struct flow {
	struct flow_part *parts; /* owns */
	size_t n;
};

struct flow_vertex {
	struct traffic total;
	struct traffic rate; /* per second */
};

/* `vertices` as in rest/traffic.h; entries that are malformed are passed over. */
void flow_note(struct flow *f, const char *tm, uint32_t region, struct attempt attempt,
	       const json_t *vertices, uint64_t now_ms);
/* Sum over all TaskManagers; false: nobody has said anything of it. */
bool flow_of(const struct flow *f, unsigned vertex, uint64_t now_ms, struct flow_vertex *out);
/* The totals as a list of rest/traffic.h; a new reference. NULL: nobody has said anything. */
json_t *flow_list(const struct flow *f, unsigned n_vertices);
void flow_fini(struct flow *f);

#endif
