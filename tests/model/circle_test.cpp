// Blocks that own each other, read by the leak marker while somebody who reaches them moves their handles about:
// leash::block_counts and leash::pass_note themselves. The marker reads block A, then block C, then the count of B and its
// note. Whoever still has a handle of its own must not find B judged.
#include <leash/block_counts.hpp>
#include <leash/pass_note.hpp>

#include "broken_atomics.hpp"
#include "expect.hpp"

namespace {

using namespace model;

// What a handle does to the block it refers to (B5 in shared.hpp), and twins with one step wrong.
struct as_it_is {
  static constexpr bool raises = true, notes = true, notes_first = true, keeps_the_newest = true;
};
struct moves_without_counting : as_it_is {
  static constexpr bool raises = false;
};
struct notes_nothing : as_it_is {
  static constexpr bool notes = false;
};
struct notes_too_late : as_it_is {
  static constexpr bool notes_first = false;
};
struct overwrites_the_note : as_it_is {
  static constexpr bool keeps_the_newest = false;
};

enum class start_of_pass { barrier, no_barrier };

struct blind_note {  // N1 broken
  atomic<std::uint32_t> n{0};
  void leave(const atomic<std::uint32_t>& pass) {
    std::uint32_t const now = pass.load(std::memory_order_relaxed);
    if (n.load(std::memory_order_relaxed) != now) n.store(now, std::memory_order_relaxed);
  }
  const auto& number() const { return n; }
};

template <class How>
struct world {
  using counts_of = leash::block_counts<atomics>;
  counts_of counts;  // of B
  std::conditional_t<How::keeps_the_newest, leash::pass_note<atomics>, blind_note> note;
  atomic<std::uint32_t> pass{1};
  atomic<int> in_a{1}, in_c{0};  // a handle to B lies there
  atomic<bool> judged{false};

  world() {
    name(counts.word, "word");
    name(pass, "pass");
    name(in_a, "A");
    name(in_c, "C");
    name(judged, "judged");
  }

  void copy_to(atomic<int>& to) {
    counts.add_owner();
    atomics::fence(std::memory_order_release);
    to.store(1, std::memory_order_relaxed);
  }
  void give_up(atomic<int>& from) {
    from.store(0, std::memory_order_relaxed);
    lower();
  }
  void lower() {
    if (How::notes && How::notes_first) note.leave(pass);
    (void)counts.drop_owner();
    if (How::notes && !How::notes_first) note.leave(pass);
  }
  void move(atomic<int>& from, atomic<int>& to) {
    if (How::raises) {
      copy_to(to);
      give_up(from);
    } else {
      from.store(0, std::memory_order_relaxed);
      to.store(1, std::memory_order_relaxed);
    }
  }
  // 'm' moves the handle from A to C, 'b' back; 'c' copies it from A to C, 'x' gives up the one in A, 'y' the one in C; 't'
  // takes it out of A to where nobody looks, 'p' puts it into C from there; 'u' uses a handle of its own, and 'd' drops it.
  void act(const char* s) {
    atomic<int> mine{0};
    for (; *s != '\0'; ++s) switch (*s) {
        case 'm':
          move(in_a, in_c);
          break;
        case 'b':
          move(in_c, in_a);
          break;
        case 'c':
          copy_to(in_c);
          break;
        case 'x':
          give_up(in_a);
          break;
        case 'y':
          give_up(in_c);
          break;
        case 't':
          move(in_a, mine);
          break;
        case 'p':  // from outside of tracked memory: as it was
          mine.store(0, std::memory_order_relaxed);
          in_c.store(1, std::memory_order_relaxed);
          break;
        case 'u':
          require(!judged.load(std::memory_order_relaxed), "judged leaked, then used");
          break;
        case 'd':
          lower();
          break;
      }
  }
  void mark(start_of_pass how) {
    pass.store(2, std::memory_order_relaxed);
    if (how == start_of_pass::barrier) heavy_barrier();
    int found = in_a.load(std::memory_order_relaxed);
    found += in_c.load(std::memory_order_relaxed);
    atomics::fence(std::memory_order_acquire);
    std::uint32_t const total = counts_of::owners_in(counts.word.load(std::memory_order_relaxed));
    atomics::fence(std::memory_order_acquire);
    if (total == static_cast<std::uint32_t>(found) && note.number().load(std::memory_order_relaxed) != 2)
      judged.store(true, std::memory_order_relaxed);
  }
};

struct config {
  const char* script[2];
  memory mem = memory::tso;
  start_of_pass begin = start_of_pass::barrier;
};

// Each thread has a handle to B of its own, and one lies in A.
template <class How>
model::result mark_while(config c) {
  return check({.mem = c.mem, .reduce = reduction::values}, [=](run& r) {
    auto& w = r.make<world<How>>();
    w.counts.first_owner();
    for (const char* s : c.script) {
      if (s == nullptr) continue;
      w.counts.add_owner();
      r.thread("holder", [=, &w] { w.act(s); });
    }
    r.thread("marker", [=, &w] { w.mark(c.begin); });
  });
}

constexpr memory all_memories[] = {memory::sc, memory::tso, memory::pso};

TEST(circle, who_moves_handles_about_is_never_judged) {
  for (memory mem : all_memories)
    for (const char* script : {"mu", "mbu", "mbmud", "tpu", "tpbud"})
      EXPECT_PROVEN(mark_while<as_it_is>({.script = {script, nullptr}, .mem = mem}));
}
TEST(circle, who_copies_handles_or_gives_them_up_is_never_judged) {
  for (memory mem : all_memories)
    for (const char* script : {"cu", "xu", "cxu", "cyud", "cxyud"})
      EXPECT_PROVEN(mark_while<as_it_is>({.script = {script, nullptr}, .mem = mem}));
}
TEST(circle, two_who_reach_it_are_never_judged) {
  EXPECT_PROVEN(mark_while<as_it_is>({.script = {"mud", "ud"}}));
  EXPECT_PROVEN(mark_while<as_it_is>({.script = {"cud", "ud"}}));
  if (long_run()) EXPECT_PROVEN(mark_while<as_it_is>({.script = {"mbud", "ud"}, .mem = memory::pso}));
}
TEST(circle, what_nobody_reaches_is_judged) {
  EXPECT_FOUND("judged leaked, then used", mark_while<as_it_is>({.script = {"du", nullptr}}));
}
TEST(circle, a_move_that_is_not_counted_gives_a_false_proof) {
  EXPECT_FOUND("judged leaked, then used", mark_while<moves_without_counting>({.script = {"mu", nullptr}}));
}
TEST(circle, a_handle_given_up_without_a_note_gives_a_false_proof) {
  EXPECT_FOUND("judged leaked, then used", mark_while<notes_nothing>({.script = {"xu", nullptr}}));
  EXPECT_FOUND("judged leaked, then used", mark_while<notes_nothing>({.script = {"mu", nullptr}}));
}
TEST(circle, a_note_after_the_count_has_fallen_gives_a_false_proof) {
  EXPECT_FOUND("judged leaked, then used", mark_while<notes_too_late>({.script = {"xu", nullptr}}));
}
TEST(circle, a_note_that_an_older_one_overwrites_gives_a_false_proof) {
  EXPECT_FOUND("judged leaked, then used", mark_while<overwrites_the_note>({.script = {"xu", "d"}}));
}
TEST(circle, a_pass_that_begins_without_a_barrier_gives_a_false_proof) {
  EXPECT_FOUND("judged leaked, then used",
               mark_while<as_it_is>({.script = {"mu", nullptr}, .begin = start_of_pass::no_barrier}));
}

}  // namespace
