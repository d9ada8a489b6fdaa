// Who waits for a flight is judged by whoever flies.
#include "kernel.hpp"

namespace leash::test::single_flight_tests {

using enum verdict;

using flights = std::shared_ptr<single_flight<int, int>>;

/// What a flight runs, with the ends it holds.
struct receives {
  receiver<int> rx;
  sender<int> tx;
  receives(receiver<int> r, sender<int> t) : rx(std::move(r)), tx(std::move(t)) {}
  task<int> operator()() { co_return (co_await rx.recv()).value_or(0); }
};
task<> waits_in_a_flight(bool twin) {
  co_await with_scope([=](scope& s) -> task<> {
    auto all = std::make_shared<single_flight<int, int>>();
    auto [tx, rx] = channel<int>();
    if (twin) s.go(named("keeper"), keep_asleep<sender<int>>, tx.dup());
    for (int i = 0; i < 2; ++i)
      s.go(
          named("caller"), [](flights all, receives f) -> task<> { (void)co_await all->call(1, std::move(f)); }, all,
          receives(rx.dup(), tx.dup()));
    co_return;
  });
}
LEASH_TEST_OF_LEAKS(Leak, AFlightThatWaitsForItselfAndItsCallers) {
  co_await examine([] { return waits_in_a_flight(false); },
                   {waiting_kernel,
                    {"single flight", "chan receive", core},
                    {"caller", "chan receive", dependent, leak_grade::proven, 2}});
}
// Of leaks: in the end all are cancelled, and the sleeper may go before the flight, which is leaked then.
LEASH_TEST_OF_LEAKS(LiveTwin, AFlightThatASleeperCouldServe) {
  co_await examine([] { return waits_in_a_flight(true); }, {live_kernel,
                                                            {"keeper", "sleep", live},
                                                            {"single flight", "chan receive", live},
                                                            {"caller", "chan receive", live, leak_grade::proven, 2}});
}

}  // namespace leash::test::single_flight_tests
