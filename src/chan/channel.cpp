#include <leash/channel.hpp>

namespace leash {

goroutine_core* end_waits(wait_queue& q) noexcept {
  goroutine_core* first = nullptr;
  goroutine_core** last = &first;
  while (waiter* w = q.claim_first()) {
    w->extra = chan_nothing;
    *last = w->who;
    last = &w->who->next;
  }
  *last = nullptr;
  return first;
}

void wake_list(goroutine_core* g) noexcept {
  while (g != nullptr) {
    goroutine_core* next = g->next;
    schedule_last(g);
    g = next;
  }
}

void empty_end(const char* what, std::source_location where) { throw_misuse(what, where); }

}  // namespace leash
