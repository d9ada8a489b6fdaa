// The keeper of leash::http against connections that make progress: it sleeps for long only when it has seen their last state.
// src/http/server_state.cpp, keeper-1: note_progress() and keep().
#include "expect.hpp"
#include "model.hpp"

namespace {

using namespace model;

enum class bug {
  none,
  no_heavy_fence,
  looks_before_it_says_so,
  looks_once,            // says so, and sleeps
  wakes_without_a_word,  // the connection takes `asleep` back, and sends nothing
};

struct world {
  atomic<int> state[2]{};  // of the connections: how far they are
  atomic<bool> asleep{false};
  atomic<int> woken{0};  // the channel of one place
  var<int> seen[2]{};    // the keeper's own
  world() {
    name(state[0], "state 0");
    name(state[1], "state 1");
    name(asleep, "asleep");
    name(woken, "woken");
  }

  void note_progress(int which, int now, bug b) {
    state[which].store(now, std::memory_order_relaxed);
    light_barrier();
    if (!asleep.load(std::memory_order_relaxed)) return;
    if (asleep.exchange(false, std::memory_order_relaxed) && b != bug::wakes_without_a_word)
      woken.store(1, std::memory_order_seq_cst);
  }

  bool look() {
    bool changed = false;
    for (int i = 0; i < 2; ++i) {
      int const now = state[i].load(std::memory_order_relaxed);
      changed |= seen[i].get() != now;
      seen[i] = now;
    }
    return changed;
  }

  /// Until it has seen the last state of all.
  void keep(int connections, int steps, bug b) {
    auto const all = [&] { return seen[0] == steps && (connections == 1 || seen[1] == steps); };
    for (;;) {
      forget(1);
      bool changed = look();
      if (all()) return;
      if (changed) continue;  // a nap: it looks again
      if (b == bug::looks_before_it_says_so) changed = look();
      asleep.store(true, std::memory_order_relaxed);
      if (b != bug::no_heavy_fence) heavy_barrier();
      if (b != bug::looks_before_it_says_so && b != bug::looks_once) changed = look();
      if (!changed) woken.await_exchange(1, 0, std::memory_order_acquire);
      asleep.store(false, std::memory_order_relaxed);
      if (all()) return;
    }
  }
};

model::result keeper(int connections, int steps, bug b = bug::none, memory mem = memory::tso) {
  return check({.mem = mem, .reduce = reduction::values}, [=](run& r) {
    auto& w = r.make<world>();
    for (int c = 0; c < connections; ++c)
      r.thread(c == 0 ? "connection 0" : "connection 1", [=, &w] {
        for (int i = 1; i <= steps; ++i) w.note_progress(c, i, b);
      });
    r.thread("keeper", [=, &w] { w.keep(connections, steps, b); });
  });
}

TEST(Keeper, sees_the_last_state_of_a_connection) {
  EXPECT_PROVEN(keeper(1, 3));
  EXPECT_PROVEN(keeper(1, 2, bug::none, memory::pso));
}
TEST(Keeper, sees_the_last_state_of_two) { EXPECT_PROVEN(keeper(2, 1)); }

TEST(Keeper, what_is_broken_is_found) {
  EXPECT_FOUND("deadlock", keeper(1, 1, bug::no_heavy_fence));
  EXPECT_FOUND("deadlock", keeper(1, 1, bug::looks_before_it_says_so));
  EXPECT_FOUND("deadlock", keeper(1, 1, bug::looks_once));
  EXPECT_FOUND("deadlock", keeper(1, 2, bug::wakes_without_a_word));
}

}  // namespace
