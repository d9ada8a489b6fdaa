// Linked into the consumer where the package has leash::sql: it is found with all that it needs.
#include <leash/sql.hpp>

bool has_a_database() {
  return leash::sql::has(leash::sql::backend::sqlite) || leash::sql::has(leash::sql::backend::postgres);
}
