// Workers that go to sleep while work is being pushed. Every worker has a quota of items, after which it is busy for
// ever; the items are exactly as many as the quotas together, so a single wake-up lost, or spent on a worker that is
// busy, is a deadlock. One file: the models of sleeping, of leaving and of the reactor's places are steps of one protocol.
#include <utility>

#include "expect.hpp"
#include "model.hpp"

namespace {

using namespace model;

enum class bug {
  none,
  fence_is_enough,          // the idle worker uses its own fence instead of the heavy barrier
  looks_before_announcing,  // the queues are looked at, then the idle bit is set
  looks_at_one_queue,
  wakes_without_claiming,  // the pusher leaves the idle bit set, so that two pushers wake the same worker
  keeps_bit,               // a worker that found work on its last look stays announced
  does_not_pass_on,        // a worker that was woken for an item, but took another, wakes nobody for the first
};

template <class A>
struct work_queue {
  typename A::template atomic<std::uint32_t> head{0}, tail{0};
  work_queue() {
    name(head, "head");
    name(tail, "tail");
  }
  void push() { tail.store(tail.load(std::memory_order_relaxed) + 1, std::memory_order_release); }
  bool has_work() const { return head.load(std::memory_order_acquire) != tail.load(std::memory_order_acquire); }
  bool take() {
    std::uint32_t h = head.load(std::memory_order_acquire);
    while (h != tail.load(std::memory_order_acquire))
      if (head.compare_exchange_strong(h, h + 1, std::memory_order_acq_rel, std::memory_order_acquire)) return true;
    return false;
  }
};

template <class A>
struct pool {
  work_queue<A> queue[2];
  int queues = 1;
  typename A::template atomic<std::uint32_t> idle{0};
  typename A::template atomic<std::uint32_t> wake[2]{};
  pool() {
    name(idle, "idle");
    name(wake[0], "wake 0");
    name(wake[1], "wake 1");
  }

  void push(int q, bug b) {
    queue[q].push();
    A::light_barrier();
    wake_one(b);
  }

  void wake_one(bug b) {
    std::uint32_t mask = idle.load(std::memory_order_acquire);
    while (mask != 0) {
      std::uint32_t bit = mask & -mask;
      if (b != bug::wakes_without_claiming &&
          !idle.compare_exchange_strong(mask, mask & ~bit, std::memory_order_acq_rel, std::memory_order_acquire))
        continue;
      auto& word = wake[bit == 1 ? 0 : 1];
      word.store(1, std::memory_order_release);
      A::futex_wake(word, 1);
      return;
    }
  }

  bool take_any(bug b) {
    for (int q = 0; q < (b == bug::looks_at_one_queue ? 1 : queues); ++q)
      if (queue[q].take()) return true;
    return false;
  }
  bool any_work() const {
    for (int q = 0; q < queues; ++q)
      if (queue[q].has_work()) return true;
    return false;
  }

  // Returns with an item taken, the worker's `done`th.
  void next(int me, unsigned done, bug b) {
    std::uint32_t bit = 1u << me;
    bool woken = false;
    auto at = [&](unsigned line) { forget(line << 8 | done << 1 | woken); };
    for (;;) {
      at(1);
      if (take_any(bug::none)) break;
      at(2);
      wake[me].store(0, std::memory_order_relaxed);  // before announcing, or a wake-up is overwritten
      bool found = false;
      if (b == bug::looks_before_announcing) found = take_any(b);
      if (!found) idle.fetch_or(bit, std::memory_order_acq_rel);
      if (!found) at(3);
      if (b == bug::fence_is_enough)
        A::fence(std::memory_order_seq_cst);
      else
        A::heavy_barrier();
      if (b != bug::looks_before_announcing) found = take_any(b);
      if (found) {
        at(4);
        // Whoever has claimed the bit believes to have woken somebody for its item.
        if (b != bug::keeps_bit) woken |= (idle.fetch_and(~bit, std::memory_order_acq_rel) & bit) == 0;
        break;
      }
      at(5);
      while (wake[me].load(std::memory_order_acquire) == 0) {
        at(6);
        A::futex_wait(wake[me], 0u);
        at(5);
      }
      at(7);
      idle.fetch_and(~bit, std::memory_order_acq_rel);  // still set if the wake-up was an old one
      woken = true;
    }
    at(8);
    if (woken && b != bug::does_not_pass_on && any_work()) {
      at(9);
      wake_one(b);
    }
    at(10);
  }
};

struct config {
  int pushers = 1;
  int items = 1;  // of each pusher
  int quota[2] = {1, 0};
  memory mem = memory::tso;
  int preemptions = -1;
};

model::result go_idle(config c, bug b = bug::none) {
  return check({.mem = c.mem, .reduce = reduction::values, .races = false, .preemptions = c.preemptions}, [=](run& r) {
    auto& p = r.make<pool<atomics>>();
    p.queues = c.pushers;
    for (int q = 0; q < c.pushers; ++q)
      r.thread(q == 0 ? "pusher 0" : "pusher 1", [=, &p] {
        for (int i = 0; i < c.items; ++i) p.push(q, b);
      });
    for (int me = 0; me < 2; ++me)
      if (c.quota[me] != 0)
        r.thread(me == 0 ? "worker 0" : "worker 1", [=, &p] {
          for (int i = 0; i < c.quota[me]; ++i) p.next(me, static_cast<unsigned>(i), b);
        });
    r.finally([&p] { require(!p.any_work(), "an item is left"); });
  });
}

TEST(idle_workers, one_worker_sees_one_push) {
  EXPECT_PROVEN(go_idle({}));
  EXPECT_PROVEN(go_idle({.mem = memory::pso}));
}

TEST(idle_workers, one_worker_sees_every_push) { EXPECT_PROVEN(go_idle({.items = 2, .quota = {2, 0}})); }

TEST(idle_workers, one_worker_sees_both_queues) { EXPECT_PROVEN(go_idle({.pushers = 2, .quota = {2, 0}})); }

TEST(idle_workers, two_workers_share_the_wake_ups) {
  EXPECT_PROVEN(go_idle({.items = 2, .quota = {1, 1}}));
  int bound = long_run() ? 4 : 2;
  EXPECT_PROVEN(go_idle({.items = 3, .quota = {2, 1}, .preemptions = bound}));
  EXPECT_PROVEN(go_idle({.pushers = 2, .quota = {1, 1}, .preemptions = bound}));
  EXPECT_PROVEN(go_idle({.items = 2, .quota = {1, 1}, .mem = memory::pso, .preemptions = bound}));
}

TEST(idle_workers, a_fence_of_the_worker_alone_loses_a_wake_up) {
  EXPECT_FOUND("deadlock", go_idle({}, bug::fence_is_enough));
}

TEST(idle_workers, looking_before_announcing_loses_a_wake_up) {
  EXPECT_FOUND("deadlock", go_idle({}, bug::looks_before_announcing));
}

TEST(idle_workers, looking_at_one_queue_of_two_loses_a_wake_up) {
  EXPECT_FOUND("deadlock", go_idle({.pushers = 2, .quota = {2, 0}}, bug::looks_at_one_queue));
}

TEST(idle_workers, pushers_that_wake_the_same_worker_leave_the_other_asleep) {
  EXPECT_FOUND("deadlock", go_idle({.items = 2, .quota = {1, 1}}, bug::wakes_without_claiming));
}

TEST(idle_workers, a_busy_worker_still_announced_swallows_a_wake_up) {
  EXPECT_FOUND("deadlock", go_idle({.items = 2, .quota = {1, 1}}, bug::keeps_bit));
}

TEST(idle_workers, a_wake_up_that_is_not_passed_on_is_lost) {
  EXPECT_FOUND("deadlock", go_idle({.items = 2, .quota = {1, 1}}, bug::does_not_pass_on));
}

// --- idle.cpp step by step: spinners, sleepers, the sentry, next slots and timers
//
// Some workers are busy for ever from the beginning, after they have pushed, filled their next slot or armed a timer.
// The others have a quota each, as above, and look for work as idle() does. What waits in the next slot of a busy worker,
// or for a timer, is found only by who keeps watch. Time is left open: who sleeps until a time gets up whenever it
// likes, and a timer that is armed is due when somebody looks.

enum leaving : unsigned {
  as_it_is = 0,
  without_leave = 1,  // who has found something just goes
  without_fence = 2,  // looks, but may not see what was pushed by who relied on it
  not_at_queues = 4,  // does not look at ...
  not_at_next = 8,
  not_at_timers = 16,
  at_all_timers = 32,  // wakes somebody for a timer even if the sentry gets up in time
  silent_arming = 64,  // who arms a timer that comes before the sentry gets up wakes nobody
  // Looks only if somebody can have relied on it: it was the last that looked for work, or the sentry.
  only_if_relied = 128,
  spun_does_not_count = 256,
  woken_does_not_count = 512,
  counts_by_bit = 1024,  // as the sentry only if it was announced as being on watch
  // The reactor:
  leaves_untold = 2048,           // who leaves does not see to it that somebody looks at its place
  sleeps_untold = 4096,           // who goes to sleep while others are awake does not either
  looks_at_own_place = 16384,     // who looks around does not look at the places of others
  interrupt_is_lost = 32768,      // an interrupt does not last until somebody waits
  silent_completion = 131072,     // what an event has brought is pushed without a word
  never_a_fence = 262144,         // who goes to sleep does without its fence also when nobody will look around
  joins_in_two_steps = 524288,    // a sleeper first, and then on watch
  leaves_in_two_steps = 1048576,  // on watch no more, and then no sleeper
  foreign_without_fence =
      2097152,  // a push from outside is as one of a worker, and an only worker sleeps without its fence
};

struct scheduler {
  static constexpr int most = 4;
  static constexpr std::uint32_t one_sleeper = 1, one_spinner = 16, has_sentry = 256, sleeper_mask = 15,
                                 spinner_mask = 240;

  // A std::mutex: giving it back is a full fence on the machines of interest.
  struct mutex {
    atomic<bool> held{false};
    void lock() { held.await_exchange(false, true, std::memory_order_acquire); }
    void unlock() { held.exchange(false, std::memory_order_release); }
  };
  // What a worker has: whether something is there. Those that stay empty need no look.
  struct place {
    atomic<bool> full{false};
    bool used = false;
    bool seen_full() const { return used && full.load(std::memory_order_relaxed); }
    bool take() { return seen_full() && full.exchange(false, std::memory_order_acq_rel); }
  };

  int const workers;
  unsigned const how;
  atomic<std::uint32_t> idle{0};
  mutex idle_lock;
  var<bool> asleep[most];
  var<int> sentry{-1};
  var<bool> sentry_polls{false};  // its sleep ends at some time
  atomic<std::uint32_t> wake[most]{};
  place queued[2 * most], next[most], timer[most];
  // The reactor, if there is one. An event is taken by the worker to whose place it comes, or who looks there. What lets a
  // waiting worker out lasts until it waits.
  bool has_reactor = false;
  atomic<bool> ticking{false};  // written under idle_lock
  atomic<bool> let_out[most]{};
  mutex turn[most];
  atomic<std::uint32_t> in_flight{0};  // events that have not been taken
  place event[2];
  int home[2] = {0, 0};
  atomic<bool> none_done{true};  // nobody has its quota yet
  var<int> asked{0};             // how often somebody wanted to wake one

  scheduler(int n, unsigned h) : workers(n), how(h) {
    name(idle, "idle");
    name(idle_lock.held, "idle lock");
    static constexpr const char* names[][4] = {{"wake 0", "wake 1", "wake 2", "wake 3"},
                                               {"next 0", "next 1", "next 2", "next 3"},
                                               {"timer 0", "timer 1", "timer 2", "timer 3"}};
    for (int i = 0; i < most; ++i) {
      name(wake[i], names[0][i]);
      name(next[i].full, names[1][i]);
      name(timer[i].full, names[2][i]);
    }
    for (place& p : queued) name(p.full, "queued");
    name(in_flight, "in flight");
    name(ticking, "ticking");
    for (int i = 0; i < most; ++i) {
      name(turn[i].held, "turn");
      name(let_out[i], "let out");
    }
    for (place& p : event) name(p.full, "event");
  }

  // --- the reactor
  void happen(int i) {
    event[i].full.store(true, std::memory_order_release);
    let_out[home[i]].exchange(true, std::memory_order_acq_rel);
  }
  bool poll_reactor(int at) {
    if (!has_reactor || turn[at].held.exchange(true, std::memory_order_acquire)) return false;
    let_out[at].exchange(false, std::memory_order_acq_rel);
    bool const taken = take_event(at);
    turn[at].unlock();
    return taken;
  }
  bool take_event(int at) {
    for (int i = 0; i < 2; ++i)
      if (home[i] == at && event[i].take()) {
        in_flight.fetch_sub(1, std::memory_order_release);
        return true;
      }
    return false;
  }
  // Returns when something happened there, or was said to; when the time has come, if it has one; or when it ticks.
  void wait_in_reactor(int me, bool timed) {
    if (timed || ticking.load(std::memory_order_relaxed)) {
      doze();
      if (timed || ticking.load(std::memory_order_relaxed)) {
        let_out[me].exchange(false, std::memory_order_acq_rel);
        return;
      }
    }
    let_out[me].await_exchange(true, false, std::memory_order_acq_rel);
  }
  void interrupt(int at) {
    if (how & interrupt_is_lost) return;
    let_out[at].exchange(true, std::memory_order_acq_rel);
  }
  void start_ticking() {
    if (ticking.load(std::memory_order_relaxed) || workers == 1) return;
    ticking.store(true, std::memory_order_relaxed);
    idle.fetch_or(has_sentry, std::memory_order_relaxed);
    for (int k = 0; k < workers; ++k) let_out[k].exchange(true, std::memory_order_acq_rel);
  }
  // How much time has passed, and whether a goroutine has run meanwhile, is left open.
  bool is_my_look() {
    idle_lock.lock();
    bool look = true;
    if (ticking.load(std::memory_order_relaxed)) {
      look = choose(2) == 0;
      bool const others_sleep = int(idle.load(std::memory_order_relaxed) & sleeper_mask) + 1 == workers;
      if (look && others_sleep && choose(2) == 0) {
        ticking.store(false, std::memory_order_relaxed);
        idle.fetch_and(~has_sentry, std::memory_order_relaxed);
      }
    }
    idle_lock.unlock();
    return look;
  }

  // --- worker.cpp
  void notify() {
    atomics::light_barrier();
    std::uint32_t const i = idle.load(std::memory_order_relaxed);
    if ((i & sleeper_mask) != 0 && (i & spinner_mask) == 0) wake_one();
  }
  void notify_watch() {
    atomics::light_barrier();
    std::uint32_t const i = idle.load(std::memory_order_relaxed);
    if ((i & sleeper_mask) != 0 && (i & (spinner_mask | has_sentry)) == 0) wake_one();
  }
  void make_next(int me) {
    require(!next[me].full.load(std::memory_order_relaxed), "the next slot was full");
    next[me].full.store(true, std::memory_order_release);
    notify_watch();
  }
  bool steal() {
    for (place& p : queued)
      if (p.take()) return true;
    return false;
  }
  // 'q' pushes, 'w' pushes what an event has brought: who is on watch will see it. 'n' fills the next slot, 't' arms a timer. A thread that is no worker pushes only, or ('i') is what
  // happens outside.
  void act(int me, const char* script, bool is_worker = true) {
    for (int i = 0; script[i] != '\0'; ++i) switch (script[i]) {
        case 'q':
          queued[2 * me + i].full.store(true, std::memory_order_release);
          // It has one in any case; several workers do not rely on that.
          if (!is_worker && workers == 1 && !(how & foreign_without_fence)) atomics::fence(std::memory_order_seq_cst);
          notify();
          break;
        case 'w':
          queued[2 * me + i].full.store(true, std::memory_order_release);
          if (!(how & silent_completion)) notify_watch();
          break;
        case 'n':
          make_next(me);
          break;
        case 'i':
          happen(i);
          break;
        case 't':
          timer[me].full.store(true, std::memory_order_relaxed);
          if (!(how & silent_arming)) notify_watch();
          break;
      }
  }
  void will_act(int me, const char* script) {
    for (int i = 0; script[i] != '\0'; ++i)
      (script[i] == 'q' || script[i] == 'w' ? queued[2 * me + i]
       : script[i] == 'n'                   ? next[me]
       : script[i] == 'i'                   ? event[i]
                                            : timer[me])
          .used = true;
  }

  // --- idle.cpp
  template <std::size_t N>
  static bool any(const place (&all)[N]) {
    for (const place& p : all)
      if (p.seen_full()) return true;
    return false;
  }
  // What that takes from `idle`.
  std::uint32_t unlink(int w) {
    asleep[w] = false;
    if (sentry != w) return one_sleeper;
    sentry = -1;
    sentry_polls = false;
    if (ticking.load(std::memory_order_relaxed)) return one_sleeper;
    std::uint32_t const watch = idle.load(std::memory_order_relaxed) & has_sentry;
    if (!(how & leaves_in_two_steps)) return one_sleeper + watch;
    idle.fetch_sub(watch, std::memory_order_relaxed);
    return one_sleeper;
  }
  void wake_one() {
    idle_lock.lock();
    asked = asked + 1;
    int chosen = -1;
    for (int k = 0; k < workers; ++k)
      if (asleep[k] && (chosen == -1 || chosen == sentry)) chosen = k;
    if (chosen == -1) return idle_lock.unlock();
    idle.fetch_add(one_spinner - unlink(chosen), std::memory_order_relaxed);
    wake[chosen].exchange(1, std::memory_order_release);
    idle_lock.unlock();
    if (has_reactor) interrupt(chosen);
  }
  bool keep_watch(int me) {
    for (place& t : timer)
      if (t.seen_full() && choose(2) == 0 && t.take()) make_next(me);
    if (poll_reactor(me)) return true;
    if (!is_my_look()) return false;
    for (int k = 0; k < workers; ++k) {
      if (k == me) continue;
      if (!(how & looks_at_own_place) && poll_reactor(k)) return true;
      if (next[k].take()) return true;
    }
    return false;
  }
  void leave(bool relied) {
    if (how & without_leave) return;
    if ((how & only_if_relied) && !relied) return;
    std::uint32_t const i = idle.load(std::memory_order_relaxed);
    if ((i & sleeper_mask) == 0 || (i & (spinner_mask | has_sentry)) != 0) return;
    if (!(how & without_fence)) atomics::heavy_barrier();
    bool more = !(how & not_at_queues) && any(queued);
    more = more || (!(how & not_at_next) && any(next));
    if (!more && !(how & not_at_timers) && any(timer)) {
      more = true;
      if (!(how & at_all_timers)) {
        idle_lock.lock();
        more = sentry == -1 || !sentry_polls;
        idle_lock.unlock();
      }
    }
    if (!more && !(how & leaves_untold) && has_reactor && in_flight.load(std::memory_order_relaxed) != 0) {
      idle_lock.lock();
      start_ticking();
      idle_lock.unlock();
    }
    if (more) wake_one();
  }

  // All workers sleep, as they do when nothing has happened for a while; the first one gets up when its timer is due.
  void fall_asleep() {
    for (int k = 0; k < workers; ++k) asleep[k] = true;
    idle.store(one_sleeper * unsigned(workers));
    sentry = 0;
    sentry_polls = timer[0].used;
  }

  // Returns with something to run, the worker's `done`th. `sleeps`: it begins asleep.
  void find(int me, unsigned done, bool sleeps) {
    bool relied = false, spin = true, polls = false, got = false;
    auto at = [&](unsigned line, bool b = false) {
      forget(line << 7 | done << 5 | spin << 4 | relied << 3 | polls << 2 | sleeps << 1 | b);
    };
    at(1);
    if (!sleeps && (next[me].take() || steal())) return;
    for (;;) {
      if (!sleeps) {
        at(20);
        if (!has_reactor || in_flight.load(std::memory_order_relaxed) == 0 || any(queued)) {
          at(24);
          if (poll_reactor(me)) return leave(relied);
          at(2);
          if (look_around(spin, relied, at)) return leave(relied);
        }
        at(3);
        polls = any(timer);
        at(4);
        bool const ticks = go_to_sleep(me, polls);
        at(5, ticks);
        if (workers == 1)
          atomics::fence(std::memory_order_seq_cst);
        else if (!ticks && !(how & never_a_fence))
          atomics::heavy_barrier();
        at(6);
      }
      if (sleeps || !any(queued)) {
        at(7);
        // One whose place as sentry another has taken may get up for its time all the same; here it sleeps on, which helps nobody.
        polls = sentry == me && sentry_polls;
        at(has_reactor ? 18 : 8);
        if (has_reactor) {
          turn[me].lock();
          at(22);
          if (wake[me].load(std::memory_order_acquire) == 0) {
            at(23);
            wait_in_reactor(me, polls);
            at(19);
            got = take_event(me);
          }
          turn[me].unlock();
        } else if (polls) {
          doze();
        } else {
          wake[me].await_exchange(1, 1, std::memory_order_acquire);
        }
      }
      sleeps = polls = false;
      at(got ? 21 : 9);
      if (get_up(me)) relied = true;
      if (got) return leave(relied);
      at(10);
      if (keep_watch(me)) return leave(relied);
      at(11);
      if (next[me].take()) return leave(relied);
      at(12);
      spin = wake[me].load(std::memory_order_relaxed) != 0;
    }
  }
  template <class At>
  bool look_around(bool& spin, bool& relied, At at) {
    std::uint32_t const seen = idle.load(std::memory_order_relaxed);
    if (std::exchange(spin, false) && (seen & spinner_mask) / one_spinner * 2 < unsigned(workers) && !has_reactor) {
      idle.fetch_add(one_spinner, std::memory_order_relaxed);
      at(13);
      bool const found = steal();
      at(14, found);
      std::uint32_t const before = idle.fetch_sub(one_spinner, std::memory_order_acq_rel);
      bool const last = (before & spinner_mask) == one_spinner;
      if (last && !(how & spun_does_not_count)) relied = true;
      at(15 + last, found);
      if (found && last && any(queued)) notify();
      if (found) return true;
    }
    at(17);
    return steal();
  }
  // True: some sleeper will look around soon. polls: there is a timer; afterwards, that it gets up for it.
  bool go_to_sleep(int me, bool& polls) {
    idle_lock.lock();
    wake[me].store(0, std::memory_order_relaxed);
    asleep[me] = true;
    bool const all_asleep = int(idle.load(std::memory_order_relaxed) & sleeper_mask) + 1 == workers;
    std::uint32_t joins = one_sleeper;
    if (how & joins_in_two_steps) idle.fetch_add(std::exchange(joins, 0), std::memory_order_relaxed);
    bool const watches = !has_reactor && !all_asleep;
    polls = polls || watches;
    if (has_reactor && !(how & sleeps_untold) && (!all_asleep || choose(2) == 0)) start_ticking();
    bool const ticks = ticking.load(std::memory_order_relaxed);
    if (sentry == -1 || (polls && (!sentry_polls || choose(2) == 0))) {
      sentry = me;
      sentry_polls = polls;
      joins += (watches || ticks ? has_sentry : 0) - (idle.load(std::memory_order_relaxed) & has_sentry);
    } else {
      polls = false;
    }
    idle.fetch_add(joins, std::memory_order_relaxed);
    idle_lock.unlock();
    return ticks;
  }
  // True: others may have relied on this one.
  bool get_up(int me) {
    idle_lock.lock();
    bool relied = false;
    if (asleep[me]) {
      bool const counts = !(how & counts_by_bit) || (idle.load(std::memory_order_relaxed) & has_sentry) != 0;
      relied = sentry == me && counts;
      idle.fetch_sub(unlink(me), std::memory_order_relaxed);
    } else {
      bool const last = (idle.fetch_sub(one_spinner, std::memory_order_relaxed) & spinner_mask) == one_spinner;
      relied = last && !(how & woken_does_not_count);
    }
    idle_lock.unlock();
    return relied;
  }
};

struct crew {
  const char* busy[2] = {nullptr, nullptr};  // scripts of busy workers
  const char* foreign = nullptr;             // of a thread that is no worker
  int quota[3] = {1, 1, 0};                  // of the others
  const char* then = nullptr;                // the script of the first that has its quota
  bool armed = false;                        // worker 0 has armed a timer before
  bool asleep = false;                       // all of them, at the beginning
  bool reactor = false;
  int homes[2] = {0, 0};     // to whose places the events come
  bool undisturbed = false;  // nobody wants to wake one
  memory mem = memory::tso;
  int preemptions = -1;
};

model::result work(crew c, unsigned how = as_it_is) {
  return check({.mem = c.mem, .reduce = reduction::values, .races = false, .preemptions = c.preemptions}, [=](run& r) {
    int const idle_ones = 1 + (c.quota[1] != 0) + (c.quota[2] != 0);
    int n = idle_ones;
    for (auto* b : c.busy) n += b != nullptr;
    auto& s = r.make<scheduler>(n, how);
    s.has_reactor = c.reactor;
    for (int i = 0; i < 2; ++i) s.home[i] = c.homes[i];
    for (int me = 0; me < idle_ones; ++me)
      r.thread(me == 0   ? "worker 0"
               : me == 1 ? "worker 1"
                         : "worker 2",
               [=, &s] {
                 for (int i = 0; i < c.quota[me]; ++i) s.find(me, unsigned(i), c.asleep && i == 0);
                 if (c.then == nullptr) return;
                 forget(0);
                 if (s.none_done.exchange(false, std::memory_order_relaxed)) s.act(me, c.then);
               });
    for (auto* script : {c.busy[0], c.busy[1], c.foreign})
      for (; script != nullptr && *script != '\0'; ++script)
        if (*script == 'i') s.in_flight.store(s.in_flight.load() + 1);
    if (c.armed) {
      s.timer[0].used = true;
      s.timer[0].full.store(true);
      for (int l = 0; l < idle_ones; ++l) s.next[l].used = true;
    }
    if (c.asleep) s.fall_asleep();
    if (c.then != nullptr)
      for (int k = 0; k < idle_ones; ++k) {
        s.will_act(k, c.then);
        if (s.timer[k].used)
          for (int l = 0; l < idle_ones; ++l) s.next[l].used = true;
      }
    int me = idle_ones;
    auto start = [&](const char* script, bool is_worker) {
      if (script == nullptr) return;
      s.will_act(me, script);
      if (s.timer[me].used)  // its goroutine becomes the next of who finds it due
        for (int k = 0; k < idle_ones; ++k) s.next[k].used = true;
      r.thread(script, [=, &s] { s.act(me, script, is_worker); });
      ++me;
    };
    for (auto* script : c.busy) start(script, true);
    start(c.foreign, false);
    r.finally([&s, c] {
      require(!s.any(s.queued) && !s.any(s.next) && !s.any(s.timer) && !s.any(s.event), "something is left");
      require(!c.undisturbed || s.asked == 0, "to be woken for what it would have found");
    });
  });
}

// A push that comes from outside while all sleep, and what is pushed while the woken one looks for work.
constexpr crew pushed_twice{.foreign = "qq", .asleep = true};
// Two busy workers with something in their next slots, and one on watch.
constexpr crew two_next_slots{.busy = {"n", "n"}, .preemptions = 2};
// A timer that is not due, and a next slot.
constexpr crew timer_and_next{.busy = {"tn"}, .preemptions = 2};
// The sentry sleeps until its timer. Another worker is woken, fills its next slot and does not get on.
constexpr crew sentry_with_timer{
    .foreign = "q", .quota = {1, 1, 1}, .then = "n", .armed = true, .asleep = true, .preemptions = 2};
// The woken one has run something, and looks again.
constexpr crew woken_works_on{.foreign = "qqq", .quota = {2, 1}, .preemptions = 2};
// Who was woken arms a timer and fills its next slot, and does not get on.
constexpr crew woken_stays_busy{.foreign = "q", .quota = {1, 1, 1}, .then = "tn", .asleep = true};

void expect_no_wake_up_lost(unsigned how) {
  EXPECT_PROVEN(work(pushed_twice, how));
  EXPECT_PROVEN(work(timer_and_next, how));
  EXPECT_PROVEN(work(woken_stays_busy, how));
  EXPECT_PROVEN(work({.foreign = "q", .then = "n", .asleep = true}, how));
  EXPECT_PROVEN(work({.foreign = "q", .armed = true, .asleep = true}, how));
  if (!long_run()) return;
  EXPECT_PROVEN(work(two_next_slots, how));
  EXPECT_PROVEN(work(sentry_with_timer, how));
  EXPECT_PROVEN(work(woken_works_on, how));
  EXPECT_PROVEN(work({.busy = {"qq"}, .preemptions = 2}, how));
  EXPECT_PROVEN(work({.busy = {"q", "n"}, .preemptions = 2}, how));
  EXPECT_PROVEN(work({.busy = {"n"}, .foreign = "q", .preemptions = 2}, how));
}

TEST(leaving_idle, loses_no_wake_up) {
  expect_no_wake_up_lost(as_it_is);
  EXPECT_PROVEN(work(two_next_slots));
  EXPECT_PROVEN(work(sentry_with_timer));
  crew pso = pushed_twice;
  pso.mem = memory::pso;
  EXPECT_PROVEN(work(pso));
}

TEST(leaving_idle, without_a_look_what_was_pushed_is_lost) {
  EXPECT_FOUND("deadlock", work(pushed_twice, without_leave));
  EXPECT_FOUND("deadlock", work(pushed_twice, not_at_queues));
}

TEST(leaving_idle, without_a_look_what_waits_in_a_next_slot_is_lost) {
  EXPECT_FOUND("deadlock", work(two_next_slots, without_leave));
  EXPECT_FOUND("deadlock", work(two_next_slots, not_at_next));
}

TEST(leaving_idle, without_a_look_a_timer_is_lost) {
  EXPECT_FOUND("deadlock", work(timer_and_next, without_leave));
  EXPECT_FOUND("deadlock", work(timer_and_next, not_at_timers));
}

TEST(leaving_idle, a_look_without_a_fence_misses_what_was_pushed) {
  EXPECT_FOUND("deadlock", work(pushed_twice, without_fence));
}

// As it was: nothing is lost, but somebody is woken for each timer that is armed.
TEST(leaving_idle, waking_somebody_for_every_timer_loses_nothing) { expect_no_wake_up_lost(at_all_timers); }

// Sound, but not what idle.cpp does: there is hardly a worker that leaves and was not relied on.
TEST(leaving_idle, looking_only_if_relied_on_loses_nothing) { expect_no_wake_up_lost(only_if_relied); }

TEST(leaving_idle, who_has_spun_was_woken_or_was_the_sentry_was_relied_on) {
  EXPECT_FOUND("deadlock", work(woken_stays_busy, only_if_relied | woken_does_not_count));
  if (!long_run()) return;
  EXPECT_FOUND("deadlock", work(woken_works_on, only_if_relied | spun_does_not_count));
  EXPECT_FOUND("deadlock", work(sentry_with_timer, only_if_relied | counts_by_bit | at_all_timers));
}

// Woken while all slept, it arms a timer and then computes.
TEST(leaving_idle, a_timer_that_wakes_nobody_waits_for_its_worker) {
  constexpr crew arms_and_computes{.foreign = "q", .then = "t", .asleep = true};
  EXPECT_PROVEN(work(arms_and_computes));
  EXPECT_FOUND("deadlock", work(arms_and_computes, silent_arming));
}

// A busy worker fills its next slot while the other goes to sleep, on watch, or gets up from that.
TEST(going_to_sleep, who_is_on_watch_is_not_woken_for_a_next_slot) {
  constexpr crew hands_over{.busy = {"n"}, .quota = {1, 0}, .undisturbed = true};
  EXPECT_PROVEN(work(hands_over));
  EXPECT_FOUND("to be woken", work(hands_over, joins_in_two_steps));
  EXPECT_FOUND("to be woken", work(hands_over, leaves_in_two_steps));
}

// --- with a reactor: a sleeper waits in its place, and hears of what comes there

// Two events. Who takes the first is busy afterwards.
constexpr crew two_events{.foreign = "ii", .asleep = true, .reactor = true};
constexpr crew at_two_places{.foreign = "ii", .asleep = true, .reactor = true, .homes = {0, 1}};
// Something is pushed and something happens.
constexpr crew push_and_event{.foreign = "qi", .asleep = true, .reactor = true, .homes = {0, 1}};
constexpr crew event_and_push{.foreign = "iq", .asleep = true, .reactor = true};
// A worker that is busy for ever has filled its next slot, and something happens.
constexpr crew next_slot_and_event{.busy = {"n"}, .foreign = "i", .reactor = true, .preemptions = 2};
// Something happens at the place of one that is busy for ever.
constexpr crew event_at_busy_place{.busy = {"n"}, .foreign = "i", .reactor = true, .homes = {2, 2}, .preemptions = 2};
constexpr crew beside_busy{.busy = {""}, .foreign = "i", .quota = {1, 0}, .reactor = true, .homes = {1, 1}};
// Who takes the first event fills its next slot and does not get on.
constexpr crew event_then_next{.foreign = "i", .then = "n", .asleep = true, .reactor = true};
// Of two goroutines that events have woken one runs and does not get on.
constexpr crew event_then_another{.foreign = "i", .then = "w", .asleep = true, .reactor = true};
constexpr crew event_then_timer{.foreign = "i", .then = "t", .asleep = true, .reactor = true};
// The sentry has a timer, and an event comes to another one.
constexpr crew timer_and_event{.foreign = "i", .armed = true, .asleep = true, .reactor = true, .homes = {1, 1}};
// Pushes of others, while they go to sleep.
constexpr crew pushes_from_outside{.foreign = "qq", .reactor = true};

crew bounded(crew c, int preemptions) {
  c.preemptions = preemptions;
  return c;
}

TEST(reactor_places, lose_no_event_and_no_wake_up) {
  for (crew c : {two_events, at_two_places, next_slot_and_event, event_at_busy_place})
    EXPECT_PROVEN(work(bounded(c, long_run() ? 2 : 1)));
  EXPECT_PROVEN(work({.foreign = "i", .quota = {1, 0}, .asleep = true, .reactor = true}));
  EXPECT_PROVEN(work({.foreign = "iq", .quota = {2, 0}, .asleep = true, .reactor = true}));
  if (!long_run()) return;
  for (crew c : {push_and_event, event_and_push, event_then_next, event_then_timer, event_then_another, timer_and_event,
                 pushes_from_outside})
    EXPECT_PROVEN(work(bounded(c, 2)));
  EXPECT_PROVEN(
      work({.foreign = "qi", .quota = {1, 1, 1}, .then = "n", .asleep = true, .reactor = true, .preemptions = 2}));
}

TEST(reactor_places, an_event_is_lost_if_nobody_looks_at_the_place_of_one_that_left) {
  EXPECT_FOUND("deadlock", work(two_events, leaves_untold));
  // Who sleeps gets up again and again, but for nothing: no run comes to its end.
  EXPECT_NE(work(beside_busy).schedules, 0u);
  EXPECT_EQ(work(beside_busy, looks_at_own_place).schedules, 0u);
}

TEST(reactor_places, an_event_is_lost_if_nobody_looks_while_some_are_awake) {
  EXPECT_PROVEN(work(beside_busy));
  EXPECT_FOUND("deadlock", work(beside_busy, sleeps_untold));
}

// Who is on watch sees what events have brought besides; but somebody must be.
TEST(reactor_places, what_came_with_an_event_waits_for_whoever_is_on_watch) {
  EXPECT_PROVEN(work({.busy = {"w"}, .quota = {1, 0}, .reactor = true, .preemptions = 2}));
  EXPECT_FOUND("deadlock", work(bounded(event_then_another, 1), silent_completion | leaves_untold));
  if (long_run()) EXPECT_PROVEN(work({.busy = {"ww"}, .reactor = true, .preemptions = 2}));
}

// While it ticks the fence may be left out: somebody looks once more before it ends.
TEST(reactor_places, a_push_is_lost_without_the_fence_of_who_sleeps_for_long) {
  if (long_run()) EXPECT_PROVEN(work(bounded(pushes_from_outside, 1)));
  EXPECT_FOUND("deadlock", work(bounded(pushes_from_outside, 1), never_a_fence));
}

// An only worker and whoever pushes from outside have a fence of their own each.
TEST(an_only_worker, sees_what_is_pushed_from_outside) {
  for (bool reactor : {false, true})
    for (memory m : {memory::tso, memory::pso}) {
      crew const pushed{.foreign = "q", .quota = {1, 0}, .reactor = reactor, .mem = m};
      EXPECT_PROVEN(work(pushed));
      EXPECT_FOUND("deadlock", work(pushed, foreign_without_fence));
    }
  EXPECT_PROVEN(work({.foreign = "iq", .quota = {2, 0}, .reactor = true}));
}

TEST(reactor_places, an_interrupt_that_does_not_last_is_lost) {
  EXPECT_FOUND("deadlock", work({.foreign = "q", .quota = {1, 0}, .asleep = true, .reactor = true}, interrupt_is_lost));
}

}  // namespace
