#include <leash/channel.hpp>

namespace leash {

void empty_end(const char* what, std::source_location where) { throw_misuse(what, where); }

}  // namespace leash
