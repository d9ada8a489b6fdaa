// The flame graph of a report: where goroutines wait, from what they were started as, down to the line that waits.
#include <algorithm>
#include <cstdio>
#include <map>
#include <memory>

#include "commands.hpp"

namespace leash::cli {

namespace {

constexpr double width = 1160, row = 20, char_width = 7.3;
constexpr std::size_t deepest = 60, most_places = 2000;
constexpr double thinnest = 1;  // of width: what is thinner is not drawn

struct node {
  std::string name, more;
  std::uint64_t count = 0;
  std::map<std::pair<std::string, std::string>, std::unique_ptr<node>> below;
};

const char* colour(std::string_view name) {
  static constexpr const char* colours[] = {"#f5c396", "#f2b880", "#f7d0a5", "#efc78f", "#f4bd9a", "#f8d9b4"};
  return colours[hash_of(name) % std::size(colours)];
}

void draw(const node& n, double x, double w, std::size_t depth, std::size_t& most_depth, std::uint64_t total,
          std::string& out) {
  most_depth = std::max(most_depth, depth);
  char place[200];
  std::snprintf(place, sizeof place,
                "<rect x=\"%.1f\" y=\"%.0f\" width=\"%.1f\" height=\"%.0f\" rx=\"2\" fill=\"%s\"/>", x,
                static_cast<double>(depth) * row, w, row - 1, depth == 0 ? "#c3cad2" : colour(n.name));
  char part[40];
  std::snprintf(part, sizeof part, ", %.1f %%", 100 * static_cast<double>(n.count) / static_cast<double>(total));
  out += "<g><title>" + escaped(n.name) + (n.more.empty() ? "" : "\n" + escaped(n.more)) + "\n" +
         plural(n.count, "goroutine") + part + "</title>" + place;
  const auto fits = static_cast<std::size_t>(std::max(0.0, (w - 8) / char_width));
  if (fits >= 4) {
    std::snprintf(place, sizeof place, "<text x=\"%.1f\" y=\"%.0f\">", x + 4, static_cast<double>(depth) * row + 14);
    out += place + escaped(fitted(clean(n.name), fits)) + "</text>";
  }
  out += "</g>\n";
  for (const auto& [key, child] : n.below) {
    const double part_of = w * static_cast<double>(child->count) / static_cast<double>(n.count);
    if (part_of >= thinnest) draw(*child, x, part_of, depth + 1, most_depth, total, out);
    x += part_of;
  }
}

}  // namespace

std::string flame_graph(const std::vector<finding>& all, const symbols& s) {
  node root;
  root.name = "all";
  std::vector<const finding*> largest;
  for (const finding& f : all) {
    root.count += f.count;
    if (f.count != 0) largest.push_back(&f);
  }
  std::ranges::sort(largest,
                    [](auto* a, auto* b) { return a->count != b->count ? a->count > b->count : a->key < b->key; });
  if (largest.size() > most_places) largest.resize(most_places);
  for (const finding* one : largest) {
    const finding& f = *one;
    node* at = &root;
    const auto put = [&](std::string name, std::string more) {
      auto& n = at->below[{name, more}];
      if (n == nullptr) n = std::make_unique<node>(node{std::move(name), std::move(more), 0, {}});
      n->count += f.count;
      at = n.get();
    };
    if (f.stack != none) {
      const auto frames = s.frames(f.stack);
      for (std::size_t i = frames.size(), depth = 0; i-- > 0 && depth < deepest; ++depth)
        put(std::string(s.function(frames[i])), place(frames[i], s));
    }
    put(f.state == none ? "?" : std::string(s.text(f.state)), {});
  }
  if (root.count == 0) return {};
  std::string drawn;
  std::size_t depth = 0;
  draw(root, 0, width, 0, depth, root.count, drawn);
  char head[160];
  std::snprintf(head, sizeof head,
                "<svg class=\"flame\" viewBox=\"0 0 %.0f %.0f\" role=\"img\" aria-label=\"Where goroutines wait\">\n",
                width, static_cast<double>(depth + 1) * row);
  return head + drawn + "</svg>\n";
}

}  // namespace leash::cli
