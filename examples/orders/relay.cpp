#include "relay.hpp"

#include "patience.hpp"

namespace orders {

using leash::task;
using namespace std::chrono_literals;

static constexpr int batch = 16;

static task<bool> relay_some(store& orders, leash::mq::queue& to, counters& count) {
  auto const rows = co_await orders.outbox(batch);
  if (rows.empty()) co_return false;
  for (const outgoing& row : rows)
    co_await to.publish(row.order_id, {.key = row.customer, .idempotency_key = row.order_id});
  co_await orders.sent(rows);
  count.relayed += rows.size();
  co_return true;
}

task<> relay(store& orders, leash::mq::queue& to, leash::receiver<std::monostate>& committed, counters& count) {
  for (;;) {
    while (co_await patiently("relay", [&] { return relay_some(orders, to, count); })) continue;
    (void)co_await leash::select(committed.recv(), leash::sleep(1s));
  }
}

}  // namespace orders
