// A bounded run queue in the manner of Go's: the owner pushes at the tail and pops at the head, thieves take half at
// the head, and one item sits in `next`, ahead of the queue. Every item is taken exactly once.
#include "expect.hpp"
#include "model.hpp"

namespace {

using namespace model;

enum class bug {
  none,
  copies_after_claiming,  // the thief moves the head first: the owner may already have reused the slots
  pops_without_cas,       // the owner stores the head
  relaxed_tail,           // the tail may be seen before the item
  next_by_load_and_store,
  steals_without_cas,
  pushes_when_full,
};

template <class A>
struct run_queue {
  static constexpr std::uint32_t capacity = 4;
  typename A::template atomic<std::uint32_t> head, tail;
  typename A::template atomic<std::uint8_t>
      slot[capacity];  // atomic: a thief that will lose the CAS may read one that is being written
  typename A::template atomic<std::uint8_t> next{0};

  explicit run_queue(std::uint32_t start) : head(start), tail(start) {
    name(head, "head");
    name(tail, "tail");
    name(next, "next");
    for (auto& s : slot) name(s, "slot");
  }

  // Owner only. What was in `next` is kicked out into the queue; false if that is full (then the caller still has
  // `kicked`).
  bool push_next(std::uint8_t item, std::uint8_t& kicked, bug b) {
    if (b == bug::next_by_load_and_store) {
      kicked = next.load(std::memory_order_relaxed);
      next.store(item, std::memory_order_release);
    } else {
      kicked = next.exchange(item, std::memory_order_acq_rel);
    }
    return kicked == 0 || push(kicked, b);
  }

  // Owner only.
  bool push(std::uint8_t item, bug b) {
    std::uint32_t t = tail.load(std::memory_order_relaxed);
    if (t - head.load(std::memory_order_acquire) >= capacity && b != bug::pushes_when_full) return false;
    slot[t % capacity].store(item, std::memory_order_relaxed);
    tail.store(t + 1, b == bug::relaxed_tail ? std::memory_order_relaxed : std::memory_order_release);
    return true;
  }

  // Owner only. 0: empty.
  std::uint8_t pop(bug b) {
    if (std::uint8_t item = take_next(b)) return item;
    std::uint32_t h = head.load(std::memory_order_acquire);
    for (;;) {
      if (h == tail.load(std::memory_order_relaxed)) return 0;
      std::uint8_t item = slot[h % capacity].load(std::memory_order_relaxed);
      if (b == bug::pops_without_cas) {
        head.store(h + 1, std::memory_order_release);
        return item;
      }
      if (head.compare_exchange_strong(h, h + 1, std::memory_order_acq_rel, std::memory_order_acquire)) return item;
    }
  }

  // Anybody. Half of the queue, or else what is in `next`; returns how many.
  std::uint32_t steal(std::uint8_t (&loot)[capacity], bug b) {
    std::uint32_t h = head.load(std::memory_order_acquire);
    for (;;) {
      std::uint32_t n = tail.load(std::memory_order_acquire) - h;
      n -= n / 2;
      if (n == 0) {
        loot[0] = take_next(b);
        return loot[0] != 0;
      }
      if (n > capacity / 2) {  // the two were not read together
        h = head.load(std::memory_order_acquire);
        continue;
      }
      if (b != bug::copies_after_claiming) copy(h, n, loot);
      if (b == bug::steals_without_cas)
        head.store(h + n, std::memory_order_release);
      else if (!head.compare_exchange_strong(h, h + n, std::memory_order_acq_rel, std::memory_order_acquire))
        continue;
      if (b == bug::copies_after_claiming) copy(h, n, loot);
      return n;
    }
  }

 private:
  std::uint8_t take_next(bug b) {
    if (next.load(std::memory_order_relaxed) == 0) return 0;
    if (b != bug::next_by_load_and_store) return next.exchange(0, std::memory_order_acq_rel);
    std::uint8_t item = next.load(std::memory_order_acquire);
    next.store(0, std::memory_order_release);
    return item;
  }
  void copy(std::uint32_t h, std::uint32_t n, std::uint8_t (&loot)[capacity]) {
    for (std::uint32_t i = 0; i < n; ++i) loot[i] = slot[(h + i) % capacity].load(std::memory_order_relaxed);
  }
};

template <class A>
struct world {
  run_queue<A> queue;
  // One cell per item, so that takers of different items stay independent of each other.
  typename A::template var<bool> taken[9]{};
  explicit world(std::uint32_t start) : queue(start) {
    for (auto& t : taken) name(t, "taken");
  }
  // Twice by unordered takers is a data race; twice by ordered ones is found here.
  void take(std::uint8_t item) {
    if (item == 0) return;
    require(item < 9, "not an item");
    require(!taken[item], "an item was taken twice");
    taken[item] = true;
  }
};

struct config {
  const char* script;  // of the owner: 'p' pushes a new item, 'n' pushes one as next, 'o' pops
  int thieves = 1;
  int steals = 1;  // of each
  memory mem = memory::tso;
};

model::result steal_while(config c, bug b = bug::none) {
  return check({.mem = c.mem, .reduce = reduction::values}, [=](run& r) {
    auto& w = r.make<world<atomics>>(~std::uint32_t{0} - 1);  // the indices wrap around
    std::uint8_t items = 0;
    for (const char* s = c.script; *s != '\0'; ++s) items += *s != 'o';
    r.thread("owner", [=, &w] {
      std::uint8_t item = 0;
      for (const char* s = c.script; *s != '\0'; ++s) {
        std::uint8_t kicked = 0;
        if (*s == 'o')
          w.take(w.queue.pop(b));
        else if (*s == 'p' && !w.queue.push(++item, b))
          w.take(item);  // full: the overflow list's business
        else if (*s == 'n' && !w.queue.push_next(++item, kicked, b))
          w.take(kicked);
      }
    });
    for (int t = 0; t < c.thieves; ++t)
      r.thread(t == 0 ? "thief 1" : "thief 2", [=, &w] {
        std::uint8_t loot[4] = {};
        for (int i = 0; i < c.steals; ++i) {
          std::uint32_t n = w.queue.steal(loot, b);
          for (std::uint32_t k = 0; k < n; ++k) w.take(loot[k]);
        }
      });
    r.finally([=, &w] {
      while (std::uint8_t item = w.queue.pop(b)) w.take(item);
      for (std::uint8_t i = 1; i <= items; ++i) require(w.taken[i], "an item was lost");
    });
  });
}

TEST(run_queue, owner_and_thief_take_every_item_once) {
  EXPECT_PROVEN(steal_while({.script = "ppopop", .steals = 2}));
  EXPECT_PROVEN(steal_while({.script = "ppppooo"}));
  EXPECT_PROVEN(steal_while({.script = "ppopo", .mem = memory::pso}));
}

TEST(run_queue, two_thieves_take_every_item_once) {
  EXPECT_PROVEN(steal_while({.script = "pppo", .thieves = 2}));
  if (long_run()) {
    EXPECT_PROVEN(steal_while({.script = "ppppopo", .thieves = 2}));
    EXPECT_PROVEN(steal_while({.script = "ppopo", .thieves = 2, .steals = 2, .mem = memory::pso}));
  }
}

TEST(run_queue, an_overfull_queue_gives_the_item_back) {
  EXPECT_PROVEN(steal_while({.script = "pppppp"}));
  EXPECT_PROVEN(steal_while({.script = "ppppnno"}));
}

TEST(run_queue, the_next_slot_is_taken_once) {
  EXPECT_PROVEN(steal_while({.script = "nonno", .steals = 2}));
  EXPECT_PROVEN(steal_while({.script = "nno", .thieves = 2}));
  EXPECT_PROVEN(steal_while({.script = "nno", .mem = memory::pso}));
}

TEST(run_queue, a_thief_that_copies_after_claiming_is_found) {
  EXPECT_FOUND("taken twice", steal_while({.script = "pppppp"}, bug::copies_after_claiming));
}

TEST(run_queue, an_owner_that_pops_without_a_cas_is_found) {
  EXPECT_FOUND("data race", steal_while({.script = "ppo"}, bug::pops_without_cas));
}

TEST(run_queue, a_thief_that_steals_without_a_cas_is_found) {
  EXPECT_FOUND("data race", steal_while({.script = "pp", .thieves = 2}, bug::steals_without_cas));
}

TEST(run_queue, a_relaxed_tail_is_found_where_stores_are_weak) {
  EXPECT_FOUND("lost", steal_while({.script = "pp", .mem = memory::pso}, bug::relaxed_tail));
}

TEST(run_queue, a_next_slot_taken_by_load_and_store_is_found) {
  EXPECT_FOUND("data race", steal_while({.script = "no"}, bug::next_by_load_and_store));
}

TEST(run_queue, an_owner_that_overwrites_a_full_queue_is_found) {
  EXPECT_FOUND("taken twice", steal_while({.script = "ppppp"}, bug::pushes_when_full));
}

}  // namespace
