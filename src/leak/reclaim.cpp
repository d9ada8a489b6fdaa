// Reclaim: which leaked goroutines are unwound, and waiting for their end.
#include <algorithm>
#include <leash/looking.hpp>
#include <leash/sleep.hpp>
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

namespace {

void mark_killed(goroutine_core* g) noexcept {
  if (g->killed.load(std::memory_order_relaxed) == 0) g->killed.store(1, std::memory_order_release);
}

/// If g's wait can be cut, marks g as reclaimed and hands it to a worker to unwind. False: that cannot be, or it moved.
/// `before` is called with g claimed.
template <class Before>
bool kill(goroutine_core* g, std::uint64_t word, Before before) noexcept {
  forget_verdicts();
  reclaimed_anything.store(true, std::memory_order_relaxed);
  if (!can_be_cut(g, word) ||
      !g->park.compare_exchange_strong(word, next_epoch(word, park_state::active), std::memory_order_acq_rel))
    return false;
  mark_killed(g);
  before(g);
  g->bits |= g_cut;
  schedule_last(g);
  return true;
}

/// Somebody could ask why it was reclaimed: who has a handle, or its scope.
bool may_be_asked(const goroutine_core* g) noexcept {
  return (g->refs.load(std::memory_order_relaxed) & ref_handle) != 0 || g->home->leaks_fail;
}

/// They lie about in memory, and each is looked at in turn.
constexpr std::size_t ahead = 8;
constexpr std::size_t portion = 128;  // they fit in a worker's queue
void fetch(const goroutine_core* g) noexcept {
  for (std::size_t at = 0; at < sizeof(goroutine_core); at += 64)
    __builtin_prefetch(reinterpret_cast<const std::byte*>(g) + at, 1);
}

struct victim {
  std::uint64_t id = 0;  // 0: none
  std::uint32_t node = 0;
};

/// Of each knot the newest that may be chosen, in the order of ids: the same in every run of a schedule.
std::vector<victim> choose_victims(const leak_pass& pass, const reclaim_options& o) {
  std::vector<victim> newest;  // by knot; they are numbered from the top down
  newest.reserve(pass.core / 2);
  for (std::size_t d = 0; d < pass.core; ++d) {
    std::uint32_t const node = pass.dead[d];
    goroutine_core* g = pass.known.goroutine_at(node);
    if (d + ahead < pass.core) fetch(pass.known.goroutine_at(pass.dead[d + ahead]));
    runtime* rt = runtime_at(frozen::read(g->runtime_index));
    if (rt == nullptr || g == rt->root || (pass.known.flags[node] & node_flag::lent) ||
        !can_be_cut(g, pass.known.words[node]))
      continue;
    if ((pass.known.flags[node] & node_flag::confined) && !o.confined) continue;
    if (is_unreclaimable(g)) continue;
    std::uint32_t const knot = UINT32_MAX - pass.component[node];
    if (knot >= newest.size()) newest.resize(knot + 1);
    if (std::uint64_t const id = frozen::read(g->id); newest[knot].id < id) newest[knot] = {id, node};
  }
  std::erase_if(newest, [](const victim& v) { return v.id == 0; });
  auto const by_id = [](const victim& a, const victim& b) { return a.id < b.id; };
  if (!std::is_sorted(newest.begin(), newest.end(), by_id)) std::sort(newest.begin(), newest.end(), by_id);
  return newest;
}

/// Why goroutines were reclaimed, in words.
class reasons {
 public:
  explicit reasons(const leak_report& r) : report_(r) {
    if (r.size() <= described_at_once)
      for (const leak& l : r) told_.emplace(l.who.id, &l);
  }
  std::exception_ptr why(std::uint64_t id) const {
    auto const described = told_.find(id);
    return std::make_exception_ptr(leaked_error(
        described != told_.end()
            ? call_name(described->second->who) + " was leaked, and reclaimed: it " + described->second->why
            : "goroutine " + std::to_string(id) + " was leaked, and reclaimed",
        report_));
  }

 private:
  const leak_report& report_;
  std::unordered_map<std::uint64_t, const leak*> told_;
};

/// The victims of a report, killed one after the other.
class killer {
 public:
  killer(const leak_report& r, const reclaim_options& o)
      : pass_(r.findings->pass), victims_(choose_victims(pass_, o)), told_(r) {}
  std::size_t left() const noexcept { return victims_.size() - at_; }
  /// The next `most` of them, if their waits can still be cut: appends them to `killed`, where there must be room, and the
  /// caller has a ref_watch of each.
  void kill_some(std::size_t most, std::vector<goroutine_core*>& killed) {
    for (std::size_t const end = at_ + std::min(left(), most); at_ < end; ++at_) {
      if (at_ + ahead < victims_.size()) fetch(pass_.known.goroutine_at(victims_[at_ + ahead].node));
      victim const v = victims_[at_];
      kill(pass_.known.goroutine_at(v.node), pass_.known.words[v.node], [&](goroutine_core* g) {
        // Another reclaim may watch it already: who unwinds can be leaked again, at the re-lock of a condition's wait.
        if (add_ref(g, ref_watch)) killed.push_back(g);
        if (may_be_asked(g)) note_reclaimed(g, told_.why(v.id));
      });
    }
  }

 private:
  const leak_pass& pass_;
  std::vector<victim> const victims_;
  reasons const told_;
  std::size_t at_ = 0;
};

}  // namespace

std::vector<goroutine_core*> kill_victims(const leak_report& r, const reclaim_options& o) {
  std::vector<goroutine_core*> killed;
  if (r.findings == nullptr) return killed;
  killer victims(r, o);
  killed.reserve(victims.left());
  victims.kill_some(victims.left(), killed);
  return killed;
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
      std::uint64_t const word = f.pass.known.words[i];
      if ((frozen::read(g->leaf) != nullptr) != begun) continue;
      if (kill(g, word, [](goroutine_core*) {})) {
        ++n;
      } else if (g->park.load(std::memory_order_acquire) == word) {
        mark_killed(g);  // it unwinds when its members have ended
      }
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

bool ended(const goroutine_core* g) noexcept {
  return state_of(g->park.load(std::memory_order_acquire)) == park_state::done;
}

// Waits for the end of a goroutine that the caller holds a ref_watch of.
struct end_operation : operation_base {
  class wait_type : public waiter {
   public:
    explicit wait_type(end_operation& op) noexcept : waiter(wait_reason::goroutine_join), target_(op.target) {
      what = reinterpret_cast<object*>(op.target);
    }
    spin_lock& lock() noexcept { return join_lock_of(target_); }
    bool claim() noexcept { return ended(target_); }
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

// Those of whom the caller holds a ref_watch.
class watched {
 public:
  watched() = default;
  watched(const watched&) = delete;
  ~watched() {
    for (goroutine_core* g : all_) drop_ref(g, ref_watch);
  }
  std::vector<goroutine_core*>& all() noexcept { return all_; }
  /// Not null: one that has not ended, as far as is known.
  goroutine_core* next() const noexcept { return all_.empty() ? nullptr : all_.back(); }
  /// It has ended.
  void drop_next() noexcept {
    drop_ref(all_.back(), ref_watch);
    all_.pop_back();
  }
  /// Of those from the `first` on who has ended.
  void drop_ended(std::size_t first) noexcept {
    std::size_t kept = first;
    for (std::size_t i = first; i < all_.size(); ++i)
      ended(all_[i]) ? drop_ref(all_[i], ref_watch) : void(all_[kept++] = all_[i]);
    all_.resize(kept);
  }

 private:
  std::vector<goroutine_core*> all_;
};

/// Kills what is left when it goes.
class whole_killer : public killer {
 public:
  whole_killer(const leak_report& r, const reclaim_options& o, watched& killed) : killer(r, o), killed_(killed) {
    killed_.all().reserve(left());
  }
  whole_killer(const whole_killer&) = delete;
  ~whole_killer() { kill_some(left(), killed_.all()); }

 private:
  watched& killed_;
};

}  // namespace

task<std::size_t> reclaim_operation::as_task() {
  return [](leak_report r, reclaim_options o) -> task<std::size_t> {
    if (r.findings == nullptr) co_return 0;
    watched killed;
    std::size_t n = 0;
    {
      // In portions: most unwind, and what they free ends, while it is in the cache. Nobody is waited for meanwhile: the
      // clean-up of one may need what another holds.
      whole_killer victims(r, o, killed);
      for (;;) {
        std::size_t const before = killed.all().size();
        victims.kill_some(portion, killed.all());
        n += killed.all().size() - before;
        if (victims.left() == 0) break;
        co_await yield();
        killed.drop_ended(before);
      }
    }
    for (; goroutine_core* g = killed.next(); killed.drop_next())
      if (!ended(g)) co_await end_operation(g);
    co_return n;
  }(std::move(report_), options_);
}

std::size_t reclaim_operation::wait(std::source_location where) {
  if (this_worker != nullptr)
    throw_misuse("reclaim(...).wait() blocks its thread: on a worker co_await the operation instead", where);
  watched victims;
  victims.all() = kill_victims(report_, options_);
  std::size_t const all = victims.all().size();
  for (; goroutine_core* g = victims.next(); victims.drop_next())
    while (!ended(g)) std::this_thread::sleep_for(std::chrono::microseconds(100));
  return all;
}

}  // namespace leash
