// Orders in the database, and what is to be told to the queue about them: the outbox, written in the same transaction.
#pragma once
#include <chrono>
#include <leash/leash.hpp>
#include <leash/sql.hpp>
#include <optional>
#include <string>
#include <vector>

#include "order.hpp"
#include "settings.hpp"

namespace orders {

/// A row of the outbox.
struct outgoing {
  std::int64_t seq;
  std::string order_id, customer;
};

struct totals {
  std::int64_t accepted = 0, fulfilled = 0, refused = 0, shipments = 0, outbox = 0;
};

enum class fulfilment { done, refused, repeated, unknown };

/// Thrown by place(): the key belongs to another order.
struct key_taken {};

/// Thread safety: any number of goroutines at once. What throws, throws sql::error.
class store {
 public:
  explicit store(const settings&);

  /// Makes the tables where they are missing.
  leash::task<> prepare();

  struct placed {
    order what;
    bool is_new;
  };
  /// Writes the order and its row of the outbox, or finds the one that has this key already (empty: none).
  leash::task<placed> place(new_order, std::string key);
  leash::task<std::optional<order>> find(std::string id);
  leash::task<std::vector<order>> newest(int most);
  leash::task<totals> count();
  leash::task<> ping();

  /// Ships the order, if nobody did: a message may come twice.
  leash::task<fulfilment> fulfil(std::string id);

  leash::task<std::vector<outgoing>> outbox(int most);
  /// They are in the queue.
  leash::task<> sent(std::vector<outgoing>);

  /// Keeps the database busy for so long, unless its caller is gone sooner: then the query ends in the database too.
  leash::task<> audit(std::chrono::milliseconds);

  leash::sql::pool_stats stats() const { return pool_.stats(); }
  leash::task<> close() { return pool_.close(); }

 private:
  leash::sql::pool pool_;
};

/// The database is away, busy or full: it may work later.
bool may_pass(const leash::sql::error&);

}  // namespace orders
