// listen: a database's notifications (LISTEN, NOTIFY) as a channel.
#pragma once
#include <leash/cancel.hpp>
#include <leash/channel.hpp>
#include <leash/scope.hpp>
#include <leash/sql/pool.hpp>
#include <string>
#include <vector>

namespace leash::sql {

struct notification {
  std::string channel, payload;
  /// The connection was lost and made again: notifications may have been missed, look at the tables themselves.
  /// channel and payload are empty.
  bool missed = false;
};

/// The receiving end. Dropped, it ends its goroutine. Move-only.
class [[nodiscard]] listener {
 public:
  listener(listener&&) noexcept = default;
  listener& operator=(listener&&) noexcept;
  ~listener();

  /// The next notification; nullopt, there will be none: the scope's context has ended (PostgreSQL), the pool is gone
  /// (SQLite). As receiver::recv: selectable.
  recv_operation<notification> recv() noexcept { return from_.recv(); }

  /// For the library.
  listener(receiver<notification> from, cancel_source stop) noexcept : from_(std::move(from)), stop_(std::move(stop)) {}

 private:
  receiver<notification> from_;
  cancel_source stop_;
};

/// Listens to some channels of the database, with a connection of its own (beyond max_open) and a goroutine in the
/// scope `s`.
///
/// Returns: once all are listened to: what is notified from now on is received. PostgreSQL: a connection that is lost is
///   made again, as often as needed, and then told by `missed`. SQLite: what this process notifies through the same
///   pool.
/// Back-pressure: `capacity` notifications wait here, the rest with the server. Errors: error.
task<listener> listen(scope& s, pool& p, std::vector<std::string> channels, std::size_t capacity = 256);

}  // namespace leash::sql
