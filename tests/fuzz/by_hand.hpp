// Plans written by hand, whose truth is known.
#pragma once
#include <initializer_list>

#include "plan.hpp"

namespace leash::test::fuzz {

inline step wait_for(std::initializer_list<wait_case> cases) {
  step t{op::wait};
  for (const wait_case& c : cases) t.cases[t.count++] = c;
  t.select = t.count > 1;
  return t;
}
inline step recv(std::uint8_t end, std::uint8_t to) { return wait_for({{wait_kind::recv, end, to}}); }
inline step send(std::uint8_t end, std::uint8_t value) { return wait_for({{wait_kind::send, end, value}}); }
inline step acquire(std::uint8_t n, std::uint8_t to) { return wait_for({{wait_kind::acquire, 0, to, n}}); }
inline step sleep_for(std::uint8_t n) { return wait_for({{wait_kind::sleep, 0, 0, n}}); }
inline step with_slot(op what, std::uint8_t slot, std::uint8_t other = 0) { return {what, slot, other}; }
inline step lock(std::uint8_t to) { return wait_for({{wait_kind::lock, 0, to}}); }
inline step until_notified(std::uint8_t bell, std::uint8_t guard) {
  return wait_for({{wait_kind::condition, bell, guard, 0}});
}
inline step until_flag_taken(std::uint8_t bell, std::uint8_t guard) {
  return wait_for({{wait_kind::condition, bell, guard, 1}});
}
inline step call_once() {
  step t = wait_for({{wait_kind::once}});
  t.what = op::once_open;
  return t;
}
inline step open_scope(std::uint8_t max_children) { return {op::scope_open, 0, 0, max_children}; }
inline step spawn(std::uint8_t g, std::uint8_t mask) { return {op::spawn, g, 0, mask}; }
inline step join_scope() {
  step t = wait_for({{wait_kind::members}});
  t.what = op::scope_close;
  return t;
}

class by_hand {
 public:
  explicit by_hand(std::initializer_list<std::uint8_t> capacities) {
    for (std::uint8_t c : capacities) p_.capacity[static_cast<std::size_t>(p_.channels++)] = c;
    p_.sources = max_sources;
  }
  /// A goroutine that is there from the start.
  by_hand& with(std::size_t g, std::initializer_list<thing> held, std::initializer_list<step> steps) {
    p_.goroutines[g].used = true;
    std::size_t i = 0;
    for (thing t : held) p_.goroutines[g].slot[i++] = t;
    p_.goroutines[g].steps = steps;
    return *this;
  }
  by_hand& spawned(std::size_t g, std::uint8_t parent, std::initializer_list<step> steps) {
    p_.goroutines[g].used = true;
    p_.goroutines[g].parent = parent;
    p_.goroutines[g].steps = steps;
    return *this;
  }
  operator plan() const { return p_; }

 private:
  plan p_;
};

constexpr thing tx(unsigned c) { return make_thing(kind::tx, c); }
constexpr thing rx(unsigned c) { return make_thing(kind::rx, c); }
constexpr thing source(unsigned i = 0) { return make_thing(kind::source, i); }
constexpr thing box(unsigned i = 0) { return make_thing(kind::box, i); }
inline step with_box(op what, std::uint8_t slot, std::uint8_t other, std::uint8_t cell = 0) {
  return {what, slot, other, cell};
}

/// g0 puts the only sender into a box, and the box's handle into another one that lies in the first: nobody has a handle
/// to either, unless g1 keeps one. g2 waits for the sender.
inline plan circle_of_boxes(bool kept) {
  return by_hand({0})
      .with(0, {tx(0), box(0), box(1), box(0)},
            {with_box(op::put_in, 1, 0), with_box(op::put_in, 2, 3), with_box(op::put_in, 1, 2, 1),
             with_slot(op::drop, 1)})
      .with(1, {kept ? box(1) : thing{}},
            {sleep_for(0), with_box(op::take_out, 0, 1), with_box(op::take_out, 1, 2), send(2, 3)})
      .with(2, {rx(0)}, {recv(0, 1)});
}

/// Of two permits g0, which is leaked, holds one; g1 asks for both, under a time limit; g2 stands behind it, for one.
inline plan line_with_a_time_limit() {
  return by_hand({0})
      .with(0, {rx(0), tx(0)}, {acquire(1, 2), recv(0, 3)})
      .with(1, {}, {sleep_for(0), wait_for({{wait_kind::acquire, 0, 0, 2}, {wait_kind::sleep, 0, 0, 4}})})
      .with(2, {}, {sleep_for(1), acquire(1, 0)});
}

/// g0 is leaked, in a with_cancel; g1 waits for g0; g2 can cancel g0.
inline plan cancelled_holder() {
  return by_hand({0, 0})
      .with(0, {rx(0), tx(0), tx(1), source()}, {with_slot(op::cancel_open, 3), recv(0, 4), {op::cancel_close}})
      .with(1, {rx(1)}, {recv(0, 1)})
      .with(2, {source()}, {sleep_for(0), with_slot(op::cancel, 0)});
}

/// Nobody will receive from g0; but g1 can close the channel.
inline plan closed_by_another() {
  return by_hand({0}).with(0, {tx(0), rx(0)}, {send(0, 2)}).with(1, {tx(0)}, {sleep_for(0), with_slot(op::close, 0)});
}

/// g0 waits for what g1 sends, with a sender that g0 has lent it.
inline plan lent_sender() {
  return by_hand({0})
      .with(0, {rx(0), tx(0)}, {{op::scope_open}, {op::lend, 1}, recv(0, 2), join_scope()})
      .spawned(1, 0, {sleep_for(0), send(1, 3)});
}

/// g0's guard lies in the buffer of a channel whose last end lies there too; g1 waits for the mutex.
inline plan guard_that_nobody_has() {
  return by_hand({2}).with(0, {rx(0), tx(0)}, {lock(2), send(1, 0), send(1, 2)}).with(1, {}, {sleep_for(0), lock(0)});
}

/// g1 is leaked, the child of g0; its own child g2 lives. So g0 waits in vain.
inline plan live_grandchild() {
  return by_hand({0, 0})
      .with(0, {rx(0)}, {{op::scope_open}, {op::spawn, 1, 0, 1}, join_scope()})
      .spawned(1, 0, {{op::scope_open}, {op::spawn, 2, 0, 2}, recv(0, 3), join_scope()})
      .spawned(2, 1, {wait_for({{wait_kind::event, bell_outside}})})
      .with(3, {rx(1), tx(1), tx(0)}, {recv(0, 3)});
}

/// g0 waits for the condition of a box, to which only it has a handle; or g1, which will notify, has one too.
inline plan condition_in_a_box(bool kept) {
  return by_hand({0})
      .with(0, {box(0)}, {lock(1), until_notified(0, 1)})
      .with(1, {kept ? box(0) : thing{}}, {sleep_for(0), {op::notify, 0}});
}

/// The flag is set once, and all are told: one of two takes it, and the other one waits on.
inline plan one_flag_for_two() {
  return by_hand({0})
      .with(0, {box(0)}, {lock(1), until_flag_taken(0, 1)})
      .with(1, {box(0)}, {lock(1), until_flag_taken(0, 1)})
      .with(2, {box(0)}, {sleep_for(0), {op::notify, 0, 1, 1}});
}

/// g0 is notified by g1, which has locked the mutex meanwhile, and keeps it: for ever, or for a while.
inline plan notified_by_the_holder(bool for_ever) {
  return by_hand({0})
      .with(0, {box(0)}, {lock(1), until_notified(0, 1)})
      .with(1, {box(0), rx(0), tx(0)}, {sleep_for(0), lock(3), {op::notify, 0}, for_ever ? recv(1, 4) : sleep_for(1)});
}

/// g0 is cut in a with_cancel while it waits for a condition, and cannot unwind: its mutex is held by one that is leaked.
inline plan cut_without_its_mutex() {
  return by_hand({0})
      .with(0, {box(0), source()}, {lock(2), with_slot(op::cancel_open, 1), until_notified(0, 2), {op::cancel_close}})
      .with(1, {source(), rx(0), tx(0)}, {sleep_for(0), lock(3), with_slot(op::cancel, 0), recv(1, 4)});
}

/// g0 waits for an event in its frame, which g1 works on: it sets it in the end, or waits for it too.
inline plan event_in_a_frame(bool sets) {
  return by_hand({0})
      .with(0, {}, {{op::scope_open}, {op::lend, 1}, wait_for({{wait_kind::event, bell_of_frame}}), join_scope()})
      .spawned(1, 0,
               {sleep_for(0), sets ? step{op::set, bell_of_frame} : wait_for({{wait_kind::event, bell_of_frame}})});
}

/// g0's call starts g1, which calls too, and is waited for.
inline plan once_in_itself() {
  return by_hand({0})
      .with(0, {}, {call_once(), {op::scope_open}, spawn(1, 0), join_scope(), {op::once_close}})
      .spawned(1, 0, {call_once(), {op::once_close}});
}

/// g0's call waits in vain, or g2 sends to it; g1 calls too.
inline plan second_caller(bool in_vain) {
  return by_hand({0})
      .with(0, {rx(0), in_vain ? tx(0) : thing{}}, {call_once(), recv(0, 2), {op::once_close}})
      .with(1, {}, {sleep_for(0), call_once(), {op::once_close}})
      .with(2, {in_vain ? thing{} : tx(0)}, {sleep_for(1), send(0, 1)});
}

/// The call that waits in vain is cut: the next one in line calls, and waits in vain in its turn.
inline plan call_that_is_cut() {
  return by_hand({0, 0})
      .with(0, {rx(0), tx(0), source()},
            {with_slot(op::cancel_open, 2), call_once(), recv(0, 3), {op::once_close}, {op::cancel_close}})
      .with(1, {rx(1), tx(1)}, {sleep_for(0), call_once(), recv(0, 3), {op::once_close}})
      .with(2, {source()}, {sleep_for(1), with_slot(op::cancel, 0)});
}

/// g1 has the only place, for ever or for a while; g2 stands in line, or is waited for in start().
inline plan one_place(bool for_ever, bool starts) {
  return by_hand({0})
      .with(0, {rx(0), tx(0)},
            {open_scope(1), spawn(1, 3), starts ? wait_for({{wait_kind::start, 2}}) : spawn(2, 0), join_scope()})
      .spawned(1, 0, {for_ever ? recv(0, 2) : sleep_for(0)})
      .spawned(2, 0, {{op::yield}});
}

/// g1 has the only place, and waits for what g2 would send, which stands in line behind it or is waited for in start().
inline plan place_that_waits_for_the_line(bool starts) {
  return by_hand({0})
      .with(0, {rx(0), tx(0)},
            {open_scope(1), spawn(1, 1), starts ? wait_for({{wait_kind::start, 2, 0, 2}}) : spawn(2, 2), join_scope()})
      .spawned(1, 0, {recv(0, 2)})
      .spawned(2, 0, {send(1, 2)});
}

}  // namespace leash::test::fuzz
