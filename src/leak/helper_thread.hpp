// A thread that helps a pass, if one is to be had: nothing waits for it but its own end.
#pragma once
#include <pthread.h>
#include <signal.h>

#include <system_error>
#include <thread>
#include <utility>

namespace leash {

/// Runs f on it, which must not throw. A thread that is not joinable: there is no processor for it, or no thread.
template <class F>
std::thread start_helper(F f) {
  std::thread helper;
  if (std::thread::hardware_concurrency() < 2) return helper;
  sigset_t every, before;  // signals are for the program's threads
  sigfillset(&every);
  pthread_sigmask(SIG_SETMASK, &every, &before);
  try {
    helper = std::thread(std::move(f));
  } catch (const std::system_error&) {  // the machine gives no more
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return helper;
}

}  // namespace leash
