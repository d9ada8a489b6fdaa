// Wherever the language lets a handle lie in a frame, the proof finds it there: exactly once.
#include <array>
#include <memory>
#include <optional>
#include <tuple>
#include <variant>

#include "kernel.hpp"

namespace leash::test::handles_tests {

using enum verdict;
using tx_t = sender<int>;
using rx_t = receiver<int>;

/// `holds(tx, rx)` waits on rx while its own frames hold tx. Stuck; and not, once the heap holds one more sender.
template <class Holds>
task<> found(Holds holds) {
  for (bool twin : {false, true})
    co_await examine(
        [=]() -> task<> {
          std::unique_ptr<tx_t> outside;
          co_await with_scope([&](scope& s) -> task<> {
            auto [tx, rx] = channel<int>();
            if (twin) outside = std::make_unique<tx_t>(tx.dup());
            s.go(named("holder"), holds, std::move(tx), std::move(rx));
            co_return;
          });
        },
        {twin ? live_kernel : waiting_kernel, {"holder", "chan receive", twin ? live : core}});
}

LEASH_TEST_OF_LEAKS(Handle, InAParameter) {
  co_await found([](tx_t, rx_t rx) -> task<> { (void)co_await rx.recv(); });
}
LEASH_TEST_OF_LEAKS(Handle, InAnArgumentTakenByReference) {
  co_await found([](tx_t&&, rx_t&& rx) -> task<> { (void)co_await rx.recv(); });
  co_await found([](const tx_t&, rx_t&& rx) -> task<> { (void)co_await rx.recv(); });
}
LEASH_TEST_OF_LEAKS(Handle, InALocal) {
  co_await found([](tx_t tx, rx_t rx) -> task<> {
    tx_t local = std::move(tx);
    (void)co_await rx.recv();
  });
}
LEASH_TEST_OF_LEAKS(Handle, InALocalOfAnInnerBlock) {
  co_await found([](tx_t tx, rx_t rx) -> task<> {
    for (tx_t local = std::move(tx);;) {
      auto more = local.dup();
      if (!co_await rx.recv()) break;
    }
  });
}
LEASH_TEST_OF_LEAKS(Handle, DuplicatedManyTimes) {
  co_await found([](tx_t tx, rx_t rx) -> task<> {
    auto a = tx.dup(), b = tx.dup(), c = a.dup();
    auto r2 = rx.dup();
    (void)co_await r2.recv();
  });
}
LEASH_TEST_OF_LEAKS(Handle, InACaptureOfTheCallable) {
  co_await examine(
      []() -> task<> {
        co_await with_scope([](scope& s) -> task<> {
          auto [tx, rx] = channel<int>();
          s.go(named("holder"),
               [tx = std::move(tx), rx = std::move(rx)]() mutable -> task<> { (void)co_await rx.recv(); });
          co_return;
        });
      },
      {waiting_kernel, {"holder", "chan receive", core}});
}
LEASH_TEST_OF_LEAKS(Handle, InACaptureOfALocalLambda) {
  co_await found([](tx_t tx, rx_t rx) -> task<> {
    auto f = [tx = std::move(tx), rx = std::move(rx)]() mutable -> task<> { (void)co_await rx.recv(); };
    co_await f();
  });
}
LEASH_TEST_OF_LEAKS(Handle, InATemporary) {
  static constexpr auto use = [](const tx_t&, std::optional<int>) {};
  co_await found([](tx_t tx, rx_t rx) -> task<> { use(tx.dup(), co_await rx.recv()); });
  co_await found([](tx_t tx, rx_t rx) -> task<> {
    const tx_t& bound = std::move(tx).dup();
    tx.drop();
    (void)bound;
    (void)co_await rx.recv();
  });
}
LEASH_TEST_OF_LEAKS(Handle, InAStructuredBinding) {
  co_await found([](tx_t tx, rx_t rx) -> task<> {
    auto [a, b] = std::pair(std::move(tx), std::move(rx));
    (void)co_await b.recv();
  });
  co_await examine(
      []() -> task<> {
        auto [tx, rx] = channel<int>();
        (void)co_await rx.recv();
      },
      {{"kernel", "chan receive", core}});
}
LEASH_TEST_OF_LEAKS(Handle, InAnOptionalOrAVariant) {
  co_await found([](tx_t tx, rx_t rx) -> task<> {
    std::optional<tx_t> o(std::move(tx));
    (void)co_await rx.recv();
  });
  co_await found([](tx_t tx, rx_t rx) -> task<> {
    std::variant<std::monostate, int, tx_t> v(std::move(tx));
    (void)co_await rx.recv();
  });
}
LEASH_TEST_OF_LEAKS(Handle, InAnArrayOrATuple) {
  co_await found([](tx_t tx, rx_t rx) -> task<> {
    std::array<tx_t, 3> list{tx.dup(), std::move(tx), tx_t()};
    (void)co_await rx.recv();
  });
  co_await found([](tx_t tx, rx_t rx) -> task<> {
    tx_t list[2] = {tx.dup(), tx.dup()};
    tx.drop();
    (void)co_await rx.recv();
  });
  co_await found([](tx_t tx, rx_t rx) -> task<> {
    std::tuple<char, tx_t, rx_t> both('x', std::move(tx), std::move(rx));
    (void)co_await std::get<2>(both).recv();
  });
}
LEASH_TEST_OF_LEAKS(Handle, InATupleGivenToGo) {
  co_await examine(
      []() -> task<> {
        co_await with_scope([](scope& s) -> task<> {
          auto [tx, rx] = channel<int>();
          s.go(
              named("holder"), [](std::tuple<tx_t, rx_t>&& both) -> task<> { (void)co_await std::get<1>(both).recv(); },
              std::tuple<tx_t, rx_t>(std::move(tx), std::move(rx)));
          co_return;
        });
      },
      {waiting_kernel, {"holder", "chan receive", core}});
}
struct member {
  int before = 0;
  tx_t tx;
  explicit member(tx_t tx) : tx(std::move(tx)) {}
};
struct base : private member {
  explicit base(tx_t tx) : member(std::move(tx)) {}
  virtual ~base() {}
};
LEASH_TEST_OF_LEAKS(Handle, InAMemberOrABaseClass) {
  co_await found([](tx_t tx, rx_t rx) -> task<> {
    member m(std::move(tx));
    (void)co_await rx.recv();
  });
  co_await found([](tx_t tx, rx_t rx) -> task<> {
    struct nested {
      char c = 0;
      std::array<member, 1> list;
      explicit nested(tx_t tx) : list{member(std::move(tx))} {}
    } n(std::move(tx));
    (void)co_await rx.recv();
  });
  co_await found([](tx_t tx, rx_t rx) -> task<> {
    base b(std::move(tx));
    (void)co_await rx.recv();
  });
}
LEASH_TEST_OF_LEAKS(Handle, MovedBackAndForth) {
  co_await found([](tx_t tx, rx_t rx) -> task<> {
    tx_t a = std::move(tx), b = std::move(a), c;
    c = std::move(b);
    std::swap(a, c);
    a = tx_t(std::move(a));
    (void)co_await rx.recv();
  });
}

task<> callee(rx_t& rx) {
  co_await yield();
  (void)co_await rx.recv();
}
task<int> value_of(rx_t& rx) { co_return (co_await rx.recv()).value_or(0); }
task<> owns(tx_t tx, rx_t& rx) {
  co_await callee(rx);
  tx.close();
}
LEASH_TEST_OF_LEAKS(Handle, InTheFrameOfACallerOrOfATaskBetween) {
  co_await found([](tx_t tx, rx_t rx) -> task<> {
    co_await callee(rx);
    tx.close();
  });
  co_await found([](tx_t tx, rx_t rx) -> task<> { co_await owns(std::move(tx), rx); });
}
LEASH_TEST_OF_LEAKS(Handle, WhileATaskIsAwaitedInsideAnExpression) {
  static constexpr auto add = [](const tx_t&, int a, int b) { return a + b; };
  co_await found([](tx_t tx, rx_t rx) -> task<> {
    int n = add(tx.dup(), co_await value_of(rx), 1) + co_await value_of(rx);
    (void)n;
  });
}
LEASH_TEST_OF_LEAKS(Handle, InTheBodyOfABoundary) {
  co_await found([](tx_t tx, rx_t rx) -> task<> {
    co_await with_value(1, [tx = std::move(tx), rx = std::move(rx)]() mutable -> task<> { (void)co_await rx.recv(); });
  });
  co_await found([](tx_t tx, rx_t rx) -> task<> {
    co_await finally(
        [&]() -> task<> {
          tx_t inside = std::move(tx);
          (void)co_await rx.recv();
        },
        [](outcome) {});
  });
}
LEASH_TEST_OF_LEAKS(Handle, InTheValueOfAPendingSend) {
  // The value of a send that waits lies in the sender's frame: nobody else can have it.
  co_await examine(
      []() -> task<> {
        co_await with_scope([](scope& s) -> task<> {
          auto [tx, rx] = channel<int>();
          auto [in, out] = channel<tx_t>();
          s.go(
              named("sender"),
              [](sender<tx_t> in, tx_t value, receiver<tx_t>) -> task<> { (void)co_await in.send(std::move(value)); },
              std::move(in), std::move(tx), std::move(out));
          s.go(named("receiver"), [](rx_t rx) -> task<> { (void)co_await rx.recv(); }, std::move(rx));
          co_return;
        });
      },
      {waiting_kernel, {"sender", "chan send", core}, {"receiver", "chan receive", dependent}});
}

// ---- memory that leash tracks
// ----------------------------------------------------------------------------------------
#if __has_include(<leash/shared.hpp>)  // comes with the tracked heap and the confined grade
LEASH_TEST_OF_LEAKS(Handle, InTrackedMemory) {
  co_await found([](tx_t tx, rx_t rx) -> task<> {
    tracked_box<tx_t> box(std::move(tx));
    (void)co_await rx.recv();
  });
  co_await found([](tx_t tx, rx_t rx) -> task<> {
    tracked_vector<tx_t> list;
    list.push_back(tx.dup());
    list.push_back(std::move(tx));
    (void)co_await rx.recv();
  });
  co_await found([](tx_t tx, rx_t rx) -> task<> {
    tracked_function<void()> f([tx = std::move(tx)] {});
    (void)co_await rx.recv();
  });
}
struct block {
  tx_t tx;
  explicit block(tx_t tx) : tx(std::move(tx)) {}
};
LEASH_TEST_OF_LEAKS(Handle, InASharedBlock) {
  co_await found([](tx_t tx, rx_t rx) -> task<> {
    auto a = share<block>(std::move(tx));
    auto b = a;
    (void)co_await rx.recv();
  });
}
#endif

}  // namespace leash::test::handles_tests
