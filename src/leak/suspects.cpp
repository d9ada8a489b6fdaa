#include <algorithm>
#include <cstdio>
#include <leash/suspects.hpp>
#include <map>
#include <unordered_map>
#include <utility>

#include "../observe/frozen.hpp"
#include "../observe/looking.hpp"
#include "../runtime/scheduler.hpp"
#include "pass.hpp"

namespace leash {

namespace {

constexpr std::size_t most_suspects = 1000;
constexpr std::size_t growing_from = 8;    // goroutines of one spawn site
constexpr std::size_t shown_of_site = 16;  // of a growing one
constexpr int most_contexts = 100;         // that are looked at outward from a goroutine

enum class sign : std::uint8_t { blocked, busy, cancelled, calls, unknown, last_member, grows };

/// What was seen of one goroutine, before any text is made: there may be one for every goroutine.
struct clue {
  goroutine_core* g;
  std::uint64_t id;
  sign what;
  std::uint32_t age;  // milliseconds
  std::uint32_t node = none;
  std::uint32_t growth = none;  // of its site: which of growths_
  double score = 0;
  std::uint64_t joiner = 0;  // whose scope it alone holds up; 0: nobody's
};

std::string duration(std::uint32_t ms) {
  char text[40];
  if (ms < 10'000) {
    std::snprintf(text, sizeof text, "%.1f s", ms / 1000.0);
  } else if (ms < 600'000) {
    std::snprintf(text, sizeof text, "%u s", ms / 1000);
  } else {
    std::snprintf(text, sizeof text, "%u minutes", ms / 60'000);
  }
  return text;
}
/// 0 just now ... 1 for very long; a half at ten times the limit.
double weight(std::uint32_t age, std::uint32_t limit) noexcept {
  double const x = age / (1.0 + limit);
  return x / (x + 10);
}

class inspector {
 public:
  explicit inspector(const runtime* only) : only_(only), pass_(only) {
    if (only != nullptr) {
      now_ = static_cast<std::uint32_t>(runtime_now(only) / 1'000'000);
      limits_[only->index] = only->stuck_after;
    } else {
      now_ = static_cast<std::uint32_t>(steady_now() / 1'000'000);
      for_each_runtime([&](runtime& rt) { limits_[rt.index] = rt.stuck_after; });
    }
  }

  std::vector<suspect> run() {
    frozen::for_each_slot([&](goroutine_core* g) { look(g); });
    find_last_members();
    find_growth();
    // There may be a clue for every goroutine: only what is told is put in order, and in words.
    std::size_t const kept = std::min(clues_.size(), 2 * most_suspects);
    std::partial_sort(clues_.begin(), clues_.begin() + static_cast<std::ptrdiff_t>(kept), clues_.end(),
                      [](auto& a, auto& b) { return a.score != b.score ? a.score > b.score : a.id < b.id; });
    clues_.resize(kept);
    std::vector<suspect> all;
    for (clue& c : clues_) {
      if (all.size() == most_suspects) break;
      suspect s;
      if (!look_at(c.g, only_, s.who) || s.who.id != c.id) continue;  // it has ended meanwhile
      s.why = describe(c, s.who);
      s.score = c.score;
      all.push_back(std::move(s));
    }
    return all;
  }

 private:
  std::uint32_t since(std::uint32_t tick) const noexcept {
    std::uint32_t const ago = now_ - tick;
    return ago > INT32_MAX ? 0 : ago;  // a tick that is a little ahead
  }

  LEASH_READS_FROZEN void look(goroutine_core* g) {
    std::uint64_t const word = g->park.load(std::memory_order_acquire);
    park_state const state = state_of(word);
    if (state == park_state::free || state == park_state::done) return;
    auto const limit_of = limits_.find(frozen::read(g->runtime_index));
    if (limit_of == limits_.end()) return;
    std::uint32_t const limit = limit_of->second;
    std::uint64_t const id = frozen::read(g->id);
    std::uint32_t const age = since(frozen::read(g->parked_at)), born = since(frozen::read(g->born));
    std::source_location const spawned_at = frozen::read(g->spawned_at);
    // Of the contexts around it, for it may be shielded from an end further out.
    std::uint32_t ended = 0;
    int depth = 0;
    for (auto* c = static_cast<context_core*>(frozen::read(g->ctx)); arena::contains(c) && depth < most_contexts;
         c = frozen::read(c->parent), ++depth)
      if (frozen::read(c->ended) != 0) ended = std::max(ended, since(frozen::read(c->ended_at)));
    waiter* w = frozen::waits(word) && frozen::read(g->wait_count) == 1 ? frozen::waiter_of(g, 0) : nullptr;
    wait_reason const reason = w != nullptr ? frozen::read(w->reason) : wait_reason::none;
    std::atomic_thread_fence(std::memory_order_acquire);
    if (g->park.load(std::memory_order_relaxed) != word) return;  // it moves: no suspect
    std::uint32_t const node = frozen::waits(word) ? pass_.known.node_of(g) : none;
    if (node != none && pass_.known.words[node] == word && pass_.known.leaked(node)) return;
    sites_[key(spawned_at)].push_back({g, id, born});
    auto add = [&](sign what, std::uint32_t for_long, double score) {
      clues_.push_back({g, id, what, for_long, node, none, score + 0.05 * weight(for_long, limit)});
    };
    if (ended > limit) {
      add(sign::cancelled, ended, 0.9);
    } else if (age > limit) {
      if (!frozen::waits(word)) {
        add(sign::busy, age, 0.95);
      } else if (reason == wait_reason::blocking) {
        add(sign::calls, age, 0.5);
      } else if (reason == wait_reason::foreign || reason == wait_reason::io) {
        add(sign::unknown, age, 0.3);
      } else if (node != none && pass_.known.words[node] == word && !ends_by_itself(node, reason)) {
        if (!std::exchange(indexed_, true)) pass_.known.index_holders(true);
        if (double const doubt = why_live(pass_.known, node, false).doubt; doubt > 0)
          add(sign::blocked, age, 0.1 + 0.7 * doubt);
      }
    }
  }

  /// Its time is limited, or it waits for a time.
  bool ends_by_itself(std::uint32_t node, wait_reason reason) const {
    if (reason == wait_reason::sleep || reason == wait_reason::ticker) return true;
    auto* ctx = static_cast<context_core*>(frozen::read(pass_.known.goroutine_at(node)->ctx));
    return arena::contains(ctx) && frozen::read(ctx->bounded);
  }

  /// Of those who join a scope for long, whose last member is one.
  void find_last_members() {
    graph const& k = pass_.known;
    std::unordered_map<std::uint32_t, std::uint32_t> last;  // scope -> its only parked member
    for (std::uint32_t i = 0; i < k.goroutines(); ++i)
      if (std::uint32_t const home = k.home_of(i);
          home != none && (k.flags[i] & node_flag::seen) != 0 && k.found(home, 0) == 1)
        last[home] = i;
    for (std::uint32_t c = 0; c < clues_.size(); ++c) clue_of(clues_[c].g) = c;
    std::size_t const n = clues_.size();
    for (std::size_t c = 0; c < n; ++c) {
      if (clues_[c].what != sign::blocked || clues_[c].node == none) continue;
      std::uint32_t member = none;
      k.for_each_wait(clues_[c].node, [&](const graph_wait& w) {
        if (w.which != 0 || k.objects[w.object].type() != object_type::scope) return;
        if (k.objects[w.object].is(graph_object::live_member)) return;  // others run
        if (auto it = last.find(w.object); it != last.end()) member = it->second;
      });
      if (member == none || (k.leaked(member))) continue;
      goroutine_core* g = k.goroutine_at(member);
      std::uint32_t& known = clue_of(g);
      if (known != none) {
        clues_[known].score += 0.05;
      } else {
        known = static_cast<std::uint32_t>(clues_.size());
        clues_.push_back({g, frozen::read(g->id), sign::last_member, clues_[c].age, member, none, 0.45});
      }
      clues_[known].joiner = clues_[c].id;
    }
  }

  /// Sites whose goroutines were started one after the other over a long time, and are all still there.
  void find_growth() {
    for (auto& [where, all] : sites_) {
      if (all.size() < growing_from) continue;
      auto const older = [](auto& a, auto& b) { return a.age > b.age; };
      auto const half = all.begin() + static_cast<std::ptrdiff_t>(all.size() / 2);
      std::nth_element(all.begin(), half, all.end(), older);
      std::uint32_t const limit = limits_.begin()->second, middle = half->age;
      std::uint32_t const oldest = std::min_element(all.begin(), all.end(), older)->age;
      std::uint32_t const newest = std::max_element(all.begin(), all.end(), older)->age;
      // Started together (a pool), or too young to tell; and of those that come and go few are old.
      if (oldest - newest <= limit || middle <= (oldest - newest) / 8) continue;
      double const score = 0.3 + 0.6 * weight(static_cast<std::uint32_t>(all.size()) * 10, 100);
      growths_.push_back("one of " + std::to_string(all.size()) + " goroutines started at " + where.first + ":" +
                         std::to_string(where.second) + " that are alive, and more come: the oldest was started " +
                         duration(oldest) + " ago, the newest " + duration(newest) + " ago");
      std::size_t const shown = std::min(all.size(), shown_of_site);
      std::partial_sort(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(shown), all.end(), older);
      for (std::size_t i = 0; i < shown; ++i) {
        member const& m = all[i];
        std::uint32_t& known = clue_of(m.g);
        if (known != none) {
          clue& c = clues_[known];
          c.score = std::min(1.0, std::max(c.score, score) + 0.05);
        } else {
          known = static_cast<std::uint32_t>(clues_.size());
          clues_.push_back({m.g, m.id, sign::grows, m.age, none, none, score});
        }
        clues_[known].growth = static_cast<std::uint32_t>(growths_.size() - 1);
      }
    }
  }

  /// Which of the clues is about g; none: none yet.
  std::uint32_t& clue_of(const goroutine_core* g) {
    std::uint32_t const node = pass_.known.node_of(g);
    if (node == none) return clue_of_unparked_.try_emplace(g, none).first->second;
    if (clue_of_node_.empty()) clue_of_node_.resize(pass_.known.goroutines(), none);
    return clue_of_node_[node];
  }

  std::string describe(const clue& c, const goroutine_info& who) const {
    std::string const in = who.wait.empty() ? std::string() : " in " + who.wait;
    switch (c.what) {
      case sign::blocked:
        return "blocked" + in + " for " + duration(c.age) + "; " + why_live(pass_.known, c.node).why + also(c);
      case sign::busy:
        return (who.state == "running" ? "has run for " : "has been ready to run for ") + duration(c.age) +
               " without reaching a wait" + function_of(c.g) + also(c);
      case sign::cancelled:
        return "its context ended " + duration(c.age) + " ago, and it is still " +
               (who.wait.empty() ? who.state + function_of(c.g) : "waiting" + in) + also(c);
      case sign::calls:
        return "its blocking call has taken " + duration(c.age) + " so far" + also(c);
      case sign::unknown:
        return "has waited" + in + " for " + duration(c.age) + " for something that leash does not know" + also(c);
      case sign::last_member:
        return "for " + duration(c.age) + " it alone has held up the scope that goroutine " + std::to_string(c.joiner) +
               " joins" + grows(c);
      case sign::grows:
        break;
    }
    return growths_[c.growth];
  }
  std::string also(const clue& c) const {
    return (c.joiner != 0 ? "; it alone holds up the scope that goroutine " + std::to_string(c.joiner) + " joins"
                          : std::string()) +
           grows(c);
  }
  std::string grows(const clue& c) const { return c.growth != none ? "; " + growths_[c.growth] : std::string(); }

  /// The innermost coroutine that is known to have waited, and where it did last.
  LEASH_READS_FROZEN static std::string function_of(const goroutine_core* g) {
    promise_base* leaf = frozen::read(g->leaf);
    if (leaf == nullptr || !arena::contains(leaf)) return ", started at " + site(frozen::read(g->spawned_at));
    std::source_location const at = frozen::where_of(leaf);
    return std::string(", in ") + at.function_name() + " after " + site(at);
  }

  using place = std::pair<const char*, std::uint32_t>;
  static place key(std::source_location l) { return {l.file_name(), l.line()}; }

  struct member {
    goroutine_core* g;
    std::uint64_t id;
    std::uint32_t age;
  };
  const runtime* only_;
  leak_pass pass_;
  bool indexed_ = false;
  std::uint32_t now_ = 0;
  std::map<std::uint16_t, std::uint32_t> limits_;  // stuck_after by runtime
  std::vector<clue> clues_;
  std::vector<std::uint32_t> clue_of_node_;
  std::unordered_map<const goroutine_core*, std::uint32_t> clue_of_unparked_;
  std::vector<std::string> growths_;  // in words
  std::map<place, std::vector<member>> sites_;
};

}  // namespace

std::vector<suspect> suspects() {
  std::lock_guard guard(pass_lock());
  return inspector(this_worker != nullptr ? this_worker->rt : nullptr).run();
}

}  // namespace leash
