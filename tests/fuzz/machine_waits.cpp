// Waits, from their preparation to what comes of them.
#include "machine.hpp"

namespace leash::test::fuzz {

namespace {
constexpr unsigned no_case = 3;
}  // namespace

// --- waits
bool machine::enabled(const state& s, int g, const wait_case& c) const {
  switch (c.what) {
    case wait_kind::recv:
      return kind_of(slot(s, g, c.a)) == kind::rx;
    case wait_kind::send:
      return kind_of(slot(s, g, c.a)) == kind::tx;
    case wait_kind::join:
      return plan_.goroutines[c.a].parent == g && s.g[c.a].is != status::unborn;
    case wait_kind::event:
      return bell_of(s, g, c.a) >= 0;
    case wait_kind::condition:
      return bell_of(s, g, c.a) >= 0 && kind_of(slot(s, g, c.b)) == kind::guard;
    default:
      return true;
  }
}

bool machine::prepare(state& s, int g) {
  const step& t = *at(s, g);
  for (int i = 0; i < t.count; ++i) switch (t.cases[i].what) {
      case wait_kind::recv:
      case wait_kind::lock:
      case wait_kind::lock_write:
      case wait_kind::lock_read:
      case wait_kind::acquire:
        put(s, g, t.cases[i].b, 0);
        break;
      case wait_kind::start:
        s.g[t.cases[i].a].is = status::handed_over;
        for (int k = 0; k < slots; ++k)
          if (t.cases[i].n >> k & 1) s.g[t.cases[i].a].slot[k] = std::exchange(slot(s, g, k), thing{});
        break;
      default:
        break;
    }
  return t.select || enabled(s, g, t.cases[0]);
}

bool machine::unwinds_first(const state& s, int g) const {
  if (!in_ended_context(s, g)) return false;
  const step& t = *at(s, g);
  for (int i = 0; i < t.count; ++i)
    if (t.cases[i].what == wait_kind::done) return false;
  return true;
}

// Blocks of with_cancel neither nest nor contain scopes: the next one that closes is its own. A call of a once that it is
// in, and not only on the way there, has failed.
void machine::unwind(state& s, int g) {
  goroutine_state& me = s.g[g];
  me.context = me.late = me.tries = 0;
  me.at = phase::none;
  for (int ahead = 0; at(s, g)->what != op::cancel_close; ++me.pc) {
    const step& t = *at(s, g);
    if (t.what == op::once_open) ++ahead;
    if (t.what == op::once_close && ahead-- == 0) {
      end_call(s, s.once[t.a], false);
      ahead = 0;
    }
  }
}

bool machine::ready(const state& s, int g, const wait_case& c) const {
  if (!enabled(s, g, c)) return false;
  auto receivable = [&](const channel_state& ch) {
    for (unsigned i = 0; i < ch.sending.n; ++i)
      if (s.g[ch.sending.at[i] >> 2].is == status::waiting) return true;
    return ch.buffered != 0 || ch.closed || ch.senders == 0;
  };
  auto sendable = [&](const channel_state& ch, std::uint8_t capacity) {
    for (unsigned i = 0; i < ch.receiving.n; ++i)
      if (s.g[ch.receiving.at[i] >> 2].is == status::waiting) return true;
    return ch.closed || ch.receivers == 0 || ch.buffered < capacity;
  };
  switch (c.what) {
    case wait_kind::recv:
      return receivable(s.channel[object_of(slot(s, g, c.a))]);
    case wait_kind::send: {
      unsigned const i = object_of(slot(s, g, c.a));
      return sendable(s.channel[i], plan_.capacity[i]);
    }
    case wait_kind::lock:
      return !s.mutex[c.a].locked;
    case wait_kind::lock_write:
      return !s.shared_mutex[c.a].writer && s.shared_mutex[c.a].readers == 0 && s.shared_mutex[c.a].waiting.n == 0;
    case wait_kind::lock_read:
      return !s.shared_mutex[c.a].writer && s.shared_mutex[c.a].waiting.n == 0;
    case wait_kind::acquire:
      return s.semaphore[c.a].waiting.n == 0 && s.semaphore[c.a].available >= c.n;
    case wait_kind::group:
      return s.group[c.a].tokens == 0;
    case wait_kind::event:
      return (s.bell[bell_of(s, g, c.a)] & event_set) != 0;
    case wait_kind::sleep:
      return false;
    case wait_kind::done:
      return in_ended_context(s, g);
    case wait_kind::join:
      return s.g[c.a].is == status::ended;
    case wait_kind::members:
      return !has_members(s, g);
    case wait_kind::condition:
      return c.n != 0 && (s.bell[bell_of(s, g, c.a)] & flag_set) != 0;
    case wait_kind::once:
      return s.once[c.a].done || s.once[c.a].caller == 0;
    case wait_kind::start:
      return place_free(s, g);
  }
  return false;
}

unsigned machine::ready_cases(const state& s, int g) const {
  const step& t = *at(s, g);
  unsigned mask = 0;
  for (unsigned i = 0; i < t.count; ++i)
    if (ready(s, g, t.cases[i])) mask |= 1u << i;
  if (in_ended_context(s, g))  // the wait for the context's end comes before everything else
    for (unsigned i = 0; i < t.count; ++i)
      if (t.cases[i].what == wait_kind::done) return 1u << i;
  return mask;
}

void machine::win(state& s, int g, unsigned which) {
  const wait_case& c = at(s, g)->cases[which];
  goroutine_state& me = s.g[g];
  me.winner = static_cast<std::uint8_t>(which);
  me.success = 1;
  switch (c.what) {
    case wait_kind::recv:
      me.success = receive(s, s.channel[object_of(slot(s, g, c.a))], me.value);
      break;
    case wait_kind::send: {
      channel_state& ch = s.channel[object_of(slot(s, g, c.a))];
      if (ch.closed || ch.receivers == 0)
        me.success = 0;
      else
        send(s, ch, std::exchange(slot(s, g, c.b), thing{}));
      break;
    }
    case wait_kind::lock:
      s.mutex[c.a].locked = 1;
      break;
    case wait_kind::lock_write:
      s.shared_mutex[c.a].writer = 1;
      break;
    case wait_kind::lock_read:
      ++s.shared_mutex[c.a].readers;
      break;
    case wait_kind::acquire:
      s.semaphore[c.a].available = static_cast<std::uint8_t>(s.semaphore[c.a].available - c.n);
      ++s.semaphore[c.a].holders;
      break;
    case wait_kind::condition:
      if (c.n != 0) s.bell[bell_of(s, g, c.a)] &= static_cast<std::uint8_t>(~flag_set);
      break;
    case wait_kind::once:
      me.success = !s.once[c.a].done;
      if (me.success) s.once[c.a].caller = static_cast<std::uint8_t>(1 + g);
      break;
    default:
      break;
  }
  place(s, g);
}

// The wait is over: its result goes where the step says, and the goroutine goes on.
void machine::place(state& s, int g) {
  goroutine_state& me = s.g[g];
  const wait_case& c = at(s, g)->cases[me.winner];
  switch (c.what) {
    case wait_kind::recv:
      if (me.success) put(s, g, c.b, me.value);
      break;
    case wait_kind::lock:
      put(s, g, c.b, make_thing(kind::guard, c.a));
      break;
    case wait_kind::lock_write:
      put(s, g, c.b, make_thing(kind::write_guard, c.a));
      break;
    case wait_kind::lock_read:
      put(s, g, c.b, make_thing(kind::read_guard, c.a));
      break;
    case wait_kind::acquire:
      put(s, g, c.b, make_thing(kind::permit, c.a, c.n));
      break;
    case wait_kind::members:
      me.limit = 0;
      break;
    case wait_kind::once:
      if (!me.success) me.pc = static_cast<std::uint8_t>(plan::closing(plan_.goroutines[g], me.pc));
      break;
    case wait_kind::start:
      s.g[c.a].is = status::ready;
      s.g[c.a].frame = c.a;
      break;
    default:
      break;
  }
  me.winner = me.value = me.success = me.tries = 0;
  me.at = phase::none;
  me.is = status::ready;
  ++me.pc;
}

void machine::block(state& s, int g) {
  const step& t = *at(s, g);
  s.g[g].is = status::waiting;
  for (unsigned i = 0; i < t.count; ++i) {
    const wait_case& c = t.cases[i];
    if (!enabled(s, g, c)) continue;
    switch (c.what) {
      case wait_kind::recv:
        push(s.channel[object_of(slot(s, g, c.a))].receiving, g, i);
        break;
      case wait_kind::send:
        push(s.channel[object_of(slot(s, g, c.a))].sending, g, i);
        break;
      case wait_kind::lock:
        push(s.mutex[c.a].waiting, g, i);
        break;
      case wait_kind::lock_write:
      case wait_kind::lock_read:
        push(s.shared_mutex[c.a].waiting, g, i);
        break;
      case wait_kind::acquire:
        push(s.semaphore[c.a].waiting, g, i);
        break;
      case wait_kind::group:
        push(s.group[c.a].waiting, g, i);
        break;
      case wait_kind::once:
        push(s.once[c.a].waiting, g, i);
        break;
      case wait_kind::condition: {
        int const bell = bell_of(s, g, c.a);
        push(s.noticing, g, i);
        for (unsigned k = s.noticing.n - 1u; k > 0; --k) {
          int const before = s.noticing.at[k - 1] >> 2;
          if (bell_of(s, before, at(s, before)->cases[0].a) <= bell) break;
          std::swap(s.noticing.at[k - 1], s.noticing.at[k]);
        }
        s.g[g].at = phase::notice;
        unlock(s, s.mutex[mutex_of(s, g)]);
        break;
      }
      default:
        break;
    }
  }
}

// Out of all queues but that of `except`.
void machine::leave(state& s, int g, unsigned except) {
  const step& t = *at(s, g);
  for (unsigned i = 0; i < t.count; ++i) {
    const wait_case& c = t.cases[i];
    if (i == except) continue;
    switch (c.what) {
      case wait_kind::recv:
      case wait_kind::send:
        // Its end may have moved on meanwhile (as the value of another case): look everywhere.
        for (channel_state& ch : s.channel) remove_entry(c.what == wait_kind::recv ? ch.receiving : ch.sending, g, i);
        break;
      case wait_kind::lock:
        remove_entry(s.mutex[c.a].waiting, g, i);
        break;
      case wait_kind::lock_write:
      case wait_kind::lock_read:
        if (remove_entry(s.shared_mutex[c.a].waiting, g, i)) admit(s, s.shared_mutex[c.a]);
        break;
      case wait_kind::acquire:
        if (remove_entry(s.semaphore[c.a].waiting, g, i)) grant(s, s.semaphore[c.a]);
        break;
      case wait_kind::group:
        remove_entry(s.group[c.a].waiting, g, i);
        break;
      case wait_kind::once:
        remove_entry(s.once[c.a].waiting, g, i);
        break;
      case wait_kind::condition:
        remove_entry(s.noticing, g, i);
        break;
      default:
        break;
    }
  }
}

void machine::lock_again(state& s, int g, phase why) {
  goroutine_state& me = s.g[g];
  me.at = why;
  me.success = 0;
  mutex_state& m = s.mutex[mutex_of(s, g)];
  if (m.locked) {
    push(m.waiting, g, 0);
    me.is = status::waiting;
    return;
  }
  m.locked = 1;
  locked_again(s, g);
}

// It looks whether what it waits for is so; unless it unwinds.
void machine::locked_again(state& s, int g) {
  goroutine_state& me = s.g[g];
  me.success = me.tries = 0;
  if (me.at == phase::relock_to_unwind) {
    me.is = status::ready;
    unwind(s, g);
    return;
  }
  const wait_case& c = at(s, g)->cases[0];
  if (c.n == 0 || ready(s, g, c)) {
    win(s, g, 0);
  } else if (in_ended_context(s, g)) {  // before it waits once more
    unlock(s, s.mutex[mutex_of(s, g)]);
    lock_again(s, g, phase::relock_to_unwind);
  } else {
    block(s, g);
  }
}

void machine::resume(state& s, int g) {
  goroutine_state& me = s.g[g];
  switch (me.is) {
    case status::woken:
      if (me.at == phase::notice) {
        lock_again(s, g, phase::relock);
      } else if (me.at != phase::none) {
        locked_again(s, g);
      } else {
        leave(s, g, me.winner);
        place(s, g);
      }
      break;
    case status::cut:
      leave(s, g, no_case);
      if (me.at == phase::notice) {
        lock_again(s, g, phase::relock_to_unwind);
      } else {
        me.is = status::ready;
        unwind(s, g);
      }
      break;
    case status::retrying: {
      mutex_state& m = s.mutex[mutex_of(s, g)];
      if (!m.locked) {
        m.locked = 1;
        me.is = status::woken;
        me.success = 1;
      } else {
        if (me.tries < patience) ++me.tries;
        push(m.waiting, g, 0);
        me.is = me.at == phase::none && in_ended_context(s, g) ? status::cut : status::waiting;
      }
      break;
    }
    default:
      break;
  }
}

bool machine::run_out(state& s, int g) {
  goroutine_state& me = s.g[g];
  if (me.is != status::waiting || me.context != limited) return false;
  me.late = 1;
  me.is = status::cut;
  return true;
}

bool machine::waits_for_time(const state& s, int g) const {
  if (s.g[g].is != status::waiting) return false;
  const step& t = *at(s, g);
  bool sleeps = s.g[g].context == limited;
  for (unsigned i = 0; i < t.count; ++i) sleeps |= t.cases[i].what == wait_kind::sleep;
  return sleeps;
}

bool machine::fire(state& s, int g) {
  if (s.g[g].is != status::waiting) return false;
  const step& t = *at(s, g);
  for (unsigned i = 0; i < t.count; ++i)
    if (t.cases[i].what == wait_kind::sleep)
      return claim(s, static_cast<std::uint8_t>(g << 2 | static_cast<int>(i)), 0, true);
  return false;
}

}  // namespace leash::test::fuzz
