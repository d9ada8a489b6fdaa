// leash::spawn_stack itself: the owner takes the newest, thieves the oldest. Every item is taken exactly once.
#include <leash/spawn_stack.hpp>

#include "broken_atomics.hpp"
#include "expect.hpp"
#include "items.hpp"

namespace {

using namespace model;

struct config {
  const char* script;  // of the owner: 'p' pushes a new item, 'o' pops, 's' takes the oldest, as a thief
  int thieves = 1;
  int steals = 1;  // of each
  memory mem = memory::tso;
  bool alone = false;  // what the owner believes
};

template <std::size_t Capacity, class A>
struct world : items {
  leash::spawn_stack<item, Capacity, A> stack;
  void act(char what, bool alone) {
    switch (what) {
      case 'p': {
        item* i = items::next();
        if (!stack.push(i)) take(i);  // full: the overflow queue's business
        return;
      }
      case 'o':
        return take(stack.pop(alone));
      case 's':
        return take(stack.steal());
    }
  }
};

template <std::size_t Capacity, class A = atomics>
model::result steal_while(config c) {
  return check({.mem = c.mem, .reduce = reduction::values}, [=](run& r) {
    auto& w = r.make<world<Capacity, A>>();
    int pushed = 0;
    for (const char* s = c.script; *s != '\0'; ++s) pushed += *s == 'p';
    r.thread("owner", [=, &w] {
      for (const char* s = c.script; *s != '\0'; ++s) w.act(*s, c.alone);
    });
    for (int t = 0; t < c.thieves; ++t)
      r.thread(t == 0 ? "thief 1" : "thief 2", [=, &w] {
        for (int i = 0; i < c.steals; ++i) w.take(w.stack.steal());
      });
    r.finally([=, &w] {
      while (item* i = w.stack.pop(true)) w.take(i);
      require(w.stack.empty(), "not empty");
      w.all_taken(pushed);
    });
  });
}

constexpr memory all_memories[] = {memory::sc, memory::tso, memory::pso};

TEST(spawn_stack, the_last_item_goes_to_the_owner_or_a_thief) {
  for (memory mem : all_memories) {
    EXPECT_PROVEN(steal_while<2>({.script = "po", .mem = mem}));
    EXPECT_PROVEN(steal_while<2>({.script = "po", .thieves = 2, .mem = mem}));
    EXPECT_PROVEN(steal_while<2>({.script = "popo", .steals = 2, .mem = mem}));
  }
}

TEST(spawn_stack, owner_and_thief_take_every_item_once) {
  for (memory mem : all_memories) {
    EXPECT_PROVEN(steal_while<2>({.script = "ppopoo", .mem = mem}));
    EXPECT_PROVEN(steal_while<4>({.script = "pppooo", .steals = 2, .mem = mem}));
  }
}

TEST(spawn_stack, its_slots_are_used_again) {
  for (memory mem : all_memories) {
    EXPECT_PROVEN(steal_while<2>({.script = "ppppoo", .steals = 2, .mem = mem}));
    EXPECT_PROVEN(steal_while<2>({.script = "pspspo", .mem = mem}));
  }
}

TEST(spawn_stack, two_thieves_take_every_item_once) {
  EXPECT_PROVEN(steal_while<2>({.script = "ppoo", .thieves = 2}));
  EXPECT_PROVEN(steal_while<4>({.script = "pppoo", .thieves = 2}));
  if (long_run()) {
    EXPECT_PROVEN(steal_while<2>({.script = "ppopoo", .thieves = 2, .steals = 2}));
    EXPECT_PROVEN(steal_while<4>({.script = "pppooo", .thieves = 2, .mem = memory::pso}));
  }
}

TEST(spawn_stack, an_owner_alone_needs_no_fence) {
  EXPECT_PROVEN(steal_while<2>({.script = "ppopoo", .thieves = 0, .alone = true}));
}

TEST(spawn_stack, an_owner_that_announces_by_a_store_is_found) {
  for (memory mem : {memory::tso, memory::pso})
    EXPECT_FOUND("data race", steal_while<2, exchange_by_store>({.script = "ppoo", .steals = 2, .mem = mem}));
  EXPECT_PROVEN(steal_while<2, exchange_by_store>({.script = "ppoo", .steals = 2, .mem = memory::sc}));
}

TEST(spawn_stack, an_owner_that_believes_to_be_alone_is_found) {
  EXPECT_FOUND("data race", steal_while<2>({.script = "ppoo", .steals = 2, .alone = true}));
}

TEST(spawn_stack, relaxed_stores_are_found) {
  EXPECT_FOUND("data race", steal_while<2, relaxed_stores>({.script = "p"}));
  EXPECT_FOUND("", steal_while<2, relaxed_stores>({.script = "pp", .mem = memory::pso}));
}

TEST(spawn_stack, relaxed_loads_are_found) {
  EXPECT_FOUND("data race", steal_while<2, relaxed_loads>({.script = "p"}));
}

TEST(spawn_stack, a_torn_exchange_is_found) {
  EXPECT_FOUND("data race", steal_while<2, torn_exchange>({.script = "po"}));
  EXPECT_FOUND("data race", steal_while<2, torn_exchange>({.script = "p", .thieves = 2}));
}

}  // namespace
