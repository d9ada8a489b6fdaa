// The later phases of a pass: totals, validation, and the mark from what is live to what that can complete.
//
// Rules of soundness that are kept here
//
//   Rule 1 (wake in flight)
//     An object that satisfies a wait already (ended, unlocked, set, count 0, value there) makes its waiters live; and
//     wakers give up what they hold only after their last claim.
//   Rule 2 (frozen only)
//     Totals come after all scans, the park words and stamps again after the totals: who is unchanged was frozen in
//     between.
//   Rule 3 (borrowing)
//     A live goroutine keeps the frames of all that started it live: the owners of its scopes, outward, and its lineage.
//     Members are counted like handles: a scope's total minus its parked members > 0 means a live member. One that left
//     during the pass counts as live for this pass: what was found in frames it may have moved.
//   Rule 8 (foreign use)
//     What lies in a frame is reached by reference only from its owner's family. Verdicts that need this are graded
//     confined: the mark goes on, in a second round, from all that wait for such objects.
#include <leash/tracked.hpp>

#include "../observe/frozen.hpp"
#include "capability.hpp"
#include "pass.hpp"

namespace leash {

namespace {

constexpr std::uint32_t ahead = 12;  // slots that are fetched before they are needed

class marker {
 public:
  explicit marker(graph& g) : g_(g) {}

  void run() {
    std::atomic_thread_fence(std::memory_order_seq_cst);
    for_each_object([&](std::uint32_t k, object* what) { read_totals(k, what); });
    std::atomic_thread_fence(std::memory_order_seq_cst);
    validate();
    propagate();
    // What is dead now is leaked. What waits for objects in frames is leaked only if those are confined: so is what
    // waits for it in turn.
    if (!g_.any_in_frames) return;
    second_ = true;
    for (std::uint32_t i = 0; i < g_.goroutines(); ++i)
      if (g_.flags[i] & node_flag::in_frames) now_live(i);
    propagate();
  }

 private:
  /// f(number, address) for each that was met.
  template <class F>
  void for_each_object(F&& f) {
    g_.slots.for_each_slab(arena::kind::object,
                           [&](std::uint32_t first, std::byte* base, std::size_t bytes, std::uint32_t slots) {
                             for (std::uint32_t k = 0; k < slots && first + k < g_.objects.size(); ++k) {
                               __builtin_prefetch(base + (k + ahead) * bytes);
                               if (g_.objects[first + k].type() != object_type::none)
                                 f(first + k, reinterpret_cast<object*>(base + k * bytes));
                             }
                           });
  }

  /// Also marks what follows from them: that may come before the validation, since it only makes more live.
  LEASH_READS_FROZEN void read_totals(std::uint32_t k, const object* what) {
    graph_object& o = g_.objects[k];
    object_type const type = frozen::read(what->type);
    if (o.type() == object_type::scope) {
      auto* s = static_cast<const scope_core*>(what);
      // Members that are not parked, or remote handles that lie outside of frozen frames, are live; and so was, for
      // this pass, a member that has left since it began.
      bool live = type != o.type();  // another object by now
      if (!live) {
        std::uint32_t const remotes = total_of(s, 1);
        live = members_of(s) != g_.found(k, 0) + g_.found(k, 1) || remotes != g_.found(k, 1) || left_since(s, g_.pass);
      }
      if (live) {
        o.set(graph_object::live_member);
        member_live(k);
      } else if (g_.found(k, 0) + g_.found(k, 1) == 0) {
        class_live(k, 0);  // rule 1: nobody is left, its joiner is being woken
      }
      // An owner that is not parked can cancel it, and may have a place that no member has taken over yet (S4).
      if (g_.owner_of(k) == none) {
        class_live(k, graph_wait::cancels);
        waiters_live(k, 1);
      }
      if (has_place(s)) waiters_live(k, 1);  // rule 1
      return;
    }
    if (o.type() == object_type::lineage) {
      auto* l = static_cast<const lineage*>(what);
      bool const seen = type == o.type() && frozen::read(l->members) == g_.found(k, 0);
      std::atomic_thread_fence(std::memory_order_acquire);
      if (!seen || frozen::read(l->left.number()) == g_.pass) {
        o.set(graph_object::live_member);
        lineage_live(k);
      }
      return;
    }
    // One that stands in line but was not seen waiting runs, and is leaving the line. Before the totals: who has left
    // it by now, and whom it let in, has been counted there.
    bool const line_moves = type == o.type() && in_line(type) && queued_at(what) != waiting_at(k);
    object_state const now = type == o.type() ? state_of(what, type) : object_state::unknown();
    for (std::uint8_t which = 0; which < 2; ++which) {
      if (now.total[which] != g_.found(k, which)) o.set((graph_object::class_0 << which) | graph_object::external);
      if (now.satisfied[which]) o.set(graph_object::satisfied_0 << which);
    }
    if (line_moves) o.set(graph_object::satisfied_0);
    if (is_circle(k)) {
      std::atomic_thread_fence(std::memory_order_acquire);
      if (frozen::read(what->gave_up.number()) == g_.pass) o.set(graph_object::class_0 | graph_object::external);
    }
    // The last receiver is gone or going: what is buffered is being destroyed.
    if (type == object_type::channel && now.total[1] == 0) o.set(graph_object::class_1);
    if (o.live_bits == 0) return;
    if (o.is(graph_object::class_0)) class_live(k, 0);
    if (o.is(graph_object::class_1)) class_live(k, 1);
    if (o.is(graph_object::satisfied_0)) waiters_live(k, 0);
    if (o.is(graph_object::satisfied_1)) waiters_live(k, 1);
  }
  /// Its handles were counted one by one, while who reaches it could have moved them.
  bool is_circle(std::uint32_t k) const noexcept {
    std::uint32_t const owner = g_.owner_of(k);
    return owner != none && (g_.flags[owner] & node_flag::circle) != 0;
  }
  std::uint32_t waiting_at(std::uint32_t k) const noexcept {
    std::uint32_t n = 0;
    g_.for_each_waiter(g_.waiters_at(k), [&](std::uint32_t, std::uint32_t) { ++n; });
    return n;
  }

  LEASH_READS_FROZEN void validate() {
    g_.slots.for_each_slab(
        arena::kind::goroutine, [&](std::uint32_t first, std::byte* base, std::size_t bytes, std::uint32_t slots) {
          for (std::uint32_t k = 0; k < slots; ++k) {
            std::uint32_t const i = first + k;
            __builtin_prefetch(base + (k + ahead) * bytes);
            if ((g_.flags[i] & node_flag::seen) == 0) continue;
            auto* g = reinterpret_cast<goroutine_core*>(base + k * bytes);
            if ((g_.flags[i] & node_flag::goes_on) != 0 || g->park.load(std::memory_order_acquire) != g_.words[i])
              now_live(i);
          }
        });
    for (std::uint32_t i = g_.goroutines(); i < g_.nodes(); ++i) {
      if (g_.kind_of(i) == node_kind::contents) continue;  // they are as frozen as the handles to them
      auto* c = g_.object_at<chan_core>(g_.object_of(i));
      bool const same_list = frozen::read(c->stamp) == g_.words[i];
      std::atomic_thread_fence(std::memory_order_acquire);
      if (!same_list || frozen::read(c->gave_up.number()) == g_.pass) now_live(i);
    }
  }

  // --- mark

  void now_live(std::uint32_t i) {
    std::uint8_t& f = g_.flags[i];
    if (f & node_flag::live) return;
    f |= second_ ? node_flag::live | node_flag::confined : node_flag::live;
    work_.push_back(i);
  }

  void waiters_live(std::uint32_t k, std::uint32_t which) {
    g_.for_each_waiter(g_.waiters_at(k), [&](std::uint32_t node, std::uint32_t of) {
      if (of == which) now_live(node);
    });
  }
  void listeners_live(std::uint32_t i, std::uint32_t which) {
    g_.for_each_waiter(g_.listeners_of(i), [&](std::uint32_t node, std::uint32_t of) {
      if (of == which) now_live(node);
    });
  }
  /// Capabilities of a class may be used.
  void class_live(std::uint32_t k, std::uint32_t which) {
    graph_object const& o = g_.objects[k];
    waiters_live(k, which);
    if (o.type() == object_type::channel && which == 0)
      waiters_live(k, 1);  // who has a sender can close: sends end too
    std::uint32_t const owner = g_.owner_of(k);
    // Who has a handle reaches a block's contents; who has a receiver, what is buffered.
    if (owner != none && (has_contents(o.type()) ||
                          (o.type() == object_type::channel && (which == 1 || g_.kind_of(owner) == node_kind::latest))))
      later_.push_back(owner);
  }

  /// What it holds may be used.
  void use(std::uint32_t i) {
    std::uint8_t& f = g_.flags[i];
    if (f & node_flag::used) return;
    f |= second_ ? node_flag::used : node_flag::used | node_flag::lent;
    g_.for_each_link(i, [&](graph_link l) {
      switch (l.what()) {
        case graph_link::holds:
        case graph_link::holds + 1:
          holder_live(l.to, l.what());
          break;
        case graph_link::both:
        case graph_link::both + 1:
          holder_live(l.to, l.what() - graph_link::both);
          break;
        case graph_link::owns:
          class_live(l.to, graph_wait::cancels);  // it may cancel what it runs
          break;
        case graph_link::kin:
          lineage_live(l.to);
          break;
        default:
          break;
      }
    });
    listeners_live(i, graph_wait::frames);
    if (std::uint32_t const home = g_.home_of(i); home != none) member_live(home);
  }

  void holder_live(std::uint32_t k, std::uint32_t which) {
    graph_object& o = g_.objects[k];
    auto const bit = static_cast<std::uint8_t>(1 << which);
    if (o.type() == object_type::scope) {
      member_live(k);
    } else if (!o.is(bit)) {
      o.set(bit);
      class_live(k, which);
    }
  }

  void member_live(std::uint32_t k) {
    graph_object& o = g_.objects[k];
    if (o.is(graph_object::member_seen)) return;
    o.set(graph_object::member_seen);
    class_live(k, 0);                    // who joins it
    waiters_live(k, 1);                  // who waits for a place
    class_live(k, graph_wait::cancels);  // who waits for its end
    if (std::uint32_t const owner = g_.owner_of(k); owner != none) later_.push_back(owner);
  }

  void lineage_live(std::uint32_t k) {
    for (;;) {
      graph_object& o = g_.objects[k];
      if (o.is(graph_object::member_seen)) return;
      o.set(graph_object::member_seen);
      large_object const& l = g_.as_large(k);
      if (l.owner_plus_1 != 0) later_.push_back(l.owner_plus_1 - 1);
      if (l.up_plus_1 == 0) return;
      k = l.up_plus_1 - 1;
    }
  }

  void propagate() {
    while (!work_.empty() || !later_.empty()) {
      if (!later_.empty()) {
        std::uint32_t const i = later_.back();
        later_.pop_back();
        use(i);
        continue;
      }
      std::uint32_t const i = work_.back();
      work_.pop_back();
      use(i);
      listeners_live(i, graph_wait::joins);
      g_.for_each_wait(i, [&](const graph_wait& w) {
        if (w.which != 0 || !in_line(g_.objects[w.object].type())) return;
        graph_object& o = g_.objects[w.object];
        if (o.is(graph_object::line_seen)) return;
        o.set(graph_object::line_seen);
        class_live(w.object, 0);
      });
    }
  }

  graph& g_;
  bool second_ = false;  // the round that tells confined from proven
  huge_array<std::uint32_t> work_, later_;
};

}  // namespace

void mark_all(graph& g, bool confined) {
  marker(g).run();
  if (confined || !g.any_in_frames) return;
  for (std::uint8_t& f : g.flags) f &= static_cast<std::uint8_t>(~node_flag::confined);  // live, then
}

}  // namespace leash
