// Static files.
#pragma once
#include <chrono>
#include <filesystem>
#include <leash/http/router.hpp>
#include <string>

namespace leash::http {

struct file_options {
  std::string index = "index.html";  // what a directory gives; empty: 404
  bool hidden = false;               // true: names that begin with a dot are served too
  std::chrono::seconds max_age{0};   // Cache-Control, if more than 0
};

/// A handler for the files below `root`: `router.get("/static/{path...}", http::files("/srv/www"))`. The route's last parameter
/// is called "path".
///
/// GET and HEAD, one range, If-None-Match, If-Modified-Since, If-Range; ETag from time and size. Nothing outside of `root` is
/// reached, by "..", an absolute path or a symbolic link: the kernel resolves below it (openat2), or each part is opened
/// without following links.
/// Suspends: the file is looked at and read on the blocking pool, large ones piece by piece. Wait reason: `blocking`.
/// Errors: std::system_error, now, if `root` is no directory that can be opened.
handler files(const std::filesystem::path& root, file_options = {});

/// "text/html; charset=utf-8" for "index.html", by the name's end; "application/octet-stream" if it says nothing.
std::string_view type_of_file(std::string_view name) noexcept;

}  // namespace leash::http
