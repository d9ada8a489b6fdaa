// leash::ahead_ring itself: what a helper has done ahead is whole when it is used, and stays so until it has been.
#include "leak/ahead_ring.hpp"

#include "broken_atomics.hpp"
#include "expect.hpp"

namespace {

using namespace model;

template <std::uint32_t Size, class A>
using real = leash::ahead_ring<var<std::uint32_t>, Size, 1, A>;

/// Begins a piece while the one that lay there may be in use.
template <std::uint32_t Size>
struct too_early : real<Size, atomics> {
  using base = real<Size, atomics>;
  std::uint32_t begin(std::uint32_t i) {
    std::uint32_t const turn = this->turn().load(std::memory_order_acquire);
    i = std::max(i, turn + 1);
    return i <= turn + Size ? i : base::not_yet;
  }
};
/// Does not ask which piece lies there.
template <std::uint32_t Size>
struct any_piece : real<Size, atomics> {
  using base = real<Size, atomics>;
  const var<std::uint32_t>* take(std::uint32_t i) {
    if (const auto* found = base::take(i)) return found;
    if (i >= Size) return base::take(i - Size);
    return nullptr;
  }
};

template <class Ring>
struct world {
  Ring ring;
};

template <class Ring>
model::result work_ahead(std::uint32_t pieces, memory mem = memory::tso) {
  return check({.mem = mem}, [=](run& r) {
    auto& w = r.make<world<Ring>>();
    r.thread("helper", [=, &w] {
      for (std::uint32_t next = 0;;) {
        std::uint32_t const i = w.ring.begin(next);
        if (i >= pieces) return;  // or not yet: that it waits is its own affair
        w.ring.place_of(i) = i;
        w.ring.publish(i);
        next = i + 1;
      }
    });
    r.thread("pass", [=, &w] {
      for (std::uint32_t i = 0; i < pieces; ++i) {
        if (const auto* p = w.ring.take(i)) require(*p == i, "another piece");
        w.ring.done(i);
      }
    });
  });
}

constexpr memory all_memories[] = {memory::sc, memory::tso, memory::pso};

TEST(ahead_ring, what_is_taken_is_the_piece_whole) {
  for (memory mem : all_memories) {
    EXPECT_PROVEN((work_ahead<real<2, atomics>>(5, mem)));
    EXPECT_PROVEN((work_ahead<real<3, atomics>>(5, mem)));
  }
}
TEST(ahead_ring, a_place_that_is_written_to_too_early_is_found) { EXPECT_FOUND("", (work_ahead<too_early<2>>(4))); }
TEST(ahead_ring, another_piece_is_found) { EXPECT_FOUND("another piece", (work_ahead<any_piece<2>>(4))); }
TEST(ahead_ring, relaxed_orders_are_found) {
  EXPECT_FOUND("", (work_ahead<real<2, relaxed_stores>>(4, memory::pso)));
  EXPECT_FOUND("", (work_ahead<real<2, relaxed_loads>>(4)));
}

}  // namespace
