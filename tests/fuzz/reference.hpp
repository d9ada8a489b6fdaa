// The truth about a plan: all states that it can reach, whatever the order of its goroutines' steps and however long its
// sleeps take; and for each of them, whose wait can still be completed.
#pragma once
#include <cstddef>
#include <optional>
#include <vector>

#include "machine.hpp"

namespace leash::test::fuzz {

class graph {
 public:
  /// Explores from `start` until all is seen or there are more than `limit` states.
  graph(machine& m, const state& start, std::size_t limit);
  graph(const graph&) = delete;
  ~graph();
  bool gave_up() const { return gave_up_; }
  std::size_t size() const { return have_.states.size(); }
  const state& operator[](std::size_t i) const { return have_.states[i]; }
  std::optional<std::size_t> find(const state&) const;
  /// The goroutines that wait in state i and whose waits some continuation completes.
  unsigned completable(std::size_t i) const { return can_[i]; }

 private:
  struct entry {
    std::uint32_t index_plus_1, hash;
  };
  struct transition {
    std::uint32_t from, to;
    std::uint8_t completes, keeps;  // goroutines: whose wait, and who is in the same wait after it
  };
  struct storage {
    std::vector<state> states;
    std::vector<entry> table, next_table;  // open addressing
    std::vector<transition> transitions;
  };

  static storage take_spare();
  std::size_t place_of(const state&, std::uint32_t hash) const;
  std::size_t index(const state&);
  void grow();
  void expand(std::size_t i);
  void edge(std::size_t from, const state& to);
  void propagate();

  machine& m_;
  std::size_t limit_;
  bool gave_up_ = false;
  storage have_;
  std::vector<std::uint8_t> can_;
  static inline std::vector<storage> spare_;
};

/// Who waits in s, without those whose wait is bounded in time, and those who wait for the end of a context that whoever
/// runs the plan may end.
unsigned judged(const machine&, const state& s);

/// Who waits in s for ever, if nobody ends a wait of one of *them* by cancelling it: the largest such set. (That a
/// leaked goroutine can be cancelled does not make it less leaked, and what it would do then is not counted either.)
/// Nothing: too many states.
std::optional<unsigned> leaked_unless_cut(const machine&, const state& s, std::size_t limit);

}  // namespace leash::test::fuzz
