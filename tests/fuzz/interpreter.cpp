#include "interpreter.hpp"

#include <leash/worker.hpp>

#include "waits.hpp"

namespace leash::test::fuzz {

namespace {

// What is held by a channel that holds its own last receiver is never given back: then the locks are kept too.
void keep(world& w) {
  static auto& kept = *new std::vector<std::shared_ptr<void>>;
  for (auto& m : w.mutexes) kept.push_back(std::move(m));
  kept.push_back(std::move(w.rw));
  kept.push_back(std::move(w.sem));
}

struct witness {  // notes a goroutine that does not come to the end of its code
  world& w;
  int g;
  bool over = false;
  witness(world& to, int who) : w(to), g(who) {}
  witness(witness&& o) noexcept : w(o.w), g(o.g), over(std::exchange(o.over, true)) {}
  void finished() {
    over = true;
    w.alive &= ~(1u << g);
  }
  ~witness() {
    if (over) return;
    w.unwound |= 1u << g;
    w.alive &= ~(1u << g);
  }
};

struct family {  // the scope that a block runs in, and whom it started there
  scope* in = nullptr;
  std::array<goroutine<void>, max_goroutines> child;
  family() {}
};

task<> block(world& w, int g, frame& f, family* kin, std::size_t begin, std::size_t end);

task<> run_own(world& w, int g, contents c, witness here) {
  frame f(std::move(c));
  co_await block(w, g, f, nullptr, 0, w.p.goroutines[static_cast<std::size_t>(g)].steps.size());
  if (w.follow) w.model.finish(w.shadow, g);
  here.finished();
}
task<> run_lent(world& w, int g, frame& f, witness here) {
  co_await block(w, g, f, nullptr, 0, w.p.goroutines[static_cast<std::size_t>(g)].steps.size());
  if (w.follow) w.model.finish(w.shadow, g);
  here.finished();
}

void do_try_send(frame& f, const step& t) {
  if (auto* tx = f[t.a].get<sender<cell>>()) (void)tx->try_send(std::move(f[t.b]));
}
void do_try_recv(frame& f, const step& t) {
  f[t.b].clear();
  if (auto* rx = f[t.a].get<receiver<cell>>())
    if (auto v = rx->try_recv()) f[t.b] = std::move(*v);
}
void do_dup(frame& f, const step& t) {
  thing const what = f[t.a].what();
  if (auto* tx = f[t.a].get<sender<cell>>())
    f[t.b] = cell(what, tx->dup());
  else if (auto* rx = f[t.a].get<receiver<cell>>())
    f[t.b] = cell(what, rx->dup());
  else if (auto* cs = f[t.a].get<cancel_source>())
    f[t.b] = cell(what, cs->dup());
  else if (auto* b = f[t.a].get<shared<box_content>>())
    f[t.b] = cell(what, shared<box_content>(*b));
  else if (auto* w = f[t.a].get<weak<box_content>>())
    f[t.b] = cell(what, weak<box_content>(*w));
}
void do_with_box(frame& f, const step& t) {
  if (t.a == t.b) return;
  unsigned const which = object_of(f[t.a].what());
  if (auto* w = f[t.a].get<weak<box_content>>(); w != nullptr && t.what == op::lift) {
    auto locked = w->lock();
    f[t.b].clear();
    if (locked) f[t.b] = cell(make_thing(kind::box, which), std::move(locked));
  }
  auto* b = f[t.a].get<shared<box_content>>();
  if (b == nullptr) return;
  if (t.what == op::put_in) (*b)->in[t.n] = std::move(f[t.b]);
  if (t.what == op::take_out) f[t.b] = std::move((*b)->in[t.n]);
  if (t.what == op::weaken) f[t.b] = cell(make_thing(kind::weak_box, which), weak<box_content>(*b));
}
contents taken_from(frame& f, unsigned mask) {
  contents theirs;
  for (std::size_t i = 0; i < slots; ++i)
    if (mask >> i & 1) theirs[i] = std::move(f[i]);
  return theirs;
}
void do_spawn(world& w, frame& f, family* kin, const step& t) {
  if (kin == nullptr) return;
  auto const name = named(name_of_goroutine(t.a));
  goroutine<void>& child = kin->child[t.a];
  child = t.what == op::lend ? kin->in->go(name, run_lent, std::ref(w), int(t.a), std::ref(f), witness(w, t.a))
                             : kin->in->go(name, run_own, std::ref(w), int(t.a), taken_from(f, t.n), witness(w, t.a));
  w.started(t.a, child.id());
}
task<> start(world& w, frame& f, family& kin, const wait_case& c) {
  contents theirs = taken_from(f, c.n);
  kin.child[c.a] = co_await kin.in->start(named(name_of_goroutine(c.a)), run_own, std::ref(w), int(c.a),
                                          std::move(theirs), witness(w, c.a));
  w.started(c.a, kin.child[c.a].id());
}

void do_notify(world& w, frame& f, const step& t) {
  bell* b = w.bell_at(f, t.a);
  if (b == nullptr) return;
  if (t.n != 0) b->flag = true;
  t.b != 0 ? b->told.notify_all() : b->told.notify_one();
}

// Everything that does not wait.
void plain(world& w, frame& f, family* kin, const step& t) {
  switch (t.what) {
    case op::try_send:
      return do_try_send(f, t);
    case op::try_recv:
      return do_try_recv(f, t);
    case op::close:
      if (auto* tx = f[t.a].get<sender<cell>>()) tx->close();
      return;
    case op::drop:
      return f[t.a].clear();
    case op::dup:
      return do_dup(f, t);
    case op::put_in:
    case op::take_out:
    case op::weaken:
    case op::lift:
      return do_with_box(f, t);
    case op::add:
      f[t.b] = cell(make_thing(kind::token, 0), w.group->add());
      return;
    case op::set:
      if (bell* b = w.bell_at(f, t.a)) b->rung.set();
      return;
    case op::notify:
      return do_notify(w, f, t);
    case op::cancel:
      if (auto* cs = f[t.a].get<cancel_source>()) cs->cancel();
      return;
    case op::spawn:
    case op::lend:
      return do_spawn(w, f, kin, t);
    default:
      return;
  }
}

task<> wait(world& w, int g, frame& f, family* kin, const step& t) {
  for (int i = 0; i < t.count; ++i)
    if (has_destination(t.cases[i].what)) f[t.cases[i].b].clear();
  wait_kind const first = t.cases[0].what;
  bool const there = can_be_awaited(w, f, t, [&](int k) { return kin != nullptr && kin->child[k].id() != 0; });
  unsigned ready = 0;
  if (w.follow) {
    bool const expected = w.model.prepare(w.shadow, g);
    if (there != expected) w.diverged("a wait has something to wait for, in one of the two");
    if (!expected)
      ++w.shadow.g[g].pc;
    else if (w.model.unwinds_first(w.shadow, g))
      w.model.unwind(w.shadow, g);
    else if ((ready = w.model.ready_cases(w.shadow, g)) == 0)
      w.model.block(w.shadow, g);
    else
      w.deciding = g;
  }
  if (!there) co_return;
  unsigned won = 0;
  if (t.select)
    won = co_await await_select(w, f, t);
  else if (first == wait_kind::join)
    (void)co_await kin->child[t.cases[0].a].join();
  else if (first == wait_kind::start)
    co_await start(w, f, *kin, t.cases[0]);
  else
    won = co_await await_one(w, f, t.cases[0]);
  if (ready == 0 || !w.follow) co_return;
  w.deciding = -1;
  if (!(ready >> won & 1)) {
    w.diverged("a case won that the model holds for not ready");
  } else {
    w.model.win(w.shadow, g, won);
  }
}

// The body of a once's call, up to the step that ends it.
task<> called(world& w, int g, frame& f, std::size_t begin, std::size_t end) {
  if (w.follow) w.deciding = -1;
  co_await block(w, g, f, nullptr, begin, end);
  if (w.follow) w.check(g, f, end);
  if (w.follow) w.model.run_plain(w.shadow, g);
}
task<> call(world& w, int g, frame& f, std::size_t begin, std::size_t end) {
  if (w.follow) {
    if (w.model.unwinds_first(w.shadow, g)) {
      w.model.unwind(w.shadow, g);
    } else if (w.model.ready_cases(w.shadow, g) == 0) {
      w.model.block(w.shadow, g);
    } else {
      w.model.win(w.shadow, g, 0);
      w.deciding = g;
    }
  }
  co_await w.single->call([&w, g, &f, begin, end] { return called(w, g, f, begin, end); });
  if (w.follow) w.deciding = -1;
}

task<> scoped(world& w, int g, frame& f, std::size_t begin, std::size_t end) {
  std::size_t const most = w.p.goroutines[static_cast<std::size_t>(g)].steps[begin - 1].n;
  (void)co_await with_scope({.max_children = most}, [&](scope& s) -> task<> {
    family kin;
    kin.in = &s;
    co_await block(w, g, f, &kin, begin, end);
    if (!w.follow) co_return;
    w.check(g, f, end);
    w.model.prepare(w.shadow, g);
    if (w.model.ready_cases(w.shadow, g) != 0)
      w.model.win(w.shadow, g, 0);
    else
      w.model.block(w.shadow, g);
  });
}

task<> block(world& w, int g, frame& f, family* kin, std::size_t begin, std::size_t end) {
  const code& c = w.p.goroutines[static_cast<std::size_t>(g)];
  for (std::size_t i = begin; i < end; ++i) {
    const step& t = c.steps[i];
    if (w.chance(2) && this_context().err() == context_error::none) co_await yield();
    if (w.follow) {
      w.check(g, f, i);
      if (w.follow && w.chance(8)) w.look();
    }
    if (t.what == op::wait) {
      co_await wait(w, g, f, kin, t);
      continue;
    }
    if (t.what == op::once_open) {
      std::size_t const close = plan::closing(c, i);
      co_await call(w, g, f, i + 1, close);
      i = close;
      continue;
    }
    if (w.follow) w.model.run_plain(w.shadow, g);
    if (t.what == op::scope_open) {
      std::size_t const close = plan::closing(c, i);
      co_await scoped(w, g, f, i + 1, close);
      i = close;
    } else if (t.what == op::cancel_open) {
      std::size_t const close = plan::closing(c, i);
      if (t.n != 0) {
        (void)co_await with_timeout(w.length(t.n - 1u),
                                    [&w, g, &f, i, close] { return block(w, g, f, nullptr, i + 1, close); });
      } else if (auto* source = f[t.a].get<cancel_source>()) {
        (void)co_await with_cancel(*source, [&w, g, &f, i, close] { return block(w, g, f, nullptr, i + 1, close); });
      } else {
        co_await block(w, g, f, nullptr, i + 1, close);
      }
      i = close - 1;
    } else if (t.what == op::yield) {
      co_await yield();
    } else {
      plain(w, f, kin, t);
    }
  }
}

}  // namespace

world::world(const plan& q, std::uint64_t chance, bool followed)
    : p(q), model(q), shadow(model.initial()), follow(followed), random_(chance * 2 + 1) {
  for (auto& m : mutexes) m = std::make_unique<mutex>();
  rw = std::make_unique<shared_mutex>();
  sem = std::make_unique<semaphore>(permits);
  group = std::make_unique<wait_group>();
  single = std::make_unique<once>();
}
world::~world() {
  if (cell::full() != full_before_) keep(*this);
}

nanoseconds world::length(unsigned n) const { return sleep_unit * (std::int64_t{1} << n % sleep_wrap); }

bool world::chance(unsigned one_in) {
  std::uint64_t x = random_.fetch_add(0x9e3779b97f4a7c15u, std::memory_order_relaxed);
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  return (x >> 40) % one_in == 0;
}

void world::start(scope& s) {
  std::array<std::pair<sender<cell>, receiver<cell>>, max_channels> ends;
  std::vector<cancel_source> sources(max_sources);
  std::array<shared<box_content>, max_boxes> boxes;
  for (auto& b : boxes) b = share<box_content>();
  std::array<contents, max_goroutines> frames;
  for (std::size_t c = 0; c < static_cast<std::size_t>(p.channels); ++c)
    ends[c] = p.capacity[c] == unbounded_capacity ? channel<cell>(unbounded) : channel<cell>(p.capacity[c]);
  for (std::size_t g = 0; g < max_goroutines; ++g)
    for (std::size_t i = 0; i < slots; ++i) {
      thing const t = p.goroutines[g].slot[i];
      if (p.goroutines[g].parent != nobody) continue;
      std::size_t const k = object_of(t);
      if (kind_of(t) == kind::tx) frames[g][i] = cell(t, ends[k].first.dup());
      if (kind_of(t) == kind::rx) frames[g][i] = cell(t, ends[k].second.dup());
      if (kind_of(t) == kind::source) frames[g][i] = cell(t, sources[k].dup());
      if (kind_of(t) == kind::box) frames[g][i] = cell(t, boxes[k]);
      if (kind_of(t) == kind::weak_box) frames[g][i] = cell(t, weak<box_content>(boxes[k]));
    }
  for (int g = 0; g < max_goroutines; ++g) {
    const code& c = p.goroutines[static_cast<std::size_t>(g)];
    if (!c.used || c.parent != nobody) continue;
    auto h = s.go(named(name_of_goroutine(g)), run_own, std::ref(*this), int(g),
                  std::move(frames[static_cast<std::size_t>(g)]), witness(*this, g));
    started(g, h.id());
  }
}

bell* world::bell_at(frame& f, std::uint8_t named) {
  if (named == bell_of_frame) return &f.own;
  if (named == bell_outside) return &outside;
  auto* b = f[named].get<shared<box_content>>();
  return b != nullptr ? &(*b)->own : nullptr;
}

void world::started(int g, std::uint64_t id) {
  alive |= 1u << g;
  if (follow) ids_.emplace_back(id, g);
}

void world::diverged(std::string what) {
  if (!follow) return;
  follow = false;
  divergence = std::move(what);
}

void world::check(int g, const frame& f, std::size_t pc) {
  const goroutine_state& me = shadow.g[g];
  std::string const who = name_of_goroutine(g);
  if (me.is != status::ready) return diverged(who + " goes on, but not in the model");
  if (me.pc != pc)
    return diverged(who + " is at step " + std::to_string(pc) + ", in the model at " + std::to_string(me.pc));
  for (std::size_t i = 0; i < slots; ++i)
    if (f[i].what() != shadow.g[me.frame].slot[i])
      return diverged(who + " at step " + std::to_string(pc) + " holds " + text(f[i].what()) + " in slot " +
                      std::to_string(i) + ", in the model " + text(shadow.g[me.frame].slot[i]));
}

void world::about_to_run(std::uint64_t id) {
  if (!follow) return;
  if (deciding >= 0) return diverged(name_of_goroutine(deciding) + " waits where the model does not");
  if (chance(6)) look();
  if (!follow) return;
  for (auto& [known, g] : ids_) {
    if (known != id) continue;
    if (shadow.g[g].is == status::waiting && !model.fire(shadow, g) && !model.run_out(shadow, g))
      return diverged(name_of_goroutine(g) + " was woken, but not in the model");
    if (shadow.g[g].is == status::retrying) model.resume(shadow, g);
    if (shadow.g[g].is != status::waiting) model.resume(shadow, g);
  }
}

std::string name_of_goroutine(int g) { return "g" + std::to_string(g); }

unsigned goroutines_of(const leak_report& r, int& others) {
  unsigned mask = 0;
  others = 0;
  for (const leak& l : r) {
    if (l.who.name.size() == 2 && l.who.name[0] == 'g')
      mask |= 1u << (l.who.name[1] - '0');
    else
      ++others;
  }
  return mask;
}

}  // namespace leash::test::fuzz
