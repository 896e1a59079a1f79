#include "taskmanager/connectors/connectors.h"

#include <stddef.h>

const struct op_type *const connector_op_types[] = {&connector_source_file,
						    &connector_source_socket, &connector_sink_file,
						    &connector_sink_print, NULL};
