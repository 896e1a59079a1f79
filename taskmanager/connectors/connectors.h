/*
 * connectors - the operators that touch files and sockets: source.file,
 * source.socket, sink.file, sink.print. The worker is given this table beside
 * the engine's own.
 */
#ifndef TASKMANAGER_CONNECTORS_CONNECTORS_H
#define TASKMANAGER_CONNECTORS_CONNECTORS_H

#include "taskmanager/op.h"

extern const struct op_type connector_source_file, connector_source_socket, connector_sink_file,
	connector_sink_print;

/* All of them, NULL-ended. */
extern const struct op_type *const connector_op_types[];

#endif
