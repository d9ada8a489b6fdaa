// The consumer: takes messages as it has places for them, and settles each as its handler ends.
//
// Every delivery that was taken stands in `taken` until it is settled. Whatever ends the consumer, what still stands there
// when its goroutines have ended is given back: also what was handed to a goroutine that was cancelled before it ran.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <leash/mq.hpp>
#include <leash/select.hpp>
#include <leash/semaphore.hpp>
#include <leash/sleep.hpp>
#include <map>
#include <mutex>
#include <tuple>

namespace leash::mq {

void store::changed() noexcept {
  try {
    (void)changed_.try_send(std::uint64_t{0});
  } catch (...) {  // no memory: found at the next look
  }
}

struct consumer::state {
  state(queue& queue, consumer_options options) : q(queue), o(std::move(options)) {
    std::tie(open, drained) = channel<std::monostate>();
  }

  queue& q;
  consumer_options const o;
  sender<std::monostate> open;  // closed: no more is taken
  receiver<std::monostate> drained;
  std::atomic<bool> running{false};
  std::atomic<std::uint64_t> handled{0}, retried{0}, buried{0}, given_back{0}, lost{0}, store_failures{0};

  struct entry {
    delivery what;
    cancel_source stop = cancel_source();  // of its handler: another consumer has the message
    bool lost = false;
    explicit entry(delivery d) : what(std::move(d)) {}
  };
  std::mutex lock;
  std::map<const void*, entry> taken;  // by lease

  void add(const delivery& d) {
    std::lock_guard guard(lock);
    taken.try_emplace(d.lease.get(), d);
  }
  cancel_source stop_of(const delivery& d) {
    std::lock_guard guard(lock);
    return taken.at(d.lease.get()).stop.dup();
  }
  bool is_lost(const delivery& d) {
    std::lock_guard guard(lock);
    return taken.at(d.lease.get()).lost;
  }
  void lose(const delivery& d) {
    std::lock_guard guard(lock);
    auto const at = taken.find(d.lease.get());
    if (at == taken.end()) return;
    at->second.lost = true;
    at->second.stop.cancel("its visibility time was over");
  }
  void settled(const delivery& d) {
    std::lock_guard guard(lock);
    taken.erase(d.lease.get());
  }
  std::vector<delivery> unsettled() {
    std::lock_guard guard(lock);
    std::vector<delivery> all;
    for (auto& [lease, e] : taken)
      if (!e.lost) all.push_back(e.what);
    return all;
  }

  void tell(const message* m, const std::string& what) const noexcept {
    if (!o.on_failure) return;
    try {
      o.on_failure(m, what);
    } catch (...) {
    }
  }
  void store_failed(const std::string& what) noexcept {
    ++store_failures;
    tell(nullptr, what);
  }
  nanoseconds back_off(std::uint32_t attempt) const noexcept {
    double const d = static_cast<double>(o.back_off.count()) * std::pow(2.0, std::min(attempt - 1, 62u));
    return d < static_cast<double>(o.back_off_most.count()) ? nanoseconds(static_cast<std::int64_t>(d))
                                                            : o.back_off_most;
  }
};

consumer::consumer(queue& q, consumer_options o, std::source_location where) {
  nanoseconds const zero = nanoseconds::zero();
  if (o.concurrency == 0 || o.max_attempts == 0 || o.visibility <= zero || o.handler_limit < zero ||
      o.back_off < zero || o.back_off_most < zero || o.drain_within < zero || o.settle_within <= zero)
    throw_invalid("mq::consumer: an option is zero or negative that must not be", where);
  state_ = std::make_unique<state>(q, std::move(o));
}
consumer::~consumer() = default;

void consumer::drain() noexcept { state_->open.close(); }
consumer_counts consumer::counts() const noexcept {
  state const& s = *state_;
  return {s.handled, s.retried, s.buried, s.given_back, s.lost, s.store_failures};
}

// The rest is made of members of `work`: a consumer while it runs.
struct consumer::work {
  state& st;
  handler_ref const h;
  semaphore places;
  watch_receiver<std::uint64_t> changes;

  bool taking = true;

  work(state& s, handler_ref handler) : st(s), h(handler), places(s.o.concurrency), changes(s.q.store().changes()) {
    st.q.store().begin_taking();
  }

  /// Before the handlers are waited for, and before anything is given back: it would come again here.
  task<> stop_taking() {
    if (std::exchange(taking, false))
      co_await shielded(st.o.settle_within, [this] { return st.q.store().end_taking(); });
  }

  /// Takes until it is told to drain.
  task<> take_all(scope& s) {
    constexpr std::size_t most_at_once = 32;
    for (;;) {
      std::vector<semaphore::permit> free;
      {
        auto won = co_await select(st.drained.recv(), places.acquire());
        if (won.index() == 0 || st.drained.ended()) co_return;  // both may have been ready
        free.push_back(std::get<1>(std::move(won)));
      }
      while (free.size() < most_at_once) {
        auto more = try_select(places.acquire());
        if (!more) break;
        free.push_back(std::get<0>(*std::move(more)));
      }
      nanoseconds const look_again = co_await take_some(s, free);
      if (free.empty() || look_again <= nanoseconds::zero()) continue;
      free.clear();
      auto const won = co_await select(st.drained.recv(), changes.recv(), sleep(look_again));
      if (won.index() == 0) co_return;
    }
  }

  /// Starts handlers for what there is; places that were not needed stay in `free`.
  task<nanoseconds> take_some(scope& s, std::vector<semaphore::permit>& free) {
    constexpr nanoseconds after_failure = std::chrono::milliseconds(500);
    (void)changes.try_recv();  // what changed before this look is seen by it
    std::vector<delivery> found;
    nanoseconds look_again = after_failure;
    // Also when it is cut short: what it has taken by then must be known.
    auto const note = [&](outcome) {
      for (auto& d : found) st.add(d);
    };
    try {
      look_again = co_await finally(st.q.store().take(found, free.size(), st.o.visibility), note);
    } catch (const error& e) {
      st.store_failed(e.what());
    }
    for (auto& d : found) {
      s.go(
          named("mq handler"),
          [this](delivery one, semaphore::permit place) { return handle(std::move(one), std::move(place)); },
          std::move(d), std::move(free.back()));
      free.pop_back();
    }
    co_return look_again;
  }

  /// `place` is given back when all is done.
  task<> handle(delivery d, semaphore::permit place) {
    (void)place;
    std::string failure;
    bool finished = false, final = false;
    if (d.what.attempt > st.o.max_attempts) {
      failure = "its last attempt came to no end: its process died, or could not reach the queue";
      final = true;
    } else {
      cancel_source stop = st.stop_of(d);
      auto const body = [&]() -> task<> {
        if (st.o.handler_limit == nanoseconds::zero()) {
          co_await h.call(h.handler, d.what);
          finished = true;
        } else {
          finished = co_await with_timeout(st.o.handler_limit, [&] { return h.call(h.handler, d.what); });
        }
      };
      try {
        (void)co_await with_cancel(stop, body);
        if (!finished) failure = "the handler ran longer than its limit";
      } catch (const rejected& e) {
        failure = std::string("rejected: ") + e.what();
        final = true;
      } catch (const std::exception& e) {
        failure = e.what();
      } catch (...) {
        failure = "the handler threw something that is no std::exception";
      }
      if (!finished && st.is_lost(d)) {
        ++st.lost;
        st.settled(d);
        st.tell(&d.what, "its visibility time was over: another consumer may handle it");
        co_return;
      }
    }
    if (!finished) st.tell(&d.what, failure);
    co_await settle(std::move(d), finished, final, std::move(failure));
  }

  /// Renews the time of what was taken and is not settled. One goroutine for all, beside the handlers: one that a handler had
  /// started would keep the handler's frames in use, and nothing that waits in there could be proved to be leaked.
  task<> beat() {
    for (;;) {
      co_await sleep(st.o.visibility / 3);
      for (auto& d : st.unsettled()) {
        try {
          if (!co_await st.q.store().extend(d, st.o.visibility)) st.lose(d);
        } catch (const error& e) {
          st.store_failed(e.what());
        }
      }
    }
  }

  task<> settle(delivery d, bool finished, bool final, std::string why) {
    final = final || d.what.attempt >= st.o.max_attempts;
    auto& counted = finished ? st.handled : final ? st.buried : st.retried;
    co_await stubborn([&]() -> task<> {
      mq::store& to = st.q.store();
      bool const mine = finished ? co_await to.acknowledge(d)
                        : final  ? co_await to.bury(d, why)
                                 : co_await to.put_back(d, st.back_off(d.what.attempt), true);
      ++(mine ? counted : st.lost);
    });
    st.settled(d);
  }

  /// Tells the store something, again if it cannot be reached, whatever ends meanwhile. What cannot be told in time is as
  /// if the process had died: the message comes again.
  template <class F>
  task<> stubborn(F f) {
    constexpr nanoseconds pause = std::chrono::milliseconds(200);
    co_await shielded(st.o.settle_within, [&]() -> task<> {
      for (;;) {
        try {
          co_await f();
          co_return;
        } catch (const error& e) {
          st.store_failed(e.what());
          if (e.kind() == failure::refused || e.kind() == failure::broken) co_return;
        }
        co_await sleep(pause);
      }
    });
  }

  task<> give_back_the_rest() {
    co_await stop_taking();
    for (auto& d : st.unsettled()) {
      co_await stubborn([&]() -> task<> {
        ++(co_await st.q.store().put_back(d, nanoseconds::zero(), false) ? st.given_back : st.lost);
      });
      st.settled(d);
    }
  }
};

task<consumer_counts> consumer::run_all(handler_ref h) {
  struct once_at_a_time {
    std::atomic<bool>& running;
    explicit once_at_a_time(std::atomic<bool>& r) : running(r) {
      if (running.exchange(true)) throw std::logic_error("mq::consumer::run() while it runs already");
    }
    once_at_a_time(const once_at_a_time&) = delete;
    ~once_at_a_time() { running = false; }
  } const alone(state_->running);
  work w(*state_, h);
  auto const body = [&]() -> task<> {
    co_await with_scope([&](scope& outer) -> task<> {
      outer.go(named("mq heartbeat"), [&w] { return w.beat(); });
      co_await with_scope({.on_error = on_error::keep_going}, [&](scope& s) -> task<> {
        co_await w.take_all(s);
        co_await w.stop_taking();
        if (!co_await with_timeout(w.st.o.drain_within, s.join())) s.cancel("draining took longer than allowed");
      });
      outer.cancel("the consumer has ended");
    });
  };
  // Long enough for all: each has its own bound.
  co_await finally(body, [&](outcome) { return w.give_back_the_rest(); }, std::chrono::hours(1));
  co_return counts();
}

}  // namespace leash::mq
