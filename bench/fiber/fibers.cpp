// Rows that make fibers, let them sleep or yield.
#include <cstdint>
#include <stdexcept>
#include <vector>

#include "harness.hpp"

namespace bench {
namespace {

void join_all(std::vector<boost::fibers::fiber>& all) {
  for (auto& f : all) f.join();
  all.clear();
}

const row spawn_join_1m("spawn_join_1m", []() -> value {
  if (!fits(count(million))) return {};
  return per_op(million, million, [](std::size_t n) {
    std::vector<boost::fibers::fiber> all;
    all.reserve(n);
    for (std::size_t i = 0; i < n; ++i) all.push_back(start([] {}));
    join_all(all);
  });
});

const row spawn_join_one("spawn_join_one", []() -> value {
  return per_op(100'000, million, [](std::size_t n) {
    for (std::size_t i = 0; i < n; ++i) start([] {}).join();
  });
});

const row yield_2("yield_2", []() -> value {
  return per_op(million, 10 * million, [](std::size_t n) {
    auto yields = [n] {
      for (std::size_t i = 0; i < n / 2; ++i) boost::this_fiber::yield();
    };
    auto a = start(yields), b = start(yields);
    a.join();
    b.join();
  });
});

using numbers = boost::fibers::buffered_channel<std::int64_t>;

// Children run at once (launch::dispatch) and the channel holds their ten results: depth first, the faster shape here,
// and the only one that keeps few stacks alive.
void skynet(numbers& out, std::int64_t num, std::int64_t size) {
  if (size == 1) {
    out.push(num);
    return;
  }
  numbers in(16);
  for (std::int64_t i = 0; i < 10; ++i) {
    boost::fibers::fiber(boost::fibers::launch::dispatch, std::allocator_arg, small_stack(), skynet, std::ref(in),
                         num + i * size / 10, size / 10)
        .detach();
  }
  std::int64_t sum = 0;
  for (int i = 0; i < 10; ++i) sum += in.value_pop();
  out.push(sum);
}

value skynet_tree() {
  std::size_t leaves = 10;
  while (leaves * 10 <= count(million)) leaves *= 10;
  const auto size = static_cast<std::int64_t>(leaves);
  const double per_count = per_op(million, million, [size](std::size_t) {
    numbers out(2);
    start(skynet, std::ref(out), 0, size).detach();
    if (out.value_pop() != size * (size - 1) / 2) throw std::logic_error("skynet: wrong sum");
  });
  return per_count * static_cast<double>(count(million)) / static_cast<double>(leaves);
}
const row skynet_1m("skynet_1m", skynet_tree, idle::spin);

// The i-th sleeper's time, spread over 0..100 ms; the same formula on every side.
std::chrono::nanoseconds nap(std::size_t i) {
  return std::chrono::nanoseconds((static_cast<std::uint32_t>(i) * 2654435761ULL & 0xffffffffU) * 100'000'000 >> 32);
}

const row timers_1m("timers_1m", []() -> value {
  if (!fits(count(million))) return {};
  return per_op(100'000, million, [](std::size_t n) {
    std::vector<boost::fibers::fiber> all;
    all.reserve(n);
    for (std::size_t i = 0; i < n; ++i) all.push_back(start([i] { boost::this_fiber::sleep_for(nap(i)); }));
    join_all(all);
  });
});

}  // namespace
}  // namespace bench
