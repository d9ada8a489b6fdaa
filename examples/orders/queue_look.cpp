#include "queue_look.hpp"

#include <tuple>

namespace orders {

using leash::task;
namespace mq = leash::mq;

queue_look::queue_look(mq::queue& q) : of_(q) { std::tie(ask_, asked_) = leash::channel<answer_to>(); }

task<> queue_look::run() {
  while (auto to = co_await asked_.recv()) {
    try {
      (void)co_await to->send(co_await of_.count());
    } catch (const mq::error&) {  // whoever asked sees that there is no answer
    }
  }
}

task<std::optional<mq::queue_counts>> queue_look::counts() {
  auto [to, answer] = leash::oneshot<mq::queue_counts>();
  if (!co_await ask_.send(std::move(to))) co_return std::nullopt;
  co_return co_await answer.recv();
}

}  // namespace orders
