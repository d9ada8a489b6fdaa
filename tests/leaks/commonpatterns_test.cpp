// Patterns that leak in many programs; and the stress tests of Go's detector.
#include "corpus.hpp"

namespace leash::test::corpus {
namespace {

using enum go_says;

// ---- NoCloseRange: workers range over a channel that nobody closes ------------------------------------------------
task<> worker(receiver<int> items) {
  while (co_await items.recv()) {
  }
}
// The sender dies with the body, which ends the range.
template <int workers>
task<> no_close_range(bool fixed) {
  co_await with_scope([=](scope& s) -> task<> {
    auto [tx, rx] = channel<int>();
    for (int i = 0; i < workers; ++i) s.go(named("worker"), worker, rx.dup());
    rx.drop();
    for (int item = 0; item < 5; ++item)
      if (!co_await tx.send(item)) break;
    if (fixed) tx.close();
  });
}
// It outlives the join.
task<> no_close_range_kept(bool fixed) {
  auto [tx, rx] = channel<int>();
  co_await with_scope([&](scope& s) -> task<> {
    for (int i = 0; i < 3; ++i) s.go(named("worker"), worker, rx.dup());
    for (int item = 0; item < 5; ++item) (void)co_await tx.send(item);
    if (fixed) tx.close();
  });
}
// No worker, but the receiver is kept to make some.
task<> no_close_range_kept_without_workers(bool fixed) {
  auto [tx, rx] = channel<int>();
  if (fixed) rx.drop();
  for (int item = 0; item < 5; ++item)
    if (!co_await tx.send(item)) break;
}
const row no_close_range_1{"commonpatterns", "NoCloseRange", "", always, ends_by_itself(), no_close_range<3>};
const row no_close_range_2{"commonpatterns", "NoCloseRange", "no workers", always, ends_by_itself(), no_close_range<0>};
const row no_close_range_3{
    "commonpatterns",   "NoCloseRange", "the parent keeps its sender", always, proved({"kernel", "worker"}, {}),
    no_close_range_kept};
const row no_close_range_4{"commonpatterns", "NoCloseRange",         "no workers and the parent keeps its receiver",
                           always,           proved({"kernel"}, {}), no_close_range_kept_without_workers};

// ---- DoubleSend: a missing return after the error was sent ---------------------------------------------------------
task<> double_send(bool fixed) {
  co_await with_scope([=](scope& s) -> task<> {
    auto [tx, rx] = channel<int>();
    s.go(
        named("producer"),
        [](sender<int> tx, bool fixed) -> task<> {
          (void)co_await tx.send(-1);  // the error
          if (fixed) co_return;
          (void)co_await tx.send(1);
        },
        std::move(tx), fixed);
    (void)co_await rx.recv();
  });
}
const row double_send_{"commonpatterns", "DoubleSend", "", always, ends_by_itself(), double_send};

// ---- EarlyReturn: the parent returns on an error, and never receives ----------------------------------------------
task<> early_return(bool fixed) {
  co_await with_scope([=](scope& s) -> task<> {
    auto [tx, rx] = channel<int>();
    s.go(named("worker"), [](sender<int> tx) -> task<> { (void)co_await tx.send(1); }, std::move(tx));
    const bool error = !fixed;
    if (error) co_return;
    (void)co_await rx.recv();
  });
}
const row early_return_{"commonpatterns", "EarlyReturn", "", always, ends_by_itself(), early_return};

// ---- NCastLeak: only the first of n results is taken ----------------------------------------------------------------
task<> ask(sender<int> answers, int n) { (void)co_await answers.send(n); }
template <int n>
task<> n_cast(bool fixed) {
  co_await with_scope([=](scope& s) -> task<> {
    auto [tx, rx] = channel<int>(fixed ? n : 0);
    for (int i = 0; i < n; ++i) s.go(named("asked"), ask, tx.dup(), i);
    tx.drop();
    EXPECT_EQ((co_await rx.recv()).has_value(), n != 0);
  });
}
task<> n_cast_kept(bool fixed) {
  auto [tx, rx] = channel<int>(fixed ? 3 : 0);
  co_await with_scope([&](scope& s) -> task<> {
    for (int i = 0; i < 3; ++i) s.go(named("asked"), ask, tx.dup(), i);
    (void)co_await rx.recv();
  });
}
task<> n_cast_kept_of_none(bool fixed) {
  auto [tx, rx] = channel<int>();
  if (fixed) tx.drop();
  (void)co_await rx.recv();
}
const row n_cast_1{"commonpatterns", "NCastLeak", "", always, ends_by_itself(), n_cast<3>};
const row n_cast_2{"commonpatterns", "NCastLeak", "n is 0", always, ends_by_itself(), n_cast<0>};
const row n_cast_3{"commonpatterns", "NCastLeak", "the parent keeps both ends", always, proved({"kernel", "asked"}, {}),
                   n_cast_kept};
const row n_cast_4{"commonpatterns",       "NCastLeak",        "n is 0 and the parent keeps its sender", always,
                   proved({"kernel"}, {}), n_cast_kept_of_none};

// ---- Timeout: the caller gives up, the result comes later ---------------------------------------------------------
task<> timeout(bool fixed) {
  co_await with_scope([=](scope& s) -> task<> {
    auto [tx, rx] = channel<int>();
    s.go(
        named("worker"),
        [](sender<int> tx) -> task<> {
          co_await sleep(10ms);
          (void)co_await tx.send(1);
        },
        std::move(tx));
    (void)co_await with_timeout(fixed ? 10s : 1ms, rx.recv());
  });
}
const row timeout_{"commonpatterns", "Timeout", "", always, ends_by_itself(), timeout};

// ---- SpawnGC: a private channel, while many look for leaks ---------------------------------------------------------
task<> look_as_a_tree(int depth) {
  for (const leak& l : find_leaks()) EXPECT_EQ(l.who.name, "waiter");
  (void)goroutines();
  if (depth == 0) co_return;
  co_await with_scope([=](scope& s) {
    s.go(look_as_a_tree, depth - 1);
    s.go(look_as_a_tree, depth - 1);
  });
}
template <bool kept>
task<> spawn_gc(bool fixed) {
  co_await with_scope([=](scope& s) {
    auto [tx, rx] = channel<int>();
    if (!kept || fixed) tx.drop();
    s.go(
        named("waiter"), [](receiver<int> rx, sender<int>) -> task<> { (void)co_await rx.recv(); }, std::move(rx),
        std::move(tx));
    s.go(look_as_a_tree, 3);
  });
}
const row spawn_gc_1{"stresstests", "SpawnGC", "", sometimes, ends_by_itself(), spawn_gc<false>};
const row spawn_gc_2{"stresstests", "SpawnGC",          "the receiver keeps the sender",
                     sometimes,     proved({"waiter"}), spawn_gc<true>};

// ---- DaisyChain: a thousand that wait, one for the other, and the last for one that sleeps --------------------------
task<> link(receiver<int> from, sender<int> to) {
  if (auto v = co_await from.recv()) (void)co_await to.send(*v);
}
task<> daisy_chain(bool fixed) {
  co_await with_scope([=](scope& s) -> task<> {
    auto [first, rx] = channel<int>();
    s.go(
        named("sleeper"),
        [](sender<int> first, bool fixed) -> task<> {
          co_await sleep(fixed ? std::chrono::nanoseconds(1ms) : std::chrono::nanoseconds(1h));
          (void)co_await first.send(1);
        },
        std::move(first), fixed);
    receiver<int> from = std::move(rx);
    for (int i = 0; i < 1000; ++i) {
      auto [tx, next] = channel<int>();
      s.go(named("link"), link, std::move(from), std::move(tx));
      from = std::move(next);
    }
    (void)co_await from.recv();
  });
}
const row daisy_chain_{"stresstests", "DaisyChain", "", never, never_reported(), daisy_chain};

}  // namespace
}  // namespace leash::test::corpus
