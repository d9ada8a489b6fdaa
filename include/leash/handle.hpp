// Self-certifying handles: an end of a channel, a guard, a token... proves to the leak marker that it is one.
//
// 16 bytes: the object, and a tag mixed from the handle's own address, the object, a secret of this process and the
// kind of capability. Every constructor writes the tag, the destructor and a move clear it. So a scan of frozen memory
// finds the handles in it without knowing any type, a stale or bit-copied one does not count, and nobody has to keep an
// account of who owns what when a handle is made, moved or handed over.
//
// Invariants
//  H1. tag == mix(address of the handle, object) ^ kind for a handle that holds an object; 0 else.
//  H2. The mix is not linear: of two neighbouring handles to one object no third one can be read at another offset.
//  H3. A tag that does not fit when the handle is used up means that its bytes were copied or overwritten: the program
//  ends.
// Thread safety: a handle belongs to one thread at a time, as any value.
#pragma once
#include <atomic>
#include <cstdint>
#include <leash/object.hpp>
#include <leash/platform.hpp>

namespace leash {

enum class capability : std::uint8_t {
  none,
  sender,
  receiver,
  guard,  // of a mutex or the writer's of a shared_mutex
  shared_guard,
  permit,
  token,
  call,  // the call of a once that is running
  canceller,
  remote,   // a remote_scope
  owner,    // of a tracked block: shared, tracked_box, tracked_function; of a pool: tracked_allocator
  watcher,  // of a block: weak
};
inline constexpr std::uint64_t capabilities = 16;  // a power of two above the last one

extern std::uint64_t handle_secret;  // random, set before main

LEASH_INLINE std::uint64_t mix_tag(std::uint64_t address, std::uint64_t object) noexcept {
  std::uint64_t x = (address ^ handle_secret) * 0x9e3779b97f4a7c15u;
  x ^= x >> 32;
  x = (x + object) * 0xd6e8feb86659fd93u;
  return x ^ (x >> 29);
}

[[noreturn]] LEASH_COLD void broken_handle(const void* at);

#if LEASH_SENTINEL
/// Set with the first verdict: ends the program, with a message, if the handle at this address lies where by the verdicts
/// nobody can reach it. A scope that is cancelled is looked at like a handle.
extern std::atomic<void (*)(const void* at, object*, capability)> check_use;
#endif

class handle {
 public:
  handle(const handle&) = delete;
  handle& operator=(const handle&) = delete;

  /// What kind of handle the two words at `at` are; none: no handle.
  LEASH_INLINE static capability certified(const std::uint64_t* at, std::uint64_t object, std::uint64_t tag) noexcept {
    std::uint64_t const rest = tag ^ mix_tag(reinterpret_cast<std::uint64_t>(at), object);
    return rest < capabilities ? static_cast<capability>(rest) : capability::none;
  }

 protected:
  handle() noexcept {}
  LEASH_INLINE handle(object* o, capability what) noexcept { certify(o, what); }
  ~handle() = default;

  LEASH_INLINE void certify(object* o, capability what) noexcept {
    object_ = o;
    tag_ = mix_tag(reinterpret_cast<std::uint64_t>(this), reinterpret_cast<std::uint64_t>(o)) ^
           static_cast<std::uint64_t>(what);
  }
  /// Takes the object out; the handle is empty then. Null if it was empty.
  LEASH_INLINE object* release(capability what) noexcept {
    object* o = object_;
    if (o == nullptr) return nullptr;
    std::uint64_t const expected = mix_tag(reinterpret_cast<std::uint64_t>(this), reinterpret_cast<std::uint64_t>(o));
    if ((tag_ ^ expected) != static_cast<std::uint64_t>(what)) [[unlikely]]
      broken_handle(this);
#if LEASH_SENTINEL
    if (auto const check = check_use.load(std::memory_order_relaxed); check != nullptr) [[unlikely]]
      check(this, o, what);
#endif
    object_ = nullptr;
    tag_ = 0;
    asm volatile("" : : "m"(object_), "m"(tag_));  // the stores must happen, though the object's life ends here
    return o;
  }
  LEASH_INLINE object* get() const noexcept {
#if LEASH_SENTINEL
    if (auto const check = check_use.load(std::memory_order_relaxed); check != nullptr && object_ != nullptr)
        [[unlikely]]
      check(this, object_,
            certified(reinterpret_cast<const std::uint64_t*>(this), reinterpret_cast<std::uint64_t>(object_), tag_));
#endif
    return object_;
  }

 private:
  object* object_ = nullptr;
  std::uint64_t tag_ = 0;
};

}  // namespace leash
