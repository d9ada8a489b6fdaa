// Causes of blocking bugs in Moby.
#include "corpus.hpp"

namespace leash::test::corpus {
namespace {

using enum go_says;

// It returns with the lock held; the next one to lock waits for a holder that is gone. A local guard goes with it.
struct device_set {
  mutex mu;
  mutex::guard held;
  int deleted = 0;
  device_set() {}
};
template <bool in_the_set>
task<> moby17176(bool fixed) {
  device_set devices;
  co_await with_scope([&](scope& s) -> task<> {
    auto cleanup = s.go(named("cleanup"), [&]() -> task<> {
      auto g = co_await devices.mu.lock();
      if (in_the_set) devices.held = std::move(g);
      if (devices.deleted == 0 && !fixed) co_return;
      devices.held.unlock();
    });
    (void)co_await cleanup.join();
    s.go(named("remove"), [&]() -> task<> { auto g = co_await devices.mu.lock(); });
  });
}
const row moby17176_1{"goker", "moby17176", "", always, ends_by_itself(), moby17176<false>};
const row moby17176_2{
    "goker", "moby17176", "the guard is kept in a struct", always, proved({"remove", "kernel"}, {}), moby17176<true>};

// Who shows the progress quits early; those who report it stay, and so does who closes the channel after them.
template <end e>
task<> moby21233(bool fixed) {
  wait_group transfers;
  auto [progress, shown] = channel<int>();
  co_await with_scope([&](scope& s) {
    auto [quit, quitting] = channel<unit>();
    s.go(
        named("closer"),
        [&transfers](sender<int> progress) -> task<> {
          co_await transfers.wait();
          progress.close();
        },
        progress.dup());
    s.go(
        named("transfer"),
        [](sender<int> progress, wait_group::token) -> task<> {
          for (int percent = 0; percent < 3; ++percent)
            if (!co_await progress.send(percent)) co_return;
        },
        std::move(progress), transfers.add());
    s.go(
        named("display"),
        [](auto&& shown, receiver<unit> quitting, bool fixed) -> task<> {
          for (;;) {
            auto next = co_await select(shown.recv(), quitting.recv());
            if (next.index() == 1 || !std::get<0>(next)) break;
          }
          while (fixed && co_await shown.recv()) {
          }
        },
        hand<e>(shown), std::move(quitting), fixed);
    s.go(named("user"), [](sender<unit> quit) { quit.close(); }, std::move(quit));
  });
}
const row moby21233_1{"goker", "moby21233", "", sometimes, ends_by_itself(), moby21233<end::given>};
const row moby21233_2{"goker",
                      "moby21233",
                      "the parent keeps the receiver",
                      sometimes,
                      proved({"transfer", "kernel", "closer"}, {}),
                      moby21233<end::lent>};

// Everything is added to the group at first, and waited for inside the loop that starts the first of it.
task<> moby25384(bool fixed) {
  wait_group plugins;
  co_await with_scope([&](scope& s) -> task<> {
    wait_group::token added[] = {plugins.add(), plugins.add()};
    for (wait_group::token& one : added) {
      s.go(named("plugin"), [](wait_group::token) -> task<> { co_await yield(); }, std::move(one));
      if (!fixed) co_await plugins.wait();
    }
    co_await plugins.wait();
  });
}
// The scope is the group.
task<> moby25384_in_a_scope(bool fixed) {
  co_await with_scope([=](scope& s) -> task<> {
    for (int i = 0; i < 2; ++i) {
      s.go(named("plugin"), []() -> task<> { co_await yield(); });
      if (!fixed) co_await s.join();
    }
  });
}
const row moby25384_1{"goker", "moby25384", "joined by a scope", always, ends_by_itself(), moby25384_in_a_scope};
const row moby25384_2{"goker", "moby25384", "joined by a wait_group", always, proved({"kernel"}, {}), moby25384};

// The monitor is told to stop, and does not take the result of its last probe.
task<> moby33781(bool fixed) {
  co_await with_scope([=](scope& s) {
    auto [stop, stopped] = channel<unit>();
    s.go(
        named("monitor"),
        [fixed](receiver<unit> stopped) -> task<> {
          co_await with_scope([&](scope& probes) -> task<> {
            auto [result, results] = channel<int>(fixed ? 1 : 0);
            probes.go(named("probe"), [](sender<int> to) -> task<> { (void)co_await to.send(1); }, std::move(result));
            (void)co_await select(stopped.recv(), results.recv());
          });
        },
        std::move(stopped));
    s.go(named("stop"), [](sender<unit> stop) { stop.close(); }, std::move(stop));
  });
}
const row moby33781_{"goker", "moby33781", "", sometimes, ends_by_itself(), moby33781};

// A function locks what its caller has locked.
struct service_vm {
  mutex mu;
  bool running = false;
  service_vm() {}
  task<> hot_add() {
    auto g = co_await mu.lock();
    running = true;
  }
};
task<> moby36114(bool fixed) {
  service_vm vm;
  co_await with_scope([&](scope& s) {
    s.go(named("starter"), [&]() -> task<> {
      auto g = co_await vm.mu.lock();
      vm.running = true;
    });
    s.go(named("attach"), [&]() -> task<> {
      auto g = co_await vm.mu.lock();
      if (vm.running) co_return;
      if (fixed) g.unlock();
      co_await vm.hot_add();
    });
  });
}
const row moby36114_{"goker", "moby36114", "", sometimes, proved({"attach"}, {"kernel"}, {"starter"}), moby36114};

// The lock of all devices is dropped for a while, and taken again with the device's own lock held.
task<> moby4951(bool fixed) {
  mutex devices, device;
  co_await with_scope([&](scope& s) {
    s.go(named("remove"), [&]() -> task<> {
      auto all = co_await devices.lock();
      auto one = co_await device.lock();
      all.unlock();
      co_await yield();  // the slow part
      if (fixed) one.unlock();
      all = co_await devices.lock();
    });
    s.go(named("mount"), [&]() -> task<> {
      auto all = co_await devices.lock();
      auto one = co_await device.lock();
    });
  });
}
const row moby4951_{"goker", "moby4951", "", sometimes, proved({"remove", "mount"}), moby4951};

// The loop goes on with the lock held. A guard of the loop's own block cannot stay.
template <bool outside>
task<> moby7559(bool fixed) {
  mutex mu;
  mutex::guard held;
  for (int packet = 0; packet < 2; ++packet) {
    auto g = co_await mu.lock();
    if (outside) held = std::move(g);
    const bool cannot_dial = true;
    if (cannot_dial && !fixed) continue;
    held.unlock();
  }
}
const row moby7559_1{"goker", "moby7559", "", always, ends_by_itself(), moby7559<false>};
const row moby7559_2{"goker",       "moby7559", "the guard lives outside the loop", always, proved({"kernel"}, {}),
                     moby7559<true>};

// ---- conditions -------------------------------------------------------------------------------------------------
#if __has_include(<leash/shared.hpp>)  // comes with the tracked heap and the confined grade
struct plugin {
  mutex mu;
  condition activated;
  bool active = false;
  plugin() {}
};
task<> wait_active(plugin& p) {
  auto g = co_await p.mu.lock();
  co_await p.activated.wait(g, [&] { return p.active; });
}
task<> activate(plugin& p, bool tell) {
  auto g = co_await p.mu.lock();
  if (!tell) co_return;  // the activation failed
  p.active = true;
  p.activated.notify_all();
}
// The activation fails, and whoever waits for it is not told; a second one waits for the first one's answer.
task<> moby29733(bool fixed) {
  plugin p;
  co_await with_scope([&](scope& s) {
    auto [answer, answers] = channel<unit>();
    s.go(named("handler"), [](receiver<unit> answers) -> task<> { (void)co_await answers.recv(); }, std::move(answers));
    s.go(
        named("getter"), [](plugin& p, sender<unit>) -> task<> { co_await wait_active(p); }, std::ref(p),
        std::move(answer));
    s.go(named("activation"), activate, std::ref(p), fixed);
  });
}
task<> moby30408(bool fixed) {
  plugin p;
  co_await with_scope([&](scope& s) {
    s.go(named("getter"), wait_active, std::ref(p));
    s.go(named("activation"), activate, std::ref(p), fixed);
  });
}
task<> moby30408_shared(bool fixed) {
  co_await with_scope([=](scope& s) {
    auto p = share<plugin>();
    s.go(named("getter"), [](shared<plugin> p) -> task<> { co_await wait_active(*p); }, p);
    s.go(
        named("activation"), [](shared<plugin> p, bool tell) -> task<> { co_await activate(*p, tell); }, std::move(p),
        fixed);
  });
}
#else
constexpr kernel_type moby29733 = nullptr, moby30408 = nullptr, moby30408_shared = nullptr;
#endif
const row moby29733_{"goker",  "moby29733", "", not_run, in_every_schedule(confined({"getter"}, {"kernel", "handler"})),
                     moby29733};
const row moby30408_1{"goker", "moby30408", "in a frame", always, confined({"getter"}), moby30408};
const row moby30408_2{"goker", "moby30408", "in shared<T>", always, proved({"getter"}), moby30408_shared};

}  // namespace
}  // namespace leash::test::corpus
