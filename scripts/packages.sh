#!/bin/sh
# The Debian packages that CJMQ needs; installs those that are missing.
#
#   scripts/packages.sh build|demo|hosts|test ...        as root or through sudo; else it names them and exits 1
#   scripts/packages.sh --list build|demo|hosts|test ... prints them
#
# build: to compile and install. demo: what the examples type with. hosts: what four-node.sh and two-node.sh among them make hosts
# with. test: what tests/run.sh needs besides.
# Java and Go are not among them: without them the interoperability tests are skipped.

build="gcc libc6-dev cmake ninja-build pkg-config libev-dev libcjson-dev libsqlite3-dev zlib1g-dev libtelnet-dev uthash-dev libpq-dev libmariadb-dev"
demo="telnet expect"
hosts="iproute2"
test="libcmocka-dev clang-14 libclang-rt-14-dev telnet expect python3 iproute2 postgresql mariadb-server"

usage() {
    echo "Usage: scripts/packages.sh [--list] build|demo|hosts|test ..." >&2
    exit 2
}

list_only=
if [ "$1" = --list ]; then
    list_only=yes
    shift
fi
[ $# -gt 0 ] || usage
wanted=
for set in "$@"; do
    case $set in
        build) wanted="$wanted $build" ;;
        demo) wanted="$wanted $demo" ;;
        hosts) wanted="$wanted $hosts" ;;
        test) wanted="$wanted $test" ;;
        *) usage ;;
    esac
done

if [ -n "$list_only" ]; then
    printf '%s\n' $wanted | sort -u
    exit 0
fi
if ! command -v dpkg-query >/dev/null; then
    echo "This is no Debian system. Make sure that it has what these packages hold:$wanted" >&2
    exit 0
fi

missing=
for package in $(printf '%s\n' $wanted | sort -u); do
    status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)
    [ "$status" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" -eq 0 ]; then
    as_root=
elif command -v sudo >/dev/null && { [ -t 0 ] || sudo -n true 2>/dev/null; }; then
    as_root=sudo
else
    echo "Debian packages are missing, and only root can install them:" >&2
    echo "    apt-get install$missing" >&2
    exit 1
fi
echo "Installing Debian packages:$missing"
log=$(mktemp "${TMPDIR:-/tmp}/cjmq-packages-XXXXXX") || exit 1
trap 'rm -f "$log"' EXIT
install_missing() {
    $as_root apt-get update -q &&
        $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing
}
if ! install_missing >"$log" 2>&1; then
    tail -n 30 "$log" >&2
    echo "The installation failed, as it says above. By hand:" >&2
    echo "    apt-get install$missing" >&2
    exit 1
fi
