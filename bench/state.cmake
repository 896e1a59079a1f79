add_executable(bench_state bench_state.c)
target_link_libraries(bench_state PRIVATE state)
