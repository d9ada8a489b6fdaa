// What the user names on the command line, and how profiles are taken from it.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "fetch.hpp"
#include "profile.hpp"
#include "rank.hpp"

namespace leash::cli {

struct take_options {
  fetch_options fetch;
  bool proof = true;                  // ask for the goroutineleak profile
  std::uint64_t full_up_to = 50'000;  // goroutines: beyond, no dump is taken, for it stops the process while it is made
  std::chrono::milliseconds during{0}, every{10'000};
};

struct trace_options {
  std::chrono::milliseconds during{5'000};  // from now
  std::chrono::milliseconds last{0};        // instead: what a leash program has recorded last
  bool perfetto = false;
};

/// A process, or files.
class target {
 public:
  /// Throws input_error.
  explicit target(std::string text);

  const std::string& text() const { return text_; }
  bool is_live() const { return kind_ != kind::file; }

  /// One profile: a file's, or the whole dump of a process if that is not too large.
  profile take(symbols& s, const take_options& o, std::vector<std::string>& notes) const;
  /// A process's counts alone, which cost it little.
  profile take_counts(symbols& s, const take_options& o) const;
  /// The goroutineleak profile; none, with the reason, if the target has none. The process collects garbage for it.
  std::optional<profile> take_proof(symbols& s, const take_options& o, std::string& why_not) const;
  /// What the process records of its execution meanwhile: Go's trace, of leash programs also Perfetto's.
  std::string take_trace(const take_options& o, const trace_options& t) const;
  /// What a leash program answers to this path below /debug/leash/; empty: it is none, or does not.
  std::string ask_leash(const std::string& path, const std::string& query, const take_options& o) const;
  /// Bytes as the process or file gives them; form: 0, 1, 2.
  std::string take_raw(const take_options& o, int form, bool proof) const;

 private:
  enum class kind { file, base, url };
  std::string with_access(const std::string& query) const;
  answer get(const std::string& profile_name, int form, const take_options& o) const;
  profile get_profile(const std::string& profile_name, int form, symbols& s, const take_options& o) const;

  std::string text_;
  std::string access_;  // "token=...", where the address of a leash program has one
  kind kind_ = kind::file;
  address address_;
};

/// What is seen of a target: one look, or looks during a time. `progress(done, of)` is called after each look.
observation observe(const target& t, symbols& s, const take_options& o,
                    const std::function<void(std::size_t, std::size_t)>& progress);

}  // namespace leash::cli
