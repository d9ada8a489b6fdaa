// In words: why nobody can complete a wait, or who still can.
#include "explain.hpp"

#include <cxxabi.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <memory>
#include <sstream>
#include <typeinfo>

#include "../observe/frozen.hpp"
#include "../observe/looking.hpp"
#include "capability.hpp"

namespace leash {

namespace {

std::string type_text(const std::type_info& t) {
  int status = 0;
  std::unique_ptr<char, void (*)(void*)> text(abi::__cxa_demangle(t.name(), nullptr, nullptr, &status), std::free);
  return status == 0 ? text.get() : t.name();
}

}  // namespace

std::string name_object(const graph& g, std::uint32_t k) {
  graph_object const& o = g.objects[k];
  std::string s = type_name(o.type());
  if (has_contents(o.type())) {
    // Its own record was read when all handles to it had been found: only of a dead one is that sure to be right.
    if (std::uint32_t const owner = g.owner_of(k); owner != none && !(g.flags[owner] & node_flag::lent))
      s += " (" + type_text(*reinterpret_cast<const std::type_info*>(g.words[owner])) + ")";
  } else if (std::source_location const at = site_of(g.object_at(k), o.type()); at.line() != 0) {
    s += " made at " + site(at);
  }
  return s;
}

namespace {

class teller {
 public:
  teller(const graph& g, std::uint32_t node, const known_goroutines& infos, explainer& all)
      : g_(g), node_(node), infos_(infos), all_(all) {}

  std::string leaked() {
    bool first = true;
    if (g_.waits_of(node_) == 0)
      out_ << "waits for nothing that could happen: no case can fire, and nobody can cancel it";
    bool const placed = has_placed();
    g_.for_each_wait(node_, [&](const graph_wait& w) {
      if (placed && is_location(w)) return;  // told with the event or condition itself
      if (!first) out_ << "; and ";
      first = false;
      tell(w);
    });
    return out_.str();
  }

 private:
  bool is_location(const graph_wait& w) const {
    return w.which == graph_wait::frames || (w.which < 2 && has_contents(g_.objects[w.object].type()));
  }
  bool has_placed() const {
    bool any = false;
    g_.for_each_wait(node_, [&](const graph_wait& w) { any |= w.which < 2 && is_placed(g_.objects[w.object].type()); });
    return any;
  }
  void tell(const graph_wait& w) {
    if (w.which == graph_wait::joins) {
      out_ << "waits for the end of " << name(w.object);
      out_ << (w.object == node_ ? ": only its own end could wake it" : ", which is leaked itself");
      return;
    }
    graph_object const& o = g_.objects[w.object];
    if (o.type() == object_type::scope) {
      out_ << (w.which == 0   ? "waits for the members of its scope, of which none can end"
               : w.which == 1 ? "waits for a place in a scope, and of those who have one (max_children) none can end"
                              : "only its own scopes could cancel it");
      return;
    }
    out_ << "waits for the " << name_object(g_, w.object);
    if (is_placed(o.type())) {
      tell_place();
      return;
    }
    std::uint32_t const holders = g_.found(w.object, w.which);
    const char* const what = capability_name(o.type(), w.which);
    if (holders == 0) {
      out_ << ", of which no " << what << " is left";
      return;
    }
    out_ << ", whose " << (holders == 1 ? "only " : std::to_string(holders) + " ") << what
         << (holders == 1 ? " is held by " : "s are held by ");
    tell_holders(w.object, w.which);
  }

  /// Where the event or condition lies, and so who could reach it.
  void tell_place() {
    bool told = false;
    g_.for_each_wait(node_, [&](const graph_wait& w) {
      if (!is_location(w) || told) return;
      told = true;
      if (w.which == graph_wait::frames) {
        out_ << ", which lies in a frame of " << name(w.object)
             << ": neither that goroutine nor any that it started can still reach it";
        return;
      }
      out_ << ", which lies in a " << name_object(g_, w.object);
      if (g_.found(w.object, 0) == 0) {
        out_ << " that nobody has a handle to";
      } else {
        out_ << " that can be reached only by ";
        tell_holders(w.object, 0);
      }
    });
  }

  void tell_holders(std::uint32_t k, std::uint32_t which) {
    auto const& holders = all_.holders(k, which);
    for (std::size_t i = 0; i < holders.size(); ++i) {
      if (i == explainer::told_holders) {
        out_ << " and others";
        return;
      }
      if (i > 0) out_ << ", ";
      way_.clear();
      tell_holder(holders[i]);
    }
  }

  void tell_holder(std::uint32_t holder) {
    node_kind const kind = g_.kind_of(holder);
    if (kind == node_kind::goroutine) {
      out_ << name(holder);
      auto it = infos_.find(holder);
      if (holder != node_ && it != infos_.end()) out_ << ", which waits in " << it->second->wait;
      return;
    }
    std::uint32_t const k = g_.object_of(holder);
    if (kind == node_kind::buffer) {
      out_ << "a value in the buffer of the " << name_object(g_, k) << ", which nobody can receive";
      return;
    }
    out_ << (kind == node_kind::latest ? "the latest value of a " : "a ") << name_object(g_, k);
    way_.push_back(holder);
    if (way_.size() > 4) return;
    // Through the memory to the first that has a handle to it.
    for (std::uint32_t which : {0u, 1u}) {
      for (std::uint32_t next : all_.holders(k, which)) {
        if (std::find(way_.begin(), way_.end(), next) != way_.end()) continue;
        out_ << " of ";
        tell_holder(next);
        return;
      }
    }
    if (kind == node_kind::contents) out_ << ", in a circle that nobody else has a handle to";
  }

  std::string name(std::uint32_t i) const {
    if (i == node_) return "itself";
    auto it = infos_.find(i);
    return it != infos_.end() ? call_name(*it->second) : std::string("a goroutine");
  }

  const graph& g_;
  std::uint32_t node_;
  const known_goroutines& infos_;
  explainer& all_;
  std::ostringstream out_;
  std::vector<std::uint32_t> way_;  // memory that was told of, from a holder to the goroutine that reaches it
};

std::string goroutine_at(const graph& g, std::uint32_t node) {
  goroutine_info info;
  return look_at(g.goroutine_at(node), nullptr, info)
             ? call_name(info) +
                   (info.state == "waiting" ? ", which waits in " + info.wait : ", which is " + info.state)
             : std::string("a goroutine");
}

/// It waits for the end of goroutines, its own most likely.
bool joins_others(const graph& g, std::uint32_t node) {
  bool joins = false;
  g.for_each_wait(node, [&](const graph_wait& w) {
    joins |= w.which == graph_wait::joins || (w.which == 0 && g.objects[w.object].type() == object_type::scope);
  });
  return joins;
}

}  // namespace

std::string explainer::why_leaked(std::uint32_t node) { return teller(g_, node, infos_, *this).leaked(); }

std::vector<leak_premise> explainer::premises_of(std::uint32_t node) {
  bool uses[4]{};
  auto use = [&](leak_premise p) { uses[static_cast<std::size_t>(p)] = true; };
  if ((g_.flags[node] & node_flag::confined) != 0) use(leak_premise::confinement);
  g_.for_each_wait(node, [&](const graph_wait& w) {
    if (w.which == graph_wait::joins || w.which == graph_wait::frames) return;
    object_type const type = g_.objects[w.object].type();
    if (type == object_type::cancel_source || w.which == graph_wait::cancels) use(leak_premise::contexts);
    if (w.which > 1) return;
    if (has_contents(type)) use(leak_premise::tracked_memory);  // an event or condition lies there
    for (std::uint32_t holder : holders(w.object, w.which))
      use(g_.kind_of(holder) == node_kind::goroutine ? leak_premise::frames : leak_premise::tracked_memory);
  });
  std::vector<leak_premise> all;
  for (std::uint8_t p = 0; p < std::size(uses); ++p)
    if (uses[p]) all.push_back(static_cast<leak_premise>(p));
  return all;
}

std::uint64_t explainer::rank(std::uint32_t node, int depth) const {
  constexpr std::uint64_t memory = std::uint64_t{1} << 63;
  if (g_.kind_of(node) == node_kind::goroutine) {
    auto it = infos_.find(node);
    return it != infos_.end() ? it->second->id : memory - 1;
  }
  std::uint64_t best = UINT64_MAX;
  if (depth == 3) return best;
  for (auto const& h : g_.holders_of(g_.object_of(node)))
    if (h.node != node) best = std::min(best, rank(h.node, depth + 1) | memory);
  return best;
}

const std::vector<std::uint32_t>& explainer::holders(std::uint32_t object, std::uint32_t which) {
  auto const [at, fresh] = holders_.try_emplace(std::uint64_t{object} << 8 | which);
  if (!fresh) return at->second;
  std::vector<std::pair<std::uint64_t, std::uint32_t>> all;
  for (auto const& h : g_.holders_of(object))
    if (h.which == which) all.emplace_back(rank(h.node, 0), h.node);
  std::size_t const kept = std::min(all.size(), told_holders + 1);
  std::partial_sort(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(kept), all.end());
  for (std::size_t i = 0; i < kept; ++i) at->second.push_back(all[i].second);
  return at->second;
}

live_reason why_live(const graph& g, std::uint32_t node, bool in_words) {
  live_reason r;
  bool first = true;
  // why(): a text.
  auto better = [&](double doubt, auto&& why) {
    if (!first && doubt >= r.doubt) return;
    first = false;
    r.doubt = doubt;
    if (in_words) r.why = why();
  };
  if (g.waits_of(node) == 0) better(0, [] { return "it ends by itself, or its time is limited"; });
  g.for_each_wait(node, [&](const graph_wait& w) {
    if (w.which == graph_wait::joins || w.which == graph_wait::frames) {
      if (w.object == graph_wait::no_target)
        better(0.2, [] { return "live only because the goroutine that it waits for runs"; });
      else if (w.which == graph_wait::joins)
        better(0.4, [&] { return "live only because it waits for " + goroutine_at(g, w.object); });
      else if (g.flags[w.object] & node_flag::used)
        better(0.5, [&] {
          return "live only because what it waits for lies in a frame of " + goroutine_at(g, w.object) +
                 ", which it, or a goroutine that it started, may still use";
        });
      return;
    }
    graph_object const& o = g.objects[w.object];
    if (o.type() == object_type::scope) {
      better(w.which < 2 ? 0.3 : 0.6, [&] {
        return w.which == 0   ? "live only because a goroutine of the scope that it joins is live"
               : w.which == 1 ? "live only because a goroutine of the scope in which it waits for a place is live"
                              : "live only because whoever owns its scope may cancel it";
      });
      return;
    }
    auto const by_class = [&](std::uint32_t which, const char* use) {
      std::uint8_t const bit = static_cast<std::uint8_t>(1 << (which));
      auto const satisfied_bit = static_cast<std::uint8_t>(graph_object::satisfied_0 << (which));
      if (!o.is(bit | satisfied_bit)) return false;
      auto const what = [&] { return name_object(g, w.object); };
      const char* const noun = capability_name(o.type(), which);
      std::uint32_t const total = total_of(g.object_at(w.object), static_cast<std::uint8_t>(which));
      std::uint32_t const found = g.found(w.object, which);
      if (total != UINT32_MAX && total > found) {
        std::uint32_t const outside = total - found;
        better(1, [&] {
          return "live only because " + std::to_string(outside) + " " + noun + (outside == 1 ? "" : "s") + " of the " +
                 what() + use + (outside == 1 ? " lies" : " lie") +
                 " outside tracked memory (on the heap, in a static or foreign object, or with a goroutine that runs): "
                 "keep it in a frame, or in leash::shared, tracked_vector or tracked_box";
        });
        return true;
      }
      if (o.is(satisfied_bit)) {
        better(0, [&] { return "the " + what() + " lets it go on; it is being woken"; });
        return true;
      }
      auto const all = g.holders_of(w.object);
      for (auto h = all.rbegin(); h != all.rend(); ++h) {
        // (What it holds itself it can use when something else has woken it.)
        if (h->which != which || h->node == node || !(g.flags[h->node] & node_flag::used)) continue;
        if (g.kind_of(h->node) != node_kind::goroutine) {
          better(0.5, [&] {
            return std::string("live only because a ") + noun + " of the " + what() +
                   " lies in memory that live goroutines can reach";
          });
        } else if (joins_others(g, h->node) || !(g.flags[h->node] & node_flag::live)) {
          better(0.8, [&] {
            return "live only because " + goroutine_at(g, h->node) + ", still holds a " + noun + " of the " + what() +
                   use + ", which goroutines that it started may borrow: move it in, or drop it before waiting";
          });
        } else {
          better(0.5, [&] {
            return "live only because " + goroutine_at(g, h->node) + ", holds a " + noun + " of the " + what() + use;
          });
        }
        return true;
      }
      return false;
    };
    if (by_class(w.which, "")) return;
    if (o.type() == object_type::channel && w.which == 1 && by_class(0, " (which could close it)")) return;
    if (in_line(o.type()))
      better(0.3, [&] {
        return "live only because another one that stands in line for the " + name_object(g, w.object) + " is live";
      });
  });
  if (first) better(0.1, [] { return "it was on the move when it was looked at"; });
  return r;
}

}  // namespace leash
