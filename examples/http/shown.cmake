# docs/http.md shows examples/http/tour.cpp letter by letter. Called with -D top=<source folder>.
file(READ "${top}/docs/http.md" shown)
file(READ "${top}/examples/http/tour.cpp" source)
string(FIND "${shown}" "```cpp\n${source}```" at)
if(at EQUAL -1)
  message(FATAL_ERROR "the program in docs/http.md differs from examples/http/tour.cpp")
endif()
