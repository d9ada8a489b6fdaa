// What is served: the API and the page.
#pragma once
#include <functional>
#include <leash/http/server.hpp>
#include <leash/leash.hpp>
#include <leash/mq.hpp>

#include "counters.hpp"
#include "news.hpp"
#include "plants.hpp"
#include "store.hpp"

namespace orders {

/// What handlers work with. They run inside of the server, so all of this must outlive it.
struct parts {
  counters& count;
  store& orders;
  leash::mq::queue& queue;
  news& tell;
  leash::sender<std::monostate>& committed;  // tells the relay
  garden& plants;
};

/// figures: of the server that will serve them.
leash::http::router routes(parts, std::function<leash::http::server_figures()> figures);

}  // namespace orders
