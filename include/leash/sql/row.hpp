// row, result: what a statement gives.
#pragma once
#include <cstddef>
#include <leash/sql/value.hpp>
#include <memory>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

namespace leash::sql {

/// The columns' names, shared by all rows of a result.
struct columns {
  std::vector<std::string> names;
  std::shared_ptr<const std::string> statement;
  /// The first of that name. Errors: error (misuse), which lists those there are.
  std::size_t find(std::string_view name) const;
};

/// One row: a value that owns what it holds.
class row {
 public:
  row() noexcept {}
  row(std::shared_ptr<const columns> c, std::vector<value> cells) noexcept
      : columns_(std::move(c)), cells_(std::move(cells)) {}

  std::size_t size() const noexcept { return cells_.size(); }
  /// Errors: error (misuse) where there is no such column.
  const value& at(std::size_t column) const;
  const value& at(std::string_view column) const { return cells_[columns_->find(column)]; }
  const value& operator[](std::size_t column) const { return at(column); }
  const value& operator[](std::string_view column) const { return at(column); }
  const std::string& name(std::size_t column) const { return columns_->names.at(column); }

  /// One column as a T, by its place or its name; see value::as. Errors: error (misuse) with the column's name, what it
  /// holds, and the statement.
  template <class T>
  T get(std::size_t column) const {
    return convert<T>(at(column), column);
  }
  template <class T>
  T get(std::string_view column) const {
    std::size_t const i = columns_->find(column);
    return convert<T>(cells_[i], i);
  }
  /// All of them: `auto [id, name] = r.as<int, std::string>();`. Errors: as get; another number of columns.
  template <class... T>
  std::tuple<T...> as() const {
    if (sizeof...(T) != size()) wrong_size(sizeof...(T));
    return [this]<std::size_t... I>(std::index_sequence<I...>) {
      return std::tuple<T...>{this->template get<T>(I)...};
    }(std::index_sequence_for<T...>{});
  }

 private:
  template <class T>
  T convert(const value& v, std::size_t column) const {
    try {
      return v.as<T>();
    } catch (const error& e) {
      rethrow(e, column);
    }
  }
  [[noreturn]] void rethrow(const error&, std::size_t column) const;
  [[noreturn]] void wrong_size(std::size_t asked) const;

  std::shared_ptr<const columns> columns_;
  std::vector<value> cells_;
};

/// All rows of a statement: a range of row.
class result {
 public:
  auto begin() const noexcept { return rows_.begin(); }
  auto end() const noexcept { return rows_.end(); }
  std::size_t size() const noexcept { return rows_.size(); }
  bool empty() const noexcept { return rows_.empty(); }
  const row& operator[](std::size_t i) const { return rows_.at(i); }
  /// The only row. Errors: error (misuse) if there are none, or more.
  const row& one() const;
  /// The rows that the statement inserted, updated or deleted.
  std::int64_t affected() const noexcept { return affected_; }

  /// For the library.
  std::shared_ptr<const columns> names;
  std::vector<row> rows_;
  std::int64_t affected_ = 0;
  bool complete = true;  // false: the statement has more rows to give
};

}  // namespace leash::sql
