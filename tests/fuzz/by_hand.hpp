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

/// g1 is leaked, the child of g0; its own child g2 lives. So g0 waits in vain.
inline plan live_grandchild() {
  return by_hand({0, 0})
      .with(0, {rx(0)}, {{op::scope_open}, {op::spawn, 1, 0, 1}, join_scope()})
      .spawned(1, 0, {{op::scope_open}, {op::spawn, 2, 0, 2}, recv(0, 3), join_scope()})
      .spawned(2, 1, {wait_for({{wait_kind::event}})})
      .with(3, {rx(1), tx(1), tx(0)}, {recv(0, 3)});
}

}  // namespace leash::test::fuzz
