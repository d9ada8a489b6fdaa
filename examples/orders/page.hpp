// The page: counts, the newest orders, live over /events.
#pragma once
#include <string_view>

namespace orders {
extern const std::string_view page;
}
