// Workers that go to sleep while work is being pushed. Every worker has a quota of items, after which it is busy for
// ever; the items are exactly as many as the quotas together, so a single wake-up lost, or spent on a worker that is
// busy, is a deadlock.
#include "expect.hpp"
#include "model.hpp"

namespace {

using namespace model;

enum class bug {
  none,
  fence_is_enough,          // the idle worker uses its own fence instead of the heavy barrier
  looks_before_announcing,  // the queues are looked at, then the idle bit is set
  looks_at_one_queue,
  wakes_without_claiming,  // the pusher leaves the idle bit set, so that two pushers wake the same worker
  keeps_bit,               // a worker that found work on its last look stays announced
  does_not_pass_on,        // a worker that was woken for an item, but took another, wakes nobody for the first
};

template <class A>
struct work_queue {
  typename A::template atomic<std::uint32_t> head{0}, tail{0};
  work_queue() {
    name(head, "head");
    name(tail, "tail");
  }
  void push() { tail.store(tail.load(std::memory_order_relaxed) + 1, std::memory_order_release); }
  bool has_work() const { return head.load(std::memory_order_acquire) != tail.load(std::memory_order_acquire); }
  bool take() {
    std::uint32_t h = head.load(std::memory_order_acquire);
    while (h != tail.load(std::memory_order_acquire))
      if (head.compare_exchange_strong(h, h + 1, std::memory_order_acq_rel, std::memory_order_acquire)) return true;
    return false;
  }
};

template <class A>
struct pool {
  work_queue<A> queue[2];
  int queues = 1;
  typename A::template atomic<std::uint32_t> idle{0};
  typename A::template atomic<std::uint32_t> wake[2]{};
  pool() {
    name(idle, "idle");
    name(wake[0], "wake 0");
    name(wake[1], "wake 1");
  }

  void push(int q, bug b) {
    queue[q].push();
    A::light_barrier();
    wake_one(b);
  }

  void wake_one(bug b) {
    std::uint32_t mask = idle.load(std::memory_order_acquire);
    while (mask != 0) {
      std::uint32_t bit = mask & -mask;
      if (b != bug::wakes_without_claiming &&
          !idle.compare_exchange_strong(mask, mask & ~bit, std::memory_order_acq_rel, std::memory_order_acquire))
        continue;
      auto& word = wake[bit == 1 ? 0 : 1];
      word.store(1, std::memory_order_release);
      A::futex_wake(word, 1);
      return;
    }
  }

  bool take_any(bug b) {
    for (int q = 0; q < (b == bug::looks_at_one_queue ? 1 : queues); ++q)
      if (queue[q].take()) return true;
    return false;
  }
  bool any_work() const {
    for (int q = 0; q < queues; ++q)
      if (queue[q].has_work()) return true;
    return false;
  }

  // Returns with an item taken, the worker's `done`th.
  void next(int me, unsigned done, bug b) {
    std::uint32_t bit = 1u << me;
    bool woken = false;
    auto at = [&](unsigned line) { forget(line << 8 | done << 1 | woken); };
    for (;;) {
      at(1);
      if (take_any(bug::none)) break;
      at(2);
      wake[me].store(0, std::memory_order_relaxed);  // before announcing, or a wake-up is overwritten
      bool found = false;
      if (b == bug::looks_before_announcing) found = take_any(b);
      if (!found) idle.fetch_or(bit, std::memory_order_acq_rel);
      if (!found) at(3);
      if (b == bug::fence_is_enough)
        A::fence(std::memory_order_seq_cst);
      else
        A::heavy_barrier();
      if (b != bug::looks_before_announcing) found = take_any(b);
      if (found) {
        at(4);
        // Whoever has claimed the bit believes to have woken somebody for its item.
        if (b != bug::keeps_bit) woken |= (idle.fetch_and(~bit, std::memory_order_acq_rel) & bit) == 0;
        break;
      }
      at(5);
      while (wake[me].load(std::memory_order_acquire) == 0) {
        at(6);
        A::futex_wait(wake[me], 0u);
        at(5);
      }
      at(7);
      idle.fetch_and(~bit, std::memory_order_acq_rel);  // still set if the wake-up was an old one
      woken = true;
    }
    at(8);
    if (woken && b != bug::does_not_pass_on && any_work()) {
      at(9);
      wake_one(b);
    }
    at(10);
  }
};

struct config {
  int pushers = 1;
  int items = 1;  // of each pusher
  int quota[2] = {1, 0};
  memory mem = memory::tso;
  int preemptions = -1;
};

model::result go_idle(config c, bug b = bug::none) {
  return check({.mem = c.mem, .reduce = reduction::values, .races = false, .preemptions = c.preemptions}, [=](run& r) {
    auto& p = r.make<pool<atomics>>();
    p.queues = c.pushers;
    for (int q = 0; q < c.pushers; ++q)
      r.thread(q == 0 ? "pusher 0" : "pusher 1", [=, &p] {
        for (int i = 0; i < c.items; ++i) p.push(q, b);
      });
    for (int me = 0; me < 2; ++me)
      if (c.quota[me] != 0)
        r.thread(me == 0 ? "worker 0" : "worker 1", [=, &p] {
          for (int i = 0; i < c.quota[me]; ++i) p.next(me, static_cast<unsigned>(i), b);
        });
    r.finally([&p] { require(!p.any_work(), "an item is left"); });
  });
}

TEST(idle_workers, one_worker_sees_one_push) {
  EXPECT_PROVEN(go_idle({}));
  EXPECT_PROVEN(go_idle({.mem = memory::pso}));
}

TEST(idle_workers, one_worker_sees_every_push) { EXPECT_PROVEN(go_idle({.items = 2, .quota = {2, 0}})); }

TEST(idle_workers, one_worker_sees_both_queues) { EXPECT_PROVEN(go_idle({.pushers = 2, .quota = {2, 0}})); }

TEST(idle_workers, two_workers_share_the_wake_ups) {
  EXPECT_PROVEN(go_idle({.items = 2, .quota = {1, 1}}));
  int bound = long_run() ? 4 : 2;
  EXPECT_PROVEN(go_idle({.items = 3, .quota = {2, 1}, .preemptions = bound}));
  EXPECT_PROVEN(go_idle({.pushers = 2, .quota = {1, 1}, .preemptions = bound}));
  EXPECT_PROVEN(go_idle({.items = 2, .quota = {1, 1}, .mem = memory::pso, .preemptions = bound}));
}

TEST(idle_workers, a_fence_of_the_worker_alone_loses_a_wake_up) {
  EXPECT_FOUND("deadlock", go_idle({}, bug::fence_is_enough));
}

TEST(idle_workers, looking_before_announcing_loses_a_wake_up) {
  EXPECT_FOUND("deadlock", go_idle({}, bug::looks_before_announcing));
}

TEST(idle_workers, looking_at_one_queue_of_two_loses_a_wake_up) {
  EXPECT_FOUND("deadlock", go_idle({.pushers = 2, .quota = {2, 0}}, bug::looks_at_one_queue));
}

TEST(idle_workers, pushers_that_wake_the_same_worker_leave_the_other_asleep) {
  EXPECT_FOUND("deadlock", go_idle({.items = 2, .quota = {1, 1}}, bug::wakes_without_claiming));
}

TEST(idle_workers, a_busy_worker_still_announced_swallows_a_wake_up) {
  EXPECT_FOUND("deadlock", go_idle({.items = 2, .quota = {1, 1}}, bug::keeps_bit));
}

TEST(idle_workers, a_wake_up_that_is_not_passed_on_is_lost) {
  EXPECT_FOUND("deadlock", go_idle({.items = 2, .quota = {1, 1}}, bug::does_not_pass_on));
}

}  // namespace
