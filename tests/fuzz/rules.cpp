#include "rules.hpp"

#include <algorithm>

namespace leash::test::fuzz {

const char* name_of(flaw f) {
  static constexpr const char* names[] = {"none",
                                          "sees no buffers",
                                          "sees no lending",
                                          "ignores wakes",
                                          "ignores the line",
                                          "ignores sleep",
                                          "looks at the first case only",
                                          "forgets a handle",
                                          "forgets that senders close",
                                          "forgets who reaches a shared object",
                                          "ignores time limits",
                                          "forgets who runs the call of a once",
                                          "forgets who has a place",
                                          "forgets who reaches an event or condition in a shared object",
                                          "forgets who reaches an event or condition in a frame",
                                          "never judges mutexes",
                                          "never judges joins",
                                          "never judges events and conditions",
                                          "never judges the call of a once",
                                          "never judges places"};
  return names[static_cast<std::size_t>(f)];
}

namespace {

// What completes waits, one bit each: the two sides of the channels, then locks and counters.
constexpr int sender_of = 0, receiver_of = max_channels, guard_of = 2 * max_channels, rw = guard_of + max_mutexes,
              sem = rw + 1, group = sem + 1, call = group + 1, canceller = call + 1, box = canceller + max_sources,
              classes = box + max_boxes;
constexpr const char* nouns[] = {"sender", "receiver",     "guard",         "shared mutex's guard",     "permit",
                                 "token",  "running call", "cancel source", "handle of a shared object"};
const char* noun(int c) {
  return nouns[c < receiver_of ? 0
               : c < guard_of  ? 1
               : c < rw        ? 2
               : c == rw       ? 3
               : c == sem      ? 4
               : c == group    ? 5
               : c == call     ? 6
               : c < box       ? 7
                               : 8];
}

int class_of(thing t) {
  int const i = static_cast<int>(object_of(t));
  switch (kind_of(t)) {
    case kind::tx:
      return sender_of + i;
    case kind::rx:
      return receiver_of + i;
    case kind::guard:
      return guard_of + i;
    case kind::write_guard:
    case kind::read_guard:
      return rw;
    case kind::permit:
      return sem;
    case kind::token:
      return group;
    case kind::source:
      return canceller + i;
    case kind::box:
    case kind::weak_box:
      return box + i;
    default:
      return -1;
  }
}

enum class because : std::uint8_t {
  dead,
  runs,
  sleeps,
  limit,
  bell_outside,
  done,
  other,
  outside,
  buffer,
  satisfied,
  line,
  holder,
  descendant
};
struct cause {
  because why = because::dead;
  int of = -1;  // other, holder, line: a goroutine or a class
  bool a_class = false;
  explicit operator bool() const { return why != because::dead; }
};

class marks {
 public:
  marks(const machine& m, const state& s, flaw f) : m_(m), s_(s), flaw_(f) {
    count();
    for (bool changed = true; changed;) {
      changed = false;
      for (int g = 0; g < max_goroutines; ++g)
        if (there(g) && !live_[g]) changed |= static_cast<bool>(live_[g] = cause_of(g));
      for (int c = 0; c < classes; ++c) {
        if (!used_[c]) changed |= static_cast<bool>(used_[c] = cause_by_use(c));
        if (!usable_[c]) changed |= static_cast<bool>(usable_[c] = cause_of_class(c));
      }
    }
  }
  bool there(int g) const { return s_.g[g].is >= status::in_line && s_.g[g].is != status::ended; }
  bool parked(int g) const {
    status const is = s_.g[g].is;
    return is == status::waiting || is == status::in_line ||
           (flaw_ == flaw::ignores_wakes && is != status::ready && there(g));
  }
  bool live(int g) const { return static_cast<bool>(live_[g]); }
  std::string origin(int g) const;

 private:
  int needs(int g, const wait_case& c) const {
    const thing* slot = s_.g[s_.g[g].frame].slot;
    switch (c.what) {
      case wait_kind::recv:
        return sender_of + static_cast<int>(object_of(slot[c.a]));
      case wait_kind::send:  // and see cause_of_case
        return receiver_of + static_cast<int>(object_of(slot[c.a]));
      case wait_kind::lock_write:
      case wait_kind::lock_read:
        return rw;
      case wait_kind::acquire:
        return sem;
      case wait_kind::group:
        return group;
      case wait_kind::once:
        return call;
      default:
        return -1;
    }
  }
  // How many there are, and who of those that are parked holds them.
  void count() {
    for (int c = 0; c < max_channels; ++c) {
      total_[sender_of + c] = s_.channel[c].senders;
      total_[receiver_of + c] = s_.channel[c].receivers;
    }
    for (int i = 0; i < max_mutexes; ++i) total_[guard_of + i] = s_.mutex[i].locked;
    total_[rw] = s_.shared_mutex[0].readers + s_.shared_mutex[0].writer;
    total_[sem] = s_.semaphore[0].holders;
    total_[group] = s_.group[0].tokens;
    for (int i = 0; i < max_sources; ++i) total_[canceller + i] = s_.source[i].handles;
    if (int const caller = s_.once[0].caller; caller != 0) {
      total_[call] = 1;
      found_in_frame(call, caller - 1);
    }
    for (int f = 0; f < max_goroutines; ++f) {
      bool const handed_over = s_.g[f].is == status::handed_over;
      if (!handed_over && (!there(f) || s_.g[f].frame != f)) continue;
      int const holder = handed_over ? m_.what().goroutines[f].parent : f;
      for (int i = 0; i < slots; ++i) {
        int const c = class_of(s_.g[f].slot[i]);
        if (c < 0 || (!handed_over && m_.let_go(s_, f, i))) continue;
        if (flaw_ == flaw::forgets_a_handle && i == slots - 1)
          --total_[c];
        else
          found_in_frame(c, holder);
      }
    }
    for (int b = 0; b < max_boxes; ++b) {
      total_[box + b] = s_.box[b].owners + s_.box[b].watchers;
      for (thing t : s_.box[b].cell) found_in_memory(t, in_boxes + b);
    }
    if (flaw_ == flaw::sees_no_buffers) return;
    for (int c = 0; c < max_channels; ++c)
      for (int i = 0; i < s_.channel[c].buffered; ++i) found_in_memory(s_.channel[c].buffer[i], in_buffers + c);
  }
  void found_in_frame(int c, int holder) {
    holders_[c] |= 1u << holder;
    if (parked(holder) || flaw_ == flaw::sees_no_buffers) ++found_[c];
  }
  void found_in_memory(thing t, int memory) {
    int const c = class_of(t);
    if (c < 0) return;
    holders_[c] |= 1u << memory;
    ++found_[c];
  }
  bool satisfied(int c) const {
    if (c < receiver_of) {
      auto& ch = s_.channel[c];
      return ch.closed || ch.senders == 0 || ch.buffered != 0;
    }
    if (c < guard_of) {
      auto& ch = s_.channel[c - receiver_of];
      return ch.closed || ch.receivers == 0 || ch.buffered < m_.what().capacity[c - receiver_of];
    }
    if (c >= canceller) return c >= box && total_[c] == 0;
    if (c == call) return total_[c] == 0 || s_.once[0].done != 0;
    if (c == sem) return s_.semaphore[0].available == permits;
    return total_[c] == 0;
  }
  const line* line_of(int c) const {
    return c == rw ? &s_.shared_mutex[0].waiting : c == sem ? &s_.semaphore[0].waiting : nullptr;
  }
  cause cause_of_class(int c) const {
    if (used_[c]) return used_[c];
    if (satisfied(c) && flaw_ != flaw::ignores_wakes && flaw_ != flaw::forgets_a_handle) return {because::satisfied};
    return {};
  }
  // One of them may be used: it lies nobody knows where, or with somebody live; or a live one ahead leaves the line.
  cause cause_by_use(int c) const {
    if (found_[c] < total_[c] && flaw_ != flaw::sees_no_buffers) return {because::outside};
    for (int f = 0; f < max_goroutines; ++f)
      if (holders_[c] >> f & 1)
        if (int const user = who_uses(f); user >= 0) return {because::holder, user};
    for (int b = 0; b < max_boxes; ++b)
      if ((holders_[c] >> (in_boxes + b) & 1) != 0 && used_[box + b] && flaw_ != flaw::forgets_boxes)
        return {because::other, box + b, true};
    for (int k = 0; k < max_channels; ++k)  // who has a receiver may take what is buffered
      if ((holders_[c] >> (in_buffers + k) & 1) != 0 && used_[receiver_of + k])
        return {because::buffer, receiver_of + k, true};
    if (const line* q = line_of(c); q != nullptr && flaw_ != flaw::ignores_the_line)
      for (int i = 0; i < q->n; ++i)
        if (live_[q->at[i] >> 2]) return {because::line, q->at[i] >> 2};
    return {};
  }
  // The live goroutine that may use what lies in f's frame: f itself, or one that it started, directly or not.
  int who_uses(int f) const {
    if (live_[f]) return f;
    return flaw_ == flaw::sees_no_lending ? -1 : live_descendant(f);
  }
  int live_descendant(int f) const {
    for (int g = 0; g < max_goroutines; ++g) {
      if (!there(g) || !live_[g]) continue;
      for (int up = g; up != nobody; up = m_.what().goroutines[up].parent)
        if (up == f) return g;
    }
    return -1;
  }
  cause cause_of(int g) const {
    if (!parked(g)) return {because::runs};
    if (s_.g[g].context == limited && flaw_ != flaw::ignores_limits) return {because::limit};
    if (s_.g[g].is == status::in_line) {
      int const owner = m_.what().goroutines[g].parent;
      return time_ends_wait_of(owner) ? cause{because::runs} : cause_of_place(owner);
    }
    if (s_.g[g].at >= phase::relock) return cause_of_mutex(m_.mutex_of(s_, g));
    const step& t = *m_.at(s_, g);
    for (int i = 0; i < t.count; ++i) {
      const wait_case& c = t.cases[i];
      if (!m_.enabled(s_, g, c)) continue;
      if (cause const why = cause_of_case(g, c)) return why;
      if (flaw_ == flaw::first_case_only) break;
    }
    return {};
  }
  cause cause_of_case(int g, const wait_case& c) const {
    switch (c.what) {
      case wait_kind::sleep:
        return flaw_ == flaw::ignores_sleep ? cause{} : cause{because::sleeps};
      case wait_kind::event:
      case wait_kind::condition:
        return cause_of_bell(m_.bell_of(s_, g, c.a));
      case wait_kind::lock:
        return cause_of_mutex(c.a);
      case wait_kind::start:
        return cause_of_place(g);
      case wait_kind::done:
        if (m_.observed) return {because::done};
        // Whoever is live may cancel the scope that all are in.
        for (int k = 0; k < max_goroutines; ++k)
          if (live_[k]) return {because::other, k};
        if (int const source = s_.g[g].context; source != 0 && used_[canceller + source - 1])
          return {because::other, canceller + source - 1, true};
        return {};
      case wait_kind::join:
        return !there(c.a) || live_[c.a] ? cause{because::other, c.a} : cause{};
      case wait_kind::members: {
        if (flaw_ == flaw::never_judges_joins) return {because::runs};
        return cause_of_members(g);
      }
      case wait_kind::once:
        if (flaw_ == flaw::never_judges_calls) return {because::runs};
        if (flaw_ == flaw::forgets_calls) return {};
        [[fallthrough]];
      default: {
        int const k = needs(g, c);
        if (usable_[k]) return {because::other, k, true};
        // Another sender can close the channel.
        if (c.what != wait_kind::send || flaw_ == flaw::forgets_close) return {};
        return used_[k - receiver_of] ? cause{because::other, k - receiver_of, true} : cause{};
      }
    }
  }

  cause cause_of_mutex(unsigned i) const {
    if (flaw_ == flaw::never_judges_mutexes) return {because::runs};
    int const k = guard_of + static_cast<int>(i);
    return usable_[k] ? cause{because::other, k, true} : cause{};
  }
  cause cause_of_bell(int bell) const {
    if (flaw_ == flaw::never_judges_bells) return {because::runs};
    if (bell == outside_bell) return {because::bell_outside};
    if (bell < frame_bells) {
      if (flaw_ == flaw::forgets_box_bells) return {};
      return usable_[box + bell] ? cause{because::other, box + bell, true} : cause{};
    }
    int const user = flaw_ == flaw::forgets_frame_bells ? -1 : who_uses(bell - frame_bells);
    return user >= 0 ? cause{because::holder, user} : cause{};
  }
  // Its time may have come: then it runs, though it has not made its step yet.
  bool time_ends_wait_of(int g) const {
    if (!parked(g)) return false;
    if (s_.g[g].context == limited) return true;
    const step& t = *m_.at(s_, g);
    return std::any_of(t.cases.begin(), t.cases.begin() + t.count,
                       [](const wait_case& c) { return c.what == wait_kind::sleep; });
  }
  // An owner that runs may have taken the place that somebody left.
  cause cause_of_place(int owner) const {
    if (flaw_ == flaw::never_judges_places) return {because::runs};
    if (flaw_ == flaw::forgets_places) return {};
    return parked(owner) ? cause_of_members(owner) : cause{because::runs};
  }
  cause cause_of_members(int owner) const {
    bool any = false;
    for (int k = 0; k < max_goroutines; ++k) {
      if (m_.what().goroutines[k].parent != owner || !there(k)) continue;
      any = true;
      if (live_[k]) return {because::other, k};
      if (int const below = live_descendant(k); below >= 0) return {because::descendant, below};
    }
    return any ? cause{} : cause{because::runs};
  }

  static constexpr int in_boxes = max_goroutines, in_buffers = in_boxes + max_boxes;  // as holders
  const machine& m_;
  const state& s_;
  flaw flaw_;
  int total_[classes]{}, found_[classes]{};
  unsigned holders_[classes]{};
  cause live_[max_goroutines], usable_[classes];
  cause used_[classes];  // usable, and not only because it looks as if the wait were satisfied
};

std::string marks::origin(int g) const {
  // Causes were found one after the other, so there is no circle.
  cause now = live_[g];
  int about = -1;
  for (;;) switch (now.why) {
      case because::other:
        if (now.a_class) {
          about = now.of;
          now = used_[about] ? used_[about] : usable_[about];
        } else if (!there(now.of)) {
          return "a goroutine that has ended";
        } else {
          now = live_[now.of];
        }
        break;
      case because::holder:
      case because::line:
        now = live_[now.of];
        break;
      case because::outside:
        return std::string("a ") + noun(about) + " of one that still runs";
      case because::buffer:
        return std::string("a ") + noun(about) + " in a buffer that a live goroutine may receive from";
      case because::satisfied:
        return std::string("a wait for a ") + noun(about) + " that looks satisfied";
      case because::descendant:
        return "a member that is leaked itself, and has a live descendant";
      case because::bell_outside:
        return "an event or condition outside of frames and shared objects";
      case because::done:
        return "a wait for done()";
      case because::sleeps:
        return "a sleep";
      case because::limit:
        return "a wait that is bounded in time";
      case because::runs:
        return "one that still runs";
      case because::dead:
        return "nothing";
    }
}

}  // namespace

unsigned leaked_by_the_rules(const machine& m, const state& s, flaw f) {
  marks all(m, s, f);
  unsigned mask = 0;
  for (int g = 0; g < max_goroutines; ++g)
    if (all.there(g) && !all.live(g)) mask |= 1u << g;
  return mask;
}

std::string why_missed(const machine& m, const state& s, int g) { return marks(m, s, flaw::none).origin(g); }

}  // namespace leash::test::fuzz
