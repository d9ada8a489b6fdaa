// Queues, what lies in slots, and what giving it up does.
#include "machine.hpp"

namespace leash::test::fuzz {

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
      if (kind_of(t) == kind::box) ++s.box[object_of(t)].owners;
      if (kind_of(t) == kind::weak_box) ++s.box[object_of(t)].watchers;
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
    case kind::box:
      if (--s.box[i].owners != 0) break;
      s.bell[i] = 0;
      for (int k = cells - 1; k >= 0; --k) drop(s, std::exchange(s.box[i].cell[k], thing{}));
      break;
    case kind::weak_box:
      --s.box[i].watchers;
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

/// What is buffered first, or what the first sender has; false: the end.
bool machine::receive(state& s, channel_state& c, thing& got) {
  bool const buffered = c.buffered != 0;
  if (buffered) {
    got = c.buffer[0];
    --c.buffered;
    for (unsigned i = 0; i < c.buffered; ++i) c.buffer[i] = c.buffer[i + 1];
    c.buffer[c.buffered] = 0;
  }
  int const from = claim_first(s, c.sending, 0, true);
  if (from < 0) return buffered;
  thing const sent = take_sent(s, static_cast<std::uint8_t>(from));
  if (buffered) return send(s, c, sent);  // the place is free: the sender that waits longest gets it
  got = sent;
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
    if (w.context != source + 1 || w.is != status::waiting || w.at > phase::notice) continue;
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
        s.g[k].is != status::handed_over && s.g[k].is != status::ended)
      return true;
  return false;
}

// --- conditions
int machine::bell_of(const state& s, int g, std::uint8_t named) const {
  if (named == bell_outside) return outside_bell;
  if (named == bell_of_frame) return frame_bells + s.g[g].frame;
  thing const t = slot(s, g, named);
  return kind_of(t) == kind::box ? static_cast<int>(object_of(t)) : -1;
}

unsigned machine::mutex_of(const state& s, int g) const {
  const wait_case& c = at(s, g)->cases[0];
  return s.g[g].at == phase::none ? c.a : object_of(slot(s, g, c.b));
}

bool machine::let_go(const state& s, int f, int slot) const {
  for (int g = 0; g < max_goroutines; ++g)
    if (s.g[g].at != phase::none && s.g[g].frame == f && at(s, g)->cases[0].b == slot) return true;
  return false;
}

void machine::notify(state& s, int bell, bool all) {
  for (unsigned i = 0; i < s.noticing.n;) {
    std::uint8_t const entry = s.noticing.at[i];
    int const g = entry >> 2;
    if (bell_of(s, g, at(s, g)->cases[0].a) != bell) {
      ++i;
      continue;
    }
    remove(s.noticing, i);
    if (claim(s, entry, 0, true) && !all) return;
  }
}

// --- once
void machine::end_call(state& s, once_state& o, bool completed) {
  o.caller = 0;
  if (completed) {
    o.done = 1;
    claim_all(s, o.waiting);
  } else if (int const entry = claim_first(s, o.waiting, 0, true); entry >= 0) {
    o.caller = static_cast<std::uint8_t>(1 + (entry >> 2));
  }
}

// --- places under max_children
bool machine::place_free(const state& s, int g) const {
  int taken = 0;
  for (int k = 0; k < max_goroutines; ++k)
    taken += plan_.goroutines[k].parent == g && s.g[k].is >= status::ready && s.g[k].is != status::ended;
  return s.g[g].limit == 0 || taken < s.g[g].limit;
}

// First those who were started, in their order, which is that of their numbers; then a start().
void machine::give_place(state& s, int parent) {
  if (s.g[parent].limit == 0) return;
  for (int k = 0; k < max_goroutines; ++k)
    if (plan_.goroutines[k].parent == parent && s.g[k].is == status::in_line) {
      s.g[k].is = status::ready;
      return;
    }
  if (s.g[parent].is == status::waiting && at(s, parent)->cases[0].what == wait_kind::start)
    claim(s, static_cast<std::uint8_t>(parent << 2), 0, true);
}

}  // namespace leash::test::fuzz
