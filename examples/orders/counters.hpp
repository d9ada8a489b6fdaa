// What happened since the start, counted where it happens.
#pragma once
#include <atomic>
#include <cstdint>

namespace orders {

struct counters {
  using count = std::atomic<std::uint64_t>;
  count accepted = 0, replayed = 0;                // new orders, known keys
  count relayed = 0;                               // from the outbox to the queue
  count fulfilled = 0, refused = 0, repeated = 0;  // by consumers
  count cancelled = 0, timed_out = 0, failed = 0;  // requests
  count reports = 0;                               // begun
  count events_cut_off = 0;                        // listeners that were too slow
};

}  // namespace orders
