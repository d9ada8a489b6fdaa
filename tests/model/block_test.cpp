// leash::block_counts itself: owners and watchers of a block come, go and turn into one another. The value is destroyed
// once, by its last owner; the block is freed once, after that; nobody revives a value that is gone; and the leak marker,
// which reads the counts meanwhile, misses nobody who turns from one into the other.
#include <leash/block_counts.hpp>
#include <optional>
#include <utility>

#include "broken_atomics.hpp"
#include "expect.hpp"

namespace {

using namespace model;

template <class A>
using real = leash::block_counts<A>;

// Copies with one step wrong that no policy can break.
struct revives_blindly : real<atomics> {
  bool revive() {
    add_owner();
    return true;
  }
};

struct revives_in_two_steps : real<atomics> {
  bool revive() {
    if (owners() == 0) return false;
    add_owner();
    return true;
  }
};

struct looks_after_dropping : real<atomics> {
  bool drop_owner() {
    word.fetch_sub(one_owner, std::memory_order_acq_rel);
    return owners() == 0;
  }
};

struct watcher_drops_its_side_first : real<atomics> {
  bool drop_watcher() {
    bool const last = drop_side();
    word.fetch_sub(one_watcher, std::memory_order_release);
    return last;
  }
};

struct watcher_without_a_side : real<atomics> {
  void add_watcher() { word.fetch_add(one_watcher, std::memory_order_relaxed); }
  bool drop_watcher() {
    word.fetch_sub(one_watcher, std::memory_order_release);
    return false;
  }
};

// Without sides: whoever finds the word empty frees.
struct frees_by_the_word : real<atomics> {
  bool drop_watcher() {
    word.fetch_sub(one_watcher, std::memory_order_acq_rel);
    return word.load(std::memory_order_acquire) == 0;
  }
  bool drop_side() { return word.load(std::memory_order_acquire) == 0; }
};

enum class order { as_it_is, frees_before_it_destroys };

template <class Counts>
struct block {
  std::optional<Counts> counts{std::in_place};
  var<bool> value{true};   // there
  var<bool> memory{true};  // not freed
  atomic<int> destroyed{0}, freed{0};

  block() {
    name(counts->word, "word");
    name(counts->sides, "sides");
    name(value, "value");
    name(memory, "memory");
  }

  Counts& use() {
    require(memory, "used after it was freed");
    return *counts;
  }
  void use_value() { require(value, "the value was used after it was destroyed"); }

  void free() {
    require(memory, "freed twice");
    require(!value, "freed with its value");
    memory = false;
    counts.reset();
    freed.fetch_add(1, std::memory_order_relaxed);
  }
  void destroy() {
    require(value, "destroyed twice");
    value = false;
    destroyed.fetch_add(1, std::memory_order_relaxed);
  }
  // As block_core does it.
  void drop_owner(order o) {
    if (!use().drop_owner()) return;
    if (o == order::as_it_is) destroy();
    bool const last = use().drop_side();
    if (last) free();
    if (o != order::as_it_is) destroy();
  }
  void drop_watcher() {
    if (use().drop_watcher()) free();
  }

  // 'u' uses the value, 'c' copies an owner, 'w' makes a watcher of it, 'd' drops one; 'x' drops a watcher, 'r' tries to
  // make an owner of it (what follows up to ')' is done only with one).
  void act(const char* s, order o) {
    for (; *s != '\0'; ++s) switch (*s) {
        case 'u':
          use_value();
          break;
        case 'c':
          use().add_owner();
          break;
        case 'w':
          use().add_watcher();
          break;
        case 'd':
          drop_owner(o);
          break;
        case 'x':
          drop_watcher();
          break;
        case 'r':
          if (!use().revive())
            while (*s != ')') ++s;
          break;
      }
  }
};

struct config {
  const char* script[3];  // of each thread; "o:.." begins with an owner, "w:.." with a watcher
  memory mem = memory::tso;
  order steps = order::as_it_is;
};

template <class Counts>
model::result share(config c) {
  return check({.mem = c.mem, .reduce = reduction::values}, [=](run& r) {
    auto& b = r.make<block<Counts>>();
    b.counts->first_owner();
    bool first = true;
    for (const char* s : c.script) {
      if (s == nullptr) continue;
      if (s[0] == 'w')
        b.counts->add_watcher();
      else if (!std::exchange(first, false))
        b.counts->add_owner();
    }
    for (const char* s : c.script)
      if (s != nullptr) r.thread(s, [=, &b] { b.act(s + 2, c.steps); });
    r.finally([&b] {
      require(b.destroyed.load() == 1, "the value was not destroyed once");
      require(b.freed.load() == 1, "the block was not freed once");
    });
  });
}

constexpr memory all_memories[] = {memory::sc, memory::tso, memory::pso};

TEST(block, the_last_owner_destroys_the_value_once) {
  for (memory mem : all_memories) {
    EXPECT_PROVEN(share<real<atomics>>({.script = {"o:ud", "o:ud"}, .mem = mem}));
    EXPECT_PROVEN(share<real<atomics>>({.script = {"o:ud", "o:ucdud", "o:ud"}, .mem = mem}));
  }
}

TEST(block, the_last_handle_of_any_kind_frees_it_once) {
  for (memory mem : all_memories) {
    EXPECT_PROVEN(share<real<atomics>>({.script = {"o:ud", "w:x", "w:x"}, .mem = mem}));
    EXPECT_PROVEN(share<real<atomics>>({.script = {"o:wudx", "o:ud", "w:x"}, .mem = mem}));
  }
}

TEST(block, a_watcher_revives_only_what_is_there) {
  for (memory mem : all_memories) {
    EXPECT_PROVEN(share<real<atomics>>({.script = {"o:ud", "w:rud)x"}, .mem = mem}));
    EXPECT_PROVEN(share<real<atomics>>({.script = {"o:ud", "w:rud)x", "w:rud)x"}, .mem = mem}));
  }
  EXPECT_PROVEN(share<real<atomics>>({.script = {"o:d", "o:wdrud)x", "w:rud)x"}}));
  if (long_run()) EXPECT_PROVEN(share<real<atomics>>({.script = {"o:ud", "o:wdrud)x", "w:rxuwd)x"}}));
}

TEST(block, updates_that_publish_nothing_are_found) {
  EXPECT_FOUND("data race", share<real<relaxed_updates>>({.script = {"o:ud", "o:ud"}}));
  EXPECT_FOUND("data race", share<real<relaxed_updates>>({.script = {"o:ud", "w:x"}}));
}

TEST(block, updates_that_see_nothing_are_found) {
  EXPECT_FOUND("data race", share<real<updates_with<std::memory_order_release>>>({.script = {"o:ud", "o:ud"}}));
  EXPECT_FOUND("data race", share<real<updates_with<std::memory_order_acquire>>>({.script = {"o:ud", "o:ud"}}));
}

TEST(block, a_torn_revival_is_found) { EXPECT_FOUND("", share<real<torn_exchange>>({.script = {"o:ud", "w:rud)x"}})); }

TEST(block, a_revival_that_does_not_look_is_found) {
  EXPECT_FOUND("value", share<revives_blindly>({.script = {"o:ud", "w:rud)x"}}));
}

TEST(block, a_revival_that_looks_first_and_counts_then_is_found) {
  EXPECT_FOUND("value", share<revives_in_two_steps>({.script = {"o:ud", "w:rud)x"}}));
}

TEST(block, an_owner_that_looks_after_it_dropped_is_found) {
  EXPECT_FOUND("", share<looks_after_dropping>({.script = {"o:ud", "o:ud"}}));
}

TEST(block, a_watcher_that_drops_its_side_first_is_found) {
  EXPECT_FOUND("", share<watcher_drops_its_side_first>({.script = {"o:ud", "w:x"}}));
}

TEST(block, a_watcher_that_is_no_side_is_found) {
  EXPECT_FOUND("", share<watcher_without_a_side>({.script = {"o:ud", "w:x"}}));
}

TEST(block, freeing_by_the_word_alone_is_found) {
  EXPECT_FOUND("", share<frees_by_the_word>({.script = {"o:ud", "w:x"}}));
}

TEST(block, freeing_before_destroying_is_found) {
  EXPECT_FOUND("freed with its value",
               share<real<atomics>>({.script = {"o:ud"}, .steps = order::frees_before_it_destroys}));
}

// --- the marker

// As block_counts was with a word for each kind.
struct two_words {
  atomic<std::uint32_t> owners_{0}, watchers_{0};
  void first_owner() { owners_.store(1, std::memory_order_release); }
  void add_owner() { owners_.fetch_add(1, std::memory_order_relaxed); }
  void add_watcher() { watchers_.fetch_add(1, std::memory_order_relaxed); }
  bool drop_owner() { return owners_.fetch_sub(1, std::memory_order_acq_rel) == 1; }
  bool drop_watcher() {
    watchers_.fetch_sub(1, std::memory_order_release);
    return false;
  }
  bool revive() {
    std::uint32_t n = owners_.load(std::memory_order_relaxed);
    while (n != 0)
      if (owners_.compare_exchange_weak(n, n + 1, std::memory_order_acquire, std::memory_order_relaxed)) return true;
    return false;
  }
};

struct totals {
  std::uint32_t owners, watchers;
};
totals read(const real<atomics>& c) {
  std::uint64_t const w = c.word.load(std::memory_order_relaxed);
  return {real<atomics>::owners_in(w), real<atomics>::watchers_in(w)};
}
totals read(const two_words& c) {
  std::uint32_t const owners = c.owners_.load(std::memory_order_acquire);
  return {owners, c.watchers_.load(std::memory_order_acquire)};
}

// One handle lies in a frozen frame; another one belongs to somebody who runs. With as many handles as it has found, the
// marker believes that nobody else has one.
template <class Counts>
model::result mark_while(const char* script, memory mem = memory::tso) {
  return check({.mem = mem, .reduce = reduction::values}, [=](run& r) {
    auto& c = r.make<Counts>();
    c.first_owner();
    script[0] == 'w' ? c.add_watcher() : c.add_owner();
    r.thread("holder", [=, &c] {
      for (const char* s = script + 2; *s != '\0'; ++s) switch (*s) {
          case 'w':
            c.add_watcher();
            break;
          case 'd':
            require(!c.drop_owner(), "the frozen owner was lost");
            break;
          case 'r':
            require(c.revive(), "the frozen owner was lost");
            break;
          case 'x':
            require(!c.drop_watcher(), "freed");
            break;
        }
    });
    r.thread("marker", [&c] {
      totals const t = read(c);
      require(t.owners != 1 || t.watchers != 0, "judged leaked");
    });
  });
}

TEST(block, the_marker_misses_nobody_who_changes_kinds) {
  for (memory mem : all_memories) {
    EXPECT_PROVEN(mark_while<real<atomics>>("w:rx", mem));
    EXPECT_PROVEN(mark_while<real<atomics>>("w:rxwdrx", mem));
    EXPECT_PROVEN(mark_while<real<atomics>>("o:wdrx", mem));
  }
}

TEST(block, owners_and_watchers_in_two_words_give_a_false_proof) {
  EXPECT_FOUND("judged leaked", mark_while<two_words>("w:rx"));
}

TEST(block, a_holder_that_drops_one_kind_before_it_has_the_other_gives_a_false_proof) {
  EXPECT_FOUND("judged leaked", mark_while<real<atomics>>("o:dw"));
}

}  // namespace
