# Refuses compilers whose coroutines are broken: by version where that is known, then by a program that runs the shapes
# that matter. Installed with the package too, because the miscompiled code would be the user's own.

# Sets `result` to the reason why this compiler is refused, or to nothing.
function(leash_why_not_compiler id version result)
  set(why "")
  if(id STREQUAL "GNU" AND version VERSION_LESS 13)
    set(why "GCC ${version} miscompiles coroutines: in co_await expressions it copies aggregate temporaries, lambdas that "
            "capture by value and results of ?: bit by bit, so their destructors run on the wrong object. leash needs GCC 13.")
  elseif(id MATCHES "Clang" AND version VERSION_LESS 19)
    set(why "clang ${version} miscompiles coroutines: when one is destroyed while it waits inside an expression, destructors "
            "of that expression's parts do not run. leash needs clang 19.")
  endif()
  string(CONCAT why ${why})
  set(${result} "${why}" PARENT_SCOPE)
endfunction()

set(leash_compiler_advice
    "Use clang 19 (Debian 12: apt-get install clang-19, then -DCMAKE_CXX_COMPILER=clang++-19 in an empty build folder, "
    "or cmake --preset dev). If you know better: -DLEASH_SKIP_COMPILER_CHECK=ON.")
string(CONCAT leash_compiler_advice ${leash_compiler_advice})
set(leash_coroutine_check "${CMAKE_CURRENT_LIST_DIR}/coroutine_check.cpp")

function(leash_check_compiler)
  if(LEASH_SKIP_COMPILER_CHECK)
    return()
  endif()
  leash_why_not_compiler("${CMAKE_CXX_COMPILER_ID}" "${CMAKE_CXX_COMPILER_VERSION}" why)
  if(why)
    message(FATAL_ERROR "${why}\n${leash_compiler_advice}")
  endif()
  set(checked "${CMAKE_CXX_COMPILER} ${CMAKE_CXX_COMPILER_VERSION} ${CMAKE_CXX_FLAGS}")
  if(CMAKE_CROSSCOMPILING OR LEASH_COROUTINES_WORK STREQUAL checked)
    return()
  endif()
  message(CHECK_START "Running coroutines through ${CMAKE_CXX_COMPILER_ID} ${CMAKE_CXX_COMPILER_VERSION}")
  unset(leash_check_runs CACHE)
  unset(leash_check_compiles CACHE)
  try_run(leash_check_runs leash_check_compiles "${CMAKE_CURRENT_BINARY_DIR}/coroutine_check" "${leash_coroutine_check}"
          CXX_STANDARD 20 CXX_STANDARD_REQUIRED ON
          COMPILE_OUTPUT_VARIABLE compile_output RUN_OUTPUT_VARIABLE run_output)
  if(NOT leash_check_compiles)
    message(CHECK_FAIL "cannot compile them")
    message(FATAL_ERROR "This compiler does not compile C++20 coroutines:\n${compile_output}\n${leash_compiler_advice}")
  elseif(NOT leash_check_runs EQUAL 0)
    message(CHECK_FAIL "wrong code")
    message(FATAL_ERROR "${CMAKE_CXX_COMPILER_ID} ${CMAKE_CXX_COMPILER_VERSION} miscompiles coroutines that leash and its "
                        "users write:\n${run_output}\n${leash_compiler_advice}")
  endif()
  message(CHECK_PASS "right code")
  set(LEASH_COROUTINES_WORK "${checked}" CACHE INTERNAL "the compiler that passed coroutine_check.cpp")
endfunction()
