// What every thing that can be waited for has in common: the header that the leak marker reads.
#pragma once
#include <atomic>
#include <cstdint>
#include <leash/arena.hpp>
#include <leash/pass_note.hpp>
#include <source_location>

namespace leash {

enum class object_type : std::uint8_t {
  none,
  channel,
  mutex,
  shared_mutex,
  semaphore,
  wait_group,
  once,
  event,
  condition,
  context,
  scope,
  cancel_source,
  lineage,
  block,  // a shared or boxed value
  pool,   // the memory of a tracked container
  chunk,  // one allocation of a pool
};

/// The core of a channel, lock, context...: lies in the arena, so that a pointer found in a frozen frame can be checked
/// and read whatever became of it.
struct object : arena::allocated<arena::kind::object> {
  std::atomic<object_type> type{object_type::none};
  // Of a block, pool or channel; they lie here because there is room.
  bool sole = false;    // no second handle can own it
  bool plain = false;   // its values have no destructor: they hold no handles
  pass_note<> gave_up;  // a handle to it, or memory of a pool; of a channel: it was made
  std::source_location made_at;

  explicit object(object_type t, std::source_location where = {}) noexcept : made_at(where) {
    type.store(t, std::memory_order_relaxed);
  }
  object(const object&) = delete;
  object& operator=(const object&) = delete;
  ~object() { type.store(object_type::none, std::memory_order_relaxed); }
};

/// The core of something that has no handles (event, condition): whoever reaches the user's object can complete a wait
/// on it, so the proof asks where that object lies.
struct placed_object : object {
  const void* home;  // the user's object
  placed_object(object_type t, const void* at, std::source_location where) noexcept : object(t, where), home(at) {}
};

}  // namespace leash
