// The last act: a program that works and leaks, to be watched on its page.
#pragma once
#include "interrupt.hpp"

namespace demo {

/// False: this demo was built without leash::debug.
bool has_page();

/// Serves the page and runs until ^C; with `once` one round without pauses. True: every leak that was planted was proved and
/// reclaimed.
bool page_act(unsigned workers, bool once, interrupt& ctrl_c);

}  // namespace demo
