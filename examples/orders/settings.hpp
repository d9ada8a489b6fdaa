// What the command line says.
#pragma once
#include <chrono>
#include <cstddef>
#include <string>
#include <vector>

namespace orders {

struct settings {
  std::string listen = "127.0.0.1:8080";
  std::string data;      // folder of the embedded database and queue
  std::string postgres;  // empty: the embedded database
  std::string nats;      // empty: the embedded queue
  std::string queue = "orders";
  std::size_t consumers = 8;
  std::chrono::milliseconds work{5}, visibility{5'000}, drain{10'000};
  std::vector<std::string> plants, twins;
};

}  // namespace orders
