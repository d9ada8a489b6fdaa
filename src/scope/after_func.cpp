#include <leash/after_func.hpp>
#include <leash/trace.hpp>

namespace leash {

// Calls f(runtime&) unless p's runtime has ended; it does not end meanwhile.
template <class F>
static void while_it_runs(const pending_start* p, F&& f) {
  visit_runtime(p->runtime_index, [&](runtime& rt) {
    if (rt.serial == p->runtime_serial) f(rt);
  });
}

// By whoever decided that it does not start.
static void let_go(pending_start* p) noexcept {
  p->forget(p);
  if (p->kin != nullptr) leave_lineage(std::exchange(p->kin, nullptr));
}

static void fire(pending_start* p) {
  if (!p->decided.exchange(true, std::memory_order_acq_rel)) {
    bool started = false;
    while_it_runs(p, [&](runtime& rt) {
      // All may have ended by now: nothing new starts in a runtime that is about to end.
      if (!rt.root_scope->hold_open()) return;
      p->launch(p, scope::of(rt.root_scope));
      rt.root_scope->release_open();
      started = true;
    });
    if (!started) let_go(p);
  }
  pending_start::unhold(p);
}

static void adopt_lineage(pending_start* p) {
  p->kin = lineage_of_running();
  if (p->kin != nullptr) p->kin->members.fetch_add(1, std::memory_order_relaxed);
}

void arm_start(pending_start* p, nanoseconds after, std::source_location where, bool borrows) {
  if (borrows) adopt_lineage(p);
  std::int64_t const now = runtime_now(this_worker->rt);
  std::int64_t when = 0;
  if (__builtin_add_overflow(now, after.count(), &when)) when = INT64_MAX;
  p->timer.self = p;
  p->timer.expire = [](timer_entry* t, timer_entry*& later) -> goroutine_core* {
    t->next = later;
    later = t;
    return nullptr;
  };
  p->timer.fire = [](timer_entry* t) {
    if (observed_everywhere.load(std::memory_order_relaxed) != 0) [[unlikely]]
      note_fire(t);
    fire(static_cast<pending_start::timed*>(t)->self);
  };
  p->timer.abandon = [](timer_entry* t) {
    pending_start* p = static_cast<pending_start::timed*>(t)->self;
    if (!p->decided.exchange(true, std::memory_order_acq_rel)) let_go(p);
    pending_start::unhold(p);
  };
  if (observed_everywhere.load(std::memory_order_relaxed) != 0) [[unlikely]]
    note_arm(&p->timer, after.count(), wait_reason::none, where);
  timer_wheel& wheel = this_worker->timers;
  {
    spin_guard guard(wheel.lock());
    wheel.arm(&p->timer, when);
  }
  this_worker->rt->notify_timer(when);
}

void watch_start(pending_start* p, context_core* c) {
  adopt_lineage(p);
  p->callback.self = p;
  p->callback.run = [](done_callback* b) noexcept { fire(static_cast<pending_start::called*>(b)->self); };
  p->context = c;
  hold(c);
  if (!link_callback(c, &p->callback)) fire(p);
}

bool stop_start(pending_start* p) noexcept {
  bool const mine = !p->decided.exchange(true, std::memory_order_acq_rel);
  bool taken_back = false;
  if (p->context != nullptr) {
    taken_back = unlink_callback(p->context, &p->callback);
    unhold(std::exchange(p->context, nullptr));
  } else if (timer_wheel* wheel = p->timer.wheel) {
    while_it_runs(p, [&](runtime&) {
      spin_guard guard(wheel->lock());
      taken_back = wheel->disarm(&p->timer);
    });
  }
  if (mine) let_go(p);
  if (taken_back) pending_start::unhold(p);  // the trigger's reference
  return mine;
}

}  // namespace leash
