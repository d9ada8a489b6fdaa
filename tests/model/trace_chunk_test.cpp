// leash::trace_chunk itself: a piece of a recording is read while its writer adds to it and while it is begun anew. What
// a reader takes for a piece's are that piece's records, whole, from the first on; and all that it could know of.
#include <leash/trace_chunk.hpp>

#include "broken_atomics.hpp"
#include "expect.hpp"

namespace {

using namespace model;

constexpr std::size_t capacity = 2;

template <class A>
using real = leash::trace_chunk<capacity, A>;

/// The words of a record tell of which piece it is and the how manieth.
leash::trace_record record(std::uint64_t serial, std::uint64_t i) {
  std::uint64_t const w = serial * 16 + i;
  return {{w, w, w, w}};
}

template <class Chunk>
struct world {
  Chunk chunk;
  atomic<std::uint64_t> told{0};  // what the writer has said of its progress
};

struct config {
  const char* script;  // of the writer: 'b' begins anew, 'p' puts
  int reads = 1;
  memory mem = memory::tso;
};

template <class Chunk>
model::result read_while(config c) {
  return check({.mem = c.mem, .reduce = reduction::values}, [=](run& r) {
    auto& w = r.make<world<Chunk>>();
    r.thread("writer", [=, &w] {
      std::uint64_t serial = 0, n = 0;
      for (const char* s = c.script; *s != '\0'; ++s) {
        if (*s == 'b') {
          ++serial;
          n = 0;
          w.chunk.begin(serial, {serial, serial, serial});
        } else {
          w.chunk.put(record(serial, n++));
        }
      }
      w.told.store(serial * 16 + n, std::memory_order_release);
    });
    r.thread("reader", [=, &w] {
      for (int k = 0; k < c.reads; ++k) {
        std::uint64_t const known = w.told.load(std::memory_order_acquire);
        std::uint64_t serial = 0, head[Chunk::head_words] = {};
        leash::trace_record to[capacity];
        std::size_t const n = w.chunk.read(serial, head, to);
        if (known != 0) {
          require(serial == known / 16, "an old piece, though the new one was known of");
          require(n == known % 16, "records are missing that were known of");
        }
        if (n == 0) continue;
        for (std::uint64_t h : head) require(h == serial, "another piece's head");
        for (std::size_t i = 0; i < n; ++i)
          for (std::uint64_t word : to[i].word) require(word == serial * 16 + i, "no record of this piece");
      }
    });
  });
}

constexpr memory all_memories[] = {memory::sc, memory::tso, memory::pso};

TEST(trace_chunk, a_reader_sees_whole_records_of_one_piece) {
  for (memory mem : all_memories) {
    EXPECT_PROVEN(read_while<real<atomics>>({.script = "bp", .mem = mem}));
    EXPECT_PROVEN(read_while<real<atomics>>({.script = "bpb", .mem = mem}));
  }
  EXPECT_PROVEN(read_while<real<atomics>>({.script = "bpbp"}));
  EXPECT_PROVEN(read_while<real<atomics>>({.script = "bppb"}));
  if (!long_run()) return;
  EXPECT_PROVEN(read_while<real<atomics>>({.script = "bpbp", .mem = memory::pso}));
  EXPECT_PROVEN(read_while<real<atomics>>({.script = "bppbpp"}));
}

TEST(trace_chunk, a_missing_fence_is_found) {
  EXPECT_FOUND("", read_while<real<no_fence>>({.script = "bpb", .mem = memory::pso}));
}

TEST(trace_chunk, relaxed_stores_are_found) {
  EXPECT_FOUND("", read_while<real<relaxed_stores>>({.script = "bp", .mem = memory::pso}));
}

}  // namespace
