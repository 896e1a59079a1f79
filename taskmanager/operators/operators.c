#include "taskmanager/operators/operators.h"

#include "taskmanager/worker.h"

const struct op_type *const engine_op_types[] = {
	&op_source_sequence, &op_map_upper, &op_map_lower,    &op_flatmap_split,
	&op_filter_regex,    &op_aggregate, &op_sink_discard, NULL,
};
