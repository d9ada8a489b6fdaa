# The first program in README.md is examples/readme.cpp, letter by letter, and the report below it is what it prints (`...` stands for what is left
# out).
# Called with -D top=<source folder> -D program=<example_readme>.
file(READ "${top}/README.md" readme)
file(READ "${top}/examples/readme.cpp" source)

# read_block(LANGUAGE RESULT): the first fenced block of that language.
function(read_block language result)
  set(fence "```${language}\n")
  string(FIND "${readme}" "${fence}" begin)
  if(begin EQUAL -1)
    message(FATAL_ERROR "README.md has no ${fence}")
  endif()
  string(LENGTH "${fence}" length)
  math(EXPR begin "${begin} + ${length}")
  string(SUBSTRING "${readme}" ${begin} -1 rest)
  string(FIND "${rest}" "```" end)
  string(SUBSTRING "${rest}" 0 ${end} text)
  set(${result} "${text}" PARENT_SCOPE)
endfunction()

read_block(cpp shown)
if(NOT shown STREQUAL source)
  message(FATAL_ERROR "the program in README.md differs from examples/readme.cpp")
endif()

execute_process(COMMAND "${program}" OUTPUT_VARIABLE printed RESULT_VARIABLE code)
if(NOT code EQUAL 0)
  message(FATAL_ERROR "${program} ended with ${code}")
endif()
# Numbers of goroutines, the order of entries, and how a build names the way to the file (a compiler cache may) may be others.
string(REGEX REPLACE "[^ \t\n]*examples/readme[.]cpp" "examples/readme.cpp" printed "${printed}")
string(REGEX REPLACE "goroutine [0-9]+" "goroutine N" printed "${printed}")
read_block(text shown)
string(REGEX REPLACE "goroutine [0-9]+" "goroutine N" shown "${shown}")
string(REGEX REPLACE "\n+" ";" lines "${shown}")
foreach(line IN LISTS lines)
  string(FIND "${printed}" "${line}\n" at)
  if(at EQUAL -1 AND NOT line STREQUAL "" AND NOT line STREQUAL "...")
    message(FATAL_ERROR "README.md shows this line:\n${line}\nbut examples/readme.cpp prints:\n${printed}")
  endif()
endforeach()
