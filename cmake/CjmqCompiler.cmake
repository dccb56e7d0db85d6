# Language level, warnings and sanitizers. Presets set the options; see CMakePresets.json.
option(CJMQ_WERROR "Treat compiler warnings as errors" OFF)
option(CJMQ_TESTS "Build the tests" ON)
set(CJMQ_SANITIZE "" CACHE STRING "Sanitizers for everything, e.g. address,undefined or thread")
option(CJMQ_FUZZ "Build the libFuzzer targets (needs clang)" OFF)

set(CMAKE_C_STANDARD 17)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(THREADS_PREFER_PTHREAD_FLAG ON)

find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM AND NOT CMAKE_C_COMPILER_LAUNCHER)
  set(CMAKE_C_COMPILER_LAUNCHER ${CCACHE_PROGRAM})
endif()

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE RelWithDebInfo CACHE STRING "Build type" FORCE)
endif()

add_compile_definitions(_GNU_SOURCE _FILE_OFFSET_BITS=64)
add_compile_options(-Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith
                    -Wwrite-strings -Wvla -fno-strict-aliasing -fno-omit-frame-pointer)
if(NOT CJMQ_SANITIZE)
  # What a peer sends must not become more than a crash.
  add_compile_options(-fstack-protector-strong $<$<CONFIG:Release,RelWithDebInfo>:-D_FORTIFY_SOURCE=2>)
  add_link_options(-Wl,-z,relro,-z,now)
endif()
if(CJMQ_WERROR)
  add_compile_options(-Werror)
endif()
if(CJMQ_SANITIZE)
  add_compile_options(-fsanitize=${CJMQ_SANITIZE} -fno-sanitize-recover=all)
  if(CJMQ_SANITIZE MATCHES "undefined" AND CMAKE_C_COMPILER_ID MATCHES "Clang")
    # clang counts NULL + 0, the end of an empty slice, as an overflow; C2y allows it and gcc's check does not mind.
    add_compile_options(-fno-sanitize=pointer-overflow)
  endif()
  add_link_options(-fsanitize=${CJMQ_SANITIZE})
endif()
if(CJMQ_FUZZ)
  # Coverage for every library; each fuzz target adds the fuzzer's own main.
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()
