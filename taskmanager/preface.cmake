# The preface of data connections: agent and workers share it.
weir_library(NAME preface DIR taskmanager SOURCES preface.c DEPENDS base)
