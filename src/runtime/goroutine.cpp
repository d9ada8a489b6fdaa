// The life of a goroutine between its worker's hands: start, resume, unwind, end.
#include <algorithm>
#include <cstdio>
#include <leash/goroutine.hpp>
#include <leash/outside.hpp>
#include <leash/shared.hpp>
#include <leash/task.hpp>
#include <leash/trace.hpp>
#include <leash/wait.hpp>
#include <leash/worker.hpp>
#include <mutex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "scheduler.hpp"

namespace leash {

constinit std::atomic<bool> reclaimed_anything{false};
constinit std::atomic<bool> judged_anything{false};
spin_lock join_locks[64];
void (*goroutine_ended)(goroutine_core*) noexcept = nullptr;
void (*goroutine_failed)(goroutine_core*, std::exception_ptr) noexcept = nullptr;

namespace {

// Exceptions on their way out of an unwinding are rare: kept beside the goroutines, not in them.
std::mutex carried_lock;
std::unordered_map<goroutine_core*, std::exception_ptr> carried;

// Why goroutines were reclaimed: rarer still. Outlives static handles.
std::mutex reclaimed_lock;
auto& reclaimed_why = *new std::unordered_map<const goroutine_core*, std::exception_ptr>;
void forget_reclaimed(const goroutine_core* g) noexcept {
  std::exception_ptr last;  // the report goes outside the lock
  std::lock_guard guard(reclaimed_lock);
  if (auto node = reclaimed_why.extract(g)) last = std::move(node.mapped());
}

// A wait for a context's end that has come is a completion, not a cut, though the same end reached the goroutine first.
bool done_came_with_the_cut(goroutine_core* g) noexcept {
  if (g->wait_count == 0 || g->wait == nullptr) return false;
  waiter** all = reinterpret_cast<waiter**>(g->wait);
  for (std::uint16_t i = 0; i < g->wait_count; ++i) {
    waiter* w = g->wait_count == 1 ? g->wait : all[i];
    if (w->reason == wait_reason::context_done && w->what != nullptr &&
        static_cast<context_flag*>(w->what)->ended.load() != 0) {
      g->winner = w->index;
      return true;
    }
  }
  return false;
}

// Destroys frames from the leaf to the next boundary, and resumes that one; or ends the goroutine.
void unwind(goroutine_core* g) noexcept {
  g->wait = nullptr;
  g->wait_count = 0;
  g->bits |= g_unwinding;
  for (promise_base* p = g->leaf;;) {
    await_link* up = p->up;
    p->handle().destroy();
    if (up == nullptr) {
      g->leaf = nullptr;
      g->bits &= static_cast<std::uint8_t>(~g_unwinding);
      this_worker->after = after_resume::finish;
      return;
    }
    up->child = nullptr;
    p = up->parent;
    g->leaf = p;
    if (up->kind == link_kind::boundary) {
      up->cut = true;
      g->bits &= static_cast<std::uint8_t>(~g_unwinding);
      p->handle().resume();
      return;
    }
  }
}

void start(goroutine_core* g) noexcept {
  g->bits |= g_started;
  if (g->wait_count != 0) {  // it stood in line for a place
    g->wait_count = 0;
    g->parked_at = coarse_tick();
  }
  // A child that was cancelled or reclaimed before its first run never starts.
  if (context_ended(g) || g->killed.load(std::memory_order_relaxed) != 0) {
    this_worker->after = after_resume::finish;
    return;
  }
  g->type->start(g);
  if (g->leaf != nullptr) g->leaf->handle().resume();
}

// It waited for something outside as well. That has to end before the frames move.
void resume_settled(goroutine_core* g) noexcept {
  if (!settle(g)) return;
  bool const cut = (g->bits & g_cut) != 0;
  g->bits &= static_cast<std::uint8_t>(~(g_cut | g_retry));
  if (cut && (g->killed.load(std::memory_order_relaxed) != 0 || !(ended_with_result(g) || done_came_with_the_cut(g)))) {
    unwind(g);
    return;
  }
  g->wait_count = 0;
  g->parked_at = coarse_tick();
  g->leaf->handle().resume();
}

LEASH_NOINLINE void resume_specially(goroutine_core* g) noexcept {
  if ((g->bits & g_retry) != 0 && waits_outside(g)) {
    resume_settled(g);
  } else if (g->bits & g_cut) {
    g->bits &= static_cast<std::uint8_t>(~(g_cut | g_retry));
    if (g->killed.load(std::memory_order_relaxed) == 0 && done_came_with_the_cut(g)) {
      g->leaf->handle().resume();
    } else {
      unwind(g);
    }
  } else {
    g->bits &= static_cast<std::uint8_t>(~g_retry);
    auto* again = static_cast<retrying_waiter*>(g->wait);
    promise_base* innermost = g->leaf;
    if (again->retry(again)) innermost->handle().resume();
  }
}

LEASH_INLINE void finish(worker& w, goroutine_core* g) noexcept {
  if (g->leaf != nullptr) {
    g->leaf->handle().destroy();
    g->leaf = nullptr;
  }
  if ((g->bits & g_carries) != 0) [[unlikely]] {
    std::exception_ptr e = take_carried(g);
    (g->bits & g_failed) != 0 ? goroutine_failed(g, std::move(e)) : root_failed(g, std::move(e));
  }
  if (g->bits & g_has_callable) {
    g->bits &= static_cast<std::uint8_t>(~g_has_callable);
    g->type->drop_callable(g);
  }
  w.ended.store(w.ended.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  goroutine_ended(g);
}

LEASH_NOINLINE void finish_noted(worker& w, goroutine_core* g) noexcept {
  std::uint64_t const id = g->id;
  bool const cut = (g->bits & g_completed) == 0;
  finish(w, g);  // what that wakes is woken by it
  note_end(w, id, cut);
}

}  // namespace

static std::atomic<std::uint32_t> verdicts{1};
void forget_verdicts() noexcept { verdicts.fetch_add(1, std::memory_order_relaxed); }
std::uint32_t verdict_generation() noexcept { return verdicts.load(std::memory_order_relaxed); }

#if LEASH_SENTINEL
void sentinel(goroutine_core* g) noexcept {
  if (g->judged.load(std::memory_order_relaxed) != g->park.load(std::memory_order_relaxed) ||
      g->judged_in.load(std::memory_order_relaxed) != verdict_generation())
    return;
  goroutine_core* by = this_worker != nullptr ? this_worker->current : nullptr;
  if (by != nullptr && ((by->bits & g_unwinding) != 0 || by->killed.load(std::memory_order_relaxed) != 0)) {
    forget_verdicts();
    return;
  }
  fatal(("a goroutine that was proved leaked is being woken: the proof was wrong. Goroutine " + std::to_string(g->id) +
         ", started at " + g->spawned_at.file_name() + ":" + std::to_string(g->spawned_at.line()))
            .c_str());
}
#endif

goroutine_core* claim_all(wait_queue& q) noexcept {
  goroutine_core* first = nullptr;
  goroutine_core** last = &first;
  while (waiter* w = q.claim_first()) {
    *last = w->who;
    last = &w->who->next;
  }
  *last = nullptr;
  return first;
}

void schedule_all(goroutine_core* g) noexcept {
  if (g != nullptr && g->next == nullptr) return schedule(g);
  while (g != nullptr) {
    goroutine_core* next = g->next;
    schedule_last(g);
    g = next;
  }
}

// --- breaches

namespace {
std::mutex breaches_lock;
std::vector<std::source_location> breaches;

// Objects that nobody reaches by the verdicts of one generation; older ones count no more. A small table in front says
// without the lock that an object is not among them.
std::unordered_set<const object*> unreachable;
std::uint32_t unreachable_in = 0;
constinit std::atomic<std::uint32_t> unreachable_hints[1024];  // a generation each

std::atomic<std::uint32_t>& hint_of(const object* o) noexcept {
  return unreachable_hints[(reinterpret_cast<std::uintptr_t>(o) >> 4) * 0x9e3779b97f4a7c15u >> 54];
}

bool same_place(std::source_location a, std::source_location b) noexcept {
  return a.line() == b.line() && a.column() == b.column() && std::string_view(a.file_name()) == b.file_name();
}
}  // namespace

bool breached(std::source_location where) noexcept {
  std::lock_guard guard(breaches_lock);
  return std::any_of(breaches.begin(), breaches.end(), [&](auto& b) { return same_place(b, where); });
}

constinit std::atomic<bool> any_unreachable{false};

void note_unreachable(const object* o, std::uint32_t generation) {
  std::lock_guard guard(breaches_lock);
  if (generation != unreachable_in) {
    unreachable.clear();
    unreachable_in = generation;
  }
  unreachable.insert(o);
  hint_of(o).store(generation, std::memory_order_relaxed);
  any_unreachable.store(true, std::memory_order_relaxed);
}

bool noted_unreachable(const object* o) noexcept {
  if (hint_of(o).load(std::memory_order_relaxed) != verdict_generation()) return false;
  std::lock_guard guard(breaches_lock);
  return unreachable_in == verdict_generation() && unreachable.contains(o);
}

void breach(const placed_object* o) noexcept {
  // What was unwound since, or unwinds now, may free those who were judged.
  if (hint_of(o).load(std::memory_order_relaxed) != verdict_generation()) return;
  goroutine_core* by = this_worker != nullptr ? this_worker->current : nullptr;
  const block_core* block = block_around(o->home);
  std::source_location const site = block != nullptr && block->made_at.line() != 0 ? block->made_at : o->made_at;
  {
    std::lock_guard guard(breaches_lock);
    if (unreachable_in != verdict_generation() || unreachable.erase(o) == 0) return;
    if (by != nullptr && ((by->bits & g_unwinding) != 0 || by->killed.load(std::memory_order_relaxed) != 0)) return;
    if (std::any_of(breaches.begin(), breaches.end(), [&](auto& b) { return same_place(b, site); })) return;
    breaches.push_back(site);
  }
  bool const tracked = arena::slot_at(o->home).what == arena::kind::object;
  std::fprintf(
      stderr,
      "leash: the %s made at %s:%u was used by %s, though by all that leash can see only leaked goroutines could "
      "reach it: a reference to it was given away %s. Verdicts%s that rest on it were wrong; what is made there is not "
      "judged any more. %s\n",
      o->type.load(std::memory_order_relaxed) == object_type::event ? "event" : "condition", site.file_name(),
      static_cast<unsigned>(site.line()),
      by != nullptr ? ("goroutine " + std::to_string(by->id)).c_str() : "a thread that is no worker",
      tracked ? "past the handles to the tracked memory where it lies" : "outside of scopes and tracked memory",
      tracked ? "" : " graded confined",
      tracked ? "Whoever uses it needs such a handle: a copy of the leash::shared<T>."
              : "Keep it in a leash::shared<T>.");
}

// Unusual: the run is simulated, or something is noted of its goroutines. The two are apart so that the usual one has
// nothing to ask. What begins to be noted meanwhile is noted from the next turn on.
template <bool Unusual>
LEASH_INLINE static void run_turn(worker& w, goroutine_core* g) noexcept {
  bool const noted = Unusual && w.rt->sim == nullptr;
  w.tick.store(w.tick.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  w.current = g;
  w.stack_top = static_cast<const std::byte*>(__builtin_frame_address(0));
  // Simulated, each wait is a point where another goroutine may be chosen.
  g->budget = Unusual && !noted ? w.rt->sim->budget : operations_per_resumption;
  if (noted) note_run(w, g);
  if ((g->bits & (g_cut | g_retry)) != 0) [[unlikely]] {
    resume_specially(g);
  } else if (g->leaf != nullptr) [[likely]] {
    if (g->wait_count != 0) {  // it was parked: active from now on
      g->wait_count = 0;
      g->parked_at = coarse_tick();
    }
    g->leaf->handle().resume();
  } else {
    start(g);
  }
  for (;;) {
    after_resume const after = w.after;
    if (after == after_resume::nothing) {  // parked: others may own it already
      if (noted) note_parked(w, g);
      break;
    }
    w.after = after_resume::nothing;
    if (after == after_resume::unwind) {
      unwind(g);
    } else if (after == after_resume::yield) {
      if (noted) note_yield(w, g);
      schedule_yielded(w, g);
      break;
    } else {
      noted ? finish_noted(w, g) : finish(w, g);
      break;
    }
  }
  w.current = nullptr;
}

LEASH_NOINLINE static void run_unusual_turn(worker& w, goroutine_core* g) noexcept { run_turn<true>(w, g); }

void run_goroutine(worker& w, goroutine_core* g) noexcept {
  if (w.unusual.load(std::memory_order_relaxed) != 0) [[unlikely]]
    return run_unusual_turn(w, g);
  run_turn<false>(w, g);
}

void hand_over_cut(goroutine_core* g) noexcept {
  if ((g->bits & g_retry) != 0 && waits_outside(g)) {  // its worker settles it first
    this_worker->after = after_resume::yield;
    return;
  }
  g->bits &= static_cast<std::uint8_t>(~g_cut);
  if (g->killed.load(std::memory_order_relaxed) == 0 && done_came_with_the_cut(g)) {
    this_worker->after = after_resume::yield;
  } else {
    this_worker->after = after_resume::unwind;
  }
}

void root_failed(goroutine_core* g, std::exception_ptr e) noexcept {
  g->wait = nullptr;
  new (&g->failure) std::exception_ptr(e);
  g->bits |= g_failed;
  goroutine_failed(g, std::move(e));
}

void root_finished(goroutine_core* g) noexcept {
  if (!(g->bits & g_failed)) g->bits |= g_completed;
  this_worker->after = after_resume::finish;
}

void carry_error(goroutine_core* g, std::exception_ptr e) noexcept {
  std::lock_guard guard(carried_lock);
  carried.try_emplace(g, std::move(e));
  g->bits |= g_carries;
}

std::exception_ptr take_carried(goroutine_core* g) noexcept {
  if (!(g->bits & g_carries)) return nullptr;
  std::lock_guard guard(carried_lock);
  g->bits &= static_cast<std::uint8_t>(~g_carries);
  auto node = carried.extract(g);
  return node ? std::move(node.mapped()) : nullptr;
}

void note_reclaimed(goroutine_core* g, std::exception_ptr why) {
  g->killed.store(killed_and_noted, std::memory_order_relaxed);
  std::lock_guard guard(reclaimed_lock);
  reclaimed_why.insert_or_assign(g, std::move(why));
}
std::exception_ptr reclaimed_because(const goroutine_core* g) noexcept {
  std::lock_guard guard(reclaimed_lock);
  auto const at = reclaimed_why.find(g);
  return at != reclaimed_why.end() ? at->second : nullptr;
}

void throwing_while_unwinding() {
  fatal("a destructor threw while unwinding its goroutine (cancelled or reclaimed); destructors must not throw");
}

void free_goroutine(goroutine_core* g) noexcept {
  if ((g->bits & g_completed) != 0 && g->type->drop_result != nullptr) g->type->drop_result(g);
  if (g->bits & g_failed) g->failure.~exception_ptr();
  if (g->killed.load(std::memory_order_relaxed) == killed_and_noted) [[unlikely]]
    forget_reclaimed(g);
  std::uint64_t const word = g->park.load(std::memory_order_relaxed);
  std::uint32_t const bytes = g->type->bytes;
  g->park.store(next_epoch(word, park_state::free), std::memory_order_release);
  arena::deallocate(arena::kind::goroutine, g, bytes);
}

bool add_ref(goroutine_core* g, std::uint8_t ref) noexcept {
  std::uint8_t before = g->refs.load(std::memory_order_relaxed);
  if ((before & refs_by_rmw) != 0) {
    before = g->refs.fetch_or(ref, std::memory_order_relaxed);
  } else {
    spin_guard guard(join_lock_of(g));
    before = g->refs.load(std::memory_order_relaxed);
    g->refs.store(before | ref, std::memory_order_relaxed);
  }
  return (before & ref) == 0;
}

void drop_ref(goroutine_core* g, std::uint8_t ref) noexcept {
  // Acquire: whoever dropped the others is done with it.
  std::uint8_t const before = g->refs.load(std::memory_order_acquire);
  if (!is_only(before, ref)) {
    std::uint8_t left;
    if ((before & refs_by_rmw) != 0) {
      left = static_cast<std::uint8_t>(g->refs.fetch_sub(ref, std::memory_order_acq_rel) - ref);
    } else {
      spin_guard guard(join_lock_of(g));
      left = static_cast<std::uint8_t>(g->refs.load(std::memory_order_relaxed) - ref);
      g->refs.store(left, std::memory_order_release);
    }
    if (!is_only(left, 0)) return;
  }
  free_goroutine(g);
}

goroutine_core* running_goroutine(const char* what, std::source_location where) {
  if (this_worker == nullptr || this_worker->current == nullptr) {
    throw_misuse(std::string(what) + " was called outside a goroutine: call it from code that leash::run runs", where);
  }
  return this_worker->current;
}

void awaited_outside(std::source_location at) {
  throw_misuse(
      "a leash operation or task was awaited outside a goroutine: co_await it in a coroutine that returns leash::task "
      "and runs under leash::run",
      at);
}
void awaited_twice(std::source_location where) {
  throw_misuse("an operation was awaited twice: make a new one for each wait", where);
}
void awaited_empty_task(std::source_location where) {
  throw_misuse("a task was awaited that is empty: it was moved from or awaited before", where);
}

const char* name_of(wait_reason r) noexcept {
  static constexpr const char* names[wait_reasons] = {"",
                                                      "chan receive",
                                                      "chan send",
                                                      "select",
                                                      "select (no cases)",
                                                      "sync.Mutex.Lock",
                                                      "sync.RWMutex.Lock",
                                                      "sync.RWMutex.RLock",
                                                      "sync.Cond.Wait",
                                                      "sync.WaitGroup.Wait",
                                                      "sleep",
                                                      "IO wait",
                                                      "scope join",
                                                      "goroutine join",
                                                      "context done",
                                                      "event",
                                                      "semaphore",
                                                      "once",
                                                      "ticker",
                                                      "blocking",
                                                      "foreign",
                                                      "start"};
  return static_cast<std::size_t>(r) < wait_reasons ? names[static_cast<std::size_t>(r)] : "";
}

// --- foreign awaitables

void foreign_end(goroutine_core* g) noexcept {
  runtime& rt = *runtime_at(g->runtime_index);
  visit const until_counted(rt);
  if (g->try_claim()) {
    if (context_ended(g)) g->bits |= g_cut;
    schedule(g);
  }
  rt.end_outside();
}

static foreign_resumer resumer_body(goroutine_core*) { co_return; }

foreign_resumer make_foreign_resumer(goroutine_core* g) { return resumer_body(g); }

void foreign_begin(goroutine_core* g, waiter* w) noexcept {
  runtime_at(g->runtime_index)->begin_outside();
  publish_parked(g, w, 1, park_state::held);
}

void foreign_cancel(goroutine_core* g) noexcept {
  if (g->try_claim()) runtime_at(g->runtime_index)->end_outside();
}

}  // namespace leash
