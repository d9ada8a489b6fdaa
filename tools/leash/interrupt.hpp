// Ctrl-C: what waits or repeats stops early, and what was seen so far is shown. A second one ends the program.
#pragma once

#include <chrono>

namespace leash::cli {

void heed_interrupts();
bool interrupted();
/// False if interrupted meanwhile.
bool wait_until(std::chrono::steady_clock::time_point t);

}  // namespace leash::cli
