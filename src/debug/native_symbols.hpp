// Which function an address of this process lies in, from the symbol tables of the files that are loaded; and which line,
// where they have debug information that is not packed.
//
// Only names come out of it, no addresses. Files are mapped while it lives; what in them points outside of them is left
// alone. Thread safety: its user's own.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "line_table.hpp"

namespace leash::debug {

class native_symbols {
 public:
  native_symbols();
  native_symbols(const native_symbols&) = delete;
  ~native_symbols();
  struct found {
    std::string name;         // without parameters; "[FILE]" where the file does not tell
    std::string whole;        // as the compiler has it
    std::uint64_t start = 0;  // of the function, or the address itself: tells functions apart
    source_line line;         // of an address that was wanted; line 0: not known
  };
  found at(std::uint64_t address);

  /// First what is wanted, then some milliseconds of looking at a time. False: done.
  void want_line(std::uint64_t address);
  bool find_lines();

 private:
  struct module;
  module* module_of(std::uint64_t address);
  std::vector<std::unique_ptr<module>> modules_;
};

}  // namespace leash::debug
