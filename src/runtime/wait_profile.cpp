// Where goroutines waited, and how long: what block and mutex profiles are made of.
//
// A wait ends in the hands of who wakes: he owns the goroutine, so its stack can be read. When it began he does not know
// to better than a millisecond (goroutine_core::parked_at), so the worker that parks notes the time in a table, by
// goroutine and epoch. Newer ones write over older ones there: long waits are then measured by the millisecond, which is
// good enough for them.
//
// Who gives back what others stand in line for is charged with what all of them waited since it was given back before, or
// since they came: so each is charged with its own time only, and all together with what was waited. When that was is in a
// table too, by the lock's address.
//
//   an entry: bits 0..39 time in units of 16 ns   40..63 a mark of goroutine and epoch, or of the lock
#include <algorithm>
#include <bit>
#include <leash/task.hpp>
#include <leash/trace.hpp>
#include <memory>
#include <stdexcept>

#include "observing.hpp"

namespace leash {

namespace {

constexpr std::size_t most_places = 4096, first_place = 2, deepest = 32, table_size = 2 * most_places,
                      begun_size = 16384, released_size = 4096, most_in_line = 128;
constexpr std::uint64_t time_mask = (std::uint64_t{1} << 40) - 1;

struct place {
  std::uint64_t lines[deepest + 1];
  std::uint32_t depth = 0;
  wait_reason reason = wait_reason::none;
  const void* released_at = nullptr;  // null: the place of who waited
  const void* coroutine = nullptr;
  double count = 0, nanoseconds = 0;
};

struct collected {
  explicit collected(std::int64_t ns) : rate(ns), places(new place[first_place + most_places]) {}
  std::int64_t rate;
  std::atomic<std::uint64_t> begun[begun_size]{}, released[released_size]{};

  spin_lock lock;  // of what follows
  // 0, 1: of those who waited, and who let wait, for whom there was no room.
  std::unique_ptr<place[]> places;
  std::size_t used = first_place;
  std::uint32_t table[table_size]{};  // by hash; 0: none

  place& at(const std::uint64_t* lines, std::uint32_t depth, wait_reason reason, const void* released_at) noexcept {
    std::uint64_t hash = static_cast<std::uint64_t>(reason) ^ reinterpret_cast<std::uintptr_t>(released_at) << 8;
    for (std::uint32_t i = 0; i < depth; ++i) hash = (hash ^ lines[i]) * 0x9e3779b97f4a7c15u;
    for (std::size_t i = hash >> 40;; ++i) {
      std::uint32_t& index = table[i % table_size];
      if (index == 0) {
        if (used == first_place + most_places) return places[released_at != nullptr];
        index = static_cast<std::uint32_t>(used++);
        place& fresh = places[index];
        std::copy_n(lines, depth, fresh.lines);
        fresh.depth = depth;
        fresh.reason = reason;
        fresh.released_at = released_at;
        return fresh;
      }
      place& p = places[index];
      if (p.reason == reason && p.released_at == released_at && p.depth == depth &&
          std::equal(lines, lines + depth, p.lines))
        return p;
    }
  }
  /// The place of g, which waits or runs; and by code at that address.
  place& of(const goroutine_core* g, wait_reason reason, const void* released_at) noexcept {
    std::uint64_t lines[deepest + 1];
    std::uint32_t depth = 0;
    if (g != nullptr) {
      for (const promise_base* p = g->leaf; p != nullptr && depth < deepest;
           p = p->up != nullptr ? p->up->parent : nullptr)
        lines[depth++] = std::bit_cast<std::uint64_t>(p->where);
      lines[depth++] = std::bit_cast<std::uint64_t>(g->spawned_at);
    }
    return at(lines, depth, reason, released_at);
  }
};

// Under observing_lock; and in sections, while observe_waits is set.
collected* waits = nullptr;
int profilings = 0;

std::uint64_t mix(const void* at, std::uint64_t epoch) noexcept {
  std::uint64_t x = (reinterpret_cast<std::uintptr_t>(at) >> 4) ^ epoch * 0x9e3779b97f4a7c15u;
  x *= 0xff51afd7ed558ccdu;
  return x ^ x >> 32;
}

std::uint64_t now_in_units() noexcept { return static_cast<std::uint64_t>(steady_now()) >> 4 & time_mask; }

/// mark: what mix() gave; where in the table, and what an entry must bear.
void note_time(std::atomic<std::uint64_t>* table, std::size_t size, std::uint64_t mark, std::uint64_t now) noexcept {
  table[mark % size].store((mark & ~time_mask) | now, std::memory_order_relaxed);
}
/// Nanoseconds since it was noted; -1: it is not there.
std::int64_t time_since(std::atomic<std::uint64_t>* table, std::size_t size, std::uint64_t mark,
                        std::uint64_t now) noexcept {
  std::uint64_t const then = table[mark % size].load(std::memory_order_relaxed);
  return (then & ~time_mask) == (mark & ~time_mask) ? static_cast<std::int64_t>((now - then & time_mask) << 4) : -1;
}

/// How long g has waited that parked in this epoch; it may go on meanwhile.
LEASH_READS_FROZEN std::int64_t waited_by(const goroutine_core* g, std::uint64_t epoch, std::uint64_t now) noexcept {
  std::int64_t const exact = time_since(waits->begun, begun_size, mix(g, epoch), now);
  if (exact >= 0) return exact;
  std::uint32_t const ms = coarse_tick() - *const_cast<const volatile std::uint32_t*>(&g->parked_at);
  return ms > INT32_MAX ? 0 : std::int64_t{ms} * 1'000'000;
}

std::uint64_t random_word() noexcept {
  thread_local std::uint64_t state = reinterpret_cast<std::uintptr_t>(&state) | 1;
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return state;
}

/// So much was waited, for g's sake or by it.
void count_wait(std::int64_t waited, const goroutine_core* g, wait_reason reason, const void* released_at) noexcept {
  if (waited <= 0) return;
  double count = 1, time = static_cast<double>(waited);
  if (waited < waits->rate) {
    if (static_cast<std::int64_t>(random_word() % static_cast<std::uint64_t>(waits->rate)) >= waited) return;
    count = static_cast<double>(waits->rate) / time;
    time = static_cast<double>(waits->rate);
  }
  spin_guard guard(waits->lock);
  place& p = waits->of(g, reason, released_at);
  p.count += count;
  p.nanoseconds += time;
  if (p.released_at != nullptr && g != nullptr && g->leaf != nullptr)  // a frame begins with its two parts' addresses
    p.coroutine = static_cast<const void* const*>(g->leaf->handle().address())[1];
}

}  // namespace

void note_wait_begins(const goroutine_core* g, std::uint64_t word) noexcept {
  note_time(waits->begun, begun_size, mix(g, epoch_of(word)), now_in_units());
}

void note_wait_ended(const goroutine_core* g) noexcept {
  if ((g->bits & g_started) == 0) return;
  wait_reason const reason = reason_of_wait(g);
  if (reason == wait_reason::none) return;
  // The claim counted the epoch up.
  std::uint64_t const epoch = epoch_of(g->park.load(std::memory_order_relaxed)) - 1;
  count_wait(waited_by(g, epoch, now_in_units()), g, reason, nullptr);
}

/// In a section, by g or (null) by no goroutine.
static void charge(const goroutine_core* g, const object* what, const wait_queue& line, const void* at) noexcept {
  std::uint64_t const mark = mix(what, 0), now = now_in_units();
  std::int64_t const before = time_since(waits->released, released_size, mark, now);
  note_time(waits->released, released_size, mark, now);
  std::int64_t all = 0;
  wait_reason reason = wait_reason::none;
  bool stood_then = false;  // those before them in line did too
  std::size_t n = 0;
  for (const waiter* w = line.back(); w != nullptr && n < most_in_line; w = w->prev, ++n) {
    std::uint64_t const word = w->who->park.load(std::memory_order_relaxed);
    bool const parked = state_of(word) == park_state::parked || state_of(word) == park_state::held;
    if (!parked || w->state == 0)
      continue;  // it has been woken otherwise; or it selects, which is no wait for this alone
    reason = w->reason;
    std::int64_t const waited = stood_then ? before : waited_by(w->who, epoch_of(word), now);
    stood_then = before >= 0 && waited >= before;
    all += stood_then ? before : waited;
  }
  count_wait(all, g, reason, at);
}

void note_release(const object* what, const wait_queue& line, const void* at) noexcept {
  if (worker* w = this_worker) {
    section const s(*w);
    if (s.has(observe_waits)) charge(w->current, what, line, at);
    return;
  }
  foreign_section const s;
  if (s.has(observe_waits)) charge(nullptr, what, line, at);
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
std::vector<wait_site> wait_profiling::holders() const { return holders_so_far(); }

static std::vector<wait_site> sites(bool of_holders) {
  std::lock_guard guard(observing_lock());
  if (waits == nullptr) return {};
  // The places are copied under the lock that wakers take, the texts of them made after it.
  std::vector<place> copy;
  copy.reserve(first_place + most_places);
  {
    spin_guard places_guard(waits->lock);
    for (std::size_t i = 0; i < waits->used; ++i) {
      place const& p = waits->places[i];
      bool const holder = i < first_place ? i == 1 : p.released_at != nullptr;
      if (p.count > 0 && holder == of_holders) copy.push_back(p);
    }
  }
  std::vector<wait_site> all;
  all.reserve(copy.size());
  for (const place& p : copy) {
    wait_site s;
    for (std::uint32_t i = 0; i < p.depth; ++i) s.stack.push_back(std::bit_cast<std::source_location>(p.lines[i]));
    s.reason = p.reason;
    s.count = p.count;
    s.nanoseconds = p.nanoseconds;
    s.released_at = p.released_at;
    s.coroutine = p.coroutine;
    all.push_back(std::move(s));
  }
  return all;
}
std::vector<wait_site> waits_so_far() { return sites(false); }
std::vector<wait_site> holders_so_far() { return sites(true); }

}  // namespace leash
