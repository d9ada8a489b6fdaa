// What the functions of the page's API share: replies of JSON, goroutines and places as JSON, numbers in addresses.
// Lists are paged (offset, limit) and counted here, so that the page is as quick with a million goroutines as with ten.
#pragma once
#include <charconv>
#include <leash/looking.hpp>
#include <memory>

#include "json.hpp"
#include "observe/sighting.hpp"
#include "viewer.hpp"

namespace leash::debug {

inline constexpr std::size_t most_rows = 500, deepest_page = 10'000, most_sites = 100;

/// `s` as a number, `most` at most; `otherwise` if it is none.
inline std::size_t number(std::string_view s, std::size_t otherwise, std::size_t most) {
  std::size_t n = 0;
  if (s.empty() || std::from_chars(s.data(), s.data() + s.size(), n).ec != std::errc{}) return otherwise;
  return std::min(n, most);
}

inline reply as_json(std::unique_ptr<source> s) {
  reply r;
  r.type = "application/json";
  r.stream = std::move(s);
  return r;
}
template <class F>
reply json_at_once(F f) {
  reply r;
  r.type = "application/json";
  json j(r.body);
  f(j);
  return r;
}

/// "labels": those further in hide the outer ones of the same key.
void write_labels(json&, const std::vector<std::pair<std::string, std::string>>& labels, std::size_t n);
/// The members of an object that is open.
void write_row(json&, const goroutine_info&);

}  // namespace leash::debug
