// The park word and the queues of waiters, shared by the protocol models.
//
// word = epoch << 2 | state. One wait is one epoch:
//   running   -> parked     the owner, a plain release store
//   parked    -> won        a waker, by CAS
//   parked    -> cancelled  the canceller or the owner itself, by CAS
//   any       -> running, epoch + 1: the owner, after it has gone on
// Whoever wins the CAS resumes the owner (unless it is the owner), exactly once.
#pragma once

#include <cstdint>

#include "model.hpp"

namespace model {

enum class park_state : std::uint32_t { running, parked, won, cancelled };

constexpr std::uint32_t park_word(std::uint32_t epoch, park_state s) {
  return epoch << 2 | static_cast<std::uint32_t>(s);
}

template <class A>
struct parker {
  typename A::template atomic<std::uint32_t> word{park_word(0, park_state::running)};
  typename A::template atomic<std::uint32_t> runnable{0};  // stands for the run queue that the owner is put on
  typename A::template var<int> slot{0};                   // the winning waker leaves its value here

  parker() {
    name(word, "park word");
    name(runnable, "runnable");
    name(slot, "slot");
  }

  bool settle(std::uint32_t epoch, park_state how) {
    std::uint32_t expected = park_word(epoch, park_state::parked);
    return word.compare_exchange_strong(expected, park_word(epoch, how), std::memory_order_acq_rel,
                                        std::memory_order_relaxed);
  }
  void resume() { require(runnable.fetch_add(1, std::memory_order_release) == 0, "resumed twice"); }
  void sleep() { runnable.await_exchange(1, 0, std::memory_order_acquire); }
  park_state state() const { return static_cast<park_state>(word.load(std::memory_order_relaxed) & 3); }
};

// A place in one queue. All of it belongs to the queue's lock.
template <class A>
struct wait_node {
  typename A::template var<parker<A>*> who{nullptr};
  typename A::template var<std::uint32_t> epoch{0};
  typename A::template var<wait_node*> next{nullptr};
  typename A::template var<bool> queued{false};
  wait_node() {
    name(who, "node.who");
    name(epoch, "node.epoch");
    name(next, "node.next");
    name(queued, "node.queued");
  }
};

template <class A>
class wait_queue {
 public:
  using node = wait_node<A>;
  wait_queue() { name(first_, "first waiter"); }
  bool empty() const { return first_.get() == nullptr; }
  node* front() const { return first_.get(); }
  void push(node& n, parker<A>& who, std::uint32_t epoch) {
    n.who = &who;
    n.epoch = epoch;
    n.next = nullptr;
    n.queued = true;
    if (empty()) {
      first_ = &n;
      return;
    }
    node* last = first_;
    while (last->next.get() != nullptr) last = last->next;
    last->next = &n;
  }
  node* pop() {
    node* n = first_;
    if (n == nullptr) return nullptr;
    first_ = n->next.get();
    n->queued = false;
    return n;
  }
  void remove(node& n) {
    if (!n.queued) return;
    n.queued = false;
    if (first_.get() == &n) {
      first_ = n.next.get();
      return;
    }
    node* before = first_;
    while (before->next.get() != &n) before = before->next;
    before->next = n.next.get();
  }

 private:
  typename A::template var<node*> first_{nullptr};
};

}  // namespace model
