// What streams of every kind do on top of read_some.
#pragma once
#include <boost/asio/error.hpp>
#include <leash/net/async.hpp>
#include <leash/net/buffer.hpp>

namespace leash::net {

/// Fills `to`. False: the other side had ended before the first byte. Throws eof if it ends within.
template <class Stream>
task<bool> read_whole(Stream& from, mutable_bytes to) {
  for (std::size_t n = 0; n < to.size();) {
    std::size_t const now = co_await from.read_some(to.from(n));
    if (now == 0) {
      if (n == 0) co_return false;
      throw system_error(asio::error::eof);
    }
    n += now;
  }
  co_return true;
}

}  // namespace leash::net
