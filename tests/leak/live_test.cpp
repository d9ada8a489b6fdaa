// What must never be reported: whoever waits while anything can still happen, wherever that anything hides.
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "kernel.hpp"
#include "leak/capability.hpp"

namespace leash::test::live_tests {

using enum verdict;

/// A channel whose sender goes to `hide`; the receiver waits.
template <class Hide>
task<> receives_while(Hide hide) {
  co_await with_scope([&](scope& s) -> task<> {
    auto [tx, rx] = channel<int>();
    s.go(named("waiter"), [](receiver<int> rx) -> task<> { (void)co_await rx.recv(); }, std::move(rx));
    co_await hide(s, std::move(tx));
  });
}

LEASH_TEST(Live, ASenderInAHeapObject) {
  co_await examine(
      []() -> task<> {
        std::unique_ptr<sender<int>> kept;
        co_await receives_while([&](scope&, sender<int> tx) -> task<> {
          kept = std::make_unique<sender<int>>(std::move(tx));
          co_return;
        });
      },
      {{"waiter", "chan receive", live}, live_kernel});
}
LEASH_TEST(Live, ASenderInAVector) {
  co_await examine(
      []() -> task<> {
        std::vector<sender<int>> kept;
        co_await receives_while([&](scope&, sender<int> tx) -> task<> {
          kept.push_back(std::move(tx));
          co_return;
        });
      },
      {{"waiter", "chan receive", live}, live_kernel});
}
LEASH_TEST(Live, ASenderInAStatic) {
  static sender<int> kept;
  co_await examine(
      []() -> task<> {
        co_await receives_while([](scope&, sender<int> tx) -> task<> {
          kept = std::move(tx);
          co_return;
        });
      },
      {{"waiter", "chan receive", live}, live_kernel});
  kept.drop();
}
LEASH_TEST(Live, AChannelInAGlobalQueue) {
  static auto global = channel<int>(4);
  co_await examine([]() -> task<> { (void)co_await global.second.recv(); }, {{"kernel", "chan receive", live}});
}
LEASH_TEST_REAL(Live, ASenderInAForeignThread) {
  std::thread other;
  std::atomic<bool> over = false;
  co_await examine(
      [&]() -> task<> {
        co_await receives_while([&](scope&, sender<int> tx) -> task<> {
          other = std::thread([tx = std::move(tx), &over] {
            while (!over) std::this_thread::sleep_for(100us);
          });
          co_return;
        });
      },
      {{"waiter", "chan receive", live}, live_kernel});
  over = true;
  other.join();
}
LEASH_TEST(Live, AnArmedDeadlineAround) {
  co_await examine(
      []() -> task<> {
        auto [tx, rx] = channel<int>();
        (void)co_await with_timeout(1h, rx.recv());
      },
      {{"kernel", "chan receive", live}});
  co_await examine(
      []() -> task<> {
        auto [tx, rx] = channel<int>();
        (void)co_await with_timeout(1h, [&]() -> task<> {
          co_await with_scope([&](scope& s) -> task<> {
            s.go(named("waiter"), [](receiver<int>& rx) -> task<> { (void)co_await rx.recv(); }, std::ref(rx));
            co_return;
          });
        });
      },
      {{"waiter", "chan receive", live}, live_kernel});
}
LEASH_TEST(Live, ASenderThatASleeperHolds) {
  co_await examine(
      []() -> task<> {
        co_await receives_while([](scope& s, sender<int> tx) -> task<> {
          s.go(named("keeper"), keep_asleep<sender<int>>, std::move(tx));
          co_return;
        });
      },
      {{"waiter", "chan receive", live}, {"keeper", "sleep", live}, live_kernel});
}
LEASH_TEST(Live, AnAncestorsSenderThatAChildBorrows) {
  co_await examine(
      []() -> task<> {
        auto [tx, rx] = channel<int>();  // the kernel waits in a join, but its child may use this at any time
        co_await with_scope([&](scope& s) -> task<> {
          s.go(named("waiter"), [](receiver<int>& rx) -> task<> { (void)co_await rx.recv(); }, std::ref(rx));
          s.go(
              named("borrower"),
              [](sender<int>& tx) -> task<> {
                co_await sleep(1h);
                (void)co_await tx.send(1);
              },
              std::ref(tx));
          co_return;
        });
      },
      {{"waiter", "chan receive", live}, {"borrower", "sleep", live}, live_kernel});
}
LEASH_TEST(Live, AnAncestorsSenderThatAGrandchildBorrows) {
  co_await examine(
      []() -> task<> {
        auto [tx, rx] = channel<int>();
        co_await with_scope([&](scope& s) -> task<> {
          s.go(named("waiter"), [](receiver<int>& rx) -> task<> { (void)co_await rx.recv(); }, std::ref(rx));
          s.go(
              named("between"),
              [](sender<int>& tx) -> task<> {
                co_await with_scope([&](scope& inner) -> task<> {
                  inner.go(named("borrower"), [](sender<int>&) -> task<> { co_await sleep(1h); }, std::ref(tx));
                  co_return;
                });
              },
              std::ref(tx));
          co_return;
        });
      },
      {{"waiter", "chan receive", live}, {"borrower", "sleep", live}, {"between", "scope join", live}, live_kernel});
}
LEASH_TEST(Live, ASendersOwnerThatStartedTheBorrowerInAnotherScope) {
  // The spawner's frames are borrowed as well as those of the scope's owner.
  co_await examine(
      []() -> task<> {
        co_await with_scope([](scope& outer) -> task<> {
          outer.go(
              named("spawner"),
              [](scope& outer) -> task<> {
                auto [tx, rx] = channel<int>();
                outer.go(named("borrower"), [](sender<int>&) -> task<> { co_await sleep(1h); }, std::ref(tx));
                (void)co_await rx.recv();
              },
              std::ref(outer));
          co_return;
        });
      },
      {{"spawner", "chan receive", live}, {"borrower", "sleep", live}, live_kernel});
}
LEASH_TEST(Live, WhoQueuesBehindALiveHolder) {
  co_await examine(
      []() -> task<> {
        mutex m;
        co_await with_scope([&](scope& s) -> task<> {
          s.go(named("keeper"), keep_asleep<mutex::guard>, co_await m.lock());
          for (int i = 0; i < 3; ++i)
            s.go(named("queued"), [](mutex& m) -> task<> { auto g = co_await m.lock(); }, std::ref(m));
          co_return;
        });
      },
      {{"keeper", "sleep", live}, {"queued", "sync.Mutex.Lock", live, leak_grade::proven, 3}, live_kernel});
}
LEASH_TEST(Live, AnArmedTimersCallback) {
  co_await examine(
      []() -> task<> {
        std::optional<timer> t;
        co_await receives_while([&](scope&, sender<int> tx) -> task<> {
          t = after_func(1h, [tx = std::move(tx)] {});
          co_return;
        });
      },
      {{"waiter", "chan receive", live}, live_kernel});
}
LEASH_TEST_OF_LEAKS(Leak, AStoppedTimersCallbackHasLetGo) {
  co_await examine(
      []() -> task<> {
        auto [tx, rx] = channel<int>();
        timer t = after_func(1h, [more = tx.dup()] {});
        EXPECT_TRUE(t.stop());
        (void)co_await rx.recv();  // this frame's own sender is all that is left
      },
      {{"kernel", "chan receive", core}});
}
LEASH_TEST(Live, ATickerThatIsReceived) {
  co_await examine(
      []() -> task<> {
        ticker t(1h);
        co_await t.next();
      },
      {{"kernel", "ticker", live}});
}
LEASH_TEST(Live, ACallbackOfAContext) {
  co_await examine(
      []() -> task<> {
        std::optional<registration> reg;
        co_await receives_while([&](scope&, sender<int> tx) -> task<> {
          reg = on_done(this_context(), [tx = std::move(tx)] {});
          co_return;
        });
      },
      {{"waiter", "chan receive", live}, live_kernel});
}
LEASH_TEST(Live, ASenderInTheBufferOfALiveChannel) {
  co_await examine(
      []() -> task<> {
        auto [tx, rx] = channel<sender<int>>(1);
        co_await receives_while([&](scope& s, sender<int> end) -> task<> {
          EXPECT_TRUE(co_await tx.send(std::move(end)));
          s.go(named("keeper"), keep_asleep<receiver<sender<int>>>, std::move(rx));
        });
      },
      {{"waiter", "chan receive", live}, {"keeper", "sleep", live}, live_kernel});
}
#if __has_include(<leash/shared.hpp>)  // comes with the confined grade and the scan of buffers
LEASH_TEST_OF_LEAKS(Leak, ASenderInTheBufferOfADeadChannel) {
  co_await examine(
      []() -> task<> {
        co_await with_scope([](scope& s) -> task<> {
          auto [tx, rx] = channel<int>();
          auto [in, out] = channel<sender<int>>(1);
          EXPECT_TRUE(co_await in.send(std::move(tx)));
          s.go(named("stuck"), receive_holding<receiver<sender<int>>>, std::move(rx), std::move(out));
        });
      },
      {waiting_kernel, {"stuck", "chan receive", core}});
}
#endif
LEASH_TEST_REAL(Live, ASenderInTheBlockingPool) {
  std::atomic<bool> over = false;
  co_await with_scope([&](scope& s) -> task<> {
    auto [tx, rx] = channel<int>();
    s.go(named("waiter"), [](receiver<int> rx) -> task<> { (void)co_await rx.recv(); }, std::move(rx));
    s.go(
        named("caller"),
        [](sender<int> tx, std::atomic<bool>& over) -> task<> {
          co_await blocking([&, tx = std::move(tx)] {
            while (!over) std::this_thread::sleep_for(100us);
          });
        },
        std::move(tx), std::ref(over));
    co_await parked("waiter", "chan receive");
    co_await parked("caller", "blocking");
    compare(find_leaks(), {{"waiter", "chan receive", live}, {"caller", "blocking", live}});
    over = true;
  });
}
LEASH_TEST_REAL(Live, WhoWaitsForARemoteHandle) {
  std::atomic<bool> over = false;
  std::thread other;
  co_await with_scope([&](scope& outer) -> task<> {
    outer.go(
        named("joiner"),
        [](std::thread& other, std::atomic<bool>& over) -> task<> {
          co_await with_scope([&](scope& s) -> task<> {
            other = std::thread([r = s.remote(), &over] {
              while (!over) std::this_thread::sleep_for(100us);
            });
            co_return;
          });
        },
        std::ref(other), std::ref(over));
    co_await parked("joiner", "scope join");
    compare(find_leaks(), {{"joiner", "scope join", live}});
    over = true;
  });
  other.join();
}

task<> link(receiver<int> from, sender<int> to) {
  if (auto v = co_await from.recv()) (void)co_await to.send(*v);
}
LEASH_TEST(Live, ADaisyChainOfAThousandOnOneSleeper) {
  co_await examine(
      []() -> task<> {
        co_await with_scope([](scope& s) -> task<> {
          auto [first, rx] = channel<int>();
          s.go(named("sleeper"), keep_asleep<sender<int>>, std::move(first));
          receiver<int> from = std::move(rx);
          for (int i = 0; i < 1000; ++i) {
            auto [tx, next] = channel<int>();
            s.go(named("link"), link, std::move(from), std::move(tx));
            from = std::move(next);
          }
          (void)co_await from.recv();
        });
      },
      {{"sleeper", "sleep", live}, {"link", "chan receive", live, leak_grade::proven, 1000}});
}
LEASH_TEST_OF_LEAKS(Leak, ADaisyChainOfAThousandOnOneStuckOne) {
  co_await examine(
      []() -> task<> {
        co_await with_scope([](scope& s) -> task<> {
          auto [tx0, rx0] = channel<int>();
          auto [first, rx] = channel<int>();
          s.go(
              named("stuck"), [](receiver<int> rx, sender<int>, sender<int>) -> task<> { (void)co_await rx.recv(); },
              std::move(rx0), std::move(tx0), std::move(first));
          receiver<int> from = std::move(rx);
          for (int i = 0; i < 1000; ++i) {
            auto [tx, next] = channel<int>();
            s.go(named("link"), link, std::move(from), std::move(tx));
            from = std::move(next);
          }
          co_return;
        });
      },
      {{"stuck", "chan receive", core}, {"link", "chan receive", dependent, leak_grade::proven, 1000}, waiting_kernel});
}

// The one ahead asks for more than there is. It may be served by another case, and leave: then the one behind gets the permit
// that is free.
LEASH_TEST_OF_LEAKS(Live, WhoStandsInLineBehindOneThatMayLeaveIt) {
  for (bool may_leave : {false, true})
    co_await examine(
        [=]() -> task<> {
          semaphore permits(2);
          co_await with_scope([&](scope& s) -> task<> {
            s.go(
                named("holder"),
                [](semaphore& permits) -> task<> {
                  auto p = co_await permits.acquire();
                  auto [tx, rx] = channel<int>();
                  (void)co_await rx.recv();
                },
                std::ref(permits));
            co_await parked("holder", "chan receive");
            auto [tx, rx] = channel<int>();
            s.go(
                named("ahead"),
                [](semaphore& permits, receiver<int> rx) -> task<> {
                  (void)co_await select(permits.acquire(2), rx.recv());
                },
                std::ref(permits), std::move(rx));
            co_await parked("ahead", "select");
            if (may_leave)
              s.go(named("sender"), keep_asleep<sender<int>>, std::move(tx));
            else
              s.go(
                  named("sender"),
                  [](semaphore& permits, sender<int>) -> task<> { auto p = co_await permits.acquire(); },
                  std::ref(permits), std::move(tx));
            s.go(
                named("behind"), [](semaphore& permits) -> task<> { auto p = co_await permits.acquire(); },
                std::ref(permits));
          });
        },
        {{"kernel", "scope join", may_leave ? live : dependent},
         {"holder", "chan receive", core},
         {"ahead", "select", may_leave ? live : dependent},
         {"sender", may_leave ? "sleep" : "semaphore", may_leave ? live : dependent},
         {"behind", "semaphore", may_leave ? live : dependent}});
}

// Rule 1: it is marked first, and cut when all contexts below have been marked too. The thread that looks holds that up.
TEST(Live, WhoseContextHasEndedThoughNobodyHasCutItYet) {
  run_at(
      2,
      []() -> task<> {
        std::optional<context> ends;
        std::atomic<context_core*> below = nullptr;
        std::atomic<bool> held_up = false;
        std::thread looker;
        co_await with_scope([&](scope& s) -> task<> {
          ends = this_context();
          auto [tx, rx] = channel<int>();
          s.go(named("stuck"), receive_holding<sender<int>>, std::move(rx), std::move(tx));
          s.go(
              named("below"),
              [](std::atomic<context_core*>& below) -> task<> {
                cancel_source cs;
                co_await with_cancel(cs, [&]() -> task<> {
                  below = this_context().node();
                  co_await sleep(1h);
                });
              },
              std::ref(below));
          co_await parked("stuck", "chan receive");
          co_await parked("below", "sleep");
          EXPECT_EQ(count(find_leaks(), "stuck"), 1u);
          looker = std::thread([&] {
            spin_guard guard(below.load()->lock);
            held_up = true;
            while (ends->err() == context_error::none) std::this_thread::yield();
            leak_report const r = find_leaks();
            EXPECT_EQ(count(r, "stuck"), 0u) << text(r);
          });
          while (!held_up) co_await yield();
          s.cancel();
        });
        looker.join();
      },
      leaks::are_expected);
}

// Rule 1: its last member has left, and nobody has woken it yet. The thread that looks holds that up.
TEST(Live, WhoJoinsAScopeWhoseLastMemberHasJustLeft) {
  run_at(2, []() -> task<> {
    std::atomic<scope_core*> joined = nullptr;
    std::atomic<bool> held_up = false;
    std::thread looker;
    co_await with_scope([&](scope& s) -> task<> {
      s.go(
          named("joiner"),
          [](std::atomic<scope_core*>& joined, std::atomic<bool>& held_up) -> task<> {
            co_await with_scope([&](scope& inner) -> task<> {
              joined = static_cast<scope_core*>(this_context().node());
              inner.go(
                  [](std::atomic<bool>& held_up) -> task<> {
                    while (!held_up) co_await yield();
                  },
                  std::ref(held_up));
              co_return;
            });
          },
          std::ref(joined), std::ref(held_up));
      co_await parked("joiner", "scope join");
      looker = std::thread([&] {
        spin_guard guard(joined.load()->lock);
        held_up = true;
        while (members_of(joined) != 0) std::this_thread::yield();
        leak_report const r = find_leaks();
        EXPECT_EQ(r.size(), 0u) << text(r);
      });
    });
    looker.join();
  });
}

}  // namespace leash::test::live_tests
