// What consumers do with an order.
#pragma once
#include <chrono>
#include <leash/leash.hpp>
#include <leash/mq.hpp>

#include "counters.hpp"
#include "news.hpp"
#include "store.hpp"

namespace orders {

/// Handles a message: its body is an order's id. Bears to see it twice. Errors: mq::rejected for an order that can never be
/// fulfilled. While the database is away it waits: an attempt that failed for that would count.
leash::task<> fulfil(const leash::mq::message&, std::chrono::milliseconds work, store&, news&, counters&);

}  // namespace orders
