// Laying out the picture of a report.
//
// Each knot is a ring: its boxes stand on an ellipse in the order of a walk along the links, so that a circle of waits is
// seen as one. The rings stand below each other; whoever waits for them stands to the left, in columns by the number of
// links to a ring, near what it waits for. A link that would pass under a box bends around it. Sizes are integers and text is monospaced, so the picture does not depend on
// the machine.
#include "picture.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <sstream>

namespace leash {

namespace {

using box = leak_picture::box;
using link = leak_picture::link;

constexpr int line_height = 16, column_gap = 72, row_gap = 22, margin = 24;
constexpr double char_width = 7.3;  // of the 12px monospaced fonts asked for, the widest of them
constexpr std::size_t widest = 38;  // characters of a line

// Bytes of the character that starts at s[i]; 0: none does, or XML does not have it.
std::size_t character_at(std::string_view s, std::size_t i) {
  auto const byte = [&](std::size_t k) -> unsigned {
    return i + k < s.size() ? static_cast<unsigned char>(s[i + k]) : 0u;
  };
  unsigned const first = byte(0);
  if (first < 0x80) return first >= 0x20 || first == '\t' || first == '\n' || first == '\r' ? 1 : 0;
  std::size_t const n = first >= 0xc2 && first < 0xe0   ? 2
                        : first >= 0xe0 && first < 0xf0 ? 3
                        : first >= 0xf0 && first < 0xf5 ? 4
                                                        : 0;
  if (n == 0) return 0;
  unsigned code = first & (0xffu >> (n + 1));
  for (std::size_t k = 1; k < n; ++k) {
    if ((byte(k) & 0xc0) != 0x80) return 0;
    code = code << 6 | (byte(k) & 0x3f);
  }
  bool const too_long = (n == 3 && code < 0x800) || (n == 4 && (code < 0x10000 || code > 0x10ffff));
  bool const surrogate = code >= 0xd800 && code < 0xe000;
  return too_long || surrogate || code == 0xfffe || code == 0xffff ? 0 : n;
}

// Its characters, each as XML; a line's length is their number.
std::vector<std::string> characters(std::string_view s) {
  std::vector<std::string> all;
  for (std::size_t i = 0; i < s.size();) {
    std::size_t const n = character_at(s, i);
    switch (n == 1 ? s[i] : '\0') {
      case '<':
        all.emplace_back("&lt;");
        break;
      case '>':
        all.emplace_back("&gt;");
        break;
      case '&':
        all.emplace_back("&amp;");
        break;
      case '"':
        all.emplace_back("&quot;");
        break;
      default:
        all.push_back(n == 0 ? "\xef\xbf\xbd" : std::string(s.substr(i, n)));
    }
    i += std::max<std::size_t>(n, 1);
  }
  return all;
}

enum class keep : std::uint8_t { start, end };

/// At most `widest` characters: the start of a name, the end of a place.
std::vector<std::string> shortened(std::string_view s, keep part) {
  std::vector<std::string> all = characters(s);
  if (all.size() <= widest) return all;
  auto const over = static_cast<std::ptrdiff_t>(all.size() - widest + 1);
  if (part == keep::start) {
    all.erase(all.end() - over, all.end());
    all.emplace_back("\xe2\x80\xa6");
  } else {
    all.erase(all.begin(), all.begin() + over);
    all.emplace(all.begin(), "\xe2\x80\xa6");
  }
  return all;
}

std::string joined(const std::vector<std::string>& all) {
  std::string s;
  for (auto& c : all) s += c;
  return s;
}

struct point {
  double x = 0, y = 0;
};

constexpr int curve_steps = 32;

struct curve {  // quadratic
  point from, bend, to;
  point at(int step) const {
    double const t = static_cast<double>(step) / curve_steps, u = 1 - t;
    return {u * u * from.x + 2 * u * t * bend.x + t * t * to.x, u * u * from.y + 2 * u * t * bend.y + t * t * to.y};
  }
};

struct placed {
  std::vector<std::string> text;  // escaped; the first line is the head
  int w = 0, h = 0;
  point at;  // its middle
};

class layout {
 public:
  explicit layout(const leak_picture& p) : p_(p), all_(p.boxes.size()) {
    for (std::size_t i = 0; i < all_.size(); ++i) measure(i);
    place_knots();
    place_columns();
    route();
  }

  std::string svg() {
    double left = 1e9, top = 1e9, right = -1e9, bottom = -1e9;
    auto reach = [&](double x, double y) {
      left = std::min(left, x);
      right = std::max(right, x);
      top = std::min(top, y);
      bottom = std::max(bottom, y);
    };
    for (const placed& b : all_) {
      reach(b.at.x - b.w / 2.0, b.at.y - b.h / 2.0);
      reach(b.at.x + b.w / 2.0, b.at.y + b.h / 2.0);
    }
    for (const curve& c : curves_)
      for (int k = 0; k <= curve_steps; ++k) reach(c.at(k).x, c.at(k).y);
    if (all_.empty()) left = top = right = bottom = 0;
    constexpr int head = 72, legend_width = 520;
    int const width = static_cast<int>(std::max(right - left, double{legend_width})) + 2 * margin;
    int const height = static_cast<int>(bottom - top) + head + 2 * margin;
    double const dx = std::round((width - right - left) / 2), dy = std::round(head + margin - top);
    auto move = [&](point& p) { p = {p.x + dx, p.y + dy}; };
    for (placed& b : all_) move(b.at);
    for (curve& c : curves_) move(c.from), move(c.bend), move(c.to);

    std::size_t core = 0, dependent = 0;
    for (const box& b : p_.boxes) {
      core += b.what == box::kind::core;
      dependent += b.what == box::kind::dependent;
    }
    std::string summary = std::to_string(core) + " core, " + std::to_string(dependent) + " dependent";
    if (p_.left_out != 0) summary += ", and " + std::to_string(p_.left_out) + " more that are not drawn";
    out_ << "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"" << width << "\" height=\"" << height
         << "\" viewBox=\"0 0 " << width << " " << height << "\" role=\"img\">\n<title>Leaked goroutines: " << summary
         << "</title>\n";
    style();
    out_ << "<rect class=\"paper\" width=\"" << width << "\" height=\"" << height << "\"/>\n";
    out_ << "<text class=\"head\" x=\"" << margin << "\" y=\"" << margin + 10 << "\">Leaked goroutines: " << summary
         << "</text>\n";
    legend(margin, margin + 36);
    for (std::size_t i = 0; i < p_.links.size(); ++i) draw_link(i);
    for (std::size_t i = 0; i < all_.size(); ++i) draw_box(i);
    out_ << "</svg>\n";
    return std::move(out_).str();
  }

 private:
  // --- places

  void measure(std::size_t i) {
    box const& b = p_.boxes[i];
    placed& to = all_[i];
    auto head = shortened(b.head, keep::start);
    std::size_t longest = head.size();
    to.text.push_back(joined(head));
    for (const std::string& l : b.lines) {
      auto line = shortened(l, keep::end);
      longest = std::max(longest, line.size());
      to.text.push_back(joined(line));
    }
    to.w = std::max(static_cast<int>(static_cast<double>(longest) * char_width) + 28, 90) / 2 * 2;
    to.h = static_cast<int>(to.text.size()) * line_height + 14;
  }

  /// The boxes of a knot in the order of a walk along the links.
  std::vector<std::uint32_t> walk(std::uint32_t knot) const {
    std::vector<std::uint32_t> order, todo;
    std::vector<bool> seen(all_.size());
    for (std::uint32_t start = 0; start < all_.size(); ++start) {
      if (p_.boxes[start].knot != knot || seen[start]) continue;
      todo.push_back(start);
      while (!todo.empty()) {
        std::uint32_t const i = todo.back();
        todo.pop_back();
        if (seen[i]) continue;
        seen[i] = true;
        order.push_back(i);
        for (auto l = p_.links.rbegin(); l != p_.links.rend(); ++l)
          if (l->from == i && p_.boxes[l->to].knot == knot) todo.push_back(l->to);
      }
    }
    return order;
  }

  void place_knots() {
    std::uint32_t knots = 0;
    for (const box& b : p_.boxes)
      if (b.knot != none) knots = std::max(knots, b.knot + 1);
    double y = 0;
    for (std::uint32_t knot = 0; knot < knots; ++knot) {
      auto const order = entered_first(walk(knot));
      if (order.empty()) continue;
      place_ring(order);
      double left = 1e9, top = 1e9, bottom = -1e9;
      for (std::uint32_t i : order) {
        left = std::min(left, all_[i].at.x - all_[i].w / 2.0);
        top = std::min(top, all_[i].at.y - all_[i].h / 2.0);
        bottom = std::max(bottom, all_[i].at.y + all_[i].h / 2.0);
      }
      for (std::uint32_t i : order) {
        all_[i].at.x -= left;
        all_[i].at.y += y - top;
      }
      y += bottom - top + 3 * row_gap;
    }
  }

  /// Turned so that it starts, at the left, with what those outside wait for most.
  std::vector<std::uint32_t> entered_first(std::vector<std::uint32_t> order) const {
    std::vector<std::size_t> entries(order.size());
    for (const link& l : p_.links)
      for (std::size_t k = 0; k < order.size(); ++k)
        entries[k] += order[k] == l.to && p_.boxes[l.from].knot != p_.boxes[l.to].knot;
    auto const most = std::max_element(entries.begin(), entries.end()) - entries.begin();
    if (!order.empty()) std::rotate(order.begin(), order.begin() + most, order.end());
    return order;
  }

  void place_ring(const std::vector<std::uint32_t>& order) {
    std::size_t const n = order.size();
    if (n == 1) return;
    if (n == 2) {
      all_[order[1]].at = {all_[order[0]].w / 2.0 + all_[order[1]].w / 2.0 + 1.6 * column_gap, 0};
      return;
    }
    for (double size = 1;; size *= 1.08) {
      for (std::size_t k = 0; k < n; ++k) {
        double const angle = 2 * std::numbers::pi * static_cast<double>(k) / static_cast<double>(n) - std::numbers::pi;
        all_[order[k]].at = {130 * size * std::cos(angle), 80 * size * std::sin(angle)};
      }
      bool apart = true;
      for (std::size_t k = 0; k < n && apart; ++k)
        for (std::size_t m = k + 1; m < n && apart; ++m) {
          const placed &a = all_[order[k]], &b = all_[order[m]];
          apart =
              std::abs(a.at.x - b.at.x) > (a.w + b.w) / 2.0 + 28 || std::abs(a.at.y - b.at.y) > (a.h + b.h) / 2.0 + 40;
        }
      if (apart) return;
    }
  }

  void place_columns() {
    // Distance to a ring, backwards along the links.
    std::vector<std::uint32_t> distance(all_.size(), none);
    for (std::size_t i = 0; i < all_.size(); ++i)
      if (p_.boxes[i].knot != none) distance[i] = 0;
    for (bool changed = true; changed;) {
      changed = false;
      for (const link& l : p_.links) {
        if (distance[l.to] == none || distance[l.from] <= distance[l.to] + 1) continue;
        distance[l.from] = distance[l.to] + 1;
        changed = true;
      }
    }
    std::uint32_t columns = 0;
    for (std::uint32_t& d : distance) {
      if (d == none) d = 1;  // what it waits for is not drawn
      columns = std::max(columns, d);
    }
    double left = 0;
    for (std::uint32_t column = 1; column <= columns; ++column) {
      std::vector<std::uint32_t> here;
      int width = 0;
      for (std::uint32_t i = 0; i < all_.size(); ++i) {
        if (distance[i] != column) continue;
        here.push_back(i);
        width = std::max(width, all_[i].w);
        double sum = 0, n = 0;
        for (const link& l : p_.links) {
          if (l.from != i || distance[l.to] >= column) continue;
          sum += all_[l.to].at.y;
          ++n;
        }
        all_[i].at = {left - column_gap - width / 2.0, n != 0 ? sum / n : 0};
      }
      if (here.empty()) continue;
      for (std::uint32_t i : here) all_[i].at.x = left - column_gap - width / 2.0;
      std::sort(here.begin(), here.end(),
                [&](auto a, auto b) { return std::pair(all_[a].at.y, a) < std::pair(all_[b].at.y, b); });
      // Near what they wait for, but apart: pushed down where they overlap, then up by half of that.
      double wanted = 0, got = 0, bottom = -1e9;
      for (std::uint32_t i : here) {
        wanted += all_[i].at.y;
        all_[i].at.y = std::max(all_[i].at.y, bottom + all_[i].h / 2.0);
        bottom = all_[i].at.y + all_[i].h / 2.0 + row_gap;
        got += all_[i].at.y;
      }
      for (std::uint32_t i : here) all_[i].at.y -= (got - wanted) / static_cast<double>(here.size());
      left -= column_gap + width;
    }
  }

  // --- links

  bool goes_back(const link& l) const {
    return std::any_of(p_.links.begin(), p_.links.end(),
                       [&](const link& o) { return o.from == l.to && o.to == l.from; });
  }

  /// Where the way from the middle of b to `toward` leaves it, and a little more.
  static point border(const placed& b, point toward) {
    double const dx = toward.x - b.at.x, dy = toward.y - b.at.y;
    double const across = dx != 0 ? (b.w / 2.0 + 3) / std::abs(dx) : 1e9,
                 down = dy != 0 ? (b.h / 2.0 + 3) / std::abs(dy) : 1e9;
    double const part = std::min(across, down);
    return {b.at.x + dx * part, b.at.y + dy * part};
  }

  curve curved(const link& l, double bend) const {
    placed const &a = all_[l.from], &b = all_[l.to];
    if (l.from == l.to) {  // a loop at its upper edge
      double const y = a.at.y - a.h / 2.0 - 3;
      return {{a.at.x - 30, y}, {a.at.x, y - 60}, {a.at.x + 30, y}};
    }
    double const dx = b.at.x - a.at.x, dy = b.at.y - a.at.y, length = std::max(std::hypot(dx, dy), 1.0);
    point const middle{(a.at.x + b.at.x) / 2, (a.at.y + b.at.y) / 2};
    if (bend == 0) {
      point const from = border(a, b.at), to = border(b, a.at);
      return {from, {(from.x + to.x) / 2, (from.y + to.y) / 2}, to};
    }
    point const control{middle.x + dy / length * bend, middle.y - dx / length * bend};
    return {border(a, control), control, border(b, control)};
  }

  /// How much of it lies under boxes that it does not belong to.
  int hidden(const link& l, const curve& c) const {
    int n = 0;
    for (int k = 1; k < curve_steps; ++k) {
      point const p = c.at(k);
      for (std::uint32_t i = 0; i < all_.size(); ++i) {
        if (i == l.from || i == l.to) continue;
        n += std::abs(p.x - all_[i].at.x) < all_[i].w / 2.0 + 5 && std::abs(p.y - all_[i].at.y) < all_[i].h / 2.0 + 5;
      }
    }
    return n;
  }

  /// Straight if nothing lies in between, else around it. Those that go both ways bend apart.
  void route() {
    for (const link& l : p_.links) {
      double const usual = goes_back(l) ? 44 : 0;
      curve best = curved(l, usual);
      int least = hidden(l, best);
      for (double more = 50; more <= 450 && least > 0; more += 50) {
        for (double bend : {usual + more, usual - more}) {
          curve const c = curved(l, bend);
          if (int const n = hidden(l, c); n < least) {
            least = n;
            best = c;
          }
        }
      }
      curves_.push_back(best);
    }
  }

  // --- drawing

  void style() {
    // Fixed colours and one media query: what renders SVG outside of browsers knows no variables.
    out_ << "<style>\n"
            "text{font:12px ui-monospace,Menlo,Consolas,'DejaVu Sans Mono','Liberation Mono',monospace;fill:#1f2328}\n"
            ".head{font-weight:bold}\n"
            ".small{fill:#57606a}\n"
            ".paper{fill:#ffffff}\n"
            ".core{fill:#fff1f0;stroke:#c62828;stroke-width:2}\n"
            ".dependent{fill:#f6f8fa;stroke:#6e7781}\n"
            ".object{fill:#eef4ff;stroke:#4666a8}\n"
            ".waits{fill:none;stroke:#c62828;stroke-width:1.6}\n"
            ".held{fill:none;stroke:#4666a8;stroke-width:1.4;stroke-dasharray:5 3}\n"
            ".waits-tip{fill:#c62828}\n"
            ".held-tip{fill:#4666a8}\n"
            "@media (prefers-color-scheme:dark){\n"
            "text{fill:#e6edf3}\n"
            ".small{fill:#9da7b3}\n"
            ".paper{fill:#14181d}\n"
            ".core{fill:#3a1d1d;stroke:#ff7b72}\n"
            ".dependent{fill:#22272e;stroke:#8b949e}\n"
            ".object{fill:#1b2740;stroke:#79a8ff}\n"
            ".waits{stroke:#ff7b72}\n"
            ".held{stroke:#79a8ff}\n"
            ".waits-tip{fill:#ff7b72}\n"
            ".held-tip{fill:#79a8ff}\n"
            "}\n"
            "</style>\n<defs>\n";
    for (const char* name : {"waits", "held"})
      out_ << "<marker id=\"leash-" << name
           << "\" viewBox=\"0 0 10 10\" refX=\"9\" refY=\"5\" markerUnits=\"userSpaceOnUse\" markerWidth=\"11\" "
              "markerHeight=\"11\" orient=\"auto\"><path class=\""
           << name << "-tip\" d=\"M0 0L10 5L0 10z\"/></marker>\n";
    out_ << "</defs>\n";
  }

  void legend(int x, int y) {
    auto arrow = [&](const char* name, const char* text) {
      out_ << "<path class=\"" << name << "\" marker-end=\"url(#leash-" << name << ")\" d=\"M" << x << " " << y
           << "h34\"/>"
           << "<text class=\"small\" x=\"" << x + 42 << "\" y=\"" << y + 4 << "\">" << text << "</text>\n";
      x += 42 + static_cast<int>(static_cast<double>(std::string_view(text).size()) * char_width) + 24;
    };
    auto sample = [&](const char* name, const char* text, int round) {
      out_ << "<rect class=\"" << name << "\" x=\"" << x << "\" y=\"" << y - 7 << "\" width=\"20\" height=\"14\" rx=\""
           << round << "\"/><text class=\"small\" x=\"" << x + 28 << "\" y=\"" << y + 4 << "\">" << text << "</text>\n";
      x += 28 + static_cast<int>(static_cast<double>(std::string_view(text).size()) * char_width) + 24;
    };
    arrow("waits", "waits for");
    arrow("held", "held by");
    sample("core", "core", 3);
    sample("dependent", "dependent", 3);
    sample("object", "object", 7);
  }

  void draw_box(std::size_t i) {
    static constexpr const char* classes[] = {"core", "dependent", "object"};
    box const& b = p_.boxes[i];
    placed const& at = all_[i];
    long const x = std::lround(at.at.x) - at.w / 2, y = std::lround(at.at.y) - at.h / 2;
    out_ << "<g><title>" << xml_text(b.story) << "</title><rect class=\"" << classes[static_cast<int>(b.what)]
         << "\" x=\"" << x << "\" y=\"" << y << "\" width=\"" << at.w << "\" height=\"" << at.h << "\" rx=\""
         << (b.what == box::kind::object ? 16 : 5) << "\"/>";
    long line = y + line_height + 3;
    const char* how = "head";
    for (const std::string& text : at.text) {
      out_ << "<text class=\"" << how << "\" text-anchor=\"middle\" x=\"" << x + at.w / 2 << "\" y=\"" << line << "\">"
           << text << "</text>";
      line += line_height;
      how = "small";
    }
    out_ << "</g>\n";
  }

  void draw_link(std::size_t i) {
    const char* const name = p_.links[i].what == link::kind::waits ? "waits" : "held";
    curve const& c = curves_[i];
    auto at = [&](point p) { out_ << std::lround(p.x) << " " << std::lround(p.y); };
    out_ << "<path class=\"" << name << "\" marker-end=\"url(#leash-" << name << ")\" d=\"M";
    at(c.from);
    out_ << "Q";
    at(c.bend);
    out_ << " ";
    at(c.to);
    out_ << "\"/>\n";
  }

  static constexpr std::uint32_t none = UINT32_MAX;
  const leak_picture& p_;
  std::vector<placed> all_;
  std::vector<curve> curves_;  // of the links
  std::ostringstream out_;
};

}  // namespace

std::string xml_text(std::string_view s) { return joined(characters(s)); }

std::string draw(const leak_picture& p) { return layout(p).svg(); }

}  // namespace leash
