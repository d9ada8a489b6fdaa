#include "observing.hpp"

#include <cstdio>
#include <string_view>
#include <thread>

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

namespace leash {

constinit std::atomic<std::uint8_t> observed_everywhere{0};

constinit spin_lock foreign_section::lock_;

std::mutex& observing_lock() noexcept {
  static auto* lock = new std::mutex;  // outlives static recordings
  return *lock;
}

void observe(std::uint8_t what) noexcept {
  observed_everywhere.fetch_or(what, std::memory_order_release);
  for_each_runtime([=](runtime& rt) { observe_runtime(rt); });
}

void unobserve(std::uint8_t what) noexcept {
  auto const rest = static_cast<std::uint8_t>(observed_everywhere.load(std::memory_order_relaxed) & ~what);
  observed_everywhere.store(rest, std::memory_order_relaxed);
  for_each_runtime([=](runtime& rt) {
    if (rt.sim != nullptr) return;
    for (std::uint32_t i = 0; i < rt.worker_count; ++i) rt.workers[i].unusual.store(rest, std::memory_order_relaxed);
  });
  {
    foreign_section const last;
  }
  heavy_fence();
  for_each_runtime([=](runtime& rt) {
    for (std::uint32_t i = 0; i < rt.worker_count; ++i) {
      worker& w = rt.workers[i];
      while (w.trace.noting.load(std::memory_order_acquire)) std::this_thread::yield();  // ORD observe-2
      if ((what & observe_trace) != 0) w.trace.piece = nullptr;
      if (rest == 0) w.trace.noted = nullptr;
    }
  });
}

void observe_runtime(runtime& rt) noexcept {
  if (rt.sim != nullptr) return;
  for (std::uint32_t i = 0; i < rt.worker_count; ++i)
    // ORD observe-1 release
    rt.workers[i].unusual.store(observed_everywhere.load(std::memory_order_relaxed), std::memory_order_release);
}

// --- the clock

namespace {

bool counter_is_trusted() noexcept {
#if defined(__x86_64__)
  char name[16] = {};
  if (std::FILE* f = std::fopen("/sys/devices/system/clocksource/clocksource0/current_clocksource", "re")) {
    std::size_t const n = std::fread(name, 1, sizeof name - 1, f);
    std::fclose(f);
    return std::string_view(name, n) == "tsc\n";
  }
#endif
  return false;
}

bool use_counter() noexcept {
  static bool const yes = counter_is_trusted();
  return yes;
}
constinit std::atomic<bool> counter_used{false};

}  // namespace

std::uint64_t note_ticks() noexcept {
#if defined(__x86_64__)
  if (counter_used.load(std::memory_order_relaxed)) return __rdtsc();
#endif
  return static_cast<std::uint64_t>(steady_now());
}

tick_scale::tick_scale() noexcept {
  counter_used.store(use_counter(), std::memory_order_relaxed);
  time_ = steady_now();
  ticks_ = note_ticks();
}

void tick_scale::measure() noexcept {
  if (!counter_used.load(std::memory_order_relaxed)) return;
  // The first reading and this one may each be off by what an interruption between their two halves took: the best of some.
  double best = 0;
  std::int64_t shortest = INT64_MAX;
  for (int i = 0; i < 8; ++i) {
    std::int64_t const before = steady_now();
    std::uint64_t const ticks = note_ticks();
    std::int64_t const after = steady_now();
    if (after - before >= shortest || ticks == ticks_) continue;
    shortest = after - before;
    best = static_cast<double>(before + (after - before) / 2 - time_) / static_cast<double>(ticks - ticks_);
  }
  if (best > 0) scale_ = best;
}

std::int64_t tick_scale::time_of(std::uint64_t ticks) const noexcept {
  return time_ + static_cast<std::int64_t>(static_cast<double>(static_cast<std::int64_t>(ticks - ticks_)) * scale_);
}

}  // namespace leash
