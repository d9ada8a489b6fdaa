#include <pthread.h>

#include <leash/blocking.hpp>

namespace leash {

blocking_pool::~blocking_pool() {
  {
    std::lock_guard guard(lock_);
    stopping_ = true;
  }
  wake_.notify_all();
  for (auto& t : threads_) t.join();
}

void blocking_pool::submit(blocking_job* job) {
  {
    std::lock_guard guard(lock_);
    if (waiting_ >= idle_ && threads_.size() < limit_) {
      try {
        threads_.emplace_back([this] { work(); });
      } catch (const std::system_error&) {
        if (threads_.empty()) throw;  // else those there are will do it
      }
    }
    job->next = nullptr;
    (tail_ != nullptr ? tail_->next : head_) = job;
    tail_ = job;
    ++waiting_;
  }
  wake_.notify_one();
}

blocking_pool::figures blocking_pool::look() {
  std::lock_guard guard(lock_);
  return {threads_.size(), idle_, waiting_};
}

void blocking_pool::work() {
  pthread_setname_np(pthread_self(), "leash-blocking");
  std::unique_lock guard(lock_);
  for (;;) {
    ++idle_;
    wake_.wait(guard, [&] { return head_ != nullptr || stopping_; });
    --idle_;
    if (head_ == nullptr) return;
    blocking_job* job = head_;
    head_ = job->next;
    if (head_ == nullptr) tail_ = nullptr;
    --waiting_;
    guard.unlock();
    job->run(job);
    guard.lock();
  }
}

void submit_blocking(goroutine_core* g, blocking_job* job) {
  runtime& rt = *runtime_at(g->runtime_index);
  if (rt.sim != nullptr) {
    rt.sim->calls.emplace_back(g, job);
    rt.sim->ready.push_back(g);
    return;
  }
  try {
    rt.blocking->submit(job);
  } catch (...) {
    if (g->try_claim()) rt.end_outside();
    throw;
  }
}

void end_blocking(goroutine_core* g) noexcept {
  runtime& rt = *runtime_at(g->runtime_index);
  visit const until_counted(rt);
  if (g->try_claim()) {
    if (context_ended(g)) g->bits |= g_cut;
    schedule(g);
  }
  rt.end_outside();
}

}  // namespace leash
