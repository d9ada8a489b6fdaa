// Who listens at /events is told what becomes of orders.
#pragma once
#include <cstdint>
#include <leash/http/events.hpp>
#include <leash/leash.hpp>
#include <map>
#include <mutex>
#include <string_view>

#include "counters.hpp"

namespace orders {

/// A channel for each listener. Who tells never waits: a listener whose channel is full is let go, sees its end, and comes
/// again (a browser does by itself). A broadcast would let the slowest one hold up all.
///
/// Thread safety: any.
class news {
 public:
  /// A listener, for as long as it lives.
  class subscription {
   public:
    explicit subscription(news&);
    subscription(const subscription&) = delete;
    ~subscription();
    leash::receiver<leash::http::server_event> events;

   private:
    news& from_;
    std::uint64_t number_;
  };

  explicit news(counters& n) : count_(n) {}
  void tell(std::string_view id, std::string_view state);
  /// Lets all listeners go, and those that come.
  void close();
  std::size_t listeners() const;

 private:
  counters& count_;
  mutable std::mutex lock_;  // for moments
  bool closed_ = false;
  std::uint64_t next_ = 0;
  std::map<std::uint64_t, leash::sender<leash::http::server_event>> to_;
};

/// Sends a client what there is to tell, until it goes away or is let go.
leash::task<> listen(news&, leash::http::event_writer&);

}  // namespace orders
