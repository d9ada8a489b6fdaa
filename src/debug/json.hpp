// JSON, written in one go: what is opened must be closed, commas come by themselves.
#pragma once
#include <cstdint>
#include <cstdio>
#include <source_location>
#include <string>
#include <string_view>

#include "observe/text.hpp"

namespace leash::debug {

class json {
 public:
  explicit json(std::string& out) : out_(out) {}
  json& object() { return open('{'); }
  json& array() { return open('['); }
  json& end_object() { return close('}'); }
  json& end_array() { return close(']'); }
  json& key(std::string_view k) {
    comma();
    append_json(out_, k);
    out_ += ':';
    after_key_ = true;
    return *this;
  }
  json& text(std::string_view v) {
    comma();
    append_json(out_, v);
    return *this;
  }
  json& number(std::uint64_t v) {
    comma();
    out_ += std::to_string(v);
    return *this;
  }
  json& real(double v) {
    comma();
    char text[40];
    std::snprintf(text, sizeof text, "%.6g", v);
    out_ += text;
    return *this;
  }
  json& boolean(bool v) {
    comma();
    out_ += v ? "true" : "false";
    return *this;
  }
  json& null() {
    comma();
    out_ += "null";
    return *this;
  }
  /// {"function", "file", "line"}
  json& place(std::source_location l) {
    object();
    key("function").text(plain_function(l.function_name()));
    key("file").text(l.file_name());
    key("line").number(l.line());
    return end_object();
  }

 private:
  json& open(char c) {
    comma();
    out_ += c;
    fresh_ = true;
    return *this;
  }
  json& close(char c) {
    out_ += c;
    fresh_ = after_key_ = false;
    return *this;
  }
  void comma() {
    if (!fresh_ && !after_key_) out_ += ',';
    fresh_ = after_key_ = false;
  }
  std::string& out_;
  bool fresh_ = true, after_key_ = false;
};

}  // namespace leash::debug
