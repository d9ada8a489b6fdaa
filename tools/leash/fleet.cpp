// leash fleet: one look at many processes, or one every minute; sites are ranked over all of them, as LeakProf does it: by the
// root mean square of their counts, so that one process with many counts more than many with few.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <iostream>
#include <optional>
#include <thread>

#include "commands.hpp"
#include "interrupt.hpp"
#include "read.hpp"
#include "store.hpp"

namespace leash::cli {

namespace {

constexpr std::size_t looks_judged = 60;  // of each instance, the last ones

std::int64_t unix_time() {
  return std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::vector<std::string> all_instances(const fleet_options& o) {
  std::vector<std::string> all = o.instances;
  for (const std::string& d : o.discovery) {
    try {
      std::string text;
      if (d.starts_with("http://") || d.starts_with("https://")) {
        fetch_options bounded = o.take.fetch;
        bounded.most = most_json;
        answer a = fetch(parse_address(d), bounded);
        if (a.status != 200) throw input_error("the answer is HTTP " + std::to_string(a.status));
        text = std::move(a.body);
      } else {
        text = read_file(d, most_json);
      }
      for (std::string& t : read_discovery(text)) all.push_back(std::move(t));
    } catch (const input_error& e) {
      throw input_error(d + ": " + e.what());
    }
  }
  std::ranges::sort(all);
  all.erase(std::unique(all.begin(), all.end()), all.end());
  return all;
}

struct reply {
  std::string body, error;
  std::optional<std::string> proof;
};

/// Asks all of them, some at a time. `proof`: also for what they can prove, which few offer.
std::vector<reply> ask(const std::vector<target>& targets, const fleet_options& o, bool proof) {
  std::vector<reply> replies(targets.size());
  std::atomic<std::size_t> next{0};
  {
    std::vector<std::jthread> threads;
    for (std::size_t i = 0; i < std::min(std::max<std::size_t>(o.parallel, 1), targets.size()); ++i) {
      threads.emplace_back([&] {
        for (std::size_t n; (n = next++) < targets.size();) {
          try {
            replies[n].body = targets[n].take_raw(o.take, 0, false);
          } catch (const std::exception& e) {
            replies[n].error = e.what();
            continue;
          }
          if (!proof) continue;
          try {
            replies[n].proof = targets[n].take_raw(o.take, 0, true);
          } catch (const std::exception&) {  // it offers none
          }
        }
      });
    }
  }
  return replies;
}

std::vector<std::pair<named_site, std::uint64_t>> named_sites(const profile& p, const symbols& s) {
  std::vector<std::pair<named_site, std::uint64_t>> all;
  for (const site& at : sites_of(p, s, false)) {
    const id w = at.key.wait;
    all.emplace_back(
        named_site{std::string(s.function(w)), std::string(s.file(w)), w == none ? 0 : s.frame_of(w).line,
                   std::string(s.text(at.key.entry)), std::string(s.text(at.state)), std::string(name_of(at.kind))},
        at.count);
  }
  return all;
}

look look_of(const std::string& instance, reply r) {
  look l;
  l.instance = instance;
  l.time = unix_time();
  l.error = std::move(r.error);
  if (!l.error.empty()) return l;
  symbols s;
  try {
    const profile p = read_profile(std::move(r.body), s, instance);
    l.goroutines = p.total;
    l.counts = named_sites(p, s);
  } catch (const input_error& e) {
    l.error = e.what();
    return l;
  }
  if (!r.proof) return l;
  try {
    const profile p = read_profile(std::move(*r.proof), s, instance);
    l.proof = p.of_leaks;
    if (l.proof) l.proven = named_sites(p, s);
  } catch (const input_error&) {  // something else is served there
  }
  return l;
}

bool waits_for_others(const named_site& s) {
  return s.kind == name_of(nature::ordinary) || s.kind == name_of(nature::lock) || s.kind == name_of(nature::never);
}

bool is_ignored(const named_site& s, const fleet_options& o) {
  return std::ranges::any_of(o.ignore, [&](const std::string& text) {
    return s.function.find(text) != text.npos || s.file.find(text) != text.npos || s.entry.find(text) != text.npos;
  });
}

void add_proofs(fleet_view& v, const std::map<named_site, std::map<std::string, std::uint64_t>>& proofs) {
  const auto same_place = [](const named_site& a, const named_site& b) {
    return a.function == b.function && a.file == b.file && a.line == b.line && a.entry == b.entry;
  };
  for (const auto& [site, instances] : proofs) {
    fleet_finding* f = nullptr;
    for (const auto& [instance, n] : instances) {
      const auto known = std::ranges::find(v.instances, instance, &look::instance);
      if (known == v.instances.end() || !known->error.empty() || n == 0) continue;
      if (f == nullptr) {
        auto it =
            std::ranges::find_if(v.findings, [&](const fleet_finding& one) { return same_place(one.site, site); });
        if (it == v.findings.end()) {  // they have ended between the two questions
          v.findings.emplace_back().site = site;
          it = v.findings.end() - 1;
        }
        f = &*it;
      }
      f->proven += n;
      ++f->proven_at;
    }
  }
}

fleet_view view_of(const store& history, const std::vector<std::string>& asked, const fleet_options& o) {
  const std::int64_t since = unix_time() - std::chrono::duration_cast<std::chrono::seconds>(o.window).count();
  fleet_view v;
  for (look& l : history.instances(since)) {
    if (!asked.empty() && !std::ranges::binary_search(asked, l.instance)) continue;
    v.answered += l.error.empty();
    v.instances.push_back(std::move(l));
  }
  std::map<std::string, std::uint64_t> connections;  // by package
  const auto all = history.history(since, looks_judged);
  std::map<std::string, std::pair<std::uint64_t, std::uint64_t>>
      io;  // of each instance, at its first look and its last
  for (const auto& [site, instances] : all) {
    if (site.kind != name_of(nature::io)) continue;
    for (const auto& [instance, series] : instances) {
      io[instance].first += series.counts.front();
      io[instance].second += series.counts.back();
    }
  }
  // Connections that grew as much are load.
  const auto rises = [&](const std::string& instance, const std::vector<std::uint64_t>& counts) {
    if (!rises_steadily(counts)) return false;
    const auto found = io.find(instance);
    if (found == io.end() || found->second.second <= found->second.first) return true;
    return (counts.back() - counts.front()) * 10 > (found->second.second - found->second.first) * 11 + 10;
  };
  for (const auto& [site, instances] : all) {
    fleet_finding f;
    f.site = site;
    double squares = 0;
    for (const auto& [instance, series] : instances) {
      const auto known = std::ranges::find(v.instances, instance, &look::instance);
      if (known == v.instances.end() || !known->error.empty() || series.counts.empty()) continue;
      const std::uint64_t n = series.counts.back();
      if (rises(instance, series.counts)) ++f.rising;
      if (n == 0) continue;
      ++f.instances;
      f.total += n;
      squares += static_cast<double>(n) * static_cast<double>(n);
      if (n > f.most) {
        f.most = n;
        f.most_at = instance;
      }
    }
    if (f.instances == 0) continue;
    f.root_mean_square = std::sqrt(squares / static_cast<double>(std::max<std::size_t>(v.answered, 1)));
    if (site.kind == name_of(nature::io)) connections[std::string(package_of(site.entry))] += f.total;
    v.findings.push_back(std::move(f));
  }
  add_proofs(v, history.proofs(since));
  for (fleet_finding& f : v.findings) {
    if (f.proven != 0) {
      f.verdict = grade::proven;
      f.why.push_back(plural(f.proven_at, "instance") + " proved it: nothing that can still run can wake " +
                      (f.proven == 1 ? "it" : "these " + grouped(f.proven)));
    }
    if (f.rising != 0) f.why.push_back("rises steadily at " + plural(f.rising, "instance"));
    if (f.most >= o.threshold)
      f.why.push_back(grouped(f.most) + " at one instance, " + grouped(o.threshold) + " or more");
    if (f.verdict == grade::proven) continue;
    if (!waits_for_others(f.site)) {
      f.why.push_back(f.site.kind + ": not judged");
      continue;
    }
    const bool suspicious = f.rising != 0 || f.most >= o.threshold || f.site.kind == name_of(nature::never);
    const auto beside = connections.find(std::string(package_of(f.site.entry)));
    if (is_ignored(f.site, o)) {
      f.why.insert(f.why.begin(), "named by --ignore");
    } else if (suspicious && beside != connections.end() &&
               static_cast<double>(f.total) <= 1.1 * static_cast<double>(beside->second)) {
      f.why.push_back("no more than wait for I/O in the same package (" + grouped(beside->second) +
                      "): probably one for each connection");
      f.verdict = grade::watch;
    } else {
      f.verdict = suspicious ? grade::suspect : f.total > 1 ? grade::watch : grade::idle;
    }
  }
  std::ranges::sort(v.findings, [](const fleet_finding& a, const fleet_finding& b) {
    if (a.verdict != b.verdict) return a.verdict < b.verdict;
    return a.root_mean_square != b.root_mean_square ? a.root_mean_square > b.root_mean_square : a.site < b.site;
  });
  return v;
}

void show_fleet(const fleet_view& v, const fleet_options& o, const terminal& t) {
  std::uint64_t goroutines = 0;
  for (const look& l : v.instances) goroutines += l.goroutines;
  std::printf("%s\n", t.bold(plural(v.instances.size(), "instance") + ", " + grouped(v.answered) + " answered, " +
                             plural(goroutines, "goroutine"))
                          .c_str());
  std::size_t failed = 0;
  for (const look& l : v.instances) {
    if (!l.error.empty() && ++failed <= 5) std::printf("note: %s\n", clean(l.error).c_str());
  }
  if (failed > 5) std::printf("note: ... and %zu more did not answer\n", failed - 5);
  std::size_t number = 0, left_out = 0;
  for (const grade g : {grade::proven, grade::suspect, grade::watch, grade::idle}) {
    const auto n = static_cast<std::size_t>(std::ranges::count(v.findings, g, &fleet_finding::verdict));
    if (g == grade::proven && n == 0) continue;  // few processes can prove
    if (g > grade::suspect && !o.all) {
      left_out += n;
      continue;
    }
    const std::string title = g == grade::proven    ? "PROVEN"
                              : g == grade::suspect ? "SUSPECTED"
                              : g == grade::watch   ? "TO WATCH"
                                                    : "IDLE";
    std::printf("\n%s: %s\n",
                (g == grade::proven              ? t.red(title)
                 : g == grade::suspect && n != 0 ? t.yellow(title)
                                                 : t.bold(title))
                    .c_str(),
                n == 0 ? "none" : plural(n, "place").c_str());
    std::size_t shown = 0;
    for (const fleet_finding& f : v.findings) {
      if (f.verdict != g) continue;
      if (shown++ == o.top && !o.all) {
        std::printf("    ... and %s more (--top N, --all)\n", plural(n - o.top, "place").c_str());
        break;
      }
      char head[160];
      std::snprintf(head, sizeof head, "%2zu. rms %.1f  total %s at %zu of %zu  most %s", ++number, f.root_mean_square,
                    grouped(f.total).c_str(), f.instances, v.answered, grouped(f.most).c_str());
      const std::string where = clean(f.site.file) + (f.site.line == 0 ? "" : ":" + std::to_string(f.site.line));
      std::printf("%s (%s)  %s\n    waits in    %s  %s\n    started as  %s\n", t.bold(head).c_str(),
                  clean(f.most_at).c_str(), f.site.state.empty() ? "?" : clean(f.site.state).c_str(),
                  clean(f.site.function).c_str(), t.bold(where).c_str(), clean(f.site.entry).c_str());
      for (const std::string& w : f.why) std::printf("    why         %s\n", clean(w).c_str());
    }
  }
  if (left_out != 0)
    std::printf("\n%s\n", t.dim(plural(left_out, "place") + " not suspicious; --all shows them").c_str());
}

}  // namespace

int fleet(const fleet_options& o) {
  store history(o.history);
  const terminal t;
  heed_interrupts();
  const auto begin = std::chrono::steady_clock::now();
  fleet_view v;
  if (o.rounds == 0) v = view_of(history, {}, o);
  for (std::size_t round = 0; round < o.rounds; ++round) {
    if (round != 0 && !wait_until(begin + o.every * round)) break;
    // Every round asks anew which instances there are. They are known by the address that is asked.
    std::vector<target> targets;
    std::vector<std::string> names;
    for (const std::string& i : all_instances(o)) targets.emplace_back(i);
    if (targets.empty()) throw input_error("no instances: name some, or a list of them with --discovery");
    for (const target& i : targets) names.push_back(i.text());
    const bool last = round + 1 == o.rounds || interrupted();
    std::vector<reply> replies = ask(targets, o, last && o.take.proof);
    std::vector<look> looks;
    for (std::size_t i = 0; i < targets.size(); ++i) looks.push_back(look_of(names[i], std::move(replies[i])));
    history.add(looks);
    history.forget(unix_time() - std::chrono::duration_cast<std::chrono::seconds>(o.keep).count());
    std::ranges::sort(names);
    v = view_of(history, names, o);
    if (round + 1 < o.rounds && !o.json && !interrupted()) {
      std::fprintf(stderr, "round %zu of %zu: %zu of %zu answered, %zu suspects\n", round + 1, o.rounds, v.answered,
                   v.instances.size(),
                   static_cast<std::size_t>(std::ranges::count(v.findings, grade::suspect, &fleet_finding::verdict)));
    }
  }
  if (o.json) {
    std::cout << fleet_json(v) << "\n";
  } else {
    show_fleet(v, o, t);
  }
  if (v.answered == 0) throw input_error("no instance answered");
  const auto any = [&](grade g) { return std::ranges::count(v.findings, g, &fleet_finding::verdict) != 0; };
  if (o.fail != fail_on::never && any(grade::proven)) return 1;
  return o.fail == fail_on::suspect && any(grade::suspect) ? 1 : 0;
}

}  // namespace leash::cli
