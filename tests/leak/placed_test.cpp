// Events and conditions have no handles: who reaches the place where one lies can complete a wait on it. Proven in
// tracked memory, confined in frames, live elsewhere.
#include <list>
#include <memory>

#include "kernel.hpp"

namespace leash::test::placed_tests {

using enum verdict;

struct on_event {
  using object = event;
  static constexpr const char* word = "event";
  static task<> wait(object& e) { co_await e.wait(); }
};
struct lock_and_condition {
  mutex m;
  condition cv;
  bool ready = false;
};
struct on_condition {
  using object = lock_and_condition;
  static constexpr const char* word = "sync.Cond.Wait";
  static task<> wait(object& o) {
    auto g = co_await o.m.lock();
    co_await o.cv.wait(g, [&] { return o.ready; });
  }
};
constexpr auto confined = leak_grade::confined;

template <class On, class Held>
task<> wait_inside(Held held) {
  co_await On::wait(*held);
}

// ---- tracked memory: proven
// -------------------------------------------------------------------------------------------
template <class On>
task<> in_tracked_memory() {
  using object = typename On::object;
  for (bool twin : {false, true}) {
    auto expected = [=](leak_grade grade = leak_grade::proven) {
      return twin ? std::vector<subject>{live_kernel, {"keeper", "sleep", live}, {"waiter", On::word, live}}
                  : std::vector<subject>{{"kernel", "scope join", dependent, grade}, {"waiter", On::word, core, grade}};
    };
    co_await examine(
        [=]() -> task<> {
          co_await with_scope([=](scope& s) -> task<> {
            auto o = share<object>();
            if (twin) s.go(named("keeper"), keep_asleep<weak<object>>, weak<object>(o));
            s.go(named("waiter"), wait_inside<On, shared<object>>, std::move(o));
            co_return;
          });
        },
        expected());
    co_await examine(  // a member of the value, through an alias
        [=]() -> task<> {
          co_await with_scope([=](scope& s) -> task<> {
            struct whole {
              char before = 'b';
              object o;
            };
            auto w = share<whole>();
            shared<object> part(w, &w->o);
            if (twin) s.go(named("keeper"), keep_asleep<shared<char>>, shared<char>(w, &w->before));
            s.go(named("waiter"), wait_inside<On, shared<object>>, std::move(part));
            co_return;
          });
        },
        expected());
    co_await examine(  // an element of a tracked container
        [=]() -> task<> {
          co_await with_scope([=](scope& s) -> task<> {
            using list = std::list<object, tracked_allocator<object>>;
            auto l = share<list>();
            l->emplace_back();
            l->emplace_back();
            if (twin)
              s.go(named("keeper"), keep_asleep<tracked_allocator<int>>, tracked_allocator<int>(l->get_allocator()));
            s.go(named("waiter"), [](shared<list> l) -> task<> { co_await On::wait(l->back()); }, std::move(l));
            co_return;
          });
        },
        expected());
  }
}
LEASH_TEST_OF_LEAKS(Placed, AnEventInTrackedMemory) { co_await in_tracked_memory<on_event>(); }
LEASH_TEST_OF_LEAKS(Placed, AConditionInTrackedMemory) { co_await in_tracked_memory<on_condition>(); }

LEASH_TEST_OF_LEAKS(Placed, AnEventInABoxOrAFunction) {
  co_await examine(
      []() -> task<> {
        co_await with_scope([](scope& s) -> task<> {
          s.go(named("in a box"), wait_inside<on_event, tracked_box<event>>, tracked_box<event>(std::in_place));
          co_return;
        });
      },
      {waiting_kernel, {"in a box", "event", core}});
}

// ---- while a value is made or destroyed nobody has a handle to it, and yet somebody reaches it
// ------------------------
struct starts_in_constructor {
  event e;
  template <class During>
  starts_in_constructor(scope& s, During during) {
    s.go(named("waiter"), [this]() -> task<> { co_await e.wait(); });
    during();
  }
};
TEST(LiveTwin, AnEventInAValueThatIsBeingMade) {
  for (unsigned workers : {2u, 4u})
    run_at(workers, []() -> task<> {
      co_await with_scope([](scope& s) -> task<> {
        auto block = share<starts_in_constructor>(s, [] {
          std::thread([] {
            if (parked_seen_from_outside("waiter", "event")) compare(find_leaks(), {});
          }).join();
        });
        block->e.set();
        co_await s.join();
      });
    });
}
struct sets_in_destructor {
  event e;
  ~sets_in_destructor() {
    compare(find_leaks(), {});
    e.set();
  }
};
LEASH_TEST(LiveTwin, AnEventInAValueThatIsBeingDestroyed) {
  co_await with_scope([](scope& s) -> task<> {
    auto block = share<sets_in_destructor>();
    s.go(named("waiter"), [](event* e) -> task<> { co_await e->wait(); }, &block->e);
    co_await parked("waiter", "event");
    block.reset();
  });
}

// ---- frames: confined
// -------------------------------------------------------------------------------------------------
template <class On>
task<> in_frames() {
  using object = typename On::object;
  std::vector<subject> const leaked{{"kernel", "scope join", dependent, confined},
                                    {"waiter", On::word, core, confined}};
  co_await examine(  // its own
      []() -> task<> {
        co_await with_scope([](scope& s) -> task<> {
          s.go(named("waiter"), []() -> task<> {
            object o;
            co_await On::wait(o);
          });
          co_return;
        });
      },
      leaked);
  for (bool twin : {false, true})  // an ancestor's
    co_await examine(
        [=]() -> task<> {
          object o;
          co_await with_scope([&](scope& s) -> task<> {
            s.go(named("waiter"), [](object& o) -> task<> { co_await On::wait(o); }, std::ref(o));
            if (twin) s.go(named("keeper"), keep_asleep<std::reference_wrapper<object>>, std::ref(o));
            co_return;
          });
        },
        twin ? std::vector<subject>{live_kernel, {"keeper", "sleep", live}, {"waiter", On::word, live}} : leaked);
  for (bool twin : {false, true})  // a grandchild may borrow it too
    co_await examine(
        [=]() -> task<> {
          object o;
          co_await with_scope([&](scope& s) -> task<> {
            s.go(
                named("waiter"),
                [](object& o, bool twin) -> task<> {
                  co_await with_scope([&](scope& inner) -> task<> {
                    if (twin) inner.go(named("keeper"), keep_asleep<std::reference_wrapper<object>>, std::ref(o));
                    co_await On::wait(o);
                  });
                },
                std::ref(o), twin);
            co_return;
          });
        },
        twin ? std::vector<subject>{live_kernel, {"keeper", "sleep", live}, {"waiter", On::word, live}} : leaked);
}
LEASH_TEST_OF_LEAKS(Placed, AnEventInAFrame) { co_await in_frames<on_event>(); }
LEASH_TEST_OF_LEAKS(Placed, AConditionInAFrame) { co_await in_frames<on_condition>(); }

struct brings_its_own {
  event e;
  brings_its_own() {}
  brings_its_own(brings_its_own&&) noexcept {}
  task<> operator()() { co_await e.wait(); }
};
LEASH_TEST_OF_LEAKS(Placed, AnEventInTheStoredCallable) {
  co_await examine(
      []() -> task<> {
        co_await with_scope([](scope& s) -> task<> {
          s.go(named("waiter"), brings_its_own());
          co_return;
        });
      },
      {{"kernel", "scope join", dependent, confined}, {"waiter", "event", core, confined}});
}
LEASH_TEST_OF_LEAKS(Placed, WhoWaitsForAConfinedOneIsConfinedToo) {
  co_await examine(
      []() -> task<> {
        co_await with_scope([](scope& s) -> task<> {
          auto [tx, rx] = channel<int>();
          s.go(
              named("waiter"),
              [](sender<int>) -> task<> {
                event e;
                co_await e.wait();
              },
              std::move(tx));
          s.go(named("behind"), receive_holding<int>, std::move(rx), 0);
          co_return;
        });
      },
      {{"kernel", "scope join", dependent, confined},
       {"waiter", "event", core, confined},
       {"behind", "chan receive", dependent, confined}});
}
LEASH_TEST_OF_LEAKS(Placed, ACaseOfASelect) {
  for (bool twin : {false, true})
    co_await examine(
        [=]() -> task<> {
          co_await with_scope([=](scope& s) -> task<> {
            auto e = share<event>();
            auto [tx, rx] = channel<int>();
            if (twin) s.go(named("keeper"), keep_asleep<shared<event>>, e);
            s.go(
                named("waiter"),
                [](shared<event> e, receiver<int> rx, sender<int>) -> task<> {
                  (void)co_await select(e->wait(), rx.recv());
                },
                std::move(e), std::move(rx), std::move(tx));
            co_return;
          });
        },
        twin ? std::vector<subject>{live_kernel, {"keeper", "sleep", live}, {"waiter", "select", live}}
             : std::vector<subject>{waiting_kernel, {"waiter", "select", core}});
  co_await examine(
      []() -> task<> {
        event e;
        auto [tx, rx] = channel<int>();
        (void)co_await select(e.wait(), rx.recv());
      },
      {{"kernel", "select", core, confined}});
}

// ---- callbacks are their maker's family
// ---------------------------------------------------------------------------------
LEASH_TEST_OF_LEAKS(Placed, ATimerThatWillSetIt) {
  for (bool stopped : {false, true})
    co_await examine(
        [=]() -> task<> {
          event e;
          timer t = after_func(1h, [&e] { e.set(); });
          if (stopped) EXPECT_TRUE(t.stop());
          co_await e.wait();
        },
        {stopped ? subject("kernel", "event", core, confined) : subject("kernel", "event", live)});
}
LEASH_TEST_OF_LEAKS(Placed, ACallbackOfAContextThatWillSetIt) {
  cancel_source never;
  (void)co_await with_cancel(never, []() -> task<> {
    context outer = this_context();
    for (bool stopped : {false, true})
      co_await examine(
          [=]() -> task<> {
            event e;
            registration r = on_done(outer, [&e] { e.set(); });
            if (stopped) EXPECT_TRUE(r.stop());
            co_await e.wait();
          },
          {stopped ? subject("kernel", "event", core, confined) : subject("kernel", "event", live)});
  });
}

// ---- elsewhere: live
// ----------------------------------------------------------------------------------------------------
template <class On>
task<> elsewhere() {
  using object = typename On::object;
  static object global;
  co_await examine([]() -> task<> { co_await On::wait(global); }, {{"kernel", On::word, live}});
  co_await examine([] { return wait_inside<On>(std::make_unique<object>()); }, {{"kernel", On::word, live}});
  co_await examine([] { return wait_inside<On>(std::make_shared<object>()); }, {{"kernel", On::word, live}});
  co_await examine([] { return wait_inside<On>(std::allocate_shared<object>(tracked_allocator<object>())); },
                   {{"kernel", On::word, live}});
}
LEASH_TEST(LiveTwin, AnEventThatAnybodyMayReach) { co_await elsewhere<on_event>(); }
LEASH_TEST(LiveTwin, AConditionThatAnybodyMayReach) { co_await elsewhere<on_condition>(); }

}  // namespace leash::test::placed_tests
