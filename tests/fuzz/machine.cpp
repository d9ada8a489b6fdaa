#include "machine.hpp"

namespace leash::test::fuzz {

namespace {
constexpr std::uint8_t patience = 4;  // a waiter of a mutex that came too late so often is handed the lock
constexpr unsigned no_case = 3;
}  // namespace

state machine::initial() const {
  state s;
  std::memset(&s, 0, sizeof s);
  for (semaphore_state& m : s.semaphore) m.available = permits;
  for (int g = 0; g < max_goroutines; ++g) {
    const code& c = plan_.goroutines[g];
    if (!c.used || c.parent != nobody) continue;
    s.g[g].is = status::ready;
    s.g[g].frame = static_cast<std::uint8_t>(g);
    for (int i = 0; i < slots; ++i) {
      thing const t = s.g[g].slot[i] = c.slot[i];
      if (kind_of(t) == kind::tx) ++s.channel[object_of(t)].senders;
      if (kind_of(t) == kind::rx) ++s.channel[object_of(t)].receivers;
      if (kind_of(t) == kind::source) ++s.source[object_of(t)].handles;
    }
  }
  return s;
}

const step* machine::at(const state& s, int g) const {
  const code& c = plan_.goroutines[g];
  return s.g[g].pc < c.steps.size() ? &c.steps[s.g[g].pc] : nullptr;
}

// --- queues
void machine::push(line& q, int g, unsigned which) {
  if (q.n == line::room) {
    overflow = true;
    return;
  }
  q.at[q.n++] = static_cast<std::uint8_t>(static_cast<unsigned>(g) << 2 | which);
}
void machine::remove(line& q, unsigned i) {
  for (--q.n; i < q.n; ++i) q.at[i] = q.at[i + 1];
  q.at[q.n] = 0;
}
bool machine::remove_entry(line& q, int g, unsigned which) {
  for (unsigned i = 0; i < q.n; ++i)
    if (q.at[i] == (static_cast<unsigned>(g) << 2 | which)) {
      remove(q, i);
      return true;
    }
  return false;
}
bool machine::claim(state& s, std::uint8_t entry, thing value, bool success) {
  goroutine_state& g = s.g[entry >> 2];
  if (g.is != status::waiting) return false;
  g.is = status::woken;
  g.winner = entry & 3;
  g.value = value;
  g.success = success;
  return true;
}
/// The entry that was claimed; -1: nobody.
int machine::claim_first(state& s, line& q, thing value, bool success) {
  while (q.n != 0) {
    std::uint8_t const entry = q.at[0];
    remove(q, 0);
    if (claim(s, entry, value, success)) return entry;
  }
  return -1;
}
void machine::claim_all(state& s, line& q) {
  while (claim_first(s, q, 0, false) >= 0) {
  }
}

// --- things
void machine::put(state& s, int g, int i, thing t) {
  thing const before = std::exchange(slot(s, g, i), t);
  drop(s, before);
}

void machine::drop(state& s, thing t) {
  unsigned const i = object_of(t);
  switch (kind_of(t)) {
    case kind::none:
      break;
    case kind::tx: {
      channel_state& c = s.channel[i];
      if (--c.senders == 0 && c.buffered == 0) claim_all(s, c.receiving);
      break;
    }
    case kind::rx: {
      channel_state& c = s.channel[i];
      if (--c.receivers != 0) break;
      claim_all(s, c.sending);
      thing rest[channel_state::room];
      unsigned const n = std::exchange(c.buffered, 0);
      for (unsigned k = 0; k < n; ++k) rest[k] = std::exchange(c.buffer[k], 0);
      for (unsigned k = 0; k < n; ++k) drop(s, rest[k]);
      break;
    }
    case kind::guard:
      unlock(s, s.mutex[i]);
      break;
    case kind::write_guard:
      s.shared_mutex[i].writer = 0;
      admit(s, s.shared_mutex[i]);
      break;
    case kind::read_guard:
      --s.shared_mutex[i].readers;
      admit(s, s.shared_mutex[i]);
      break;
    case kind::permit:
      s.semaphore[i].available = static_cast<std::uint8_t>(s.semaphore[i].available + count_of(t));
      --s.semaphore[i].holders;
      grant(s, s.semaphore[i]);
      break;
    case kind::token:
      if (--s.group[i].tokens == 0) claim_all(s, s.group[i].waiting);
      break;
    case kind::source:
      --s.source[i].handles;
      break;
  }
}

void machine::unlock(state& s, mutex_state& m) {
  m.locked = 0;
  while (m.waiting.n != 0) {
    std::uint8_t const entry = m.waiting.at[0];
    remove(m.waiting, 0);
    goroutine_state& g = s.g[entry >> 2];
    if (g.is != status::waiting) continue;
    // One that stands in a select, or came too late too often, is handed the lock; others try again when they run.
    if (at(s, entry >> 2)->select || g.tries >= patience) {
      claim(s, entry, 0, true);
      m.locked = 1;
    } else {
      g.is = status::retrying;
    }
    return;
  }
}

void machine::admit(state& s, shared_mutex_state& m) {
  while (m.waiting.n != 0) {
    std::uint8_t const entry = m.waiting.at[0];
    bool const shared = at(s, entry >> 2)->cases[entry & 3].what == wait_kind::lock_read;
    // A goroutine that has ended its wait otherwise still stands in line, and bars it, until it runs.
    if (m.writer || (!shared && m.readers != 0)) return;
    remove(m.waiting, 0);
    if (claim(s, entry, 0, true)) shared ? ++m.readers : ++m.writer;
  }
}

void machine::grant(state& s, semaphore_state& m) {
  while (m.waiting.n != 0) {
    std::uint8_t const entry = m.waiting.at[0];
    unsigned const n = at(s, entry >> 2)->cases[entry & 3].n;
    if (n > m.available) return;
    remove(m.waiting, 0);
    if (!claim(s, entry, 0, true)) continue;
    m.available = static_cast<std::uint8_t>(m.available - n);
    ++m.holders;
  }
}

void machine::close(state& s, channel_state& c) {
  if (c.closed) return;
  c.closed = 1;
  claim_all(s, c.sending);
  if (c.buffered == 0) claim_all(s, c.receiving);
}

bool machine::send(state& s, channel_state& c, thing t) {
  if (claim_first(s, c.receiving, t, true) >= 0) return true;
  if (c.buffered == channel_state::room) {
    overflow = true;
    return true;
  }
  c.buffer[c.buffered++] = t;
  return true;
}

thing machine::take_sent(state& s, std::uint8_t entry) {
  int const g = entry >> 2;
  return std::exchange(slot(s, g, at(s, g)->cases[entry & 3].b), thing{});
}

void machine::cancel(state& s, unsigned source) {
  if (s.source[source].fired) return;
  s.source[source].fired = 1;
  for (int g = 0; g < max_goroutines; ++g) {
    goroutine_state& w = s.g[g];
    if (w.context != source + 1 || w.is != status::waiting) continue;
    const step& t = *at(s, g);
    bool completed = false;
    for (unsigned i = 0; i < t.count && !completed; ++i)
      if (t.cases[i].what == wait_kind::done) completed = claim(s, static_cast<std::uint8_t>(g << 2 | i), 0, true);
    if (!completed && !(uncut >> g & 1)) w.is = status::cut;
  }
}

bool machine::has_members(const state& s, int g) const {
  for (int k = 0; k < max_goroutines; ++k)
    if (plan_.goroutines[k].used && plan_.goroutines[k].parent == g && s.g[k].is != status::unborn &&
        s.g[k].is != status::ended)
      return true;
  return false;
}

// --- waits
bool machine::enabled(const state& s, int g, const wait_case& c) const {
  switch (c.what) {
    case wait_kind::recv:
      return kind_of(slot(s, g, c.a)) == kind::rx;
    case wait_kind::send:
      return kind_of(slot(s, g, c.a)) == kind::tx;
    case wait_kind::join:
      return plan_.goroutines[c.a].parent == g && s.g[c.a].is != status::unborn;
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

// Blocks of with_cancel neither nest nor contain scopes: the next one that closes is its own.
void machine::unwind(state& s, int g) {
  goroutine_state& me = s.g[g];
  me.context = me.tries = 0;
  while (at(s, g)->what != op::cancel_close) ++me.pc;
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
      return s.event[c.a].set != 0;
    case wait_kind::sleep:
      return false;
    case wait_kind::done:
      return in_ended_context(s, g);
    case wait_kind::join:
      return s.g[c.a].is == status::ended;
    case wait_kind::members:
      return !has_members(s, g);
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
    case wait_kind::recv: {
      channel_state& ch = s.channel[object_of(slot(s, g, c.a))];
      auto first_sender = [&] { return claim_first(s, ch.sending, 0, true); };
      if (ch.buffered != 0) {
        me.value = ch.buffer[0];
        --ch.buffered;
        for (unsigned i = 0; i < ch.buffered; ++i) ch.buffer[i] = ch.buffer[i + 1];
        ch.buffer[ch.buffered] = 0;
        // The place is free: the sender that waits longest gets it.
        if (int const from = first_sender(); from >= 0) send(s, ch, take_sent(s, static_cast<std::uint8_t>(from)));
      } else if (int const from = first_sender(); from >= 0) {
        me.value = take_sent(s, static_cast<std::uint8_t>(from));
      } else {
        me.success = 0;
      }
      break;
    }
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
    default:
      break;
  }
  me.winner = me.value = me.success = me.tries = 0;
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
      case wait_kind::event:
        push(s.event[c.a].waiting, g, i);
        break;
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
      case wait_kind::event:
        remove_entry(s.event[c.a].waiting, g, i);
        break;
      default:
        break;
    }
  }
}

void machine::resume(state& s, int g) {
  goroutine_state& me = s.g[g];
  switch (me.is) {
    case status::woken:
      leave(s, g, me.winner);
      place(s, g);
      break;
    case status::cut:
      leave(s, g, no_case);
      me.is = status::ready;
      unwind(s, g);
      break;
    case status::retrying: {
      mutex_state& m = s.mutex[at(s, g)->cases[0].a];
      if (!m.locked) {
        m.locked = 1;
        me.is = status::woken;
        me.success = 1;
      } else {
        if (me.tries < patience) ++me.tries;
        push(m.waiting, g, 0);
        me.is = in_ended_context(s, g) ? status::cut : status::waiting;
      }
      break;
    }
    default:
      break;
  }
}

bool machine::fire(state& s, int g) {
  if (s.g[g].is != status::waiting) return false;
  const step& t = *at(s, g);
  for (unsigned i = 0; i < t.count; ++i)
    if (t.cases[i].what == wait_kind::sleep)
      return claim(s, static_cast<std::uint8_t>(g << 2 | static_cast<int>(i)), 0, true);
  return false;
}

// --- steps that do not wait
void machine::run_plain(state& s, int g) {
  const step& t = *at(s, g);
  goroutine_state& me = s.g[g];
  thing const held = slot(s, g, t.a % slots);
  switch (t.what) {
    case op::try_send:
      if (kind_of(held) == kind::tx) {
        wait_case const c{wait_kind::send, t.a, t.b};
        channel_state& ch = s.channel[object_of(held)];
        if (ready(s, g, c) && !ch.closed && ch.receivers != 0) send(s, ch, std::exchange(slot(s, g, t.b), thing{}));
      }
      break;
    case op::try_recv:
      put(s, g, t.b, 0);
      if (kind_of(slot(s, g, t.a)) == kind::rx) {
        wait_case const c{wait_kind::recv, t.a, t.b};
        if (ready(s, g, c)) {
          channel_state& ch = s.channel[object_of(slot(s, g, t.a))];
          thing got = 0;
          bool any = true;
          if (ch.buffered != 0) {
            got = ch.buffer[0];
            --ch.buffered;
            for (unsigned i = 0; i < ch.buffered; ++i) ch.buffer[i] = ch.buffer[i + 1];
            ch.buffer[ch.buffered] = 0;
            if (int const from = claim_first(s, ch.sending, 0, true); from >= 0)
              send(s, ch, take_sent(s, static_cast<std::uint8_t>(from)));
          } else if (int const from = claim_first(s, ch.sending, 0, true); from >= 0) {
            got = take_sent(s, static_cast<std::uint8_t>(from));
          } else {
            any = false;
          }
          if (any) put(s, g, t.b, got);
        }
      }
      break;
    case op::close:
      if (kind_of(held) == kind::tx) close(s, s.channel[object_of(held)]);
      break;
    case op::drop:
      put(s, g, t.a, 0);
      break;
    case op::dup: {
      kind const k = kind_of(held);
      if (k != kind::tx && k != kind::rx && k != kind::source) break;
      if (k == kind::tx) ++s.channel[object_of(held)].senders;
      if (k == kind::rx) ++s.channel[object_of(held)].receivers;
      if (k == kind::source) ++s.source[object_of(held)].handles;
      put(s, g, t.b, held);
      break;
    }
    case op::add:
      ++s.group[t.a].tokens;
      put(s, g, t.b, make_thing(kind::token, t.a));
      break;
    case op::set:
      if (!s.event[t.a].set) {
        s.event[t.a].set = 1;
        claim_all(s, s.event[t.a].waiting);
      }
      break;
    case op::cancel:
      if (kind_of(held) == kind::source) cancel(s, object_of(held));
      break;
    case op::spawn:
      s.g[t.a].is = status::ready;
      s.g[t.a].frame = t.a;
      for (int i = 0; i < slots; ++i)
        if (t.n >> i & 1) s.g[t.a].slot[i] = std::exchange(slot(s, g, i), thing{});
      break;
    case op::lend:
      s.g[t.a].is = status::ready;
      s.g[t.a].frame = me.frame;
      break;
    case op::cancel_open:
      me.context = kind_of(held) == kind::source ? static_cast<std::uint8_t>(object_of(held) + 1) : std::uint8_t{0};
      break;
    case op::cancel_close:
      me.context = 0;
      break;
    case op::yield:
      if (in_ended_context(s, g)) {
        unwind(s, g);
        return;
      }
      break;
    case op::wait:
    case op::scope_open:
    case op::scope_close:
      break;
  }
  ++me.pc;
}

void machine::finish(state& s, int g) {
  goroutine_state& me = s.g[g];
  if (me.frame == g)
    for (int i = slots - 1; i >= 0; --i) put(s, g, i, 0);
  std::memset(&me, 0, sizeof me);
  me.is = status::ended;
  for (int w = 0; w < max_goroutines; ++w) {
    if (s.g[w].is != status::waiting) continue;
    const step& t = *at(s, w);
    for (unsigned i = 0; i < t.count; ++i) {
      const wait_case& c = t.cases[i];
      bool const joins = c.what == wait_kind::join && c.a == g;
      bool const all = c.what == wait_kind::members && plan_.goroutines[g].parent == w && !has_members(s, w);
      if (joins || all) {
        claim(s, static_cast<std::uint8_t>(w << 2 | static_cast<int>(i)), 0, true);
        break;
      }
    }
  }
}

}  // namespace leash::test::fuzz
