add_executable(bench_control bench_control.c)
target_link_libraries(bench_control PRIVATE jobmanager_core PkgConfig::XXHASH)
# That it comes about at all; figures are for quiet machines.
add_test(NAME bench_control COMMAND bench_control --tms 300 --jobs 60 --parallelism 20 --waiting 10)
set_tests_properties(bench_control PROPERTIES LABELS story TIMEOUT 120)
