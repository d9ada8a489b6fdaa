#include <leash/clock.hpp>

namespace leash {

constinit std::atomic<std::uint32_t> coarse_milliseconds{0};

}  // namespace leash
