// How the marker reads what an object counts, while the object is released, handed over and taken again: totals once, the
// holders of a shared_mutex as one word, and the length of a line before who was let in. Whoever is judged leaked must
// never complete.
#include "expect.hpp"
#include "model.hpp"
#include "park.hpp"

namespace {

using namespace model;

struct sleeper : wait_node<atomics> {
  parker<atomics> park;
  atomic<bool> judged{false}, completed{false};
  unsigned wanted = 1;  // permits; does not change

  sleeper() {
    name(judged, "judged");
    name(completed, "completed");
  }
  bool claim() { return park.settle(1, park_state::won); }
  // In the set-up: a waiter that stands in the queue already.
  void stand_in(wait_queue<atomics>& q) {
    q.push(*this, park, 1);
    park.word.store(park_word(1, park_state::parked), std::memory_order_relaxed);
  }
  void complete() { completed.store(true, std::memory_order_release); }
};

bool parked(std::uint32_t word) { return word == park_word(1, park_state::parked); }

struct outcome {
  model::result checked;
  bool judged_ever = false;
  void note(sleeper& s) {
    bool const judged = s.judged.load();
    judged_ever |= judged;
    require(!judged || !s.completed.load(), "judged leaked, then completed");
  }
};

// --- totals

enum class reading { once, twice };

// `found`: how many capabilities lie in frozen frames.
template <class Object>
void mark(Object& o, sleeper& s, unsigned found, reading how) {
  std::uint32_t const before = s.park.word.load(std::memory_order_acquire);
  if (!parked(before)) return;
  atomics::fence(std::memory_order_seq_cst);
  unsigned const total = o.total();
  bool live = total != found;
  live |= (how == reading::once ? total : o.total()) == 0;  // satisfied already: the waker is on the way
  atomics::fence(std::memory_order_seq_cst);
  live |= s.park.word.load(std::memory_order_acquire) != before;
  if (!live) s.judged.store(true, std::memory_order_release);
}

// As leash::mutex: an unlock sets it free and wakes the first waiter, which tries again.
struct mutex {
  static constexpr std::uint32_t locked = 1, waiters = 2;
  atomic<std::uint32_t> state{0};
  spin_lock lock;
  wait_queue<atomics> queue;
  sleeper first, second;
  mutex() { name(state, "state"); }

  unsigned total() const { return (state.load(std::memory_order_acquire) & locked) != 0 ? 1 : 0; }
  void unlock() {
    std::uint32_t held = locked;
    if (state.compare_exchange_strong(held, 0, std::memory_order_release, std::memory_order_relaxed)) return;
    sleeper* woken = nullptr;
    lock.lock();
    while (woken == nullptr && !queue.empty())
      if (auto* s = static_cast<sleeper*>(queue.pop()); s->claim()) woken = s;
    state.store(queue.empty() ? 0 : waiters, std::memory_order_release);
    lock.unlock();
    if (woken != nullptr) woken->park.resume();
  }
  void take() {  // nobody else wants it
    std::uint32_t s = state.load(std::memory_order_relaxed);
    while (!state.compare_exchange_weak(s, s | locked, std::memory_order_acquire, std::memory_order_relaxed)) {
    }
  }
};

// A holder unlocks; the first waiter locks again and unlocks; the second one is looked at.
outcome mutex_is_passed_on(reading how, memory mem = memory::tso) {
  outcome o;
  o.checked = check({.mem = mem, .reduce = reduction::values}, [=, &o](run& r) {
    auto& m = r.make<mutex>();
    m.state.store(mutex::locked | mutex::waiters);
    m.first.stand_in(m.queue);
    m.second.stand_in(m.queue);
    r.thread("holder", [&m] { m.unlock(); });
    r.thread("first", [&m] {
      m.first.park.sleep();
      m.take();
      m.unlock();
    });
    r.thread("second", [&m] {
      m.second.park.sleep();
      m.second.complete();
    });
    r.thread("marker", [=, &m] { mark(m, m.second, 0, how); });
    r.finally([&] { o.note(m.second); });
  });
  return o;
}

// As leash::wait_group: who drops the last token looks again under the lock.
struct wait_group {
  atomic<unsigned> tokens{1};
  spin_lock lock;
  wait_queue<atomics> queue;
  sleeper waiter;
  wait_group() { name(tokens, "tokens"); }

  unsigned total() const { return tokens.load(std::memory_order_acquire); }
  void add() { tokens.fetch_add(1, std::memory_order_relaxed); }
  void drop() {
    if (tokens.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
    bool woken = false;
    lock.lock();
    if (tokens.load(std::memory_order_acquire) == 0)
      while (auto* s = static_cast<sleeper*>(queue.pop())) woken |= s->claim();
    lock.unlock();
    if (woken) waiter.park.resume();
  }
};

// The last token is dropped while somebody takes a new one.
outcome group_is_used_again(reading how, memory mem = memory::tso) {
  outcome o;
  o.checked = check({.mem = mem, .reduce = reduction::values}, [=, &o](run& r) {
    auto& g = r.make<wait_group>();
    g.waiter.stand_in(g.queue);
    r.thread("last", [&g] { g.drop(); });
    r.thread("new", [&g] {
      g.add();
      g.drop();
    });
    r.thread("waiter", [&g] {
      g.waiter.park.sleep();
      g.waiter.complete();
    });
    r.thread("marker", [=, &g] { mark(g, g.waiter, 0, how); });
    r.finally([&] { o.note(g.waiter); });
  });
  return o;
}

// The only token lies in the waiter's own frame.
outcome group_waits_for_itself(memory mem = memory::tso) {
  outcome o;
  o.checked = check({.mem = mem, .reduce = reduction::values}, [=, &o](run& r) {
    auto& g = r.make<wait_group>();
    g.waiter.stand_in(g.queue);
    g.tokens.store(2);
    r.thread("other", [&g] { g.drop(); });
    r.thread("marker", [&g] { mark(g, g.waiter, 1, reading::once); });
    r.finally([&] { o.note(g.waiter); });
  });
  return o;
}

// As leash::once: a call that fails makes the first waiter's turn; only without one nobody runs it.
struct once {
  atomic<bool> done{false};
  atomic<unsigned> calls{1};
  var<bool> running{true};
  spin_lock lock;
  wait_queue<atomics> queue;
  sleeper first, second;
  once() {
    name(done, "done");
    name(calls, "calls");
  }

  unsigned total() const { return calls.load(std::memory_order_acquire); }
  void end_call(bool completed) {
    sleeper *woken[2] = {}, **last = woken;
    lock.lock();
    if (completed) {
      done.store(true, std::memory_order_release);
      running = false;
    }
    while (!queue.empty() && (completed || last == woken))
      if (auto* s = static_cast<sleeper*>(queue.pop()); s->claim()) *last++ = s;
    if (last == woken) running = false;
    if (!running) calls.store(0, std::memory_order_release);
    lock.unlock();
    for (sleeper** s = woken; s != last; ++s) (*s)->park.resume();
  }
};

outcome once_is_tried_again(reading how, memory mem = memory::tso) {
  outcome o;
  o.checked = check({.mem = mem, .reduce = reduction::values}, [=, &o](run& r) {
    auto& c = r.make<once>();
    c.first.stand_in(c.queue);
    c.second.stand_in(c.queue);
    r.thread("runs it", [&c] { c.end_call(false); });
    r.thread("first", [&c] {
      c.first.park.sleep();
      c.end_call(true);
    });
    r.thread("second", [&c] {
      c.second.park.sleep();
      c.second.complete();
    });
    r.thread("marker", [=, &c] { mark(c, c.second, 0, how); });
    r.finally([&] { o.note(c.second); });
  });
  return o;
}

// --- lines: semaphore, and shared_mutex (a semaphore of which a writer wants all)

// What is broken; several at once.
enum bugs : unsigned {
  none = 0,
  leaves_first = 1,            // who gives up leaves the line, then lets others in
  looks_at_the_line_last = 2,  // the marker reads the totals, then the length of the line
  counts_out_first = 4,        // a holder is counted out before it has let others in
  two_words = 8,               // readers and writers are counted apart
  reads_twice = 16,            // the total is read again for "satisfied"
};

struct line {
  spin_lock lock;
  wait_queue<atomics> queue;
  var<unsigned> available{0};
  atomic<unsigned> holders{0}, size{0}, readers{0}, writers{0};
  sleeper who[3];
  atomic<bool> first_stands{false};
  unsigned broken;  // bugs
  bool apart;       // readers and writers are counted too

  line(unsigned b, unsigned free, unsigned held)
      : available(free), holders(held), broken(b), apart((b & two_words) != 0) {
    name(holders, "holders");
    name(size, "size");
    name(readers, "readers");
    name(writers, "writers");
  }

  void stand(sleeper& s) {
    size.store(size.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    queue.push(s, s.park, 1);
  }
  void count_in(unsigned wanted) {
    holders.store(holders.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    if (apart) (wanted == 1 ? readers : writers).fetch_add(1, std::memory_order_relaxed);
  }
  void count_out() { holders.store(holders.load(std::memory_order_relaxed) - 1, std::memory_order_release); }
  unsigned take_out(sleeper& s) {
    if (!s.queued) return 0;
    queue.remove(s);
    return 1;
  }
  void left(unsigned places) {
    if (places != 0) size.store(size.load(std::memory_order_relaxed) - places, std::memory_order_release);
  }

  struct admitted {
    sleeper* all[3];
    unsigned count = 0;
    void resume() {
      for (unsigned i = 0; i < count; ++i) all[i]->park.resume();
    }
  };
  admitted let_in(unsigned places) {
    admitted in;
    while (auto* s = static_cast<sleeper*>(queue.front())) {
      if (s->wanted > available) break;
      bool const claimed = s->claim();
      places += take_out(*s);
      if (!claimed) continue;
      available = available - s->wanted;
      count_in(s->wanted);
      in.all[in.count++] = s;
    }
    left(places);
    return in;
  }
  void acquire(sleeper& s) {
    lock.lock();
    bool const in = queue.empty() && s.wanted <= available;
    if (in) {
      available = available - s.wanted;
      count_in(s.wanted);
    } else {
      stand(s);
      s.park.word.store(park_word(1, park_state::parked), std::memory_order_release);
    }
    lock.unlock();
    if (&s == &who[1]) first_stands.store(true, std::memory_order_release);
    if (!in) s.park.sleep();
  }
  void release(unsigned wanted) {
    lock.lock();
    available = available + wanted;
    if (apart) (wanted == 1 ? readers : writers).fetch_sub(1, std::memory_order_relaxed);
    if (broken & counts_out_first) count_out();
    admitted in = let_in(0);
    if (!(broken & counts_out_first)) count_out();
    lock.unlock();
    in.resume();
  }
  void give_up(sleeper& s) {
    lock.lock();
    unsigned places = take_out(s);
    if (broken & leaves_first) left(std::exchange(places, 0));
    admitted in = let_in(places);
    lock.unlock();
    in.resume();
  }

  unsigned total() const {
    if (!(broken & two_words)) return holders.load(std::memory_order_acquire);
    unsigned const r = readers.load(std::memory_order_acquire);
    return r + writers.load(std::memory_order_acquire);
  }
  // Judges `s`, of those that may stand in the line. One live waiter keeps all in line live.
  void mark(sleeper& s, unsigned found) {
    std::uint32_t before[3];
    unsigned waiting = 0;
    for (int i = 0; i < 3; ++i) {
      before[i] = who[i].park.word.load(std::memory_order_acquire);
      waiting += parked(before[i]);
    }
    if (!parked(before[&s - who])) return;
    atomics::fence(std::memory_order_seq_cst);
    bool live = false;
    auto look_at_line = [&] { live |= size.load(std::memory_order_acquire) != waiting; };
    if (!(broken & looks_at_the_line_last)) look_at_line();
    unsigned const t = total();
    live |= t != found;
    live |= (broken & reads_twice ? total() : t) == 0;
    if (broken & looks_at_the_line_last) look_at_line();
    atomics::fence(std::memory_order_seq_cst);
    for (int i = 0; i < 3; ++i)
      live |= parked(before[i]) && who[i].park.word.load(std::memory_order_acquire) != before[i];
    if (!live) s.judged.store(true, std::memory_order_release);
  }
  // Stands in line already and has been cancelled: it runs, to leave the line.
  void stand_cancelled(sleeper& s, unsigned wanted) {
    s.wanted = wanted;
    stand(s);
    s.park.word.store(park_word(1, park_state::cancelled), std::memory_order_relaxed);
  }
  void stand_parked(sleeper& s) {
    stand(s);
    s.park.word.store(park_word(1, park_state::parked), std::memory_order_relaxed);
  }
};

template <class SetUp>
outcome line_up(unsigned b, memory mem, unsigned free, unsigned held, unsigned found, int judged, SetUp set_up) {
  outcome o;
  o.checked = check({.mem = mem, .reduce = reduction::values}, [=, &o](run& r) {
    auto& l = r.make<line>(b, free, held);
    set_up(r, l);
    r.thread("marker", [=, &l] { l.mark(l.who[judged], found); });
    r.finally([=, &o, &l] { o.note(l.who[judged]); });
  });
  return o;
}

// In all but the last of these one permit lies in a frozen frame: it stays out for ever.

// The head wanted more than there is and gives up; the one behind it is let in.
outcome head_gives_up(unsigned b, memory mem = memory::tso) {
  return line_up(b, mem, 1, 1, 1, 1, [](run& r, line& l) {
    l.stand_cancelled(l.who[0], 2);
    l.stand_parked(l.who[1]);
    r.thread("head", [&l] { l.give_up(l.who[0]); });
    r.thread("behind", [&l] {
      l.who[1].park.sleep();
      l.who[1].complete();
    });
  });
}

// As before, but two come behind it: the first is let in, the second has to wait until that one has released.
outcome head_gives_up_before_two(unsigned b, memory mem = memory::tso) {
  return line_up(b, mem, 2, 1, 1, 2, [](run& r, line& l) {
    l.stand_cancelled(l.who[0], 3);
    l.who[2].wanted = 2;
    r.thread("head", [&l] { l.give_up(l.who[0]); });
    r.thread("first", [&l] {
      l.acquire(l.who[1]);
      l.release(1);
    });
    r.thread("second", [&l] {
      while (!l.first_stands.load(std::memory_order_acquire)) model::pause();
      l.acquire(l.who[2]);
      l.who[2].complete();
    });
  });
}

// A permit is given back to one that waits.
outcome permit_comes_back(unsigned b, memory mem = memory::tso) {
  return line_up(b, mem, 0, 2, 1, 1, [](run& r, line& l) {
    l.stand_parked(l.who[1]);
    r.thread("holder", [&l] { l.release(1); });
    r.thread("behind", [&l] {
      l.who[1].park.sleep();
      l.who[1].complete();
    });
  });
}

// Nobody but the frozen holder has a permit; another goroutine comes and goes.
outcome nobody_gives_back(memory mem = memory::tso) {
  return line_up(none, mem, 1, 1, 1, 1, [](run& r, line& l) {
    l.who[1].wanted = 2;
    l.stand_parked(l.who[1]);
    l.stand_cancelled(l.who[2], 1);
    r.thread("gives up", [&l] { l.give_up(l.who[2]); });
  });
}

// A writer releases a shared_mutex; a reader gets it, and after it the second writer, which is looked at.
outcome guard_is_passed_on(unsigned b, memory mem = memory::tso) {
  return line_up(b, mem, 0, 1, 0, 2, [](run& r, line& l) {
    if (l.apart) l.writers.store(1);
    l.who[2].wanted = 2;
    r.thread("writer", [&l] { l.release(2); });
    r.thread("reader", [&l] {
      l.acquire(l.who[1]);
      l.release(1);
    });
    r.thread("second writer", [&l] {
      while (!l.first_stands.load(std::memory_order_acquire)) model::pause();
      l.acquire(l.who[2]);
      l.who[2].complete();
    });
  });
}

constexpr memory buffered[] = {memory::tso, memory::pso};

TEST(marker_counts, totals_read_once_give_no_false_proof) {
  for (memory mem : buffered) {
    EXPECT_PROVEN(mutex_is_passed_on(reading::once, mem).checked);
    EXPECT_PROVEN(group_is_used_again(reading::once, mem).checked);
    EXPECT_PROVEN(once_is_tried_again(reading::once, mem).checked);
  }
}

TEST(marker_counts, a_waiter_with_the_only_token_is_judged) {
  for (memory mem : buffered) {
    outcome o = group_waits_for_itself(mem);
    EXPECT_PROVEN(o.checked);
    EXPECT_TRUE(o.judged_ever);
  }
}

TEST(marker_counts, a_mutex_read_twice_gives_a_false_proof) {
  EXPECT_FOUND("judged leaked", mutex_is_passed_on(reading::twice).checked);
}

TEST(marker_counts, a_wait_group_read_twice_gives_a_false_proof) {
  EXPECT_FOUND("judged leaked", group_is_used_again(reading::twice).checked);
}

// Whoever waits for a call waits for one that runs: the turn is handed over.
TEST(marker_counts, a_once_that_is_waited_for_is_never_seen_free) {
  EXPECT_PROVEN(once_is_tried_again(reading::twice).checked);
}

TEST(marker_counts, a_line_gives_no_false_proof) {
  for (memory mem : buffered) {
    EXPECT_PROVEN(head_gives_up(none, mem).checked);
    EXPECT_PROVEN(permit_comes_back(none, mem).checked);
    if (mem == memory::pso && !long_run()) continue;
    EXPECT_PROVEN(head_gives_up_before_two(none, mem).checked);
    EXPECT_PROVEN(guard_is_passed_on(none, mem).checked);
  }
}

TEST(marker_counts, a_line_that_nobody_lets_on_is_judged) {
  for (memory mem : buffered) {
    outcome o = nobody_gives_back(mem);
    EXPECT_PROVEN(o.checked);
    EXPECT_TRUE(o.judged_ever);
  }
}

TEST(marker_counts, leaving_a_line_before_others_were_let_in_gives_a_false_proof) {
  EXPECT_FOUND("judged leaked", head_gives_up(leaves_first).checked);
}

TEST(marker_counts, looking_at_the_line_after_the_totals_gives_a_false_proof) {
  EXPECT_FOUND("judged leaked", head_gives_up_before_two(looks_at_the_line_last).checked);
}

TEST(marker_counts, a_holder_counted_out_before_others_were_let_in_gives_a_false_proof) {
  EXPECT_FOUND("judged leaked", permit_comes_back(counts_out_first).checked);
}

// As it was. Each of the three remedies is enough by itself against this one.
TEST(marker_counts, readers_and_writers_in_two_words_that_are_read_twice_give_a_false_proof) {
  EXPECT_FOUND("judged leaked", guard_is_passed_on(two_words | reads_twice | looks_at_the_line_last).checked);
  if (!long_run()) return;
  EXPECT_PROVEN(guard_is_passed_on(reads_twice | looks_at_the_line_last).checked);
  EXPECT_PROVEN(guard_is_passed_on(two_words | looks_at_the_line_last).checked);
  EXPECT_PROVEN(guard_is_passed_on(two_words | reads_twice).checked);
}

}  // namespace
