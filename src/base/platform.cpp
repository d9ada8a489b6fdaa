#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <leash/platform.hpp>
#include <stdexcept>
#include <string>

namespace leash {

void fatal(std::string_view what) {
  std::fprintf(stderr, "leash: %.*s\n", static_cast<int>(what.size()), what.data());
  std::fflush(stderr);
  std::abort();
}

static std::string with_site(std::string_view what, std::source_location where) {
  return std::string(where.file_name()) + ":" + std::to_string(where.line()) + ": " + std::string(what);
}

void throw_misuse(std::string_view what, std::source_location where) { throw std::logic_error(with_site(what, where)); }
void throw_misuse(std::string_view what) { throw std::logic_error(std::string(what)); }
void throw_invalid(std::string_view what, std::source_location where) {
  throw std::invalid_argument(with_site(what, where));
}

}  // namespace leash
