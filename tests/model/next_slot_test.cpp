// leash::next_slot itself: its owner fills and empties it without a locked instruction, others take from it now and then.
// Every item is taken exactly once.
#include <leash/next_slot.hpp>

#include "broken_atomics.hpp"
#include "expect.hpp"
#include "items.hpp"

namespace {

using namespace model;

enum class bug {
  light_thief,      // takes without the heavy fence
  hurried_thief,    // takes though the owner is at it
  two_thieves,      // takes though another one wants to, and tells the owner first that nobody wants to any more
  blind_owner,      // does not look whether somebody wants to take
  late_owner,       // says that it is at it after it has looked
  stubborn_owner,   // loads and stores while somebody wants to take
  forgetful_thief,  // says that it wants to no more, and then takes
};

// A copy with one thing broken that no policy can break.
template <bug B>
struct twin {
  atomic<item*> slot{nullptr};
  atomic<bool> at_it{false}, wanted{false};

  item* exchange(item* i) {
    if (B != bug::late_owner) at_it.store(true, std::memory_order_relaxed);
    light_barrier();
    bool const others = B != bug::blind_owner && wanted.load(std::memory_order_acquire);
    if (B == bug::late_owner) at_it.store(true, std::memory_order_relaxed);
    item* before;
    if (!others || B == bug::stubborn_owner) {
      before = slot.load(std::memory_order_relaxed);
      slot.store(i, std::memory_order_release);
    } else {
      before = slot.exchange(i, std::memory_order_acq_rel);
    }
    at_it.store(false, std::memory_order_release);
    return before;
  }
  item* take() { return empty() ? nullptr : exchange(nullptr); }
  item* steal() {
    if (wanted.exchange(true, std::memory_order_acquire) && B != bug::two_thieves) return nullptr;
    if (B != bug::light_thief) heavy_barrier();
    item* i = nullptr;
    bool const free = B == bug::hurried_thief || !at_it.load(std::memory_order_acquire);
    if (B == bug::forgetful_thief) wanted.store(false, std::memory_order_release);
    if (free) i = slot.exchange(nullptr, std::memory_order_acq_rel);
    wanted.store(false, std::memory_order_release);
    return i;
  }
  bool empty() const { return slot.load(std::memory_order_relaxed) == nullptr; }
};

struct config {
  const char* script;  // of the owner: 'n' fills it with a new item, 'o' takes
  int thieves = 1;
  int steals = 1;  // of each
  memory mem = memory::tso;
};

template <class Slot>
struct world : items {
  Slot slot;
};

template <class Slot>
model::result steal_while(config c) {
  return check({.mem = c.mem, .reduce = reduction::values}, [=](run& r) {
    auto& w = r.make<world<Slot>>();
    int made = 0;
    for (const char* s = c.script; *s != '\0'; ++s) made += *s == 'n';
    r.thread("owner", [=, &w] {
      for (const char* s = c.script; *s != '\0'; ++s)
        w.take(*s == 'n' ? w.slot.exchange(w.items::next()) : w.slot.take());
    });
    for (int t = 0; t < c.thieves; ++t)
      r.thread(t == 0 ? "thief 1" : "thief 2", [=, &w] {
        // Looks, then takes.
        for (int i = 0; i < c.steals; ++i)
          if (!w.slot.empty()) w.take(w.slot.steal());
      });
    r.finally([=, &w] {
      w.take(w.slot.take());
      w.all_taken(made);
    });
  });
}
template <class A = atomics>
model::result real(config c) {
  return steal_while<leash::next_slot<item, A>>(c);
}

constexpr memory all_memories[] = {memory::sc, memory::tso, memory::pso};

TEST(next_slot, every_item_is_taken_once) {
  for (memory mem : all_memories) {
    EXPECT_PROVEN(real({.script = "no", .mem = mem}));
    EXPECT_PROVEN(real({.script = "nn", .mem = mem}));
    EXPECT_PROVEN(real({.script = "nonno", .mem = mem}));
    EXPECT_PROVEN(real({.script = "nonno", .steals = 2, .mem = mem}));
  }
}

TEST(next_slot, two_thieves_take_every_item_once) {
  for (memory mem : all_memories) EXPECT_PROVEN(real({.script = "nno", .thieves = 2, .mem = mem}));
  if (long_run()) EXPECT_PROVEN(real({.script = "nonno", .thieves = 2, .steals = 2}));
}

TEST(next_slot, each_part_is_needed) {
  EXPECT_FOUND("", steal_while<twin<bug::light_thief>>({.script = "nno"}));
  EXPECT_FOUND("", steal_while<twin<bug::hurried_thief>>({.script = "nno"}));
  EXPECT_FOUND("", steal_while<twin<bug::two_thieves>>({.script = "nno", .thieves = 2}));
  EXPECT_FOUND("", steal_while<twin<bug::blind_owner>>({.script = "nno"}));
  EXPECT_FOUND("", steal_while<twin<bug::late_owner>>({.script = "nno"}));
  EXPECT_FOUND("", steal_while<twin<bug::stubborn_owner>>({.script = "nno"}));
  EXPECT_FOUND("", steal_while<twin<bug::forgetful_thief>>({.script = "nno"}));
}

TEST(next_slot, a_torn_exchange_is_found) { EXPECT_FOUND("", real<torn_exchange>({.script = "nno"})); }

TEST(next_slot, relaxed_stores_are_found) { EXPECT_FOUND("data race", real<relaxed_stores>({.script = "n"})); }

}  // namespace
