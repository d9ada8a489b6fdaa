// debug=1:
//
//   goroutine profile: total 12
//   3 @ 0x43b0d6 0x407c2d 0x4a5c65
//   # labels: {"k":"v"}
//   #	0x4a5c64	main.worker+0x24	/src/main.go:12
//
// Go leaves the runtime's own frames out here, so waits in channels and selects show no state.
#include "read.hpp"

namespace leash::cli {

namespace {

/// {"k":"v","l":"w"} as "k: v, l: w"; what is not of this form stays as it is.
std::string plain_labels(std::string_view s) {
  if (!s.starts_with("{\"") || !s.ends_with("\"}")) return std::string(s);
  s = s.substr(2, s.size() - 4);
  std::string out;
  for (std::size_t i = 0; i < s.size();) {
    if (s.substr(i).starts_with("\":\"")) {
      out += ": ";
      i += 3;
    } else if (s.substr(i).starts_with("\", \"")) {
      out += ", ";
      i += 4;
    } else if (s.substr(i).starts_with("\",\"")) {
      out += ", ";
      i += 3;
    } else {
      out += s[i++];
    }
  }
  return out;
}

class reader {
 public:
  reader(std::string_view text, symbols& s) : lines_(text), symbols_(s) { builder_.p.form = profile_form::counts; }

  profile read() {
    std::string_view line;
    lines_.next(line);
    builder_.p.of_leaks = line.starts_with("goroutineleak");
    line.remove_prefix(line.rfind(' ') + 1);
    std::uint64_t total = 0;
    if (!take_number(line, total) || !line.empty())
      throw input_error("its first line does not say how many goroutines there are");
    while (lines_.next(line)) {
      if (take_count(line)) continue;
      if (open_) take_line(line);
    }
    end_group();
    builder_.p.cut = !lines_.complete() || builder_.p.total < total;
    return std::move(builder_.p);
  }

 private:
  bool take_count(std::string_view line) {
    std::uint64_t n = 0;
    if (!take_number(line, n) || !line.starts_with(" @")) return false;
    end_group();
    if (n == 0 || n > most_goroutines) throw input_error("a stack has an impossible count");
    now_ = {};
    now_.count = n;
    now_.leaked = builder_.p.of_leaks;
    open_ = true;
    return true;
  }

  void take_line(std::string_view line) {
    constexpr std::string_view labels = "# labels: ";
    if (line.empty()) {
      end_group();
    } else if (line.starts_with(labels)) {
      now_.labels = symbols_.text(plain_labels(line.substr(labels.size())));
    } else if (line.starts_with("#\t")) {
      line.remove_prefix(2);
      const std::size_t name = line.find('\t'), end = line.find('\t', name + 1);
      if (name == line.npos || end == line.npos) return;
      std::string_view function = line.substr(name + 1, end - name - 1);
      const std::size_t offset = function.rfind("+0x");
      if (offset != function.npos) function = function.substr(0, offset);
      const std::size_t position = line.find_first_not_of("\t ", end);
      if (frames_.size() >= most_depth) {
        elided_ = true;
        return;
      }
      frames_.push_back(symbols_.add(
          at_position(function, position == line.npos ? std::string_view() : line.substr(position), symbols_)));
    }
  }

  void end_group() {
    if (open_) {
      const std::string_view state = state_of_frames(frames_, symbols_);
      if (!state.empty()) now_.state = symbols_.text(state);
      now_.stack = symbols_.add(frames_, none, elided_);
      builder_.add(now_);
    }
    open_ = elided_ = false;
    frames_.clear();
  }

  lines lines_;
  symbols& symbols_;
  profile_builder builder_;
  profile_builder::entry now_;
  bool open_ = false, elided_ = false;
  std::vector<id> frames_;
};

}  // namespace

profile read_counts(std::string_view text, symbols& s) { return reader(text, s).read(); }

}  // namespace leash::cli
