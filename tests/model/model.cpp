// The interface of model.hpp, in terms of the one machine that is at work.
#include "model.hpp"

#include <cstdio>
#include <cstdlib>
#include <sstream>

#include "machine.hpp"

namespace model {
namespace detail {

namespace {
machine* active = nullptr;
machine& now() {
  if (active == nullptr) {
    std::fputs("model: used outside check()\n", stderr);
    std::abort();
  }
  return *active;
}
}  // namespace

// Places are tagged, so that a cell whose memory has been reused is told from a live one.
constexpr place place_tag = 0x5eaf0000;

static place index_of(place tagged) {
  place index = tagged ^ place_tag;
  if (index >= now().cells()) now().fail("use of an atomic or var after its end, its memory has been reused");
  return index < now().cells() ? index : 0;
}

place make_place(word initial, bool plain) { return now().make_place(initial, plain) ^ place_tag; }
void retire_place(place p) {
  if (!now().ending()) now().retire(index_of(p));
}
void name_place(place p, const char* name) { now().rename(index_of(p), name); }
word load(place p, std::memory_order order) { return now().load(index_of(p), order); }
void store(place p, word value, std::memory_order order) { now().store(index_of(p), value, order); }
word update(place p, rmw op, word operand, word mask, std::memory_order order) {
  return now().update(index_of(p), op, operand, mask, order);
}
bool compare_exchange(place p, word& expected, word desired, std::memory_order ok, std::memory_order failed) {
  return now().compare_exchange(index_of(p), expected, desired, ok, failed);
}
void await_exchange(place p, word from, word to, std::memory_order order) {
  now().await_exchange(index_of(p), from, to, order);
}
word plain_read(place p) { return now().plain_read(index_of(p)); }
void plain_write(place p, word value) { now().plain_write(index_of(p), value); }
void futex_wait(place p, word expected) { now().futex_wait(index_of(p), expected); }
unsigned futex_wake(place p, unsigned count) { return now().futex_wake(index_of(p), count); }
void add_thread(const char* name, std::function<void()> body) { now().add_thread(name, std::move(body)); }
void set_finally(std::function<void()> body) { now().set_finally(std::move(body)); }
void* allocate(std::size_t size, std::size_t align) { return now().allocate(size, align); }
void on_end(void (*destroy)(void*), void* object) { now().on_end(destroy, object); }

}  // namespace detail

void fence(std::memory_order order) { detail::now().fence(order); }
void light_barrier() { detail::now().light_barrier(); }
void heavy_barrier() { detail::now().heavy_barrier(); }
void pause() { detail::now().pause(); }
void doze() { detail::now().doze(); }
void forget(unsigned where) { detail::now().forget(where); }
unsigned choose(unsigned count) { return detail::now().choose(count); }
void require(bool condition, const char* what) { detail::now().require(condition, what); }

bool long_run() {
  const char* value = std::getenv("LEASH_LONG");
  return value != nullptr && *value != '\0' && std::strcmp(value, "0") != 0;
}

std::string result::summary() const {
  std::ostringstream out;
  out << (ok ? (complete ? "proven" : "no failure, not everything explored") : failure) << ": " << schedules
      << " schedules, " << pruned << " pruned, " << states << " states";
  if (!ok) out << "\n" << trace;
  return out.str();
}

result check(const options& opts, const std::function<void(run&)>& body) {
  auto search = [&body](const options& o) {
    detail::machine m(o, body);
    detail::machine* outer = std::exchange(detail::active, &m);
    result r = m.search();
    detail::active = outer;
    return r;
  };
  result r = search(opts);
  // A failure that needs few preemptions is easier to read.
  for (int bound = 0; !r.ok && bound <= 3 && (opts.preemptions < 0 || bound < opts.preemptions); ++bound) {
    options few = opts;
    few.preemptions = bound;
    few.max_schedules = 200'000;
    result shorter = search(few);
    if (!shorter.ok) {
      r.failure = shorter.failure;
      r.trace = shorter.trace;
      break;
    }
  }
  return r;
}

}  // namespace model
