"""The guides' deployments, each on hosts of its own (hosts.py), started with the files of conf/ and described by real telnet sessions.

    with FourNode(folder) as d:
        d.start()
        with d.traffic() as traffic: ...

An extra host, `client`, is where applications and mqadmin run. Every host has a home of its own, FOLDER/ADDRESS, with store/ and logs/."""
import json
import os
import re
import struct
import subprocess
import sys
import time

import hosts
from registry_test import Console
from rmq import Connection
from traffic import Traffic

CONF = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "conf")
CLIENT = "192.168.1.100"
TOPIC, PRODUCER, CONSUMER = "topic_simple", "app4Product", "app4Consumer"
BROKER_PORT, REGISTRY_PORT = 50088, 9876
ROUTE, CLUSTER_INFO = 105, 106
# Room: a test's disk may be small and nearly full. Everything else is as in conf/.
SMALL = ["--mappedFileSizeCommitLog=16777216", "--diskReserveBytes=0", "--diskMaxUsedSpaceRatio=0"]
WAIT_S = 20


def program(name):
    path = os.environ.get(name)
    if not path or not os.access(path, os.X_OK):
        sys.exit("%s must name a program, it is %r" % (name, path))
    return path


def eventually(condition, what, wait_s=WAIT_S):
    """Waits until condition() is true (not None, not empty); returns it."""
    end = time.monotonic() + wait_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError("%s: not within %d s" % (what() if callable(what) else what, wait_s))
        time.sleep(0.02)


class Daemon:
    """A registry or broker of a deployment: may be started, stopped and killed again and again on the same files."""

    def __init__(self, deployment, host, arguments, boot_line):
        self.deployment, self.host, self.boot_line = deployment, host, boot_line
        self.arguments = arguments
        self.home = "%s/%s" % (deployment.folder, host)
        self.environment = {"HOME": self.home}
        self.process = None
        os.makedirs(self.home, exist_ok=True)

    def start(self):
        assert self.process is None, "it runs"
        self.process = self.host.start(self.arguments, environment=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                       text=True)
        line = self.process.stdout.readline()
        if self.boot_line not in line:
            self.process.kill()
            raise AssertionError("%s on %s: %r %s" % (self.arguments[0], self.host, line, self.process.stdout.read()))
        return self

    def kill(self):
        process, self.process = self.process, None
        self.host.kill(process)

    def stop(self):
        process, self.process = self.process, None
        status = self.host.stop(process)
        assert status == 0, "%s on %s ended with status %d" % (self.arguments[0], self.host, status)

    def log(self):
        folder = self.home + "/logs/rocketmqlogs/"
        name = "broker.log" if "mqbroker" in self.arguments[0] else "namesrv.log"
        with open(folder + name, encoding="utf-8") as text:
            return text.read()

    def __str__(self):
        return "%s on %s" % (os.path.basename(self.arguments[0]), self.host)


class Deployment:
    """Base: hosts, daemons, and what an application or operator sees."""

    addresses = ()        # of the hosts
    registry_hosts = ()   # those of them with a registry
    folder_of_conf = ""   # in conf/

    def __init__(self, folder):
        self.folder = folder
        self.net = hosts.Network(*self.addresses, CLIENT)
        self.client = self.net[CLIENT]
        self.registries = {address: self.make_registry(address) for address in self.registry_hosts}
        self.brokers = {}
        self.namesrv = ";".join("%s:%d" % (address, REGISTRY_PORT) for address in self.registry_hosts)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        if exc[0] is not None:
            self.tell_logs()
        self.net.close()

    def conf(self, name):
        return os.path.normpath("%s/%s/%s" % (CONF, self.folder_of_conf, name))

    def make_registry(self, address, *arguments):
        return Daemon(self, self.net[address], [program("MQREGISTRY"), *arguments], "The Name Server boot success")

    def make_broker(self, address, name, *arguments):
        daemon = Daemon(self, self.net[address], [program("MQBROKER"), "-c", self.conf(name), *SMALL, *arguments], "boot success")
        self.brokers[address] = daemon
        return daemon

    def tell_logs(self):
        """After a failure: the last lines of every log."""
        for daemon in [*self.registries.values(), *self.brokers.values()]:
            try:
                lines = daemon.log().splitlines()[-40:]
            except OSError as error:
                lines = [str(error)]
            sys.stderr.write("--- %s\n%s\n" % (daemon, "\n".join(lines)))

    # --- what others see ---

    def ask(self, address, port, code, ext=None, body=b""):
        """One request of the client host."""
        with self.client.inside():
            connection = Connection(port, address=address)
        try:
            return connection.call(code, ext, body)
        finally:
            connection.close()

    def cluster(self, registry=None):
        """{broker name: {id: address}} as clients see it."""
        answer = self.ask(registry or self.alive_registry(), REGISTRY_PORT, CLUSTER_INFO)
        table = json.loads(answer.body)["brokerAddrTable"]
        return {name: {int(i): a for i, a in entry["brokerAddrs"].items()} for name, entry in table.items()}

    def route(self, topic, registry=None):
        """{broker name: ({id: address}, readable queues, writable queues)}, None without a route."""
        answer = self.ask(registry or self.alive_registry(), REGISTRY_PORT, ROUTE, {"topic": topic, "acceptStandardJsonOnly": "true"})
        if answer.code != 0:
            return None
        data = json.loads(answer.body)
        addresses = {b["brokerName"]: {int(i): a for i, a in b["brokerAddrs"].items()} for b in data["brokerDatas"]}
        return {q["brokerName"]: (addresses[q["brokerName"]], q["readQueueNums"] if q["perm"] & 4 else 0,
                                  q["writeQueueNums"] if q["perm"] & 2 else 0) for q in data["queueDatas"]}

    def console(self, address, *lines):
        """Types lines into the console of a broker, on its own host, by telnet; the replies."""
        return self.net[address].telnet("127.0.0.1", self.console_port, *lines)

    def replication(self, address):
        """What a broker says of its replication."""
        with self.net[address].inside():
            console = Console(self.console_port)
        try:
            return json.loads(console.result("monitor -i replication")["message"])
        finally:
            console.close()

    def await_in_step(self):
        """Until every master has all slaves of its group in step: from then on a synchronous send is SEND_OK."""
        for group in self.slaves:
            eventually(lambda: self.replication(self.masters[group]).get("inStep") == 1,
                       lambda: "%s: %r" % (group, self.replication(self.masters[group])))

    def alive_registry(self):
        return next(address for address, registry in self.registries.items() if registry.process is not None)

    def mqadmin(self, *arguments):
        return self.client.run([program("MQADMIN"), *arguments, "-n", self.namesrv])

    def traffic(self, **options):
        return Traffic(self.namesrv, host=self.client, **{"route_interval_ms": 1000, **options})


# --- JMQ's: described by documents ---

class JmqDeployment(Deployment):
    port, console_port = BROKER_PORT, 10088

    def __init__(self, folder):
        super().__init__(folder)
        for address in self.addresses:
            self.make_broker(address, "broker-%s.conf" % address)

    def make_registry(self, address):
        return super().make_registry(address, "-c", self.conf("registry.conf"))

    def document(self, name):
        with open(self.conf(name), encoding="utf-8") as text:
            return text.read().strip()

    def done(self, address, *lines):
        """Commands that must succeed."""
        for line, reply in zip(lines, self.console(address, *lines)):
            assert json.loads(reply) == {"message": "ok", "status": 0}, (line, reply)

    def permission(self, address):
        reply = json.loads(self.console(address, "permiquery -l broker")[0])
        return json.loads(reply["message"])

    def start(self):
        """Everything, and the documents pushed once, on the first broker's console."""
        for daemon in [*self.registries.values(), *self.brokers.values()]:
            daemon.start()
        self.done(self.addresses[0], "broker set " + self.document("broker.json"), "topic set " + self.document("topic.json"))
        self.await_route()
        self.await_in_step()
        return self

    def await_route(self):
        """Until every registry's route has all masters of the topic's groups."""
        groups = set(json.loads(self.document("topic.json"))[0]["groups"])
        for registry in self.registries:
            eventually(lambda: set(self.route(TOPIC, registry) or {}) == groups, lambda: "route of %s at %s: %r" % (
                TOPIC, registry, self.route(TOPIC, registry)))


class FourNode(JmqDeployment):
    addresses = ("192.168.1.2", "192.168.1.3", "192.168.1.5", "192.168.1.6")
    registry_hosts = ("192.168.1.3", "192.168.1.6")
    folder_of_conf = "four-node"
    masters = {"jmq100": "192.168.1.2", "jmq102": "192.168.1.5"}
    slaves = {"jmq100": "192.168.1.3", "jmq102": "192.168.1.6"}


class TwoNode(JmqDeployment):
    addresses = ("192.168.1.5", "10.42.0.141")
    registry_hosts = ("192.168.1.5", "10.42.0.141")
    folder_of_conf = "two-node"
    masters = {"jmq102": "192.168.1.5"}
    slaves = {"jmq102": "10.42.0.141"}


# --- RocketMQ's: described by properties ---

class ApacheDeployment(Deployment):
    """Brokers on hosts A to D, two name servers on the first two, started as the guide does: -n 'A:9876;B:9876' -c FILE."""

    port, console_port = 10911, 20911
    registry_hosts = ("192.168.1.1", "192.168.1.2")
    files = {}  # address -> file

    def __init__(self, folder):
        super().__init__(folder)
        for address, name in self.files.items():
            self.make_broker(address, name, "-n", self.namesrv)

    def start(self):
        for daemon in [*self.registries.values(), *self.brokers.values()]:
            daemon.start()
        return self


class TwoMastersTwoSlaves(ApacheDeployment):
    addresses = ("192.168.1.1", "192.168.1.2", "192.168.1.3", "192.168.1.4")
    files = {"192.168.1.1": "broker-a.properties", "192.168.1.2": "broker-b.properties",
             "192.168.1.3": "broker-a-s.properties", "192.168.1.4": "broker-b-s.properties"}
    masters = {"broker-a": "192.168.1.1", "broker-b": "192.168.1.2"}
    slaves = {"broker-a": "192.168.1.3", "broker-b": "192.168.1.4"}


class Sync(TwoMastersTwoSlaves):
    folder_of_conf = "2m-2s-sync"


class Async(TwoMastersTwoSlaves):
    folder_of_conf = "2m-2s-async"


class NoSlave(ApacheDeployment):
    folder_of_conf = "2m-noslave"
    addresses = ("192.168.1.1", "192.168.1.2", "192.168.1.3")
    files = {"192.168.1.1": "broker-a.properties", "192.168.1.2": "broker-b.properties", "192.168.1.3": "broker-trace.properties"}
    masters = {"broker-a": "192.168.1.1", "broker-b": "192.168.1.2", "broker-trace": "192.168.1.3"}
    slaves = {}


class TwoMasters(Deployment):
    """192.168.1.11 and .12, each with a name server beside its broker, in the guide's command lines (see deployment_test.py)."""

    port, console_port = 10911, 20911
    folder_of_conf = "two-masters"
    addresses = registry_hosts = ("192.168.1.11", "192.168.1.12")
    masters = {"broker-a": "192.168.1.11", "broker-b": "192.168.1.12"}
    slaves = {}


# --- logs ---

MESSAGE_MAGICS, BLANK = (0xDAA320A7, 0xDAA320AB), 0xCBD43194


def log_records(folder):
    """(offset, bytes) of every record of a commit log, blanks by their 8 bytes: what lies behind those is not defined."""
    records = []
    for name in sorted(n for n in os.listdir(folder) if re.fullmatch(r"\d{20}", n)):
        with open("%s/%s" % (folder, name), "rb") as file:
            data = file.read()
        at = 0
        while at + 8 <= len(data):
            size, magic = struct.unpack_from(">II", data, at)
            if magic == BLANK and size:
                records.append((int(name) + at, data[at:at + 8]))
                break
            if magic not in MESSAGE_MAGICS or size < 8 or at + size > len(data):
                return records
            records.append((int(name) + at, data[at:at + size]))
            at += size
    return records


def logs_equal(master, slave):
    """Whether a slave has exactly what its master has; both are Daemons."""
    return log_records(master.home + "/store/commitlog") == log_records(slave.home + "/store/commitlog")
