# The agent: supervises worker processes, speaks with the JobManagers.
weir_library(NAME taskmanager_agent DIR taskmanager
	SOURCES agent.c agent_alone.c agent_core.c agent_items.c agent_reports.c
	DEPENDS base world job rest state)

# The data port of a TaskManager: real sockets, so it stays out of the simulator.
weir_library(NAME dataport DIR taskmanager SOURCES dataport.c DEPENDS base preface)

add_executable(weir-taskmanager main.c)
target_link_libraries(weir-taskmanager PRIVATE taskmanager_agent dataport connectors
	engine state world PkgConfig::CURL)
