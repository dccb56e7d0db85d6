#!/usr/bin/env bash
# test_deployments.sh WORK_DIR - runs examples/four-node.sh to its end, and examples/two-node.sh --keep and --stop, building in WORK_DIR.
# Exit status 77 (skipped) where hosts cannot be made.

set -u
tree=$(cd "$(dirname "$0")/../.." && pwd)
tmp=$(mktemp -d "${TMPDIR:-/tmp}/cjmq-deployments-XXXXXX")
export DEPLOYMENT_DIR=$1

cleanup() {
    "$tree/examples/four-node.sh" --stop >/dev/null 2>&1
    "$tree/examples/two-node.sh" --stop >/dev/null 2>&1
    rm -rf "$tmp"
}
trap cleanup EXIT

# shellcheck source=tests/install/common.sh
. "$tree/tests/install/common.sh"

unshare --net true 2>/dev/null || {
    echo "skipped: needs CAP_NET_ADMIN"
    exit 77
}

hosts_left() { ip netns list | grep -c "^cjmq-$1-"; }

expect_status 2 "$tree/examples/four-node.sh" --keeep
expect_status 1 "$tree/examples/four-node.sh" --stop
expect_output "Nothing runs."

expect_status 0 "$tree/examples/four-node.sh"
expect_output " missing 0,"
expect_output "All stopped"
[ "$(hosts_left four-node)" = 0 ] || fail "hosts are left: $(ip netns list)"

expect_status 0 "$tree/examples/two-node.sh" --keep
expect_output " missing 0,"
expect_output "DEPLOYMENT_DIR='$DEPLOYMENT_DIR' examples/two-node.sh --stop"
expect_status 0 ip netns exec cjmq-two-node-192.168.1.100 "$DEPLOYMENT_DIR/install/bin/mqadmin" clusterList -n 10.42.0.141:9876
expect_output "192.168.1.5:50088"
expect_output "10.42.0.141:50088"
expect_status 1 "$tree/examples/two-node.sh"
expect_output "it runs already"
# Its processes are not those of another folder: they are left, and so are the hosts, without which nobody would find them.
expect_status 1 env DEPLOYMENT_DIR="$tmp/other" "$tree/examples/two-node.sh" --stop
expect_output "another DEPLOYMENT_DIR"
[ "$(hosts_left two-node)" = 0 ] && fail "--stop with another DEPLOYMENT_DIR removed the hosts"
expect_status 0 "$tree/examples/two-node.sh" --stop
[ "$(hosts_left two-node)" = 0 ] || fail "hosts are left: $(ip netns list)"
for exe in /proc/[0-9]*/exe; do
    case $(readlink "$exe") in "$DEPLOYMENT_DIR"/*) fail "$exe still runs: $(readlink "$exe")" ;; esac
done
echo "the examples' deployments work"
