// Core and dependents: who among the leaked waits for whom.
//
// i -> j if j holds what i waits for, is the target that i joins, is a member of the scope that i joins, or has a place
// that i waits for; and memory that holds something "waits" for those who have a handle to it. Who waits for an event or
// condition in a tracked block waits for those who have a handle to the block, but for joiners: the one that waits for the
// end of others does not hold them up by owning memory. The owner of a frame never does. Strongly connected components
// that no edge leaves are the core.
//
// The edges are walked against their direction, from j to those who wait for it, since that is how the graph lies in
// memory; the components are the same. Where many wait for many, all those edges go through one vertex, the set of
// waiters of an object's class: so there are no more edges than links. Only what is reached from goroutines is looked
// at: memory that no leaked goroutine has anything to do with holds nobody up.
//
// The components are found by Pearce's form of Tarjan's algorithm (iterative; one word for each vertex).
#include <algorithm>
#include <utility>

#include "../observe/frozen.hpp"
#include "capability.hpp"
#include "pass.hpp"

namespace leash {

namespace {

class knots {
 public:
  explicit knots(leak_pass& p) : p_(p), g_(p.known) {}

  void run() {
    std::uint32_t leaked = 0;
    for (std::uint32_t i = 0; i < g_.goroutines(); ++i) leaked += g_.leaked(i);
    if (leaked == 0) return;
    beyond_links_ = !g_.listeners.empty() || std::any_of(g_.homes.begin(), g_.homes.end(),
                                                         [&](std::uint32_t home) {
                                                           return home != none && !g_.waiters_at(home).empty();
                                                         })
                        ? 3
                        : 0;
    place_.resize(g_.nodes() + 2 * g_.lists.size());
    left_.resize(place_.size());
    for (std::uint32_t i = 0; i < g_.goroutines(); ++i)
      if (g_.leaked(i) && place_[i] == 0) visit(i);
    sort_out(leaked);
    if (leaked <= described_at_once) list_needs();
    p_.component = std::move(place_);
  }

 private:
  // Vertices: nodes, then two for each list of waiters.
  std::uint32_t vertex_of(waiter_set to, std::uint32_t which) const {
    if (to.is_list != 0) return g_.nodes() + 2 * to.node_plus_1 + (which & 1);
    return to.node_plus_1 != 0 && to.which == which ? vertex_of(to.node_plus_1 - 1) : none;
  }
  /// None: live, or memory that the live can reach.
  std::uint32_t vertex_of(std::uint32_t node) const {
    bool const counts = node < g_.goroutines() ? g_.leaked(node) : (g_.flags[node] & node_flag::lent) == 0;
    return counts ? node : none;
  }

  // --- the edges of a vertex, one after the other

  // A vertex of a list: the item to look at. A node: what is next of its links, of which some lead to two vertices, and
  // after them its joiners and its home, where anybody waits for such.
  using position = std::uint32_t;
  position first_of(std::uint32_t vertex) const {
    return vertex < g_.nodes() ? g_.first_link[vertex] : g_.lists[(vertex - g_.nodes()) / 2];
  }
  /// Where the next edge leads to; none: there is no more.
  std::uint32_t next(std::uint32_t vertex, position& at) {
    if (vertex < g_.nodes()) {
      std::uint32_t const end = g_.first_link[vertex + 1];
      while (at % second < end)
        if (std::uint32_t const to = link(vertex, at); to != none) return to;
      while (at < end + beyond_links_)
        if (std::uint32_t const to = after_links(vertex, at++ - end); to != none) return to;
      return none;
    }
    std::uint32_t const odd = (vertex - g_.nodes()) & 1;
    while (at != 0) {
      graph::waiter_item const& item = g_.items[at - 1];
      at = item.next_plus_1;
      if ((item.one.which & 1) != odd || item.one.which > graph_wait::joins) continue;
      if (std::uint32_t const to = vertex_of(item.one.node_plus_1 - 1); to != none) return to;
    }
    return none;
  }
  static constexpr std::uint32_t second = 1u << 31;  // of a link's two edges

  /// Moves on.
  std::uint32_t link(std::uint32_t node, position& at) {
    bool const first = at < second;
    graph_link const l = g_.links[at % second];
    std::uint32_t const what = l.what();
    if (what < graph_link::waits || what >= graph_link::both) {
      std::uint32_t const which = what < graph_link::waits ? what : what - graph_link::both;
      if (first && g_.objects[l.to].is_large != 0) {
        at += second;
        if (std::uint32_t const owner = g_.owner_of(l.to);
            owner != none && (opens(g_.objects[l.to].type(), which) || g_.kind_of(owner) == node_kind::latest))
          return vertex_of(owner);
        return none;
      }
      at = at % second + 1;
      object_type const type = g_.objects[l.to].type();
      if (type == object_type::scope || (has_contents(type) && joins(node))) return none;
      return vertex_of(g_.waiters_at(l.to), which);
    }
    ++at;
    return what == graph_link::waits && in_line(g_.objects[l.to].type()) ? behind(node, l.to) : none;
  }
  /// Its joiners, those of its home, and who waits for its place there.
  std::uint32_t after_links(std::uint32_t node, std::uint32_t which) {
    if (which == 0) return vertex_of(g_.listeners_of(node), graph_wait::joins);
    std::uint32_t const home = g_.home_of(node);
    if (home == none || (which == 2 && !has_begun(node))) return none;
    return vertex_of(g_.waiters_at(home), which - 1);
  }
  /// False: it has no place yet, so its end gives none.
  LEASH_READS_FROZEN bool has_begun(std::uint32_t node) const {
    return node < g_.goroutines() && frozen::read(g_.goroutine_at(node)->leaf) != nullptr;
  }
  /// A capability of that class gives its holder what lies in the object.
  static bool opens(object_type t, std::uint32_t which) noexcept {
    return has_contents(t) || (t == object_type::channel && which == 1);
  }
  bool joins(std::uint32_t node) const {
    bool any = false;
    g_.for_each_wait(node, [&](const graph_wait& w) {
      any |= w.which == graph_wait::joins || (w.which == 0 && g_.objects[w.object].type() == object_type::scope);
    });
    return any;
  }
  /// Who stands behind that node in line for an object: it gets in later.
  LEASH_READS_FROZEN std::uint32_t behind(std::uint32_t node, std::uint32_t k) {
    goroutine_core* g = g_.goroutine_at(node);
    object* const what = g_.object_at(k);
    std::uint32_t const count = frozen::read(g->wait_count);
    for (std::uint32_t i = 0; i < count; ++i) {
      waiter* w = frozen::waiter_of(g, i);
      if (w == nullptr || frozen::read(w->what) != what) continue;
      waiter* next = frozen::read(w->next);
      if (next == nullptr || !arena::contains(next)) return none;
      std::uint32_t const who = g_.node_of(frozen::read(next->who));
      return who != none ? vertex_of(who) : none;
    }
    return none;
  }

  // --- components

  // place_: 0, not met; then the lowest number that is known to be reached; in the end the component, from the top down.
  static constexpr std::uint32_t done = 1u << 31;

  void visit(std::uint32_t root) {
    open(root);
    while (!path_.empty()) {
      step& s = path_.back();
      std::uint32_t const to = next(s.vertex, s.at);
      if (to != none && place_[to] == 0) {
        open(to);
      } else if (to != none) {
        reached(s, to);
      } else {
        step const over = s;
        path_.pop_back();
        over.lowest != 0 ? close(over.vertex) : finished_.push_back(over.vertex);
        if (!path_.empty()) reached(path_.back(), over.vertex);
      }
    }
  }
  void open(std::uint32_t v) {
    place_[v] = next_number_++;
    path_.push_back({v & (second - 1), 1, first_of(v)});
  }
  struct step {
    std::uint32_t vertex : 31;
    std::uint32_t lowest : 1;  // it has not reached any earlier one
    position at;
  };
  void reached(step& from, std::uint32_t to) {
    if (place_[to] >= done) {
      left_[UINT32_MAX - place_[to]] = 1;  // from another component: somebody in it waits for somebody outside
    } else if (place_[to] < place_[from.vertex]) {
      place_[from.vertex] = place_[to];
      from.lowest = 0;
    }
  }
  void close(std::uint32_t v) {
    while (!finished_.empty() && place_[finished_.back()] >= place_[v]) {
      place_[finished_.back()] = next_component_;
      finished_.pop_back();
    }
    place_[v] = next_component_--;
  }

  void sort_out(std::uint32_t leaked) {
    p_.dead.reserve(leaked);
    for (bool const core : {true, false}) {
      for (std::uint32_t i = 0; i < g_.goroutines(); ++i)
        if (g_.leaked(i) && (left_[UINT32_MAX - place_[i]] == 0) == core) p_.dead.push_back(i);
      if (core) p_.core = p_.dead.size();
    }
  }

  /// Edges between goroutines; through memory that holds what is needed to those who have handles to it.
  void list_needs() {
    huge_array<std::uint32_t> position_plus_1;
    position_plus_1.resize(place_.size());
    for (std::uint32_t d = 0; d < p_.dead.size(); ++d) position_plus_1[p_.dead[d]] = d + 1;
    huge_array<std::uint32_t> seen_by_plus_1;
    seen_by_plus_1.resize(place_.size());
    std::vector<std::uint32_t> todo;
    for (std::uint32_t d = 0; d < p_.dead.size(); ++d) {
      todo.assign(1, p_.dead[d]);
      std::size_t seen = 0;
      while (!todo.empty() && seen <= 1000) {
        std::uint32_t const v = todo.back();
        todo.pop_back();
        position at = first_of(v);
        for (std::uint32_t to = next(v, at); to != none; to = next(v, at)) {
          if (std::exchange(seen_by_plus_1[to], d + 1) == d + 1) continue;
          if (++seen > 1000) break;
          if (position_plus_1[to] != 0) {
            p_.needs.emplace_back(position_plus_1[to] - 1, d);
          } else {
            todo.push_back(to);
          }
        }
      }
    }
  }

  leak_pass& p_;
  graph& g_;
  huge_array<std::uint32_t> place_;  // by vertex
  huge_array<std::uint8_t> left_;    // by component: an edge leaves it
  huge_array<step> path_;
  huge_array<std::uint32_t> finished_;
  std::uint32_t beyond_links_ = 0;  // edges of a node that are none of its links
  std::uint32_t next_number_ = 1, next_component_ = UINT32_MAX;
};

}  // namespace

void find_knots(leak_pass& p) { knots(p).run(); }

}  // namespace leash
