#!/bin/sh
# JMQ's degraded deployment on one machine: two hosts, one group of a master and a slave, SYNCHRONOUS, and what applications see when
# the master is lost, its slave is promoted, and the old master comes back.
#
#   examples/two-node.sh           everything, ends with all stopped; needs root, for network namespaces
#   examples/two-node.sh --keep    leaves it running and says how to reach and stop it
#   examples/two-node.sh --stop    stops what --keep left running
#
# Environment: DEPLOYMENT_DIR (build/deployment), an absolute path: where it builds and where the hosts keep their files
name=two-node
hosts="192.168.1.5 10.42.0.141"
registries="192.168.1.5 10.42.0.141"
group=jmq102 master=192.168.1.5 slave=10.42.0.141 slave_alias=jmq102_s
while_it_is_away="There is no other group: nobody can send or receive until the slave is promoted."
picture() {
    cat <<'EOF'
             192.168.1.100  applications
                   |
          +--------+--------+
          |                 |
    192.168.1.5        10.42.0.141
    jmq102_m FULL -->  jmq102_s NONE
    registry           registry
EOF
}
# shellcheck source=examples/deployment.sh
. "$(dirname "$0")/deployment.sh"
main "$@"
