// The marker's proof from counts: a receiver whose channel has no handle outside of frozen memory is leaked. It reads
// while the world runs, in the order scan, totals, epochs; a waker gives up its handle only after its last park-word
// CAS.
#include "expect.hpp"
#include "model.hpp"
#include "park.hpp"

namespace {

using namespace model;

enum class bug {
  none,
  counts_down_first,  // the waker gives up its handle before it wakes
  totals_before_scan,
  epochs_before_totals,
  no_epochs,
  zero_is_not_satisfied,  // last drop with one count: no sender left is read as "no capability" instead of "ended"
};

template <class A>
struct world {
  typename A::spin_lock lock;
  wait_queue<A> receivers;
  typename A::template var<int> buffered{0};
  parker<A> park;
  wait_node<A> node;
  typename A::template atomic<int> total;  // sender handles alive
  typename A::template atomic<int>
      in_frame;  // of these, in the receiver's frame; read by the marker while it may change
  typename A::template atomic<bool> given{false};
  typename A::template atomic<bool> judged{false};
  typename A::template atomic<bool> completed{false};

  world(int handles, int own) : total(handles), in_frame(own) {
    name(lock, "lock");
    name(total, "total");
    name(in_frame, "handles in the frame");
    name(judged, "judged");
  }

  // False: a value was there.
  bool park_receiver(std::uint32_t epoch) {
    lock.lock();
    bool taken = buffered != 0;
    if (taken) {
      buffered = 0;
    } else {
      receivers.push(node, park, epoch);
      park.word.store(park_word(epoch, park_state::parked), std::memory_order_release);
    }
    lock.unlock();
    return !taken;
  }
  void go_on(std::uint32_t epoch) {
    park.sleep();
    park.word.store(park_word(epoch, park_state::running), std::memory_order_release);
    completed.store(true, std::memory_order_release);
  }
  void wake(bool leave_value) {
    lock.lock();
    wait_node<A>* n = receivers.pop();
    std::uint32_t epoch = n != nullptr ? n->epoch.get() : 0;
    if (n == nullptr && leave_value) buffered = 1;
    lock.unlock();
    if (n != nullptr && n->who.get()->settle(epoch, park_state::won)) n->who.get()->resume();
  }

  void mark(bug b, bool zero_is_satisfied) {
    int early = b == bug::totals_before_scan ? total.load(std::memory_order_acquire) : 0;
    std::uint32_t before = park.word.load(std::memory_order_acquire);
    if ((before & 3) != static_cast<std::uint32_t>(park_state::parked)) return;
    int found = in_frame.load(std::memory_order_relaxed);
    A::fence(std::memory_order_acquire);
    if (b == bug::epochs_before_totals && park.word.load(std::memory_order_acquire) != before) return;
    int all = b == bug::totals_before_scan ? early : total.load(std::memory_order_acquire);
    if (b != bug::no_epochs && b != bug::epochs_before_totals && park.word.load(std::memory_order_acquire) != before)
      return;
    if (zero_is_satisfied && all == 0) return;
    if (all - found == 0) judged.store(true, std::memory_order_release);
  }
};

struct outcome {
  model::result checked;
  bool judged_ever = false;
};

// The sentinel: whoever has been judged is never completed.
void never_wrong(world<atomics>& w, bool& judged_ever) {
  bool judged = w.judged.load();
  judged_ever |= judged;
  require(!judged || !w.completed.load(), "judged leaked, then completed");
}

// The receiver dups a sender for its friend, who sends and drops it. Its own handle stays in its frame.
outcome friend_sends(bug b, memory mem = memory::tso) {
  outcome o;
  o.checked = check({.mem = mem, .reduce = reduction::values}, [&o, b](run& r) {
    auto& w = r.make<world<atomics>>(1, 1);
    r.thread("receiver", [&w] {
      w.total.fetch_add(1, std::memory_order_relaxed);
      w.given.store(true, std::memory_order_release);
      if (w.park_receiver(1)) w.go_on(2);
    });
    r.thread("friend", [b, &w] {
      while (!w.given.load(std::memory_order_acquire)) model::pause();
      if (b == bug::counts_down_first) w.total.fetch_sub(1, std::memory_order_acq_rel);
      w.wake(true);
      if (b != bug::counts_down_first) w.total.fetch_sub(1, std::memory_order_acq_rel);
    });
    r.thread("marker", [b, &w] { w.mark(b, false); });
    r.finally([&o, &w] { never_wrong(w, o.judged_ever); });
  });
  return o;
}

// As before, but the friend drops without sending: the receiver waits for itself.
outcome friend_forgets(memory mem = memory::tso) {
  outcome o;
  o.checked = check({.mem = mem, .reduce = reduction::values}, [&o](run& r) {
    auto& w = r.make<world<atomics>>(2, 1);
    r.thread("receiver", [&w] { w.park_receiver(1); });  // and sleeps for ever
    r.thread("friend", [&w] { w.total.fetch_sub(1, std::memory_order_acq_rel); });
    r.thread("marker", [&w] { w.mark(bug::none, false); });
    r.finally([&o, &w] { never_wrong(w, o.judged_ever); });
  });
  return o;
}

// The receiver moves its only sender out of its frame between two waits; the friend then completes the second one.
outcome handle_moves_out(bug b, memory mem = memory::tso) {
  outcome o;
  o.checked = check({.mem = mem, .reduce = reduction::values}, [&o, b](run& r) {
    auto& w = r.make<world<atomics>>(2, 1);
    r.thread("receiver", [&w] {
      if (w.park_receiver(1)) {
        w.park.sleep();
        w.park.word.store(park_word(2, park_state::running), std::memory_order_release);
      }
      w.in_frame.store(0, std::memory_order_relaxed);
      w.given.store(true, std::memory_order_release);
      if (w.park_receiver(3)) w.go_on(4);
      w.completed.store(true, std::memory_order_release);
    });
    r.thread("friend", [&w] {
      w.wake(true);
      w.total.fetch_sub(1, std::memory_order_acq_rel);
      while (!w.given.load(std::memory_order_acquire)) model::pause();
      w.wake(true);
      w.total.fetch_sub(1, std::memory_order_acq_rel);
    });
    r.thread("marker", [b, &w] { w.mark(b, false); });
    r.finally([&o, &w] { never_wrong(w, o.judged_ever); });
  });
  return o;
}

// The last sender's drop is itself what completes the wait. With one count for both purposes, zero must be read as
// "ended"; or the waker holds a second handle until it has woken everybody.
outcome last_drop(bug b, bool one_count, memory mem = memory::tso) {
  outcome o;
  o.checked = check({.mem = mem, .reduce = reduction::values}, [=, &o](run& r) {
    auto& w = r.make<world<atomics>>(1, 0);
    r.thread("receiver", [&w] {
      if (w.park_receiver(1)) w.go_on(2);
    });
    r.thread("sender", [=, &w] {
      bool first = one_count || b == bug::counts_down_first;
      if (first) w.total.fetch_sub(1, std::memory_order_acq_rel);
      w.wake(true);  // stands for marking the channel ended
      if (!first) w.total.fetch_sub(1, std::memory_order_acq_rel);
    });
    r.thread("marker", [=, &w] { w.mark(b, one_count && b != bug::zero_is_not_satisfied); });
    r.finally([&o, &w] { never_wrong(w, o.judged_ever); });
  });
  return o;
}

TEST(leak_marker, nobody_whom_a_friend_will_wake_is_judged) {
  for (memory mem : {memory::tso, memory::pso}) {
    outcome o = friend_sends(bug::none, mem);
    EXPECT_PROVEN(o.checked);
    EXPECT_FALSE(o.judged_ever);
    EXPECT_PROVEN(handle_moves_out(bug::none, mem).checked);
  }
}

TEST(leak_marker, a_receiver_that_waits_for_itself_is_judged) {
  for (memory mem : {memory::tso, memory::pso}) {
    outcome o = friend_forgets(mem);
    EXPECT_PROVEN(o.checked);
    EXPECT_TRUE(o.judged_ever);
  }
}

TEST(leak_marker, the_last_drop_is_not_mistaken_for_a_leak) {
  for (memory mem : {memory::tso, memory::pso}) {
    EXPECT_PROVEN(last_drop(bug::none, false, mem).checked);
    EXPECT_PROVEN(last_drop(bug::none, true, mem).checked);
  }
}

TEST(leak_marker, a_count_that_drops_before_the_wake_gives_a_false_proof) {
  EXPECT_FOUND("judged leaked", friend_sends(bug::counts_down_first).checked);
  EXPECT_FOUND("judged leaked", last_drop(bug::counts_down_first, false).checked);
}

TEST(leak_marker, no_sender_left_read_as_no_capability_gives_a_false_proof) {
  EXPECT_FOUND("judged leaked", last_drop(bug::zero_is_not_satisfied, true).checked);
}

TEST(leak_marker, totals_read_before_the_scan_give_a_false_proof) {
  EXPECT_FOUND("judged leaked", friend_sends(bug::totals_before_scan).checked);
}

TEST(leak_marker, epochs_read_before_the_totals_give_a_false_proof) {
  EXPECT_FOUND("judged leaked", friend_sends(bug::epochs_before_totals).checked);
}

TEST(leak_marker, without_epochs_a_moved_handle_gives_a_false_proof) {
  EXPECT_FOUND("judged leaked", handle_moves_out(bug::no_epochs).checked);
}

}  // namespace
