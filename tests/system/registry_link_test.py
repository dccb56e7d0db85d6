"""A broker and its registries: registration, the watch on the documents, document commands of the broker's console, and what the broker
tells about itself (monitor, permiquery, runtime info). MQBROKER and MQREGISTRY name the programs."""
import json
import os
import re
import shutil
import signal
import socket
import struct
import tempfile
import threading
import time
import unittest

from registry_test import Console, Registry, eventually, free_port
from rmq import HEARTBEAT, MAX_OFFSET, ONEWAY, QUERY_OFFSET, RESPONSE, UPDATE_OFFSET, Broker, Connection, Frame, encode_frame

UPDATE_TOPIC, RUNTIME_INFO, ROUTE, CLUSTER_INFO = 17, 28, 105, 106
NO_PERMISSION, NOT_SUPPORTED = 16, 3
DOCUMENT_GET, DOCUMENT_WATCH, DOCUMENT_CHANGED, REGISTER, UNREGISTER = 7001, 7002, 7003, 103, 104
APP, READER, TOPIC = "app4Product", "app4Consumer", "topic_simple"


def master_port():
    """A free even port of 50000 and above: JMQ's rule makes its broker a master, named by its address, while no document names it."""
    for port in range(50000 + 2 * (os.getpid() % 2000), 60000, 2):
        try:
            with socket.create_server(("127.0.0.1", port)):
                return port
        except OSError:
            continue
    raise AssertionError("no free port of 50000..59998")


def broker_document(port, permission="FULL", group="jmq102"):
    return json.dumps([{"alias": group + "_m", "dataCenter": 9, "id": 0, "ip": "127.0.0.1", "permission": permission, "port": port,
                        "retryType": "DB", "syncMode": "SYNCHRONOUS"}], separators=(",", ":"))


def topic_document(queues=5, groups=("jmq102",)):
    return json.dumps([{"archive": False, "consumers": {READER: {}}, "groups": list(groups), "importance": 1, "producers": {APP: {}},
                        "queues": queues, "topic": TOPIC, "type": "TOPIC"}], separators=(",", ":"))


def heartbeat(client, consumers=(), producers=()):
    return json.dumps({"clientID": client, "producerDataSet": [{"groupName": g} for g in producers], "consumerDataSet": [{
        "groupName": group, "consumeType": "CONSUME_PASSIVELY", "messageModel": "CLUSTERING",
        "consumeFromWhere": "CONSUME_FROM_FIRST_OFFSET",
        "subscriptionDataSet": [{"topic": TOPIC, "subString": "*", "subVersion": 1}]} for group in consumers]}).encode()


class Cluster(unittest.TestCase):
    """Registries and a broker that takes its place from the documents, in one folder."""

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="cjmq-link-")
        self.addCleanup(shutil.rmtree, self.folder)
        self.registries = []

    def registry(self):
        """One more registry, not started."""
        registry = Registry("%s/registry%d" % (self.folder, len(self.registries)))
        os.mkdir(registry.folder)
        self.addCleanup(lambda: self.assertIn(registry.stop(), (None, 0)))
        self.registries.append(registry)
        return registry

    def broker(self, **settings):
        """The broker of all registries so far, not started."""
        settings = {"brokerName": "", "listenPort": master_port(), "telnetPort": free_port(), **settings}
        if self.registries:
            settings["namesrvAddr"] = ";".join("127.0.0.1:%d" % r.port for r in self.registries)
        broker = Broker(folder=self.folder + "/broker", **settings)
        self.addCleanup(lambda: broker.process and broker.kill())
        return broker

    def stop(self, broker):
        """A broker of a sanitizer's build shows here what it found."""
        self.assertEqual(broker.stop(), 0, broker.stderr)

    def console(self, program):
        port = program.telnet_port if isinstance(program, Registry) else program.settings["telnetPort"]
        console = Console(port)
        self.addCleanup(console.close)
        return console

    def result(self, program, line):
        """A line on a session of its own, which is closed again."""
        console = self.console(program)
        try:
            return console.result(line)
        finally:
            console.close()

    def done(self, console, line):
        self.assertEqual(console.result(line), {"message": "ok", "status": 0}, line)

    def ask(self, registry, code, **fields):
        connection = Connection(registry.port)
        try:
            return connection.call(code, fields)
        finally:
            connection.close()

    def names(self, registry):
        """The brokers that a registry's clients are shown: {name: {id: address}}."""
        table = json.loads(self.ask(registry, CLUSTER_INFO).body)["brokerAddrTable"]
        return {name: entry["brokerAddrs"] for name, entry in table.items()}

    def route(self, registry, topic):
        answer = self.ask(registry, ROUTE, topic=topic)
        return json.loads(answer.body) if answer.code == 0 else None

    def text(self, registry, kind="topic"):
        return self.result(registry, kind + " get").get("message")

    def send(self, connection, body=b"x"):
        return connection.send(TOPIC, body, group=APP)

    def served(self, connection):
        answer = self.send(connection)
        self.assertIn(answer.code, (0, NO_PERMISSION), answer)
        return answer.code == 0


class ScriptedRegistry(threading.Thread):
    """A registry that answers as told: `documents` is what 7001 gets for a name, (code, ext, text); watches are granted when `watch` is 0."""

    def __init__(self):
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.documents, self.watch, self.seen, self.sock = {}, 0, [], None

    def start(self):
        super().start()
        return self

    def stop(self):
        """After the broker's end, or the thread would wait for it."""
        self.listener.shutdown(socket.SHUT_RDWR)
        self.join()
        self.listener.close()

    def answer(self, frame):
        if frame.code == DOCUMENT_GET:
            return self.documents.get(frame.ext["name"], (22, {}, ""))
        codes = {REGISTER: 0, UNREGISTER: 0, DOCUMENT_WATCH: self.watch}
        return codes.get(frame.code, NOT_SUPPORTED), {}, ""

    def run(self):
        try:
            while True:
                self.sock = self.listener.accept()[0]
                with self.sock, self.sock.makefile("rb") as stream:
                    self.serve(stream)
        except OSError:
            return

    def serve(self, stream):
        while head := stream.read(4):
            frame = Frame(stream.read(struct.unpack(">I", head)[0]))
            code, ext, text = self.answer(frame)
            self.seen.append(frame.code)
            if not frame.flag & ONEWAY:
                self.sock.sendall(encode_frame(code, ext, text.encode(), frame.opaque, RESPONSE))

    def push(self, name, version, timestamp, text):
        self.sock.sendall(encode_frame(DOCUMENT_CHANGED, {"name": name, "version": version, "timestamp": timestamp}, text.encode(), 0, ONEWAY))


class OddRegistry(Cluster):
    """A registry that fails, refuses, or whose clock is set back."""

    def setUp(self):
        super().setUp()
        self.odd = ScriptedRegistry().start()
        self.addCleanup(self.odd.stop)
        self.registries.append(self.odd)

    def permission(self, broker):
        return json.loads(self.result(broker, "permiquery -l broker")["message"])

    def test_document_that_cannot_be_told_is_asked_for_again(self):
        self.odd.documents["broker"] = (1, {}, "")
        broker = self.broker(registerBrokerTimeoutMills=60000).start()
        eventually(lambda: "the broker document could not be fetched: code 1" in broker.log())
        self.assertEqual(self.send(broker.connect()).code, NO_PERMISSION)  # it may be in a document, and does not take another place
        self.odd.documents["broker"] = (0, {"version": 1, "timestamp": 1000}, broker_document(broker.port, "READ"))
        eventually(lambda: "group jmq102, role MASTER, permission READ" in broker.log())
        self.stop(broker)

    def test_refused_watch_is_asked_for_again(self):
        self.odd.watch = 2
        broker = self.broker(brokerName="broker-a").start()
        eventually(lambda: "refused to be watched: code 2" in broker.log())
        asked, self.odd.watch = self.odd.seen.count(DOCUMENT_WATCH), 0
        answer = broker.connect().call(UPDATE_TOPIC, {"topic": "Any", "readQueueNums": 1, "writeQueueNums": 1, "perm": 6})
        self.assertEqual(answer.code, 0, answer)
        eventually(lambda: self.odd.seen.count(DOCUMENT_WATCH) > asked)
        eventually(lambda: self.odd.seen.count(DOCUMENT_GET) >= 2)
        self.stop(broker)

    def test_newer_is_what_was_made_later_not_what_has_the_higher_number(self):
        broker = self.broker()
        self.odd.documents["broker"] = (0, {"version": 5, "timestamp": 5000}, broker_document(broker.port, "READ"))
        broker.start()
        eventually(lambda: self.permission(broker) == "READ")
        self.odd.push("broker", 6, 4000, broker_document(broker.port, "NONE"))  # carried there from another registry
        self.odd.push("broker", 4, 5001, broker_document(broker.port, "FULL"))
        eventually(lambda: self.permission(broker) == "FULL")
        self.odd.push("broker", 7, 6000, "no document")
        eventually(lambda: "the former one stays in force" in broker.log())
        self.assertEqual(self.permission(broker), "FULL")
        self.stop(broker)
        self.odd.documents["broker"] = (0, {"version": 8, "timestamp": 5000}, broker_document(broker.port, "READ"))
        broker.start()  # the local copy is newer, and this registry has no lists to compare
        eventually(lambda: "does not list versions" in broker.log())
        self.assertEqual(self.permission(broker), "FULL")
        self.stop(broker)


class SeveralRegistries(Cluster):
    def test_changes_go_through_with_one_registry_dead_and_reach_both_later(self):
        dead, alive = self.registry(), self.registry().start()
        broker = self.broker(registerBrokerTimeoutMills=300).start()
        console = self.console(broker)
        self.done(console, "broker set " + broker_document(broker.port))
        self.done(console, "topic set " + topic_document(5))
        eventually(lambda: self.route(alive, TOPIC) is not None)
        self.assertEqual(self.names(alive), {"jmq102": {"0": "127.0.0.1:%d" % broker.port}})
        self.assertEqual(self.send(broker.connect()).code, 0)
        self.assertEqual(self.text(alive), topic_document(5))

        second = dead.start()
        eventually(lambda: "jmq102" in self.names(second))
        self.done(console, "topic set " + topic_document(6))
        self.done(console, "broker set " + broker_document(broker.port))
        for registry in (second, alive):
            eventually(lambda: self.text(registry) == topic_document(6))
            eventually(lambda: self.text(registry, "broker") == broker_document(broker.port))
        self.done(console, "topic set " + topic_document(7))
        eventually(lambda: self.text(alive) == topic_document(7))
        self.done(console, "topic rollback")
        self.assertIn("rollback to", self.console(second).command("topic history"))
        for registry in (second, alive):
            eventually(lambda: self.text(registry) == topic_document(6))
            eventually(lambda: self.route(registry, TOPIC)["queueDatas"][0]["readQueueNums"] == 6)
        self.stop(broker)

    def test_dead_registry_is_logged_once_and_costs_the_other_nothing(self):
        self.registry()
        alive = self.registry().start()
        broker = self.broker(brokerName="broker-a").start()
        eventually(lambda: "broker-a" in self.names(alive))
        eventually(lambda: "connection refused" in broker.log().lower())
        stat = self.console(alive)
        before = json.loads(stat.result("monitor -i stat")["message"])
        time.sleep(2.5)  # rounds in which it is tried again
        after = json.loads(stat.result("monitor -i stat")["message"])
        dead = "registry 127.0.0.1:%d: " % self.registries[0].port
        self.assertEqual(len([line for line in broker.log().splitlines() if dead in line]), 1, broker.log())
        self.assertEqual(after["registrations"], before["registrations"])
        self.stop(broker)

    def test_topic_is_answered_when_its_route_is_there(self):
        self.registry()
        alive = self.registry().start()
        broker = self.broker(brokerName="broker-a").start()
        connection, client = broker.connect(), Connection(alive.port)
        self.addCleanup(client.close)
        for i in range(50):
            topic = "Created%d" % i
            answer = connection.call(UPDATE_TOPIC, {"topic": topic, "defaultTopic": "TBW102", "readQueueNums": 3, "writeQueueNums": 3,
                                                    "perm": 6, "topicFilterType": "SINGLE_TAG", "topicSysFlag": 0, "order": "false"})
            self.assertEqual(answer.code, 0, answer)
            self.assertEqual(client.call(ROUTE, {"topic": topic}).code, 0, topic)
        self.stop(broker)

    def test_hanging_registry_is_watched_when_it_answers_again(self):
        hanging = self.registry().start()
        broker = self.broker(registerBrokerTimeoutMills=200)
        self.done(self.console(hanging), "topic set " + topic_document())
        self.done(self.console(hanging), "broker set " + broker_document(broker.port))
        hanging.process.send_signal(signal.SIGSTOP)
        try:
            broker.start()
            eventually(lambda: "does not answer whether it keeps" in broker.log())
        finally:
            hanging.process.send_signal(signal.SIGCONT)
        eventually(lambda: "jmq102" in self.names(hanging))
        self.stop(broker)

    def test_stop_while_a_registry_does_not_answer_a_command(self):
        hanging = self.registry().start()
        broker = self.broker(brokerName="broker-a").start()
        eventually(lambda: "broker-a" in self.names(hanging))
        console = self.console(broker)
        hanging.process.send_signal(signal.SIGSTOP)
        try:
            console.sock.sendall(b"topic get\r\n")
            self.assertEqual(self.result(broker, "monitor -i role")["status"], 0)
            self.stop(broker)
        finally:
            hanging.process.send_signal(signal.SIGCONT)


class OneRegistry(Cluster):
    def start_with_documents(self, **settings):
        self.registry().start()
        broker = self.broker(**settings)
        console = self.console(self.registries[0])
        self.done(console, "broker set " + broker_document(broker.port))
        self.done(console, "topic set " + topic_document())
        broker.start()
        connection = broker.connect()
        eventually(lambda: self.served(connection))
        return broker, connection

    def test_killed_registry_is_found_again_with_its_documents(self):
        broker, connection = self.start_with_documents()
        registry = self.registries[0]
        eventually(lambda: "jmq102" in self.names(registry))
        registry.stop(signal.SIGKILL)
        eventually(lambda: "connection lost" in broker.log())
        self.assertEqual(self.send(connection).code, 0)
        start = time.monotonic()
        registry.start()
        eventually(lambda: self.route(registry, TOPIC) is not None)
        took = time.monotonic() - start
        print("registered %.2f s after the registry's restart" % took)
        self.assertLess(took, 5)
        self.assertEqual(self.text(registry), topic_document())
        self.assertEqual(self.text(registry, "broker"), broker_document(broker.port))
        self.done(self.console(registry), "broker set " + broker_document(broker.port, "NONE"))
        eventually(lambda: not self.served(connection))
        self.stop(broker)

    def test_local_copies_serve_while_no_registry_is_there(self):
        broker, connection = self.start_with_documents()
        self.stop(broker)
        self.registries[0].stop()
        broker.start()
        connection = broker.connect()
        self.assertEqual(self.send(connection).code, 0)
        stat = json.loads(self.result(broker, "monitor -i stat")["message"])
        self.assertEqual((stat["group"], stat["role"], stat["permission"]), ("jmq102", "MASTER", "FULL"))
        answer = self.result(broker, "topic set " + topic_document(9))
        self.assertNotEqual(answer["status"], 0)
        self.assertIn("127.0.0.1:%d" % self.registries[0].port, answer["message"])
        self.stop(broker)

    def test_without_copy_and_registry_nobody_is_served_until_patience_is_over(self):
        self.registry()
        broker = self.broker(registerBrokerTimeoutMills=1500).start()
        started = time.monotonic()
        connection = broker.connect()
        answer = self.send(connection)
        self.assertEqual(answer.code, NO_PERMISSION)
        self.assertIn("serves nobody yet: it waits for the cluster documents of its registries", answer.remark)
        self.assertIn("127.0.0.1:%d" % broker.port, answer.remark)
        eventually(lambda: self.served(connection))
        self.assertGreater(time.monotonic() - started, 1)
        stat = json.loads(self.result(broker, "monitor -i stat")["message"])
        self.assertEqual((stat["group"], stat["role"]), ("127_0_0_1_%d" % broker.port, "MASTER"))
        self.assertIn("no registry told within 1500 ms", broker.log())
        self.stop(broker)

    def test_permission_takes_effect_at_once_and_is_named(self):
        broker, connection = self.start_with_documents()
        console = self.console(broker)
        worst = 0
        for _ in range(3):
            self.done(console, "broker set " + broker_document(broker.port, "NONE"))
            start = time.monotonic()
            eventually(lambda: not self.served(connection))
            worst = max(worst, time.monotonic() - start)
            answer = self.send(connection)
            self.assertEqual(answer.code, NO_PERMISSION)
            for word in ("127.0.0.1:%d" % broker.port, "jmq102", "permission NONE", TOPIC):
                self.assertIn(word, answer.remark)
            self.assertEqual(self.result(broker, "permiquery -l broker")["message"], '"NONE"')
            self.done(console, "broker set " + broker_document(broker.port, "FULL"))
            eventually(lambda: self.served(connection))
        print("from the answer to `broker set` to the refusal: at most %.1f ms" % (worst * 1000))
        self.assertLess(worst, 1)
        self.stop(broker)

    def test_changes_in_a_row_all_arrive(self):
        broker, _ = self.start_with_documents()
        console, registry = self.console(self.registries[0]), self.registries[0]
        for queues in range(6, 40):
            self.done(console, "topic set " + topic_document(queues))
        eventually(lambda: self.route(registry, TOPIC)["queueDatas"][0]["readQueueNums"] == 39)
        topics = self.console(broker)
        eventually(lambda: re.search(TOPIC + r" +39 +39 ", topics.command("topics")))
        self.stop(broker)

    def test_former_name_leaves_the_routes(self):
        broker, _ = self.start_with_documents()
        registry, console = self.registries[0], self.console(self.registries[0])
        eventually(lambda: list(self.names(registry)) == ["jmq102"])
        self.done(console, "topic set " + topic_document(groups=("jmq102", "jmq103")))
        self.done(console, "broker set " + broker_document(broker.port, group="jmq103"))
        eventually(lambda: list(self.names(registry)) == ["jmq103"])
        eventually(lambda: [b["brokerName"] for b in self.route(registry, TOPIC)["brokerDatas"]] == ["jmq103"])
        self.stop(broker)

    def test_commands_pass_over_a_registry_that_fell_silent(self):
        silent, other = self.registry(), self.registry()
        for registry in (silent, other):
            registry.start()
        broker = self.broker()
        broker.start()
        eventually(lambda: self.names(other) and self.names(silent))
        console = self.console(broker)
        silent.process.send_signal(signal.SIGSTOP)
        begun = time.monotonic()
        self.done(console, "topic set " + topic_document())
        self.assertIn("topic_simple", console.result("topic get")["message"])
        self.assertIn(str(broker.port), console.command("cluster"))
        self.assertLess(time.monotonic() - begun, 4)
        self.assertIn("topic_simple", self.result(other, "topic get")["message"])
        other.stop()
        answer = console.result("topic get")
        for registry in (silent, other):
            self.assertEqual(answer["message"].count(":%d" % registry.port), 1, answer)
        silent.process.send_signal(signal.SIGCONT)
        eventually(lambda: "topic_simple" in self.result(silent, "topic get")["message"])
        self.stop(broker)

    def test_promotion_by_the_brokers_console_is_followed_live(self):
        self.registry().start()
        slave = self.broker()
        console = self.console(self.registries[0])
        pair = [{"alias": "jmq102_m", "ip": "127.0.0.1", "port": 1}, {"alias": "jmq102_s", "ip": "127.0.0.1", "port": slave.port}]
        self.done(console, "broker set " + json.dumps(pair))
        self.done(console, "topic set " + topic_document())
        slave.start()
        connection, own = slave.connect(), self.console(slave)
        eventually(lambda: self.names(self.registries[0]) == {"jmq102": {"1": "127.0.0.1:%d" % slave.port}})
        self.assertEqual(self.send(connection).code, NO_PERMISSION)
        self.assertIn("is the master", own.result("broker promote jmq102_m")["message"])
        self.done(own, "broker promote 127.0.0.1:%d" % slave.port)
        self.assertEqual(self.names(self.registries[0]), {"jmq102": {"0": "127.0.0.1:%d" % slave.port}})
        eventually(lambda: self.served(connection))
        self.assertEqual(json.loads(own.result("monitor -i role")["message"]), "MASTER")
        history = own.command("broker history 1").splitlines()
        self.assertEqual(len(history), 2, history)
        self.assertRegex(history[1], r"^ +2 .* jmq +127\.0\.0\.1:\d+ via 127\.0\.0\.1:\d+ +promote 127\.0\.0\.1:%d$" % slave.port)
        self.done(own, "broker rollback")
        eventually(lambda: not self.served(connection))
        self.stop(slave)

    def test_permiquery_tells_of_broker_topic_and_app(self):
        broker, _ = self.start_with_documents()
        c = self.console(broker)
        for line, level, permission in (("-l broker", "broker", "FULL"), ("-l topic -t " + TOPIC, "topic", "FULL"),
                                        ("-l topic -t unknown", "topic", "NONE"),
                                        ("-l app -t %s -a %s" % (TOPIC, APP), "app", "WRITE"),
                                        ("-l app -t %s -a %s" % (TOPIC, READER), "app", "READ"),
                                        ("-l app -t %s -a stranger" % TOPIC, "app", "NONE")):
            self.assertEqual(c.result("permiquery " + line), {"message": '"%s"' % permission, "status": 0, "type": level})
        for line in ("", " -l", " -l nothing", " -l topic", " -l app -t " + TOPIC, " -l app -a " + APP):
            self.assertEqual(c.result("permiquery" + line)["status"], 4, line)
        self.stop(broker)


class Figures(Cluster):
    """What a broker without registries tells about itself."""

    def setUp(self):
        super().setUp()
        self.b = self.broker(brokerName="broker-a").start()
        self.c = self.console(self.b)
        self.connection = self.b.connect()
        answer = self.connection.call(UPDATE_TOPIC, {"topic": TOPIC, "readQueueNums": 2, "writeQueueNums": 2, "perm": 6})
        self.assertEqual(answer.code, 0, answer)

    def tearDown(self):
        self.stop(self.b)

    def monitor(self, line, status=0):
        answer = self.c.result("monitor -i " + line)
        self.assertEqual(answer["status"], status, (line, answer))
        if status != 0:
            return answer["message"]
        self.assertEqual(answer["type"], line.split()[0])
        return json.loads(answer["message"])

    def offset(self, group=READER, queue=1):
        answer = self.connection.call(QUERY_OFFSET, {"consumerGroup": group, "topic": TOPIC, "queueId": queue})
        return int(answer.ext["offset"]) if answer.code == 0 else None

    def test_every_name_answers_json(self):
        for _ in range(3):
            self.assertEqual(self.connection.send(TOPIC, b"12345", group=APP).code, 0)
        stat = self.monitor("stat")
        self.assertEqual((stat["enQueue"], stat["group"], stat["port"], stat["topicStats"][TOPIC]["enQueue"]),
                         (3, "broker-a", self.b.port, 3))
        self.assertEqual(self.monitor("perf")["group"], "broker-a")
        self.assertEqual(self.monitor("exec")["malformed"], 0)
        self.assertEqual(self.monitor("state")[0]["store"], "WRITABLE")
        self.assertIs(self.monitor("reps"), False)
        self.assertEqual(self.monitor("role"), "MASTER")
        self.assertEqual(self.monitor("info").split(";")[1], self.monitor("version"))
        self.assertEqual(self.monitor("config")["brokerName"], "broker-a")
        self.assertEqual(self.monitor("session"), [])

    def test_errors_have_jmq_statuses(self):
        self.monitor("nothing", 7)
        for line in ("", " -i", " -x stat", " -i stat surplus"):
            self.assertEqual(self.c.result("monitor" + line)["status"], 4, line)
        for line in ("client", "closeproducer", "closeconsumer", "offsetinfo", "offsetinfo -t t -a a", "offsetinfo -t t -q 0",
                     "offsetinfo -a a -q 0", "offsetinfo -t t -a a -q x", "resetoffset -t t -a a -q 0"):
            self.monitor(line, 4)
        self.assertIn("unknown is not served", self.monitor("offsetinfo -t unknown -a a -q 0", 5))
        for queue in (2, 1 << 31, 1 << 32):
            self.assertIn("no queue %d; it has 0..1" % queue, self.monitor("offsetinfo -t %s -a a -q %d" % (TOPIC, queue), 5))
        self.monitor("stat -u jmq -p wrong", 2)
        self.monitor("stat -u jmq -p jmq")

    def test_offsets_are_shown_and_reset(self):
        before = int(time.time() * 1000)
        for _ in range(5):
            self.assertEqual(self.connection.send(TOPIC, b"x", queue=1, group=APP).code, 0)
        eventually(lambda: self.connection.call(MAX_OFFSET, {"topic": TOPIC, "queueId": 1}).ext["offset"] == "5")
        self.connection.call(UPDATE_OFFSET, {"consumerGroup": READER, "topic": TOPIC, "queueId": 1, "commitOffset": 3})
        eventually(lambda: self.offset() == 3)
        where = "-t %s -a %s -q 1" % (TOPIC, READER)
        info = self.monitor("offsetinfo " + where)
        self.assertEqual([info[k + "OffsetForValue"] for k in ("min", "ack", "max")], [0, 3, 5])
        for key in ("min", "ack", "max"):
            self.assertGreaterEqual(info[key + "OffsetForDate"], before)
        self.assertEqual(self.monitor("resetoffset %s -l 1" % where), 1)
        self.assertEqual(self.offset(), 1)
        self.assertEqual(self.monitor("resetoffset %s -l %d -b" % (where, before)), 0)
        self.assertEqual(self.offset(), 0)
        self.assertIn("offset 6 is not within 0..5 of queue 1", self.monitor("resetoffset %s -l 6" % where, 5))
        self.assertEqual(self.offset(), 0)

    def test_clients_are_listed_and_closed(self):
        reader, writer = self.b.connect(), self.b.connect()
        self.assertEqual(reader.call(HEARTBEAT, body=heartbeat("reader", consumers=[READER])).code, 0)
        self.assertEqual(writer.call(HEARTBEAT, body=heartbeat("writer", producers=[APP])).code, 0)
        (client,) = self.monitor("client -a " + READER)
        self.assertEqual((client["app"], client["connectionId"], client["consumerRole"], client["producerRole"], client["port"]),
                         (READER, "reader", True, False, reader.sock.getsockname()[1]))
        self.assertEqual(sorted(c["connectionId"] for c in self.monitor("session")), ["reader", "writer"])
        self.assertEqual(self.monitor("closeconsumer -a " + APP), 0)
        self.assertEqual(self.monitor("closeconsumer -a " + READER), 1)
        self.assertEqual(reader.sock.recv(1), b"")
        eventually(lambda: [c["connectionId"] for c in self.monitor("session")] == ["writer"])
        self.assertEqual(self.monitor("closeproducer -a " + APP), 1)
        self.assertEqual(writer.sock.recv(1), b"")
        eventually(lambda: self.monitor("session") == [])

    def runtime_info(self):
        return json.loads(self.connection.call(RUNTIME_INFO).body)["table"]

    def test_runtime_info_has_what_tools_compute_with(self):
        for _ in range(3):
            self.assertEqual(self.connection.send(TOPIC, b"12345", group=APP).code, 0)
        table = self.runtime_info()
        number = r"-?\d+(\.\d+)?"
        rates = " ".join([number] * 3)
        # The keys that clusterList prints, exportMetrics needs and the dashboard uses, with the form that they parse.
        for form, keys in (
                (r"V4_9_8", "brokerVersionDesc"), (r"true", "brokerActive"),
                (rates, "putTps getTotalTps getTransferedTps getTransferredTps getFoundTps getMissTps"),
                (r"\d+\.\d+", "putMessageAverageSize commitLogDiskRatio consumeQueueDiskRatio timerEnqueueTps timerDequeueTps"),
                (r"-?\d+", "msgPutTotalYesterdayMorning msgPutTotalTodayMorning msgPutTotalTodayNow msgGetTotalYesterdayMorning "
                           "msgGetTotalTodayMorning msgGetTotalTodayNow pageCacheLockTimeMills earliestMessageTimeStamp "
                           "sendThreadPoolQueueSize pullThreadPoolQueueSize ackThreadPoolQueueSize "
                           "sendThreadPoolQueueHeadWaitTimeMills pullThreadPoolQueueHeadWaitTimeMills "
                           "ackThreadPoolQueueHeadWaitTimeMills timerReadBehind timerOffsetBehind timerCongestNum")):
            for key in keys.split():
                self.assertIn(key, table)
                self.assertRegex(table[key], "^%s$" % form, key)
        self.assertEqual((table["msgPutTotalTodayNow"], table["putMessageTimesTotal"]), ("3", "3"))
        self.assertEqual((table["retryDatabase"], table["timerCongestNum"]), ("up", "0"))
        self.assertEqual(self.connection.send(TOPIC, b"later", group=APP, properties={"DELAY": "18"}).code, 0)
        eventually(lambda: self.runtime_info()["timerCongestNum"] == "1" and float(self.runtime_info()["timerEnqueueTps"]) > 0)
        self.assertGreater(int(table["earliestMessageTimeStamp"]), 1.7e12)
        self.assertLessEqual(float(table["commitLogDiskRatio"]), 1)


if __name__ == "__main__":
    unittest.main()
