# How a folder of the house is built and tested.
#
#   gn_folder(base SOURCES a.c b.c [CXX_SHIMS x.cc] [DEPS index raft] [LIBS PkgConfig::X])
#       a static library gn_base with hidden symbols; headers are included as "base/thing.h"
#   gn_test(base/error SOURCES test_error.c [LIBS gn_base] [TIMEOUT 60])
#       a cmocka program, run by ctest under that name
#

#   gn_fuzz(sql SOURCES fuzz_sql.c LIBS gn_coord)
#       a libFuzzer program fuzz_sql (only with -DGN_FUZZ=ON); its corpus is tests/fuzz/corpus/sql

set(GN_WARNINGS -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wpointer-arith
    -Wno-missing-field-initializers)

function(gn_folder name)
  cmake_parse_arguments(A "" "" "SOURCES;CXX_SHIMS;DEPS;LIBS" ${ARGN})
  add_library(gn_${name} STATIC ${A_SOURCES} ${A_CXX_SHIMS})
  target_include_directories(gn_${name} PUBLIC ${PROJECT_SOURCE_DIR})
  target_compile_options(gn_${name} PRIVATE $<$<COMPILE_LANGUAGE:C>:${GN_WARNINGS}>)
  foreach(dep IN LISTS A_DEPS)
    target_link_libraries(gn_${name} PUBLIC gn_${dep})
  endforeach()
  target_link_libraries(gn_${name} PUBLIC ${A_LIBS})
endfunction()

function(gn_test name)
  cmake_parse_arguments(A "" "TIMEOUT" "SOURCES;LIBS" ${ARGN})
  string(REPLACE "/" "_" target "test_${name}")
  add_executable(${target} ${A_SOURCES})
  target_compile_options(${target} PRIVATE $<$<COMPILE_LANGUAGE:C>:${GN_WARNINGS}>)
  target_link_libraries(${target} PRIVATE ${A_LIBS} PkgConfig::CMOCKA)
  add_test(NAME ${name} COMMAND ${target})
  if(NOT A_TIMEOUT)
    set(A_TIMEOUT 900) # for a busy machine and the slowest sanitizer; a hang is still found
  endif()
  set_tests_properties(${name} PROPERTIES TIMEOUT ${A_TIMEOUT})
endfunction()

# A test that takes so many seconds in a normal build: the longest begin first, so that no core is idle at the end.
function(gn_test_takes seconds)
  set_tests_properties(${ARGN} PROPERTIES COST ${seconds})
endfunction()

function(gn_fuzz name)
  cmake_parse_arguments(A "" "" "SOURCES;LIBS" ${ARGN})
  if(NOT GN_FUZZ)
    return()
  endif()
  if(NOT TARGET fuzz-targets)
    add_custom_target(fuzz-targets)
  endif()
  add_executable(fuzz_${name} ${A_SOURCES})
  target_compile_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
  target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
  target_link_libraries(fuzz_${name} PRIVATE ${A_LIBS})
  add_dependencies(fuzz-targets fuzz_${name})
endfunction()
