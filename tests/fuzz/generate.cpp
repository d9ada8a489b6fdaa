// Plans at random. What probably lies in each slot is guessed along the way, so that most steps do something; a guess may
// be wrong, then the step does nothing.
#include <algorithm>

#include "plan.hpp"

namespace leash::test::fuzz {

namespace {

class dice {
 public:
  explicit dice(std::uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15u + 0x5851f42d4c957f2du) {}
  unsigned below(unsigned n) {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    std::uint64_t x = state_ >> 29;
    x = (x ^ (x >> 15)) * 0x94d049bb133111ebu;
    return static_cast<unsigned>((x >> 32) % n);
  }
  bool one_in(unsigned n) { return below(n) == 0; }

 private:
  std::uint64_t state_;
};

class generator {
 public:
  explicit generator(std::uint64_t seed) : die_(seed) { p_.seed = seed; }

  plan make() {
    p_.channels = 1 + static_cast<int>(die_.below(max_channels));
    for (int c = 0; c < p_.channels; ++c) {
      static constexpr std::uint8_t sizes[] = {0, 0, 1, 1, 2, unbounded_capacity};
      p_.capacity[static_cast<std::size_t>(c)] = sizes[die_.below(6)];
    }
    p_.mutexes = 1 + static_cast<int>(die_.below(2));
    p_.sources = die_.one_in(2) ? 1 + static_cast<int>(die_.below(2)) : 0;
    favourite_ = die_.below(12);  // half of the plans have a kind of wait that is frequent: so that its goroutines meet
    p_.boxes = die_.one_in(2) || favourite_ == conditions ? 1 + static_cast<int>(die_.below(2)) : 0;
    first_ = 2 + static_cast<int>(die_.below(3));
    born_ = first_;
    deal();
    for (int g = 0; g < first_; ++g) write(g, 3 + die_.below(5));
    return p_;
  }

 private:
  thing* slots_of(int g) { return guess_[owner_[g]].data(); }
  int pick(int g, kind k) {  // a slot that probably holds one; -1: none
    int found = -1;
    unsigned n = 0;
    for (int i = 0; i < slots; ++i)
      if (kind_of(slots_of(g)[i]) == k && die_.below(++n) == 0) found = i;
    return found;
  }
  int any(int) { return static_cast<int>(die_.below(slots)); }
  int empty(int g) {
    int const i = pick(g, kind::none);
    return i >= 0 ? i : any(g);
  }
  void deal() {
    for (int g = 0; g < max_goroutines; ++g) owner_[static_cast<std::size_t>(g)] = static_cast<std::size_t>(g);
    auto give = [&](thing t) {
      int const g = static_cast<int>(die_.below(static_cast<unsigned>(first_)));
      int const i = empty(g);
      if (slots_of(g)[i] == 0) slots_of(g)[i] = t;
    };
    for (unsigned c = 0; c < static_cast<unsigned>(p_.channels); ++c) {
      give(make_thing(kind::tx, c));
      give(make_thing(kind::rx, c));
      if (die_.one_in(3)) give(make_thing(die_.one_in(2) ? kind::tx : kind::rx, c));
    }
    for (unsigned i = 0; i < static_cast<unsigned>(p_.sources); ++i) {
      give(make_thing(kind::source, i));
      give(make_thing(kind::source, i));
      give(make_thing(kind::source, i));
    }
    for (unsigned i = 0; i < static_cast<unsigned>(p_.boxes); ++i) {
      give(make_thing(kind::box, i));
      give(make_thing(die_.one_in(4) ? kind::weak_box : kind::box, i));
      if (favourite_ == conditions) give(make_thing(kind::box, i));
    }
    for (int g = 0; g < first_; ++g) {
      p_.goroutines[static_cast<std::size_t>(g)].used = true;
      std::copy_n(slots_of(g), slots, p_.goroutines[static_cast<std::size_t>(g)].slot.begin());
    }
  }

  code& of(int g) { return p_.goroutines[static_cast<std::size_t>(g)]; }
  void emit(int g, op o, int a = 0, int b = 0, int n = 0) {
    step t{o};
    t.a = static_cast<std::uint8_t>(a), t.b = static_cast<std::uint8_t>(b), t.n = static_cast<std::uint8_t>(n);
    of(g).steps.push_back(t);
  }

  void write(int g, unsigned steps) {
    for (unsigned i = 0; i < steps; ++i) {
      unsigned const what = die_.below(100);
      if (what < 8 && born_ < max_goroutines) {
        scope(g);
      } else if (what < (favourite_ == calls ? 40u : 12u)) {
        once(g, false);
      } else if (what < 28 && p_.sources != 0 && pick(g, kind::source) >= 0) {
        emit(g, op::cancel_open, pick(g, kind::source));
        if (die_.one_in(3)) simple(g, true);
        die_.one_in(favourite_ == calls ? 2 : 8) ? once(g, true) : wait(g, true);
        if (die_.one_in(3)) simple(g, true);
        emit(g, op::cancel_close);
      } else if (what < 32) {
        // Neither a sleep nor done() in it: who wakes up there was cut. Nor a condition, whose wait may outlast it.
        emit(g, op::cancel_open, 0, 0, 1 + sleep());
        unsigned used = 0, ends = 0;
        wait_case const c = channel_case(g, used, ends);
        if (c.what != wait_kind::sleep) {
          emit_wait(g, {c});
          guess_result(g, c);
        }
        emit(g, op::cancel_close);
      } else {
        simple(g, false);
      }
    }
  }

  void once(int g, bool in_cancel) {
    step t{op::once_open};
    t.count = 1;
    t.cases[0].what = wait_kind::once;
    of(g).steps.push_back(t);
    if (die_.one_in(3)) simple(g, in_cancel);
    if (!in_cancel && born_ < max_goroutines && die_.one_in(8))
      scope(g);
    else if (!die_.one_in(4))
      wait(g, in_cancel);
    emit(g, op::once_close);
  }

  void scope(int g) {
    int const most = die_.one_in(2) ? 1 + static_cast<int>(die_.one_in(4)) : 0;
    emit(g, op::scope_open, 0, 0, most);
    std::vector<int> children;
    if (die_.one_in(3)) simple(g, false);
    for (unsigned n = 1 + die_.below(2) + (most != 0); n > 0 && born_ < max_goroutines; --n) {
      int const k = born_++;
      of(k).used = true;
      of(k).parent = static_cast<std::uint8_t>(g);
      children.push_back(k);
      if (n == 1 && die_.one_in(2)) {  // the last one: nobody else touches the slots until the scope ends
        owner_[static_cast<std::size_t>(k)] = owner_[static_cast<std::size_t>(g)];
        emit(g, op::lend, k);
        write(k, 1 + die_.below(4));
        if (die_.one_in(2)) ring(g, bell_of_frame);
        if (die_.one_in(2)) emit_wait(g, {slotless(children)});
        emit_join(g);
        return;
      }
      unsigned mask = die_.below(1u << slots) & die_.below(1u << slots);
      if (mask == 0) mask = 1u << die_.below(slots);
      for (int i = 0; i < slots; ++i)
        if (mask >> i & 1) std::swap(slots_of(k)[i], slots_of(g)[i]);
      if (most != 0 && die_.one_in(3))
        emit_wait(g, {{wait_kind::start, static_cast<std::uint8_t>(k), 0, static_cast<std::uint8_t>(mask)}});
      else
        emit(g, op::spawn, k, 0, static_cast<int>(mask));
      write(k, 1 + die_.below(4));
      if (die_.one_in(3)) simple(g, false);
    }
    if (die_.one_in(3)) {
      wait_case const c{wait_kind::join, static_cast<std::uint8_t>(children[die_.below(unsigned(children.size()))])};
      emit_wait(g, {c});
    }
    emit_join(g);
  }
  wait_case slotless(const std::vector<int>& children) {
    if (die_.one_in(3))
      return {wait_kind::join, static_cast<std::uint8_t>(children[die_.below(unsigned(children.size()))])};
    if (die_.one_in(2)) return {wait_kind::event, bell_of_frame};
    return {wait_kind::group};
  }
  void emit_join(int g) {
    step t{op::scope_close};
    t.count = 1;
    t.cases[0].what = wait_kind::members;
    of(g).steps.push_back(t);
  }

  void simple(int g, bool in_cancel) {
    if (p_.boxes != 0 && die_.one_in(4) && with_box(g)) return;
    if (die_.one_in(favourite_ == conditions ? 3 : 12)) return ring(g, bell(g));
    unsigned const what = die_.below(100);
    if (what < 50) return wait(g, in_cancel);
    if (what < 58) return try_it(g);
    int const slot = any(g);
    thing const t = slots_of(g)[slot];
    if (what < 64 && pick(g, kind::source) >= 0) return emit(g, op::cancel, pick(g, kind::source));
    bool const end = kind_of(t) == kind::tx || kind_of(t) == kind::rx || kind_of(t) == kind::source ||
                     kind_of(t) == kind::box || kind_of(t) == kind::weak_box;
    if (what < 72) {
      emit(g, op::drop, slot);
      slots_of(g)[slot] = 0;
    } else if (what < 76 && pick(g, kind::tx) >= 0) {
      emit(g, op::close, pick(g, kind::tx));
    } else if (what < 82 && end) {
      int const to = empty(g);
      emit(g, op::dup, slot, to);
      slots_of(g)[to] = t;
    } else if (what < 86 || favourite_ == groups) {
      int const to = empty(g);
      emit(g, op::add, 0, to);
      slots_of(g)[to] = make_thing(kind::token, 0);
    } else if (what < 93 && pick(g, kind::source) >= 0) {
      emit(g, op::cancel, pick(g, kind::source));
    } else {
      emit(g, op::yield);
    }
  }
  std::uint8_t bell(int g) {
    int const in_box = pick(g, kind::box);
    if (in_box >= 0 && !die_.one_in(4)) return static_cast<std::uint8_t>(in_box);
    bool const lent = owner_[static_cast<std::size_t>(g)] != static_cast<std::size_t>(g);
    return die_.one_in(lent ? 8 : 3) ? bell_outside : bell_of_frame;
  }
  void ring(int g, std::uint8_t which) {
    if (die_.one_in(3)) return emit(g, op::set, which);
    emit(g, op::notify, which, die_.one_in(3), die_.one_in(2));
  }
  void condition(int g) {
    std::uint8_t const which = bell(g);
    int held = pick(g, kind::guard);
    if (held < 0) {
      held = destination(g, which < slots ? 1u << which : 0);
      auto const m = static_cast<std::uint8_t>(die_.below(unsigned(p_.mutexes)));
      emit_wait(g, {{wait_kind::lock, m, static_cast<std::uint8_t>(held)}});
      slots_of(g)[held] = make_thing(kind::guard, m);
    }
    emit_wait(
        g, {{wait_kind::condition, which, static_cast<std::uint8_t>(held), static_cast<std::uint8_t>(die_.one_in(2))}});
  }
  /// False: it has no handle of one.
  bool with_box(int g) {
    int const cell = static_cast<int>(die_.below(cells));
    if (int const w = pick(g, kind::weak_box); w >= 0 && die_.one_in(3)) {
      int const to = destination(g, 1u << w);
      emit(g, op::lift, w, to);
      slots_of(g)[to] = make_thing(kind::box, object_of(slots_of(g)[w]));
      return true;
    }
    int const a = pick(g, kind::box);
    if (a < 0) return false;
    unsigned const i = object_of(slots_of(g)[a]);
    int b = any(g);
    while (b == a) b = any(g);
    unsigned const what = die_.below(8);
    thing& inside = in_box_[i][static_cast<std::size_t>(cell)];
    if (what < 5) {
      emit(g, op::put_in, a, b, cell);
      inside = std::exchange(slots_of(g)[b], thing{});
      if (die_.one_in(2)) {  // and is left to itself
        emit(g, op::drop, a);
        slots_of(g)[a] = 0;
      }
    } else if (what < 7) {
      emit(g, op::take_out, a, b, cell);
      slots_of(g)[b] = std::exchange(inside, thing{});
    } else {
      emit(g, op::weaken, a, b);
      slots_of(g)[b] = make_thing(kind::weak_box, i);
    }
    return true;
  }
  void try_it(int g) {
    if (int const a = pick(g, kind::tx); a >= 0 && die_.one_in(2)) {
      int const b = value(g, 1u << a);
      emit(g, op::try_send, a, b);
      guess_sent(g, a, b);
    } else if (int const r = pick(g, kind::rx); r >= 0) {
      int const b = destination(g, 1u << r);
      emit(g, op::try_recv, r, b);
      guess_received(g, r, b);
    }
  }
  // A slot to send from, mostly an empty one (a plain value), but none of those in the mask.
  int value(int g, unsigned taken) {
    int i = die_.one_in(2) ? empty(g) : any(g);
    while (taken >> i & 1) i = any(g);
    return i;
  }
  int destination(int g, unsigned taken) {
    int i = die_.one_in(6) ? any(g) : empty(g);
    while (taken >> i & 1) i = any(g);
    return i;
  }
  void guess_sent(int g, int a, int b) {
    unsigned const c = object_of(slots_of(g)[a]);
    if (slots_of(g)[b] != 0) carries_[c] = slots_of(g)[b];
    slots_of(g)[b] = 0;
  }
  void guess_received(int g, int a, int b) { slots_of(g)[b] = carries_[object_of(slots_of(g)[a])]; }

  void emit_wait(int g, const std::vector<wait_case>& cases) {
    step t{op::wait};
    t.count = static_cast<std::uint8_t>(cases.size());
    t.select = cases.size() > 1;
    std::copy(cases.begin(), cases.end(), t.cases.begin());
    of(g).steps.push_back(t);
  }
  void wait(int g, bool in_cancel) {
    if (die_.one_in(3)) return select(g, in_cancel);
    if (die_.one_in(favourite_ == conditions ? 2 : 16)) return condition(g);
    unsigned used = 0;
    unsigned ends = 0;
    wait_case c = die_.below(3) < (favourite_ <= groups ? 2u : 1u) ? other(g, in_cancel, used, ends)
                                                                   : channel_case(g, used, ends);
    if (c.what == wait_kind::event) c.a = bell(g);
    emit_wait(g, {c});
    guess_result(g, c);
  }
  // Up to three cases: of channels, at most one other, and after that a sleep. No slot has two uses: a value must not be the end of another
  // case.
  void select(int g, bool in_cancel) {
    std::vector<wait_case> cases;
    unsigned used = 0, ends = 0;
    bool const with_other = die_.one_in(2);
    unsigned const n = (with_other ? 1 : 2) + die_.below(max_cases - 1);
    if (with_other) cases.push_back(other(g, in_cancel, used, ends));
    for (unsigned tries = 0; cases.size() < n && tries < 6; ++tries) {
      wait_case const c = channel_case(g, used, ends);
      if (c.what == wait_kind::recv || c.what == wait_kind::send) cases.push_back(c);
    }
    if (with_other && cases.size() < max_cases && die_.one_in(3)) {
      cases.push_back({wait_kind::sleep, 0, 0, sleep()});
      emit_wait(g, cases);
      for (const wait_case& c : cases) guess_result(g, c);
      return;
    }
    if (cases.size() < 2) return wait(g, in_cancel);
    if (die_.one_in(2)) std::swap(cases.front(), cases.back());
    emit_wait(g, cases);
    for (const wait_case& c : cases) guess_result(g, c);
  }
  void guess_result(int g, const wait_case& c) {
    switch (c.what) {
      case wait_kind::recv:
        guess_received(g, c.a, c.b);
        break;
      case wait_kind::send:
        guess_sent(g, c.a, c.b);
        break;
      case wait_kind::lock:
        slots_of(g)[c.b] = make_thing(kind::guard, c.a);
        break;
      case wait_kind::lock_write:
        slots_of(g)[c.b] = make_thing(kind::write_guard, c.a);
        break;
      case wait_kind::lock_read:
        slots_of(g)[c.b] = make_thing(kind::read_guard, c.a);
        break;
      case wait_kind::acquire:
        slots_of(g)[c.b] = make_thing(kind::permit, c.a, c.n);
        break;
      default:
        break;
    }
  }
  // `used`: slots that have a use in this wait; `ends`: those of them that are ends, and may be the end of another case.
  wait_case channel_case(int g, unsigned& used, unsigned& ends) {
    bool const sends = die_.one_in(2);
    int a = pick(g, sends ? kind::tx : kind::rx);
    if (a < 0) a = any(g);
    if ((used & ~ends) >> a & 1) return {wait_kind::sleep, 0, 0, sleep()};
    used |= 1u << a;
    ends |= 1u << a;
    unsigned const taken = used;
    if (taken == (1u << slots) - 1) return {wait_kind::sleep, 0, 0, sleep()};
    int const b = sends ? value(g, taken) : destination(g, taken);
    used |= 1u << b;
    return {sends ? wait_kind::send : wait_kind::recv, static_cast<std::uint8_t>(a), static_cast<std::uint8_t>(b)};
  }
  std::uint8_t sleep() { return static_cast<std::uint8_t>(sleeps_++); }
  wait_case other(int g, bool in_cancel, unsigned& used, unsigned&) {
    int const to = destination(g, used);
    auto const b = static_cast<std::uint8_t>(to);
    static constexpr unsigned of_favourite[] = {0, 6, 10, 13};
    unsigned const spread = die_.one_in(2) && favourite_ == shared_mutexes ? 2 : 0;
    unsigned const what = favourite_ <= groups && !die_.one_in(3) ? of_favourite[favourite_] + spread : die_.below(20);
    auto takes = [&](wait_case c) {
      used |= 1u << to;
      return c;
    };
    if (what < 6) return takes({wait_kind::lock, static_cast<std::uint8_t>(die_.below(unsigned(p_.mutexes))), b});
    if (what < 8) return takes({wait_kind::lock_write, 0, b});
    if (what < 10) return takes({wait_kind::lock_read, 0, b});
    if (what < 13) return takes({wait_kind::acquire, 0, b, static_cast<std::uint8_t>(1 + die_.below(permits))});
    if (what < 15) return {wait_kind::group};
    if (what < 16) return {wait_kind::event, die_.one_in(3) ? bell_outside : bell_of_frame};
    if (what < 17 || (what < 18 && in_cancel)) return {wait_kind::done};
    return {wait_kind::sleep, 0, 0, sleep()};
  }

  dice die_;
  plan p_;
  int first_ = 0, born_ = 0;
  unsigned sleeps_ = 0;
  enum favourites : unsigned { mutexes, shared_mutexes, semaphores, groups, conditions, calls };  // above: none
  unsigned favourite_ = 0;
  std::array<std::array<thing, slots>, max_goroutines> guess_{};
  std::array<std::size_t, max_goroutines> owner_{};
  std::array<thing, max_channels> carries_{};
  std::array<std::array<thing, cells>, max_boxes> in_box_{};
};

}  // namespace

plan generate(std::uint64_t seed) { return generator(seed).make(); }

}  // namespace leash::test::fuzz
