#include <leash/cancel.hpp>

namespace leash {

void unhold(canceller_core* c) noexcept {
  if (c->refs.fetch_sub(1, std::memory_order_acq_rel) == 1) delete c;
}

void attach_to_source(context_core* node, canceller_core* source) {
  source->refs.fetch_add(1, std::memory_order_relaxed);
  node->source = source;
  std::shared_ptr<const cancel_cause> fired;
  {
    spin_guard guard(source->lock);
    fired = source->fired;
    node->next_of_source = source->attached;
    if (source->attached != nullptr) source->attached->prev_of_source = node;
    source->attached = node;
  }
  if (fired != nullptr) end_context(node, context_error::cancelled, fired);
}

void detach_from_source(context_core* node) noexcept {
  canceller_core* source = node->source;
  spin_guard guard(source->lock);
  (node->prev_of_source != nullptr ? node->prev_of_source->next_of_source : source->attached) = node->next_of_source;
  if (node->next_of_source != nullptr) node->next_of_source->prev_of_source = node->prev_of_source;
}

cancel_source cancel_source::dup(std::source_location where) const {
  canceller_core* c = core();
  if (c == nullptr) throw_misuse("dup() of a cancel_source that was moved from", where);
  c->refs.fetch_add(1, std::memory_order_relaxed);
  c->handles.fetch_add(1, std::memory_order_relaxed);
  return cancel_source(adopt_t{}, c);
}

void cancel_source::cancel(std::string_view why, std::source_location where) {
  canceller_core* c = core();
  if (c == nullptr) throw_misuse("cancel() of a cancel_source that was moved from", where);
  auto cause = std::make_shared<const cancel_cause>(cancel_cause{std::string(why), where, nullptr});
  {
    spin_guard guard(c->lock);
    if (c->fired != nullptr) return;
    c->fired = cause;
  }
  // One at a time: a context may leave while others are being ended.
  for (;;) {
    context_core* node = nullptr;
    {
      spin_guard guard(c->lock);
      for (context_core* n = c->attached; n != nullptr; n = n->next_of_source)
        if (n->ended.load(std::memory_order_relaxed) == 0) {
          node = n;
          hold(n);
          break;
        }
    }
    if (node == nullptr) return;
    end_context(node, context_error::cancelled, cause);
    unhold(node);
  }
}

void cancel_source::drop() noexcept {
  if (object* o = release(capability::canceller)) {
    auto* c = static_cast<canceller_core*>(o);
    c->handles.fetch_sub(1, std::memory_order_release);
    unhold(c);
  }
}

void take_callbacks(context_core* c, done_callback*& due) noexcept {
  while (done_callback* b = c->callbacks) {
    c->callbacks = b->next;
    b->linked = false;
    b->next = due;
    due = b;
  }
}

void start_callbacks(done_callback* due) noexcept {
  while (due != nullptr) {
    done_callback* b = due;
    due = b->next;
    b->run(b);
  }
}

bool link_callback(context_core* c, done_callback* b) noexcept {
  spin_guard guard(c->lock);
  if (c->ended.load(std::memory_order_relaxed) != 0) return false;
  b->prev = nullptr;
  b->next = c->callbacks;
  if (c->callbacks != nullptr) c->callbacks->prev = b;
  c->callbacks = b;
  b->linked = true;
  return true;
}

bool unlink_callback(context_core* c, done_callback* b) noexcept {
  spin_guard guard(c->lock);
  if (!b->linked) return false;
  (b->prev != nullptr ? b->prev->next : c->callbacks) = b->next;
  if (b->next != nullptr) b->next->prev = b->prev;
  b->linked = false;
  return true;
}

}  // namespace leash
