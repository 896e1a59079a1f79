# What runs inside a worker: rows, tasks, the exchange, snapshots, and the built-in operators.
set(engine_sources
	align.c batch.c chain.c deploy.c exchange.c exec.c keyplan.c link.c local.c op.c pace.c queue.c
	restore.c router.c row.c snapshot.c task.c wire.c worker.c worker_commands.c
	worker_notes.c worker_reports.c worker_start.c
	operators/aggregate.c operators/case.c operators/discard.c operators/filter.c
	operators/operators.c operators/sequence.c operators/split.c)
weir_library(NAME engine DIR taskmanager
	SOURCES ${engine_sources}
	DEPENDS base job rest state preface
	EXTERNAL PkgConfig::JANSSON PkgConfig::CURL PkgConfig::XXHASH Threads::Threads)
# Loops over rows and columns gain from vectorising and unrolling, and only there.
set_source_files_properties(keyplan.c router.c link.c operators/aggregate.c operators/case.c
	operators/sequence.c operators/split.c PROPERTIES COMPILE_OPTIONS -O2)
