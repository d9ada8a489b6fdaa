// From the outbox to the queue.
#pragma once
#include <leash/leash.hpp>
#include <leash/mq.hpp>

#include "counters.hpp"
#include "store.hpp"

namespace orders {

/// Publishes what is in the outbox, in its order, until the context ends. A row goes when the queue has its message, so
/// after a crash it may be published twice; the queue knows the key.
///
/// Parameters: committed, gets a value when there may be something; without one it looks once a second, for what other
///   processes leave.
leash::task<> relay(store&, leash::mq::queue&, leash::receiver<std::monostate>& committed, counters&);

}  // namespace orders
