// A load for the service, and a check of what it promised: no acknowledged order is lost, none is shipped twice.
#pragma once
#include <chrono>
#include <cstdint>
#include <leash/leash.hpp>
#include <stop_token>
#include <string>
#include <vector>

namespace orders {

struct load_settings {
  std::string url = "http://127.0.0.1:8080";
  std::size_t clients = 16;
  double rate = 0;  // orders a second; 0: as fast as they go
  std::chrono::milliseconds during{10'000}, timeout{5'000}, wait{30'000};
  std::stop_token enough = {};  // asked: ends it sooner
  double abandon = 0;           // of the requests, from 0 to 1
  bool check = false;
};

struct load_totals {
  std::uint64_t acknowledged = 0;    // 201, or 200 for one that was sent again
  std::uint64_t unacknowledged = 0;  // the time was over first
  std::uint64_t failures = 0;        // attempts without an answer, or with 503
  std::uint64_t abandoned_orders = 0, abandoned_reports = 0;
  std::uint64_t cancelled = 0;  // requests that the service cut short, as it says
  std::string last_failure = {};
  double seconds = 0;
  std::vector<double> latencies = {};  // ms, of acknowledged orders, sorted
  // The check: of the acknowledged.
  bool checked = false;
  std::uint64_t shipped = 0, lost = 0, waiting = 0, shipped_twice = 0;

  double percentile(double p) const;
  bool good() const { return acknowledged != 0 && lost + waiting + shipped_twice == 0; }
};

/// Errors: http::failure for a URL that is none.
leash::task<load_totals> drive(load_settings);

}  // namespace orders
