// value: what goes into a statement as a parameter, and what a column of a row holds.
#pragma once
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <leash/sql/error.hpp>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace leash::sql {

using blob = std::vector<std::byte>;
/// A moment, exact to the microsecond, as PostgreSQL keeps it.
using time_point = std::chrono::sys_time<std::chrono::microseconds>;

struct null_t {
  explicit null_t() = default;
};
inline constexpr null_t null{};

enum class value_type : std::uint8_t { null, boolean, integer, real, text, bytes, time };
std::string_view name_of(value_type) noexcept;

/// "2026-11-27 10:41:08.25+00"
std::string to_text(time_point);
/// The inverse, also of a date alone, a T in the middle, Z, another offset, or none (UTC).
std::optional<time_point> to_time(std::string_view) noexcept;

template <class T>
inline constexpr bool is_optional = false;
template <class T>
inline constexpr bool is_optional<std::optional<T>> = true;
template <class T>
concept plain_integer =
    std::integral<T> && !std::same_as<T, bool> && !std::same_as<T, char> && !std::same_as<T, wchar_t> &&
    !std::same_as<T, char8_t> && !std::same_as<T, char16_t> && !std::same_as<T, char32_t>;
template <class T>
concept moment = requires {
  typename T::clock;
  requires std::same_as<typename T::clock, std::chrono::system_clock>;
};

/// One of: null, bool, 64-bit integer, double, text, bytes, a moment.
///
/// Made from what it is given, by value: what a statement is to bind outlives the call that made it. Thread safety: as
/// any value.
class value {
 public:
  value() noexcept {}
  value(null_t) noexcept {}
  value(std::nullopt_t) noexcept {}
  value(std::nullptr_t) noexcept {}
  template <std::same_as<bool> T>
  value(T b) noexcept : held_(b) {}
  /// Errors: error (misuse) for an unsigned number beyond 2^63 - 1.
  template <plain_integer T>
  value(T n) : held_(checked(n)) {}
  template <std::floating_point T>
  value(T d) noexcept : held_(static_cast<double>(d)) {}
  value(std::string s) noexcept : held_(std::move(s)) {}
  value(std::string_view s) : held_(std::string(s)) {}
  value(const char* s) : held_(std::string(s)) {}
  value(blob b) noexcept : held_(std::move(b)) {}
  value(std::span<const std::byte> b) : held_(blob(b.begin(), b.end())) {}
  template <class Duration>
  value(std::chrono::sys_time<Duration> t) : held_(std::chrono::floor<std::chrono::microseconds>(t)) {}
  template <class T>
    requires std::constructible_from<value, T>
  value(std::optional<T> o) {
    if (o) *this = value(std::move(*o));
  }

  value_type type() const noexcept { return static_cast<value_type>(held_.index()); }
  bool is_null() const noexcept { return type() == value_type::null; }

  /// The value as a T: bool, an integer, a floating point number, std::string, std::string_view (refers into this
  /// value), blob, sys_time<...>, optional<any of these> (null: nullopt), value.
  ///
  /// Nothing is lost on the way: an integer that does not fit, a text that is no time, null where no optional is asked
  /// for are errors. What databases lack converts: bool from 0 and 1, a time from text.
  /// Errors: error (misuse), which says what was held and what was asked for.
  template <class T>
  T as() const {
    if constexpr (std::same_as<T, value>) {
      return *this;
    } else if constexpr (is_optional<T>) {
      if (is_null()) return std::nullopt;
      return as<typename T::value_type>();
    } else if constexpr (std::same_as<T, bool>) {
      return as_bool();
    } else if constexpr (plain_integer<T>) {
      std::int64_t const n = as_integer();
      if (!std::in_range<T>(n)) refuse("a smaller integer");
      return static_cast<T>(n);
    } else if constexpr (std::floating_point<T>) {
      return static_cast<T>(as_real());
    } else if constexpr (std::same_as<T, std::string>) {
      return as_text();
    } else if constexpr (std::same_as<T, std::string_view>) {
      return as_text();
    } else if constexpr (std::same_as<T, blob>) {
      return as_bytes();
    } else {
      static_assert(moment<T>, "no value of a column can be had as this type");
      return std::chrono::floor<typename T::duration>(as_time());
    }
  }

  bool operator==(const value&) const = default;
  /// For people: a text is quoted, long ones are cut.
  std::string to_string() const;

  /// For the library.
  template <class T>
  const T* get_if() const noexcept {
    return std::get_if<T>(&held_);
  }

 private:
  template <class T>
  static std::int64_t checked(T n) {
    if (!std::in_range<std::int64_t>(n)) too_large();
    return static_cast<std::int64_t>(n);
  }
  [[noreturn]] static void too_large();
  [[noreturn]] void refuse(std::string_view asked) const;
  bool as_bool() const;
  std::int64_t as_integer() const;
  double as_real() const;
  const std::string& as_text() const;
  const blob& as_bytes() const;
  time_point as_time() const;

  // In the order of value_type.
  std::variant<std::monostate, bool, std::int64_t, double, std::string, blob, time_point> held_;
};

/// What may be given as a parameter.
template <class T>
concept bindable = std::constructible_from<value, T>;

/// What may follow a statement's text: its parameters one by one; or all of them as a range of `value`, when their number is
/// known only at run time.
template <class... A>
concept parameters =
    (bindable<A> && ...) || (sizeof...(A) == 1 && (std::convertible_to<A, std::span<const value>> && ...));

/// A statement's text, shared with whoever used the same one lately on this thread.
std::shared_ptr<const std::string> shared_text(std::string_view);

/// A statement and its parameters, complete in itself.
struct request {
  std::shared_ptr<const std::string> text;
  std::vector<value> params;

  template <class... A>
    requires parameters<A...>
  static request make(std::string_view text, A&&... args) {
    request r{shared_text(text), {}};
    if constexpr ((bindable<A> && ...)) {
      r.params.reserve(sizeof...(A));
      (r.params.emplace_back(value(std::forward<A>(args))), ...);
    } else {
      (..., [&](std::span<const value> all) { r.params.assign(all.begin(), all.end()); }(args));
    }
    return r;
  }
};

}  // namespace leash::sql
