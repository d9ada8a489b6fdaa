#include "output.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <memory>

namespace leash::cli {

terminal::terminal() : is_terminal_(isatty(STDOUT_FILENO) != 0) {
  const char* no = std::getenv("NO_COLOR");
  const char* kind = std::getenv("TERM");
  colours_ = is_terminal_ && (no == nullptr || *no == 0) && kind != nullptr && std::string_view(kind) != "dumb";
}
int terminal::width() const {
  winsize w{};
  return is_terminal_ && ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 20 ? w.ws_col : 120;
}
int terminal::height() const {
  winsize w{};
  return is_terminal_ && ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_row > 5 ? w.ws_row : 40;
}
std::string terminal::paint(const char* code, std::string_view s) const {
  if (!colours_) return std::string(s);
  return "\033[" + std::string(code) + "m" + std::string(s) + "\033[0m";
}

namespace {

/// The length of the well-formed UTF-8 character at the front; 0 if there is none.
std::size_t character(std::string_view s) {
  const auto byte = [&](std::size_t i) { return i < s.size() ? static_cast<unsigned char>(s[i]) : 0u; };
  const auto more = [&](std::size_t i) { return (byte(i) & 0xc0) == 0x80; };
  const unsigned c = byte(0);
  if (c < 0x80) return 1;
  if (c >= 0xc2 && c <= 0xdf && more(1)) return 2;
  if (c >= 0xe0 && c <= 0xef && more(1) && more(2)) {
    const unsigned n = (c & 15) << 12 | (byte(1) & 63) << 6 | (byte(2) & 63);
    return n >= 0x800 && (n < 0xd800 || n > 0xdfff) ? 3 : 0;
  }
  if (c >= 0xf0 && c <= 0xf4 && more(1) && more(2) && more(3)) {
    const unsigned n = (c & 7) << 18 | (byte(1) & 63) << 12;
    return n >= 0x10000 && n < 0x110000 ? 4 : 0;
  }
  return 0;
}

/// Controls, also C1, and the marks that turn the direction of writing.
bool steers(std::string_view c) {
  const auto first = static_cast<unsigned char>(c[0]);
  if (c.size() == 1) return first < 32 || first == 127;
  if (c.size() == 2) return first == 0xc2 && static_cast<unsigned char>(c[1]) < 0xa0;
  static constexpr std::string_view marks[] = {"\u200e", "\u200f", "\u202a", "\u202b", "\u202c", "\u202d",
                                               "\u202e", "\u2066", "\u2067", "\u2068", "\u2069", "\u061c"};
  return std::ranges::find(marks, c) != std::end(marks);
}

}  // namespace

std::string clean(std::string_view s) {
  std::string out;
  out.reserve(s.size());
  while (!s.empty()) {
    const std::size_t n = character(s);
    const std::string_view c = s.substr(0, std::max<std::size_t>(n, 1));
    if (n == 0 || steers(c)) {
      out += '?';
    } else {
      out += c;
    }
    s.remove_prefix(c.size());
  }
  return out;
}

std::string place(id f, const symbols& s) {
  if (f == none) return {};
  const std::string_view file = s.file(f);
  if (file.empty()) return {};
  const std::uint32_t line = s.frame_of(f).line;
  return clean(file) + (line == 0 ? "" : ":" + std::to_string(line));
}

void write_file(const std::string& file, const std::string& bytes) {
  const bool standard = file == "-";
  const std::unique_ptr<FILE, int (*)(FILE*)> opened(standard ? nullptr : std::fopen(file.c_str(), "wb"),
                                                     [](FILE* f) { return f == nullptr ? 0 : std::fclose(f); });
  FILE* const to = standard ? stdout : opened.get();
  if (to == nullptr || std::fwrite(bytes.data(), 1, bytes.size(), to) != bytes.size() || std::fflush(to) != 0)
    throw input_error((standard ? "standard output" : file) + ": cannot be written");
}

namespace {

void print(const std::string& s) { std::fwrite(s.data(), 1, s.size(), stdout); }

void print_finding(std::size_t number, const finding& f, const symbols& s, const show_options& o, const terminal& t) {
  std::string state = f.state == none ? "waits" : clean(s.text(f.state));
  if (f.verdict == grade::proven) state += " (leaked)";
  std::string text = (number < 10 ? " " : "") + std::to_string(number) + ". ";
  text += t.bold(grouped(f.count) + (f.count == 1 ? " goroutine" : " goroutines")) + "  " + state;
  if (f.verdict == grade::watch || f.verdict == grade::idle)
    text += t.dim("  (" + std::string(name_of(f.verdict)) + ")");
  text += "\n";
  auto row = [&](const char* name, const std::string& function, const std::string& where) {
    text += "    " + t.dim(name) + function + (where.empty() ? "" : "  " + t.bold(where)) + "\n";
  };
  if (f.key.wait != none) row("waits in    ", clean(s.function(f.key.wait)), place(f.key.wait, s));
  if (f.creator != none) {
    const std::string by = clean(s.function(f.creator));
    row("started by  ", by.empty() ? "" : by, place(f.creator, s));
  }
  if (f.key.entry != none && (f.key.wait == none || s.frame_of(f.key.wait).function != f.key.entry))
    row("started as  ", clean(s.text(f.key.entry)), "");
  for (const auto& [labels, n] : f.labels) row("labels      ", clean(labels) + " (" + grouped(n) + ")", "");
  bool first = true;
  for (const std::string& w : f.why) {
    row(first ? "why         " : "            ", clean(w), "");
    first = false;
  }
  if (!f.hint.empty() && f.verdict <= grade::suspect) row("look for    ", f.hint, "");
  if (o.stacks) {
    text += "    " + t.dim("stack") + "\n";
    for (id fr : s.frames(f.stack)) text += "      " + clean(s.function(fr)) + "\n          " + place(fr, s) + "\n";
  }
  print(text + "\n");
}

}  // namespace

void show(const analysis& a, const symbols& s, const show_options& o, const terminal& t) {
  if (!a.error.empty()) {
    print(t.red("FAILED") + ": " + clean(a.error) + "\n");
    return;
  }
  std::string head =
      t.bold(clean(a.target)) + ": " + grouped(a.total) + (a.total == 1 ? " goroutine" : " goroutines") + " at " +
      plural(
          static_cast<std::uint64_t>(std::ranges::count_if(a.findings, [](const finding& f) { return f.count != 0; })),
          "place");
  if (a.snapshots > 1)
    head += "; " + std::to_string(a.snapshots) + " snapshots" +
            (a.minutes > 0 ? " in " + duration_text(a.minutes * 60) : "");
  print(head + "\n");
  for (const std::string& n : a.notes) print("note: " + clean(n) + "\n");
  print("\n");

  std::size_t number = 0;
  struct part {
    grade g;
    const char* title;
  };
  for (const part p : {part{grade::proven, "PROVEN"},
                       {grade::suspect, "SUSPECTED"},
                       {grade::watch, "TO WATCH"},
                       {grade::idle, "IDLE"}}) {
    if (p.g == grade::proven && a.count_of(p.g) == 0) {
      print(t.bold("PROVEN") + ": none" + (a.proof_was_given ? "" : "; " + a.why_no_proof) + "\n");
      continue;
    }
    // What grows is shown though it may be load.
    const bool only_growing = !o.all && p.g == grade::watch;
    const auto is_shown = [&](const finding& f) {
      return f.verdict == p.g && f.count != 0 && (!only_growing || f.grows);
    };
    const auto n = static_cast<std::size_t>(std::ranges::count_if(a.findings, is_shown));
    if (n == 0 || (!o.all && p.g == grade::idle)) {
      if (p.g == grade::suspect) print(t.bold("SUSPECTED") + ": none\n");
      continue;
    }
    std::uint64_t goroutines = 0;
    for (const finding& f : a.findings) {
      if (is_shown(f)) goroutines += f.count;
    }
    const std::string title = std::string(p.title);
    print((p.g == grade::proven    ? t.red(title)
           : p.g == grade::suspect ? t.yellow(title)
                                   : t.bold(title)) +
          ": " + grouped(goroutines) + (goroutines == 1 ? " goroutine" : " goroutines") + " at " + plural(n, "place") +
          "\n\n");
    std::size_t shown = 0;
    for (const finding& f : a.findings) {
      if (!is_shown(f)) continue;
      if (shown == o.top && !o.all) {
        print("    ... and " + plural(n - shown, "place") + " more (--top N, --all)\n\n");
        break;
      }
      print_finding(++number, f, s, o, t);
      ++shown;
    }
  }
  if (!o.all) {
    std::map<nature, std::uint64_t> kinds;
    std::uint64_t left_out = 0;
    for (const finding& f : a.findings) {
      if (f.verdict <= grade::suspect || f.count == 0) continue;
      kinds[f.kind] += f.count;
      left_out += f.count;
    }
    if (left_out == 0) return;
    std::string text = "\nNot suspicious: " + grouped(left_out) + " (";
    bool first = true;
    for (const auto& [kind, n] : kinds) {
      text += (first ? "" : ", ") + grouped(n) + " " + std::string(name_of(kind));
      first = false;
    }
    text += "); --all shows them";
    if (a.count_of(grade::watch) != 0)
      text += ", " + plural(a.count_of(grade::watch), "place") + " of them worth watching";
    print(t.dim(text) + "\n");
  }
}

std::string fitted(const std::string& s, std::size_t width) {
  if (s.size() <= width) return s;
  if (width < 8) return s.substr(0, width);
  // Bytes for columns: names are ASCII nearly always. Characters are not cut in two.
  std::size_t front = (width - 3) / 2, back = s.size() - (width - 3 - front);
  while (front > 0 && (static_cast<unsigned char>(s[front]) & 0xc0) == 0x80) --front;
  while (back < s.size() && (static_cast<unsigned char>(s[back]) & 0xc0) == 0x80) ++back;
  return s.substr(0, front) + "..." + s.substr(back);
}

void show_changes(const analysis& a, const symbols& s, const show_options& o, const terminal& t) {
  std::vector<const finding*> changed;
  std::uint64_t before = 0;
  for (const finding& f : a.findings) {
    if (f.counts.empty()) continue;
    before += f.counts.front();
    if (f.counts.front() != f.counts.back()) changed.push_back(&f);
  }
  auto delta = [](const finding* f) {
    return static_cast<std::int64_t>(f->counts.back()) - static_cast<std::int64_t>(f->counts.front());
  };
  std::ranges::sort(changed, [&](const finding* x, const finding* y) {
    return delta(x) != delta(y) ? delta(x) > delta(y) : x->key < y->key;
  });
  print(t.bold("CHANGES") + ": " + plural(before, "goroutine") + " before, " + grouped(a.total) + " after; " +
        plural(changed.size(), "place") + " changed\n");
  std::size_t shown = 0;
  for (const finding* f : changed) {
    if (shown++ == o.top && !o.all) {
      print("    ... and " + plural(changed.size() - o.top, "place") + " more (--top N, --all)\n");
      break;
    }
    const std::int64_t d = delta(f);
    const std::string by = (d > 0 ? "+" : "-") + grouped(static_cast<std::uint64_t>(d > 0 ? d : -d));
    char head[120];
    std::snprintf(head, sizeof head, "%10s  %9s -> %-9s  %-18s  ", by.c_str(), grouped(f->counts.front()).c_str(),
                  grouped(f->counts.back()).c_str(),
                  f->state == none ? "?" : fitted(clean(s.text(f->state)), 18).c_str());
    print(head + clean(s.function(f->key.wait)) + "  " + t.bold(place(f->key.wait, s)) + "\n");
  }
  print("\n");
}

}  // namespace leash::cli
