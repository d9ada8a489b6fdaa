// What a database must be able to do for one connection. One goroutine at a time; the session sees to that.
//
//   V1. start and more leave the connection at rest, or `under_way`, or broken; also when they throw or are cut short.
//   V2. settle brings it to rest whatever it was doing; false: it is to be closed. It is called shielded, and may be cut
//       short by the shield's bound.
#pragma once
#include <cstddef>
#include <leash/sql/listen.hpp>
#include <leash/sql/pool.hpp>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace leash::sql {

class driver {
 public:
  virtual ~driver() = default;

  /// Runs a statement and reads up to `most` rows of it into `out`; out.complete says whether those were all.
  virtual task<> start(const request&, result& out, std::size_t most) = 0;
  /// Up to `most` more; at least one, unless it is complete.
  virtual task<> more(result& out, std::size_t most) = 0;
  /// Statements without parameters or rows; the library's own (BEGIN and the like) too.
  virtual task<> script(std::shared_ptr<const std::string>) = 0;
  virtual task<bool> settle() = 0;
  /// The same where it takes no waiting; false: it might.
  virtual bool settle_now() noexcept = 0;
  /// Nothing of it is left open afterwards. The destructor does the same, and may block for a moment.
  virtual task<> close() = 0;

  virtual bool in_transaction() const noexcept = 0;
  /// A transaction is open that can only be rolled back.
  virtual bool doomed() const noexcept { return false; }
  virtual bool under_way() const noexcept = 0;
  virtual bool broken() const noexcept = 0;
  /// Looks whether it is still there, without waiting; at rest only.
  virtual bool lost_while_idle() noexcept { return broken(); }
  virtual std::string begin_text(const transaction_options&) const = 0;
  /// Of all connections one at a time writes.
  virtual bool one_writer() const noexcept { return false; }
  virtual int server_process() const noexcept { return 0; }
  virtual bool closes_at_once() const noexcept = 0;

  /// A connection that does nothing else.
  virtual task<> listen_to(const std::vector<std::string>& channels);
  virtual task<notification> next_notification();
};

/// What a pool's address says.
struct target {
  sql::backend backend = backend::sqlite;
  std::string where;  // a path; a conninfo string
  bool in_memory = false;
};
/// Errors: error (misuse).
target parse_address(std::string_view address);

task<std::unique_ptr<driver>> open_driver(const target&, const pool_options&);

// Each is in a file that is compiled where its library was found; else a stand-in throws.
task<std::unique_ptr<driver>> open_sqlite(const target&, const pool_options&);
task<std::unique_ptr<driver>> open_postgres(const target&, const pool_options&);
/// Errors: error (misuse).
void check_postgres_address(const std::string&);

}  // namespace leash::sql
