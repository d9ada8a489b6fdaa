// cancel_source: the capability to end the contexts that were entered with it; and callbacks on a context's end.
#pragma once
#include <atomic>
#include <leash/call_site.hpp>
#include <leash/context.hpp>
#include <leash/handle.hpp>
#include <source_location>
#include <string>
#include <string_view>

namespace leash {

struct canceller_core : object {
  std::atomic<std::uint32_t> refs{1};     // handles and attached contexts
  std::atomic<std::uint32_t> handles{1};  // cancel_source objects: once 0 it can never fire
  spin_lock lock;
  context_core* attached = nullptr;
  std::shared_ptr<const cancel_cause> fired;  // under the lock
  explicit canceller_core(std::source_location where) noexcept : object(object_type::cancel_source, where) {}
};
void unhold(canceller_core*) noexcept;
/// Ends the context at once if the source has fired.
void attach_to_source(context_core*, canceller_core*);
void detach_from_source(context_core*) noexcept;

/// Something that runs when a context ends; embedded in its owner.
struct done_callback {
  void (*run)(done_callback*) noexcept = nullptr;  // without any lock; the callback may be freed in it
  done_callback* next = nullptr;
  done_callback* prev = nullptr;
  bool linked = false;  // under the context's lock
};
/// Under c->lock: moves all callbacks to `due`.
void take_callbacks(context_core* c, done_callback*& due) noexcept;
void start_callbacks(done_callback* due) noexcept;
/// False: the context has ended already, the callback was not linked.
bool link_callback(context_core*, done_callback*) noexcept;
/// False: it was taken to be run, or has run.
bool unlink_callback(context_core*, done_callback*) noexcept;

/// Ends, when told, every context that was entered through with_cancel with it or one of its dup()s.
///
/// A counted capability: when all are gone without a cancel, those contexts can never be cancelled by it, and the leak
/// proof knows it. Thread safety: cancel() and dup() from any thread; one object belongs to one thread at a time.
class cancel_source : handle {
 public:
  explicit cancel_source(std::source_location where = std::source_location::current())
      : handle(new canceller_core(where), capability::canceller) {}
  cancel_source(cancel_source&& o) noexcept { take(o); }
  cancel_source& operator=(cancel_source&& o) noexcept {
    if (this != &o) {
      drop();
      take(o);
    }
    return *this;
  }
  ~cancel_source() { drop(); }

  /// Another handle to the same source. Errors: std::logic_error if this one was moved from.
  [[nodiscard]] cancel_source dup(std::source_location where = std::source_location::current()) const;
  /// Ends the contexts. Idempotent: the first reason stays. No goroutine is unwound in here.
  ///
  /// Thread safety and ordering: any thread; what is sequenced before happens before the return of done() and before
  /// whatever sees err() != none.  Complexity: linear in the contexts and goroutines below.
  void cancel(std::string_view why = {}, std::source_location where = std::source_location::current());
  bool operator==(std::nullptr_t) const noexcept { return get() == nullptr; }

  canceller_core* core() const noexcept { return static_cast<canceller_core*>(get()); }

 private:
  struct adopt_t {};
  cancel_source(adopt_t, canceller_core* c) noexcept : handle(c, capability::canceller) {}
  void take(cancel_source& o) noexcept {
    if (object* c = o.release(capability::canceller)) certify(c, capability::canceller);
  }
  void drop() noexcept;
};
template <>
inline constexpr bool takes_call_site<cancel_source> = true;

}  // namespace leash
