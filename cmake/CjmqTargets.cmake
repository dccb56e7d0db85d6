# cjmq_library(NAME SOURCES a.c b.c LINKS x y): one folder, one static library, included as "folder/header.h".
function(cjmq_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINKS;PRIVATE_LINKS" ${ARGN})
  add_library(cjmq_${name} STATIC ${ARG_SOURCES})
  target_include_directories(cjmq_${name} PUBLIC ${CMAKE_SOURCE_DIR})
  target_link_libraries(cjmq_${name} PUBLIC ${ARG_LINKS} PRIVATE ${ARG_PRIVATE_LINKS})
endfunction()

# Where the real programs go; bin/ holds what people call.
set(CJMQ_LIBEXEC_DIR lib/cjmq)

# cjmq_program(NAME SOURCES a.c LINKS x y [COMMANDS name ...]): a program, built as bin/NAME of the build tree and installed as
# ${CJMQ_LIBEXEC_DIR}/NAME, with a shell script bin/COMMAND for each name that people call it by (default: NAME), because the guides
# say `sh mqbroker`.
function(cjmq_program name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINKS;COMMANDS" ${ARGN})
  if(NOT ARG_COMMANDS)
    set(ARG_COMMANDS ${name})
  endif()
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE ${ARG_LINKS})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
  install(TARGETS ${name} DESTINATION ${CJMQ_LIBEXEC_DIR})
  set(CJMQ_PROGRAM ${name})
  foreach(CJMQ_COMMAND ${ARG_COMMANDS})
    set(script ${CMAKE_CURRENT_BINARY_DIR}/commands/${CJMQ_COMMAND})
    configure_file(${CMAKE_SOURCE_DIR}/scripts/program.sh.in ${script} @ONLY)
    install(PROGRAMS ${script} DESTINATION bin)
  endforeach()
endfunction()

# cjmq_unit_test(FOLDER FILE [LINKS extra...]): tests/unit/FOLDER/test_FILE.c, run by ctest as unit.FOLDER.FILE.
# Call it from tests/unit/FOLDER/CMakeLists.txt.
function(cjmq_unit_test folder file)
  cmake_parse_arguments(ARG "" "TIMEOUT" "LINKS" ${ARGN})
  set(target test_${folder}_${file})
  add_executable(${target} test_${file}.c)
  target_link_libraries(${target} PRIVATE cjmq_${folder} ${ARG_LINKS} PkgConfig::CMOCKA)
  add_test(NAME unit.${folder}.${file} COMMAND ${target})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 60)
  endif()
  set_tests_properties(unit.${folder}.${file} PROPERTIES TIMEOUT ${ARG_TIMEOUT} LABELS unit)
endfunction()

# cjmq_fuzz_target(NAME SOURCE LINKS...): a libFuzzer program (preset fuzz), or, in the other presets, the same entry
# point driven by tests/fuzz/standalone.c over the seed corpus in tests/fuzz/corpus/NAME.
# Call it from tests/fuzz/CMakeLists.txt. Left out when a library it tests is not built (CJMQ_FOLDERS).
function(cjmq_fuzz_target name source)
  foreach(library ${ARGN})
    if(library MATCHES "^cjmq_" AND NOT TARGET ${library})
      return()
    endif()
  endforeach()
  add_executable(fuzz_${name} ${source})
  if(NOT TARGET fuzz_targets)
    add_custom_target(fuzz_targets)
  endif()
  add_dependencies(fuzz_targets fuzz_${name})
  target_link_libraries(fuzz_${name} PRIVATE ${ARGN})
  set(corpus ${CMAKE_SOURCE_DIR}/tests/fuzz/corpus/${name})
  if(CJMQ_FUZZ)
    target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
    # The fuzzer writes what it finds into the first corpus directory: that one belongs to the build tree.
    set(found ${CMAKE_CURRENT_BINARY_DIR}/found/${name})
    file(MAKE_DIRECTORY ${found})
    add_test(NAME fuzz.${name} COMMAND fuzz_${name} -runs=20000 -seed=1 -max_len=65536 ${found} ${corpus})
  else()
    target_sources(fuzz_${name} PRIVATE ${CMAKE_SOURCE_DIR}/tests/fuzz/standalone.c)
    add_test(NAME fuzz.${name} COMMAND fuzz_${name} ${corpus})
  endif()
  set_tests_properties(fuzz.${name} PROPERTIES TIMEOUT 300 LABELS fuzz)
endfunction()
