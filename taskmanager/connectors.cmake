# The operators that touch files and sockets.
weir_library(NAME connectors DIR taskmanager
	SOURCES connectors/commit.c connectors/confine.c connectors/connectors.c
		connectors/ranges.c connectors/render.c connectors/sink_file.c
		connectors/sink_print.c connectors/source_file.c connectors/source_socket.c
	DEPENDS base job engine)
