#include <exception>
#include <leash/boundary.hpp>
#include <stdexcept>
#include <string>

namespace leash {

std::int64_t time_after(nanoseconds d, const runtime* rt, const char* what, std::source_location where) {
  if (d < nanoseconds::zero()) throw_invalid(std::string(what) + ": a negative duration", where);
  std::int64_t const t = runtime_now(rt);
  std::int64_t when = 0;
  return __builtin_add_overflow(t, d.count(), &when) ? INT64_MAX : when;
}

void rethrow_nested(std::exception_ptr outer, std::exception_ptr inner) {
  std::string text = "clean-up threw";
  try {
    std::rethrow_exception(std::move(outer));
  } catch (const std::exception& e) {
    text = e.what();
  } catch (...) {
  }
  // Nested is what is being handled: the inner one alone.
  try {
    std::rethrow_exception(std::move(inner));
  } catch (...) {
    std::throw_with_nested(std::runtime_error(text));
  }
}

}  // namespace leash
