// Type-stable memory for coroutine frames, goroutines and the objects they wait for.
//
// One address range is reserved at start-up and never unmapped. It is cut into slabs of 64 KiB; a slab holds slots of
// one kind and one size for ever. So a stale pointer into the range can always be read (the leak marker validates
// afterwards what it has read), any address can be mapped to its slot, and all goroutines can be enumerated without a
// list.
//
// Each thread keeps free lists per kind and size. Full batches travel through a central list, so memory freed on
// another thread than the one that allocates it comes back.
//
// Invariants
//  A1. A slot's first 8 bytes are never touched by the allocator: a goroutine's park word survives reuse.
//  A2. Fresh slots are zero.
//  A3. A slab's kind and slot size never change once set.
// Thread safety: everything may be called from any thread at any time, also while threads start and end.
#pragma once
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <leash/platform.hpp>
#include <new>

namespace leash::arena {

enum class kind : std::uint8_t { unused, frame, goroutine, object };
inline constexpr std::size_t kinds = 4;
inline constexpr std::size_t slab_bytes = 64 * 1024;
inline constexpr std::size_t small_limit = 1024;                   // up to here slots come in steps of 16 bytes
inline constexpr std::size_t class_count = small_limit / 16 + 21;  // then four steps for each doubling, up to 32 KiB

struct slab {
  std::atomic<std::uint32_t>
      slot_bytes;  // 0: no slab here; larger than slab_bytes: the first of a run that holds one slot
  kind what;
  std::uint8_t reserved[3];
};

struct range {
  std::byte* base = nullptr;
  std::size_t bytes = 0;
  slab* slabs = nullptr;
  std::atomic<std::size_t> used_slabs{0};
};
extern range all;

/// True for any address inside the reserved range, handed out or not.
LEASH_INLINE bool contains(const void* p) noexcept {
  return static_cast<std::size_t>(static_cast<const std::byte*>(p) - all.base) < all.bytes;
}

/// False: no object slot holds the address. True: one may.
LEASH_INLINE bool may_be_object(const void* p) noexcept {
  auto const offset = static_cast<std::size_t>(static_cast<const std::byte*>(p) - all.base);
  if (offset >= all.bytes) [[likely]]
    return false;
  kind const what = all.slabs[offset / slab_bytes].what;  // of a slot that takes many slabs the first one has the kind
  return what == kind::object || what == kind::unused;
}

struct slot {
  std::byte* start = nullptr;  // null: no slot there
  std::size_t bytes = 0;
  kind what = kind::unused;
};
/// The slot that holds the address `p`. O(1).
slot slot_at(const void* p) noexcept;

struct free_list {
  std::byte* head;
  std::byte* bump;
  std::byte* bump_end;
  std::byte* spare;  // a full batch
  std::uint32_t count;
  std::uint32_t batch;
};
struct thread_cache {
  free_list lists[kinds][class_count];
  std::atomic<std::int64_t> live[kinds];  // slots handed out minus slots taken back here; written by the owner only
  thread_cache* next;
  bool taken;
};
#if defined(__clang__) || defined(__GNUC__)
extern constinit thread_local thread_cache* this_cache __attribute__((tls_model("initial-exec")));
#endif

constexpr std::size_t class_of(std::size_t bytes) noexcept {
  if (bytes <= 32) return 2;
  if (bytes <= small_limit) return (bytes + 15) / 16;
  std::size_t const top = 63 - static_cast<std::size_t>(__builtin_clzll(bytes - 1));  // 2^top < bytes <= 2^(top+1)
  std::size_t const step = (bytes - 1 - (std::size_t{1} << top)) >> (top - 2);
  return small_limit / 16 + 1 + (top - 10) * 4 + step;
}
constexpr std::size_t bytes_of(std::size_t size_class) noexcept {
  if (size_class <= small_limit / 16) return size_class * 16;
  std::size_t const above = size_class - small_limit / 16 - 1;
  std::size_t const top = 10 + above / 4;
  return (std::size_t{1} << top) + ((above % 4 + 1) << (top - 2));
}

void* allocate_slow(kind, std::size_t bytes);
void deallocate_slow(kind, void*, std::size_t bytes) noexcept;
std::byte*& link_of(void* p) noexcept;

/// Memory of `bytes`, aligned to 16. Throws std::bad_alloc when the reserved range is used up.
LEASH_INLINE void* allocate(kind what, std::size_t bytes) {
  if (thread_cache* c = this_cache; c != nullptr && bytes <= small_limit) [[likely]] {
    free_list& l = c->lists[static_cast<int>(what)][class_of(bytes)];
    if (std::byte* p = l.head) [[likely]] {
      l.head = *reinterpret_cast<std::byte**>(p + 8);
      --l.count;
      c->live[static_cast<int>(what)].store(c->live[static_cast<int>(what)].load(std::memory_order_relaxed) + 1,
                                            std::memory_order_relaxed);
      unpoison_memory(p, bytes);
      return p;
    }
  }
  return allocate_slow(what, bytes);
}

/// Gives back what allocate(what, bytes) returned; from any thread.
LEASH_INLINE void deallocate(kind what, void* p, std::size_t bytes) noexcept {
  if (thread_cache* c = this_cache; c != nullptr && bytes <= small_limit) [[likely]] {
    free_list& l = c->lists[static_cast<int>(what)][class_of(bytes)];
    if (l.count < l.batch) [[likely]] {
      *reinterpret_cast<std::byte**>(static_cast<std::byte*>(p) + 8) = l.head;
      l.head = static_cast<std::byte*>(p);
      ++l.count;
      c->live[static_cast<int>(what)].store(c->live[static_cast<int>(what)].load(std::memory_order_relaxed) - 1,
                                            std::memory_order_relaxed);
      if (what == kind::frame && bytes > 16) poison_memory(static_cast<std::byte*>(p) + 16, bytes - 16);
      return;
    }
  }
  deallocate_slow(what, p, bytes);
}

/// Bytes to ask for so that what allocate() gives is aligned to `alignment`, a power of two: a slab starts on a multiple of
/// 64 KiB, and up to small_limit its slots have the size asked for, above it a multiple of 256. So has a power of two.
constexpr std::size_t aligned_bytes(std::size_t bytes, std::size_t alignment) noexcept {
  if (alignment <= 16) return bytes;
  if (alignment > 256) return std::bit_ceil(bytes < alignment ? alignment : bytes);
  return (bytes + alignment - 1) & ~(alignment - 1);
}

/// A base for what lives in slots of a kind: coroutine frames by their promise, and objects made with new. Alignments up to
/// 64 KiB are kept (by clang for a coroutine's frame only under -fcoro-aligned-allocation, which leash asks for).
template <kind What>
struct allocated {
  static void* operator new(std::size_t bytes) { return allocate(What, bytes); }
  static void operator delete(void* p, std::size_t bytes) noexcept { deallocate(What, p, bytes); }
  static void* operator new(std::size_t bytes, std::align_val_t alignment) {
    return allocate(What, aligned_bytes(bytes, static_cast<std::size_t>(alignment)));
  }
  static void operator delete(void* p, std::size_t bytes, std::align_val_t alignment) noexcept {
    deallocate(What, p, aligned_bytes(bytes, static_cast<std::size_t>(alignment)));
  }
};

/// Slots of this kind that are handed out now, over all threads.
std::int64_t live(kind) noexcept;
/// Bytes of slabs ever handed out; they are kept for reuse.
std::size_t mapped_bytes() noexcept;

}  // namespace leash::arena
