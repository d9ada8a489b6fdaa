#include <leash/shared.hpp>

namespace leash {

constinit std::atomic<bool> any_tracked_memory{false};

void block_core::free() noexcept {
  std::size_t const n = bytes;
  this->~block_core();
  arena::deallocate(arena::kind::object, this, n);
}

block_core* block_around(const void* inside) noexcept {
  arena::slot const at = arena::slot_at(inside);
  if (at.start == nullptr || at.what != arena::kind::object) return nullptr;
  auto* o = reinterpret_cast<object*>(at.start);
  return o->type.load(std::memory_order_relaxed) == object_type::block ? static_cast<block_core*>(o) : nullptr;
}

}  // namespace leash
