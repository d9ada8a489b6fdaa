// Who may close a channel: every sender. A close ends the pending sends of all others, so none of these is leaked while
// a sender may still be used, though nobody will ever receive.
#include "kernel.hpp"

namespace leash::test::close_tests {

using enum verdict;

/// Sends what nobody receives: both ends are its own.
task<> send_in_vain(sender<int> tx, receiver<int>) { (void)co_await tx.send(1); }

LEASH_TEST(Live, ASendThatAnotherSenderMayClose) {
  co_await examine(
      []() -> task<> {
        co_await with_scope([](scope& s) -> task<> {
          auto [tx, rx] = channel<int>();
          s.go(named("closer"), keep_asleep<sender<int>>, tx.dup());
          s.go(named("sender"), send_in_vain, std::move(tx), std::move(rx));
          co_return;
        });
      },
      {{"sender", "chan send", live}, {"closer", "sleep", live}, live_kernel});
}
LEASH_TEST(Live, ASendToAFullBufferThatAnotherSenderMayClose) {
  co_await examine(
      []() -> task<> {
        co_await with_scope([](scope& s) -> task<> {
          auto [tx, rx] = channel<int>(1);
          EXPECT_EQ(tx.try_send(1), try_result::done);
          s.go(named("closer"), keep_asleep<sender<int>>, tx.dup());
          s.go(named("sender"), send_in_vain, std::move(tx), std::move(rx));
          co_return;
        });
      },
      {{"sender", "chan send", live}, {"closer", "sleep", live}, live_kernel});
}
LEASH_TEST(Live, ASendThatASenderOutsideMayClose) {
  auto kept = std::make_unique<sender<int>>();
  co_await examine(
      [&kept]() -> task<> {
        co_await with_scope([&kept](scope& s) -> task<> {
          auto [tx, rx] = channel<int>();
          *kept = tx.dup();
          s.go(named("sender"), send_in_vain, std::move(tx), std::move(rx));
          co_return;
        });
      },
      {{"sender", "chan send", live}, live_kernel});
}

LEASH_TEST_OF_LEAKS(Leak, ASendThatOnlyLeakedOnesCouldClose) {
  co_await examine(
      []() -> task<> {
        co_await with_scope([](scope& s) -> task<> {
          auto [tx, rx] = channel<int>();
          auto [unused, never] = channel<int>();
          s.go(named("closer"), receive_holding<std::pair<sender<int>, sender<int>>>, std::move(never),
               std::pair(tx.dup(), std::move(unused)));
          s.go(named("sender"), send_in_vain, std::move(tx), std::move(rx));
          co_return;
        });
      },
      {{"sender", "chan send", core}, {"closer", "chan receive", core}, waiting_kernel});
}
/// A full buffer alone does not make a send live: a value in it is no sender.
LEASH_TEST_OF_LEAKS(Leak, ASendToAFullBufferThatNobodyEmpties) {
  co_await examine(
      []() -> task<> {
        co_await with_scope([](scope& s) -> task<> {
          auto [tx, rx] = channel<int>(1);
          EXPECT_EQ(tx.try_send(1), try_result::done);
          s.go(named("sender"), send_in_vain, std::move(tx), std::move(rx));
          co_return;
        });
      },
      {{"sender", "chan send", core}, waiting_kernel});
}

/// What happens next: the close comes, and the sends fail.
LEASH_TEST(Live, ASendThatIsClosedInTheEnd) {
  bool failed = false;
  co_await with_scope([&failed](scope& s) -> task<> {
    auto [tx, rx] = channel<int>();
    s.go(
        [](sender<int> tx) -> task<> {
          co_await sleep(10ms);
          EXPECT_EQ(find_leaks().size(), 0u);
          tx.close();
        },
        tx.dup());
    s.go([](sender<int> tx, receiver<int>, bool& failed) -> task<> { failed = !co_await tx.send(1); }, std::move(tx),
         std::move(rx), std::ref(failed));
    co_return;
  });
  EXPECT_TRUE(failed);
}

}  // namespace leash::test::close_tests
