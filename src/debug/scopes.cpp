// /debug/leash/api/scopes: who belongs to whom, as a tree. Scopes made at the same line below the same scopes are one node: a
// server with a scope for each connection has few nodes, however many connections there are.
#include <algorithm>
#include <bit>
#include <map>

#include "api.hpp"
#include "observe/frozen.hpp"

namespace leash::debug {

namespace {

constexpr std::size_t most_scopes = 100'000, most_nodes = 2'000, deepest = 60;

class scopes final : public source {
 public:
  bool more(std::string& out) override {
    if (frozen::for_some_slots(at_, 8192, [&](goroutine_core* g) { look(g); })) return true;
    nodes_.emplace_back();
    for (auto& [scope, row] : rows_) {
      node& n = nodes_[node_of(scope)];
      ++n.scopes;
      n.members += row.members;
      n.waiting += row.waiting;
      n.oldest = std::max(n.oldest, row.oldest);
      n.owner = row.owner;
    }
    for (std::size_t i = nodes_.size(); i-- > 1;) nodes_[nodes_[i].parent].below += nodes_[i].members + nodes_[i].below;
    json j(out);
    j.object().key("total").number(rows_.size()).key("left_out").number(left_out_);
    j.key("goroutines").number(nodes_[0].below).key("tree").array();
    write_children(j, 0);
    j.end_array().end_object();
    return false;
  }

 private:
  static constexpr std::uint32_t not_placed = UINT32_MAX;
  struct scope_row {
    const void* parent = nullptr;
    std::uint64_t owner = 0, members = 0, waiting = 0;
    std::uint32_t oldest = 0, node = not_placed;
    std::source_location made_at;
  };
  struct node {
    std::uint32_t parent = 0, depth = 0, oldest = 0;
    std::source_location made_at;
    std::uint64_t scopes = 0, members = 0, waiting = 0, below = 0, owner = 0;
    std::vector<std::uint32_t> children;
  };

  void look(const goroutine_core* g) {
    if (!look_at(g, nullptr, tick_, seen_, 0)) return;
    auto it = rows_.find(seen_.scope);
    if (it == rows_.end()) {
      if (rows_.size() == most_scopes) {
        ++left_out_;
        return;
      }
      it = rows_.try_emplace(seen_.scope).first;
      it->second.parent = seen_.parent_scope;
      it->second.owner = seen_.parent;
      it->second.made_at = seen_.scope_made_at;
    }
    scope_row& r = it->second;
    ++r.members;
    r.waiting += seen_.waiting;
    r.oldest = std::max(r.oldest, seen_.born);
  }

  /// The way up first, as far as it is known; scopes were seen at different moments, so it may end anywhere, even in a circle.
  std::uint32_t node_of(const void* scope) {
    std::vector<scope_row*> way;
    std::uint32_t at = 0;
    for (const void* s = scope;;) {
      auto const it = rows_.find(s);
      if (it == rows_.end()) break;
      if (it->second.node != not_placed) {
        at = it->second.node;
        break;
      }
      if (std::find(way.begin(), way.end(), &it->second) != way.end() || way.size() == 10'000) break;
      way.push_back(&it->second);
      s = it->second.parent;
    }
    for (std::size_t i = way.size(); i-- > 0;) at = way[i]->node = below(at, way[i]->made_at);
    return at;
  }
  std::uint32_t below(std::uint32_t parent, std::source_location made_at) {
    if (nodes_[parent].depth == deepest) return parent;
    auto [it, fresh] = index_.try_emplace({parent, std::bit_cast<std::uint64_t>(made_at)}, 0);
    if (!fresh) return it->second;
    if (nodes_.size() == most_nodes) {  // counted with the scope around it
      index_.erase(it);
      return parent;
    }
    it->second = static_cast<std::uint32_t>(nodes_.size());
    node& n = nodes_.emplace_back();
    n.parent = parent;
    n.depth = nodes_[parent].depth + 1;
    n.made_at = made_at;
    nodes_[parent].children.push_back(it->second);
    return it->second;
  }

  void write_children(json& j, std::uint32_t i) {
    auto children = nodes_[i].children;
    std::sort(children.begin(), children.end(), [this](auto a, auto b) {
      auto size = [this](auto n) { return nodes_[n].members + nodes_[n].below; };
      return size(a) != size(b) ? size(a) > size(b) : a < b;
    });
    for (std::uint32_t c : children) {
      node const& n = nodes_[c];
      j.object().key("made_at").place(n.made_at).key("scopes").number(n.scopes).key("members").number(n.members);
      j.key("waiting").number(n.waiting).key("below").number(n.below).key("oldest_ms").number(n.oldest);
      if (n.scopes == 1) j.key("owner").number(n.owner);
      j.key("children").array();
      write_children(j, c);
      j.end_array().end_object();
    }
  }

  std::uint32_t tick_ = looking_tick();
  frozen::slot_cursor at_;
  sighting seen_;
  std::uint64_t left_out_ = 0;  // goroutines
  std::unordered_map<const void*, scope_row> rows_;
  std::vector<node> nodes_;
  std::map<std::pair<std::uint32_t, std::uint64_t>, std::uint32_t> index_;
};

}  // namespace

reply scope_tree(viewer&) { return as_json(std::make_unique<scopes>()); }

}  // namespace leash::debug
