// What is served: the API and the page.
#pragma once
#include <leash/http/router.hpp>
#include <leash/leash.hpp>

#include "counters.hpp"
#include "news.hpp"
#include "plants.hpp"
#include "queue_look.hpp"
#include "store.hpp"

namespace orders {

/// What handlers work with. They run inside of the server, so all of this must outlive it.
struct parts {
  counters& count;
  store& orders;
  queue_look& queue;
  news& tell;
  leash::sender<std::monostate>& committed;  // tells the relay
  garden& plants;
};

leash::http::router routes(parts);

}  // namespace orders
