#!/usr/bin/env bash
# cluster.sh - one registry and one broker on free loopback ports, and a slave of it, for the interop programs.
#
#   cluster.sh start         choose ports, start registry and broker, write $INTEROP_CLUSTER_DIR/endpoints
#   cluster.sh kill-NODE     kill -9; NODE is registry, broker or slave
#   cluster.sh stop-NODE     SIGTERM, wait for the end
#   cluster.sh start-NODE [WHOSE [KEY=VALUE...]]   start it on its port and store: cjmq's program or apache's (without
#                            WHOSE: the one that it was last), a broker with these properties on top of the usual ones
#   cluster.sh pause-NODE    SIGSTOP: it keeps its connections and says nothing; resume-NODE: SIGCONT
#   cluster.sh new-store     put the stores of broker and slave, which must not run, aside: the next starts begin empty ones
#   cluster.sh stop          SIGTERM to all, SIGKILL to what does not end in time
#   cluster.sh logs          the last lines of what the servers wrote
#
# run.sh calls it, and so do the programs when they need a broker to go away in the middle.
# Environment: INTEROP_CLUSTER_DIR  scratch directory: stores, logs, pids (required)
#              INTEROP_REGISTRY, INTEROP_BROKER   whose program it is at first: cjmq (default) or apache
#              INTEROP_BROKER_PROPERTIES          more properties of every broker: lines KEY=VALUE
#              INTEROP_DELAY_LEVELS               messageDelayLevel of every broker (default: the broker's own)
#              INTEROP_KEEPER=1                   the slave is the master of a group of its own instead, which keeps the failed
#                                                 messages of the broker's group (retryType DB and REMOTE; ours only)
#              INTEROP_MQREGISTRY, INTEROP_MQBROKER   the two programs (cjmq)
#              INTEROP_APACHE_LIB   folder with the jars of name server and broker (apache)
# Invariant: whatever it starts is recorded in $INTEROP_CLUSTER_DIR/<name>.pid before it is waited for, so that `stop`
# ends it whatever happened in between.
set -euo pipefail

readonly dir=${INTEROP_CLUSTER_DIR:?the scratch directory of the cluster}
readonly registry=${INTEROP_REGISTRY:-cjmq} broker=${INTEROP_BROKER:-cjmq}
readonly start_seconds_max=60
readonly stop_seconds_max=20

# Offsets from the base port. A broker also takes listenPort - 2 (its fast port), listenPort + 1 (replication) and
# here + 2 (console of ours).
readonly offset_registry=0 offset_registry_telnet=1 offset_broker=4 offset_slave=12
readonly offsets_used=(0 1 2 4 5 6 10 12 13 14)

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
    base=$((20000 + (RANDOM % 500) * 20))
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

# whose NAME: cjmq or apache, as it was last started.
whose() {
  if [[ -f $dir/$1.whose ]]; then
    cat "$dir/$1.whose"
  elif [[ $1 == registry ]]; then
    echo "$registry"
  else
    echo "$broker"
  fi
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
    kill -CONT "$pid" 2>/dev/null || true # it may be paused
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
  TERM:143) [[ $(whose "$name") == apache ]] ;; # what the Java machine says after an orderly end
  *) false ;;
  esac || {
    echo "cluster.sh: $name ended with exit code $code after $signal" >&2
    return 1
  }
}

# --- the servers -----------------------------------------------------------------------------------------------

# broker_properties NODE KEY=VALUE...
broker_properties() {
  local node=$1 port_variable=offset_$1 port id=0 role=ASYNC_MASTER
  shift
  port=$((base + ${!port_variable}))
  [[ $node == broker ]] || { id=1 && role=SLAVE; }
  cat <<EOF
brokerClusterName=InteropCluster
brokerName=interop
brokerId=$id
brokerRole=$role
brokerIP1=127.0.0.1
brokerIP2=127.0.0.1
namesrvAddr=127.0.0.1:$((base + offset_registry))
listenPort=$port
haListenPort=$((port + 1))
storePathRootDir=$dir/$node-store
storePathCommitLog=$dir/$node-store/commitlog
flushDiskType=SYNC_FLUSH
mappedFileSizeCommitLog=67108864
autoCreateTopicEnable=true
transactionTimeOut=1000
transactionCheckInterval=1000
EOF
  [[ -z ${INTEROP_DELAY_LEVELS:-} ]] || echo "messageDelayLevel=$INTEROP_DELAY_LEVELS"
  printf '%s\n' "${INTEROP_BROKER_PROPERTIES:-}" "$@"
}

start_registry_cjmq() {
  launch registry env HOME="$dir/home" "$INTEROP_MQREGISTRY" \
    --listenPort=$((base + offset_registry)) --telnetPort=$((base + offset_registry_telnet)) \
    --storePathRootDir="$dir/registry-store" --logDir="$dir/logs"
}

# start_broker_cjmq NODE KEY=VALUE...
start_broker_cjmq() {
  local node=$1 port_variable=offset_$1 properties
  mapfile -t properties < <(broker_properties "$@" | grep .)
  mkdir -p "$dir/logs/$node"
  launch "$node" env HOME="$dir/home" "$INTEROP_MQBROKER" "${properties[@]/#/--}" \
    --telnetPort=$((base + ${!port_variable} + 2)) --logDir="$dir/logs/$node"
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

# start_broker_apache NODE KEY=VALUE...
# On a busy machine the original refuses what waited 200 ms, which is not what is tested here.
start_broker_apache() {
  local node=$1
  {
    echo "waitTimeMillsInSendQueue=20000"
    broker_properties "$@"
  } >"$dir/$node.properties"
  run_apache "$node" org.apache.rocketmq.broker.BrokerStartup -c "$dir/$node.properties"
}

# --- commands --------------------------------------------------------------------------------------------------

read_base() {
  [[ -f $dir/base-port ]] || die "no cluster was started in $dir"
  base=$(<"$dir/base-port")
}

start_registry() {
  echo "${1:-$(whose registry)}" >"$dir/registry.whose"
  "start_registry_$(whose registry)"
  await_port registry $((base + offset_registry))
}

# start_broker NODE [WHOSE [KEY=VALUE...]]
start_broker() {
  local node=$1 port_variable=offset_$1
  echo "${2:-$(whose "$node")}" >"$dir/$node.whose"
  "start_broker_$(whose "$node")" "$node" "${@:3}"
  await_port "$node" $((base + ${!port_variable}))
}

# Group `interop` has its failed messages kept by group `keeper`, as the broker document says that brokers without a brokerName go by.
push_keeper_document() {
  local entry='{"alias":"%s_m","ip":"127.0.0.1","port":%d,"permission":"FULL","retryType":"%s"}' document
  # shellcheck disable=SC2059
  printf -v document "[$entry,$entry]" interop $((base + offset_broker)) REMOTE keeper $((base + offset_slave)) DB
  exec 3<>"/dev/tcp/127.0.0.1/$((base + offset_registry_telnet))"
  printf 'auth -u jmq -p jmq\r\nbroker set %s\r\nexit\r\n' "$document" >&3
  grep -q '"status":0' <&3 || die "the registry does not take the broker document $document"
  exec 3>&-
}

case ${1:-} in
start)
  [[ $registry == cjmq || $registry == apache ]] || die "INTEROP_REGISTRY=$registry, expected cjmq or apache"
  [[ $broker == cjmq || $broker == apache ]] || die "INTEROP_BROKER=$broker, expected cjmq or apache"
  mkdir -p "$dir/home" "$dir/logs" "$dir/broker-store" "$dir/slave-store" "$dir/registry-store"
  base=$(choose_base_port)
  echo "$base" >"$dir/base-port"
  start_registry
  if [[ ${INTEROP_KEEPER:-} == 1 ]]; then
    push_keeper_document
    start_broker slave "" brokerName= brokerRole=ASYNC_MASTER brokerId=0 autoCreateTopicEnable=false
    start_broker broker "" brokerName=
  else
    start_broker broker
  fi
  {
    echo "export INTEROP_REGISTRY_ADDRESS=127.0.0.1:$((base + offset_registry))"
    echo "export INTEROP_REGISTRY_CONSOLE=127.0.0.1:$((base + offset_registry_telnet))"
    echo "export INTEROP_BROKER_ADDRESS=127.0.0.1:$((base + offset_broker))"
    echo "export INTEROP_SLAVE_ADDRESS=127.0.0.1:$((base + offset_slave))"
  } >"$dir/endpoints"
  ;;
start-registry)
  read_base
  start_registry "${@:2}"
  ;;
start-broker | start-slave)
  read_base
  start_broker "${1#start-}" "${@:2}"
  ;;
kill-registry | kill-broker | kill-slave) end_process "${1#kill-}" KILL ;;
stop-registry | stop-broker | stop-slave) end_process "${1#stop-}" TERM ;;
pause-registry | pause-broker | pause-slave) kill -STOP "$(<"$dir/${1#pause-}.pid")" ;;
resume-registry | resume-broker | resume-slave) kill -CONT "$(<"$dir/${1#resume-}.pid")" ;;
new-store)
  aside=$(mktemp -d "$dir/put-aside.XXXXXX")
  for node in broker slave; do
    [[ ! -f $dir/$node.pid ]] || die "the $node still runs on its store"
    mv "$dir/$node-store" "$aside"
    mkdir "$dir/$node-store"
  done
  ;;
stop)
  code=0
  for node in slave broker registry; do
    end_process $node TERM || code=1
  done
  exit $code
  ;;
logs)
  for file in "$dir"/*.out "$dir"/logs/*.log "$dir"/logs/*/*.log; do
    [[ -s $file ]] || continue
    echo "--- ${file#"$dir"/}"
    tail -n 20 "$file"
  done
  ;;
*) die "'${1:-}' is no command; expected start, stop, logs, new-store, or start-, stop-, kill-, pause-, resume- and a node" ;;
esac
