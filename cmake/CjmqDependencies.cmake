# Libraries that CJMQ builds on; docs/dependencies.md says why each is here.
find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(SQLITE REQUIRED IMPORTED_TARGET sqlite3)
pkg_check_modules(ZLIB REQUIRED IMPORTED_TARGET zlib)
pkg_check_modules(CJSON REQUIRED IMPORTED_TARGET libcjson)
pkg_check_modules(TELNET REQUIRED IMPORTED_TARGET libtelnet)
# Retry databases other than SQLite, each a module of its own; left out where its client library is missing.
pkg_check_modules(POSTGRESQL IMPORTED_TARGET libpq)
pkg_check_modules(MARIADB IMPORTED_TARGET libmariadb)
if(CJMQ_TESTS)
  pkg_check_modules(CMOCKA IMPORTED_TARGET cmocka)
  if(NOT CMOCKA_FOUND)
    message(STATUS "cmocka is missing: the tests are left out")
    set(CJMQ_TESTS OFF)
  endif()
endif()

# libev ships no pkg-config file in Debian.
find_path(EV_INCLUDE_DIR ev.h REQUIRED)
find_library(EV_LIBRARY ev REQUIRED)
add_library(cjmq_ev INTERFACE)
target_include_directories(cjmq_ev SYSTEM INTERFACE ${EV_INCLUDE_DIR})
target_link_libraries(cjmq_ev INTERFACE ${EV_LIBRARY})
