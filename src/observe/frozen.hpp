// Reading goroutines that others may be changing.
//
// Everything read here lies in the arena, so reading is always safe; what was read counts only if the park word is the
// same before and after (its epoch moves with every wake). Pointers are checked against the arena before they are
// followed.
#pragma once
#include <atomic>
#include <bit>
#include <cstdint>
#include <leash/task.hpp>
#include <leash/wait.hpp>
#include <source_location>

namespace leash::frozen {

/// Where an enumeration of goroutine slots stands.
struct slot_cursor {
  std::size_t slab = 0, slot = 0;
};

/// Calls f(goroutine_core*) for the next slots ever handed out, about `most` of them. False: there are no more.
template <class F>
bool for_some_slots(slot_cursor& at, std::size_t most, F&& f) {
  std::size_t const used = arena::all.used_slabs.load(std::memory_order_acquire);
  for (; at.slab < used; ++at.slab, at.slot = 0) {
    arena::slab& s = arena::all.slabs[at.slab];
    std::uint32_t const bytes = s.slot_bytes.load(std::memory_order_acquire);
    if (bytes == 0 || s.what != arena::kind::goroutine) continue;
    std::byte* const base = arena::all.base + at.slab * arena::slab_bytes;
    std::size_t const n = bytes <= arena::slab_bytes ? arena::slab_bytes / bytes : 1;
    for (; at.slot < n; ++at.slot) {
      if (most-- == 0) return true;
      f(reinterpret_cast<goroutine_core*>(base + at.slot * bytes));
    }
  }
  return false;
}
/// Calls f(goroutine_core*) for each goroutine slot ever handed out.
template <class F>
void for_each_slot(F&& f) {
  slot_cursor at;
  (void)for_some_slots(at, SIZE_MAX, f);
}

inline bool waits(std::uint64_t word) noexcept {
  return state_of(word) == park_state::parked || state_of(word) == park_state::held;
}

template <class T>
LEASH_READS_FROZEN T read(const T& from) noexcept {
  static_assert(std::is_trivially_copyable_v<T>);
  if constexpr (sizeof(T) == 8) {
    std::uint64_t const v = *reinterpret_cast<const volatile std::uint64_t*>(&from);
    return std::bit_cast<T>(v);
  } else if constexpr (sizeof(T) == 4) {
    std::uint32_t const v = *reinterpret_cast<const volatile std::uint32_t*>(&from);
    return std::bit_cast<T>(v);
  } else if constexpr (sizeof(T) == 2) {
    std::uint16_t const v = *reinterpret_cast<const volatile std::uint16_t*>(&from);
    return std::bit_cast<T>(v);
  } else {
    static_assert(sizeof(T) == 1);
    std::uint8_t const v = *reinterpret_cast<const volatile std::uint8_t*>(&from);
    return std::bit_cast<T>(v);
  }
}

/// An atomic in memory that may be freed and used again meanwhile; what must be ordered is ordered by fences.
template <class T>
LEASH_READS_FROZEN T read(const std::atomic<T>& from) noexcept {
  static_assert(sizeof(std::atomic<T>) == sizeof(T));
  return read(reinterpret_cast<const T&>(from));
}

/// The frame that awaits p; null: p is the outermost, or was changed under our eyes.
LEASH_READS_FROZEN inline promise_base* parent_of(const promise_base* p) noexcept {
  await_link* up = *const_cast<await_link* const volatile*>(&p->up);
  if (up == nullptr || !arena::contains(up)) return nullptr;
  promise_base* parent = *const_cast<promise_base* volatile*>(&up->parent);
  return arena::contains(parent) ? parent : nullptr;
}

LEASH_READS_FROZEN inline std::source_location where_of(const promise_base* p) noexcept { return read(p->where); }

/// The i-th waiter that g is parked on; null: none, or changed.
LEASH_READS_FROZEN inline waiter* waiter_of(const goroutine_core* g, std::uint32_t i) noexcept {
  waiter* first = *const_cast<waiter* const volatile*>(&g->wait);
  if (!arena::contains(first)) return nullptr;
  if (read(g->wait_count) == 1) return i == 0 ? first : nullptr;
  waiter* w = reinterpret_cast<waiter* const volatile*>(first)[i];
  return arena::contains(w) ? w : nullptr;
}

}  // namespace leash::frozen
