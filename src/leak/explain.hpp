// In words: why nobody can complete the waits of a report.
#pragma once
#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "pass.hpp"

namespace leash {

/// What is known of the goroutines of a report, by node.
using known_goroutines = std::unordered_map<std::uint32_t, const goroutine_info*>;

/// "channel made at FILE:LINE", "shared object (T)".
std::string name_object(const graph&, std::uint32_t object);

/// Tells of the goroutines of one report. Both arguments must outlive it.
class explainer {
 public:
  explainer(const graph& g, const known_goroutines& infos) : g_(g), infos_(infos) {}

  /// Why nobody can complete what a leaked node waits for.
  std::string why_leaked(std::uint32_t node);
  /// What that takes for granted, each once.
  std::vector<leak_premise> premises_of(std::uint32_t node);

  /// The nodes that hold capabilities of a class of an object, the first 9 of them: goroutines by their ids, then memory
  /// by the ids of those that reach it. (The graph has them as they lie in memory, which differs from run to run.)
  const std::vector<std::uint32_t>& holders(std::uint32_t object, std::uint32_t which);
  static constexpr std::size_t told_holders = 8;

 private:
  std::uint64_t rank(std::uint32_t node, int depth) const;

  const graph& g_;
  const known_goroutines& infos_;
  std::unordered_map<std::uint64_t, std::vector<std::uint32_t>> holders_;  // by object and class: many wait for one
};

/// Waits for an event or condition are told with the place where it lies.
inline bool is_placed(object_type t) noexcept { return t == object_type::event || t == object_type::condition; }

}  // namespace leash
