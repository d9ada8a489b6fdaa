// What was read of one goroutine at one moment, as it lies in memory: the raw form of goroutine_info, for those who look
// at millions. Filling one makes no text and, once its buffers have grown, allocates nothing.
//
// Thread safety: a sighting is its reader's own; the goroutine may be running, parking, ending meanwhile.
#pragma once
#include <cstdint>
#include <leash/wait.hpp>
#include <leash/worker.hpp>
#include <source_location>
#include <string>
#include <string_view>
#include <vector>

namespace leash {

struct sighting {
  static constexpr std::size_t deepest = 256;  // frames of one stack that are kept

  std::uint64_t word = 0;  // the park word for which all this holds
  std::uint64_t id = 0;
  std::uint64_t parent = 0;  // the goroutine that owns its scope; 0: the root
  std::source_location spawned_at;
  std::source_location scope_made_at;
  const void* scope = nullptr;         // tells scopes apart; not to be followed
  const void* parent_scope = nullptr;  // the one that the owner of its scope belongs to; null: there is none
  bool waiting = false, running = false;
  wait_reason reason = wait_reason::none;  // waiting only
  std::uint32_t since = 0, born = 0;       // milliseconds ago: the wait's begin (waiting only), its own start
  std::size_t depth = 0;                   // waiting only
  std::source_location frames[deepest];    // innermost first
  std::string name;
  std::vector<std::pair<std::string, std::string>> labels;  // innermost first; the first label_count count
  std::size_t label_count = 0;                              // those behind it are kept for their memory

  /// In Go's words where Go has them: "chan receive", "running", "runnable".
  std::string_view state() const noexcept;
};

/// What a tick of the coarse clock is now, for who looks: exact also while all workers sleep.
std::uint32_t looking_tick() noexcept;

/// Fills s; false: the slot holds no goroutine (of that runtime). `most_frames`: no more of the stack than that.
bool look_at(const goroutine_core* g, const runtime* only, std::uint32_t tick, sighting& s,
             std::size_t most_frames = sighting::deepest);

}  // namespace leash
