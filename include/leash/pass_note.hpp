// In which pass of the leak marker something was given up last.
//
// A pass finds handles, members and places one after the other; who gives one up meanwhile, or moves it to where it is
// found again, would be missed by the counts that follow. So who gives up a thing that the pass relies on notes the
// number of the pass, after all it did with it and before the count falls; and what bears the number of this pass
// counts as live. A pass makes its number known and runs a barrier on all threads before it looks at anything: who
// notes an older number did all that it did before the first look.
//
// Invariants
//  N1. The number never falls: of two that note at the same time the older one does not hide the newer.
// Thread safety: any thread, at any time.
#pragma once
#include <atomic>
#include <cstdint>
#include <leash/atomics.hpp>
#include <leash/platform.hpp>

namespace leash {

/// Which pass of the leak marker runs, or ran last.
extern std::atomic<std::uint32_t> current_pass;

template <class Atomics = atomics>
class pass_note {
 public:
  /// Before the count falls, by a release.
  template <class Number>
  LEASH_INLINE void leave(const Number& current) noexcept {
    // Not before what was done: the other half is the barrier of the pass.
    Atomics::light_barrier();
    std::uint32_t const now = current.load(std::memory_order_relaxed);
    std::uint32_t noted = number_.load(std::memory_order_relaxed);
    while (noted < now) [[unlikely]]
      if (number_.compare_exchange_weak(noted, now, std::memory_order_relaxed, std::memory_order_relaxed)) return;
  }
  LEASH_INLINE void leave() noexcept { leave(current_pass); }
  /// To be read after the count, relaxed: by the marker, of what may be gone.
  const auto& number() const noexcept { return number_; }

 private:
  typename Atomics::template atomic<std::uint32_t> number_{0};
};

}  // namespace leash
