// leash leaks, leash diff.
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <iostream>

#include "commands.hpp"

namespace leash::cli {

namespace {

/// A line on standard error that is written over, if that is a terminal.
void show_progress(const std::string& target, std::size_t done, std::size_t of) {
  if (of < 2 || isatty(STDERR_FILENO) == 0) return;
  if (done == of) {
    std::fprintf(stderr, "\r\033[K");
  } else {
    std::fprintf(stderr, "\r\033[Klooking at %s: %zu of %zu snapshots", target.c_str(), done, of);
  }
  std::fflush(stderr);
}

analysis analyse_series(const std::vector<std::string>& files, symbols& s, const take_options& o,
                        const std::vector<std::string>& ignore) {
  observation seen;
  for (const std::string& f : files) {
    const target t(f);
    seen.target += (seen.target.empty() ? "" : ", ") + t.text();
    seen.snapshots.push_back(t.take(s, o, seen.notes));
    if (seen.snapshots.size() == files.size()) seen.proof = t.take_proof(s, o, seen.why_no_proof);
  }
  return analyse(seen, s, ignore);
}

constexpr std::size_t most_told = 500;

/// What a leash program tells of its leaks: of each place proved, why one that waits there cannot end.
void add_reasons(analysis& a, const target& t, const symbols& s, const take_options& o) {
  if (a.count_of(grade::proven) == 0) return;
  const auto place_of = [&](id frame) {
    return frame == none ? told_leak::place() : told_leak::place{std::string(s.file(frame)), s.frame_of(frame).line};
  };
  const std::vector<told_leak> told = read_told(t.ask_leash("api/leaks", "limit=" + std::to_string(most_told), o));
  for (finding& f : a.findings) {
    if (f.verdict != grade::proven) continue;
    const told_leak::place waits = place_of(f.key.wait), started = place_of(f.creator);
    const auto one = std::ranges::find_if(told, [&](const told_leak& l) {
      return std::ranges::find(l.stack, waits) != l.stack.end() && (f.creator == none || l.started == started);
    });
    if (one != told.end())
      f.why.insert(f.why.begin() + 1, (f.count == 1 ? "" : "one of them: ") + one->who + " " + one->why);
  }
}

void show_all(const std::vector<analysis>& all, const symbols& s, bool json, const show_options& o) {
  if (json) {
    std::cout << to_json(all, s, o) << "\n";
    return;
  }
  const terminal t;
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (i != 0) std::printf("\n");
    show(all[i], s, o, t);
  }
}

}  // namespace

int exit_code(const std::vector<analysis>& all, fail_on fail) {
  for (const analysis& a : all) {
    if (fail != fail_on::never && a.count_of(grade::proven) != 0) return 1;
    if (fail == fail_on::suspect && a.count_of(grade::suspect) != 0) return 1;
  }
  if (std::ranges::any_of(all, [](const analysis& a) { return !a.error.empty(); })) return 2;
  return 0;
}

std::vector<analysis> look_at_all(const leaks_options& o, symbols& s) {
  std::vector<analysis> all;
  if (o.series) {
    all.push_back(analyse_series(o.targets, s, o.take, o.ignore));
    return all;
  }
  std::vector<target> targets;
  for (const std::string& t : o.targets) targets.emplace_back(t);  // before the first look: mistakes show at once
  for (const target& t : targets) {
    auto progress = [&](std::size_t done, std::size_t of) { show_progress(t.text(), done, of); };
    try {
      all.push_back(analyse(observe(t, s, o.take, progress), s, o.ignore));
      add_reasons(all.back(), t, s, o.take);
    } catch (const input_error& e) {
      if (targets.size() == 1) throw;
      all.push_back({});  // the others are looked at all the same
      all.back().target = t.text();
      all.back().error = e.what();
    }
  }
  return all;
}

int leaks(const leaks_options& o) {
  symbols s;
  const std::vector<analysis> all = look_at_all(o, s);
  show_all(all, s, o.json, o.show);
  return exit_code(all, o.fail);
}

int diff(const diff_options& o) {
  symbols s;
  const std::vector<analysis> all = {analyse_series({o.before, o.after}, s, o.take, o.ignore)};
  if (!o.json) show_changes(all[0], s, o.show, terminal());
  show_all(all, s, o.json, o.show);
  return exit_code(all, o.fail);
}

}  // namespace leash::cli
