// DWARF's line programs (versions 2 to 5): which line an instruction was made from.
//
// They have no index: all units are read, once, for all addresses together. What in them points outside of them, or is of
// a form not known here, ends the unit. Thread safety: its user's own.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace leash::debug {

struct source_line {
  std::string file;
  std::uint32_t line = 0;  // 0: not known
};

class line_search {
 public:
  /// The sections .debug_line, .debug_line_str and .debug_str of one file, and addresses in that file. The first is read
  /// while it lives.
  line_search(std::string_view programs, std::string_view line_texts, std::string_view texts,
              std::vector<std::uint64_t> addresses);
  /// Reads some units more. False: that was all.
  bool step();
  /// Of the addresses for which there is a line.
  std::map<std::uint64_t, source_line> found;

 private:
  class reader;
  struct unit;
  void read_unit(reader);
  void run(const unit&, reader);
  void covers(const unit&, std::uint64_t from, std::uint64_t to, std::uint64_t file, std::uint64_t line);

  std::string_view programs_, line_texts_, texts_;
  std::vector<std::uint64_t> wanted_;  // in order
};

}  // namespace leash::debug
