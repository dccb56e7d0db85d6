#!/usr/bin/env bash
# test_library.sh BUILD_DIR - installs into a prefix, moves it elsewhere, and there builds the installed examples by pkg-config
# with the shared and with the static library, and lets them send and receive. Not for builds with sanitizers: an
# application would have to bring their runtime.

set -u
build=$1
tree=$(cd "$(dirname "$0")/../.." && pwd)
tmp=$(mktemp -d "${TMPDIR:-/tmp}/cjmq-library-XXXXXX")
prefix="$tmp/moved to here"
logs=$tmp/logs
export HOME=$tmp PKG_CONFIG_PATH="$prefix/lib/pkgconfig"
unset NAMESRV_ADDR LD_LIBRARY_PATH
registry= broker=

cleanup() {
    # shellcheck disable=SC2086 # none, one or two words
    [ -z "$registry$broker" ] || kill $broker $registry 2>/dev/null
    rm -rf "$tmp"
}
trap cleanup EXIT

# shellcheck source=tests/install/common.sh
. "$tree/tests/install/common.sh"

cmake --install "$build" --prefix "$tmp/installed" >/dev/null || fail "cmake --install"
mv "$tmp/installed" "$prefix"

foreign=$(nm -D --defined-only "$prefix/lib/libcjmq.so" | grep -vE ' cjmq_| A CJMQ_') && fail "libcjmq.so shows more than cjmq_*: $foreign"

# pkg-config prints words as a shell reads them: the prefix has blanks.
sources=$prefix/share/cjmq/examples/c
for example in producer consumer; do
    eval "expect_status 0 cc -Wall -Werror \"\$sources/$example.c\" -o \"\$tmp/$example\" $(pkg-config --cflags --libs cjmq)"
    eval "expect_status 0 cc -Wall -Werror \"\$sources/$example.c\" -o \"\$tmp/$example-static\" $(pkg-config --cflags cjmq) \
        \"\$prefix/lib/libcjmq.a\" $(pkg-config --static --libs-only-l cjmq | sed 's/-lcjmq//')"
done
ldd "$tmp/producer" | grep -q "libcjmq.so.*$prefix" || fail "the library's place is not in the program: $(ldd "$tmp/producer")"
ldd "$tmp/producer-static" | grep -q libcjmq && fail "the static program wants the shared library"

# shellcheck disable=SC2207 # one word is one port
ports=($(pick_ports 2))
"$prefix/bin/mqregistry" --listenPort="${ports[0]}" --logDir="$logs" --storePathRootDir="$tmp/registry" >"$tmp/registry.out" 2>&1 &
registry=$!
await grep -q 'boot success' "$tmp/registry.out"
"$prefix/bin/mqbroker" -n "127.0.0.1:${ports[0]}" --listenPort="${ports[1]}" --logDir="$logs" --storePathRootDir="$tmp/store" \
    --brokerIP1=127.0.0.1 --brokerName=broker-a >"$tmp/broker.out" 2>&1 &
broker=$!
await grep -q 'boot success' "$tmp/broker.out"

for kind in "" -static; do
    expect_status 0 "$prefix/bin/mqadmin" updateTopic -n "127.0.0.1:${ports[0]}" -c DefaultCluster -t "Topic$kind"
    expect_status 0 "$tmp/producer$kind" "127.0.0.1:${ports[0]}" "Topic$kind"
    expect_status 0 timeout 30 "$tmp/consumer$kind" "127.0.0.1:${ports[0]}" "Topic$kind" 7
    expect_output "order 2"
done

kill $broker
expect_clean_end "the broker" $broker
kill $registry
expect_clean_end "the registry" $registry
broker= registry=
echo "the installed library works, moved to another place"
