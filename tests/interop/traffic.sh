#!/usr/bin/env bash
# traffic.sh - tests/system/traffic by the published Java client 4.9, for what Java applications see of a fault:
#     TRAFFIC=tests/interop/traffic.sh FAULT_RECOVERY_S=120 python3 tests/system/fault_test.py master_killed
# It needs what `run.sh java49` has built. CJMQ_INTEROP_CACHE: as there.
set -euo pipefail
tree=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cache=${CJMQ_INTEROP_CACHE:-$tree/build/interop}
[[ -d $cache/java49/classes ]] || {
  echo "traffic.sh: nothing in $cache/java49; run tests/interop/run.sh java49 send.sync once" >&2
  exit 1
}
exec java -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Drocketmq.client.logUseSlf4j=true \
  -cp "$cache/java49/classes:$cache/java49/lib/*" cjmq.interop.TrafficMain "$@"
