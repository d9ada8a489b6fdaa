// The search: a depth-first walk over a stack of choices, every schedule replayed from its beginning.
#include <cstdio>
#include <cstdlib>
#include <deque>

#include "fiber.hpp"
#include "machine.hpp"

namespace model::detail {

namespace {
fiber& fiber_of(unsigned thread) {
  static std::deque<fiber> fibers;
  while (fibers.size() <= thread) fibers.emplace_back();
  return fibers[thread];
}
}  // namespace

result machine::search() {
  for (;;) {
    outcome o = execute();
    if (o == outcome::failed) {
      result_.ok = false;
      result_.failure = failure_;
      tracing_ = true;
      execute();
      for (const std::string& line : lines_) result_.trace += line + "\n";
      break;
    }
    ++(o == outcome::finished ? result_.schedules : result_.pruned);
    if (!backtrack()) {
      result_.complete = true;
      break;
    }
    if (opts_.max_schedules != 0 && result_.schedules + result_.pruned >= opts_.max_schedules) break;
  }
  result_.states = keys_.size();
  return result_;
}

bool machine::backtrack() {
  while (!path_.empty() && path_.back().next + 1 >= path_.back().count) path_.pop_back();
  if (path_.empty()) return false;
  ++path_.back().next;
  return true;
}

machine::outcome machine::execute() {
  depth_ = 0;
  cells_.clear();
  thread_count_ = 1;
  current_ = last_ = 0;
  preemptions_ = 0;
  version_ = 0;
  cells_key_ = 0;
  arena_used_ = 0;
  failure_.clear();
  finally_ = nullptr;
  threads_[0] = thread_state{};
  threads_[0].now.at[0] = 1;
  run r;
  body_(r);
  outcome o = failure_.empty() ? drive() : outcome::failed;
  end_schedule();
  return o;
}

void machine::end_schedule() {
  ending_ = true;
  while (!objects_.empty()) {
    object o = objects_.back();
    objects_.pop_back();
    o.destroy(o.at);
  }
  ending_ = false;
}

machine::outcome machine::drive() {
  auto advance = [this](unsigned t) {
    current_ = t;
    fiber& f = fiber_of(t);
    f.resume();
    current_ = 0;
    if (f.done()) threads_[t].finished = true;
  };
  for (unsigned t = 1; t < thread_count_; ++t) {
    threads_[t].now = threads_[0].now;
    threads_[t].now.at[t] = 1;
    threads_[t].history = mix(threads_[0].history, t);
    fiber_of(t).reset(&threads_[t].body);
    advance(t);
    if (!failure_.empty()) return outcome::failed;
  }
  threads_[0].now.at[0]++;  // what main does from here on is not ordered before the threads
  for (std::size_t steps = 0;; ++steps) {
    if (steps > opts_.max_steps) fail("livelock: the schedule does not end");
    const choice* c = failure_.empty() ? decide() : nullptr;
    if (!failure_.empty()) return outcome::failed;
    if (c == nullptr) return outcome::pruned;
    if (c->what == choice::kind::value) break;  // all threads have ended
    if (c->what == choice::kind::flush) {
      flush(c->thread, c->index);
      continue;
    }
    if (last_ != c->thread && last_ != 0 && can_go_on(threads_[last_])) ++preemptions_;
    last_ = c->thread;
    advance(c->thread);
  }
  for (unsigned t = 1; t < thread_count_; ++t) threads_[0].now.join(threads_[t].now);
  if (finally_) finally_();
  return failure_.empty() ? outcome::finished : outcome::failed;
}

bool machine::drained(const thread_state& t) const {
  for (unsigned i = 1; i < thread_count_; ++i)
    for (const buffered_store& b : threads_[i].buffer)
      if (b.seq <= t.wait_seq[i]) return false;
  return true;
}

bool machine::enabled(const thread_state& t) const {
  if (t.finished) return false;
  switch (t.wait) {
    case waiting::no:
    case waiting::time:
      return true;
    case waiting::value:
      return cells_[t.wait_place].value == t.wait_value;
    case waiting::drain:
      return drained(t);
    case waiting::change:
      return version_ > t.first_load_version;
    case waiting::futex:
      return false;
  }
  return false;
}

// The last thread first, so that the first schedules have few switches; flushes last, so that the first schedules
// reorder the most.
void machine::collect(decision& d) const {
  auto add = [&d](choice c) {
    if (d.count == max_choices) {
      std::fputs("model: too many choices at one step\n", stderr);
      std::abort();
    }
    d.options[d.count++] = c;
  };
  bool last_enabled = last_ != 0 && enabled(threads_[last_]);
  if (last_enabled) add({choice::kind::step, static_cast<std::uint8_t>(last_), 0});
  if (last_ == 0 || !can_go_on(threads_[last_]) || opts_.preemptions < 0 || preemptions_ < opts_.preemptions)
    for (unsigned t = 1; t < thread_count_; ++t)
      if (t != last_ && enabled(threads_[t])) add({choice::kind::step, static_cast<std::uint8_t>(t), 0});
  for (unsigned t = 1; t < thread_count_; ++t)
    for (std::size_t i = 0; i < threads_[t].buffer.size(); ++i)
      if (may_flush(threads_[t], i))
        add({choice::kind::flush, static_cast<std::uint8_t>(t), static_cast<std::uint8_t>(i)});
}

// The step to take next. nullptr: this state has been explored before, or nothing can move (failure_ is set).
const choice* machine::decide() {
  static constexpr choice ended{choice::kind::value, 0, 0};
  static decision fresh;
  fresh.count = 0;
  fresh.next = 0;
  collect(fresh);
  if (fresh.count == 0) {
    for (unsigned t = 1; t < thread_count_; ++t) {
      if (threads_[t].finished) continue;
      std::string stuck = "deadlock:";
      for (unsigned u = 1; u < thread_count_; ++u)
        if (!threads_[u].finished) {
          const thread_state& s = threads_[u];
          stuck += " [" + who(u);
          stuck += s.wait == waiting::futex   ? " asleep on " + called(s.wait_place)
                   : s.wait == waiting::value ? " waits for " + called(s.wait_place)
                                              : std::string(" waits for a change");
          stuck += "]";
        }
      fail(stuck);
      return nullptr;
    }
    return &ended;
  }
  if (fresh.count == 1) return &fresh.options[0];  // not worth a place on the path
  if (depth_ == path_.size()) {
    if (opts_.reduce != reduction::none && !keys_.insert(key())) return nullptr;
    path_.push_back(fresh);
  } else if (path_[depth_].count != fresh.count) {
    std::fputs("model: the program does not repeat itself; it depends on something outside the model\n", stderr);
    std::abort();
  }
  const decision& d = path_[depth_++];
  return &d.options[d.next];
}

word machine::key() {
  word k = cells_key_;
  for (unsigned t = 1; t < thread_count_; ++t) {
    const thread_state& s = threads_[t];
    word h = mix(s.history, (s.finished ? 1u : 0u) | static_cast<word>(s.wait) << 1);
    if (opts_.reduce == reduction::values && opts_.races) {
      h = mix(h, s.now.hash());
      h = mix(h, s.to_acquire.hash());
      h = mix(h, s.to_release.hash());
    }
    for (const buffered_store& b : s.buffer) {
      h = mix(h, mix(cells_[b.p].id, opts_.reduce != reduction::values ? b.event
                                     : opts_.races                     ? mix(b.value, b.sync.hash())
                                                                       : b.value));
      h = mix(h, (b.release ? 1u : 0u) | static_cast<word>(s.release_fences - b.fences) << 1);
    }
    if (s.wait == waiting::drain)
      for (unsigned u = 1; u < thread_count_; ++u)
        h = mix(h, static_cast<word>(std::count_if(threads_[u].buffer.begin(), threads_[u].buffer.end(),
                                                   [&](const buffered_store& b) { return b.seq <= s.wait_seq[u]; })));
    if (s.wait == waiting::change) h = mix(h, version_ > s.first_load_version);
    k ^= mix(h, t);
  }
  if (opts_.preemptions >= 0) k = mix(k, mix(last_, static_cast<word>(preemptions_)));
  return k;
}

}  // namespace model::detail
