// src/runtime/observing.hpp step by step: what workers note is turned off, and what they write into goes, while they run.
// Nobody writes into what is gone, and everything that was written was seen by who let it go.
#include "expect.hpp"
#include "model.hpp"

namespace {

using namespace model;

enum class bug {
  none,
  light_is_enough,  // who turns it off does without the heavy barrier
  looks_once,       // the worker goes by its first look, outside of the section
  does_not_wait,
  leaves_quietly,  // the section's end is not released
  turns_on_early,  // before what is needed is ready
  tidies_up,       // the worker resets what is its own while it is on, also when it finds that it is off
};

struct world {
  atomic<int> observed{0}, noting{0};
  var<int> pool{0};   // 1: there
  var<int> noted{0};  // the worker's while it is on; reset by who turns it off
  world() {
    name(observed, "observed");
    name(noting, "noting");
    name(pool, "pool");
  }
  void note(bug b) {
    if (observed.load(std::memory_order_relaxed) == 0) return;
    noting.store(1, std::memory_order_relaxed);
    light_barrier();
    if (b == bug::looks_once || observed.load(std::memory_order_acquire) != 0) {
      require(pool == 1, "written into what is gone");
      pool = 1;
      noted = 1;
    } else if (b == bug::tidies_up) {
      noted = 0;
    }
    noting.store(0, b == bug::leaves_quietly ? std::memory_order_relaxed : std::memory_order_release);
  }
  void turn_on(bug b) {
    if (b == bug::turns_on_early) observed.store(1, std::memory_order_release);
    pool = 1;
    observed.store(1, std::memory_order_release);
  }
  void turn_off(bug b) {
    observed.store(0, std::memory_order_relaxed);
    if (b != bug::light_is_enough) heavy_barrier();
    if (b != bug::does_not_wait) noting.await_exchange(0, 0, std::memory_order_acquire);
    pool = 0;
    noted = 0;
  }
};

model::result switched(bug b, memory mem, int notes, int times) {
  return check({.mem = mem, .reduce = reduction::values}, [=](run& r) {
    auto& w = r.make<world>();
    r.thread("worker", [=, &w] {
      for (int i = 0; i < notes; ++i) w.note(b);
    });
    r.thread("switch", [=, &w] {
      for (int i = 0; i < times; ++i) {
        w.turn_on(b);
        w.turn_off(b);
      }
    });
  });
}

constexpr memory all_memories[] = {memory::sc, memory::tso, memory::pso};

TEST(observing, nobody_writes_into_what_is_gone) {
  for (memory mem : all_memories) {
    EXPECT_PROVEN(switched(bug::none, mem, 1, 1));
    EXPECT_PROVEN(switched(bug::none, mem, 2, 2));
  }
  if (long_run()) EXPECT_PROVEN(switched(bug::none, memory::tso, 3, 3));
}

TEST(observing, a_missing_barrier_is_found) {
  EXPECT_FOUND("", switched(bug::light_is_enough, memory::tso, 1, 1));
  EXPECT_FOUND("", switched(bug::light_is_enough, memory::pso, 1, 1));
}

TEST(observing, a_worker_that_looks_once_is_found) { EXPECT_FOUND("", switched(bug::looks_once, memory::tso, 1, 1)); }

TEST(observing, who_does_not_wait_is_found) { EXPECT_FOUND("", switched(bug::does_not_wait, memory::tso, 1, 1)); }

TEST(observing, an_end_that_publishes_nothing_is_found) {
  EXPECT_FOUND("data race", switched(bug::leaves_quietly, memory::tso, 1, 1));
}

TEST(observing, a_worker_that_tidies_up_after_it_was_turned_off_is_found) {
  EXPECT_FOUND("data race", switched(bug::tidies_up, memory::tso, 1, 1));
}

TEST(observing, what_is_turned_on_before_it_is_ready_is_found) {
  EXPECT_FOUND("", switched(bug::turns_on_early, memory::tso, 1, 1));
}

}  // namespace
