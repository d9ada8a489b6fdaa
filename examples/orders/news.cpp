#include "news.hpp"

namespace orders {

using leash::http::server_event;

leash::receiver<server_event> news::subscribe() {
  constexpr std::size_t may_lag = 256;
  auto [tx, rx] = leash::channel<server_event>(may_lag);
  std::lock_guard guard(lock_);
  if (!closed_) listeners_.push_back(std::move(tx));
  return std::move(rx);
}

void news::tell(std::string_view id, std::string_view state) {
  server_event const e{R"({"id": ")" + std::string(id) + R"(", "state": ")" + std::string(state) + R"("})", "order"};
  std::lock_guard guard(lock_);
  std::erase_if(listeners_, [&](leash::sender<server_event>& to) {
    server_event copy = e;
    auto const how = to.try_send(std::move(copy));
    if (how == leash::try_result::full) ++count_.events_cut_off;
    return how != leash::try_result::done;
  });
}

void news::close() {
  std::lock_guard guard(lock_);
  closed_ = true;
  listeners_.clear();
}

}  // namespace orders
