#include <arpa/inet.h>
#include <netdb.h>

#include <boost/asio/error.hpp>
#include <cerrno>
#include <cstring>
#include <leash/blocking.hpp>
#include <leash/net/resolve.hpp>
#include <leash/worker.hpp>
#include <mutex>

#include "reactor.hpp"

namespace leash::net {

using endpoints = std::vector<asio::ip::tcp::endpoint>;

// Shared by the pool's thread and the wait, which may be gone before the system answers.
struct resolve_job : blocking_job {
  std::string host, service;
  std::mutex lock;
  resolve_operation::wait_type* wait = nullptr;  // null: nobody waits any more
  std::shared_ptr<resolve_job> self;             // the pool's
};

static error_code look_up(const std::string& host, const std::string& service, bool numeric, endpoints& found) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = numeric ? AI_NUMERICHOST | AI_NUMERICSERV : AI_ADDRCONFIG;
  addrinfo* list = nullptr;
  int const r = ::getaddrinfo(host.empty() ? nullptr : host.c_str(), service.c_str(), &hints, &list);
  if (r == EAI_SYSTEM) return error_code(errno, boost::system::system_category());
  if (r == EAI_SERVICE) return asio::error::service_not_found;
  if (r == EAI_AGAIN) return asio::error::host_not_found_try_again;
  if (r != 0) return asio::error::host_not_found;
  for (addrinfo* a = list; a != nullptr; a = a->ai_next) {
    if (a->ai_family != AF_INET && a->ai_family != AF_INET6) continue;
    asio::ip::tcp::endpoint e;
    e.resize(a->ai_addrlen);
    std::memcpy(e.data(), a->ai_addr, a->ai_addrlen);
    found.push_back(e);
  }
  freeaddrinfo(list);
  if (found.empty()) return asio::error::host_not_found;
  return {};
}

const outside_wait::operations resolve_operation::wait_type::how{&wait_type::start, &wait_type::give_up,
                                                                 &io_wait_of<error_code, value_type>::cut_short};

resolve_operation::wait_type::wait_type(resolve_operation& op) noexcept : io_wait_of(how), op_(op) {}

void resolve_operation::wait_type::start(outside_wait* o) noexcept {
  auto* w = static_cast<wait_type*>(o);
  try {
    endpoints found;
    if (!look_up(w->op_.host_, w->op_.service_, true, found)) {
      w->store(error_code(), std::move(found));
      return w->over();
    }
    w->job_ = std::make_shared<resolve_job>();
    w->job_->host = w->op_.host_;
    w->job_->service = w->op_.service_;
    w->job_->wait = w;
    w->job_->self = w->job_;
    w->job_->run = [](blocking_job* b) noexcept {
      auto* job = static_cast<resolve_job*>(b);
      std::shared_ptr<resolve_job> const keep = std::move(job->self);
      endpoints answer;
      error_code const e = look_up(job->host, job->service, false, answer);
      std::unique_lock guard(job->lock);
      wait_type* const waits = std::exchange(job->wait, nullptr);
      if (waits == nullptr) return;
      waits->store(e, std::move(answer));
      guard.unlock();
      waits->over();
    };
    runtime_at(w->who->runtime_index)->blocking->submit(w->job_.get());
  } catch (...) {
    if (w->job_ != nullptr) w->job_->self = nullptr;
    w->failure_ = std::current_exception();
    w->over();
  }
}

void resolve_operation::wait_type::give_up(outside_wait* o) noexcept {
  auto* w = static_cast<wait_type*>(o);
  std::unique_lock guard(w->job_->lock);
  if (w->job_->wait == nullptr) return;  // the answer is on its way
  w->job_->wait = nullptr;
  guard.unlock();
  w->store(error_code(asio::error::operation_aborted), endpoints());
  w->over();
}

}  // namespace leash::net
