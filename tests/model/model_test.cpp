// The checker itself: every proof has a twin with one thing broken, which must be found.
#include "model.hpp"

#include <gtest/gtest.h>

#include <memory>

#include "expect.hpp"

namespace {

using model::memory;
using model::reduction;
using std::memory_order;
using std::memory_order_acq_rel;
using std::memory_order_acquire;
using std::memory_order_relaxed;
using std::memory_order_release;
using std::memory_order_seq_cst;

struct every_reduction : testing::TestWithParam<reduction> {
  model::options with(memory mem) const { return {.mem = mem, .reduce = GetParam()}; }
};
INSTANTIATE_TEST_SUITE_P(model, every_reduction, testing::Values(reduction::none, reduction::order, reduction::values));

struct two_flags {
  model::atomic<int> x{0}, y{0};
  model::atomic<int> saw_x{-1}, saw_y{-1};
  two_flags() {
    model::name(x, "x");
    model::name(y, "y");
  }
};

enum class between { nothing, full, light, heavy };

void barrier(between b) {
  if (b == between::full) model::fence(memory_order_seq_cst);
  if (b == between::light) model::light_barrier();
  if (b == between::heavy) model::heavy_barrier();
}

// Each of two threads says "me" and looks whether the other did: at least one must see the other.
model::result dekker(const model::options& opts, memory_order stores, between first, between second) {
  return model::check(opts, [=](model::run& r) {
    auto& s = r.make<two_flags>();
    r.thread("first", [=, &s] {
      s.x.store(1, stores);
      barrier(first);
      s.saw_y.store(s.y.load(memory_order_acquire), memory_order_relaxed);
    });
    r.thread("second", [=, &s] {
      s.y.store(1, stores);
      barrier(second);
      s.saw_x.store(s.x.load(memory_order_acquire), memory_order_relaxed);
    });
    r.finally([&s] { model::require(s.saw_x.load() == 1 || s.saw_y.load() == 1, "neither saw the other"); });
  });
}

TEST_P(every_reduction, dekker_without_fences_fails_under_store_buffers_only) {
  for (memory_order o : {memory_order_relaxed, memory_order_release}) {
    EXPECT_FOUND("neither saw", dekker(with(memory::tso), o, between::nothing, between::nothing));
    EXPECT_FOUND("neither saw", dekker(with(memory::pso), o, between::nothing, between::nothing));
    EXPECT_PROVEN(dekker(with(memory::sc), o, between::nothing, between::nothing));
  }
}

TEST_P(every_reduction, dekker_needs_a_fence_on_both_sides) {
  EXPECT_PROVEN(dekker(with(memory::tso), memory_order_relaxed, between::full, between::full));
  EXPECT_PROVEN(dekker(with(memory::pso), memory_order_relaxed, between::full, between::full));
  EXPECT_FOUND("neither saw", dekker(with(memory::tso), memory_order_relaxed, between::full, between::nothing));
  EXPECT_FOUND("neither saw", dekker(with(memory::tso), memory_order_relaxed, between::nothing, between::full));
}

TEST_P(every_reduction, dekker_with_sequentially_consistent_stores_holds) {
  EXPECT_PROVEN(dekker(with(memory::tso), memory_order_seq_cst, between::nothing, between::nothing));
}

TEST_P(every_reduction, a_heavy_barrier_makes_up_for_a_light_one) {
  EXPECT_PROVEN(dekker(with(memory::tso), memory_order_relaxed, between::light, between::heavy));
  EXPECT_PROVEN(dekker(with(memory::tso), memory_order_relaxed, between::heavy, between::light));
  EXPECT_PROVEN(dekker(with(memory::tso), memory_order_relaxed, between::heavy, between::heavy));
  EXPECT_FOUND("neither saw", dekker(with(memory::tso), memory_order_relaxed, between::light, between::light));
  EXPECT_FOUND("neither saw", dekker(with(memory::tso), memory_order_relaxed, between::light, between::full));
}

model::result increments(const model::options& opts, bool atomically) {
  return model::check(opts, [=](model::run& r) {
    auto& n = r.make<model::atomic<int>>(0);
    for (int t = 0; t < 2; ++t)
      r.thread([&n, atomically] {
        if (atomically)
          n.fetch_add(1, memory_order_relaxed);
        else
          n.store(n.load(memory_order_relaxed) + 1, memory_order_relaxed);
      });
    r.finally([&n] { model::require(n.load() == 2, "an increment was lost"); });
  });
}

TEST_P(every_reduction, a_lost_update_is_found) {
  EXPECT_FOUND("was lost", increments(with(memory::sc), false));
  EXPECT_FOUND("was lost", increments(with(memory::tso), false));
  EXPECT_PROVEN(increments(with(memory::tso), true));
}

struct message {
  model::atomic<int> ready{0};
  model::var<int> data{0};
};

model::result pass_message(const model::options& opts, memory_order store, memory_order load, bool fences = false) {
  return model::check(opts, [=](model::run& r) {
    auto& m = r.make<message>();
    r.thread("writer", [=, &m] {
      m.data = 42;
      if (fences) model::fence(memory_order_release);
      m.ready.store(1, store);
    });
    r.thread("reader", [=, &m] {
      if (m.ready.load(load) == 0) return;
      if (fences) model::fence(memory_order_acquire);
      model::require(m.data == 42, "an old value");
    });
  });
}

TEST_P(every_reduction, a_relaxed_flag_leaves_a_data_race) {
  EXPECT_PROVEN(pass_message(with(memory::tso), memory_order_release, memory_order_acquire));
  EXPECT_FOUND("data race", pass_message(with(memory::tso), memory_order_relaxed, memory_order_acquire));
  EXPECT_FOUND("data race", pass_message(with(memory::tso), memory_order_release, memory_order_relaxed));
  EXPECT_PROVEN(pass_message(with(memory::tso), memory_order_relaxed, memory_order_relaxed, true));
}

// Atomics only, so no race: the value itself arrives late.
model::result pass_relaxed(const model::options& opts, memory_order flag) {
  return model::check(opts, [=](model::run& r) {
    auto& s = r.make<two_flags>();
    r.thread("writer", [=, &s] {
      s.x.store(1, memory_order_relaxed);
      s.y.store(1, flag);
    });
    r.thread("reader", [&s] {
      if (s.y.load(memory_order_acquire) == 1)
        model::require(s.x.load(memory_order_relaxed) == 1, "the flag overtook the value");
    });
  });
}

TEST_P(every_reduction, only_weak_stores_overtake_one_another) {
  EXPECT_PROVEN(pass_relaxed(with(memory::tso), memory_order_relaxed));
  EXPECT_FOUND("overtook", pass_relaxed(with(memory::pso), memory_order_relaxed));
  EXPECT_PROVEN(pass_relaxed(with(memory::pso), memory_order_release));
}

TEST_P(every_reduction, a_read_modify_write_continues_a_release_sequence) {
  auto chain = [this](bool rmw) {
    return model::check(with(memory::tso), [=](model::run& r) {
      auto& m = r.make<message>();
      r.thread("writer", [&m] {
        m.data = 1;
        m.ready.store(1, memory_order_release);
      });
      r.thread("between", [=, &m] {
        int one = 1;
        if (rmw)
          m.ready.compare_exchange_strong(one, 2, memory_order_relaxed);
        else if (m.ready.load(memory_order_relaxed) == 1)
          m.ready.store(2, memory_order_relaxed);
      });
      r.thread("reader", [&m] {
        if (m.ready.load(memory_order_acquire) == 2) model::require(m.data == 1, "an old value");
      });
    });
  };
  EXPECT_PROVEN(chain(true));
  EXPECT_FOUND("data race", chain(false));
}

// A real spin loop over test-and-set, as opposed to model::spin_lock, which leaves out the idle rounds.
template <class Lock>
model::result guarded_counter(const model::options& opts, int threads) {
  struct state {
    Lock lock;
    model::var<int> n{0};
  };
  return model::check(opts, [=](model::run& r) {
    auto& s = r.make<state>();
    for (int t = 0; t < threads; ++t)
      r.thread([&s] {
        s.lock.lock();
        s.n = s.n + 1;
        s.lock.unlock();
      });
    r.finally([&s, threads] { model::require(s.n == threads, "an increment was lost"); });
  });
}

template <memory_order Acquire, memory_order Release, bool Exchange>
struct hand_made_lock {
  model::atomic<bool> held{false};
  void lock() {
    if constexpr (Exchange) {
      while (held.exchange(true, Acquire)) model::pause();
    } else {
      while (held.load(Acquire)) model::pause();
      held.store(true, memory_order_seq_cst);
    }
  }
  void unlock() { held.store(false, Release); }
};

TEST_P(every_reduction, a_spin_lock_excludes) {
  EXPECT_PROVEN(
      guarded_counter<hand_made_lock<memory_order_acquire, memory_order_release, true>>(with(memory::tso), 2));
  EXPECT_PROVEN(guarded_counter<model::spin_lock>(with(memory::pso), 3));
}

TEST_P(every_reduction, a_spin_lock_with_one_order_too_weak_or_a_gap_is_found) {
  EXPECT_FOUND("data race",
               guarded_counter<hand_made_lock<memory_order_acquire, memory_order_relaxed, true>>(with(memory::tso), 2));
  EXPECT_FOUND("data race",
               guarded_counter<hand_made_lock<memory_order_relaxed, memory_order_release, true>>(with(memory::tso), 2));
  EXPECT_FOUND("data race",
               guarded_counter<hand_made_lock<memory_order_acquire, memory_order_release, false>>(with(memory::sc), 2));
}

TEST_P(every_reduction, a_sleeper_that_nobody_wakes_is_a_deadlock) {
  auto sleep_and_wake = [this](bool wake, bool set_first) {
    return model::check(with(memory::tso), [=](model::run& r) {
      auto& word = r.make<model::atomic<std::uint32_t>>(0u);
      r.thread("sleeper", [&word] {
        while (word.load(memory_order_acquire) == 0) model::futex_wait(word, 0u);
      });
      r.thread("waker", [=, &word] {
        if (set_first) word.store(1, memory_order_release);
        if (wake) model::futex_wake(word, 1);
        if (!set_first) word.store(1, memory_order_release);
      });
    });
  };
  EXPECT_PROVEN(sleep_and_wake(true, true));
  EXPECT_FOUND("deadlock: [sleeper asleep", sleep_and_wake(false, true));
  EXPECT_FOUND("deadlock: [sleeper asleep", sleep_and_wake(true, false));
}

TEST_P(every_reduction, choose_tries_every_value) {
  for (unsigned wanted = 0; wanted < 3; ++wanted)
    EXPECT_FOUND("reached", model::check(with(memory::sc), [wanted](model::run& r) {
                   r.thread([wanted] { model::require(model::choose(3) != wanted, "reached"); });
                 }));
  EXPECT_PROVEN(model::check(
      with(memory::sc), [](model::run& r) { r.thread([] { model::require(model::choose(3) < 3, "out of range"); }); }));
}

TEST_P(every_reduction, use_after_the_end_is_found) {
  auto publish = [this](bool wait) {
    return model::check(with(memory::tso), [=](model::run& r) {
      auto& done = r.make<model::atomic<bool>>(false);
      auto& slot = r.make<model::atomic<model::atomic<int>*>>(nullptr);
      r.thread("owner", [=, &done, &slot] {
        model::atomic<int> local{0};
        slot.store(&local, memory_order_release);
        if (wait)
          while (!done.load(memory_order_acquire)) model::pause();
      });
      r.thread("user", [&done, &slot] {
        if (auto* p = slot.load(memory_order_acquire)) p->fetch_add(1, memory_order_relaxed);
        done.store(true, memory_order_release);
      });
    });
  };
  EXPECT_PROVEN(publish(true));
  EXPECT_FOUND("after its end", publish(false));
}

TEST(model, an_endless_loop_is_a_livelock) {
  EXPECT_FOUND("livelock", model::check({.max_steps = 50}, [](model::run& r) {
                 auto& x = r.make<model::atomic<int>>(0);
                 r.thread([&x] {
                   while (x.load() == 0) {
                   }
                 });
               }));
}

TEST(model, the_number_of_schedules_without_reduction_is_that_of_the_interleavings) {
  auto steps = [](int threads, int each) {
    return model::check({.mem = memory::sc, .reduce = reduction::none},
                        [=](model::run& r) {
                          auto& x = r.make<model::atomic<int>>(0);
                          for (int t = 0; t < threads; ++t)
                            r.thread([&x, each] {
                              for (int i = 0; i < each; ++i) x.fetch_add(1);
                            });
                        })
        .schedules;
  };
  EXPECT_EQ(steps(2, 1), 2u);
  EXPECT_EQ(steps(2, 3), 20u);    // 6! / (3! 3!)
  EXPECT_EQ(steps(3, 2), 90u);    // 6! / (2! 2! 2!)
  EXPECT_EQ(steps(4, 2), 2520u);  // 8! / 2!^4
}

// Outcomes of a racy program do not depend on how much is pruned.
TEST(model, reductions_keep_every_outcome) {
  auto outcomes = [](reduction reduce) {
    auto seen = std::make_shared<std::uint64_t>(0);
    model::result all = model::check({.mem = memory::pso, .reduce = reduce}, [seen](model::run& r) {
      auto& s = r.make<two_flags>();
      auto& z = r.make<model::atomic<int>>(0);
      r.thread([&] {
        s.x.store(1, memory_order_relaxed);
        s.y.store(1, memory_order_relaxed);
        s.saw_x.store(z.load(memory_order_relaxed), memory_order_relaxed);
      });
      r.thread([&] {
        z.store(s.y.load(memory_order_relaxed) + 1, memory_order_relaxed);
        s.saw_y.store(s.x.load(memory_order_relaxed), memory_order_relaxed);
        s.x.fetch_add(2, memory_order_relaxed);
      });
      r.finally([&s, &z, seen] {
        int outcome = ((s.x.load() * 3 + z.load()) * 3 + s.saw_x.load()) * 2 + s.saw_y.load();
        *seen |= std::uint64_t{1} << outcome;
      });
    });
    EXPECT_TRUE(all.proven()) << all.summary();
    return *seen;
  };
  std::uint64_t everything = outcomes(reduction::none);
  EXPECT_GE(__builtin_popcountll(everything), 6);
  EXPECT_EQ(outcomes(reduction::order), everything);
  EXPECT_EQ(outcomes(reduction::values), everything);
}

TEST(model, a_preemption_bound_cuts_the_search_and_says_so_by_what_it_misses) {
  // The bug needs one preemption: between the load and the store.
  auto lost = [](int bound) {
    return model::check({.mem = memory::sc, .preemptions = bound}, [](model::run& r) {
      auto& n = r.make<model::atomic<int>>(0);
      for (int t = 0; t < 2; ++t) r.thread([&n] { n.store(n.load() + 1); });
      r.finally([&n] { model::require(n.load() == 2, "an increment was lost"); });
    });
  };
  EXPECT_PROVEN(lost(0));
  EXPECT_FOUND("was lost", lost(1));
}

TEST(model, a_bound_on_schedules_is_not_a_proof) {
  model::result r =
      model::check({.mem = memory::sc, .reduce = reduction::none, .max_schedules = 3}, [](model::run& run) {
        auto& x = run.make<model::atomic<int>>(0);
        for (int t = 0; t < 3; ++t) run.thread([&x] { x.fetch_add(1); });
      });
  EXPECT_TRUE(r.ok);
  EXPECT_FALSE(r.complete);
  EXPECT_FALSE(r.proven());
}

TEST(model, a_trace_names_threads_places_and_steps) {
  model::result r = dekker({}, memory_order_relaxed, between::nothing, between::nothing);
  EXPECT_NE(r.trace.find("first: store x = 1 relaxed (buffered)"), std::string::npos) << r.trace;
  EXPECT_NE(r.trace.find("second: load x acquire -> 0"), std::string::npos) << r.trace;
  EXPECT_NE(r.trace.find("first's x = 1 reaches memory"), std::string::npos) << r.trace;
}

}  // namespace
