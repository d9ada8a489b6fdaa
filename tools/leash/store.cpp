#include "store.hpp"

#include <sqlite3.h>

#include "error.hpp"

namespace leash::cli {

namespace {
constexpr const char* schema = R"(
PRAGMA journal_mode = WAL;
PRAGMA foreign_keys = ON;
CREATE TABLE IF NOT EXISTS instance(id INTEGER PRIMARY KEY, address TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS site(id INTEGER PRIMARY KEY, function TEXT NOT NULL, file TEXT NOT NULL, line INTEGER NOT NULL,
  entry TEXT NOT NULL, state TEXT NOT NULL, kind TEXT NOT NULL, UNIQUE(function, file, line, entry));
CREATE TABLE IF NOT EXISTS look(id INTEGER PRIMARY KEY, time INTEGER NOT NULL, instance INTEGER NOT NULL REFERENCES instance(id),
  goroutines INTEGER NOT NULL, error TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS look_by_instance ON look(instance, time);
CREATE INDEX IF NOT EXISTS look_by_time ON look(time);
CREATE TABLE IF NOT EXISTS count(look INTEGER NOT NULL REFERENCES look(id) ON DELETE CASCADE, site INTEGER NOT NULL REFERENCES site(id),
  n INTEGER NOT NULL, PRIMARY KEY(look, site)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS proof_look(look INTEGER PRIMARY KEY REFERENCES look(id) ON DELETE CASCADE);
CREATE TABLE IF NOT EXISTS proof(look INTEGER NOT NULL REFERENCES look(id) ON DELETE CASCADE, site INTEGER NOT NULL REFERENCES site(id),
  n INTEGER NOT NULL, PRIMARY KEY(look, site)) WITHOUT ROWID;
PRAGMA user_version = 1;
)";
}  // namespace

class store::statement {
 public:
  statement(const store& s, const char* sql) : store_(s) { check(sqlite3_prepare_v2(s.db_, sql, -1, &it_, nullptr)); }
  ~statement() { sqlite3_finalize(it_); }
  statement(const statement&) = delete;

  statement& bind(std::int64_t n) {
    check(sqlite3_bind_int64(it_, ++bound_, n));
    return *this;
  }
  statement& bind(const std::string& text) {
    check(sqlite3_bind_text(it_, ++bound_, text.data(), static_cast<int>(text.size()), SQLITE_TRANSIENT));
    return *this;
  }
  bool step() {
    const int rc = sqlite3_step(it_);
    if (rc != SQLITE_ROW && rc != SQLITE_DONE) check(rc);
    return rc == SQLITE_ROW;
  }
  void again() {
    sqlite3_reset(it_);
    bound_ = 0;
  }
  std::int64_t number(int column) const { return sqlite3_column_int64(it_, column); }
  std::string text(int column) const {
    const auto* t = reinterpret_cast<const char*>(sqlite3_column_text(it_, column));
    return t == nullptr ? std::string() : std::string(t, static_cast<std::size_t>(sqlite3_column_bytes(it_, column)));
  }

 private:
  void check(int rc) const {
    if (rc != SQLITE_OK) throw input_error(store_.path_ + ": " + sqlite3_errmsg(store_.db_));
  }
  const store& store_;
  sqlite3_stmt* it_ = nullptr;
  int bound_ = 0;
};

store::store(const std::string& path) : path_(path) {
  if (sqlite3_open(path.c_str(), &db_) != SQLITE_OK) {
    const std::string why = sqlite3_errmsg(db_);
    sqlite3_close(db_);
    throw input_error(path + ": " + why);
  }
  sqlite3_busy_timeout(db_, 5000);
  try {
    std::int64_t version = 0;
    {
      statement s(*this, "PRAGMA user_version");
      if (s.step()) version = s.number(0);
    }
    if (version > 1) throw input_error(path + ": it was written by a newer leash");
    run(schema);
  } catch (...) {
    sqlite3_close(db_);
    throw;
  }
}
store::~store() { sqlite3_close(db_); }

void store::run(const char* sql) const {
  char* why = nullptr;
  if (sqlite3_exec(db_, sql, nullptr, nullptr, &why) == SQLITE_OK) return;
  const std::string text = path_ + ": " + (why == nullptr ? "cannot be used" : why);
  sqlite3_free(why);
  throw input_error(text);
}

std::int64_t store::number_of_instance(const std::string& address) {
  statement(*this, "INSERT OR IGNORE INTO instance(address) VALUES(?)").bind(address).step();
  statement s(*this, "SELECT id FROM instance WHERE address = ?");
  s.bind(address).step();
  return s.number(0);
}

std::int64_t store::number_of_site(const named_site& n) {
  statement(*this,
            "INSERT INTO site(function, file, line, entry, state, kind) VALUES(?, ?, ?, ?, ?, ?) "
            "ON CONFLICT DO UPDATE SET state = excluded.state, kind = excluded.kind")
      .bind(n.function)
      .bind(n.file)
      .bind(n.line)
      .bind(n.entry)
      .bind(n.state)
      .bind(n.kind)
      .step();
  statement s(*this, "SELECT id FROM site WHERE function = ? AND file = ? AND line = ? AND entry = ?");
  s.bind(n.function).bind(n.file).bind(n.line).bind(n.entry).step();
  return s.number(0);
}

void store::add(const std::vector<look>& round) {
  run("BEGIN IMMEDIATE");
  try {
    for (const look& l : round) {
      statement(*this, "INSERT INTO look(time, instance, goroutines, error) VALUES(?, ?, ?, ?)")
          .bind(l.time)
          .bind(number_of_instance(l.instance))
          .bind(static_cast<std::int64_t>(l.goroutines))
          .bind(l.error)
          .step();
      const std::int64_t number = sqlite3_last_insert_rowid(db_);
      statement count(*this,
                      "INSERT INTO count(look, site, n) VALUES(?, ?, ?) ON CONFLICT DO UPDATE SET n = n + excluded.n");
      for (const auto& [site, n] : l.counts) {
        count.again();
        count.bind(number).bind(number_of_site(site)).bind(static_cast<std::int64_t>(n)).step();
      }
      if (!l.proof) continue;
      statement(*this, "INSERT INTO proof_look(look) VALUES(?)").bind(number).step();
      statement proof(*this,
                      "INSERT INTO proof(look, site, n) VALUES(?, ?, ?) ON CONFLICT DO UPDATE SET n = n + excluded.n");
      for (const auto& [site, n] : l.proven) {
        proof.again();
        proof.bind(number).bind(number_of_site(site)).bind(static_cast<std::int64_t>(n)).step();
      }
    }
    run("COMMIT");
  } catch (...) {
    sqlite3_exec(db_, "ROLLBACK", nullptr, nullptr, nullptr);
    throw;
  }
}

std::map<named_site, std::map<std::string, series>> store::history(std::int64_t since, std::size_t most) const {
  struct place_in {
    std::string instance;
    std::size_t at, of;
  };
  std::map<std::int64_t, place_in> looks;  // by number
  {
    std::map<std::string, std::vector<std::int64_t>> by_instance;
    statement s(*this,
                "SELECT look.id, address FROM look JOIN instance ON instance.id = look.instance WHERE time >= ? AND "
                "error = '' ORDER BY time, look.id");
    s.bind(since);
    while (s.step()) by_instance[s.text(1)].push_back(s.number(0));
    for (auto& [instance, numbers] : by_instance) {
      const std::size_t first = numbers.size() > most ? numbers.size() - most : 0, of = numbers.size() - first;
      for (std::size_t i = 0; i < of; ++i) looks[numbers[first + i]] = {instance, i, of};
    }
  }
  std::map<named_site, std::map<std::string, series>> all;
  statement s(*this,
              "SELECT function, file, line, entry, state, kind, look, n FROM count JOIN site ON site.id = count.site "
              "JOIN look ON look.id = count.look WHERE time >= ?");
  s.bind(since);
  while (s.step()) {
    const auto found = looks.find(s.number(6));
    if (found == looks.end()) continue;
    const named_site site{s.text(0), s.text(1), static_cast<std::uint32_t>(s.number(2)),
                          s.text(3), s.text(4), s.text(5)};
    auto& counts = all[site][found->second.instance].counts;
    counts.resize(found->second.of);
    counts[found->second.at] = static_cast<std::uint64_t>(s.number(7));
  }
  return all;
}

std::vector<look> store::instances(std::int64_t since) const {
  std::vector<look> all;
  // With max(), SQLite takes the other columns from the row that has it.
  statement s(*this,
              "SELECT address, max(time), goroutines, error FROM look JOIN instance ON instance.id = look.instance "
              "WHERE time >= ? "
              "GROUP BY address ORDER BY address");
  s.bind(since);
  while (s.step())
    all.push_back({s.text(0), s.number(1), static_cast<std::uint64_t>(s.number(2)), s.text(3), {}, false, {}});
  return all;
}

std::map<named_site, std::map<std::string, std::uint64_t>> store::proofs(std::int64_t since) const {
  std::map<named_site, std::map<std::string, std::uint64_t>> all;
  statement s(
      *this,
      "SELECT function, file, line, entry, state, kind, address, n FROM proof JOIN site ON site.id = proof.site "
      "JOIN look ON look.id = proof.look JOIN instance ON instance.id = look.instance WHERE look.id IN "
      "(SELECT max(look.id) FROM proof_look JOIN look ON look.id = proof_look.look WHERE time >= ? GROUP BY "
      "instance)");
  s.bind(since);
  while (s.step()) {
    const named_site site{s.text(0), s.text(1), static_cast<std::uint32_t>(s.number(2)),
                          s.text(3), s.text(4), s.text(5)};
    all[site][s.text(6)] += static_cast<std::uint64_t>(s.number(7));
  }
  return all;
}

void store::forget(std::int64_t before) { statement(*this, "DELETE FROM look WHERE time < ?").bind(before).step(); }

}  // namespace leash::cli
