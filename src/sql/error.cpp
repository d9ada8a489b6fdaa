#include <leash/sql/error.hpp>

namespace leash::sql {

static std::string in_full(std::string_view message, std::string_view sqlstate, int code, std::string_view statement) {
  std::string all(message);
  if (!sqlstate.empty()) all.append(" (SQLSTATE ").append(sqlstate);
  if (code != 0) all.append(sqlstate.empty() ? " (" : ", ").append("SQLite ").append(std::to_string(code));
  if (!sqlstate.empty() || code != 0) all.append(")");
  constexpr std::size_t most = 400;
  if (!statement.empty()) {
    all.append(" in: ").append(statement.substr(0, most));
    if (statement.size() > most) all.append("...");
  }
  return all;
}

error::error(error_kind kind, std::string_view message, std::string_view sqlstate, int code, std::string_view statement)
    : std::runtime_error(in_full(message, sqlstate, code, statement)),
      details_(std::make_shared<const details>(
          details{std::string(message), std::string(sqlstate), std::string(statement)})),
      kind_(kind),
      code_(code) {}

std::string_view name_of(error_kind k) noexcept {
  switch (k) {
    case error_kind::other:
      return "other";
    case error_kind::misuse:
      return "misuse";
    case error_kind::connection:
      return "connection";
    case error_kind::timeout:
      return "timeout";
    case error_kind::busy:
      return "busy";
    case error_kind::serialization:
      return "serialization";
    case error_kind::unique:
      return "unique";
    case error_kind::constraint:
      return "constraint";
    case error_kind::syntax:
      return "syntax";
    case error_kind::permission:
      return "permission";
    case error_kind::disk_full:
      return "disk full";
    case error_kind::cancelled:
      return "cancelled";
    case error_kind::rolled_back:
      return "rolled back";
  }
  return "?";
}

}  // namespace leash::sql
