// The whole service.
#pragma once
#include <functional>
#include <leash/leash.hpp>
#include <string>

#include "settings.hpp"

namespace orders {

/// Runs it until a shutdown is requested and all has ended.
///
/// Parameters: ready, told the address once it serves.
/// Errors: sql::error, mq::error, boost::system::system_error if it cannot begin.
leash::task<> serve(const settings&, leash::shutdown_request&, std::function<void(const std::string& url)> ready);

}  // namespace orders
