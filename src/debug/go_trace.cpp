// Go's execution trace, version 1 in the form of Go 1.21, which every `go tool trace` since reads.
//
//   "go 1.21 trace" 0 0 0
//   batch: 1, place, time            then its events: each with the time since the one before it
//   event: kind | arguments << 6     3 stands for three or more: then their length in bytes comes first
//
// All numbers are varints. Time is in nanoseconds (EvFrequency says so). Events of a place (a "P") come in batches in their
// order; between places the reader orders them by time and by the numbers that GoStart and GoUnblock carry: the count of
// such events of that goroutine. Texts and stacks are numbered, and defined in the batch that first needs them.
//
// What was there at first comes before the first Gomaxprocs: a GoCreate each, with a GoWaiting if it waits.
#include <algorithm>
#include <bit>
#include <map>

#include "observe/text.hpp"
#include "traces.hpp"

namespace leash::debug {

namespace {

enum kind : std::uint8_t {
  batch = 1,
  frequency = 2,
  stack = 3,
  gomaxprocs = 4,
  proc_start = 5,
  go_create = 13,
  go_start = 14,
  go_end = 15,
  go_sched = 17,
  go_sleep = 19,
  go_block = 20,
  go_unblock = 21,
  go_block_send = 22,
  go_block_recv = 23,
  go_block_select = 24,
  go_block_sync = 25,
  go_block_cond = 26,
  go_block_net = 27,
  go_waiting = 31,
  string = 37,
  user_log = 48,
};

kind kind_of(wait_reason r) noexcept {
  switch (r) {
    case wait_reason::chan_receive:
    case wait_reason::ticker:
    case wait_reason::context_done:
      return go_block_recv;
    case wait_reason::chan_send:
      return go_block_send;
    case wait_reason::select:
      return go_block_select;
    case wait_reason::mutex_lock:
    case wait_reason::rw_lock:
    case wait_reason::rw_rlock:
    case wait_reason::semaphore:
    case wait_reason::wait_group:
    case wait_reason::once:
    case wait_reason::scope_join:
    case wait_reason::goroutine_join:
      return go_block_sync;
    case wait_reason::cond_wait:
    case wait_reason::event:
      return go_block_cond;
    case wait_reason::sleep:
      return go_sleep;
    case wait_reason::io:
      return go_block_net;
    default:
      return go_block;
  }
}

void put_number(std::string& out, std::uint64_t n) {
  for (; n >= 0x80; n >>= 7) out += static_cast<char>(n | 0x80);
  out += static_cast<char>(n);
}

class writer final : public trace_source {
 public:
  using trace_source::trace_source;

 private:
  using numbers = std::initializer_list<std::uint64_t>;
  struct buffer {  // of a place: the batch that is being made
    std::string bytes;
    std::int64_t time = 0;
  };
  static constexpr std::size_t enough = 32 << 10;

  void begin(std::string& out) override {
    out.append("go 1.21 trace\0\0\0", 16);
    buffers_.resize(line_.places.size());
    seq_.assign(line_.goroutines.size(), 0);
    std::int64_t const t = line_.from();
    // One batch after the other holds what was there at first: place 0 is that of no worker.
    open(0, t);
    buffers_[0].bytes += static_cast<char>(frequency);
    put_number(buffers_[0].bytes, 1'000'000'000);
    for (std::uint32_t g = 0; g < line_.goroutines.size(); ++g) {
      auto const& o = line_.goroutines[g];
      if (o.first == timeline::state::none) continue;
      event(out, 0, t, go_create, {number(g), start_stack(0, g), 0});
      seq_[g] = 1;
      if (o.first == timeline::state::waiting) {
        event(out, 0, t, go_waiting, {number(g)});
        seq_[g] = 2;
      }
    }
    event(out, 0, t, gomaxprocs, {std::max<std::uint64_t>(line_.places.size() - 1, 1), 0});
    for (std::uint32_t p = 0; p < line_.places.size(); ++p) event(out, p, t + 1, proc_start, {p});
    for (std::uint32_t g = 0; g < line_.goroutines.size(); ++g)
      if (line_.goroutines[g].first == timeline::state::running)
        event(out, line_.goroutines[g].first_place, t + 1, go_start, {number(g), seq_[g]++});
  }

  void put(const timeline::entry& e, std::string& out) override {
    using what = timeline::what;
    std::uint32_t const p = e.place, g = e.goroutine;
    std::int64_t const t = std::max(e.at, line_.from() + 1);
    open(p, t);  // stacks are defined in it
    switch (e.kind) {
      case what::create:
        event(out, p, t, go_create, {number(g), start_stack(p, g), stack_of(p, {&e.where, 1})});
        seq_[g] = 1;
        return;
      case what::start:
        return event(out, p, t, go_start, {number(g), seq_[g]++});
      case what::end:
        return event(out, p, t, go_end, {});
      case what::yield:
        return event(out, p, t, go_sched, {wait_stack(p, e)});
      case what::block:
        return event(out, p, t, kind_of(e.reason), {wait_stack(p, e)});
      case what::unblock:
        return event(out, p, t, go_unblock, {number(g), seq_[g]++, 0});
      case what::leak:
        return log(out, p, t, e.where, "leak",
                   "goroutine " + std::to_string(line_.goroutines[g].id) + " is proved leaked");
      case what::cancel:
        return log(out, p, t, e.where, "cancel", e.timer != 0 ? "a context ended: its deadline" : "a context ended");
      case what::arm:
        return log(out, p, t, e.where, "timer",
                   (e.reason == wait_reason::context_done ? "deadline in " : "after_func in ") + time_text(e.to_go));
    }
  }

  void end(std::string& out) override {
    for (std::uint32_t p = 0; p < buffers_.size(); ++p) flush(p, out);
  }

  // Simulated runs apart, ids are the process's; 0 stands for none.
  std::uint64_t number(std::uint32_t g) const { return line_.goroutines[g].id; }

  void open(std::uint32_t p, std::int64_t t) {
    buffer& b = buffers_[p];
    if (!b.bytes.empty()) return;
    b.bytes += static_cast<char>(batch | 1 << 6);
    put_number(b.bytes, p == 0 ? line_.places.size() - 1 : p - 1);  // workers first
    put_number(b.bytes, static_cast<std::uint64_t>(t));
    b.time = t;
  }
  void flush(std::uint32_t p, std::string& out) {
    out += buffers_[p].bytes;
    buffers_[p].bytes.clear();
  }
  void event(std::string& out, std::uint32_t p, std::int64_t t, kind k, numbers arguments) {
    buffer& b = buffers_[p];
    if (b.bytes.size() > enough) flush(p, out);
    open(p, t);
    arguments_.clear();
    put_number(arguments_, static_cast<std::uint64_t>(t - b.time));
    for (std::uint64_t n : arguments) put_number(arguments_, n);
    b.time = t;
    b.bytes += static_cast<char>(k | std::min<std::size_t>(arguments.size(), 3) << 6);
    if (arguments.size() >= 3) put_number(b.bytes, arguments_.size());
    b.bytes += arguments_;
  }
  void log(std::string& out, std::uint32_t p, std::int64_t t, std::source_location where, std::string_view key,
           const std::string& text) {
    std::uint64_t const k = text_of(p, key);
    event(out, p, t, user_log, {0, k, where.line() != 0 ? stack_of(p, {&where, 1}) : 0});
    put_number(buffers_[p].bytes, text.size());
    buffers_[p].bytes += text;
  }

  std::uint64_t text_of(std::uint32_t p, std::string_view s) {
    std::string text = valid_utf8(s.empty() ? "?" : s.substr(0, 4096));
    auto [it, fresh] = texts_.try_emplace(std::move(text), texts_.size() + 1);
    if (fresh) {
      std::string& b = buffers_[p].bytes;
      b += static_cast<char>(string);
      put_number(b, it->second);
      put_number(b, it->first.size());
      b += it->first;
    }
    return it->second;
  }
  struct frame {
    std::uint64_t number = 0, function = 0, file = 0, line = 0;
  };
  /// `start`: the frame stands for all that was started there.
  const frame& frame_of(std::uint32_t p, std::source_location l, bool start) {
    auto [it, fresh] = frames_.try_emplace({std::bit_cast<std::uint64_t>(l), start});
    if (fresh) {
      std::string name = l.line() == 0 ? "?" : plain_function(l.function_name());
      if (start && l.line() != 0) name += ":" + std::to_string(l.line());
      it->second = {frames_.size(), text_of(p, name), text_of(p, l.file_name()), l.line()};
    }
    return it->second;
  }
  std::uint64_t stack_of(std::uint32_t p, std::vector<const frame*> all) {
    std::vector<std::uint64_t> key;
    for (auto* f : all) key.push_back(f->number);
    auto [it, fresh] = stacks_.try_emplace(std::move(key), stacks_.size() + 1);
    if (fresh) {
      arguments_.clear();
      put_number(arguments_, it->second);
      put_number(arguments_, all.size());
      for (auto* f : all)
        for (std::uint64_t n : {f->number, f->function, f->file, f->line}) put_number(arguments_, n);
      std::string& b = buffers_[p].bytes;
      b += static_cast<char>(stack | 3 << 6);
      put_number(b, arguments_.size());
      b += arguments_;
    }
    return it->second;
  }
  struct lines {
    const std::source_location* first;
    std::size_t count;
  };
  std::uint64_t stack_of(std::uint32_t p, lines l) {
    std::vector<const frame*> all;
    for (std::size_t i = 0; i < l.count; ++i)
      if (l.first[i].line() != 0) all.push_back(&frame_of(p, l.first[i], false));
    return all.empty() ? 0 : stack_of(p, std::move(all));
  }
  std::uint64_t start_stack(std::uint32_t p, std::uint32_t g) {
    return stack_of(p, {&frame_of(p, line_.goroutines[g].spawned_at, true)});
  }
  std::uint64_t wait_stack(std::uint32_t p, const timeline::entry& e) {
    std::vector<const frame*> all;
    if (e.where.line() != 0) all.push_back(&frame_of(p, e.where, false));
    for (std::size_t i = 0; i < e.caller_count; ++i) all.push_back(&frame_of(p, line_.callers()[e.callers + i], false));
    all.push_back(&frame_of(p, line_.goroutines[e.goroutine].spawned_at, true));
    return stack_of(p, std::move(all));
  }

  std::vector<buffer> buffers_;  // by place
  std::vector<std::uint64_t> seq_;
  std::string arguments_;
  std::map<std::string, std::uint64_t> texts_;
  std::map<std::pair<std::uint64_t, bool>, frame> frames_;
  std::map<std::vector<std::uint64_t>, std::uint64_t> stacks_;
};

}  // namespace

std::unique_ptr<source> go_trace(trace t) { return std::make_unique<writer>(std::move(t)); }

std::unique_ptr<source> written_trace(trace t, trace_format f) {
  return f == trace_format::go ? go_trace(std::move(t)) : perfetto_trace(std::move(t));
}

}  // namespace leash::debug
