#include "rank.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <set>
#include <unordered_map>

namespace leash::cli {

namespace {

// ---- thresholds, all of them ------------------------------------------------------------------------------------------
constexpr std::uint64_t grown_same = 3;       // growth that counts where the very same goroutines were seen to stay
constexpr std::uint64_t grown_steady = 5;     // ... where four snapshots or more rise steadily
constexpr std::uint64_t grown_counts = 10;    // ... where two or three snapshots tell only counts,
constexpr double grown_share = 0.2;           //     and this share of what there was
constexpr double stayed_share = 0.9;          // this many of the first snapshot's are still there: they do not end
constexpr double churn_share = 0.5;           // fewer than this: they end, so growth is load
constexpr std::uint64_t many_stuck = 10;      // stuck one after another, as ages tell;
constexpr std::uint64_t many_selects = 50;    //     in a select: servers of many streams look so too
constexpr std::uint64_t many_sends = 100;     // started one by one, as numbers tell, and nobody receives
constexpr std::uint64_t many_unknown = 1000;  // where no more is known
constexpr std::uint64_t many_senders = 3;
constexpr std::uint32_t long_lock = 2 * 60, long_send = 10 * 60;  // seconds
constexpr std::uint64_t many_locks = 20;

}  // namespace

std::string_view name_of(grade g) {
  switch (g) {
    case grade::proven:
      return "proven";
    case grade::suspect:
      return "suspect";
    case grade::watch:
      return "watch";
    case grade::idle:
      return "idle";
  }
  return "";
}

std::string grouped(std::uint64_t n) {
  std::string digits = std::to_string(n), out;
  for (std::size_t i = 0; i < digits.size(); ++i) {
    if (i != 0 && (digits.size() - i) % 3 == 0) out += ',';
    out += digits[i];
  }
  return out;
}
std::string plural(std::uint64_t n, const std::string& one, const std::string& many) {
  return grouped(n) + " " + (n == 1 ? one : many.empty() ? one + "s" : many);
}

std::string duration_text(double seconds) {
  char text[40];
  if (seconds < 9.95) {
    std::snprintf(text, sizeof text, "%.1f s", seconds);
  } else if (seconds < 100) {
    std::snprintf(text, sizeof text, "%.0f s", seconds);
  } else if (seconds < 100 * 60) {
    std::snprintf(text, sizeof text, "%.0f min", seconds / 60);
  } else if (seconds < 72 * 3600) {
    std::snprintf(text, sizeof text, "%.0f h", seconds / 3600);
  } else {
    std::snprintf(text, sizeof text, "%.0f days", seconds / 86400);
  }
  return text;
}

bool rises_steadily(const std::vector<std::uint64_t>& c) {
  if (c.size() < 4 || c.back() < c.front() + grown_steady) return false;
  std::size_t rises = 0;
  for (std::size_t i = 1; i < c.size(); ++i) rises += c[i] >= c[i - 1];
  const auto third = static_cast<std::ptrdiff_t>(c.size() / 3);
  const auto early = std::max_element(c.begin(), c.begin() + third), late = std::min_element(c.end() - third, c.end());
  return rises * 5 >= (c.size() - 1) * 4 && *late > *early;
}

std::size_t analysis::count_of(grade g) const {
  return static_cast<std::size_t>(std::ranges::count(findings, g, &finding::verdict));
}

namespace {

std::string rate_text(double per_minute) {
  if (per_minute >= 99.5) return grouped(static_cast<std::uint64_t>(per_minute + 0.5));
  char text[40];
  std::snprintf(text, sizeof text, "%.2g", per_minute);
  return text;
}

/// What the numbers of a site's goroutines, and their ages, tell of how they came about.
struct history {
  bool known = false;
  bool together = false;    // numbered one after another: started in one loop
  bool one_by_one = false;  // ages fall as numbers rise, over minutes: each got stuck soon after its start
  std::uint32_t youngest = 0, oldest = 0;
};

/// `those`: number and wait of each.
history history_of(std::vector<std::pair<std::uint64_t, std::uint32_t>> those) {
  history h;
  if (those.size() < 2) return h;
  std::ranges::sort(those);
  h.known = true;
  const std::uint64_t n = those.size(), span = those.back().first - those.front().first + 1;
  // Go hands numbers out to its processors in batches of 16, so that even one loop leaves gaps.
  h.together = span <= n + n / 2 + 64;
  h.youngest = h.oldest = those[0].second;
  std::size_t rises = 0;
  for (std::size_t i = 0; i < those.size(); ++i) {
    h.youngest = std::min(h.youngest, those[i].second);
    h.oldest = std::max(h.oldest, those[i].second);
    if (i > 0 && those[i].second > those[i - 1].second + 60) ++rises;
  }
  h.one_by_one = h.oldest >= h.youngest + 180 && rises * 50 <= n;
  return h;
}

/// Of the goroutines that the first dump shows at these sites, how many the last one still shows there; by site of the last.
struct staying {
  std::uint64_t were = 0, are = 0;
  double share() const { return were == 0 ? 1 : static_cast<double>(are) / static_cast<double>(were); }
};

class analyst {
 public:
  analyst(const observation& o, const symbols& s, const std::vector<std::string>& ignore)
      : o_(o), s_(s), ignore_(ignore) {}

  analysis run() {
    result_.target = o_.target;
    result_.why_no_proof = o_.why_no_proof;
    result_.notes = o_.notes;
    result_.snapshots = o_.snapshots.size();
    creators_ = std::ranges::all_of(o_.snapshots, &profile::tells_creators);
    if (!o_.snapshots.empty()) {
      result_.total = o_.snapshots.back().total;
      const auto first = o_.snapshots.front().taken, last = o_.snapshots.back().taken;
      if (first != decltype(first){})
        result_.minutes = std::max(0.0, std::chrono::duration<double>(last - first).count() / 60);
      for (const profile& p : o_.snapshots) {
        tables_.push_back(sites_of(p, s_, creators_));
        if (p.cut) result_.notes.push_back(p.source + " ends in the middle: counts are too low");
      }
      find_staying();
      for (const site& at : tables_.back()) {
        if (at.kind == nature::io || at.kind == nature::accept) note_connections(at);
        if (at.kind == nature::io) io_now_ += at.count;
      }
      for (const site& at : tables_.front()) {
        if (at.kind == nature::io) io_before_ += at.count;
      }
      for (const site& at : tables_.back()) judge(at);
      note_vanished();
    }
    find_proofs();
    std::ranges::sort(result_.findings, [](const finding& a, const finding& b) {
      if (a.verdict != b.verdict) return a.verdict < b.verdict;
      return a.score != b.score ? a.score > b.score : a.count != b.count ? a.count > b.count : a.key < b.key;
    });
    return std::move(result_);
  }

 private:
  struct hash_key {
    std::size_t operator()(const site_key& k) const { return mix(mix(k.wait, k.entry), k.creator); }
  };
  template <class T>
  using by_site = std::unordered_map<site_key, T, hash_key>;

  /// What a site says of itself.
  static finding finding_at(const site& at) {
    finding f;
    f.key = at.key;
    f.kind = at.kind;
    f.state = at.state;
    f.creator = at.creator;
    f.stack = at.stack;
    return f;
  }

  /// Places that had goroutines in the first snapshot and have none in the last.
  void note_vanished() {
    if (tables_.size() < 2) return;
    for (const site& at : tables_.front()) {
      const auto& counts = counts_[at.key];
      if (counts.back() != 0) continue;
      finding f = finding_at(at);
      f.counts = counts;
      f.why.push_back("fell from " + grouped(counts.front()) + " to 0");
      result_.findings.push_back(std::move(f));
    }
  }

  bool is_ignored(const site& at) const {
    auto names = [&](id f) {
      return std::ranges::any_of(ignore_, [&](const std::string& text) {
        return s_.function(f).find(text) != std::string_view::npos || s_.file(f).find(text) != std::string_view::npos;
      });
    };
    return names(at.creator) || std::ranges::any_of(s_.frames(at.stack), names);
  }

  /// The counts of every snapshot, and which goroutines of the first are still there.
  void find_staying() {
    for (std::size_t i = 0; i < tables_.size(); ++i) {
      for (const site& at : tables_[i]) {
        auto& counts = counts_[at.key];
        counts.resize(tables_.size());
        counts[i] = at.count;
      }
    }
    const profile &first = o_.snapshots.front(), &last = o_.snapshots.back();
    if (o_.snapshots.size() < 2 || first.form != profile_form::dump || last.form != profile_form::dump) return;
    const auto before = site_of_goroutine(tables_.front(), first), after = site_of_goroutine(tables_.back(), last);
    for (const auto& [number, where] : before) {
      staying& st = staying_[tables_.front()[where].key];
      ++st.were;
      const auto now = after.find(number);
      if (now != after.end() && tables_.back()[now->second].key == tables_.front()[where].key) ++st.are;
    }
    know_staying_ = true;
  }

  static std::unordered_map<std::uint64_t, std::uint32_t> site_of_goroutine(const std::vector<site>& sites,
                                                                            const profile& p) {
    std::vector<std::uint32_t> site_of_group(p.groups.size());
    for (std::uint32_t i = 0; i < sites.size(); ++i) {
      for (std::uint32_t g : sites[i].groups) site_of_group[g] = i;
    }
    std::unordered_map<std::uint64_t, std::uint32_t> out(p.goroutines.size());
    for (const goroutine& g : p.goroutines) out.emplace(g.number, site_of_group[g.group]);
    return out;
  }

  /// Packages of those who wait for the network: their other goroutines are as many as connections.
  void note_connections(const site& at) {
    std::set<std::string_view> packages;
    for (id f : s_.frames(at.stack)) {
      const std::string_view name = s_.function(f);
      if (!is_standard(name, s_.file(f))) packages.insert(package_of(name));
    }
    if (packages.empty()) packages.insert(package_of(s_.function(at.key.wait)));
    for (std::string_view p : packages) connections_[p].push_back(&at);
  }

  /// The I/O site whose companion this one is, if it is one.
  const site* connection_of(const site& at) const {
    if (at.kind != nature::ordinary || at.count < 2) return nullptr;
    std::vector<std::string_view> packages = {package_of(s_.function(at.key.wait))};
    if (!is_standard(s_.text(at.key.entry), {})) packages.push_back(package_of(s_.text(at.key.entry)));
    for (std::string_view p : packages) {
      const auto found = connections_.find(p);
      if (found == connections_.end()) continue;
      for (const site* io : found->second) {
        if (static_cast<double>(at.count) <= 1.1 * static_cast<double>(io->count) + 1) return io;
      }
    }
    return nullptr;
  }

  /// Whether connections of any kind are as many, and grew as much.
  bool explained_by_connections(const finding& f) const {
    const auto fits = [](std::uint64_t n, std::uint64_t io) { return n * 10 <= io * 11 + 10; };
    const std::uint64_t last = f.counts.back(), first = f.counts.front();
    return fits(last, io_now_) && (!f.grows || (io_now_ > io_before_ && fits(last - first, io_now_ - io_before_)));
  }

  void judge(const site& at) {
    finding f = finding_at(at);
    f.count = at.count;
    f.leaked = at.leaked;
    f.longest = at.longest;
    f.counts = counts_[at.key];
    f.labels = labels_of(at);
    const history h = history_of(goroutines_of(at));
    judge_growth(f);
    judge_state(f, at, h);
    f.hint = hint_for(f);
    if (at.leaked != 0) {
      f.verdict = grade::proven;
      f.count = at.leaked;
      f.why.insert(f.why.begin(), at.leaked == at.count
                                      ? "the process proved it: nothing that can still run can wake them"
                                      : plural(at.leaked, "of them is", "of them are") + " proved by the process");
    }
    if (!ignore_.empty() && is_ignored(at)) {
      f.verdict = grade::idle;
      f.why.insert(f.why.begin(), "named by --ignore");
    }
    result_.findings.push_back(std::move(f));
  }

  std::vector<std::pair<std::uint64_t, std::uint32_t>> goroutines_of(const site& at) {
    const profile& p = o_.snapshots.back();
    if (of_group_.empty()) {
      of_group_.resize(p.groups.size());
      for (const goroutine& g : p.goroutines) of_group_[g.group].emplace_back(g.number, g.wait);
    }
    std::vector<std::pair<std::uint64_t, std::uint32_t>> all;
    for (std::uint32_t g : at.groups) all.insert(all.end(), of_group_[g].begin(), of_group_[g].end());
    return all;
  }

  void judge_growth(finding& f) {
    const auto& c = f.counts;
    if (c.size() < 2 || c.back() <= c.front()) {
      if (c.size() >= 2 && c.back() < c.front())
        f.why.push_back("fell from " + grouped(c.front()) + " to " + grouped(c.back()));
      return;
    }
    const std::uint64_t delta = c.back() - c.front();
    std::string grew = "grew from " + grouped(c.front()) + " to " + grouped(c.back());
    if (result_.minutes > 0) {
      f.growth_per_minute = static_cast<double>(delta) / result_.minutes;
      grew += " in " + duration_text(result_.minutes * 60);
      grew += " (" + rate_text(f.growth_per_minute) + " a minute)";
    }
    const auto found = staying_.find(f.key);
    const staying st = found == staying_.end() ? staying{} : found->second;
    // Numbers tell whether goroutines stay, but of one or two that is chance.
    const bool told = know_staying_ && st.were >= grown_same;
    const bool end = told && st.share() < churn_share, stay = told && st.share() >= stayed_share;
    bool counts_as_growth = false;
    if (end) {
      grew += ", but only " + grouped(st.are) + " of the first " + grouped(st.were) +
              " are still there: they end, so this may be load";
    } else if (stay) {
      grew += st.are == st.were ? ", and none of the first has ended"
                                : ", and " + grouped(st.are) + " of the first are still there";
      counts_as_growth = delta >= grown_same;
    } else if (c.size() < 4) {
      counts_as_growth =
          delta >= grown_counts && static_cast<double>(delta) >= grown_share * static_cast<double>(c.front());
    }
    if (rises_steadily(c)) {
      grew += ", steadily over " + std::to_string(c.size()) + " snapshots";
      counts_as_growth = true;
    } else if (c.size() >= 4 && !stay) {
      grew += ", not steadily";
    }
    f.why.push_back(grew);
    if (!counts_as_growth) return;
    f.grows = true;
    f.verdict = grade::suspect;
    f.score = 100 * (1 + std::log2(1 + static_cast<double>(delta)));
  }

  void judge_state(finding& f, const site& at, const history& h) {
    const std::string_view state = s_.text(at.state);
    const bool sends = state.starts_with("chan send");
    double weight = sends || at.kind == nature::lock ? 1.5
                    : state == "sync.Cond.Wait"      ? 0.7
                    : at.state == none               ? 0.8
                                                     : 1;
    std::string age;
    if (at.longest >= 60) age = ", the oldest for " + duration_text(at.longest);
    bool suspicious = false, noteworthy = false;

    switch (at.kind) {
      case nature::never:
        f.why.push_back("a nil channel: nothing can ever end this wait" + age);
        suspicious = true;
        weight = 3;
        break;
      case nature::lock:
        f.why.push_back(plural(at.count, "goroutine waits", "goroutines wait") + " for one lock" + age);
        suspicious = at.longest >= long_lock || at.count >= many_locks;
        noteworthy = true;
        break;
      case nature::ordinary: {
        if (const site* io = connection_of(at)) {
          f.why.push_back("no more than there are connections (" + grouped(io->count) + " goroutines wait for I/O at " +
                          std::string(s_.function(io->key.wait)) + "): probably one for each");
          rank_down(f, 0.1);
          weight *= 0.2;
          break;
        }
        if (h.known && h.one_by_one && at.count >= (state == "select" ? many_selects : many_stuck)) {
          f.why.push_back("the earlier started, the longer it waits, over " + duration_text(h.oldest - h.youngest) +
                          ": one after another got stuck" + age);
          suspicious = true;
          weight *= 1.5;
        } else if (h.known && h.together && !sends) {
          f.why.push_back("all " + grouped(at.count) + " were started together, as the workers of a pool are" + age);
          weight *= 0.3;
        } else if (at.count >= (sends && h.known ? many_sends : many_unknown)) {
          f.why.push_back(grouped(at.count) + " of them" + (h.known ? ", started at different times" : "") + age);
          suspicious = true;
        } else if (sends && at.longest >= long_send && at.count >= many_senders) {
          f.why.push_back(plural(at.count, "sender waits", "senders wait") + " for somebody to receive" + age);
          suspicious = true;
        } else {
          noteworthy = at.count >= many_stuck || (sends && at.longest >= long_send);
          std::string text = plural(at.count, "goroutine");
          f.why.push_back(text + (age.empty() ? at.count > 1 ? ", none known to wait for a minute" : "" : age));
        }
        break;
      }
      case nature::join:
        f.why.push_back("waits for other goroutines to end: look at those" + age);
        weight *= 0.3;
        rank_down(f, 0.3, false);
        break;
      case nature::io:
        f.why.push_back("waits for the network: connections left open look like this, and so does load" + age);
        rank_down(f, 0.1);
        weight *= 0.2;
        break;
      case nature::timer:
        f.why.push_back("sleeps, and wakes by itself");
        weight *= 0.2;
        break;
      case nature::accept:
      case nature::signal:
      case nature::active:
      case nature::main:
      case nature::runtime: {
        static const std::unordered_map<nature, const char*> words = {
            {nature::accept, "an accept loop: waits for connections"},
            {nature::signal, "waits for signals"},
            {nature::active, "runs, or is in a system call"},
            {nature::main, "the program's first goroutine"},
            {nature::runtime, "belongs to the Go runtime"}};
        f.why.push_back(words.at(at.kind));
        rank_down(f, 0);
        if (at.kind == nature::active && f.verdict == grade::suspect) f.verdict = grade::watch;
        weight = 0;
        break;
      }
    }
    if (suspicious) f.verdict = grade::suspect;
    if (f.verdict == grade::suspect && at.kind == nature::ordinary && explained_by_connections(f)) {
      f.why.push_back("but no more than there are connections (" + grouped(io_now_) + " goroutines wait for I/O)" +
                      (f.grows ? ", which grew as much" : "") + ": perhaps one for each");
      rank_down(f, 0.1);
    }
    if (noteworthy && f.verdict == grade::idle) f.verdict = grade::watch;
    f.score += std::log2(1 + static_cast<double>(at.count)) * (1 + std::log2(1 + at.longest / 60.0)) * weight;
  }

  /// Growth there is explained by something else: it is worth watching, at most.
  static void rank_down(finding& f, double factor, bool no_suspect = true) {
    f.score *= factor;
    if (no_suspect && f.verdict == grade::suspect) f.verdict = factor == 0 ? grade::idle : grade::watch;
  }

  std::string hint_for(const finding& f) const {
    const std::string_view state = s_.text(f.state);
    if (f.kind == nature::lock) return "who holds it? Look for a return without Unlock, or for a wait while it is held";
    if (f.kind == nature::never) return "was the channel ever made?";
    if (state.starts_with("chan send"))
      return "who should receive? If it may give up (error, timeout), give the channel room for one, or select on "
             "ctx.Done()";
    if (state.starts_with("chan receive")) return "who should send or close? Look for a missing close, cancel or Stop";
    if (state.starts_with("select"))
      return "which case was to end it? Look for a context that is never cancelled, or not among the cases";
    if (state == "sync.Cond.Wait") return "who should signal?";
    if (f.kind == nature::timer) return "what ends this loop? It should look at a context";
    if (f.kind == nature::io) return "look for a missing Close, or for a missing deadline";
    return {};
  }

  std::vector<std::pair<std::string, std::uint64_t>> labels_of(const site& at) {
    if (!labels_sorted_) {
      for (const label_count& l : o_.snapshots.back().labels) labels_[l.group].push_back(&l);
      labels_sorted_ = true;
    }
    std::map<id, std::uint64_t> sums;
    for (std::uint32_t g : at.groups) {
      const auto found = labels_.find(g);
      if (found == labels_.end()) continue;
      for (const label_count* l : found->second) sums[l->labels] += l->count;
    }
    std::vector<std::pair<std::string, std::uint64_t>> all;
    for (const auto& [text, n] : sums) all.emplace_back(s_.text(text), n);
    std::ranges::sort(all, [](const auto& a, const auto& b) {
      return a.second != b.second ? a.second > b.second : a.first < b.first;
    });
    if (all.size() > 5) all.resize(5);
    return all;
  }

  /// Sites of the goroutineleak profile that the last snapshot does not mark itself.
  void find_proofs() {
    result_.asked_for_proof = true;
    result_.proof_was_given = o_.proof.has_value();
    const bool marked = std::ranges::any_of(result_.findings, [](const finding& f) { return f.leaked != 0; });
    for (const profile& p : o_.snapshots) result_.proof_was_given = result_.proof_was_given || p.of_leaks;
    if (marked) result_.proof_was_given = true;
    if (!o_.proof) return;
    for (const site& at : sites_of(*o_.proof, s_, false)) {
      if (o_.proof->form == profile_form::dump && at.leaked == 0) continue;
      const std::uint64_t proved = o_.proof->form == profile_form::dump ? at.leaked : at.count;
      std::uint64_t seen = 0;
      finding* best = nullptr;
      for (finding& f : result_.findings) {
        if (f.key.wait != at.key.wait || f.key.entry != at.key.entry) continue;
        seen += f.leaked;
        if (best == nullptr || f.leaked > best->leaked || (f.leaked == best->leaked && f.count > best->count))
          best = &f;
      }
      if (!ignore_.empty() && is_ignored(at)) continue;
      if (seen != 0) continue;  // marked in the last snapshot, which came after
      if (best == nullptr) {
        result_.findings.push_back({});
        best = &result_.findings.back();
        best->key = at.key;
        best->kind = at.kind;
        best->stack = at.stack;
        best->creator = at.creator;
        best->state = at.state;
        best->hint = hint_for(*best);
      }
      best->verdict = grade::proven;
      best->leaked = best->count = proved;
      best->score += static_cast<double>(proved);
      best->why.insert(best->why.begin(), "the process proved it: nothing that can still run can wake them");
    }
  }

  const observation& o_;
  const symbols& s_;
  const std::vector<std::string>& ignore_;
  analysis result_;
  bool creators_ = false, know_staying_ = false;
  std::uint64_t io_before_ = 0, io_now_ = 0;  // goroutines that wait for I/O, in the first snapshot and the last
  std::vector<std::vector<site>> tables_;     // of every snapshot
  by_site<std::vector<std::uint64_t>> counts_;
  by_site<staying> staying_;
  std::unordered_map<std::string_view, std::vector<const site*>> connections_;
  std::unordered_map<std::uint32_t, std::vector<const label_count*>> labels_;
  bool labels_sorted_ = false;
  std::vector<std::vector<std::pair<std::uint64_t, std::uint32_t>>> of_group_;  // of the last snapshot
};

}  // namespace

analysis analyse(const observation& o, const symbols& s, const std::vector<std::string>& ignore) {
  return analyst(o, s, ignore).run();
}

}  // namespace leash::cli
