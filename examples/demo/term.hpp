// Colours on a terminal, plain text in a pipe, and a few ways to write numbers.
#pragma once
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>

namespace demo {

struct terminal {
  bool live = false;     // stdout is a terminal: a progress bar may move
  bool colours = false;  // and wants colours
};
inline terminal term;

inline std::string paint(std::string_view code, std::string_view text) {
  if (!term.colours) return std::string(text);
  std::string painted = "\033[";
  return painted.append(code).append("m").append(text).append("\033[0m");
}
inline std::string bold(std::string_view text) { return paint("1", text); }
inline std::string dim(std::string_view text) { return paint("2", text); }
inline std::string red(std::string_view text) { return paint("1;31", text); }
inline std::string green(std::string_view text) { return paint("32", text); }
inline std::string yellow(std::string_view text) { return paint("33", text); }
inline std::string cyan(std::string_view text) { return paint("36", text); }

/// Pads first, paints after: escape codes take no columns.
inline std::string left(std::string_view text, std::size_t width) {
  std::string padded(text);
  if (padded.size() < width) padded.append(width - padded.size(), ' ');
  return padded;
}
inline std::string right(std::string_view text, std::size_t width) {
  return text.size() < width ? std::string(width - text.size(), ' ').append(text) : std::string(text);
}
inline std::string right(std::uint64_t n, std::size_t width) { return right(std::to_string(n), width); }

inline std::string fixed(double value, int digits) {
  char text[64];
  std::snprintf(text, sizeof text, "%.*f", digits, value);
  return text;
}

/// A path as it may be printed: control characters would speak to the terminal.
inline std::string printable(std::string_view path) {
  std::string safe;
  for (char c : path) safe += static_cast<unsigned char>(c) < ' ' || c == 127 ? '?' : c;
  return safe;
}

/// The line as it is, at once: what was said before an interruption stays said.
inline void say(std::string_view text = {}) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fputc('\n', stdout);
  std::fflush(stdout);
}
/// How many columns `painted` takes: escape codes take none.
inline std::size_t columns_of(std::string_view painted) {
  std::size_t n = 0;
  bool code = false;
  for (char c : painted) {
    if (c == '\033') code = true;
    if (!code) ++n;
    if (c == 'm') code = false;
  }
  return n;
}

inline std::size_t terminal_width() {
  winsize size{};
  bool known = term.live && ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
  return known ? size.ws_col : 100;
}

/// `head`, then `text` in lines that start below its first word and are at most 110 columns long.
inline void say_wrapped(std::string_view head, std::string_view text) {
  std::size_t indent = columns_of(head), most = std::min<std::size_t>(terminal_width(), 110);
  std::string line(head);
  bool fresh = true;
  while (!text.empty()) {
    std::string_view word = text.substr(0, text.find(' '));
    text.remove_prefix(std::min(text.size(), word.size() + 1));
    if (!fresh && columns_of(line) + 1 + columns_of(word) > most) {
      say(line);
      line.assign(indent, ' ');
      fresh = true;
    }
    if (!fresh) line += ' ';
    line += word;
    fresh = false;
  }
  say(line);
}
inline void headline(std::string_view text) { say("\n" + bold(text)); }

}  // namespace demo
