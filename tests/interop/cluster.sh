#!/usr/bin/env bash
# cluster.sh - one registry and one broker on free loopback ports, for the interop programs.
#
#   cluster.sh start         choose ports, start both, write $INTEROP_CLUSTER_DIR/endpoints
#   cluster.sh kill-broker   kill -9
#   cluster.sh stop-broker   SIGTERM, wait for the end
#   cluster.sh start-broker  start it again on the same port and store
#   cluster.sh stop          SIGTERM to both, SIGKILL to what does not end in time
#   cluster.sh logs          the last lines of what the servers wrote
#
# run.sh calls it, and so do the programs when they need the broker to go away in the middle.
# Environment: INTEROP_CLUSTER_DIR  scratch directory: stores, logs, pids (required)
#              INTEROP_REGISTRY, INTEROP_BROKER   whose program it is: cjmq (default) or apache
#              INTEROP_MQREGISTRY, INTEROP_MQBROKER   the two programs (cjmq)
#              INTEROP_APACHE_LIB   folder with the jars of name server and broker (apache)
# Invariant: whatever it starts is recorded in $INTEROP_CLUSTER_DIR/<name>.pid before it is waited for, so that `stop`
# ends it whatever happened in between.
set -euo pipefail

readonly dir=${INTEROP_CLUSTER_DIR:?the scratch directory of the cluster}
readonly registry=${INTEROP_REGISTRY:-cjmq} broker=${INTEROP_BROKER:-cjmq}
readonly start_seconds_max=60
readonly stop_seconds_max=20

# Offsets from the base port. RocketMQ's broker also takes listenPort - 2 (its fast port), hence the gap.
readonly offset_registry=0 offset_registry_telnet=1 offset_broker=4 offset_broker_ha=5 offset_broker_telnet=6
readonly offsets_used=(0 1 2 4 5 6)

die() {
  echo "cluster.sh: $*" >&2
  exit 1
}

port_accepts() {
  (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

# Free base port below the kernel's ephemeral range, so that no outgoing connection takes one of them later on.
choose_base_port() {
  local attempt base offset
  for attempt in {1..200}; do
    base=$((20000 + (RANDOM % 1000) * 10))
    for offset in "${offsets_used[@]}"; do
      if port_accepts $((base + offset)); then continue 2; fi
    done
    echo "$base"
    return
  done
  die "no free block of ports between 20000 and 30000"
}

# A process that ended but was not yet reaped by its parent counts as ended.
process_lives() {
  local stat
  { read -r stat <"/proc/$1/stat"; } 2>/dev/null && [[ ${stat##*) } != Z* ]]
}

# launch NAME COMMAND...: in the background, detached from the caller's terminal and pipes. A keeper process notes the
# pid and, at the end, the exit code.
launch() {
  local name=$1
  shift
  rm -f "$dir/$name.pid" "$dir/$name.exit"
  # shellcheck disable=SC2016
  setsid bash -c '"${@:3}" & echo $! >"$1.new" && mv "$1.new" "$1"; wait $!; echo $? >"$2.new" && mv "$2.new" "$2"' \
    keeper "$dir/$name.pid" "$dir/$name.exit" "$@" </dev/null >>"$dir/$name.out" 2>&1 &
  until [[ -f $dir/$name.pid ]]; do sleep 0.01; done
}

await_port() {
  local name=$1 port=$2 deadline=$((SECONDS + start_seconds_max)) pid
  pid=$(<"$dir/$name.pid")
  until port_accepts "$port"; do
    process_lives "$pid" || die "$name ended before it listened on port $port:"$'\n'"$(tail -n 20 "$dir/$name.out")"
    ((SECONDS < deadline)) || die "$name does not listen on port $port after $start_seconds_max s"
    sleep 0.05
  done
}

# end_process NAME SIGNAL: fails when it had ended by itself, or did not end as the signal asks.
end_process() {
  local name=$1 signal=$2 pid deadline code
  [[ -f $dir/$name.pid ]] || return 0
  pid=$(<"$dir/$name.pid")
  if ! process_lives "$pid"; then
    signal="no signal"
  else
    kill "-$signal" "$pid" 2>/dev/null || true
    deadline=$((SECONDS + stop_seconds_max))
    while process_lives "$pid"; do
      if ((SECONDS >= deadline)); then
        echo "cluster.sh: $name still runs $stop_seconds_max s after SIG$signal, killing it" >&2
        kill -KILL "$pid" 2>/dev/null || true
        deadline=$((SECONDS + stop_seconds_max))
      fi
      sleep 0.02
    done
  fi
  until [[ -f $dir/$name.exit ]]; do sleep 0.01; done
  rm -f "$dir/$name.pid"
  code=$(<"$dir/$name.exit")
  case $signal:$code in
  TERM:0 | KILL:137) ;;
  TERM:143) [[ ${!name} == apache ]] ;; # what the Java machine says after an orderly end
  *) false ;;
  esac || {
    echo "cluster.sh: $name ended with exit code $code after $signal" >&2
    return 1
  }
}

# --- the two servers -------------------------------------------------------------------------------------------

broker_properties() {
  cat <<EOF
brokerClusterName=InteropCluster
brokerName=interop
brokerId=0
brokerRole=ASYNC_MASTER
brokerIP1=127.0.0.1
namesrvAddr=127.0.0.1:$((base + offset_registry))
listenPort=$((base + offset_broker))
haListenPort=$((base + offset_broker_ha))
storePathRootDir=$dir/broker-store
storePathCommitLog=$dir/broker-store/commitlog
flushDiskType=SYNC_FLUSH
mappedFileSizeCommitLog=67108864
autoCreateTopicEnable=true
transactionTimeOut=1000
transactionCheckInterval=1000
EOF
}

start_registry_cjmq() {
  launch registry env HOME="$dir/home" "$INTEROP_MQREGISTRY" \
    --listenPort=$((base + offset_registry)) --telnetPort=$((base + offset_registry_telnet)) \
    --storePathRootDir="$dir/registry-store" --logDir="$dir/logs"
}

start_broker_cjmq() {
  local properties
  mapfile -t properties < <(broker_properties)
  launch broker env HOME="$dir/home" "$INTEROP_MQBROKER" "${properties[@]/#/--}" \
    --telnetPort=$((base + offset_broker_telnet)) --logDir="$dir/logs"
}

# The original refuses to start without its log configuration, and reflects into the JDK to unmap its files.
run_apache() {
  local name=$1 main=$2 log_file
  shift 2
  mkdir -p "$dir/apache-home/conf"
  for log_file in logback_namesrv.xml logback_broker.xml; do
    echo '<configuration><root level="OFF"/></configuration>' >"$dir/apache-home/conf/$log_file"
  done
  launch "$name" java -Xms256m -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 \
    --add-opens=java.base/java.nio=ALL-UNNAMED --add-opens=java.base/sun.nio.ch=ALL-UNNAMED \
    --add-opens=java.base/jdk.internal.ref=ALL-UNNAMED --add-exports=java.base/jdk.internal.ref=ALL-UNNAMED \
    "-Duser.home=$dir/home" "-Drocketmq.home.dir=$dir/apache-home" -cp "$INTEROP_APACHE_LIB/*" "$main" "$@"
}

start_registry_apache() {
  echo "listenPort=$((base + offset_registry))" >"$dir/registry.properties"
  run_apache registry org.apache.rocketmq.namesrv.NamesrvStartup -c "$dir/registry.properties"
}

# On a busy machine the original refuses what waited 200 ms, which is not what is tested here.
start_broker_apache() {
  {
    broker_properties
    echo "waitTimeMillsInSendQueue=20000"
  } >"$dir/broker.properties"
  run_apache broker org.apache.rocketmq.broker.BrokerStartup -c "$dir/broker.properties"
}

# --- commands --------------------------------------------------------------------------------------------------

read_base() {
  [[ -f $dir/base-port ]] || die "no cluster was started in $dir"
  base=$(<"$dir/base-port")
}

start_broker() {
  read_base
  "start_broker_$broker"
  await_port broker $((base + offset_broker))
}

case ${1:-} in
start)
  [[ $registry == cjmq || $registry == apache ]] || die "INTEROP_REGISTRY=$registry, expected cjmq or apache"
  [[ $broker == cjmq || $broker == apache ]] || die "INTEROP_BROKER=$broker, expected cjmq or apache"
  mkdir -p "$dir/home" "$dir/logs" "$dir/broker-store" "$dir/registry-store"
  base=$(choose_base_port)
  echo "$base" >"$dir/base-port"
  "start_registry_$registry"
  await_port registry $((base + offset_registry))
  start_broker
  {
    echo "export INTEROP_REGISTRY_ADDRESS=127.0.0.1:$((base + offset_registry))"
    echo "export INTEROP_BROKER_ADDRESS=127.0.0.1:$((base + offset_broker))"
  } >"$dir/endpoints"
  ;;
start-broker) start_broker ;;
kill-broker) end_process broker KILL ;;
stop-broker) end_process broker TERM ;;
stop)
  code=0
  end_process broker TERM || code=1
  end_process registry TERM || code=1
  exit $code
  ;;
logs)
  for file in "$dir"/*.out "$dir"/logs/*.log; do
    [[ -s $file ]] || continue
    echo "--- ${file#"$dir"/}"
    tail -n 20 "$file"
  done
  ;;
*) die "'${1:-}' is no command; expected start, stop, start-broker, kill-broker, stop-broker or logs" ;;
esac
