#pragma once

// The one place that says which version this is: CMake and the package files read these lines.
#define LEASH_VERSION_MAJOR 0
#define LEASH_VERSION_MINOR 1
#define LEASH_VERSION_PATCH 0

// The build refuses such compilers with the reasons (cmake/LeashCompiler.cmake); this catches those who come without
// it.
#ifndef LEASH_SKIP_COMPILER_CHECK
#if defined(__clang__) && __clang_major__ < 19
#error "leash needs clang 19 or newer: older ones skip destructors when a coroutine is destroyed inside an expression"
#elif !defined(__clang__) && defined(__GNUC__) && __GNUC__ < 13
#error "leash needs GCC 13 or newer (or clang 19): older ones copy temporaries in co_await expressions bit by bit"
#endif
#endif
