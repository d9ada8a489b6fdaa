// Leaks to plant: the mistakes of the corpus (docs/leaks.md) that services make, one more with every order.
#pragma once
#include <leash/leash.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace orders {

/// One of them, as it was written and written right.
struct plant {
  std::string_view name;
  std::string_view mistake;
  leash::task<> (*grow)(bool right);
};

/// All there are.
const std::vector<plant>& all_plants();

/// Where the chosen ones grow: goroutines that no request waits for.
class garden {
 public:
  /// Errors: std::invalid_argument for a name that is none.
  garden(const std::vector<std::string>& wrong, const std::vector<std::string>& right);
  /// Where goroutines are started from now on.
  void dig(leash::scope& ground) { ground_ = &ground; }
  /// One more of each.
  void plant();

 private:
  struct chosen {
    const orders::plant* what;
    bool right;
  };
  std::vector<chosen> chosen_;
  leash::scope* ground_ = nullptr;
};

}  // namespace orders
