// The park word: one owner, wakers and a canceller. Exactly one of them settles each wait, and the owner always goes
// on.
#include "expect.hpp"
#include "model.hpp"
#include "park.hpp"

namespace {

using namespace model;

enum class bug {
  none,
  checks_before_parking,  // the owner looks at `ended` only before it publishes PARKED
  fence_is_enough,        // the canceller uses its own fence instead of the heavy barrier
  canceller_stores_only,  // the canceller never looks at the park word
  no_epoch,               // every wait has the same word
  stays_queued,           // a cancelled owner leaves its node in the queue
  wins_without_cas,       // the waker loads PARKED and then stores WON
  forgets_value,          // a waker that loses the CAS drops its value
};

constexpr int cancelled = -1;

template <class A>
struct channel {
  typename A::spin_lock lock;
  wait_queue<A> receivers;
  typename A::template var<int> buffered{0};  // 0: empty

  void send(int value, bug b) {
    for (;;) {
      lock.lock();
      wait_node<A>* n = receivers.pop();
      if (n == nullptr) {
        buffered = value;
        lock.unlock();
        return;
      }
      parker<A>* who = n->who;
      std::uint32_t epoch = n->epoch;
      lock.unlock();
      bool won;
      if (b == bug::wins_without_cas) {
        won = who->word.load(std::memory_order_acquire) == park_word(epoch, park_state::parked);
        if (won) who->word.store(park_word(epoch, park_state::won), std::memory_order_release);
      } else {
        won = who->settle(epoch, park_state::won);
      }
      if (won) {
        who->slot = value;
        who->resume();
        return;
      }
      if (b == bug::forgets_value) return;
    }
  }
};

template <class A>
struct owner {
  parker<A> park;
  wait_node<A> node[2];
  typename A::template atomic<bool> ended{false};
  std::uint32_t epoch = 0;  // the owner's alone
  owner() { name(ended, "ended"); }

  // One recv, or a select over two channels. `cancellable` is false inside a shielded clean-up.
  int recv(channel<A>* first, channel<A>* second, bool cancellable, bug b) {
    epoch = b == bug::no_epoch ? 1 : epoch + 1;
    channel<A>* channels[] = {first, second};
    if (b == bug::checks_before_parking && cancellable && ended.load(std::memory_order_acquire)) return cancelled;
    first->lock.lock();  // in address order
    if (second != nullptr) second->lock.lock();
    int value = 0;
    for (channel<A>* c : channels)
      if (c != nullptr && value == 0 && (value = c->buffered) != 0) c->buffered = 0;
    if (value == 0) {
      for (int i = 0; i < 2; ++i)
        if (channels[i] != nullptr) channels[i]->receivers.push(node[i], park, epoch);
      park.word.store(park_word(epoch, park_state::parked), std::memory_order_release);
    }
    if (second != nullptr) second->lock.unlock();
    first->lock.unlock();
    if (value != 0) return value;

    A::light_barrier();
    bool self = cancellable && b != bug::checks_before_parking && ended.load(std::memory_order_acquire) &&
                park.settle(epoch, park_state::cancelled);
    if (!self) park.sleep();
    bool was_cancelled = park.state() == park_state::cancelled;
    if (!was_cancelled) value = park.slot;
    for (int i = 0; i < 2; ++i) {
      if (channels[i] == nullptr || b == bug::stays_queued) continue;
      channels[i]->lock.lock();
      channels[i]->receivers.remove(node[i]);
      channels[i]->lock.unlock();
    }
    return was_cancelled ? cancelled : value;
  }

  void cancel(bug b) {
    ended.store(true, std::memory_order_release);
    if (b == bug::canceller_stores_only) return;
    if (b == bug::fence_is_enough)
      A::fence(std::memory_order_seq_cst);
    else
      A::heavy_barrier();
    std::uint32_t w = park.word.load(std::memory_order_acquire);
    if ((w & 3) == static_cast<std::uint32_t>(park_state::parked) && park.settle(w >> 2, park_state::cancelled))
      park.resume();
  }
};

struct config {
  int wakers = 0;
  bool cancel = false;
  bool two_channels = false;
  memory mem = memory::tso;
};

template <class A>
struct world {
  owner<A> own;
  channel<A> ch[2];
  typename A::template var<int> got{0};
};

model::result one_wait(config c, bug b = bug::none) {
  return check({.mem = c.mem, .reduce = reduction::values}, [=](run& r) {
    auto& w = r.make<world<atomics>>();
    name(w.ch[0].lock, "lock 0");
    name(w.ch[1].lock, "lock 1");
    r.thread("owner", [=, &w] { w.got = w.own.recv(&w.ch[0], c.two_channels ? &w.ch[1] : nullptr, true, b); });
    for (int i = 0; i < c.wakers; ++i)
      r.thread(i == 0 ? "waker 1" : "waker 2", [=, &w] { w.ch[c.two_channels ? i : 0].send(i + 1, b); });
    if (c.cancel) r.thread("canceller", [=, &w] { w.own.cancel(b); });
    r.finally([=, &w] {
      int got = w.got;
      require(got != 0, "the owner never went on");
      require(got != cancelled || c.cancel, "cancelled by nobody");
      for (auto& ch : w.ch) require(ch.receivers.empty(), "a waiter is left in a queue");
      // Two sends into one channel share its single place; otherwise each value is where it belongs.
      int kept = (w.ch[0].buffered != 0) + (w.ch[1].buffered != 0) + (got > 0);
      require(kept == c.wakers || (c.wakers == 2 && !c.two_channels && kept >= 1), "a value was lost or doubled");
      require(w.own.park.runnable.load() == 0, "a resumption is left over");
    });
  });
}

TEST(park_word, a_waker_always_gets_through) {
  EXPECT_PROVEN(one_wait({.wakers = 1}));
  EXPECT_PROVEN(one_wait({.wakers = 2}));
  EXPECT_PROVEN(one_wait({.wakers = 1, .mem = memory::pso}));
}

TEST(park_word, a_canceller_always_gets_through) {
  EXPECT_PROVEN(one_wait({.cancel = true}));
  EXPECT_PROVEN(one_wait({.cancel = true, .mem = memory::pso}));
}

TEST(park_word, of_waker_and_canceller_one_wins_and_no_value_is_lost) {
  EXPECT_PROVEN(one_wait({.wakers = 1, .cancel = true}));
  EXPECT_PROVEN(one_wait({.wakers = 1, .cancel = true, .mem = memory::pso}));
  if (long_run()) EXPECT_PROVEN(one_wait({.wakers = 2, .cancel = true, .mem = memory::pso}));
}

TEST(park_word, one_case_of_a_select_wins) {
  EXPECT_PROVEN(one_wait({.wakers = 2, .two_channels = true}));
  EXPECT_PROVEN(one_wait({.wakers = 1, .cancel = true, .two_channels = true}));
  if (long_run()) EXPECT_PROVEN(one_wait({.wakers = 2, .cancel = true, .two_channels = true}));
}

TEST(park_word, looking_at_the_flag_before_parking_loses_the_cancellation) {
  EXPECT_FOUND("deadlock", one_wait({.cancel = true}, bug::checks_before_parking));
}

TEST(park_word, a_fence_of_the_canceller_alone_loses_the_cancellation) {
  EXPECT_FOUND("deadlock", one_wait({.cancel = true}, bug::fence_is_enough));
}

TEST(park_word, a_canceller_that_does_not_look_at_the_word_loses_the_cancellation) {
  EXPECT_FOUND("deadlock", one_wait({.cancel = true}, bug::canceller_stores_only));
}

TEST(park_word, a_cancelled_owner_that_stays_queued_is_found) {
  EXPECT_FOUND("left in a queue", one_wait({.cancel = true}, bug::stays_queued));
}

TEST(park_word, winning_without_a_cas_has_two_winners) {
  EXPECT_FOUND("lost or doubled", one_wait({.wakers = 1, .cancel = true}, bug::wins_without_cas));
}

TEST(park_word, a_loser_that_drops_its_value_is_found) {
  EXPECT_FOUND("lost or doubled", one_wait({.wakers = 1, .cancel = true}, bug::forgets_value));
}

// The owner is cancelled on channel 0 and then waits, shielded, on channel 1. A waker of channel 0 that has popped it
// and then was slow must not complete the second wait.
model::result two_waits(bug b) {
  return check({.reduce = reduction::values}, [=](run& r) {
    auto& w = r.make<world<atomics>>();
    r.thread("owner", [=, &w] {
      w.own.recv(&w.ch[0], nullptr, true, b);
      w.got = w.own.recv(&w.ch[1], nullptr, false, b);
    });
    r.thread("waker 0", [=, &w] { w.ch[0].send(1, b); });
    r.thread("waker 1", [=, &w] { w.ch[1].send(2, b); });
    r.thread("canceller", [=, &w] {
      // Cancels the first wait only: the second one is not its business.
      w.own.ended.store(true, std::memory_order_release);
      atomics::heavy_barrier();
      if (w.own.park.settle(1, park_state::cancelled)) w.own.park.resume();
    });
    r.finally([&w] { require(w.got == 2, "the second wait was completed by somebody of the first"); });
  });
}

TEST(park_word, a_late_waker_cannot_complete_the_next_wait) { EXPECT_PROVEN(two_waits(bug::none)); }

TEST(park_word, without_an_epoch_a_late_waker_completes_the_next_wait) {
  EXPECT_FOUND("second wait", two_waits(bug::no_epoch));
}

}  // namespace
