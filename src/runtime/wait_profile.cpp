// Where goroutines waited, and how long: what block and mutex profiles are made of.
//
// A wait ends in the hands of who wakes: he owns the goroutine, so its stack can be read. When it began he does not know
// to better than a millisecond (goroutine_core::parked_at), so the worker that parks notes the time in a table, by
// goroutine and epoch. Newer ones write over older ones there: long waits are then measured by the millisecond, which is
// good enough for them.
//
//   an entry: bits 0..39 time in units of 16 ns   40..63 a mark of goroutine and epoch
#include <algorithm>
#include <bit>
#include <leash/task.hpp>
#include <leash/trace.hpp>
#include <memory>
#include <stdexcept>

#include "observing.hpp"

namespace leash {

namespace {

constexpr std::size_t most_places = 4096, deepest = 32, table_size = 2 * most_places, begun_size = 16384;
constexpr std::uint64_t time_mask = (std::uint64_t{1} << 40) - 1;

struct place {
  std::uint64_t lines[deepest + 1];
  std::uint32_t depth = 0;
  wait_reason reason = wait_reason::none;
  double count = 0, nanoseconds = 0;
};

struct collected {
  explicit collected(std::int64_t ns) : rate(ns), places(new place[most_places + 1]) {}
  std::int64_t rate;
  std::atomic<std::uint64_t> begun[begun_size]{};

  spin_lock lock;                   // of what follows
  std::unique_ptr<place[]> places;  // 0: of those for which there was no room
  std::size_t used = 1;
  std::uint32_t table[table_size]{};  // by hash; 0: none

  place& at(const std::uint64_t* lines, std::uint32_t depth, wait_reason reason) noexcept {
    std::uint64_t hash = static_cast<std::uint64_t>(reason);
    for (std::uint32_t i = 0; i < depth; ++i) hash = (hash ^ lines[i]) * 0x9e3779b97f4a7c15u;
    for (std::size_t i = hash >> 40;; ++i) {
      std::uint32_t& index = table[i % table_size];
      if (index == 0) {
        if (used > most_places) return places[0];
        index = static_cast<std::uint32_t>(used++);
        place& fresh = places[index];
        std::copy_n(lines, depth, fresh.lines);
        fresh.depth = depth;
        fresh.reason = reason;
        return fresh;
      }
      place& p = places[index];
      if (p.reason == reason && p.depth == depth && std::equal(lines, lines + depth, p.lines)) return p;
    }
  }
};

// Under observing_lock; and in sections, while observe_waits is set.
collected* waits = nullptr;
int profilings = 0;

/// Where in the table, and the mark.
std::uint64_t mix(const goroutine_core* g, std::uint64_t epoch) noexcept {
  std::uint64_t x = (reinterpret_cast<std::uintptr_t>(g) >> 4) ^ epoch * 0x9e3779b97f4a7c15u;
  x *= 0xff51afd7ed558ccdu;
  return x ^ x >> 32;
}

std::uint64_t random_word() noexcept {
  thread_local std::uint64_t state = reinterpret_cast<std::uintptr_t>(&state) | 1;
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return state;
}

}  // namespace

void note_wait_begins(const goroutine_core* g, std::uint64_t word) noexcept {
  std::uint64_t const m = mix(g, epoch_of(word)), now = static_cast<std::uint64_t>(steady_now()) >> 4 & time_mask;
  waits->begun[m % begun_size].store((m & ~time_mask) | now, std::memory_order_relaxed);
}

void note_wait_ended(const goroutine_core* g) noexcept {
  if ((g->bits & g_started) == 0) return;
  wait_reason const reason = reason_of_wait(g);
  if (reason == wait_reason::none) return;
  // The claim counted the epoch up.
  std::uint64_t const m = mix(g, epoch_of(g->park.load(std::memory_order_relaxed)) - 1);
  std::uint64_t const begun = waits->begun[m % begun_size].load(std::memory_order_relaxed);
  std::int64_t waited = 0;
  if ((begun & ~time_mask) == (m & ~time_mask)) {
    std::uint64_t const now = static_cast<std::uint64_t>(steady_now()) >> 4 & time_mask;
    waited = static_cast<std::int64_t>((now - begun & time_mask) << 4);
  } else {
    std::uint32_t const ms = coarse_tick() - g->parked_at;
    waited = ms > INT32_MAX ? 0 : std::int64_t{ms} * 1'000'000;
  }
  if (waited <= 0) return;
  double count = 1, time = static_cast<double>(waited);
  if (waited < waits->rate) {
    if (static_cast<std::int64_t>(random_word() % static_cast<std::uint64_t>(waits->rate)) >= waited) return;
    count = static_cast<double>(waits->rate) / time;
    time = static_cast<double>(waits->rate);
  }
  std::uint64_t lines[deepest + 1];
  std::uint32_t depth = 0;
  for (const promise_base* p = g->leaf; p != nullptr && depth < deepest; p = p->up != nullptr ? p->up->parent : nullptr)
    lines[depth++] = std::bit_cast<std::uint64_t>(p->where);
  lines[depth++] = std::bit_cast<std::uint64_t>(g->spawned_at);
  spin_guard guard(waits->lock);
  place& p = waits->at(lines, depth, reason);
  p.count += count;
  p.nanoseconds += time;
}

wait_profiling::wait_profiling(nanoseconds rate) {
  if (rate.count() < 1) throw std::invalid_argument("leash::wait_profiling: the rate must be at least 1 ns");
  std::lock_guard guard(observing_lock());
  if (profilings == 0) {
    waits = new collected(rate.count());
    observe(observe_waits);
  }
  ++profilings;
}

wait_profiling::~wait_profiling() {
  std::lock_guard guard(observing_lock());
  if (--profilings != 0) return;
  unobserve(observe_waits);
  delete std::exchange(waits, nullptr);
}

std::vector<wait_site> wait_profiling::take() const { return waits_so_far(); }

std::vector<wait_site> waits_so_far() {
  std::lock_guard guard(observing_lock());
  if (waits == nullptr) return {};
  // The places are copied under the lock that wakers take, the texts of them made after it.
  std::vector<place> copy;
  copy.reserve(most_places + 1);
  {
    spin_guard places_guard(waits->lock);
    for (std::size_t i = 0; i < waits->used; ++i)
      if (waits->places[i].count > 0) copy.push_back(waits->places[i]);
  }
  std::vector<wait_site> sites;
  sites.reserve(copy.size());
  for (const place& p : copy) {
    wait_site s;
    for (std::uint32_t i = 0; i < p.depth; ++i) s.stack.push_back(std::bit_cast<std::source_location>(p.lines[i]));
    s.reason = p.reason;
    s.count = p.count;
    s.nanoseconds = p.nanoseconds;
    sites.push_back(std::move(s));
  }
  return sites;
}

}  // namespace leash
