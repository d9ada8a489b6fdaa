// What was read of a process's goroutines: symbols (texts, frames, stacks, each kept once and numbered) and profiles, which
// consist of their numbers. Profiles that are compared share one `symbols`, so equal numbers mean equal things.
//
// One thread at a time. Everything here is bounded: input that asks for more than the limits below gets an input_error.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "error.hpp"

namespace leash::cli {

using id = std::uint32_t;  // the number of a text, a frame or a stack
inline constexpr id none = ~id{0};

/// Numbers distinct keys 0, 1, 2 ...; the keys themselves are kept by whoever asks.
class numbering {
 public:
  /// The number of the key with this hash for which `same(number)` holds; if there is none, `next`, which is remembered.
  template <class Same>
  id find_or_add(std::uint64_t hash, id next, Same same) {
    if ((used_ + 1) * 4 > slots_.size() * 3) grow();
    const auto tag = static_cast<std::uint32_t>(hash >> 32);
    for (std::size_t i = hash & (slots_.size() - 1);; i = (i + 1) & (slots_.size() - 1)) {
      slot& s = slots_[i];
      if (s.number == none) {
        s = {hash, next};
        ++used_;
        return next;
      }
      if (static_cast<std::uint32_t>(s.hash >> 32) == tag && s.hash == hash && same(s.number)) return s.number;
    }
  }

 private:
  struct slot {
    std::uint64_t hash = 0;
    id number = none;
  };
  void grow();
  std::vector<slot> slots_;
  std::size_t used_ = 0;
};

struct frame {
  id function = none;
  id file = none;
  std::uint32_t line = 0;  // 0: not known
};

/// Frames from the leaf to the entry function, and where the goroutine was started if the format tells.
struct stack {
  std::uint32_t first = 0, size = 0;  // in symbols' pool
  id creator = none;                  // a frame
  bool elided = false;                // the runtime left frames out
};

class symbols {
 public:
  static constexpr std::size_t most_texts = 4'000'000, most_frames = 4'000'000, most_stacks = 1'000'000,
                               most_stack_frames = 32'000'000;

  symbols();
  symbols(const symbols&) = delete;
  symbols& operator=(const symbols&) = delete;

  id text(std::string_view s);
  id add(const frame& f);
  id add(std::span<const id> frames, id creator, bool elided);

  std::string_view text(id n) const { return n == none ? std::string_view() : texts_[n]; }
  const frame& frame_of(id n) const { return frames_[n]; }
  std::string_view function(id f) const { return f == none ? std::string_view() : text(frames_[f].function); }
  std::string_view file(id f) const { return f == none ? std::string_view() : text(frames_[f].file); }
  const stack& stack_of(id n) const { return stacks_[n]; }
  std::span<const id> frames(id stack) const { return {pool_.data() + stacks_[stack].first, stacks_[stack].size}; }
  std::size_t stacks() const { return stacks_.size(); }

 private:
  std::vector<std::unique_ptr<char[]>> blocks_;
  std::size_t block_left_ = 0;
  std::vector<std::string_view> texts_;
  std::vector<frame> frames_;
  std::vector<id> pool_;
  std::vector<stack> stacks_;
  numbering by_text_, by_frame_, by_stack_;
};

/// Goroutines that are alike: one stack, one state. Labels do not separate them.
struct group {
  id stack = 0;
  id state = none;  // in Go's words: "chan receive"; none: the format does not tell
  bool leaked = false;
  std::uint64_t count = 0;
  std::uint64_t locked = 0;   // of these, locked to a thread
  std::uint64_t timed = 0;    // of these, with a known wait (Go tells from a minute on)
  std::uint32_t longest = 0;  // seconds
};

/// One goroutine; only dumps (debug=2) tell them apart.
struct goroutine {
  std::uint64_t number = 0;
  std::uint32_t group = 0;
  std::uint32_t wait = 0;  // seconds; 0: less than a minute, or not known
};

struct label_count {
  std::uint32_t group;
  id labels;  // "key: value, key: value"
  std::uint64_t count;
};

enum class profile_form { protobuf, counts, dump };  // debug=0, debug=1, debug=2

struct profile {
  std::string source;  // file or address
  profile_form form = profile_form::protobuf;
  bool of_leaks = false;  // a `goroutineleak` profile: all of these are proved, or (debug=2) the marked ones
  bool cut = false;       // the text ends in the middle: there were more
  std::chrono::system_clock::time_point taken{};  // the epoch: not known, as of texts
  std::uint64_t total = 0;
  std::vector<group> groups;
  std::vector<goroutine> goroutines;
  std::vector<label_count> labels;

  bool tells_creators() const { return form == profile_form::dump; }
};

/// Collects goroutines into a profile, alike ones into one group.
class profile_builder {
 public:
  struct entry {
    id stack = 0;
    id state = none;
    bool leaked = false;
    bool locked = false;
    std::uint64_t count = 1;
    std::uint32_t wait = 0;
    id labels = none;
  };
  /// The number of the group it went to.
  std::uint32_t add(const entry& e);
  void add_goroutine(std::uint64_t number, const entry& e) { p.goroutines.push_back({number, add(e), e.wait}); }

  profile p;

 private:
  static constexpr std::size_t most_label_splits = 1'000'000;
  numbering by_key_, by_labels_;
};

std::uint64_t hash_of(std::string_view s);
std::uint64_t mix(std::uint64_t a, std::uint64_t b);

}  // namespace leash::cli
