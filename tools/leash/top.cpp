// leash top: the places of one process, again and again.
#include <algorithm>
#include <cstdio>
#include <iostream>
#include <map>

#include "commands.hpp"
#include "interrupt.hpp"

namespace leash::cli {

namespace {

struct row {
  const site* at;
  std::int64_t grown;  // since the first frame
};

std::string frame_text(const profile& p, std::vector<row> rows, const symbols& s, const top_options& o,
                       const terminal& t, double seconds) {
  std::ranges::sort(rows, [&](const row& a, const row& b) {
    if (!o.by_count && a.grown != b.grown) return a.grown > b.grown;
    return a.at->count != b.at->count ? a.at->count > b.at->count : a.at->key < b.at->key;
  });
  const auto width = static_cast<std::size_t>(t.width()), height = static_cast<std::size_t>(t.height());
  std::string text = fitted(clean(p.source) + "  " + grouped(p.total) + " goroutines, " + plural(rows.size(), "place") +
                                ", for " + duration_text(seconds),
                            width);
  text = t.bold(text) + "\n" + t.dim("    COUNT      GROWN  STATE               WAITS IN") + "\n";
  std::size_t shown = 0;
  for (const row& r : rows) {
    if (++shown > (t.is_terminal() ? height - 4 : o.rows)) break;
    char head[80];
    const std::string grown =
        r.grown == 0 ? "" : (r.grown > 0 ? "+" : "-") + grouped(static_cast<std::uint64_t>(std::abs(r.grown)));
    std::snprintf(head, sizeof head, "%9s  %9s  %-18s  ", grouped(r.at->count).c_str(), grown.c_str(),
                  r.at->state == none ? "?" : fitted(clean(s.text(r.at->state)), 18).c_str());
    const std::string line = head + fitted(clean(s.function(r.at->key.wait)) + "  " + place(r.at->key.wait, s),
                                           width > 60 ? width - 43 : 20);
    text += (r.grown > 0 ? t.yellow(line) : line) + "\n";
  }
  return text;
}

}  // namespace

int top(const top_options& o) {
  symbols s;
  const terminal t;
  const target it(o.target);
  heed_interrupts();
  const auto begin = std::chrono::steady_clock::now();
  std::map<site_key, std::uint64_t> first;
  for (std::size_t n = 0;; ++n) {
    const profile p = it.is_live() ? it.take_counts(s, o.take)
                                   : throw input_error(o.target + ": a file does not change; top is for processes");
    const std::vector<site> sites = sites_of(p, s, false);
    if (n == 0) {
      for (const site& at : sites) first[at.key] = at.count;
    }
    std::vector<row> rows;
    for (const site& at : sites) {
      const auto was = first.find(at.key);
      rows.push_back(
          {&at, static_cast<std::int64_t>(at.count) - static_cast<std::int64_t>(was == first.end() ? 0 : was->second)});
    }
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    if (o.json) {
      std::cout << top_json(p, sites, s) << std::endl;
    } else {
      const std::string text = frame_text(p, std::move(rows), s, o, t, seconds);
      std::printf("%s%s%s",
                  t.is_terminal() ? "\033[H\033[2J"
                  : n == 0        ? ""
                                  : "\n",
                  text.c_str(), t.is_terminal() ? "Ctrl-C ends\n" : "");
      std::fflush(stdout);
    }
    if (n + 1 == o.frames || !wait_until(begin + o.every * (n + 1))) return 0;
  }
}

}  // namespace leash::cli
