#include "database.hpp"

#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <spawn.h>
#include <sqlite3.h>
#include <sys/wait.h>
#include <unistd.h>

#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <functional>
#include <mutex>
#include <vector>
#if LEASH_TEST_POSTGRES
#include <libpq-fe.h>
#endif

extern char** environ;

namespace leash::test::sql_tests {

namespace fs = std::filesystem;

static std::string new_folder() {
  std::string pattern = (fs::temp_directory_path() / "leash_sql_XXXXXX").string();
  if (mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("no temporary directory");
  return pattern;
}

// --- the server

#if LEASH_TEST_POSTGRES

/// A thread that lives as long as the program starts the server, so that the system ends it with that thread: nothing is
/// left when a test crashes.
class launcher {
 public:
  launcher() : thread_([this] { work(); }) {}
  ~launcher() {
    {
      std::lock_guard guard(lock_);
      over_ = true;
    }
    wake_.notify_all();
    thread_.join();
  }
  pid_t run(std::vector<std::string> command, const std::string& log) {
    std::unique_lock guard(lock_);
    command_ = std::move(command);
    log_ = log;
    pid_ = -1;
    wanted_ = true;
    wake_.notify_all();
    wake_.wait(guard, [&] { return !wanted_; });
    return pid_;
  }

 private:
  void work() {
    std::unique_lock guard(lock_);
    for (;;) {
      wake_.wait(guard, [&] { return wanted_ || over_; });
      if (over_) return;
      std::vector<char*> argv;
      for (std::string& s : command_) argv.push_back(s.data());
      argv.push_back(nullptr);
      posix_spawn_file_actions_t files;
      posix_spawn_file_actions_init(&files);
      posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
      posix_spawn_file_actions_addopen(&files, 1, log_.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0666);
      posix_spawn_file_actions_adddup2(&files, 1, 2);
      if (posix_spawnp(&pid_, argv[0], &files, nullptr, argv.data(), environ) != 0) pid_ = -1;
      posix_spawn_file_actions_destroy(&files);
      wanted_ = false;
      wake_.notify_all();
    }
  }
  std::mutex lock_;
  std::condition_variable wake_;
  std::vector<std::string> command_;
  std::string log_;
  pid_t pid_ = -1;
  bool wanted_ = false, over_ = false;
  std::thread thread_;
};

static std::string binaries() {
  const char* given = std::getenv("LEASH_TEST_POSTGRES_BIN");
  if (given != nullptr) return given;
  std::string best;
  std::error_code none;
  for (const auto& e : fs::directory_iterator("/usr/lib/postgresql", none))
    if (fs::exists(e.path() / "bin" / "initdb")) best = std::max(best, (e.path() / "bin").string());
  return best;
}

struct server::state {
  launcher start;
  std::string folder, bin, log;
  std::vector<std::string> as_user;  // a command's beginning
  pid_t pid = -1;

  std::vector<std::string> command(std::initializer_list<std::string> words) const {
    std::vector<std::string> all = as_user;
    all.insert(all.end(), words);
    return all;
  }
  std::string log_text() const {
    std::ifstream in(log);
    return {std::istreambuf_iterator<char>(in), {}};
  }
};

static bool is_root() { return geteuid() == 0; }

server::server() : s_(new state) {
  s_->bin = binaries();
  s_->folder = new_folder();
  s_->log = s_->folder + "/log";
  std::ofstream(s_->log).flush();
  fs::permissions(s_->log, fs::perms::all);
  if (is_root()) {
    // The server refuses to run as root.
    const char* user = getpwnam("postgres") != nullptr ? "postgres" : "nobody";
    passwd const* p = getpwnam(user);
    if (chown(s_->folder.c_str(), p->pw_uid, p->pw_gid) != 0) throw std::runtime_error("chown");
    s_->as_user = {"setpriv",
                   "--reuid=" + std::to_string(p->pw_uid),
                   "--regid=" + std::to_string(p->pw_gid),
                   "--clear-groups",
                   "--pdeathsig=INT",
                   "--"};
  } else {
    s_->as_user = {"setpriv", "--pdeathsig=INT", "--"};
  }
  pid_t const made = s_->start.run(s_->command({s_->bin + "/initdb", "-D", s_->folder + "/data", "-A", "trust", "-U",
                                                "leash", "--no-sync", "-E", "UTF8", "--locale=C"}),
                                   s_->log);
  int status = 0;
  if (made < 0 || waitpid(made, &status, 0) != made || status != 0)
    throw std::runtime_error("initdb failed: " + s_->log_text());
  address_ = "host=" + s_->folder + " user=leash dbname=postgres";
  start();
}

void server::start() {
  auto const end = std::chrono::steady_clock::now() + 60s;
  for (;;) {
    if (s_->pid < 0)
      s_->pid = s_->start.run(s_->command({s_->bin + "/postgres", "-D", s_->folder + "/data", "-k", s_->folder, "-c",
                                           "listen_addresses=", "-c", "fsync=off", "-c", "max_connections=60", "-c",
                                           "shared_buffers=16MB", "-c", "autovacuum=off"}),
                              s_->log);
    if (PQping(address_.c_str()) == PQPING_OK) return;
    // One that was killed leaves processes behind for a moment, and none starts beside them.
    int status = 0;
    if (waitpid(s_->pid, &status, WNOHANG) == s_->pid) s_->pid = -1;
    if (std::chrono::steady_clock::now() > end)
      throw std::runtime_error("the server does not start: " + s_->log_text());
    std::this_thread::sleep_for(10ms);
  }
}

void server::kill() {
  ::kill(s_->pid, SIGKILL);
  waitpid(s_->pid, nullptr, 0);
  s_->pid = -1;
}

server::frozen::frozen(server& s) : of_(s) { ::kill(s.s_->pid, SIGSTOP); }
server::frozen::~frozen() { ::kill(of_.s_->pid, SIGCONT); }

server::~server() {
  if (s_->pid > 0) {
    ::kill(s_->pid, SIGINT);
    waitpid(s_->pid, nullptr, 0);
  }
  std::error_code none;
  fs::remove_all(s_->folder, none);
  delete s_;
}

server* server::get() {
  static std::unique_ptr<server, void (*)(server*)> one(binaries().empty() ? nullptr : new server,
                                                        [](server* s) { delete s; });
  return one.get();
}

static std::string ask_postgres(const std::string& address, const std::string& statement) {
  std::unique_ptr<PGconn, void (*)(PGconn*)> c(PQconnectdb(address.c_str()), PQfinish);
  std::unique_ptr<PGresult, void (*)(PGresult*)> r(PQexec(c.get(), statement.c_str()), PQclear);
  if (PQresultStatus(r.get()) != PGRES_TUPLES_OK && PQresultStatus(r.get()) != PGRES_COMMAND_OK)
    throw std::runtime_error(PQerrorMessage(c.get()));
  return PQntuples(r.get()) > 0 && PQnfields(r.get()) > 0 ? PQgetvalue(r.get(), 0, 0) : "";
}

#else
server* server::get() { return nullptr; }
#endif

static std::string ask_sqlite(const std::string& path, const std::string& statement) {
  sqlite3* db = nullptr;
  if (sqlite3_open(path.c_str(), &db) != SQLITE_OK) throw std::runtime_error("no database");
  std::unique_ptr<sqlite3, int (*)(sqlite3*)> owned(db, sqlite3_close);
  sqlite3_busy_timeout(db, 20'000);
  std::string first;
  char* message = nullptr;
  if (sqlite3_exec(
          db, statement.c_str(),
          [](void* to, int n, char** values, char**) {
            auto& first = *static_cast<std::string*>(to);
            if (first.empty() && n > 0 && values[0] != nullptr) first = values[0];
            return 0;
          },
          &first, &message) != SQLITE_OK)
    throw std::runtime_error(message);
  return first;
}

// --- a test's own

database::database(backend b) : kind_(b) {
  if (is_sqlite()) {
    place_ = new_folder();
    address_ = "sqlite:" + place_ + "/test.db";
    return;
  }
#if LEASH_TEST_POSTGRES
  static int n = 0;
  place_ = "test_" + std::to_string(++n);
  ask_postgres(server::get()->address(), "CREATE SCHEMA " + place_);
  address_ = server::get()->address() + " options='-c search_path=" + place_ + "'";
#endif
}
database::~database() {
  try {
    if (is_sqlite()) fs::remove_all(place_);
#if LEASH_TEST_POSTGRES
    if (!is_sqlite()) {
      server::get()->start();
      ask_postgres(server::get()->address(), "DROP SCHEMA " + place_ + " CASCADE");
      // Whatever a test opened is gone: its end has been seen by the server, or soon will be.
      for (int i = 0; i < 2000; ++i) {
        if (ask_postgres(server::get()->address(),
                         "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'") == "1")
          return;
        std::this_thread::sleep_for(5ms);
      }
      ADD_FAILURE() << "connections were left behind";
    }
#endif
  } catch (const std::exception& e) {
    ADD_FAILURE() << e.what();
  }
}

std::string database::many_rows(int n) const {
  if (is_sqlite())
    return "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < " + std::to_string(n) +
           ") SELECT i, printf('%.1000c', 'x') FROM n";
  return "SELECT i, repeat('x', 1000) FROM generate_series(1, " + std::to_string(n) + ") AS n(i)";
}

std::string ask(database& db, const std::string& statement) {
#if LEASH_TEST_POSTGRES
  if (!db.is_sqlite()) return ask_postgres(db.address(), statement);
#endif
  return ask_sqlite(db.address().substr(7), statement);
}

void on_workers(backend b, unsigned workers, body_of_test body, leaks expected) {
  if (b == backend::postgres && server::get() == nullptr) GTEST_SKIP() << "no PostgreSQL server is installed";
  database db(b);
  run_at(workers, [&] { return body(db); }, expected);
}

void simulated(body_of_test body, leaks expected) {
  std::unique_ptr<database> db;
  run_simulated(
      [&] {
        db.reset();
        db = std::make_unique<database>(backend::sqlite);
        return body(*db);
      },
      expected);
}

task<bool> settled(pool& p, std::size_t idle) {
  co_return co_await eventually(
      [&] { return p.stats().in_use == 0 && p.stats().idle == idle && p.stats().waiting == 0; },
      "connections that are back");
}

}  // namespace leash::test::sql_tests
