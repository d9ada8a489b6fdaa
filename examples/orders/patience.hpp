// patiently: tries again what failed because the database or the queue is away, busy or full.
#pragma once
#include <algorithm>
#include <chrono>
#include <leash/leash.hpp>
#include <leash/mq.hpp>
#include <string>

#include "log.hpp"
#include "store.hpp"

namespace orders {

inline bool may_pass(const leash::mq::error& e) {
  return e.kind() == leash::mq::failure::unavailable || e.kind() == leash::mq::failure::full;
}

/// Runs `f`, again and again until it does not fail in this way, or the context ends.
template <class F>
std::invoke_result_t<F&> patiently(const char* what, F f) {
  bool said = false;
  for (leash::nanoseconds pause = std::chrono::milliseconds(50);;) {
    std::string why;
    try {
      co_return co_await f();
    } catch (const leash::sql::error& e) {
      if (!may_pass(e)) throw;
      why = e.what();
    } catch (const leash::mq::error& e) {
      if (!may_pass(e)) throw;
      why = e.what();
    }
    if (!std::exchange(said, true)) log(std::string(what) + " waits: " + why);
    co_await leash::sleep(pause);
    pause = std::min<leash::nanoseconds>(2 * pause, std::chrono::seconds(1));
  }
}

}  // namespace orders
