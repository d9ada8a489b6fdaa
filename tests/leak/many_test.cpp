// Many goroutines, one object: a pass follows each handle and each wait once, however many there are of both.
#include <leash/semaphore.hpp>
#include <vector>

#include "kernel.hpp"
#include "leak/pass.hpp"
#include "leak/read_ahead.hpp"

namespace leash::test::many_tests {

constexpr std::size_t many = 5'000;

task<> work(receiver<int> jobs, sender<int> more) {
  while (auto job = co_await jobs.recv()) (void)co_await more.send(*job + 1);
}

/// Workers that receive from one queue, and hold senders to it: each of them waits for all of them.
task<> start_workers(scope& s, sender<int> more, receiver<int> jobs) {
  for (std::size_t i = 0; i < many; ++i) s.go(named("worker"), work, jobs.dup(), more.dup());
  co_return;
}

LEASH_TEST_OF_LEAKS(Many, WorkersThatFeedTheirOwnQueueAreOneKnot) {
  co_await with_scope([](scope& s) -> task<> {
    auto [tx, rx] = channel<int>();
    co_await start_workers(s, std::move(tx), std::move(rx));
    CO_ASSERT_TRUE(co_await parked("worker", "chan receive", many));
    auto const report = find_leaks();
    EXPECT_EQ(report.size(), many);
    EXPECT_TRUE(std::all_of(report.begin(), report.end(), [](const leak& l) { return l.role == leak_role::core; }));
    s.cancel("seen");
  });
}
LEASH_TEST(Many, WorkersWhoseQueueOneFeedsFromOutsideAreLive) {
  co_await with_scope([](scope& s) -> task<> {
    auto [tx, rx] = channel<int>();
    auto kept = std::make_unique<sender<int>>(tx.dup());
    co_await start_workers(s, std::move(tx), std::move(rx));
    CO_ASSERT_TRUE(co_await parked("worker", "chan receive", many));
    EXPECT_TRUE(find_leaks().empty());
    s.cancel("seen");
  });
}

// A thread that reads ahead of the pass.
task<> hold(receiver<int> in, sender<int> out) {
  while (auto v = co_await in.recv()) (void)co_await out.send(*v);
}
/// Each holds what the one before it waits for; the last one's sender is returned.
constexpr std::size_t links = 2'000;
sender<int> start_chain(scope& s, const char* name, sender<int> first) {
  for (std::size_t i = 0; i < links; ++i) {
    auto [tx, rx] = channel<int>();
    s.go(named(name), hold, std::move(rx), std::move(first));
    first = std::move(tx);
  }
  return first;
}

LEASH_TEST_OF_LEAKS(ReadAhead, ARingIsFoundAndAChainIsNotWhileOthersMove) {
  co_await with_scope([](scope& s) -> task<> {
    auto [first, last] = channel<int>();
    auto end = start_chain(s, "ring", std::move(first));
    s.go(named("ring"), hold, std::move(last), std::move(end));
    auto [nowhere, nobody] = channel<int>();
    auto kept = std::make_unique<sender<int>>(start_chain(s, "chain", std::move(nowhere)));
    CO_ASSERT_TRUE(co_await parked("ring", "chan receive", links + 1));
    CO_ASSERT_TRUE(co_await parked("chain", "chan receive", links));
    auto [ping, pong] = channel<int>();
    auto [back, again] = channel<int>();
    s.go(named("moves"), hold, std::move(pong), std::move(back));
    auto const finished = s.go([&] {
      for (std::size_t from : {std::size_t{0}, std::size_t{SIZE_MAX}}) {
        read_ahead_from = from;
        for (int i = 0; i < 5; ++i) EXPECT_EQ(find_leaks().size(), links + 1);
      }
      s.cancel("seen");
    });
    while (co_await ping.send(1)) (void)co_await again.recv();
  });
}

TEST(ReadAhead, GivesWhatIsReadWithoutIt) {
  run_at(2, []() -> task<> {
    co_await with_scope([](scope& s) -> task<> {
      auto [first, last] = channel<int>();
      auto kept = std::move(first);
      for (int i = 0; i < 3; ++i) kept = start_chain(s, "chain", std::move(kept));
      CO_ASSERT_TRUE(co_await parked("chain", "chan receive", 3 * links));
      slot_map slots;
      std::vector<goroutine_slab> slabs;
      slots.for_each_slab(arena::kind::goroutine, [&](std::uint32_t first, std::byte* base, std::size_t bytes,
                                                      std::uint32_t n) { slabs.push_back({first, base, bytes, n}); });
      read_ahead ahead;
      ahead.start(slabs, slots, nullptr, nullptr);
      frozen_reader reader(slots, nullptr);
      slab_reading own;
      std::uint32_t const first_read = 3, last_read = 15;  // before anything is done
      CO_ASSERT_TRUE(slabs.size() > last_read);
      while (ahead.take(last_read) == nullptr) co_await yield();
      std::size_t handles = 0;
      for (std::uint32_t i = first_read; i <= last_read; ++i) {
        const slab_reading& r = *ahead.take(i);
        reader.read(slabs[i], nullptr, own);
        EXPECT_EQ(r.members, own.members);
        EXPECT_EQ(r.waits.size(), own.waits.size());
        CO_ASSERT_EQ(r.handles.size(), own.handles.size());
        for (std::size_t h = 0; h < own.handles.size(); ++h) EXPECT_EQ(r.handles[h].what.at, own.handles[h].what.at);
        handles += own.handles.size();
      }
      EXPECT_GT(handles, 1000u);
      s.cancel("seen");
    });
  });
}

// The numbers of slots lead there and back; nothing else has one.
TEST(SlotMap, NumbersLeadToTheirSlotsAndBack) {
  std::vector<void*> objects;
  for (std::size_t bytes : {32, 48, 112, 1024, 1040, 5000, 30'000, 70'000})
    for (int i = 0; i < 200; ++i) objects.push_back(arena::allocate(arena::kind::object, bytes + 0u));
  slot_map map;
  std::vector<std::uint32_t> numbers;
  for (void* p : objects) {
    std::uint32_t const k = map.number_of(p, arena::kind::object);
    ASSERT_LT(k, map.end(arena::kind::object));
    EXPECT_EQ(map.address_of(k, arena::kind::object), p);
    EXPECT_EQ(map.number_of(p, arena::kind::goroutine), none);
    EXPECT_EQ(map.number_of(static_cast<std::byte*>(p) + 16, arena::kind::object), none);
    EXPECT_EQ(map.number_of(static_cast<std::byte*>(p) + 1, arena::kind::object), none);
    EXPECT_EQ(map.bytes_of(p, arena::kind::object), arena::slot_at(p).bytes);
    numbers.push_back(k);
  }
  std::sort(numbers.begin(), numbers.end());
  EXPECT_EQ(std::adjacent_find(numbers.begin(), numbers.end()), numbers.end()) << "two slots with one number";
  EXPECT_EQ(map.number_of(nullptr, arena::kind::object), none);
  EXPECT_EQ(map.number_of(&map, arena::kind::object), none);
  std::size_t i = 0;
  for (std::size_t bytes : {32, 48, 112, 1024, 1040, 5000, 30'000, 70'000})
    for (int n = 0; n < 200; ++n) arena::deallocate(arena::kind::object, objects[i++], bytes + 0u);
}
TEST(SlotMap, ASlabsUnusedEndHasNoNumber) {
  void* p = arena::allocate(arena::kind::object, 5000);
  slot_map map;
  std::size_t const slot = arena::slot_at(p).bytes;
  auto const within = static_cast<std::size_t>(static_cast<std::byte*>(p) - arena::all.base) % arena::slab_bytes;
  std::byte* const slab = static_cast<std::byte*>(p) - within;
  std::size_t const end = arena::slab_bytes / slot * slot;
  ASSERT_LT(end, arena::slab_bytes);
  EXPECT_NE(map.number_of(slab + end - slot, arena::kind::object), none);
  EXPECT_EQ(map.number_of(slab + end, arena::kind::object), none);
  arena::deallocate(arena::kind::object, p, 5000);
}
TEST(SlotMap, SlotsThatAreNewGetNumbersToo) {
  slot_map map;
  std::uint32_t const before = map.end(arena::kind::object);
  void* p = arena::allocate(arena::kind::object, 200'000);  // a slab of its own
  std::uint32_t const k = map.number_of(p, arena::kind::object);
  EXPECT_TRUE(k != none && (k >= before || map.address_of(k, arena::kind::object) == p));
  ASSERT_NE(k, none);
  EXPECT_EQ(map.address_of(k, arena::kind::object), p);
  arena::deallocate(arena::kind::object, p, 200'000);
}

}  // namespace leash::test::many_tests
