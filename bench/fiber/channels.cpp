// Rows over channels and locks. Boost.Fiber has no select.
#include <mutex>
#include <numeric>
#include <stdexcept>
#include <vector>

#include "harness.hpp"

namespace bench {
namespace {

const row pingpong("pingpong_unbuffered", []() -> value {
  return per_op(100'000, 2 * million, [](std::size_t n) {
    boost::fibers::unbuffered_channel<std::size_t> there, back;
    auto pong = start([&] {
      std::size_t v = 0;
      while (there.pop(v) == boost::fibers::channel_op_status::success) back.push(v);
    });
    for (std::size_t i = 0; i < n; ++i) {
      there.push(i);
      if (back.value_pop() != i) throw std::logic_error("pingpong: wrong value");
    }
    there.close();
    pong.join();
  });
});

// buffered_channel(128) holds 127 values: the capacity must be a power of two and one slot stays empty.
double pipe(std::size_t each) {
  return per_op(100'000, 4 * million, [each](std::size_t n) {
    boost::fibers::buffered_channel<int> channel(128);
    std::vector<std::size_t> got(each);
    std::vector<boost::fibers::fiber> producers, consumers;
    for (std::size_t g = 0; g < each; ++g) {
      producers.push_back(start([&channel, items = n / each] {
        for (std::size_t i = 0; i < items; ++i) channel.push(static_cast<int>(i));
      }));
      consumers.push_back(start([&channel, &got, g] {
        std::size_t items = 0;
        for (int v = 0; channel.pop(v) == boost::fibers::channel_op_status::success;) ++items;
        got[g] = items;
      }));
    }
    for (auto& f : producers) f.join();
    channel.close();
    for (auto& f : consumers) f.join();
    if (std::accumulate(got.begin(), got.end(), std::size_t{0}) != n / each * each)
      throw std::logic_error("pipe: items lost");
  });
}
const row channel_1x1("channel_1x1_128", []() -> value { return pipe(1); });
const row channel_4x4("channel_4x4_128", []() -> value { return pipe(4); });

double lock_unlock(std::size_t fibers) {
  return per_op(million, 10 * million, [fibers](std::size_t n) {
    boost::fibers::mutex mutex;
    std::size_t counter = 0;
    std::vector<boost::fibers::fiber> all;
    for (std::size_t g = 0; g < fibers; ++g) {
      all.push_back(start([&mutex, &counter, locks = n / fibers] {
        for (std::size_t i = 0; i < locks; ++i) {
          std::lock_guard guard(mutex);
          ++counter;
        }
      }));
    }
    for (auto& f : all) f.join();
    if (counter != n / fibers * fibers) throw std::logic_error("mutex: wrong count");
  });
}
const row mutex_alone("mutex_alone", []() -> value { return lock_unlock(1); });
const row mutex_8("mutex_8", []() -> value { return lock_unlock(8); });

}  // namespace
}  // namespace bench
