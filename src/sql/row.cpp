#include <leash/sql/row.hpp>

namespace leash::sql {

[[noreturn]] static void misuse(const columns* c, std::string_view message) {
  throw error(error_kind::misuse, message, {}, 0,
              c != nullptr && c->statement != nullptr ? std::string_view(*c->statement) : std::string_view());
}

std::size_t columns::find(std::string_view name) const {
  for (std::size_t i = 0; i < names.size(); ++i)
    if (names[i] == name) return i;
  std::string text("no column '");
  text.append(name).append("'; there are: ");
  for (std::size_t i = 0; i < names.size(); ++i) text.append(i == 0 ? "" : ", ").append(names[i]);
  misuse(this, text);
}

const value& row::at(std::size_t column) const {
  if (column >= cells_.size())
    misuse(columns_.get(),
           "no column " + std::to_string(column) + " (from 0): a row has " + std::to_string(cells_.size()));
  return cells_[column];
}

void row::rethrow(const error& e, std::size_t column) const {
  misuse(columns_.get(), "column " + std::to_string(column) + " ('" + name(column) + "'): " + e.message());
}

void row::wrong_size(std::size_t asked) const {
  misuse(columns_.get(),
         "a row has " + std::to_string(size()) + " columns, asked for as " + std::to_string(asked) + " values");
}

const row& result::one() const {
  if (size() != 1) misuse(names.get(), "one row was asked for, and there are " + std::to_string(size()));
  return rows_.front();
}

}  // namespace leash::sql
