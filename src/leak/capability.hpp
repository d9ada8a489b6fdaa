// The capabilities of each kind of object: how many there are, and whether a wait on it is satisfied already.
#pragma once
#include <cstdint>
#include <leash/scope.hpp>

namespace leash {

inline constexpr std::uint8_t no_class = 255;

/// Which of an object's two counts a capability belongs to; no_class: not one of this type.
constexpr std::uint8_t class_of_capability(object_type t, capability c) noexcept {
  switch (t) {
    case object_type::channel:
      return c == capability::sender ? 0 : c == capability::receiver ? 1 : no_class;
    case object_type::mutex:
      return c == capability::guard ? 0 : no_class;
    case object_type::shared_mutex:
      return c == capability::guard || c == capability::shared_guard ? 0 : no_class;
    case object_type::semaphore:
      return c == capability::permit ? 0 : no_class;
    case object_type::wait_group:
      return c == capability::token ? 0 : no_class;
    case object_type::once:
      return c == capability::call ? 0 : no_class;
    case object_type::cancel_source:
      return c == capability::canceller ? 0 : no_class;
    case object_type::scope:
      return c == capability::remote ? 1 : no_class;
    case object_type::block:
      return c == capability::owner ? 0 : c == capability::watcher ? 1 : no_class;
    case object_type::pool:
      return c == capability::owner ? 0 : no_class;
    default:
      return no_class;
  }
}

/// How many capabilities of a class there are. Read after all scans (rule 2).
std::uint32_t total_of(const object*, std::uint8_t which) noexcept;

/// Both, at one instant.
struct capabilities_of {
  std::uint32_t of[2];
};
capabilities_of totals_of(const object*) noexcept;

/// A scope's members, remote handles included; rather too many than too few. The scope may be gone.
std::uint32_t members_of(const scope_core*) noexcept;
/// True if a member has left since this pass began. Read after the members.
bool left_since(const scope_core*, std::uint32_t pass) noexcept;

/// True if a place is free under its max_children.
bool has_place(const scope_core*) noexcept;

/// The totals, and, rule 1, whether a wait for the class is satisfied already: then its waker is on the way. Both from
/// one reading: whoever reads a total a second time may miss the moment in which it was 0.
struct object_state {
  std::uint32_t total[2];
  bool satisfied[2];
  /// Of an object that is another one by now.
  static object_state unknown() noexcept { return {{UINT32_MAX, UINT32_MAX}, {false, false}}; }
};
object_state state_of(const object*, object_type) noexcept;

/// First come, first served: one that gives up lets those behind it in. So one live waiter keeps all of them live.
inline bool in_line(object_type t) noexcept { return t == object_type::semaphore || t == object_type::shared_mutex; }
/// How many stand in line there.
std::uint32_t queued_at(const object*) noexcept;

/// Memory whose contents count as found once all handles to it are.
inline bool has_contents(object_type t) noexcept { return t == object_type::block || t == object_type::pool; }

/// Where an object of that type was made. Empty if there is none any more: then its memory may hold anything.
std::source_location site_of(const object*, object_type) noexcept;

/// In reports: what the object is, and what its capabilities are called.
const char* type_name(object_type) noexcept;
const char* capability_name(object_type, std::uint32_t which) noexcept;

}  // namespace leash
