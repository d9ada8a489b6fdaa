// Which watch a run belongs to, and what it is told.
#pragma once
#include <cstdint>
#include <leash/leak.hpp>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace leash::testing {

/// Any thread.
struct watch_state {
  struct entry {
    std::uint16_t runtime_index;
    std::uint64_t id;
    std::string text;
  };
  std::mutex lock;
  std::set<std::uint16_t> runs;                            // the runtimes that go on
  std::set<std::pair<std::uint16_t, std::uint64_t>> told;  // runtime and id, of runs that go on
  std::vector<entry> entries;
  std::size_t left_out = 0;  // beyond what is worth keeping

  void began(std::uint16_t runtime_index);
  void ended(std::uint16_t runtime_index);
  /// Leaks that nobody else is told of.
  void leaked(const leak_report&);
  /// Somebody is told after all, by an exception.
  void withdraw(std::uint16_t runtime_index, const leak_report&);
  std::string take();

 private:
  void add(const leak_report&);
  std::string text();
};

/// True for the one of runs that no leak_watch has: only who asks expect_no_leaks outside of all watches is told.
bool is_unwatched(const watch_state&) noexcept;
/// The one that a run started by this thread belongs to.
std::shared_ptr<watch_state> watch_of_this_thread();

}  // namespace leash::testing
