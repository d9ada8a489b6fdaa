// What tests of faults do with a service: a load that goes on meanwhile, the verdict afterwards, and what is cut, full or lost.
#pragma once
#include <future>
#include <stop_token>
#include <string>
#include <vector>

#include "service.hpp"

namespace orders::tests {

/// Clients that place orders until they are told that it is enough. Ended by the destructor, too.
class load_under_way {
 public:
  explicit load_under_way(const service&, load_settings = {.clients = 8, .rate = 100});
  load_under_way(const load_under_way&) = delete;
  ~load_under_way() { stop_.request_stop(); }
  /// Then looks for every order that was acknowledged.
  load_totals end();

 private:
  std::stop_source stop_;
  std::future<load_totals> totals_;
};

/// Waits until a number in since_start of /stats is more than that.
[[nodiscard]] bool counts(const service&, const std::string& what, std::uint64_t more_than);
std::uint64_t count_of(const service&, const std::string& what);

/// How many goroutines the service has when it has nothing to do: every order is fulfilled, and nobody asks for anything but this.
std::size_t goroutines_at_rest(const service&);

/// What is wrong with a service that had so many goroutines at rest before the load; empty: nothing. Of the acknowledged orders none
/// may be lost, wait or be shipped twice; of all orders none may wait or be shipped twice, and no message be dead; nothing may be
/// leaked, as the service and the command line tool say; as many goroutines as before. Waits for all that.
std::vector<std::string> complaints(const service&, const load_totals&, std::size_t goroutines,
                                    std::chrono::milliseconds wait = 60s);

/// A small disk that only those see who run in its namespace; gone with them. Needs no privileges where the system lets users
/// have namespaces.
class small_disk {
 public:
  small_disk();
  /// Why there is none; empty: there is.
  const std::string& missing() const { return missing_; }
  const std::string& path() const { return path_; }
  /// The beginning of the command line of who is to see it.
  std::vector<std::string> seen_by() const;
  /// No byte more than there is.
  void becomes_full();
  void has_room();

 private:
  bool resize(const std::string& size);
  folder folder_;
  std::string path_, missing_;
  std::optional<process> holder_;
};

/// A client that sends bytes, and goes away without a word.
class rude_client {
 public:
  explicit rude_client(const std::string& url);
  rude_client(const rude_client&) = delete;
  ~rude_client();
  void sends(std::string_view) const;
  /// Waits for the first bytes of an answer.
  std::string reads(std::size_t at_most) const;
  /// Closes the connection by a reset.
  void resets();

 private:
  int socket_;
};

/// Clients that reset their connections: behind each byte of an order (the last one too: the order may have been taken, and is
/// shipped then), in the middle of answers that fit into no buffer or have no end, and while reports are made for them.
void many_are_rude(const service&);

}  // namespace orders::tests
