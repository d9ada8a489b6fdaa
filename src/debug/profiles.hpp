// Profiles of goroutines in the forms of Go's net/http/pprof.
#pragma once
#include <memory>

#include "gather.hpp"
#include "leaked.hpp"
#include "reply.hpp"

namespace leash::debug {

enum class profile_kind : std::uint8_t { goroutine, goroutineleak };

/// debug=0: gzipped profile.proto.
std::unique_ptr<source> protobuf_profile(profile_kind, leaked_ptr);
/// debug=1: counted stacks.
std::unique_ptr<source> counts_profile(profile_kind, leaked_ptr);
/// debug=2: every goroutine.
std::unique_ptr<source> dump_profile(leaked_ptr);

/// Fills a gathering with what the profile is about. False: done.
class profile_gathering {
 public:
  profile_gathering(profile_kind k, leaked_ptr l, gathering::detail d) : all(d), kind_(k), leaked_(std::move(l)) {}
  bool step() {
    if (kind_ == profile_kind::goroutine) return all.step();
    for (std::size_t end = std::min(next_ + 8192, leaked_->all.size()); next_ < end; ++next_)
      all.look(leaked_->all[next_].g, leaked_->all[next_].word);
    return next_ < leaked_->all.size();
  }
  gathering all;

 private:
  profile_kind kind_;
  leaked_ptr leaked_;
  std::size_t next_ = 0;
};

inline std::string site_of(std::source_location l) {
  return std::string(l.file_name()) + ":" + std::to_string(l.line());
}

}  // namespace leash::debug
