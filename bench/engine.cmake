# It plays the agent as the worker's tests do.
if(TARGET engine)
	add_executable(bench_engine bench_engine.c)
	target_link_libraries(bench_engine PRIVATE engine)
	target_include_directories(bench_engine PRIVATE ${CMAKE_SOURCE_DIR}/tests/unit)
endif()
