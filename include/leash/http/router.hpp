// The router: which handler answers which path.
//
// Patterns: "/orders/{id}" has a parameter, which takes one segment that is not empty; "/files/{path...}" takes all that is left, which may be
// empty. A literal segment goes before a parameter, a parameter before a rest, whatever the order in which the routes were
// added. Segments are compared decoded; a "%2F" in a segment separates nothing.
//
// Thread safety: filled by one thread; asked by any number at once.
#pragma once
#include <chrono>
#include <concepts>
#include <functional>
#include <leash/clock.hpp>
#include <leash/http/message.hpp>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace leash::http {

/// What answers a request: a coroutine that runs in the request's context.
using handler = std::function<task<response>(request&)>;

struct route_options {
  /// How long the handler may take until it returns its response; nullopt: as the server says; nanoseconds::max(): for ever.
  std::optional<nanoseconds> timeout = {};
  /// The most bytes that a request's body may have; nullopt: as the server says.
  std::optional<std::uint64_t> max_body = {};
};

template <class T>
struct answer_of {
  using type = T;
};
template <class T>
struct answer_of<task<T>> {
  using type = T;
};
template <class F, class... A>
using answer_t = typename answer_of<std::remove_cvref_t<std::invoke_result_t<F&, A...>>>::type;

/// Wraps what may be a handler: callable with (request&) or with nothing; a coroutine or plain; what it gives becomes a
/// response.
template <class F>
handler make_handler(F f) {
  if constexpr (std::is_invocable_v<F&, request&>) {
    if constexpr (std::is_same_v<std::invoke_result_t<F&, request&>, task<response>>) {
      return handler(std::move(f));
    } else if constexpr (std::is_same_v<std::invoke_result_t<F&, request&>, task<answer_t<F, request&>>>) {
      return [f = std::move(f)](request& r) mutable -> task<response> { co_return response(co_await f(r)); };
    } else {
      return [f = std::move(f)](request& r) mutable -> task<response> { co_return response(f(r)); };
    }
  } else {
    static_assert(std::is_invocable_v<F&>, "a handler takes (http::request&), or nothing");
    if constexpr (std::is_same_v<std::invoke_result_t<F&>, task<answer_t<F>>>) {
      return [f = std::move(f)](request&) mutable -> task<response> { co_return response(co_await f()); };
    } else {
      return [f = std::move(f)](request&) mutable -> task<response> { co_return response(f()); };
    }
  }
}
template <class F>
concept handles = requires(F& f, request& r) { response(std::declval<answer_t<F, request&>>()); } ||
                  requires(F& f) { response(std::declval<answer_t<F>>()); };

/// A route, as the server sees it.
struct route {
  std::string pattern;
  handler call;
  route_options options;
};

class router {
 public:
  router();
  router(router&&) noexcept;
  router& operator=(router&&) noexcept;
  ~router();

  /// Adds a route. `methods`: one, or more with blanks between, or "*" for any. GET answers HEAD too, and OPTIONS is
  /// answered for every path, unless they have routes of their own.
  /// Errors: std::invalid_argument for a pattern that is none; std::logic_error if the same pattern has that method.
  router& add(std::string_view methods, std::string_view pattern, handler, route_options = {});
  template <handles F>
  router& handle(std::string_view methods, std::string_view pattern, F f, route_options o = {}) {
    return add(methods, pattern, make_handler(std::move(f)), o);
  }
  template <handles F>
  router& get(std::string_view pattern, F f, route_options o = {}) {
    return add("GET", pattern, make_handler(std::move(f)), o);
  }
  template <handles F>
  router& post(std::string_view pattern, F f, route_options o = {}) {
    return add("POST", pattern, make_handler(std::move(f)), o);
  }
  template <handles F>
  router& put(std::string_view pattern, F f, route_options o = {}) {
    return add("PUT", pattern, make_handler(std::move(f)), o);
  }
  template <handles F>
  router& patch(std::string_view pattern, F f, route_options o = {}) {
    return add("PATCH", pattern, make_handler(std::move(f)), o);
  }
  template <handles F>
  router& del(std::string_view pattern, F f, route_options o = {}) {
    return add("DELETE", pattern, make_handler(std::move(f)), o);
  }
  /// Wraps the routes that are added after it: f(request&, const handler& next) -> task<response>.
  router& wrap(std::function<task<response>(request&, const handler&)> f);

  /// What the path and the method lead to.
  struct match {
    const route* found = nullptr;
    int status = 404;     // if nothing was found: 404, 405, 400 (a path that cannot be decoded); 204: OPTIONS
    std::string allow{};  // for 405 and 204
  };
  /// Notes the path's parameters in the request. Complexity: linear in the path, times the parameters that it may be split
  /// by; no allocation but for decoded parameters.
  match find(request&) const;

 private:
  struct node;
  std::unique_ptr<node> root_;
  std::vector<std::shared_ptr<std::function<task<response>(request&, const handler&)>>> wraps_;
};

}  // namespace leash::http
