#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <leash/sql/value.hpp>

namespace leash::sql {

std::string_view name_of(value_type t) noexcept {
  constexpr std::string_view names[] = {"null", "boolean", "integer", "real", "text", "bytes", "time"};
  return names[static_cast<std::size_t>(t)];
}

// --- times

std::string to_text(time_point t) {
  using namespace std::chrono;
  auto const day = floor<days>(t);
  year_month_day const date(day);
  hh_mm_ss const clock(t - day);
  // Years before 1 are told with "BC", as PostgreSQL does: the year 0 is 1 BC.
  int const year = static_cast<int>(date.year());
  char text[64];
  int n = std::snprintf(text, sizeof text, "%04d-%02u-%02u %02d:%02d:%02d", year > 0 ? year : 1 - year,
                        static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                        static_cast<int>(clock.hours().count()), static_cast<int>(clock.minutes().count()),
                        static_cast<int>(clock.seconds().count()));
  std::string s(text, static_cast<std::size_t>(n));
  if (auto const micros = clock.subseconds().count(); micros != 0) {
    n = std::snprintf(text, sizeof text, ".%06d", static_cast<int>(micros));
    s.append(text, static_cast<std::size_t>(n));
    while (s.back() == '0') s.pop_back();
  }
  s += "+00";
  if (year <= 0) s += " BC";
  return s;
}

namespace {

class reader {
 public:
  explicit reader(std::string_view s) noexcept : rest_(s) {}
  /// A number of at least `least` digits.
  bool number(int& n, std::size_t least) noexcept {
    auto const r = std::from_chars(rest_.data(), rest_.data() + rest_.size(), n);
    auto const digits = static_cast<std::size_t>(r.ptr - rest_.data());
    if (r.ec != std::errc() || n < 0 || digits < least) return false;
    rest_.remove_prefix(digits);
    return true;
  }
  bool skip(char c) noexcept {
    if (rest_.empty() || rest_.front() != c) return false;
    rest_.remove_prefix(1);
    return true;
  }
  bool skip(std::string_view s) noexcept {
    if (!rest_.starts_with(s)) return false;
    rest_.remove_prefix(s.size());
    return true;
  }
  char next() const noexcept { return rest_.empty() ? '\0' : rest_.front(); }
  bool at_end() const noexcept { return rest_.empty(); }

 private:
  std::string_view rest_;
};

}  // namespace

std::optional<time_point> to_time(std::string_view s) noexcept {
  using namespace std::chrono;
  reader in(s);
  int y = 0, mo = 0, d = 0, h = 0, mi = 0, sec = 0, micros = 0, offset = 0;
  if (!in.number(y, 4) || !in.skip('-') || !in.number(mo, 2) || !in.skip('-') || !in.number(d, 2)) return std::nullopt;
  if (in.next() == 'T' || (in.next() == ' ' && s.size() > 11 && s[11] != 'B')) {
    in.skip(in.next());
    if (!in.number(h, 2) || !in.skip(':') || !in.number(mi, 2)) return std::nullopt;
    if (in.skip(':') && !in.number(sec, 2)) return std::nullopt;
    if (in.skip('.')) {
      int weight = 100'000, digits = 0;
      for (; in.next() >= '0' && in.next() <= '9'; weight /= 10, ++digits) {
        micros += (in.next() - '0') * weight;
        in.skip(in.next());
      }
      if (digits == 0) return std::nullopt;
    }
    if (!in.skip('Z') && (in.next() == '+' || in.next() == '-')) {
      int const sign = in.next() == '+' ? 1 : -1;
      int oh = 0, om = 0, os = 0;
      in.skip(in.next());
      if (!in.number(oh, 2)) return std::nullopt;
      if (oh > 99) {  // +0530
        om = oh % 100;
        oh /= 100;
      }
      if (in.skip(':') && !in.number(om, 2)) return std::nullopt;
      if (in.skip(':') && !in.number(os, 2)) return std::nullopt;
      offset = sign * (oh * 3600 + om * 60 + os);
    }
  }
  if (in.skip(std::string_view(" BC"))) y = 1 - y;
  if (!in.at_end() || h > 24 || mi > 59 || sec > 60 || y > 32'767 || y < -32'767) return std::nullopt;
  year_month_day const date(year(y), month(static_cast<unsigned>(mo)), day(static_cast<unsigned>(d)));
  if (!date.ok()) return std::nullopt;
  return time_point(sys_days(date)) + hours(h) + minutes(mi) + seconds(sec - offset) + microseconds(micros);
}

// --- values

void value::too_large() {
  throw error(error_kind::misuse, "a parameter is an unsigned integer beyond 2^63 - 1, which no column holds");
}
void value::refuse(std::string_view asked) const {
  std::string text("a column holds ");
  text.append(name_of(type()));
  if (!is_null()) text.append(" ").append(to_string());
  throw error(error_kind::misuse, text.append(", asked for as ").append(asked));
}

bool value::as_bool() const {
  if (auto* b = get_if<bool>()) return *b;
  if (auto* n = get_if<std::int64_t>(); n != nullptr && (*n == 0 || *n == 1)) return *n == 1;
  refuse("a boolean");
}
std::int64_t value::as_integer() const {
  if (auto* n = get_if<std::int64_t>()) return *n;
  refuse("an integer");
}
double value::as_real() const {
  if (auto* d = get_if<double>()) return *d;
  // Every integer up to 2^53 is a double.
  if (auto* n = get_if<std::int64_t>(); n != nullptr && *n <= (std::int64_t{1} << 53) && *n >= -(std::int64_t{1} << 53))
    return static_cast<double>(*n);
  refuse("a real number");
}
const std::string& value::as_text() const {
  if (auto* s = get_if<std::string>()) return *s;
  refuse("text");
}
const blob& value::as_bytes() const {
  if (auto* b = get_if<blob>()) return *b;
  refuse("bytes");
}
time_point value::as_time() const {
  if (auto* t = get_if<time_point>()) return *t;
  if (auto* s = get_if<std::string>())
    if (auto t = to_time(*s)) return *t;
  refuse("a time");
}

std::string value::to_string() const {
  constexpr std::size_t most = 60;
  switch (type()) {
    case value_type::null:
      return "null";
    case value_type::boolean:
      return *get_if<bool>() ? "true" : "false";
    case value_type::integer:
      return std::to_string(*get_if<std::int64_t>());
    case value_type::real: {
      char text[40];
      auto const r = std::to_chars(text, text + sizeof text, *get_if<double>());
      return std::string(text, r.ptr);
    }
    case value_type::text: {
      auto& s = *get_if<std::string>();
      return "'" + s.substr(0, most) + (s.size() > most ? "...'" : "'");
    }
    case value_type::bytes:
      return "(" + std::to_string(get_if<blob>()->size()) + " bytes)";
    case value_type::time:
      return to_text(*get_if<time_point>());
  }
  return "?";
}

// Most programs run few statements, and each of them often.
std::shared_ptr<const std::string> shared_text(std::string_view text) {
  constexpr std::size_t places = 64, longest = 1024;
  if (text.size() > longest) return std::make_shared<const std::string>(text);
  thread_local std::array<std::shared_ptr<const std::string>, places> lately;
  // Literals differ by their places; what does not is told by the comparison.
  auto& at = lately[(reinterpret_cast<std::uintptr_t>(text.data()) / 8 + text.size()) % places];
  if (at == nullptr || *at != text) at = std::make_shared<const std::string>(text);
  return at;
}

}  // namespace leash::sql
