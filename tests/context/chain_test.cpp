// Long chains and wide trees of contexts: ending one takes no stack and reaches all.
#include <atomic>
#include <optional>

#include "support/support.hpp"

namespace leash::test::chain_tests {

task<> nest_values(int n) {
  if (n == 0) {
    co_await forever();
    co_return;
  }
  co_await with_value(int(n), nest_values(n - 1));
}

TEST(ContextChain, AMillionDeepIsCancelledWithoutAStack) {
  run_at(2, []() -> task<> {
    cancel_source cs;
    co_await with_scope([&](scope& s) -> task<> {
      s.go(
          named("deep"),
          [](cancel_source& cs) -> task<> { EXPECT_FALSE(co_await with_cancel(cs, nest_values(1'000'000))); },
          std::ref(cs));
      co_await parked("deep", "");
      cs.cancel();
    });
  });
}

task<> nest_sources(int n, cancel_source& innermost) {
  if (n == 0) {
    EXPECT_FALSE(co_await with_cancel(innermost, forever()));
    co_await forever();
    co_return;
  }
  cancel_source cs;
  EXPECT_FALSE(co_await with_cancel(cs, nest_sources(n - 1, innermost)));
}

TEST(ContextChain, AHundredThousandCancelScopesEndFromTheTop) {
  run_at(2, []() -> task<> {
    cancel_source outer, inner;
    co_await with_scope([&](scope& s) -> task<> {
      s.go(
          named("deep"),
          [](cancel_source& outer, cancel_source& inner) -> task<> {
            EXPECT_FALSE(co_await with_cancel(outer, nest_sources(100'000, inner)));
          },
          std::ref(outer), std::ref(inner));
      co_await parked("deep", "");
      inner.cancel();  // ends at the bottom only
      co_await parked("deep", "");
      outer.cancel();  // ends the rest
    });
  });
}

task<> tree(int depth, std::atomic<int>& leaves, std::atomic<int>& cut) {
  if (depth == 0) {
    struct count_end {
      std::atomic<int>& n;
      ~count_end() { ++n; }
    } c{cut};
    ++leaves;
    co_await forever();
    co_return;
  }
  co_await with_scope([&](scope& s) -> task<> {
    for (int i = 0; i < 4; ++i) s.go(tree, depth - 1, std::ref(leaves), std::ref(cut));
    co_return;
  });
}

LEASH_TEST_REAL(ContextChain, ATreeOfScopesEndsWhole) {
  std::atomic<int> leaves = 0, cut = 0;
  cancel_source cs;
  co_await with_scope([&](scope& s) -> task<> {
    s.go([](cancel_source& cs, std::atomic<int>& leaves,
            std::atomic<int>& cut) -> task<> { EXPECT_FALSE(co_await with_cancel(cs, tree(6, leaves, cut))); },
         std::ref(cs), std::ref(leaves), std::ref(cut));
    co_await eventually([&] { return leaves == 4096; }, "all leaves");
    cs.cancel();
  });
  EXPECT_EQ(cut, 4096);
  EXPECT_EQ(num_goroutines(), 1u);
}

LEASH_TEST_REAL(ContextChain, CancelledWhileItGrows) {
  for (int i = 0; i < 20; ++i) {
    std::atomic<int> leaves = 0, cut = 0;
    EXPECT_FALSE(co_await with_timeout(std::chrono::microseconds(50 * i + 1), tree(5, leaves, cut)));
    EXPECT_EQ(leaves, cut);
    EXPECT_EQ(num_goroutines(), 1u);
  }
}

}  // namespace leash::test::chain_tests
