// ucontext makes the stack; the switches themselves are setjmp/longjmp, which unlike swapcontext make no system call.
#undef _FORTIFY_SOURCE  // the checked longjmp refuses to leave one stack for another

#include "fiber.hpp"

#include <setjmp.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace model::detail {

struct fiber::contexts {
  jmp_buf base;     // at the top of entry(): jumping there abandons the rest of the stack
  jmp_buf inside;   // where the fiber suspended
  jmp_buf outside;  // where it was resumed
  ucontext_t first;
  ucontext_t creator;
};

fiber* fiber::current_ = nullptr;

namespace {
[[gnu::noinline]] void jump(jmp_buf& from, jmp_buf& to) {
  if (_setjmp(from) == 0) _longjmp(to, 1);
}
}  // namespace

fiber::fiber(std::size_t stack_size) : contexts_(new contexts), stack_size_(stack_size) {
  constexpr std::size_t guard = 4096;
  stack_ = mmap(nullptr, stack_size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (stack_ == MAP_FAILED || mprotect(stack_, guard, PROT_NONE) != 0 || getcontext(&contexts_->first) != 0) {
    std::perror("model: cannot make a fiber");
    std::abort();
  }
  contexts_->first.uc_stack.ss_sp = static_cast<char*>(stack_) + guard;
  contexts_->first.uc_stack.ss_size = stack_size_ - guard;
  contexts_->first.uc_link = nullptr;
  makecontext(&contexts_->first, &fiber::entry, 0);
  current_ = this;
  swapcontext(&contexts_->creator, &contexts_->first);
  current_ = nullptr;
}

fiber::~fiber() {
  munmap(stack_, stack_size_);
  delete contexts_;
}

void fiber::entry() {
  if (_setjmp(current_->contexts_->base) == 0) setcontext(&current_->contexts_->creator);
  run_body();
}

[[gnu::noinline]] void fiber::run_body() {
  (*current_->body_)();
  current_->done_ = true;
  suspend();
  std::abort();  // resumed after its end
}

void fiber::reset(const std::function<void()>* body) {
  body_ = body;
  done_ = false;
  std::memcpy(&contexts_->inside, &contexts_->base, sizeof(jmp_buf));
}

void fiber::resume() {
  current_ = this;
  jump(contexts_->outside, contexts_->inside);
  current_ = nullptr;
}

void fiber::suspend() { jump(current_->contexts_->inside, current_->contexts_->outside); }

}  // namespace model::detail
