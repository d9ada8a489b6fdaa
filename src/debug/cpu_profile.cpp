// /debug/pprof/profile: what the workers' processor time goes into.
//
// Each worker's thread has a timer on its own processor time that sends it SIGPROF a hundred times in a second of it. The
// handler notes where the thread was, which goroutine it ran, that goroutine's frames and labels, in a buffer of the
// worker's own: one writer (the handler, which does not interrupt itself), one reader (the server's thread). It allocates
// nothing, takes no lock, calls nothing but gettid's like, and follows pointers only within the arena, whose memory is
// never unmapped.
//
//   a sample's stack: the function (from the symbol table), then the goroutine's frames, each by the line that it awaited
//   last, out to the line that started it
//
// Invariants
//  C1. A buffer is written by the thread of its worker only: the handler says that it is inside, then compares; who takes a
//      buffer back clears `who`, then waits until nobody is inside (a Dekker pair, seq_cst: else both could miss the other).
//      Buffers are never freed, for a signal may arrive after its timer is gone; for the same reason the handler stays.
//  C2. written - read is what lies in the ring; the writer does not write beyond capacity.
//
// Not sampled: threads that are no workers, and workers beyond the 256th.
#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <leash/context.hpp>
#include <leash/scope.hpp>
#include <leash/worker.hpp>
#include <map>
#include <thread>

#include "native_symbols.hpp"
#include "observe/frozen.hpp"
#include "pprof_table.hpp"
#include "recorded.hpp"

namespace leash::debug {

namespace {

using steady = std::chrono::steady_clock;

constexpr int hertz = 100;
constexpr std::int64_t period = 1'000'000'000 / hertz;
constexpr std::size_t most_sampled = 256, most_places = 100'000;

struct sample {
  static constexpr std::size_t deepest = 32, most_label_bytes = 224;
  std::uint64_t pc = 0;
  std::uint64_t lines[deepest + 1];  // the last one: where the goroutine was started
  std::uint32_t ticks = 0;
  std::uint16_t depth = 0;  // 0: no goroutine
  std::uint16_t label_bytes = 0;
  char labels[most_label_bytes];  // bytes of key, bytes of value, key, value
};

struct sample_buffer {
  static constexpr std::uint32_t capacity = 64;
  std::atomic<const worker*> who{nullptr};
  std::atomic<std::uint32_t> inside{0};
  std::atomic<std::uint32_t> written{0}, read{0};
  std::atomic<std::uint64_t> lost{0};
  sample ring[capacity];
};

// Made once, by the first profile.
std::atomic<sample_buffer*> buffers{nullptr};
std::atomic<bool> profiling{false};

LEASH_READS_FROZEN std::uint64_t word_at(const void* p) noexcept {
  return *static_cast<const volatile std::uint64_t*>(p);
}

// In the handler, all of them.

LEASH_READS_FROZEN void copy_bytes(const char* from, std::size_t n, char* to) noexcept {
  for (std::size_t i = 0; i < n; ++i) to[i] = *const_cast<const volatile char*>(from + i);
}

void note_labels(const goroutine_core* g, std::uint64_t id, sample& s) noexcept {
  s.label_bytes = 0;
  local_value* v = frozen::read(g->locals).get();
  for (int i = 0; v != nullptr && arena::contains(v) && i < 64; ++i, v = frozen::read(v->shown)) {
    local_value::kind const what = frozen::read(v->what);
    std::size_t const key = frozen::read(v->key_bytes), value = frozen::read(v->text_bytes);
    bool const name = what == local_value::kind::name && frozen::read(v->owner) == id;
    if (!name && what != local_value::kind::label) continue;
    std::size_t const room = sample::most_label_bytes - s.label_bytes;
    if (key > 100 || value > 100 || key + value + 2 > room) continue;
    auto const* text = reinterpret_cast<const char*>(v + 1);
    if (!arena::contains(text + key + value)) continue;
    char* to = s.labels + s.label_bytes;
    to[0] = static_cast<char>(key);  // 0: the name
    to[1] = static_cast<char>(value);
    copy_bytes(text, key + value, to + 2);
    s.label_bytes = static_cast<std::uint16_t>(s.label_bytes + 2 + key + value);
  }
}

void note_goroutine(const goroutine_core* g, sample& s) noexcept {
  s.depth = s.label_bytes = 0;
  if (g == nullptr) return;
  std::uint64_t const word = g->park.load(std::memory_order_acquire);
  if (state_of(word) != park_state::active) return;  // it parks just now, or is gone
  std::uint16_t n = 0;
  auto const* p = frozen::read(g->leaf);
  for (; p != nullptr && arena::contains(p) && n < sample::deepest; p = frozen::parent_of(p))
    s.lines[n++] = word_at(&p->where);
  s.lines[n++] = word_at(&g->spawned_at);
  note_labels(g, frozen::read(g->id), s);
  std::atomic_thread_fence(std::memory_order_acquire);
  if (g->park.load(std::memory_order_relaxed) != word) {
    s.label_bytes = 0;
    return;
  }
  s.depth = n;
}

std::uint64_t pc_of(const void* context) noexcept {
  auto const& machine = static_cast<const ucontext_t*>(context)->uc_mcontext;
#if defined(__x86_64__)
  return static_cast<std::uint64_t>(machine.gregs[REG_RIP]);
#elif defined(__aarch64__)
  return machine.pc;
#else
  return 0;
#endif
}

void note_sample(sample_buffer* b, const siginfo_t* info, const void* context) noexcept {
  worker* const w = this_worker;
  if (w == nullptr || b->who.load(std::memory_order_seq_cst) != w) return;  // C1
  std::uint32_t const n = b->written.load(std::memory_order_relaxed);
  // ORD sample-1 acquire: the reader is done with the place.
  if (n - b->read.load(std::memory_order_acquire) >= sample_buffer::capacity) {  // C2
    b->lost.store(b->lost.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    return;
  }
  sample& s = b->ring[n % sample_buffer::capacity];
  s.pc = pc_of(context);
  s.ticks = 1 + static_cast<std::uint32_t>(std::max(info->si_overrun, 0));
  note_goroutine(frozen::read(w->current), s);
  b->written.store(n + 1, std::memory_order_release);  // ORD sample-2: the sample, to the reader
}

void on_tick(int, siginfo_t* info, void* context) {
  if (info->si_code != SI_TIMER) return;
  auto* const all = buffers.load(std::memory_order_acquire);
  auto* const b = static_cast<sample_buffer*>(info->si_value.sival_ptr);
  if (all == nullptr || std::less<>()(b, all) || !std::less<>()(b, all + most_sampled)) return;
  b->inside.fetch_add(1, std::memory_order_seq_cst);
  note_sample(b, info, context);
  b->inside.fetch_sub(1, std::memory_order_release);
}

/// Nullptr, or what stands against it.
const char* install_handler() {
  static bool installed = false;
  struct sigaction now{};
  sigaction(SIGPROF, nullptr, &now);
  bool const ours = (now.sa_flags & SA_SIGINFO) != 0 && now.sa_sigaction == &on_tick;
  if (installed && ours) return nullptr;
  if ((now.sa_flags & SA_SIGINFO) != 0 || (now.sa_handler != SIG_DFL && now.sa_handler != SIG_IGN))
    return "the program uses SIGPROF itself";
  struct sigaction wanted{};
  wanted.sa_sigaction = &on_tick;
  wanted.sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK;
  sigfillset(&wanted.sa_mask);
  if (sigaction(SIGPROF, &wanted, nullptr) != 0) return "SIGPROF cannot be handled";
  installed = true;
  return nullptr;
}

/// The kernel's number for the clock of a thread's processor time.
clockid_t clock_of_thread(std::int32_t thread) noexcept {
  return static_cast<clockid_t>((~static_cast<unsigned>(thread) << 3) | 6u);
}

class cpu_source final : public source {
 public:
  explicit cpu_source(recording_place place, double seconds)
      : place_(std::move(place)), from_(steady::now()), until_(from_ + as_time(seconds)) {}
  ~cpu_source() override {
    stop();
    profiling.store(false, std::memory_order_release);
  }
  bool more(std::string& out) override {
    auto const now = steady::now();
    if (now < until_) {
      start_timers();
      collect();
      next_ = std::min(until_, now + std::chrono::milliseconds(100));
      return true;
    }
    stop();
    collect();
    write(out);
    return false;
  }
  steady::time_point not_before() const override { return next_; }

 private:
  struct timer {
    timer_t handle;
    sample_buffer* buffer;
    std::uint64_t runtime;
    std::uint32_t worker;
  };

  void start_timers() {
    for_each_runtime([&](runtime& rt) {
      for (std::uint32_t i = 0; i < rt.worker_count && timers_.size() < most_sampled; ++i) {
        worker& w = rt.workers[i];
        std::int32_t const thread = w.thread.load(std::memory_order_relaxed);
        if (thread == 0 || known(rt.serial, i)) continue;
        sample_buffer& b = buffers.load(std::memory_order_relaxed)[timers_.size()];
        b.read.store(b.written.load(std::memory_order_acquire), std::memory_order_release);
        b.lost.store(0, std::memory_order_relaxed);
        b.who.store(&w, std::memory_order_release);
        sigevent how{};
        how.sigev_notify = SIGEV_THREAD_ID;
        how.sigev_signo = SIGPROF;
        how.sigev_value.sival_ptr = &b;
        how._sigev_un._tid = thread;
        timer t{nullptr, &b, rt.serial, i};
        if (timer_create(clock_of_thread(thread), &how, &t.handle) != 0) continue;  // it ended just now
        itimerspec const every{{0, period}, {0, period}};
        timer_settime(t.handle, 0, &every, nullptr);
        timers_.push_back(t);
      }
    });
  }
  bool known(std::uint64_t serial, std::uint32_t index) const {
    return std::any_of(timers_.begin(), timers_.end(),
                       [=](auto& t) { return t.runtime == serial && t.worker == index; });
  }
  void stop() {
    for (timer& t : timers_) timer_delete(t.handle);
    for (timer& t : timers_) {
      t.buffer->who.store(nullptr, std::memory_order_seq_cst);
      while (t.buffer->inside.load(std::memory_order_seq_cst) != 0) std::this_thread::yield();
    }
    stopped_.insert(stopped_.end(), timers_.begin(), timers_.end());
    timers_.clear();
  }

  void collect() {
    for (auto* list : {&timers_, &stopped_})
      for (timer& t : *list) {
        sample_buffer& b = *t.buffer;
        std::uint32_t n = b.read.load(std::memory_order_relaxed);
        std::uint32_t const end = b.written.load(std::memory_order_acquire);  // ORD sample-2
        for (; n != end; ++n) count(b.ring[n % sample_buffer::capacity]);
        b.read.store(n, std::memory_order_release);  // ORD sample-1
      }
  }
  void count(const sample& s) {
    key k{symbols_.at(s.pc).start, {s.lines, s.lines + s.depth}, {s.labels, s.labels + s.label_bytes}};
    auto it = counts_.find(k);
    if (it == counts_.end()) {
      if (counts_.size() >= most_places) {
        beyond_ += s.ticks;
        return;
      }
      it = counts_.emplace(std::move(k), counted{0, s.pc}).first;
    }
    it->second.ticks += s.ticks;
  }

  void write(std::string& out) {
    pprof_table table;
    table.put_sample_type("samples", "count");
    table.put_sample_type("cpu", "nanoseconds");
    table.put_period("cpu", "nanoseconds", period);
    auto const took = steady::now() - from_;
    table.put_time(std::chrono::system_clock::now() - std::chrono::duration_cast<std::chrono::seconds>(took), took);
    std::vector<std::uint64_t> ids;
    for (auto& [k, c] : counts_) {
      ids.clear();
      auto const f = symbols_.at(c.pc);
      ids.push_back(table.location_of(f.name, f.whole, "", 0));
      std::uint64_t before = 0;
      for (std::uint64_t l : k.lines) {
        auto const where = std::bit_cast<std::source_location>(l);
        // A frame that has awaited nothing yet has no line; the outermost one may stand where it was started.
        if (where.line() != 0 && l != before) ids.push_back(table.location_of(where));
        before = l;
      }
      if (k.lines.empty()) ids.push_back(table.location_of("(scheduler)", "(scheduler)", "", 0));
      table.begin_sample();
      table.put_locations(ids);
      table.put_values({static_cast<std::int64_t>(c.ticks), static_cast<std::int64_t>(c.ticks) * period});
      put_labels(table, k.labels);
      table.end_sample();
    }
    if (beyond_ != 0) {
      constexpr std::string_view text = "(in more places than are kept apart)";
      table.begin_sample();
      table.put_locations({table.location_of(text, text, "", 0)});
      table.put_values({static_cast<std::int64_t>(beyond_), static_cast<std::int64_t>(beyond_) * period});
      table.end_sample();
    }
    table.pass_on(out, true);
  }
  static void put_labels(pprof_table& table, std::string_view labels) {
    std::vector<std::string_view> seen;  // a label set again further in hides the outer one
    while (labels.size() >= 2) {
      std::size_t const key = static_cast<unsigned char>(labels[0]), value = static_cast<unsigned char>(labels[1]);
      if (labels.size() < 2 + key + value) return;
      std::string_view const k = key == 0 ? std::string_view("name") : labels.substr(2, key);
      if (std::find(seen.begin(), seen.end(), k) == seen.end()) table.put_label(k, labels.substr(2 + key, value));
      seen.push_back(k);
      labels.remove_prefix(2 + key + value);
    }
  }

  struct key {
    std::uint64_t function;
    std::vector<std::uint64_t> lines;
    std::string labels;
    auto operator<=>(const key&) const = default;
  };
  struct counted {
    std::uint64_t ticks, pc;
  };
  recording_place place_;
  steady::time_point from_, until_, next_{};
  std::vector<timer> timers_, stopped_;
  native_symbols symbols_;
  std::map<key, counted> counts_;
  std::uint64_t beyond_ = 0;
};

}  // namespace

reply cpu_profile(const request& q) {
  auto const seconds = seconds_of(q, "seconds", 30, longest_profile);
  if (!seconds) return refuse_seconds(longest_profile);
  recording_place place;
  if (!place) return too_many_recordings();
  if (profiling.exchange(true, std::memory_order_acquire)) return failure(503, "a CPU profile is being made already");
  if (buffers.load(std::memory_order_relaxed) == nullptr)
    buffers.store(new sample_buffer[most_sampled], std::memory_order_release);
  if (const char* why = install_handler()) {
    profiling.store(false, std::memory_order_release);
    return failure(409, why);
  }
  reply r;
  r.type = "application/octet-stream";
  r.headers.emplace_back("Content-Disposition", "attachment; filename=\"profile\"");
  r.stream = std::make_unique<cpu_source>(std::move(place), *seconds);
  return r;
}

}  // namespace leash::debug
