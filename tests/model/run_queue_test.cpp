// leash::run_queue itself: the owner pushes at the tail and pops at the head, thieves take half at the head. And the
// `next` slot before it, which the owner fills and the sentry may empty. Every item is taken exactly once.
#include <cstring>
#include <leash/next_slot.hpp>
#include <leash/run_queue.hpp>

#include "broken_atomics.hpp"
#include "expect.hpp"
#include "items.hpp"

namespace {

using namespace model;

template <class A, std::size_t Capacity>
using real = leash::run_queue<item, Capacity, A>;

enum class bug {
  copies_after_claiming,  // the thief moves the head first: the owner may already have reused the slots
  pops_without_cas,       // the owner stores the head
  steals_without_cas,
  pushes_when_full,
};

// A copy with one thing broken that no policy can break.
template <bug B, std::size_t Capacity>
struct twin {
  atomic<std::uint32_t> head, tail;
  atomic<item*> slot[Capacity]{};
  explicit twin(std::uint32_t first) : head(first), tail(first) {}

  bool push(item* i) {
    std::uint32_t const t = tail.load(std::memory_order_relaxed);
    if (t - head.load(std::memory_order_acquire) >= Capacity && B != bug::pushes_when_full) return false;
    slot[t % Capacity].store(i, std::memory_order_relaxed);
    tail.store(t + 1, std::memory_order_release);
    return true;
  }
  item* pop() {
    std::uint32_t h = head.load(std::memory_order_acquire);
    for (;;) {
      if (h == tail.load(std::memory_order_relaxed)) return nullptr;
      item* i = slot[h % Capacity].load(std::memory_order_relaxed);
      if (B == bug::pops_without_cas) {
        head.store(h + 1, std::memory_order_release);
        return i;
      }
      if (head.compare_exchange_weak(h, h + 1, std::memory_order_acq_rel, std::memory_order_acquire)) return i;
    }
  }
  std::uint32_t steal(item** out, std::uint32_t at_most) {
    std::uint32_t h = head.load(std::memory_order_acquire);
    for (;;) {
      std::uint32_t n = tail.load(std::memory_order_acquire) - h;
      if (n > Capacity) {
        h = head.load(std::memory_order_acquire);
        continue;
      }
      n = n - n / 2;
      if (n > at_most) n = at_most;
      if (n == 0) return 0;
      auto copy = [&] {
        for (std::uint32_t i = 0; i < n; ++i) out[i] = slot[(h + i) % Capacity].load(std::memory_order_relaxed);
      };
      if (B != bug::copies_after_claiming) copy();
      if (B == bug::steals_without_cas)
        head.store(h + n, std::memory_order_release);
      else if (!head.compare_exchange_weak(h, h + n, std::memory_order_acq_rel, std::memory_order_acquire))
        continue;
      if (B == bug::copies_after_claiming) copy();
      return n;
    }
  }
};

struct config {
  const char* script;  // of the owner: 'p' pushes a new item, 'n' makes one the next, 'o' pops, 'h' gives half away
  int thieves = 1;
  int steals = 1;  // of each
  bool sentry = false;
  memory mem = memory::tso;
};

template <class Queue, class A>
struct world : items {
  Queue queue{~std::uint32_t{0} - 1};  // the indices wrap around
  leash::next_slot<item, A> next;

  void push(item* i) {
    if (!queue.push(i)) take(i);  // full: the overflow queue's business
  }
  void steal(std::uint32_t at_most) {
    item* out[most];
    std::uint32_t const n = queue.steal(out, at_most);
    for (std::uint32_t k = 0; k < n; ++k) take(out[k]);
  }
  void act(char what) {
    switch (what) {
      case 'p':
        return push(items::next());
      case 'n':
        if (item* before = next.exchange(items::next())) push(before);
        return;
      case 'o':
        if (item* i = next.take()) return take(i);
        return take(queue.pop());
      case 'h':
        return steal(most);
    }
  }
};

template <class Queue, class A = atomics>
model::result steal_while(config c) {
  return check({.mem = c.mem, .reduce = reduction::values}, [=](run& r) {
    auto& w = r.make<world<Queue, A>>();
    int pushed = 0;
    for (const char* s = c.script; *s != '\0'; ++s) pushed += *s == 'p' || *s == 'n';
    r.thread("owner", [=, &w] {
      for (const char* s = c.script; *s != '\0'; ++s) w.act(*s);
    });
    for (int t = 0; t < c.thieves; ++t)
      r.thread(t == 0 ? "thief 1" : "thief 2", [=, &w] {
        for (int i = 0; i < c.steals; ++i) w.steal(items::most);
      });
    if (c.sentry) r.thread("sentry", [&w] { w.take(w.next.steal()); });
    r.finally([=, &w] {
      w.take(w.next.take());
      while (item* i = w.queue.pop()) w.take(i);
      w.all_taken(pushed);
    });
  });
}

template <std::size_t Capacity, class A = atomics>
model::result real_queue(config c) {
  return steal_while<real<A, Capacity>, A>(c);
}

TEST(run_queue, owner_and_thief_take_every_item_once) {
  for (memory mem : {memory::sc, memory::tso, memory::pso}) {
    EXPECT_PROVEN(real_queue<2>({.script = "ppopo", .mem = mem}));
    EXPECT_PROVEN(real_queue<4>({.script = "ppopo", .mem = mem}));
  }
  EXPECT_PROVEN(real_queue<2>({.script = "ppopop", .steals = 2}));
  EXPECT_PROVEN(real_queue<4>({.script = "ppppooo", .steals = 2}));
}

TEST(run_queue, the_last_item_goes_to_the_owner_or_a_thief) {
  for (memory mem : {memory::sc, memory::tso, memory::pso})
    EXPECT_PROVEN(real_queue<2>({.script = "popo", .thieves = 2, .mem = mem}));
}

TEST(run_queue, two_thieves_take_every_item_once) {
  EXPECT_PROVEN(real_queue<4>({.script = "pppo", .thieves = 2}));
  EXPECT_PROVEN(real_queue<2>({.script = "ppop", .thieves = 2}));
  if (long_run()) {
    EXPECT_PROVEN(real_queue<4>({.script = "ppppopo", .thieves = 2}));
    EXPECT_PROVEN(real_queue<2>({.script = "ppopo", .thieves = 2, .steals = 2, .mem = memory::pso}));
  }
}

TEST(run_queue, an_overfull_queue_gives_the_item_back) {
  for (memory mem : {memory::sc, memory::tso, memory::pso})
    EXPECT_PROVEN(real_queue<2>({.script = "pppp", .mem = mem}));
  EXPECT_PROVEN(real_queue<4>({.script = "pppppp"}));
}

TEST(run_queue, its_owner_gives_half_away) {
  EXPECT_PROVEN(real_queue<2>({.script = "pphp"}));
  EXPECT_PROVEN(real_queue<4>({.script = "pppphpo", .thieves = 2}));
}

TEST(run_queue, the_next_slot_is_taken_once) {
  EXPECT_PROVEN(real_queue<2>({.script = "nno", .sentry = true}));
  if (!long_run()) return;
  EXPECT_PROVEN(real_queue<2>({.script = "nonno", .sentry = true}));
  EXPECT_PROVEN(real_queue<2>({.script = "nnno", .sentry = true, .mem = memory::pso}));
}

TEST(run_queue, relaxed_stores_are_found) {
  EXPECT_FOUND("data race", real_queue<2, relaxed_stores>({.script = "p"}));
  EXPECT_FOUND("", real_queue<2, relaxed_stores>({.script = "pp", .mem = memory::pso}));
}

TEST(run_queue, relaxed_loads_are_found) { EXPECT_FOUND("data race", real_queue<2, relaxed_loads>({.script = "p"})); }

TEST(run_queue, a_torn_exchange_is_found) {
  EXPECT_FOUND("data race", real_queue<2, torn_exchange>({.script = "po"}));
  EXPECT_FOUND("data race", real_queue<4, torn_exchange>({.script = "pp", .thieves = 2}));
}

TEST(run_queue, a_thief_that_copies_after_claiming_is_found) {
  EXPECT_FOUND("data race", steal_while<twin<bug::copies_after_claiming, 4>>({.script = "pppppp"}));
}

TEST(run_queue, an_owner_that_pops_without_a_cas_is_found) {
  EXPECT_FOUND("data race", steal_while<twin<bug::pops_without_cas, 4>>({.script = "ppo"}));
}

TEST(run_queue, a_thief_that_steals_without_a_cas_is_found) {
  EXPECT_FOUND("data race", steal_while<twin<bug::steals_without_cas, 4>>({.script = "pp", .thieves = 2}));
}

TEST(run_queue, an_owner_that_overwrites_a_full_queue_is_found) {
  EXPECT_FOUND("taken twice", steal_while<twin<bug::pushes_when_full, 4>>({.script = "ppppp"}));
}

}  // namespace
