// Reclaim: which leaked goroutines are unwound, and waiting for their end.
#include <algorithm>
#include <leash/looking.hpp>
#include <thread>
#include <unordered_map>

#include "../observe/frozen.hpp"
#include "capability.hpp"
#include "pass.hpp"

namespace leash {

/// True if the wait that g is parked in can be cut; `word` must still be g's afterwards. Of the waits that cancellation
/// leaves alone: the re-lock of a condition's wait, whose guard is empty then; and a scope's final join when it waits
/// for remote handles only. The others go on by themselves, or when their members have ended.
LEASH_READS_FROZEN static bool can_be_cut(const goroutine_core* g, std::uint64_t word) noexcept {
  if (state_of(word) == park_state::parked) return true;
  waiter* w = frozen::read(g->wait_count) == 1 ? frozen::waiter_of(g, 0) : nullptr;
  if (w == nullptr) return false;
  switch (frozen::read(w->reason)) {
    case wait_reason::mutex_lock:
      return true;
    case wait_reason::scope_join: {
      auto* s = static_cast<scope_core*>(frozen::read(w->what));
      return arena::contains(s) && members_of(s) == total_of(s, 1);
    }
    default:
      return false;
  }
}

/// Marks g as reclaimed and, if its wait can be cut, hands it to a worker to unwind. False: that cannot be, it moved, or
/// another reclaim already waits for its end: who unwinds can be leaked again, at the re-lock of a condition's wait.
/// A victim keeps why, for its scope and its handle.
static bool kill(goroutine_core* g, std::uint64_t word, std::exception_ptr why) noexcept {
  forget_verdicts();
  reclaimed_anything.store(true, std::memory_order_relaxed);
  if (!can_be_cut(g, word)) {
    // It goes on unwinding when its members have ended.
    if (g->park.load(std::memory_order_acquire) == word) g->killed.store(1, std::memory_order_release);
    return false;
  }
  if (!g->park.compare_exchange_strong(word, next_epoch(word, park_state::active), std::memory_order_acq_rel))
    return false;
  g->killed.store(1, std::memory_order_relaxed);
  bool is_ours = true;
  if (why != nullptr) {
    {
      spin_guard guard(join_lock_of(g));
      std::uint8_t const refs = g->refs.load(std::memory_order_relaxed);
      is_ours = (refs & ref_watch) == 0;
      g->refs.store(refs | ref_watch, std::memory_order_relaxed);
    }
    note_reclaimed(g, std::move(why));
  }
  g->bits |= g_cut;
  schedule_last(g);
  return is_ours;
}

std::vector<std::pair<goroutine_core*, std::uint64_t>> kill_victims(const leak_report& r, const reclaim_options& o) {
  std::vector<std::pair<goroutine_core*, std::uint64_t>> victims;
  if (r.findings == nullptr) return victims;
  leak_findings& f = *r.findings;
  auto const& ids = f.ids();
  // One of each knot: the newest that may be chosen. The order of ids makes the choice the same in every run of a
  // schedule.
  std::unordered_map<std::uint32_t, std::size_t> chosen;
  for (std::size_t d = 0; d < f.pass.core; ++d) {
    std::uint32_t const node = f.pass.dead[d];
    goroutine_core* g = f.pass.known.goroutine_at(node);
    runtime* rt = runtime_at(frozen::read(g->runtime_index));
    if (rt == nullptr || g == rt->root || (f.pass.known.flags[node] & node_flag::lent) ||
        !can_be_cut(g, f.pass.known.words[node]))
      continue;
    if ((f.pass.known.flags[node] & node_flag::confined) && !o.confined) continue;
    if (is_unreclaimable(g)) continue;
    auto [it, fresh] = chosen.try_emplace(f.pass.component[node], d);
    if (!fresh && ids[it->second] < ids[d]) it->second = d;
  }
  std::vector<std::size_t> in_order;
  for (auto& [component, d] : chosen) in_order.push_back(d);
  std::sort(in_order.begin(), in_order.end(), [&](std::size_t a, std::size_t b) { return ids[a] < ids[b]; });
  if (in_order.empty()) return victims;
  std::unordered_map<std::size_t, const leak*> told;
  if (r.size() <= described_at_once)
    for (std::size_t k = 0; k < f.order.size(); ++k) told.emplace(f.order[k], &f.leaks[k]);
  for (std::size_t d : in_order) {
    std::uint32_t const node = f.pass.dead[d];
    goroutine_core* g = f.pass.known.goroutine_at(node);
    auto const described = told.find(d);
    std::string const what =
        described != told.end()
            ? call_name(described->second->who) + " was leaked, and reclaimed: it " + described->second->why
            : "goroutine " + std::to_string(ids[d]) + " was leaked, and reclaimed";
    if (kill(g, f.pass.known.words[node], std::make_exception_ptr(leaked_error(what, r))))
      victims.emplace_back(g, ids[d]);
  }
  return victims;
}

std::size_t kill_all(const leak_report& r) {
  if (r.findings == nullptr) return 0;
  leak_findings& f = *r.findings;
  f.describe();
  std::size_t n = 0;
  // Those that stand in line for a place first: else the end of another one lets them begin.
  for (bool begun : {false, true})
    for (std::uint32_t i : f.pass.dead) {
      goroutine_core* const g = f.pass.known.goroutine_at(i);
      if ((frozen::read(g->leaf) != nullptr) == begun) n += kill(g, f.pass.known.words[i], nullptr);
    }
  return n;
}

leak_report reclaimed(const goroutine_core* g) {
  std::exception_ptr const why = g != nullptr ? reclaimed_because(g) : nullptr;
  if (why == nullptr) return {};
  try {
    std::rethrow_exception(why);
  } catch (const leaked_error& e) {
    return e.report();
  }
}

namespace {

bool ended(const std::pair<goroutine_core*, std::uint64_t>& v) noexcept {
  return state_of(v.first->park.load(std::memory_order_acquire)) == park_state::done;
}

// Waits for the end of a goroutine that the caller holds a ref_watch of.
struct end_operation : operation_base {
  class wait_type : public waiter {
   public:
    explicit wait_type(end_operation& op) noexcept : waiter(wait_reason::goroutine_join), target_(op.target) {
      what = reinterpret_cast<object*>(op.target);
    }
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
