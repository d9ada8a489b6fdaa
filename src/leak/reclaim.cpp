// Reclaim: which leaked goroutines are unwound, and waiting for their end.
#include <algorithm>
#include <leash/looking.hpp>
#include <thread>
#include <unordered_map>

#include "pass.hpp"

namespace leash {

/// Marks g as reclaimed and, if it is parked in a wait that can be cut, hands it to a worker to unwind. False: it
/// moved.
static bool kill(goroutine_core* g, std::uint64_t word, bool watch) noexcept {
  forget_verdicts();
  reclaimed_anything.store(true, std::memory_order_relaxed);
  if (state_of(word) != park_state::parked) {
    // A scope's final join, say: it goes on unwinding when its members have ended.
    if (g->park.load(std::memory_order_acquire) != word) return false;
    g->killed.store(1, std::memory_order_release);
    return true;
  }
  if (!g->park.compare_exchange_strong(word, next_epoch(word, park_state::active), std::memory_order_acq_rel))
    return false;
  g->killed.store(1, std::memory_order_relaxed);
  if (watch) g->refs.fetch_or(ref_watch, std::memory_order_relaxed);
  g->bits |= g_cut;
  schedule_last(g);
  return true;
}

std::vector<std::pair<goroutine_core*, std::uint64_t>> kill_victims(const leak_report& r, const reclaim_options& o) {
  std::vector<std::pair<goroutine_core*, std::uint64_t>> victims;
  if (r.findings == nullptr) return victims;
  leak_findings& f = *r.findings;
  // One of each knot: the newest that may be chosen. The order of ids makes the choice the same in every run of a
  // schedule.
  std::unordered_map<std::uint32_t, std::size_t> chosen;
  for (std::size_t d = 0; d < f.pass.core; ++d) {
    graph_node const& n = f.pass.known.nodes[f.pass.dead[d]];
    goroutine_core* g = f.pass.known.goroutine_at(f.pass.dead[d]);
    runtime* rt = runtime_at(g->runtime_index);
    if (rt == nullptr || g == rt->root || (n.flags & graph_node::lent) || state_of(n.word) != park_state::parked)
      continue;
    if ((n.flags & graph_node::confined) && !o.confined) continue;
    if (is_unreclaimable(g)) continue;
    auto [it, fresh] = chosen.try_emplace(f.pass.component[d], d);
    if (!fresh && f.ids[it->second] < f.ids[d]) it->second = d;
  }
  std::vector<std::size_t> in_order;
  for (auto& [component, d] : chosen) in_order.push_back(d);
  std::sort(in_order.begin(), in_order.end(), [&](std::size_t a, std::size_t b) { return f.ids[a] < f.ids[b]; });
  for (std::size_t d : in_order) {
    graph_node const& n = f.pass.known.nodes[f.pass.dead[d]];
    goroutine_core* g = f.pass.known.goroutine_at(f.pass.dead[d]);
    if (kill(g, n.word, true)) victims.emplace_back(g, f.ids[d]);
  }
  return victims;
}

void kill_all(const leak_report& r) {
  if (r.findings == nullptr) return;
  leak_findings& f = *r.findings;
  f.describe();
  for (std::uint32_t i : f.pass.dead) kill(f.pass.known.goroutine_at(i), f.pass.known.nodes[i].word, false);
}

namespace {

bool ended(const std::pair<goroutine_core*, std::uint64_t>& v) noexcept {
  return state_of(v.first->park.load(std::memory_order_acquire)) == park_state::done;
}

// Waits for the end of a goroutine that the caller holds a ref_watch of.
struct end_operation : operation_base {
  class wait_type : public waiter {
   public:
    explicit wait_type(end_operation& op) noexcept : waiter(wait_reason::goroutine_join), target_(op.target) {}
    spin_lock& lock() noexcept { return join_lock_of(target_); }
    bool claim() noexcept { return state_of(target_->park.load(std::memory_order_acquire)) == park_state::done; }
    void complete() const noexcept {}
    void enqueue() noexcept { push_joiner(target_, this); }
    void remove() noexcept { remove_joiner(target_, this); }
    void won() const noexcept {}
    std::monostate result() const noexcept { return {}; }

   private:
    goroutine_core* target_;
  };
  using value_type = std::monostate;
  using result_type = void;
  goroutine_core* target;
  explicit end_operation(goroutine_core* g) noexcept : target(g) {}
};

struct watched {
  std::vector<std::pair<goroutine_core*, std::uint64_t>> all;
  explicit watched(std::vector<std::pair<goroutine_core*, std::uint64_t>> v) : all(std::move(v)) {}
  watched(watched&&) = default;
  ~watched() {
    for (auto& v : all) drop_ref(v.first, ref_watch);
  }
};

}  // namespace

task<std::size_t> reclaim_operation::as_task() {
  return [](leak_report r, reclaim_options o) -> task<std::size_t> {
    watched victims(kill_victims(r, o));
    for (auto& v : victims.all) co_await end_operation(v.first);
    co_return victims.all.size();
  }(std::move(report_), options_);
}

std::size_t reclaim_operation::wait() {
  if (this_worker != nullptr)
    throw_misuse("reclaim(...).wait() blocks its thread: on a worker co_await the operation instead");
  watched victims(kill_victims(report_, options_));
  while (!std::all_of(victims.all.begin(), victims.all.end(), ended))
    std::this_thread::sleep_for(std::chrono::microseconds(100));
  return victims.all.size();
}

}  // namespace leash
