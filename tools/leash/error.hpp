#pragma once

#include <stdexcept>

namespace leash::cli {

/// A file, answer or argument that cannot be used; the text says what is wrong with it, for the user.
struct input_error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

}  // namespace leash::cli
