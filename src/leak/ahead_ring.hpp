// Pieces of work that are done in order, by one who does them all, and by a helper that does some of them ahead.
//
// Nobody waits for the helper: what has not come when its turn has come is done without it. So the helper leaves out the
// next `Lead` ones, which it would be too late for.
//
//  H1. The helper writes to the place of piece i only after it has seen turn + Size > i: piece i - Size, which lay there,
//      is done with.
//  H2. Piece i is looked at only in its turn, and only if it was published as i; what lies in its place next, for
//      i + Size, is begun when the turn has gone past i.
#pragma once
#include <algorithm>
#include <cstdint>
#include <leash/atomics.hpp>

namespace leash {

template <class T, std::uint32_t Size, std::uint32_t Lead, class Atomics = atomics>
class ahead_ring {
  static_assert(0 < Lead && Lead < Size);

 public:
  static constexpr std::uint32_t not_yet = UINT32_MAX;

  // --- the helper

  /// The piece to do next, from i on; not_yet: when the turn has moved on.
  std::uint32_t begin(std::uint32_t i) const noexcept {
    // ORD ahead-1 acquire: what lay there has been used.
    std::uint32_t const turn = turn_.load(std::memory_order_acquire);
    i = std::max(i, turn + Lead);
    return i < turn + Size ? i : not_yet;
  }
  T& place_of(std::uint32_t i) noexcept { return places_[i % Size].what; }
  void publish(std::uint32_t i) noexcept {
    places_[i % Size].piece_plus_1.store(i + 1, std::memory_order_release);  // ORD ahead-2
  }

  // --- who does them all

  /// Piece i, whose turn it is, until done(i); null: it has not come.
  const T* take(std::uint32_t i) const noexcept {
    place const& p = places_[i % Size];
    return p.piece_plus_1.load(std::memory_order_acquire) == i + 1 ? &p.what : nullptr;  // ORD ahead-2
  }
  void done(std::uint32_t i) noexcept {
    turn_.store(i + 1, std::memory_order_release);  // ORD ahead-1
  }
  /// Whose turn it is.
  auto& turn() noexcept { return turn_; }

 private:
  template <class V>
  using atomic = typename Atomics::template atomic<V>;
  struct place {
    atomic<std::uint32_t> piece_plus_1{0};
    T what;
  };
  alignas(64) atomic<std::uint32_t> turn_{0};
  place places_[Size];
};

}  // namespace leash
