# coroutine_check.cpp, built by GCC 12, must fail and name the shapes that GCC 12 is known to break.
execute_process(COMMAND "${COMPILER}" -std=c++20 "${CHECK}" -o "${PROGRAM}" COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND "${PROGRAM}" OUTPUT_VARIABLE printed RESULT_VARIABLE failed)
foreach(shape IN ITEMS "aggregate temporary as argument" "lambda temporary capturing by value, as argument"
                       "result of \\?: as argument")
  if(failed EQUAL 0 OR NOT printed MATCHES "${shape}")
    message(SEND_ERROR "not caught: ${shape}")
  endif()
endforeach()
message(STATUS "${printed}")
