#include <leash/boundary.hpp>
#include <string>

namespace leash {

std::int64_t time_after(nanoseconds d, const runtime* rt, const char* what, std::source_location where) {
  if (d < nanoseconds::zero()) throw_invalid(std::string(what) + ": a negative duration", where);
  std::int64_t const t = runtime_now(rt);
  std::int64_t when = 0;
  return __builtin_add_overflow(t, d.count(), &when) ? INT64_MAX : when;
}

}  // namespace leash
