// Plans on the library. Every goroutine's slots lie in its coroutine frame, as a user's locals would.
//
// While a run is *followed*, each step is made on the model at the same moment: under simulation there is one worker, and
// nothing happens between a step and its shadow. Where the two disagree (who is woken, what a slot holds, whether a wait
// parks) the run is stopped and reported. So at any moment the model's state is the library's.
#pragma once
#include <array>
#include <atomic>
#include <functional>
#include <leash/leash.hpp>
#include <leash/testing.hpp>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "machine.hpp"

namespace leash::test::fuzz {

struct box_content;

/// What lies in a slot; and what travels through channels.
class cell {
 public:
  using content = std::variant<std::monostate, sender<cell>, receiver<cell>, mutex::guard, shared_mutex::guard,
                               shared_mutex::shared_guard, semaphore::permit, wait_group::token, cancel_source,
                               shared<box_content>, weak<box_content>>;
  cell() noexcept {}
  cell(thing t, content c) noexcept : what_(t), held_(std::move(c)) { full_ += t != 0; }
  cell(cell&& o) noexcept : what_(std::exchange(o.what_, thing{})), held_(std::move(o.held_)) { o.held_ = {}; }
  cell& operator=(cell&& o) noexcept {
    if (this == &o) return *this;
    clear();
    what_ = std::exchange(o.what_, thing{});
    held_ = std::move(o.held_);
    o.held_ = {};
    return *this;
  }
  ~cell() { full_ -= what_ != 0; }
  void clear() noexcept {
    full_ -= std::exchange(what_, thing{}) != 0;
    held_ = {};
  }
  thing what() const noexcept { return what_; }
  template <class T>
  T* get() noexcept {
    return std::get_if<T>(&held_);
  }
  /// Of all runs: how many hold something.
  static int full() noexcept { return full_; }

 private:
  thing what_ = 0;
  content held_;
  static inline std::atomic<int> full_{0};
};
struct bell {
  event rung;
  condition told;
  std::atomic<bool> flag{false};
  bell() {}
};
using contents = std::array<cell, slots>;
struct frame {
  contents slot;
  bell own;
  explicit frame(contents c) : slot(std::move(c)) {}
  cell& operator[](std::size_t i) { return slot[i]; }
  const cell& operator[](std::size_t i) const { return slot[i]; }
};
struct box_content {
  std::array<cell, cells> in;
  bell own;
  box_content() {}
};

/// A run of a plan, and its shadow.
class world {
 public:
  /// `chance`: for what the run itself decides: where goroutines yield, and when `look` is called.
  world(const plan&, std::uint64_t chance, bool follow);
  world(const world&) = delete;
  ~world();

  const plan& p;
  machine model;
  state shadow;
  bool follow;
  std::function<void()> look;                  // called at random moments of a followed run
  std::string divergence;                      // why it is not followed any more
  std::atomic<unsigned> unwound{0}, alive{0};  // masks of goroutines
  nanoseconds sleep_unit = std::chrono::microseconds(1);
  unsigned sleep_wrap = 64;

  std::array<std::unique_ptr<mutex>, max_mutexes> mutexes;
  std::unique_ptr<shared_mutex> rw;
  std::unique_ptr<semaphore> sem;
  std::unique_ptr<wait_group> group;
  std::unique_ptr<once> single;
  bell outside;

  /// Starts the plan's first goroutines in s.
  void start(scope& s);
  /// Before a goroutine runs under simulation.
  void about_to_run(std::uint64_t id);
  bool chance(unsigned one_in);
  /// Of a sleep or a time limit.
  nanoseconds length(unsigned n) const;
  void diverged(std::string);

  /// The bell that a step names; null: its slot holds no box.
  bell* bell_at(frame&, std::uint8_t named);

  // For the goroutines.
  void started(int g, std::uint64_t id);
  void check(int g, const frame&, std::size_t pc);
  int deciding = -1;  // a wait that must complete at once

 private:
  std::atomic<std::uint64_t> random_;
  const int full_before_ = cell::full();
  std::vector<std::pair<std::uint64_t, int>> ids_;
};

std::string name_of_goroutine(int g);
/// Which of a report's goroutines are the plan's, as a mask; `others`: the rest.
unsigned goroutines_of(const leak_report&, int& others);

}  // namespace leash::test::fuzz
