// What the tests of the proof share: a kernel runs as a child of an observer that is live; once all that must be parked
// is parked, the observer looks, compares, looks again, and frees what the proof allows.
#pragma once
#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "support/support.hpp"

namespace leash::test {

enum class verdict { core, dependent, live };

/// What is expected of the goroutines of one name.
struct subject {
  std::string name;
  std::string wait;
  verdict judged;
  leak_grade grade = leak_grade::proven;
  std::size_t how_many = 1;
  subject(std::string name, std::string wait, verdict judged, leak_grade grade = leak_grade::proven,
          std::size_t how_many = 1)
      : name(std::move(name)), wait(std::move(wait)), judged(judged), grade(grade), how_many(how_many) {}
};

inline std::size_t count(const leak_report& r, std::string_view name) {
  return static_cast<std::size_t>(std::count_if(r.begin(), r.end(), [&](const leak& l) { return l.who.name == name; }));
}
inline std::vector<std::pair<std::uint64_t, leak_role>> ids(const leak_report& r) {
  std::vector<std::pair<std::uint64_t, leak_role>> all;
  for (const leak& l : r) all.emplace_back(l.who.id, l.role);
  std::sort(all.begin(), all.end());
  return all;
}

/// Compares a report with what is expected; nothing else may be in it.
inline void compare(const leak_report& r, const std::vector<subject>& all) {
  std::size_t expected = 0;
  std::string const told = text(r);
  for (const subject& s : all) {
    if (s.judged != verdict::live) expected += s.how_many;
    EXPECT_EQ(count(r, s.name), s.judged == verdict::live ? 0 : s.how_many) << s.name << "\n" << told;
    for (const leak& l : r) {
      if (l.who.name != s.name) continue;
      EXPECT_EQ(l.role, s.judged == verdict::core ? leak_role::core : leak_role::dependent) << s.name << "\n" << told;
      EXPECT_EQ(l.grade, s.grade) << s.name << "\n" << told;
      EXPECT_EQ(l.who.wait, s.wait);
      EXPECT_FALSE(l.why.empty());
      EXPECT_TRUE(!l.who.stack.empty() || s.wait == "start") << "who has no place yet has no frame";
      EXPECT_NE(told.find(s.name), std::string::npos);
    }
  }
  EXPECT_EQ(r.size(), expected) << told;
}

/// Runs `kernel` as the child "kernel" of a live observer; expects the verdicts, then frees it all.
template <class Kernel>
task<> examine(Kernel kernel, std::vector<subject> all) {
  const bool leaks = std::any_of(all.begin(), all.end(), [](auto& s) { return s.judged != verdict::live; });
  co_await with_scope([&](scope& s) -> task<> {
    s.go(named("kernel"), std::move(kernel));
    for (const subject& one : all) {
      bool there = co_await parked(one.name, one.wait, one.how_many);
      if (there) continue;
      s.cancel();
      co_return;
    }
    leak_report r = find_leaks();
    compare(r, all);
    EXPECT_EQ(ids(find_leaks()), ids(r)) << "a verdict was taken back";
    if (leaks) {
      for (int rounds = 0; r.size() != 0 && rounds < 64; ++rounds) {
        const std::size_t ended = co_await reclaim(r, {.confined = true});
        EXPECT_GT(ended, 0u) << text(r);
        if (ended == 0) break;
        co_await yield();
        r = find_leaks();
      }
      EXPECT_EQ(r.size(), 0u) << text(r);
    }
    s.cancel();
  });
  // A callback on the kernel's context may have been started by its end.
  co_await eventually([] { return num_goroutines() == 1; }, "everything to have ended");
}

/// Keeps what it is given, asleep: a live holder.
template <class Handle>
task<> keep_asleep(Handle) {
  co_await sleep(1h);
}

/// Waits for a value, holding something.
template <class Held>
task<> receive_holding(receiver<int> rx, Held) {
  (void)co_await rx.recv();
}

inline const subject waiting_kernel("kernel", "scope join", verdict::dependent);
inline const subject live_kernel("kernel", "scope join", verdict::live);

/// A kernel with one waiter: `start(s, tx, rx)` hides tx; the twin keeps awake what that gives back. `after` ends each.
template <class Start>
task<> with_twin(Start start, const subject& waiter, void (*after)() = [] {}) {
  for (bool twin : {false, true}) {
    std::vector<subject> expected{twin ? live_kernel : waiting_kernel, waiter};
    if (twin) {
      expected[1].judged = verdict::live;
      expected.push_back({"keeper", "sleep", verdict::live});
    }
    co_await examine(
        [=]() -> task<> {
          co_await with_scope([=](scope& s) -> task<> {
            auto [tx, rx] = channel<int>();
            auto key = start(s, std::move(tx), std::move(rx));
            if (twin) s.go(named("keeper"), keep_asleep<decltype(key)>, std::move(key));
            co_return;
          });
        },
        std::move(expected));
    after();
  }
}

}  // namespace leash::test
