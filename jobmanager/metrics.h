/*
 * metrics - what GET /metrics shows: Prometheus' text format, written anew at
 * each request from what is known anyway. Nothing is sampled, nothing is kept.
 *
 * Of every process: leadership, etcd, the loop's lateness. Of the leader also:
 * TaskManagers, slots, jobs, checkpoints, and how often each state machine went
 * from where to where since this process began.
 */
#ifndef JOBMANAGER_METRICS_H
#define JOBMANAGER_METRICS_H

#include "base/buf.h"
#include "jobmanager/node_inside.h"

void metrics_write(const struct jm_node *n, struct buf *out);

#endif
