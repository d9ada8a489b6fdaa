// The checker's inside: what one schedule consists of, and the search through all of them.
#pragma once

#include <algorithm>
#include <array>
#include <sstream>
#include <vector>

#include "model.hpp"

namespace model::detail {

inline constexpr unsigned max_threads = 8;  // thread 0 is set-up and finally
inline constexpr unsigned max_choices = 48;

inline word mix(word a, word b) {
  a ^= b + 0x9e3779b97f4a7c15u + (a << 12) + (a >> 4);
  a *= 0xbf58476d1ce4e5b9u;
  a ^= a >> 29;
  a *= 0x94d049bb133111ebu;
  return a ^ (a >> 32);
}

struct vector_clock {
  std::array<std::uint16_t, max_threads> at{};
  void join(const vector_clock& o) {
    for (unsigned i = 0; i < max_threads; ++i) at[i] = std::max(at[i], o.at[i]);
  }
  word hash() const {
    word w[2];
    std::memcpy(w, at.data(), sizeof w);
    return mix(w[0], w[1]);
  }
};

struct cell_state {
  word value = 0;
  word id = 0;        // the same in every schedule
  word chain = 0;     // reduction::order: all writes so far, in their order
  vector_clock sync;  // what a reader that acquires learns; of a plain cell: who has read it when
  unsigned writer = 0;
  std::uint16_t written_at = 0;
  bool plain = false;
  bool dead = false;
  word contribution = 0;
  const char* name = nullptr;
};

struct buffered_store {
  place p;
  word value;
  word event;
  vector_clock sync;
  std::uint32_t seq;
  std::uint32_t fences;  // release fences of its thread before it
  bool release;
};

enum class waiting : std::uint8_t { no, value, drain, change, futex, time };

struct thread_state {
  const char* name = nullptr;
  std::function<void()> body;
  bool finished = false;
  waiting wait = waiting::no;
  place wait_place = 0;
  word wait_value = 0;
  std::array<std::uint32_t, max_threads>
      wait_seq{};       // heavy barrier: the last store of each thread that must be in memory
  bool loaded = false;  // since the last pause()
  std::uint64_t first_load_version = 0;
  vector_clock now, to_acquire, to_release;
  std::vector<buffered_store> buffer;
  std::uint32_t stores = 0;
  std::uint32_t release_fences = 0;
  std::uint32_t cells_made = 0;
  word history = 0;
  word contribution = 0;
};

struct choice {
  enum class kind : std::uint8_t { step, flush, value } what;
  std::uint8_t thread;
  std::uint8_t index;
};

struct decision {
  std::uint8_t count = 0;
  std::uint8_t next = 0;
  std::array<choice, max_choices> options;
};

// Open addressing over 64-bit keys; 0 marks a free slot.
class key_set {
 public:
  bool insert(word key) {
    if (key == 0) key = 1;
    if ((size_ + 1) * 2 > slots_.size()) grow();
    if (!place(key)) return false;
    ++size_;
    return true;
  }
  std::size_t size() const { return size_; }
  void clear() {
    slots_.assign(1 << 12, 0);
    size_ = 0;
  }

 private:
  bool place(word key) {
    for (std::size_t i = key & (slots_.size() - 1);; i = (i + 1) & (slots_.size() - 1)) {
      if (slots_[i] == key) return false;
      if (slots_[i] == 0) {
        slots_[i] = key;
        return true;
      }
    }
  }
  void grow() {
    std::vector<word> old = std::move(slots_);
    slots_.assign(std::max<std::size_t>(1 << 12, old.size() * 2), 0);
    for (word key : old)
      if (key != 0) place(key);
  }
  std::vector<word> slots_;
  std::size_t size_ = 0;
};

inline bool acquires(std::memory_order o) {
  return o == std::memory_order_acquire || o == std::memory_order_consume || o == std::memory_order_acq_rel ||
         o == std::memory_order_seq_cst;
}
inline bool releases(std::memory_order o) {
  return o == std::memory_order_release || o == std::memory_order_acq_rel || o == std::memory_order_seq_cst;
}
inline const char* text(std::memory_order o) {
  switch (o) {
    case std::memory_order_relaxed:
      return "relaxed";
    case std::memory_order_consume:
      return "consume";
    case std::memory_order_acquire:
      return "acquire";
    case std::memory_order_release:
      return "release";
    case std::memory_order_acq_rel:
      return "acq_rel";
    case std::memory_order_seq_cst:
      return "seq_cst";
  }
  return "?";
}

class machine {
 public:
  machine(const options& opts, const std::function<void(run&)>& body) : opts_(opts), body_(body) { keys_.clear(); }

  result search();

  // Operations, called by model threads (and by set-up and finally, as thread 0).
  place make_place(word initial, bool plain);
  void retire(place p);
  void rename(place p, const char* name) { cells_[p].name = name; }
  word load(place p, std::memory_order order);
  void store(place p, word value, std::memory_order order);
  word update(place p, rmw op, word operand, word mask, std::memory_order order);
  bool compare_exchange(place p, word& expected, word desired, std::memory_order ok, std::memory_order failed);
  void await_exchange(place p, word from, word to, std::memory_order order);
  word plain_read(place p);
  void plain_write(place p, word value);
  void fence(std::memory_order order);
  void light_barrier() { note("light barrier"); }
  void heavy_barrier();
  void pause();
  void doze() {
    note("dozes");
    step_point(waiting::time);
    saw(6);
  }
  unsigned choose(unsigned count);
  void forget(unsigned where) {
    if (opts_.reduce == reduction::values) self().history = mix(current_, where);
  }
  void futex_wait(place p, word expected);
  unsigned futex_wake(place p, unsigned count);
  void require(bool condition, const char* what);
  void fail(const std::string& what);
  std::size_t cells() const { return cells_.size(); }
  bool ending() const { return ending_; }

  void add_thread(const char* name, std::function<void()> body);
  void set_finally(std::function<void()> body) { finally_ = std::move(body); }
  void* allocate(std::size_t size, std::size_t align);
  void on_end(void (*destroy)(void*), void* object) { objects_.push_back({destroy, object}); }

 private:
  enum class outcome { finished, pruned, failed };
  struct object {
    void (*destroy)(void*);
    void* at;
  };

  outcome execute();
  outcome drive();
  bool backtrack();
  void collect(decision& d) const;
  bool enabled(const thread_state& t) const;
  bool can_go_on(const thread_state& t) const { return enabled(t) && t.wait != waiting::time; }
  bool drained(const thread_state& t) const;
  const choice* decide();
  word key();
  void end_schedule();

  void step_point(waiting wait = waiting::no, place p = 0, word value = 0);
  thread_state& self() { return threads_[current_]; }
  cell_state& alive(place p);
  void touch(place p) { rehash(cells_[p]); }
  void rehash(cell_state& c);
  void saw(word what) { self().history = mix(self().history, what); }
  void read(const cell_state& c, std::memory_order order);
  void write(place p, word value, word event, const vector_clock& sync);
  bool may_flush(const thread_state& t, std::size_t i) const;
  void flush(unsigned thread, std::size_t i);
  void drain(unsigned thread);
  vector_clock message(std::memory_order order);
  const buffered_store* own(place p) const;

  template <class... Parts>
  void note(const Parts&... parts) {
    if (!tracing_ || !failure_.empty()) return;
    std::ostringstream out;
    out << who(current_) << ": ";
    (out << ... << parts);
    lines_.push_back(out.str());
  }
  std::string who(unsigned t) const {
    if (t == 0) return "main";
    return threads_[t].name != nullptr ? threads_[t].name : "thread " + std::to_string(t);
  }
  std::string called(place p) const {
    if (cells_[p].name != nullptr) return cells_[p].name;
    return (cells_[p].plain ? "var" : "atomic") + std::to_string(p);
  }
  static std::string shown(word v) {
    if (v < (word{1} << 32)) return std::to_string(v);
    char hex[24];
    std::snprintf(hex, sizeof hex, "0x%llx", static_cast<unsigned long long>(v));
    return hex;
  }

  options opts_;
  const std::function<void(run&)>& body_;

  // the search
  std::vector<decision> path_;
  std::size_t depth_ = 0;
  key_set keys_;
  result result_;

  // the schedule under way
  std::vector<cell_state> cells_;
  std::array<thread_state, max_threads> threads_;
  unsigned thread_count_ = 1;
  unsigned current_ = 0;
  unsigned last_ = 0;
  int preemptions_ = 0;
  std::uint64_t version_ = 0;
  word cells_key_ = 0;
  std::function<void()> finally_;
  std::vector<object> objects_;
  std::size_t arena_used_ = 0;
  std::vector<char> arena_ = std::vector<char>(256 * 1024);
  std::string failure_;
  bool tracing_ = false;
  bool ending_ = false;
  std::vector<std::string> lines_;
};

}  // namespace model::detail
