// How many handles there are to a block (shared.hpp).
//
// Owners and watchers lie in one word: a thread that turns one into the other is counted at every moment, and whoever
// reads the word misses it at none. In two words the leak marker could read the owners before a watcher has become one,
// and the watchers after.
#pragma once
#include <cstdint>
#include <leash/atomics.hpp>
#include <leash/platform.hpp>

namespace leash {

template <class Atomics = atomics>
struct block_counts {
  static constexpr std::uint64_t one_owner = 1, one_watcher = std::uint64_t{1} << 32;

  static constexpr std::uint32_t owners_in(std::uint64_t w) noexcept { return static_cast<std::uint32_t>(w); }
  static constexpr std::uint32_t watchers_in(std::uint64_t w) noexcept { return static_cast<std::uint32_t>(w >> 32); }

  std::uint32_t owners() const noexcept { return owners_in(word.load(std::memory_order_relaxed)); }
  /// The value is there.
  void first_owner() noexcept { word.store(one_owner, std::memory_order_release); }
  void add_owner() noexcept { word.fetch_add(one_owner, std::memory_order_relaxed); }
  void add_watcher() noexcept {
    sides.fetch_add(1, std::memory_order_relaxed);
    word.fetch_add(one_watcher, std::memory_order_relaxed);
  }
  /// True: it was the last one. The caller destroys the value, then drops the owners' side.
  [[nodiscard]] bool drop_owner() noexcept {
    // Release: what this owner did. Acquire, in the last one: what all did, for the destructor.
    return owners_in(word.fetch_sub(one_owner, std::memory_order_acq_rel)) == 1;
  }
  /// True: the caller frees the block.
  [[nodiscard]] bool drop_watcher() noexcept {
    word.fetch_sub(one_watcher, std::memory_order_release);
    return drop_side();
  }
  /// True: the caller frees the block.
  [[nodiscard]] bool drop_side() noexcept { return sides.fetch_sub(1, std::memory_order_acq_rel) == 1; }
  /// One more owner, unless none is left.
  bool revive() noexcept {
    std::uint64_t w = word.load(std::memory_order_relaxed);
    while (owners_in(w) != 0)
      if (word.compare_exchange_weak(w, w + one_owner, std::memory_order_acquire, std::memory_order_relaxed))
        return true;
    return false;
  }

  typename Atomics::template atomic<std::uint64_t> word{0};   // low half: owners; high half: watchers
  typename Atomics::template atomic<std::uint32_t> sides{1};  // all owners are one, each watcher is one
};

}  // namespace leash
