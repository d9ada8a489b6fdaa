// Endpoints that look for a while: traces, contention, samples of the processor's time.
#pragma once
#include <atomic>
#include <chrono>
#include <cstddef>

#include "reply.hpp"

namespace leash::debug {

inline constexpr double longest_trace = 60, longest_profile = 300;  // seconds
/// That look at the same time; a further one is refused.
inline constexpr int most_recordings = 4;

/// /debug/pprof/trace and /debug/leash/trace: `seconds` from now, or the `last` seconds of a recording that is under way.
reply recorded_trace(const request&, std::size_t memory, bool for_go);
/// /debug/pprof/block and mutex: what there was so far, or comes in the next `seconds`.
reply contention_profile(const request&, bool mutexes);
/// /debug/pprof/profile
reply cpu_profile(const request&);

/// One of those that look at the same time; gives its place back at its end.
class recording_place {
 public:
  recording_place() noexcept : mine_(taken_.fetch_add(1, std::memory_order_relaxed) < most_recordings) {
    if (!mine_) taken_.fetch_sub(1, std::memory_order_relaxed);
  }
  recording_place(recording_place&& o) noexcept : mine_(std::exchange(o.mine_, false)) {}
  recording_place& operator=(recording_place&&) = delete;
  ~recording_place() {
    if (mine_) taken_.fetch_sub(1, std::memory_order_relaxed);
  }
  explicit operator bool() const noexcept { return mine_; }

 private:
  static inline std::atomic<int> taken_{0};  // of the process
  bool mine_;
};

/// `name=` as a number of seconds; `otherwise` if it is not given, nullopt if it is none in (0, most].
std::optional<double> seconds_of(const request&, std::string_view name, double otherwise, double most);
reply refuse_seconds(double most);
reply too_many_recordings();
inline std::chrono::nanoseconds as_time(double seconds) {
  return std::chrono::nanoseconds(static_cast<std::int64_t>(seconds * 1e9));
}

}  // namespace leash::debug
