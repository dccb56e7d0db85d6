#!/bin/sh
# JMQ's quick start on one machine, from nothing: installs what is missing, builds, starts one registry and one broker on loopback,
# types the quick start's lines into a real telnet session, sends and receives messages, and stops it all.
#
#   examples/quickstart.sh           everything, ends with the cluster stopped
#   examples/quickstart.sh --keep    leaves the cluster running and says how to reach and stop it
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
prefix=$root/build/quickstart/install
run=$root/build/quickstart/run
registry_port=9876
broker_port=50088
telnet_port=10088 # JMQ's rule: 50088 % 10000 + 10000
broker=127.0.0.1:$broker_port
topic_json='[{"archive":false,"consumers":{"app4Consumer":{}},"groups":["jmq102"],"importance":1,"producers":{"app4Product":{}},"queues":5,"topic":"topic_simple","type":"TOPIC"}]'
broker_json='[{"alias":"jmq102_m","dataCenter":9,"id":0,"ip":"127.0.0.1","permission":"FULL","port":50088,"retryType":"DB","syncMode":"SYNCHRONOUS"}]'

keep=
case ${1-} in
    "") ;;
    --keep) keep=yes ;;
    *)
        echo "Usage: examples/quickstart.sh [--keep]" >&2
        exit 2
        ;;
esac

step() { printf '\n== %s\n' "$*"; }
fail() {
    printf '\nThe quick start failed: %s\n' "$*" >&2
    exit 1
}

registry_pid=
broker_pid=
stop() {
    for pid in $broker_pid $registry_pid; do
        kill "$pid" 2>/dev/null || continue
        wait "$pid" 2>/dev/null || true
    done
    registry_pid=
    broker_pid=
}
trap stop EXIT
trap 'exit 130' INT TERM

step "1. What CJMQ needs from Debian"
"$root/scripts/packages.sh" build demo
echo "All there."

step "2. Build and install into $prefix"
log=$root/build/quickstart/build.log
mkdir -p "$root/build/quickstart" "$run"
(cd "$root" && cmake --preset release -B build/quickstart/tree -DCJMQ_TESTS=OFF -DCMAKE_INSTALL_PREFIX="$prefix" &&
    cmake --build build/quickstart/tree && cmake --install build/quickstart/tree) >"$log" 2>&1 ||
    { tail -n 30 "$log" >&2; fail "the build; the whole output is in $log"; }
echo "bin/: $(ls "$prefix/bin" | tr '\n' ' ')"

step "3. Start the registry on port $registry_port and a broker on port $broker_port"
rm -rf "$run"
mkdir -p "$run"
wait_for_line() { # FILE TEXT PID
    tries=0
    until grep -q "$2" "$1" 2>/dev/null; do
        kill -0 "$3" 2>/dev/null || { cat "$1" >&2; fail "the program ended; is another one using its port?"; }
        tries=$((tries + 1))
        [ $tries -lt 200 ] || fail "'$2' did not appear in $1 within 10 s"
        sleep 0.05
    done
    grep "$2" "$1" | head -n 1
}
sh "$prefix/bin/mqregistry" --bindAddress=127.0.0.1 --listenPort=$registry_port --storePathRootDir="$run/registry" \
    --logDir="$run/logs" >"$run/registry.out" 2>&1 &
registry_pid=$!
wait_for_line "$run/registry.out" "boot success" "$registry_pid"
# A small reserve and small log files: this is a demonstration on a machine that may have little room.
sh "$prefix/bin/mqbroker" -n 127.0.0.1:$registry_port --brokerIP1=127.0.0.1 --bindAddress=127.0.0.1 --listenPort=$broker_port \
    --storePathRootDir="$run/store" --logDir="$run/logs" --diskReserveBytes=67108864 --mappedFileSizeCommitLog=67108864 \
    >"$run/broker.out" 2>&1 &
broker_pid=$!
wait_for_line "$run/broker.out" "boot success" "$broker_pid"

step "4. Describe the cluster, typed into telnet 127.0.0.1 $telnet_port as in JMQ's guide"
export topic_json broker_json telnet_port
expect -f - <<'EXPECT' || fail "the telnet session"
set timeout 10
log_user 1
proc answer {pattern} {
    expect {
        -re $pattern {}
        timeout { puts stderr "\nno answer like $pattern"; exit 1 }
        eof { puts stderr "\nthe session ended"; exit 1 }
    }
}
spawn -noecho telnet 127.0.0.1 $env(telnet_port)
answer {Escape character[^\n]*\n}
send -- "auth -u jmq -p jmq\r"
answer {"status":3[^\n]*\n>}
send -- "topic set $env(topic_json)\r"
answer {"message":"ok","status":0[^\n]*\n>}
send -- "topic get\r"
answer {topic_simple[^\n]*"status":0[^\n]*\n>}
send -- "broker set $env(broker_json)\r"
answer {"message":"ok","status":0[^\n]*\n>}
send -- "broker get\r"
answer {jmq102_m[^\n]*"status":0[^\n]*\n>}
send -- "cluster\r"
answer {jmq102 [^\n]*\n>}
send -- "\035"
answer {telnet>}
send -- "q\r"
expect eof
EXPECT
echo
echo "The registry keeps both documents; the broker took its place from them: master of group jmq102, permission FULL."

step "5. Compile the C examples against the installed library and send messages as app4Product"
examples=$root/build/quickstart/examples
mkdir -p "$examples"
export PKG_CONFIG_PATH="$prefix/lib/pkgconfig" LD_LIBRARY_PATH="$prefix/lib"
for example in producer consumer; do
    # shellcheck disable=SC2046 # the flags are words
    ${CC:-cc} "$root/examples/c/$example.c" -o "$examples/$example" $(pkg-config --cflags --libs cjmq) || fail "compiling $example.c"
done
"$examples/producer" 127.0.0.1:$registry_port topic_simple app4Product || fail "sending"

step "6. Receive the seven messages as app4Consumer"
timeout 30 "$examples/consumer" 127.0.0.1:$registry_port topic_simple 7 app4Consumer || fail "receiving"

step "7. An app that the topic document does not list is told so"
if "$examples/producer" 127.0.0.1:$registry_port topic_simple somebodyElse; then
    fail "an app without permission could send"
fi

if [ -n "$keep" ]; then
    step "The cluster stays up"
    cat <<EOF
Registry    127.0.0.1:$registry_port, console: telnet 127.0.0.1 19876
Broker      $broker, console: telnet 127.0.0.1 $telnet_port (user jmq, password jmq)
Programs    $prefix/bin, e.g.  sh $prefix/bin/mqadmin clusterList -n 127.0.0.1:$registry_port
Logs        $run/logs
Stop it     kill $broker_pid $registry_pid
EOF
    trap - EXIT
    exit 0
fi

step "8. Stop"
stop
echo "Broker and registry stopped. That was all: to play with a running cluster, use examples/quickstart.sh --keep"
