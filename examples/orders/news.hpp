// Who listens at /events is told what becomes of orders.
#pragma once
#include <leash/http/events.hpp>
#include <leash/leash.hpp>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "counters.hpp"

namespace orders {

/// A channel for each listener. Who tells never waits: a listener whose channel is full is let go, sees its end, and comes
/// again (a browser does by itself). A broadcast would let the slowest one hold up all.
///
/// Thread safety: any.
class news {
 public:
  explicit news(counters& n) : count_(n) {}
  leash::receiver<leash::http::server_event> subscribe();
  void tell(std::string_view id, std::string_view state);
  /// Lets all listeners go, and those that come.
  void close();

 private:
  counters& count_;
  std::mutex lock_;
  bool closed_ = false;
  std::vector<leash::sender<leash::http::server_event>> listeners_;
};

}  // namespace orders
