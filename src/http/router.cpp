// A tree over the segments of the patterns. A request's path is walked with back-tracking: a literal that leads nowhere does
// not hide the parameter beside it.
#include <leash/http/router.hpp>
#include <map>

#include "access.hpp"

namespace leash::http {

struct router::node {
  std::map<std::string, std::unique_ptr<node>, std::less<>> literal;
  std::unique_ptr<node> parameter;
  std::unique_ptr<node> rest;  // its name is the pattern's last
  // What ends here: by method; "*" for any.
  struct ending {
    std::string method_name;
    std::shared_ptr<route> to;
    std::vector<std::string> names;  // of the parameters, in order
  };
  std::vector<ending> endings;

  const ending* answer(std::string_view method_name) const {
    const ending* any = nullptr;
    for (const ending& e : endings) {
      if (e.method_name == method_name) return &e;
      if (e.method_name == "*") any = &e;
    }
    return any;
  }
};

router::router() : root_(std::make_unique<node>()) {}
router::router(router&&) noexcept = default;
router& router::operator=(router&&) noexcept = default;
router::~router() = default;

router& router::add(std::string_view methods, std::string_view pattern, handler call, route_options options) {
  auto const refuse = [&](const char* why) {
    return std::invalid_argument("http: '" + std::string(pattern) + "' is no pattern of a route: " + why);
  };
  if (!call) throw std::invalid_argument("http: a route without a handler");
  if (!pattern.starts_with('/')) throw refuse("it does not begin with '/'");
  for (std::size_t i = wraps_.size(); i-- > 0;) {
    call = [wrap = wraps_[i], inner = std::move(call)](request& r) { return (*wrap)(r, inner); };
  }
  auto to = std::make_shared<route>(route{std::string(pattern), std::move(call), options});
  node* at = root_.get();
  std::vector<std::string> names;
  std::string_view left = pattern.substr(1);
  for (bool more = true; more;) {
    std::size_t const slash = left.find('/');
    more = slash != left.npos;
    std::string_view const segment = left.substr(0, slash);
    left.remove_prefix(more ? slash + 1 : left.size());
    if (segment.starts_with('{') && segment.ends_with('}')) {
      std::string_view name = segment.substr(1, segment.size() - 2);
      bool const all = name.ends_with("...");
      if (all) name.remove_suffix(3);
      if (name.empty()) throw refuse("a parameter without a name");
      if (all && more) throw refuse("something follows '...}'");
      for (const std::string& n : names)
        if (n == name) throw refuse("two parameters of one name");
      names.emplace_back(name);
      auto& next = all ? at->rest : at->parameter;
      if (!next) next = std::make_unique<node>();
      at = next.get();
    } else {
      if (segment.find_first_of("{}") != segment.npos) throw refuse("a brace within a segment");
      auto& next = at->literal[std::string(segment)];
      if (!next) next = std::make_unique<node>();
      at = next.get();
    }
  }
  bool any = false;
  while (!methods.empty()) {
    std::size_t const blank = std::min(methods.find(' '), methods.size());
    std::string_view const name = methods.substr(0, blank);
    methods.remove_prefix(std::min(blank + 1, methods.size()));
    if (name.empty()) continue;
    for (const node::ending& e : at->endings)
      if (e.method_name == name)
        throw std::logic_error("http: two routes for " + std::string(name) + " " + std::string(pattern));
    at->endings.push_back({std::string(name), to, names});
    any = true;
  }
  if (!any) throw std::invalid_argument("http: a route without a method");
  return *this;
}

router& router::wrap(std::function<task<response>(request&, const handler&)> f) {
  wraps_.push_back(std::make_shared<std::function<task<response>(request&, const handler&)>>(std::move(f)));
  return *this;
}

router::match router::find(request& r) const {
  match m;
  r.params_.clear();
  std::string_view const name = r.method_name();
  if (r.target() == "*") {
    if (name == "OPTIONS") m.status = 204;
    return m;
  }
  std::string_view path = r.path();
  if (!path.starts_with('/')) return m;
  path.remove_prefix(1);

  const node* seen = nullptr;  // a path that fits, if not with this method
  bool undecodable = false;
  struct walk {
    const router::node*& seen;
    bool& undecodable;
    std::string_view name;
    std::vector<std::string> values;
    const node::ending* end_at(const node& n) {
      if (n.endings.empty()) return nullptr;
      const node::ending* e = n.answer(name);
      if (e == nullptr && name == "HEAD") e = n.answer("GET");
      if (e == nullptr && seen == nullptr) seen = &n;
      return e;
    }
    // `left`: what follows the "/" that led here.
    const node::ending* down(const node& n, std::string_view left) {
      std::size_t const slash = left.find('/');
      bool const more = slash != left.npos;
      std::string_view const raw = left.substr(0, slash);
      std::string decoded;
      std::string_view segment = raw;
      if (raw.find('%') != raw.npos) {
        auto d = percent_decoded(raw);
        if (!d) {
          undecodable = true;
          return nullptr;
        }
        decoded = std::move(*d);
        segment = decoded;
      }
      auto const onwards = [&](const node& next) -> const node::ending* {
        return more ? down(next, left.substr(slash + 1)) : end_at(next);
      };
      if (auto it = n.literal.find(segment); it != n.literal.end())
        if (const node::ending* e = onwards(*it->second)) return e;
      if (n.parameter && !segment.empty()) {
        values.emplace_back(segment);
        if (const node::ending* e = onwards(*n.parameter)) return e;
        values.pop_back();
      }
      if (n.rest) {
        auto d = percent_decoded(left);
        if (!d) {
          undecodable = true;
          return nullptr;
        }
        values.push_back(std::move(*d));
        if (const node::ending* e = end_at(*n.rest)) return e;
        values.pop_back();
      }
      return nullptr;
    }
  } walking{seen, undecodable, name, {}};
  if (const node::ending* e = walking.down(*root_, path)) {
    for (std::size_t i = 0; i < e->names.size(); ++i) r.params_.emplace_back(e->names[i], std::move(walking.values[i]));
    r.route_ = e->to->pattern;
    m.found = e->to.get();
    m.status = 200;
    return m;
  }
  if (seen != nullptr) {
    bool get = false, head = false, options = false;
    for (const node::ending& e : seen->endings) {
      m.allow += (m.allow.empty() ? "" : ", ") + e.method_name;
      get |= e.method_name == "GET";
      head |= e.method_name == "HEAD";
      options |= e.method_name == "OPTIONS";
    }
    if (get && !head) m.allow += ", HEAD";
    if (!options) m.allow += ", OPTIONS";
    m.status = name == "OPTIONS" ? 204 : 405;
  } else if (undecodable) {
    m.status = 400;
  }
  return m;
}

void request_access::set_line(request& r, std::string_view line, std::string_view method_name, std::string_view target,
                              int version) {
  r.head_.assign(line);
  r.method_bytes_ = static_cast<std::uint32_t>(method_name.size());
  r.target_bytes_ = static_cast<std::uint32_t>(target.size());
  r.method_ = method_of(method_name);
  r.version_ = version;
  r.params_.clear();
  r.route_ = {};
  std::size_t at = 0;
  if (!target.starts_with('/') && target != "*" && r.method_ != method::connect) {
    std::size_t const scheme = target.find("://");
    at = scheme == target.npos ? target.size() : target.find('/', scheme + 3);
    if (at == target.npos) at = target.size();
  } else if (r.method_ == method::connect) {
    at = target.size();
  }
  std::size_t const end = std::min(target.find_first_of("?#", at), target.size());
  r.path_at_ = static_cast<std::uint32_t>(at);
  r.path_bytes_ = static_cast<std::uint32_t>(end - at);
}

}  // namespace leash::http
