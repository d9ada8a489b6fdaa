# cmake -DIN=page.html -DOUT=page.cpp -P EmbedText.cmake: the file as a C++ string. Literals have a length that every
# compiler takes, hence pieces.
file(READ "${IN}" text)
string(LENGTH "${text}" size)
set(pieces "")
set(at 0)
while(at LESS size)
  string(SUBSTRING "${text}" ${at} 8000 piece)
  string(APPEND pieces "R\"~~~(${piece})~~~\"\n")
  math(EXPR at "${at} + 8000")
endwhile()
file(WRITE "${OUT}" "#include <string_view>\nnamespace leash::debug {\nextern const std::string_view page_html;\nconst std::string_view page_html =\n${pieces};\n}  // namespace leash::debug\n")
