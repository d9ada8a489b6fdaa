#include "news.hpp"

#include <chrono>
#include <string>

namespace orders {

using leash::http::server_event;
using namespace std::chrono_literals;

news::subscription::subscription(news& from) : from_(from) {
  constexpr std::size_t may_lag = 256;
  auto [tx, rx] = leash::channel<server_event>(may_lag);
  events = std::move(rx);
  std::lock_guard guard(from.lock_);
  number_ = from.next_++;
  if (!from.closed_) from.to_.emplace(number_, std::move(tx));
}
news::subscription::~subscription() {
  std::lock_guard guard(from_.lock_);
  from_.to_.erase(number_);
}

void news::tell(std::string_view id, std::string_view state) {
  server_event const e{R"({"id": ")" + std::string(id) + R"(", "state": ")" + std::string(state) + R"("})", "order"};
  std::lock_guard guard(lock_);
  for (auto at = to_.begin(); at != to_.end();) {
    server_event copy = e;
    if (at->second.try_send(std::move(copy)) == leash::try_result::full) {
      ++count_.events_cut_off;
      at = to_.erase(at);
    } else {
      ++at;
    }
  }
}

void news::close() {
  std::lock_guard guard(lock_);
  closed_ = true;
  to_.clear();
}

std::size_t news::listeners() const {
  std::lock_guard guard(lock_);
  return to_.size();
}

leash::task<> listen(news& all, leash::http::event_writer& to) {
  news::subscription mine(all);
  co_await to.beat();  // it is listened to now
  for (;;) {
    auto came = co_await leash::select(mine.events.recv(), leash::sleep(15s));
    if (came.index() == 1)
      co_await to.beat();
    else if (auto& e = std::get<0>(came))
      co_await to.send(*e);
    else
      co_return;
  }
}

}  // namespace orders
