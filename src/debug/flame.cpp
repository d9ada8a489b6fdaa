// /debug/leash/api/flame: stacks of all goroutines as one tree, from the line that started them in to the wait.
//
// What a flame graph shows of running code, this shows of waiting: how many goroutines stand below each function, or how long they
// have waited there, all together. Frames of leash itself are left out, and what is less than a thousandth.
#include <algorithm>
#include <bit>
#include <map>
#include <tuple>

#include "api.hpp"
#include "observe/looking.hpp"
#include "profiles.hpp"

namespace leash::debug {

namespace {

constexpr std::size_t smallest_part = 1000, deepest = 100, most_nodes = 200'000;

class flames final : public source {
 public:
  explicit flames(const request& q) : state_(q["state"]), by_time_(q["by"] == "time") {}

  bool more(std::string& out) override {
    if (all_.step()) return true;
    nodes_.emplace_back();
    for (auto& g : all_.groups()) add(g);
    json j(out);
    j.object().key("by").text(by_time_ ? "time" : "count").key("total").number(nodes_[0].value);
    j.key("goroutines").number(nodes_[0].count).key("states").array();
    for (std::string_view s : states_) j.text(s);
    j.end_array().key("root");
    write(j, 0);
    j.end_object();
    return false;
  }

 private:
  struct node {
    enum class kind : std::uint8_t { root, start, frame, state };
    kind what = kind::root;
    std::uint8_t state = 0;
    std::source_location where;
    std::uint64_t value = 0, count = 0;
    std::vector<std::uint32_t> children;
  };

  void add(const gathering::group& g) {
    std::string_view const state = gathering::state_name(g.state);
    if (std::find(states_.begin(), states_.end(), state) == states_.end()) states_.push_back(state);
    if (!state_.empty() && state != state_) return;
    std::uint64_t const value = by_time_ ? g.waited : g.count;
    auto put = [&](std::uint32_t n) {
      nodes_[n].value += value;
      nodes_[n].count += g.count;
    };
    std::uint32_t at = 0;
    put(at);
    if (!g.beyond) {
      put(at = below(at, node::kind::start, all_.spawned_at(g), 0));
      std::size_t depth = 2;
      for (std::size_t i = g.depth; i-- > 0 && depth < deepest;) {
        std::source_location const f = all_.frame(g, i);
        if (is_library(f)) continue;
        put(at = below(at, node::kind::frame, f, 0));
        ++depth;
      }
    }
    put(below(at, node::kind::state, {}, g.state));
  }
  std::uint32_t below(std::uint32_t parent, node::kind what, std::source_location where, std::uint8_t state) {
    std::uint64_t const word = what == node::kind::state ? state : std::bit_cast<std::uint64_t>(where);
    auto [it, fresh] = index_.try_emplace({parent, what, word}, 0);
    if (!fresh) return it->second;
    if (nodes_.size() == most_nodes) {  // counted where it would have hung
      index_.erase(it);
      return parent;
    }
    it->second = static_cast<std::uint32_t>(nodes_.size());
    node& n = nodes_.emplace_back();
    n.what = what;
    n.where = where;
    n.state = state;
    nodes_[parent].children.push_back(it->second);
    return it->second;
  }
  bool is_library(std::source_location l) {
    auto [it, fresh] = of_library_.try_emplace(std::bit_cast<std::uint64_t>(l));
    if (fresh) it->second = is_library_file(l.file_name());
    return it->second;
  }

  void write(json& j, std::uint32_t i) {
    node& n = nodes_[i];
    static constexpr std::string_view names[] = {"root", "start", "frame", "state"};
    j.object()
        .key("kind")
        .text(names[static_cast<int>(n.what)])
        .key("value")
        .number(n.value)
        .key("count")
        .number(n.count);
    if (n.what == node::kind::state) j.key("name").text(gathering::state_name(n.state));
    if (n.what == node::kind::start || n.what == node::kind::frame) j.key("place").place(n.where);
    std::sort(n.children.begin(), n.children.end(),
              [this](auto a, auto b) { return nodes_[a].value > nodes_[b].value; });
    j.key("children").array();
    for (std::uint32_t c : n.children) {
      if (nodes_[c].value * smallest_part < nodes_[0].value || nodes_[c].value == 0) break;
      write(j, c);
    }
    j.end_array().end_object();
  }

  std::string state_;
  bool by_time_;
  gathering all_{{.labels = false}};
  std::vector<node> nodes_;
  std::map<std::tuple<std::uint32_t, node::kind, std::uint64_t>, std::uint32_t> index_;
  std::unordered_map<std::uint64_t, bool> of_library_;
  std::vector<std::string_view> states_;
};

}  // namespace

reply flame(viewer&, const request& q) { return as_json(std::make_unique<flames>(q)); }

}  // namespace leash::debug
