#!/usr/bin/env bash
# Builds CJMQ and runs all of its tests.
#
#   tests/run.sh [--quick] [ctest arguments, e.g. -R unit.store]
#
# Stages, each a build of its own under build/:
#   asan     every unit test, the fuzz seeds and the system tests labelled "sanitize" under AddressSanitizer and UBSan (gcc)
#   tsan     unit tests of the libraries that run threads, under ThreadSanitizer
#   fuzz     every fuzz target for a fixed number of generated inputs (clang, libFuzzer, AddressSanitizer)
#   release  everything, as users install it
# --quick leaves out all but the last. What needs Java or Go is skipped by name where these are missing.
# The last line is ctest's closing line over all stages; a stage that does not build counts as one failed test.
# Exit status: 0 when all passed.

set -u
cd "$(dirname "$0")/.." || exit 1

stages="asan tsan fuzz release"
if [ "${1-}" = --quick ]; then
    stages=release
    shift
fi
ctest_args=("$@")

export UBSAN_OPTIONS=print_stacktrace=1${UBSAN_OPTIONS:+:$UBSAN_OPTIONS}
jobs=$(nproc)
logs=build/logs
total=0 failed=0
failures=() skipped=()

# What CMake and ctest are told apart from the preset.
configure_args() {
    case $1 in
        tsan) echo "-DCJMQ_FOLDERS=base;remoting;store;cluster;telnet;client;replication;retry" ;;
    esac
}

build_targets() {
    case $1 in
        fuzz) echo fuzz_targets ;;
        *) echo all ;;
    esac
}

test_filter() {
    case $1 in
        asan) echo "-L ^(unit|fuzz|sanitize)$ -j $jobs" ;;
        tsan) echo "-L ^unit$ -j $jobs" ;;
        fuzz) echo "-L ^fuzz$ -j $jobs" ;;
    esac
}

# Runs a command with its output in a log, of which the end is shown when it fails.
run_logged() {
    local log=$1
    shift
    "$@" >"$log" 2>&1 && return 0
    tail -n 60 "$log"
    echo "'$*' failed; all of its output is in $log"
    return 1
}

build_stage() {
    local stage=$1
    # shellcheck disable=SC2046 # one word per argument is meant
    run_logged "$logs/$stage-configure.log" cmake --preset "$stage" $(configure_args "$stage") &&
        run_logged "$logs/$stage-build.log" cmake --build "build/$stage" -j "$jobs" --target "$(build_targets "$stage")"
}

# Takes ctest's output apart into the counters of this script.
count_stage() {
    local stage=$1 log=$2 status=$3 line tests=0 bad=0
    line=$(grep -E '^[0-9]+% tests passed, [0-9]+ tests failed out of [0-9]+' "$log" | tail -n 1)
    if [ -n "$line" ]; then
        tests=${line##* }
        bad=$(echo "$line" | sed 's/.*passed, \([0-9]*\) tests.*/\1/')
    fi
    if [ "$status" -ne 0 ] && [ "$bad" -eq 0 ]; then
        tests=$((tests + 1)) bad=1
        failures+=("$stage: ctest ended with status $status")
    fi
    total=$((total + tests)) failed=$((failed + bad))
    while read -r line; do
        failures+=("$stage: $line")
    done < <(grep -E '^\s+[0-9]+ - .* \((Failed|Timeout|Not Run|SEGFAULT|Subprocess aborted|.*Exception.*)\)' "$log" |
        sed 's/^\s*[0-9]* - //')
    while read -r line; do
        skipped+=("$stage: $line")
    done < <(grep -E '^\s+[0-9]+ - .* \((Skipped|Disabled)\)' "$log" | sed 's/^\s*[0-9]* - //')
}

run_stage() {
    local stage=$1 started=$SECONDS status
    echo "== $stage: building"
    if ! build_stage "$stage"; then
        total=$((total + 1)) failed=$((failed + 1))
        failures+=("$stage: build")
        return
    fi
    echo "== $stage: testing"
    # shellcheck disable=SC2046
    ctest --test-dir "build/$stage" --output-on-failure --no-tests=ignore $(test_filter "$stage") \
        ${ctest_args[@]+"${ctest_args[@]}"} 2>&1 | tee "$logs/$stage-test.log"
    status=${PIPESTATUS[0]}
    count_stage "$stage" "$logs/$stage-test.log" "$status"
    echo "== $stage: $((SECONDS - started)) s"
}

scripts/packages.sh build test || exit 1
mkdir -p "$logs"
for stage in $stages; do
    run_stage "$stage"
done

echo
echo "All stages ($stages), $SECONDS s"
for line in ${skipped[@]+"${skipped[@]}"}; do
    echo "    skipped: $line"
done
for line in ${failures[@]+"${failures[@]}"}; do
    echo "    FAILED:  $line"
done
if [ "$total" -eq 0 ]; then
    echo "No tests were found!!!"
    exit 1
fi
echo "$(((total - failed) * 100 / total))% tests passed, $failed tests failed out of $total"
[ "$failed" -eq 0 ]
