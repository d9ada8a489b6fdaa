#include "frozen.hpp"

namespace leash::frozen {

promise_base* parent_of(const promise_base* p) noexcept {
  await_link* up = *const_cast<await_link* const volatile*>(&p->up);
  if (up == nullptr || !arena::contains(up)) return nullptr;
  promise_base* parent = *const_cast<promise_base* volatile*>(&up->parent);
  return arena::contains(parent) ? parent : nullptr;
}

std::source_location where_of(const promise_base* p) noexcept { return read(p->where); }

waiter* waiter_of(const goroutine_core* g, std::uint32_t i) noexcept {
  waiter* first = *const_cast<waiter* const volatile*>(&g->wait);
  if (!arena::contains(first)) return nullptr;
  if (read(g->wait_count) == 1) return i == 0 ? first : nullptr;
  waiter* w = reinterpret_cast<waiter* const volatile*>(first)[i];
  return arena::contains(w) ? w : nullptr;
}

}  // namespace leash::frozen
