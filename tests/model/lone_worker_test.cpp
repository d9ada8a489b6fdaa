// spin_lock with a lone worker, step by step as in spin_lock.hpp and spin_lock.cpp: a worker takes locks without a locked
// instruction until others take them. Nobody is in a lock together with another.
#include <vector>

#include "expect.hpp"

namespace {

using namespace model;

enum class bug {
  none,
  light_end,         // who ends it does without the heavy fence
  tells_early,       // somebody_alone becomes false before that fence
  late_look,         // the other looks whether somebody is alone before it takes the lock
  enters_blindly,    // the worker does not look whether the lock is taken
  unlocks_taken,     // the worker unlocks as if it had taken it
  unlocks_any,       // everybody unlocks as the worker does
  forgets_the_last,  // who sees that nobody is alone does not look whether the worker is in
};
enum class loneliness : std::uint8_t { never, over, lasts };

struct lock_word {
  atomic<std::uint8_t> taken{0}, in{0};
  var<int> sum{0};  // under the lock
};

template <bug B>
struct world {
  lock_word locks[2];
  atomic<bool> somebody_alone{false};
  atomic<loneliness> of_worker{loneliness::never};
  spin_lock lonely_lock;
  var<bool> lonely{false};
  atomic<int> missed{0};

  void begin() {
    lonely_lock.lock();
    lonely = true;
    somebody_alone.store(true, std::memory_order_seq_cst);
    fence(std::memory_order_seq_cst);
    of_worker.store(loneliness::lasts, std::memory_order_relaxed);
    lonely_lock.unlock();
  }
  void end() {
    lonely_lock.lock();
    if (lonely) {
      lonely = false;
      of_worker.store(loneliness::over, std::memory_order_relaxed);
      if (B == bug::tells_early) somebody_alone.store(false, std::memory_order_seq_cst);
      if (B != bug::light_end) heavy_barrier();
      if (B != bug::tells_early) somebody_alone.store(false, std::memory_order_seq_cst);
    }
    lonely_lock.unlock();
  }

  bool enter_alone(lock_word& l) {
    l.in.store(1, std::memory_order_relaxed);
    light_barrier();
    if ((B == bug::enters_blindly || l.taken.load(std::memory_order_acquire) == 0) &&
        of_worker.load(std::memory_order_relaxed) == loneliness::lasts)
      return true;
    l.in.store(0, std::memory_order_release);
    return false;
  }
  void keep_out(lock_word& l, bool anybody) {
    if (!anybody && (B == bug::forgets_the_last || l.in.load(std::memory_order_acquire) == 0)) return;
    end();
    while (l.in.load(std::memory_order_acquire) != 0) model::pause();
  }
  void lock(lock_word& l, bool worker) {
    if (worker && of_worker.load(std::memory_order_relaxed) == loneliness::lasts && enter_alone(l)) return;
    bool const seen = B == bug::late_look && somebody_alone.load(std::memory_order_seq_cst);
    l.taken.await_exchange(0, 1, std::memory_order_seq_cst);
    keep_out(l, B == bug::late_look ? seen : somebody_alone.load(std::memory_order_seq_cst));
  }
  bool try_lock(lock_word& l, bool worker) {
    if (l.taken.load(std::memory_order_relaxed) != 0 || l.in.load(std::memory_order_relaxed) != 0) return false;
    if (worker && of_worker.load(std::memory_order_relaxed) == loneliness::lasts && enter_alone(l)) return true;
    if (l.taken.exchange(1, std::memory_order_seq_cst) != 0) return false;
    if (somebody_alone.load(std::memory_order_seq_cst)) end();
    if (l.in.load(std::memory_order_acquire) == 0) return true;
    l.taken.store(0, std::memory_order_release);
    return false;
  }
  void unlock(lock_word& l, bool worker) {
    bool const may_be = B == bug::unlocks_any || (worker && B != bug::unlocks_taken &&
                                                  of_worker.load(std::memory_order_relaxed) != loneliness::never);
    bool const entered = may_be && l.in.load(std::memory_order_relaxed) != 0;
    (entered ? l.in : l.taken).store(0, std::memory_order_release);
  }
  /// which: of a lock; below 0: of one that is only tried, less one.
  void use(int which, bool worker) {
    lock_word& l = locks[which >= 0 ? which : -1 - which];
    if (which >= 0) {
      lock(l, worker);
    } else if (!try_lock(l, worker)) {
      missed.fetch_add(1, std::memory_order_relaxed);
      return;
    }
    l.sum = l.sum + 1;
    unlock(l, worker);
  }
};

struct config {
  std::vector<int> worker;               // which locks it takes, one after the other
  std::vector<std::vector<int>> others;  // and those
  memory mem = memory::tso;
};

template <bug B = bug::none>
model::result share(config c) {
  return check({.mem = c.mem}, [=](run& r) {
    auto& w = r.make<world<B>>();
    r.thread("worker", [=, &w] {
      w.begin();
      for (int which : c.worker) w.use(which, true);
      w.end();
      w.of_worker.store(loneliness::never, std::memory_order_relaxed);
    });
    for (auto const& other : c.others)
      r.thread("other", [=, &w] {
        for (int which : other) w.use(which, false);
      });
    r.finally([=, &w] {
      int expected = static_cast<int>(c.worker.size()) - w.missed.load();
      for (auto const& other : c.others) expected += static_cast<int>(other.size());
      require(w.locks[0].sum + w.locks[1].sum == expected, "two were in a lock at once");
    });
  });
}

constexpr memory all_memories[] = {memory::sc, memory::tso, memory::pso};

TEST(lone_worker, nobody_is_in_a_lock_with_another) {
  for (memory mem : all_memories) {
    EXPECT_PROVEN(share({.worker = {0}, .others = {{0}}, .mem = mem}));
    EXPECT_PROVEN(share({.worker = {0, 0}, .others = {{0}}, .mem = mem}));
  }
  EXPECT_PROVEN(share({.worker = {0}, .others = {{0}, {0}}}));
  EXPECT_PROVEN(share({.worker = {1}, .others = {{0}, {1}}}));
  EXPECT_PROVEN(share({.worker = {0, 0}, .others = {{0, 0}}}));
  for (memory mem : all_memories) {
    EXPECT_PROVEN(share({.worker = {0}, .others = {{-1}}, .mem = mem}));
    EXPECT_PROVEN(share({.worker = {-1}, .others = {{0}}, .mem = mem}));
    EXPECT_PROVEN(share({.worker = {-1, 0}, .others = {{-1}}, .mem = mem}));
  }
  if (!long_run()) return;
  EXPECT_PROVEN(share({.worker = {0, 0}, .others = {{0}, {0}}}));
  EXPECT_PROVEN(share({.worker = {0, 1}, .others = {{0, 1}, {1}}}));
}
TEST(lone_worker, each_part_is_needed) {
  EXPECT_FOUND("", share<bug::light_end>({.worker = {0}, .others = {{0}}}));
  EXPECT_FOUND("", share<bug::tells_early>({.worker = {1}, .others = {{0}, {1}}}));
  EXPECT_FOUND("", share<bug::late_look>({.worker = {0}, .others = {{0}}}));
  EXPECT_FOUND("", share<bug::enters_blindly>({.worker = {0}, .others = {{0}}}));
  EXPECT_FOUND("", share<bug::unlocks_taken>({.worker = {0, 0}, .others = {{0}}}));
  EXPECT_FOUND("", share<bug::unlocks_any>({.worker = {0}, .others = {{0}, {0}}}));
  EXPECT_FOUND("", share<bug::forgets_the_last>({.worker = {1}, .others = {{0}, {1}}}));
}

}  // namespace
