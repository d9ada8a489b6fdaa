#include <sched.h>

#include <algorithm>
#include <condition_variable>
#include <cstdio>
#include <leash/blocking.hpp>
#include <leash/run.hpp>
#include <mutex>
#include <sstream>
#include <string>
#include <thread>
#include <unordered_set>

#include "../leak/pass.hpp"
#include "environment.hpp"
#include "watch.hpp"

namespace leash {

namespace {

constexpr std::uint32_t default_blocking_threads = 256;
// A thread that leash does not know might still use a reference to a local end or event, which it should not have: what
// looks like a deadlock counts as one when it has lasted.
constexpr nanoseconds rest_settles = std::chrono::milliseconds(100), confined_settles = std::chrono::seconds(1);

unsigned processors() noexcept {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
  return 1;
}

std::string as_text(const leak_report& r) {
  std::ostringstream out;
  out << r;
  return out.str();
}

}  // namespace

deadlock_error::deadlock_error(leak_report r)
    : std::runtime_error("deadlock: " + as_text(r)), report_(std::make_shared<const leak_report>(std::move(r))) {}

struct program::state {
  runtime rt;
  options chosen;
  scope* root = nullptr;
  std::mutex lock;                             // of what follows; passes are made by any worker, and by `checks`
  std::unordered_set<std::uint64_t> reported;  // ids
  std::optional<leak_report> deadlock;
  std::exception_ptr handler_failed;
  std::uint64_t rest_steps = 0;  // of all workers, when they were at rest last
  std::int64_t rest_since = 0;
  bool acted = false;                           // what moved since then was unwound by a reclaim
  std::shared_ptr<testing::watch_state> watch;  // told of leaks that nobody else is

  static state& of(runtime* rt) noexcept { return *static_cast<state*>(rt->above); }

  /// Tells on_leak of those that are new, and acts. True: something was reclaimed. all: nothing but these is left.
  bool tell(const leak_report& r, bool all) {
    bool fresh = false;
    for (std::uint64_t id : r.findings->ids()) fresh |= reported.insert(id).second;
    if (fresh && chosen.action == leak_action::abort) fatal((all ? "deadlock: " : "leaked: ") + as_text(r));
    if (fresh && chosen.on_leak) {
      try {
        chosen.on_leak(r);
      } catch (...) {
        if (!handler_failed) handler_failed = std::current_exception();
      }
    }
    bool const untold = fresh && !chosen.on_leak;
    if (untold && !all) nobody_told(r);
    if (chosen.action != leak_action::reclaim) return false;  // all: deadlock_error will tell
    if (untold && all) (void)r.begin();                       // described while all are there
    auto const victims = kill_victims(r, {});
    if (untold && all && !victims.empty()) nobody_told(r);
    for (goroutine_core* g : victims) drop_ref(g, ref_watch);
    return !victims.empty();
  }

  /// There is no on_leak: a test may ask later; else it must not pass unseen.
  void nobody_told(const leak_report& r) {
    watch->leaked(r);
    if (!testing::is_unwatched(*watch)) return;
    std::string text = "leash: ";
    if (r.size() <= described_at_once) {
      std::ostringstream out;
      out << r;
      text += std::move(out).str();
    } else {
      text += std::to_string(r.size()) + " goroutines are leaked\n";
    }
    std::fputs(text.c_str(), stderr);
  }

  /// The leaks to act on. What is only confined could still be reached by a thread that leash does not know, so it
  /// counts here when it has stayed as it is for a while. Virtual time knows no such threads.
  static leak_report look(runtime* rt, bool in_haste) {
    leak_report r = find_leaks_of(rt, true, in_haste);
    rt->quiet_due.store(INT64_MAX, std::memory_order_relaxed);
    if (rt->sim != nullptr) return r;
    if (!has_young_confined(r, confined_settles)) return r;
    rt->quiet_due.store(runtime_now(rt) + confined_settles.count() / 4, std::memory_order_relaxed);
    return find_leaks_of(rt, false, in_haste);
  }

  /// True when everything has been at rest for long enough to be judged.
  bool settled() {
    if (rt.sim != nullptr || acted) return true;
    std::uint64_t const steps = rt.steps();
    std::int64_t const now = runtime_now(&rt);
    if (steps != rest_steps) {
      rest_steps = steps;
      rest_since = now;
    }
    if (now - rest_since >= rest_settles.count()) return true;
    rt.quiet_due.store(rest_since + rest_settles.count(), std::memory_order_relaxed);
    return false;
  }

  static bool quiet(runtime* rt) {
    state& s = of(rt);
    std::lock_guard guard(s.lock);
    std::size_t const left = rt->live_goroutines();
    if (left == 0 || !s.settled()) return false;
    s.acted = false;
    leak_report const r = look(rt, true);
    if (r.empty()) return false;
    bool const all = r.size() == left;
    if (s.tell(r, all)) {
      s.acted = true;
      order_simulated(rt);
      return true;
    }
    if (!all) return false;  // somebody outside may still move the others
    if (!s.deadlock) s.deadlock = r;
    bool const moved = kill_all(r) != 0;
    s.acted = moved;
    order_simulated(rt);
    return moved;
  }

  /// A pass lists goroutines as they lie in memory; which of them unwinds first must not depend on that.
  static void order_simulated(runtime* rt) {
    if (rt->sim == nullptr) return;
    std::sort(rt->sim->ready.begin(), rt->sim->ready.end(), [](auto* a, auto* b) { return a->id < b->id; });
  }

  /// The periodic look. What it took, in real time.
  nanoseconds check() {
    std::lock_guard guard(lock);
    std::int64_t const begun = runtime_now(&rt);
    leak_report const r = look(&rt, false);
    nanoseconds const took(runtime_now(&rt) - begun);
    // What is only confined counts after a while, though nothing runs: then there is one more check to make.
    young = rt.quiet_due.load(std::memory_order_relaxed) != INT64_MAX;
    if (!r.empty()) tell(r, false);
    return took;
  }
  bool young = false;

  /// Checks in real time, on a thread of their own: no worker waits for a pass. One is made every leak_check_every if
  /// anything has run since the last one: what did not run cannot have leaked.
  class checks {
   public:
    explicit checks(state& s) {
      if (s.rt.sim != nullptr || s.chosen.leak_check_every <= nanoseconds::zero()) return;
      thread_ = std::thread([this, &s] { work(s); });
      pthread_setname_np(thread_.native_handle(), "leash-checks");
    }
    checks(const checks&) = delete;
    ~checks() {
      if (!thread_.joinable()) return;
      {
        std::lock_guard guard(lock_);
        over_ = true;
      }
      changed_.notify_one();
      thread_.join();
    }

   private:
    // However many goroutines there are, passes take less than a hundredth of a processor's time.
    static constexpr std::int64_t rest_after = 150;

    void work(state& s) {
      std::uint64_t checked = UINT64_MAX;  // the steps of all workers, then
      nanoseconds pause = s.chosen.leak_check_every;
      std::unique_lock guard(lock_);
      while (!changed_.wait_for(guard, pause, [this] { return over_; })) {
        std::uint64_t const steps = s.rt.steps();
        if (steps == checked) continue;
        guard.unlock();
        pause = std::max(s.chosen.leak_check_every, rest_after * s.check());
        if (!s.young) checked = steps;
        guard.lock();
      }
    }

    std::mutex lock_;
    std::condition_variable changed_;
    bool over_ = false;
    std::thread thread_;
  };

  /// In virtual time.
  static void tick(runtime* rt) { (void)of(rt).check(); }
};

program::program(const options& given, simulation* sim) {
  // A simulated run depends on nothing outside.
  options const o = sim != nullptr ? given : with_environment(given);
  if (this_worker != nullptr) {
    throw std::logic_error(
        "leash::run was called inside a goroutine: co_await the task, or start a goroutine; run only starts a program");
  }
  if (o.workers > max_workers) {
    throw std::invalid_argument("leash::run: options.workers is " + std::to_string(o.workers) + "; at most " +
                                std::to_string(max_workers) + " are possible");
  }
  if (o.blocking_threads > most_blocking_threads) {
    throw std::invalid_argument("leash::run: options.blocking_threads is " + std::to_string(o.blocking_threads) +
                                "; at most " + std::to_string(most_blocking_threads) + " are possible");
  }
  if (o.leak_check_every < nanoseconds::zero() || o.stuck_after < nanoseconds::zero())
    throw std::invalid_argument("leash::run: a negative duration in the options");
  s_ = std::make_unique<state>();
  s_->chosen = o;
  runtime& r = s_->rt;
  r.sim = sim;
  r.above = s_.get();
  r.hooks.quiet = &state::quiet;
  if (sim != nullptr && o.leak_check_every > nanoseconds::zero()) {
    sim->check_every = o.leak_check_every.count();
    sim->check_due = sim->now + sim->check_every;
    r.hooks.tick = &state::tick;
  }
  r.stuck_after = static_cast<std::uint32_t>(std::min<std::int64_t>(o.stuck_after.count() / 1'000'000, INT32_MAX));
  r.blocking = std::make_unique<blocking_pool>(o.blocking_threads != 0 ? o.blocking_threads : default_blocking_threads);
  prepare_workers(r, sim != nullptr ? 1 : o.workers != 0 ? o.workers : std::min(processors(), max_workers));
  register_runtime(r);
  s_->root = scope::make({}, std::source_location{});
  scope_core* core = s_->root->core();
  core->runtime_index = r.index;
  link_context(core, background_context());
  core->runtime_index = r.index;
  core->policy = on_error::keep_going;
  r.root_scope = core;
  s_->watch = testing::watch_of_this_thread();
  s_->watch->began(r.index);
  spin_guard guard(core->lock);
  core->start_counting();
  core->emptied = [](scope_core* c) { runtime_at(c->runtime_index)->stop(); };
}

program::~program() {
  scope_core* core = s_->root->core();
  unlink_context(core);
  s_->watch->ended(s_->rt.index);
  // Handlers that never ran may hold ends of channels, and give them back now.
  s_->rt.io.store(nullptr, std::memory_order_relaxed);
  s_->rt.io_owner = nullptr;
  unregister_runtime(s_->rt);
  for (std::uint32_t i = 0; i < s_->rt.worker_count; ++i) s_->rt.workers[i].timers.abandon_all();
  unhold(static_cast<context_core*>(core));
}

runtime& program::rt() noexcept { return s_->rt; }
scope& program::root_scope() noexcept { return *s_->root; }

void program::run(goroutine_core* root) {
  s_->rt.root = root;
  root->ctx = s_->root->core();
  s_->root->core()->add(root, true);  // no worker yet: it goes to the runtime's queue
  {
    state::checks beside(*s_);
    run_workers(s_->rt);
  }
  std::exception_ptr const error = s_->root->core()->take_errors();
  if (s_->deadlock) s_->watch->withdraw(s_->rt.index, *s_->deadlock);
  if (s_->deadlock) throw deadlock_error(*std::move(s_->deadlock));
  if (error) std::rethrow_exception(error);
  if (s_->handler_failed) std::rethrow_exception(s_->handler_failed);
}

}  // namespace leash
