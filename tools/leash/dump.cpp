// leash dump: the goroutines of a target, alike ones together, the largest groups first; or the bytes as they are.
#include <algorithm>
#include <cstdio>
#include <iostream>

#include "commands.hpp"

namespace leash::cli {

namespace {

bool contains(std::string_view text, const std::string& what) { return text.find(what) != text.npos; }

bool fits(const group& g, const symbols& s, const dump_options& o) {
  if (!o.state.empty() && !contains(s.text(g.state), o.state)) return false;
  if (o.match.empty()) return true;
  const stack& st = s.stack_of(g.stack);
  if (contains(s.function(st.creator), o.match) || contains(s.file(st.creator), o.match)) return true;
  return std::ranges::any_of(s.frames(g.stack),
                             [&](id f) { return contains(s.function(f), o.match) || contains(s.file(f), o.match); });
}

int pass_on(const dump_options& o) {
  const std::string bytes = target(o.target).take_raw(o.take, o.raw, o.proof);
  write_file(o.file.empty() ? "-" : o.file, bytes);
  return 0;
}

void print(const profile& p, const symbols& s, const std::vector<std::uint32_t>& groups) {
  const terminal t;
  std::printf("%s: %s goroutines\n", clean(p.source).c_str(), grouped(p.total).c_str());
  if (p.cut) std::printf("note: it ends in the middle: counts are too low\n");
  for (std::uint32_t n : groups) {
    const group& g = p.groups[n];
    const stack& st = s.stack_of(g.stack);
    std::string head = grouped(g.count) + (g.count == 1 ? " goroutine [" : " goroutines [");
    head += (g.state == none ? "?" : clean(s.text(g.state))) + (g.leaked ? " (leaked)" : "");
    if (g.longest >= 60) head += ", up to " + duration_text(g.longest);
    if (g.locked != 0) head += ", " + grouped(g.locked) + " locked to a thread";
    std::printf("\n%s\n", t.bold(head + "]").c_str());
    std::size_t labels = 0;
    for (const label_count& l : p.labels) {
      if (l.group == n && ++labels <= 5)
        std::printf("  {%s} %s\n", clean(s.text(l.labels)).c_str(), grouped(l.count).c_str());
    }
    if (labels > 5) std::printf("  ... and %zu more sets of labels\n", labels - 5);
    for (id f : s.frames(g.stack)) std::printf("  %s\n      %s\n", clean(s.function(f)).c_str(), place(f, s).c_str());
    if (st.elided) std::printf("  ... frames left out by the runtime\n");
    if (st.creator != none)
      std::printf("  started by %s\n      %s\n", clean(s.function(st.creator)).c_str(), place(st.creator, s).c_str());
  }
}

}  // namespace

int dump(const dump_options& o) {
  if (o.raw >= 0) return pass_on(o);
  symbols s;
  profile p;
  std::vector<std::string> notes;
  const target t(o.target);
  if (o.proof) {
    std::string why_not;
    auto proof = t.take_proof(s, o.take, why_not);
    if (!proof) throw input_error(t.text() + ": " + why_not);
    p = std::move(*proof);
  } else {
    p = t.take(s, o.take, notes);
  }
  std::vector<std::uint32_t> groups;
  for (std::uint32_t i = 0; i < p.groups.size(); ++i) {
    if (fits(p.groups[i], s, o)) groups.push_back(i);
  }
  std::ranges::sort(groups, [&](std::uint32_t a, std::uint32_t b) {
    return p.groups[a].count != p.groups[b].count ? p.groups[a].count > p.groups[b].count : a < b;
  });
  if (o.top != 0 && groups.size() > o.top) groups.resize(o.top);
  for (const std::string& n : notes) std::fprintf(stderr, "note: %s\n", clean(n).c_str());
  if (o.json) {
    std::cout << dump_json(p, s, groups) << "\n";
  } else {
    print(p, s, groups);
  }
  return 0;
}

}  // namespace leash::cli
