# What four-node.sh and two-node.sh share; sourced. A deployment of JMQ's guide on this one machine, each host a network namespace with
# the guide's address. The sourcing script sets:
#   name       four-node or two-node: the folder in conf/, and part of the namespaces' names
#   hosts      their addresses
#   registries those of them that run a registry
#   group, master, slave, slave_alias   the group that loses its master, the hosts of both, and the slave's alias in the document
# Environment: DEPLOYMENT_DIR (build/deployment), an absolute path: where it builds and where the hosts keep their files
# shellcheck shell=sh disable=SC2154
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
work=${DEPLOYMENT_DIR:-$root/build/deployment}
prefix=$work/install
run=$work/$name
client=192.168.1.100 # the applications' host
router=cjmq-$name-router
gateway=169.254.1.1  # each host's end of its link to the router
# As it is to be typed: the folder says which processes it stops.
stop_command="${DEPLOYMENT_DIR:+DEPLOYMENT_DIR='$DEPLOYMENT_DIR' }examples/$name.sh --stop"
namesrv=
for host in $registries; do
    namesrv=${namesrv:+$namesrv;}$host:9876
done

step() { printf '\n== %s\n' "$*"; }
fail() {
    printf '\nThe example failed: %s\n' "$*" >&2
    exit 1
}

# --- hosts ---

namespace_of() { echo "cjmq-$name-$1"; }
on() { # HOST COMMAND...
    at=$1
    shift
    ip netns exec "$(namespace_of "$at")" "$@"
}

add_host() { # ADDRESS NUMBER
    ns=$(namespace_of "$1")
    ip netns add "$ns"
    ip -n "$router" link add "port$2" type veth peer name eth0 netns "$ns"
    ip -n "$router" addr add $gateway/32 dev "port$2"
    ip -n "$router" link set "port$2" up
    ip -n "$router" route add "$1/32" dev "port$2"
    ip -n "$ns" link set lo up
    ip -n "$ns" addr add "$1/32" dev eth0
    ip -n "$ns" link set eth0 up
    ip -n "$ns" route add $gateway dev eth0
    ip -n "$ns" route add default via $gateway
}

add_hosts() {
    ip netns add "$router" 2>/dev/null || {
        echo "skipped: needs CAP_NET_ADMIN (run it as root)"
        exit 77
    }
    made_hosts=yes
    ip netns exec "$router" sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward'
    number=0
    for host in $hosts $client; do
        add_host "$host" $number
        number=$((number + 1))
    done
}

remove_hosts() {
    for host in $hosts $client; do
        ip netns del "$(namespace_of "$host")" 2>/dev/null || true
    done
    ip netns del "$router" 2>/dev/null || true
}

# --- processes: $run/pids/NAME holds the pid ---

is_ours() { # PID
    case $(readlink "/proc/$1/exe") in
        "$prefix"/* | "$work"/steady) return 0 ;;
    esac
    return 1
}

spawn() { # NAME HOST COMMAND...: in a session of its own, so that ctrl-c reaches this script alone
    job=$1
    at=$2
    shift 2
    mkdir -p "$run/$at"
    HOME=$run/$at ip netns exec "$(namespace_of "$at")" setsid "$@" >"$run/$job.out" 2>&1 &
    echo $! >"$run/pids/$job"
}

pid_of() { cat "$run/pids/$1"; }

count_lines() { # FILE TEXT; 0 without the file
    { cat "$1" 2>/dev/null || true; } | grep -c "$2" || true
}

wait_for_line() { # FILE TEXT [COUNT]: until that many lines have it
    tries=0
    until [ "$(count_lines "$1" "$2")" -ge "${3:-1}" ]; do
        tries=$((tries + 1))
        [ $tries -lt 600 ] || { cat "$1" >&2; fail "'$2' did not appear in $1 within 30 s"; }
        sleep 0.05
    done
}

start_registry() { # HOST
    spawn "registry-$1" "$1" sh "$prefix/bin/mqregistry" -c "$prefix/conf/$name/registry.conf"
    wait_for_line "$run/registry-$1.out" "boot success"
}

start_broker() { # HOST: small log files and reserve, for this machine may have little room
    spawn "broker-$1" "$1" sh "$prefix/bin/mqbroker" -c "$prefix/conf/$name/broker-$1.conf" --diskReserveBytes=67108864 \
        --mappedFileSizeCommitLog=67108864
    wait_for_line "$run/broker-$1.out" "boot success"
    tail -n 1 "$run/broker-$1.out"
}

end_job() { # NAME [SIGNAL]: and waits for its end
    pid=$(pid_of "$1") && rm -f "$run/pids/$1"
    is_ours "$pid" || return 0
    kill "-${2:-TERM}" "$pid" 2>/dev/null || return 0
    tries=0
    while is_ours "$pid" && [ $tries -lt 1200 ]; do
        tries=$((tries + 1))
        sleep 0.05
    done
    wait "$pid" 2>/dev/null || true
}

stop_jobs() {
    for kind in steady broker registry; do
        for file in "$run/pids/$kind"*; do
            [ ! -f "$file" ] || end_job "${file##*/}"
        done
    done
}

stop_all() {
    stop_jobs
    remove_hosts
}

check_empty() { # without its namespace nobody would find a process again
    for host in $hosts $client; do
        left=$(ip netns pids "$(namespace_of "$host")" 2>/dev/null | tr '\n' ' ')
        [ -z "$left" ] || fail "processes that are none of $run still run on $host: ${left% }
Were they started with another DEPLOYMENT_DIR? Give --stop the same, or end them; the hosts are still there."
    done
}

# --- the console ---

telnet_to() { # HOST LINE...: types lines into its broker's console, on that host, as an operator does
    at=$1
    shift
    on "$at" expect -f - -- "$@" <<'EXPECT' || fail "the telnet session on $at"
set timeout 20
proc answer {pattern} {
    expect {
        -re $pattern {}
        timeout { puts stderr "\nno answer like $pattern"; exit 1 }
        eof { puts stderr "\nthe session ended"; exit 1 }
    }
}
spawn -noecho telnet 127.0.0.1 10088
answer {Escape character[^\n]*\n}
send -- "auth -u jmq -p jmq\r"
answer {"status":3[^\n]*\n>}
foreach line $argv {
    send -- "$line\r"
    if {$line eq "cluster" || $line eq "replication"} {
        answer {\r\n>$}
    } else {
        answer {"status":0[^\n]*\n>}
    }
}
send -- "\035"
answer {telnet>}
send -- "q\r"
expect eof
EXPECT
    echo
}

# --- what the applications see ---

show_seconds() { # COUNT: waits for as many further lines of the applications, and shows them
    from=$(count_lines "$run/steady.out" '^[0-9:]*  sent')
    wait_for_line "$run/steady.out" '^[0-9:]*  sent' $((from + $1))
    grep '^[0-9:]*  sent' "$run/steady.out" | tail -n +$((from + 1)) | head -n "$1"
}

# --- the example ---

prepare() {
    step "1. What CJMQ needs from Debian"
    "$root/scripts/packages.sh" build demo hosts
    echo "All there."

    step "2. Build and install into $prefix"
    mkdir -p "$work"
    (cd "$root" && cmake --preset release -B "$work/tree" -DCJMQ_TESTS=OFF -DCMAKE_INSTALL_PREFIX="$prefix" &&
        cmake --build "$work/tree" && cmake --install "$work/tree") >"$work/build.log" 2>&1 ||
        { tail -n 30 "$work/build.log" >&2; fail "the build; the whole output is in $work/build.log"; }
    PKG_CONFIG_PATH=$prefix/lib/pkgconfig
    LD_LIBRARY_PATH=$prefix/lib
    export PKG_CONFIG_PATH LD_LIBRARY_PATH
    # The flags are words quoted for a shell.
    eval "${CC:-cc} \"\$root/examples/c/steady.c\" -o \"\$work/steady\" -pthread $(pkg-config --cflags --libs cjmq)" ||
        fail "compiling steady.c"
    echo "bin/: $(ls "$prefix/bin" | tr '\n' ' ')"
}

bring_up() {
    step "3. The hosts, each a network namespace with its address in the guide"
    rm -rf "$run"
    mkdir -p "$run/pids"
    add_hosts
    picture

    step "4. Start the registries and the brokers"
    for host in $registries; do
        start_registry "$host"
        echo "registry on $host:9876"
    done
    for host in $hosts; do
        start_broker "$host"
    done

    step "5. Describe the cluster: the guide's documents, typed into telnet on ${hosts%% *}"
    telnet_to "${hosts%% *}" "broker set $(cat "$prefix/conf/$name/broker.json")" \
        "topic set $(cat "$prefix/conf/$name/topic.json")" cluster
}

demonstrate() {
    step "6. Applications on $client: 200 messages a second as app4Product, received as app4Consumer"
    spawn steady "$client" "$work/steady" "$namesrv" topic_simple app4Product app4Consumer 200
    show_seconds 3

    step "7. The master of $group is lost: kill -9 on $master"
    end_job "broker-$master" KILL
    show_seconds 4
    echo "$while_it_is_away"

    step "8. Its slave takes its place: broker promote $slave_alias, typed into telnet on $slave"
    telnet_to "$slave" "broker promote $slave_alias" cluster
    show_seconds 4

    step "9. The old master comes back, as a slave of the new one"
    start_broker "$master"
    show_seconds 3
    telnet_to "$master" replication
    telnet_to "$slave" cluster replication

    step "10. What the applications saw, over all"
    end_job steady
    tail -n 2 "$run/steady.out"
    grep -q ' missing 0,' "$run/steady.out" || fail "acknowledged messages are missing"
}

usage() {
    echo "Usage: examples/$name.sh [--keep | --stop]" >&2
    exit 2
}

main() {
    made_hosts=
    keep=
    case ${1-} in
        "") ;;
        --keep) keep=yes ;;
        --stop)
            ip netns list 2>/dev/null | grep -q "^$router" || { echo "Nothing runs."; exit 1; }
            stop_jobs
            check_empty
            remove_hosts
            echo "Stopped."
            exit 0
            ;;
        *) usage ;;
    esac
    [ $# -le 1 ] || usage
    ip netns list 2>/dev/null | grep -q "^$router" && fail "it runs already; stop it with: $stop_command"
    trap '[ -z "$made_hosts" ] || stop_all' EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    prepare
    bring_up
    demonstrate
    if [ -n "$keep" ]; then
        step "The deployment stays up"
        cat <<EOF
Console     ip netns exec $(namespace_of "$slave") telnet 127.0.0.1 10088   (user jmq, password jmq)
Cluster     ip netns exec $(namespace_of "$client") sh $prefix/bin/mqadmin clusterList -n '$namesrv'
Logs        $run/ADDRESS/logs/rocketmqlogs
Stop it     $stop_command
EOF
        made_hosts=
        exit 0
    fi
    step "11. Stop"
    stop_all
    made_hosts=
    echo "All stopped, the hosts are gone. To look around in a running one, use examples/$name.sh --keep"
}
