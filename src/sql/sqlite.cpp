// SQLite: each step on the blocking pool, interrupted when the goroutine's context ends.
//
//   L1. The connection is touched by one thread at a time: the goroutine's own, or the pool's thread while the goroutine
//       is held in blocking(). Only sqlite3_interrupt comes from elsewhere, and only while a job runs (`stopper`).
//   L2. A job that sees `stop` leaves no statement under way. The goroutine unwinds then, for the context has ended.
//   L3. What is busy is tried again from outside of the blocking pool, after a sleep: that takes no thread, ends with the
//       context, and works in virtual time. Nothing was done then, so nothing is done twice.
//
// Rejected: sqlite3_busy_handler, which sleeps on a thread of the pool (with as many writers as threads, the one that
// holds the lock has none to go on with) and hears of no cancellation; a thread per connection, for one that is idle
// costs a stack.
#if LEASH_SQL_SQLITE
#include <sqlite3.h>

#include <leash/blocking.hpp>
#include <leash/context.hpp>
#include <leash/sleep.hpp>
#include <list>
#include <mutex>
#include <unordered_map>

#include "driver.hpp"

namespace leash::sql {

namespace {

constexpr std::size_t most_bytes = 256 * 1024;  // of rows that a cursor reads at once
constexpr int ops_between_looks = 1000;         // of SQLite's machine, while a statement computes

// --- errors

struct outcome {
  int code = SQLITE_OK;
  std::string message;
  bool rows_given = false;
  int primary() const noexcept { return code & 0xff; }
  bool ok() const noexcept { return code == SQLITE_OK; }
  /// A snapshot that is too old stays so.
  bool worth_retrying() const noexcept {
    return !rows_given && (primary() == SQLITE_BUSY || primary() == SQLITE_LOCKED) && code != SQLITE_BUSY_SNAPSHOT;
  }
};

struct meaning {
  error_kind kind;
  const char* sqlstate;
};

meaning meaning_of(int code) noexcept {
  switch (code) {
    case SQLITE_CONSTRAINT_UNIQUE:
    case SQLITE_CONSTRAINT_PRIMARYKEY:
    case SQLITE_CONSTRAINT_ROWID:
      return {error_kind::unique, "23505"};
    case SQLITE_CONSTRAINT_FOREIGNKEY:
      return {error_kind::constraint, "23503"};
    case SQLITE_CONSTRAINT_NOTNULL:
      return {error_kind::constraint, "23502"};
    case SQLITE_CONSTRAINT_CHECK:
      return {error_kind::constraint, "23514"};
    case SQLITE_BUSY_SNAPSHOT:
      return {error_kind::serialization, "40001"};
    default:
      break;
  }
  switch (code & 0xff) {
    case SQLITE_CONSTRAINT:
      return {error_kind::constraint, "23000"};
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return {error_kind::busy, "55P03"};
    case SQLITE_FULL:
      return {error_kind::disk_full, "53100"};
    case SQLITE_INTERRUPT:
      return {error_kind::cancelled, "57014"};
    case SQLITE_ERROR:
      return {error_kind::syntax, "42000"};
    case SQLITE_READONLY:
      return {error_kind::permission, "25006"};
    case SQLITE_PERM:
    case SQLITE_AUTH:
      return {error_kind::permission, "42501"};
    case SQLITE_CANTOPEN:
    case SQLITE_NOTADB:
      return {error_kind::connection, "08001"};
    case SQLITE_CORRUPT:
      return {error_kind::other, "XX001"};
    case SQLITE_IOERR:
      return {error_kind::other, "58030"};
    case SQLITE_NOMEM:
      return {error_kind::other, "53200"};
    case SQLITE_TOOBIG:
      return {error_kind::other, "54000"};
    case SQLITE_MISMATCH:
      return {error_kind::other, "22000"};
    default:
      return {error_kind::other, ""};
  }
}

error make_error(const outcome& o, std::string_view statement) {
  meaning const m = meaning_of(o.code);
  return error(m.kind, o.message.empty() ? std::string_view(sqlite3_errstr(o.code)) : o.message, m.sqlstate, o.code,
               statement);
}

// --- the end of a context

/// Shared by the job and the callback on its context's end.
struct stopper : done_callback {
  std::atomic<int> refs{2};
  std::atomic<bool> stop{false};
  std::mutex lock;
  sqlite3* running;  // under the lock; null: the job has ended

  explicit stopper(sqlite3* db) noexcept : running(db) {
    run = [](done_callback* b) noexcept {
      auto* self = static_cast<stopper*>(b);
      {
        std::lock_guard guard(self->lock);
        self->stop.store(true, std::memory_order_relaxed);
        if (self->running != nullptr) sqlite3_interrupt(self->running);
      }
      self->unhold();
    };
  }
  void unhold() noexcept {
    if (refs.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
  }
};

/// In the frame of the goroutine that makes a job.
class stopped_by_context {
 public:
  stopped_by_context(goroutine_core* g, sqlite3* db) : context_(context_of(g)), s_(new stopper(db)) {
    leash::hold(context_);
    if (!link_callback(context_, s_)) {
      s_->stop = true;
      s_->unhold();
    }
  }
  stopped_by_context(const stopped_by_context&) = delete;
  ~stopped_by_context() {
    job_ended();
    if (unlink_callback(context_, s_)) s_->unhold();
    s_->unhold();
    leash::unhold(context_);
  }
  void job_ended() noexcept {
    std::lock_guard guard(s_->lock);
    s_->running = nullptr;
  }
  const std::atomic<bool>& stop() const noexcept { return s_->stop; }

 private:
  context_core* context_;
  stopper* s_;
};

// --- the connection

class sqlite_driver final : public driver {
 public:
  explicit sqlite_driver(const pool_options& o) : cache_size_(o.statement_cache), busy_timeout_(o.busy_timeout) {}
  ~sqlite_driver() override { shut(); }

  task<> open(const target& t) {
    outcome const o = co_await on_pool([&] { return open_file(t); });
    if (!o.ok()) throw make_error(o, {});
    co_await script(std::make_shared<const std::string>(
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON"));
  }

  task<> start(const request& q, result& out, std::size_t most) override {
    patience p(busy_timeout_);
    for (;;) {
      out = {};
      outcome const o = co_await on_pool([&] { return begin(q, out, most); });
      if (o.ok()) co_return;
      if (!o.worth_retrying() || !p.left()) throw failed(o, *q.text);
      co_await sleep(p.next());
    }
  }
  task<> more(result& out, std::size_t most) override {
    auto const text = out.names->statement;
    outcome const o = co_await on_pool([&] { return step(out, most, *stop_); });
    if (!o.ok()) throw failed(o, *text);
  }
  task<> script(std::shared_ptr<const std::string> text) override {
    patience p(busy_timeout_);
    for (const char* at = text->c_str(); at != nullptr;) {
      outcome const o = co_await on_pool([&] { return run_script(at, text->c_str() + text->size()); });
      if (o.ok()) co_return;
      if (!o.worth_retrying() || !p.left()) throw failed(o, *text);
      co_await sleep(p.next());
    }
  }
  task<bool> settle() override {
    co_await on_pool([&] {
      end_statement();
      return outcome();
    });
    co_return !broken_;
  }
  bool settle_now() noexcept override {
    if (current_ != nullptr) {
      // The end of one that writes commits it, which waits for the disk.
      if (sqlite3_stmt_readonly(current_) == 0) return false;
      end_statement();
    }
    return !in_transaction();
  }
  task<> close() override {
    co_await blocking([this] { shut(); });
  }

  bool in_transaction() const noexcept override { return db_ != nullptr && sqlite3_get_autocommit(db_) == 0; }
  bool under_way() const noexcept override { return current_ != nullptr; }
  bool broken() const noexcept override { return broken_; }
  bool closes_at_once() const noexcept override { return false; }  // the last one of a file writes the log back
  bool one_writer() const noexcept override { return true; }
  std::string begin_text(const transaction_options& o) const override {
    return o.read_only ? "BEGIN DEFERRED" : "BEGIN IMMEDIATE";
  }

 private:
  struct prepared {
    std::string text;
    sqlite3_stmt* statement;
  };

  /// How long what is busy is tried again.
  class patience {
   public:
    explicit patience(nanoseconds most) : end_(most == nanoseconds::max() ? clock::time_point::max() : now() + most) {}
    bool left() const { return now() < end_; }
    nanoseconds next() {
      static constexpr int pauses[] = {1, 2, 5, 10, 15, 20, 25, 25, 25, 50, 50, 100};  // ms
      int const pause = pauses[tries_];
      if (tries_ + 1 < std::size(pauses)) ++tries_;
      return std::chrono::milliseconds(pause);
    }

   private:
    clock::time_point end_;
    std::size_t tries_ = 0;
  };

  template <class F>
  task<outcome> on_pool(F f) {
    goroutine_core* const g = co_await this_goroutine{};
    stopped_by_context until(g, db_);
    co_return co_await blocking([&] {
      struct job {
        sqlite_driver& d;
        stopped_by_context& until;
        job(sqlite_driver& driver, stopped_by_context& u) : d(driver), until(u) { d.stop_ = &u.stop(); }
        ~job() {
          if (until.stop().load(std::memory_order_relaxed)) d.end_statement();  // L2
          d.stop_ = nullptr;
          until.job_ended();
        }
      } const here(*this, until);
      return until.stop().load(std::memory_order_relaxed) ? outcome{SQLITE_INTERRUPT, {}, false} : f();
    });
  }

  error failed(const outcome& o, std::string_view text) {
    int const p = o.primary();
    if (p == SQLITE_CORRUPT || p == SQLITE_NOTADB || p == SQLITE_IOERR) broken_ = true;
    return make_error(o, text);
  }
  outcome now_wrong(int code) const { return {code, sqlite3_errmsg(db_), false}; }
  static outcome misused(std::string message) { return {SQLITE_ERROR, std::move(message), false}; }

  // --- jobs, on the pool's thread

  outcome open_file(const target& t) {
    int const flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    int const code = sqlite3_open_v2(t.where.c_str(), &db_, flags, nullptr);
    if (code != SQLITE_OK) {
      outcome o{code, db_ != nullptr ? sqlite3_errmsg(db_) : "", false};
      o.message += " (" + t.where + ")";
      return o;
    }
    sqlite3_extended_result_codes(db_, 1);
    sqlite3_progress_handler(
        db_, ops_between_looks,
        [](void* self) {
          auto* stop = static_cast<sqlite_driver*>(self)->stop_;
          return stop != nullptr && stop->load(std::memory_order_relaxed) ? 1 : 0;
        },
        this);
    return {};
  }

  outcome begin(const request& q, result& out, std::size_t most) {
    end_statement();
    bool const whole = most == SIZE_MAX;
    sqlite3_stmt* statement = nullptr;
    if (outcome o = prepare(*q.text, statement); !o.ok()) return o;
    current_ = statement;
    text_ = q.text;
    if (outcome o = bind(statement, q.params, whole); !o.ok()) {
      end_statement();
      return o;
    }
    changes_before_ = sqlite3_total_changes64(db_);
    return step(out, most, *stop_);
  }

  outcome step(result& out, std::size_t most, const std::atomic<bool>& stop) {
    std::size_t bytes = 0;
    bool const any_before = !out.rows_.empty();
    out.complete = false;
    while (out.rows_.size() < most && (most == SIZE_MAX || bytes < most_bytes)) {
      if (stop.load(std::memory_order_relaxed)) return {SQLITE_INTERRUPT, {}, false};
      int const code = sqlite3_step(current_);
      // Not before the first step, which prepares it again where a table has changed.
      if (out.names == nullptr) name_columns(out);
      if (code == SQLITE_ROW) {
        out.rows_.push_back(read_row(out, bytes));
        continue;
      }
      if (code == SQLITE_DONE) {
        bool const wrote = sqlite3_stmt_readonly(current_) == 0;
        if (wrote && sqlite3_total_changes64(db_) != changes_before_) out.affected_ = sqlite3_changes64(db_);
        // Of one that gave rows, or whose columns are not asked for, the commit may fail here.
        if (int const ended = end_statement(); ended != SQLITE_OK) return now_wrong(ended);
        out.complete = true;
        return {};
      }
      outcome o = now_wrong(code);
      o.rows_given = any_before || !out.rows_.empty();
      end_statement();
      return o;
    }
    return {};
  }

  void name_columns(result& out) const {
    auto names = std::make_shared<columns>();
    names->statement = text_;
    int const n = sqlite3_column_count(current_);
    for (int i = 0; i < n; ++i) names->names.emplace_back(sqlite3_column_name(current_, i));
    out.names = std::move(names);
  }

  row read_row(const result& out, std::size_t& bytes) {
    int const n = sqlite3_column_count(current_);
    std::vector<value> cells;
    cells.reserve(static_cast<std::size_t>(n));
    for (int i = 0; i < n; ++i) {
      switch (sqlite3_column_type(current_, i)) {
        case SQLITE_INTEGER:
          cells.emplace_back(std::int64_t{sqlite3_column_int64(current_, i)});
          break;
        case SQLITE_FLOAT:
          cells.emplace_back(sqlite3_column_double(current_, i));
          break;
        case SQLITE_TEXT: {
          auto* text = reinterpret_cast<const char*>(sqlite3_column_text(current_, i));
          auto const size = static_cast<std::size_t>(sqlite3_column_bytes(current_, i));
          cells.emplace_back(std::string(text, size));
          bytes += size;
          break;
        }
        case SQLITE_BLOB: {
          auto* data = static_cast<const std::byte*>(sqlite3_column_blob(current_, i));
          auto const size = static_cast<std::size_t>(sqlite3_column_bytes(current_, i));
          cells.emplace_back(size == 0 ? blob() : blob(data, data + size));
          bytes += size;
          break;
        }
        default:
          cells.emplace_back();
      }
      bytes += sizeof(value);
    }
    return row(out.names, std::move(cells));
  }

  /// at moves behind each statement that was done.
  outcome run_script(const char*& at, const char* end) {
    end_statement();
    while (at < end) {
      const char* tail = nullptr;
      sqlite3_stmt* statement = nullptr;
      int code = sqlite3_prepare_v2(db_, at, static_cast<int>(end - at), &statement, &tail);
      if (code != SQLITE_OK) return now_wrong(code);
      if (statement != nullptr) {
        while ((code = sqlite3_step(statement)) == SQLITE_ROW) {
        }
        outcome o = code == SQLITE_DONE ? outcome() : now_wrong(code);
        int const ended = sqlite3_finalize(statement);
        if (o.ok() && ended != SQLITE_OK) o = now_wrong(ended);
        if (!o.ok()) return o;
      }
      at = tail;
    }
    return {};
  }

  // --- statements

  static bool blank(const char* s) noexcept {
    for (; *s != '\0'; ++s)
      if (*s != ' ' && *s != '\t' && *s != '\n' && *s != '\r' && *s != ';') return false;
    return true;
  }

  outcome prepare(const std::string& text, sqlite3_stmt*& statement) {
    if (auto it = by_text_.find(text); it != by_text_.end()) {
      cache_.splice(cache_.begin(), cache_, it->second);
      statement = it->second->statement;
      return {};
    }
    const char* tail = nullptr;
    int const code = sqlite3_prepare_v3(db_, text.c_str(), static_cast<int>(text.size()), SQLITE_PREPARE_PERSISTENT,
                                        &statement, &tail);
    if (code != SQLITE_OK) return now_wrong(code);
    if (statement == nullptr) return misused("no statement");
    // A comment behind the statement prepares to nothing.
    while (!blank(tail)) {
      sqlite3_stmt* second = nullptr;
      const char* next = nullptr;
      int const rest = sqlite3_prepare_v2(db_, tail, -1, &second, &next);
      bool const more = rest != SQLITE_OK || second != nullptr;
      sqlite3_finalize(second);
      if (more) {
        sqlite3_finalize(std::exchange(statement, nullptr));
        return misused("more than one statement; script() runs several");
      }
      tail = next;
    }
    while (cache_.size() >= std::max<std::size_t>(cache_size_, 1)) {
      sqlite3_finalize(cache_.back().statement);
      by_text_.erase(cache_.back().text);
      cache_.pop_back();
    }
    cache_.push_front({text, statement});
    by_text_.emplace(cache_.front().text, cache_.begin());
    return {};
  }

  outcome bind(sqlite3_stmt* s, const std::vector<value>& params, bool whole) {
    // What it refers to lives as long as the request, which a cursor outlives.
    auto const kept = whole ? SQLITE_STATIC : SQLITE_TRANSIENT;
    int const n = sqlite3_bind_parameter_count(s);
    std::size_t highest = 0;
    for (int i = 1; i <= n; ++i) {
      std::size_t const which = place_of(sqlite3_bind_parameter_name(s, i), i);
      highest = std::max(highest, which);
      if (which == 0 || which > params.size()) continue;
      if (int const code = bind_one(s, i, params[which - 1], kept); code != SQLITE_OK) return now_wrong(code);
    }
    if (highest != params.size())
      return misused("the statement has " + std::to_string(highest) + " parameters, " + std::to_string(params.size()) +
                     " were given");
    return {};
  }
  /// Which of the parameters, from 1: $2 and ?2 are the second, wherever they stand.
  static std::size_t place_of(const char* name, int i) noexcept {
    if (name == nullptr || name[1] < '0' || name[1] > '9') return static_cast<std::size_t>(i);
    return std::strtoul(name + 1, nullptr, 10);
  }
  static int bind_one(sqlite3_stmt* s, int i, const value& v, sqlite3_destructor_type kept) {
    switch (v.type()) {
      case value_type::null:
        return sqlite3_bind_null(s, i);
      case value_type::boolean:
        return sqlite3_bind_int(s, i, *v.get_if<bool>() ? 1 : 0);
      case value_type::integer:
        return sqlite3_bind_int64(s, i, *v.get_if<std::int64_t>());
      case value_type::real:
        return sqlite3_bind_double(s, i, *v.get_if<double>());
      case value_type::text: {
        auto& text = *v.get_if<std::string>();
        return sqlite3_bind_text64(s, i, text.data(), text.size(), kept, SQLITE_UTF8);
      }
      case value_type::bytes: {
        auto& bytes = *v.get_if<blob>();
        if (bytes.empty()) return sqlite3_bind_zeroblob(s, i, 0);
        return sqlite3_bind_blob64(s, i, bytes.data(), bytes.size(), kept);
      }
      case value_type::time: {
        std::string const text = to_text(*v.get_if<time_point>());
        return sqlite3_bind_text64(s, i, text.data(), text.size(), SQLITE_TRANSIENT, SQLITE_UTF8);
      }
    }
    return SQLITE_MISUSE;
  }

  int end_statement() noexcept {
    if (current_ == nullptr) return SQLITE_OK;
    int const code = sqlite3_reset(current_);
    sqlite3_clear_bindings(current_);
    current_ = nullptr;
    return code;
  }
  void shut() noexcept {
    end_statement();
    for (prepared& p : cache_) sqlite3_finalize(p.statement);
    cache_.clear();
    by_text_.clear();
    sqlite3_close(std::exchange(db_, nullptr));
  }

  std::size_t const cache_size_;
  nanoseconds const busy_timeout_;
  sqlite3* db_ = nullptr;
  sqlite3_stmt* current_ = nullptr;          // under way
  const std::atomic<bool>* stop_ = nullptr;  // of the job that runs
  std::shared_ptr<const std::string> text_;  // of what is under way
  sqlite3_int64 changes_before_ = 0;
  bool broken_ = false;
  std::list<prepared> cache_;  // the last used first
  std::unordered_map<std::string_view, std::list<prepared>::iterator> by_text_;
};

}  // namespace

task<std::unique_ptr<driver>> open_sqlite(const target& t, const pool_options& o) {
  auto d = std::make_unique<sqlite_driver>(o);
  std::optional<bool> const made = co_await with_timeout(o.connect_timeout, [&]() -> task<bool> {
    co_await d->open(t);
    co_return true;
  });
  if (!made) throw error(error_kind::timeout, "the database was not opened in time (" + t.where + ")", "08001");
  co_return d;
}

}  // namespace leash::sql
#endif
