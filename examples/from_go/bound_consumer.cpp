// Go's advice: bind message consumers to a context, stop them before the broker, and lose no message on the way.
// Here a consumer ends with its scope, in the middle of a message too; finally() hands that message back.
// Real brokers come with leash::messaging.
#include <chrono>
#include <cstdio>
#include <functional>
#include <leash/leash.hpp>
#include <string>
#include <utility>
#include <vector>

using leash::task;
using namespace std::chrono_literals;

task<> work_on(const std::string& message, leash::event& busy) {
  if (message != "b") co_return;
  busy.set();
  co_await leash::sleep(1h);
}

task<> consume(leash::receiver<std::string>& from, leash::sender<std::string>& back,
               std::vector<std::string>& acknowledged, leash::event& busy) {
  while (auto message = co_await from.recv()) {
    co_await leash::finally(work_on(*message, busy), [&](leash::outcome how) -> task<> {
      if (how == leash::outcome::returned)
        acknowledged.push_back(*message);
      else if (!co_await back.send(*message))  // may wait: clean-up is shielded, for a bounded time
        std::printf("\"%s\" could not be handed back.\n", message->c_str());
    });
  }
}

task<int> app() {
  auto [tx, rx] = leash::channel<std::string>(4);
  bool filled = true;
  for (const char* m : {"a", "b", "c"}) filled &= co_await tx.send(m);
  std::vector<std::string> acknowledged, left;
  leash::event busy;

  co_await leash::with_scope([&](leash::scope& s) -> task<> {
    s.go(leash::named("consumer"), consume, std::ref(rx), std::ref(tx), std::ref(acknowledged), std::ref(busy));
    co_await busy.wait();
    s.cancel("shutting down");
  });
  while (auto m = rx.try_recv()) left.push_back(std::move(*m));

  std::printf("Acknowledged before the shutdown: %zu; in the queue after it:", acknowledged.size());
  for (auto& m : left) std::printf(" %s", m.c_str());
  std::puts(".");

  bool as_told = filled && acknowledged == std::vector<std::string>{"a"} &&
                 left == std::vector<std::string>{"c", "b"} && leash::num_goroutines() == 1;
  if (!as_told) std::puts("FAILED: a message was lost or done twice.");
  co_return as_told ? 0 : 1;
}

int main() { return leash::run(app); }
