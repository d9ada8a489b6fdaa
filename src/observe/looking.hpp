#pragma once
#include <iosfwd>
#include <leash/looking.hpp>
#include <leash/worker.hpp>
#include <string_view>

namespace leash {

/// Fills info; false: the slot holds no goroutine (of that runtime).
bool look_at(const goroutine_core* g, const runtime* only, goroutine_info& info);
/// True for the library's own headers, however the compiler was led to them: <...>leash/<name>.hpp.
bool is_library_file(std::string_view) noexcept;
/// Of a wait, from a minute on: ", 5 minutes", as Go tells it.
std::string age_of_wait(const goroutine_info&);
/// One goroutine in the form of Go's debug=2; `mark` stands behind the wait, as in "[chan send (leaked)]".
void write_goroutine(std::ostream&, const goroutine_info&, std::string_view mark, std::string_view indent);

}  // namespace leash
