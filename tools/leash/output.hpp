// How findings are shown: text for people, JSON for machines.
#pragma once

#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include "rank.hpp"
#include "store.hpp"

namespace leash::cli {

/// One site of a fleet.
struct fleet_finding {
  named_site site;
  grade verdict = grade::idle;
  std::uint64_t total = 0, most = 0;
  std::string most_at;          // the instance
  double root_mean_square = 0;  // over the instances that answered
  std::size_t instances = 0, rising = 0;
  std::uint64_t proven = 0;   // goroutines, proved by their processes
  std::size_t proven_at = 0;  // instances
  std::vector<std::string> why;
};
struct fleet_view {
  std::vector<look> instances;  // the last look at each; no counts
  std::size_t answered = 0;
  std::vector<fleet_finding> findings;  // ranked
};

/// What goes to standard output, with colours where it is a terminal and NO_COLOR is not set.
class terminal {
 public:
  terminal();
  bool is_terminal() const { return is_terminal_; }
  int width() const;
  int height() const;
  std::string bold(std::string_view s) const { return paint("1", s); }
  std::string red(std::string_view s) const { return paint("1;31", s); }
  std::string yellow(std::string_view s) const { return paint("1;33", s); }
  std::string dim(std::string_view s) const { return paint("2", s); }

 private:
  std::string paint(const char* code, std::string_view s) const;
  bool is_terminal_, colours_;
};

/// Text out of a profile, fit to be shown: what could steer a terminal, or is no UTF-8, becomes '?'.
std::string clean(std::string_view s);
/// "file:line", cleaned; empty if not known.
std::string place(id frame, const symbols& s);

struct show_options {
  bool all = false;
  std::size_t top = 10;
  bool stacks = false;
};
void show(const analysis& a, const symbols& s, const show_options& o, const terminal& t);
/// What changed between the first snapshot and the last, the largest growth first.
void show_changes(const analysis& a, const symbols& s, const show_options& o, const terminal& t);
/// `s` in at most `width` columns, its middle left out if need be. `s` is clean.
std::string fitted(const std::string& s, std::size_t width);

/// All of it, "-" for standard output. Throws input_error.
void write_file(const std::string& file, const std::string& bytes);

/// A kind of knots that a leash program has proved, as its API tells it.
struct knot_kind {
  std::uint64_t knots = 0, goroutines = 0;
  std::string id;  // of a goroutine in the first of them
};

/// Why a goroutine cannot end, as a leash program that proved it tells.
struct told_leak {
  std::string who, why;
  struct place {
    std::string file;
    std::uint32_t line = 0;
    bool operator==(const place&) const = default;
  };
  place started;
  std::vector<place> stack;
};

// json.cpp
std::string saved_json(const std::string& target, const std::string& file, std::size_t bytes);
/// Out of what a leash program answers; empty if it is something else.
std::vector<knot_kind> read_knots(const std::string& json_text);
std::vector<told_leak> read_told(const std::string& json_text);
std::string read_picture(const std::string& json_text);
std::string to_json(const std::vector<analysis>& all, const symbols& s, const show_options& o);
std::string top_json(const profile& p, const std::vector<site>& sites, const symbols& s);  // one line
/// The targets in Prometheus' file or HTTP service discovery, as addresses. Throws input_error.
std::vector<std::string> read_discovery(const std::string& json_text);
std::string fleet_json(const fleet_view& v);
std::string dump_json(const profile& p, const symbols& s, const std::vector<std::uint32_t>& groups);

}  // namespace leash::cli
