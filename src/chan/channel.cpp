#include <leash/channel.hpp>

namespace leash {

constinit std::atomic<bool> any_deep_channel{false};

void empty_end(const char* what, std::source_location where) { throw_misuse(what, where); }

}  // namespace leash
