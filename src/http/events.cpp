#include <leash/http/events.hpp>
#include <leash/select.hpp>
#include <leash/sleep.hpp>

namespace leash::http {

std::string text_of(const server_event& e) {
  std::string out;
  auto const line = [&](std::string_view field, std::string_view value) {
    out.append(field);
    for (char c : value)
      if (c != '\r' && c != '\n' && c != '\0') out.push_back(c);
    out.push_back('\n');
  };
  if (!e.name.empty()) line("event: ", e.name);
  if (!e.id.empty()) line("id: ", e.id);
  if (e.retry) line("retry: ", std::to_string(e.retry->count()));
  std::string_view left = e.data;
  for (bool more = true; more;) {
    std::size_t const end = left.find_first_of("\r\n");
    more = end != left.npos;
    out.append("data: ").append(left.substr(0, end)).push_back('\n');
    if (more) left.remove_prefix(left.substr(end).starts_with("\r\n") ? end + 2 : end + 1);
  }
  out.push_back('\n');
  return out;
}

response events(receiver<server_event> from, nanoseconds beat) {
  return events([from = std::move(from), beat](event_writer& to) mutable -> task<> {
    for (;;) {
      auto won = co_await select(from.recv(), sleep(beat));
      if (won.index() == 1) {
        co_await to.beat();
      } else if (auto& e = std::get<0>(won)) {
        co_await to.send(*e);
      } else {
        co_return;
      }
    }
  });
}

}  // namespace leash::http
