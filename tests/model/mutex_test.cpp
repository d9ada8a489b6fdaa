// A mutex of one word: LOCKED and WAITERS. Uncontended it is one CAS each way; contended, waiters queue under an
// internal spin lock and unlock hands the mutex over: LOCKED stays set, so nobody can get in between. A waiter that is
// cancelled takes itself out of the queue.
#include "expect.hpp"
#include "model.hpp"
#include "park.hpp"

namespace {

using namespace model;

enum class bug {
  none,
  queues_blindly,       // sets WAITERS without looking whether the mutex was unlocked meanwhile
  unlocks_by_store,     // the fast path of unlock stores 0 over a WAITERS bit
  hands_over_unlocked,  // unlock clears the word although the woken waiter believes to hold it
  hands_to_cancelled,   // unlock takes its first waiter's CAS for granted
  stops_at_cancelled,   // unlock gives up after a waiter that was cancelled, others still queued
  trusts_first_look,    // under the inner lock, a waiter goes by what the failed fast path saw
  relaxed_unlock,
  relaxed_lock,
  stays_queued,  // a cancelled waiter leaves its node in the queue
};

template <class A>
struct mutex {
  static constexpr std::uint32_t locked = 1, waiters = 2;
  typename A::template atomic<std::uint32_t> word{0};
  typename A::spin_lock inner;
  wait_queue<A> queue;
  mutex() {
    name(word, "mutex");
    name(inner, "inner lock");
  }

  struct waiter {
    parker<A> park;
    wait_node<A> node;
  };

  // false: cancelled. One wait per waiter.
  bool lock(waiter& me, bug b) {
    auto acquire = b == bug::relaxed_lock ? std::memory_order_relaxed : std::memory_order_acquire;
    std::uint32_t seen = 0;
    if (word.compare_exchange_strong(seen, locked, acquire, std::memory_order_relaxed)) return true;
    inner.lock();
    if (b == bug::queues_blindly) {
      word.fetch_or(waiters, std::memory_order_relaxed);
    } else {
      if (b != bug::trusts_first_look) seen = word.load(std::memory_order_relaxed);
      for (;;) {
        if ((seen & locked) == 0) {
          if (word.compare_exchange_strong(seen, seen | locked, acquire, std::memory_order_relaxed)) {
            inner.unlock();
            return true;
          }
        } else if ((seen & waiters) != 0 ||
                   word.compare_exchange_strong(seen, seen | waiters, std::memory_order_relaxed,
                                                std::memory_order_relaxed)) {
          break;
        }
      }
    }
    queue.push(me.node, me.park, 1);
    me.park.word.store(park_word(1, park_state::parked), std::memory_order_release);
    inner.unlock();
    me.park.sleep();
    if (me.park.state() != park_state::cancelled) return true;
    if (b == bug::stays_queued) return false;
    inner.lock();
    queue.remove(me.node);
    inner.unlock();
    return false;
  }

  void unlock(bug b) {
    auto release = b == bug::relaxed_unlock ? std::memory_order_relaxed : std::memory_order_release;
    if (b == bug::unlocks_by_store) {
      if (word.load(std::memory_order_relaxed) == locked) {
        word.store(0, release);
        return;
      }
    } else {
      std::uint32_t seen = locked;
      if (word.compare_exchange_strong(seen, 0, release, std::memory_order_relaxed)) return;
    }
    inner.lock();
    while (wait_node<A>* first = queue.pop()) {
      parker<A>& who = *first->who.get();
      if (!who.settle(1, park_state::won) && b != bug::hands_to_cancelled) {
        if (b == bug::stops_at_cancelled) break;
        continue;
      }
      std::uint32_t left = queue.empty() ? locked : locked | waiters;
      word.store(b == bug::hands_over_unlocked ? left & waiters : left, std::memory_order_relaxed);
      inner.unlock();
      if (b != bug::hands_to_cancelled || who.state() == park_state::won) who.resume();
      return;
    }
    word.store(0, release);
    inner.unlock();
  }
};

template <class A>
struct world {
  mutex<A> m;
  typename mutex<A>::waiter waiter[3];
  typename A::template var<int> counter{0};
  typename A::template var<int> entered[3]{};
};

struct config {
  int threads = 2;
  bool cancel = false;  // the last thread's wait
  memory mem = memory::tso;
};

model::result contend(config c, bug b = bug::none) {
  return check({.mem = c.mem, .reduce = reduction::values}, [=](run& r) {
    auto& w = r.make<world<atomics>>();
    for (int t = 0; t < c.threads; ++t)
      r.thread(t == 0   ? "locker 0"
               : t == 1 ? "locker 1"
                        : "locker 2",
               [=, &w] {
                 if (!w.m.lock(w.waiter[t], b)) {
                   w.waiter[t].node.who = nullptr;  // its frame is used for something else
                   return;
                 }
                 w.counter = w.counter + 1;
                 w.entered[t] = 1;
                 w.m.unlock(b);
               });
    if (c.cancel)
      r.thread("canceller", [=, &w] {
        auto& park = w.waiter[c.threads - 1].park;
        if (park.settle(1, park_state::cancelled)) park.resume();
      });
    r.finally([=, &w] {
      int in = 0;
      for (auto& e : w.entered) in += e;
      require(w.counter == in, "exclusion was broken");
      require(in >= c.threads - (c.cancel ? 1 : 0), "a locker never got in");
      require(w.m.word.load() == 0, "the mutex is left locked");
      require(w.m.queue.empty(), "a waiter is left in the queue");
    });
  });
}

TEST(mutex, two_lockers_exclude_each_other_and_both_get_in) {
  EXPECT_PROVEN(contend({}));
  EXPECT_PROVEN(contend({.mem = memory::pso}));
}

TEST(mutex, three_lockers_exclude_one_another_and_all_get_in) { EXPECT_PROVEN(contend({.threads = 3})); }

TEST(mutex, a_cancelled_waiter_leaves_and_the_others_get_in) {
  EXPECT_PROVEN(contend({.threads = 2, .cancel = true}));
  EXPECT_PROVEN(contend({.threads = 2, .cancel = true, .mem = memory::pso}));
  EXPECT_PROVEN(contend({.threads = 3, .cancel = true}));
  if (long_run()) EXPECT_PROVEN(contend({.threads = 3, .cancel = true, .mem = memory::pso}));
}

TEST(mutex, queueing_without_a_second_look_is_found) { EXPECT_FOUND("deadlock", contend({}, bug::queues_blindly)); }

TEST(mutex, a_waiters_bit_seen_before_the_inner_lock_is_out_of_date) {
  EXPECT_FOUND("deadlock", contend({.threads = 3}, bug::trusts_first_look));
}

TEST(mutex, unlocking_by_a_plain_store_is_found) { EXPECT_FOUND("deadlock", contend({}, bug::unlocks_by_store)); }

TEST(mutex, a_hand_over_that_opens_the_mutex_is_found) {
  EXPECT_FOUND("data race", contend({.threads = 3}, bug::hands_over_unlocked));
}

TEST(mutex, handing_over_to_a_cancelled_waiter_is_found) {
  EXPECT_FOUND("left locked", contend({.cancel = true}, bug::hands_to_cancelled));
}

TEST(mutex, giving_up_after_a_cancelled_waiter_is_found) {
  EXPECT_FOUND("deadlock", contend({.threads = 3, .cancel = true}, bug::stops_at_cancelled));
}

TEST(mutex, orders_too_weak_are_found) {
  EXPECT_FOUND("data race", contend({}, bug::relaxed_unlock));
  EXPECT_FOUND("data race", contend({}, bug::relaxed_lock));
}

TEST(mutex, a_cancelled_waiter_that_stays_queued_is_found) {
  EXPECT_FOUND("data race", contend({.cancel = true}, bug::stays_queued));
}

}  // namespace
