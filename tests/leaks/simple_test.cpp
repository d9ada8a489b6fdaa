// Leaks of a single primitive.
#include <memory>

#include "corpus.hpp"

namespace leash::test::corpus {
namespace {

using enum go_says;

// ---- channels that never were ---------------------------------------------------------------------------------
// An end that never got a channel cannot be awaited alone; in a select it is a case that never fires.
task<> nil_recv_alone(bool fixed) {
  auto [tx, rx] = channel<int>(1);
  EXPECT_EQ(tx.try_send(1), try_result::done);
  receiver<int> nil;
  (void)co_await (fixed ? rx : nil).recv();
}
task<> nil_recv(bool fixed) {
  receiver<int> nil;
  if (fixed)
    (void)co_await select(nil.recv(), sleep(1ms));
  else
    (void)co_await select(nil.recv());
}
const row nil_recv_1{"simple", "NilRecv", "alone", always, throws_at_once(), nil_recv_alone};
const row nil_recv_2{"simple", "NilRecv", "in a select", always, proved({"kernel"}, {}), nil_recv};

task<> nil_send_alone(bool fixed) {
  auto [tx, rx] = channel<int>(1);
  sender<int> nil;
  (void)co_await (fixed ? tx : nil).send(1);
}
task<> nil_send(bool fixed) {
  sender<int> nil;
  if (fixed)
    (void)co_await select(nil.send(1), sleep(1ms));
  else
    (void)co_await select(nil.send(1));
}
const row nil_send_1{"simple", "NilSend", "alone", always, throws_at_once(), nil_send_alone};
const row nil_send_2{"simple", "NilSend", "in a select", always, proved({"kernel"}, {}), nil_send};

// forever() can be ended by whoever can end its context: it is dead only when nobody is left to do so.
task<> no_cases(bool fixed) {
  if (fixed)
    (void)co_await with_timeout(1ms, forever());
  else
    co_await forever();
}
task<> no_enabled_case(bool fixed) {
  receiver<int> out;
  sender<int> in;
  if (fixed)
    (void)co_await select(out.recv(), in.send(1), sleep(1ms));
  else
    (void)co_await select(out.recv(), in.send(1));
}
const row no_cases_1{"simple", "SelectNoCases", "forever()", always, proved_as_program({"kernel"}), no_cases};
const row no_cases_2{"simple", "SelectNoCases", "no case is enabled", always, proved({"kernel"}, {}), no_enabled_case};

// ---- private channels -------------------------------------------------------------------------------------------
// The end that nobody took dies at once; kept by the one that waits, it keeps the wait hopeless.
task<> chan_recv(bool fixed) {
  sender<int> tx;
  receiver<int> rx;
  std::tie(tx, rx) = channel<int>(1);
  if (fixed) EXPECT_EQ(tx.try_send(1), try_result::done);
  tx.drop();
  EXPECT_EQ((co_await rx.recv()).has_value(), fixed);
}
task<> chan_recv_kept(bool fixed) {
  auto [tx, rx] = channel<int>(1);
  if (fixed) EXPECT_EQ(tx.try_send(1), try_result::done);
  (void)co_await rx.recv();
}
const row chan_recv_1{"simple", "ChanRecv", "", always, ends_by_itself(), chan_recv};
const row chan_recv_2{"simple",      "ChanRecv", "the receiver keeps the sender", always, proved({"kernel"}, {}),
                      chan_recv_kept};

task<> chan_send(bool fixed) {
  sender<int> tx = channel<int>(fixed ? 1 : 0).first;
  EXPECT_FALSE(co_await tx.send(1));
}
task<> chan_send_kept(bool fixed) {
  auto [tx, rx] = channel<int>(fixed ? 1 : 0);
  (void)co_await tx.send(1);
}
const row chan_send_1{"simple", "ChanSend", "", always, ends_by_itself(), chan_send};
const row chan_send_2{"simple",      "ChanSend", "the sender keeps the receiver", always, proved({"kernel"}, {}),
                      chan_send_kept};

task<> select_private(bool fixed) {
  receiver<int> rx = channel<int>().second;
  sender<int> tx = channel<int>(fixed ? 1 : 0).first;
  (void)co_await select(rx.recv(), tx.send(1));
}
task<> select_kept(bool fixed) {
  auto [tx1, rx1] = channel<int>();
  auto [tx2, rx2] = channel<int>(fixed ? 1 : 0);
  (void)co_await select(rx1.recv(), tx2.send(1));
}
const row select_1{"simple", "Select", "", always, ends_by_itself(), select_private};
const row select_2{"simple", "Select", "it keeps the other ends", always, proved({"kernel"}, {}), select_kept};

// ---- wait groups ------------------------------------------------------------------------------------------------
// An Add is a token, and a token that nobody keeps is a Done.
task<> wait_group_dropped(bool) {
  wait_group wg;
  (void)wg.add();
  co_await wg.wait();
}
task<> wait_group_kept(bool fixed) {
  wait_group wg;
  auto token = wg.add();
  if (fixed) token.done();
  co_await wg.wait();
}
const row wait_group_1{"simple", "WaitGroup", "", always, ends_by_itself(), wait_group_dropped};
const row wait_group_2{"simple",       "WaitGroup", "the waiter keeps the token", always, proved({"kernel"}, {}),
                       wait_group_kept};

// ---- locks ------------------------------------------------------------------------------------------------------
task<> lock_twice(mutex& m, bool fixed) {
  auto first = co_await m.lock();
  if (fixed) first.unlock();
  auto second = co_await m.lock();
}
task<> mutex_stack(bool fixed) {
  mutex m;
  co_await lock_twice(m, fixed);
}
task<> mutex_heap(bool fixed) {
  auto m = std::make_unique<mutex>();
  co_await lock_twice(*m, fixed);
}
const row mutex_stack_{"simple", "MutexStack", "", always, proved({"kernel"}, {}), mutex_stack};
const row mutex_heap_{"simple", "MutexHeap", "", always, proved({"kernel"}, {}), mutex_heap};
const row unlocked{"simple", "MutexStack", "unlock without a lock", always, refused_by_the_compiler("mutex_unlock.cpp"),
                   nullptr};

task<> rw_lock_rlock(bool fixed) {
  shared_mutex m;
  auto first = co_await m.lock();
  if (fixed) first.unlock();
  auto second = co_await m.lock_shared();
}
task<> rw_lock_lock(bool fixed) {
  shared_mutex m;
  auto first = co_await m.lock();
  if (fixed) first.unlock();
  auto second = co_await m.lock();
}
const row rw_rlock{"simple", "RWMutexRLock", "", always, proved({"kernel"}, {}), rw_lock_rlock};
const row rw_lock{"simple", "RWMutexLock", "", always, proved({"kernel"}, {}), rw_lock_lock};

// ---- both -------------------------------------------------------------------------------------------------------
// The parent waits for the group before it receives; the child sends before it is done.
task<> mixed(bool fixed) {
  wait_group wg;
  co_await with_scope([&](scope& s) -> task<> {
    auto [tx, rx] = channel<int>();
    s.go(
        named("child"), [](sender<int> tx, wait_group::token) -> task<> { (void)co_await tx.send(1); }, std::move(tx),
        wg.add());
    if (fixed) (void)co_await rx.recv();
    co_await wg.wait();
    (void)co_await rx.recv();
  });
}
// The scope in the place of the group: its end drops the receiver, so the send fails.
task<> mixed_in_a_scope(bool fixed) {
  co_await with_scope([=](scope& s) -> task<> {
    auto [tx, rx] = channel<int>();
    s.go(named("child"), [](sender<int> tx) -> task<> { (void)co_await tx.send(1); }, std::move(tx));
    if (fixed) (void)co_await rx.recv();
  });
}
const row mixed_1{"simple", "Mixed", "joined by a scope", always, ends_by_itself(), mixed_in_a_scope};
const row mixed_2{"simple", "Mixed", "joined by a wait_group", always, proved({"kernel", "child"}, {}), mixed};

// ---- no leak ----------------------------------------------------------------------------------------------------
task<> global(bool fixed) {
  static auto mailbox = channel<int>(1);
  if (fixed) EXPECT_EQ(mailbox.first.try_send(1), try_result::done);
  (void)co_await mailbox.second.recv();
}
const row global_{"simple", "NoLeakGlobal", "", never, never_reported(), global};

// ---- conditions -------------------------------------------------------------------------------------------------
#if __has_include(<leash/shared.hpp>)  // comes with the tracked heap and the confined grade
struct room {
  mutex m;
  condition opened;
  bool open = false;
  room() {}
};
task<> wait_in(room& r) {
  auto g = co_await r.m.lock();
  co_await r.opened.wait(g, [&] { return r.open; });
}
task<> open(room& r) {
  auto g = co_await r.m.lock();
  r.open = true;
  r.opened.notify_all();
}
task<> cond(bool fixed) {
  room r;
  co_await with_scope([&](scope& s) {
    s.go(named("waiter"), wait_in, std::ref(r));
    if (fixed) s.go(named("opener"), open, std::ref(r));
  });
}
task<> cond_shared(bool fixed) {
  co_await with_scope([=](scope& s) {
    auto r = share<room>();
    if (fixed) s.go(named("opener"), [](shared<room> r) -> task<> { co_await open(*r); }, r);
    s.go(named("waiter"), [](shared<room> r) -> task<> { co_await wait_in(*r); }, std::move(r));
  });
}
#else
constexpr kernel_type cond = nullptr, cond_shared = nullptr;
#endif
const row cond_1{"simple", "Cond", "in a frame", always, confined({"waiter"}), cond};
const row cond_2{"simple", "Cond", "in shared<T>", always, proved({"waiter"}), cond_shared};

}  // namespace
}  // namespace leash::test::corpus
