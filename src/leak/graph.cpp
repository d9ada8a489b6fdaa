#include "graph.hpp"

#include "capability.hpp"

namespace leash {

void graph::index_holders(bool of_all) {
  std::vector<bool> wanted(of_all ? 0 : objects.size(), false);
  auto const is_wanted = [&](std::uint32_t k) { return of_all || wanted[k] || has_contents(objects[k].type()); };
  if (!of_all)
    for (std::uint32_t i = 0; i < goroutines(); ++i)
      if (leaked(i))
        for_each_wait(i, [&](const graph_wait& w) {
          if (w.which < 2) wanted[w.object] = true;
        });
  for (std::uint32_t i = 0; i < nodes(); ++i)
    for_each_edge(i, [&](const graph_edge& e) {
      if (is_wanted(e.object)) holders_.push_back({e.object, i, e.which});
    });
  std::sort(holders_.begin(), holders_.end());
}

}  // namespace leash
