#include <bit>
#include <leash/timers.hpp>
#include <utility>

namespace leash {

void timer_wheel::start(std::int64_t now, int grain_bits) noexcept {
  grain_bits_ = grain_bits;
  now_ = static_cast<std::uint64_t>(now) >> grain_bits;
}

void timer_wheel::mark(int slot) noexcept {
  occupied_[slot / 64] |= std::uint64_t{1} << (slot % 64);
  if (slot < low_slots) occupied_words_ |= std::uint64_t{1} << (slot / 64);
}
void timer_wheel::unmark(int slot) noexcept {
  occupied_[slot / 64] &= ~(std::uint64_t{1} << (slot % 64));
  if (slot < low_slots && occupied_[slot / 64] == 0) occupied_words_ &= ~(std::uint64_t{1} << (slot / 64));
}

void timer_wheel::insert(timer_entry* t) noexcept {
  std::uint64_t at = grain_of(t->when);
  if (at < now_) at = now_;
  int const top = 63 - std::countl_zero((at ^ now_) | 1);  // the highest bit in which they differ
  int const level = top < low_bits ? 0 : (top - low_bits) / 6 + 1;
  std::uint64_t const mask = level == 0 ? low_slots - 1 : 63;
  int const slot = first_of(level) + static_cast<int>((at >> shift_of(level)) & mask);
  t->lane = next_lane_;
  next_lane_ = (next_lane_ + 1) % lanes;
  timer_entry*& head = slots_[slot].first[t->lane];
  t->prev = nullptr;
  t->next = head;
  if (head != nullptr) head->prev = t;
  head = t;
  mark(slot);
  t->place = static_cast<std::uint16_t>(slot + 1);
}

void timer_wheel::unlink(timer_entry* t) noexcept {
  int const slot = t->place - 1;
  (t->prev != nullptr ? t->prev->next : slots_[slot].first[t->lane]) = t->next;
  if (t->next != nullptr) t->next->prev = t->prev;
  if (slots_[slot].empty()) unmark(slot);
  t->place = 0;
}

/// Under the lock.
void timer_wheel::count(std::ptrdiff_t armed, std::ptrdiff_t awaited) noexcept {
  auto const add = [](std::atomic<std::size_t>& to, std::ptrdiff_t n) {
    to.store(to.load(std::memory_order_relaxed) + static_cast<std::size_t>(n), std::memory_order_relaxed);
  };
  add(count_, armed);
  add(awaited_, awaited);
}

bool timer_wheel::next_slot(int& slot, std::uint64_t& at) const noexcept {
  // A lower level's slots all come before those of the levels above.
  int const here = static_cast<int>(now_ & (low_slots - 1));
  int word = here / 64;
  std::uint64_t bits = occupied_[word] >> (here % 64) << (here % 64);
  if (bits == 0 && word < 63) {
    std::uint64_t const words = occupied_words_ >> (word + 1);
    if (words != 0) {
      word += 1 + std::countr_zero(words);
      bits = occupied_[word];
    }
  }
  if (bits != 0) {
    slot = word * 64 + std::countr_zero(bits);
    at = (now_ & ~std::uint64_t{low_slots - 1}) | static_cast<std::uint64_t>(slot);
    return true;
  }
  for (int level = 1; level < levels; ++level) {
    int const shift = shift_of(level), first = static_cast<int>((now_ >> shift) & 63);
    std::uint64_t const coming = occupied_[first_of(level) / 64] >> first;
    if (coming == 0) continue;
    int const index = first + std::countr_zero(coming);
    slot = first_of(level) + index;
    std::uint64_t const below = (std::uint64_t{1} << shift) - 1, group = std::uint64_t{63} << shift;
    at = (now_ & ~(group | below)) | static_cast<std::uint64_t>(index) << shift;
    if (at < now_) at = now_;
    return true;
  }
  return false;
}

void timer_wheel::publish() noexcept {
  int slot = 0;
  std::uint64_t at = 0;
  std::int64_t next = INT64_MAX;
  if (next_slot(slot, at)) {
    next = at > (static_cast<std::uint64_t>(INT64_MAX) >> grain_bits_) ? INT64_MAX - 1
                                                                       : static_cast<std::int64_t>(at << grain_bits_);
  }
  next_.store(next, std::memory_order_relaxed);
}

void timer_wheel::arm(timer_entry* t, std::int64_t when) noexcept {
  t->when = when;
  t->wheel = this;
  insert(t);
  count(1, !t->upkeep);
  std::int64_t const earliest = next_.load(std::memory_order_relaxed);
  if (when < earliest) publish();
}

bool timer_wheel::disarm(timer_entry* t) noexcept {
  if (t->place == 0) return false;
  unlink(t);
  count(-1, -!t->upkeep);
  // Its time may stay announced: somebody looks once too often, and finds the right one.
  if (count_.load(std::memory_order_relaxed) == 0) next_.store(INT64_MAX, std::memory_order_relaxed);
  return true;
}

void timer_wheel::abandon_all() {
  for (slot_lists& slot : slots_)
    for (timer_entry*& head : slot.first)
      while (timer_entry* t = head) {
        unlink(t);
        t->abandon(t);
      }
}

std::size_t timer_wheel::expire(std::int64_t now) {
  // In portions, so that nobody who arms a timer waits long for the lock.
  constexpr std::size_t portion = 64;
  std::uint64_t const until = static_cast<std::uint64_t>(now) >> grain_bits_;
  std::size_t total = 0;
  for (bool more = true; more;) {
    goroutine_core* woken[portion];
    std::size_t woken_count = 0, taken = 0, awaited = 0;
    timer_entry* later = nullptr;
    {
      spin_guard guard(lock_);
      int slot = 0;
      std::uint64_t at = 0;
      more = false;
      while (next_slot(slot, at) && at <= until) {
        now_ = at;
        slot_lists& here = slots_[slot];
        if (slot >= low_slots) {
          slot_lists all = std::exchange(here, {});
          unmark(slot);
          while (!all.empty())
            for (timer_entry*& first : all.first)
              if (timer_entry* t = first) {
                first = t->next;
                __builtin_prefetch(first);
                insert(t);
              }
          continue;
        }
        // All of a portion first: then what they wake is on its way into the cache, one beside the other.
        timer_entry* due[portion];
        std::size_t n = 0;
        while (taken + n < portion && !here.empty())
          for (timer_entry*& first : here.first) {
            timer_entry* const t = first;
            if (t == nullptr || taken + n == portion) continue;
            due[n++] = t;
            first = t->next;
            t->place = 0;
            awaited += !t->upkeep;
            __builtin_prefetch(first);
            __builtin_prefetch(t->wakes, 1);
          }
        for (timer_entry* first : here.first)
          if (first != nullptr) first->prev = nullptr;
        if (here.empty()) unmark(slot);
        taken += n;
        for (std::size_t i = 0; i < n; ++i)
          if (goroutine_core* g = due[i]->expire(due[i], later)) woken[woken_count++] = g;
        if (taken == portion) {
          more = true;
          break;
        }
      }
      if (!more && until > now_) now_ = until;
      count(-static_cast<std::ptrdiff_t>(taken), -static_cast<std::ptrdiff_t>(awaited));
      publish();
    }
    for (std::size_t i = 0; i < woken_count; ++i) schedule_last(woken[i]);
    timer_entry* in_order = nullptr;
    while (later != nullptr) {
      timer_entry* t = later;
      later = t->next;
      t->next = in_order;
      in_order = t;
    }
    while (in_order != nullptr) {
      timer_entry* t = in_order;
      in_order = t->next;
      t->fire(t);
    }
    total += taken;
  }
  return total;
}

}  // namespace leash
