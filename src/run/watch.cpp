// Watches, and expect_no_leaks.
//
// A run is attributed when it starts, once: that makes tests independent of each other, also when they run at the same
// time, without comparing what is there before and after.
#include "watch.hpp"

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <leash/testing.hpp>
#include <sstream>

#include "../leak/pass.hpp"
#include "../observe/frozen.hpp"

namespace leash::testing {

namespace {

constexpr std::size_t most_entries = 1000;

thread_local std::vector<std::shared_ptr<watch_state>> mine;  // innermost last

// Threads that have a watch, by their innermost one.
std::mutex watchers_lock;
std::vector<std::vector<std::shared_ptr<watch_state>>*>& watchers() {
  static auto* all = new std::vector<std::vector<std::shared_ptr<watch_state>>*>;  // outlives all threads
  return *all;
}
const std::shared_ptr<watch_state>& unwatched() {
  static auto* rest = new std::shared_ptr<watch_state>(std::make_shared<watch_state>());
  return *rest;
}

std::atomic<failure_handler> handler{nullptr};

void fail_by_exception(const std::string& text, std::source_location where) {
  std::string const whole = std::string(where.file_name()) + ":" + std::to_string(where.line()) + ": " + text;
  std::fprintf(stderr, "%s\n", whole.c_str());
  throw leaks_found(whole);
}

}  // namespace

bool is_unwatched(const watch_state& w) noexcept { return &w == unwatched().get(); }

std::shared_ptr<watch_state> watch_of_this_thread() {
  if (!mine.empty()) return mine.back();
  std::lock_guard guard(watchers_lock);
  return watchers().size() == 1 ? watchers().front()->back() : unwatched();
}

void watch_state::began(std::uint16_t runtime_index) {
  std::lock_guard guard(lock);
  runs.insert(runtime_index);
}

void watch_state::ended(std::uint16_t runtime_index) {
  std::lock_guard guard(lock);
  runs.erase(runtime_index);
  std::erase_if(told, [=](auto& t) { return t.first == runtime_index; });
}

void watch_state::leaked(const leak_report& r) {
  std::lock_guard guard(lock);
  add(r);
}

void watch_state::withdraw(std::uint16_t runtime_index, const leak_report& r) {
  std::lock_guard guard(lock);
  auto const& ids = r.findings->ids();
  std::erase_if(entries, [&](const entry& e) {
    return e.runtime_index == runtime_index && std::find(ids.begin(), ids.end(), e.id) != ids.end();
  });
}

void watch_state::add(const leak_report& r) {
  if (r.empty()) return;
  leak_findings& f = *r.findings;
  (void)r.begin();  // described
  for (std::size_t k = 0; k < r.size(); ++k) {
    std::uint32_t const d = f.order[k];
    std::uint16_t const index = frozen::read(f.pass.known.goroutine_at(f.pass.dead[d])->runtime_index);
    if (!runs.contains(index) || !told.emplace(index, f.ids()[d]).second) continue;
    if (entries.size() == most_entries) {
      ++left_out;
      continue;
    }
    std::ostringstream out;
    write_leak(out, r[k]);
    entries.push_back({index, f.ids()[d], std::move(out).str()});
  }
}

std::string watch_state::text() {
  std::size_t const n = entries.size() + left_out;
  if (n == 0) return {};
  std::string all = std::to_string(n) + (n == 1 ? " goroutine is leaked\n" : " goroutines are leaked\n");
  for (const entry& e : entries) all += "\n" + e.text;
  if (left_out != 0) all += "\nand " + std::to_string(left_out) + " more\n";
  entries.clear();
  left_out = 0;
  return all;
}

std::string watch_state::take() {
  {
    std::lock_guard guard(lock);
    if (runs.empty()) return text();
  }
  // Proven only: threads of the test may still reach what is confined. Not under the lock: a run may be telling of a leak.
  leak_report const r = find_leaks_of(nullptr, false);
  std::lock_guard guard(lock);
  add(r);
  return text();
}

leak_watch::leak_watch() : state_(std::make_shared<watch_state>()) {
  std::lock_guard guard(watchers_lock);
  if (mine.empty()) watchers().push_back(&mine);
  mine.push_back(state_);
}

leak_watch::~leak_watch() {
  std::lock_guard guard(watchers_lock);
  std::erase(mine, state_);
  if (mine.empty()) std::erase(watchers(), &mine);
}

std::string leak_watch::take() { return state_->take(); }

failure_handler set_failure_handler(failure_handler h) noexcept { return handler.exchange(h); }

void expect_no_leaks(std::source_location where) {
  std::string text;
  if (this_worker != nullptr) {
    runtime* rt = this_worker->rt;
    if (leak_report const r = find_leaks_of(rt, rt->sim != nullptr); !r.empty()) {
      std::ostringstream out;
      out << r;
      text = std::move(out).str();
    }
  } else {
    text = watch_of_this_thread()->take();
  }
  if (text.empty()) return;
  failure_handler const h = handler.load();
  (h != nullptr ? h : &fail_by_exception)(text, where);
}

}  // namespace leash::testing
