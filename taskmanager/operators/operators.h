/*
 * operators - the operators that Weir has built in, one file each. What they do for a user, and
 * which options they take, is in the table of job/optypes.c.
 */
#ifndef TASKMANAGER_OPERATORS_OPERATORS_H
#define TASKMANAGER_OPERATORS_OPERATORS_H

#include "taskmanager/op.h"

extern const struct op_type op_source_sequence;
extern const struct op_type op_map_upper;
extern const struct op_type op_map_lower;
extern const struct op_type op_flatmap_split;
extern const struct op_type op_filter_regex;
extern const struct op_type op_aggregate;
extern const struct op_type op_sink_discard;

#endif
