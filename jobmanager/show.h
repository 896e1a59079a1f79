/*
 * show - from what the brain lets be seen (inspect.h) to what REST answers.
 * Each returns a new value. Jobs whose creation is still being recorded are
 * not shown by anybody.
 */
#ifndef JOBMANAGER_SHOW_H
#define JOBMANAGER_SHOW_H

#include <jansson.h>

#include "jobmanager/inspect.h"
#include "jobmanager/node_inside.h"

json_t *show_overview(const struct jm_node *n);
json_t *show_job_ids(const struct jm_node *n);
json_t *show_jobs(const struct jm_node *n);
json_t *show_taskmanagers(const struct jm_node *n);
json_t *show_cluster(const struct jm_node *n);

/* A job that was not opened, instead of any of its pages. */
json_t *show_held(const struct jm_node *n, const struct jm_held_view *held);

/* Of one job, as looked up by jm_view_job(). */
json_t *show_job(const struct jm_node *n, const struct jm_job_view *job);
json_t *show_plan(const struct jm_node *n, const struct jm_job_view *job);
json_t *show_job_config(const struct jm_node *n, const struct jm_job_view *job);
json_t *show_checkpoints(const struct jm_node *n, const struct jm_job_view *job);
json_t *show_exceptions(const struct jm_node *n, const struct jm_job_view *job, unsigned max);

#endif
