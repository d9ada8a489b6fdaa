// From bytes to profiles: what `/debug/pprof/goroutine` and `goroutineleak` give with debug=0, 1 and 2, in Go 1.19 to 1.27
// and in leash, and what a Go program prints when it dies of SIGQUIT or a panic. The form is told by the bytes themselves.
//
// Nothing is believed: broken, hostile or huge input ends in an input_error, in memory bounded by `most_bytes` and the
// limits of `symbols`. Counts are added without overflow.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "profile.hpp"

namespace leash::cli {

inline constexpr std::size_t most_bytes = std::size_t{256} << 20;  // of one profile, when unpacked
inline constexpr std::size_t most_depth = 4096;                    // frames of one stack; Go keeps 128 or fewer
inline constexpr std::uint64_t most_goroutines = 1'000'000'000'000;

/// A file's bytes, or standard input's for "-".
std::string read_file(const std::string& path, std::size_t most = most_bytes);

/// Unpacks what begins as gzip does; other bytes come back as they are.
std::string unpacked(std::string bytes, std::size_t most = most_bytes);

/// `source` is what the profile is called; errors do not repeat it.
profile read_profile(std::string bytes, symbols& s, std::string source);

// The three forms, of unpacked bytes.
profile read_protobuf(std::string_view bytes, symbols& s);
profile read_counts(std::string_view text, symbols& s);  // debug=1
profile read_dump(std::string_view text, symbols& s);    // debug=2

/// The lines of a text one by one, without their end.
class lines {
 public:
  explicit lines(std::string_view text) : rest_(text) {}
  bool next(std::string_view& line) {
    if (rest_.empty()) return false;
    const std::size_t end = rest_.find('\n');
    complete_ = end != rest_.npos;
    line = rest_.substr(0, end);
    rest_.remove_prefix(complete_ ? end + 1 : rest_.size());
    if (line.ends_with('\r')) line.remove_suffix(1);
    return true;
  }
  bool complete() const { return complete_; }  // the last line given had an end
  bool peek(std::string_view& line) const {
    lines copy = *this;
    return copy.next(line);
  }

 private:
  std::string_view rest_;
  bool complete_ = true;
};

/// The number at the front of `s`, which it takes off; none if there is none or it does not fit.
bool take_number(std::string_view& s, std::uint64_t& n);
/// "file:line" to a frame of that function.
frame at_position(std::string_view function, std::string_view position, symbols& s);
/// The wait that the frames at the leaf end of a stack tell of, in Go's words; empty if they tell of none.
std::string_view state_of_frames(std::span<const id> frames, const symbols& s);

}  // namespace leash::cli
