// The recorder: pieces of fixed size from one pool, taken by whoever has something to note, the oldest again and again.
//
// A worker writes into a piece of its own; threads that are no workers share one, under a lock. A full piece goes to the
// end of the line of full ones, and whoever needs a piece takes one that was never used, or the first in that line. So
// memory is fixed however many workers there are, and what is kept is the newest of all of them.
//
// A record is four words: ticks; goroutine; line; kind, reason, flags, epoch:
//
//   bits of the fourth   0..7 kind   8..15 reason   16..23 flags, or the number of lines   32..63 epoch of the park word
//
// A record of kind `callers` holds up to two lines in place of goroutine and line, and belongs to the one before it.
//
// Who parks a goroutine has lost it before the hook runs: the record says what could be read while the park word stayed
// the same. Who wakes it owns it, and notes the wait that ends: so nothing is missed, however quick the waker is.
#include <errno.h>
#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <leash/task.hpp>
#include <leash/trace.hpp>
#include <memory>
#include <new>
#include <stdexcept>

#include "observing.hpp"

namespace leash {

namespace {

constexpr std::uint8_t kind_callers = 0xff;
constexpr std::uint8_t flag_cut = 1;
constexpr int populate_write = 23;  // MADV_POPULATE_WRITE, which older headers lack; older kernels say EINVAL
constexpr std::size_t piece_bytes = 64 * 1024;
static_assert(sizeof(trace_piece) <= piece_bytes);

std::uint64_t meaning(std::uint8_t kind, wait_reason reason, std::uint8_t flags, std::uint64_t park_word) noexcept {
  return kind | static_cast<std::uint64_t>(reason) << 8 | static_cast<std::uint64_t>(flags) << 16 |
         static_cast<std::uint64_t>(static_cast<std::uint32_t>(epoch_of(park_word))) << 32;
}
std::uint64_t meaning(trace_kind kind, wait_reason reason, std::uint8_t flags, std::uint64_t park_word) noexcept {
  return meaning(static_cast<std::uint8_t>(kind), reason, flags, park_word);
}

struct pool {
  explicit pool(std::size_t memory) : count(memory / piece_bytes), line(new std::uint32_t[count]) {
    void* p = mmap(nullptr, count * sizeof(trace_piece), PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) throw std::bad_alloc();
    pieces = static_cast<trace_piece*>(p);  // fresh memory is zero: as trace_piece wants it
    // All of it now: a fresh page costs as much as a hundred records, and workers are not to pay for it.
    (void)madvise(p, count * sizeof(trace_piece), MADV_HUGEPAGE);
    if (madvise(p, count * sizeof(trace_piece), populate_write) == 0 || errno == EINVAL) return;
    munmap(p, count * sizeof(trace_piece));
    throw std::bad_alloc();
  }
  pool(const pool&) = delete;
  ~pool() { munmap(pieces, count * sizeof(trace_piece)); }

  trace_piece* pieces = nullptr;
  std::size_t count;
  std::unique_ptr<std::uint32_t[]> line;
  tick_scale scale;

  spin_lock lock;  // of what follows
  std::size_t used = 0, first = 0, full = 0;
  std::uint64_t serial = 0;
  std::uint64_t overwritten = 0, overwritten_until = 0, lost = 0;

  trace_piece* foreign = nullptr;  // in a foreign_section

  void give_back(trace_piece* p) noexcept {
    if (p == nullptr) return;
    spin_guard guard(lock);
    put_in_line(p);
  }
  void put_in_line(trace_piece* p) noexcept {
    line[(first + full) % count] = static_cast<std::uint32_t>(p - pieces);
    ++full;
  }
  /// Instead of `before`, which is full or null. Null: all are being written.
  trace_piece* next(trace_piece* before, const std::uint64_t (&head)[trace_piece::head_words]) noexcept {
    trace_piece* p = nullptr;
    std::uint64_t number = 0;
    {
      spin_guard guard(lock);
      if (before != nullptr) put_in_line(before);
      if (used < count) {
        p = pieces + used++;
      } else if (full != 0) {
        p = pieces + line[first];
        first = (first + 1) % count;
        --full;
        overwritten += trace_piece::capacity - p->room();
        overwritten_until = std::max(overwritten_until, p->last_word());
      } else {
        ++lost;
        return nullptr;
      }
      number = ++serial;
    }
    p->begin(number, head);
    return p;
  }
};

// Under observing_lock; and in sections, while observe_trace is set.
pool* current_pool = nullptr;
int recordings = 0;
std::int64_t pool_began = 0;

/// In a section: writes n records, one after the other. `running`: of the piece, if a new one is begun.
void put(worker& w, std::uint64_t running, const trace_record* r, std::size_t n) noexcept {
  trace_piece*& p = w.trace.piece;
  if (p == nullptr || p->room() < n) {
    p = current_pool->next(p, {w.rt->serial, w.index, running});
    if (p == nullptr) return;
  }
  for (std::size_t i = 0; i < n; ++i) p->put(r[i]);
}

void put_foreign(const trace_record& r) noexcept {
  pool& all = *current_pool;
  if (all.foreign == nullptr || all.foreign->room() == 0) {
    all.foreign = all.next(all.foreign, {0, trace_event::foreign, 0});
    if (all.foreign == nullptr) return;
  }
  all.foreign->put(r);
}

std::uint64_t bits(std::source_location l) noexcept { return std::bit_cast<std::uint64_t>(l); }

LEASH_READS_FROZEN std::uint64_t read_word(const void* p) noexcept {
  return *static_cast<const volatile std::uint64_t*>(p);
}
/// The lines of g's frames, innermost first; what is no frame any more ends them.
LEASH_READS_FROZEN std::size_t read_lines(const goroutine_core* g, std::uint64_t* to, std::size_t most) noexcept {
  std::size_t n = 0;
  auto const* p = std::bit_cast<const promise_base*>(read_word(&g->leaf));
  while (p != nullptr && arena::contains(p) && n < most) {
    to[n++] = read_word(&p->where);
    auto const* up = std::bit_cast<const await_link*>(read_word(&p->up));
    if (up == nullptr || !arena::contains(up)) break;
    p = std::bit_cast<const promise_base*>(read_word(&up->parent));
  }
  return n;
}

}  // namespace

LEASH_READS_FROZEN wait_reason reason_of_wait(const goroutine_core* g) noexcept {
  std::uint16_t const n = *const_cast<const volatile std::uint16_t*>(&g->wait_count);
  if (n == 0) return wait_reason::none;
  if (n != 1) return wait_reason::select;
  auto const* w = std::bit_cast<const waiter*>(read_word(&g->wait));
  return w != nullptr && arena::contains(w) ? *const_cast<const volatile wait_reason*>(&w->reason) : wait_reason::none;
}

// --- hooks

void note_run(worker& w, goroutine_core* g) noexcept {
  section const s(w);
  if (!s.has(observe_trace | observe_waits)) return;  // turned off since: not ours to write
  w.trace.noted = g;
  w.trace.id = g->id;
  w.trace.word = g->park.load(std::memory_order_relaxed);
  if (!s.has(observe_trace)) return;
  trace_record const r{{note_ticks(), g->id, 0, meaning(trace_kind::run, wait_reason::none, 0, w.trace.word)}};
  put(w, 0, &r, 1);
}

void note_parked(worker& w, goroutine_core* g) noexcept {
  section const s(w);
  if (!s.has(observe_trace | observe_waits)) return;  // turned off since: not ours to write
  if (w.trace.noted != g) return;  // nothing was noted yet when it was run; who wakes it knows the rest
  w.trace.noted = nullptr;
  std::uint64_t const id = w.trace.id, word = w.trace.word;
  if (s.has(observe_waits)) note_wait_begins(g, word);
  if (!s.has(observe_trace)) return;
  std::uint64_t const ticks = note_ticks();
  std::uint64_t lines[1 + trace_event::most_callers] = {};
  std::size_t n = read_lines(g, lines, std::size(lines));
  wait_reason reason = reason_of_wait(g);
  std::atomic_thread_fence(std::memory_order_acquire);
  std::uint64_t const after = g->park.load(std::memory_order_relaxed);
  if (epoch_of(after) != epoch_of(word)) {  // somebody has woken it already: he notes what it waited for
    n = 0;
    lines[0] = 0;
    reason = wait_reason::none;
  }
  trace_record const r[2] = {
      {{ticks, id, lines[0], meaning(trace_kind::park, reason, 0, word)}},
      {{ticks, lines[1], lines[2], meaning(kind_callers, wait_reason::none, static_cast<std::uint8_t>(n - 1), 0)}}};
  put(w, id, r, n > 1 ? 2 : 1);
}

void note_yield(worker& w, goroutine_core* g) noexcept {
  section const s(w);
  if (!s.has(observe_trace | observe_waits)) return;
  w.trace.noted = nullptr;
  if (!s.has(observe_trace)) return;
  std::uint64_t const line = g->leaf != nullptr ? bits(g->leaf->where) : 0;
  trace_record const r{{note_ticks(), g->id, line,
                        meaning(trace_kind::yield, wait_reason::none, 0, g->park.load(std::memory_order_relaxed))}};
  put(w, g->id, &r, 1);
}

void note_end(worker& w, std::uint64_t id, bool cut) noexcept {
  section const s(w);
  if (!s.has(observe_trace | observe_waits)) return;
  w.trace.noted = nullptr;
  if (!s.has(observe_trace)) return;
  trace_record const r{{note_ticks(), id, 0, meaning(trace_kind::end, wait_reason::none, cut ? flag_cut : 0, 0)}};
  put(w, id, &r, 1);
}

static trace_record wake_record(const goroutine_core* g, std::uint64_t ticks) noexcept {
  std::uint64_t const word = g->park.load(std::memory_order_relaxed);
  if ((g->bits & g_started) == 0)
    return {{ticks, g->id, bits(g->spawned_at), meaning(trace_kind::create, wait_reason::none, 0, word)}};
  return {{ticks, g->id, g->leaf != nullptr ? bits(g->leaf->where) : 0,
           meaning(trace_kind::wake, reason_of_wait(g), (g->bits & g_cut) != 0 ? flag_cut : 0, word)}};
}

void note_wake(worker* w, goroutine_core* g) noexcept {
  if (w != nullptr) {
    section const s(*w);
    if (s.has(observe_waits)) note_wait_ended(g);
    if (!s.has(observe_trace)) return;
    trace_record const r = wake_record(g, note_ticks());
    put(*w, w->current != nullptr ? w->current->id : 0, &r, 1);
    return;
  }
  foreign_section const s;
  if (s.has(observe_waits)) note_wait_ended(g);
  if (s.has(observe_trace)) put_foreign(wake_record(g, note_ticks()));
}

/// What is no worker's own, or rare: by whichever thread.
static void note_rarely(const trace_record& r) noexcept {
  worker* w = this_worker;
  if (w != nullptr && w->rt->sim != nullptr) return;
  if (w != nullptr) {
    section const s(*w);
    if (s.has(observe_trace)) put(*w, w->current != nullptr ? w->current->id : 0, &r, 1);
    return;
  }
  foreign_section const s;
  if (s.has(observe_trace)) put_foreign(r);
}

void note_create(goroutine_core* g) noexcept {
  note_rarely({{note_ticks(), g->id, bits(g->spawned_at),
                meaning(trace_kind::create, wait_reason::none, 0, g->park.load(std::memory_order_relaxed))}});
}
void note_cancel(std::source_location where) noexcept {
  note_rarely({{note_ticks(), 0, bits(where), meaning(trace_kind::cancel, wait_reason::none, 0, 0)}});
}
static std::uint64_t number_of(const timer_entry* t) noexcept { return reinterpret_cast<std::uintptr_t>(t); }
void note_arm(const timer_entry* t, std::int64_t to_go, wait_reason reason, std::source_location where) noexcept {
  std::uint64_t const us =
      std::min<std::uint64_t>(static_cast<std::uint64_t>(std::max<std::int64_t>(to_go, 0)) / 1000, UINT32_MAX);
  note_rarely({{note_ticks(), number_of(t), bits(where),
                meaning(static_cast<std::uint8_t>(trace_kind::arm), reason, 0, 0) | us << 32}});
}
void note_fire(const timer_entry* t) noexcept {
  note_rarely({{note_ticks(), number_of(t), 0, meaning(trace_kind::fire, wait_reason::none, 0, 0)}});
}
void note_leak(std::uint64_t id, std::uint64_t word, std::source_location spawned_at) noexcept {
  note_rarely({{note_ticks(), id, bits(spawned_at), meaning(trace_kind::leak, wait_reason::none, 0, word)}});
}

void forget_runtime(runtime& rt) noexcept {
  std::lock_guard guard(observing_lock());
  for (std::uint32_t i = 0; i < rt.worker_count; ++i) {
    rt.workers[i].unusual.store(0, std::memory_order_relaxed);
    if (current_pool != nullptr) current_pool->give_back(rt.workers[i].trace.piece);
    rt.workers[i].trace.piece = nullptr;
  }
}

// --- recordings

trace_recording::trace_recording(const trace_options& o) {
  if (o.memory < 2 * piece_bytes || o.memory > std::size_t{1} << 30)
    throw std::invalid_argument("leash::trace_recording: memory must lie between 128 KiB and 1 GiB");
  std::lock_guard guard(observing_lock());
  began_ = steady_now();
  if (recordings == 0) {
    current_pool = new pool(o.memory);
    pool_began = began_;
    observe(observe_trace);
  }
  ++recordings;
}

trace_recording::~trace_recording() {
  std::lock_guard guard(observing_lock());
  if (--recordings != 0) return;
  unobserve(observe_trace);
  delete std::exchange(current_pool, nullptr);
}

namespace {

/// What one piece holds, while it is merged with others.
struct copied {
  std::uint64_t serial = 0;
  std::uint64_t head[trace_piece::head_words];
  std::vector<trace_record> records;
};
struct stream {  // of one writer: its pieces, oldest first
  std::vector<const copied*> pieces;
  std::size_t piece = 0, record = 0;
  std::uint64_t running = 0;
  const trace_record& front() const noexcept { return pieces[piece]->records[record]; }
  /// False: that was the last.
  bool advance() noexcept {
    if (++record < pieces[piece]->records.size()) return true;
    record = 0;
    if (++piece == pieces.size()) return false;
    running = pieces[piece]->head[2];
    return true;
  }
};

}  // namespace

/// Under observing_lock.
static trace take_since(std::int64_t began, nanoseconds window) {
  pool& all = *current_pool;
  trace t;
  std::size_t used = 0;
  {
    spin_guard pool_guard(all.lock);
    used = all.used;
  }
  std::vector<copied> copies;
  copies.reserve(used);
  auto buffer = std::make_unique<trace_record[]>(trace_piece::capacity);
  t.to = steady_now();
  for (std::size_t i = 0; i < used; ++i) {
    copied c;
    std::size_t const n = all.pieces[i].read(c.serial, c.head, buffer.get());
    if (n == 0) continue;
    c.records.assign(buffer.get(), buffer.get() + n);
    copies.push_back(std::move(c));
  }
  all.scale.measure();
  std::uint64_t until = 0;
  {
    // After the copying: what was begun anew meanwhile counts as overwritten.
    spin_guard pool_guard(all.lock);
    t.overwritten = all.overwritten;
    t.lost = all.lost;
    until = all.overwritten_until;
  }
  t.from = began;
  if (window.count() < t.to - began) t.from = t.to - window.count();
  if (until != 0) t.from = std::max(t.from, all.scale.time_of(until));
  for_each_runtime([&](runtime& rt) { t.workers += rt.sim == nullptr ? rt.worker_count : 0; });

  std::sort(copies.begin(), copies.end(), [](auto& a, auto& b) { return a.serial < b.serial; });
  std::vector<stream> streams;
  for (const copied& c : copies) {
    auto s = std::find_if(streams.begin(), streams.end(), [&](auto& o) {
      return o.pieces[0]->head[0] == c.head[0] && o.pieces[0]->head[1] == c.head[1];
    });
    if (s == streams.end()) {
      s = streams.insert(s, stream{});
      s->running = c.head[2];
    }
    s->pieces.push_back(&c);
  }
  auto const later = [](const stream* a, const stream* b) { return a->front().word[0] > b->front().word[0]; };
  std::vector<stream*> heap;
  for (stream& s : streams) heap.push_back(&s);
  std::make_heap(heap.begin(), heap.end(), later);
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), later);
    stream& s = *heap.back();
    trace_record const r = s.front();
    auto const* head = s.pieces[s.piece]->head;
    trace_event e;
    e.at = all.scale.time_of(r.word[0]);
    e.goroutine = r.word[1];
    e.by = s.running;
    e.where = std::bit_cast<std::source_location>(r.word[2]);
    e.worker_of = head[0];
    e.worker = static_cast<std::uint32_t>(head[1]);
    e.kind = static_cast<trace_kind>(r.word[3] & 0xff);
    e.reason = static_cast<wait_reason>(r.word[3] >> 8 & 0xff);
    e.cut = (r.word[3] >> 16 & flag_cut) != 0;
    e.epoch = static_cast<std::uint32_t>(r.word[3] >> 32);
    if (e.kind == trace_kind::run) s.running = e.goroutine;
    if (e.kind == trace_kind::park || e.kind == trace_kind::yield || e.kind == trace_kind::end) s.running = 0;
    bool more = s.advance();
    if (more && (s.front().word[3] & 0xff) == kind_callers) {
      trace_record const c = s.front();
      e.callers = static_cast<std::uint32_t>(t.callers.size());
      e.caller_count = static_cast<std::uint8_t>(std::min<std::uint64_t>(c.word[3] >> 16 & 0xff, 2));
      for (std::size_t i = 0; i < e.caller_count; ++i)
        t.callers.push_back(std::bit_cast<std::source_location>(c.word[1 + i]));
      more = s.advance();
    }
    if (e.at >= t.from) t.events.push_back(e);
    if (more) {
      std::push_heap(heap.begin(), heap.end(), later);
    } else {
      heap.pop_back();
    }
  }
  if (!t.events.empty()) t.to = std::max(t.to, t.events.back().at);
  return t;
}

trace trace_recording::take(nanoseconds window) const {
  std::lock_guard guard(observing_lock());
  return take_since(began_, window);
}

std::optional<trace> recorded(nanoseconds window) {
  std::lock_guard guard(observing_lock());
  if (current_pool == nullptr) return std::nullopt;
  return take_since(pool_began, window);
}

const char* name_of(trace_kind k) noexcept {
  static constexpr const char* names[] = {"create", "run",    "yield", "park", "wake",
                                          "end",    "cancel", "leak",  "arm",  "fire"};
  return static_cast<std::size_t>(k) < std::size(names) ? names[static_cast<std::size_t>(k)] : "";
}

}  // namespace leash
