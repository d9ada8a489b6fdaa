// What the proof takes for granted (docs/design/premises.md), each broken on purpose: what happens then, and a twin that
// keeps to it. A build with LEASH_SENTINEL ends with a message; without it the verdict is wrong, and nobody says so.
#include <cstring>
#include <memory>

#include "kernel.hpp"

namespace leash::test::premises_tests {

using enum verdict;

constexpr bool sentinel = LEASH_SENTINEL != 0;

/// Runs `body`, which breaks a premise: with the sentinel it ends with `message`, without it goes on as it asserts.
template <class F>
void breaks(F body, const char* message) {
  if constexpr (sentinel)
    EXPECT_DEATH(run_at(2, body, leaks::are_expected), message);
  else
    run_at(2, body, leaks::are_expected);
}

/// Expects one goroutine to be proved leaked: the verdict that the breach makes wrong.
void expect_one_proven() {
  leak_report const r = find_leaks();
  EXPECT_EQ(r.size(), 1u) << text(r);
  for (const leak& l : r) EXPECT_EQ(l.grade, leak_grade::proven);
}

// ---- handles are moved as C++ moves them
// -----------------------------------------------------------------------------
struct bits {
  alignas(sender<int>) std::byte bytes[sizeof(sender<int>)];
  explicit bits(const sender<int>& of) { std::memcpy(bytes, static_cast<const void*>(&of), sizeof bytes); }
  sender<int>& copy() { return *std::launder(reinterpret_cast<sender<int>*>(bytes)); }
};

TEST(PremiseDeathTest, ABitCopyOfAHandleEndsTheProgramWhenItIsUsedUp) {
  auto body = []() -> task<> {
    auto [tx, rx] = channel<int>(1);
    bits stolen(tx);
    stolen.copy().drop();
    co_return;
  };
  EXPECT_DEATH(run_at(2, body), "was copied or overwritten bit by bit");
}

TEST(PremiseDeathTest, ABitCopyOfAHandleDoesNotCount) {
  breaks(
      []() -> task<> {
        std::unique_ptr<bits> stolen;
        co_await with_scope([&](scope& s) -> task<> {
          auto [tx, rx] = channel<int>();
          s.go(
              named("waiter"),
              [](receiver<int> rx, sender<int> tx, std::unique_ptr<bits>& stolen) -> task<> {
                stolen = std::make_unique<bits>(tx);  // copied where it lies to stay
                EXPECT_EQ(co_await rx.recv(), 1);
              },
              std::move(rx), std::move(tx), std::ref(stolen));
          co_await parked("waiter", "chan receive");
          expect_one_proven();
          EXPECT_EQ(stolen->copy().try_send(1), try_result::done);
          co_await s.join();
        });
      },
      "was copied or overwritten bit by bit");
}
LEASH_TEST(PremiseTwin, ACopyMadeByDupCounts) {
  co_await with_scope([](scope& s) -> task<> {
    auto [tx, rx] = channel<int>();
    auto more = std::make_unique<sender<int>>(tx.dup());
    s.go(
        named("waiter"), [](receiver<int> rx, sender<int>) -> task<> { EXPECT_EQ(co_await rx.recv(), 1); },
        std::move(rx), std::move(tx));
    co_await parked("waiter", "chan receive");
    EXPECT_EQ(find_leaks().size(), 0u);
    EXPECT_EQ(more->try_send(1), try_result::done);
  });
}

// ---- frames are lent only to those that the goroutine starts
// -----------------------------------------------------------------------------
/// Waits for a value on a channel whose sender lies in its own frame, and gives that one's address away.
task<> lends_its_sender(std::atomic<sender<int>*>& to) {
  auto [tx, rx] = channel<int>();
  to = &tx;
  EXPECT_EQ(co_await rx.recv(), 1);
}
constexpr const char* foreign_goroutine =
    "a premise of the proof was broken: the sender of the channel made at .*premises_test.cpp:[0-9]+ lies in a frame "
    "of "
    "goroutine [0-9]+ .lender., which is proved leaked, and is used by goroutine [0-9]+: a reference to it was given "
    "away";
constexpr const char* foreign_thread =
    "lies in a frame of goroutine [0-9]+ .lender., which is proved leaked, and is used by a thread";

TEST(PremiseDeathTest, AStrangerUsesAnEndInAFrame) {
  breaks(
      []() -> task<> {
        std::atomic<sender<int>*> given = nullptr;
        co_await with_scope([&](scope& s) -> task<> {
          s.go(named("lender"), lends_its_sender, std::ref(given));
          co_await parked("lender", "chan receive");
          expect_one_proven();
          s.go([&given]() -> task<> { EXPECT_TRUE(co_await given.load()->send(1)); });
        });
      },
      foreign_goroutine);
}
// Whether it wakes anybody or not.
TEST(PremiseDeathTest, AStrangerOnlyLooksAtAnEndInAFrame) {
  breaks(
      []() -> task<> {
        std::atomic<sender<int>*> given = nullptr;
        co_await with_scope([&](scope& s) -> task<> {
          s.go(named("lender"), lends_its_sender, std::ref(given));
          co_await parked("lender", "chan receive");
          expect_one_proven();
          (void)given.load()->dup();
          s.cancel();
        });
      },
      foreign_goroutine);
}
TEST(PremiseDeathTest, AThreadUsesAnEndInAFrame) {
  breaks(
      []() -> task<> {
        std::atomic<sender<int>*> given = nullptr;
        co_await with_scope([&](scope& s) -> task<> {
          s.go(named("lender"), lends_its_sender, std::ref(given));
          co_await parked("lender", "chan receive");
          expect_one_proven();
          std::thread([&] { EXPECT_EQ(given.load()->try_send(1), try_result::done); }).join();
        });
      },
      foreign_thread);
}
// The argument of a goroutine lies in its block, not in a frame.
TEST(PremiseDeathTest, AStrangerUsesAnEndAmongAnothersArguments) {
  breaks(
      []() -> task<> {
        std::atomic<sender<int>*> given = nullptr;
        auto [tx, rx] = channel<int>();
        co_await with_scope([&](scope& s) -> task<> {
          s.go(
              named("lender"),
              [](receiver<int>& rx, sender<int>&& tx, std::atomic<sender<int>*>& to) -> task<> {
                to = &tx;
                EXPECT_EQ(co_await rx.recv(), 1);
              },
              std::ref(rx), std::move(tx), std::ref(given));
          co_await parked("lender", "chan receive");
          expect_one_proven();
          EXPECT_EQ(given.load()->try_send(1), try_result::done);
          co_await s.join();
        });
      },
      foreign_goroutine);
}

LEASH_TEST(PremiseTwin, AnEndInAFrameThatAChildUses) {
  event go_on;
  co_await with_scope([&](scope& outer) -> task<> {
    outer.go(named("lender"), [&go_on]() -> task<> {
      auto [tx, rx] = channel<int>();
      co_await with_scope([&](scope& s) -> task<> {
        s.go([&tx, &go_on]() -> task<> {
          co_await go_on.wait();
          EXPECT_TRUE(co_await tx.send(1));
        });
        EXPECT_EQ(co_await rx.recv(), 1);
      });
    });
    co_await parked("lender", "chan receive");
    EXPECT_EQ(find_leaks().size(), 0u);
    go_on.set();
  });
}
// The owner of the frame is leaked, and who borrows from it lives: no breach, for the proof has counted on that.
LEASH_TEST_OF_LEAKS(PremiseTwin, AnEndInTheFrameOfALeakedOneThatItsChildUses) {
  event go_on;
  co_await with_scope([&](scope& outer) -> task<> {
    auto [a, from_a] = channel<int>();
    auto [b, from_b] = channel<int>();
    outer.go(
        named("knot"), [](receiver<int> rx, sender<int>, sender<int>) -> task<> { (void)co_await rx.recv(); },
        std::move(from_a), std::move(a), std::move(b));
    outer.go(
        named("owner"),
        [](event& go_on, receiver<int> stuck) -> task<> {
          auto [tx, rx] = channel<int>(1);
          co_await with_scope([&](scope& s) -> task<> {
            s.go(
                named("child"),
                [](event& go_on, sender<int>& tx) -> task<> {
                  co_await go_on.wait();
                  EXPECT_TRUE(co_await tx.send(1));
                },
                std::ref(go_on), std::ref(tx));
            (void)co_await stuck.recv();
          });
        },
        std::ref(go_on), std::move(from_b));
    co_await parked("knot", "chan receive");
    co_await parked("owner", "chan receive");
    co_await parked("child", "event");
    auto const r = find_leaks();
    EXPECT_EQ(count(r, "owner"), 1u) << text(r);
    EXPECT_EQ(count(r, "child"), 0u) << text(r);
    go_on.set();
    co_await eventually([] { return num_goroutines() == 3; }, "the child's end");
    outer.cancel();
  });
}
LEASH_TEST(PremiseTwin, APointerToAnEndOnTheHeap) {
  auto [tx, rx] = channel<int>();
  auto heap = std::make_unique<sender<int>>(std::move(tx));
  co_await with_scope([&](scope& s) -> task<> {
    s.go(
        named("waiter"), [](receiver<int> rx, sender<int>*) -> task<> { EXPECT_EQ(co_await rx.recv(), 1); },
        std::move(rx), heap.get());
    co_await parked("waiter", "chan receive");
    EXPECT_EQ(find_leaks().size(), 0u);
    EXPECT_EQ(heap->try_send(1), try_result::done);
  });
}

// ---- threads borrow nothing
// -----------------------------------------------------------------------------
// What is at rest for a second counts as deadlocked, though a thread has a reference that it would use later.
TEST(Premise, AThreadThatHesitatesForMoreThanASecondFindsADeadlock) {
  std::atomic<bool> over = false;
  std::thread late;
  options o;
  o.workers = 2;
  o.on_leak = [](const leak_report&) {};
  try {
    run(o, [&]() -> task<> {
      event e;
      late = std::thread([&over, &e] {
        while (!over) std::this_thread::sleep_for(1ms);
        (void)&e;  // by then it is gone: the thread may not use it
      });
      co_await e.wait();
    });
    ADD_FAILURE() << "no deadlock";
  } catch (const deadlock_error& error) {
    EXPECT_EQ(error.report().size(), 1u);
    for (const leak& l : error.report()) EXPECT_EQ(l.grade, leak_grade::confined);
  }
  over = true;
  late.join();
}
TEST(PremiseTwin, AThreadThatOwnsWhatItUsesMayHesitate) {
  options o;
  o.workers = 2;
  o.on_leak = [](const leak_report& r) { ADD_FAILURE() << text(r); };
  run(o, []() -> task<> {
    auto e = share<event>();
    std::thread late([mine = e] {
      std::this_thread::sleep_for(1500ms);
      mine->set();
    });
    co_await e->wait();
    late.join();
  });
}

// ---- nobody cancels but by a capability
// -----------------------------------------------------------------------------
TEST(PremiseDeathTest, AStrangerCancelsAScopeByReference) {
  std::atomic<scope*> given = nullptr;
  bool ended = false;
  auto program = [&] {
    options o;
    o.workers = 1;
    o.on_leak = [&](const leak_report& r) {
      EXPECT_EQ(r.size(), 1u) << text(r);
      given.load()->cancel();
    };
    try {
      run(o, [&]() -> task<> {
        (void)co_await with_scope([&](scope& s) -> task<> {
          given = &s;
          co_await this_context().done();
          ended = true;
        });
      });
    } catch (const deadlock_error&) {
    }
  };
  if constexpr (sentinel) {
    EXPECT_DEATH(program(),
                 "the scope made at .*premises_test.cpp:[0-9]+ belongs to goroutine [0-9]+, which is proved "
                 "leaked, and is cancelled by a thread that is no worker");
  } else {
    program();
    EXPECT_TRUE(ended) << "the verdict was wrong";
  }
}
LEASH_TEST(PremiseTwin, AStrangerCancelsBySource) {
  co_await with_scope([](scope& s) -> task<> {
    cancel_source cs;
    s.go(
        named("waiter"),
        [](cancel_source cs) -> task<> {
          EXPECT_FALSE(co_await with_cancel(cs, []() -> task<> { co_await forever(); }));
        },
        cs.dup());
    co_await parked("waiter", "select (no cases)");
    EXPECT_EQ(find_leaks().size(), 0u);
    cs.cancel();
  });
}

// ---- who refers to a part of a value has a handle to it
// -----------------------------------------------------------------------------
struct whole {
  event e;
  sender<int> tx;
};
TEST(PremiseDeathTest, AStrangerUsesAnEndInABlockWithoutAHandle) {
  breaks(
      []() -> task<> {
        co_await with_scope([](scope& s) -> task<> {
          auto [tx, rx] = channel<int>();
          auto block = share<whole>();
          block->tx = std::move(tx);
          sender<int>* const given = &block->tx;
          s.go(
              named("waiter"), [](receiver<int> rx, shared<whole>) -> task<> { EXPECT_EQ(co_await rx.recv(), 1); },
              std::move(rx), std::move(block));
          co_await parked("waiter", "chan receive");
          expect_one_proven();
          EXPECT_EQ(given->try_send(1), try_result::done);
          co_await s.join();
        });
      },
      "the sender of the channel made at .*premises_test.cpp:[0-9]+ lies in a shared object that only leaked "
      "goroutines "
      "have handles to, and is used by goroutine");
}
TEST(PremiseDeathTest, AStrangerUsesAnEndInATrackedContainer) {
  breaks(
      []() -> task<> {
        co_await with_scope([](scope& s) -> task<> {
          auto [tx, rx] = channel<int>();
          tracked_vector<sender<int>> all;
          all.push_back(std::move(tx));
          sender<int>* const given = &all[0];
          s.go(
              named("waiter"),
              [](receiver<int> rx, tracked_vector<sender<int>>) -> task<> { EXPECT_EQ(co_await rx.recv(), 1); },
              std::move(rx), std::move(all));
          co_await parked("waiter", "chan receive");
          expect_one_proven();
          EXPECT_EQ(given->try_send(1), try_result::done);
          co_await s.join();
        });
      },
      "lies in a tracked container that only leaked goroutines have handles to");
}
// An event has no handles: it is told in every build, and the sentinel on the waiter ends the program after that.
TEST(PremiseDeathTest, AStrangerUsesAnEventInABlockWithoutAHandle) {
  auto body = []() -> task<> {
    co_await with_scope([](scope& s) -> task<> {
      auto block = share<whole>();
      event* const given = &block->e;
      s.go(named("waiter"), [](shared<whole> b) -> task<> { co_await b->e.wait(); }, std::move(block));
      co_await parked("waiter", "event");
      expect_one_proven();
      given->set();
      co_await s.join();
    });
  };
  auto ends = [&] {
    run_at(2, body, leaks::are_expected);
    std::_Exit(0);
  };
  constexpr const char* told = "leash: the event made at .*premises_test.cpp:[0-9]+ was used by goroutine";
  if constexpr (sentinel)
    EXPECT_DEATH(ends(), told);
  else
    EXPECT_EXIT(ends(), ::testing::ExitedWithCode(0), told);
}
LEASH_TEST(PremiseTwin, WhoRefersToAPartHasAHandle) {
  co_await with_scope([](scope& s) -> task<> {
    auto [tx, rx] = channel<int>();
    auto block = share<whole>();
    block->tx = std::move(tx);
    shared<sender<int>> part(block, &block->tx);
    s.go(
        named("waiter"), [](receiver<int> rx, shared<whole>) -> task<> { EXPECT_EQ(co_await rx.recv(), 1); },
        std::move(rx), std::move(block));
    co_await parked("waiter", "chan receive");
    EXPECT_EQ(find_leaks().size(), 0u);
    EXPECT_EQ(part->try_send(1), try_result::done);
  });
}

}  // namespace leash::test::premises_tests
