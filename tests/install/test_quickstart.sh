#!/usr/bin/env bash
# test_quickstart.sh WORK_DIR - runs examples/quickstart.sh as a new user does, but on ports that are free and building
# in WORK_DIR: --keep, again while that cluster is up, --stop, with a port that is taken, and to its end.

set -u
tree=$(cd "$(dirname "$0")/../.." && pwd)
tmp=$(mktemp -d "${TMPDIR:-/tmp}/cjmq-quickstart-XXXXXX")
export QUICKSTART_DIR=$1
quickstart=$tree/examples/quickstart.sh
logs=$QUICKSTART_DIR/run/logs

cleanup() {
    "$quickstart" --stop >/dev/null 2>&1
    rm -rf "$tmp"
}
trap cleanup EXIT

# shellcheck source=tests/install/common.sh
. "$tree/tests/install/common.sh"

# shellcheck disable=SC2207 # one word is one port
ports=($(pick_ports 2))
export REGISTRY_PORT=${ports[0]} BROKER_PORT=${ports[1]}

expect_status 2 "$quickstart" --keeep
expect_status 2 env BROKER_PORT=5o088 "$quickstart"
expect_output "'5o088'"
expect_status 1 "$quickstart" --stop

expect_status 0 "$quickstart" --keep
expect_output "QUICKSTART_DIR='$QUICKSTART_DIR' examples/quickstart.sh --stop"
listening "$REGISTRY_PORT" || fail "--keep: no registry on port $REGISTRY_PORT"
listening "$BROKER_PORT" || fail "--keep: no broker on port $BROKER_PORT"
expect_status 0 "$QUICKSTART_DIR/install/bin/mqadmin" clusterList -n "127.0.0.1:$REGISTRY_PORT"
expect_output "127.0.0.1:$BROKER_PORT"
expect_status 1 "$quickstart"
expect_output "quickstart.sh --stop"
expect_output "QUICKSTART_DIR='$QUICKSTART_DIR'"
expect_status 0 "$quickstart" --stop
listening "$BROKER_PORT" && fail "--stop left the broker running"
listening "$REGISTRY_PORT" && fail "--stop left the registry running"

# Somebody else has one of the broker's ports, its own or the one for slaves: nothing is started.
for port in "$BROKER_PORT" $((BROKER_PORT + 1)); do
    coproc python3 -c 'import socket, sys
s = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print("listening", flush=True)
sys.stdin.read()' "$port"
    read -r _ <&"${COPROC[0]}"
    expect_status 1 "$quickstart"
    expect_output "port $port of 127.0.0.1 is in use"
    expect_output "BROKER_PORT="
    listening "$REGISTRY_PORT" && fail "the registry of a quick start that failed runs"
    holder=$COPROC_PID
    eval "exec ${COPROC[1]}>&-"
    wait "$holder"
done

expect_status 0 "$quickstart"
expect_output "order 2"
expect_output "NO_PERMISSION"
expect_output "Broker and registry stopped."
for file in "$logs"/*.pid; do
    [ -e "$file" ] && fail "$file is left"
done
echo "the quick start works"
