// walk_directory (one goroutine per directory) --batches--> read_files (a few) --tables--> the merger
//                                                              show_progress looks on, until it hears the end
#include "pipeline.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <iterator>
#include <limits>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

#include "count.hpp"
#include "term.hpp"

namespace demo {
namespace {

using namespace std::chrono_literals;
using leash::channel, leash::named, leash::receiver, leash::scope, leash::sender, leash::task, leash::with_scope;

constexpr std::size_t directories_at_once = 16;
constexpr std::size_t batches_ahead = 4096;  // how far the walk may run ahead of the readers
constexpr std::size_t buffer_size = 256 * 1024;
constexpr std::size_t problems_shown = 5;

/// What the goroutines of one count share.
struct tree {
  word_rule rule;
  std::atomic<std::uint64_t> goroutines{1}, directories{0}, links{0}, special{0};
  std::atomic<std::uint64_t> files_found{0}, files_done{0}, bytes_done{0};
  std::atomic<bool> walked{false};
  leash::guarded<std::vector<problem>> problems;

  explicit tree(word_rule rule) : rule(rule) {}
  template <class... A>
  void go(scope& s, A&&... args) {
    ++goroutines;
    s.go(std::forward<A>(args)...);
  }
};

task<> report(tree& t, std::vector<problem> found) {
  if (found.empty()) co_return;
  auto all = co_await t.problems.lock();
  std::move(found.begin(), found.end(), std::back_inserter(*all));
}

// ---- the walk ---------------------------------------------------------------------------------------------------
task<> walk_directory(scope& s, tree& t, std::string path, sender<batch> out) {
  listing found = co_await leash::blocking([&] { return list_directory(path); });
  ++t.directories;
  t.links += found.links;
  t.special += found.special;
  t.files_found += found.files.size();
  if (found.failed) co_await report(t, {*found.failed});
  // go() never waits: under the scope's bound a child starts when others end, so a parent cannot starve its children.
  for (std::string& sub : found.directories)
    t.go(s, named("walk"), walk_directory, std::ref(s), std::ref(t), std::move(sub), out.dup());
  for (batch& b : make_batches(path, std::move(found.files)))
    if (!co_await out.send(std::move(b))) co_return;
}

task<> walk(tree& t, std::string root, sender<batch> out) {
  co_await with_scope({.max_children = directories_at_once}, [&](scope& s) -> task<> {
    t.go(s, named("walk"), walk_directory, std::ref(s), std::ref(t), std::move(root), std::move(out));
    co_return;
  });
  t.walked = true;
}

// ---- the readers ------------------------------------------------------------------------------------------------
task<> read_files(tree& t, receiver<batch> in, sender<by_type> out) {
  by_type table;
  std::vector<char> buffer(buffer_size);
  while (auto b = co_await in.recv()) {
    std::size_t files = b->names.size();
    file_feed feed(std::move(*b));
    word_counter counter(t.rule);
    while (co_await leash::blocking([&] { return feed.fill(buffer); })) {  // read there, count here
      count_pieces(feed, counter, table);
      for (const file_feed::piece& p : feed.pieces()) t.bytes_done += p.data.size();
    }
    t.files_done += files;
    co_await report(t, std::move(feed.problems));
  }
  (void)co_await out.send(std::move(table));
}

// ---- progress ---------------------------------------------------------------------------------------------------
/// The line under the cursor, wiped when its goroutine ends, whichever way.
struct bar_line {
  bar_line() = default;
  bar_line(const bar_line&) = delete;
  ~bar_line() {
    if (!drawn) return;
    std::fputs("\r\033[K", stdout);
    std::fflush(stdout);
  }
  void draw(const std::string& text) {
    std::fputs(("\r" + text + "\033[K").c_str(), stdout);
    std::fflush(stdout);
    drawn = true;
  }
  bool drawn = false;
};

void draw(bar_line& line, const tree& t) {
  std::uint64_t found = t.files_found, done = t.files_done;
  std::string text = " " + std::to_string(done) + (t.walked ? " of " : " of at least ") + std::to_string(found) +
                     " files, " + fixed(static_cast<double>(t.bytes_done) / 1e6, 1) + " MB";
  if (!term.live) return say(" " + text);
  constexpr std::size_t margin = 5;
  std::size_t columns = terminal_width(), taken = text.size() + margin;
  std::size_t width = columns > taken ? std::min<std::size_t>(columns - taken, 40) : 0;
  std::size_t full = found > 0 ? width * done / found : 0;
  line.draw("  [" + cyan(std::string(full, '#')) + std::string(width - full, '.') + "]" + text);
}

task<> show_progress(tree& t, receiver<std::monostate> over) {
  bar_line line;
  leash::ticker tick(term.live ? 50ms : 1000ms);
  for (;;) {
    auto r = co_await leash::select(over.recv(), tick.next());
    if (r.index() == 0) co_return;
    draw(line, t);
  }
}

// ---- together ---------------------------------------------------------------------------------------------------
task<by_type> count_tree(tree& t, std::string root, unsigned readers, bool progress) {
  by_type all;
  co_await with_scope([&](scope& s) -> task<> {
    auto [batches, to_read] = channel<batch>(batches_ahead);
    auto [tables, to_merge] = channel<by_type>();
    auto [running, over] = channel<std::monostate>();
    t.go(s, named("walker"), walk, std::ref(t), std::move(root), std::move(batches));
    for (unsigned i = 0; i < readers; ++i)
      t.go(s, named("reader"), read_files, std::ref(t), to_read.dup(), tables.dup());
    if (progress) t.go(s, named("progress"), show_progress, std::ref(t), std::move(over));
    to_read.drop();
    tables.drop();  // the readers hold the others: the last to end ends the merge
    while (auto table = co_await to_merge.recv()) merge(all, *table);
  });  // `running` is dropped here, and show_progress hears it
  co_return all;
}

/// For the shell: in single quotes, and no option.
std::string quoted(const std::string& path) {
  std::string text = path.starts_with('-') ? "'./" : "'";
  for (char c : path) text += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return text += "'";
}

double seconds_since(leash::clock::time_point begin) {
  return std::chrono::duration<double>(leash::now() - begin).count();
}

void print_table(const by_type& all) {
  constexpr std::size_t shown = 12;
  std::vector<std::pair<std::string, counts>> rows(all.begin(), all.end());
  std::ranges::sort(rows, [](const auto& a, const auto& b) {
    return std::tie(b.second.words, a.first) < std::tie(a.second.words, b.first);
  });
  counts rest;
  for (std::size_t i = shown; i < rows.size(); ++i) rest += rows[i].second;
  if (rows.size() > shown) {
    std::string name = std::to_string(rows.size() - shown) + " more";
    rows.resize(shown);
    rows.emplace_back(name, rest);
  }
  auto line = [](const std::string& type, const counts& c) {
    return "  " + left(type, 12) + right(c.files, 9) + right(c.lines, 12) + right(c.words, 13) + right(c.bytes, 15);
  };
  say(dim("  type            files       lines        words          bytes"));
  for (const auto& [type, sum] : rows) say(line(type, sum));
  say(bold(line("total", total(all))));
}

void print_odds(const tree& t, const std::vector<problem>& problems) {
  if (std::uint64_t n = t.links) say("  symbolic links, not followed: " + std::to_string(n));
  if (std::uint64_t n = t.special) say("  special files, not read: " + std::to_string(n));
  if (problems.empty()) return;
  say(yellow("  could not be read, or vanished: " + std::to_string(problems.size())));
  for (std::size_t i = 0; i < std::min(problems.size(), problems_shown); ++i)
    say(yellow("    " + printable(problems[i].path) + ": " + std::strerror(problems[i].error)));
  if (problems.size() > problems_shown) say(yellow("    ..."));
}

std::string rate(const counts& sum, double seconds) {
  return fixed(seconds, 3) + " s" + right(fixed(static_cast<double>(sum.bytes) / 1e6 / seconds, 0), 7) + " MB/s" +
         right(fixed(static_cast<double>(sum.files) / seconds, 0), 9) + " files/s";
}

/// Both counts again, now that the files are in memory: the disk is out of the race. The best of a few rounds each.
task<> race_one_thread(std::string root, word_rule rule, unsigned readers, const by_type& before,
                       const std::atomic<bool>& stop) {
  constexpr int rounds = 3;
  constexpr double enough = 2;  // seconds
  headline("The same work in one plain thread");
  double alone = std::numeric_limits<double>::max(), together = alone, spent = 0;
  bool same = true;
  for (int round = 0; round < rounds && spent < enough; ++round) {
    auto begin = leash::now();
    auto by_one = co_await leash::blocking([&] { return count_sequentially(root, rule, stop); });
    if (!by_one) co_return;  // interrupted
    double slow = seconds_since(begin);
    tree t(rule);
    begin = leash::now();
    by_type by_many = co_await count_tree(t, root, readers, false);
    double fast = seconds_since(begin);
    alone = std::min(alone, slow);
    together = std::min(together, fast);
    spent += slow + fast;
    same = same && *by_one == before && by_many == before;
  }
  counts sum = total(before);
  say("  one thread    " + rate(sum, alone));
  std::string factor = "   " + fixed(alone / together, 2) + " times as fast";
  say("  goroutines    " + rate(sum, together) + (together < alone ? green(factor) : yellow(factor)));
  say(same ? "  all counts agree" : yellow("  the counts differ: the tree changes while it is read"));
}

}  // namespace

task<> pipeline_act(std::string root, unsigned workers, const std::atomic<bool>& stop) {
  constexpr double too_long = 5;                  // seconds: a stranger's patience
  constexpr std::uint64_t too_small = 1'000'000;  // bytes
  unsigned readers = 2 * workers + 2;
  headline("Counting the words below " + printable(root));
  word_rule rule = co_await leash::blocking(rule_of_wc);
  tree t(rule);
  auto begin = leash::now();
  by_type all = co_await count_tree(t, root, readers, true);
  double seconds = seconds_since(begin);
  counts sum = total(all);

  print_table(all);
  print_odds(t, *co_await t.problems.lock());
  say("  " + std::to_string(t.goroutines) + " goroutines (one for each of " + std::to_string(t.directories) +
      " directories) on " + std::to_string(workers) + (workers == 1 ? " worker" : " workers"));
  say("  " + std::to_string(sum.files) + " files in " + rate(sum, seconds));
  say("  check (lines, words, bytes):");
  say(cyan("    find -H " + quoted(root) + " -type f -print0 | LC_ALL=C wc -lwc --files0-from=- | tail -n1"));
  if (sum.files == 0) {
    say("  no regular file here: wc prints nothing, and there is no race");
  } else if (seconds > too_long || sum.bytes < too_small) {
    say(std::string("  no race against one thread: this tree is too ") + (seconds > too_long ? "large" : "small"));
  } else {
    co_await race_one_thread(root, rule, readers, all, stop);
  }
}

}  // namespace demo
