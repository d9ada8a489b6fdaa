# How leash itself is built: warnings, sanitizers, ccache. Nothing of this reaches a user's targets.

if(PROJECT_IS_TOP_LEVEL)
  if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
    set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
  endif()
  set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
  set(CMAKE_CXX_EXTENSIONS OFF)
  find_program(LEASH_CCACHE ccache)
  if(LEASH_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
    # The sloppiness is what ccache asks for where precompiled headers are used.
    set(CMAKE_CXX_COMPILER_LAUNCHER
        ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime ${LEASH_CCACHE})
  endif()
endif()

if(LEASH_SANITIZE)
  add_compile_options(-fsanitize=${LEASH_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${LEASH_SANITIZE})
endif()

# Marks a target as ours: warnings, and as errors where LEASH_DEVELOPER says so.
function(leash_own target)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wpedantic)
  if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
    target_compile_options(${target} PRIVATE -Wthread-safety)
    if(target STREQUAL "leash")
      target_compile_options(${target} PRIVATE -Wshadow)
    endif()
  endif()
  if(LEASH_DEVELOPER)
    target_compile_options(${target} PRIVATE -Werror)
  endif()
endfunction()

# A library beside the core: target leash_<name>, used as leash::<name>, of src/<name>/*.cpp and `ARGN`, with the public headers
# leash/<name>.hpp and leash/<name>/*.hpp.
function(leash_library name)
  set(target leash_${name})
  file(GLOB headers CONFIGURE_DEPENDS include/leash/${name}.hpp include/leash/${name}/*.hpp)
  file(GLOB sources CONFIGURE_DEPENDS src/${name}/*.cpp)
  add_library(${target} ${sources} ${ARGN})
  add_library(leash::${name} ALIAS ${target})
  set_target_properties(${target} PROPERTIES EXPORT_NAME ${name} VERSION ${PROJECT_VERSION}
                        SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})
  target_sources(${target} PUBLIC FILE_SET HEADERS BASE_DIRS include FILES ${headers})
  target_include_directories(${target} PRIVATE src)
  target_link_libraries(${target} PUBLIC leash)
  leash_own(${target})
endfunction()
