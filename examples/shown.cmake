# A document shows a program letter by letter: its first block of C++ is that file.
# Called with -D document=<file.md> -D source=<file.cpp>.
file(READ "${document}" text)
file(READ "${source}" program)
string(FIND "${text}" "```cpp\n${program}```" at)
if(at EQUAL -1)
  message(FATAL_ERROR "${document} does not show ${source} as it is")
endif()
