// Draws what leaks wait for, and who holds that, as boxes and links; picture.cpp lays them out.
#include "paint.hpp"

#include <algorithm>
#include <sstream>
#include <unordered_map>

#include "../observe/looking.hpp"
#include "capability.hpp"

namespace leash {

const frame_info* own_frame(const goroutine_info& g) {
  for (const frame_info& f : g.stack)
    if (!is_library_file(f.file)) return &f;
  return g.stack.empty() ? nullptr : &g.stack.front();
}

namespace {

class painter {
 public:
  painter(leak_findings& f, explainer& words) : f_(f), g_(f.pass.known), words_(words) {}

  leak_picture paint(std::span<const std::uint32_t> which) {
    for (std::uint32_t k : which) {
      leak const& l = f_.leaks[k];
      leak_picture::box b;
      b.what = l.role == leak_role::core ? leak_picture::box::kind::core : leak_picture::box::kind::dependent;
      if (l.role == leak_role::core) b.knot = knot_of(f_.knots[k]);
      b.head = call_name(l.who);
      b.lines.push_back(l.who.wait + age_of_wait(l.who));
      if (const frame_info* at = own_frame(l.who)) b.lines.push_back(at->file + ":" + std::to_string(at->line));
      std::ostringstream story;
      write_leak(story, l);
      b.story = std::move(story).str();
      box_of_node_.emplace(f_.pass.dead[f_.order[k]], graph::size32(to_.boxes.size()));
      to_.boxes.push_back(std::move(b));
    }
    for (std::size_t i = 0; i < which.size(); ++i) add_waits(f_.pass.dead[f_.order[which[i]]], graph::size32(i));
    return std::move(to_);
  }

 private:
  using kind = leak_picture::link::kind;

  std::uint32_t knot_of(std::uint32_t number) {
    return knots_.try_emplace(number, graph::size32(knots_.size())).first->second;
  }
  void link(std::uint32_t from, std::uint32_t to, kind what) {
    for (auto& l : to_.links)
      if (l.from == from && l.to == to && l.what == what) return;
    to_.links.push_back({from, to, what});
  }

  void add_waits(std::uint32_t node, std::uint32_t box) {
    std::uint32_t placed = none;  // the event or condition; the waits after it say where that lies
    g_.for_each_wait(node, [&](const graph_wait& w) {
      if (w.which == graph_wait::cancels) return;
      if (w.which == graph_wait::joins || w.which == graph_wait::frames) {
        auto const target = box_of_node_.find(w.object);
        if (target == box_of_node_.end()) return;
        bool const lies_there = w.which == graph_wait::frames && placed != none;
        link(lies_there ? placed : box, target->second, lies_there ? kind::held : kind::waits);
        return;
      }
      graph_object const& o = g_.objects[w.object];
      if (has_contents(o.type()) && placed != none) {
        std::uint32_t const memory = box_of(w.object, to_.boxes[box].knot);
        if (memory == none) return;
        link(placed, memory, kind::held);
        add_holders(w.object, w.which, memory, 0);
        return;
      }
      std::uint32_t const what = box_of(w.object, to_.boxes[box].knot);
      if (what == none) return;
      link(box, what, kind::waits);
      if (is_placed(o.type())) {
        placed = what;
      } else if (o.type() == object_type::scope) {
        for (auto& [member, at] : in_order(box_of_node_))
          if (g_.home_of(member) == w.object && member != node) link(what, at, kind::held);
      } else {
        add_holders(w.object, w.which, what, 0);
      }
    });
  }

  void add_holders(std::uint32_t object, std::uint32_t which, std::uint32_t box, int depth) {
    auto const holders = words_.holders(object, which);
    for (std::size_t i = 0; i < std::min(holders.size(), explainer::told_holders); ++i) {
      if (g_.kind_of(holders[i]) == node_kind::goroutine) {
        auto const at = box_of_node_.find(holders[i]);
        if (at != box_of_node_.end()) link(box, at->second, kind::held);
        continue;
      }
      std::uint32_t const k = g_.object_of(holders[i]);
      std::uint32_t const memory = box_of(k, to_.boxes[box].knot);
      if (memory == none || memory == box) continue;
      link(box, memory, kind::held);
      if (depth == 4) continue;
      bool const buffer = g_.kind_of(holders[i]) == node_kind::buffer;
      if (!buffer) add_holders(k, 0, memory, depth + 1);
      add_holders(k, 1, memory, depth + 1);
    }
  }

  /// none: there are too many.
  std::uint32_t box_of(std::uint32_t object, std::uint32_t knot) {
    bool const full = to_.boxes.size() >= drawn_boxes;
    auto const [at, fresh] = box_of_object_.try_emplace(object, full ? none : graph::size32(to_.boxes.size()));
    if (fresh && full) ++to_.objects_left_out;
    if (fresh && !full) {
      leak_picture::box b;
      b.knot = knot;
      b.story = name_object(g_, object);
      std::size_t const place = b.story.find(" made at ");
      b.head = b.story.substr(0, place);
      if (place != std::string::npos) b.lines.push_back(b.story.substr(place + std::string_view(" made at ").size()));
      to_.boxes.push_back(std::move(b));
    }
    return at->second;
  }

  static std::vector<std::pair<std::uint32_t, std::uint32_t>> in_order(
      const std::unordered_map<std::uint32_t, std::uint32_t>& boxes) {
    std::vector<std::pair<std::uint32_t, std::uint32_t>> all(boxes.begin(), boxes.end());
    std::sort(all.begin(), all.end(), [](auto& a, auto& b) { return a.second < b.second; });
    return all;
  }

  leak_findings& f_;
  graph& g_;
  explainer& words_;
  leak_picture to_;
  std::unordered_map<std::uint32_t, std::uint32_t> knots_, box_of_node_, box_of_object_;
};

}  // namespace

leak_picture paint(leak_findings& f, explainer& words, std::span<const std::uint32_t> which) {
  return painter(f, words).paint(which);
}

}  // namespace leash
