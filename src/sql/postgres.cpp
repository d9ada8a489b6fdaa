// PostgreSQL by libpq, non-blocking: a goroutine waits for its socket.
//
//   Q1. The PGconn is touched by one thread at a time; PQcancel uses a copy of what it needs.
//   Q2. A statement that is cut short is cancelled on the server and read to its end before the unwinding goes on: by
//       settle(), which the session calls (V1).
//   Q3. No statement is sent before PQcancel for an earlier one has returned: the server has signalled the process by then,
//       and a process that reads its next command forgets a cancellation that came before. The empty statement that
//       follows shows that it is well.
//   Q4. For the same reason a cancellation may come too early, when the server has not read the statement yet: it is
//       sent again until the statement has ended.
//
// One file: Q1 to Q4 are kept by the members of one class together, and nothing else may touch its PGconn.
#if LEASH_SQL_POSTGRES
#include <libpq-fe.h>
#include <poll.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <leash/blocking.hpp>
#include <leash/boundary.hpp>
#include <leash/sleep.hpp>
#include <list>
#include <unordered_map>

#include "driver.hpp"
#include "readiness.hpp"
#include "session.hpp"

namespace leash::sql {

namespace {

// From pg_type.dat: fixed for ever.
constexpr Oid bool_oid = 16, bytea_oid = 17, int8_oid = 20, int2_oid = 21, int4_oid = 23, oid_oid = 26,
              float4_oid = 700, float8_oid = 701;

constexpr nanoseconds first_patience = std::chrono::milliseconds(10), longest_patience = std::chrono::seconds(1);

struct free_result {
  void operator()(PGresult* r) const noexcept { PQclear(r); }
};
struct free_connection {
  void operator()(PGconn* c) const noexcept { PQfinish(c); }
};
struct free_memory {
  void operator()(void* p) const noexcept { PQfreemem(p); }
};
struct free_options {
  void operator()(PQconninfoOption* o) const noexcept { PQconninfoFree(o); }
};
using result_ptr = std::unique_ptr<PGresult, free_result>;

std::string trimmed(const char* message) {
  std::string s(message != nullptr ? message : "");
  while (!s.empty() && (s.back() == '\n' || s.back() == ' ')) s.pop_back();
  return s;
}

error_kind kind_of(std::string_view state) noexcept {
  if (state == "23505") return error_kind::unique;
  if (state == "40001" || state == "40P01") return error_kind::serialization;
  if (state == "53100") return error_kind::disk_full;
  if (state == "55P03") return error_kind::busy;
  if (state == "57014") return error_kind::cancelled;
  if (state == "25P02") return error_kind::rolled_back;
  if (state == "42501" || state == "25006" || state.starts_with("28")) return error_kind::permission;
  if (state.starts_with("08") || state == "57P01" || state == "57P02" || state == "57P03" || state == "57P05")
    return error_kind::connection;
  if (state.starts_with("23")) return error_kind::constraint;
  if (state.starts_with("42")) return error_kind::syntax;
  return error_kind::other;
}

/// What the parameters are to libpq; refers to the request.
class encoded {
 public:
  encoded(const request& q) : n_(q.params.size()) {
    std::byte* at = few_;
    if (n_ > few) at = (many_ = std::make_unique_for_overwrite<std::byte[]>(n_ * each)).get();
    values_ = reinterpret_cast<const char**>(at);
    lengths_ = reinterpret_cast<int*>(values_ + n_);
    formats_ = lengths_ + n_;
    types_ = reinterpret_cast<Oid*>(formats_ + n_);
    own_ = reinterpret_cast<text*>(types_ + n_);
    for (std::size_t i = 0; i < n_; ++i) set(i, q.params[i], *q.text);
  }
  encoded(const encoded&) = delete;
  int count() const noexcept { return static_cast<int>(n_); }
  const Oid* types() const noexcept { return types_; }
  const char* const* values() const noexcept { return values_; }
  const int* lengths() const noexcept { return lengths_; }
  const int* formats() const noexcept { return formats_; }

 private:
  // The server finds the types, as for a literal in quotes, except of bytes, which go as they are.
  void set(std::size_t at, const value& v, const std::string& statement) {
    switch (v.type()) {
      case value_type::null:
        return set(at, {});
      case value_type::boolean:
        return set(at, *v.get_if<bool>() ? "t" : "f");
      case value_type::integer:
        return number(at, *v.get_if<std::int64_t>());
      case value_type::real:
        return number(at, *v.get_if<double>());
      case value_type::text: {
        auto& s = *v.get_if<std::string>();
        if (s.find('\0') != s.npos)
          throw error(error_kind::misuse, "a text with a zero byte, which PostgreSQL cannot hold", "22021", 0,
                      statement);
        return set(at, s);
      }
      case value_type::bytes: {
        auto& b = *v.get_if<blob>();
        return set(at, b.empty() ? "" : std::string_view(reinterpret_cast<const char*>(b.data()), b.size()), 1,
                   bytea_oid);
      }
      case value_type::time:
        return own(at, [&](char* to, std::size_t) {
          std::string const text = to_text(*v.get_if<time_point>());
          return std::copy(text.begin(), text.end(), to);
        });
    }
  }
  template <class N>
  void number(std::size_t at, N n) {
    own(at, [n](char* to, std::size_t room) { return std::to_chars(to, to + room, n).ptr; });
  }
  template <class F>
  void own(std::size_t at, F&& write) {
    char* const begin = own_[at];
    char* const end = write(begin, sizeof(text) - 1);
    *end = '\0';
    set(at, {begin, end});
  }
  // A text ends with a zero, as libpq expects it.
  void set(std::size_t at, std::string_view v, int format = 0, Oid type = 0) {
    values_[at] = v.data();
    lengths_[at] = static_cast<int>(v.size());
    formats_[at] = format;
    types_[at] = type;
  }
  using text = char[48];
  // Most statements have few parameters.
  static constexpr std::size_t few = 8, each = sizeof(char*) + 2 * sizeof(int) + sizeof(Oid) + sizeof(text);
  std::size_t const n_;
  const char** values_;
  int *lengths_, *formats_;
  Oid* types_;
  text* own_;  // numbers, and times
  std::unique_ptr<std::byte[]> many_;
  alignas(char*) std::byte few_[few * each];
};

blob decode_bytes(const char* text) {
  std::size_t n = 0;
  std::unique_ptr<unsigned char, free_memory> const raw(
      PQunescapeBytea(reinterpret_cast<const unsigned char*>(text), &n));
  if (raw == nullptr) throw std::bad_alloc();
  auto* data = reinterpret_cast<const std::byte*>(raw.get());
  return blob(data, data + n);
}

template <class N>
value decode_number(const char* text, int length) {
  N n{};
  if (std::from_chars(text, text + length, n).ec != std::errc())
    return value(std::string_view(text, static_cast<std::size_t>(length)));
  return value(n);
}

/// Made where it is to be.
void decode(std::vector<value>& to, const PGresult* r, int at, int column) {
  if (PQgetisnull(r, at, column)) return void(to.emplace_back());
  const char* const text = PQgetvalue(r, at, column);
  int const length = PQgetlength(r, at, column);
  switch (PQftype(r, column)) {
    case bool_oid:
      return void(to.emplace_back(text[0] == 't'));
    case int8_oid:
    case int2_oid:
    case int4_oid:
    case oid_oid:
      return void(to.push_back(decode_number<std::int64_t>(text, length)));
    case float4_oid:
    case float8_oid:
      return void(to.push_back(decode_number<double>(text, length)));
    case bytea_oid:
      return void(to.emplace_back(decode_bytes(text)));
    default:
      to.emplace_back(std::string(text, static_cast<std::size_t>(length)));
  }
}

/// Rows that a statement inserted, updated or deleted.
std::int64_t affected_by(PGresult* r) {
  std::string_view const tag = PQcmdStatus(r);
  if (!tag.starts_with("INSERT") && !tag.starts_with("UPDATE") && !tag.starts_with("DELETE") &&
      !tag.starts_with("MERGE"))
    return 0;
  return std::strtoll(PQcmdTuples(r), nullptr, 10);
}

std::unique_ptr<PQconninfoOption, free_options> parse(const std::string& where) {
  char* message = nullptr;
  std::unique_ptr<PQconninfoOption, free_options> parsed(PQconninfoParse(where.c_str(), &message));
  std::unique_ptr<char, free_memory> const owned(message);
  if (parsed == nullptr) throw error(error_kind::misuse, "a pool's address: " + trimmed(message));
  return parsed;
}

class postgres_driver final : public driver {
 public:
  explicit postgres_driver(const pool_options& o) : cache_size_(o.statement_cache), within_(o.settle_within) {}

  task<> open(const target& t) {
    std::vector<const char*> keys, values;
    std::unique_ptr<PQconninfoOption, free_options> const given = parse(t.where);
    std::string const timeout = std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(within_).count());
    bool named = false, limited = false;
    for (auto* o = given.get(); o->keyword != nullptr; ++o) {
      if (o->val == nullptr || std::strcmp(o->keyword, "client_encoding") == 0) continue;
      named |= std::strcmp(o->keyword, "application_name") == 0;
      limited |= std::strcmp(o->keyword, "tcp_user_timeout") == 0;
      keys.push_back(o->keyword);
      values.push_back(o->val);
    }
    auto const add = [&](const char* k, const char* v) {
      keys.push_back(k);
      values.push_back(v);
    };
    add("client_encoding", "UTF8");
    if (!named) add("fallback_application_name", "leash");
    // PQcancel heeds it, and nothing else: a host that does not answer must not keep a thread of the pool.
    if (!limited) add("tcp_user_timeout", timeout.c_str());
    add(nullptr, nullptr);
    // It looks up names, which blocks. Kept inside of the call: what that returns is dropped if this is cut short meanwhile.
    co_await blocking([&] { c_.reset(PQconnectStartParams(keys.data(), values.data(), 0)); });
    if (c_ == nullptr) throw std::bad_alloc();
    PQsetNoticeReceiver(c_.get(), [](void*, const PGresult*) {}, nullptr);
    for (PostgresPollingStatusType next = PGRES_POLLING_WRITING; next != PGRES_POLLING_OK;
         next = PQconnectPoll(c_.get())) {
      if (next == PGRES_POLLING_FAILED || PQstatus(c_.get()) == CONNECTION_BAD) throw lost();
      readiness socket(PQsocket(c_.get()));  // it may be another one each time
      if (next == PGRES_POLLING_READING)
        co_await socket.readable();
      else
        co_await socket.writable();
    }
    PQsetnonblocking(c_.get(), 1);
    cancel_.reset(PQgetCancel(c_.get()), PQfreeCancel);
    socket_.emplace(PQsocket(c_.get()));
    const char* const style = PQparameterStatus(c_.get(), "DateStyle");
    if (style != nullptr && std::strncmp(style, "ISO", 3) != 0)
      co_await script(std::make_shared<const std::string>("SET datestyle = ISO"));
    // A cancellation may not get through, as when the network is cut: then the server must see for itself that nobody is there,
    // or a statement runs on for as long as it likes. No server before 14 looks, nor one on a system that cannot tell.
    static auto const look = std::make_shared<const std::string>(
        "SELECT set_config('client_connection_check_interval', '1s', false) "
        "WHERE current_setting('client_connection_check_interval', true) = '0'");
    try {
      co_await script(look);
    } catch (const error& e) {
      if (e.kind() == error_kind::connection) throw;
    }
  }

  // One frame, from sending to the last row.
  task<> start(const request& q, result& out, std::size_t most) override {
    for (bool again = false;; again = true) {
      out = {};
      prepared* one = known(*q.text);
      if (one == nullptr)
        co_await make_room();
      else if (one->name.empty() && cache_size_ != 0)
        co_await prepare(*one, q);
      one = send(one, q);
      if (most != SIZE_MAX && PQsetSingleRowMode(c_.get()) == 0) throw lost(*q.text);
      if (text_ != q.text) text_ = q.text;
      answer a{.named = &one->named, .fresh = flushed()};
      if (!a.fresh) co_await flush();
      while (!take(a, out, most)) {
        co_await next_part(a);
        read(a);
      }
      if (!a.failed) co_return;
      if (again || in_transaction() || !out.rows_.empty() || !is_stale(*a.failed)) throw *a.failed;
      co_await forget(*q.text, a.failed->sqlstate() != "26000");
    }
  }
  task<> more(result& out, std::size_t most) override { return collect(out, most); }
  task<> script(std::shared_ptr<const std::string> text) override {
    if (PQsendQuery(c_.get(), text->c_str()) == 0) throw lost(*text);
    bool const fresh = flushed();
    if (!fresh) co_await flush();
    text_ = std::move(text);
    result none;
    co_await collect(none, SIZE_MAX, fresh);
  }

  task<bool> settle() override {
    if (c_ == nullptr || PQstatus(c_.get()) == CONNECTION_BAD) co_return false;
    if (PQtransactionStatus(c_.get()) == PQTRANS_ACTIVE) {
      if (!co_await stop_statement()) co_return false;
      if (PQsendQuery(c_.get(), "") == 0) co_return false;  // Q3
      co_await flush();
      if (!co_await drain()) co_return false;
    }
    PGTransactionStatusType const s = PQtransactionStatus(c_.get());
    co_return s == PQTRANS_IDLE || s == PQTRANS_INTRANS || s == PQTRANS_INERROR;
  }
  bool settle_now() noexcept override {
    return PQstatus(c_.get()) == CONNECTION_OK && PQtransactionStatus(c_.get()) == PQTRANS_IDLE;
  }
  task<> close() override {
    shut();
    co_return;
  }

  bool in_transaction() const noexcept override {
    PGTransactionStatusType const s = PQtransactionStatus(c_.get());
    return s == PQTRANS_INTRANS || s == PQTRANS_INERROR;
  }
  bool doomed() const noexcept override { return PQtransactionStatus(c_.get()) == PQTRANS_INERROR; }
  bool under_way() const noexcept override { return PQtransactionStatus(c_.get()) == PQTRANS_ACTIVE; }
  bool broken() const noexcept override { return broken_ || c_ == nullptr || PQstatus(c_.get()) == CONNECTION_BAD; }
  bool lost_while_idle() noexcept override {
    if (broken()) return true;
    pollfd p{PQsocket(c_.get()), POLLIN, 0};
    if (::poll(&p, 1, 0) == 0) return false;
    // Its end, or a word that nobody asked for: most often why it ends, which may be seen before the end itself.
    return broken_ = true;
  }
  bool closes_at_once() const noexcept override { return true; }
  int server_process() const noexcept override { return PQbackendPID(c_.get()); }
  std::string begin_text(const transaction_options& o) const override {
    std::string s("BEGIN");
    switch (o.isolation) {
      case isolation::standard:
        break;
      case isolation::read_committed:
        s += " ISOLATION LEVEL READ COMMITTED";
        break;
      case isolation::repeatable_read:
        s += " ISOLATION LEVEL REPEATABLE READ";
        break;
      case isolation::serializable:
        s += " ISOLATION LEVEL SERIALIZABLE";
        break;
    }
    if (o.read_only) s += " READ ONLY";
    return s;
  }

  task<> listen_to(const std::vector<std::string>& channels) override {
    for (const std::string& name : channels) {
      std::unique_ptr<char, free_memory> const quoted(PQescapeIdentifier(c_.get(), name.c_str(), name.size()));
      if (quoted == nullptr) throw lost();
      co_await script(std::make_shared<const std::string>("LISTEN " + std::string(quoted.get())));
    }
  }
  task<notification> next_notification() override {
    for (;;) {
      if (std::unique_ptr<PGnotify, free_memory> const n{PQnotifies(c_.get())})
        co_return notification{n->relname, n->extra, false};
      co_await socket_->readable();
      consume();
    }
  }

 private:
  struct prepared {
    std::string text;
    std::string name = {};                      // empty: it ran once, unnamed, in one round trip
    std::shared_ptr<const columns> named = {};  // of its results
  };

  error lost(std::string_view statement = {}) {
    broken_ = true;
    std::string message = trimmed(PQerrorMessage(c_.get()));
    if (message.empty()) message = "the connection was lost";
    return error(error_kind::connection, message, "08006", 0, statement);
  }
  error refused(const PGresult* r, std::string_view statement) {
    const char* const state = PQresultErrorField(r, PG_DIAG_SQLSTATE);
    if (state == nullptr || PQstatus(c_.get()) == CONNECTION_BAD) return lost(statement);
    std::string message = trimmed(PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY));
    if (const char* detail = PQresultErrorField(r, PG_DIAG_MESSAGE_DETAIL)) message.append(": ").append(detail);
    if (const char* hint = PQresultErrorField(r, PG_DIAG_MESSAGE_HINT)) message.append(" (").append(hint).append(")");
    return error(kind_of(state), message, state, 0, statement);
  }

  // --- waiting

  void consume() {
    if (PQconsumeInput(c_.get()) == 0) throw lost();
  }
  /// What libpq could not send at once; mostly there is none.
  bool flushed() { return PQflush(c_.get()) == 0; }
  task<> flush() {
    for (int left = 0; (left = PQflush(c_.get())) != 0;) {
      if (left < 0) throw lost();
      co_await socket_->either();
      consume();  // it may have to be read before it can be written to
    }
  }
  /// True: there is a next result, or there will be none. What the server said before it went is a result yet, and then
  /// that it went.
  bool read_some() noexcept { return PQconsumeInput(c_.get()) == 0 || PQisBusy(c_.get()) == 0; }
  /// Reads to the end of what was sent. False: it cannot be used any more.
  task<bool> drain() {
    for (;;) {
      while (PQisBusy(c_.get()) != 0) {
        co_await socket_->readable();
        if (read_some()) break;
      }
      result_ptr const r(PQgetResult(c_.get()));
      if (r == nullptr) break;
      if (is_copy(PQresultStatus(r.get()))) co_return false;
    }
    co_return PQstatus(c_.get()) == CONNECTION_OK;
  }
  static bool is_copy(ExecStatusType s) noexcept {
    return s == PGRES_COPY_IN || s == PGRES_COPY_OUT || s == PGRES_COPY_BOTH;
  }
  /// Q4.
  task<bool> stop_statement() {
    co_await flush();
    for (nanoseconds patience = first_patience;; patience = std::min(patience * 2, longest_patience)) {
      if (!co_await cancel_on_server()) co_return false;
      if (std::optional<bool> const well = co_await with_timeout(patience, drain())) co_return *well;
    }
  }
  /// True: the server has been told, and has passed it on. The goroutine that tells it may outlast this one: a server that
  /// is frozen does not answer, and libpq would wait.
  task<bool> cancel_on_server() {
    if (cancel_ == nullptr) co_return false;
    auto [tx, rx] = oneshot<bool>();
    start_goroutine(canceller{cancel_, std::move(tx)});
    std::optional<bool> const told = co_await rx.recv();
    co_return told.value_or(false);
  }
  struct canceller {
    std::shared_ptr<PGcancel> cancel;
    sender<bool> to;
    task<> operator()() {
      bool const told = co_await blocking([this] {
        char why[256];
        return PQcancel(cancel.get(), why, sizeof why) == 1;
      });
      (void)co_await to.send(told);
    }
  };

  // --- statements

  /// A prepared statement whose result would be of another type now, or that is gone.
  static bool is_stale(const error& e) {
    return e.sqlstate() == "26000" || (e.sqlstate() == "0A000" && e.message().find("cached plan") != std::string::npos);
  }

  /// Null: it did not run yet, or so long ago that it was forgotten.
  prepared* known(const std::string& text) noexcept {
    if (!cache_.empty() && cache_.front().text == text) return &cache_.front();
    auto const it = by_text_.find(text);
    if (it == by_text_.end()) return nullptr;
    cache_.splice(cache_.begin(), cache_, it->second);
    return &*it->second;
  }
  task<> make_room() {
    while (cache_.size() >= std::max<std::size_t>(cache_size_, 1))
      co_await forget(std::string(cache_.back().text), true);
  }
  task<> prepare(prepared& one, const request& q) {
    std::string name = "leash_" + std::to_string(++names_);
    send_prepare(name, q);
    co_await flush();
    text_ = q.text;
    result none;
    co_await collect(none, SIZE_MAX);
    one.name = std::move(name);
  }
  void send_prepare(const std::string& name, const request& q) {
    encoded const p(q);
    if (PQsendPrepare(c_.get(), name.c_str(), q.text->c_str(), p.count(), p.types()) == 0) throw lost(*q.text);
  }
  /// one: null for the first time. Its entry, which is the newest afterwards.
  prepared* send(prepared* one, const request& q) {
    encoded const p(q);
    if (one == nullptr) {
      cache_.push_front({*q.text});
      by_text_.emplace(cache_.front().text, cache_.begin());
      one = &cache_.front();
    }
    int const sent = one->name.empty() ? PQsendQueryParams(c_.get(), q.text->c_str(), p.count(), p.types(), p.values(),
                                                           p.lengths(), p.formats(), 0)
                                       : PQsendQueryPrepared(c_.get(), one->name.c_str(), p.count(), p.values(),
                                                             p.lengths(), p.formats(), 0);
    if (sent == 0) throw lost(*q.text);
    return one;
  }

  /// Takes a statement out of the cache.
  task<> forget(std::string text, bool on_server) {
    auto it = by_text_.find(text);
    if (it == by_text_.end()) co_return;
    std::string const name = std::move(it->second->name);
    auto const node = it->second;
    by_text_.erase(it);
    cache_.erase(node);
    if (name.empty() || !on_server) co_return;
    if (PQsendQuery(c_.get(), ("DEALLOCATE " + name).c_str()) == 0) throw lost(text);
    co_await flush();
    (void)co_await drain();  // in a failed transaction it stays until the connection ends
  }

  struct answer {
    std::shared_ptr<const columns>* named = nullptr;  // where its columns are kept for the next time
    bool fresh = false;                               // nothing of it has been read yet
    bool gone = false;                                // the connection, when more was to be read
    std::optional<error> failed = {};
  };
  net::ready_operation next_part(answer& a) noexcept {
    // What comes is news if nothing of the answer was read yet; after that libpq may have left some unread.
    return std::exchange(a.fresh, false) ? socket_->arrived() : socket_->readable();
  }
  void read(answer& a) noexcept { a.gone = PQconsumeInput(c_.get()) == 0; }
  /// Takes what is there of it into `out`: up to `most` rows, or all that came with the first of them. True: that was enough.
  bool take(answer& a, result& out, std::size_t most) {
    out.complete = false;
    for (;;) {
      // What the server said before it went is a result yet, and then that it went.
      bool const busy = !std::exchange(a.gone, false) && PQisBusy(c_.get()) != 0;
      if (most != SIZE_MAX && !a.failed && !out.rows_.empty() && (out.rows_.size() >= most || busy)) return true;
      if (busy) return false;
      result_ptr const r(PQgetResult(c_.get()));
      if (r == nullptr) break;
      switch (ExecStatusType const status = PQresultStatus(r.get())) {
        case PGRES_SINGLE_TUPLE:
        case PGRES_TUPLES_OK:
          take_rows(a, out, r.get());
          break;
        case PGRES_COMMAND_OK:
          out.affected_ += affected_by(r.get());
          break;
        case PGRES_EMPTY_QUERY:
          break;
        default:
          if (is_copy(status)) {
            broken_ = true;
            throw error(error_kind::misuse, "COPY is not for this interface", "0A000", 0, *text_);
          }
          if (!a.failed) a.failed = refused(r.get(), *text_);
      }
    }
    while (std::unique_ptr<PGnotify, free_memory> const n{PQnotifies(c_.get())}) {
    }
    if (a.failed) return true;
    if (PQstatus(c_.get()) == CONNECTION_BAD) throw lost(*text_);
    if (out.names == nullptr) name_columns(a, out, nullptr);
    return out.complete = true;
  }
  /// Takes it as it comes.
  task<> collect(result& out, std::size_t most, bool fresh = false) {
    answer a{.fresh = fresh};
    while (!take(a, out, most)) {
      co_await next_part(a);
      read(a);
    }
    if (a.failed) throw *a.failed;
  }
  void name_columns(const answer& a, result& out, const PGresult* r) {
    if (a.named != nullptr && *a.named != nullptr && are_named(r, **a.named)) {
      out.names = *a.named;
      return;
    }
    auto names = std::make_shared<columns>();
    names->statement = text_;
    for (int i = 0, n = r != nullptr ? PQnfields(r) : 0; i < n; ++i) names->names.emplace_back(PQfname(r, i));
    out.names = std::move(names);
    if (a.named != nullptr) *a.named = out.names;
  }
  static bool are_named(const PGresult* r, const columns& as) noexcept {
    int const n = r != nullptr ? PQnfields(r) : 0;
    if (as.names.size() != static_cast<std::size_t>(n)) return false;
    for (int i = 0; i < n; ++i)
      if (as.names[static_cast<std::size_t>(i)] != PQfname(r, i)) return false;
    return true;
  }
  void take_rows(const answer& a, result& out, PGresult* r) {
    if (out.names == nullptr) name_columns(a, out, r);
    int const n = PQntuples(r), width = PQnfields(r);
    out.rows_.reserve(out.rows_.size() + static_cast<std::size_t>(n));
    for (int i = 0; i < n; ++i) {
      std::vector<value> cells;
      cells.reserve(static_cast<std::size_t>(width));
      for (int k = 0; k < width; ++k) decode(cells, r, i, k);
      out.rows_.emplace_back(out.names, std::move(cells));
    }
    out.affected_ += affected_by(r);
  }

  void shut() noexcept {
    broken_ = true;
    socket_.reset();
    c_.reset();
  }

  std::size_t const cache_size_;
  nanoseconds const within_;
  std::unique_ptr<PGconn, free_connection> c_;
  std::shared_ptr<PGcancel> cancel_;
  std::optional<readiness> socket_;
  std::shared_ptr<const std::string> text_;  // of what runs
  bool broken_ = false;
  std::uint64_t names_ = 0;
  std::list<prepared> cache_;  // the last used first
  std::unordered_map<std::string_view, std::list<prepared>::iterator> by_text_;
};

/// A server that is not there may come; one that says no will say it again.
bool worth_retrying(const error& e) {
  if (e.kind() != error_kind::connection) return false;
  std::string_view const m = e.message();
  if (m.find("FATAL:") == m.npos) return true;
  for (const char* passing :
       {"starting up", "shutting down", "recovery", "too many", "connection slots", "terminating"})
    if (m.find(passing) != m.npos) return true;
  return false;
}

}  // namespace

void check_postgres_address(const std::string& where) { (void)parse(where); }

task<std::unique_ptr<driver>> open_postgres(const target& t, const pool_options& o) {
  constexpr nanoseconds first_pause = std::chrono::milliseconds(10), longest_pause = std::chrono::milliseconds(250);
  std::optional<error> last;
  std::unique_ptr<postgres_driver> d;
  bool const made = co_await with_timeout(o.connect_timeout, [&]() -> task<> {
    for (nanoseconds pause = first_pause;; pause = std::min(pause * 2, longest_pause)) {
      d = std::make_unique<postgres_driver>(o);
      try {
        co_await d->open(t);
        co_return;
      } catch (const error& e) {
        if (!worth_retrying(e)) throw;
        last = e;
      }
      d.reset();
      co_await sleep(pause);
    }
  });
  if (!made)
    throw error(error_kind::timeout, "no connection in time" + (last ? ", at last: " + last->message() : std::string()),
                "08001");
  co_return d;
}

}  // namespace leash::sql
#endif
