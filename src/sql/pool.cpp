#include <algorithm>
#include <iostream>
#include <leash/blocking.hpp>
#include <leash/scope.hpp>
#include <unordered_map>

#include "session.hpp"

namespace leash::sql {

// --- a connection's place

open_place::open_place(pool_core* p) noexcept : pool_(p) { p->open.fetch_add(1, std::memory_order_relaxed); }
session::session(open_place p, std::unique_ptr<driver> made, clock::time_point now)
    : place(std::move(p)), d(std::move(made)), opened_at(now) {
  {
    spin_guard guard(place.pool().lock);
    place.pool().all.push_back(this);
  }
  place.pool().opened.fetch_add(1, std::memory_order_relaxed);
}
session::~session() {
  {
    spin_guard guard(place.pool().lock);
    std::erase(place.pool().all, this);
  }
  place.pool().closed_count.fetch_add(1, std::memory_order_relaxed);
}

open_place::~open_place() {
  if (pool_ != nullptr) pool_->open.fetch_sub(1, std::memory_order_relaxed);
}

// One that came back just now is not looked at: under load that would be a system call for each statement.
constexpr nanoseconds idle_for_a_while = std::chrono::milliseconds(1);

// --- later

// As after_func, for a callable that borrows nothing: whoever acquires while no timer is armed has nothing to do with
// it, and must not count as live because of it.
// upkeep: it wakes nobody, so what is blocked meanwhile is judged as if it were not armed.
template <class F>
static timer start_later(nanoseconds after, bool upkeep, F&& f,
                         std::source_location where = std::source_location::current()) {
  runtime& rt = *runtime_at(running_goroutine("sql::pool", where)->runtime_index);
  auto* p = new pending_start_of<std::decay_t<F>>(std::decay_t<F>(std::forward<F>(f)), rt, where);
  p->timer.upkeep = upkeep;
  arm_start(p, after, where, false);
  return timer(p);
}

static task<> close_session(std::unique_ptr<session> s) { co_await s->d->close(); }

namespace {

/// Brings to rest what came back while it was not. Unwound, or never started, it closes the connection here and now.
struct mender {
  std::shared_ptr<pool_core> core;
  semaphore::permit permit;  // until it is back or closed (P1)
  std::unique_ptr<session> s;
  bool at_rest;

  task<> operator()() {
    if (!s->broken && !at_rest) {
      core->settled.fetch_add(1, std::memory_order_relaxed);
      co_await bring_to_rest(*s, core->options.settle_within);
      if (s->broken) core->replaced.fetch_add(1, std::memory_order_relaxed);
    }
    clock::time_point const time = now();
    if (!core->worth_keeping(*s, time) || !core->keep(s, time)) co_await close_session(std::move(s));
    permit.release();
  }
};

struct closer {
  std::shared_ptr<pool_core> core;
  std::vector<std::unique_ptr<session>> all;
  task<> operator()() {
    for (auto& s : all) co_await close_session(std::move(s));
  }
};

}  // namespace

task<> bring_to_rest(session& s, nanoseconds within) {
  struct work {
    static task<> run(session& s, bool& ok) {
      ok = co_await s.d->settle();
      if (!ok || !s.d->in_transaction()) co_return;
      co_await s.d->script(std::make_shared<const std::string>("ROLLBACK"));
      ok = !s.d->in_transaction();
    }
  };
  bool ok = false;
  try {
    if (!co_await shielded(within, work::run(s, ok))) ok = false;
  } catch (...) {
    ok = false;
  }
  if (!ok) s.broken = true;
}

// --- pool_core

pool_core::pool_core(target t, pool_options o, std::source_location where)
    : to(std::move(t)), options(std::move(o)), permits(options.max_open, where), writers(1, where) {}
pool_core::~pool_core() = default;

[[noreturn]] static void refuse_acquire() { throw error(error_kind::misuse, "acquire: the pool was closed"); }

std::unique_ptr<session> pool_core::take_idle() {
  spin_guard guard(lock);
  if (closed) refuse_acquire();
  if (idle.empty()) return nullptr;
  std::unique_ptr<session> s = std::move(idle.back());
  idle.pop_back();
  return s;
}

bool pool_core::is_well(session& s, clock::time_point time) {
  if (time - s.idle_since >= idle_for_a_while && s.d->lost_while_idle()) {
    s.broken = true;
    replaced.fetch_add(1, std::memory_order_relaxed);
  }
  return worth_keeping(s, time);
}

task<std::unique_ptr<session>> pool_core::open_one() {
  open_place place(this);
  std::unique_ptr<driver> d = co_await open_driver(to, options);
  co_return std::make_unique<session>(std::move(place), std::move(d), now());
}

bool pool_core::worth_keeping(session& s, clock::time_point time) const noexcept {
  return !s.broken && !s.d->broken() && young_enough(s, time);
}
bool pool_core::young_enough(session& s, clock::time_point time) const noexcept {
  return to.in_memory || options.max_lifetime == nanoseconds::max() || time - s.opened_at < options.max_lifetime;
}

void pool_core::hold_locked(session& s, goroutine_core* g, clock::time_point time, std::source_location where) {
  if (options.held_limit != nanoseconds::max() && !watching) arm_watch(options.held_limit);
  // Nothing throws from here on.
  s.home = this;
  s.held = true;
  s.holder = g->id;
  s.turn = acquired++;
  s.since = time;
  s.acquired_at = where;
  s.told = false;
  ++in_use;
}

bool pool_core::hold_idle(connection& c, std::shared_ptr<pool_core>& core, semaphore::permit& permit, goroutine_core* g,
                          std::shared_ptr<const std::string> statement, std::source_location where) {
  pool_core& p = *core;
  clock::time_point const time = now();
  session* s = nullptr;
  {
    spin_guard guard(p.lock);
    if (p.closed) refuse_acquire();
    if (p.idle.empty()) return false;
    s = p.idle.back().get();
    if (time - s->idle_since >= idle_for_a_while || !p.worth_keeping(*s, time)) return false;
    p.hold_locked(*s, g, time, where);
    s->statement.swap(statement);  // the last one goes without the lock
    (void)p.idle.back().release();
    p.idle.pop_back();
  }
  c.hold(permit, std::move(core), s);
  return true;
}

namespace {
struct opening_mark {
  std::atomic<std::size_t>& n;
  explicit opening_mark(std::atomic<std::size_t>& count) noexcept : n(count) {
    n.fetch_add(1, std::memory_order_relaxed);
  }
  opening_mark(const opening_mark&) = delete;
  ~opening_mark() { n.fetch_sub(1, std::memory_order_relaxed); }
};
}  // namespace

task<> pool_core::look_or_open(connection& c, std::shared_ptr<pool_core> core, semaphore::permit& permit,
                               goroutine_core* g, std::source_location where) {
  clock::time_point time = now();
  std::unique_ptr<session> s = core->take_idle();
  while (s != nullptr && !core->is_well(*s, time)) {
    co_await close_session(std::move(s));
    s = core->take_idle();
  }
  if (s == nullptr) {
    opening_mark const mark(core->opening);
    s = co_await core->open_one();
    time = now();
  }
  std::shared_ptr<const std::string> last;  // goes without the lock
  {
    spin_guard guard(core->lock);
    core->hold_locked(*s, g, time, where);
    s->statement.swap(last);
  }
  c.hold(permit, std::move(core), s.release());
}

void pool_core::started(session& s, goroutine_core* g, const std::shared_ptr<const std::string>& text) {
  if (s.holder == g->id && s.statement == text) return;
  std::shared_ptr<const std::string> last = text;  // goes without the lock
  spin_guard guard(lock);
  s.holder = g->id;  // a handle may have moved
  s.statement.swap(last);
}

void pool_core::give_back(session* s, semaphore::permit permit) noexcept {
  std::unique_ptr<session> owned(s);
  std::optional<timer> not_needed;  // its callable goes without the lock
  if (s->depth != 0) fatal("a sql::connection was released inside of its transaction");
  if (s->reading != nullptr) {
    s->reading->orphan("its connection went back to the pool");
    s->reading = nullptr;
  }
  s->to_notify.clear();
  bool const lost = s->broken || s->d->broken();
  if (lost) {
    s->broken = true;
    replaced.fetch_add(1, std::memory_order_relaxed);
  }
  bool const at_rest = !lost && s->d->settle_now();
  clock::time_point const time = now();
  {
    spin_guard guard(lock);
    s->held = false;
    --in_use;
    if (in_use == 0 && options.on_held && watching) {  // who is told could do anything: this timer counts
      not_needed.swap(watch_timer);
      watching = false;
    }
    if (at_rest && young_enough(*s, time)) (void)keep_locked(owned, time);
  }
  if (owned == nullptr) return;  // the permit goes after the connection has come (P1)
  bool const closes_now = (lost || at_rest) && s->d->closes_at_once();
  if (in_goroutine() && !closes_now) {
    try {
      start_goroutine(mender{shared_from_this(), std::move(permit), std::move(owned), at_rest});
    } catch (...) {  // no memory: what it was to own has gone
    }
  }
}

bool pool_core::keep(std::unique_ptr<session>& s, clock::time_point time) noexcept {
  spin_guard guard(lock);
  return keep_locked(s, time);
}

bool pool_core::keep_locked(std::unique_ptr<session>& s, clock::time_point time) noexcept {
  if (closed || idle.size() >= options.max_idle) return false;
  s->idle_since = time;
  s->home = nullptr;
  idle.push_back(std::move(s));  // there is room: see the pool's constructor
  if (!sweeping && !to.in_memory && options.max_idle_time != nanoseconds::max()) {
    try {
      arm_sweep(options.max_idle_time);
    } catch (...) {  // the next one does
    }
  }
  return true;
}

void pool_core::dispose(std::vector<std::unique_ptr<session>> all) noexcept {
  if (all.empty()) return;
  auto self = weak_from_this().lock();
  if (self == nullptr || !in_goroutine() || all.front()->d->closes_at_once()) return;
  try {
    start_goroutine(closer{std::move(self), std::move(all)});
  } catch (...) {
  }
}

std::vector<std::unique_ptr<session>> pool_core::shut() noexcept {
  std::optional<timer> first, second;  // their callables go without the lock
  spin_guard guard(lock);
  closed = true;
  first.swap(watch_timer);
  second.swap(sweep_timer);
  return std::move(idle);
}

// --- watching

void pool_core::arm_watch(nanoseconds after) {
  watch_timer.emplace(start_later(after, !options.on_held, [weak = weak_from_this()] {
    if (auto self = weak.lock()) self->watch();
  }));
  watching = true;
}

void pool_core::watch() {
  for (held_connection& h : held(options.held_limit, true)) {
    if (options.on_held) {
      options.on_held(h);
      continue;
    }
    std::cerr << "leash: a connection is held by goroutine " << h.who.id << " for "
              << std::chrono::duration_cast<std::chrono::milliseconds>(h.held).count() << " ms, acquired at "
              << h.acquired_at.file_name() << ":" << h.acquired_at.line() << "\n";
    for (const frame_info& f : h.who.stack)
      std::cerr << "  " << f.function << "\n  \t" << f.file << ":" << f.line << "\n";
  }
  spin_guard guard(lock);
  watching = false;
  if (closed) return;
  for (session* s : held_locked()) {
    if (s->told) continue;
    arm_watch(std::max(nanoseconds(s->since + options.held_limit - now()), nanoseconds(1)));
    return;
  }
}

void pool_core::arm_sweep(nanoseconds after) {
  if (this_worker == nullptr || this_worker->current == nullptr) return;  // a foreign thread gives back: the next one
  sweep_timer.emplace(start_later(after, true, [weak = weak_from_this()]() -> task<> {
    if (auto self = weak.lock()) co_await self->sweep();
  }));
  sweeping = true;
}

task<> pool_core::sweep() {
  std::vector<std::unique_ptr<session>> old;
  {
    spin_guard guard(lock);
    sweeping = false;
    clock::time_point const time = now();
    auto const too_old = [&](const std::unique_ptr<session>& s) {
      return time - s->idle_since >= options.max_idle_time ||
             (options.max_lifetime != nanoseconds::max() && time - s->opened_at >= options.max_lifetime);
    };
    for (auto& s : idle)
      if (too_old(s)) old.push_back(std::move(s));
    std::erase(idle, nullptr);
    if (!idle.empty() && !closed)
      arm_sweep(std::max(nanoseconds(idle.front()->idle_since + options.max_idle_time - time), nanoseconds(1)));
  }
  for (auto& s : old) co_await close_session(std::move(s));
}

std::vector<session*> pool_core::held_locked() const {
  std::vector<session*> some;
  std::copy_if(all.begin(), all.end(), std::back_inserter(some), [](const session* s) { return s->held; });
  std::sort(some.begin(), some.end(), [](const session* a, const session* b) { return a->turn < b->turn; });
  return some;
}

std::vector<held_connection> pool_core::held(nanoseconds at_least, bool untold) {
  std::vector<held_connection> all;
  {
    spin_guard guard(lock);
    clock::time_point const time = now();
    for (session* s : held_locked()) {
      if (time - s->since < at_least) break;
      if (untold && s->told) continue;
      if (untold) s->told = true;
      held_connection h;
      h.who.id = s->holder;
      h.since = s->since;
      h.held = time - s->since;
      h.acquired_at = s->acquired_at;
      if (s->statement != nullptr) h.statement = *s->statement;
      all.push_back(std::move(h));
    }
  }
  if (all.empty()) return all;
  std::unordered_map<std::uint64_t, goroutine_info> by_id;
  for (goroutine_info& g : goroutines()) by_id.emplace(g.id, std::move(g));
  for (held_connection& h : all)
    if (auto it = by_id.find(h.who.id); it != by_id.end()) h.who = it->second;
  return all;
}

// --- notifications within the process

void pool_core::tell(const std::string& channel, const std::string& payload) {
  spin_guard guard(lock);
  std::erase_if(members, [&](member& m) {
    if (std::find(m.channels.begin(), m.channels.end(), channel) == m.channels.end()) return false;
    return m.to.try_send(notification{channel, payload, false}) == try_result::closed;
  });
}

// --- pool

pool::pool(std::string_view address, pool_options o, std::source_location where) {
  target t = parse_address(address);
  if (!has(t.backend))
    throw error(error_kind::misuse, "this build of leash::sql is without " + std::string(name_of(t.backend)));
  if (o.max_open == 0) throw error(error_kind::misuse, "a pool with max_open = 0");
  for (nanoseconds d :
       {o.max_lifetime, o.max_idle_time, o.held_limit, o.connect_timeout, o.settle_within, o.busy_timeout})
    if (d < nanoseconds::zero()) throw error(error_kind::misuse, "a pool with a negative duration");
  if (t.in_memory) {
    // The database goes with its connection.
    o.max_open = o.max_idle = 1;
    o.max_lifetime = o.max_idle_time = nanoseconds::max();
  }
  o.max_idle = std::min(o.max_idle, o.max_open);
  core_ = std::make_shared<pool_core>(std::move(t), std::move(o), where);
  core_->idle.reserve(core_->options.max_open + 1);
}

pool& pool::operator=(pool&& o) noexcept {
  if (this != &o) {
    if (core_ != nullptr) core_->dispose(core_->shut());
    core_ = std::move(o.core_);
  }
  return *this;
}
pool::~pool() {
  if (core_ != nullptr) core_->dispose(core_->shut());
}

task<connection> pool::acquire_from(std::shared_ptr<pool_core> core, std::source_location where) {
  goroutine_core* const g = co_await this_goroutine{};
  semaphore::permit p = co_await core->permits.acquire();
  connection c;
  if (!pool_core::hold_idle(c, core, p, g, nullptr, where))
    co_await pool_core::look_or_open(c, std::move(core), p, g, where);
  co_return c;
}

task<connection> pool::acquire(std::source_location where) { return acquire_from(core_, where); }

static task<std::int64_t> exec_on(std::shared_ptr<pool_core> core, request r, std::source_location where) {
  co_return (co_await run_statement(nullptr, std::move(core), std::move(r), where)).affected();
}
static task<> script_on(task<connection> a, std::string text) {
  connection c = co_await std::move(a);
  co_await c.script(text);
}
static task<> notify_on(task<connection> a, std::string channel, std::string payload) {
  connection c = co_await std::move(a);
  co_await c.notify(channel, payload);
}
task<std::int64_t> pool::exec_once(request r, std::source_location where) {
  return exec_on(core_, std::move(r), where);
}
task<> pool::script(std::string_view text, std::source_location where) {
  return script_on(acquire_from(core_, where), std::string(text));
}
task<> pool::notify(std::string_view channel, std::string_view payload, std::source_location where) {
  return notify_on(acquire_from(core_, where), std::string(channel), std::string(payload));
}

static task<> close_pool(std::shared_ptr<pool_core> core) {
  std::vector<std::unique_ptr<session>> idle = core->shut();
  for (auto& s : idle) co_await close_session(std::move(s));
  // All permits: every connection has come back, and was closed because of shut().
  semaphore::permit const all = co_await core->permits.acquire(core->options.max_open);
}
task<> pool::close() { return close_pool(core_); }

pool_stats pool::stats() const {
  pool_stats s;
  {
    spin_guard guard(core_->lock);
    s.idle = core_->idle.size();
    s.in_use = core_->in_use;
    s.acquired = core_->acquired;
    s.open = core_->open;
  }
  s.waiting = core_->permits.waiting() + core_->opening;
  s.opened = core_->opened;
  s.closed = core_->closed_count;
  s.settled = core_->settled;
  s.replaced = core_->replaced;
  return s;
}
std::vector<held_connection> pool::held() const { return core_->held(nanoseconds::min(), false); }
backend pool::backend() const noexcept { return core_->to.backend; }

}  // namespace leash::sql
