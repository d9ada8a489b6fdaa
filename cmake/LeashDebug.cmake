# leash::debug: the debug endpoints. Boost (headers only), protozero (headers only) and zlib; what uses the library needs
# none of their headers.
set(LEASH_HAS_DEBUG OFF)
if(LEASH_BUILD_DEBUG)
  find_path(LEASH_BOOST_INCLUDE boost/beast/http.hpp)
  find_path(LEASH_PROTOZERO_INCLUDE protozero/pbf_writer.hpp)
  find_package(ZLIB QUIET)
  if(LEASH_BOOST_INCLUDE AND LEASH_PROTOZERO_INCLUDE AND ZLIB_FOUND)
    set(LEASH_HAS_DEBUG ON)
  else()
    message(STATUS "Left out: leash::debug, the debug endpoints (Debian: libboost1.81-dev libprotozero-dev zlib1g-dev)")
  endif()
else()
  message(STATUS "Left out: leash::debug, the debug endpoints (LEASH_BUILD_DEBUG is off)")
endif()

if(LEASH_HAS_DEBUG)
  set(page "${CMAKE_CURRENT_BINARY_DIR}/debug_page.cpp")
  set(page_folder "${PROJECT_SOURCE_DIR}/src/debug/page")
  file(GLOB page_parts CONFIGURE_DEPENDS "${page_folder}/*")
  add_custom_command(OUTPUT "${page}"
                     COMMAND ${CMAKE_COMMAND} -DFOLDER=${page_folder} -DOUT=${page}
                             -P "${PROJECT_SOURCE_DIR}/cmake/EmbedText.cmake"
                     DEPENDS ${page_parts} "${PROJECT_SOURCE_DIR}/cmake/EmbedText.cmake"
                     VERBATIM)
  leash_library(debug "${page}")
  target_include_directories(leash_debug SYSTEM PRIVATE ${LEASH_BOOST_INCLUDE} ${LEASH_PROTOZERO_INCLUDE})
  target_link_libraries(leash_debug PRIVATE ZLIB::ZLIB)
endif()
