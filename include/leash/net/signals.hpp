// The process's signals, as values that are awaited.
#pragma once
#include <boost/asio/signal_set.hpp>
#include <deque>
#include <initializer_list>
#include <leash/net/async.hpp>

namespace leash::net {

/// Catches signals for as long as it lives; what came while nobody waited is kept. More of the same kind at once may count as one.
///
///   net::signals stop{SIGINT, SIGTERM};
///   co_await select(on(stop.next(), [&](int) { s.cancel("stopped"); }), on(s.join(), [] {}));
class signals {
 public:
  explicit signals(std::initializer_list<int> numbers, std::source_location where = std::source_location::current());
  signals(const signals&) = delete;
  signals& operator=(const signals&) = delete;

  /// Waits for the next one and gives its number. Wait reason: `IO wait`. Selectable; one that a losing case took comes next time.
  class next_operation;
  next_operation next() noexcept;

 private:
  std::shared_ptr<reactor> keep_;
  asio::basic_signal_set<executor_type> set_;
  std::deque<int> kept_;
};

class [[nodiscard]] signals::next_operation : public operation_base {
 public:
  using result_type = int;
  using value_type = int;
  class wait_type : public io_wait_of<error_code, int> {
   public:
    explicit wait_type(next_operation& op) noexcept : io_wait_of(how), on_(op.on_) {}
    ~wait_type();
    bool likely_ready() noexcept { return !on_->kept_.empty(); }
    bool fast() noexcept;

   private:
    static void start(outside_wait*) noexcept;
    static const operations how;
    signals* on_;
  };
  explicit next_operation(signals* s) noexcept : on_(s) {}

 private:
  signals* on_;
};
inline signals::next_operation signals::next() noexcept { return next_operation(this); }

}  // namespace leash::net
