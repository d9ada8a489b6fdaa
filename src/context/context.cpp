#include <algorithm>
#include <leash/cancel.hpp>
#include <leash/context.hpp>
#include <leash/trace.hpp>

namespace leash {

context_core* background_context() noexcept {
  static context_core* const c = [] {
    auto* made = new context_core(object_type::context);
    made->shape = context_core::immortal_bit;
    return made;
  }();
  return c;
}

void unhold(context_core* c) noexcept {
  while (c != nullptr && c->refs.fetch_sub(1, std::memory_order_acq_rel) == 1) {
    if (c->shape & context_core::immortal_bit) return;
    context_core* parent = c->parent;
    if (c->source != nullptr) unhold(c->source);
    c->destroy(c);
    c = parent;  // iterative: a chain may be a million deep
  }
}

void link_context(context_core* node, context_core* parent) noexcept {
  hold(parent);
  node->parent = parent;
  node->runtime_index = parent->runtime_index;
  node->bounded = node->deadline != INT64_MAX || (parent->bounded && !(node->shape & context_core::shield_bit));
  spin_guard guard(parent->lock);
  if (parent->ended.load(std::memory_order_relaxed) != 0 && !(node->shape & context_core::shield_bit)) {
    node->why = parent->why;
    node->origin = parent->origin;
    node->ended_at = coarse_tick();
    node->ended.store(parent->ended.load(std::memory_order_relaxed), std::memory_order_release);
  }
  node->next_sibling = parent->first_child;
  if (parent->first_child != nullptr) parent->first_child->prev_sibling = node;
  parent->first_child = node;
}

void unlink_context(context_core* node) noexcept {
  context_core* parent = node->parent;
  spin_guard guard(parent->lock);
  (node->prev_sibling != nullptr ? node->prev_sibling->next_sibling : parent->first_child) = node->next_sibling;
  if (node->next_sibling != nullptr) node->next_sibling->prev_sibling = node->prev_sibling;
  node->next_sibling = node->prev_sibling = nullptr;
}

void interrupt(goroutine_core* g, goroutine_core*& claimed) noexcept {
  std::uint64_t const word = g->park.load(std::memory_order_acquire);
  if (state_of(word) != park_state::parked || !context_ended(g)) return;
  // The epoch in the CAS makes sure that it is still the wait whose context was looked at.
  std::uint64_t expected = word;
  if (!g->park.compare_exchange_strong(expected, next_epoch(word, park_state::active), std::memory_order_acq_rel,
                                       std::memory_order_relaxed))
    return;
#if LEASH_SENTINEL
  if (g->judged.load(std::memory_order_relaxed) == word) forget_verdicts();
#endif
  g->bits |= g_cut;
  g->next = claimed;
  claimed = g;
}

namespace {

// Under c->lock.
bool mark_ended(context_core* c, context_error e, context_core* origin,
                const std::shared_ptr<const cancel_cause>& why) noexcept {
  if (c->ended.load(std::memory_order_relaxed) != 0) return false;
  c->why = why;
  c->origin = origin;
  c->ended_at = coarse_tick();
  // ORD context-1 release: cause and origin, to whoever sees the end.
  c->ended.store(static_cast<std::uint8_t>(e), std::memory_order_release);
  return true;
}

}  // namespace

void end_context(context_core* top, context_error e, std::shared_ptr<const cancel_cause> why) noexcept {
  if (top->shape & context_core::immortal_bit) return;
  {
    spin_guard guard(top->lock);
    if (!mark_ended(top, e, top, why)) return;
    hold(top);
    top->next_ended = nullptr;
  }
  if (observed_everywhere.load(std::memory_order_relaxed) != 0) [[unlikely]]
    note_cancel(why != nullptr ? why->where : std::source_location{});
  context_core* last = top;
  for (context_core* n = top; n != nullptr; n = n->next_ended) {
    spin_guard guard(n->lock);
    for (context_core* child = n->first_child; child != nullptr; child = child->next_sibling) {
      if (child->shape & context_core::shield_bit) continue;
      spin_guard child_guard(child->lock);
      if (!mark_ended(child, e, top, why)) continue;
      hold(child);
      child->next_ended = nullptr;
      last->next_ended = child;
      last = child;
    }
  }
  if (judged_anything.load(std::memory_order_relaxed)) forget_verdicts();
  // A member that parks after this sees `ended`; one that parked before is seen parked below.
  heavy_fence();
  goroutine_core* claimed = nullptr;
  done_callback* due = nullptr;
  for (context_core* n = top; n != nullptr; n = n->next_ended) {
    spin_guard guard(n->lock);
    while (waiter* w = n->done_waiters.claim_first()) {
      w->who->next = claimed;
      claimed = w->who;
    }
    take_callbacks(n, due);
  }
  schedule_all(claimed);
  claimed = nullptr;
  for (context_core* n = top; n != nullptr; n = n->next_ended) {
    spin_guard guard(n->lock);
    if (n->owner != nullptr) interrupt(n->owner, claimed);
    if (n->interrupt_members != nullptr) n->interrupt_members(n, claimed);
  }
  schedule_all(claimed);
  start_callbacks(due);
  for (context_core* n = top; n != nullptr;) {
    context_core* next = n->next_ended;
    unhold(n);
    n = next;
  }
}

// --- boundaries

static context_core* node_of(timer_entry* t) noexcept { return static_cast<context_core::deadline_timer*>(t)->node; }

void entered_context::enter(context_core* parent) {
  link_context(node_, parent);
  {
    spin_guard guard(node_->lock);
    node_->owner = g_;
  }
  g_->ctx = node_;
}

entered_context::entered_context(goroutine_core* g, std::int64_t when, bool shield, std::source_location where)
    : g_(g), outer_(context_of(g)), node_(new context_core(object_type::context, where)) {
  if (shield) node_->shape = context_core::shield_bit;
  node_->deadline = when;
  enter(outer_);
  if (when == INT64_MAX) return;
  runtime* rt = runtime_at(g->runtime_index);
  std::int64_t const now = runtime_now(rt);
  if (when <= now) {
    end_context(node_, context_error::deadline_exceeded,
                std::make_shared<cancel_cause>(cancel_cause{"deadline exceeded", where, nullptr}));
    return;
  }
  node_->timer.expire = [](timer_entry* t, timer_entry*& later) -> goroutine_core* {
    hold(node_of(t));
    t->next = later;
    later = t;
    return nullptr;
  };
  node_->timer.fire = [](timer_entry* t) {
    if (observed_everywhere.load(std::memory_order_relaxed) != 0) [[unlikely]]
      note_fire(t);
    context_core* node = node_of(t);
    end_context(node, context_error::deadline_exceeded,
                std::make_shared<cancel_cause>(cancel_cause{"deadline exceeded", node->made_at, nullptr}));
    unhold(node);
  };
  if (observed_everywhere.load(std::memory_order_relaxed) != 0) [[unlikely]]
    note_arm(&node_->timer, when - now, wait_reason::context_done, where);
  timer_wheel& wheel = this_worker->timers;
  {
    spin_guard guard(wheel.lock());
    wheel.arm(&node_->timer, when);
  }
  this_worker->rt->notify_timer(when);
}

entered_context::entered_context(goroutine_core* g, context_core* node) : g_(g), outer_(context_of(g)), node_(node) {
  hold(node_);
  enter(outer_);
}

entered_context::~entered_context() {
  if (timer_wheel* wheel = node_->timer.wheel) {
    spin_guard guard(wheel->lock());
    wheel->disarm(&node_->timer);
  }
  if (node_->source != nullptr) detach_from_source(node_);
  {
    spin_guard guard(node_->lock);
    node_->owner = nullptr;
  }
  unlink_context(node_);
  g_->ctx = outer_;
  unhold(node_);
}

void entered_context::attach(canceller_core* source) { attach_to_source(node_, source); }

bool entered_context::is_own_end() const noexcept {
  return g_->killed.load(std::memory_order_relaxed) == 0 && node_->error() != context_error::none &&
         node_->origin == node_;
}

// --- locals

void unhold(local_value* v) noexcept {
  while (v != nullptr && v->refs.fetch_sub(1, std::memory_order_acq_rel) == 1) {
    local_value* outer = v->outer;
    local_value::destroy(v);
    v = outer;
  }
}

local_value* local_value::make(kind k, local_value* outer, std::string_view key, std::string_view text) {
  void* memory = arena::allocate(arena::kind::object, sizeof(local_value) + key.size() + text.size());
  auto* v = ::new (memory) local_value(k, outer);
  v->key_bytes = static_cast<std::uint32_t>(key.size());
  v->text_bytes = static_cast<std::uint32_t>(text.size());
  key.copy(reinterpret_cast<char*>(v + 1), key.size());
  text.copy(reinterpret_cast<char*>(v + 1) + key.size(), text.size());
  return v;
}

void local_value::destroy(local_value* v) noexcept {
  std::size_t const bytes = sizeof(local_value) + v->key_bytes + v->text_bytes;
  v->~local_value();
  arena::deallocate(arena::kind::object, v, bytes);
}

local_scope::local_scope(goroutine_core* g, local_value* v) noexcept : g_(g), mine_(v) { g->locals = v; }

local_scope::~local_scope() {
  // Usually the innermost one. If not (a label was moved out of its block's order), the chain is kept until its turn
  // comes.
  if (g_->locals.get() == mine_) {
    hold(mine_->outer);
    g_->locals = mine_->outer;
    unhold(mine_);
  }
}

// --- the user's view

cancel_cause context::cause() const {
  if (err() == context_error::none) return {};
  return node_->why != nullptr ? *node_->why : cancel_cause{};
}

std::optional<clock::time_point> context::deadline() const noexcept {
  std::int64_t earliest = INT64_MAX;
  for (context_core* c = node_; c != nullptr; c = c->shape & context_core::shield_bit ? nullptr : c->parent)
    earliest = std::min(earliest, c->deadline);
  if (earliest == INT64_MAX) return std::nullopt;
  return clock::time_point(nanoseconds(earliest));
}

context this_context() {
  if (this_worker == nullptr || this_worker->current == nullptr) return context(background_context(), nullptr);
  goroutine_core* g = this_worker->current;
  return context(context_of(g), g->locals.get());
}

}  // namespace leash
