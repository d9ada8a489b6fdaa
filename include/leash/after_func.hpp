// after_func: a goroutine at a later time.  on_done: a goroutine at a context's end.
#pragma once
#include <atomic>
#include <leash/scope.hpp>
#include <optional>
#include <source_location>
#include <utility>

namespace leash {

/// What will be started: shared by its handle and by whoever fires it. The callable goes as soon as neither needs it.
struct pending_start {
  std::atomic<std::uint32_t> refs{2};  // handle and trigger
  std::atomic<bool> decided{false};    // fired or stopped: who sets it owns the callable
  void (*launch)(pending_start*, scope& root) = nullptr;
  void (*destroy)(pending_start*) noexcept = nullptr;
  void (*forget)(pending_start*) noexcept = nullptr;  // destroys the callable
  std::uint16_t runtime_index = 0;                    // with the serial: handles may outlive the runtime
  std::uint64_t runtime_serial = 0;
  lineage* kin = nullptr;  // its maker's: what the callable borrows stays live while it may still run
  struct timed : timer_entry {
    pending_start* self = nullptr;
  } timer;
  struct called : done_callback {
    pending_start* self = nullptr;
  } callback;
  context_core* context = nullptr;  // on_done: held
  explicit pending_start(const runtime& rt) noexcept : runtime_index(rt.index), runtime_serial(rt.serial) {}
  static void unhold(pending_start* p) noexcept {
    if (p->refs.fetch_sub(1, std::memory_order_acq_rel) == 1) p->destroy(p);
  }
};

template <class F>
struct pending_start_of : pending_start {
  std::optional<F> f;
  std::source_location where;
  pending_start_of(F&& fn, const runtime& rt, std::source_location w) : pending_start(rt), f(std::move(fn)), where(w) {
    launch = [](pending_start* p, scope& root) {
      auto* self = static_cast<pending_start_of*>(p);
      F fn2 = std::move(*self->f);
      self->f.reset();
      root.launch_kin(std::exchange(p->kin, nullptr), self->where, std::move(fn2));
    };
    forget = [](pending_start* p) noexcept { static_cast<pending_start_of*>(p)->f.reset(); };
    destroy = [](pending_start* p) noexcept { delete static_cast<pending_start_of*>(p); };
  }
};

/// borrows: its callable may refer to frames of the goroutine that arms it.
void arm_start(pending_start*, nanoseconds after, std::source_location where, bool borrows = true);
void watch_start(pending_start*, context_core*);
bool stop_start(pending_start*) noexcept;

/// The handle to something that will be started; dropping it stops it.
class [[nodiscard]] start_handle {
 public:
  start_handle(start_handle&& o) noexcept : p_(std::exchange(o.p_, nullptr)) {}
  start_handle& operator=(start_handle&& o) noexcept {
    if (this != &o) {
      drop();
      p_ = std::exchange(o.p_, nullptr);
    }
    return *this;
  }
  ~start_handle() { drop(); }
  /// True: it was stopped before it fired, and never will; fn is gone. False: it has fired, or was stopped before.
  bool stop() noexcept { return p_ != nullptr && stop_start(p_); }
  explicit start_handle(pending_start* p) noexcept : p_(p) {}

 private:
  void drop() noexcept {
    if (p_ == nullptr) return;
    stop_start(p_);
    pending_start::unhold(p_);
    p_ = nullptr;
  }
  pending_start* p_;
};

class [[nodiscard]] timer : public start_handle {
  using start_handle::start_handle;
};
class [[nodiscard]] registration : public start_handle {
  using start_handle::start_handle;
};

/// Runs fn (a callable, plain or returning a task) in a goroutine under the runtime's root, after d.
///
/// Fired, stopped or dropped, the timer lets go of fn at once; so it does when the runtime ends before it fires, which
/// it does not keep from ending. An exception of fn comes out of run(). Once fired, fn may still run after the handle was
/// dropped: what it refers to must live until it has run. That is not checked.
/// Errors: std::invalid_argument for a negative duration; std::logic_error outside a runtime.
template <class F>
timer after_func(nanoseconds d, F&& fn, std::source_location where = std::source_location::current()) {
  if (d < nanoseconds::zero()) throw_invalid("after_func: a negative duration", where);
  goroutine_core* g = running_goroutine("after_func", where);
  auto* p =
      new pending_start_of<std::decay_t<F>>(std::decay_t<F>(std::forward<F>(fn)), *runtime_at(g->runtime_index), where);
  arm_start(p, d, where);
  return timer(p);
}

/// Runs fn in a goroutine under the runtime's root when the context ends; at once if it has ended. stop() or dropping
/// the handle before that keeps it from running.
template <class F>
registration on_done(const context& c, F&& fn, std::source_location where = std::source_location::current()) {
  goroutine_core* g = running_goroutine("on_done", where);
  auto* p =
      new pending_start_of<std::decay_t<F>>(std::decay_t<F>(std::forward<F>(fn)), *runtime_at(g->runtime_index), where);
  watch_start(p, c.node());
  return registration(p);
}

}  // namespace leash
