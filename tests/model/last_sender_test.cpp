// The last sender's drop ends the channel: every receiver that is parked wakes, every later one does not park.
#include "expect.hpp"
#include "model.hpp"
#include "park.hpp"

namespace {

using namespace model;

enum class bug {
  none,
  counts_by_load_and_store,
  relaxed_count,       // the last one does not see what the others did before they dropped
  marks_after_waking,  // `ended` is set under the lock again, after the waiters have been woken
  looks_outside_lock,  // a receiver looks at `ended` before it takes the lock
  wakes_one,
};

constexpr int end = -1;

template <class A>
struct channel {
  typename A::spin_lock lock;
  wait_queue<A> receivers;
  typename A::template var<bool> ended{false};
  typename A::template var<int> buffered{0};
  typename A::template atomic<int> senders;
  typename A::template var<int> sent[2]{};  // what each sender did, for the last one to read without the lock
  explicit channel(int n) : senders(n) {
    name(lock, "lock");
    name(senders, "senders");
    name(ended, "ended");
  }

  void send(int value) {
    lock.lock();
    wait_node<A>* n = receivers.pop();
    if (n == nullptr) buffered = value;
    lock.unlock();
    if (n == nullptr) return;
    parker<A>& who = *n->who.get();
    require(who.settle(1, park_state::won), "nobody else wakes a receiver that has been popped");
    who.slot = value;
    who.resume();
  }

  void drop(bug b) {
    if (b == bug::counts_by_load_and_store) {
      int left = senders.load(std::memory_order_acquire) - 1;
      senders.store(left, std::memory_order_release);
      if (left != 0) return;
    } else if (senders.fetch_sub(1, b == bug::relaxed_count ? std::memory_order_relaxed : std::memory_order_acq_rel) !=
               1) {
      return;
    }
    (void)(sent[0] + sent[1]);
    wait_node<A>* woken[2] = {};
    int n = 0;
    lock.lock();
    if (b != bug::marks_after_waking) ended = true;
    while (n < (b == bug::wakes_one ? 1 : 2)) {
      woken[n] = receivers.pop();
      if (woken[n] == nullptr) break;
      ++n;
    }
    lock.unlock();
    for (int i = 0; i < n; ++i) {
      parker<A>& who = *woken[i]->who.get();
      require(who.settle(1, park_state::won), "nobody else wakes a receiver that has been popped");
      who.slot = end;
      who.resume();
    }
    if (b == bug::marks_after_waking) {
      lock.lock();
      ended = true;
      lock.unlock();
    }
  }

  int recv(parker<A>& park, wait_node<A>& node, bug b) {
    bool early = false;
    if (b == bug::looks_outside_lock) {
      lock.lock();  // the look itself is no race, only too early
      early = ended;
      lock.unlock();
    }
    lock.lock();
    int value = buffered;
    if (value != 0) {
      buffered = 0;
    } else if (b == bug::looks_outside_lock ? early : ended.get()) {
      value = end;
    } else {
      receivers.push(node, park, 1);
      park.word.store(park_word(1, park_state::parked), std::memory_order_release);
    }
    lock.unlock();
    if (value != 0) return value;
    park.sleep();
    return park.slot;
  }
};

template <class A>
struct world {
  channel<A> ch;
  parker<A> park[2];
  wait_node<A> node[2];
  typename A::template var<int> got[2]{};
  explicit world(int senders) : ch(senders) {}
};

struct config {
  int senders = 2;
  int receivers = 1;
  int sends = 0;  // how many of the senders send something first
  memory mem = memory::tso;
};

model::result drop_all(config c, bug b = bug::none) {
  return check({.mem = c.mem, .reduce = reduction::values}, [=](run& r) {
    auto& w = r.make<world<atomics>>(c.senders);
    for (int s = 0; s < c.senders; ++s)
      r.thread(s == 0 ? "sender 0" : "sender 1", [=, &w] {
        if (s < c.sends) w.ch.send(7);
        w.ch.sent[s] = 1;
        w.ch.drop(b);
      });
    for (int i = 0; i < c.receivers; ++i)
      r.thread(i == 0 ? "receiver 0" : "receiver 1", [=, &w] { w.got[i] = w.ch.recv(w.park[i], w.node[i], b); });
    r.finally([=, &w] {
      int values = w.ch.buffered == 7, ends = 0;
      for (int i = 0; i < c.receivers; ++i) {
        values += w.got[i] == 7;
        ends += w.got[i] == end;
      }
      require(values == c.sends, "a value was lost or doubled");
      require(w.got[0] != 0 && (c.receivers == 1 || w.got[1] != 0), "a receiver got nothing");
      require(c.sends != 0 || ends == c.receivers, "a receiver did not see the end");
      require(w.ch.ended && w.ch.receivers.empty(), "not ended");
    });
  });
}

TEST(last_sender, its_drop_wakes_every_receiver) {
  EXPECT_PROVEN(drop_all({.senders = 1}));
  EXPECT_PROVEN(drop_all({.senders = 2}));
  EXPECT_PROVEN(drop_all({.senders = 2, .mem = memory::pso}));
  EXPECT_PROVEN(drop_all({.senders = 1, .receivers = 2}));
  EXPECT_PROVEN(drop_all({.senders = 2, .receivers = 2}));
}

TEST(last_sender, values_come_before_the_end) {
  EXPECT_PROVEN(drop_all({.senders = 1, .receivers = 2, .sends = 1}));
  EXPECT_PROVEN(drop_all({.senders = 2, .receivers = 2, .sends = 1}));
}

TEST(last_sender, a_count_that_is_not_atomic_is_found) {
  EXPECT_FOUND("deadlock", drop_all({}, bug::counts_by_load_and_store));
}

TEST(last_sender, a_relaxed_count_is_a_data_race) { EXPECT_FOUND("data race", drop_all({}, bug::relaxed_count)); }

TEST(last_sender, marking_the_end_after_waking_is_found) {
  EXPECT_FOUND("deadlock", drop_all({}, bug::marks_after_waking));
}

TEST(last_sender, looking_for_the_end_outside_the_lock_is_found) {
  EXPECT_FOUND("deadlock", drop_all({}, bug::looks_outside_lock));
}

TEST(last_sender, waking_only_one_receiver_is_found) {
  EXPECT_FOUND("deadlock", drop_all({.receivers = 2}, bug::wakes_one));
}

}  // namespace
