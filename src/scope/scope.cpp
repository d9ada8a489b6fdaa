#include <algorithm>
#include <leash/scope.hpp>
#include <leash/trace.hpp>
#include <string>

namespace leash {

scope_errors::scope_errors(std::vector<std::exception_ptr> errors)
    : std::runtime_error(std::to_string(errors.size()) + " goroutines of a scope failed"),
      errors_(std::make_shared<const std::vector<std::exception_ptr>>(std::move(errors))) {}

static void interrupt_members(context_core* c, goroutine_core*& claimed) noexcept {
  auto* s = static_cast<scope_core*>(c);
  auto visit = [&](scope_shard& shard) {
    spin_guard guard(shard.lock);
    for (goroutine_core* g = shard.head; g != nullptr; g = g->after.get()) interrupt(g, claimed);
  };
  visit(s->first);
  if (scope_shard* more = s->more.load(std::memory_order_acquire))
    for (std::size_t i = 0; i < scope_core::shards; ++i) visit(more[i]);
}

scope_core::scope_core(std::source_location where) : context_core(object_type::scope, where) {
  shape = scope_bit;
  in_line.what = this;
  interrupt_members = &leash::interrupt_members;
  destroy = [](context_core* c) noexcept { delete static_cast<scope_core*>(c); };
}

// In the arena: the marker reads the counts of scopes that may be ending. Not among the objects: it is none.
static scope_shard* make_shards() {
  void* memory = arena::allocate(arena::kind::frame, scope_core::shards * sizeof(scope_shard));
  return new (memory) scope_shard[scope_core::shards];
}
static void free_shards(scope_shard* s) noexcept {
  if (s != nullptr) arena::deallocate(arena::kind::frame, s, scope_core::shards * sizeof(scope_shard));
}

scope_core::~scope_core() { free_shards(more.load(std::memory_order_relaxed)); }

void leave_lineage(lineage* l) noexcept {
  while (l != nullptr) {
    l->left.leave();
    if (l->members.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
    lineage* up = l->up;
    delete l;
    l = up;
  }
}

lineage* lineage_of_running() {
  worker* w = this_worker;
  if (w == nullptr || w->current == nullptr) return nullptr;
  goroutine_core* g = w->current;
  if (!g->own_kin) {
    auto* made = new lineage(g);
    made->up = g->kin.get();
    if (made->up != nullptr) made->up->members.fetch_add(1, std::memory_order_relaxed);
    g->own_kin = made;
  }
  return g->own_kin.get();
}

scope* scope::make(const scope_options& options, std::source_location where) {
  auto* s = new scope(where);
  s->policy = options.on_error;
  s->leaks_fail = options.leaks_fail;
  s->limit = static_cast<std::uint32_t>(std::min<std::size_t>(options.max_children, UINT32_MAX));
  return s;
}

LEASH_INLINE scope_shard& scope_core::choose(goroutine_core* g) {
  std::uint32_t const n = rotor.load(std::memory_order_relaxed);
  rotor.store(n + 1, std::memory_order_relaxed);  // a lost update only makes a run longer
  return n < run ? first : choose_further(g, n);
}

scope_shard& scope_core::choose_further(goroutine_core* g, std::uint32_t n) {
  if (more.load(std::memory_order_acquire) == nullptr) {
    scope_shard* made = make_shards();
    spin_guard guard(lock);
    if (more.load(std::memory_order_relaxed) == nullptr) {
      for (std::size_t i = 0; i < shards; ++i) made[i].counting = counting;
      more.store(std::exchange(made, nullptr), std::memory_order_release);
    }
    free_shards(made);
  }
  std::uint32_t const i = n / run % shards;
  g->shard = static_cast<std::uint8_t>(i + 1);
  return more.load(std::memory_order_acquire)[i];
}

void scope_core::add(goroutine_core* g, bool has_place) {
  g->home = this;
  scope_shard& shard = choose(g);
  // The member counts before it can run, so one that leaves cannot bring the scope to its end.
  bool opens = false;
  {
    spin_guard guard(shard.lock);
    g->before = nullptr;
    g->after = shard.head;
    if (shard.head != nullptr) shard.head->before = g;
    shard.head = g;
    opens = shard.enter() && shard.counting;
  }
  if (opens) {
    spin_guard guard(lock);
    ++nonempty;
  }
  count_spawned(runtime_at(runtime_index));
  if (limit != 0 && !has_place) {
    spin_guard guard(lock);
    if (running >= limit) {
      if (observed_everywhere.load(std::memory_order_relaxed) != 0) [[unlikely]]
        note_create(g);
      g->next = nullptr;
      publish_parked(g, &in_line, 1, park_state::held);
      (waiting_tail != nullptr ? waiting_tail->next : waiting_head) = g;
      waiting_tail = g;
      return;
    }
    ++running;
  }
  schedule(g);
}

void scope_core::count_down() noexcept {
  goroutine_core* woken = nullptr;
  void (*tell)(scope_core*) = nullptr;
  {
    spin_guard guard(lock);
    if (--nonempty == 0) {
      woken = claim_all(joiners);
      tell = emptied;
    }
  }
  // Nobody may touch the scope from here on: a joiner may be destroying it. (Not a root scope: its runtime waits for
  // stop.)
  schedule_all(woken);
  if (tell != nullptr) tell(this);
}

bool scope_core::hold_open() noexcept {
  spin_guard guard(lock);
  if (nonempty == 0) return false;
  ++nonempty;
  return true;
}

bool scope_core::take_place() noexcept {
  if (limit == 0) return true;
  spin_guard guard(lock);
  if (running >= limit) return false;
  ++running;
  return true;
}

void scope_core::give_place() noexcept {
  if (limit == 0) return;
  goroutine_core* next = nullptr;
  {
    spin_guard guard(lock);
    if ((next = waiting_head) != nullptr) {
      waiting_head = next->next;
      if (waiting_head == nullptr) waiting_tail = nullptr;
      (void)next->try_claim();  // nobody else can: S4
    } else if (waiter* w = place_waiters.claim_first()) {
      next = w->who;
    } else {
      --running;
    }
  }
  if (next != nullptr) schedule(next);
}

void scope_core::remove(goroutine_core* g) noexcept {
  give_place();
  scope_shard& shard = shard_at(g->shard);
  bool emptied_shard = false;
  {
    spin_guard guard(shard.lock);
    goroutine_core* before = g->before.get();
    goroutine_core* after = g->after.get();
    before != nullptr ? void(before->after = after) : void(shard.head = after);
    if (after != nullptr) after->before = before;
    emptied_shard = shard.leave() && shard.counting;
  }
  if (emptied_shard) count_down();
}

void scope_core::close() noexcept {
  spin_guard guard(lock);
  over.store(true, std::memory_order_relaxed);
}

void scope_core::add_remote() noexcept {
  hold(this);
  remotes.fetch_add(1, std::memory_order_relaxed);
  bool opens = false;
  {
    spin_guard guard(first.lock);
    opens = first.enter() && first.counting;
  }
  if (opens) {
    spin_guard guard(lock);
    ++nonempty;
  }
}

void scope_core::drop_remote() noexcept {
  remotes.fetch_sub(1, std::memory_order_relaxed);
  bool emptied_shard = false;
  {
    spin_guard guard(first.lock);
    emptied_shard = first.leave() && first.counting;
  }
  if (emptied_shard) count_down();
  unhold(this);
}

void scope_core::start_counting() noexcept {
  if (counting) return;
  counting = true;
  auto count = [&](scope_shard& shard) {
    spin_guard guard(shard.lock);
    shard.counting = true;
    if (shard.members() != 0) ++nonempty;
  };
  count(first);
  if (scope_shard* all = more.load(std::memory_order_acquire))
    for (std::size_t i = 0; i < shards; ++i) count(all[i]);
}

void scope_core::failed(std::exception_ptr e, std::source_location where) noexcept {
  {
    spin_guard guard(lock);
    // Without keep_going the first one counts; what the cancelled ones throw on their way out is dropped.
    if (policy == on_error::keep_going || errors.empty()) errors.push_back(e);
  }
  if (policy == on_error::cancel_siblings)
    end_context(this, context_error::cancelled,
                std::make_shared<cancel_cause>(cancel_cause{"a goroutine of the scope failed", where, std::move(e)}));
}

std::exception_ptr scope_core::take_errors() {
  std::vector<std::exception_ptr> all;
  {
    spin_guard guard(lock);
    over.store(true, std::memory_order_relaxed);
    all.swap(errors);
  }
  if (all.empty()) return nullptr;
  if (all.size() == 1) return all.front();
  return std::make_exception_ptr(scope_errors(std::move(all)));
}

void throw_over(std::source_location where) {
  throw_misuse("go() on a scope that is over: its with_scope has returned. Use scope::remote() to keep a scope open",
               where);
}

void set_name(goroutine_core* g, const std::string& name) {
  auto* v = local_value::make(local_value::kind::name, g->locals.get(), {}, name);
  v->owner = g->id;
  g->locals = v;
}

void inherit_locals(goroutine_core* child) noexcept {
  if (this_worker == nullptr || this_worker->current == nullptr) return;
  local_value* v = this_worker->current->locals.get();
  // A name is its goroutine's own.
  while (v != nullptr && v->what == local_value::kind::name) v = v->outer;
  hold(v);
  child->locals = v;
}

void scope::adopt(goroutine_core* g, std::string* name, bool has_place, std::source_location where) {
  g->ctx = this;
  try {
    if (over.load(std::memory_order_relaxed)) [[unlikely]]
      throw_over(where);
    inherit_locals(g);
    if (name != nullptr && !name->empty()) set_name(g, *name);
    if (g->type->each_address != nullptr) check_borrowing(this, g, where);
    // Started by someone else than the scope's owner: it may borrow from whoever started it (rule 3 of the proof).
    if (!g->kin && this_worker != nullptr && this_worker->current != nullptr && this_worker->current != owner) {
      lineage* l = lineage_of_running();
      l->members.fetch_add(1, std::memory_order_relaxed);
      g->kin = l;
    }
    add(g, has_place);
  } catch (...) {
    g->type->drop_callable(g);
    unhold(g->locals.get());
    if (lineage* l = g->kin.get()) leave_lineage(l);
    g->refs.store(ref_running, std::memory_order_relaxed);
    drop_ref(g, ref_running);
    throw;
  }
}

namespace {

struct borrowing_check {
  scope_core* s;
  worker* w;
  std::source_location where;
  std::uintptr_t low, high;  // the worker's stack in use

  void look(const std::byte* begin, std::size_t bytes) const {
    auto const on_stack = [&](std::uintptr_t at) {
      return (at >= low && at < high) || is_on_shadowed_stack(at, low, high);
    };
    for (std::size_t i = 0; i + 8 <= bytes; i += 8) {
      std::uintptr_t word = 0;
      __builtin_memcpy(&word, begin + i, 8);
      if (on_stack(word)) [[unlikely]] {
        throw_misuse(
            "go(): the callable or an argument points into the running goroutine's stack, which is gone when the new "
            "goroutine runs: move the value in, or declare it in a coroutine outside the scope's body",
            where);
      }
      if (!arena::contains(reinterpret_cast<void*>(word)) || s->owner != w->current) continue;
      arena::slot const at = arena::slot_at(reinterpret_cast<void*>(word));
      if (at.what != arena::kind::frame) continue;
      // From the running frame up to the body's own: they all die before the members are joined.
      for (promise_base* p = w->current->leaf; p != nullptr && p != s->frame;
           p = p->up != nullptr ? p->up->parent : nullptr) {
        if (at.start == static_cast<std::byte*>(p->handle().address())) [[unlikely]] {
          throw_misuse(
              "go(): the callable or an argument points into the frame of the scope's body, which dies before the "
              "scope's goroutines are joined: move the value in, declare it outside with_scope, or run the part that "
              "borrows in a with_scope of its own inside (co_await s.join() keeps what is not checked)",
              where);
        }
      }
    }
  }
};

}  // namespace

bool lends_frames(goroutine_core* g, const void* begin, std::size_t bytes) noexcept {
  for (std::size_t i = 0; i + 8 <= bytes; i += 8) {
    std::uintptr_t word = 0;
    __builtin_memcpy(&word, static_cast<const std::byte*>(begin) + i, 8);
    if (!arena::contains(reinterpret_cast<void*>(word))) continue;
    arena::slot const at = arena::slot_at(reinterpret_cast<void*>(word));
    if (at.what != arena::kind::frame) continue;
    for (promise_base* p = g->leaf; p != nullptr && p->up != nullptr;) {
      p = p->up->parent;
      if (at.start == static_cast<std::byte*>(p->handle().address())) return true;
    }
  }
  return false;
}

void check_borrowing(scope_core* s, goroutine_core* child, std::source_location where) {
  worker* w = this_worker;
  if (w == nullptr || w->current == nullptr) return;
  borrowing_check check{s, w, where, reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0)),
                        reinterpret_cast<std::uintptr_t>(w->stack_top)};
  child->type->each_address(child, &check, [](void* to, const std::byte* begin, std::size_t bytes) {
    static_cast<borrowing_check*>(to)->look(begin, bytes);
  });
}

void remove_joiner(goroutine_core* target, waiter* w) noexcept {
  if (!w->queued.load(std::memory_order_relaxed)) return;
  (w->prev != nullptr ? w->prev->next : target->joiners) = w->next;
  if (w->next != nullptr) w->next->prev = w->prev;
  w->queued.store(false, std::memory_order_release);  // ORD waiter-1
}

// --- the end of a goroutine

namespace {

void member_ended(goroutine_core* g) noexcept {
  scope_core* home = g->home.get();
  if (g->killed.load(std::memory_order_relaxed) != 0 && home->leaks_fail && (g->bits & (g_completed | g_failed)) == 0)
      [[unlikely]]
    if (std::exception_ptr why = reclaimed_because(g)) root_failed(g, std::move(why));
  goroutine_core* woken = nullptr;
  if (is_only(g->refs.load(std::memory_order_acquire), ref_running)) {
    g->park.store(next_epoch(g->park.load(std::memory_order_relaxed), park_state::done), std::memory_order_release);
  } else {
    spin_guard guard(join_lock_of(g));
    // ORD join-1 release: everything it did, to whoever joins.
    g->park.store(next_epoch(g->park.load(std::memory_order_relaxed), park_state::done), std::memory_order_release);
    while (waiter* w = g->joiners) {
      bool const claimed = w->who->try_claim();
      if (claimed) w->who->winner = w->index;
      g->joiners = w->next;
      if (w->next != nullptr) w->next->prev = nullptr;
      goroutine_core* who = w->who;
      w->queued.store(false, std::memory_order_release);  // ORD waiter-1
      if (claimed) {
        who->next = woken;
        woken = who;
      }
    }
  }
  while (woken != nullptr) {
    goroutine_core* next = woken->next;
    schedule(woken);
    woken = next;
  }
  // After done: a dump that still saw it alive must not have read its name from freed memory.
  unhold(g->locals.get());
  g->locals = nullptr;
  if (lineage* l = g->kin.get()) leave_lineage(l);
  if (lineage* l = g->own_kin.get()) leave_lineage(l);
  home->remove(g);
  drop_ref(g, ref_running);
}

void member_failed(goroutine_core* g, std::exception_ptr e) noexcept { g->home->failed(std::move(e), g->spawned_at); }

struct install {
  install() noexcept {
    goroutine_ended = &member_ended;
    goroutine_failed = &member_failed;
  }
};
const install installed;

}  // namespace

}  // namespace leash
