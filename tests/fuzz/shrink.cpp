// Smaller plans that fail in the same way.
#include "trial.hpp"

namespace leash::test::fuzz {

namespace {

bool fails(const plan& p, std::uint64_t seed, const settings& with, failure what) {
  tally ignored;
  settings more = with;
  more.schedules = std::max(32u, with.schedules);
  return try_plan(p, seed, more, ignored).what == what;
}

// Takes out the steps [from, to] of g, if blocks stay whole.
bool without(plan& p, std::size_t g, std::size_t at) {
  auto& steps = p.goroutines[g].steps;
  op const o = steps[at].what;
  if (closes(o)) return false;
  std::size_t const to = opens(o) ? plan::closing(p.goroutines[g], at) : at;
  steps.erase(steps.begin() + static_cast<std::ptrdiff_t>(at), steps.begin() + static_cast<std::ptrdiff_t>(to) + 1);
  return true;
}

bool started_by(const plan& p, std::size_t g) {
  for (const code& c : p.goroutines)
    for (const step& t : c.steps)
      if (((t.what == op::spawn || t.what == op::lend) && t.a == g) ||
          (t.cases[0].what == wait_kind::start && t.cases[0].a == g))
        return true;
  return false;
}

}  // namespace

plan shrink(plan p, std::uint64_t seed, const settings& with, failure what) {
  for (bool smaller = true; smaller;) {
    smaller = false;
    auto try_it = [&](plan q) {
      if (!fails(q, seed, with, what)) return false;
      p = std::move(q);
      return smaller = true;
    };
    for (std::size_t g = 0; g < max_goroutines; ++g) {
      code& c = p.goroutines[g];
      if (c.used && !c.steps.empty() && c.parent == nobody) {
        plan q = p;
        q.goroutines[g].steps.clear();
        try_it(std::move(q));
      }
      for (std::size_t i = p.goroutines[g].steps.size(); i-- > 0;) {
        if (i >= p.goroutines[g].steps.size()) continue;
        plan q = p;
        if (without(q, g, i) && try_it(std::move(q))) continue;
        const step& t = p.goroutines[g].steps[i];
        for (std::uint8_t k = 0; t.select && k < t.count; ++k) {  // one case less
          plan r = p;
          step& fewer = r.goroutines[g].steps[i];
          for (int j = k; j + 1 < fewer.count; ++j)
            fewer.cases[static_cast<std::size_t>(j)] = fewer.cases[static_cast<std::size_t>(j) + 1];
          fewer.select = --fewer.count > 1;
          if (fewer.count > 0 && try_it(std::move(r))) break;
        }
      }
      for (std::size_t i = 0; i < slots; ++i) {
        if (p.goroutines[g].slot[i] == 0) continue;
        plan q = p;
        q.goroutines[g].slot[i] = 0;
        try_it(std::move(q));
      }
    }
  }
  for (std::size_t g = 0; g < max_goroutines;
       ++g) {  // those that do nothing and hold nothing, and those that nobody starts
    plan q = p;
    code& c = q.goroutines[g];
    bool const starts = c.parent == nobody ? c.slot != std::array<thing, slots>{} : started_by(q, g);
    if (!c.used || starts || (c.parent == nobody && !c.steps.empty())) continue;
    c = {};
    if (fails(q, seed, with, what)) p = std::move(q);
  }
  return p;
}

}  // namespace leash::test::fuzz
