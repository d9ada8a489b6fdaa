// Statements per second through a pool, beside libpq by hand on as many connections.
//
//   sql_bench ADDRESS [connections [seconds [rounds [row]]]]         row: only that one, by its number
//
// The statement is a prepared look-up by primary key, its parameter bound, its row read into a string. By hand, with the same
// connections:
//
//   threads   a thread for each connection, which waits in PQexecPrepared: the program that libpq's manual leads to
//   epoll     1 or 2 threads, each with epoll for its share of the connections (PQsendQueryPrepared): as many threads as a
//             run has workers
//
// Rounds alternate, so that noise hits all alike; medians are printed.
#include <libpq-fe.h>
#include <sys/epoll.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <leash/leash.hpp>
#include <leash/sql.hpp>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using steady = std::chrono::steady_clock;

constexpr int rows = 1000;
constexpr const char* statement = "SELECT v FROM leash_bench WHERE id = $1";

struct figure {
  double per_second = 0;
  double cpu_us = 0, switches = 0;  // of this process, per statement
};

struct spent {
  double cpu = 0, switches = 0;
  static spent now() {
    rusage u{};
    getrusage(RUSAGE_SELF, &u);
    auto const of = [](const timeval& t) {
      return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
    };
    return {of(u.ru_utime) + of(u.ru_stime), static_cast<double>(u.ru_nvcsw + u.ru_nivcsw)};
  }
};

/// From its making on.
class watch {
 public:
  figure after(std::uint64_t statements) const {
    auto const n = static_cast<double>(statements);
    spent const now = spent::now();
    return {n / std::chrono::duration<double>(steady::now() - since_).count(), (now.cpu - before_.cpu) * 1e6 / n,
            (now.switches - before_.switches) / n};
  }

 private:
  spent before_ = spent::now();
  steady::time_point since_ = steady::now();
};

template <class F>
figure measure(F&& run) {
  watch const w;
  return w.after(run());
}

[[noreturn]] void die(const char* what, PGconn* c) {
  std::fprintf(stderr, "%s: %s", what, PQerrorMessage(c));
  std::exit(1);
}

using connection_ptr = std::unique_ptr<PGconn, void (*)(PGconn*)>;

connection_ptr connect(const std::string& address) {
  connection_ptr c(PQconnectdb(address.c_str()), PQfinish);
  if (PQstatus(c.get()) != CONNECTION_OK) die("connect", c.get());
  PGresult* r = PQprepare(c.get(), "s", statement, 0, nullptr);
  if (PQresultStatus(r) != PGRES_COMMAND_OK) die("prepare", c.get());
  PQclear(r);
  return c;
}

void check(PGconn* c, PGresult* r) {
  if (PQresultStatus(r) != PGRES_TUPLES_OK || PQntuples(r) != 1) die("row", c);
  std::string const v = PQgetvalue(r, 0, 0);
  if (v.front() != 'v') die("row", c);
  PQclear(r);
}

figure with_threads(const std::string& address, int connections, std::chrono::duration<double> time) {
  std::vector<connection_ptr> all;
  for (int i = 0; i < connections; ++i) all.push_back(connect(address));
  return measure([&] {
    std::atomic<std::uint64_t> total = 0;
    auto const end = steady::now() + time;
    std::vector<std::thread> threads;
    for (int t = 0; t < connections; ++t)
      threads.emplace_back([&, t] {
        PGconn* const c = all[static_cast<std::size_t>(t)].get();
        std::uint64_t n = 0;
        for (int id = t; steady::now() < end; id = (id + 7) % rows, ++n) {
          std::string const text = std::to_string(id);
          const char* const values[] = {text.c_str()};
          check(c, PQexecPrepared(c, "s", 1, values, nullptr, nullptr, 0));
        }
        total += n;
      });
    for (auto& t : threads) t.join();
    return total.load();
  });
}

std::uint64_t poll_all(const std::vector<connection_ptr>& all, std::chrono::duration<double> time) {
  int const poll = epoll_create1(0);
  for (auto& c : all) {
    epoll_event e{};
    e.events = EPOLLIN;
    e.data.ptr = c.get();
    epoll_ctl(poll, EPOLL_CTL_ADD, PQsocket(c.get()), &e);
  }
  std::uint64_t n = 0;
  int id = 0;
  auto const end = steady::now() + time;
  auto const send = [&](PGconn* c) {
    std::string const text = std::to_string(id = (id + 7) % rows);
    const char* const values[] = {text.c_str()};
    if (PQsendQueryPrepared(c, "s", 1, values, nullptr, nullptr, 0) == 0 || PQflush(c) != 0) die("send", c);
  };
  for (auto& c : all) send(c.get());
  for (std::size_t open = all.size(); open > 0;) {
    epoll_event ready[64];
    int const k = epoll_wait(poll, ready, 64, -1);
    for (int i = 0; i < k; ++i) {
      auto* c = static_cast<PGconn*>(ready[i].data.ptr);
      if (PQconsumeInput(c) == 0) die("read", c);
      if (PQisBusy(c) != 0) continue;
      while (PGresult* r = PQgetResult(c)) check(c, r);
      ++n;
      steady::now() < end ? send(c) : void(--open);
    }
  }
  close(poll);
  return n;
}

figure with_epoll(const std::string& address, int connections, int threads, std::chrono::duration<double> time) {
  std::vector<std::vector<connection_ptr>> shares(static_cast<std::size_t>(threads));
  for (int i = 0; i < connections; ++i) {
    auto& share = shares[static_cast<std::size_t>(i % threads)];
    share.push_back(connect(address));
    PQsetnonblocking(share.back().get(), 1);
  }
  return measure([&] {
    std::atomic<std::uint64_t> total = 0;
    std::vector<std::thread> all;
    for (auto& share : shares) all.emplace_back([&] { total += poll_all(share, time); });
    for (auto& t : all) t.join();
    return total.load();
  });
}

figure with_pool(const std::string& address, int connections, unsigned workers, int goroutines,
                 std::chrono::duration<double> time) {
  figure f;
  leash::run({.workers = workers}, [&]() -> leash::task<> {
    leash::sql::pool p(address, {.max_open = static_cast<std::size_t>(connections)});
    // Warm: connections are open, the statement is prepared, as by hand.
    {
      std::vector<leash::sql::connection> all;
      for (int i = 0; i < connections; ++i) all.push_back(co_await p.acquire());
      for (auto& c : all)
        for (int i = 0; i < 2; ++i) (void)co_await c.query(statement, i);
    }
    watch const w;
    auto const end = steady::now() + time;
    std::atomic<std::uint64_t> total = 0;
    co_await leash::with_scope([&](leash::scope& s) -> leash::task<> {
      for (int g = 0; g < goroutines; ++g)
        s.go([&, g]() -> leash::task<> {
          std::uint64_t n = 0;
          for (int id = g; steady::now() < end; id = (id + 7) % rows, ++n) {
            leash::sql::result const r = co_await p.query(statement, id);
            if (r.one().get<std::string>(0).front() != 'v') std::abort();
          }
          total += n;
        });
      co_return;
    });
    f = w.after(total);
    co_await p.close();
  });
  return f;
}

figure median(std::vector<figure> all) {
  std::sort(all.begin(), all.end(), [](auto& a, auto& b) { return a.per_second < b.per_second; });
  return all[all.size() / 2];
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: sql_bench ADDRESS [connections [seconds [rounds [row]]]]\n");
    return 2;
  }
  std::string const address = argv[1];
  int const connections = argc > 2 ? std::atoi(argv[2]) : 4;
  std::chrono::duration<double> const time(argc > 3 ? std::atof(argv[3]) : 2);
  int const rounds = argc > 4 ? std::atoi(argv[4]) : 5;
  int const only = argc > 5 ? std::atoi(argv[5]) : 0;
  {
    connection_ptr c(PQconnectdb(address.c_str()), PQfinish);
    for (const char* s :
         {"DROP TABLE IF EXISTS leash_bench", "CREATE TABLE leash_bench (id INTEGER PRIMARY KEY, v TEXT)",
          "INSERT INTO leash_bench SELECT i, 'v' || i FROM generate_series(0, 999) AS n(i)",
          "VACUUM ANALYZE leash_bench"}) {
      PGresult* r = PQexec(c.get(), s);
      if (PQresultStatus(r) != PGRES_COMMAND_OK) die(s, c.get());
      PQclear(r);
    }
  }
  struct row {
    const char* name;
    std::function<figure()> run;
    std::vector<figure> all = {};
  };
  row all[] = {
      {"by hand, a thread for each connection", [&] { return with_threads(address, connections, time); }},
      {"by hand, one thread with epoll", [&] { return with_epoll(address, connections, 1, time); }},
      {"by hand, two threads with epoll", [&] { return with_epoll(address, connections, 2, time); }},
      {"pool, 1 worker, as many goroutines", [&] { return with_pool(address, connections, 1, connections, time); }},
      {"pool, 1 worker, 200 goroutines", [&] { return with_pool(address, connections, 1, 200, time); }},
      {"pool, 2 workers, as many goroutines", [&] { return with_pool(address, connections, 2, connections, time); }},
      {"pool, 2 workers, 200 goroutines", [&] { return with_pool(address, connections, 2, 200, time); }},
  };
  for (int i = 0; i < rounds; ++i)
    for (row& r : all)
      if (only == 0 || &all[only - 1] == &r) r.all.push_back(r.run());
  std::printf("%d connections, median of %d rounds of %.1f s\n", connections, rounds, time.count());
  std::printf("%-42s %12s %12s %10s %10s\n", "", "statements/s", "client us", "switches", "/ epoll 1");
  double const epoll = all[1].all.empty() ? 0 : median(all[1].all).per_second;
  for (row& r : all) {
    if (r.all.empty()) continue;
    figure const f = median(r.all);
    std::printf("%-42s %12.0f %12.1f %10.2f %10.2f\n", r.name, f.per_second, f.cpu_us, f.switches,
                epoll == 0 ? 0 : f.per_second / epoll);
  }
  return 0;
}
