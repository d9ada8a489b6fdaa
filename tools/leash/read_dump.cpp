// debug=2, and what a dying Go program prints:
//
//   goroutine 18 gp=0xc000 m=nil [chan receive (leaked), 5 minutes, locked to thread labels:{"k": "v"}] {k: v}:
//   main.worker(0xc000012345, {0x1, 0x2})
//           /src/main.go:12 +0x45
//   ...additional frames elided...
//   created by main.main in goroutine 1
//           /src/main.go:30 +0x65
//
// Of the header all but number and reason are optional. Lines that are none of this (a panic's message, registers, a log's
// own lines) are passed over.
#include <algorithm>

#include "read.hpp"

namespace leash::cli {

namespace {

constexpr std::string_view arguments = "0123456789abcdefx, {}.?_";

/// Cuts the arguments off: "main.f(0x1, {0x2, ...})". Parameter types of C++ stay.
std::string_view without_arguments(std::string_view function, bool go) {
  if (!function.ends_with(')')) return function;
  const std::size_t open = function.rfind('(');
  if (open == function.npos || open == 0) return function;
  const std::string_view inside = function.substr(open + 1, function.size() - open - 2);
  if (inside.empty() ? !go : inside.find_first_not_of(arguments) != inside.npos) return function;
  return function.substr(0, open);
}

/// Cuts " +0x45" and " fp=0x1 sp=0x2 pc=0x3" off.
std::string_view without_offset(std::string_view position, bool& go) {
  std::size_t end = position.rfind(" +0x");
  if (end == position.npos) end = position.find(" fp=0x");
  go = end != position.npos;
  return position.substr(0, end);
}

/// A Go string literal at the front of `s`, taken off; escapes stay as they are.
bool take_quoted(std::string_view& s, std::string& to) {
  if (!s.starts_with('"')) return false;
  for (std::size_t i = 1; i < s.size(); ++i) {
    if (s[i] == '\\') {
      ++i;
    } else if (s[i] == '"') {
      to.append(s.substr(1, i - 1));
      s.remove_prefix(i + 1);
      return true;
    }
  }
  return false;
}

/// What follows `labels:{`, up to and with its brace, as "k: v, k: v".
bool take_labels(std::string_view& s, std::string& to) {
  for (;;) {
    if (s.starts_with('}')) {
      s.remove_prefix(1);
      return true;
    }
    if (!to.empty()) to += ", ";
    if (!take_quoted(s, to) || !s.starts_with(": ")) return false;
    s.remove_prefix(2);
    to += ": ";
    if (!take_quoted(s, to)) return false;
    if (s.starts_with(", ")) s.remove_prefix(2);
  }
}

class reader {
 public:
  reader(std::string_view text, symbols& s) : lines_(text), symbols_(s) { builder_.p.form = profile_form::dump; }

  profile read() {
    std::string_view line;
    while (lines_.next(line)) {
      const std::size_t spaces = std::min(line.find_first_not_of(' '), line.size());
      if (take_header(line.substr(spaces))) {
        indent_ = spaces;
        end_goroutine();
        now_ = header_;
        number_ = header_number_;
        open_ = true;
      } else if (open_) {
        take_line(unindented(line));
      }
    }
    // Go cuts dumps at 64 MB, wherever that is.
    builder_.p.cut = !lines_.complete();
    end_goroutine();
    if (builder_.p.total == 0) throw input_error("no goroutine is in it");
    return std::move(builder_.p);
  }

 private:
  bool take_header(std::string_view line) {
    constexpr std::string_view start = "goroutine ";
    if (!line.starts_with(start)) return false;
    line.remove_prefix(start.size());
    if (!take_number(line, header_number_)) return false;
    const std::size_t bracket = line.find('[');
    if (bracket == line.npos || !line.starts_with(' ')) return false;
    line.remove_prefix(bracket + 1);

    header_ = {};
    labels_.clear();
    std::string_view reason;
    for (bool first = true;; first = false) {
      std::size_t end = line.find_first_of(",]");
      if (end == line.npos) return false;
      const std::size_t labels = line.substr(0, end).find(" labels:{");
      if (labels != line.npos) end = labels;
      take_part(line.substr(0, end), first, reason);
      line.remove_prefix(end);
      if (labels != line.npos) {
        line.remove_prefix(9);
        if (!take_labels(line, labels_)) return false;
        if (!line.starts_with(']')) return false;
      }
      const bool last = line[0] == ']';
      line.remove_prefix(1);
      if (last) break;
      if (line.starts_with(' ')) line.remove_prefix(1);
    }
    // leash's dump: [chan receive] {name: alice}:
    if (line.starts_with(" {") && line.ends_with("}:")) labels_ = line.substr(2, line.size() - 4);
    header_.state = symbols_.text(reason);
    header_.labels = labels_.empty() ? none : symbols_.text(labels_);
    return true;
  }

  void take_part(std::string_view part, bool first, std::string_view& reason) {
    if (first) {
      for (bool again = true; again;) {
        again = false;
        for (std::string_view mark : {" (leaked)", " (scan)"}) {
          if (!part.ends_with(mark)) continue;
          part.remove_suffix(mark.size());
          if (mark == " (leaked)") header_.leaked = true;
          again = true;
        }
      }
      reason = part;
      return;
    }
    std::string_view rest = part;
    std::uint64_t n = 0;
    if (part == "locked to thread") {
      header_.locked = true;
    } else if (take_number(rest, n)) {
      n = std::min<std::uint64_t>(n, 0xffffffff / 3600);
      if (rest.starts_with(" second")) header_.wait = static_cast<std::uint32_t>(n);
      if (rest.starts_with(" minute")) header_.wait = static_cast<std::uint32_t>(n * 60);
      if (rest.starts_with(" hour")) header_.wait = static_cast<std::uint32_t>(n * 3600);
    }
  }

  std::string_view unindented(std::string_view line) const {
    line.remove_prefix(std::min({line.find_first_not_of(' '), indent_, line.size()}));
    return line;
  }

  void take_line(std::string_view line) {
    if (line.empty()) {
      end_goroutine();
    } else if (line.starts_with("...")) {
      elided_ = true;
    } else if (line.starts_with("[originating from")) {
      end_goroutine();  // what follows are its ancestors' stacks
    } else if (line[0] == '\t' || line[0] == ' ') {
      return;  // a position without a function, or "goroutine running on other thread"
    } else {
      std::string_view position;
      if (!lines_.peek(position) || !unindented(position).starts_with('\t')) return;  // no frame
      lines_.next(position);
      position = unindented(position).substr(1);
      bool go = false;
      position = without_offset(position, go);
      constexpr std::string_view created = "created by ";
      if (line.starts_with(created)) {
        line.remove_prefix(created.size());
        // leash does not name the function: "created by goroutine 1".
        std::size_t end = line.rfind(" in goroutine ");
        if (end == line.npos && line.starts_with("goroutine ")) end = 0;
        creator_ = symbols_.add(at_position(line.substr(0, end), position, symbols_));
      } else if (frames_.size() < most_depth) {
        frames_.push_back(symbols_.add(at_position(without_arguments(line, go), position, symbols_)));
      } else {
        elided_ = true;
      }
    }
  }

  void end_goroutine() {
    if (open_) {
      // Old versions of Go say "semacquire" for every lock; the frames know better.
      if (symbols_.text(now_.state) == "semacquire") {
        const std::string_view better = state_of_frames(frames_, symbols_);
        if (!better.empty()) now_.state = symbols_.text(better);
      }
      now_.stack = symbols_.add(frames_, creator_, elided_);
      builder_.add_goroutine(number_, now_);
    }
    open_ = false;
    frames_.clear();
    creator_ = none;
    elided_ = false;
  }

  lines lines_;
  symbols& symbols_;
  profile_builder builder_;
  profile_builder::entry header_, now_;  // of the header read last; of the goroutine that is open
  std::uint64_t header_number_ = 0, number_ = 0;
  std::size_t indent_ = 0;  // of the header, and of what belongs to it: leash's reports are indented
  bool open_ = false, elided_ = false;
  std::vector<id> frames_;
  id creator_ = none;
  std::string labels_;
};

}  // namespace

profile read_dump(std::string_view text, symbols& s) { return reader(text, s).read(); }

}  // namespace leash::cli
