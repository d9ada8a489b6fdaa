// Statements per second through a pool, beside libpq by hand on as many connections.
//
//   sql_bench ADDRESS [connections [seconds [rounds]]]
//
// The statement is a prepared look-up by primary key, its parameter bound, its row read. By hand: one thread for each
// connection (PQexecPrepared), and one thread with epoll for all of them (PQsendQueryPrepared), whichever is faster on this
// machine. Rounds alternate, so that noise hits all alike; medians are printed.
#include <libpq-fe.h>
#include <sys/epoll.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
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
  double per_second = 0, cpu_us = 0;  // cpu: of this process, per statement
};

double cpu_seconds() {
  rusage u{};
  getrusage(RUSAGE_SELF, &u);
  auto const of = [](const timeval& t) { return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6; };
  return of(u.ru_utime) + of(u.ru_stime);
}

template <class F>
figure measure(F&& run) {
  double const cpu = cpu_seconds();
  auto const since = steady::now();
  std::uint64_t const n = run();
  double const seconds = std::chrono::duration<double>(steady::now() - since).count();
  return {static_cast<double>(n) / seconds, (cpu_seconds() - cpu) * 1e6 / static_cast<double>(n)};
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
  if (PQresultStatus(r) != PGRES_TUPLES_OK || PQntuples(r) != 1 || PQgetvalue(r, 0, 0)[0] != 'v') die("row", c);
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

figure with_epoll(const std::string& address, int connections, std::chrono::duration<double> time) {
  std::vector<connection_ptr> all;
  int const poll = epoll_create1(0);
  for (int i = 0; i < connections; ++i) {
    all.push_back(connect(address));
    PQsetnonblocking(all.back().get(), 1);
    epoll_event e{};
    e.events = EPOLLIN;
    e.data.ptr = all.back().get();
    epoll_ctl(poll, EPOLL_CTL_ADD, PQsocket(all.back().get()), &e);
  }
  figure const f = measure([&] {
    std::uint64_t n = 0;
    int id = 0;
    auto const end = steady::now() + time;
    auto const send = [&](PGconn* c) {
      std::string const text = std::to_string(id = (id + 7) % rows);
      const char* const values[] = {text.c_str()};
      if (PQsendQueryPrepared(c, "s", 1, values, nullptr, nullptr, 0) == 0 || PQflush(c) != 0) die("send", c);
    };
    for (auto& c : all) send(c.get());
    for (int open = connections; open > 0;) {
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
    return n;
  });
  close(poll);
  return f;
}

figure with_pool(const std::string& address, int connections, int goroutines, std::chrono::duration<double> time) {
  figure f;
  leash::run([&]() -> leash::task<> {
    leash::sql::pool p(address, {.max_open = static_cast<std::size_t>(connections)});
    // Warm: connections are open, the statement is prepared, as by hand.
    {
      std::vector<leash::sql::connection> all;
      for (int i = 0; i < connections; ++i) all.push_back(co_await p.acquire());
      for (auto& c : all)
        for (int i = 0; i < 2; ++i) (void)co_await c.query(statement, i);
    }
    double const cpu = cpu_seconds();
    auto const since = steady::now();
    auto const end = since + time;
    std::atomic<std::uint64_t> total = 0;
    co_await leash::with_scope([&](leash::scope& s) -> leash::task<> {
      for (int g = 0; g < goroutines; ++g)
        s.go([&, g]() -> leash::task<> {
          std::uint64_t n = 0;
          for (int id = g; steady::now() < end; id = (id + 7) % rows, ++n) {
            leash::sql::result const r = co_await p.query(statement, id);
            if (r.one().get<std::string_view>(0).front() != 'v') std::abort();
          }
          total += n;
        });
      co_return;
    });
    double const seconds = std::chrono::duration<double>(steady::now() - since).count();
    f = {static_cast<double>(total) / seconds, (cpu_seconds() - cpu) * 1e6 / static_cast<double>(total)};
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
    std::fprintf(stderr, "usage: sql_bench ADDRESS [connections [seconds [rounds]]]\n");
    return 2;
  }
  std::string const address = argv[1];
  int const connections = argc > 2 ? std::atoi(argv[2]) : 4;
  std::chrono::duration<double> const time(argc > 3 ? std::atof(argv[3]) : 2);
  int const rounds = argc > 4 ? std::atoi(argv[4]) : 5;
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
  std::vector<figure> threads, epoll, pool, crowd;
  for (int i = 0; i < rounds; ++i) {
    threads.push_back(with_threads(address, connections, time));
    pool.push_back(with_pool(address, connections, connections, time));
    epoll.push_back(with_epoll(address, connections, time));
    crowd.push_back(with_pool(address, connections, 200, time));
  }
  std::printf("%d connections, median of %d rounds of %.1f s\n", connections, rounds, time.count());
  std::printf("%-46s %12s %12s\n", "", "statements/s", "client us");
  auto const line = [&](const char* name, const std::vector<figure>& all) {
    figure const f = median(all);
    std::printf("%-46s %12.0f %12.1f\n", name, f.per_second, f.cpu_us);
    return f.per_second;
  };
  double const by_hand = std::max(line("libpq by hand, a thread per connection", threads),
                                  line("libpq by hand, one thread and epoll", epoll));
  double const one = line("leash::sql::pool, a goroutine per connection", pool);
  double const many = line("leash::sql::pool, 200 goroutines", crowd);
  std::printf("pool / by hand: %.2f (as many goroutines as connections), %.2f (200 goroutines)\n", one / by_hand,
              many / by_hand);
  return 0;
}
