#include <exception>
#include <leash/boundary.hpp>
#include <new>
#include <stdexcept>
#include <string>
#include <system_error>
#include <typeinfo>

namespace leash {

std::int64_t time_after(nanoseconds d, const runtime* rt, const char* what, std::source_location where) {
  if (d < nanoseconds::zero()) throw_invalid(std::string(what) + ": a negative duration", where);
  std::int64_t const t = runtime_now(rt);
  std::int64_t when = 0;
  return __builtin_add_overflow(t, d.count(), &when) ? INT64_MAX : when;
}

namespace {
template <class E>
void nest_in_a(const std::exception& outer, const std::exception_ptr& inner) {
  if (typeid(outer) != typeid(E)) return;
  // Nested is what is being handled: the inner one alone.
  try {
    std::rethrow_exception(inner);
  } catch (...) {
    std::throw_with_nested(static_cast<const E&>(outer));
  }
}
template <class... E>
void nest_in_one_of(const std::exception& outer, const std::exception_ptr& inner) {
  (nest_in_a<E>(outer, inner), ...);
}
}  // namespace

void rethrow_nested(std::exception_ptr outer, const std::exception_ptr& inner) {
  try {
    std::rethrow_exception(std::move(outer));
  } catch (const std::exception& e) {
    nest_in_one_of<std::runtime_error, std::range_error, std::overflow_error, std::underflow_error, std::system_error,
                   std::logic_error, std::invalid_argument, std::domain_error, std::length_error, std::out_of_range,
                   std::bad_alloc>(e, inner);
    throw;
  }
}

}  // namespace leash
