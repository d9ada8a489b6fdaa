// shared<T>: shared ownership that the leak proof can see through.
//
// The value lies in the arena behind a block_core, which counts its handles. shared and weak are self-certifying
// handles (handle.hpp), so the marker finds those that lie in frozen places. Once it has found all of them nobody else
// can reach the value: what the value holds (ends, guards, other shared handles) then counts as found too. Blocks that own
// each other in a circle are found all at once; for that, whoever gives a handle up, or moves it out of tracked memory,
// notes the pass of the marker (pass_note.hpp).
//
// Invariants
//  B1. The value lives while there are owners; the block while owners or watchers are left.
//  B2. Whoever can make an owner again is counted: a weak handle is a capability of the block (rule 6 of the proof).
//  B3. The value is made before owners is raised from 0 to 1, and destroyed after it has fallen to 0.
//  B4. Owners and watchers are one word: of a value that passes from weak to shared handles and back no reader can see
//  neither.
//  B5. A handle is noted before its count falls; one that leaves tracked memory is copied, then given up: at no moment
//  are there more handles than are counted, and the marker sees none of them in two places unnoticed.
// Thread safety: as std::shared_ptr: different handles to one value may be used by any threads at once.
#pragma once
#include <compare>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <leash/block_counts.hpp>
#include <leash/call_site.hpp>
#include <leash/handle.hpp>
#include <leash/platform.hpp>
#include <memory>
#include <new>
#include <type_traits>
#include <typeinfo>
#include <utility>

namespace leash {

/// There are blocks or pools that may hold handles, so that passes look for circles among them.
extern std::atomic<bool> any_tracked_memory;
LEASH_INLINE void note_tracked_memory() noexcept {
  if (!any_tracked_memory.load(std::memory_order_relaxed)) any_tracked_memory.store(true, std::memory_order_relaxed);
}

/// In front of a tracked value. The rest of its slot is the value's.
struct block_core : object {
  [[no_unique_address]] block_counts<> counts;  // owners: shared, box, function; watchers: weak
  std::uint32_t bytes;                          // of the whole block
  const std::type_info* value_type;
  void (*destroy)(block_core*) noexcept = nullptr;

  block_core(std::uint32_t n, const std::type_info& t, bool may_hold_handles, std::source_location where) noexcept
      : object(object_type::block, where), bytes(n), value_type(&t) {
    plain = !may_hold_handles;
    gave_up.leave();  // the slot may have been another block's in this pass
    if (may_hold_handles) note_tracked_memory();
  }

  std::uint32_t owners() const noexcept { return counts.owners(); }
  void add_owner() noexcept { counts.add_owner(); }
  void drop_owner() noexcept {
    gave_up.leave();
    if (counts.drop_owner()) {
      destroy(this);
      drop_side();
    }
  }
  void add_watcher() noexcept { counts.add_watcher(); }
  void drop_watcher() noexcept {
    gave_up.leave();
    if (counts.drop_watcher()) free();
  }
  void drop_side() noexcept {
    if (counts.drop_side()) free();
  }
  /// One more owner, unless none is left.
  bool revive() noexcept { return counts.revive(); }

 private:
  void free() noexcept;
};

/// The block around `inside`; null: it lies in none. O(1).
block_core* block_around(const void* inside) noexcept;

enum class ownership : bool { together, sole };

/// A block with a value made from `args`, with one owner.
template <class T, class... A>
std::pair<block_core*, T*> make_block(ownership how, call_site at, A&&... args) {
  constexpr std::size_t align = alignof(T) > 16 ? alignof(T) : 16;
  constexpr std::size_t bytes = sizeof(block_core) + sizeof(T) + align;
  static_assert(bytes <= UINT32_MAX, "a tracked value must be smaller than 4 GiB");
  auto place = [](block_core* b) noexcept {
    auto const at = reinterpret_cast<std::uintptr_t>(b) + sizeof(block_core);
    return reinterpret_cast<T*>((at + align - 1) / align * align);
  };
  void* memory = arena::allocate(arena::kind::object, bytes);
  auto* b = ::new (memory)
      block_core(static_cast<std::uint32_t>(bytes), typeid(T), !std::is_trivially_destructible_v<T>, at.where);
  b->sole = how == ownership::sole;
  b->destroy = [](block_core* core) noexcept {
    auto const at = reinterpret_cast<std::uintptr_t>(core) + sizeof(block_core);
    std::destroy_at(std::launder(reinterpret_cast<T*>((at + align - 1) / align * align)));
  };
  try {
    T* value = nullptr;
    if constexpr (takes_call_site<T> && std::constructible_from<T, A..., call_site>) {
      value = ::new (static_cast<void*>(place(b))) T(std::forward<A>(args)..., at);
    } else {
      value = ::new (static_cast<void*>(place(b))) T(std::forward<A>(args)...);
    }
    b->counts.first_owner();
    return {b, value};
  } catch (...) {
    b->drop_side();
    throw;
  }
}

/// The handle part of shared, weak, tracked_box and tracked_function: an owner or a watcher of a block, and a pointer to
/// its value or to a part of that.
template <capability What, class T>
class block_handle : handle {
 protected:
  block_handle() noexcept {}
  /// Adopts one that is counted already.
  block_handle(block_core* b, T* v) noexcept : handle(b, What), value_(v) {}
  ~block_handle() { clear(); }

  block_core* core() const noexcept { return static_cast<block_core*>(handle::get()); }
  /// One more of b's; null: none. This one is empty, as for take().
  void copy(block_core* b, T* v) noexcept {
    if (b != nullptr) {
      What == capability::owner ? b->add_owner() : b->add_watcher();
      // ORD circle-1 release: who finds this handle finds it counted.
      std::atomic_thread_fence(std::memory_order_release);
      certify(b, What);
    }
    value_ = v;
  }
  template <class U>
  void take(block_handle<What, U>& o, T* v) noexcept {
    if (arena::may_be_object(&o)) [[unlikely]] {  // B5
      copy(o.core(), v);
      o.clear();
      return;
    }
    o.value_ = nullptr;
    if (object* b = o.release(What)) certify(b, What);
    value_ = v;
  }
  /// For those that own alone.
  template <class U>
  void adopt(std::pair<block_core*, U*> made) noexcept {
    certify(made.first, What);
    value_ = made.second;
  }
  void replace_by(block_handle& o) noexcept {
    if (this == &o) return;
    clear();
    take(o, o.value_);
  }
  void clear() noexcept {
    value_ = nullptr;
    object* const b = release(What);
    if (b == nullptr) return;
    What == capability::owner ? static_cast<block_core*>(b)->drop_owner() : static_cast<block_core*>(b)->drop_watcher();
  }

  T* value_ = nullptr;

 private:
  template <capability, class>
  friend class block_handle;
};

template <class T>
class weak;

/// Shared ownership of a T, as std::shared_ptr. What the value holds stays visible to the leak proof: an end in a
/// shared<state> that only leaked goroutines can reach is as good as gone, and the report says so.
///
/// Blocks that own each other in a circle stay allocated, as with std::shared_ptr; the proof sees that nobody reaches them.
/// Thread safety: one object belongs to one thread at a time. Complexity: copies are one atomic increment.
template <class T>
class shared : block_handle<capability::owner, T> {
  using base = block_handle<capability::owner, T>;
  using base::core, base::value_;

 public:
  using element_type = T;
  shared() noexcept {}
  shared(std::nullptr_t) noexcept {}
  shared(const shared& o) noexcept { this->copy(o.core(), o.value_); }
  shared(shared&& o) noexcept { this->take(o, o.value_); }
  template <class U>
    requires std::convertible_to<U*, T*>
  shared(const shared<U>& o) noexcept {
    this->copy(o.core(), o.value_);
  }
  template <class U>
    requires std::convertible_to<U*, T*>
  shared(shared<U>&& o) noexcept {
    this->take(o, o.value_);
  }
  /// Errors: std::bad_weak_ptr if the value is gone.
  template <class U>
    requires std::convertible_to<U*, T*>
  explicit shared(const weak<U>& o) {
    shared<U> locked = o.lock();
    if (locked.use_count() == 0) throw std::bad_weak_ptr();
    this->take(locked, locked.value_);
  }
  /// Aliasing: owns what `o` owns and points at `part`, which belongs to it.
  template <class U>
  shared(const shared<U>& o, T* part) noexcept {
    this->copy(o.core(), part);
  }
  template <class U>
  shared(shared<U>&& o, T* part) noexcept {
    this->take(o, part);
  }
  shared& operator=(const shared& o) noexcept {
    shared(o).swap(*this);
    return *this;
  }
  shared& operator=(shared&& o) noexcept {
    shared(std::move(o)).swap(*this);
    return *this;
  }
  T* get() const noexcept { return value_; }
  T* operator->() const noexcept { return value_; }
  T& operator*() const noexcept { return *value_; }
  explicit operator bool() const noexcept { return value_ != nullptr; }
  /// Gives this handle up; the last one destroys the value. Idempotent.
  void reset() noexcept { this->clear(); }
  void swap(shared& o) noexcept {
    shared mine(std::move(o));
    o.take(*this, value_);
    this->take(mine, mine.value_);
  }
  std::size_t use_count() const noexcept { return core() != nullptr ? core()->owners() : 0; }
  template <class U>
  bool operator==(const shared<U>& o) const noexcept {
    return value_ == o.get();
  }
  template <class U>
  auto operator<=>(const shared<U>& o) const noexcept {
    return std::compare_three_way{}(value_, o.get());
  }
  bool operator==(std::nullptr_t) const noexcept { return value_ == nullptr; }

  /// For the library: adopts one owner.
  shared(block_core* b, T* v) noexcept : base(b, v) {}

 private:
  template <class U>
  friend class shared;
  template <class U>
  friend class weak;
};

/// Refers to what a shared<T> owns without keeping it alive, as std::weak_ptr.
template <class T>
class weak : block_handle<capability::watcher, T> {
  using base = block_handle<capability::watcher, T>;
  using base::core, base::value_;

 public:
  weak() noexcept {}
  weak(const weak& o) noexcept { this->copy(o.core(), o.value_); }
  weak(weak&& o) noexcept { this->take(o, o.value_); }
  template <class U>
    requires std::convertible_to<U*, T*>
  weak(const weak<U>& o) noexcept {
    this->copy(o.core(), o.value_);
  }
  template <class U>
    requires std::convertible_to<U*, T*>
  weak(weak<U>&& o) noexcept {
    this->take(o, o.value_);
  }
  template <class U>
    requires std::convertible_to<U*, T*>
  weak(const shared<U>& o) noexcept {
    this->copy(o.core(), o.value_);
  }
  weak& operator=(const weak& o) noexcept {
    weak(o).swap(*this);
    return *this;
  }
  weak& operator=(weak&& o) noexcept {
    weak(std::move(o)).swap(*this);
    return *this;
  }
  /// An owner, or an empty handle if the value is gone.
  shared<T> lock() const noexcept {
    block_core* b = core();
    return b != nullptr && b->revive() ? shared<T>(b, value_) : shared<T>();
  }
  std::size_t use_count() const noexcept { return core() != nullptr ? core()->owners() : 0; }
  bool expired() const noexcept { return use_count() == 0; }
  void reset() noexcept { this->clear(); }
  void swap(weak& o) noexcept {
    weak mine(std::move(o));
    o.take(*this, value_);
    this->take(mine, mine.value_);
  }

 private:
  template <class U>
  friend class weak;
};

template <class T, class... A>
shared<T> share_at(call_site at, A&&... args) {
  auto [b, value] = make_block<T>(ownership::together, at, std::forward<A>(args)...);
  return shared<T>(b, value);
}

/// share<T>(args...) makes a T(args...) that is owned together; reports name the line of the call as the place where an
/// event, lock... made so was made. Errors: what T's constructor throws; std::bad_alloc.
template <class T>
shared<T> share(call_site at = std::source_location::current()) {
  return share_at<T>(at);
}
#define LEASH_SHARE(types, parameters, kept_types, forwarded)                               \
  template <class T, LEASH_PLAIN types>                                                     \
  shared<T> share(LEASH_PLAIN parameters, call_site at = std::source_location::current()) { \
    return share_at<T>(at, LEASH_PLAIN forwarded);                                          \
  }
LEASH_EACH_ARITY(LEASH_SHARE, class)
#undef LEASH_SHARE
template <class T, class... A>
  requires(sizeof...(A) > 7)
shared<T> share(A&&... args) {
  return share_at<T>(std::source_location(), std::forward<A>(args)...);
}

/// Base of a type whose members make handles to the object they belong to. Needs no handle of its own inside the
/// object: the block is found by the object's address. As with std::unique_ptr, what one tracked_box or tracked_function
/// owns alone has no shared_from_this.
template <class T>
class enable_shared_from_this {
 public:
  /// Errors: std::bad_weak_ptr if the object is not owned by a shared<T> (yet, or any more).
  shared<T> shared_from_this() { return from<T>(static_cast<T*>(this)); }
  shared<const T> shared_from_this() const { return from<const T>(static_cast<const T*>(this)); }
  weak<T> weak_from_this() noexcept {
    block_core* b = block_around(this);
    return b != nullptr && !b->sole && b->revive() ? weak<T>(shared<T>(b, static_cast<T*>(this))) : weak<T>();
  }

 protected:
  enable_shared_from_this() noexcept {}
  enable_shared_from_this(const enable_shared_from_this&) noexcept {}
  enable_shared_from_this& operator=(const enable_shared_from_this&) noexcept { return *this; }
  ~enable_shared_from_this() = default;

 private:
  template <class U>
  static shared<U> from(U* self) {
    block_core* b = block_around(self);
    if (b == nullptr || b->sole || !b->revive()) throw std::bad_weak_ptr();
    return shared<U>(b, self);
  }
};

}  // namespace leash

template <class T>
struct std::hash<leash::shared<T>> {
  std::size_t operator()(const leash::shared<T>& s) const noexcept { return std::hash<T*>{}(s.get()); }
};
