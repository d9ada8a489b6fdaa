// Rule 7: what looks like a handle counts only if its tag is that of its address, object and kind, and its object is one that
// has such handles. Where the words of real handles, or any others, passed for a handle more, that would hide one elsewhere.
#include <cstring>
#include <memory>

#include "kernel.hpp"

namespace leash::test::forgery_tests {

using enum verdict;

/// Two words in a frame that no handle wrote.
struct words {
  std::uint64_t object = 0, tag = 0;
  /// Writes what a handle at this address would have.
  void forge(const void* what, capability kind) {
    object = reinterpret_cast<std::uint64_t>(what);
    tag = mix_tag(reinterpret_cast<std::uint64_t>(this), object) ^ static_cast<std::uint64_t>(kind);
    asm volatile("" : : "m"(object), "m"(tag));
  }
};

/// The channel of an end.
std::byte* channel_of(const sender<int>& tx) {
  std::byte* at;
  std::memcpy(static_cast<void*>(&at), static_cast<const void*>(&tx), sizeof at);
  return at;
}

/// A receiver in whose frame lie two words that `forge` writes, while the heap holds a sender.
template <class Forge>
task<> with_words(Forge forge, verdict expected) {
  co_await examine(
      [=]() -> task<> {
        std::unique_ptr<sender<int>> outside;
        co_await with_scope([&](scope& s) -> task<> {
          auto [tx, rx] = channel<int>();
          std::byte* const at = channel_of(tx);
          outside = std::make_unique<sender<int>>(std::move(tx));
          s.go(
              named("waiter"),
              [](receiver<int> rx, std::byte* channel, Forge forge) -> task<> {
                words w;
                forge(w, channel);
                (void)co_await rx.recv();
                EXPECT_NE(w.tag, 0u);
              },
              std::move(rx), at, forge);
          co_return;
        });
      },
      {expected == live ? live_kernel : waiting_kernel, {"waiter", "chan receive", expected}});
}

LEASH_TEST(Forgery, OfAnObjectsMiddle) {
  for (int offset : {8, 16, 32})
    co_await with_words([offset](words& w, std::byte* c) { w.forge(c + offset, capability::sender); }, live);
}
LEASH_TEST(Forgery, OfAKindThatTheObjectDoesNotHave) {
  for (capability c : {capability::guard, capability::permit, capability::token, capability::call,
                       capability::canceller, capability::remote, capability::owner, capability::watcher})
    co_await with_words([c](words& w, std::byte* channel) { w.forge(channel, c); }, live);
}
LEASH_TEST(Forgery, OfWhatIsNoObject) {
  co_await with_words([](words& w, std::byte*) { w.forge(arena::slot_at(&w).start, capability::sender); }, live);
  co_await with_words(
      [](words& w, std::byte*) { w.forge(arena::all.base + arena::all.bytes - 16, capability::sender); }, live);
}
LEASH_TEST(Forgery, WithTheTagOfAnotherAddress) {
  co_await with_words(
      [](words& w, std::byte* channel) {
        words elsewhere;
        elsewhere.forge(channel, capability::sender);
        w = elsewhere;
      },
      live);
}
// All that the tests above leave out one by one: these words do count, so the others were looked at, too.
LEASH_TEST_OF_LEAKS(Forgery, ByWhoKnowsTheSecretIsBelieved) {
  co_await with_words([](words& w, std::byte* channel) { w.forge(channel, capability::sender); }, core);
}

// H2: the tag of one and the object of the next are no handle.
TEST(Forgery, FromTheWordsOfTwoNeighbours) {
  auto linear = [](std::uint64_t address, std::uint64_t object) { return address ^ object ^ handle_secret; };
  int forged = 0, forged_by_a_linear_tag = 0;
  constexpr int rounds = 1000;
  for (int i = 0; i < rounds; ++i) {
    auto [tx, rx] = channel<int>();
    sender<int> const two[] = {tx.dup(), tx.dup()};
    std::uint64_t w[4];
    std::memcpy(w, static_cast<const void*>(two), sizeof w);
    auto const* const at = reinterpret_cast<const std::uint64_t*>(two);
    auto const address = reinterpret_cast<std::uint64_t>(at);
    EXPECT_EQ(handle::certified(at, w[0], w[1]), capability::sender);
    EXPECT_EQ(handle::certified(at + 2, w[2], w[3]), capability::sender);
    forged += handle::certified(at + 1, w[1], w[2]) != capability::none;
    std::uint64_t const tag = linear(address, w[0]) ^ static_cast<std::uint64_t>(capability::sender);
    forged_by_a_linear_tag += (w[2] ^ linear(address + 8, tag)) < capabilities;
  }
  EXPECT_EQ(forged, 0);
  EXPECT_GT(forged_by_a_linear_tag, rounds / 3) << "the addresses of this test show nothing";
}

}  // namespace leash::test::forgery_tests
