// Core and dependents: who among the leaked waits for whom.
//
// i -> j if j holds what i waits for, is the target that i joins, or is a member of the scope that i joins; and memory
// that holds something "waits" for those who have a handle to it. Strongly connected components (Tarjan's algorithm,
// iterative); those that no edge leaves are the core. Who waits for an event or condition in a tracked block waits for
// those who have a handle to the block, but for joiners: the one that waits for the end of others does not hold them up
// by owning memory. The owner of a frame never does.
#include <algorithm>

#include "../observe/frozen.hpp"
#include "capability.hpp"
#include "pass.hpp"

namespace leash {

namespace {

class knots {
 public:
  explicit knots(leak_pass& p) : p_(p), g_(p.known) {}

  void run() {
    std::uint32_t const all = graph::size32(g_.nodes.size());
    std::uint32_t leaked = 0;
    for (std::uint32_t i = 0; i < all; ++i) leaked += g_.nodes[i].leaked();
    if (leaked == 0) return;
    vertex_of_.assign(all, none);
    for (std::uint32_t i = 0; i < all; ++i) {
      graph_node const& n = g_.nodes[i];
      if (!n.leaked() && (n.kind == node_kind::goroutine || (n.flags & graph_node::lent))) continue;
      vertex_of_[i] = graph::size32(vertices_.size());
      vertices_.push_back(i);
    }
    list_members();
    list_edges();
    find_components();
    sort_out(leaked);
  }

 private:
  /// The parked members of each scope that somebody joins, as lists.
  void list_members() {
    bool any = false;
    for (std::uint32_t v : vertices_) g_.for_each_wait(v, [&](const graph_wait& w) { any |= joins_scope(w); });
    if (!any) return;
    member_head_.assign(g_.objects.size(), none);
    next_member_.assign(g_.nodes.size(), none);
    for (std::uint32_t i : vertices_) {
      std::uint32_t const k = g_.nodes[i].home;
      if (k == none) continue;
      next_member_[i] = member_head_[k];
      member_head_[k] = i;
    }
  }
  bool joins_scope(const graph_wait& w) const {
    return w.which == 0 && g_.objects[w.object].type == object_type::scope;
  }

  bool joins(std::uint32_t i) const {
    bool any = false;
    g_.for_each_wait(i, [&](const graph_wait& w) { any |= w.which == graph_wait::joins || joins_scope(w); });
    return any;
  }

  template <class F>
  void for_each_needed(std::uint32_t i, F&& f) {
    graph_node const& n = g_.nodes[i];
    auto holders = [&](std::uint32_t k, std::uint32_t which) {
      for (std::uint32_t e = g_.objects[k].holders; e != 0; e = g_.edges[e - 1].next)
        if (g_.edges[e - 1].which == which) f(g_.edges[e - 1].node);
    };
    if (n.kind != node_kind::goroutine) {
      std::uint32_t const k = g_.object_of(i);
      if (n.kind == node_kind::contents) holders(k, 0);
      holders(k, 1);
      return;
    }
    std::uint32_t at = 0;
    g_.for_each_wait(i, [&](const graph_wait& w) {
      std::uint32_t const index = at++;
      if (w.which == graph_wait::joins) {
        f(w.object);
      } else if (w.which < 2) {
        graph_object const& o = g_.objects[w.object];
        if (o.type == object_type::scope) {
          for (std::uint32_t m = member_head_[w.object]; m != none; m = next_member_[m]) f(m);
          return;
        }
        if (has_contents(o.type)) {
          for (std::uint32_t e = o.holders; e != 0; e = g_.edges[e - 1].next)
            if (g_.edges[e - 1].which == w.which && !joins(g_.edges[e - 1].node)) f(g_.edges[e - 1].node);
          return;
        }
        if (in_line(o.type))
          if (std::uint32_t const before = ahead_of(i, index); before != none) f(before);
        holders(w.object, w.which);
      }
    });
  }

  /// Who stands before node i in line: it must get in first.
  LEASH_READS_FROZEN std::uint32_t ahead_of(std::uint32_t i, std::uint32_t index) {
    goroutine_core* g = g_.goroutine_at(i);
    waiter* w = frozen::waiter_of(g, frozen::read(g->wait_count) == 1 ? 0 : index);
    waiter* before = w != nullptr ? frozen::read(w->prev) : nullptr;
    if (before == nullptr || !arena::contains(before)) return none;
    goroutine_core* who = frozen::read(before->who);
    return g_.node_of(who);
  }

  void list_edges() {
    offset_.reserve(vertices_.size() + 1);
    offset_.push_back(0);
    for (std::uint32_t i : vertices_) {
      for_each_needed(i, [&](std::uint32_t j) {
        if (vertex_of_[j] != none) needed_.push_back(vertex_of_[j]);
      });
      offset_.push_back(graph::size32(needed_.size()));
    }
  }

  void find_components() {
    std::uint32_t const n = graph::size32(vertices_.size());
    huge_array<std::uint32_t> low, number, stack;
    struct call {
      std::uint32_t vertex, next;
    };
    huge_array<call> calls;
    low.assign(n, 0);
    number.assign(n, 0);
    component_.assign(n, none);
    std::uint32_t next_number = 1;
    for (std::uint32_t root = 0; root < n; ++root) {
      if (number[root] != 0) continue;
      calls.push_back({root, offset_[root]});
      number[root] = low[root] = next_number++;
      stack.push_back(root);
      while (!calls.empty()) {
        call& c = calls.back();
        std::uint32_t const v = c.vertex;
        if (c.next < offset_[v + 1]) {
          std::uint32_t const u = needed_[c.next++];
          if (number[u] == 0) {
            number[u] = low[u] = next_number++;
            stack.push_back(u);
            calls.push_back({u, offset_[u]});
          } else if (component_[u] == none) {
            low[v] = std::min(low[v], number[u]);
          }
          continue;
        }
        calls.pop_back();
        if (!calls.empty()) low[calls.back().vertex] = std::min(low[calls.back().vertex], low[v]);
        if (low[v] != number[v]) continue;
        // Components come in such an order that those an edge leads to come first.
        bool leaves = false, goroutines = false;
        std::uint32_t const c_id = components_++;
        std::size_t first = stack.size();
        do {
          component_[stack[--first]] = c_id;
        } while (stack[first] != v);
        for (std::size_t k = first; k < stack.size(); ++k) {
          std::uint32_t const u = stack[k];
          goroutines |= g_.nodes[vertices_[u]].kind == node_kind::goroutine;
          for (std::uint32_t e = offset_[u]; e < offset_[u + 1]; ++e)
            leaves |= component_[needed_[e]] != c_id && shape_[component_[needed_[e]]] != hollow;
        }
        while (stack.size() > first) stack.pop_back();
        shape_.push_back(leaves ? dependents : goroutines ? core : hollow);
      }
    }
  }

  void sort_out(std::uint32_t leaked) {
    p_.dead.reserve(leaked);
    p_.component.reserve(leaked);
    for (std::uint8_t wanted : {core, dependents}) {
      for (std::uint32_t v = 0; v < vertices_.size(); ++v) {
        if (shape_[component_[v]] != wanted || g_.nodes[vertices_[v]].kind != node_kind::goroutine) continue;
        p_.dead.push_back(vertices_[v]);
        p_.component.push_back(component_[v]);
      }
      if (wanted == core) p_.core = p_.dead.size();
    }
    if (vertices_.size() > described_at_once) return;
    std::vector<std::uint32_t> place(vertices_.size(), none);
    for (std::uint32_t k = 0; k < p_.dead.size(); ++k) place[vertex_of_[p_.dead[k]]] = k;
    for (std::uint32_t k = 0; k < p_.dead.size(); ++k) add_needs(k, vertex_of_[p_.dead[k]], place);
  }
  /// Edges between goroutines; through memory that holds what is needed to those who have handles to it.
  void add_needs(std::uint32_t from, std::uint32_t vertex, const std::vector<std::uint32_t>& place) {
    std::vector<std::uint32_t> todo{vertex}, seen;
    while (!todo.empty()) {
      std::uint32_t const v = todo.back();
      todo.pop_back();
      for (std::uint32_t e = offset_[v]; e < offset_[v + 1]; ++e) {
        std::uint32_t const u = needed_[e];
        if (std::find(seen.begin(), seen.end(), u) != seen.end()) continue;
        seen.push_back(u);
        if (place[u] != none) {
          p_.needs.emplace_back(from, place[u]);
        } else {
          todo.push_back(u);
        }
      }
      if (seen.size() > 1000) return;
    }
  }

  static constexpr std::uint8_t core = 0, dependents = 1, hollow = 2;  // hollow: memory alone

  leak_pass& p_;
  graph& g_;
  huge_array<std::uint32_t> vertices_, vertex_of_, offset_, needed_, component_, member_head_, next_member_;
  huge_array<std::uint8_t> shape_;
  std::uint32_t components_ = 0;
};

}  // namespace

void find_knots(leak_pass& p) { knots(p).run(); }

}  // namespace leash
