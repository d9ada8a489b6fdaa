#include <leash/tracked.hpp>
#include <new>

namespace leash {

void* pool_core::allocate(std::size_t bytes) {
  std::size_t const n = sizeof(tracked_chunk) + bytes;
  auto* c = ::new (arena::allocate(arena::kind::object, n)) tracked_chunk(this, n);
  sides.fetch_add(1, std::memory_order_relaxed);
  spin_guard guard(lock);
  c->next = chunks;
  if (chunks != nullptr) chunks->prev = c;
  chunks = c;
  count.store(count.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  return c + 1;
}

void pool_core::deallocate(void* p) noexcept {
  auto* c = static_cast<tracked_chunk*>(p) - 1;
  pool_core* pool = c->pool;
  {
    spin_guard guard(pool->lock);
    (c->prev != nullptr ? c->prev->next : pool->chunks) = c->next;
    if (c->next != nullptr) c->next->prev = c->prev;
    pool->count.store(pool->count.load(std::memory_order_relaxed) - 1, std::memory_order_relaxed);
  }
  pool->gave_up.leave();  // the memory may be another pool's soon
  std::size_t const n = c->bytes;
  c->~tracked_chunk();
  arena::deallocate(arena::kind::object, c, n);
  pool->drop_side();
}

}  // namespace leash
