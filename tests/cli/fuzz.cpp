// libFuzzer targets for the three readers: fuzz_protobuf, fuzz_counts, fuzz_dump. FUZZ names the reader.
#include <cstddef>
#include <cstdint>

#include "rank.hpp"
#include "read.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace leash::cli;
  symbols s;
  try {
    observation o;
    o.snapshots.push_back(FUZZ({reinterpret_cast<const char*>(data), size}, s));
    analyse(o, s);
  } catch (const input_error&) {
  }
  return 0;
}
