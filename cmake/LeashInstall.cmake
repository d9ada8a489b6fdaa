# Library, headers, CMake package and pkg-config file; the prefix may be moved afterwards.
include(CMakePackageConfigHelpers)

set(package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/leash")
install(TARGETS leash EXPORT leash FILE_SET HEADERS)
if(LEASH_HAS_DEBUG)
  install(TARGETS leash_debug EXPORT leash FILE_SET HEADERS)
endif()
if(LEASH_HAS_NET)
  install(TARGETS leash_net EXPORT leash FILE_SET HEADERS)
endif()
install(EXPORT leash FILE leash-targets.cmake NAMESPACE leash:: DESTINATION "${package_dir}")
configure_package_config_file(cmake/leash-config.cmake.in leash-config.cmake INSTALL_DESTINATION "${package_dir}")
write_basic_package_version_file(leash-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/leash-config.cmake" "${CMAKE_CURRENT_BINARY_DIR}/leash-config-version.cmake"
              cmake/LeashCompiler.cmake cmake/coroutine_check.cpp
        DESTINATION "${package_dir}")

foreach(kind IN ITEMS LIBDIR INCLUDEDIR)
  if(IS_ABSOLUTE "${CMAKE_INSTALL_${kind}}")
    set(pc_${kind} "${CMAKE_INSTALL_${kind}}")
  else()
    set(pc_${kind} "\${prefix}/${CMAKE_INSTALL_${kind}}")
  endif()
endforeach()
file(RELATIVE_PATH pc_prefix "${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig" "${CMAKE_INSTALL_PREFIX}")
configure_file(cmake/leash.pc.in leash.pc @ONLY)
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/leash.pc" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
