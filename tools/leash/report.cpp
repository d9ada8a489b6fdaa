// leash report: what `leaks` finds as one HTML page that needs nothing else.
#include <cstdio>
#include <ctime>
#include <iostream>
#include <utility>

#include "commands.hpp"

namespace leash::cli {

std::string escaped(std::string_view s) {
  std::string out;
  for (char c : clean(s)) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

namespace {

constexpr std::size_t most_pictures = 12;

constexpr const char* style = R"(<style>
:root { color-scheme: light dark; --line: #8884; --dim: #888; --red: #c0392b; --amber: #b7791f; }
body { font: 15px/1.45 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.15rem; margin-top: 2rem; overflow-wrap: anywhere; }
code, pre { font: 13px/1.45 ui-monospace, monospace; overflow-wrap: anywhere; }
article { border: 1px solid var(--line); border-left: .35rem solid var(--dim); border-radius: .3rem; padding: .6rem 1rem; margin: .8rem 0; }
article.proven { border-left-color: var(--red); } article.suspect { border-left-color: var(--amber); }
.head { display: flex; gap: 1rem; align-items: center; flex-wrap: wrap; } .head b { font-size: 1.1rem; }
.grade { text-transform: uppercase; font-size: .75rem; letter-spacing: .06em; } .proven .grade { color: var(--red); } .suspect .grade { color: var(--amber); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; margin: .5rem 0; } dt { color: var(--dim); } dd { margin: 0; }
svg { margin-left: auto; } polyline { fill: none; stroke: currentColor; stroke-width: 1.5; } .dim { color: var(--dim); } summary { cursor: pointer; }
figure { margin: .8rem 0; border: 1px solid var(--line); border-radius: .3rem; padding: .4rem; overflow-x: auto; } figure img { display: block; margin: 0 auto; max-width: 100%; min-width: min(100%, 36rem); }
figcaption { color: var(--dim); } svg.flame { margin: .5rem 0; width: 100%; height: auto; } .flame text { font: 12px ui-monospace, monospace; fill: #1b1f24; } .flame rect { stroke: Canvas; }
</style>)";

/// The counts of the snapshots as a line.
std::string sparkline(const std::vector<std::uint64_t>& counts) {
  if (counts.size() < 2) return {};
  std::uint64_t most = 1;
  for (std::uint64_t c : counts) most = std::max(most, c);
  std::string points;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    char point[60];
    std::snprintf(point, sizeof point, "%.1f,%.1f ",
                  2 + 116.0 * static_cast<double>(i) / static_cast<double>(counts.size() - 1),
                  26 - 24.0 * static_cast<double>(counts[i]) / static_cast<double>(most));
    points += point;
  }
  return "<svg width=\"120\" height=\"28\" role=\"img\" aria-label=\"from " + grouped(counts.front()) + " to " +
         grouped(counts.back()) + "\"><polyline points=\"" + points + "\"/></svg>";
}

std::string where_text(id frame, const symbols& s) {
  const std::string p = place(frame, s);
  return "<code>" + escaped(s.function(frame)) + (p.empty() ? "" : "</code> <code class=\"dim\">" + escaped(p)) +
         "</code>";
}

std::string article(const finding& f, const symbols& s) {
  const std::string g(name_of(f.verdict));
  std::string out = "<article class=\"" + g + "\"><div class=\"head\"><span class=\"grade\">" + g + "</span><b>" +
                    plural(f.count, "goroutine") + "</b><span>" + (f.state == none ? "" : escaped(s.text(f.state))) +
                    "</span>" + sparkline(f.counts) + "</div><dl>";
  auto row = [&](const char* name, const std::string& html) {
    out += "<dt>" + std::string(name) + "</dt><dd>" + html + "</dd>";
  };
  if (f.key.wait != none) row("waits in", where_text(f.key.wait, s));
  if (f.creator != none) row("started by", where_text(f.creator, s));
  if (f.key.entry != none) row("started as", "<code>" + escaped(s.text(f.key.entry)) + "</code>");
  const char* name = "labels";
  for (const auto& [labels, n] : f.labels) row(std::exchange(name, ""), escaped(labels) + " (" + grouped(n) + ")");
  name = "why";
  for (const std::string& w : f.why) row(std::exchange(name, ""), escaped(w));
  if (!f.hint.empty() && f.verdict <= grade::suspect) row("look for", escaped(f.hint));
  out += "</dl>";
  if (f.stack != none && !s.frames(f.stack).empty()) {
    out += "<details><summary class=\"dim\">stack</summary><pre>";
    for (id fr : s.frames(f.stack)) out += escaped(s.function(fr)) + "\n    " + escaped(place(fr, s)) + "\n";
    out += "</pre></details>";
  }
  return out + "</article>\n";
}

/// Pictures of the knots that a leash program has proved. They come from outside: as images, they cannot act.
std::string knots(const std::string& name, const analysis& a, const take_options& o) {
  if (!a.error.empty() || a.count_of(grade::proven) == 0) return {};
  const target t(name);
  std::string out;
  const std::vector<knot_kind> kinds = read_knots(t.ask_leash("api/leaks", "limit=0", o));
  for (std::size_t i = 0; i < std::min(kinds.size(), most_pictures); ++i) {
    const std::string svg = read_picture(t.ask_leash("api/knot", "id=" + kinds[i].id, o));
    if (svg.empty()) continue;
    const std::string text = (kinds[i].knots == 1 ? "a knot of " : plural(kinds[i].knots, "knot") + " like this, ") +
                             plural(kinds[i].goroutines, "goroutine");
    out += "<figure><figcaption>" + text + "</figcaption><img alt=\"" + text +
           ": who waits for whom\" src=\"data:image/svg+xml;base64," + base64(svg) + "\"></figure>\n";
  }
  if (kinds.size() > most_pictures)
    out += "<p class=\"dim\">and " + plural(kinds.size() - most_pictures, "more kind") + " of knots</p>\n";
  return out.empty() ? out : "<h3>Who waits for whom</h3>\n" + out;
}

std::string section(const analysis& a, const symbols& s, const std::string& pictures) {
  if (!a.error.empty()) return "<h2>" + escaped(a.target) + "</h2><p>Failed: " + escaped(a.error) + "</p>\n";
  std::string out = "<h2>" + escaped(a.target) + "</h2><p>" + plural(a.total, "goroutine") + "; " +
                    plural(a.count_of(grade::proven), "place") + " proven, " +
                    std::to_string(a.count_of(grade::suspect)) + " suspected";
  if (a.snapshots > 1)
    out += "; " + std::to_string(a.snapshots) + " snapshots" +
           (a.minutes > 0 ? " in " + duration_text(a.minutes * 60) : "");
  out += ".</p>\n";
  if (!a.proof_was_given) out += "<p class=\"dim\">No proof: " + escaped(a.why_no_proof) + ".</p>\n";
  for (const std::string& n : a.notes) out += "<p class=\"dim\">Note: " + escaped(n) + "</p>\n";
  out += pictures;
  std::string rest;
  std::size_t left_out = 0;
  for (const finding& f : a.findings) {
    if (f.count == 0) continue;
    if (f.verdict <= grade::suspect) {
      out += article(f, s);
    } else {
      rest += article(f, s);
      ++left_out;
    }
  }
  if (a.total != 0)
    out += "<details open><summary>Where all of them wait</summary>\n" + flame_graph(a.findings, s) + "</details>\n";
  if (left_out != 0)
    out += "<details><summary>" + plural(left_out, "place") + " not suspicious</summary>\n" + rest + "</details>\n";
  return out;
}

}  // namespace

int report(const report_options& o) {
  if (o.json && o.file == "-")
    throw input_error("the page and JSON cannot both go to standard output: name a file (-o)");
  symbols s;
  const std::vector<analysis> all = look_at_all(o, s);
  char date[40];
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  std::strftime(date, sizeof date, "%Y-%m-%d %H:%M UTC", gmtime_r(&now, &parts));
  std::string page =
      "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
      "content=\"width=device-width\">"
      "<title>Goroutine leaks</title>\n" +
      std::string(style) + "</head><body>\n<h1>Goroutine leaks</h1><p class=\"dim\">" + date + "</p>\n";
  for (std::size_t i = 0; i < all.size(); ++i)
    page += section(all[i], s, o.series ? std::string() : knots(o.targets[i], all[i], o.take));
  page += "</body></html>\n";
  write_file(o.file, page);
  if (o.json) {
    std::cout << to_json(all, s, o.show) << "\n";
  } else if (o.file != "-") {
    std::fprintf(stderr, "written: %s\n", o.file.c_str());
  }
  return exit_code(all, o.fail);
}

}  // namespace leash::cli
