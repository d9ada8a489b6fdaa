// Rows over channels: ping-pong, many to many, select of four.
#include <functional>
#include <optional>
#include <tuple>
#include <vector>

#include "harness.hpp"

namespace bench {
namespace {

using leash::receiver, leash::scope, leash::sender, leash::task, leash::with_scope;

task<> echo(receiver<std::size_t> in, sender<std::size_t> out) {
  while (auto v = co_await in.recv())
    if (!co_await out.send(*v)) co_return;
}

}  // namespace

task<> pingpong(std::size_t n) {
  co_await with_scope([n](scope& s) -> task<> {
    auto [there, in] = leash::channel<std::size_t>();
    auto [out, back] = leash::channel<std::size_t>();
    s.go(echo, std::move(in), std::move(out));
    for (std::size_t i = 0; i < n; ++i) {
      (void)co_await there.send(i);
      require(co_await back.recv() == i, "pingpong: wrong value");
    }
  });
}

namespace {
const row pingpong_unbuffered("pingpong_unbuffered", [] { return per_op(100'000, 2 * million, pingpong); });

task<> produce(sender<int> out, std::size_t items) {
  for (std::size_t i = 0; i < items; ++i)
    if (!co_await out.send(static_cast<int>(i))) co_return;
}

task<> consume(receiver<int> in, std::size_t& got) {
  std::size_t items = 0;
  while (co_await in.recv()) ++items;
  got = items;
}

// `each` producers to `each` consumers; the last sender's end is the end of the stream.
task<> pipe(std::size_t each, std::size_t n) {
  std::vector<std::size_t> got(each);
  co_await with_scope([&](scope& s) -> task<> {
    auto [tx, rx] = leash::channel<int>(128);
    for (std::size_t g = 0; g < each; ++g) {
      s.go(produce, tx.dup(), n / each);
      s.go(consume, rx.dup(), std::ref(got[g]));
    }
    co_return;
  });
  std::size_t total = 0;
  for (std::size_t items : got) total += items;
  require(total == n / each * each, "pipe: items lost");
}
const row channel_1x1("channel_1x1_128",
                      [] { return per_op(100'000, 4 * million, [](std::size_t n) { return pipe(1, n); }); });
const row channel_4x4("channel_4x4_128",
                      [] { return per_op(100'000, 4 * million, [](std::size_t n) { return pipe(4, n); }); });

struct four_channels {
  std::array<sender<int>, 4> tx;
  std::array<receiver<int>, 4> rx;
  explicit four_channels(std::size_t capacity) {
    for (std::size_t i = 0; i < 4; ++i) std::tie(tx[i], rx[i]) = leash::channel<int>(capacity);
  }
};

// The senders stay open to the end, as in the rivals: no case is ready because its channel ended.
task<> feed(sender<int>& out, std::size_t items) {
  for (std::size_t i = 0; i < items; ++i)
    if (!co_await out.send(1)) co_return;
}

task<> select_all(four_channels& ch, std::size_t items, std::size_t& sum) {
  auto add = [&](std::optional<int> v) { sum += static_cast<std::size_t>(*v); };
  for (std::size_t i = 0; i < items; ++i) {
    co_await leash::select(leash::on(ch.rx[0].recv(), add), leash::on(ch.rx[1].recv(), add),
                           leash::on(ch.rx[2].recv(), add), leash::on(ch.rx[3].recv(), add));
  }
}

task<> select4(std::size_t capacity, std::size_t n) {
  four_channels ch(capacity);
  const std::size_t items = n / 4 * 4;
  std::size_t sum = 0;
  co_await with_scope([&](scope& s) -> task<> {
    for (auto& tx : ch.tx) s.go(feed, std::ref(tx), n / 4);
    s.go(select_all, std::ref(ch), items, std::ref(sum));
    co_return;
  });
  require(sum == items, "select: items lost");
}
const row select4_buffered("select4_buffered",
                           [] { return per_op(100'000, 2 * million, [](std::size_t n) { return select4(128, n); }); });
const row select4_unbuffered("select4_unbuffered",
                             [] { return per_op(100'000, 2 * million, [](std::size_t n) { return select4(0, n); }); });

}  // namespace
}  // namespace bench
