// Plans as pseudo code.
#include "plan.hpp"

#include <ostream>
#include <sstream>

namespace leash::test::fuzz {

std::size_t plan::closing(const code& c, std::size_t open) {
  int depth = 0;
  for (std::size_t i = open; i < c.steps.size(); ++i) {
    op const o = c.steps[i].what;
    if (opens(o)) ++depth;
    if (closes(o) && --depth == 0) return i;
  }
  return c.steps.size();
}

int plan::steps() const {
  int n = 0;
  for (const code& c : goroutines)
    if (c.used) n += static_cast<int>(c.steps.size());
  return n;
}

const char* name_of(wait_kind k) {
  static constexpr const char* names[] = {"recv",    "send",    "lock",      "lock_write", "lock_read",
                                          "acquire", "group",   "event",     "sleep",      "done",
                                          "join",    "members", "condition", "once",       "start"};
  return names[static_cast<std::size_t>(k)];
}

std::string text(thing t) {
  std::string const n = std::to_string(object_of(t));
  switch (kind_of(t)) {
    case kind::none:
      return "-";
    case kind::tx:
      return "tx" + n;
    case kind::rx:
      return "rx" + n;
    case kind::guard:
      return "guard(m" + n + ")";
    case kind::write_guard:
      return "guard(rw" + n + ")";
    case kind::read_guard:
      return "shared_guard(rw" + n + ")";
    case kind::permit:
      return "permit(sem" + n + "," + std::to_string(count_of(t)) + ")";
    case kind::token:
      return "token(wg" + n + ")";
    case kind::source:
      return "source" + n;
    case kind::box:
      return "box" + n;
    case kind::weak_box:
      return "weak(box" + n + ")";
  }
  return "?";
}

namespace {

std::string s(int slot) { return "s" + std::to_string(slot); }

std::string bell(int a) { return a == bell_of_frame ? "frame" : a == bell_outside ? "outside" : s(a); }
std::string moved(unsigned mask) {
  std::string all;
  for (int i = 0; i < slots; ++i)
    if (mask >> i & 1) all += (all.empty() ? "move(" : ", move(") + s(i) + ")";
  return all;
}

std::string text(const wait_case& c) {
  std::string const a = std::to_string(c.a);
  switch (c.what) {
    case wait_kind::recv:
      return s(c.b) + " = " + s(c.a) + ".recv()";
    case wait_kind::send:
      return s(c.a) + ".send(move(" + s(c.b) + "))";
    case wait_kind::lock:
      return s(c.b) + " = m" + a + ".lock()";
    case wait_kind::lock_write:
      return s(c.b) + " = rw" + a + ".lock()";
    case wait_kind::lock_read:
      return s(c.b) + " = rw" + a + ".lock_shared()";
    case wait_kind::acquire:
      return s(c.b) + " = sem" + a + ".acquire(" + std::to_string(c.n) + ")";
    case wait_kind::group:
      return "wg" + a + ".wait()";
    case wait_kind::event:
      return bell(c.a) + "->event.wait()";
    case wait_kind::sleep:
      return "sleep(2^" + std::to_string(c.n) + ")";
    case wait_kind::done:
      return "this_context().done()";
    case wait_kind::join:
      return "g" + a + ".join()";
    case wait_kind::members:
      return "join members";
    case wait_kind::condition:
      return bell(c.a) + "->condition.wait(" + s(c.b) + (c.n == 0 ? ", notified)" : ", take flag)");
    case wait_kind::once:
      return "once" + a + ".call {";
    case wait_kind::start:
      return "start g" + a + "(" + moved(c.n) + ")";
  }
  return "?";
}

void write(std::ostream& out, const step& t) {
  std::string const a = std::to_string(t.a);
  switch (t.what) {
    case op::wait:
    case op::once_open:
      out << "co_await " << (t.select ? "select(" : "");
      for (int i = 0; i < t.count; ++i) out << (i ? ", " : "") << text(t.cases[i]);
      out << (t.select ? ")" : "");
      break;
    case op::try_send:
      out << s(t.a) << ".try_send(move(" << s(t.b) << "))";
      break;
    case op::try_recv:
      out << s(t.b) << " = " << s(t.a) << ".try_recv()";
      break;
    case op::close:
      out << s(t.a) << ".close()";
      break;
    case op::drop:
      out << s(t.a) << " = {}";
      break;
    case op::dup:
      out << s(t.b) << " = " << s(t.a) << ".dup()";
      break;
    case op::put_in:
      out << s(t.a) << "->in[" << int(t.n) << "] = move(" << s(t.b) << ")";
      break;
    case op::take_out:
      out << s(t.b) << " = move(" << s(t.a) << "->in[" << int(t.n) << "])";
      break;
    case op::weaken:
      out << s(t.b) << " = weak(" << s(t.a) << ")";
      break;
    case op::lift:
      out << s(t.b) << " = " << s(t.a) << ".lock()";
      break;
    case op::add:
      out << s(t.b) << " = wg" << a << ".add()";
      break;
    case op::set:
      out << bell(t.a) << "->event.set()";
      break;
    case op::notify:
      if (t.n != 0) out << bell(t.a) << "->flag = true; ";
      out << bell(t.a) << "->condition.notify_" << (t.b != 0 ? "all()" : "one()");
      break;
    case op::yield:
      out << "co_await yield()";
      break;
    case op::cancel:
      out << s(t.a) << ".cancel()";
      break;
    case op::scope_open:
      out << "with_scope";
      if (t.n != 0) out << "(max_children " << int(t.n) << ")";
      out << " {";
      break;
    case op::spawn:
      out << "go g" << a << "(" << moved(t.n) << ")";
      break;
    case op::lend:
      out << "go g" << a << "(ref(all slots))";
      break;
    case op::cancel_open:
      if (t.n != 0)
        out << "with_timeout(2^" << t.n - 1 << ") {";
      else
        out << "with_cancel(" << s(t.a) << ") {";
      break;
    case op::scope_close:
    case op::cancel_close:
    case op::once_close:
      out << "}";
      break;
  }
}

}  // namespace

std::ostream& operator<<(std::ostream& out, const plan& p) {
  out << "plan of seed " << p.seed << ":";
  for (int c = 0; c < p.channels; ++c) {
    out << " channel" << c << "(";
    p.capacity[c] == unbounded_capacity ? out << "unbounded" : out << int(p.capacity[c]);
    out << ")";
  }
  out << "\n";
  for (int g = 0; g < max_goroutines; ++g) {
    const code& c = p.goroutines[g];
    if (!c.used) continue;
    out << "  g" << g << (c.parent == nobody ? " at the start, with" : " when spawned");
    if (c.parent == nobody)
      for (int i = 0; i < slots; ++i)
        if (c.slot[i] != 0) out << " " << s(i) << "=" << text(c.slot[i]);
    out << "\n";
    int depth = 2;
    for (const step& t : c.steps) {
      if (closes(t.what)) --depth;
      out << std::string(static_cast<std::size_t>(2 * depth), ' ');
      write(out, t);
      out << "\n";
      if (opens(t.what)) ++depth;
    }
  }
  return out;
}

}  // namespace leash::test::fuzz
