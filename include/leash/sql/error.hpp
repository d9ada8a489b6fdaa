// error: what went wrong in a database, in one type for all of them.
#pragma once
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>

namespace leash::sql {

/// What a program may want to do about it; sqlstate() says more.
enum class error_kind : std::uint8_t {
  other,
  misuse,         // of this library: a wrong type, a closed pool, one connection in two goroutines at once
  connection,     // not made, or lost; of a COMMIT: whether it was done is unknown
  timeout,        // the connection was not made in time
  busy,           // others held a lock for too long
  serialization,  // the transaction met another one: try it again
  unique,         // a value is there already
  constraint,     // another constraint
  syntax,         // no such table, column, function; not SQL
  permission,
  disk_full,
  cancelled,    // on the server, by somebody else or its own timeout
  rolled_back,  // the database has rolled the transaction back, and the body went on as if it had not
};
std::string_view name_of(error_kind) noexcept;

/// Thrown by everything in leash::sql.
class error : public std::runtime_error {
 public:
  /// code: SQLite's extended result code; 0 for PostgreSQL. statement: its text; may be empty.
  error(error_kind, std::string_view message, std::string_view sqlstate = {}, int code = 0,
        std::string_view statement = {});

  error_kind kind() const noexcept { return kind_; }
  /// Five characters, also from SQLite, whose codes are given the standard's where it has one: "23505", a value that is
  /// there already. Empty: none.
  const std::string& sqlstate() const noexcept { return details_->sqlstate; }
  int code() const noexcept { return code_; }
  /// What the database said; what() adds codes and statement.
  const std::string& message() const noexcept { return details_->message; }
  const std::string& statement() const noexcept { return details_->statement; }
  /// True if the same transaction may succeed when it is begun again.
  bool retryable() const noexcept { return kind_ == error_kind::serialization || kind_ == error_kind::busy; }

 private:
  struct details {
    std::string message, sqlstate, statement;
  };
  std::shared_ptr<const details> details_;  // copying an exception must not throw
  error_kind kind_;
  int code_;
};

}  // namespace leash::sql
