#include "fulfil.hpp"

#include "patience.hpp"

namespace orders {

leash::task<> fulfil(const leash::mq::message& m, std::chrono::milliseconds work, store& orders, news& tell,
                     counters& count) {
  co_await leash::sleep(work);  // packing
  switch (co_await patiently("fulfilment", [&] { return orders.fulfil(m.body); })) {
    case fulfilment::done:
      ++count.fulfilled;
      tell.tell(m.body, "fulfilled");
      co_return;
    case fulfilment::repeated:
      ++count.repeated;
      co_return;
    case fulfilment::refused:
      ++count.refused;
      tell.tell(m.body, "refused");
      throw leash::mq::rejected("nobody has any unobtainium");
    case fulfilment::unknown:
      throw leash::mq::rejected("no such order");
  }
}

}  // namespace orders
