#!/bin/sh
# JMQ's production deployment on one machine: four hosts, two groups of a master and a slave, SYNCHRONOUS, and what applications see
# when a master is lost, its slave is promoted, and the old master comes back.
#
#   examples/four-node.sh           everything, ends with all stopped; needs root, for network namespaces
#   examples/four-node.sh --keep    leaves it running and says how to reach and stop it
#   examples/four-node.sh --stop    stops what --keep left running
#
# Environment: DEPLOYMENT_DIR (build/deployment), an absolute path: where it builds and where the hosts keep their files
name=four-node
hosts="192.168.1.2 192.168.1.3 192.168.1.5 192.168.1.6"
registries="192.168.1.3 192.168.1.6"
group=jmq102 master=192.168.1.5 slave=192.168.1.6 slave_alias=jmq102_s
while_it_is_away="Producers have turned to jmq100. What jmq102 held and nobody had received yet waits on its slave."
picture() {
    cat <<'EOF'
                          192.168.1.100  applications
                                |
        +-----------------+-----+-----------+-----------------+
        |                 |                 |                 |
  192.168.1.2       192.168.1.3       192.168.1.5       192.168.1.6
  jmq100_m FULL --> jmq100_s NONE     jmq102_m FULL --> jmq102_s NONE
                    registry                            registry
EOF
}
# shellcheck source=examples/deployment.sh
. "$(dirname "$0")/deployment.sh"
main "$@"
