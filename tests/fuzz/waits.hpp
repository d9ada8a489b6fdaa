// The waits of a step, on the library. Each returns the case that won.
#pragma once
#include "interpreter.hpp"

namespace leash::test::fuzz {

inline bool has_destination(wait_kind k) {
  return k == wait_kind::recv || k == wait_kind::lock || k == wait_kind::lock_write || k == wait_kind::lock_read ||
         k == wait_kind::acquire;
}

/// A select can always be awaited; a wait alone needs its end, or a goroutine that was started.
template <class Started>
bool can_be_awaited(world& w, frame& f, const step& t, Started started) {
  const wait_case& c = t.cases[0];
  if (t.select) return true;
  if (c.what == wait_kind::recv) return f[c.a].get<receiver<cell>>() != nullptr;
  if (c.what == wait_kind::send) return f[c.a].get<sender<cell>>() != nullptr;
  if (c.what == wait_kind::join) return started(c.a);
  if (c.what == wait_kind::event) return w.bell_at(f, c.a) != nullptr;
  if (c.what == wait_kind::condition) return w.bell_at(f, c.a) != nullptr && f[c.b].get<mutex::guard>() != nullptr;
  return true;
}

task<unsigned> await_one(world&, frame&, const wait_case&);
task<unsigned> await_select(world&, frame&, const step&);

}  // namespace leash::test::fuzz
