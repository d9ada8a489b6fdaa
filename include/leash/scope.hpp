// Scopes: a goroutine always has one, and it does not end before all its goroutines have.
//
// A scope is a context. Its members are kept in shards (a list and a count under a lock each), so that starting and
// ending goroutines on many workers do not meet in one place: the first members go to an inline shard, later ones in
// runs of 64 to one of 16. While the body runs nobody needs the total. When somebody waits for the members the scope
// starts *counting*: it counts its non-empty shards, and only the member that empties one touches the scope itself.
//
// Invariants
//  S1. A member is linked in home's shard from before it can run until after its frames and callable are gone.
//  S2. counting (set under the scope's lock and every shard's, never cleared): nonempty is the number of shards with
//      members.
//  S3. Whoever adds a member is a member itself, holds a remote handle, or is the owner: nonempty does not reach 0
//      under it.
//  S4. A member without a place is held (see goroutine.hpp) in `in_line` until it is given one. Whoever else has taken
//      a place is the owner, or a member, and runs.
#pragma once
#include <atomic>
#include <exception>
#include <leash/boundary.hpp>
#include <leash/call_site.hpp>
#include <leash/channel.hpp>
#include <leash/spawn.hpp>
#include <memory>
#include <source_location>
#include <stdexcept>
#include <string_view>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

namespace leash {

enum class on_error : std::uint8_t { cancel_siblings, keep_going };

struct scope_options {
  std::size_t max_children = 0;  // 0: no limit
  leash::on_error on_error = leash::on_error::cancel_siblings;
  // A member that is reclaimed has failed, with a leaked_error that carries the report: its join and this scope throw
  // it. Else both go on as if it had been cancelled.
  bool leaks_fail = false;
};

/// More than one goroutine of a keep_going scope failed: a range of exception_ptr, in the order in which they did.
class scope_errors : public std::runtime_error {
 public:
  explicit scope_errors(std::vector<std::exception_ptr> errors);
  auto begin() const noexcept { return errors_->begin(); }
  auto end() const noexcept { return errors_->end(); }
  std::size_t size() const noexcept { return errors_->size(); }

 private:
  std::shared_ptr<const std::vector<std::exception_ptr>> errors_;
};

class remote_scope;
class scope;

struct scope_shard {
  spin_lock lock;
  bool counting = false;
  // Written under the lock; members = started - ended. Counting up only, so that a reader without locks who reads ended
  // first can only count too many.
  std::atomic<std::uint32_t> started{0}, ended{0};
  pass_note<> left;  // by a member, after all it did: it may have used what it borrowed
  goroutine_core* head = nullptr;
  std::uint32_t members() const noexcept {
    return started.load(std::memory_order_relaxed) - ended.load(std::memory_order_relaxed);
  }
  bool enter() noexcept {  // true: the first
    bool const first = members() == 0;
    started.store(started.load(std::memory_order_relaxed) + 1, std::memory_order_release);
    return first;
  }
  bool leave() noexcept {  // true: the last
    left.leave();
    ended.store(ended.load(std::memory_order_relaxed) + 1, std::memory_order_release);
    return members() == 0;
  }
  std::byte padding[32]{};  // a cache line each
};
static_assert(sizeof(scope_shard) == 64);

/// Who was started by a goroutine in a scope that is not its own: they may borrow from its frames, so while one of them
/// is live its frames count as live. Counted: the goroutines, and the lineages of those of them that have ended.
struct lineage : object {
  std::atomic<std::uint32_t> members{1};  // and the starter, while it runs
  pass_note<> left;                       // as in a scope_shard
  lineage* up = nullptr;
  goroutine_core* starter;
  std::uint64_t starter_id;
  explicit lineage(goroutine_core* g) noexcept : object(object_type::lineage), starter(g), starter_id(g->id) {}
};
void leave_lineage(lineage*) noexcept;
/// The lineage that the running goroutine starts; null outside of one.
lineage* lineage_of_running();

struct scope_core : context_core {
  static constexpr std::size_t shards = 16;
  static constexpr std::uint32_t run = 64;  // members that go to one shard in a row
  scope_shard first;
  std::atomic<scope_shard*> more{nullptr};
  std::atomic<std::uint32_t> rotor{0};
  // under the context's lock
  bool counting = false;
  std::atomic<bool> over{false};  // joined: nothing may be started any more; written under the lock
  std::uint32_t nonempty = 0;
  wait_queue joiners;
  std::vector<std::exception_ptr> errors;
  on_error policy = on_error::cancel_siblings;
  bool leaks_fail = false;
  std::uint32_t limit = 0;             // max_children
  std::uint32_t running = 0;           // with a limit: places taken
  waiter in_line{wait_reason::start};  // with a limit: what members wait in that have no place yet, all of them
  goroutine_core* waiting_head = nullptr;
  goroutine_core* waiting_tail = nullptr;
  wait_queue place_waiters;
  void (*emptied)(scope_core*) = nullptr;
  const promise_base* frame = nullptr;    // of the with_scope that awaits the body
  std::atomic<std::uint32_t> remotes{0};  // remote handles; they are members of `first`

  explicit scope_core(std::source_location where);
  ~scope_core();

  /// S1. Links g, makes it this scope's, and schedules it (or puts it in line for a place).
  void add(goroutine_core* g, bool has_place);
  void remove(goroutine_core* g) noexcept;
  /// A place under the limit, if one is free; add() with has_place takes it over.
  bool take_place() noexcept;
  /// Who is first in line for the place gets it.
  void give_place() noexcept;
  /// Nothing may be started any more.
  void close() noexcept;
  // A remote handle keeps the scope's memory: a reclaim may cut the join that waits for it.
  void add_remote() noexcept;
  void drop_remote() noexcept;
  void start_counting() noexcept;  // under the lock
  /// Keeps a scope that counts from coming to its end until release_open(). False: it has.
  bool hold_open() noexcept;
  void release_open() noexcept { count_down(); }
  void failed(std::exception_ptr, std::source_location where) noexcept;
  /// After the join: throws what the members left behind, if anything.
  std::exception_ptr take_errors();

 private:
  scope_shard& shard_at(std::uint8_t i) noexcept {
    return i == 0 ? first : more.load(std::memory_order_acquire)[i - 1];
  }
  scope_shard& choose(goroutine_core*);
  scope_shard& choose_further(goroutine_core*, std::uint32_t n);
  void count_down() noexcept;
};

/// Throws std::logic_error if the stored callable points into the frames that die before the scope's members are
/// joined, or into the worker's stack.
void check_borrowing(scope_core*, goroutine_core* child, std::source_location where);
[[noreturn]] LEASH_COLD void throw_over(std::source_location where);
void set_name(goroutine_core*, const std::string& name);
void inherit_locals(goroutine_core* child) noexcept;

class scope_wait : public waiter {
 public:
  template <class Op>
  explicit scope_wait(Op& op) noexcept : waiter(wait_reason::scope_join) {
    what = op.scope_;
  }
  spin_lock& lock() noexcept { return core()->lock; }
  bool claim() noexcept {
    core()->start_counting();
    return core()->nonempty == 0;
  }
  void complete() const noexcept {}
  void enqueue() noexcept { core()->joiners.push(this); }
  void remove() noexcept { core()->joiners.remove(this); }
  void won() const noexcept {}
  std::monostate result() const noexcept { return {}; }

 private:
  scope_core* core() const noexcept { return static_cast<scope_core*>(what); }
};
/// The join at a scope's end: nothing cuts it short.
class final_scope_wait : public scope_wait {
 public:
  using scope_wait::scope_wait;
  static constexpr bool outlives_context = true;
  static constexpr bool uncancellable = true;
};
template <class Wait>
class [[nodiscard]] scope_join_operation : public operation_base {
 public:
  using wait_type = Wait;
  using value_type = std::monostate;
  using result_type = void;
  explicit scope_join_operation(scope_core* s) noexcept : scope_(s) {}

 private:
  friend class scope_wait;
  scope_core* scope_;
};

/// A place that was taken; given back unless a member takes it over.
class kept_place {
 public:
  explicit kept_place(scope_core* s) noexcept : s_(s) {}
  kept_place(const kept_place&) = delete;
  ~kept_place() {
    if (s_ != nullptr) s_->give_place();
  }
  void taken_over() noexcept { s_ = nullptr; }

 private:
  scope_core* s_;
};

class place_wait : public waiter {
 public:
  template <class Op>
  explicit place_wait(Op& op) noexcept : waiter(wait_reason::start) {
    what = op.scope;
  }
  spin_lock& lock() noexcept { return core()->lock; }
  bool claim() noexcept {
    if (core()->limit != 0 && core()->running >= core()->limit) return false;
    ++core()->running;
    return true;
  }
  void complete() const noexcept {}
  void enqueue() noexcept { core()->place_waiters.push(this); }
  void remove() noexcept { core()->place_waiters.remove(this); }
  void won() const noexcept {}
  std::monostate result() const noexcept { return {}; }

 private:
  scope_core* core() const noexcept { return static_cast<scope_core*>(what); }
};
struct place_operation : operation_base {
  using wait_type = place_wait;
  using value_type = std::monostate;
  using result_type = void;
  scope_core* scope;
  explicit place_operation(scope_core* s) noexcept : scope(s) {}
};

/// Told by a goroutine that start() waits for: it is ready. Dropped unused it says so too.
class ready_signal {
 public:
  ready_signal(ready_signal&&) noexcept = default;
  ready_signal& operator=(ready_signal&&) noexcept = default;
  void operator()() noexcept { open_.drop(); }
  explicit ready_signal(sender<std::monostate> s) noexcept : open_(std::move(s)) {}

 private:
  sender<std::monostate> open_;
};

template <class F, class... Args>
concept takes_ready = std::invocable<std::decay_t<F>&, kept_t<Args>..., ready_signal>;

/// Made by with_scope; lives as long as its body and its members.
class scope : scope_core {
 public:
  scope(const scope&) = delete;
  scope& operator=(const scope&) = delete;

  /// Starts a goroutine: `f(args...)`, a callable that returns a task or a plain value, or a task.
  ///
  /// Parameters: f and args are moved into the goroutine and kept until it has ended; std::ref for references; views
  /// are
  ///   refused unless wrapped in borrow(). Callable and arguments may refer to what lives outside the scope's body
  ///   only.
  /// Returns: a handle that may be dropped. Never waits: beyond max_children the goroutine starts when others end.
  /// Cancellation: in a scope whose context has ended the goroutine never starts.
  /// Thread safety and ordering: from the body and from any member; what is sequenced before happens before the
  /// goroutine runs. Complexity: O(1), one block from a per-thread free list and one frame. Errors: std::logic_error if
  /// the stored words point into the body's own frame or the worker's stack, or the scope is over;
  ///   std::bad_alloc.
#define LEASH_GO(types, parameters, kept_types, forwarded)                                                     \
  template <LEASH_PLAIN types>                                                                                 \
    requires(std::constructible_from<std::decay_t<F>, F> && !std::same_as<std::decay_t<F>, named>)             \
  goroutine<body_t<LEASH_PLAIN kept_types>> go(LEASH_PLAIN parameters,                                         \
                                               std::source_location where = std::source_location::current()) { \
    return launch(where, nullptr, false, LEASH_PLAIN forwarded);                                               \
  }                                                                                                            \
  template <LEASH_PLAIN types>                                                                                 \
    requires std::constructible_from<std::decay_t<F>, F>                                                       \
  goroutine<body_t<LEASH_PLAIN kept_types>> go(named n, LEASH_PLAIN parameters,                                \
                                               std::source_location where = std::source_location::current()) { \
    return launch(where, &n.name, false, LEASH_PLAIN forwarded);                                               \
  }
  LEASH_EACH_ARITY(LEASH_GO, kept)
#undef LEASH_GO
  template <class F, kept... Args>
    requires(sizeof...(Args) > 6 && std::constructible_from<std::decay_t<F>, F> &&
             !std::same_as<std::decay_t<F>, named>)
  goroutine<body_t<F, kept_t<Args>...>> go(F&& f, Args&&... args) {
    return launch(std::source_location::current(), nullptr, false, std::forward<F>(f), std::forward<Args>(args)...);
  }

  /// As go, if a place is free under max_children; else nothing is started, and f and args are untouched: for who sheds
  /// load instead of letting it wait.
  ///
  /// Returns: the handle; nullopt, max_children goroutines of the scope have not ended. Without a limit never.
  /// Never waits. Cancellation, thread safety, errors: as go.
#define LEASH_TRY_GO(types, parameters, kept_types, forwarded)                                         \
  template <LEASH_PLAIN types>                                                                         \
    requires(std::constructible_from<std::decay_t<F>, F> && !std::same_as<std::decay_t<F>, named>)     \
  std::optional<goroutine<body_t<LEASH_PLAIN kept_types>>> try_go(                                     \
      LEASH_PLAIN parameters, std::source_location where = std::source_location::current()) {          \
    return try_launch(where, nullptr, LEASH_PLAIN forwarded);                                          \
  }                                                                                                    \
  template <LEASH_PLAIN types>                                                                         \
    requires std::constructible_from<std::decay_t<F>, F>                                               \
  std::optional<goroutine<body_t<LEASH_PLAIN kept_types>>> try_go(                                     \
      named n, LEASH_PLAIN parameters, std::source_location where = std::source_location::current()) { \
    return try_launch(where, &n.name, LEASH_PLAIN forwarded);                                          \
  }
  LEASH_EACH_ARITY(LEASH_TRY_GO, kept)
#undef LEASH_TRY_GO

  /// As go, but waits for a free place under max_children and, where f takes a trailing ready_signal, until the
  /// goroutine calls it (or ends without). Wait reasons: `start`, `chan receive`.
  template <class F, kept... Args>
    requires takes_ready<F, Args...>
  task<goroutine<body_t<F, kept_t<Args>..., ready_signal>>> start(F&& f, Args&&... args) {
    return start_ready(std::string(), std::forward<F>(f), std::forward<Args>(args)...);
  }
  template <class F, kept... Args>
    requires(!takes_ready<F, Args...> && std::constructible_from<std::decay_t<F>, F> &&
             !std::same_as<std::decay_t<F>, named>)
  task<goroutine<body_t<F, kept_t<Args>...>>> start(F&& f, Args&&... args) {
    return start_plain(std::string(), std::forward<F>(f), std::forward<Args>(args)...);
  }
  template <class F, kept... Args>
    requires takes_ready<F, Args...>
  task<goroutine<body_t<F, kept_t<Args>..., ready_signal>>> start(named n, F&& f, Args&&... args) {
    return start_ready(std::move(n.name), std::forward<F>(f), std::forward<Args>(args)...);
  }
  template <class F, kept... Args>
    requires(!takes_ready<F, Args...> && std::constructible_from<std::decay_t<F>, F>)
  task<goroutine<body_t<F, kept_t<Args>...>>> start(named n, F&& f, Args&&... args) {
    return start_plain(std::move(n.name), std::forward<F>(f), std::forward<Args>(args)...);
  }

  /// Ends the scope's context: the body and all members unwind at their next wait. Idempotent. From any thread that may
  /// use the scope.
  void cancel(std::string_view why = {}, std::source_location where = std::source_location::current()) {
#if LEASH_SENTINEL
    if (auto const check = check_use.load(std::memory_order_relaxed); check != nullptr) [[unlikely]]
      check(core(), core(), capability::canceller);
#endif
    end_context(this, context_error::cancelled,
                std::make_shared<cancel_cause>(cancel_cause{std::string(why), where, nullptr}));
  }
  /// Waits until the scope has no members: then they may have borrowed from the body. Selectable. Wait reason: `scope
  /// join`.
  scope_join_operation<scope_wait> join() noexcept { return scope_join_operation<scope_wait>(this); }
  /// A counted handle through which any thread may start members; the scope's join waits until it is gone.
  remote_scope remote();

  /// For the library.
  scope_core* core() noexcept { return this; }
  static scope* make(const scope_options&, std::source_location where);
  static scope& of(scope_core* c) noexcept { return static_cast<scope&>(*c); }
  template <class F, class... Args>
  auto launch(std::source_location where, std::string* name, bool has_place, F&& f, Args&&... args) {
    auto* g = make_goroutine(runtime_index, where, std::forward<F>(f), std::forward<Args>(args)...);
    using R = typename std::remove_pointer_t<decltype(g)>::R;
    adopt(g, name, has_place, where);
    return goroutine<R>(g);
  }

  /// As launch, of a lineage whose count is handed over.
  template <class F>
  void launch_kin(lineage* kin, std::source_location where, F&& f) {
    auto* g = make_goroutine(runtime_index, where, std::forward<F>(f));
    g->kin = kin;
    adopt(g, nullptr, false, where);
    drop_ref(g, ref_handle);
  }

 private:
  explicit scope(std::source_location where) : scope_core(where) {}
  void adopt(goroutine_core*, std::string* name, bool has_place, std::source_location where);

  template <class F, class... Args>
  auto launch_in(kept_place& place, std::source_location where, std::string* name, F&& f, Args&&... args) {
    auto h = launch(where, name, true, std::forward<F>(f), std::forward<Args>(args)...);
    place.taken_over();
    return h;
  }
  template <class F, class... Args>
  std::optional<goroutine<body_t<F, kept_t<Args>...>>> try_launch(std::source_location where, std::string* name, F&& f,
                                                                  Args&&... args) {
    if (!take_place()) return std::nullopt;
    kept_place place(this);
    return launch_in(place, where, name, std::forward<F>(f), std::forward<Args>(args)...);
  }
  template <class F, class... Args>
  task<goroutine<body_t<F, kept_t<Args>...>>> start_plain(std::string name, F&& f, Args&&... args) {
    std::source_location const where = co_await awaited_at{};
    co_await place_operation(this);
    kept_place place(this);
    co_return launch_in(place, where, &name, std::forward<F>(f), std::forward<Args>(args)...);
  }
  template <class F, class... Args>
  task<goroutine<body_t<F, kept_t<Args>..., ready_signal>>> start_ready(std::string name, F&& f, Args&&... args) {
    std::source_location const where = co_await awaited_at{};
    co_await place_operation(this);
    kept_place place(this);
    auto [open, opened] = channel<std::monostate>();
    auto h =
        launch_in(place, where, &name, std::forward<F>(f), std::forward<Args>(args)..., ready_signal(std::move(open)));
    (void)co_await opened.recv();
    co_return h;
  }
};

/// A counted handle to a scope, for threads that are no workers. Move-only; the scope's join waits until all are gone.
class remote_scope : handle {
 public:
  remote_scope(remote_scope&& o) noexcept { take(o); }
  remote_scope& operator=(remote_scope&& o) noexcept {
    if (this != &o) {
      drop();
      take(o);
    }
    return *this;
  }
  ~remote_scope() { drop(); }
  /// As scope::go, from any thread. Errors: std::logic_error if this handle was moved from.
#define LEASH_GO(types, parameters, kept_types, forwarded)                                                     \
  template <LEASH_PLAIN types>                                                                                 \
    requires(!std::same_as<std::decay_t<F>, named>)                                                            \
  goroutine<body_t<LEASH_PLAIN kept_types>> go(LEASH_PLAIN parameters,                                         \
                                               std::source_location where = std::source_location::current()) { \
    return live(where).launch(where, nullptr, false, LEASH_PLAIN forwarded);                                   \
  }                                                                                                            \
  template <LEASH_PLAIN types>                                                                                 \
  goroutine<body_t<LEASH_PLAIN kept_types>> go(named n, LEASH_PLAIN parameters,                                \
                                               std::source_location where = std::source_location::current()) { \
    return live(where).launch(where, &n.name, false, LEASH_PLAIN forwarded);                                   \
  }
  LEASH_EACH_ARITY(LEASH_GO, kept)
#undef LEASH_GO

 private:
  friend class scope;
  explicit remote_scope(scope_core* s) noexcept : handle(s, capability::remote) {}
  scope& live(std::source_location where) {
    if (get() == nullptr) throw_misuse("go() on a remote_scope that was moved from", where);
    return scope::of(static_cast<scope_core*>(get()));
  }
  void take(remote_scope& o) noexcept {
    if (object* c = o.release(capability::remote)) certify(c, capability::remote);
  }
  void drop() noexcept {
    if (object* c = release(capability::remote)) static_cast<scope_core*>(c)->drop_remote();
  }
};

inline remote_scope scope::remote() {
  add_remote();
  return remote_scope(this);
}

template <class R, class B>
task<maybe_t<R>> run_scope(scope_options options, kept_body<B> body, std::source_location where) {
  goroutine_core* g = co_await this_goroutine{};
  struct scope_ref {
    scope* s;
    ~scope_ref() {
      s->core()->close();
      unhold(static_cast<context_core*>(s->core()));
    }
  } made{scope::make(options, where)};
  scope_core* core = made.s->core();
  core->frame = g->leaf;
  body_result<R> r;
  bool own_end = false, outer_end = false;
  {
    entered_context here(g, core);
    try {
      task<R> started = body.start(*made.s);
      r = co_await boundary_wait<R>(std::move(started));
    } catch (...) {
      r.error = std::current_exception();
    }
    if (r.cut) {
      end_context(core, context_error::cancelled,
                  std::make_shared<cancel_cause>(cancel_cause{"the scope's body was cut short", where, nullptr}));
      r.error = take_carried(g);
    }
    if (r.error) core->failed(std::move(r.error), where);
    co_await scope_join_operation<final_scope_wait>(core);
    own_end = here.is_own_end();
    outer_end = !own_end && core->error() != context_error::none;
  }
  std::exception_ptr error = core->take_errors();
  // An end from outside cut the members short, if not the body: what they were to do is not done, so nobody goes on as
  // if it were. Nor does a goroutine that was reclaimed while it joined its members.
  if ((r.cut && !own_end) || outer_end || g->killed.load(std::memory_order_acquire) != 0) {
    if (error) carry_error(g, std::move(error));
    co_await unwind_further{};
  }
  if (error) std::rethrow_exception(std::move(error));
  co_return r.take();
}

/// Runs `body(scope&)`, and returns when the body and every goroutine started in the scope have ended.
///
/// Returns: as with_timeout: what the body returned; nullopt (void: false) only if the body itself was cut short by
/// s.cancel(). Errors: the first exception of a member or the body cancels the rest and is rethrown when all have
/// ended. With
///   on_error::keep_going the siblings live; one error is rethrown as it is, more as scope_errors.
/// Cancellation: an end from outside cancels and joins the members before unwinding goes on. The join itself cannot be
/// cut. Note: the body's own locals die before the members are joined: members may borrow only what lives outside the
/// body.
template <class B>
task<maybe_t<body_t<B, scope&>>> with_scope(B&& body, std::source_location where = std::source_location::current()) {
  return run_scope<body_t<B, scope&>>(scope_options{}, kept_body<B>(std::forward<B>(body)), where);
}
template <class B>
task<maybe_t<body_t<B, scope&>>> with_scope(const scope_options& options, B&& body,
                                            std::source_location where = std::source_location::current()) {
  return run_scope<body_t<B, scope&>>(options, kept_body<B>(std::forward<B>(body)), where);
}

}  // namespace leash
