"""Each deployment of the guides on hosts of its own: roles, permissions, routes, traffic, copies of the log.

usage: deployment_test.py four_node|two_node|2m_2s_sync|2m_2s_async|2m_noslave|two_masters [unittest's options]

MQBROKER, MQREGISTRY, MQADMIN and TRAFFIC name the programs; CJMQ_BUILD the build's folder, from which two_masters installs."""
import json
import os
import re
import select
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

import hosts
from deployments import (BROKER_PORT, CONSUMER, PRODUCER, SMALL, TOPIC, Async, FourNode, NoSlave, Sync, TwoMasters, TwoNode, eventually,
                         logs_equal)
from rmq import MAX_OFFSET, QUERY_OFFSET, Connection

DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "unit", "cluster", "data")
NO_PERMISSION, GET_BROKER_CONFIG = 16, 26
SLAVE_NOT_AVAILABLE = 11


class DeploymentTest(unittest.TestCase):
    deployment = None

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="cjmq-deployment-")
        self.addCleanup(shutil.rmtree, self.folder)
        self.d = self.deployment(self.folder)
        self.addCleanup(self.close)

    def close(self):
        if not self._outcome.success:
            self.d.tell_logs()
        self.d.__exit__(None, None, None)

    # --- checks ---

    def check_roles(self):
        """Masters under id 0, slaves above it, in every registry and in mqadmin clusterList."""
        wanted = {group: {0: "%s:%d" % (address, self.d.port)} for group, address in self.d.masters.items()}
        for group, address in self.d.slaves.items():
            wanted[group][1] = "%s:%d" % (address, self.d.port)
        for registry in self.d.registries:
            eventually(lambda: self.d.cluster(registry) == wanted, lambda: "%s: %r, wanted %r" % (registry, self.d.cluster(registry), wanted))
        rows = [line.split() for line in self.d.mqadmin("clusterList").splitlines() if line and not line.startswith("#")]
        self.assertEqual(sorted((row[1], int(row[2]), row[3]) for row in rows),
                         sorted((group, i, address) for group, members in wanted.items() for i, address in members.items()))

    def check_traffic(self, **options):
        """Some seconds of it: nothing failed, nothing lost, nothing came twice, every master took part."""
        with self.d.traffic(**{"producers": 2, "rate": 1000, **options}) as traffic:
            report = eventually(lambda: self.report_of(traffic, 1000), lambda: "traffic: %r" % traffic.last)
            report = traffic.finish()
        self.assertEqual([report[name] for name in ("failed", "uncertain", "lost", "repeated")], [0, 0, 0, 0], report)
        self.assertEqual(set(report["brokers"]), self.topic_groups())
        return report

    @staticmethod
    def report_of(traffic, acknowledged):
        report = traffic.report()
        return report if report["acknowledged"] >= acknowledged else None

    def topic_groups(self):
        return set(self.d.masters)

    def check_copies(self):
        """Every slave has its master's log."""
        for group, slave in self.d.slaves.items():
            master = self.d.brokers[self.d.masters[group]]
            eventually(lambda: logs_equal(master, self.d.brokers[slave]), "the log of %s's slave is its master's" % group)

    def statuses(self, count=20):
        """Sends through the client library: {status: how often}; 0 is SEND_OK."""
        with self.d.traffic(producers=1, consumers=0, rate=100, drain_ms=1) as traffic:
            eventually(lambda: self.sent(traffic) >= count, "sends")
            report = traffic.finish()
        statuses = {int(status): n for status, n in report["statuses"].items()}
        if report["acknowledged"]:
            statuses[0] = report["acknowledged"]
        return statuses

    @staticmethod
    def sent(traffic):
        return sum(p["sent"] for p in traffic.report()["producers"])


# --- JMQ ---

class JmqTest(DeploymentTest):
    guide = None  # the broker document as the guide prints it, of tests/unit/cluster/data

    def check_console(self):
        """The operator's view from every host: roles, permissions, that all are alive."""
        for address in self.d.addresses:
            table = self.d.console(address, "cluster")[0]
            for group, master in self.d.masters.items():
                self.assertRegex(table, r"(?m)^%s +MASTER +FULL +%s:%d +alive" % (group, re.escape(master), BROKER_PORT))
                self.assertRegex(table, r"(?m)^%s +SLAVE +NONE +%s:%d +alive" % (group, re.escape(self.d.slaves[group]), BROKER_PORT))
        for group in self.d.masters:
            self.assertEqual(self.d.permission(self.d.masters[group]), "FULL")
            self.assertEqual(self.d.permission(self.d.slaves[group]), "NONE")

    def check_slaves_serve_nobody(self):
        """A client that asks one is told why."""
        for slave in self.d.slaves.values():
            with self.d.client.inside():
                connection = Connection(BROKER_PORT, address=slave)
            for answer in (connection.send(TOPIC, b"x", group=PRODUCER), connection.pull(TOPIC, 0, 0, CONSUMER)):
                self.assertEqual(answer.code, NO_PERMISSION, answer)
                self.assertIn("NONE", answer.remark)
            connection.close()
        for registry in self.d.registries:
            route = self.d.route(TOPIC, registry)
            self.assertEqual({group: members for group, (members, _, _) in route.items()},
                             {group: {0: "%s:%d" % (address, BROKER_PORT)} for group, address in self.d.masters.items()})
            self.assertEqual({(readable, writable) for _, readable, writable in route.values()}, {(5, 5)})

    def check_guide_text(self):
        """The document as the guide prints it, over several lines, is what conf/ holds on one."""
        with open(os.path.join(DATA, self.guide), encoding="utf-8") as text:
            printed = text.read()
        self.assertEqual(json.loads(printed), json.loads(self.d.document("broker.json")))
        self.assertIn("\n", printed.strip())
        slave = next(iter(self.d.slaves.values()))
        self.assertIn('{"message":"ok","status":0}', self.d.console(slave, "broker set " + printed.strip())[0])

    def check_everything(self):
        self.d.start()
        self.check_roles()
        self.check_console()
        self.check_slaves_serve_nobody()
        self.check_traffic()
        self.check_copies()


class FourNodeTest(JmqTest):
    deployment, guide = FourNode, "deployment_four_brokers.json"

    def test_as_in_the_guide(self):
        self.check_everything()

    def test_document_is_taken_as_the_guide_prints_it(self):
        self.d.start()
        self.check_guide_text()
        self.check_roles()
        self.check_console()

    def test_permission_changes_live(self):
        self.d.start()
        document = json.loads(self.d.document("broker.json"))
        master, other = self.d.masters["jmq100"], self.d.masters["jmq102"]
        with self.d.traffic(producers=2, rate=500) as traffic:
            eventually(lambda: self.report_of(traffic, 200), "traffic")
            for permission, queues in (("READ", (5, 0)), ("NONE", None), ("WRITE", (0, 5)), ("FULL", (5, 5))):
                document[0]["permission"] = permission
                self.d.done(other, "broker set " + json.dumps(document, separators=(",", ":")))
                eventually(lambda: self.d.permission(master) == permission, "permission %s" % permission)
                for registry in self.d.registries:
                    eventually(lambda: self.queues_of("jmq100", registry) == queues,
                               lambda: "%s at %s: %r" % (permission, registry, self.d.route(TOPIC, registry)))
                if permission == "READ":
                    self.no_more_sends(traffic, "jmq100")
            sent = traffic.report()["brokers"]["jmq100"]["acknowledged"]
            eventually(lambda: traffic.report()["brokers"]["jmq100"]["acknowledged"] > sent, "sends to jmq100 again")
            report = traffic.finish()
        self.assertEqual((report["lost"], report["failed"], report["uncertain"]), (0, 0, 0), report)

    def behind(self, address):
        """Messages that the consumers' group has yet to read, by what a broker keeps as its progress."""
        with self.d.client.inside():
            connection = Connection(BROKER_PORT, address=address)
        behind = 0
        for queue in range(5):
            end = connection.call(MAX_OFFSET, {"topic": TOPIC, "queueId": queue})
            progress = connection.call(QUERY_OFFSET, {"consumerGroup": CONSUMER, "topic": TOPIC, "queueId": queue})
            behind += int(end.ext["offset"]) - (int(progress.ext["offset"]) if progress.code == 0 else 0)
        connection.close()
        return behind

    def queues_of(self, group, registry):
        route = self.d.route(TOPIC, registry) or {}
        return route[group][1:] if group in route else None

    def no_more_sends(self, traffic, group):
        """Producers have turned to the other group."""
        report = traffic.report()
        before, total = report["brokers"][group]["acknowledged"], report["acknowledged"]
        report = eventually(lambda: self.report_of(traffic, total + 100), "traffic")
        self.assertEqual(report["brokers"][group]["acknowledged"], before)

    def test_either_registry_is_enough(self):
        self.d.start()
        for address, registry in self.d.registries.items():
            registry.kill()
            self.check_traffic()
            registry.start()
            eventually(lambda: set(self.d.route(TOPIC, address) or {}) == set(self.d.masters), "route of %s" % address)

    def test_slave_that_may_be_read_serves_consumers_while_its_master_is_away(self):
        self.d.start()
        document = json.loads(self.d.document("broker.json"))
        document[1]["permission"] = "READ"
        master, slave = self.d.masters["jmq100"], self.d.slaves["jmq100"]
        both = {0: "%s:%d" % (master, BROKER_PORT), 1: "%s:%d" % (slave, BROKER_PORT)}
        self.d.done(slave, "broker set " + json.dumps(document, separators=(",", ":")))
        for registry in self.d.registries:
            eventually(lambda: self.d.route(TOPIC, registry)["jmq100"][0] == both, lambda: "route %r" % self.d.route(TOPIC, registry))
        with self.d.traffic(consumers=0, drain_ms=1) as unread:
            eventually(lambda: self.report_of(unread, 500), "traffic")
            waiting = unread.finish()["acknowledged"]
        self.d.brokers[master].kill()
        with self.d.traffic(producers=0) as readers:  # for these, the others' messages are foreign
            eventually(lambda: readers.report()["foreign"] >= waiting, lambda: "%d messages: %r" % (waiting, readers.last))
            self.d.brokers[master].start()
            for registry in self.d.registries:
                eventually(lambda: self.d.route(TOPIC, registry)["jmq100"][0] == both, lambda: "route %r" % self.d.route(TOPIC, registry))
            self.d.await_in_step()
            self.assertEqual(readers.finish()["foreign"], waiting)
        eventually(lambda: self.behind(master) == 0, lambda: "the master that is back knows how far the group has come: %d behind" % (
            self.behind(master)))
        with self.d.traffic() as both_ways:
            eventually(lambda: self.report_of(both_ways, 500), "traffic")
            report = both_ways.finish()
        self.assertEqual((report["lost"], report["repeated"], report["foreign"]), (0, 0, 0), report)

    def test_brokers_start_from_their_copies_without_any_registry(self):
        self.d.start()
        for daemon in [*self.d.registries.values(), *self.d.brokers.values()]:
            daemon.stop()
        for broker in self.d.brokers.values():
            broker.start()
        self.d.await_in_step()
        for group, address in self.d.masters.items():
            self.assertEqual(self.d.permission(address), "FULL")
            self.assertEqual(self.d.permission(self.d.slaves[group]), "NONE")
            with self.d.client.inside():
                connection = Connection(BROKER_PORT, address=address)
            self.assertEqual(connection.send(TOPIC, b"x", group=PRODUCER).code, 0)
            connection.close()
        self.check_copies()


class TwoNodeTest(JmqTest):
    deployment, guide = TwoNode, "deployment_two_brokers.json"

    def test_as_in_the_guide(self):
        self.check_everything()

    def test_document_is_taken_as_the_guide_prints_it(self):
        self.d.start()
        self.check_guide_text()
        self.check_roles()
        self.check_console()

    def test_slave_is_promoted_on_its_own_console_while_the_masters_host_is_cut_off(self):
        """With that host the first registry of namesrvAddr falls silent, without a word to those who are connected to it."""
        master, slave = "192.168.1.5", "10.42.0.141"
        self.d.start()
        self.d.await_in_step()
        self.d.net[master].unplug()
        begun = time.monotonic()
        self.d.done(slave, "broker promote jmq102_s")
        eventually(lambda: self.d.replication(slave).get("state") == "MASTER", "the slave is master")
        print("master after %.1f s" % (time.monotonic() - begun))
        self.d.net[master].plug()
        eventually(lambda: self.d.replication(master).get("state") == "SLAVE", "the former master is a slave")
        eventually(lambda: self.d.replication(slave).get("inStep") == 1, "the former master is in step")


# --- RocketMQ ---

class ApacheTest(DeploymentTest):
    def start(self):
        self.d.start()
        self.check_roles()
        self.d.await_in_step()
        self.d.mqadmin("updateTopic", "-c", "DefaultCluster", "-t", TOPIC, "-r", "4", "-w", "4")
        for registry in self.d.registries:
            eventually(lambda: set(self.d.route(TOPIC, registry) or {}) == self.topic_groups(),
                       lambda: "%s: %r" % (registry, self.d.route(TOPIC, registry)))

    def check_survivor_takes_all(self):
        """A master is lost: producers go on with the other, consumers get its messages when it is back."""
        broker = self.d.brokers[self.d.masters["broker-a"]]
        with self.d.traffic(producers=2, rate=500) as traffic:
            eventually(lambda: self.report_of(traffic, 200), "traffic")
            broker.kill()
            before = traffic.report()["brokers"]["broker-b"]["acknowledged"]
            eventually(lambda: traffic.report()["brokers"]["broker-b"]["acknowledged"] >= before + 200, "sends to the other master")
            broker.start()
            report = traffic.finish()
        self.assertEqual((report["lost"], report["failed"]), (0, 0), report)


class SyncTest(ApacheTest):
    deployment = Sync

    def test_as_in_the_guide(self):
        self.start()
        self.check_traffic()
        self.check_copies()

    def test_without_slaves_producers_are_told(self):
        self.start()
        self.assertEqual(set(self.statuses()), {0})
        for address in self.d.slaves.values():
            self.d.brokers[address].kill()
        eventually(lambda: set(self.statuses()) == {SLAVE_NOT_AVAILABLE}, "SLAVE_NOT_AVAILABLE")
        for address in self.d.slaves.values():
            self.d.brokers[address].start()
        eventually(lambda: set(self.statuses()) == {0}, "SEND_OK with the slaves back")
        self.check_copies()


class AsyncTest(ApacheTest):
    deployment = Async

    def test_as_in_the_guide(self):
        self.start()
        self.check_traffic()
        self.check_copies()

    def test_slaves_need_not_be_there_and_catch_up(self):
        self.start()
        for address in self.d.slaves.values():
            self.d.brokers[address].kill()
        self.check_traffic()
        for address in self.d.slaves.values():
            self.d.brokers[address].start()
        self.check_copies()


class NoSlaveTest(ApacheTest):
    deployment = NoSlave

    def test_as_in_the_guide(self):
        self.start()
        self.check_traffic()

    def test_master_lost_and_back(self):
        self.start()
        self.check_survivor_takes_all()


# --- two masters, typed ---

class Shell:
    """An operator's shell on a host, with its processes in a pid namespace: they end with it, and mqshutdown sees these alone."""

    def __init__(self, host, folder, home):
        self.process = host.start(["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", "sh"], cwd=folder, environment={"HOME": home},
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.seen = ""

    def wait_for(self, text, wait_s=20):
        """What was printed up to and with `text`."""
        end = time.monotonic() + wait_s
        while text not in self.seen:
            left = end - time.monotonic()
            data = os.read(self.process.stdout.fileno(), 65536) if left > 0 and select.select([self.process.stdout], [], [], left)[0] else b""
            if not data:
                raise AssertionError("the shell did not print %r but: %s" % (text, self.seen))
            self.seen += data.decode()
        before, _, self.seen = self.seen.partition(text)
        return before + text

    def post(self, line):
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def type(self, line):
        """A command in the foreground: (exit status, output)."""
        self.post(line + "; echo \"<<status $?>>\"")
        output = self.wait_for(">>\n")
        return int(re.search(r"<<status (\d+)>>", output).group(1)), output


class TwoMastersTest(DeploymentTest):
    deployment = TwoMasters

    def setUp(self):
        super().setUp()
        self.shells = {}
        for address, name in (("192.168.1.11", "broker-a.conf"), ("192.168.1.12", "broker-b.conf")):
            prefix, home = "%s/%s/rocketmq" % (self.folder, address), "%s/%s" % (self.folder, address)
            subprocess.run(["cmake", "--install", os.environ["CJMQ_BUILD"], "--prefix", prefix], check=True, stdout=subprocess.DEVNULL)
            with open(self.d.conf(name), encoding="utf-8") as conf, open(prefix + "/bin/" + name, "w", encoding="utf-8") as copy:
                copy.write(conf.read() + "".join(option[2:] + "\n" for option in SMALL))  # the test's disk may be small
            self.shells[address] = Shell(self.d.net[address], prefix + "/bin", home)

    def test_as_in_the_guide(self):
        a, b = self.shells.values()
        for shell in (a, b):
            shell.post("./mqnamesrv &")
            shell.wait_for("The Name Server boot success.")
        for shell, name in ((a, "broker-a"), (b, "broker-b")):
            shell.post("./mqbroker -c %s.conf &" % name)
            self.assertRegex(shell.wait_for("boot success"), r"The broker\[%s, 192\.168\.1\.1[12]:10911\]" % name)
        self.check_roles()
        self.d.mqadmin("updateTopic", "-c", "DefaultCluster", "-t", TOPIC, "-r", "4", "-w", "4")
        for registry in self.d.registries:
            eventually(lambda: set(self.d.route(TOPIC, registry) or {}) == set(self.d.masters), "route")
        self.check_traffic(rate=300)
        self.check_flush()

        status, output = a.type("./mqshutdown broker")
        self.assertEqual(status, 0, output)
        self.assertRegex(output, r"The mqbroker\(\d+\) is running\.\.\.\nSend shutdown request to mqbroker\(\d+\) OK")
        eventually(lambda: set(self.d.route(TOPIC, "192.168.1.12") or {}) == {"broker-b"}, "route without broker-a")
        for shell, command in ((b, "broker"), (a, "namesrv"), (b, "namesrv")):
            status, output = shell.type("./mqshutdown " + command)
            self.assertEqual(status, 0, output)
        for shell in (a, b):
            for command, name in (("broker", "mqbroker"), ("namesrv", "mqnamesrv")):
                status, output = shell.type("./mqshutdown " + command)
                self.assertEqual((status, "No %s running." % name in output), (1, True), output)

    def check_flush(self):
        for address in self.d.masters.values():
            config = self.d.ask(address, self.d.port, GET_BROKER_CONFIG).body.decode().splitlines()
            for line in ("flushDiskType=SYNC_FLUSH", "brokerIP1=" + address, "brokerIP2=" + address, "fileReservedTime=48"):
                self.assertIn(line, config)


TESTS = {"four_node": FourNodeTest, "two_node": TwoNodeTest, "2m_2s_sync": SyncTest, "2m_2s_async": AsyncTest,
         "2m_noslave": NoSlaveTest, "two_masters": TwoMastersTest}

if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in TESTS:
        sys.exit("usage: deployment_test.py " + "|".join(TESTS))
    hosts.skip_unless_possible()
    hosts.clean_up_on_sigterm()
    name = TESTS[sys.argv.pop(1)].__name__
    unittest.main(defaultTest=name if len(sys.argv) == 1 or sys.argv[1].startswith("-") else None)
