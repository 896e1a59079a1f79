# The agent: supervises worker processes, speaks with the JobManagers.
weir_library(NAME taskmanager_agent DIR taskmanager
	SOURCES agent_core.c agent_items.c agent_reports.c
	DEPENDS base world job rest)
