// The ambient context: when and why a goroutine's work ends, and the values it carries.
//
// Contexts form a tree. A context ends by its own (its deadline, its cancel sources, scope::cancel) or with its parent,
// once and for ever. Ending walks the subtree iteratively: first every node is marked, then one heavy fence, then those
// who wait in done() are completed, then the goroutines that run or are parked inside are woken to unwind. Nobody
// registers a wait.
//
// Invariants
//  C1. A node is linked in its parent's list, under the parent's lock, for as long as work can run inside it; a node
//      that is born under an ended parent is born ended.
//  C2. ended, origin and cause are written once, under the node's lock, cause and origin before ended (release).
//  C3. owner is the goroutine that runs the boundary; written under the node's lock.
// Lock order: parent before child; a node before its scope's shards.
#pragma once
#include <atomic>
#include <leash/clock.hpp>
#include <leash/handle.hpp>
#include <leash/task.hpp>
#include <leash/timers.hpp>
#include <leash/wait.hpp>
#include <memory>
#include <optional>
#include <source_location>
#include <string>
#include <string_view>
#include <typeinfo>

namespace leash {

enum class context_error : std::uint8_t { none, cancelled, deadline_exceeded };

/// Why a context ended: what cancel() was told, where it was called, and the exception that led to it, if one did.
struct cancel_cause {
  std::string reason;
  std::source_location where;
  std::exception_ptr error;
};

struct canceller_core;
struct done_callback;

struct context_core : context_flag {
  enum : std::uint8_t { shield_bit = 1, scope_bit = 2, immortal_bit = 4 };

  std::atomic<std::uint32_t> refs{1};
  spin_lock lock;
  context_core* parent = nullptr;  // counted
  context_core* first_child = nullptr;
  context_core* next_sibling = nullptr;
  context_core* prev_sibling = nullptr;
  context_core* next_ended = nullptr;  // the walk's
  context_core* origin = nullptr;      // the node whose own end this is
  std::shared_ptr<const cancel_cause> why;
  goroutine_core* owner = nullptr;
  wait_queue done_waiters;
  done_callback* callbacks = nullptr;
  std::int64_t deadline = INT64_MAX;  // its own
  struct deadline_timer : timer_entry {
    context_core* node = nullptr;
  } timer;
  canceller_core* source = nullptr;  // counted; with_cancel
  context_core* next_of_source = nullptr;
  context_core* prev_of_source = nullptr;
  bool bounded = false;  // a deadline here or further out ends waits inside; set when linked
  void (*interrupt_members)(context_core*, goroutine_core*& claimed) noexcept = nullptr;

  void (*destroy)(context_core*) noexcept = [](context_core* c) noexcept { delete c; };  // no vtable: see object

  explicit context_core(object_type t, std::source_location where = {}) noexcept : context_flag(t, where) {
    timer.node = this;
  }

  // ORD context-1 acquire: whoever sees the end sees its cause and origin.
  context_error error() const noexcept { return static_cast<context_error>(ended.load(std::memory_order_acquire)); }
};

inline void hold(context_core* c) noexcept { c->refs.fetch_add(1, std::memory_order_relaxed); }
void unhold(context_core*) noexcept;

/// Ends the context and all below it, once. Any thread; no user code runs inside.
void end_context(context_core*, context_error, std::shared_ptr<const cancel_cause>) noexcept;
/// Links a new node under its parent; it is born ended if the parent has.
void link_context(context_core* node, context_core* parent) noexcept;
void unlink_context(context_core*) noexcept;
/// Claims g for unwinding if it is parked in a wait that its context's end cuts short; prepends it to `claimed`.
void interrupt(goroutine_core* g, goroutine_core*& claimed) noexcept;

context_core* background_context() noexcept;
inline context_core* context_of(const goroutine_core* g) noexcept { return static_cast<context_core*>(g->ctx); }

/// A boundary's own node: entered by the constructor, left by the destructor, in the same goroutine.
class entered_context {
 public:
  /// `when`: INT64_MAX for no deadline of its own. shield: its parent's end does not reach it.
  entered_context(goroutine_core*, std::int64_t when, bool shield, std::source_location where);
  /// Enters a node that was made elsewhere (a scope's).
  entered_context(goroutine_core*, context_core*);
  entered_context(const entered_context&) = delete;
  ~entered_context();
  context_core* node() const noexcept { return node_; }
  void attach(canceller_core*);
  /// The body was cut short because of this very boundary's end.
  bool is_own_end() const noexcept;

 private:
  void enter(context_core* parent);
  goroutine_core* g_;
  context_core* outer_;
  context_core* node_;
};

// --- name, labels and values: an immutable chain, inherited from whoever starts a goroutine

struct local_value : object {
  enum class kind : std::uint8_t { name, label, value, keep };  // keep: see unreclaimable
  std::atomic<std::uint32_t> refs{1};
  kind what;
  local_value* outer;
  local_value* shown;  // the next name or label further out: what looks does not walk a long chain of values
  std::uint32_t key_bytes = 0, text_bytes = 0;
  std::uint64_t owner = 0;  // name, keep: the goroutine's id
  const std::type_info* type = nullptr;
  std::shared_ptr<const void> data;

  /// The two texts follow the object, in the arena: a dump that reads a chain which is just being freed reads old
  /// bytes, no more.
  static local_value* make(kind, local_value* outer, std::string_view key, std::string_view text);
  static void destroy(local_value*) noexcept;
  std::string_view key() const noexcept { return {reinterpret_cast<const char*>(this + 1), key_bytes}; }
  std::string_view text() const noexcept { return {reinterpret_cast<const char*>(this + 1) + key_bytes, text_bytes}; }

 private:
  local_value(kind k, local_value* o) noexcept
      : object(object_type::none), what(k), outer(o), shown(o == nullptr || o->what != kind::value ? o : o->shown) {}
};
inline void hold(local_value* v) noexcept {
  if (v != nullptr) v->refs.fetch_add(1, std::memory_order_relaxed);
}
void unhold(local_value*) noexcept;

/// Puts a value in front of the chain of the running goroutine for as long as it lives.
class local_scope {
 public:
  local_scope(goroutine_core*, local_value*) noexcept;
  local_scope(const local_scope&) = delete;
  ~local_scope();

 private:
  goroutine_core* g_;
  local_value* mine_;
};

// --- done()

class done_wait : public waiter {
 public:
  static constexpr bool outlives_context = true;
  template <class Op>
  explicit done_wait(Op& op) noexcept : waiter(wait_reason::context_done) {
    what = op.context_;
  }
  spin_lock& lock() noexcept { return context()->lock; }
  /// A hint without the lock, for select.
  bool likely_ready() noexcept { return context()->ended.load(std::memory_order_relaxed) != 0; }
  bool claim() noexcept { return context()->ended.load(std::memory_order_acquire) != 0; }
  void complete() const noexcept {}
  void enqueue() noexcept { context()->done_waiters.push(this); }
  void remove() noexcept { context()->done_waiters.remove(this); }
  void won() const noexcept {}
  std::monostate result() const noexcept { return {}; }

 private:
  context_core* context() const noexcept { return static_cast<context_core*>(what); }
};

/// Awaits the end of a context; returns, alone or in select, even when the awaiting goroutine's own context has ended.
class [[nodiscard]] done_operation : public operation_base {
 public:
  using wait_type = done_wait;
  using value_type = std::monostate;
  using result_type = void;

 private:
  friend class context;
  friend class done_wait;
  explicit done_operation(context_core* c) noexcept : context_(c) { hold(c); }

 public:
  ~done_operation() { unhold(context_); }

 private:
  context_core* context_;
};

/// A view of a context: cheap to copy, keeps the node and its values alive, never ends it.
///
/// Thread safety: const members from any thread at once.
class context {
 public:
  context(const context& o) noexcept : node_(o.node_), locals_(o.locals_) {
    hold(node_);
    hold(locals_);
  }
  context& operator=(const context& o) noexcept {
    context copy(o);
    std::swap(node_, copy.node_);
    std::swap(locals_, copy.locals_);
    return *this;
  }
  ~context() {
    unhold(node_);
    unhold(locals_);
  }

  /// none while it lasts; then, for ever, how it ended. What its canceller did before happens before a non-none return.
  context_error err() const noexcept { return node_->error(); }
  /// Why it ended; empty while it lasts.
  cancel_cause cause() const;
  /// The earliest deadline here or further out.
  std::optional<clock::time_point> deadline() const noexcept;
  /// The innermost value of this type set by with_value here or further out; null if there is none. The value's own
  /// type is its key. Valid while this context lives. Complexity: linear in the number of values.
  template <class Key>
  const Key* value() const noexcept {
    for (local_value* v = locals_; v != nullptr; v = v->outer)
      if (v->what == local_value::kind::value && *v->type == typeid(Key)) return static_cast<const Key*>(v->data.get());
    return nullptr;
  }
  /// Waits for its end. Selectable. Wait reason: `context done`.
  done_operation done() const noexcept { return done_operation(node_); }

  /// For the library.
  context(context_core* node, local_value* locals) noexcept : node_(node), locals_(locals) {
    hold(node_);
    hold(locals_);
  }
  context_core* node() const noexcept { return node_; }

 private:
  context_core* node_;
  local_value* locals_;
};

/// The context of the running goroutine; outside of one, the background context, which never ends.
context this_context();

}  // namespace leash
