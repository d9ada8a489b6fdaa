// Tracked memory for containers, callables and single values: what lies in it stays visible to the leak proof.
//
// A container's memory belongs to a pool, and the container's allocator is the pool's handle (handle.hpp). The marker
// scans a pool's chunks once it has found all handles to the pool in frozen places: then whoever can reach the
// container is known. A copy of an allocator is another handle to the same pool; a copied container has a pool of its
// own.
//
// Invariants
//  P1. A pool lives while handles to it or chunks are left; a chunk is in its pool's list from allocate to deallocate.
//  P2. An allocator has one pool from its construction on, and is equal to those of the same pool: whoever owns memory of
//  a pool has a handle to it. A move copies: std::deque of libstdc++ leaves memory of the pool in what it was moved from.
//  P3. That of a vector is emptied by a move, as is the vector. An empty one owns no memory; it has a new pool when it
//  allocates.
#pragma once
#include <cstddef>
#include <functional>
#include <leash/shared.hpp>
#include <leash/spin_lock.hpp>
#include <type_traits>
#include <typeinfo>
#include <utility>
#include <vector>

namespace leash {

struct pool_core;

/// In front of each allocation of a pool.
struct tracked_chunk : object {
  pool_core* pool;
  tracked_chunk* next = nullptr;
  tracked_chunk* prev = nullptr;
  std::size_t bytes;  // of the whole chunk
  tracked_chunk(pool_core* p, std::size_t n) noexcept : object(object_type::chunk), pool(p), bytes(n) {}
};

struct pool_core : object {
  std::atomic<std::uint32_t> owners{1};  // allocators
  std::atomic<std::uint32_t> sides{1};   // all owners are one, each chunk is one
  spin_lock lock;
  tracked_chunk* chunks = nullptr;
  std::atomic<std::uint32_t> count{0};
  const std::type_info* value_type;  // of what its first container holds
  explicit pool_core(const std::type_info& t) noexcept : object(object_type::pool), value_type(&t) {
    gave_up.leave();  // as of a block
    note_tracked_memory();
  }

  void* allocate(std::size_t bytes);
  static void deallocate(void*) noexcept;
  void drop_owner() noexcept {
    gave_up.leave();
    if (owners.fetch_sub(1, std::memory_order_acq_rel) == 1) drop_side();
  }
  void drop_side() noexcept {
    if (sides.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
  }
};

/// A standard allocator whose memory the leak proof sees.
template <class T>
class tracked_allocator : handle {
 public:
  using value_type = T;
  using propagate_on_container_copy_assignment = std::false_type;
  using propagate_on_container_move_assignment = std::true_type;
  using propagate_on_container_swap = std::true_type;
  using is_always_equal = std::false_type;

  /// With a pool of its own. Errors: std::bad_alloc.
  tracked_allocator() : handle(new pool_core(typeid(T)), capability::owner) {}
  tracked_allocator(const tracked_allocator& o) noexcept { copy(o); }
  template <class U>
  tracked_allocator(const tracked_allocator<U>& o) noexcept {
    copy(o);
  }
  tracked_allocator& operator=(const tracked_allocator& o) noexcept {
    if (core() != o.core()) {
      drop();
      copy(o);
    }
    return *this;
  }
  ~tracked_allocator() { drop(); }
  tracked_allocator select_on_container_copy_construction() const { return {}; }

  T* allocate(std::size_t n) {
    static_assert(alignof(T) <= 16, "tracked memory is aligned to 16 bytes");
    if (n > (std::size_t{1} << 40) / sizeof(T)) throw std::bad_array_new_length();
    return static_cast<T*>(core()->allocate(n * sizeof(T)));
  }
  void deallocate(T* p, std::size_t) noexcept { pool_core::deallocate(p); }
  template <class U>
  friend bool operator==(const tracked_allocator& a, const tracked_allocator<U>& b) noexcept {
    return a.core() == b.core();
  }
  pool_core* core() const noexcept { return static_cast<pool_core*>(get()); }

 protected:
  struct without_pool {};
  explicit tracked_allocator(without_pool) noexcept {}
  void make_pool() { certify(new pool_core(typeid(T)), capability::owner); }
  template <class U>
  void copy(const tracked_allocator<U>& o) noexcept {
    o.core()->owners.fetch_add(1, std::memory_order_relaxed);
    certify(o.core(), capability::owner);
  }
  void drop() noexcept {
    if (object* p = release(capability::owner)) static_cast<pool_core*>(p)->drop_owner();
  }

 private:
  template <class U>
  friend class tracked_allocator;
};

/// The allocator of a vector: what was moved from has no handle to the memory (P3).
template <class T>
class tracked_vector_allocator : public tracked_allocator<T> {
  using base = tracked_allocator<T>;

 public:
  tracked_vector_allocator() = default;
  tracked_vector_allocator(const tracked_vector_allocator& o) noexcept : base(typename base::without_pool()) {
    take_part(o);
  }
  template <class U>
  tracked_vector_allocator(const tracked_allocator<U>& o) noexcept : base(typename base::without_pool()) {
    take_part(o);
  }
  // A copy first: at no moment are there more handles than are counted (B5).
  tracked_vector_allocator(tracked_vector_allocator&& o) noexcept : tracked_vector_allocator(o) { o.drop(); }
  tracked_vector_allocator& operator=(const tracked_vector_allocator& o) noexcept {
    if (this->core() != o.core()) {
      this->drop();
      take_part(o);
    }
    return *this;
  }
  tracked_vector_allocator& operator=(tracked_vector_allocator&& o) noexcept {
    if (this != &o) {
      *this = o;
      o.drop();
    }
    return *this;
  }
  tracked_vector_allocator select_on_container_copy_construction() const { return {}; }
  T* allocate(std::size_t n) {
    if (this->core() == nullptr) this->make_pool();
    return base::allocate(n);
  }

 private:
  template <class U>
  void take_part(const tracked_allocator<U>& o) noexcept {
    if (o.core() != nullptr) this->copy(o);
  }
};

template <class T>
using tracked_vector = std::vector<T, tracked_vector_allocator<T>>;

/// Sole ownership of a T on tracked memory, as std::unique_ptr.
template <class T>
class tracked_box : block_handle<capability::owner, T> {
  using base = block_handle<capability::owner, T>;
  using base::value_;

 public:
  tracked_box() noexcept {}
  explicit tracked_box(T value, call_site at = std::source_location::current())
      : tracked_box(made{}, at, std::move(value)) {}
  explicit tracked_box(std::in_place_t, call_site at = std::source_location::current()) : tracked_box(made{}, at) {}
#define LEASH_BOX(types, parameters, kept_types, forwarded)                                                     \
  template <LEASH_PLAIN types>                                                                                  \
  explicit tracked_box(std::in_place_t, LEASH_PLAIN parameters, call_site at = std::source_location::current()) \
      : tracked_box(made{}, at, LEASH_PLAIN forwarded) {}
  LEASH_EACH_ARITY(LEASH_BOX, class)
#undef LEASH_BOX
  template <class... A>
    requires(sizeof...(A) > 7)
  explicit tracked_box(std::in_place_t, A&&... args)
      : tracked_box(made{}, std::source_location(), std::forward<A>(args)...) {}
  tracked_box(tracked_box&& o) noexcept { this->take(o, o.value_); }
  tracked_box& operator=(tracked_box&& o) noexcept {
    this->replace_by(o);
    return *this;
  }
  T* get() const noexcept { return value_; }
  T* operator->() const noexcept { return value_; }
  T& operator*() const noexcept { return *value_; }
  explicit operator bool() const noexcept { return value_ != nullptr; }
  void reset() noexcept { this->clear(); }

 private:
  struct made {};
  template <class... A>
  tracked_box(made, call_site at, A&&... args) {
    this->adopt(make_block<T>(ownership::sole, at, std::forward<A>(args)...));
  }
};

/// A move-only callable whose captures the leak proof sees, as std::move_only_function.
template <class Sig>
class tracked_function;
template <class R, class... A>
class tracked_function<R(A...)> : block_handle<capability::owner, void> {
 public:
  tracked_function() noexcept {}
  template <class F>
    requires(!std::same_as<std::remove_cvref_t<F>, tracked_function> &&
             std::is_invocable_r_v<R, std::decay_t<F>&, A...>)
  tracked_function(F&& f, call_site at = std::source_location::current()) {
    using held = std::decay_t<F>;
    if constexpr (std::is_pointer_v<held> || std::is_member_pointer_v<held>) {
      if (f == nullptr) return;
    }
    adopt(make_block<held>(ownership::sole, at, std::forward<F>(f)));
    call_ = [](void* at, A... args) -> R {
      if constexpr (std::is_void_v<R>)
        std::invoke(*static_cast<held*>(at), std::forward<A>(args)...);
      else
        return std::invoke(*static_cast<held*>(at), std::forward<A>(args)...);
    };
  }
  tracked_function(tracked_function&& o) noexcept : call_(o.call_) { take(o, o.value_); }
  tracked_function& operator=(tracked_function&& o) noexcept {
    call_ = o.call_;
    replace_by(o);
    return *this;
  }
  explicit operator bool() const noexcept { return value_ != nullptr; }
  /// Errors: std::bad_function_call when empty.
  R operator()(A... args) {
    if (value_ == nullptr) throw std::bad_function_call();
    return call_(value_, std::forward<A>(args)...);
  }
  void reset() noexcept { clear(); }

 private:
  R (*call_)(void*, A...) = nullptr;
};

}  // namespace leash
