#!/usr/bin/env bash
# test_commands.sh BUILD_DIR - installs into a prefix of its own and types the command lines of RocketMQ's and JMQ's guides
# there, as they are printed but for ports that are free.

set -u
build=$1
tree=$(cd "$(dirname "$0")/../.." && pwd)
tmp=$(mktemp -d "${TMPDIR:-/tmp}/cjmq-install-XXXXXX")
prefix="$tmp/a prefix" # a blank in it must not matter
export HOME=$tmp/home
unset NAMESRV_ADDR
logs=$HOME/logs/rocketmqlogs
mkdir -p "$HOME"

cleanup() {
    local file pid
    for file in "$logs"/*.pid "$tmp"/elsewhere/*.pid; do
        [ -f "$file" ] && read -r pid <"$file" && kill "$pid" 2>/dev/null
    done
    rm -rf "$tmp"
}
trap cleanup EXIT

# shellcheck source=tests/install/common.sh
. "$tree/tests/install/common.sh"

cmake --install "$build" --prefix "$prefix" >/dev/null || fail "cmake --install"
for file in bin/mqbroker bin/mqregistry bin/mqnamesrv bin/mqshutdown bin/mqadmin bin/mqbench lib/cjmq/mqbroker \
    lib/cjmq/mqregistry; do
    [ -x "$prefix/$file" ] || fail "$file is not installed or not executable"
done
for file in conf/broker.conf conf/registry.conf include/cjmq.h lib/pkgconfig/cjmq.pc; do
    [ -f "$prefix/$file" ] || fail "$file is not installed"
done

# What the configurations show as defaults ('#name=value') are the defaults, and every name is known.
for program in broker registry; do
    sed 's/^#\([A-Za-z0-9]*=\)/\1/' "$prefix/conf/$program.conf" >"$tmp/$program.conf"
    expect_status 0 sh "$prefix/bin/mq$program" -m -c "$tmp/$program.conf"
    [ -z "$output" ] || fail "conf/$program.conf shows other defaults than mq$program has: $output"
done

# docs/configuration.md shows what the programs have.
"$tree/scripts/configuration.sh" "$prefix/lib/cjmq" >"$tmp/configuration.md"
cmp -s "$tmp/configuration.md" "$tree/docs/configuration.md" ||
    fail "docs/configuration.md is not up to date; run: scripts/configuration.sh $build/bin >docs/configuration.md"

# Every property of the ready-made deployments is known; the documents are the guides', each on one line for pasting.
for file in "$prefix"/conf/*/*; do
    case $file in
        */registry.conf) program=registry ;;
        *.json)
            [ "$(wc -l <"$file")" = 1 ] && python3 -m json.tool "$file" >/dev/null || fail "$file is not one line of JSON"
            continue
            ;;
        *) program=broker ;;
    esac
    expect_status 0 sh "$prefix/bin/mq$program" -m -c "$file"
    case $output in *warning*) fail "$file: $output" ;; esac
done
for file in 2m-2s-sync/broker-a{,-s}.properties 2m-2s-async/broker-b{,-s}.properties 2m-noslave/broker-{a,b,trace}.properties \
    two-masters/broker-{a,b}.conf four-node/broker.json two-node/topic.json; do
    [ -f "$prefix/conf/$file" ] || fail "conf/$file is not installed"
done

# A property of RocketMQ is a setting, or docs/configuration.md says why it is none, never both.
sed -n '/^## Properties of the originals/,$!p' "$tree/docs/configuration.md" >"$tmp/settings.md"
sed -n '/^## Properties of the originals/,$p' "$tree/docs/configuration.md" | grep '^| `' | sed 's/|[^|]*|$//' >"$tmp/meaningless.md"
count=0
while read -r property; do
    case $property in '' | \#*) continue ;; esac
    count=$((count + 1))
    in_settings=$(grep -c "^| \`$property\` " "$tmp/settings.md")
    in_others=$(grep -c "\`$property\`" "$tmp/meaningless.md")
    [ "$in_settings" -eq 0 ] && [ "$in_others" -ne 1 ] && fail "RocketMQ's property $property is not explained in docs/configuration.md"
    [ "$in_settings" -ne 0 ] && [ "$in_others" -ne 0 ] && fail "$property is a setting, and docs/configuration.md says that it is none"
done <"$tree/tests/install/data/rocketmq-properties.txt"
[ "$count" -gt 150 ] || fail "rocketmq-properties.txt holds only $count properties"

# Ways to call a command: by sh, bash, itself, the path, a link.
cd "$prefix/bin" || exit 1
ln -s "$prefix/bin/mqbroker" "$tmp/linked"
ln -s linked "$tmp/linked-twice"
for command in "sh mqbroker" "bash mqbroker" "./mqbroker" "sh ./mqbroker" "env PATH=$PATH:$prefix/bin mqbroker" \
    "$tmp/linked" "$tmp/linked-twice" "sh $tmp/linked"; do
    if [[ $command == env* ]]; then
        expect_status 0 env "PATH=$prefix/bin:$PATH" mqbroker -v
    else
        # shellcheck disable=SC2086 # words are meant
        expect_status 0 $command -v
    fi
    expect_output "mqbroker (CJMQ)"
done
expect_status 1 sh mqbroker --listenPrt=1
expect_output "did you mean 'listenPort'?"

# Start and stop, as RocketMQ's quick start does.
expect_status 1 sh mqshutdown broker
expect_output "No mqbroker running."
expect_status 1 sh mqshutdown namesrv
expect_output "No mqnamesrv running."

# shellcheck disable=SC2207 # one word is one port; all of python must be gone before they are used
ports=($(pick_ports 4))
nohup sh mqnamesrv --listenPort="${ports[0]}" --telnetPort="${ports[1]}" >"$tmp/registry.out" 2>&1 &
registry=$!
await exists "$logs/mqregistry-${ports[0]}.pid"
await listening "${ports[0]}"
cd .. || exit 1
nohup sh bin/mqbroker -n "localhost:${ports[0]}" --listenPort="${ports[2]}" --telnetPort=0 --fastListenPort=0 \
    --storePathRootDir="$tmp/store1" --brokerIP1=127.0.0.1 --brokerName=broker-a >"$tmp/broker1.out" 2>&1 &
first_broker=$!
await exists "$logs/mqbroker-${ports[2]}.pid"
await listening "${ports[2]}"
# A second one keeps its files elsewhere.
printf 'listenPort=%s\ntelnetPort=0\nfastListenPort=0\nlogDir=%s\nstorePathRootDir=%s\nbrokerIP1=127.0.0.1\nbrokerName=broker-b\n' \
    "${ports[3]}" "$tmp/elsewhere" "$tmp/store2" >"$tmp/second.conf"
cd bin || exit 1
bash mqbroker -c "$tmp/second.conf" -n "localhost:${ports[0]},127.0.0.1:${ports[0]}" >"$tmp/broker2.out" 2>&1 &
second_broker=$!
await exists "$tmp/elsewhere/mqbroker-${ports[3]}.pid"
await listening "${ports[3]}"
for log in namesrv.log broker.log; do
    await grep -q 'boot success' "$logs/$log"
done

# The same place twice is refused.
expect_status 1 sh mqnamesrv --listenPort="${ports[0]}" --telnetPort=0

read -r pid <"$logs/mqbroker-${ports[2]}.pid"
expect_status 0 sh mqshutdown broker
expect_output "The mqbroker($pid) is running..."
expect_output "Send shutdown request to mqbroker($pid) OK"
readlink "/proc/$pid/exe" && fail "mqshutdown came back while mqbroker $pid was still there"
[ -e "$logs/mqbroker-${ports[2]}.pid" ] && fail "the pid file is still there"
expect_clean_end "the first broker" $first_broker
listening "${ports[3]}" || fail "mqshutdown stopped a broker whose log folder was not asked for"
expect_status 0 sh mqshutdown broker --logDir="$tmp/elsewhere"
expect_clean_end "the second broker" $second_broker
expect_status 1 sh mqshutdown broker --logDir="$tmp/elsewhere"

# A pid that belongs to somebody else is left alone.
sleep 60 &
other=$!
echo $other >"$logs/mqbroker-${ports[2]}.pid"
expect_status 1 sh mqshutdown broker
kill -0 $other || fail "mqshutdown ended process $other, which is no broker"
kill $other
wait $other
rm "$logs/mqbroker-${ports[2]}.pid"

expect_status 0 sh mqshutdown namesrv
expect_output "Send shutdown request to mqnamesrv("
expect_clean_end "the registry" $registry
expect_status 2 sh mqshutdown everything
echo "the commands of the guides work"
