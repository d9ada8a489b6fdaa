// A plan: a small concurrent program as data. It is run on the library (interpreter.hpp) and on a model of what the
// library promises (machine.hpp).
//
// Every goroutine has a frame of slots. A slot is empty or holds one thing that can be handed on: an end of a channel,
// a guard, a permit, a token, a cancel source, a handle of a shared object. Such an object has two cells for the same:
// so ends and guards lie in tracked memory, and objects own each other, in circles too. Each shared object and each
// frame has a bell too (an event, and a condition with its flag); one more lies outside of both. Steps name slots, not
// what lies in them: a step whose slot does not hold what it needs does nothing. So every plan is valid, and stays so
// when a step is taken out.
#pragma once
#include <array>
#include <cstdint>
#include <iosfwd>
#include <string>
#include <vector>

namespace leash::test::fuzz {

inline constexpr int max_goroutines = 6;
inline constexpr int slots = 5;
inline constexpr int max_channels = 4;
inline constexpr int max_mutexes = 2;  // and one shared mutex, semaphore, wait group and once
inline constexpr int max_sources = 2;
inline constexpr int max_boxes = 2;  // shared objects
inline constexpr int cells = 2;      // in each of them, for what lies in slots elsewhere
inline constexpr int permits = 2;    // of the semaphore
inline constexpr int max_cases = 3;
inline constexpr std::uint8_t unbounded_capacity = 255;
inline constexpr std::uint8_t nobody = 255;

// --- bells: those of the boxes, then those of the frames, then the one outside. A step names one by the slot of a box,
// or by one of these.
inline constexpr std::uint8_t bell_of_frame = slots, bell_outside = slots + 1;
inline constexpr int frame_bells = max_boxes, outside_bell = frame_bells + max_goroutines, bells = outside_bell + 1;

// --- what lies in a slot or cell: kind, which object, and for permits how many, in one byte
enum class kind : std::uint8_t { none, tx, rx, guard, write_guard, read_guard, permit, token, source, box, weak_box };
using thing = std::uint8_t;
constexpr thing make_thing(kind k, unsigned object, unsigned n = 0) {
  return static_cast<thing>(static_cast<unsigned>(k) << 4 | object << 2 | n);
}
constexpr kind kind_of(thing t) { return static_cast<kind>(t >> 4); }
constexpr unsigned object_of(thing t) { return t >> 2 & 3u; }
constexpr unsigned count_of(thing t) { return t & 3u; }

// --- steps
enum class op : std::uint8_t {
  wait,         // one case, or a select over several
  try_send,     // a: slot of the sender, b: slot of the value
  try_recv,     // a: slot of the receiver, b: slot for the value
  close,        // a: slot of the sender
  drop,         // a: slot
  dup,          // a: slot of an end, source or handle of a box, b: slot for the copy
  put_in,       // a: slot of a box, b: slot of what moves there, n: which cell
  take_out,     // a: slot of a box, b: slot for it, n: which cell
  weaken,       // a: slot of a box, b: slot for a weak handle
  lift,         // a: slot of a weak handle, b: slot for what it locks
  add,          // a: wait group, b: slot for the token
  set,          // a: bell; its event
  notify,       // a: bell; its condition. b != 0: all who wait, n != 0: sets the flag before
  yield,        //
  cancel,       // a: slot of the source
  scope_open,   // with_scope { ... }: what follows, up to scope_close, may spawn. n: max_children, 0 for none
  spawn,        // a: goroutine, n: mask of slots that move there. (In a wait for a place: see wait_kind::start.)
  lend,         // a: goroutine, which works on the spawner's own slots
  scope_close,  // joins what was spawned: one case, members
  cancel_open,  // a: slot of the source; with_cancel { ... }. n != 0: with_timeout(2^(n - 1)) { ... }
  cancel_close,
  once_open,  // once.call { ... }: one case, once. Who comes second skips what follows, up to once_close
  once_close,
};

constexpr bool opens(op o) { return o == op::scope_open || o == op::cancel_open || o == op::once_open; }
constexpr bool closes(op o) { return o == op::scope_close || o == op::cancel_close || o == op::once_close; }

enum class wait_kind : std::uint8_t {
  recv,        // a: slot of the receiver, b: slot for the value
  send,        // a: slot of the sender, b: slot of the value
  lock,        // a: mutex, b: slot for the guard
  lock_write,  // a: shared mutex, b: slot
  lock_read,   // a: shared mutex, b: slot
  acquire,     // a: semaphore, n: how many, b: slot
  group,       // a: wait group
  event,       // a: bell
  sleep,       // n: it takes 2^n; no two sleeps of a plan have the same n, so no two end at the same time
  done,        // this_context().done()
  join,        // a: goroutine
  members,     // the join of a scope
  condition,   // a: bell, b: slot of a mutex's guard. n == 0: until it is notified; else until it takes the flag
  once,        // a: once; for one's turn, or the end of the call
  start,       // a: goroutine, n: mask of slots that move there; for a place under max_children
};
struct wait_case {
  wait_kind what;
  std::uint8_t a = 0, b = 0, n = 0;
};

struct step {
  op what;
  std::uint8_t a = 0, b = 0, n = 0;
  std::uint8_t count = 0;  // of cases; 1 without `select`: awaited alone
  bool select = false;
  std::array<wait_case, max_cases> cases{};
};

struct code {
  std::uint8_t parent = nobody;  // who spawns it; nobody: it is there from the start
  bool used = false;
  std::array<thing, slots> slot{};  // what it starts with
  std::vector<step> steps;
};

struct plan {
  std::uint64_t seed = 0;
  int channels = 0, mutexes = 1, sources = 0, boxes = 0;
  std::array<std::uint8_t, max_channels> capacity{};
  std::array<code, max_goroutines> goroutines;
  /// The index of the step that closes the block opened at `open`.
  static std::size_t closing(const code&, std::size_t open);
  int steps() const;
};

std::ostream& operator<<(std::ostream&, const plan&);
std::string text(thing);
const char* name_of(wait_kind);

/// The plan of a seed; the same on every machine.
plan generate(std::uint64_t seed);

}  // namespace leash::test::fuzz
