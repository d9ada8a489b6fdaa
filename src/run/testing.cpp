#include <cstdio>
#include <leash/testing.hpp>

namespace leash::testing {

namespace {
std::uint64_t scramble(std::uint64_t x) noexcept {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}
constexpr std::uint64_t patience = 200;  // steps that one goroutine may take in a row before another gets a turn
}  // namespace

seeded_schedule::seeded_schedule(std::uint64_t seed) : seed_(seed), state_(scramble(seed)) {
  sim_.now = 1'000'000'000;
  sim_.seed = scramble(seed ^ 0x5eed) | 1;
  sim_.choose = [this](const std::vector<goroutine_core*>& ready) { return choose(ready); };
  // Half of the runs let an operation that is ready go on at once now and then; the others switch at every one.
  sim_.budget = [this]() -> std::uint16_t { return static_cast<std::uint16_t>(seed_ % 4 < 2 ? 1 : 1 + next() % 4); };
  next_change_ = 1 + next() % 32;
}

std::uint64_t seeded_schedule::next() noexcept { return scramble(state_++); }

std::size_t seeded_schedule::choose(const std::vector<goroutine_core*>& ready) {
  ++step_;
  std::size_t const n = ready.size();
  std::size_t best = next() % n;
  if (seed_ % 2 == 1 && in_a_row_ < patience) {
    if (first_id_ == 0) first_id_ = ready.front()->id;
    auto priority = [&](std::size_t i) {
      for (auto& [id, p] : low_)
        if (id == ready[i]->id) return p;
      return scramble(seed_ * 31 + (ready[i]->id - first_id_)) | std::uint64_t{1} << 63;
    };
    for (std::size_t i = 0; i < n; ++i)
      if (priority(i) > priority(best)) best = i;
    if (step_ >= next_change_ && low_.size() < 8) {
      low_.emplace_back(ready[best]->id, 1000 - ++lowered_);
      next_change_ = step_ + 1 + next() % 64;
    }
  }
  in_a_row_ = ready[best]->id == last_ ? in_a_row_ + 1 : 0;
  last_ = ready[best]->id;
  return best;
}

exploration explore_seeds(const explore_options& o, const std::function<void(std::uint64_t, const options&)>& run_one) {
  exploration result;
  for (std::uint64_t seed = 1; seed <= o.schedules; ++seed) {
    bool leaked = false;
    options with;
    with.on_leak = [&](const leak_report&) { leaked = true; };
    ++result.schedules;
    try {
      run_one(seed, with);
    } catch (const deadlock_error&) {
      result.error = std::current_exception();
      leaked = true;
    } catch (...) {
      result.error = std::current_exception();
    }
    if (leaked || result.error) {
      result.leaked = leaked;
      result.failing_seed = seed;
      std::fprintf(stderr, "leash: schedule %llu of %zu fails: repeat it with leash::testing::simulate(%llu, f)\n",
                   static_cast<unsigned long long>(seed), o.schedules, static_cast<unsigned long long>(seed));
      return result;
    }
  }
  return result;
}

}  // namespace leash::testing
