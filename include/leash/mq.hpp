// leash::mq: messages that outlive processes, and consumers bound to their context. Link leash::mq.
//
//   auto q = co_await mq::open_sqlite({.file = "orders.db", .name = "orders"});       // or mq::open_nats({...})
//   co_await q.publish("order 7", {.idempotency_key = "7"});                           // durable when it returns
//   mq::consumer c(q, {.concurrency = 8});
//   co_await c.run([&](const mq::message& m) -> task<> { co_await fulfil(m.body); });  // until its context ends, or c.drain()
//
// At least once: a message is acknowledged after its handler has returned, and comes again if the handler threw, ran longer
// than its limit, was cancelled, or its process died. After max_attempts it is a dead letter. docs/mq.md is the guide.
#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <leash/scope.hpp>
#include <leash/watch.hpp>
#include <memory>
#include <source_location>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace leash::mq {

enum class failure : std::uint8_t {
  full,         // no room: the disk, or max_bytes
  unavailable,  // the server cannot be reached, or the file is locked for too long: try again later
  refused,      // the request cannot be met: a bad name, a body that is too large, options of another shape
  broken,       // the store is damaged, or answers what it never should
};

/// What a queue could not do. Nothing of it was done, but for `unavailable`, where it may have been: publish again with the
/// same idempotency key.
class error : public std::runtime_error {
 public:
  error(failure k, const std::string& text) : std::runtime_error(text), kind_(k) {}
  failure kind() const noexcept { return kind_; }

 private:
  failure kind_;
};

/// Thrown by a handler: the message can never be handled, so it becomes a dead letter at once.
class rejected : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

struct message {
  std::string id;             // the queue's own
  std::string key;            // what it was published with; empty: none
  std::string body;           // any bytes
  std::uint32_t attempt = 1;  // counts deliveries
};

/// Every member has a default.
struct publish_options {
  std::string key = {};  // messages of one key come in their order, where the queue is ordered_by_key
  // A second publish with the same one does nothing, for as long as the queue remembers it.
  std::string idempotency_key = {};
};
struct receipt {
  std::string id;
  bool duplicate = false;  // the idempotency key was known; id is that of the first
};
struct dead_letter {
  message what;
  std::string reason;
};
struct queue_counts {
  std::uint64_t waiting = 0;    // to be handled now or later
  std::uint64_t in_flight = 0;  // taken by a consumer, not yet acknowledged
  std::uint64_t dead = 0;
};

// --- what a queue is made of

/// A message that a consumer has taken: its own until it settles it, or its visibility time is over.
struct delivery {
  message what;
  std::shared_ptr<void> lease;  // the store's own
};

/// A store of messages. Its operations may be called by any number of goroutines at once; what throws, throws mq::error.
class store {
 public:
  store() = default;
  store(const store&) = delete;
  virtual ~store() = default;

  /// Durable when it returns.
  virtual task<receipt> publish(std::string body, publish_options) = 0;
  /// Around all takes of a consumer. What is on its way when the last one has ended is given back.
  virtual void begin_taking() noexcept {}
  virtual task<> end_taking() { co_return; }
  /// Takes up to `most` messages, each for `visible_again`: after that another consumer may take it. Returns when to look
  /// again; sooner, if changes() sees one. What was taken is in `into` even if the caller was cut short meanwhile.
  virtual task<nanoseconds> take(std::vector<delivery>& into, std::size_t most, nanoseconds visible_again) = 0;
  /// It was handled. False: its time was over, and somebody else may handle it.
  virtual task<bool> acknowledge(const delivery&) = 0;
  /// It comes again, after that time. `count`: the attempt counts.
  virtual task<bool> put_back(const delivery&, nanoseconds after, bool count) = 0;
  /// It becomes a dead letter.
  virtual task<bool> bury(const delivery&, std::string reason) = 0;
  /// Its time starts anew. False: it was over.
  virtual task<bool> extend(const delivery&, nanoseconds visible_again) = 0;

  virtual task<queue_counts> count() = 0;
  virtual task<std::vector<dead_letter>> dead_letters(std::size_t most) = 0;
  /// All dead letters become messages again, with no attempt counted. How many.
  virtual task<std::size_t> revive_dead_letters() = 0;

  /// Sees a change whenever there may be something to take, as far as this process knows.
  watch_receiver<std::uint64_t> changes() const { return changed_.subscribe(); }

 protected:
  void changed() noexcept;

 private:
  watch_sender<std::uint64_t> changed_ = watch<std::uint64_t>(0).first;
};

/// A durable queue. Movable; its consumers must end before it.
///
/// Thread safety: any number of goroutines at once.
class queue {
 public:
  explicit queue(std::unique_ptr<store> s) noexcept : store_(std::move(s)) {}

  /// Adds a message, which is durable when this returns.
  ///
  /// Returns: its id, and whether the idempotency key was known already: then nothing was added.
  /// Cancellation: first; one that comes while it is under way is delivered when it is done.
  /// Errors: mq::error, see failure.
  task<receipt> publish(std::string body, publish_options o = {}) {
    return store_->publish(std::move(body), std::move(o));
  }
  task<queue_counts> count() { return store_->count(); }
  /// The oldest dead letters, with the reason of each.
  task<std::vector<dead_letter>> dead_letters(std::size_t most = 100) { return store_->dead_letters(most); }
  /// All dead letters become messages again, as if never tried. Returns how many.
  task<std::size_t> revive_dead_letters() { return store_->revive_dead_letters(); }

  mq::store& store() noexcept { return *store_; }

 private:
  std::unique_ptr<mq::store> store_;
};

// --- where messages are kept

/// Every member but the file has a default.
struct sqlite_options {
  std::string file = {};       // made if it is not there. Any number of processes of one machine may share it
  std::string name = "queue";  // several queues may share a file
  bool ordered_by_key = false;
  std::uint64_t max_bytes = 0;                         // of the file; 0: as the disk allows. Beyond: failure::full
  nanoseconds busy_wait = std::chrono::seconds(10);    // for another process to let go of the file
  nanoseconds poll = std::chrono::milliseconds(100);   // for messages of other processes
  nanoseconds remember_keys = std::chrono::hours(24);  // idempotency keys
};
/// A queue in a file, on the blocking pool. Write-ahead log, synchronous: what publish or acknowledge has done survives a
/// killed process and a power cut. Errors: mq::error.
task<queue> open_sqlite(sqlite_options);

struct nats_options {
  std::string url = "nats://127.0.0.1:4222";
  std::string name = "queue";  // of the stream: letters, digits, - and _
  bool ordered_by_key = false;
  std::uint32_t partitions = 16;  // ordered: so many messages at most are handled at once, over all processes
  std::uint32_t replicas = 1;
  std::uint64_t max_bytes = 0;                          // of the stream; 0: as the server allows. Beyond: failure::full
  nanoseconds answer_within = std::chrono::seconds(5);  // each request to the server
  nanoseconds remember_keys = std::chrono::minutes(10);  // idempotency keys
};
/// A queue on NATS JetStream, for more than one machine: a stream with file storage, and durable consumers that all processes
/// share. Reconnects for ever; what is asked meanwhile fails as `unavailable` after answer_within. A delivery that is put
/// back counts as an attempt here in any case. Errors: mq::error; refused, if the library was built without NATS.
task<queue> open_nats(nats_options);
/// True if open_nats was built in.
bool has_nats() noexcept;

// --- consuming

/// Every member has a default.
struct consumer_options {
  std::size_t concurrency = 1;     // handlers at once
  std::uint32_t max_attempts = 5;  // then it is a dead letter
  // A handler's context ends then; the attempt has failed. 0: it may take for ever, and is proved leaked if it can.
  nanoseconds handler_limit = std::chrono::minutes(5);
  nanoseconds visibility = std::chrono::seconds(30);      // a message of a dead process comes again after that; renewed
                                                          // every third of it while the handler runs
  nanoseconds back_off = std::chrono::milliseconds(200);  // before the second attempt; doubled for each further one
  nanoseconds back_off_most = std::chrono::minutes(5);
  nanoseconds drain_within = std::chrono::seconds(30);   // after drain(): then handlers that still run are cancelled
  nanoseconds settle_within = std::chrono::seconds(10);  // for telling the store how a delivery ended
  /// Told what went wrong with a message (its handler's exception, a limit) or, with a null message, with the store. On a
  /// worker: be short. What it throws is dropped.
  std::function<void(const message*, const std::string& what)> on_failure = {};
};

struct consumer_counts {
  std::uint64_t handled = 0;     // acknowledged
  std::uint64_t retried = 0;     // attempts that failed
  std::uint64_t buried = 0;      // dead letters
  std::uint64_t given_back = 0;  // taken, and cancelled before the handler had returned
  std::uint64_t lost = 0;        // somebody else took it meanwhile: handled more than once, perhaps
  std::uint64_t store_failures = 0;
};

/// The handler, without its type: it lies in the frame of run(), where the leak proof sees what it holds.
struct handler_ref {
  void* handler;
  task<> (*call)(void*, const message&);
};

/// Handles the messages of a queue, in goroutines of its own scope.
///
/// Thread safety: run() once at a time; drain() and counts() from any thread.
class consumer {
 public:
  /// Errors: std::invalid_argument for options that make no sense.
  explicit consumer(queue& q, consumer_options o = {}, std::source_location where = std::source_location::current());
  consumer(const consumer&) = delete;
  ~consumer();

  /// Calls `handler(message)` for each message, up to `concurrency` at once, until drain() or the end of its context.
  ///
  /// Parameters: handler, a callable, plain or returning a task, moved in and kept; it returns when the message is done.
  /// A message is acknowledged after that. If it throws or exceeds its limit, the message comes again after the back-off, or
  /// becomes a dead letter (max_attempts; mq::rejected at once).
  /// Returns: after drain(), the counts: handlers that ran have ended, or were cancelled after drain_within.
  /// Cancellation: reaches the handlers; what was taken and not handled is given back at once, then unwinding goes on.
  /// Errors: none of the store: they are told to on_failure, counted, and tried again.
  template <class F>
  task<consumer_counts> run(F handler) {
    handler_ref const h{std::addressof(handler),
                        [](void* f, const message& m) -> task<> { return call_handler(*static_cast<F*>(f), m); }};
    co_return co_await run_all(h);
  }
  /// No more messages are taken; run() returns when the handlers under way have ended. Idempotent.
  void drain() noexcept;
  consumer_counts counts() const noexcept;

 private:
  template <class F>
  static task<> call_handler(F& f, const message& m) {
    using raw = std::remove_cvref_t<std::invoke_result_t<F&, const message&>>;
    if constexpr (is_task<raw> || operation<raw>) {
      (void)co_await f(m);
    } else {
      (void)f(m);
      co_return;
    }
  }
  task<consumer_counts> run_all(handler_ref);

  struct state;
  struct work;
  std::unique_ptr<state> state_;
};

}  // namespace leash::mq
