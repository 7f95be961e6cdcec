# The target `libraft`: the I/O-free core of libraft 0.22.1 with the fixes of raft/libraft/, static and hidden, with its
# assertions on. tools/fetch-libraft.sh puts the sources there; no other libraft will do (raft/libraft/README.md).

set(LIBRAFT_SCRIPT ${PROJECT_SOURCE_DIR}/tools/fetch-libraft.sh)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${LIBRAFT_SCRIPT})
file(GLOB LIBRAFT_FIXES ${CMAKE_CURRENT_LIST_DIR}/libraft/fixes/* ${CMAKE_CURRENT_LIST_DIR}/libraft/apply.sh)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${LIBRAFT_FIXES})

execute_process(COMMAND ${LIBRAFT_SCRIPT} --dir OUTPUT_VARIABLE LIBRAFT_DIR OUTPUT_STRIP_TRAILING_WHITESPACE
                COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${LIBRAFT_SCRIPT} --stamp OUTPUT_VARIABLE LIBRAFT_WANTED OUTPUT_STRIP_TRAILING_WHITESPACE
                COMMAND_ERROR_IS_FATAL ANY)
set(LIBRAFT_STAMP "none")
if(EXISTS ${LIBRAFT_DIR}/STAMP)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${LIBRAFT_DIR}/STAMP)
  file(READ ${LIBRAFT_DIR}/STAMP LIBRAFT_STAMP)
  string(STRIP "${LIBRAFT_STAMP}" LIBRAFT_STAMP)
endif()
if(NOT LIBRAFT_STAMP STREQUAL LIBRAFT_WANTED)
  message(FATAL_ERROR
          "GnomonDB needs the sources of libraft 0.22.1 with its own fixes; every released libraft can lose committed "
          "entries, so no other is accepted.\n"
          "  wanted: ${LIBRAFT_WANTED}\n"
          "  found:  ${LIBRAFT_STAMP}\n"
          "  in:     ${LIBRAFT_DIR}\n"
          "Run tools/fetch-libraft.sh (make setup does it too), then configure again.")
endif()

# The core alone: no uv backend, no legacy interface (which has I/O of its own), no trace compression.
set(LIBRAFT_NAMES
    byte client configuration convert election entry err heap membership message progress raft random recv
    recv_append_entries recv_append_entries_result recv_install_snapshot recv_request_vote recv_request_vote_result
    recv_timeout_now replication restore state timeout tracing trail)
list(TRANSFORM LIBRAFT_NAMES PREPEND ${LIBRAFT_DIR}/src/ OUTPUT_VARIABLE LIBRAFT_SOURCES)
list(TRANSFORM LIBRAFT_SOURCES APPEND .c)

# Compile options of libraft's files, here and in the tests that build it with a fix left out.
add_library(libraft_options INTERFACE)
target_compile_options(libraft_options INTERFACE -w -UNDEBUG)
target_compile_definitions(libraft_options INTERFACE "RAFT_API=")

add_library(libraft STATIC ${LIBRAFT_SOURCES})
target_include_directories(libraft SYSTEM PUBLIC ${LIBRAFT_DIR}/include)
target_compile_definitions(libraft INTERFACE "RAFT_API=")
target_link_libraries(libraft PRIVATE libraft_options)
