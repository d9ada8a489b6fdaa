#include <leash/sleep.hpp>
#include <leash/task.hpp>
#include <leash/worker.hpp>

namespace leash {

void sleep_wait::prepare() noexcept {
  worker* w = this_worker;
  static timer_wheel unused;  // try_select on a thread that is no worker: its lock is taken, nothing is armed
  wheel_ = w != nullptr ? &w->timers : &unused;
  if (relative_) {
    if (when_ == 0) {
      now_ = INT64_MAX;  // due at once, without a look at the clock
      return;
    }
    now_ = now().time_since_epoch().count();
    std::int64_t sum = 0;
    when_ = __builtin_add_overflow(now_, when_, &sum) ? INT64_MAX : sum;
    relative_ = false;
  } else {
    now_ = now().time_since_epoch().count();
  }
}

goroutine_core* sleep_wait::expire(timer_entry* t, timer_entry*&) noexcept {
  sleep_wait* w = static_cast<entry*>(t)->self;
  goroutine_core* g = w->who;
  bool const claimed = g->try_claim();
  if (claimed) g->winner = w->index;
  w->queued.store(false, std::memory_order_release);  // ORD waiter-1
  return claimed ? g : nullptr;
}

void sleep_wait::enqueue() {
  timer_.expire = &sleep_wait::expire;
  timer_.wakes = who;
  wheel_->arm(&timer_, when_);
  queued.store(true, std::memory_order_relaxed);
}

void sleep_wait::remove() noexcept {
  if (!queued.load(std::memory_order_relaxed)) return;
  wheel_->disarm(&timer_);
  queued.store(false, std::memory_order_release);
}

void yield_operation::adopt(promise_base& p) noexcept {
  g_ = p.who;
  if (simulation* s = this_worker->rt->sim) s->yielded = true;
}

ticker::ticker(std::int64_t period, std::source_location where) : period_(period) {
  if (period <= 0) throw_invalid("ticker: the period must be positive", where);
  due_ = now().time_since_epoch().count() + period;
}

void ticker_wait::advance() noexcept {
  std::int64_t const t = now().time_since_epoch().count();
  ticker_->due_ += ticker_->period_;
  if (ticker_->due_ <= t) ticker_->due_ += (t - ticker_->due_) / ticker_->period_ * ticker_->period_ + ticker_->period_;
}

}  // namespace leash
