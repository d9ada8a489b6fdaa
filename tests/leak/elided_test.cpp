// Rule 4: a frame that lies in the frame of its caller is read with that, once. Read once more, its handles would stand for
// as many that lie elsewhere.
//
// This file is compiled at -O2 in every build (see ../CMakeLists.txt), so that the compiler does put frames into frames.
#include <leash/arena.hpp>
#include <memory>

#include "kernel.hpp"

namespace leash::test::elided_tests {

/// Where a coroutine's frame goes instead of a slot of its own: a local of its caller.
struct room {
  alignas(16) std::byte bytes[1024];
};
/// A task whose first parameter is a room.
struct roomed : promise<void> {
  template <class... A>
  static void* operator new(std::size_t bytes, room& r, A&...) {
    EXPECT_LE(bytes, sizeof r.bytes);
    return r.bytes;
  }
  template <class... A>  // where the compiler says how a frame is aligned
  static void* operator new(std::size_t bytes, std::align_val_t, room& r, A&... more) {
    return operator new(bytes, r, more...);
  }
  static void operator delete(void*, std::size_t) noexcept {}
};

}  // namespace leash::test::elided_tests

template <class... A>
struct std::coroutine_traits<leash::task<>, leash::test::elided_tests::room&, A...> {
  using promise_type = leash::test::elided_tests::roomed;
};

namespace leash::test::elided_tests {

using enum verdict;

bool in_one_slot(const void* a, const void* b) {
  return arena::slot_at(a).start != nullptr && arena::slot_at(a).start == arena::slot_at(b).start;
}

/// `holder` waits for a value, all senders in its frames. The twin: one more lies on the heap.
task<> found_once(task<> (*holder)(receiver<int>, sender<int>)) {
  for (bool twin : {false, true})
    co_await examine(
        [=]() -> task<> {
          std::unique_ptr<sender<int>> outside;
          co_await with_scope([&](scope& s) -> task<> {
            auto [tx, rx] = channel<int>();
            if (twin) outside = std::make_unique<sender<int>>(tx.dup());
            s.go(named("holder"), holder, std::move(rx), std::move(tx));
            co_return;
          });
        },
        {twin ? live_kernel : waiting_kernel, {"holder", "chan receive", twin ? live : core}});
}

task<> waits_in(room&, receiver<int>& rx, sender<int> tx) {
  EXPECT_TRUE(in_one_slot(&tx, &rx)) << "the frame has a slot of its own";
  (void)co_await rx.recv();
}
LEASH_TEST_OF_LEAKS(Elided, AFrameInTheFrameThatAwaitsIt) {
  co_await found_once([](receiver<int> rx, sender<int> tx) -> task<> {
    room r;
    co_await waits_in(r, rx, std::move(tx));
  });
}

#if defined(__clang__) && !LEASH_ASAN && \
    !LEASH_TSAN  // GCC puts no frame into another one, nor does clang under sanitizers
/// Says where it is moved to.
struct sender_that_tells {
  sender<int> tx;
  const void** where;
  sender_that_tells(sender<int> tx, const void** where) : tx(std::move(tx)), where(where) {}
  sender_that_tells(sender_that_tells&& other) noexcept : tx(std::move(other.tx)), where(other.where) { *where = &tx; }
};
task<> never_runs(sender_that_tells) { co_return; }

LEASH_TEST_OF_LEAKS(Elided, AFrameThatTheCompilerPutIntoItsCallers) {
  co_await found_once([](receiver<int> rx, sender<int> tx) -> task<> {
    const void* lies_at = nullptr;
    task<> dropped_at_the_end = never_runs(sender_that_tells(std::move(tx), &lies_at));
    EXPECT_TRUE(in_one_slot(lies_at, &rx)) << "nothing was elided: this shows nothing any more";
    (void)co_await rx.recv();
  });
}
#endif

}  // namespace leash::test::elided_tests
