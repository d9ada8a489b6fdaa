// The picture of a report: goroutines, what they wait for, and who holds that.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace leash {

struct leak_picture {
  struct box {
    enum class kind : std::uint8_t { core, dependent, object };
    kind what = kind::object;
    std::uint32_t knot = UINT32_MAX;  // boxes with the same one form a knot; UINT32_MAX: none
    std::string head;                 // what it is
    std::vector<std::string> lines;   // more of it: the wait, the place
    std::string story;                // shown when pointed at
  };
  struct link {
    enum class kind : std::uint8_t { waits, held };
    std::uint32_t from, to;  // boxes
    kind what = kind::waits;
  };
  std::vector<box> boxes;
  std::vector<link> links;
  std::size_t left_out = 0;  // leaks without a box: more would be no picture
};
inline constexpr std::size_t drawn_leaks = 40;

/// Self-contained SVG. The same boxes and links give the same text.
std::string draw(const leak_picture&);

/// As XML wants it: markup escaped; what is no character, or no UTF-8, becomes U+FFFD.
std::string xml_text(std::string_view);

}  // namespace leash
