// What the queue holds, for who does not want to wait for it: a queue that cannot be reached answers only after a while.
#pragma once
#include <leash/leash.hpp>
#include <leash/mq.hpp>
#include <optional>

namespace orders {

/// Asks the queue for others, one question at a time: who gives up waiting leaves nothing behind that waits on.
///
/// Thread safety: any number of goroutines ask.
class queue_look {
 public:
  explicit queue_look(leash::mq::queue&);
  /// Answers, until the context ends.
  leash::task<> run();
  /// Waits until run() has asked the queue. Returns: nullopt, it does not say. Cancellation: first.
  leash::task<std::optional<leash::mq::queue_counts>> counts();

 private:
  using answer_to = leash::sender<leash::mq::queue_counts>;
  leash::mq::queue& of_;
  leash::sender<answer_to> ask_;
  leash::receiver<answer_to> asked_;
};

}  // namespace orders
