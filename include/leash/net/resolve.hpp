// Names to addresses: getaddrinfo, on the blocking pool.
#pragma once
#include <boost/asio/ip/tcp.hpp>
#include <leash/net/async.hpp>
#include <string>
#include <vector>

namespace leash::net {

struct resolve_job;

/// An operation; see resolve().
class [[nodiscard]] resolve_operation : public operation_base {
 public:
  using result_type = std::vector<asio::ip::tcp::endpoint>;
  using value_type = result_type;
  class wait_type : public io_wait_of<error_code, value_type> {
   public:
    explicit wait_type(resolve_operation& op) noexcept;

   private:
    static void start(outside_wait*) noexcept;
    static void give_up(outside_wait*) noexcept;
    static const operations how;
    resolve_operation& op_;
    std::shared_ptr<resolve_job> job_;
  };
  resolve_operation(std::string host, std::string service) : host_(std::move(host)), service_(std::move(service)) {}

 private:
  std::string host_, service_;
};

/// The addresses of a host, with the port of a service (a number or a name), in the order in which they should be tried.
///
/// Suspends until the system's resolver has answered; numeric addresses need none. Wait reason: `IO wait`. Selectable.
/// Cancellation: at once; the system's call goes on in the pool, and its answer is dropped. The run ends after it.
/// Errors: boost::system::system_error (asio::error::host_not_found and the like).
inline resolve_operation resolve(std::string host, std::string service) {
  return {std::move(host), std::move(service)};
}

}  // namespace leash::net
