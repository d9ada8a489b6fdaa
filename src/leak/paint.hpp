// From a report to its picture.
#pragma once
#include <cstdint>
#include <span>

#include "explain.hpp"
#include "pass.hpp"
#include "picture.hpp"

namespace leash {

/// The boxes of these leaks, by their positions in the report, of what they wait for, and the links between all those.
/// The report must be described.
leak_picture paint(leak_findings&, explainer&, std::span<const std::uint32_t> which);

/// The innermost frame that is not the library's, else the innermost; null: there is none.
const frame_info* own_frame(const goroutine_info&);

}  // namespace leash
