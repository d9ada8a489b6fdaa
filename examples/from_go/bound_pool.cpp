// Go's advice: bind database calls to a context, and close rows, or the pool runs dry.
// Here a connection holds its permit: it goes back however its user ends, and waiting for one ends with the context.
// A real pool comes with leash::sql.
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <functional>
#include <leash/leash.hpp>
#include <optional>
#include <utility>

using leash::task;
using namespace std::chrono_literals;

class pool {
 public:
  class connection {
   public:
    explicit connection(leash::semaphore::permit p) : permit_(std::move(p)) {}

   private:
    leash::semaphore::permit permit_;
  };
  explicit pool(std::size_t size) : places_(size) {}
  task<connection> get() { co_return connection(co_await places_.acquire()); }

 private:
  leash::semaphore places_;
};

task<> slow_query(pool& db, leash::wait_group::token connected) {
  auto c = co_await db.get();
  connected.done();
  co_await leash::sleep(1h);
}

task<int> app() {
  pool db(2);
  leash::wait_group connected;
  bool got_third = true;
  int served = 0;

  co_await leash::with_scope([&](leash::scope& s) -> task<> {
    s.go(slow_query, std::ref(db), connected.add());
    s.go(slow_query, std::ref(db), connected.add());
    co_await connected.wait();
    std::optional<pool::connection> third = co_await leash::with_timeout(10ms, db.get());
    got_third = third.has_value();
    s.cancel("the report is no longer wanted");
  });
  std::printf("With both connections busy the third caller %s.\n", got_third ? "got one" : "gave up in time");

  // Cancelled users gave theirs back, and the caller who gave up took none with it.
  co_await leash::with_timeout(1s, [&]() -> task<> {
    auto first = co_await db.get();
    auto second = co_await db.get();
    served = 2;
  });
  std::printf("After their users were cancelled, %d of 2 connections are back.\n", served);

  bool as_told = !got_third && served == 2;
  if (!as_told) std::puts("FAILED: a connection was lost.");
  co_return as_told ? 0 : 1;
}

int main() { return leash::run(app); }
