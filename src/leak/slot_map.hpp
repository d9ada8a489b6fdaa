// Numbers for the slots of the arena.
//
// The slots of goroutines, and those of objects, are numbered in the order of their addresses, when a pass begins. So
// what a pass knows of a slot lies in an array, at its number: no addresses are kept, and no tables from addresses to
// records; and who goes through such an array goes through the arena in order.
//
// Slabs that are new since then have numbers for objects only (nobody scans goroutines there), and those beyond `most`
// have none: what lies there is not seen, and so counts as live.
#pragma once
#include <algorithm>
#include <cstdint>
#include <leash/arena.hpp>
#include <vector>

namespace leash {

inline constexpr std::uint32_t none = UINT32_MAX;

class slot_map {
 public:
  static constexpr std::uint32_t most = (1u << 28) - 2;

  slot_map() { add_slabs(true); }

  /// The number of the slot of that kind that starts at p; none: none starts there.
  LEASH_INLINE std::uint32_t number_of(const void* p, arena::kind what) {
    slab const* s = slab_of(p);
    if (s == nullptr || s->what != what) return none;
    std::uint32_t const k = index_in(*s, p);
    return k == none || s->first == none ? none : s->first + k;
  }
  /// The bytes of the slot of that kind that starts at p; 0: none starts there.
  LEASH_INLINE std::size_t bytes_of(const void* p, arena::kind what) {
    slab const* s = slab_of(p);
    if (s == nullptr || s->what != what || index_in(*s, p) == none) return 0;
    return std::size_t{s->units} * unit;
  }
  /// Where the slot with that number starts.
  void* address_of(std::uint32_t number, arena::kind what) const noexcept {
    numbers const& of = numbers_[index_of(what)];
    std::uint32_t const* at = &of.slabs[of.block_starts_in[number / block]];
    while (number - slabs_[*at].first >= slabs_[*at].slots) ++at;
    slab const& s = slabs_[*at];
    return arena::all.base + *at * arena::slab_bytes + std::size_t{number - s.first} * s.units * unit;
  }
  /// Numbers are below this.
  std::uint32_t end(arena::kind what) const noexcept { return numbers_[index_of(what)].end; }

  /// Calls f(number of the first slot, its address, bytes of a slot, how many) for each slab of that kind.
  template <class F>
  void for_each_slab(arena::kind what, F&& f) const {
    for (std::size_t i = 0; i < slabs_.size(); ++i) {
      slab const& s = slabs_[i];
      if (s.what != what || s.first == none) continue;
      f(s.first, arena::all.base + i * arena::slab_bytes, std::size_t{s.units} * unit, std::uint32_t{s.slots});
    }
  }

 private:
  static constexpr std::uint32_t unit = 16;
  static constexpr std::uint32_t units_of_slab = arena::slab_bytes / unit;
  static constexpr std::uint32_t block = 64;

  struct slab {
    std::uint32_t first = none;  // the number of its first slot
    std::uint32_t units = 0;     // of a slot
    std::uint32_t inverse = 0;   // of units, times 2^24, rounded up: exact for what is below units_of_slab
    std::uint16_t slots = 0;
    arena::kind what = arena::kind::unused;
  };
  static std::size_t index_of(arena::kind what) noexcept { return what == arena::kind::goroutine ? 0 : 1; }

  LEASH_INLINE const slab* slab_of(const void* p) {
    auto const offset = static_cast<std::size_t>(static_cast<const std::byte*>(p) - arena::all.base);
    std::size_t const i = offset / arena::slab_bytes;
    if (i < slabs_.size()) [[likely]]
      return &slabs_[i];
    if (offset >= arena::all.bytes) return nullptr;
    add_slabs(false);
    return i < slabs_.size() ? &slabs_[i] : nullptr;
  }
  LEASH_INLINE static std::uint32_t index_in(const slab& s, const void* p) noexcept {
    auto const offset = static_cast<std::uint32_t>(static_cast<const std::byte*>(p) - arena::all.base);
    std::uint32_t const at = offset % arena::slab_bytes / unit;
    auto const k = static_cast<std::uint32_t>(std::uint64_t{at} * s.inverse >> 24);
    return offset % unit == 0 && k * s.units == at && k < s.slots ? k : none;
  }

  void add_slabs(bool goroutines_too) {
    std::size_t const used = arena::all.used_slabs.load(std::memory_order_acquire);
    slabs_.reserve(used);
    for (std::size_t i = slabs_.size(); i < used; ++i) {
      slab s;
      std::size_t const bytes = arena::all.slabs[i].slot_bytes.load(std::memory_order_acquire);
      if (bytes != 0) {  // 0: in the middle of a large slot
        s.units = static_cast<std::uint32_t>(bytes / unit);
        bool const large = s.units > units_of_slab;
        s.inverse = large ? 0 : ((1u << 24) + s.units - 1) / s.units;
        s.slots = large ? 1 : static_cast<std::uint16_t>(units_of_slab / s.units);
        s.what = arena::all.slabs[i].what;
        if (s.what == arena::kind::object || (s.what == arena::kind::goroutine && goroutines_too)) number(s, i);
      }
      slabs_.push_back(s);
    }
  }
  void number(slab& s, std::size_t at) {
    numbers& of = numbers_[index_of(s.what)];
    std::uint32_t const n = std::uint32_t{s.slots};
    if (n > most - of.end) return;
    s.first = of.end;
    of.end += n;
    of.slabs.push_back(static_cast<std::uint32_t>(at));
    while (of.block_starts_in.size() * block < of.end)
      of.block_starts_in.push_back(static_cast<std::uint32_t>(of.slabs.size() - 1));
  }

  struct numbers {
    std::uint32_t end = 0;
    std::vector<std::uint32_t> slabs;            // in the order of the numbers
    std::vector<std::uint32_t> block_starts_in;  // by block of numbers: index in `slabs`
  };
  std::vector<slab> slabs_;
  numbers numbers_[2];
};

}  // namespace leash
