// A process that publishes or consumes, and may be killed at any moment. What it has done it appends to a log, a line each.
//
//   mq_worker publish FILE LOG FIRST COUNT     a line when publish has returned
//   mq_worker consume FILE LOG NAME [ordered]  a line at the end of each handler; ends by itself when the queue is empty
//   mq_worker hold FILE LOG                    takes a message, says so, and never ends its handler
//   mq_worker lock FILE LOG                    begins a transaction, says so, and never ends it
#include <fcntl.h>
#include <sqlite3.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <leash/leash.hpp>
#include <leash/mq.hpp>
#include <string>

using namespace leash;
using namespace std::chrono_literals;

namespace {

/// One write() with O_APPEND: whole lines, whoever else writes, and on their way when it returns.
class log_file {
 public:
  explicit log_file(const char* name) : fd_(::open(name, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600)) {
    if (fd_ < 0) std::perror(name), std::exit(2);
  }
  log_file(const log_file&) = delete;
  ~log_file() { ::close(fd_); }
  void line(const std::string& text) const {
    std::string const l = text + "\n";
    if (::write(fd_, l.data(), l.size()) != static_cast<ssize_t>(l.size())) std::perror("write"), std::exit(2);
  }

 private:
  int fd_;
};

task<> publish(mq::queue q, const log_file& log, int first, int count) {
  for (int i = first; i < first + count; ++i) {
    std::string const id = std::to_string(i);
    (void)co_await q.publish(id, {.key = "k" + std::to_string(i % 5), .idempotency_key = id});
    log.line(id);
  }
}

task<> consume(mq::queue q, const log_file& log, std::string name) {
  mq::consumer c(q, {.concurrency = 4, .max_attempts = 1000, .visibility = 300ms, .back_off = 1ms});
  co_await with_scope([&](scope& s) -> task<> {
    s.go([&]() -> task<> {
      for (;;) {
        auto const n = co_await q.count();
        if (n.waiting + n.in_flight == 0) break;
        co_await sleep(20ms);
      }
      c.drain();
    });
    co_await c.run([&](const mq::message& m) -> task<> {
      co_await sleep(2ms);
      log.line(name + " " + m.key + " " + m.body);
    });
  });
}

task<> hold(mq::queue q, const log_file& log) {
  mq::consumer c(q, {.visibility = 300ms});
  co_await c.run([&](const mq::message& m) -> task<> {
    log.line("holds " + m.body);
    co_await sleep(1h);
  });
}

int lock(const char* file, const log_file& log) {
  sqlite3* db = nullptr;
  if (sqlite3_open(file, &db) != SQLITE_OK ||
      sqlite3_exec(db, "BEGIN IMMEDIATE", nullptr, nullptr, nullptr) != SQLITE_OK)
    return 1;
  log.line("locked");
  for (;;) ::pause();
}

task<> work(int argc, char** argv) {
  std::string const what = argv[1];
  bool const ordered = std::string(argv[argc - 1]) == "ordered";
  auto q = co_await mq::open_sqlite({.file = argv[2], .ordered_by_key = ordered, .poll = 5ms});
  log_file const log(argv[3]);
  if (what == "publish") {
    co_await publish(std::move(q), log, std::atoi(argv[4]), std::atoi(argv[5]));
  } else if (what == "consume") {
    co_await consume(std::move(q), log, argv[4]);
  } else {
    co_await hold(std::move(q), log);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) return 2;
  if (std::string(argv[1]) == "lock") return lock(argv[2], log_file(argv[3]));
  try {
    run(options{.workers = 2}, work, argc, argv);
  } catch (const std::exception& e) {
    std::cerr << e.what() << "\n";
    return 1;
  }
}
