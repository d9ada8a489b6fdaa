// Knots in which every wait is one that nothing may cut short: a final join, and the re-lock of a condition.
#include <optional>

#include "corpus.hpp"

namespace leash::test::corpus {
namespace {

using enum go_says;

// Who notifies leaves with the lock, kept in a struct; who was notified locks again, for ever.
struct room {
  mutex mu;
  condition opened;
  mutex::guard held;
  bool open = false;
  room() {}
};
task<> orphaned_lock_of_a_condition(bool fixed) {
  room r;
  co_await with_scope([&](scope& s) {
    s.go(named("waiter"), [&]() -> task<> {
      auto g = co_await r.mu.lock();
      co_await r.opened.wait(g, [&] { return r.open; });
    });
    s.go(named("opener"), [&]() -> task<> {
      co_await sleep(1ms);
      auto g = co_await r.mu.lock();
      r.held = std::move(g);
      r.open = true;
      r.opened.notify_all();
      if (fixed) r.held.unlock();
    });
  });
}
const row orphaned_lock_of_a_condition_{"more",
                                        "OrphanedLockOfACondition",
                                        "",
                                        not_run,
                                        in_every_schedule(proved({"waiter", "kernel"}, {})),
                                        orphaned_lock_of_a_condition};

// The scope's end waits for a handle to it that its owner keeps.
task<> remote_handle_kept(bool fixed) {
  std::optional<remote_scope> kept;
  co_await with_scope([&](scope& s) {
    kept.emplace(s.remote());
    if (fixed) kept.reset();
  });
}
const row remote_handle_kept_{
    "more", "RemoteHandleKept", "", not_run, in_every_schedule(proved({"kernel"}, {})), remote_handle_kept};

}  // namespace
}  // namespace leash::test::corpus
