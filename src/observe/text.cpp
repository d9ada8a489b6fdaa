#include "text.hpp"

#include <algorithm>
#include <cstdio>

namespace leash {

namespace {

constexpr std::string_view replacement = "\xEF\xBF\xBD";
constexpr std::size_t longest_line = 200;  // characters of one_line

/// The bytes of the character at the front; 0: no UTF-8.
std::size_t character(std::string_view s) noexcept {
  auto const at = [&](std::size_t i) { return i < s.size() ? static_cast<unsigned char>(s[i]) : 0u; };
  auto const follows = [&](std::size_t i) { return (at(i) & 0xC0) == 0x80; };
  unsigned const c = at(0);
  if (c < 0x80) return 1;
  if (c >= 0xC2 && c <= 0xDF) return follows(1) ? 2 : 0;
  if (c >= 0xE0 && c <= 0xEF) {
    if (!follows(1) || !follows(2)) return 0;
    bool const too_long = c == 0xE0 && at(1) < 0xA0, surrogate = c == 0xED && at(1) >= 0xA0;
    return too_long || surrogate ? 0 : 3;
  }
  if (c >= 0xF0 && c <= 0xF4) {
    if (!follows(1) || !follows(2) || !follows(3)) return 0;
    bool const too_long = c == 0xF0 && at(1) < 0x90, too_large = c == 0xF4 && at(1) >= 0x90;
    return too_long || too_large ? 0 : 4;
  }
  return 0;
}

void replace_all(std::string& s, std::string_view what, std::string_view with) {
  for (std::size_t i = s.find(what); i != s.npos; i = s.find(what, i + with.size())) s.replace(i, what.size(), with);
}

}  // namespace

std::string valid_utf8(std::string_view s) {
  std::string out;
  while (!s.empty()) {
    std::size_t const n = character(s);
    out += n == 0 ? replacement : s.substr(0, n);
    s.remove_prefix(n == 0 ? 1 : n);
  }
  return out;
}

std::string one_line(std::string_view s) {
  std::string out;
  for (std::size_t n = 0; !s.empty(); ++n) {
    if (n == longest_line) return out + "...";
    std::size_t const bytes = character(s);
    auto const first = static_cast<unsigned char>(s[0]);
    // Terminals obey U+0080 to U+009F, too; U+2028 and U+2029 end lines.
    bool const obeyed = bytes == 0 || first < 0x20 || first == 0x7f || (first == 0xC2 && s[1] < '\xA0') ||
                        s.starts_with("\xE2\x80\xA8") || s.starts_with("\xE2\x80\xA9");
    if (!obeyed) {
      out += s.substr(0, bytes);
    } else if (bytes > 1) {
      char buffer[8];
      unsigned const code = bytes == 2 ? static_cast<unsigned char>(s[1]) : 0x2000u | (s[2] & 0x3fu);
      std::snprintf(buffer, sizeof buffer, "\\u%04x", code);
      out += buffer;
    } else if (first == '\n' || first == '\t' || first == '\r') {
      out += first == '\n' ? "\\n" : first == '\t' ? "\\t" : "\\r";
    } else {
      char buffer[8];
      std::snprintf(buffer, sizeof buffer, "\\x%02x", static_cast<unsigned>(first));
      out += buffer;
    }
    s.remove_prefix(std::max<std::size_t>(bytes, 1));
  }
  return out;
}

void append_json(std::string& out, std::string_view s) {
  out += '"';
  while (!s.empty()) {
    std::size_t const n = character(s);
    char const c = s[0];
    if (n == 0) {
      out += replacement;
    } else if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      char buffer[8];
      switch (c) {
        case '\n':
          out += "\\n";
          break;
        case '\t':
          out += "\\t";
          break;
        case '\r':
          out += "\\r";
          break;
        default:
          std::snprintf(buffer, sizeof buffer, "\\u%04x", static_cast<unsigned>(c));
          out += buffer;
      }
    } else {
      out += s.substr(0, n);
    }
    s.remove_prefix(n == 0 ? 1 : n);
  }
  out += '"';
}

std::string plain_function(std::string_view pretty) {
  std::string s(pretty);
  replace_all(s, "(anonymous namespace)::", "");
  // A lambda is the operator() of a class without a name: clang's and GCC's ways to say so.
  for (std::string_view call : {"(anonymous class)::operator()", "<lambda>", "(lambda)::operator()"})
    replace_all(s, call, "lambda");
  // GCC says of a template what its parameters are: "f(T) [with T = int]".
  if (std::size_t const with = s.find(" [with "); with != s.npos) s.resize(with);
  if (std::size_t const with = s.rfind(" ["); with != s.npos && s.ends_with(']') && s.find('=', with) != s.npos)
    s.resize(with);
  while (s.ends_with(" const") || s.ends_with(" mutable") || s.ends_with(" &") || s.ends_with(" &&") ||
         s.ends_with(" noexcept"))
    s.resize(s.rfind(' '));
  // Parameters, also those of functions around a lambda.
  for (std::size_t from = 0; (from = s.find('(', from)) != s.npos;) {
    if (std::string_view(s).substr(0, from).ends_with("operator")) {
      from += 2;
      continue;
    }
    std::size_t end = from;
    for (int depth = 0; end < s.size(); ++end) {
      if (s[end] == '(') ++depth;
      if (s[end] == ')' && --depth == 0) break;
    }
    if (end == s.size() || from == 0) return std::string(pretty);
    s.erase(from, end + 1 - from);
  }
  // The result ends at the last space outside of all brackets.
  std::size_t begin = 0;
  int depth = 0;
  for (std::size_t i = 0; i < s.size(); ++i) {
    char const c = s[i];
    if (c == '<' || c == '(' || c == '{' || c == '[') ++depth;
    if ((c == '>' || c == ')' || c == '}' || c == ']') && depth > 0) --depth;
    if (c == ' ' && depth == 0 && !std::string_view(s).substr(0, i).ends_with("operator")) begin = i + 1;
  }
  s.erase(0, begin);
  while (s.starts_with('*') || s.starts_with('&')) s.erase(0, 1);
  return s.empty() ? std::string(pretty) : s;
}

}  // namespace leash
