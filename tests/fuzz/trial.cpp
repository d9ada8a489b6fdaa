#include "trial.hpp"

#include <bit>
#include <leash/goroutine.hpp>
#include <sstream>

#include "leak/pass.hpp"

namespace leash::test::fuzz {

const char* name_of(failure f) {
  static constexpr const char* names[] = {"nothing",
                                          "a false alarm",
                                          "a leak that must be found was missed",
                                          "the rules call leaked what is not",
                                          "the library and the model disagree",
                                          "unwound, but not reported",
                                          "goroutines were left behind"};
  return names[static_cast<std::size_t>(f)];
}

namespace {

constexpr auto until_rest = std::chrono::hours(1000);  // longer than all sleeps of a plan together

std::string names(unsigned mask) {
  std::string s;
  for (int g = 0; g < max_goroutines; ++g)
    if (mask >> g & 1) s += (s.empty() ? "" : ", ") + name_of_goroutine(g);
  return s;
}

class trial {
 public:
  /// observed: as children of a live goroutine; else the plan is the whole program, and whoever looks is outside.
  trial(const plan& p, const graph& all, std::uint64_t seed, bool observed, const settings& with, tally& n)
      : p_(p), all_(all), with_(with), n_(n), seed_(seed), w_(p, seed, true) {
    w_.model.observed = observed;
  }

  outcome run() {
    testing::simulated_run schedule(seed_);
    schedule.sim()->budget = 60'000;  // a wait that can complete does so at once: switches come from the plan's yields
    schedule.sim()->choose = [this, choose = schedule.sim()->choose](const std::vector<goroutine_core*>& ready) {
      std::size_t const chosen = choose(ready);
      w_.about_to_run(ready[chosen]->id);
      return chosen;
    };
    w_.look = [this] { look(false); };
    try {
      options o;
      o.workers = 1;
      o.action = leak_action::reclaim;
      o.on_leak = [this](const leak_report& r) { held_up(r); };
      program rt(o, schedule.sim());
      if (w_.model.observed) {
        run_program(std::source_location::current(), rt, [this]() -> task<> { co_await observe(); });
      } else {
        at_rest_ = this;
        rt.rt().hooks.quiet = [](runtime*) { return at_rest_->outside(); };
        run_program(std::source_location::current(), rt, [this]() -> task<> { co_await whole(); });
      }
    } catch (const std::exception& e) {
      fail(failure::left_behind, e.what());
    }
    if (!w_.divergence.empty()) fail(failure::divergence, w_.divergence);
    return result_;
  }

 private:
  void fail(failure what, const std::string& about) {
    w_.follow = false;
    forget_verdicts();  // else the sentinel ends the program when a false alarm is woken, and nobody can shrink the plan
    if (result_.what != failure::none) return;
    result_ = {what, about + " (schedule " + std::to_string(seed_) + ")"};
  }

  task<> observe() {
    co_await with_scope([this](scope& s) -> task<> {
      w_.start(s);
      co_await sleep(until_rest);
      look(true);
      w_.follow = false;
      if (with_.detector == flaw::none && result_.what == failure::none) co_await reclaim_all();
      s.cancel();
    });
    if (num_goroutines() != 1) fail(failure::left_behind, "at the end");
  }

  task<> whole() {
    co_await with_scope([this](scope& s) -> task<> {
      w_.start(s);
      all_in_ = &s;
      co_return;
    });
    all_in_ = nullptr;
  }
  // When everything is at rest: looks, then reclaims, and in the end cancels what is left. True: there is more to do.
  bool outside() {
    if (all_in_ == nullptr) {
      leak_report const r = find_leaks();
      if (!r.empty()) held_up(r);
      return end_victims(r) != 0;
    }
    look(true);
    w_.follow = false;
    if (result_.what == failure::none && with_.detector == flaw::none && ++rounds_ < 4 * max_goroutines) {
      leak_report const r = find_leaks();
      int others = 0;
      reported_ |= goroutines_of(r, others);
      check_strays();
      std::size_t const victims = end_victims(r);
      n_.reclaimed += victims;
      if (victims != 0) return true;
      if (!r.empty() && can_be_reclaimed(r)) fail(failure::left_behind, "reclaim ends nobody of " + text(r));
    }
    forget_verdicts();  // nobody but this test can cancel the scope: who waits for its end was leaked, rightly
    std::exchange(all_in_, nullptr)->cancel();
    return true;
  }

  static std::size_t end_victims(const leak_report& r) {
    auto const victims = kill_victims(r, {.confined = true});
    for (goroutine_core* g : victims) drop_ref(g, ref_watch);
    return victims.size();
  }
  // Who is cut while it waits for a condition locks its mutex again before it unwinds. Whoever has that may wait for it,
  // in a scope's join: so some of those who are all cancelled in the end are proved leaked.
  void held_up(const leak_report& r) {
    int others = 0;
    reported_ |= goroutines_of(r, others);
    for (const leak& l : r)
      if (l.who.wait == wait_for_a_mutex) return;
    fail(failure::left_behind, "when all are cancelled: " + text(r));
  }
  // Nobody joins it: another one, which is live, has the mutex.
  bool waits_for_its_mutex() const {
    for (const goroutine_info& g : goroutines())
      if (g.wait == wait_for_a_mutex && g.name.size() == 2 && (reported_ >> (g.name[1] - '0') & 1) != 0) return true;
    return false;
  }
  static constexpr std::string_view wait_for_a_mutex = "sync.Mutex.Lock";

  // Whom a victim had started goes with it.
  void check_strays() {
    for (unsigned stray = w_.unwound & ~reported_; stray != 0; stray &= stray - 1) {
      int const g = std::countr_zero(stray);
      int up = p_.goroutines[static_cast<std::size_t>(g)].parent;
      while (up != nobody && !(w_.unwound >> up & 1)) up = p_.goroutines[static_cast<std::size_t>(up)].parent;
      if (up == nobody) fail(failure::stray, name_of_goroutine(g));
    }
  }
  task<> reclaim_all() {
    for (int round = 0; round < 4 * max_goroutines; ++round) {
      leak_report const r = find_leaks();
      if (r.empty()) co_return;
      int others = 0;
      reported_ |= goroutines_of(r, others);
      auto const ended = co_await with_timeout(until_rest, reclaim(r, {.confined = true}));
      if (!ended) {
        if (!waits_for_its_mutex()) fail(failure::left_behind, "reclaim does not come to an end");
        co_return;
      }
      n_.reclaimed += *ended;
      if (*ended == 0) {
        if (can_be_reclaimed(r)) fail(failure::left_behind, "reclaim ends nobody of " + text(r));
        co_return;
      }
      co_await sleep(until_rest);
      check_strays();
    }
    fail(failure::left_behind, "reclaim does not come to an end");
  }
  // Some core goroutine of it has no live descendants. (One that stands in line for a place has nothing to unwind.)
  bool can_be_reclaimed(const leak_report& r) {
    int others = 0;
    unsigned const live = w_.alive & ~goroutines_of(r, others);
    for (const leak& l : r) {
      if (l.role != leak_role::core || (l.who.wait == "start" && l.who.stack.empty())) continue;
      bool has_live = false;
      for (int g = 0; g < max_goroutines; ++g)
        for (int up = g; up != nobody; up = p_.goroutines[static_cast<std::size_t>(up)].parent)
          has_live |= (live >> g & 1) && name_of_goroutine(up) == l.who.name;
      if (!has_live) return true;
    }
    return false;
  }
  static std::string text(const leak_report& r) {
    std::ostringstream out;
    out << r;
    return out.str();
  }

  void look(bool at_rest) {
    if (!w_.follow) return;
    auto const i = all_.find(w_.shadow);
    if (!i) return fail(failure::divergence, "a state that the model cannot reach");
    ++(at_rest ? n_.looks_at_rest : n_.looks);
    unsigned reported = 0;
    bool root = false;
    std::string report;
    if (with_.detector != flaw::none) {
      reported = leaked_by_the_rules(w_.model, w_.shadow, with_.detector);
    } else {
      leak_report const r = find_leaks();
      int others = 0;
      reported = goroutines_of(r, others);
      root = others != 0;
      if (reported != 0) report = "\n" + text(r);
    }
    unsigned const truth = judged(w_.model, w_.shadow) & ~all_.completable(*i);
    unsigned const rules = leaked_by_the_rules(w_.model, w_.shadow);
    if (root && (w_.model.observed || !(truth & first())))  // it ends when the first ones do
      return fail(failure::false_alarm, "the root" + report);
    unsigned wrong = (reported | rules) & ~truth;
    if (wrong != 0 && p_.sources != 0) {
      // Leaked, but for a cancel that would unwind another leaked one, which would then do something for it?
      auto const uncut = leaked_unless_cut(w_.model, w_.shadow, with_.limit);
      unsigned const excused = wrong & uncut.value_or(~0u);
      if (excused & reported) ++n_.after_cut;
      wrong &= ~excused;
    }
    if (unsigned const g = wrong & reported) return fail(failure::false_alarm, names(g) + state_of(g) + report);
    if (wrong != 0) return fail(failure::unsound_rules, names(wrong) + state_of(wrong));
    if (unsigned const g = rules & ~reported) return fail(failure::missed, names(g) + state_of(g));
    count(truth, reported & truth, at_rest);
  }

  void count(unsigned truth, unsigned found, bool at_rest) {
    recall& all = at_rest ? n_.at_rest : n_.running;
    for (int g = 0; g < max_goroutines; ++g) {
      if (!(truth >> g & 1)) continue;
      bool const seen = found >> g & 1;
      ++all.leaked;
      all.found += seen;
      if (!seen) ++(at_rest ? n_.missed : n_.missed_running)[why_missed(w_.model, w_.shadow, g)];
      if (!at_rest) continue;
      const step* t = w_.model.at(w_.shadow, g);
      recall& of_wait = n_.by_wait[w_.shadow.g[g].is == status::in_line ? "place"
                                   : w_.shadow.g[g].at >= phase::relock ? "relock"
                                   : t->select                          ? "select"
                                                                        : name_of(t->cases[0].what)];
      ++of_wait.leaked;
      of_wait.found += seen;
    }
  }
  unsigned first() const {
    unsigned mask = 0;
    for (int g = 0; g < max_goroutines; ++g)
      if (p_.goroutines[static_cast<std::size_t>(g)].parent == nobody) mask |= 1u << g;
    return mask;
  }
  std::string state_of(unsigned mask) {
    std::ostringstream out;
    for (int g = 0; g < max_goroutines; ++g)
      if (w_.shadow.g[g].is != status::unborn && w_.shadow.g[g].is != status::ended)
        out << "\n    " << name_of_goroutine(g) << " at step " << int(w_.shadow.g[g].pc)
            << (w_.shadow.g[g].is == status::waiting   ? ", waits"
                : w_.shadow.g[g].is == status::in_line ? ", has no place"
                                                       : "")
            << (mask >> g & 1 ? "  <--" : "");
    return out.str();
  }

  const plan& p_;
  const graph& all_;
  const settings& with_;
  tally& n_;
  std::uint64_t seed_;
  outcome result_;
  world w_;
  scope* all_in_ = nullptr;
  unsigned reported_ = 0;
  int rounds_ = 0;
  static inline trial* at_rest_ = nullptr;
};

}  // namespace

namespace {

// A guard in the buffer of a channel whose last receiver lies in a buffer too may be lost for good. Who waits for a
// condition needs its mutex even to be cancelled: such a plan could not be ended.
bool may_lose_a_mutex(const plan& p, const graph& all) {
  bool waits = false;
  for (const code& c : p.goroutines)
    for (const step& t : c.steps) waits |= t.count == 1 && t.cases[0].what == wait_kind::condition;
  for (std::size_t i = 0; waits && i < all.size(); ++i) {
    bool guard = false, receiver = false;
    for (const channel_state& c : all[i].channel)
      for (int k = 0; k < c.buffered; ++k) {
        guard |= kind_of(c.buffer[k]) == kind::guard;
        receiver |= kind_of(c.buffer[k]) == kind::rx;
      }
    if (guard && receiver) return true;
  }
  return false;
}

}  // namespace

outcome try_plan(const plan& p, std::uint64_t seed, const settings& with, tally& n) {
  ++n.plans;
  machine m(p);
  graph const all(m, m.initial(), with.limit);
  if (all.gave_up() || may_lose_a_mutex(p, all)) {
    ++n.gave_up;
    return {};
  }
  n.states += all.size();
  for (unsigned k = 0; k < with.schedules; ++k) {
    ++n.runs;
    outcome const o = trial(p, all, seed + k, k % 2 == 0, with, n).run();
    if (o.what != failure::none) return o;
  }
  return {};
}

}  // namespace leash::test::fuzz
