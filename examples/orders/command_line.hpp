// Options that both programs have.
#pragma once
#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <chrono>
#include <cstdint>
#include <map>
#include <string>

namespace orders {

/// An option that takes "200ms", "5s", "2m".
inline void add_time(CLI::App& app, const std::string& name, std::chrono::milliseconds& to, const std::string& help) {
  static const std::map<std::string, std::uint64_t> units{{"ms", 1}, {"s", 1000}, {"m", 60'000}, {"h", 3'600'000}};
  constexpr auto strict =
      CLI::AsNumberWithUnit::Options(CLI::AsNumberWithUnit::CASE_SENSITIVE | CLI::AsNumberWithUnit::UNIT_REQUIRED);
  app.add_option_function<std::uint64_t>(
         name, [&to](std::uint64_t n) { to = std::chrono::milliseconds(n); }, help)
      ->transform(CLI::AsNumberWithUnit(units, strict, "TIME"))
      ->type_name("TIME");
}

}  // namespace orders
