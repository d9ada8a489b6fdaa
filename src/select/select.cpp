#include <leash/select.hpp>

namespace leash {

std::uint64_t choice_bits() noexcept {
  if (worker* w = this_worker) return w->next_random() * 0x2545f4914f6cdd1du;
  static thread_local std::uint64_t state = reinterpret_cast<std::uintptr_t>(&state) | 1;
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return state * 0x2545f4914f6cdd1du;
}

}  // namespace leash
