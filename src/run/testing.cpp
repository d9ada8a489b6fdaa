// Exploring schedules: which are run, how one that fails is shortened, and what is printed.
//
// Exhaustive search takes schedules in the order of their number of deviations (schedule.hpp): after a run, each choice
// behind its last deviation gives one further schedule for each option that was not taken. So every schedule is run
// once, none is run to throw most of it away, and the first one that fails is a shortest one. It takes only schedules
// that fit into a seed, so that a failure can be repeated from its seed alone.
#include <algorithm>
#include <cstdio>
#include <deque>
#include <leash/testing.hpp>
#include <ostream>
#include <sstream>
#include <typeinfo>

#include "../observe/text.hpp"
#include "schedule.hpp"

namespace leash::testing {

simulated_run::simulated_run(std::uint64_t seed) : chooser_(std::make_unique<simulator>(seed)) {}
simulated_run::simulated_run(std::string_view schedule)
    : chooser_(std::make_unique<simulator>(deviations_of(schedule))) {}
simulated_run::~simulated_run() = default;
simulation* simulated_run::sim() noexcept { return &chooser_->sim; }

std::ostream& operator<<(std::ostream& out, const step& s) {
  out << "goroutine " << s.goroutine;
  if (!s.name.empty()) out << " (" << one_line(s.name) << ")";
  if (!s.file.empty()) out << " at " << s.file << ":" << s.line;
  if (!s.waited.empty()) out << " [" << s.waited << "]";
  return out;
}

namespace {

enum class ending : std::uint8_t { good, leak, deadlock, exception, endless };

struct outcome_of_run {
  ending how = ending::good;
  std::exception_ptr error;
  std::string text;  // of the error or the first leak report
  std::string kind;  // two failures are the same if how and kind are
};

outcome_of_run run_one(simulator& s, const run_once& f, options with) {
  outcome_of_run result;
  auto const users_own = std::move(with.on_leak);
  with.on_leak = [&](const leak_report& r) {
    if (result.how == ending::good) {
      result.how = ending::leak;
      std::ostringstream out;
      out << r;
      result.text = std::move(out).str();
    }
    if (users_own) users_own(r);
  };
  try {
    f(s.sim, with);
  } catch (const deadlock_error& e) {
    result.error = std::current_exception();
    result.how = ending::deadlock;
    result.text = e.what();
  } catch (const std::exception& e) {
    result.error = std::current_exception();
    result.how = ending::exception;
    result.kind = typeid(e).name();
    result.text = std::string("exception: ") + e.what();
  } catch (...) {
    result.error = std::current_exception();
    result.how = ending::exception;
    result.text = "an exception that is no std::exception";
  }
  if (s.endless) {
    result.how = ending::endless;
    result.text = "no end after " + std::to_string(s.most_steps) + " steps";
    result.error = std::make_exception_ptr(std::runtime_error("leash: the simulated run has " + result.text));
  }
  return result;
}

struct candidate {
  deviations script;
  unsigned preemptions = 0;
};

/// All schedules in the order of their number of deviations; see the head of this file.
class exhaustive_search {
 public:
  exhaustive_search(unsigned most_preemptions, std::size_t budget)
      : most_preemptions_(most_preemptions), budget_(budget) {
    queue_.push_back({});
  }
  bool over() const { return queue_.empty() || budget_ == 0; }
  bool complete() const { return queue_.empty() && !left_some_out_; }
  candidate take() {
    candidate c = std::move(queue_.front());
    queue_.pop_front();
    --budget_;
    return c;
  }
  /// What the run of c has shown.
  void learn(const candidate& c, const std::vector<choice>& choices) {
    std::size_t const first = c.script.empty() ? 0 : c.script.back().at + 1;
    std::size_t total = 0;
    for (std::size_t i = first; i < choices.size(); ++i)
      if (allowed(c, choices[i])) total += choices[i].options - 1;
    std::size_t const room = budget_ - std::min(budget_, queue_.size());
    // Too many: some from everywhere rather than the first ones.
    std::size_t const every = room == 0 ? 0 : (total + room - 1) / room;
    if (every != 1 && total != 0) left_some_out_ = true;
    if (every == 0) return;
    std::size_t n = 0;
    for (std::size_t i = first; i < choices.size(); ++i) {
      if (!allowed(c, choices[i])) continue;
      for (std::uint32_t by = 1; by < choices[i].options; ++by) {
        if (n++ % every != 0) continue;
        candidate next = c;
        next.script.push_back({static_cast<std::uint32_t>(i), by});
        next.preemptions += choices[i].preemption ? 1 : 0;
        if (seed_of(next.script))
          queue_.push_back(std::move(next));
        else
          left_some_out_ = true;
      }
    }
  }

 private:
  bool allowed(const candidate& c, const choice& at) const {
    return !at.preemption || c.preemptions < most_preemptions_;
  }
  unsigned most_preemptions_;
  std::size_t budget_;
  bool left_some_out_ = false;
  std::deque<candidate> queue_;
};

/// Makes a failing schedule shorter.
class shortening {
 public:
  shortening(const run_once& f, const explore_options& o, const outcome_of_run& failure)
      : f_(f), o_(o), failure_(failure), runs_left_(o.shorten) {}

  /// False: the failure does not repeat.
  bool shorten(deviations found, bool is_shortest) {
    // A failure is worth a look in any case; more only while runs are allowed.
    if (!fails(found)) return false;
    if (is_shortest || best_.empty()) return true;
    if (search()) return true;
    halve();
    drop_parts();
    return true;
  }
  const deviations& best() const { return best_; }
  std::size_t runs() const { return runs_; }

 private:
  bool may_run() const { return runs_left_ > 0 && steps_ < most_steps; }

  bool fails(const deviations& script) {
    simulator s(script);
    if (!run(s)) return false;
    best_ = s.made();  // without what had no effect
    return true;
  }
  bool run(simulator& s) {
    s.record_choices = true;
    s.most_steps = o_.most_steps;
    ++runs_;
    runs_left_ -= std::min<std::size_t>(runs_left_, 1);
    outcome_of_run const r = run_one(s, f_, o_.run);
    steps_ += s.count;
    return r.how == failure_.how && r.kind == failure_.kind;
  }
  /// Is there one with very few deviations?
  bool search() {
    exhaustive_search all(UINT32_MAX, runs_left_ / 2);
    while (!all.over() && may_run()) {
      candidate c = all.take();
      if (c.script.size() >= best_.size()) return false;
      simulator s(c.script);
      if (run(s)) {
        best_ = s.made();
        return true;
      }
      all.learn(c, s.choices);
    }
    return false;
  }
  /// The shortest beginning that fails, if failing is a matter of length.
  void halve() {
    deviations const all = best_;
    for (std::size_t good = 0, bad = all.size(); good < bad && may_run();) {
      std::size_t const middle = good + (bad - good) / 2;
      if (fails(deviations(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(middle))))
        bad = middle;
      else
        good = middle + 1;
    }
  }
  /// Delta debugging: leaves parts out, large ones first.
  void drop_parts() {
    for (std::size_t part = std::max<std::size_t>(best_.size() / 2, 1); may_run();) {
      bool dropped = false;
      for (std::size_t from = 0; from < best_.size() && may_run();) {
        deviations without(best_.begin(), best_.begin() + static_cast<std::ptrdiff_t>(from));
        if (from + part < best_.size())
          without.insert(without.end(), best_.begin() + static_cast<std::ptrdiff_t>(from + part), best_.end());
        std::size_t const before = best_.size();
        deviations const kept = best_;
        if (fails(without) && best_.size() < before) {
          dropped = true;
        } else {
          best_ = kept;
          from += part;
        }
      }
      if (part > 1)
        part = (part + 1) / 2;
      else if (!dropped)
        return;
    }
  }

  static constexpr std::uint64_t most_steps = 20'000'000;
  const run_once& f_;
  const explore_options& o_;
  const outcome_of_run& failure_;
  std::size_t runs_left_, runs_ = 0;
  std::uint64_t steps_ = 0;
  deviations best_;
};

// --- printing

void print_bounded(const std::string& text, std::size_t most_lines) {
  std::istringstream in(text);
  std::string line;
  for (std::size_t n = 0; std::getline(in, line); ++n) {
    if (n == most_lines) {
      std::fprintf(stderr, "  ...\n");
      return;
    }
    std::fprintf(stderr, "  %.400s\n", line.c_str());
  }
}

void print_steps(const std::vector<step>& steps) {
  constexpr std::size_t head = 10, tail = 40;
  for (std::size_t i = 0; i < steps.size(); ++i) {
    if (steps.size() > head + tail + 1 && i == head) {
      i = steps.size() - tail;
      std::fprintf(stderr, "  ... %zu steps ...\n", i - head);
    }
    std::ostringstream line;
    line << steps[i];
    std::fprintf(stderr, "  %4zu %.400s\n", i + 1, line.str().c_str());
  }
}

std::string spelled(std::uint64_t seed) {
  char text[32];
  std::snprintf(text, sizeof text, deviations_of(seed) ? "0x%llx" : "%llu", static_cast<unsigned long long>(seed));
  return text;
}

void refuse_inside_a_run(const char* what) {
  if (this_worker != nullptr)
    throw std::logic_error(std::string("leash::testing::") + what + " was called inside a goroutine: it starts runs");
}

// Where the next schedule comes from.
class source {
 public:
  explicit source(const explore_options& o)
      : o_(o),
        // Mixed: a quarter, and a few if that is none.
        all_(o.preemptions, o.strategy == strategy::exhaustive ? o.schedules
                            : o.strategy == strategy::mixed    ? (o.schedules + 3) / 4
                                                               : 0),
        next_(o.first_seed) {}

  bool over() const { return o_.strategy == strategy::exhaustive && all_.over(); }
  bool complete() const { return all_.complete(); }
  std::unique_ptr<simulator> next() {
    systematic_ = !all_.over();
    std::unique_ptr<simulator> s;
    if (systematic_) {
      now_ = all_.take();
      seed_ = *seed_of(now_.script);
      s = std::make_unique<simulator>(now_.script);
    } else {
      while (!wanted(next_)) ++next_;
      seed_ = next_++;
      s = std::make_unique<simulator>(seed_);
    }
    s->record_choices = true;
    s->most_steps = o_.most_steps;
    return s;
  }
  void ran(const simulator& s) {
    ++runs_;
    steps_ += s.count;
    if (systematic_) all_.learn(now_, s.choices);
  }
  std::uint64_t seed() const { return seed_; }
  bool systematic() const { return systematic_; }

 private:
  bool wanted(std::uint64_t seed) const {
    if (deviations_of(seed)) return false;
    if (o_.strategy == strategy::random) return !draws_priorities(seed);
    if (!draws_priorities(seed)) return o_.strategy == strategy::mixed;
    // Mostly those whose priorities change all over the run, of which nobody knows the length before.
    if (runs_ == 0) return true;
    std::uint64_t const usual = std::max<std::uint64_t>(steps_ / runs_, 4), h = horizon(seed);
    return (h >= usual && h < usual + usual / 2 + 1) || (h < usual && seed / 40 % 4 == 0);
  }

  const explore_options& o_;
  exhaustive_search all_;
  candidate now_;
  std::uint64_t next_, seed_ = 0;
  std::uint64_t runs_ = 0, steps_ = 0;  // so far
  bool systematic_ = false;
};

}  // namespace

exploration explore_schedules(const explore_options& o, const run_once& f) {
  refuse_inside_a_run("explore");
  exploration result;
  source schedules(o);
  while (result.schedules < o.schedules && !schedules.over()) {
    auto s = schedules.next();
    ++result.schedules;
    outcome_of_run failure = run_one(*s, f, o.run);
    if (failure.how == ending::good) {
      schedules.ran(*s);
      continue;
    }
    result.failing_seed = schedules.seed();
    result.leaked = failure.how == ending::leak || failure.how == ending::deadlock;
    result.error = failure.error;
    std::fprintf(stderr, "leash: schedule %zu of %zu fails: repeat it with leash::testing::simulate(%s, f)\n",
                 result.schedules, o.schedules, spelled(*result.failing_seed).c_str());

    shortening shorter(f, o, failure);
    if (!shorter.shorten(s->made(), schedules.systematic())) {
      result.schedule = text_of(s->made());
      print_bounded(failure.text, 40);
      std::fprintf(stderr,
                   "  It does not repeat: what the program does depends on something outside the schedule (state that "
                   "outlives a run, a clock, a thread, an address).\n");
      return result;
    }
    result.schedule = text_of(shorter.best());
    if (auto seed = seed_of(shorter.best())) result.failing_seed = seed;
    simulator last(shorter.best());
    last.record_steps = true;
    last.most_steps = o.most_steps;
    if (outcome_of_run const again = run_one(last, f, o.run); again.how == failure.how) {
      result.error = again.error;
      failure.text = again.text;
    }
    result.steps = std::move(last.steps);
    print_bounded(failure.text, 40);
    std::fprintf(stderr,
                 "leash: the shortest schedule found, %zu steps, deviates from the default at %zu (%zu runs to find "
                 "it): simulate(",
                 result.steps.size(), shorter.best().size(), shorter.runs());
    std::fprintf(stderr, "%s, f) or simulate(\"%.400s\", f)\n", spelled(*result.failing_seed).c_str(),
                 result.schedule.c_str());
    print_steps(result.steps);
    return result;
  }
  result.complete = schedules.complete();
  return result;
}

recording record_run(simulated_run& run, const options& o, const run_once& f) {
  refuse_inside_a_run("record");
  simulator& s = run.chooser();
  s.record_choices = s.record_steps = true;
  outcome_of_run const r = run_one(s, f, o);
  recording result;
  result.steps = std::move(s.steps);
  result.schedule = text_of(s.made());
  result.error = r.error;
  result.leaked = r.how == ending::leak || r.how == ending::deadlock;
  return result;
}

}  // namespace leash::testing
