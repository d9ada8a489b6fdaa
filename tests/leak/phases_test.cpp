// What happens between the phases of a pass: everything has been read, the totals have not. Here the test is the pass, and
// makes it happen: the last sender goes out of sight after it was found, and nobody's park word tells. So the waiter must be
// taken for live. The control: who could do that lets go before the pass, and the waiter is leaked.
#include <memory>

#include "kernel.hpp"
#include "leak/pass.hpp"

namespace leash::test::phases_tests {

using tx_t = sender<int>;
using rx_t = receiver<int>;

/// The first phase of a pass; the others come with leaked(). Nobody else makes one meanwhile.
class pass_in_two {
 public:
  pass_in_two() : alone_(pass_lock()) { read_all(known_, nullptr, false); }
  bool leaked(const goroutine_core* g) {
    mark_all(known_, true);
    std::uint32_t const node = known_.node_of(g);
    return node != none && known_.leaked(node);
  }

 private:
  std::lock_guard<std::mutex> alone_;
  graph known_;
};

enum class what { lets_go_before_the_pass, takes_it_meanwhile };

/// Outlives all that is started: where the end goes, and what those are told who borrow.
struct stage {
  std::unique_ptr<tx_t> hidden;
  const goroutine_core* waiter = nullptr;
  bool take = false, leave = false, gone = false;
};

/// `round(s, what, stage)` starts the waiter in s; true: it was found leaked.
template <class Round>
void compare(Round round) {
  for (what w : {what::lets_go_before_the_pass, what::takes_it_meanwhile})
    run_at(
        1,
        [&]() -> task<> {
          stage all;
          co_await with_scope([&](scope& s) -> task<> {
            EXPECT_EQ(co_await round(s, w, all), w == what::lets_go_before_the_pass);
            s.cancel();
          });
        },
        leaks::are_expected);
}

task<> receive(rx_t rx) { (void)co_await rx.recv(); }

struct place {
  tx_t tx;
  explicit place(tx_t t) : tx(std::move(t)) {}
};
TEST(Phases, AnEndIsTakenOutOfABlock) {
  compare([](scope& s, what w, stage& all) -> task<bool> {
    auto [tx, rx] = channel<int>();
    auto block = share<place>(std::move(tx));
    auto waiter = s.go(named("waiter"), receive_holding<shared<place>>, std::move(rx), block);
    co_await parked("waiter", "chan receive");
    if (w == what::lets_go_before_the_pass) block.reset();
    pass_in_two pass;
    if (w == what::takes_it_meanwhile) all.hidden = std::make_unique<tx_t>(std::move(block->tx));
    block.reset();
    co_return pass.leaked(waiter.core());
  });
}

TEST(Phases, AnEndIsTakenOutOfABuffer) {
  compare([](scope& s, what w, stage& all) -> task<bool> {
    auto [tx, rx] = channel<int>();
    auto ends = channel<tx_t>(1);
    EXPECT_EQ(ends.first.try_send(std::move(tx)), try_result::done);
    receiver<tx_t> out = ends.second.dup();
    auto waiter = s.go(named("waiter"), receive_holding<decltype(ends)>, std::move(rx), std::move(ends));
    co_await parked("waiter", "chan receive");
    if (w == what::lets_go_before_the_pass) out.drop();
    pass_in_two pass;
    if (w == what::takes_it_meanwhile) all.hidden = std::make_unique<tx_t>(std::move(*out.try_recv()));
    out.drop();
    co_return pass.leaked(waiter.core());
  });
}

// Rule 5: with as many changes to its list as the old one had.
TEST(Phases, AChannelTakesThePlaceOfTheOneThatHeldTheEnd) {
  struct closed {
    receiver<closed> rx;
    tx_t tx;
  };
  compare([](scope& s, what w, stage& all) -> task<bool> {
    auto [tx, rx] = channel<int>();
    auto [in, out] = channel<closed>(1);
    EXPECT_EQ(in.try_send(closed{out.dup(), std::move(tx)}), try_result::done);
    in.drop();
    auto waiter = s.go(named("waiter"), receive, std::move(rx));
    co_await parked("waiter", "chan receive");
    if (w == what::lets_go_before_the_pass) out.drop();
    pass_in_two pass;
    if (w == what::takes_it_meanwhile) {
      object* const before = *reinterpret_cast<object**>(&out);
      all.hidden = std::make_unique<tx_t>(std::move(out.try_recv()->tx));
      out.drop();
      auto [in_again, out_again] = channel<closed>(1);
      EXPECT_EQ(*reinterpret_cast<object**>(&in_again), before) << "it lies elsewhere: this shows nothing";
      EXPECT_EQ(in_again.try_send(closed{std::move(out_again), tx_t()}), try_result::done);
    }
    co_return pass.leaked(waiter.core());
  });
}

/// Runs until it is told to leave; takes the end that it borrows along, or not.
task<> borrower(tx_t& tx, stage& all) {
  while (!all.leave) co_await yield();
  if (all.take) all.hidden = std::make_unique<tx_t>(std::move(tx));
  all.gone = true;
}
task<bool> while_it_leaves(what w, stage& all) {
  co_await parked("waiter", "chan receive");
  if (w == what::lets_go_before_the_pass) {
    all.leave = true;
    while (!all.gone) co_await yield();
  }
  pass_in_two pass;
  all.take = all.leave = true;
  while (!all.gone) co_await yield();
  co_return pass.leaked(all.waiter);
}

// Rule 3: who leaves is in no count, and its scope's owner goes on waiting for the other.
TEST(Phases, AMemberThatBorrowsLeaves) {
  compare([](scope& s, what w, stage& all) -> task<bool> {
    s.go(
        [](stage& all) -> task<> {
          auto [tx, rx] = channel<int>();
          co_await with_scope([&](scope& family) -> task<> {
            all.waiter = family.go(named("waiter"), receive, std::move(rx)).core();
            family.go(borrower, std::ref(tx), std::ref(all));
            co_return;
          });
        },
        std::ref(all));
    co_return co_await while_it_leaves(w, all);
  });
}

// The same of one that the waiter started elsewhere.
TEST(Phases, OneOfItsLineageLeaves) {
  compare([](scope& s, what w, stage& all) -> task<bool> {
    auto waiter = s.go(
        named("waiter"),
        [](scope& s, stage& all) -> task<> {
          auto [tx, rx] = channel<int>();
          s.go(borrower, std::ref(tx), std::ref(all));
          (void)co_await rx.recv();
        },
        std::ref(s), std::ref(all));
    all.waiter = waiter.core();
    co_return co_await while_it_leaves(w, all);
  });
}

// Rule 2: it is served, puts its own end out of sight, and waits again; the one that served it has let go.
TEST(Phases, WhoWasReadIsServedAndWaitsAgain) {
  compare([](scope& s, what w, stage& all) -> task<bool> {
    auto [tx, rx] = channel<int>();
    tx_t of_friend = tx.dup();
    auto waiter = s.go(
        named("waiter"),
        [](rx_t rx, tx_t tx, stage& all) -> task<> {
          (void)co_await rx.recv();
          all.hidden = std::make_unique<tx_t>(std::move(tx));
          (void)co_await rx.recv();
        },
        std::move(rx), std::move(tx), std::ref(all));
    co_await parked("waiter", "chan receive");
    if (w == what::lets_go_before_the_pass) of_friend.drop();
    pass_in_two pass;
    if (w == what::takes_it_meanwhile) {
      EXPECT_EQ(of_friend.try_send(1), try_result::done);
      while (all.hidden == nullptr) co_await yield();
    }
    of_friend.drop();
    co_return pass.leaked(waiter.core());
  });
}

}  // namespace leash::test::phases_tests
