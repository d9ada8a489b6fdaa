// Goroutines that stand in the same place, counted together: what profiles, tables and metrics are made of.
//
// Memory is bounded whatever the program does: at most most_groups groups and most_bytes of their keys; what comes after
// that is counted under its state only.
#pragma once
#include <array>
#include <bit>
#include <cstdint>
#include <leash/wait.hpp>
#include <source_location>
#include <string>
#include <unordered_map>
#include <vector>

#include "observe/frozen.hpp"
#include "observe/sighting.hpp"

namespace leash::debug {

class gathering {
 public:
  /// What tells groups apart besides state and spawn site.
  struct detail {
    std::size_t frames = sighting::deepest;  // of the stack, innermost first
    bool labels = true;                      // labels and the name
    bool waits = false;                      // how long they have waited, in powers of two of a second
    bool site = false;                       // of the stack only the innermost line that is not leash's own
  };
  struct group {
    std::uint64_t count = 0;
    std::uint64_t waited = 0;                       // milliseconds, all together
    std::uint32_t longest = 0;                      // milliseconds of waiting
    std::uint32_t oldest = 0, newest = UINT32_MAX;  // milliseconds of life
    std::uint32_t labels = 0;                       // index into label sets
    std::uint8_t state = 0;                         // see state_name
    std::uint8_t bucket = 0;
    bool beyond = false;  // stands for those for which there was no room
    std::uint16_t depth = 0;
    std::size_t first = 0;  // of the key's words: the spawn site, then the frames
  };
  using label_set = std::vector<std::pair<std::string, std::string>>;

  static constexpr std::size_t most_groups = 100'000, most_bytes = std::size_t{24} << 20;
  static constexpr std::uint8_t running = 254, runnable = 255;  // states besides wait_reason

  explicit gathering(detail d) : detail_(d), tick_(looking_tick()), label_sets_(1) {}

  /// Looks at some thousand goroutine slots. False: all have been looked at.
  bool step() {
    return frozen::for_some_slots(at_, 8192, [&](goroutine_core* g) { look(g); });
  }
  /// Looks at one. `word`: only if its park word is that; 0: in any case.
  void look(const goroutine_core* g, std::uint64_t word = 0);

  std::uint64_t total() const noexcept { return total_; }
  const std::vector<group>& groups() const noexcept { return groups_; }
  std::source_location spawned_at(const group& g) const noexcept { return location(g.first); }
  /// Innermost first.
  std::source_location frame(const group& g, std::size_t i) const noexcept { return location(g.first + 1 + i); }
  const label_set& labels(const group& g) const noexcept { return label_sets_[g.labels]; }
  static std::string_view state_name(std::uint8_t state) noexcept;

 private:
  std::source_location location(std::size_t i) const noexcept { return std::bit_cast<std::source_location>(words_[i]); }
  std::uint32_t labels_of_seen();
  void keep_site_only();
  group& group_of_seen();
  group& beyond(std::uint8_t state);
  void grow();

  detail detail_;
  std::uint32_t tick_;
  frozen::slot_cursor at_;
  sighting seen_;
  std::uint64_t total_ = 0;
  std::vector<group> groups_;
  std::vector<std::uint64_t> hashes_;  // by group
  std::vector<std::uint32_t> table_;   // open addressing: group + 1, 0: none
  std::vector<std::uint64_t> words_;
  std::vector<std::uint64_t> key_;           // of the one that is being looked at
  std::array<std::uint32_t, 256> beyond_{};  // by state: group + 1, 0: none
  std::vector<label_set> label_sets_;        // 0: none
  std::unordered_map<std::string, std::uint32_t> label_index_;
  std::unordered_map<std::uint64_t, bool> of_library_;  // by line
  std::size_t label_bytes_ = 0;
};

/// The most frames among which the line that is not leash's own is looked for.
inline constexpr std::size_t site_depth = 8;

/// The goroutine's name is shown as a label of this key, as dump() does.
inline constexpr std::string_view name_label = "name";

}  // namespace leash::debug
