// Recordings: what happened to goroutines, in fixed memory, started and stopped while workers run; and where they waited.
#include <algorithm>
#include <map>
#include <set>
#include <thread>
#include <vector>

#include "support/support.hpp"

namespace leash::test::trace_tests {

constexpr unsigned all_workers[] = {1, 2, 4};

std::map<std::uint64_t, std::vector<trace_event>> by_goroutine(const trace& t) {
  std::map<std::uint64_t, std::vector<trace_event>> all;
  for (auto& e : t.events)
    if (e.goroutine != 0) all[e.goroutine].push_back(e);
  return all;
}
std::size_t count(const std::vector<trace_event>& events, trace_kind k) {
  return static_cast<std::size_t>(std::count_if(events.begin(), events.end(), [=](auto& e) { return e.kind == k; }));
}
const trace_event* find(const trace& t, trace_kind k, wait_reason r) {
  auto it = std::find_if(t.events.begin(), t.events.end(), [=](auto& e) { return e.kind == k && e.reason == r; });
  return it == t.events.end() ? nullptr : &*it;
}
bool is_here(std::source_location l) { return std::string_view(l.file_name()).ends_with("trace_test.cpp"); }

task<> send_all(sender<int> tx, int n) {
  for (int i = 0; i < n; ++i) (void)co_await tx.send(i);
}
task<int> take_next(receiver<int>& rx) {
  auto const v = co_await rx.recv();
  co_return v ? *v : -1;
}
task<> take_all(receiver<int> rx) {
  while (co_await take_next(rx) >= 0) {
  }
}
/// Two that hand each other n values, and what was recorded of them.
task<> talk(int n) {
  auto [tx, rx] = channel<int>();
  co_await with_scope([&](scope& s) {
    s.go(take_all, std::move(rx));
    s.go(send_all, std::move(tx), n);
  });
}

TEST(Trace, TellsTheLifeOfEachGoroutine) {
  for (unsigned workers : all_workers) {
    trace_recording const r;
    run_at(workers, []() -> task<> { co_await talk(100); });
    trace const t = r.take();  // not inside: an end is noted after it has woken who waits for it
    EXPECT_EQ(t.lost, 0u);
    EXPECT_EQ(t.overwritten, 0u);
    std::size_t ended = 0;
    auto const by_id = by_goroutine(t);
    for (auto& [id, events] : by_id) {
      if (count(events, trace_kind::create) == 0) continue;
      ++ended;
      EXPECT_EQ(count(events, trace_kind::create), 1u);
      EXPECT_EQ(count(events, trace_kind::end), 1u);
      EXPECT_EQ(count(events, trace_kind::run),
                count(events, trace_kind::park) + count(events, trace_kind::yield) + count(events, trace_kind::end));
      EXPECT_EQ(count(events, trace_kind::park), count(events, trace_kind::wake));
      EXPECT_TRUE(is_here(events.front().where) || id == by_id.begin()->first);  // the root is started by run_at
      EXPECT_FALSE(events.back().cut);
    }
    EXPECT_EQ(ended, 3u) << "the root and its two at " << workers << " workers";
  }
}

TEST(Trace, OnOneWorkerEventsComeInTheOrderInWhichTheyHappen) {
  trace t;
  run_at(1, [&]() -> task<> {
    trace_recording const r;
    co_await talk(50);
    t = r.take();
  });
  std::int64_t before = t.from;
  std::map<std::uint64_t, trace_kind> last;
  for (auto& e : t.events) {
    EXPECT_GE(e.at, before);
    before = e.at;
    auto const at = last.find(e.goroutine);
    if (at != last.end()) {
      trace_kind const k = at->second;
      bool const follows = e.kind == trace_kind::run
                               ? k == trace_kind::create || k == trace_kind::wake || k == trace_kind::yield
                           : e.kind == trace_kind::wake ? k == trace_kind::park
                                                        : k == trace_kind::run;
      EXPECT_TRUE(follows) << name_of(e.kind) << " after " << name_of(k);
    }
    last[e.goroutine] = e.kind;
  }
  EXPECT_LE(before, t.to);
}

TEST(Trace, SaysWhereAndWhyAGoroutineWaitsAndWhoWokeIt) {
  for (unsigned workers : all_workers) {
    trace t;
    run_at(workers, [&]() -> task<> {
      trace_recording const r;
      co_await talk(100);
      t = r.take();
    });
    const trace_event* received = find(t, trace_kind::wake, wait_reason::chan_receive);
    const trace_event* sent = find(t, trace_kind::wake, wait_reason::chan_send);
    ASSERT_TRUE(received != nullptr || sent != nullptr);
    for (auto& e : t.events) {
      if (e.kind != trace_kind::wake || (e.reason != wait_reason::chan_receive && e.reason != wait_reason::chan_send))
        continue;
      EXPECT_TRUE(is_here(e.where));
      EXPECT_NE(e.by, 0u);
      EXPECT_NE(e.by, e.goroutine);
      EXPECT_LT(e.worker, workers);
    }
    if (workers != 1) continue;
    // The stack of who waits in a function that another one awaits.
    const trace_event* parked = find(t, trace_kind::park, wait_reason::chan_receive);
    ASSERT_NE(parked, nullptr);
    EXPECT_NE(std::string_view(parked->where.function_name()).find("take_next"), std::string_view::npos);
    ASSERT_EQ(parked->caller_count, 1u);
    EXPECT_NE(std::string_view(t.callers.at(parked->callers).function_name()).find("take_all"), std::string_view::npos);
  }
}

TEST(Trace, TimersAndOtherThreadsWakeByNobody) {
  trace t;
  run_at(2, [&]() -> task<> {
    trace_recording const r;
    co_await sleep(1ms);
    co_await blocking([] {});
    t = r.take();
  });
  const trace_event* slept = find(t, trace_kind::wake, wait_reason::sleep);
  ASSERT_NE(slept, nullptr);
  EXPECT_EQ(slept->by, 0u);
  EXPECT_LT(slept->worker, 2u);
  const trace_event* called = find(t, trace_kind::wake, wait_reason::blocking);
  ASSERT_NE(called, nullptr);
  EXPECT_EQ(called->by, 0u);
  EXPECT_EQ(called->worker, trace_event::foreign);
}

TEST(Trace, CancelsAndUnwindingAreTold) {
  trace_recording const r;
  run_at(2, []() -> task<> {
    cancel_source stop;
    (void)co_await with_cancel(stop, [&]() -> task<> {
      co_await with_scope([&](scope& s) -> task<> {
        s.go(named("sleeper"), []() -> task<> { co_await sleep(24h); });
        co_await parked("sleeper", "sleep");
        stop.cancel("enough");
        co_await sleep(24h);
      });
    });
  });
  trace const t = r.take();  // not inside, as above
  auto const cancel =
      std::find_if(t.events.begin(), t.events.end(), [](auto& e) { return e.kind == trace_kind::cancel; });
  ASSERT_NE(cancel, t.events.end());
  EXPECT_TRUE(is_here(cancel->where));
  bool cut = false, unwound = false;
  for (auto& e : t.events) {
    cut |= e.kind == trace_kind::wake && e.reason == wait_reason::sleep && e.cut;
    unwound |= e.kind == trace_kind::end && e.cut;
  }
  EXPECT_TRUE(cut);
  EXPECT_TRUE(unwound);
}

TEST(Trace, ProofsOfLeaksAreTold) {
  trace t;
  std::set<std::uint64_t> leaked;
  auto const program = [&](bool leak) {
    return [&, leak]() -> task<> {
      trace_recording const r;
      auto [tx, rx] = channel<int>();
      co_await with_scope([&](scope& s) -> task<> {
        s.go(named("waits"), [](receiver<int> from) -> task<> { (void)co_await from.recv(); }, std::move(rx));
        std::optional<sender<int>> kept(std::move(tx));
        co_await parked("waits", "chan receive");
        if (leak) {
          // It holds the only sender itself, and waits in a lock that it holds.
          s.go(
              named("knot"),
              [](sender<int> end) -> task<> {
                mutex m;
                auto const g = co_await m.lock();
                auto const again = co_await m.lock();
                (void)end;
              },
              std::move(*kept));
          kept.reset();
          co_await parked("knot", "sync.Mutex.Lock");
        }
        co_await eventually([&] {
          leak_report const found = find_leaks();
          for (auto& l : found) leaked.insert(l.who.id);
          return !leak || found.size() == 2;
        });
        t = r.take();
        (void)co_await reclaim(find_leaks());
        kept.reset();
      });
    };
  };
  run_at(2, program(true), leaks::are_expected);
  std::set<std::uint64_t> told;
  for (auto& e : t.events)
    if (e.kind == trace_kind::leak) told.insert(e.goroutine);
  EXPECT_EQ(told, leaked);
  EXPECT_EQ(told.size(), 2u);
  leaked.clear();
  run_at(2, program(false));
  EXPECT_EQ(std::count_if(t.events.begin(), t.events.end(), [](auto& e) { return e.kind == trace_kind::leak; }), 0);
}

task<> yield_often(int n) {
  for (int i = 0; i < n; ++i) co_await yield();
}

TEST(Trace, MemoryIsFixedAndTheNewestIsKept) {
  trace t;
  std::int64_t began = 0;
  run_at(1, [&]() -> task<> {
    trace_recording const r({.memory = std::size_t{128} << 10});
    began = now().time_since_epoch().count();
    co_await yield_often(20'000);
    t = r.take();
  });
  EXPECT_GT(t.overwritten, 30'000u);
  EXPECT_LE(t.events.size(), 2u * 2046);
  EXPECT_GT(t.events.size(), 1000u);
  EXPECT_GT(t.from, began);
  EXPECT_EQ(t.lost, 0u);
  for (auto& e : t.events) EXPECT_GE(e.at, t.from);
}

TEST(Trace, WhatFindsNoPieceIsCountedAsLost) {
  trace t;
  run_at(4, [&]() -> task<> {
    trace_recording const r({.memory = std::size_t{128} << 10});  // two pieces
    std::atomic<int> together{0};
    co_await with_scope([&](scope& s) {
      for (int i = 0; i < 4; ++i)
        s.go([&]() -> task<> {
          // On as many workers as there are: none of them goes on before all have begun.
          ++together;
          for (auto const end = std::chrono::steady_clock::now() + longest_wait;
               together < 4 && std::chrono::steady_clock::now() < end;)
            std::this_thread::yield();
          co_await yield();
        });
    });
    t = r.take();
  });
  EXPECT_GT(t.lost, 0u);
}

TEST(Trace, TheLastSecondsAreWhatIsAskedFor) {
  trace all, last;
  run_at(1, [&]() -> task<> {
    trace_recording const r;
    co_await yield_often(1000);
    co_await sleep(50ms);
    co_await yield_often(10);
    all = r.take();
    last = r.take(40ms);
  });
  EXPECT_GT(all.events.size(), 2000u);
  EXPECT_LT(last.events.size(), 1000u);
  EXPECT_EQ(last.from, last.to - 40'000'000);
}

TEST(Trace, OffNothingIsKept) {
  EXPECT_FALSE(recorded().has_value());
  run_at(2, []() -> task<> { co_await talk(10); });
  {
    trace_recording const r;
    EXPECT_TRUE(recorded().has_value());
    EXPECT_TRUE(r.take().events.empty());
  }
  EXPECT_FALSE(recorded().has_value());
}

TEST(Trace, RecordingsShareWhatIsRecordedAndSeeTheirOwnTime) {
  run_at(2, []() -> task<> {
    trace_recording const outer;
    co_await talk(10);
    trace_recording const inner;
    trace const nothing = inner.take();
    EXPECT_EQ(std::count_if(nothing.events.begin(), nothing.events.end(),
                            [](auto& e) { return e.kind == trace_kind::create; }),
              0);
    co_await talk(10);
    EXPECT_GT(outer.take().events.size(), inner.take().events.size());
    EXPECT_FALSE(inner.take().events.empty());
  });
}

TEST(Trace, RunsThatEndLeaveTheirEvents) {
  trace_recording const r({.memory = std::size_t{1} << 20});
  for (int i = 0; i < 50; ++i) run_at(2, []() -> task<> { co_await talk(2); });
  trace const t = r.take();
  std::set<std::uint64_t> runs;
  for (auto& e : t.events)
    if (e.worker_of != 0) runs.insert(e.worker_of);
  EXPECT_GE(runs.size(), 10u);  // more than there are pieces for at once
  EXPECT_EQ(t.lost, 0u);
}

TEST(Trace, TimersThatAreSetAndFireAreThere) {
  for (unsigned workers : all_workers) {
    trace_recording const r;
    run_at(workers, []() -> task<> {
      auto [tx, rx] = channel<int>(1);
      timer const due = after_func(2ms, [&tx = tx] { (void)tx.try_send(1); });
      (void)co_await rx.recv();
      (void)co_await with_timeout(1ms, []() -> task<> { co_await sleep(10s); });
      timer stopped = after_func(10s, [] {});
      (void)stopped.stop();
    });
    trace const t = r.take();
    std::map<std::uint64_t, std::vector<const trace_event*>> set;
    std::size_t fired = 0;
    for (std::size_t i = 0; i < t.events.size(); ++i) {
      trace_event const& e = t.events[i];
      if (e.kind == trace_kind::arm) {
        set[e.goroutine].push_back(&e);
        EXPECT_TRUE(is_here(e.where));
        EXPECT_NE(e.by, 0u);
      }
      if (e.kind != trace_kind::fire) continue;
      ++fired;
      ASSERT_TRUE(set.contains(e.goroutine));
      trace_event const& armed = *set[e.goroutine].back();
      EXPECT_GE(e.at - armed.at, std::int64_t{armed.epoch} * 1000 - 100'000);
      auto const next = std::find_if(t.events.begin() + static_cast<std::ptrdiff_t>(i) + 1, t.events.end(),
                                     [&](auto& o) { return o.worker_of == e.worker_of && o.worker == e.worker; });
      ASSERT_NE(next, t.events.end());
      EXPECT_EQ(next->kind, armed.reason == wait_reason::context_done ? trace_kind::cancel : trace_kind::create);
      EXPECT_EQ(next->where.line(), armed.where.line());
    }
    EXPECT_EQ(fired, 2u);
    std::size_t arms = 0;
    for (auto& [timer, all] : set) arms += all.size();
    EXPECT_EQ(arms, 3u);
  }
}

TEST(Trace, SimulatedRunsAreNotRecorded) {
  trace_recording const r;
  run_simulated([]() -> task<> { co_await talk(5); });
  EXPECT_TRUE(r.take().events.empty());
}

TEST(Trace, AGoroutineThatWaitsForItsPlaceIsCreatedOnce) {
  trace_recording const r;
  run_at(2, []() -> task<> {
    scope_options one;
    one.max_children = 1;
    co_await with_scope(one, [](scope& s) {
      for (int i = 0; i < 5; ++i) s.go([]() -> task<> { co_await yield(); });
    });
  });
  trace const t = r.take();  // not inside, as above
  std::size_t ended = 0;
  for (auto& [id, events] : by_goroutine(t))
    ended += count(events, trace_kind::create) != 0 && count(events, trace_kind::end) == 1;
  EXPECT_EQ(ended, 6u);
}

TEST(Trace, MemoryBeyondItsBoundsIsRefused) {
  for (std::size_t memory : {std::size_t{1000}, std::size_t{2} << 30})
    EXPECT_THROW(trace_recording const refused({.memory = memory}), std::invalid_argument);
}

TEST(Trace, IsStartedStoppedAndTakenWhileWorkersRun) {
  std::atomic<bool> over{false};
  std::thread switches([&] {
    for (int i = 0; i < (long_run() ? 3000 : 300); ++i) {
      trace_recording const r({.memory = std::size_t{256} << 10});
      std::optional<wait_profiling> waits;
      if (i % 2 == 0) waits.emplace(1ns);
      for (int k = 0; k < 3; ++k) {
        trace const t = r.take();
        for (auto& e : t.events) {
          ASSERT_LE(static_cast<int>(e.kind), static_cast<int>(trace_kind::fire));
          ASSERT_LT(static_cast<std::size_t>(e.reason), wait_reasons);
          ASSERT_GE(e.at, t.from);
          ASSERT_LE(e.at, t.to);
          if (e.where.line() != 0) {
            ASSERT_NE(e.where.file_name()[0], '\0');
          }
        }
        if (waits) {
          (void)waits->take();
          (void)waits->holders();
        }
      }
    }
    over = true;
  });
  while (!over)
    run_at(4, [&]() -> task<> {
      co_await with_scope([&](scope& s) {
        for (int i = 0; i < 8; ++i) s.go(talk, 50);
        s.go([]() -> task<> { co_await blocking([] {}); });
      });
    });
  switches.join();
}

// --- where goroutines waited

const wait_site* site_of(const std::vector<wait_site>& all, wait_reason r) {
  auto it = std::find_if(all.begin(), all.end(), [=](auto& s) { return s.reason == r; });
  return it == all.end() ? nullptr : &*it;
}

TEST(Waits, AreCountedWithTheirTimeAndStack) {
  for (unsigned workers : all_workers) {
    std::vector<wait_site> sites;
    run_at(workers, [&]() -> task<> {
      wait_profiling const p(1ns);
      mutex m;
      co_await with_scope([&](scope& s) -> task<> {
        auto held = std::optional(co_await m.lock());
        for (int i = 0; i < 3; ++i) s.go(named("locker"), [&]() -> task<> { auto const g = co_await m.lock(); });
        co_await parked("locker", "sync.Mutex.Lock", 3);
        co_await sleep(30ms);
        held.reset();
      });
      sites = p.take();
    });
    const wait_site* locks = site_of(sites, wait_reason::mutex_lock);
    ASSERT_NE(locks, nullptr);
    EXPECT_GE(locks->count, 3);
    EXPECT_GE(locks->nanoseconds, 3 * 25e6);
    ASSERT_GE(locks->stack.size(), 2u);
    EXPECT_TRUE(is_here(locks->stack.front()));
    EXPECT_TRUE(is_here(locks->stack.back()));
    double slept = 0;
    for (auto& s : sites) slept += s.reason == wait_reason::sleep ? s.nanoseconds : 0;
    EXPECT_GE(slept, 25e6);
  }
}

TEST(Waits, AreChargedToWhoLetOthersWait) {
  for (unsigned workers : all_workers) {
    std::vector<wait_site> waited, holders;
    run_at(workers, [&]() -> task<> {
      wait_profiling const p(1ns);
      mutex m, nobody_wants;
      shared_mutex s;
      semaphore places(2);
      co_await with_scope([&](scope& all) -> task<> {
        auto held = std::optional(co_await m.lock());
        auto const unwanted = co_await nobody_wants.lock();
        auto reading = std::optional(co_await s.lock_shared());
        auto permit = std::optional(co_await places.acquire());
        for (int i = 0; i < 3; ++i) all.go(named("locker"), [&]() -> task<> { auto const g = co_await m.lock(); });
        all.go(named("writer"), [&]() -> task<> { auto const g = co_await s.lock(); });
        all.go(named("comer"), [&]() -> task<> { auto const g = co_await places.acquire(2); });
        co_await parked("locker", "sync.Mutex.Lock", 3);
        co_await parked("writer", "sync.RWMutex.Lock");
        co_await parked("comer", "semaphore");
        co_await sleep(30ms);
        held.reset();
        reading.reset();
        permit.reset();
      });
      waited = p.take();
      holders = p.holders();
    });
    for (auto [reason, least] :
         {std::pair{wait_reason::mutex_lock, 3 * 25e6}, {wait_reason::rw_lock, 25e6}, {wait_reason::semaphore, 25e6}}) {
      double slow = 0, all = 0, all_waited = 0;
      for (auto& h : holders) {
        if (h.reason != reason) continue;
        all += h.nanoseconds;
        EXPECT_NE(h.released_at, nullptr);
        ASSERT_GE(h.stack.size(), 1u);
        EXPECT_TRUE(is_here(h.stack.front()));
        slow = std::max(slow, h.nanoseconds);
      }
      for (auto& w : waited) all_waited += w.reason == reason ? w.nanoseconds : 0;
      EXPECT_GE(slow, least) << name_of(reason);
      EXPECT_LT(all - slow, all / 2) << name_of(reason) << ": who held it for a moment is charged with no more";
      EXPECT_NEAR(all, all_waited, all_waited / 2) << name_of(reason) << ": what is charged is what was waited";
    }
  }
}

TEST(Waits, ThatNobodyCausedAreChargedToNobody) {
  std::vector<wait_site> holders;
  run_at(2, [&]() -> task<> {
    wait_profiling const p(1ns);
    mutex m;
    shared_mutex s;
    semaphore places(1);
    for (int i = 0; i < 1000; ++i) {
      auto const a = co_await m.lock();
      auto const b = co_await s.lock_shared();
      auto const c = co_await places.acquire();
      co_await yield();
    }
    co_await talk(100);
    holders = p.holders();
  });
  EXPECT_TRUE(holders.empty());
}

TEST(Waits, ALockGivenBackByAThreadIsChargedToNoGoroutine) {
  std::vector<wait_site> holders;
  run_at(2, [&]() -> task<> {
    wait_profiling const p(1ns);
    mutex m;
    co_await with_scope([&](scope& s) -> task<> {
      auto held = co_await m.lock();
      s.go(named("locker"), [&]() -> task<> { auto const g = co_await m.lock(); });
      co_await parked("locker", "sync.Mutex.Lock");
      std::thread([mine = std::move(held)]() mutable { mine.unlock(); }).join();
    });
    holders = p.holders();
  });
  ASSERT_EQ(holders.size(), 1u);
  EXPECT_TRUE(holders.front().stack.empty());
  EXPECT_NE(holders.front().released_at, nullptr);
}

TEST(Waits, ThatAreShortAreSampledTrulyOnTheAverage) {
  std::vector<wait_site> exact, sampled;
  for (auto* to : {&exact, &sampled})
    run_at(1, [&]() -> task<> {
      wait_profiling const p(to == &exact ? nanoseconds(1) : nanoseconds(100'000));
      co_await talk(20'000);
      *to = p.take();
    });
  double all = 0, estimate = 0;
  for (auto& s : exact) all += s.count;
  for (auto& s : sampled) estimate += s.count;
  EXPECT_GT(all, 19'000);
  EXPECT_GT(estimate, all / 4);  // some hundred samples of a skewed distribution
}

TEST(Waits, OffNothingIsCounted) {
  run_at(2, []() -> task<> { co_await talk(100); });
  wait_profiling const p;
  EXPECT_TRUE(p.take().empty());
  EXPECT_THROW(wait_profiling const refused(0ns), std::invalid_argument);
}

}  // namespace leash::test::trace_tests
