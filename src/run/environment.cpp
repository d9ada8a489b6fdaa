#include "environment.hpp"

#include <charconv>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <string_view>

namespace leash {

namespace {

/// Null: not set, or the process has more rights than whoever started it.
const char* variable(const char* name) noexcept {
  const char* const value = ::secure_getenv(name);
  return value != nullptr && *value != '\0' ? value : nullptr;
}

[[noreturn]] void refuse(const char* name, std::string_view value, std::string_view allowed) {
  throw std::invalid_argument("leash: the environment variable " + std::string(name) + " is \"" + std::string(value) +
                              "\"; allowed: " + std::string(allowed));
}

void read_number(const char* name, unsigned most, unsigned& to) {
  const char* const value = variable(name);
  if (value == nullptr) return;
  std::string_view const s = value;
  unsigned n = 0;
  auto const [end, error] = std::from_chars(s.data(), s.data() + s.size(), n);
  if (error != std::errc() || end != s.data() + s.size() || n > most)
    refuse(name, s, "a whole number from 0 (the default) to " + std::to_string(most));
  to = n;
}

/// "10s", "1m30s", "0".
bool parse_duration(std::string_view s, nanoseconds& to) {
  if (s == "0") {
    to = {};
    return true;
  }
  static constexpr struct {
    std::string_view name;
    std::int64_t ns;
  } units[] = {{"ns", 1},
               {"us", 1'000},
               {"ms", 1'000'000},
               {"s", 1'000'000'000},
               {"m", 60'000'000'000},
               {"h", 3'600'000'000'000}};
  std::int64_t sum = 0;
  for (const char *at = s.data(), *const end = at + s.size(); at != end;) {
    std::int64_t n = 0;
    auto const [after, error] = std::from_chars(at, end, n);
    if (error != std::errc() || n < 0) return false;
    std::size_t letters = 0;
    while (after + letters != end && after[letters] >= 'a' && after[letters] <= 'z') ++letters;
    std::int64_t one = 0;
    for (auto& u : units)
      if (u.name == std::string_view(after, letters)) one = u.ns;
    std::int64_t part = 0;
    if (one == 0 || __builtin_mul_overflow(n, one, &part) || __builtin_add_overflow(sum, part, &sum)) return false;
    at = after + letters;
  }
  to = nanoseconds(sum);
  return true;
}

void read_duration(const char* name, const char* zero, nanoseconds& to) {
  const char* const value = variable(name);
  if (value != nullptr && !parse_duration(value, to))
    refuse(name, value,
           std::string("a duration of whole numbers and the units ns, us, ms, s, m, h, as 500ms or 1m30s; 0: ") + zero);
}

void read_action(const char* name, leak_action& to) {
  const char* const value = variable(name);
  if (value == nullptr) return;
  std::string_view const s = value;
  if (s == "report")
    to = leak_action::report;
  else if (s == "reclaim")
    to = leak_action::reclaim;
  else if (s == "abort")
    to = leak_action::abort;
  else
    refuse(name, s, "report, reclaim or abort");
}

}  // namespace

options with_environment(options o) {
  read_number("LEASH_WORKERS", max_workers, o.workers);
  read_number("LEASH_BLOCKING_THREADS", most_blocking_threads, o.blocking_threads);
  read_duration("LEASH_LEAK_CHECK_EVERY", "only when everything is at rest", o.leak_check_every);
  read_action("LEASH_LEAK_ACTION", o.action);
  read_duration("LEASH_STUCK_AFTER", "at once", o.stuck_after);
  return o;
}

}  // namespace leash
