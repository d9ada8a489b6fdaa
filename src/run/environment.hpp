// What the environment of the process says about a run.
#pragma once
#include <leash/run.hpp>

namespace leash {

inline constexpr unsigned most_blocking_threads = 100'000;

/// `o`, changed by the variables LEASH_*. An empty one counts as not set. Throws std::invalid_argument, which names the
/// variable, its value and what is allowed.
options with_environment(options o);

}  // namespace leash
