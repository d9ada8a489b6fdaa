#include <leash/net/signals.hpp>
#include <leash/worker.hpp>

#include "reactor.hpp"

namespace leash::net {

signals::signals(std::initializer_list<int> numbers, std::source_location where)
    : keep_(reactor_here(where)), set_(static_cast<asio_reactor&>(*keep_).context().get_executor()) {
  for (int n : numbers) set_.add(n);
}

const outside_wait::operations signals::next_operation::wait_type::how{&wait_type::start, &io_wait_core::cancel,
                                                                       &io_wait_of<error_code, int>::cut_short};

bool signals::next_operation::wait_type::fast() noexcept {
  if (on_->kept_.empty()) return false;
  store(error_code(), on_->kept_.front());
  on_->kept_.pop_front();
  return true;
}

void signals::next_operation::wait_type::start(outside_wait* o) noexcept {
  auto* w = static_cast<wait_type*>(o);
  try {
    w->on_->set_.async_wait(io_handler<error_code, int>(w));
  } catch (...) {
    w->failure_ = std::current_exception();
  }
}

signals::next_operation::wait_type::~wait_type() {
  if (came_ && !taken_ && !std::get<0>(*came_)) on_->kept_.push_back(std::get<1>(*came_));
}

}  // namespace leash::net
