// with_shutdown: the first signal drains, the second ends; then the signals are what they were.
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <system_error>

#include "support/support.hpp"

namespace leash {
namespace {
using namespace test;

// Signals that the tests own: SIGINT and SIGTERM are the test runner's.
const shutdown_options user_signals{.signals = {SIGUSR1, SIGUSR2}};

/// Sends this process a signal. The thread sanitizer holds one back until its thread makes a call that it knows, which a
/// sleeping worker does not: there it goes to the thread that waits for signals, once that has given itself its name.
void send(int n) {
#if LEASH_TSAN
  for (bool sent = false; !sent;)
    for (auto const& task : std::filesystem::directory_iterator("/proc/self/task")) {
      std::string name;
      std::ifstream(task.path() / "comm") >> name;
      if (name != "leash-signals") continue;
      ::syscall(SYS_tgkill, ::getpid(), std::stoi(task.path().filename().string()), n);
      sent = true;
    }
#else
  ::kill(::getpid(), n);
#endif
}

void* handler_of(int n) {
  struct sigaction now{};
  ::sigaction(n, nullptr, &now);
  return reinterpret_cast<void*>(now.sa_handler);
}

LEASH_TEST(Shutdown, without_a_request_the_body_gives_its_result) {
  EXPECT_EQ(co_await with_shutdown(user_signals,
                                   [](shutdown_request& stop) -> task<int> {
                                     EXPECT_FALSE(stop.is_requested());
                                     EXPECT_EQ(stop.signal(), 0);
                                     co_return 3;
                                   }),
            3);
  EXPECT_TRUE(co_await with_shutdown(user_signals, [](shutdown_request&) {}));
  EXPECT_EQ(handler_of(SIGUSR1), reinterpret_cast<void*>(SIG_DFL));
}

LEASH_TEST(Shutdown, the_first_request_ends_what_takes_work_in_and_the_rest_finishes) {
  bool took_in = false, finished = false;
  EXPECT_TRUE(co_await with_shutdown(user_signals, [&](shutdown_request& stop) -> task<> {
    co_await with_scope([&](scope& s) -> task<> {
      s.go(named("accepts"), [&]() -> task<> {
        EXPECT_FALSE(co_await stop.until_requested(sleep(1h)));
        took_in = true;
      });
      s.go(named("works"), [&]() -> task<> {
        co_await stop.requested();
        co_await sleep(1ms);
        finished = true;
      });
      EXPECT_TRUE(co_await parked("accepts", "sleep"));
      EXPECT_TRUE(co_await parked("works", "chan receive"));
      stop.request();
    });
  }));
  EXPECT_TRUE(took_in && finished);
}

LEASH_TEST(Shutdown, the_second_request_ends_the_body) {
  EXPECT_FALSE(co_await with_shutdown(user_signals, [&](shutdown_request& stop) -> task<> {
    stop.request();
    EXPECT_TRUE(stop.is_requested());
    co_await stop.requested();
    stop.request("enough");
    co_await sleep(1h);
  }));
}

TEST(Shutdown, draining_is_bounded) {
  leash::testing::simulate(1, []() -> task<> {
    auto const start = now();
    EXPECT_FALSE(co_await with_shutdown({.signals = {}, .drain_within = 7s}, [](shutdown_request& stop) -> task<> {
      co_await sleep(1s);
      stop.request();
      co_await sleep(1h);
    }));
    EXPECT_EQ(now() - start, 8s);
  });
}

LEASH_TEST(Shutdown, requested_is_a_case_of_select) {
  co_await with_shutdown(user_signals, [](shutdown_request& stop) -> task<> {
    EXPECT_EQ((co_await select(stop.requested(), sleep(1ms))).index(), 1u);
    stop.request();
    EXPECT_EQ((co_await select(stop.requested(), sleep(1h))).index(), 0u);
  });
}

LEASH_TEST(Shutdown, exceptions_come_out_and_an_end_from_outside_reaches_the_body) {
  bool threw = false;
  try {
    co_await with_shutdown(user_signals, [](shutdown_request&) -> task<> {
      throw std::runtime_error("body");
      co_return;
    });
  } catch (const std::runtime_error&) {
    threw = true;
  }
  EXPECT_TRUE(threw);
  EXPECT_FALSE(co_await with_timeout(1ms, with_shutdown(user_signals, [](shutdown_request&) { return sleep(1h); })));
}

LEASH_TEST(Shutdown, signals_that_cannot_be_caught_and_negative_times_are_refused) {
  for (int n : {SIGKILL, 0, 1000}) {
    bool threw = false;
    try {
      co_await with_shutdown({.signals = {SIGUSR1, n}}, [](shutdown_request&) {});
    } catch (const std::system_error&) {
      threw = true;
    }
    EXPECT_TRUE(threw) << n;
  }
  EXPECT_EQ(handler_of(SIGUSR1), reinterpret_cast<void*>(SIG_DFL));
  EXPECT_THROW((void)with_shutdown({.drain_within = -1s}, [](shutdown_request&) {}), std::invalid_argument);
}

LEASH_TEST_REAL(Shutdown, one_signal_drains_and_two_end) {
  for (bool twice : {false, true}) {
    bool drained = false;
    bool const whole = co_await with_shutdown(user_signals, [&](shutdown_request& stop) -> task<> {
      send(SIGUSR1);
      co_await stop.requested();
      EXPECT_EQ(stop.signal(), SIGUSR1);
      drained = true;
      if (!twice) co_return;
      send(SIGUSR2);
      co_await sleep(1h);
    });
    EXPECT_TRUE(drained);
    EXPECT_EQ(whole, !twice);
  }
  EXPECT_EQ(handler_of(SIGUSR1), reinterpret_cast<void*>(SIG_DFL));
}

LEASH_TEST_REAL(Shutdown, a_signal_reaches_all_that_want_it_and_no_others) {
  co_await with_scope([&](scope& s) -> task<> {
    for (int i = 0; i < 3; ++i)
      s.go(named("inner"), [] {
        return with_shutdown({.signals = {SIGUSR1}},
                             [](shutdown_request& stop) -> task<> { co_await stop.requested(); });
      });
    auto other = s.go(named("other"), [] {
      return with_shutdown({.signals = {SIGUSR2}}, [](shutdown_request& stop) -> task<> { co_await stop.requested(); });
    });
    EXPECT_TRUE(co_await parked("inner", "chan receive", 3));
    EXPECT_TRUE(co_await parked("other", "chan receive", 1));
    send(SIGUSR1);
    co_await eventually([] { return count_parked("inner", "") == 0; }, "all to have been told");
    EXPECT_EQ(count_parked("other", "chan receive"), 1u);
    send(SIGUSR2);
    co_await other.join();
  });
}

LEASH_TEST_REAL(Shutdown, a_signal_soon_after_the_first_is_the_same_request) {
  EXPECT_TRUE(co_await with_shutdown({.signals = {SIGUSR1}, .same_request = 1h}, [&](shutdown_request& stop) -> task<> {
    send(SIGUSR1);
    co_await stop.requested();
    send(SIGUSR1);
    co_await sleep(20ms);
  }));
}

// In the proof: a signal may come. Without one who waits for an end that nobody holds is leaked.
LEASH_TEST(Shutdown, who_waits_for_a_request_is_live) {
  co_await with_shutdown(user_signals, [](shutdown_request& stop) -> task<> {
    co_await with_scope([&](scope& s) -> task<> {
      s.go(named("drains"), [&]() -> task<> { co_await stop.requested(); });
      EXPECT_TRUE(co_await parked("drains", "chan receive"));
      EXPECT_EQ(find_leaks().size(), 0u) << text(find_leaks());
      stop.request();
    });
  });
}

LEASH_TEST_OF_LEAKS(Shutdown, in_it_leaks_are_proved_all_the_same) {
  co_await with_shutdown(user_signals, [](shutdown_request&) -> task<> {
    co_await with_scope([](scope& s) -> task<> {
      auto [tx, rx] = channel<int>();
      s.go(
          named("stuck"), [](sender<int>, receiver<int> rx) -> task<> { (void)co_await rx.recv(); }, std::move(tx),
          std::move(rx));
      EXPECT_TRUE(co_await parked("stuck", "chan receive"));
      leak_report r = find_leaks();
      EXPECT_EQ(r.size(), 1u) << text(r);
      co_await reclaim(r);
    });
  });
}

}  // namespace
}  // namespace leash
