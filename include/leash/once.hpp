// once: runs something exactly once, whoever comes first; the others wait for it.
#pragma once
#include <atomic>
#include <functional>
#include <leash/body.hpp>
#include <leash/call_site.hpp>
#include <leash/handle.hpp>
#include <source_location>

namespace leash {

struct once_core : object {
  std::atomic<bool> done{false};
  bool running = false;  // under the lock
  std::atomic<std::uint32_t> calls{0};
  spin_lock lock;
  wait_queue queue;
  explicit once_core(std::source_location where) noexcept : object(object_type::once, where) {}
  void end_call(bool completed) noexcept;
};

/// The call that is running; without complete() it lets the next one try.
class once_call : handle {
 public:
  explicit once_call(once_core* c) noexcept : handle(c, capability::call) {}
  once_call(const once_call&) = delete;
  ~once_call() { end(false); }
  void end(bool completed) noexcept {
    if (object* c = release(capability::call)) static_cast<once_core*>(c)->end_call(completed);
  }
};

class once_wait : public waiter {
 public:
  template <class Op>
  explicit once_wait(Op& op) noexcept : waiter(wait_reason::once) {
    what = op.core;
  }
  spin_lock& lock() noexcept { return core()->lock; }
  bool claim() noexcept;
  void complete() const noexcept {}
  void enqueue() noexcept { core()->queue.push(this); }
  void remove() noexcept { core()->queue.remove(this); }
  void won() noexcept { extra = core()->done.load(std::memory_order_acquire) ? 0 : 1; }
  /// True: it is the caller's turn to run it.
  bool result() const noexcept { return extra != 0; }

 private:
  once_core* core() const noexcept { return static_cast<once_core*>(what); }
};

class once {
 public:
  explicit once(std::source_location where = std::source_location::current()) : core_(new once_core(where)) {}
  once(const once&) = delete;
  once& operator=(const once&) = delete;
  ~once();

  /// Runs f (a body) unless a call has completed before; waits while another one runs.
  ///
  /// Suspends when: another call runs. Wait reason: `once`. Cancellation: first.
  /// A call that throws or is cancelled does not count: its exception goes to its caller, and the next one in line
  /// tries. Ordering: the completed call happens before the return of every call.
  template <class F>
  task<> call(F&& f) {
    return run(core_, kept_body<F>(std::forward<F>(f)));
  }

 private:
  struct turn_operation : operation_base {
    using wait_type = once_wait;
    using value_type = bool;
    using result_type = bool;
    once_core* core;
    explicit turn_operation(once_core* c) noexcept : core(c) {}
  };
  template <class F>
  static task<> run(once_core* c, kept_body<F> f) {
    if (!co_await turn_operation(c)) co_return;
    once_call mine(c);
    (void)co_await boundary_free(f);
    mine.end(true);
  }
  template <class F>
  static task<std::monostate> boundary_free(kept_body<F>& f) {
    if constexpr (std::is_void_v<body_t<F>>) {
      co_await f.start();
    } else {
      (void)co_await f.start();
    }
    co_return std::monostate{};
  }

  once_core* core_;
};
template <>
inline constexpr bool takes_call_site<once> = true;

}  // namespace leash
