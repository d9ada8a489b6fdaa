# Configures SOURCE with OPTION in BINARY from nothing, builds it and checks what its program prints. DEBUG: also what the one that
# links leash::debug prints; it must be there.
file(REMOVE_RECURSE "${BINARY}")
execute_process(COMMAND ${CMAKE_COMMAND} -S "${SOURCE}" -B "${BINARY}" "${OPTION}" COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${CMAKE_COMMAND} --build "${BINARY}" COMMAND_ERROR_IS_FATAL ANY)
set(PROGRAM "${BINARY}/consumer")
include("${CMAKE_CURRENT_LIST_DIR}/expect_output.cmake")
if(DEBUG)
  set(PROGRAM "${BINARY}/consumer_debug")
  include("${CMAKE_CURRENT_LIST_DIR}/expect_output.cmake")
endif()
