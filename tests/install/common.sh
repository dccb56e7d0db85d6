# What the tests of this folder share; sourced. Whoever sources it sets $tmp, where outputs are kept as *.out and *.log.
# shellcheck shell=bash

fail() {
    echo "FAILED: $*" >&2
    echo "--- output of the programs" >&2
    cat "$tmp"/*.out "$tmp"/*.log "${logs:-$tmp}"/*.log >&2 2>/dev/null
    exit 1
}

# Waits until a command succeeds.
await() {
    local deadline=$((SECONDS + 20))
    until "$@" 2>/dev/null; do
        [ $SECONDS -lt $deadline ] || fail "waited 20 s for: $*"
        sleep 0.02
    done
}

# Prints $1 free ports, below those that the kernel gives to outgoing connections: one of those might be taken again
# before a program listens on it. The ports that follow from each as settings' defaults are free, too: the console's
# (port % 10000 + 10000) and the second one (port - 2).
pick_ports() {
    python3 - "$1" <<'PYTHON'
import random, socket, sys
held, ports = [], []
while len(ports) < int(sys.argv[1]):
    port = random.randrange(20002, 32000)
    own = []
    try:
        for p in (port, port - 2, port % 10000 + 10000):
            s = socket.socket()
            own.append(s)
            s.bind(("0.0.0.0", p))
    except OSError:
        for s in own:
            s.close()
        continue
    held += own
    ports.append(port)
print(*ports)
PYTHON
}

# expect_status WANTED COMMAND...: runs it with its output in $output.
expect_status() {
    local wanted=$1 got
    shift
    output=$("$@" 2>&1 </dev/null)
    got=$?
    [ $got -eq "$wanted" ] || fail "'$*' ended with status $got instead of $wanted: $output"
}

expect_output() {
    case $output in
        *"$1"*) ;;
        *) fail "expected '$1' in: $output" ;;
    esac
}

# A daemon that was asked to stop ends with status 0 (which a leak under AddressSanitizer spoils).
expect_clean_end() {
    wait "$2" || fail "$1 ended with status $?"
}

listening() { (exec 3<>"/dev/tcp/127.0.0.1/$1"); }
exists() { [ -s "$1" ]; }
