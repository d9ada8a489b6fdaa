// A piece of a recording: records in the order in which one thread made them, written while others read.
//
// One writer at a time; any number of readers, who copy what is there and look afterwards whether it still was the same
// piece: a seqlock whose number is the piece's serial. A piece that is full, or whose writer has gone, is begun anew by
// another writer in time; the order of those two is the pool's business (trace.cpp, under its lock).
//
// Invariants
//  T1. serial is 0 while the piece is being begun anew. A number never comes again.
//  T2. used counts the records that are there: a reader that sees it sees them.
#pragma once
#include <cstddef>
#include <cstdint>
#include <leash/atomics.hpp>
#include <leash/platform.hpp>

namespace leash {

/// Four words; what they mean is trace.cpp's.
struct trace_record {
  static constexpr std::size_t words = 4;
  std::uint64_t word[words];
};

template <std::size_t Capacity, class Atomics = atomics>
class trace_chunk {
  template <class V>
  using atomic = typename Atomics::template atomic<V>;

 public:
  static constexpr std::size_t capacity = Capacity;

  /// Who writes here, and what was so when it began. Three words of the writer's own.
  static constexpr std::size_t head_words = 3;

  /// The new writer, alone: forgets what was there.
  void begin(std::uint64_t serial, const std::uint64_t (&head)[head_words]) noexcept {
    serial_.store(0, std::memory_order_relaxed);
    // ORD trace-1 release: who sees any word that is written from here on sees that the old piece is no more.
    Atomics::fence(std::memory_order_release);
    used_.store(0, std::memory_order_relaxed);
    for (std::size_t i = 0; i < head_words; ++i) head_[i].store(head[i], std::memory_order_relaxed);
    // ORD trace-2 release: the head and the count, to who sees the number.
    serial_.store(serial, std::memory_order_release);
  }
  /// The writer. Room for so many more.
  LEASH_INLINE std::size_t room() const noexcept { return Capacity - used_.load(std::memory_order_relaxed); }
  /// The writer; there is room.
  LEASH_INLINE void put(const trace_record& r) noexcept {
    std::uint32_t const n = used_.load(std::memory_order_relaxed);
    for (std::size_t i = 0; i < trace_record::words; ++i)
      records_[n].word[i].store(r.word[i], std::memory_order_relaxed);
    // ORD trace-3 release: the record, to who sees it counted.
    used_.store(n + 1, std::memory_order_release);
  }
  /// Who has the piece in hand: the first word of the newest record.
  std::uint64_t last_word() const noexcept {
    std::uint32_t const n = used_.load(std::memory_order_relaxed);
    return n == 0 ? 0 : records_[n - 1].word[0].load(std::memory_order_relaxed);
  }
  /// Any thread: copies into `to` (Capacity records), and the head. The number of records; 0 also if the piece was begun
  /// anew meanwhile. `serial`: its number.
  std::size_t read(std::uint64_t& serial, std::uint64_t (&head)[head_words], trace_record* to) const noexcept {
    serial = serial_.load(std::memory_order_acquire);  // ORD trace-2
    if (serial == 0) return 0;
    std::size_t const n = used_.load(std::memory_order_acquire);  // ORD trace-3
    if (n > Capacity) return 0;
    for (std::size_t i = 0; i < head_words; ++i) head[i] = head_[i].load(std::memory_order_relaxed);
    for (std::size_t k = 0; k < n; ++k)
      for (std::size_t i = 0; i < trace_record::words; ++i)
        to[k].word[i] = records_[k].word[i].load(std::memory_order_relaxed);
    Atomics::fence(std::memory_order_acquire);  // ORD trace-1
    return serial_.load(std::memory_order_relaxed) == serial ? n : 0;
  }

 private:
  struct stored {
    atomic<std::uint64_t> word[trace_record::words]{};
  };
  atomic<std::uint64_t> serial_{0};
  atomic<std::uint32_t> used_{0};
  atomic<std::uint64_t> head_[head_words]{};
  stored records_[Capacity]{};
};

/// 64 KiB.
using trace_piece = trace_chunk<2046>;

}  // namespace leash
