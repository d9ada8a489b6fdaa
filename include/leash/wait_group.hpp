// wait_group: waits until all its tokens are gone.  event: waits until it is set.
#pragma once
#include <atomic>
#include <leash/call_site.hpp>
#include <leash/handle.hpp>
#include <leash/wait.hpp>
#include <source_location>

namespace leash {

struct wait_group_core : object {
  std::atomic<std::uint32_t> tokens{0};
  std::atomic<std::uint32_t> refs{1};  // the group and its tokens
  spin_lock lock;
  wait_queue queue;
  explicit wait_group_core(std::source_location where) noexcept : object(object_type::wait_group, where) {}
  void drop_token() noexcept;
};
void unhold(wait_group_core*) noexcept;

class wait_group_wait : public waiter {
 public:
  template <class Op>
  explicit wait_group_wait(Op& op) noexcept : waiter(wait_reason::wait_group) {
    what = op.core_;
  }
  spin_lock& lock() noexcept { return core()->lock; }
  bool claim() noexcept { return core()->tokens.load(std::memory_order_acquire) == 0; }
  void complete() const noexcept {}
  void enqueue() noexcept { core()->queue.push(this); }
  void remove() noexcept { core()->queue.remove(this); }
  void won() const noexcept {}
  std::monostate result() const noexcept { return {}; }

 private:
  wait_group_core* core() const noexcept { return static_cast<wait_group_core*>(what); }
};

/// Counts things in flight, one token each.
class wait_group {
 public:
  explicit wait_group(std::source_location where = std::source_location::current())
      : core_(new wait_group_core(where)) {}
  wait_group(const wait_group&) = delete;
  wait_group& operator=(const wait_group&) = delete;
  ~wait_group();

  /// Something in flight: done() or its end counts it down. May move between goroutines and threads, and outlive the
  /// group.
  class [[nodiscard]] token : handle {
   public:
    token() noexcept {}
    token(token&& o) noexcept { take(o); }
    token& operator=(token&& o) noexcept {
      if (this != &o) {
        done();
        take(o);
      }
      return *this;
    }
    ~token() { done(); }
    /// Idempotent.
    void done() noexcept {
      if (object* c = release(capability::token)) static_cast<wait_group_core*>(c)->drop_token();
    }
    explicit operator bool() const noexcept { return get() != nullptr; }

   private:
    friend class wait_group;
    explicit token(wait_group_core* c) noexcept : handle(c, capability::token) {}
    void take(token& o) noexcept {
      if (object* c = o.release(capability::token)) certify(c, capability::token);
    }
  };
  /// One more. From any thread.
  token add() noexcept {
    core_->refs.fetch_add(1, std::memory_order_relaxed);
    core_->tokens.fetch_add(1, std::memory_order_relaxed);
    return token(core_);
  }

  class [[nodiscard]] wait_operation : public operation_base {
   public:
    using wait_type = wait_group_wait;
    using value_type = std::monostate;
    using result_type = void;

   private:
    friend class wait_group;
    friend class wait_group_wait;
    explicit wait_operation(wait_group_core* c) noexcept : core_(c) {}
    [[maybe_unused]] wait_group_core* core_;
  };
  /// Waits until there is no token. Wait reason: `sync.WaitGroup.Wait`. Cancellation: first. Selectable.
  /// Ordering: what was done before each token went happens before the return.
  wait_operation wait() noexcept { return wait_operation(core_); }

 private:
  wait_group_core* core_;
};
template <>
inline constexpr bool takes_call_site<wait_group> = true;

struct event_core : placed_object {
  std::atomic<bool> set{false};
  spin_lock lock;
  wait_queue queue;
  event_core(const void* home, std::source_location where) noexcept : placed_object(object_type::event, home, where) {}
};

class event_wait : public waiter {
 public:
  template <class Op>
  explicit event_wait(Op& op) noexcept : waiter(wait_reason::event) {
    what = op.core_;
  }
  spin_lock& lock() noexcept { return core()->lock; }
  bool claim() noexcept { return core()->set.load(std::memory_order_acquire); }
  void complete() const noexcept {}
  void enqueue() noexcept { core()->queue.push(this); }
  void remove() noexcept { core()->queue.remove(this); }
  void won() const noexcept {}
  std::monostate result() const noexcept { return {}; }

 private:
  event_core* core() const noexcept { return static_cast<event_core*>(what); }
};

/// Happens once; all that wait for it go on, and so does everybody who comes later.
class event {
 public:
  explicit event(std::source_location where = std::source_location::current()) : core_(new event_core(this, where)) {}
  event(const event&) = delete;
  event& operator=(const event&) = delete;
  ~event();
  /// Idempotent; from any thread. What was done before happens before the return of each wait.
  void set() noexcept;
  bool is_set() const noexcept { return core_->set.load(std::memory_order_acquire); }

  class [[nodiscard]] wait_operation : public operation_base {
   public:
    using wait_type = event_wait;
    using value_type = std::monostate;
    using result_type = void;

   private:
    friend class event;
    friend class event_wait;
    explicit wait_operation(event_core* c) noexcept : core_(c) {}
    [[maybe_unused]] event_core* core_;
  };
  /// Waits until it is set. Wait reason: `event`. Cancellation: first. Selectable.
  wait_operation wait() noexcept { return wait_operation(core_); }

 private:
  event_core* core_;
};
template <>
inline constexpr bool takes_call_site<event> = true;

}  // namespace leash
