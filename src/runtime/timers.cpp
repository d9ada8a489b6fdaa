#include <leash/timers.hpp>

namespace leash {

void timer_heap::sift_up(std::size_t i, key k) noexcept {
  while (i > 0) {
    std::size_t const parent = (i - 1) / 4;
    if (entries_[parent].when <= k.when) break;
    place(i, entries_[parent]);
    i = parent;
  }
  place(i, k);
}

void timer_heap::sift_down(std::size_t i, key k) noexcept {
  std::size_t const n = entries_.size();
  for (;;) {
    std::size_t const first = i * 4 + 1;
    if (first >= n) break;
    std::size_t least = first;
    std::size_t const end = first + 4 < n ? first + 4 : n;
    for (std::size_t c = first + 1; c < end; ++c)
      if (entries_[c].when < entries_[least].when) least = c;
    if (entries_[least].when >= k.when) break;
    place(i, entries_[least]);
    i = least;
  }
  place(i, k);
}

void timer_heap::arm(timer_entry* t, std::int64_t when) {
  entries_.emplace_back();
  t->when = when;
  t->heap = this;
  sift_up(entries_.size() - 1, {when, t});
  publish();
}

void timer_heap::take_out(std::size_t i) noexcept {
  entries_[i].entry->index = 0;
  key const last = entries_.back();
  entries_.pop_back();
  if (i == entries_.size()) return;
  if (i > 0 && last.when < entries_[(i - 1) / 4].when) {
    sift_up(i, last);
  } else {
    sift_down(i, last);
  }
}

bool timer_heap::disarm(timer_entry* t) noexcept {
  if (t->index == 0) return false;
  take_out(t->index - 1);
  publish();
  return true;
}

std::size_t timer_heap::expire(std::int64_t now) {
  // In portions, so that nobody who arms a timer waits long for the lock.
  constexpr std::size_t portion = 64;
  std::size_t total = 0;
  for (;;) {
    goroutine_core* woken[portion];
    std::size_t woken_count = 0, taken = 0;
    timer_entry* later = nullptr;
    {
      spin_guard guard(lock_);
      while (taken < portion && !entries_.empty() && entries_.front().when <= now) {
        timer_entry* t = entries_.front().entry;
        take_out(0);
        ++taken;
        if (goroutine_core* g = t->expire(t, later)) woken[woken_count++] = g;
      }
      publish();
    }
    for (std::size_t i = 0; i < woken_count; ++i) schedule_last(woken[i]);
    timer_entry* in_order = nullptr;
    while (later != nullptr) {
      timer_entry* t = later;
      later = t->next_later;
      t->next_later = in_order;
      in_order = t;
    }
    later = in_order;
    while (later != nullptr) {
      timer_entry* t = later;
      later = t->next_later;
      t->fire(t);
    }
    total += taken;
    if (taken < portion) return total;
  }
}

}  // namespace leash
