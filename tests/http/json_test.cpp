// JSON in and out of handlers.
#if __has_include(<nlohmann/json.hpp>)
#include <leash/http/json.hpp>

#include "http.hpp"

namespace leash::test::http_tests {

struct order {
  std::string what;
  int pieces = 0;
};
static void from_json(const nlohmann::json& j, order& o) {
  j.at("what").get_to(o.what);
  j.at("pieces").get_to(o.pieces);
}
static void to_json(nlohmann::json& j, const order& o) { j = {{"what", o.what}, {"pieces", o.pieces}}; }

LEASH_TEST_REAL(Json, TypedHandlersTakeAndGiveValues) {
  http::router r;
  r.add("POST", "/double", http::typed<order>([](order o) -> task<order> {
          o.pieces *= 2;
          co_return o;
        }));
  r.add("PUT", "/orders/{id}", http::typed<order>([](order o, http::request& q) {
          return http::json(order{q.param("id") + " " + o.what, o.pieces}, 201);
        }));
  co_await serving(std::move(r), {}, [](std::uint16_t port) {
    raw c(port);
    std::string const type = "Content-Type: application/json; charset=utf-8\r\n";
    auto const a = c.ask(post("/double", R"({"what": "apples", "pieces": 3})", type));
    EXPECT_EQ(a.status, 200);
    EXPECT_EQ(a.field("Content-Type"), "application/json");
    EXPECT_EQ(a.body, R"({"pieces":6,"what":"apples"})");
    std::string put = post("/orders/7", R"({"what": "pears", "pieces": 1})", type);
    put.replace(0, 4, "PUT");
    auto const b = c.ask(put);
    EXPECT_EQ(b.status, 201);
    EXPECT_EQ(b.body, R"({"pieces":1,"what":"7 pears"})");
    EXPECT_EQ(c.ask(post("/double", "{}", type)).status, 400) << "no order";
    EXPECT_EQ(c.ask(post("/double", "{", type)).status, 400) << "no JSON";
    EXPECT_EQ(c.ask(post("/double", "{}", "Content-Type: text/plain\r\n")).status, 415);
    EXPECT_EQ(c.ask(post("/double", "{}")).status, 415);
  });
}

}  // namespace leash::test::http_tests
#endif
