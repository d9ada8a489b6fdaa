// Causes of blocking bugs in CockroachDB.
#include "corpus.hpp"

namespace leash::test::corpus {
namespace {

using enum go_says;

// The store's heartbeats take the coalescing lock before a replica's; the replica takes them the other way round.
task<> cockroach10214(bool fixed) {
  mutex coalesced, raft;
  co_await with_scope([&](scope& s) {
    s.go(named("store"), [&]() -> task<> {
      auto c = co_await coalesced.lock();
      auto r = co_await raft.lock();  // tells the replica that it is unreachable
    });
    s.go(named("replica"), [&]() -> task<> {
      auto first = co_await (fixed ? coalesced : raft).lock();
      auto second = co_await (fixed ? raft : coalesced).lock();
    });
  });
}
const row cockroach10214_{"goker", "cockroach10214", "", sometimes, proved({"store", "replica"}), cockroach10214};

// Quiesce holds the lock while it waits for the tasks; they wait for the stop, which would come after.
task<> cockroach1055(bool fixed) {
  mutex mu;
  wait_group drain;
  bool stopping = false;
  co_await with_scope([&](scope& s) {
    auto [stop, stopped] = channel<unit>();
    auto run_task = [&](receiver<unit> stopped) -> task<> {
      wait_group::token running;
      {
        auto g = co_await mu.lock();
        if (stopping) co_return;
        running = drain.add();
      }
      (void)co_await stopped.recv();
    };
    s.go(named("task"), run_task, stopped.dup());
    s.go(named("stopper"), [&, stop = std::move(stop)]() mutable -> task<> {
      auto g = co_await mu.lock();
      stopping = true;
      if (fixed) stop.close();
      co_await drain.wait();
      stop.close();
    });
    s.go(named("reader"), [&]() -> task<> { auto g = co_await mu.lock(); });
  });
}
const row cockroach1055_{
    "goker", "cockroach1055", "", sometimes, proved({"task", "stopper"}, {"kernel"}, {"reader"}), cockroach1055};

// The command leaves when its client does; who drains the queue still expects its answer.
template <end e>
task<> cockroach10790(bool fixed) {
  cancel_source client;
  auto [answer, answers] = channel<int>();
  co_await with_scope([&](scope& s) {
    s.go(
        named("command"),
        [](auto&& answer, cancel_source client, bool fixed) -> task<> {
          (void)co_await with_cancel(client, [&]() -> task<> { (void)co_await answer.send(1); });
          if (fixed) answer.drop();
        },
        hand<e>(answer), client.dup(), fixed);
    s.go(named("client"), [](cancel_source client) { client.cancel("gone"); }, std::move(client));
    s.go(named("drainer"), [](receiver<int> answers) -> task<> { (void)co_await answers.recv(); }, std::move(answers));
  });
}
const row cockroach10790_1{"goker", "cockroach10790", "", sometimes, ends_by_itself(), cockroach10790<end::given>};
const row cockroach10790_2{"goker",
                           "cockroach10790",
                           "the queue keeps the sender",
                           sometimes,
                           proved({"drainer", "kernel"}, {}),
                           cockroach10790<end::lent>};

// A transaction is dropped without a rollback; the only one that could end its context is who waits for that.
task<> cockroach13197(bool fixed) {
  co_await with_scope([=](scope& s) {
    auto [cancel, cancelled] = channel<unit>();
    if (fixed) cancel.close();
    s.go(
        named("await_done"), [](receiver<unit> cancelled, sender<unit>) -> task<> { (void)co_await cancelled.recv(); },
        std::move(cancelled), std::move(cancel));
  });
}
task<> cockroach13197_context(bool fixed) {
  co_await with_scope([=](scope& s) {
    cancel_source transaction;
    if (fixed) transaction.cancel("rollback");
    s.go(
        named("await_done"),
        [](cancel_source transaction) -> task<> {
          (void)co_await with_cancel(transaction, []() -> task<> { co_await this_context().done(); });
        },
        std::move(transaction));
  });
}
const row cockroach13197_1{"goker", "cockroach13197",       "done is a channel",
                           always,  proved({"await_done"}), cockroach13197};
const row cockroach13197_2{"goker",
                           "cockroach13197",
                           "done is a context's",
                           always,
                           proved_as_program({"await_done"}),
                           cockroach13197_context};

// The consumer leaves when told to stop; stopping waits for the producer, who waits for the consumer.
template <end e>
task<> cockroach1462(bool fixed) {
  wait_group tasks;
  auto [events, in] = channel<int>();
  co_await with_scope([&](scope& s) -> task<> {
    auto [stop, stopped] = channel<unit>();
    s.go(
        named("producer"),
        [](sender<int> events, wait_group::token) -> task<> {
          for (int i = 0; i < 3; ++i)
            if (!co_await events.send(i)) co_return;
        },
        std::move(events), tasks.add());
    s.go(
        named("consumer"),
        [](auto&& in, receiver<unit> stopped, bool fixed) -> task<> {
          for (;;) {
            auto next = co_await select(stopped.recv(), in.recv());
            if (next.index() == 0 || !std::get<1>(next)) break;
          }
          if (fixed) in.drop();
        },
        hand<e>(in), std::move(stopped), fixed);
    stop.close();
    co_await tasks.wait();
  });
}
const row cockroach1462_1{"goker", "cockroach1462", "", sometimes, ends_by_itself(), cockroach1462<end::given>};
const row cockroach1462_2{"goker",
                          "cockroach1462",
                          "the stopper keeps the receiver",
                          sometimes,
                          proved({"producer", "kernel"}, {}),
                          cockroach1462<end::lent>};

// Who reads reads again, while a writer has come in between.
task<> read_twice(shared_mutex& m, bool fixed) {
  auto outer = co_await m.lock_shared();
  co_await yield();
  if (fixed) outer.unlock();
  auto inner = co_await m.lock_shared();
}
task<> write(shared_mutex& m) { auto g = co_await m.lock(); }

task<> cockroach16167(bool fixed) {
  shared_mutex config;
  co_await with_scope([&](scope& s) {
    s.go(named("executor"), read_twice, std::ref(config), fixed);
    s.go(named("gossip"), write, std::ref(config));
  });
}
const row cockroach16167_{"goker", "cockroach16167", "", sometimes, proved({"executor", "gossip"}), cockroach16167};

// The consumer is cancelled; the producer fills the buffer, and has nobody left.
task<> cockroach18101(bool fixed) {
  cancel_source job;
  co_await with_scope([&](scope& s) {
    auto [splits, ready] = channel<int>(1);
    s.go(
        named("splitter"),
        [](sender<int> splits) -> task<> {
          for (int i = 0; i < 4; ++i)
            if (!co_await splits.send(i)) co_return;
        },
        std::move(splits));
    s.go(
        named("restorer"),
        [](receiver<int> ready, cancel_source job) -> task<> {
          (void)co_await with_cancel(job, [&]() -> task<> {
            while (co_await ready.recv()) {
            }
          });
        },
        std::move(ready), job.dup());
    if (!fixed) s.go(named("user"), [](cancel_source job) { job.cancel("changed my mind"); }, std::move(job));
  });
}
const row cockroach18101_{"goker", "cockroach18101", "", sometimes, ends_by_itself(), cockroach18101};

// The constructor puts more into the queue than it holds, before it starts who empties it.
task<> cockroach24808(bool fixed) {
  co_await with_scope([=](scope& s) -> task<> {
    auto [compact, suggested] = channel<int>(1);
    auto run = [](receiver<int> suggested) -> task<> {
      while (co_await suggested.recv()) {
      }
    };
    if (fixed) s.go(named("compactor"), run, std::move(suggested));
    for (int i = 0; i < 2; ++i) (void)co_await compact.send(i);
    if (!fixed) s.go(named("compactor"), run, std::move(suggested));
  });
}
const row cockroach24808_{"goker", "cockroach24808", "", always, proved({"kernel"}, {}), cockroach24808};

// It waits for a channel that only itself would close, later.
task<> cockroach25456(bool fixed) {
  auto [quiesce, quiesced] = channel<unit>();
  if (fixed) quiesce.close();
  (void)co_await quiesced.recv();
  quiesce.close();
}
const row cockroach25456_{"goker", "cockroach25456", "", always, proved({"kernel"}, {}), cockroach25456};

// The outbox fails at its start and ends, without draining the rows or telling who sends them.
template <end e>
task<> cockroach35073(bool fixed) {
  auto [rows, in] = channel<int>(1);
  co_await with_scope([&](scope& s) -> task<> {
    s.go(
        named("outbox"),
        [](auto&& in, bool fixed) -> task<> {
          while (fixed && co_await in.recv()) {
          }
        },
        hand<e>(in), fixed);
    for (int i = 0; i < 3; ++i)
      if (!co_await rows.send(i)) break;
    rows.close();
  });
}
const row cockroach35073_1{"goker", "cockroach35073", "", always, ends_by_itself(), cockroach35073<end::given>};
const row cockroach35073_2{"goker", "cockroach35073",       "the flow keeps the receiver",
                           always,  proved({"kernel"}, {}), cockroach35073<end::lent>};

// The error goes to the left input first, which is full; the join reads the right one first, which gets nothing.
constexpr int error = -1;
task<> read_until_error(receiver<int>& side) {
  while (auto v = co_await side.recv())
    if (*v == error) co_return;
}
task<> cockroach35931(bool fixed) {
  co_await with_scope([=](scope& s) {
    auto [to_left, left] = channel<int>(1);
    auto [to_right, right] = channel<int>(1);
    s.go(
        named("router"),
        [](sender<int> left, sender<int> right, bool fixed) -> task<> {
          (void)co_await left.send(1);
          if (fixed) std::swap(left, right);
          (void)co_await left.send(error);
          (void)co_await right.send(error);
        },
        std::move(to_left), std::move(to_right), fixed);
    s.go(
        named("join"),
        [](receiver<int> left, receiver<int> right) -> task<> {
          co_await read_until_error(right);
          co_await read_until_error(left);
        },
        std::move(left), std::move(right));
  });
}
const row cockroach35931_{"goker", "cockroach35931", "", always, proved({"router", "join"}), cockroach35931};

// The loop is left with the lock held, which is taken again behind it. A guard of the loop's own block cannot stay.
template <bool outside>
task<> cockroach584(bool fixed) {
  mutex mu;
  bool closed = false;
  co_await with_scope([&](scope& s) {
    s.go(named("closer"), [&]() -> task<> {
      auto g = co_await mu.lock();
      closed = true;
    });
    s.go(named("bootstrap"), [&]() -> task<> {
      mutex::guard held;
      for (int i = 0; i < 2; ++i) {
        mutex::guard g = co_await mu.lock();
        if (outside) held = std::move(g);
        if (closed) break;
        held.unlock();
      }
      if (fixed) held.unlock();
      auto manage = co_await mu.lock();
    });
  });
}
const row cockroach584_1{"goker", "cockroach584", "", sometimes, ends_by_itself(), cockroach584<false>};
const row cockroach584_2{"goker",   "cockroach584",        "the guard lives outside the loop",
                         sometimes, proved({"bootstrap"}), cockroach584<true>};

task<> cockroach6181(bool fixed) {
  shared_mutex cache;
  wait_group done;
  co_await with_scope([&](scope& s) -> task<> {
    s.go(
        named("lookup"),
        [](shared_mutex& m, bool fixed, wait_group::token) -> task<> { co_await read_twice(m, fixed); },
        std::ref(cache), fixed, done.add());
    s.go(
        named("evict"), [](shared_mutex& m, wait_group::token) -> task<> { co_await write(m); }, std::ref(cache),
        done.add());
    co_await done.wait();
  });
}
const row cockroach6181_{"goker", "cockroach6181", "", sometimes, proved({"lookup", "evict"}), cockroach6181};

// Lease before names here, names before lease there; each waits until the other has its first lock.
task<> cockroach7504(bool fixed) {
  mutex lease, names;
  event has_lease, has_names;
  co_await with_scope([&](scope& s) {
    s.go(named("release"), [&]() -> task<> {
      auto l = co_await lease.lock();
      has_lease.set();
      co_await has_names.wait();
      auto n = co_await names.lock();
    });
    s.go(named("acquire"), [&]() -> task<> {
      auto n = co_await names.lock();
      has_names.set();
      co_await has_lease.wait();
      if (fixed) n.unlock();
      auto l = co_await lease.lock();
    });
  });
}
const row cockroach7504_{"goker", "cockroach7504", "", always, proved({"release", "acquire"}), cockroach7504};

// The error path of the logger locks what the logger holds.
task<> cockroach9935(bool fixed) {
  mutex mu;
  bool has_file = true;
  co_await with_scope([&](scope& s) {
    s.go(named("rotator"), [&]() -> task<> {
      auto g = co_await mu.lock();
      has_file = false;
    });
    s.go(named("logger"), [&]() -> task<> {
      auto g = co_await mu.lock();
      if (has_file) co_return;
      if (fixed) g.unlock();
      auto flush = co_await mu.lock();
    });
  });
}
const row cockroach9935_{"goker", "cockroach9935", "", sometimes, proved({"logger"}), cockroach9935};

}  // namespace
}  // namespace leash::test::corpus
