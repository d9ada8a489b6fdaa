// What the connections of a server share; and the keeper, which looks after them.
#pragma once
#include <atomic>
#include <leash/channel.hpp>
#include <leash/fence.hpp>
#include <leash/http/server.hpp>
#include <leash/net/descriptor.hpp>
#include <leash/wait_group.hpp>
#include <mutex>
#include <vector>

namespace leash::http {

class connection;

struct server::state {
  router routes;
  server_options o;
  std::atomic<bool> serving{false};
  std::atomic<bool> draining{false};
  std::atomic<std::size_t> requests{0};
  std::atomic<std::uint64_t> served{0}, shed{0}, refused{0};

  std::mutex lock;                // short: nothing waits under it
  std::vector<connection*> open;  // under the lock
  std::atomic<std::size_t> connections{0};
  std::atomic<std::size_t> started{
      0};             // goroutines of connections; seq_cst, with `draining`: the last one sees that it is
  event stop, empty;  // empty: draining, and no connection is left

  // The kernel's list of clients that have gone, each told once; what is in it are the descriptors of `open`.
  class departures {
   public:
    departures();
    departures(const departures&) = delete;
    ~departures();
    int descriptor() const noexcept { return fd_; }
    void add(connection&, bool half_close);
    void remove(connection&) noexcept;
    /// Under the lock: marks them.
    void take() noexcept;

   private:
    int const fd_;
  } departed;

  // The keeper sleeps for long only after it has said so and found nothing changed: Dekker with `state` of a connection.
  std::atomic<bool> asleep{false};
  sender<std::monostate> wake_tx;
  receiver<std::monostate> wake_rx;

  state(router r, server_options options);
  /// What the goroutine of a connection holds.
  class place {
   public:
    explicit place(std::shared_ptr<state> of) : s_(std::move(of)) { s_->started.fetch_add(1); }
    place(place&&) noexcept = default;
    place& operator=(place&&) = delete;
    ~place() {
      if (s_ && s_->started.fetch_sub(1) == 1 && s_->draining.load()) s_->empty.set();
    }
    state& of() const noexcept { return *s_; }

   private:
    std::shared_ptr<state> s_;
  };
  server_figures figures() const noexcept;
  void drain();
  void add(connection&);
  void remove(connection&) noexcept;
  /// After a change of a connection's state.
  void note_progress() noexcept {
    light_fence();  // ORD keeper-1
    if (asleep.load(std::memory_order_relaxed)) [[unlikely]]
      wake();
  }
  void wake() noexcept;
  /// Until it is cancelled: ends phases that take too long, and the contexts of clients that have gone.
  task<> keep();
  /// Names what runs, and ends it.
  shutdown_result cut_all();

 private:
  struct look {
    std::int64_t due = INT64_MAX;  // when the next phase has taken too long
    bool busy = false;             // something has changed, or must be watched
  };
  look look_after_all(std::int64_t at);
};

}  // namespace leash::http
