// What the compiler, the processor and the sanitizers are asked for, in one place; and how the library stops a program.
#pragma once
#include <cstdint>
#include <source_location>
#include <string_view>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define LEASH_ASAN 1
#endif
#if __has_feature(thread_sanitizer)
#define LEASH_TSAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) && !defined(LEASH_ASAN)
#define LEASH_ASAN 1
#endif
#if defined(__SANITIZE_THREAD__) && !defined(LEASH_TSAN)
#define LEASH_TSAN 1
#endif
#ifndef LEASH_ASAN
#define LEASH_ASAN 0
#endif
#ifndef LEASH_TSAN
#define LEASH_TSAN 0
#endif

#define LEASH_NOINLINE [[gnu::noinline]]
#define LEASH_COLD [[gnu::cold, gnu::noinline]]
#define LEASH_INLINE [[gnu::always_inline]] inline

/// Beside LEASH_INLINE: for debug information what is inlined belongs to the line that calls it.
#if defined(__clang__)
#define LEASH_AT_CALLER __attribute__((nodebug))
#else
#define LEASH_AT_CALLER __attribute__((artificial))
#endif

/// For the few functions that read memory which its owner may be changing, and validate afterwards (the leak marker,
/// dumps).
#if !LEASH_ASAN && !LEASH_TSAN
#define LEASH_READS_FROZEN
#elif defined(__clang__)
#define LEASH_READS_FROZEN [[gnu::noinline]] __attribute__((no_sanitize("thread", "address")))
#else
#define LEASH_READS_FROZEN [[gnu::noinline]] __attribute__((no_sanitize_thread, no_sanitize_address))
#endif

#if LEASH_ASAN
extern "C" void __asan_poison_memory_region(void const volatile*, decltype(sizeof(0)));
extern "C" void __asan_unpoison_memory_region(void const volatile*, decltype(sizeof(0)));
extern "C" void* __asan_get_current_fake_stack();
extern "C" void* __asan_addr_is_in_fake_stack(void*, void*, void**, void**);
#endif

#ifndef LEASH_SENTINEL
#define LEASH_SENTINEL 0
#endif

namespace leash {

/// Tells the processor that this is a spin loop.
LEASH_INLINE void cpu_relax() noexcept {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

LEASH_INLINE void poison_memory([[maybe_unused]] void* at, [[maybe_unused]] decltype(sizeof(0)) bytes) noexcept {
#if LEASH_ASAN
  __asan_poison_memory_region(at, bytes);
#endif
}
LEASH_INLINE void unpoison_memory([[maybe_unused]] void* at, [[maybe_unused]] decltype(sizeof(0)) bytes) noexcept {
#if LEASH_ASAN
  __asan_unpoison_memory_region(at, bytes);
#endif
}

/// True if `at` is a local of a call whose real stack frame lies in [low, high): the address sanitizer keeps locals
/// elsewhere.
LEASH_INLINE bool is_on_shadowed_stack([[maybe_unused]] std::uintptr_t at, [[maybe_unused]] std::uintptr_t low,
                                       [[maybe_unused]] std::uintptr_t high) noexcept {
#if LEASH_ASAN
  void *begin = nullptr, *end = nullptr;
  void* fake = __asan_get_current_fake_stack();
  if (fake == nullptr) return false;
  auto const real =
      reinterpret_cast<std::uintptr_t>(__asan_addr_is_in_fake_stack(fake, reinterpret_cast<void*>(at), &begin, &end));
  return real >= low && real < high;
#else
  return false;
#endif
}

/// Ends the program with `leash: <what>` on the standard error; for broken invariants and for misuse that nothing can
/// catch.
[[noreturn]] LEASH_COLD void fatal(std::string_view what);

/// Throws std::logic_error "<file>:<line>: <what>".
[[noreturn]] LEASH_COLD void throw_misuse(std::string_view what, std::source_location where);
[[noreturn]] LEASH_COLD void throw_misuse(std::string_view what);

/// Throws std::invalid_argument "<file>:<line>: <what>".
[[noreturn]] LEASH_COLD void throw_invalid(std::string_view what, std::source_location where);

}  // namespace leash
