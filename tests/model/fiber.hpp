// Stacks to run model threads on. One OS thread only; a fiber may be abandoned at any point and started afresh.
#pragma once

#include <cstddef>
#include <functional>

namespace model::detail {

class fiber {
 public:
  explicit fiber(std::size_t stack_size = 128 * 1024);
  ~fiber();
  fiber(const fiber&) = delete;
  fiber& operator=(const fiber&) = delete;

  void reset(const std::function<void()>* body);  // forgets whatever it was doing; the next resume() starts body
  void resume();                                  // returns when the fiber suspends or its body ends
  bool done() const { return done_; }
  static void suspend();  // called inside a fiber: back to whoever resumed it

 private:
  struct contexts;
  static void entry();
  static void run_body();
  contexts* contexts_;
  const std::function<void()>* body_ = nullptr;
  bool done_ = true;
  void* stack_;
  std::size_t stack_size_;
  static fiber* current_;
};

}  // namespace model::detail
