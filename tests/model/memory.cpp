// What a step does: memory, store buffers, vector clocks, waiting.
#include <cstdio>
#include <cstdlib>

#include "fiber.hpp"
#include "machine.hpp"

namespace model::detail {

void machine::rehash(cell_state& c) {
  if (opts_.reduce == reduction::none) return;
  word h = c.id;
  if (opts_.reduce == reduction::values) {
    h = mix(h, c.value);
    if (opts_.races) h = mix(h, c.sync.hash());
    if (opts_.races && c.plain) h = mix(h, static_cast<word>(c.writer) << 16 | c.written_at);
  } else {
    h = mix(h, c.chain);
  }
  if (c.dead) h = mix(h, 1);
  cells_key_ ^= c.contribution ^ h;
  c.contribution = h;
}

place machine::make_place(word initial, bool plain) {
  cell_state c;
  c.value = initial;
  c.plain = plain;
  c.id = mix(current_ + 1, ++self().cells_made);
  c.writer = current_;
  c.written_at = self().now.at[current_];
  cells_.push_back(c);
  touch(static_cast<place>(cells_.size() - 1));
  return static_cast<place>(cells_.size() - 1);
}

void machine::retire(place p) {
  if (cells_[p].plain) plain_write(p, cells_[p].value);  // whoever still uses it races with its end
  cells_[p].dead = true;
  touch(p);
}

cell_state& machine::alive(place p) {
  cell_state& c = cells_[p];
  if (c.dead) fail(who(current_) + " uses " + called(p) + " after its end");
  return c;
}

void machine::step_point(waiting wait, place p, word value) {
  if (current_ == 0) {
    thread_state probe;
    probe.wait = wait;
    probe.wait_place = p;
    probe.wait_value = value;
    if (!enabled(probe)) fail("main would block");
    return;
  }
  thread_state& t = self();
  t.wait = wait;
  t.wait_place = p;
  t.wait_value = value;
  fiber::suspend();
  self().wait = waiting::no;
}

// A model thread does not come back from here.
void machine::fail(const std::string& what) {
  if (failure_.empty()) {
    note("FAILED: ", what);
    failure_ = what;
  }
  if (current_ != 0)
    for (;;) fiber::suspend();
}

void machine::require(bool condition, const char* what) {
  if (!condition) fail(what);
}

const buffered_store* machine::own(place p) const {
  const auto& buffer = threads_[current_].buffer;
  for (auto b = buffer.rbegin(); b != buffer.rend(); ++b)
    if (b->p == p) return &*b;
  return nullptr;
}

void machine::read(const cell_state& c, std::memory_order order) {
  thread_state& t = self();
  (acquires(order) ? t.now : t.to_acquire).join(c.sync);
  saw(opts_.reduce == reduction::order ? c.chain : c.value);
  if (!t.loaded) {
    t.loaded = true;
    t.first_load_version = version_;
  }
}

word machine::load(place p, std::memory_order order) {
  step_point();
  cell_state& c = alive(p);
  if (const buffered_store* b = own(p)) {
    saw(b->value);
    note("load ", called(p), " ", text(order), " -> ", shown(b->value), " (its own buffered store)");
    return b->value;
  }
  read(c, order);
  note("load ", called(p), " ", text(order), " -> ", shown(c.value));
  return c.value;
}

// What a store carries to those who acquire it; afterwards this thread is in a new epoch.
vector_clock machine::message(std::memory_order order) {
  thread_state& t = self();
  if (!releases(order)) return t.to_release;
  vector_clock m = t.now;
  ++t.now.at[current_];
  return m;
}

void machine::write(place p, word value, word event, const vector_clock& sync) {
  cell_state& c = cells_[p];
  if (c.value != value) ++version_;
  c.value = value;
  c.sync = sync;
  c.chain = mix(c.chain, event);
  touch(p);
}

void machine::store(place p, word value, std::memory_order order) {
  step_point();
  alive(p);
  saw(1);
  thread_state& t = self();
  word event = mix(t.history, value);
  bool direct = opts_.mem == memory::sc || order == std::memory_order_seq_cst || current_ == 0;
  note("store ", called(p), " = ", shown(value), " ", text(order), direct ? "" : " (buffered)");
  if (direct) {
    drain(current_);
    write(p, value, event, message(order));
  } else {
    t.buffer.push_back({p, value, event, message(order), ++t.stores, t.release_fences, releases(order)});
  }
}

bool machine::may_flush(const thread_state& t, std::size_t i) const {
  if (i == 0) return true;
  if (opts_.mem != memory::pso || t.buffer[i].release) return false;
  for (std::size_t k = 0; k < i; ++k)
    if (t.buffer[k].p == t.buffer[i].p || t.buffer[k].fences < t.buffer[i].fences) return false;
  return true;
}

void machine::flush(unsigned thread, std::size_t i) {
  thread_state& t = threads_[thread];
  buffered_store b = t.buffer[i];
  t.buffer.erase(t.buffer.begin() + static_cast<std::ptrdiff_t>(i));
  if (tracing_) lines_.push_back("  " + who(thread) + "'s " + called(b.p) + " = " + shown(b.value) + " reaches memory");
  write(b.p, b.value, b.event, b.sync);
}

void machine::drain(unsigned thread) {
  while (!threads_[thread].buffer.empty()) flush(thread, 0);
}

word machine::update(place p, rmw op, word operand, word mask, std::memory_order order) {
  step_point();
  alive(p);
  drain(current_);
  cell_state& c = cells_[p];
  read(c, order);
  word old = c.value;
  word value = operand;
  const char* verb = "exchange";
  switch (op) {
    case rmw::exchange:
      break;
    case rmw::add:
      value = old + operand, verb = "fetch_add";
      break;
    case rmw::sub:
      value = old - operand, verb = "fetch_sub";
      break;
    case rmw::bit_and:
      value = old & operand, verb = "fetch_and";
      break;
    case rmw::bit_or:
      value = old | operand, verb = "fetch_or";
      break;
    case rmw::bit_xor:
      value = old ^ operand, verb = "fetch_xor";
      break;
  }
  value &= mask;
  note(verb, " ", called(p), " ", shown(old), " -> ", shown(value), " ", text(order));
  vector_clock sync = message(order);
  sync.join(c.sync);
  write(p, value, mix(self().history, value), sync);
  return old;
}

// A failed one is only a load: it does not drain the store buffer.
bool machine::compare_exchange(place p, word& expected, word desired, std::memory_order ok, std::memory_order failed) {
  step_point();
  cell_state& c = alive(p);
  const buffered_store* b = own(p);
  word seen = b != nullptr ? b->value : c.value;
  if (seen != expected) {
    if (b == nullptr) read(c, failed);
    saw(seen);
    note("compare_exchange ", called(p), " ", shown(expected), " -> ", shown(desired), " fails, it is ", shown(seen));
    expected = seen;
    return false;
  }
  drain(current_);
  read(c, ok);
  note("compare_exchange ", called(p), " ", shown(expected), " -> ", shown(desired), " ", text(ok));
  vector_clock sync = message(ok);
  sync.join(c.sync);
  write(p, desired, mix(self().history, desired), sync);
  return true;
}

void machine::await_exchange(place p, word from, word to, std::memory_order order) {
  step_point(waiting::value, p, from);
  alive(p);
  drain(current_);
  cell_state& c = cells_[p];
  read(c, order);
  note("takes ", called(p), " ", shown(from), " -> ", shown(to), " ", text(order));
  vector_clock sync = message(order);
  sync.join(c.sync);
  write(p, to, mix(self().history, to), sync);
}

word machine::plain_read(place p) {
  cell_state& c = alive(p);
  thread_state& t = self();
  if (opts_.races && t.now.at[c.writer] < c.written_at)
    fail("data race: " + who(current_) + " reads " + called(p) + ", written by " + who(c.writer));
  if (c.sync.at[current_] != t.now.at[current_]) {
    c.sync.at[current_] = t.now.at[current_];
    touch(p);
  }
  if (opts_.reduce != reduction::order) saw(c.value);
  note("read ", called(p), " -> ", shown(c.value));
  return c.value;
}

void machine::plain_write(place p, word value) {
  cell_state& c = alive(p);
  thread_state& t = self();
  if (opts_.races && t.now.at[c.writer] < c.written_at)
    fail("data race: " + who(current_) + " writes " + called(p) + ", written by " + who(c.writer));
  for (unsigned i = 0; i < max_threads; ++i)
    if (opts_.races && t.now.at[i] < c.sync.at[i])
      fail("data race: " + who(current_) + " writes " + called(p) + ", read by " + who(i));
  c.value = value;
  c.writer = current_;
  c.written_at = t.now.at[current_];
  note("write ", called(p), " = ", shown(value));
  touch(p);
}

// ---- fences, waiting, choosing

void machine::fence(std::memory_order order) {
  bool full = order == std::memory_order_seq_cst;
  if (full) step_point();
  thread_state& t = self();
  saw(2);
  note("fence ", text(order));
  if (full) drain(current_);
  if (acquires(order)) t.now.join(t.to_acquire);
  if (releases(order)) {
    t.to_release = t.now;
    ++t.now.at[current_];
    ++t.release_fences;
  }
}

void machine::heavy_barrier() {
  fence(std::memory_order_seq_cst);
  if (current_ == 0) return;
  note("heavy barrier begins");
  for (unsigned i = 1; i < thread_count_; ++i) self().wait_seq[i] = threads_[i].stores;
  step_point(waiting::drain);
  saw(3);
  note("heavy barrier ends");
  thread_state& t = self();
  drain(current_);
  t.now.join(t.to_acquire);
}

void machine::pause() {
  thread_state& t = self();
  if (current_ == 0) fail("main would block");
  note("pause");
  bool wait = t.loaded;
  t.loaded = false;
  step_point(wait ? waiting::change : waiting::no);
  saw(4);
}

unsigned machine::choose(unsigned count) {
  if (count == 0 || count > max_choices) fail("choose: out of range");
  unsigned picked = 0;
  if (count > 1) {
    if (depth_ == path_.size()) {
      decision d;
      d.count = static_cast<std::uint8_t>(count);
      for (unsigned i = 0; i < count; ++i)
        d.options[i] = {choice::kind::value, static_cast<std::uint8_t>(current_), static_cast<std::uint8_t>(i)};
      path_.push_back(d);
    }
    const decision& d = path_[depth_++];
    picked = d.options[d.next].index;
    note("chooses ", picked, " of ", count);
  }
  saw(picked);
  return picked;
}

void machine::futex_wait(place p, word expected) {
  step_point();
  alive(p);
  drain(current_);
  cell_state& c = cells_[p];
  saw(opts_.reduce == reduction::order ? c.chain : c.value);
  if (c.value != expected) {
    note("futex_wait ", called(p), ": it is ", shown(c.value), ", not ", shown(expected));
    return;
  }
  note("futex_wait ", called(p), ": sleeps");
  step_point(waiting::futex, p);
  saw(5);
  note("futex_wait ", called(p), ": woken");
}

unsigned machine::futex_wake(place p, unsigned count) {
  step_point();
  drain(current_);
  unsigned woken = 0;
  while (woken < count) {
    std::array<unsigned, max_threads> asleep;
    unsigned n = 0;
    for (unsigned t = 1; t < thread_count_; ++t)
      if (threads_[t].wait == waiting::futex && threads_[t].wait_place == p) asleep[n++] = t;
    if (n == 0) break;
    unsigned t = asleep[choose(n)];
    threads_[t].wait = waiting::no;
    note("futex_wake ", called(p), ": wakes ", who(t));
    ++woken;
  }
  if (woken == 0) note("futex_wake ", called(p), ": nobody sleeps");
  saw(woken);
  return woken;
}

void machine::add_thread(const char* name, std::function<void()> body) {
  if (thread_count_ == max_threads) {
    std::fputs("model: too many threads\n", stderr);
    std::abort();
  }
  thread_state& t = threads_[thread_count_++];
  t = thread_state{};
  t.name = name;
  t.body = std::move(body);
}

void* machine::allocate(std::size_t size, std::size_t align) {
  std::size_t at = (arena_used_ + align - 1) / align * align;
  if (at + size > arena_.size()) {
    std::fputs("model: run::make has no space left\n", stderr);
    std::abort();
  }
  arena_used_ = at + size;
  return arena_.data() + at;
}

}  // namespace model::detail
