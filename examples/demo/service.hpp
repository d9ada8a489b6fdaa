// A service at work: the one of examples/orders, with a load.
#pragma once
#include "interrupt.hpp"

namespace demo {

/// False: this demo was built without what the service needs.
bool has_service();

/// Runs the service and its load for a moment. True: no order was lost, and nothing was left.
bool service_act(unsigned workers, interrupt& ctrl_c);

}  // namespace demo
