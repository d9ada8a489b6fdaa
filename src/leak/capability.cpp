#include "capability.hpp"

#include <cstring>
#include <leash/condition.hpp>
#include <leash/mutex.hpp>
#include <leash/once.hpp>
#include <leash/semaphore.hpp>
#include <leash/shared_mutex.hpp>
#include <leash/tracked.hpp>
#include <leash/wait_group.hpp>

#include "../observe/frozen.hpp"

namespace leash {

template <class T>
static const T& as(const object* o) noexcept {
  return *static_cast<const T*>(o);
}

LEASH_READS_FROZEN std::uint32_t total_of(const object* o, std::uint8_t which) noexcept {
  switch (frozen::read(o->type)) {
    case object_type::channel:
      return which == 0 ? frozen::read(as<chan_core>(o).senders) : frozen::read(as<chan_core>(o).receivers);
    case object_type::mutex:
      return (frozen::read(as<mutex_core>(o).state) & mutex_core::locked) != 0 ? 1 : 0;
    case object_type::shared_mutex:
      return frozen::read(as<shared_mutex_core>(o).holders);
    case object_type::semaphore:
      return frozen::read(as<semaphore_core>(o).holders);
    case object_type::wait_group:
      return frozen::read(as<wait_group_core>(o).tokens);
    case object_type::once:
      return frozen::read(as<once_core>(o).calls);
    case object_type::cancel_source:
      return frozen::read(as<canceller_core>(o).handles);
    case object_type::scope:
      return which == 1 ? frozen::read(as<scope_core>(o).remotes) : 0;
    case object_type::block:
      return totals_of(o).of[which];
    case object_type::pool:
      return which == 0 ? frozen::read(as<pool_core>(o).owners) : 0;
    case object_type::event:
    case object_type::condition:
      return 0;
    default:
      return UINT32_MAX;  // no such thing any more: live
  }
}

LEASH_READS_FROZEN capabilities_of totals_of(const object* o) noexcept {
  if (frozen::read(o->type) != object_type::block) return {{total_of(o, 0), total_of(o, 1)}};
  // An owner makes watchers and a watcher owners, so they are read as one.
  std::uint64_t const both = frozen::read(as<block_core>(o).counts.word);
  return {{block_counts<>::owners_in(both), block_counts<>::watchers_in(both)}};
}

LEASH_READS_FROZEN std::uint32_t members_of(const scope_core* s) noexcept {
  std::uint32_t n = 0;
  scope_shard const* all = frozen::read(s->more);
  // Ends before starts, over all shards: a member that starts another one and ends is seen, or its child is.
  n -= frozen::read(s->first.ended);
  if (arena::contains(all))
    for (std::size_t i = 0; i < scope_core::shards; ++i) n -= frozen::read(all[i].ended);
  std::atomic_thread_fence(std::memory_order_acquire);
  all = frozen::read(s->more);
  n += frozen::read(s->first.started);
  if (arena::contains(all))
    for (std::size_t i = 0; i < scope_core::shards; ++i) n += frozen::read(all[i].started);
  return n;
}

LEASH_READS_FROZEN bool left_since(const scope_core* s, std::uint32_t pass) noexcept {
  std::atomic_thread_fence(std::memory_order_acquire);
  bool left = frozen::read(s->first.left.number()) == pass;
  scope_shard const* all = frozen::read(s->more);
  if (arena::contains(all))
    for (std::size_t i = 0; i < scope_core::shards; ++i) left |= frozen::read(all[i].left.number()) == pass;
  return left;
}

LEASH_READS_FROZEN bool has_place(const scope_core* s) noexcept {
  return frozen::read(s->running) < frozen::read(s->limit);
}

LEASH_READS_FROZEN static object_state state_of_channel(const chan_core& c) noexcept {
  std::uint32_t const senders = frozen::read(c.senders), receivers = frozen::read(c.receivers);
  bool const moves = frozen::read(c.closed) || frozen::read(c.in_transit) != 0;
  std::size_t const buffered = frozen::read(c.buffered);
  // Of values that each receiver takes some may be left though this one has seen them all; whoever puts one wakes it.
  bool const served = frozen::read(c.kind) == chan_kind::queue && buffered != 0;
  return {{senders, receivers},
          {moves || senders == 0 || served, moves || receivers == 0 || buffered < frozen::read(c.capacity)}};
}

LEASH_READS_FROZEN static bool satisfied(const object* o, object_type type, std::uint8_t which,
                                         std::uint32_t total) noexcept {
  switch (type) {
    case object_type::mutex:
    case object_type::shared_mutex:
    case object_type::semaphore:
    case object_type::wait_group:
      return total == 0;
    case object_type::once:
      return total == 0 || frozen::read(as<once_core>(o).done);
    case object_type::cancel_source:
      return false;
    case object_type::scope:
    case object_type::condition:
      return false;
    case object_type::block:
    case object_type::pool:
      return which == 0 && total == 0;  // it is being made or destroyed: somebody reaches it without a handle
    case object_type::event:
      return frozen::read(as<event_core>(o).set);
    default:
      return true;
  }
}

LEASH_READS_FROZEN object_state state_of(const object* o, object_type type) noexcept {
  if (type == object_type::channel) return state_of_channel(as<chan_core>(o));
  capabilities_of const total = totals_of(o);
  return {{total.of[0], total.of[1]}, {satisfied(o, type, 0, total.of[0]), satisfied(o, type, 1, total.of[1])}};
}

LEASH_READS_FROZEN std::uint32_t queued_at(const object* o) noexcept {
  std::uint32_t const n =
      frozen::read(frozen::read(o->type) == object_type::semaphore ? as<semaphore_core>(o).queue.size()
                                                                   : as<shared_mutex_core>(o).queue.size());
  std::atomic_thread_fence(std::memory_order_acquire);
  return n;
}

LEASH_READS_FROZEN std::source_location site_of(const object* o, object_type type) noexcept {
  // Twice: of an object that is freed and made again in between the first may be a link of the free list.
  std::source_location const first = frozen::read(o->made_at);
  std::atomic_thread_fence(std::memory_order_acquire);
  bool const same_type = frozen::read(o->type) == type;
  std::atomic_thread_fence(std::memory_order_acquire);
  std::source_location const second = frozen::read(o->made_at);
  return same_type && std::memcmp(&first, &second, sizeof first) == 0 ? second : std::source_location();
}

const char* type_name(object_type t) noexcept {
  switch (t) {
    case object_type::channel:
      return "channel";
    case object_type::mutex:
      return "mutex";
    case object_type::shared_mutex:
      return "shared_mutex";
    case object_type::semaphore:
      return "semaphore";
    case object_type::wait_group:
      return "wait_group";
    case object_type::once:
      return "once";
    case object_type::cancel_source:
      return "cancel source";
    case object_type::scope:
      return "scope";
    case object_type::event:
      return "event";
    case object_type::condition:
      return "condition";
    case object_type::block:
      return "shared object";
    case object_type::pool:
      return "tracked container";
    default:
      return "object";
  }
}

const char* capability_name(object_type t, std::uint32_t which) noexcept {
  switch (t) {
    case object_type::channel:
      return which == 0 ? "sender" : "receiver";
    case object_type::mutex:
    case object_type::shared_mutex:
      return "guard";
    case object_type::semaphore:
      return "permit";
    case object_type::wait_group:
      return "token";
    case object_type::once:
      return "running call";
    case object_type::cancel_source:
      return "cancel source";
    case object_type::block:
      return which == 0 ? "handle" : "weak handle";
    case object_type::pool:
      return "handle";
    default:
      return "member";
  }
}

}  // namespace leash
