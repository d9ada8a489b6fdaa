// Go's advice: bind a handler and all it starts to r.Context().
// Here a handler is bound by being called: its queries wait in its context, and its goroutines belong to its scope.
// The server itself comes with leash::http; this is what a handler looks like.
#include <atomic>
#include <chrono>
#include <cstdio>
#include <leash/leash.hpp>
#include <string>

using leash::task;
using namespace std::chrono_literals;

struct request_id {
  int id;
  explicit request_id(int id) : id(id) {}
};

struct counted {
  std::atomic<int>& n;
  explicit counted(std::atomic<int>& n) : n(n) { ++n; }
  counted(const counted&) = delete;
  ~counted() { --n; }
};

// Knows its request without being told, and ends with it without asking.
task<std::string> query(leash::event& database, std::atomic<int>& open) {
  counted connection(open);
  co_await database.wait();
  const request_id* id = leash::this_context().value<request_id>();
  co_return "page for request " + std::to_string(id ? id->id : 0);
}

task<std::string> handle(leash::event& database, std::atomic<int>& open) {
  std::string page;
  co_await leash::with_scope([&](leash::scope& s) -> task<> {
    s.go([&]() -> task<> { page = co_await query(database, open); });
    s.go([&]() -> task<> { (void)co_await query(database, open); });
    co_return;
  });
  co_return page;
}

task<int> app() {
  std::atomic<int> open = 0;
  leash::event up, down;
  up.set();

  std::string page = co_await leash::with_value(request_id(7), handle(up, open));
  std::printf("Answered: \"%s\".\n", page.c_str());

  // The client hangs up: what the connection does then is to cancel the request.
  leash::cancel_source connection;
  leash::timer hang_up = leash::after_func(10ms, [c = connection.dup()]() mutable { c.cancel("the client hung up"); });
  auto none = co_await leash::with_cancel(connection, leash::with_value(request_id(8), handle(down, open)));
  std::printf("The client of request 8 hung up; queries still open: %d.\n", open.load());

  auto late = co_await leash::with_timeout(10ms, leash::with_value(request_id(9), handle(down, open)));
  std::printf("Request 9 ran out of time; queries still open: %d.\n", open.load());

  bool as_told = page == "page for request 7" && !none && !late && open == 0;
  if (!as_told) std::puts("FAILED: a handler left something behind.");
  co_return as_told ? 0 : 1;
}

int main() { return leash::run(app); }
