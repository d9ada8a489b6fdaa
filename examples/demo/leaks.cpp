#include "leaks.hpp"

#include <algorithm>
#include <chrono>
#include <concepts>
#include <map>
#include <mutex>
#include <optional>
#include <sstream>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "planted.hpp"
#include "term.hpp"

namespace demo {
namespace {

using namespace std::chrono_literals;
using leash::named, leash::scope, leash::task, leash::with_scope;

const char* name_of(fate f) {
  switch (f) {
    case fate::not_writable:
      return "could not be written";
    case fate::harmless:
      return "harmless";
    case fate::ended:
      return "ended by itself";
    case fate::reclaimed:
      return "proved and reclaimed";
    case fate::unsolved:
      return "NOT SOLVED";
  }
  return "";
}
std::string painted(fate f) { return f == fate::unsolved ? red(name_of(f)) : green(name_of(f)); }

void start_leak(std::string_view title, std::string_view written) {
  say("\n  " + bold(title));
  say_wrapped("    written: ", written);
}
void end_leak(findings& all, std::string_view title, fate expected, fate seen, std::string_view how) {
  say_wrapped("    leash:   ", painted(seen) + ": " + std::string(how));
  if (seen != expected) say(red(std::string("    expected: ") + name_of(expected)));
  all.push_back({std::string(title), expected, seen});
}
std::string in_words(std::size_t n, std::string_view thing) {
  return std::to_string(n) + " " + std::string(thing) + (n == 1 ? "" : "s");
}

std::string place(std::string_view file, unsigned line) { return std::string(file) + ":" + std::to_string(line); }

/// Who waits for what, and why in vain; of those who merely wait for them, the names.
void print_knot(const leash::leak_report& r) {
  std::string others;
  for (const leash::leak& l : r) {
    if (l.role == leash::leak_role::dependent) {
      others += (others.empty() ? "" : ", ") + (l.who.name.empty() ? "the root" : l.who.name);
      continue;
    }
    std::string at = "[" + l.who.wait + "]", started = " started at ";
    std::string_view file = l.who.spawned_at.file_name();
    if (!l.who.stack.empty()) {
      const leash::frame_info& where = l.who.stack.front();
      at += " " + place(where.file, where.line) + ",";
      if (where.file == file) started = " started in line ", file = "";
    }
    at += started + (file.empty() ? std::to_string(l.who.spawned_at.line()) : place(file, l.who.spawned_at.line()));
    say_wrapped("      " + yellow(left(l.who.name, 10)), l.why);
    say_wrapped("                ", dim(at));
  }
  if (!others.empty()) say("      and, waiting for the end of these: " + others);
}
void print_full(const leash::leak_report& r) {
  std::ostringstream text;
  text << r;
  std::istringstream lines(text.str());
  for (std::string line; std::getline(lines, line);) say("    " + yellow("| ") + dim(line));
}
void print_proof(const leash::leak_report& r, bool full) {
  say("    leash:   " + yellow("proved") + ": " + in_words(r.size(), "goroutine") + " can never go on");
  full ? print_full(r) : print_knot(r);
}
bool all_proven(const leash::leak_report& r) {
  for (const leash::leak& l : r)
    if (l.grade != leash::leak_grade::proven) return false;
  return true;
}
void print_notes() {
  std::vector<std::string> texts = noted.take();
  for (auto text = texts.begin(), next = text; text != texts.end(); text = next) {
    next = std::find_if(text, texts.end(), [&](const std::string& other) { return other != *text; });
    say_wrapped("    then:    ", *text + (next - text > 1 ? " (" + std::to_string(next - text) + " times)" : ""));
  }
}

// ---- could not be written: what the compiler says no to, asked of the compiler ------------------------------------
template <class End>
concept closable = requires(End& end) { end.close(); };
template <class Mutex>
concept unlockable_by_hand = requires(Mutex& m) { m.unlock(); };
template <class Handle>
concept detachable = requires(Handle& h) { h.detach(); };
template <class Argument>
concept startable_with = requires(scope& s, Argument a, void (*greet)(std::string_view)) { s.go(greet, a); };

static_assert(closable<leash::sender<int>> && !closable<leash::receiver<int>>);
static_assert(!std::is_copy_constructible_v<leash::sender<int>> && !std::is_copy_constructible_v<leash::receiver<int>>);
static_assert(!unlockable_by_hand<leash::mutex>);
static_assert(!std::is_copy_constructible_v<leash::mutex::guard>);
static_assert(!detachable<leash::goroutine<void>>);
static_assert(startable_with<std::string> && !startable_with<std::string_view>);

// ---- a living program -----------------------------------------------------------------------------------------------
/// Runs the leak as its child, and lives on: what is proved here is proved while the program goes on working.
task<> observe(const planted& p, findings& all, bool full_reports) {
  constexpr auto settle = 60ms;
  constexpr int rounds = 50;
  start_leak(p.title, p.written);
  std::size_t proofs = 0, unwound = 0;
  bool proven = true, over = false;
  co_await with_scope([&](scope& s) -> task<> {
    auto body = s.go(named("planted"), p.body);
    for (int round = 0; round < rounds; ++round) {
      over = (co_await leash::with_timeout(settle, body.join())).has_value();
      if (over) break;
      leash::leak_report r = leash::find_leaks();
      if (r.size() == 0) continue;
      if (proofs++ == 0) print_proof(r, full_reports);
      proven = proven && all_proven(r);
      unwound += co_await leash::reclaim(r);
    }
    if (!over) s.cancel("the demo goes on");
  });
  print_notes();
  int open = resource::open;
  if (!over || open != 0) {
    end_leak(all, p.title, p.expected, fate::unsolved,
             (over ? "" : "it did not end; ") + in_words(proofs, "report") + ", " +
                 in_words(static_cast<std::size_t>(open), "resource") + " left open");
  } else if (proofs == 0) {
    end_leak(all, p.title, p.expected, fate::ended, "nothing waits, nothing is left");
  } else {
    end_leak(all, p.title, p.expected, proven ? fate::reclaimed : fate::unsolved,
             in_words(unwound, "goroutine") + " unwound, destructors ran, the others went on");
  }
}

}  // namespace

void unwritable_act(findings& all) {
  headline("Leaks that cannot be written");
  say("  The compiler was asked, with the static_asserts in examples/demo/leaks.cpp.");
  auto show = [&](const char* title, const char* written, const char* why) {
    start_leak(title, written);
    end_leak(all, title, fate::not_writable, fate::not_writable, why);
  };
  show("closing from the receiving side", "rx.close();", "only a sender can close; dropping rx makes the sends fail");
  show("an end copied unawares", "auto also = tx;", "ends only move; another sender is asked for: tx.dup()");
  show("a lock without its unlock", "m.lock(); return;", "a lock is held by its guard; there is no unlock() to forget");
  show("a detached goroutine", "s.go(f).detach();", "every goroutine has a scope, which joins it");
  show("an argument that dies first", "s.go(greet, std::string_view(name));",
       "go() keeps its arguments and refuses mere views, unless borrow(view) says so");

  // Closing twice compiles, and is harmless.
  auto [tx, rx] = leash::channel<int>(1);
  auto other = tx.dup();
  tx.close();
  tx.close();
  other.close();
  bool harmless = other.try_send(1) == leash::try_result::closed && !rx.try_recv();
  start_leak("closing twice", "tx.close(); tx.close();");
  end_leak(all, "closing twice", fate::harmless, harmless ? fate::harmless : fate::unsolved,
           "the second close does nothing, and a send afterwards says that the channel is closed");
}

task<> leaks_act(findings& all, bool full_reports) {
  headline("Leaks that can be written, in a program that lives on");
  for (const planted& p : planted_leaks) co_await observe(p, all, full_reports);
}

void lonely_context_act(findings& all, unsigned workers, bool full_reports) {
  constexpr std::string_view title = "a context nobody can cancel";
  headline("A program that heals itself");
  start_leak(title,
             "the janitor waits for done(), and the only cancel_source was dropped; this is a program of its own, "
             "for in the one above ^C could still have ended the wait");
  std::mutex lock;
  std::vector<leash::leak_report> reports;
  leash::options o;
  o.workers = workers;
  o.action = leash::leak_action::reclaim;
  o.on_leak = [&](const leash::leak_report& r) {
    std::lock_guard hold(lock);
    reports.push_back(r);
  };
  bool returned = false;
  try {
    leash::run(o, []() -> task<> {
      co_await with_scope([](scope& s) -> task<> {
        s.go(named("janitor"), wait_for_nobody);
        co_return;
      });
    });
    returned = true;
  } catch (const leash::deadlock_error& stuck) {
    reports.push_back(stuck.report());
  }
  std::lock_guard hold(lock);
  if (!reports.empty()) print_proof(reports.front(), full_reports);
  bool proven = !reports.empty() && all_proven(reports.front());
  bool solved = returned && proven && resource::open == 0;
  std::string how = solved ? "leak_action::reclaim unwound it, destructors ran, run() returned"
                           : std::string(returned ? "run() returned, " : "run() threw deadlock_error, ") +
                                 in_words(reports.size(), "report") + (proven ? "" : ", not proven");
  end_leak(all, title, fate::reclaimed, solved ? fate::reclaimed : fate::unsolved, how);
}

bool print_findings(const findings& all) {
  headline("In short");
  std::map<fate, std::size_t> seen;
  bool good = true;
  for (const finding& f : all) {
    say("  " + left(f.title, 52) + painted(f.seen) + (f.seen == f.expected ? "" : red("  (unexpected)")));
    good = good && f.seen == f.expected;
    ++seen[f.seen];
  }
  std::string sum = "\n  " + in_words(all.size(), "leak") + ":";
  for (auto& [f, n] : seen)
    sum += (f == seen.begin()->first ? " " : ", ") + std::string(name_of(f)) + " " + std::to_string(n);
  say(sum);
  return good;
}

}  // namespace demo
