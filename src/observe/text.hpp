// Texts of the program as other formats want them.
#pragma once
#include <string>
#include <string_view>

namespace leash {

/// Appends `s` as a JSON string. Bytes that are no UTF-8 become U+FFFD.
void append_json(std::string& out, std::string_view s);
/// The same text with U+FFFD for bytes that are no UTF-8.
std::string valid_utf8(std::string_view s);
/// What the program calls something, in one line of a terminal: control characters as \n, \x1b, \u0085, and bytes that are
/// no UTF-8 as \xff. Of what is longer than 200 characters the beginning.
std::string one_line(std::string_view s);
/// A function without result and parameters: "relay" of "task<> relay(receiver<int>)", "talk::lambda" of
/// "auto talk()::(anonymous class)::operator()(scope &) const". What it does not understand stays as it is.
std::string plain_function(std::string_view pretty);

}  // namespace leash
