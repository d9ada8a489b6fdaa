// JSON in and out of handlers, by nlohmann-json (header only; Debian: nlohmann-json3-dev). Nothing else of leash::http needs it.
#pragma once
#include <leash/http/router.hpp>
#include <nlohmann/json.hpp>
#include <string>
#include <type_traits>
#include <utility>

namespace leash::http {

/// A value as a response of type application/json.
template <class T>
response json(const T& value, int status = 200) {
  return response(status, "application/json", nlohmann::json(value).dump());
}

/// The request's body as a T. Errors: http::error 415 for another type, 400 for what is no JSON or no T, and as
/// request::text.
template <class T>
task<T> json_body(request& r, std::size_t most = std::size_t{1} << 20) {
  std::string_view type = r.header("Content-Type");
  type = type.substr(0, type.find(';'));
  while (type.ends_with(' ')) type.remove_suffix(1);
  if (!same_name(type, "application/json") && !type.ends_with("+json")) throw error(415);
  std::string const text = co_await r.text(most);
  try {
    co_return nlohmann::json::parse(text).template get<T>();
  } catch (const nlohmann::json::exception& e) {
    throw error(400, e.what());
  }
}

/// A handler that takes a T from the body and gives what becomes JSON: `typed<order>([](order o) -> task<receipt> {...})`. It
/// may take the request as well, and may give a response as it is.
template <class T, class F>
handler typed(F f) {
  return [f = std::move(f)](request& r) mutable -> task<response> {
    T value = co_await json_body<T>(r);
    auto const as_response = [](auto&& v) -> response {
      if constexpr (std::is_same_v<std::remove_cvref_t<decltype(v)>, response>) {
        return std::forward<decltype(v)>(v);
      } else {
        return json(v);
      }
    };
    if constexpr (std::is_invocable_v<F&, T, request&>) {
      using given = std::invoke_result_t<F&, T, request&>;
      if constexpr (std::is_same_v<given, task<answer_t<F, T, request&>>>) {
        co_return as_response(co_await f(std::move(value), r));
      } else {
        co_return as_response(f(std::move(value), r));
      }
    } else {
      using given = std::invoke_result_t<F&, T>;
      if constexpr (std::is_same_v<given, task<answer_t<F, T>>>) {
        co_return as_response(co_await f(std::move(value)));
      } else {
        co_return as_response(f(std::move(value)));
      }
    }
  };
}

}  // namespace leash::http
