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

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE RelWithDebInfo CACHE STRING "Build type" FORCE)
endif()

add_compile_definitions(_GNU_SOURCE _FILE_OFFSET_BITS=64)
add_compile_options(-Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith
                    -Wwrite-strings -Wvla -fno-strict-aliasing -fno-omit-frame-pointer)
if(CJMQ_WERROR)
  add_compile_options(-Werror)
endif()
if(CJMQ_SANITIZE)
  add_compile_options(-fsanitize=${CJMQ_SANITIZE} -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${CJMQ_SANITIZE})
endif()
if(CJMQ_FUZZ)
  # Coverage for every library; each fuzz target adds the fuzzer's own main.
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()
