// Policies for code that is templated over its atomics: model::atomics with one thing broken. The checker must find
// each of them.
#pragma once

#include "model.hpp"

namespace model {

struct no_fence : atomics {
  static void fence(std::memory_order) {}
};

struct relaxed_stores : atomics {
  template <class T>
  struct atomic : model::atomic<T> {
    using model::atomic<T>::atomic;
    void store(T v, std::memory_order = std::memory_order_relaxed) {
      model::atomic<T>::store(v, std::memory_order_relaxed);
    }
  };
};

struct relaxed_loads : atomics {
  template <class T>
  struct atomic : model::atomic<T> {
    using model::atomic<T>::atomic;
    T load(std::memory_order = std::memory_order_relaxed) const {
      return model::atomic<T>::load(std::memory_order_relaxed);
    }
  };
};

// Exchanges by a store, behind which loads may pass.
struct exchange_by_store : atomics {
  template <class T>
  struct atomic : model::atomic<T> {
    using model::atomic<T>::atomic;
    T exchange(T v, std::memory_order) {
      T const old = this->load(std::memory_order_acquire);
      this->store(v, std::memory_order_release);
      return old;
    }
  };
};

// And compares and exchanges by a load and a store.
struct torn_exchange : atomics {
  template <class T>
  struct atomic : exchange_by_store::atomic<T> {
    using exchange_by_store::atomic<T>::atomic;
    bool compare_exchange_strong(T& expected, T desired, std::memory_order, std::memory_order failed) {
      T const seen = this->load(failed);
      if (seen != expected) {
        expected = seen;
        return false;
      }
      this->store(desired, std::memory_order_release);
      return true;
    }
    bool compare_exchange_weak(T& expected, T desired, std::memory_order ok, std::memory_order failed) {
      return compare_exchange_strong(expected, desired, ok, failed);
    }
  };
};

// Counts up and down with another order than what is asked for.
template <std::memory_order Order>
struct updates_with : atomics {
  template <class T>
  struct atomic : model::atomic<T> {
    using model::atomic<T>::atomic;
    T fetch_add(T v, std::memory_order) { return model::atomic<T>::fetch_add(v, Order); }
    T fetch_sub(T v, std::memory_order) { return model::atomic<T>::fetch_sub(v, Order); }
  };
};
// They publish and see nothing.
using relaxed_updates = updates_with<std::memory_order_relaxed>;

}  // namespace model
