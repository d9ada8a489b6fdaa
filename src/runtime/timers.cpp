#include <bit>
#include <leash/timers.hpp>

namespace leash {

void timer_wheel::start(std::int64_t now, int grain_bits) noexcept {
  grain_bits_ = grain_bits;
  now_ = static_cast<std::uint64_t>(now) >> grain_bits;
}

void timer_wheel::insert(timer_entry* t) noexcept {
  std::uint64_t at = grain_of(t->when);
  if (at < now_) at = now_;
  std::uint64_t const differs = (at ^ now_) | 63;
  int const level = (63 - std::countl_zero(differs)) / 6;
  int const slot = static_cast<int>(at >> (level * 6)) & 63;
  timer_entry*& head = slots_[level][slot];
  t->prev = nullptr;
  t->next = head;
  if (head != nullptr) head->prev = t;
  head = t;
  occupied_[level] |= std::uint64_t{1} << slot;
  t->place = static_cast<std::uint16_t>(level * 64 + slot + 1);
}

void timer_wheel::unlink(timer_entry* t) noexcept {
  int const level = (t->place - 1) / 64, slot = (t->place - 1) % 64;
  (t->prev != nullptr ? t->prev->next : slots_[level][slot]) = t->next;
  if (t->next != nullptr) t->next->prev = t->prev;
  if (slots_[level][slot] == nullptr) occupied_[level] &= ~(std::uint64_t{1} << slot);
  t->place = 0;
}

bool timer_wheel::next_slot(int& level, int& slot, std::uint64_t& at) const noexcept {
  // A lower level's slots all come before those of the levels above.
  for (level = 0; level < levels; ++level) {
    if (occupied_[level] == 0) continue;
    int const here = static_cast<int>(now_ >> (level * 6)) & 63;
    std::uint64_t const ahead = occupied_[level] >> here;
    if (ahead == 0) continue;
    slot = here + std::countr_zero(ahead);
    std::uint64_t const low = (std::uint64_t{1} << (level * 6)) - 1;
    std::uint64_t const group = std::uint64_t{63} << (level * 6);
    at = (now_ & ~(group | low)) | static_cast<std::uint64_t>(slot) << (level * 6);
    if (at < now_) at = now_;
    return true;
  }
  return false;
}

void timer_wheel::publish() noexcept {
  int level = 0, slot = 0;
  std::uint64_t at = 0;
  std::int64_t next = INT64_MAX;
  if (next_slot(level, slot, at)) {
    next = at > (static_cast<std::uint64_t>(INT64_MAX) >> grain_bits_) ? INT64_MAX - 1
                                                                       : static_cast<std::int64_t>(at << grain_bits_);
  }
  next_.store(next, std::memory_order_relaxed);
}

void timer_wheel::arm(timer_entry* t, std::int64_t when) noexcept {
  t->when = when;
  t->wheel = this;
  insert(t);
  count_.store(count_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  std::int64_t const earliest = next_.load(std::memory_order_relaxed);
  if (when < earliest) publish();
}

bool timer_wheel::disarm(timer_entry* t) noexcept {
  if (t->place == 0) return false;
  unlink(t);
  count_.store(count_.load(std::memory_order_relaxed) - 1, std::memory_order_relaxed);
  // Its time may stay announced: somebody looks once too often, and finds the right one.
  if (count_.load(std::memory_order_relaxed) == 0) next_.store(INT64_MAX, std::memory_order_relaxed);
  return true;
}

void timer_wheel::abandon_all() {
  for (auto& level : slots_)
    for (timer_entry*& head : level)
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
    std::size_t woken_count = 0, taken = 0;
    timer_entry* later = nullptr;
    {
      spin_guard guard(lock_);
      int level = 0, slot = 0;
      std::uint64_t at = 0;
      more = false;
      while (next_slot(level, slot, at) && at <= until) {
        now_ = at;
        timer_entry*& head = slots_[level][slot];
        if (level > 0) {
          timer_entry* list = head;
          head = nullptr;
          occupied_[level] &= ~(std::uint64_t{1} << slot);
          while (list != nullptr) {
            timer_entry* t = list;
            list = t->next;
            if (list != nullptr) __builtin_prefetch(list->next);
            insert(t);
          }
          continue;
        }
        while (head != nullptr && taken < portion) {
          timer_entry* t = head;
          unlink(t);
          ++taken;
          if (goroutine_core* g = t->expire(t, later)) woken[woken_count++] = g;
        }
        if (taken == portion) {
          more = true;
          break;
        }
      }
      if (!more && until > now_) now_ = until;
      count_.store(count_.load(std::memory_order_relaxed) - taken, std::memory_order_relaxed);
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
