// blocking(f): a call that blocks its thread, on the blocking pool.
#pragma once
#include <condition_variable>
#include <deque>
#include <exception>
#include <leash/task.hpp>
#include <mutex>
#include <optional>
#include <source_location>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

namespace leash {

/// A call that waits for its turn on the pool; lies in the frame of the goroutine that waits for it.
struct blocking_job {
  void (*run)(blocking_job*) noexcept = nullptr;
  blocking_job* next = nullptr;
};

/// Threads are started when they are needed, up to a limit, and kept. One per runtime.
class blocking_pool {
 public:
  explicit blocking_pool(std::uint32_t limit) : limit_(limit) {}
  /// Waits for the calls that run; there are none left when a runtime ends.
  ~blocking_pool();
  void submit(blocking_job*);

  struct figures {
    std::size_t threads = 0, idle = 0, waiting = 0;  // waiting: calls that have no thread yet
  };
  figures look();

 private:
  void work();

  std::mutex lock_;
  std::condition_variable wake_;
  blocking_job* head_ = nullptr;
  blocking_job* tail_ = nullptr;
  std::uint32_t limit_;
  std::uint32_t idle_ = 0;
  std::uint32_t waiting_ = 0;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

void submit_blocking(goroutine_core*, blocking_job*);
/// On the pool's thread: hands the goroutine back. A context that ended meanwhile is honoured now.
void end_blocking(goroutine_core*) noexcept;

template <class F>
class [[nodiscard]] blocking_call : blocking_job, public operation_base {
  using T = std::invoke_result_t<F&>;

 public:
  using result_type = T;
  using leash_awaiter = void;
  explicit blocking_call(F f) : f_(std::move(f)), waiter_(wait_reason::blocking) {}
  void adopt(promise_base& p) noexcept { waiter_.who = p.who; }
  bool await_ready() const noexcept { return false; }
  template <class P>
  void await_suspend(std::coroutine_handle<P>) {
    goroutine_core* g = waiter_.who;
    if (context_ended(g)) {
      unwind_here();
      return;
    }
    runtime_at(g->runtime_index)->begin_outside();
    run = [](blocking_job* job) noexcept {
      auto& self = *static_cast<blocking_call*>(job);
      try {
        if constexpr (std::is_void_v<T>) {
          self.f_();
        } else if constexpr (std::is_reference_v<T>) {
          self.place_.value = std::addressof(static_cast<std::remove_reference_t<T>&>(self.f_()));
        } else {
          self.place_.value.emplace(self.f_());
        }
      } catch (...) {
        self.error_ = std::current_exception();
      }
      end_blocking(self.waiter_.who);
    };
    publish_parked(g, &waiter_, 1, park_state::held);
    submit_blocking(g, this);
  }
  T await_resume() {
    if (error_) std::rethrow_exception(std::move(error_));
    if constexpr (std::is_reference_v<T>) {
      return static_cast<T>(*place_.value);
    } else if constexpr (!std::is_void_v<T>) {
      return std::move(*place_.value);
    }
  }

 private:
  F f_;
  waiter waiter_;
  result_place<T> place_;
  std::exception_ptr error_;
};

/// Runs f on a thread of the blocking pool; other goroutines run meanwhile.
///
/// Suspends: always. Wait reason: `blocking`.
/// Returns: what f returns; its exception is rethrown here.
/// Cancellation: before f starts to wait for a thread, first; after that delivered when f has returned (its result is
/// dropped). Simulated (testing.hpp): the call is one step of the schedule. Thread safety and ordering: f sees what was sequenced before the call, and what f did happens before the
/// return. Complexity: one queue operation and two thread switches.  Errors: std::system_error if not even one thread
/// can be had.
template <std::invocable F>
blocking_call<std::decay_t<F>> blocking(F&& f) {
  return blocking_call<std::decay_t<F>>(std::forward<F>(f));
}

}  // namespace leash
