#include "driver.hpp"

namespace leash::sql {

std::string_view name_of(backend b) noexcept { return b == backend::sqlite ? "SQLite" : "PostgreSQL"; }

bool has(backend b) noexcept {
#if LEASH_SQL_SQLITE
  if (b == backend::sqlite) return true;
#endif
#if LEASH_SQL_POSTGRES
  if (b == backend::postgres) return true;
#endif
  (void)b;
  return false;
}

target parse_address(std::string_view a) {
  target t;
  constexpr std::string_view sqlite = "sqlite:";
  if (a.starts_with(sqlite)) {
    a.remove_prefix(sqlite.size());
    t.in_memory = a == ":memory:";
    t.where = a;
    if (t.where.empty()) throw error(error_kind::misuse, "a pool's address names no file: sqlite:PATH");
    return t;
  }
  bool const is_url = a.starts_with("postgresql://") || a.starts_with("postgres://");
  if (!is_url && a.find('=') == a.npos)
    throw error(error_kind::misuse,
                "a pool's address is sqlite:PATH, postgresql://... or what libpq takes, not '" + std::string(a) + "'");
  t.backend = backend::postgres;
  t.where = a;
#if LEASH_SQL_POSTGRES
  check_postgres_address(t.where);
#endif
  return t;
}

task<std::unique_ptr<driver>> open_driver(const target& t, const pool_options& o) {
#if LEASH_SQL_SQLITE
  if (t.backend == backend::sqlite) return open_sqlite(t, o);
#endif
#if LEASH_SQL_POSTGRES
  if (t.backend == backend::postgres) return open_postgres(t, o);
#endif
  (void)o;
  throw error(error_kind::misuse, "this build of leash::sql is without " + std::string(name_of(t.backend)));
}

task<> driver::listen_to(const std::vector<std::string>&) {
  throw error(error_kind::misuse, "this database has no notifications of its own");
}
task<notification> driver::next_notification() {
  throw error(error_kind::misuse, "this database has no notifications of its own");
}

}  // namespace leash::sql
