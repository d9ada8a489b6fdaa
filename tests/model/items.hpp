// What goes through a queue of work: each item is published whole, and taken exactly once.
#pragma once

#include "model.hpp"

namespace model {

struct item {
  var<bool> made, taken;
  item() {
    name(made, "item.made");
    name(taken, "item.taken");
  }
};

struct items {
  static constexpr int most = 8;
  item all[most];
  int count = 0;  // the owner's

  item* next() {
    item* i = &all[count++];
    i->made = true;
    return i;
  }
  // Twice by unordered takers is a data race; twice by ordered ones is found here.
  static void take(item* i) {
    if (i == nullptr) return;
    require(i->made, "an item was taken before it was there");
    require(!i->taken, "an item was taken twice");
    i->taken = true;
  }
  void all_taken(int n) {
    for (int i = 0; i < n; ++i) require(all[i].taken, "an item was lost");
  }
};

}  // namespace model
