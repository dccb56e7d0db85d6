#!/bin/sh
# JMQ's quick start on one machine, from nothing: installs what is missing, builds, starts one registry and one broker on loopback,
# types the quick start's lines into a real telnet session, sends and receives messages, and stops it all.
#
#   examples/quickstart.sh           everything, ends with the cluster stopped
#   examples/quickstart.sh --keep    leaves the cluster running and says how to reach and stop it
#   examples/quickstart.sh --stop    stops what --keep left running
#
# Environment: REGISTRY_PORT (9876), BROKER_PORT (50088). The broker also listens on BROKER_PORT - 2 and, for slaves, on
#              BROKER_PORT + 1, and each has a console.
#              QUICKSTART_DIR (build/quickstart), an absolute path: where it builds and where the cluster keeps its files
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
work=${QUICKSTART_DIR:-$root/build/quickstart}
prefix=$work/install
run=$work/run
registry_port=${REGISTRY_PORT:-9876}
broker_port=${BROKER_PORT:-50088}
for port in "$registry_port" "$broker_port"; do
    case $port in
        0* | *[!0-9]*)
            echo "REGISTRY_PORT and BROKER_PORT are numbers of ports, not '$port'" >&2
            exit 2
            ;;
    esac
done
# JMQ's rule for the port of a console: 50088 has 10088.
console_of() { echo $(($1 % 10000 + 10000 + ($1 / 10000 == 1 ? 10000 : 0))); }
registry_console=$(console_of "$registry_port")
broker_console=$(console_of "$broker_port")
registry=127.0.0.1:$registry_port
broker=127.0.0.1:$broker_port
topic_json='[{"archive":false,"consumers":{"app4Consumer":{}},"groups":["jmq102"],"importance":1,"producers":{"app4Product":{}},"queues":5,"topic":"topic_simple","type":"TOPIC"}]'
broker_json='[{"alias":"jmq102_m","dataCenter":9,"id":0,"ip":"127.0.0.1","permission":"FULL","port":'$broker_port',"retryType":"DB","syncMode":"SYNCHRONOUS"}]'

# As it is to be typed: the folder says which processes it stops.
stop_command="${QUICKSTART_DIR:+QUICKSTART_DIR='$QUICKSTART_DIR' }examples/quickstart.sh --stop"

keep=
case ${1-} in
    "") ;;
    --keep) keep=yes ;;
    --stop)
        status=0
        for program in broker registry; do
            sh "$root/scripts/mqshutdown" $program --logDir="$run/logs" || status=$?
        done
        exit $status
        ;;
    *)
        echo "Usage: examples/quickstart.sh [--keep | --stop]" >&2
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
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# What --keep left running works with the files that are about to be replaced.
for file in "$run"/logs/*.pid; do
    [ -f "$file" ] && read -r pid <"$file" || continue
    case $(readlink "/proc/$pid/exe") in
        "$prefix"/*) fail "an earlier cluster still runs (process $pid); stop it with: $stop_command" ;;
    esac
done

step "1. What CJMQ needs from Debian"
"$root/scripts/packages.sh" build demo
echo "All there."

step "2. Build and install into $prefix"
log=$work/build.log
mkdir -p "$work"
(cd "$root" && cmake --preset release -B "$work/tree" -DCJMQ_TESTS=OFF -DCMAKE_INSTALL_PREFIX="$prefix" &&
    cmake --build "$work/tree" && cmake --install "$work/tree") >"$log" 2>&1 ||
    { tail -n 30 "$log" >&2; fail "the build; the whole output is in $log"; }
echo "bin/: $(ls "$prefix/bin" | tr '\n' ' ')"

step "3. Start the registry on port $registry_port and a broker on port $broker_port"
# Before anything starts: the broker opens its port for slaves when it has read the documents, and could only log that it is taken.
is_free() { expect -c "exit [catch {close [socket -server {} -myaddr 127.0.0.1 $1]}]"; }
for port in $registry_port $registry_console $broker_port $((broker_port - 2)) $((broker_port + 1)) $broker_console; do
    is_free "$port" || fail "port $port of 127.0.0.1 is in use.
Needed are for the registry $registry_port and console $registry_console; for the broker $broker_port, $((broker_port - 2)) and
$((broker_port + 1)), and console $broker_console. Choose others, for example:
    REGISTRY_PORT=9786 BROKER_PORT=50188 examples/quickstart.sh"
done
rm -rf "$run"
mkdir -p "$run"
wait_for_line() { # FILE TEXT PID
    tries=0
    until grep -q "$2" "$1" 2>/dev/null; do
        kill -0 "$3" 2>/dev/null || { cat "$1" >&2; fail "the program ended, as it says above"; }
        tries=$((tries + 1))
        [ $tries -lt 200 ] || fail "'$2' did not appear in $1 within 10 s"
        sleep 0.05
    done
    grep "$2" "$1" | head -n 1
}
# A session of its own: ctrl-c reaches this script alone, which then stops them in order, and --keep outlives the terminal.
setsid sh "$prefix/bin/mqregistry" --bindAddress=127.0.0.1 --listenPort=$registry_port --storePathRootDir="$run/registry" \
    --logDir="$run/logs" >"$run/registry.out" 2>&1 &
registry_pid=$!
wait_for_line "$run/registry.out" "boot success" "$registry_pid"
# A small reserve and small log files: this is a demonstration on a machine that may have little room.
setsid sh "$prefix/bin/mqbroker" -n $registry --brokerIP1=127.0.0.1 --bindAddress=127.0.0.1 --listenPort=$broker_port \
    --storePathRootDir="$run/store" --logDir="$run/logs" --diskReserveBytes=67108864 --mappedFileSizeCommitLog=67108864 \
    >"$run/broker.out" 2>&1 &
broker_pid=$!
wait_for_line "$run/broker.out" "boot success" "$broker_pid"

step "4. Describe the cluster, typed into telnet 127.0.0.1 $broker_console as in JMQ's guide"
export topic_json broker_json broker_console
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
spawn -noecho telnet 127.0.0.1 $env(broker_console)
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
examples=$work/examples
mkdir -p "$examples"
export PKG_CONFIG_PATH="$prefix/lib/pkgconfig" LD_LIBRARY_PATH="$prefix/lib"
for example in producer consumer; do
    # The flags are words quoted for a shell.
    eval "${CC:-cc} \"\$root/examples/c/\$example.c\" -o \"\$examples/\$example\" $(pkg-config --cflags --libs cjmq)" ||
        fail "compiling $example.c"
done
"$examples/producer" $registry topic_simple app4Product || fail "sending"

step "6. Receive the seven messages as app4Consumer"
timeout --foreground 30 "$examples/consumer" $registry topic_simple 7 app4Consumer || fail "receiving"

step "7. An app that the topic document does not list is told so"
if "$examples/producer" $registry topic_simple somebodyElse; then
    fail "an app without permission could send"
fi

if [ -n "$keep" ]; then
    step "The cluster stays up"
    cat <<EOF
Registry    $registry, console: telnet 127.0.0.1 $registry_console
Broker      $broker, console: telnet 127.0.0.1 $broker_console (user jmq, password jmq)
Programs    $prefix/bin, for example:
            sh '$prefix/bin/mqadmin' clusterList -n $registry
Logs        $run/logs
Stop it     $stop_command
EOF
    trap - EXIT
    exit 0
fi

step "8. Stop"
stop
echo "Broker and registry stopped. That was all: to play with a running cluster, use examples/quickstart.sh --keep"
