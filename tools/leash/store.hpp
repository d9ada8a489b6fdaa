// The history of a fleet, in an SQLite file. One process at a time writes; others may read.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

struct sqlite3;

namespace leash::cli {

/// A site by its texts, as profiles of different processes have it.
struct named_site {
  std::string function, file;
  std::uint32_t line = 0;
  std::string entry, state, kind;
  auto operator<=>(const named_site&) const = default;
};

struct look {
  std::string instance;
  std::int64_t time = 0;  // seconds since the epoch
  std::uint64_t goroutines = 0;
  std::string error;  // not empty: there was no answer
  std::vector<std::pair<named_site, std::uint64_t>> counts;
  bool proof = false;  // the process was asked what it can prove, and told it:
  std::vector<std::pair<named_site, std::uint64_t>> proven;
};

/// Of one site at one instance, oldest first; looks that did not see it count 0.
struct series {
  std::vector<std::uint64_t> counts;
};

class store {
 public:
  /// ":memory:" keeps nothing. Throws input_error.
  explicit store(const std::string& path);
  ~store();
  store(const store&) = delete;

  void add(const std::vector<look>& round);
  /// The looks of every instance since then, at most the last `most` of each.
  std::map<named_site, std::map<std::string, series>> history(std::int64_t since, std::size_t most) const;
  /// The instances seen since then, each with its last look (without counts).
  std::vector<look> instances(std::int64_t since) const;
  /// What each instance proved when it was last asked for proof since then: goroutines by site and instance.
  std::map<named_site, std::map<std::string, std::uint64_t>> proofs(std::int64_t since) const;
  /// Forgets what is older.
  void forget(std::int64_t before);

 private:
  class statement;
  void run(const char* sql) const;
  std::int64_t number_of_instance(const std::string& address);
  std::int64_t number_of_site(const named_site& s);

  sqlite3* db_ = nullptr;
  std::string path_;
};

}  // namespace leash::cli
