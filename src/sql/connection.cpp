#include <leash/sql/connection.hpp>

#include "session.hpp"

namespace leash::sql {

namespace {

constexpr std::size_t rows_at_once = 64;  // of a cursor, in memory
constexpr nanoseconds commit_within = std::chrono::minutes(1);

/// One goroutine at a time.
class in_use {
 public:
  explicit in_use(session& s) : s_(s) {
    if (s.busy.exchange(true, std::memory_order_acquire))
      throw error(error_kind::misuse, "two goroutines use one connection at the same time");
  }
  in_use(const in_use&) = delete;
  ~in_use() { s_.busy.store(false, std::memory_order_release); }

 private:
  session& s_;
};

/// A cursor that was left early, for one.
bool must_come_to_rest(session& s) { return s.reading == nullptr && !s.broken && s.d->under_way(); }

// Before a statement, at rest: what is about to run means what its writer thinks.
void make_ready(session& s, goroutine_core* g, const std::shared_ptr<const std::string>& text) {
  if (s.reading != nullptr)
    throw error(error_kind::misuse, "a cursor of this connection is still being read", {}, 0, *text);
  if (s.broken || s.d->broken()) {
    s.broken = true;
    throw error(error_kind::connection, "the connection was lost", "08003", 0, *text);
  }
  if (s.depth > 0 && !s.d->in_transaction())
    throw error(error_kind::rolled_back, "the database has rolled back the transaction that this belongs to", "25P01",
                0, *text);
  s.home->started(s, g, text);
}

std::shared_ptr<const std::string> savepoint(const char* verb, int level) {
  return std::make_shared<const std::string>(std::string(verb) + " leash_" + std::to_string(level));
}

/// D2: for what leaves its connection under way when it is cut short.
task<> stopped_if_cut(session& s, task<> body) {
  body_result<void> ran = co_await boundary_wait<void>(std::move(body));
  if (ran.cut) {
    if (s.d->under_way()) co_await bring_to_rest_inside(s);
    co_await unwind_further{};
  }
  if (ran.error) std::rethrow_exception(std::move(ran.error));
}

}  // namespace

task<> bring_to_rest_inside(session& s) {
  struct work {
    static task<> run(session& s, bool& ok) { ok = co_await s.d->settle(); }
  };
  bool ok = false;
  try {
    if (!co_await shielded(s.home->options.settle_within, work::run(s, ok))) ok = false;
  } catch (...) {
    ok = false;
  }
  if (!ok) s.broken = true;
}

// --- statements

// A frame for all that it does: most of what a service asks of its pool is this.
task<result> run_statement(session* on, std::shared_ptr<pool_core> from, request r, std::source_location where) {
  goroutine_core* const g = co_await this_goroutine{};
  connection own;
  std::optional<in_use> mine;
  if (on == nullptr) {
    semaphore::permit permit = co_await from->permits.acquire();
    if (!pool_core::hold_idle(own, from, permit, g, r.text, where))
      co_await pool_core::look_or_open(own, std::move(from), permit, g, where);
    on = &own.live();
  } else {
    mine.emplace(*on);
    if (must_come_to_rest(*on)) co_await bring_to_rest_inside(*on);
  }
  session& s = *on;
  make_ready(s, g, r.text);
  result out;
  body_result<void> ran = co_await boundary_wait<void>(s.d->start(r, out, SIZE_MAX));
  if (ran.cut) {
    if (s.d->under_way()) co_await bring_to_rest_inside(s);
    co_await unwind_further{};
  }
  if (ran.error) std::rethrow_exception(std::move(ran.error));
  co_return out;
}

task<std::int64_t> connection::exec_request(session& s, request r) {
  co_return (co_await run_statement(&s, nullptr, std::move(r))).affected();
}

task<> run_script(session& s, std::shared_ptr<const std::string> text) {
  goroutine_core* const g = co_await this_goroutine{};
  in_use const mine(s);
  if (must_come_to_rest(s)) co_await bring_to_rest_inside(s);
  make_ready(s, g, text);
  co_await stopped_if_cut(s, s.d->script(std::move(text)));
}

// --- cursors

task<cursor> open_cursor(session& s, request r) {
  goroutine_core* const g = co_await this_goroutine{};
  in_use const mine(s);
  if (must_come_to_rest(s)) co_await bring_to_rest_inside(s);
  make_ready(s, g, r.text);
  result first;
  co_await stopped_if_cut(s, s.d->start(r, first, rows_at_once));
  co_return cursor(&s, std::move(first), r.text);
}

cursor::cursor(session* s, result first, std::shared_ptr<const std::string> text)
    : s_(s), text_(std::move(text)), got_(std::move(first)) {
  if (got_.complete)
    s_ = nullptr;
  else
    s_->reading = this;
}
void cursor::take(cursor& o) noexcept {
  s_ = std::exchange(o.s_, nullptr);
  why_ = o.why_;
  text_ = std::move(o.text_);
  got_ = std::move(o.got_);
  at_ = o.at_;
  if (s_ != nullptr) s_->reading = this;
}
cursor::cursor(cursor&& o) noexcept { take(o); }
cursor& cursor::operator=(cursor&& o) noexcept {
  if (this != &o) {
    leave();
    take(o);
  }
  return *this;
}
cursor::~cursor() { leave(); }
void cursor::leave() noexcept {
  if (s_ != nullptr) s_->reading = nullptr;
  s_ = nullptr;
}

task<std::optional<row>> cursor::next() {
  if (at_ == got_.rows_.size() && s_ != nullptr) {
    session& s = *s_;
    in_use const mine(s);
    got_.rows_.clear();
    at_ = 0;
    struct end_if_cut {
      cursor& c;
      bool whole = false;
      ~end_if_cut() {
        if (whole) return;
        c.leave();
        c.why_ = "its statement failed or was cancelled";
      }
    } end{*this};
    co_await stopped_if_cut(s, s.d->more(got_, rows_at_once));
    end.whole = true;
    if (got_.complete) leave();
  }
  if (at_ == got_.rows_.size()) {
    if (why_ != nullptr) throw error(error_kind::misuse, std::string("the cursor has ended: ") + why_, {}, 0, *text_);
    co_return std::nullopt;
  }
  co_await unwind_if_cancelled{};
  co_return std::move(got_.rows_[at_++]);
}

task<> cursor::close() {
  got_.rows_.clear();
  at_ = 0;
  if (s_ == nullptr) co_return;
  session& s = *s_;
  in_use const mine(s);
  leave();
  co_await bring_to_rest_inside(s);
}

// --- transactions

int next_level(const session& s) {
  if (s.depth == 0 && !s.broken && s.d->in_transaction())
    throw error(error_kind::misuse, "a transaction that was begun by hand is open", "25001");
  return s.depth + 1;
}

// In line, where the database would have all who write try again and again until one has luck.
static task<> take_turn(pool_core& p, semaphore::permit& turn) {
  if (p.options.busy_timeout == nanoseconds::max()) {
    turn = co_await p.writers.acquire();
  } else if (auto got = co_await with_timeout(p.options.busy_timeout, p.writers.acquire())) {
    turn = std::move(*got);
  } else {
    throw error(error_kind::busy, "another transaction of this pool writes for too long", "55P03");
  }
}

task<> begin_level(session& s, int level, transaction_options o, bool& tried, semaphore::permit& turn) {
  goroutine_core* const g = co_await this_goroutine{};
  if (level == 1 && !o.read_only && s.d->one_writer()) co_await take_turn(*s.home, turn);
  in_use const mine(s);
  auto text = level == 1 ? std::make_shared<const std::string>(s.d->begin_text(o)) : savepoint("SAVEPOINT", level);
  if (must_come_to_rest(s)) co_await bring_to_rest_inside(s);
  make_ready(s, g, text);
  tried = true;
  if (level == 1) {
    co_await stopped_if_cut(s, s.d->script(std::move(text)));
  } else {
    // Whether a savepoint was made must be known, or it cannot be rolled back to. It waits for nobody.
    if (!co_await shielded(s.home->options.settle_within, s.d->script(std::move(text)))) {
      s.broken = true;
      throw error(error_kind::timeout, "the savepoint was not made in time");
    }
  }
  s.depth = level;
}

task<> commit_level(session& s, int level) {
  goroutine_core* const g = co_await this_goroutine{};
  in_use const mine(s);
  auto text = level == 1 ? std::make_shared<const std::string>("COMMIT") : savepoint("RELEASE SAVEPOINT", level);
  if (must_come_to_rest(s)) co_await bring_to_rest_inside(s);
  make_ready(s, g, text);
  if (s.d->doomed())
    throw error(error_kind::rolled_back, "a statement failed in this transaction, and its body went on", "25P02", 0,
                *text);
  if (!co_await shielded(commit_within, s.d->script(text))) {
    s.broken = true;
    throw error(error_kind::connection, "the commit did not end in time: whether it was done is unknown", "08007", 0,
                *text);
  }
  s.depth = level - 1;
  for (auto& n : s.to_notify) n.level = std::min(n.level, s.depth);
  if (s.depth == 0) {
    for (auto& n : s.to_notify) s.home->tell(n.channel, n.payload);
    s.to_notify.clear();
  }
}

task<> roll_back_level(session& s, int level) {
  struct work {
    static task<> run(session& s, int level, bool& ok) {
      if (!co_await s.d->settle()) co_return;
      if (s.d->in_transaction()) {
        if (level == 1) {
          co_await s.d->script(std::make_shared<const std::string>("ROLLBACK"));
        } else if (s.depth >= level) {
          co_await s.d->script(savepoint("ROLLBACK TO SAVEPOINT", level));
          co_await s.d->script(savepoint("RELEASE SAVEPOINT", level));
        }
      }
      ok = level > 1 || !s.d->in_transaction();
    }
  };
  if (s.reading != nullptr) {
    s.reading->orphan("its transaction was rolled back");
    s.reading = nullptr;
  }
  bool ok = false;
  if (!s.broken) {
    try {
      if (!co_await shielded(s.home->options.settle_within, work::run(s, level, ok))) ok = false;
    } catch (...) {
      ok = false;
    }
  }
  if (!ok) s.broken = true;
  s.depth = level - 1;
  std::erase_if(s.to_notify, [&](auto& n) { return n.level >= level; });
}

bool connection::in_transaction() const noexcept { return s_ != nullptr && s_->d->in_transaction(); }

// --- the rest

task<> send_notification(session& s, std::string channel, std::string payload) {
  if (s.home->to.backend == backend::postgres) {
    (void)co_await run_statement(&s, nullptr,
                                 request::make("SELECT pg_notify($1, $2)", std::move(channel), std::move(payload)));
  } else if (s.depth > 0) {
    s.to_notify.push_back({s.depth, std::move(channel), std::move(payload)});
  } else {
    s.home->tell(channel, payload);
  }
}

void connection::release() noexcept {
  if (s_ == nullptr) return;
  std::shared_ptr<pool_core> const pool = std::move(pool_);  // until the permit is back
  pool->give_back(std::exchange(s_, nullptr), std::move(permit_));
}
int connection::server_process() const noexcept { return s_ != nullptr ? s_->d->server_process() : 0; }
backend connection::backend() const noexcept { return pool_ != nullptr ? pool_->to.backend : backend::sqlite; }

}  // namespace leash::sql
