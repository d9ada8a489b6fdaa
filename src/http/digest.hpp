// SHA-1 and Base64, as the WebSocket handshake asks for them. Nothing here is a secret.
#pragma once
#include <string>
#include <string_view>

namespace leash::http {

std::string sha1(std::string_view);
std::string base64(std::string_view);

}  // namespace leash::http
