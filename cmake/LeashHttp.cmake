# leash::http: an HTTP server and client on leash::net, with Beast's parser (headers only) and zlib. Its public headers need none
# of these but http/json.hpp, which needs nlohmann-json.
set(LEASH_HAS_HTTP OFF)
if(LEASH_BUILD_HTTP)
  find_package(ZLIB QUIET)
  if(LEASH_HAS_NET AND ZLIB_FOUND)
    set(LEASH_HAS_HTTP ON)
  else()
    message(STATUS "Left out: leash::http (needs leash::net; Debian: zlib1g-dev)")
  endif()
else()
  message(STATUS "Left out: leash::http (LEASH_BUILD_HTTP is off)")
endif()

if(LEASH_HAS_HTTP)
  leash_library(http)
  target_link_libraries(leash_http PUBLIC leash_net PRIVATE ZLIB::ZLIB)
endif()
