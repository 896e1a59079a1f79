# How a folder becomes a library, and a file under tests/unit a test.

add_library(weir_flags INTERFACE)
target_compile_definitions(weir_flags INTERFACE _GNU_SOURCE WEIR_VERSION="${PROJECT_VERSION}")
target_compile_options(weir_flags INTERFACE
	-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wundef -Wvla -Wswitch-enum
	-Wmissing-prototypes -Wstrict-prototypes -Wformat=2 -Wcast-qual -Wnull-dereference
	$<$<C_COMPILER_ID:GNU>:-Wno-format-truncation>
	-Werror -fno-common -fstack-protector-strong -g)
if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
	# With optimisation gcc cannot see that a code from err_set() is never ERR_OK, and takes every
	# "written only on success" for a mistake. clang and the sanitizers keep watch.
	target_compile_options(weir_flags INTERFACE -Wno-maybe-uninitialized)
endif()
# pkg-config names more libraries than a program uses; clang would make it depend on all of them.
target_link_options(weir_flags INTERFACE -Wl,--as-needed)
if(CMAKE_BUILD_TYPE STREQUAL "Release")
	# Assertions stay on: a crashed JobManager is a failover, a confused one is corruption.
	target_compile_options(weir_flags INTERFACE -UNDEBUG -D_FORTIFY_SOURCE=2)
endif()
if(WEIR_SANITIZE)
	target_compile_options(weir_flags INTERFACE -fsanitize=${WEIR_SANITIZE}
		-fno-sanitize-recover=all -fno-omit-frame-pointer)
	target_link_options(weir_flags INTERFACE -fsanitize=${WEIR_SANITIZE})
endif()
if(WEIR_MUTANT)
	target_compile_definitions(weir_flags INTERFACE WEIR_MUTANT_${WEIR_MUTANT}=1)
endif()

# Criterion's macros do not survive the project's own warnings. Linked last, because the options of
# an interface follow a target's own: the last one wins.
add_library(weir_criterion_flags INTERFACE)
target_compile_options(weir_criterion_flags INTERFACE -Wno-conversion -Wno-pedantic -Wno-undef
	-Wno-shadow -Wno-cast-qual -Wno-null-dereference -Wno-missing-prototypes -Wno-switch-enum
	-Wno-format-nonliteral)

# weir_library(NAME name DIR folder SOURCES a.c ... DEPENDS base ... EXTERNAL PkgConfig::X ...)
# Headers are included as "folder/header.h", and only by who DEPENDS on the folder: there is no
# shared include root, only one link per folder in the build tree.
function(weir_library)
	cmake_parse_arguments(A "" "NAME;DIR" "SOURCES;DEPENDS;EXTERNAL" ${ARGN})
	if(NOT A_DIR)
		set(A_DIR ${A_NAME})
	endif()
	set(root ${CMAKE_BINARY_DIR}/include/${A_NAME})
	cmake_path(GET A_DIR PARENT_PATH parent)
	file(MAKE_DIRECTORY ${root}/${parent})
	file(CREATE_LINK ${CMAKE_SOURCE_DIR}/${A_DIR} ${root}/${A_DIR} SYMBOLIC)
	add_library(${A_NAME} STATIC ${A_SOURCES})
	target_include_directories(${A_NAME} PUBLIC ${root})
	target_link_libraries(${A_NAME} PUBLIC weir_flags ${A_DEPENDS} ${A_EXTERNAL})
	if(NOT WEIR_SANITIZE)
		add_library(arrow_${A_NAME} SHARED EXCLUDE_FROM_ALL ${CMAKE_SOURCE_DIR}/cmake/arrow.c)
		target_link_options(arrow_${A_NAME} PRIVATE -Wl,--no-undefined
			-Wl,--whole-archive $<TARGET_FILE:${A_NAME}> -Wl,--no-whole-archive)
		add_dependencies(arrow_${A_NAME} ${A_NAME})
		target_link_libraries(arrow_${A_NAME} PRIVATE ${A_DEPENDS} ${A_EXTERNAL} m)
		set_property(GLOBAL APPEND PROPERTY WEIR_ARROWS arrow_${A_NAME})
	endif()
	set_property(GLOBAL APPEND PROPERTY WEIR_LIBRARIES ${A_NAME})
endfunction()

# weir_unit_tests(folder [library ...]): in the calling directory every *_test.c is a Criterion
# program and every *_plain.c a program with its own main (threads: Criterion and
# ThreadSanitizer do not work together).
function(weir_unit_tests folder)
	file(GLOB tests CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*_test.c)
	file(GLOB plain CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*_plain.c)
	foreach(source ${tests} ${plain})
		get_filename_component(name ${source} NAME_WE)
		set(target unit_${folder}_${name})
		add_executable(${target} ${source})
		target_link_libraries(${target} PRIVATE ${folder} ${ARGN})
		if(source IN_LIST tests)
			target_link_libraries(${target} PRIVATE PkgConfig::CRITERION weir_criterion_flags)
		endif()
		add_test(NAME ${target} COMMAND ${target})
		set_tests_properties(${target} PROPERTIES LABELS unit TIMEOUT 120 SKIP_RETURN_CODE 77)
		if(WEIR_SANITIZE)
			# Criterion passes in spite of a leak: tools/run-tests looks for these files.
			# Everything is several times slower: fewer seeds, more patience.
			set(log "log_path=${CMAKE_BINARY_DIR}/reports/${target}")
			set(options "ASAN_OPTIONS=${log};UBSAN_OPTIONS=${log}:print_stacktrace=1")
			set_tests_properties(${target} PROPERTIES TIMEOUT 400
				ENVIRONMENT "${options};TSAN_OPTIONS=${log};WEIR_SEEDS=50")
		endif()
		set_property(GLOBAL APPEND PROPERTY WEIR_UNITS ${target})
		if(source IN_LIST plain)
			set_property(GLOBAL APPEND PROPERTY WEIR_PLAINS ${target})
		endif()
	endforeach()
endfunction()

# weir_mutant_test(NAME test.c source.c library): the test with `source` (of the project) built with
# WEIR_MUTANT_<NAME>, in place of the library's own. It must fail.
function(weir_mutant_test name test source library)
	if(WEIR_SANITIZE OR WEIR_MUTANT)
		return()
	endif()
	set(target mutant_${name})
	add_executable(${target} ${test} ${CMAKE_SOURCE_DIR}/${source})
	target_compile_definitions(${target} PRIVATE WEIR_MUTANT_${name}=1)
	target_link_libraries(${target} PRIVATE ${library})
	if(test MATCHES "_test.c$")
		target_link_libraries(${target} PRIVATE PkgConfig::CRITERION weir_criterion_flags)
	endif()
	add_test(NAME ${target} COMMAND ${target})
	set_tests_properties(${target} PROPERTIES LABELS unit TIMEOUT 120 WILL_FAIL TRUE)
endfunction()
