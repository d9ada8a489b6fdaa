#include <leash/after_func.hpp>

namespace leash {

static void fire(pending_start* p) {
  if (!p->decided.exchange(true, std::memory_order_acq_rel)) p->launch(p);
  pending_start::unhold(p);
}

static void adopt_lineage(pending_start* p) {
  p->kin = lineage_of_running();
  if (p->kin != nullptr) p->kin->members.fetch_add(1, std::memory_order_relaxed);
}

void arm_start(pending_start* p, nanoseconds after) {
  adopt_lineage(p);
  std::int64_t const now = runtime_now(p->rt);
  std::int64_t when = 0;
  if (__builtin_add_overflow(now, after.count(), &when)) when = INT64_MAX;
  p->timer.self = p;
  p->timer.expire = [](timer_entry* t, timer_entry*& later) -> goroutine_core* {
    t->next = later;
    later = t;
    return nullptr;
  };
  p->timer.fire = [](timer_entry* t) { fire(static_cast<pending_start::timed*>(t)->self); };
  timer_wheel& wheel = this_worker->timers;
  spin_guard guard(wheel.lock());
  wheel.arm(&p->timer, when);
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
    spin_guard guard(wheel->lock());
    taken_back = wheel->disarm(&p->timer);
  }
  if (mine) {
    p->forget(p);
    if (p->kin != nullptr) leave_lineage(std::exchange(p->kin, nullptr));
  }
  if (taken_back) pending_start::unhold(p);  // the trigger's reference
  return mine;
}

}  // namespace leash
