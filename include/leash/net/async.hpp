// use_goroutine: any asynchronous operation of Asio, composed ones and Boost.Beast's included, awaited in a goroutine.
//
//   std::size_t n = co_await socket.async_read_some(buffer, net::use_goroutine);                    // errors are thrown
//   auto [error, n] = co_await socket.async_read_some(buffer, asio::as_tuple(net::use_goroutine));  // or returned
//   auto r = co_await select(socket.async_read_some(buffer, net::use_goroutine), sleep(1s));
//
// The call makes an operation of leash's kind; awaiting it starts Asio's. All handlers of the runtime's io_context run in the
// reactor's turn (reactor.hpp, R1): none runs at the same time as another, so a composed operation needs no strand. What a
// goroutine starts, it starts on its own worker.
//
// Invariants
//  N1. The operation has ended before the frame that awaits it goes (outside.hpp, O2).
//  N2. The cancellation signal is emitted in the reactor's turn, and again whenever handlers have run, until the operation is
//      over: a composed operation may have been between two parts, and knows nothing of it.
#pragma once
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/system/system_error.hpp>
#include <cstddef>
#include <exception>
#include <leash/outside.hpp>
#include <leash/task.hpp>
#include <memory>
#include <optional>
#include <source_location>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>

namespace leash::net {

namespace asio = boost::asio;
using boost::system::error_code;
using boost::system::system_error;
using executor_type = asio::io_context::executor_type;

/// The io_context of the runtime that the calling goroutine belongs to. It runs on that runtime's workers. Objects made on it
/// must be gone when the run ends.
///
/// Errors: std::logic_error outside of a goroutine. Thread safety: as Asio says: an object that is used by one goroutine at a
/// time needs nothing; reading and writing one socket at once is allowed.
asio::io_context& context(std::source_location where = std::source_location::current());
inline executor_type executor(std::source_location where = std::source_location::current()) {
  return context(where).get_executor();
}

/// The completion token; see the head of this file.
struct use_goroutine_t {
  constexpr use_goroutine_t() noexcept {}
};
inline constexpr use_goroutine_t use_goroutine{};

/// Memory for Asio's operations: from the arena, as frames.
template <class T>
struct io_allocator {
  using value_type = T;
  io_allocator() noexcept = default;
  template <class U>
  io_allocator(const io_allocator<U>&) noexcept {}
  static constexpr std::size_t bytes(std::size_t n) noexcept { return n * sizeof(T) < 32 ? 32 : n * sizeof(T); }
  T* allocate(std::size_t n) {
    static_assert(alignof(T) <= 16);
    return static_cast<T*>(arena::allocate(arena::kind::frame, bytes(n)));
  }
  void deallocate(T* p, std::size_t n) noexcept { arena::deallocate(arena::kind::frame, p, bytes(n)); }
  friend bool operator==(io_allocator, io_allocator) noexcept { return true; }
};

class asio_part;

/// What every wait for an Asio operation has.
class io_wait_core : public outside_wait {
 public:
  asio::cancellation_slot slot() noexcept { return signal_.slot(); }
  /// The handler was called or destroyed.
  void over() noexcept;

 protected:
  using outside_wait::outside_wait;
  /// Before the operation is started.
  void prepare() noexcept;
  static void cancel(outside_wait*) noexcept;
  std::exception_ptr failure_;  // thrown by what starts the operation

 private:
  friend class asio_part;
  asio::cancellation_signal signal_;
  io_wait_core* next_cancelled_ = nullptr;  // the reactor's
  std::atomic<bool> over_{false}, listed_{false};
};

/// How the arguments of a completion become what co_await gives.
template <class... A>
struct io_completion {
  using values = std::tuple<A...>;
  static constexpr bool has_error = false;
};
template <class E, class... A>
  requires(std::same_as<E, error_code> || std::same_as<E, std::exception_ptr>)
struct io_completion<E, A...> {
  using values = std::tuple<A...>;
  static constexpr bool has_error = true;
};
template <class Values>
struct io_value {
  using type = Values;
};
template <>
struct io_value<std::tuple<>> {
  using type = void;
};
template <class T>
struct io_value<std::tuple<T>> {
  using type = T;
};
template <class... A>
using io_value_t = typename io_value<typename io_completion<A...>::values>::type;

[[noreturn]] void throw_io_error(const error_code&, std::source_location);
[[noreturn]] inline void throw_io_error(std::exception_ptr e, std::source_location) {
  std::rethrow_exception(std::move(e));
}
inline bool says_aborted(const error_code& e) noexcept { return e == asio::error::operation_aborted; }
template <class T>
bool says_aborted(const T& v) noexcept {
  if constexpr (requires { std::get<0>(v); }) {  // as_tuple
    if constexpr (std::is_same_v<std::remove_cvref_t<decltype(std::get<0>(v))>, error_code>)
      return says_aborted(std::get<0>(v));
  }
  return false;
}

/// Waits for a completion with the arguments A.
template <class... A>
class io_wait_of : public io_wait_core {
 public:
  using completion = io_completion<A...>;
  using value = io_value_t<A...>;

  /// The handler's call, in whatever thread.
  template <class... B>
  void store(B&&... b) noexcept {
    try {
      came_.emplace(std::forward<B>(b)...);
    } catch (...) {
      failure_ = std::current_exception();
    }
  }

  std::conditional_t<std::is_void_v<value>, std::monostate, value> result() {
    taken_ = true;
    if (failure_) std::rethrow_exception(std::move(failure_));
    if (!came_) throw_io_error(error_code(asio::error::operation_aborted), where_);
    if constexpr (completion::has_error) {
      if (std::get<0>(*came_)) throw_io_error(std::move(std::get<0>(*came_)), where_);
    }
    return [this]<std::size_t... I>(std::index_sequence<I...>) {
      constexpr std::size_t first = completion::has_error ? 1 : 0;
      if constexpr (sizeof...(I) == 0) {
        return std::monostate{};
      } else {
        return std::conditional_t<std::is_void_v<value>, std::monostate, value>(
            std::move(std::get<I + first>(*came_))...);
      }
    }(std::make_index_sequence<sizeof...(A) - (completion::has_error ? 1 : 0)>());
  }

 protected:
  explicit io_wait_of(const operations& how) noexcept : io_wait_core(wait_reason::io, how) {}
  static bool cut_short(const outside_wait* o) noexcept {
    auto* w = static_cast<const io_wait_of*>(o);
    if (w->failure_) return false;
    if (!w->came_) return true;
    if constexpr (sizeof...(A) != 0) {
      return says_aborted(std::get<0>(*w->came_));
    } else {
      return false;
    }
  }

  std::optional<std::tuple<A...>> came_;
  bool taken_ = false;
  std::source_location where_;
};

/// Asio's handler. Called or destroyed, it ends its operation.
template <class... A>
class io_handler {
 public:
  using allocator_type = io_allocator<std::byte>;
  using cancellation_slot_type = asio::cancellation_slot;

  explicit io_handler(io_wait_of<A...>* w) noexcept : wait_(w) {}
  io_handler(io_handler&& o) noexcept : wait_(std::exchange(o.wait_, nullptr)) {}
  io_handler& operator=(io_handler&&) = delete;
  ~io_handler() {
    if (wait_ != nullptr) wait_->over();
  }
  template <class... B>
  void operator()(B&&... b) noexcept {
    io_wait_of<A...>* w = std::exchange(wait_, nullptr);
    w->store(std::forward<B>(b)...);
    w->over();
  }
  allocator_type get_allocator() const noexcept { return {}; }
  cancellation_slot_type get_cancellation_slot() const noexcept {
    return wait_ != nullptr ? wait_->slot() : asio::cancellation_slot();
  }

 private:
  io_wait_of<A...>* wait_;
};

template <class Signature, class Init, class... Args>
class io_operation;

/// An operation of Asio, not started yet.
///
/// Suspends: until its handler is called. Wait reason: `IO wait`. Returns: the handler's arguments behind the error; several as a
/// tuple. Errors: boost::system::system_error with the operation's error_code (as_tuple: none, the error_code is returned).
/// Cancellation: first; an operation that runs is cancelled through its slot and awaited. One that came to a result all the same
///   delivers it, and the next wait unwinds. One without support for cancellation is awaited.
/// Select: as a losing case it is cancelled and awaited too. What it has done by then is done: the operations of net's own
///   streams lose nothing, others may (bytes that were read).
/// Select, too: it is started when no other case is ready, so beside one that always is it does not have its turn.
/// Thread safety: one goroutine awaits it. What happens before the handler is called happens before the return.
template <class... A, class Init, class... Args>
class [[nodiscard]] io_operation<void(A...), Init, Args...> : public operation_base {
 public:
  class wait_type : public io_wait_of<A...> {
   public:
    explicit wait_type(io_operation& op) noexcept : io_wait_of<A...>(how), op_(op) { this->where_ = op.where_; }

   private:
    static void start(outside_wait* o) noexcept {
      auto* w = static_cast<wait_type*>(o);
      w->prepare();
      try {
        std::apply([&](Args&... args) { std::move(w->op_.init_)(io_handler<A...>(w), std::move(args)...); },
                   w->op_.args_);
      } catch (...) {
        w->failure_ = std::current_exception();
      }
    }
    static constexpr outside_wait::operations how{&wait_type::start, &io_wait_core::cancel,
                                                  &io_wait_of<A...>::cut_short};
    io_operation& op_;
  };
  using result_type = io_value_t<A...>;
  using value_type = std::conditional_t<std::is_void_v<result_type>, std::monostate, result_type>;

  template <class I, class... B>
  explicit io_operation(std::in_place_t, I&& init, B&&... args)
      : init_(std::forward<I>(init)), args_(std::forward<B>(args)...) {}

 private:
  Init init_;
  std::tuple<Args...> args_;
  std::source_location where_;
};

}  // namespace leash::net

template <class R, class... A>
class boost::asio::async_result<leash::net::use_goroutine_t, R(A...)> {
 public:
  template <class Init, class... Args>
  static auto initiate(Init&& init, leash::net::use_goroutine_t, Args&&... args) {
    return leash::net::io_operation<void(std::decay_t<A>...), std::decay_t<Init>, std::decay_t<Args>...>(
        std::in_place, std::forward<Init>(init), std::forward<Args>(args)...);
  }
};
