#include "schedule.hpp"

#include <algorithm>
#include <bit>
#include <charconv>
#include <leash/context.hpp>
#include <leash/scope.hpp>
#include <memory>
#include <stdexcept>

#include "../observe/looking.hpp"

namespace leash::testing {

namespace {

std::uint64_t scramble(std::uint64_t x) noexcept {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

constexpr std::uint64_t patience =
    500;  // choices that pass over the one that waits longest before it gets its turn (X1)

constexpr unsigned payload_bits = 49;
constexpr std::uint64_t spelled_out = std::uint64_t{0xff} << 56;

}  // namespace

// --- spelling

std::string text_of(const deviations& all) {
  std::string text;
  for (const deviation& d : all) text += (text.empty() ? "" : " ") + std::to_string(d.at) + ":" + std::to_string(d.by);
  return text;
}

deviations deviations_of(std::string_view text) {
  auto refuse = [&] {
    throw std::invalid_argument("leash: this is no schedule: \"" + std::string(text) +
                                "\"; one looks like \"12:1 40:2\"");
  };
  deviations all;
  const char *at = text.data(), *const end = at + text.size();
  auto number = [&] {
    std::uint32_t n = 0;
    auto const [after, error] = std::from_chars(at, end, n);
    if (error != std::errc()) refuse();
    at = after;
    return n;
  };
  while (at != end) {
    deviation d{};
    d.at = number();
    if (at == end || *at++ != ':') refuse();
    d.by = number();
    if (d.by == 0 || (!all.empty() && all.back().at >= d.at)) refuse();
    if (at != end && (*at++ != ' ' || at == end)) refuse();
    all.push_back(d);
  }
  return all;
}

std::optional<std::uint64_t> seed_of(const deviations& all) {
  unsigned gap_bits = 1, by_bits = 1;
  std::uint32_t from = 0;
  for (const deviation& d : all) {
    gap_bits = std::max(gap_bits, static_cast<unsigned>(std::bit_width(d.at - from)));
    by_bits = std::max(by_bits, static_cast<unsigned>(std::bit_width(d.by)));
    from = d.at + 1;
  }
  if (gap_bits > 16 || by_bits > 8 || all.size() * (gap_bits + by_bits) > payload_bits) return {};
  std::uint64_t payload = 0;
  unsigned shift = 0;
  from = 0;
  for (const deviation& d : all) {
    payload |= std::uint64_t{d.by} << shift | std::uint64_t{d.at - from} << (shift + by_bits);
    shift += gap_bits + by_bits;
    from = d.at + 1;
  }
  return spelled_out | std::uint64_t{gap_bits - 1} << 52 | std::uint64_t{by_bits - 1} << 49 | payload;
}

std::optional<deviations> deviations_of(std::uint64_t seed) {
  if ((seed & spelled_out) != spelled_out) return {};
  unsigned const gap_bits = 1 + static_cast<unsigned>(seed >> 52 & 15),
                 by_bits = 1 + static_cast<unsigned>(seed >> 49 & 7);
  auto const low = [](std::uint64_t x, unsigned bits) {
    return static_cast<std::uint32_t>(x & ((std::uint64_t{1} << bits) - 1));
  };
  deviations all;
  std::uint32_t from = 0;
  for (unsigned shift = 0; shift + gap_bits + by_bits <= payload_bits; shift += gap_bits + by_bits) {
    std::uint64_t const rest = (seed & ((std::uint64_t{1} << payload_bits) - 1)) >> shift;
    deviation const d{from + low(rest >> by_bits, gap_bits), low(rest, by_bits)};
    if (d.by == 0) break;
    all.push_back(d);
    from = d.at + 1;
  }
  return all;
}

// --- choosing

simulator::simulator(deviations script) : policy_(policy::follow), script_(std::move(script)) { connect(); }

simulator::simulator(std::uint64_t seed) : policy_(policy::random), seed_(seed), state_(scramble(seed)) {
  if (auto script = deviations_of(seed)) {
    policy_ = policy::follow;
    script_ = *std::move(script);
  } else if (draws_priorities(seed)) {
    policy_ = policy::priorities;
    for (std::uint64_t n = 1 + draw() % 3; n > 0; --n) changes_.push_back(draw() % horizon(seed));
    std::sort(changes_.begin(), changes_.end());
  }
  connect();
}

void simulator::connect() {
  sim.now = 1'000'000'000;
  sim.choose = [this](const std::vector<goroutine_core*>& ready) { return next_step(ready); };
  sim.choose_case = [this](std::size_t n) { return next_case(n); };
}

std::uint64_t simulator::draw() noexcept { return scramble(state_++); }

deviations simulator::made() const {
  deviations all;
  for (std::size_t i = 0; i < choices.size(); ++i)
    if (choices[i].by != 0) all.push_back({static_cast<std::uint32_t>(i), choices[i].by});
  return all;
}

std::size_t simulator::followed(std::size_t usual, std::size_t n) {
  if (next_deviation_ == script_.size() || script_[next_deviation_].at != choice_count_) return usual;
  return (usual + script_[next_deviation_++].by) % n;
}

std::size_t simulator::settle(std::size_t usual, std::size_t wanted, std::size_t n, bool preemption) {
  ++choice_count_;
  if (record_choices)
    choices.push_back(
        {static_cast<std::uint32_t>(n), static_cast<std::uint32_t>((wanted + n - usual) % n), preemption});
  return wanted;
}

std::size_t simulator::next_case(std::size_t n) {
  std::size_t const usual = scramble(++case_count_) % n;
  return settle(usual, policy_ == policy::follow ? followed(usual, n) : draw() % n, n, false);
}

std::size_t simulator::next_step(const std::vector<goroutine_core*>& ready) {
  if (++count == most_steps) {
    endless = true;
    end_context(this_worker->rt->root_scope, context_error::cancelled,
                std::make_shared<cancel_cause>(cancel_cause{"the simulated run has too many steps", {}, nullptr}));
  }
  if (policy_ == policy::priorities) {
    priorities_.resize(std::min(before_, ready.size()));
    while (priorities_.size() < ready.size()) priorities_.push_back(priority(ready[priorities_.size()]));
  }
  std::size_t const i = ready.size() == 1 ? 0 : pick(ready);
  if (policy_ == policy::priorities) priorities_.erase(priorities_.begin() + static_cast<std::ptrdiff_t>(i));
  passed_over_ = i != 0 && ready[0]->id == front_ ? passed_over_ + 1 : 0;
  front_ = ready[0]->id;
  if (record_steps) note(ready[i]);
  last_ = ready[i]->id;
  before_ = ready.size() - 1;
  return i;
}

std::size_t simulator::pick(const std::vector<goroutine_core*>& ready) {
  std::size_t const n = ready.size();
  std::size_t last = std::min(before_, n);  // if it could go on it became ready after it was chosen
  while (last < n && ready[last]->id != last_) ++last;
  bool const could_go_on = last < n;
  bool const overdue = passed_over_ >= patience;
  bool const goes_on = could_go_on && !sim.yielded && !overdue;
  std::size_t const usual = goes_on ? last : 0;
  std::size_t wanted = usual;
  switch (policy_) {
    case policy::follow:
      wanted = followed(usual, n);
      break;
    case policy::random:
      // Half of the seeds prefer to go on.
      wanted = draw() % n;
      if (goes_on && seed_ % 4 == 2 && draw() % 4 != 0) wanted = usual;
      break;
    case policy::priorities:
      if (!overdue) wanted = by_priority(ready, could_go_on, last);
      break;
  }
  return settle(usual, wanted, n, could_go_on);
}

std::uint64_t simulator::priority(const goroutine_core* g) const {
  if (auto it = lowered_.find(g->id); it != lowered_.end()) return it->second;
  return scramble(seed_ * 31 + g->id) | std::uint64_t{1} << 63;
}

std::size_t simulator::by_priority(const std::vector<goroutine_core*>& ready, bool could_go_on, std::size_t last) {
  // Half of the time yield() lets all others go first, so that who spins by it does not keep them from running.
  if (could_go_on && sim.yielded && draw() % 2 == 0) lower(ready, last);
  auto best = [&] { return static_cast<std::size_t>(std::ranges::max_element(priorities_) - priorities_.begin()); };
  while (next_change_ < changes_.size() && changes_[next_change_] <= count) {
    ++next_change_;
    lower(ready, best());
  }
  return best();
}

void simulator::lower(const std::vector<goroutine_core*>& ready, std::size_t i) {
  priorities_[i] = lowered_[ready[i]->id] = --lowest_;
}

// --- steps

namespace {

// The innermost line that is not the library's; before the start, who started it. null: the root, which has none then.
const std::source_location* where_of(const goroutine_core* g) {
  for (const promise_base* p = g->leaf; p != nullptr; p = p->up != nullptr ? p->up->parent : nullptr)
    if (!is_library_file(p->where.file_name())) return &p->where;
  return g == this_worker->rt->root ? nullptr : &g->spawned_at;
}

std::string name_of_goroutine(const goroutine_core* g) {
  for (const local_value* v = g->locals.get(); v != nullptr; v = v->shown)
    if (v->what == local_value::kind::name && v->owner == g->id) return std::string(v->text());
  return {};
}

}  // namespace

void simulator::note(goroutine_core* g) {
  if (auto it = known_.find(last_); it != known_.end()) it->second.yielded = sim.yielded;
  step s;
  s.goroutine = g->id;
  s.name = name_of_goroutine(g);
  if (const std::source_location* at = where_of(g)) {
    s.file = at->file_name();
    s.line = static_cast<unsigned>(at->line());
  }
  std::uint64_t const word = g->park.load(std::memory_order_relaxed);
  known& k = known_[g->id];
  if (state_of(word) == park_state::held) {
    s.waited = "blocking (makes the call)";
  } else if ((g->bits & g_started) == 0) {
    s.waited = "start";
  } else if (k.epoch == epoch_of(word)) {
    s.waited = k.yielded ? "yield" : "";
  } else if (g->wait != nullptr) {
    s.waited = leash::name_of(g->wait_count == 1 ? g->wait->reason : wait_reason::select);
  }
  if ((g->bits & g_cut) != 0) s.waited += s.waited.empty() ? "unwinds" : ", unwinds";
  k.epoch = epoch_of(word);
  k.yielded = false;
  steps.push_back(std::move(s));
}

}  // namespace leash::testing
