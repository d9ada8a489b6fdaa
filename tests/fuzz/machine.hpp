// The model: what every step of a plan does to a state, one atomic step at a time. Written from the library's contract,
// without its code: ends are counts, queues are first come first served, a mutex lets running goroutines barge in; who
// waits for a condition has let go of its mutex, and locks it again before it goes on, or unwinds.
//
// A goroutine that was woken is not waiting any more, though it has not run yet; what it was given lies in its `value`.
#pragma once
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#include "plan.hpp"

namespace leash::test::fuzz {

enum class status : std::uint8_t {
  unborn,
  handed_over,  // to a start() that waits for a place: its slots are not its own yet
  in_line,      // started, and waits for a place
  ready,
  waiting,
  retrying,  // woken by an unlock: it tries again when it runs, and may come too late
  woken,     // its wait is complete
  cut,       // its wait was ended by its context: it unwinds when it runs
  ended,
};

/// Of a wait for a condition: for the notification; for the mutex, to look again, or to unwind.
enum class phase : std::uint8_t { none, notice, relock, relock_to_unwind };

struct goroutine_state {
  status is;
  std::uint8_t pc;
  std::uint8_t frame;    // whose slots it works on
  std::uint8_t context;  // 1 + the source of the with_cancel it is in; `limited`: a with_timeout; 0: none
  std::uint8_t late;     // its time is over
  std::uint8_t winner;   // woken: the case
  std::uint8_t value;    // woken by a value: what arrived
  std::uint8_t success;  // woken: a value arrived, or the send was taken
  std::uint8_t tries;    // times it came too late for a mutex
  std::uint8_t limit;    // max_children of the scope it runs; 0: none
  phase at;
  thing slot[slots];
};

struct line {  // who waits, first come first; goroutine << 2 | case
  static constexpr int room = 7;
  std::uint8_t n;
  std::uint8_t at[room];
};
struct channel_state {
  static constexpr int room = 6;
  std::uint8_t closed, senders, receivers, buffered;
  thing buffer[room];
  line sending, receiving;
};
struct mutex_state {
  std::uint8_t locked;
  line waiting;
};
struct shared_mutex_state {
  std::uint8_t writer, readers;
  line waiting;
};
struct semaphore_state {
  std::uint8_t available, holders;
  line waiting;
};
struct group_state {
  std::uint8_t tokens;
  line waiting;
};
struct once_state {
  std::uint8_t done, caller;  // caller: 1 + the goroutine whose call runs
  line waiting;
};
inline constexpr std::uint8_t event_set = 1, flag_set = 2;  // of a bell
struct source_state {
  std::uint8_t fired, handles;
};
inline constexpr std::uint8_t limited = max_sources + 1;
struct box_state {
  std::uint8_t owners, watchers;
  thing cell[cells];
};

/// All bytes; equal states are equal as bytes.
struct state {
  goroutine_state g[max_goroutines];
  channel_state channel[max_channels];
  mutex_state mutex[max_mutexes];
  shared_mutex_state shared_mutex[1];
  semaphore_state semaphore[1];
  group_state group[1];
  once_state once[1];
  std::uint8_t bell[bells];
  line noticing;  // who waits for a notification, of all conditions: by bell, then first come first
  source_state source[max_sources];
  box_state box[max_boxes];
  std::uint8_t rest[2];  // 0: what makes it a multiple of 16 bytes
  bool operator==(const state& o) const { return std::memcmp(this, &o, sizeof *this) == 0; }
};
static_assert(std::has_unique_object_representations_v<state> && sizeof(state) % 16 == 0);

class machine {
 public:
  explicit machine(const plan& p) : plan_(p) {}
  state initial() const;

  // --- one goroutine's step, in parts: the interpreter does the same parts in the same order
  /// The step it is at, or null at the end of its code.
  const step* at(const state&, int g) const;
  /// Whether it can wait: the parts are prepare, then unwind, win or block.
  static bool waits(const step& t) {
    return t.what == op::wait || t.what == op::scope_close || t.what == op::once_open;
  }
  /// A step that never waits.
  void run_plain(state&, int g);
  /// The end of its code.
  void finish(state&, int g);
  /// Before a wait: destinations are emptied. False: nothing to wait for, the step is skipped.
  bool prepare(state&, int g);
  /// After prepare: its context has ended and cuts the wait before it begins; it is unwound.
  bool unwinds_first(const state&, int g) const;
  void unwind(state&, int g);
  /// After prepare: the cases that can complete at once, as a mask.
  unsigned ready_cases(const state&, int g) const;
  void win(state&, int g, unsigned which);
  void block(state&, int g);
  /// A goroutine that is woken, cut or retrying runs.
  void resume(state&, int g);
  /// A sleep of it ends; false: it is not in one.
  bool fire(state&, int g);
  /// fire or run_out could do something.
  bool waits_for_time(const state&, int g) const;
  /// The time of the with_timeout that it is in is over; false: it is in none, or does not wait. (In virtual time none
  /// passes while anybody could run.)
  bool run_out(state&, int g);

  /// Whether g, were its case alone, waits for anything; empty ends never fire.
  bool enabled(const state&, int g, const wait_case&) const;
  /// Which bell a step of g names; -1: its slot holds no box.
  int bell_of(const state&, int g, std::uint8_t named) const;
  /// The mutex of a wait for a condition, or of one for a mutex alone.
  unsigned mutex_of(const state&, int g) const;
  /// What lies in that slot of f's frame is a guard without its mutex: somebody waits for a condition with it.
  bool let_go(const state&, int f, int slot) const;
  bool in_ended_context(const state& s, int g) const {
    if (s.g[g].context == limited) return s.g[g].late != 0;
    return s.g[g].context != 0 && s.source[s.g[g].context - 1].fired != 0;
  }

  /// Somebody live runs the plan, who may end its context at any time; else the plan is the whole program.
  bool observed = true;
  /// These are not cut by a cancel (see truth in reference.hpp).
  unsigned uncut = 0;
  /// A queue or buffer of the model was too small.
  bool overflow = false;
  const plan& what() const { return plan_; }

 private:
  bool ready(const state&, int g, const wait_case&) const;
  thing& slot(state& s, int g, int i) const { return s.g[s.g[g].frame].slot[i]; }
  thing slot(const state& s, int g, int i) const { return s.g[s.g[g].frame].slot[i]; }
  void put(state&, int g, int i, thing t);  // drops what was there
  void drop(state&, thing);
  bool claim(state&, std::uint8_t entry, thing value, bool success);
  int claim_first(state&, line&, thing value, bool success);
  void claim_all(state&, line&);
  void push(line&, int g, unsigned which);
  static void remove(line&, unsigned i);
  static bool remove_entry(line&, int g, unsigned which);
  void leave(state&, int g, unsigned except);
  void place(state&, int g);
  void close(state&, channel_state&);
  bool send(state&, channel_state&, thing);  // there is room, or a receiver, or nobody left
  bool receive(state&, channel_state&, thing& got);
  thing take_sent(state&, std::uint8_t entry);
  void unlock(state&, mutex_state&);
  void admit(state&, shared_mutex_state&);
  void grant(state&, semaphore_state&);
  void cancel(state&, unsigned source);
  void ring(state&, int bell);
  void notify(state&, int bell, bool all);
  void end_call(state&, once_state&, bool completed);
  void lock_again(state&, int g, phase);
  void locked_again(state&, int g);
  bool place_free(const state&, int g) const;
  void give_place(state&, int parent);
  bool has_members(const state&, int g) const;

  static constexpr std::uint8_t patience = 4;  // a waiter of a mutex that came too late so often is handed the lock

  const plan& plan_;
};

}  // namespace leash::test::fuzz
