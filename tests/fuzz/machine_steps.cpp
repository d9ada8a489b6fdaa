// Steps that do not wait, and the end of a goroutine.
#include "machine.hpp"

namespace leash::test::fuzz {

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
          thing got = 0;
          if (receive(s, s.channel[object_of(slot(s, g, t.a))], got)) put(s, g, t.b, got);
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
      if (k != kind::tx && k != kind::rx && k != kind::source && k != kind::box && k != kind::weak_box) break;
      if (k == kind::tx) ++s.channel[object_of(held)].senders;
      if (k == kind::rx) ++s.channel[object_of(held)].receivers;
      if (k == kind::source) ++s.source[object_of(held)].handles;
      if (k == kind::box) ++s.box[object_of(held)].owners;
      if (k == kind::weak_box) ++s.box[object_of(held)].watchers;
      put(s, g, t.b, held);
      break;
    }
    case op::put_in:
      if (kind_of(held) == kind::box && t.a != t.b) {
        thing& in = s.box[object_of(held)].cell[t.n];
        drop(s, std::exchange(in, std::exchange(slot(s, g, t.b), thing{})));
      }
      break;
    case op::take_out:
      if (kind_of(held) == kind::box && t.a != t.b)
        put(s, g, t.b, std::exchange(s.box[object_of(held)].cell[t.n], thing{}));
      break;
    case op::weaken:
      if (kind_of(held) == kind::box && t.a != t.b) {
        ++s.box[object_of(held)].watchers;
        put(s, g, t.b, make_thing(kind::weak_box, object_of(held)));
      }
      break;
    case op::lift:
      if (kind_of(held) == kind::weak_box && t.a != t.b) {
        box_state& b = s.box[object_of(held)];
        bool const there = b.owners != 0;
        if (there) ++b.owners;
        put(s, g, t.b, there ? make_thing(kind::box, object_of(held)) : thing{});
      }
      break;
    case op::add:
      ++s.group[t.a].tokens;
      put(s, g, t.b, make_thing(kind::token, t.a));
      break;
    case op::set:
      if (int const bell = bell_of(s, g, t.a); bell >= 0) ring(s, bell);
      break;
    case op::notify:
      if (int const bell = bell_of(s, g, t.a); bell >= 0) {
        if (t.n != 0) s.bell[bell] |= flag_set;
        notify(s, bell, t.b != 0);
      }
      break;
    case op::cancel:
      if (kind_of(held) == kind::source) cancel(s, object_of(held));
      break;
    case op::spawn:
      s.g[t.a].is = place_free(s, g) ? status::ready : status::in_line;
      s.g[t.a].frame = t.a;
      for (int i = 0; i < slots; ++i)
        if (t.n >> i & 1) s.g[t.a].slot[i] = std::exchange(slot(s, g, i), thing{});
      break;
    case op::lend:
      s.g[t.a].is = place_free(s, g) ? status::ready : status::in_line;
      s.g[t.a].frame = me.frame;
      break;
    case op::cancel_open:
      me.late = 0;
      me.context = t.n != 0                        ? limited
                   : kind_of(held) == kind::source ? static_cast<std::uint8_t>(object_of(held) + 1)
                                                   : std::uint8_t{0};
      break;
    case op::cancel_close:
      me.context = me.late = 0;
      break;
    case op::yield:
      if (in_ended_context(s, g)) {
        unwind(s, g);
        return;
      }
      break;
    case op::scope_open:
      me.limit = t.n;
      break;
    case op::once_close:
      end_call(s, s.once[t.a], true);
      break;
    case op::wait:
    case op::scope_close:
    case op::once_open:
      break;
  }
  ++me.pc;
}

void machine::ring(state& s, int bell) {
  s.bell[bell] |= event_set;
  for (int g = 0; g < max_goroutines; ++g) {
    if (s.g[g].is != status::waiting) continue;
    const step& t = *at(s, g);
    for (unsigned i = 0; i < t.count; ++i)
      if (t.cases[i].what == wait_kind::event && bell_of(s, g, t.cases[i].a) == bell)
        claim(s, static_cast<std::uint8_t>(g << 2 | static_cast<int>(i)), 0, true);
  }
}

void machine::finish(state& s, int g) {
  goroutine_state& me = s.g[g];
  if (me.frame == g) {
    for (int i = slots - 1; i >= 0; --i) put(s, g, i, 0);
    s.bell[frame_bells + g] = 0;
  }
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
  if (int const parent = plan_.goroutines[g].parent; parent != nobody) give_place(s, parent);
}

}  // namespace leash::test::fuzz
