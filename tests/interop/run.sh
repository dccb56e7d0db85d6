#!/usr/bin/env bash
# run.sh - runs the programs of one published client against one registry and one broker.
#
#   run.sh java49|java5|go [SCENARIO...]
#   run.sh remote_java49|remote_go [SCENARIO...]   what fails is kept by a second group (retryType REMOTE)
#   run.sh store49 [SCENARIO...]             a store that our broker and the original 4.9 have in turns
#   run.sh replication49 [SCENARIO...]       a slave of one of them follows a master of the other
#   run.sh mixed_registry49                  brokers and registries of both in one cluster
#
# Environment: CJMQ_INTEROP_CACHE   folder for what is built and downloaded (default: build/interop in the source tree)
#              CJMQ_INTEROP_BIN     folder with mqregistry and mqbroker (default: build/release/bin), or
#              CJMQ_INTEROP_MQREGISTRY, CJMQ_INTEROP_MQBROKER   each by itself
#              CJMQ_INTEROP_SERVER  whose registry and broker: cjmq (default), or the original, which proves the
#                                   programs themselves: apache49, apache5, or apache: that of the client's line (4.9
#                                   for go). CJMQ_INTEROP_REGISTRY, CJMQ_INTEROP_BROKER: each by itself, to mix them
#              CJMQ_INTEROP_KEEP=1  keep the scratch directory (stores, logs)
# Exit code: 0 all checks hold, 1 some do not, 2 wrong usage, 77 skipped: something is missing, as the last line says.
set -euo pipefail

readonly here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly tree=$(cd "$here/../.." && pwd)
readonly cache=${CJMQ_INTEROP_CACHE:-$tree/build/interop}
readonly bin=${CJMQ_INTEROP_BIN:-$tree/build/release/bin}
readonly skip_code=77
# Below the time limit that ctest sets, so that the servers are always stopped from here.
readonly seconds_max=260

usage() {
  echo "usage: run.sh java49|java5|go|remote_java49|remote_go|store49|replication49|mixed_registry49 [SCENARIO...]" >&2
  exit 2
}

skip() {
  echo "skipped: interop.$client: $*"
  exit $skip_code
}

fail() {
  echo "interop.$client: $*" >&2
  exit 1
}

need() {
  local tool missing=()
  for tool in "$@"; do
    command -v "$tool" >/dev/null || missing+=("$tool")
  done
  ((${#missing[@]} == 0)) || skip "not found: ${missing[*]}"
}

# up_to_date STAMP PATH...: no file below the paths is newer than the stamp.
up_to_date() {
  local stamp=$1
  shift
  [[ -f $stamp && -z $(find "$@" -type f -newer "$stamp" -print -quit) ]]
}

# download LOG COMMAND...: without a network the client cannot be had, which is no fault of ours.
download() {
  local log=$1
  shift
  "$@" >"$log" 2>&1 || skip "cannot download what is needed, see $log"
}

# compile LOG COMMAND...
compile() {
  local log=$1
  shift
  "$@" >"$log" 2>&1 || fail "the programs do not compile: $(cat "$log")"
}

# --- building --------------------------------------------------------------------------------------------------

# maven DIRECTORY ARGUMENT...: the output of a build stays in DIRECTORY.
maven() {
  local directory=$1
  shift
  mvn --quiet --batch-mode "-Dinterop.build.directory=$directory" "$@"
}

build_java() {
  local directory=$cache/$java
  mkdir -p "$directory"
  up_to_date "$directory/stamp" "$here/java/pom.xml" "$here/java/src" && return
  need mvn javac
  rm -rf "$directory/lib" "$directory/classes"
  download "$directory/download.log" maven "$directory" -f "$here/java/pom.xml" "-P$java" \
    dependency:resolve-plugins dependency:copy-dependencies
  compile "$directory/compile.log" maven "$directory" -f "$here/java/pom.xml" "-P$java" compile
  touch "$directory/stamp"
}

build_go() {
  local directory=$cache/go
  mkdir -p "$directory"
  up_to_date "$directory/stamp" "$here/go" && return
  need go
  (cd "$here/go" && download "$directory/download.log" go mod download)
  (cd "$here/go" && compile "$directory/compile.log" go build -o "$directory/interop" .)
  touch "$directory/stamp"
}

# build_apache_server LINE: apache49 or apache5.
build_apache_server() {
  local directory=$cache/$1
  mkdir -p "$directory"
  up_to_date "$directory/stamp" "$here/apache-server/pom.xml" && return
  need mvn
  rm -rf "$directory/lib"
  download "$directory/download.log" maven "$directory" -f "$here/apache-server/pom.xml" "-P$1" \
    dependency:copy-dependencies "-DoutputDirectory=$directory/lib"
  touch "$directory/stamp"
}

# provide_server KIND_VARIABLE WHOSE PROGRAM_VARIABLE PROGRAM: sees to it that one of the two servers can be started,
# and tells cluster.sh how.
provide_server() {
  local kind_variable=$1 whose=$2 program_variable=$3 program=$4
  if [[ $whose == apache ]]; then
    [[ $java == java5 ]] && whose=apache5 || whose=apache49
  fi
  case $whose in
  cjmq)
    [[ -x $program ]] || fail "no program $program; build it, or set CJMQ_INTEROP_BIN"
    export "$kind_variable=cjmq" "$program_variable=$program"
    ;;
  apache49 | apache5)
    need java
    build_apache_server "$whose"
    export "$kind_variable=apache" "INTEROP_APACHE_LIB=$cache/$whose/lib"
    ;;
  *)
    echo "run.sh: no server '$whose'; expected cjmq, apache, apache49 or apache5" >&2
    exit 2
    ;;
  esac
}

# --- running ---------------------------------------------------------------------------------------------------

# run_limited COMMAND...: for what is left of the time after building.
run_limited() {
  timeout -k 10 "$((seconds_max > SECONDS ? seconds_max - SECONDS : 1))" "$@"
}

# The clients write logs and offset files below the home directory: theirs is in the scratch directory.
run_java() {
  run_limited java -Xmx768m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 \
    "-Duser.home=$scratch/home" "-Drocketmq.client.logRoot=$scratch/client-logs" -Drocketmq.client.logLevel=WARN \
    -Drocketmq.client.logFileMaxIndex=2 -Drocketmq.client.rebalance.lockInterval=1000 \
    -cp "$cache/$java/classes:$cache/$java/lib/*" "cjmq.interop.$java_main" "$@"
}

run_go() {
  run_limited env HOME="$scratch/home" ROCKETMQ_GO_LOG_LEVEL=error "$cache/go/interop" -log "$scratch/client.log" "$@"
}

clean_up() {
  "$INTEROP_CLUSTER_COMMAND" stop || true
  if [[ ${CJMQ_INTEROP_KEEP:-} == 1 ]]; then
    echo "kept: $scratch"
  else
    rm -rf "$scratch"
  fi
}

client=${1:-}
(($# == 0)) || shift
# So that a few messages fill several of each kind.
readonly small_files="mappedFileSizeCommitLog=1048576
mappedFileSizeConsumeQueue=2000
maxHashSlotNum=2000
maxIndexNum=1000"
java=java49 java_main=Main run_client=run_java
case $client in
java49) ;;
java5) java=java5 ;;
go) run_client=run_go ;;
remote_*)
  [[ $client == remote_go ]] && run_client=run_go || [[ $client == remote_java49 ]] || usage
  export INTEROP_KEEPER=1
  (($# > 0)) || set -- retry retry.table retry.dead
  ;;
store49)
  java_main=StoreMain
  export INTEROP_BROKER_PROPERTIES="$small_files
messageDelayLevel=1s 6s
flushConsumerOffsetInterval=1000
transactionCheckMax=1000"
  ;;
replication49)
  java_main=ReplicationMain
  export INTEROP_BROKER_PROPERTIES="$small_files
messageDelayLevel=1s 5s 10s
registerNameServerPeriod=10000
haSendHeartbeatInterval=1000"
  ;;
mixed_registry49)
  java_main=MixedMain
  export INTEROP_BROKER_PROPERTIES="registerNameServerPeriod=10000"
  ;;
*) usage ;;
esac

if [[ $java_main == Main ]]; then
  # Neighbours differ, so that a level that is off by one is found out; retries begin with level 3.
  export INTEROP_DELAY_LEVELS="1s 3s 1s 2s 3s 4s 5s 6s 7s 8s 9s 10s 11s 12s 13s 14s 15s 16s"
fi

registry=${CJMQ_INTEROP_REGISTRY:-${CJMQ_INTEROP_SERVER:-cjmq}}
broker=${CJMQ_INTEROP_BROKER:-${CJMQ_INTEROP_SERVER:-cjmq}}
provide_server INTEROP_REGISTRY "$registry" INTEROP_MQREGISTRY "${CJMQ_INTEROP_MQREGISTRY:-$bin/mqregistry}"
provide_server INTEROP_BROKER "$broker" INTEROP_MQBROKER "${CJMQ_INTEROP_MQBROKER:-$bin/mqbroker}"

case $client in
go | remote_go) build_go ;;
*)
  need java
  build_java
  ;;
esac
if [[ $java_main != Main ]]; then
  build_apache_server apache49
  export INTEROP_APACHE_LIB=$cache/apache49/lib
fi

scratch=$(mktemp -d "${TMPDIR:-/tmp}/cjmq-interop-$client.XXXXXX")
mkdir -p "$scratch/home"
export INTEROP_CLUSTER_DIR=$scratch INTEROP_CLUSTER_COMMAND=$here/cluster.sh
trap clean_up EXIT
trap 'exit 143' TERM
trap 'exit 130' INT

"$INTEROP_CLUSTER_COMMAND" start || fail "the cluster does not start"
# shellcheck source=/dev/null
source "$scratch/endpoints"
code=0
"$run_client" "$@" || code=$?
case $code in
0) ;;
124 | 137) echo "interop.$client: the client was ended, for $seconds_max s are over" >&2 ;;
esac
"$INTEROP_CLUSTER_COMMAND" stop || code=1
if ((code != 0)); then
  "$INTEROP_CLUSTER_COMMAND" logs
fi
echo "interop.$client against the registry of $registry and the broker of $broker: $( ((code == 0)) && echo passed || echo "failed ($code)")"
((code == 0)) || exit 1
