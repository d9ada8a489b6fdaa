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

constexpr std::uint32_t ahead = 12;  // records whose memory is fetched before it is needed

class marker {
 public:
  explicit marker(graph& g) : g_(g) {}

  void run() {
    read_totals();
    validate();
    start();
    propagate();
    // What is dead now is leaked. What waits for objects in frames is leaked only if those are confined: so is what
    // waits for it in turn.
    if (!g_.any_in_frames) return;
    second_ = true;
    for (std::uint32_t i = 0; i < g_.nodes.size(); ++i)
      if (g_.nodes[i].flags & graph_node::in_frames) now_live(i);
    propagate();
  }

 private:
  void fetch_object(std::uint32_t i) const noexcept {
    if (i >= g_.objects.size()) return;
    auto const* at = reinterpret_cast<const std::byte*>(g_.object_at(i));
    __builtin_prefetch(at);
    __builtin_prefetch(at + 64);
  }

  LEASH_READS_FROZEN void read_totals() {
    std::atomic_thread_fence(std::memory_order_seq_cst);
    for (std::uint32_t k = 0; k < g_.objects.size(); ++k) {
      fetch_object(k + ahead);
      graph_object& o = g_.objects[k];
      object* what = g_.object_at(k);
      object_type const type = frozen::read(what->type);
      if (type != o.type) {  // another object by now
        o.live |= graph_object::class_0 | graph_object::class_1 | graph_object::external;
        if (o.type == object_type::scope || o.type == object_type::lineage) o.live |= graph_object::live_member;
        continue;
      }
      if (type == object_type::scope) {
        auto* s = static_cast<scope_core*>(what);
        std::uint32_t const remotes = total_of(s, 1);
        // Members that are not parked, or remote handles that lie outside of frozen frames, are live; and so was, for
        // this pass, a member that has left since it began.
        if (members_of(s) != o.found[0] + o.found[1] || remotes != o.found[1] || left_since(s, g_.pass))
          o.live |= graph_object::live_member;
      } else if (type == object_type::lineage) {
        auto* l = static_cast<lineage*>(what);
        bool const seen = frozen::read(l->members) == o.found[0];
        std::atomic_thread_fence(std::memory_order_acquire);
        if (!seen || frozen::read(l->left_in) == g_.pass) o.live |= graph_object::live_member;
      } else {
        // One that stands in line but was not seen waiting runs, and is leaving the line. Before the totals: who has left
        // it by now, and whom it let in, has been counted there.
        if (in_line(type) && queued_at(what) != waiting_at(o)) o.live |= graph_object::satisfied_0;
        capabilities_of const total = totals_of(what);
        for (std::uint8_t which = 0; which < 2; ++which) {
          if (total.of[which] != o.found[which])
            o.live |= static_cast<std::uint8_t>(graph_object::class_0 << which) | graph_object::external;
          if (satisfied(what, which, total.of[which]))
            o.live |= static_cast<std::uint8_t>(graph_object::satisfied_0 << which);
        }
        // The last receiver is gone or going: what is buffered is being destroyed.
        if (type == object_type::channel && total.of[1] == 0) o.live |= graph_object::class_1;
      }
    }
  }
  std::uint32_t waiting_at(const graph_object& o) const noexcept {
    std::uint32_t n = 0;
    for (std::uint32_t w = o.waiters; w != 0; w = g_.waits[w - 1].next) ++n;
    return n;
  }

  LEASH_READS_FROZEN void validate() {
    std::atomic_thread_fence(std::memory_order_seq_cst);
    for (std::uint32_t i = 0; i < g_.nodes.size(); ++i) {
      if (i + ahead < g_.nodes.size()) __builtin_prefetch(g_.goroutine_at(i + ahead));
      graph_node& n = g_.nodes[i];
      switch (n.kind) {
        case node_kind::goroutine:
          if (g_.goroutine_at(i)->park.load(std::memory_order_acquire) != n.word) n.flags |= graph_node::live;
          break;
        case node_kind::buffer:
          if (frozen::read(graph::pointer<chan_core>(n.at)->stamp) != n.word) n.flags |= graph_node::live;
          break;
        case node_kind::contents:
          break;  // as frozen as the handles to it
      }
    }
  }

  // --- mark

  void now_live(std::uint32_t i) {
    graph_node& n = g_.nodes[i];
    if (n.flags & graph_node::live) return;
    n.flags |= second_ ? graph_node::live | graph_node::confined : graph_node::live;
    work_.push_back(i);
  }

  void waiters_live(std::uint32_t k, std::uint32_t which) {
    for (std::uint32_t w = g_.objects[k].waiters; w != 0; w = g_.waits[w - 1].next)
      if (g_.waits[w - 1].which == which) now_live(g_.waits[w - 1].node);
  }
  /// Capabilities of a class may be used.
  void class_live(std::uint32_t k, std::uint32_t which) {
    graph_object const& o = g_.objects[k];
    waiters_live(k, which);
    if (o.type == object_type::channel && which == 0) waiters_live(k, 1);  // who has a sender can close: sends end too
    if (o.owner == none) return;
    // Who has a handle reaches a block's contents; who has a receiver, what is buffered.
    if (has_contents(o.type) || (o.type == object_type::channel && which == 1)) later_.push_back(o.owner);
  }

  /// What it holds may be used.
  void use(std::uint32_t i) {
    graph_node& n = g_.nodes[i];
    if (n.flags & graph_node::used) return;
    n.flags |= second_ ? graph_node::used : graph_node::used | graph_node::lent;
    g_.for_each_edge(i, [&](const graph_edge& e) {
      graph_object& o = g_.objects[e.object];
      std::uint8_t const bit = static_cast<std::uint8_t>(1 << e.which);
      if (o.type == object_type::scope) {
        member_live(e.object);
      } else if (!(o.live & bit)) {
        o.live |= bit;
        class_live(e.object, e.which);
      }
    });
    for (std::uint32_t w = n.listeners; w != 0; w = g_.waits[w - 1].next)
      if (g_.waits[w - 1].which == graph_wait::frames) now_live(g_.waits[w - 1].node);
    g_.for_each_owned(i, [&](std::uint32_t k) { class_live(k, graph_wait::cancels); });  // it may cancel what it runs
    if (n.home != none) member_live(n.home);
    if (n.kin != none) lineage_live(n.kin);
  }

  void member_live(std::uint32_t k) {
    graph_object& o = g_.objects[k];
    if (o.live & graph_object::member_seen) return;
    o.live |= graph_object::member_seen;
    class_live(k, 0);                    // who joins it
    class_live(k, graph_wait::cancels);  // who waits for its end
    if (o.owner != none) later_.push_back(o.owner);
  }

  void lineage_live(std::uint32_t k) {
    while (k != none) {
      graph_object& o = g_.objects[k];
      if (o.live & graph_object::member_seen) return;
      o.live |= graph_object::member_seen;
      if (o.owner != none) later_.push_back(o.owner);
      k = o.up;
    }
  }

  void start() {
    for (std::uint32_t i = 0; i < g_.nodes.size(); ++i)
      if (g_.nodes[i].flags & graph_node::live) work_.push_back(i);
    for (std::uint32_t k = 0; k < g_.objects.size(); ++k) {
      graph_object const& o = g_.objects[k];
      switch (o.type) {
        case object_type::scope:
          if (o.live & graph_object::live_member) {
            member_live(k);
          } else if (o.found[0] + o.found[1] == 0) {
            class_live(k, 0);  // rule 1: nobody is left, its joiner is being woken
          }
          if (o.owner == none) class_live(k, graph_wait::cancels);  // an owner that is not parked can cancel it
          break;
        case object_type::lineage:
          if (o.live & graph_object::live_member) lineage_live(k);
          break;
        default:
          if (o.live & graph_object::class_0) class_live(k, 0);
          if (o.live & graph_object::class_1) class_live(k, 1);
          if (o.live & graph_object::satisfied_0) waiters_live(k, 0);
          if (o.live & graph_object::satisfied_1) waiters_live(k, 1);
      }
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
      for (std::uint32_t w = g_.nodes[i].listeners; w != 0; w = g_.waits[w - 1].next)
        if (g_.waits[w - 1].which == graph_wait::joins) now_live(g_.waits[w - 1].node);
      g_.for_each_wait(i, [&](const graph_wait& w) {
        if (w.which != 0 || !in_line(g_.objects[w.object].type)) return;
        graph_object& o = g_.objects[w.object];
        if (o.live & graph_object::line_seen) return;
        o.live |= graph_object::line_seen;
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
  for (graph_node& n : g.nodes) n.flags &= static_cast<std::uint8_t>(~graph_node::confined);  // live, then
}

}  // namespace leash
