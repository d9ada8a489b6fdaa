// An order, as all parts know it.
#pragma once
#include <cstdint>
#include <string>

namespace orders {

struct new_order {
  std::string customer, item;
  std::int64_t quantity = 0;
  bool operator==(const new_order&) const = default;
};

struct order : new_order {
  std::string id, state;  // accepted, fulfilled, refused
  std::int64_t shipments = 0;
};

}  // namespace orders
