#include "waits.hpp"

namespace leash::test::fuzz {

namespace {

void store(frame& f, const wait_case& c, std::optional<cell> v) {
  if (v) f[c.b] = std::move(*v);
}
void store(frame& f, const wait_case& c, mutex::guard g) { f[c.b] = cell(make_thing(kind::guard, c.a), std::move(g)); }
void store(frame& f, const wait_case& c, shared_mutex::guard g) {
  f[c.b] = cell(make_thing(kind::write_guard, c.a), std::move(g));
}
void store(frame& f, const wait_case& c, shared_mutex::shared_guard g) {
  f[c.b] = cell(make_thing(kind::read_guard, c.a), std::move(g));
}
void store(frame& f, const wait_case& c, semaphore::permit p) {
  f[c.b] = cell(make_thing(kind::permit, c.a, c.n), std::move(p));
}
void store(frame&, const wait_case&, std::monostate) {}
void store(frame&, const wait_case&, bool) {}

// An awaited operation has a frame of its own, so that each kind's is small.
template <class Make>
task<unsigned> one(frame& f, const wait_case& c, Make make) {
  if constexpr (std::is_void_v<typename decltype(make())::result_type>) {
    co_await make();
  } else {
    auto v = co_await make();
    store(f, c, std::move(v));
  }
  co_return 0;
}

// A select has one of three shapes: three receives and three sends; two of each and one case of another kind; one of
// each, another kind and a sleep. Receives and sends that the step has not are disabled.
struct channel_cases {
  receiver<cell> no_receiver;
  sender<cell> no_sender;
  cell no_value;
  std::array<receiver<cell>*, max_cases> from;
  std::array<sender<cell>*, max_cases> to;
  std::array<cell*, max_cases> value;
  std::array<unsigned, max_cases> from_case{}, to_case{};
  unsigned other = max_cases, limit = max_cases;  // cases that are neither; limit: a sleep beside another one

  channel_cases(frame& f, const step& t) {
    from.fill(&no_receiver);
    to.fill(&no_sender);
    value.fill(&no_value);
    std::size_t receives = 0, sends = 0;
    for (unsigned i = 0; i < t.count; ++i) {
      const wait_case& c = t.cases[i];
      if (c.what == wait_kind::recv) {
        if (auto* rx = f[c.a].get<receiver<cell>>()) from[receives] = rx;
        from_case[receives++] = i;
      } else if (c.what == wait_kind::send) {
        if (auto* tx = f[c.a].get<sender<cell>>()) to[sends] = tx;
        value[sends] = &f[c.b];
        to_case[sends++] = i;
      } else {
        other != max_cases&& c.what == wait_kind::sleep ? limit = i : other = i;
      }
    }
  }
  channel_cases(const channel_cases&) = delete;
};

task<unsigned> channels_only(frame& f, const step& t) {
  channel_cases c(f, t);
  auto v =
      co_await select(c.from[0]->recv(), c.from[1]->recv(), c.from[2]->recv(), c.to[0]->send(std::move(*c.value[0])),
                      c.to[1]->send(std::move(*c.value[1])), c.to[2]->send(std::move(*c.value[2])));
  unsigned const won = v.index() < 3 ? c.from_case[v.index()] : c.to_case[v.index() - 3];
  std::visit([&](auto& r) { store(f, t.cases[won], std::move(r)); }, v);
  co_return won;
}

template <class Make>
task<unsigned> with_other(frame& f, const step& t, Make make) {
  channel_cases c(f, t);
  auto v = co_await select(c.from[0]->recv(), c.from[1]->recv(), c.to[0]->send(std::move(*c.value[0])),
                           c.to[1]->send(std::move(*c.value[1])), make());
  unsigned const won = v.index() < 2 ? c.from_case[v.index()] : v.index() < 4 ? c.to_case[v.index() - 2] : c.other;
  std::visit([&](auto& r) { store(f, t.cases[won], std::move(r)); }, v);
  co_return won;
}

template <class Make>
task<unsigned> with_limit(world& w, frame& f, const step& t, Make make) {
  channel_cases c(f, t);
  auto v = co_await select(c.from[0]->recv(), c.to[0]->send(std::move(*c.value[0])), make(),
                           sleep(w.length(t.cases[c.limit].n)));
  unsigned const of[] = {c.from_case[0], c.to_case[0], c.other, c.limit};
  unsigned const won = of[v.index()];
  std::visit([&](auto& r) { store(f, t.cases[won], std::move(r)); }, v);
  co_return won;
}

// Calls `await` with what makes the operation of a case.
template <class Await>
task<unsigned> of_kind(world& w, frame& f, const wait_case& c, Await await) {
  switch (c.what) {
    case wait_kind::lock:
      return await([&w, &c] { return w.mutexes[c.a]->lock(); });
    case wait_kind::lock_write:
      return await([&w] { return w.rw->lock(); });
    case wait_kind::lock_read:
      return await([&w] { return w.rw->lock_shared(); });
    case wait_kind::acquire:
      return await([&w, &c] { return w.sem->acquire(c.n); });
    case wait_kind::group:
      return await([&w] { return w.group->wait(); });
    case wait_kind::event:
      return await([b = w.bell_at(f, c.a)] { return b->rung.wait(); });
    case wait_kind::done:
      return await([] { return this_context().done(); });
    default:
      return await([&w, &c] { return sleep(w.length(c.n)); });
  }
}

task<unsigned> notified(bell& b, mutex::guard& held, bool takes_flag) {
  if (takes_flag)
    co_await b.told.wait(held, [&b] { return b.flag.exchange(false); });
  else
    co_await b.told.wait(held, [again = false]() mutable { return std::exchange(again, true); });
  co_return 0;
}

}  // namespace

task<unsigned> await_one(world& w, frame& f, const wait_case& c) {
  switch (c.what) {
    case wait_kind::recv:
      return one(f, c, [&f, &c] { return f[c.a].get<receiver<cell>>()->recv(); });
    case wait_kind::send:
      return one(f, c, [&f, &c] { return f[c.a].get<sender<cell>>()->send(std::move(f[c.b])); });
    case wait_kind::condition:
      return notified(*w.bell_at(f, c.a), *f[c.b].get<mutex::guard>(), c.n != 0);
    default:
      return of_kind(w, f, c, [&f, &c](auto make) { return one(f, c, make); });
  }
}

task<unsigned> await_select(world& w, frame& f, const step& t) {
  channel_cases const c(f, t);
  if (c.other == max_cases) return channels_only(f, t);
  const wait_case& other = t.cases[c.other];
  if (c.limit == max_cases) return of_kind(w, f, other, [&f, &t](auto make) { return with_other(f, t, make); });
  return of_kind(w, f, other, [&w, &f, &t](auto make) { return with_limit(w, f, t, make); });
}

}  // namespace leash::test::fuzz
