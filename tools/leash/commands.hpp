// The commands. Each returns the exit code: 0 nothing found, 1 leaks found (of the grade asked for), 2 it could not be told.
// They throw input_error for what the user can put right.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "output.hpp"
#include "target.hpp"

namespace leash::cli {

enum class fail_on { never, proven, suspect };

struct common_options {
  bool json = false;
  take_options take;
};

struct leaks_options : common_options {
  std::vector<std::string> targets;
  bool series = false;  // the targets are files: snapshots of one process, oldest first
  std::vector<std::string> ignore;
  show_options show;
  fail_on fail = fail_on::suspect;
};
int leaks(const leaks_options& o);

struct diff_options : common_options {
  std::string before, after;
  std::vector<std::string> ignore;
  show_options show;
  fail_on fail = fail_on::suspect;
};
int diff(const diff_options& o);

struct dump_options : common_options {
  std::string target;
  std::string match, state;
  std::string file;  // where raw bytes go; empty: standard output
  int raw = -1;      // 0, 1, 2: the form in which the bytes are passed on; -1: shown
  bool proof = false;
  std::size_t top = 0;  // 0: all
};
int dump(const dump_options& o);

struct trace_command : common_options {
  std::string target;
  std::string file = "trace.out";
  trace_options trace;
};
int trace(const trace_command& o);

struct top_options : common_options {
  std::string target;
  std::chrono::milliseconds every{2000};
  std::size_t frames = 0;  // 0: until interrupted
  std::size_t rows = 20;   // where there is no terminal to fill
  bool by_count = false;
};
int top(const top_options& o);

struct report_options : leaks_options {
  std::string file = "report.html";
};
int report(const report_options& o);

struct fleet_options : common_options {
  std::vector<std::string> instances;
  std::vector<std::string> discovery;  // files or addresses: Prometheus' file or HTTP service discovery
  std::string history = ":memory:";
  std::chrono::milliseconds every{60'000}, window{std::chrono::hours(24)}, keep{std::chrono::hours(24 * 14)};
  std::size_t rounds = 1;
  std::size_t parallel = 16;
  std::uint64_t threshold = 10'000;
  std::vector<std::string> ignore;
  std::size_t top = 10;
  bool all = false;
  fail_on fail = fail_on::suspect;  // proofs are asked for once, at the last look: take.proof
};
int fleet(const fleet_options& o);

/// The options of a command, for completion.
struct option_description {
  std::vector<std::string> names;  // with their dashes
  std::string help;
  bool takes_value = false;
  std::vector<std::string> choices;
};
struct command_description {
  std::string name, help;
  std::vector<option_description> options;
};
/// A script for bash, zsh or fish.
std::string completion(const std::string& shell, const std::vector<command_description>& commands);

// leaks.cpp: what leaks and report look at.
std::vector<analysis> look_at_all(const leaks_options& o, symbols& s);
int exit_code(const std::vector<analysis>& all, fail_on fail);

// report.cpp, flame.cpp: parts of the page.
/// As text in HTML, cleaned.
std::string escaped(std::string_view s);
/// SVG: all places where goroutines wait, by their stacks.
std::string flame_graph(const std::vector<finding>& all, const symbols& s);

}  // namespace leash::cli
