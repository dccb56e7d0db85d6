#!/usr/bin/env python3
"""Drives a real mqregistry: the console by socket, brokers and clients by remoting frames.

usage: MQREGISTRY=path/of/mqregistry registry_test.py

Standard library only. Each test starts its own registry on free ports in its own folder; nothing sleeps where a condition can be waited for.
"""
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time
import unittest
import zlib

PROGRAM = os.environ.get("MQREGISTRY", "mqregistry")
DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "unit", "cluster", "data")
WAIT_S = 10
CONTINUE = "...>"  # prompt while a JSON text is not complete


class Remoting:
    """One connection that speaks remoting frames with JSON headers."""

    def __init__(self, port):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=WAIT_S)
        self.opaque = 0

    def close(self):
        self.sock.close()

    def _read(self, n):
        data = b""
        while len(data) < n:
            part = self.sock.recv(n - len(data))
            if not part:
                raise EOFError("connection closed")
            data += part
        return data

    def read(self):
        (length,) = struct.unpack(">I", self._read(4))
        frame = self._read(length)
        (word,) = struct.unpack(">I", frame[:4])
        header_len = word & 0xFFFFFF
        header = json.loads(frame[4:4 + header_len])
        return header, frame[4 + header_len:]

    def send(self, code, fields=None, body=b"", flag=0):
        self.opaque += 1
        header = json.dumps({"code": code, "language": "JAVA", "version": 409, "opaque": self.opaque, "flag": flag,
                             "extFields": fields or {}}).encode()
        self.sock.sendall(struct.pack(">II", 4 + len(header) + len(body), len(header)) + header + body)
        return self.opaque

    def call(self, code, fields=None, body=b""):
        opaque = self.send(code, fields, body)
        while True:
            header, answer = self.read()
            if header["flag"] & 1 and header["opaque"] == opaque:
                return header, answer


class Console:
    """The admin console as a script sees it."""

    def __init__(self, port, login=True):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=WAIT_S)
        if login:
            try:
                answer = self.command("auth -u jmq -p jmq")
            except (OSError, EOFError):
                self.close()
                raise
            assert json.loads(answer)["status"] == 3, answer

    def close(self):
        self.sock.close()

    def command(self, line):
        self.sock.sendall(line.encode() + b"\r\n")
        data = b""
        while not data.endswith(b"\r\n>"):
            part = self.sock.recv(65536)
            if not part:
                raise EOFError("console closed after " + repr(data))
            data += part
        return data[:-3].decode().replace(CONTINUE, "")

    def result(self, line):
        return json.loads(self.command(line))


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Registry:
    def __init__(self, folder, *arguments):
        self.folder = folder
        self.arguments = arguments
        self.process = None
        self.port = free_port()
        self.telnet_port = free_port()

    def start(self):
        self.process = subprocess.Popen(
            [PROGRAM, f"--listenPort={self.port}", "--bindAddress=127.0.0.1", f"--telnetPort={self.telnet_port}",
             f"--storePathRootDir={self.folder}/data", f"--logDir={self.folder}/log", *self.arguments],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        line = self.process.stdout.readline()
        assert line == "The Name Server boot success. serializeType=JSON\n", line + self.process.stdout.read()
        return self

    def stop(self, how=signal.SIGTERM):
        if self.process is None:
            return None
        self.process.send_signal(how)
        status = self.process.wait(WAIT_S)
        self.process.stdout.close()
        self.process = None
        return status

    def log(self):
        with open(self.folder + "/log/namesrv.log", encoding="utf-8") as f:
            return f.read()


def eventually(condition, timeout=WAIT_S):
    """Waits until condition() is true."""
    end = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > end:
            raise AssertionError("condition not met within %d s" % timeout)
        time.sleep(0.005)


def guide(name):
    with open(os.path.join(DATA, name), encoding="utf-8") as f:
        return f.read()


BROKER = '[{"alias":"jmq102_m","dataCenter":9,"id":0,"ip":"127.0.0.1","permission":"%s","port":50088,"retryType":"DB",' \
         '"syncMode":"SYNCHRONOUS"}]'
TOPIC = '[{"archive":false,"consumers":{"app4Consumer":{}},"groups":["jmq102"],"importance":1,"producers":{"app4Product":{}},' \
        '"queues":5,"topic":"topic_simple","type":"TOPIC"}]'
NO_ROUTE = "No topic route info in name server for the topic: "


def registration(topics, counter=1):
    table = {t: {"order": False, "perm": 6, "readQueueNums": 4, "topicFilterType": "SINGLE_TAG", "topicName": t, "topicSysFlag": 0,
                 "writeQueueNums": 4} for t in topics}
    return json.dumps({"filterServerList": [], "topicConfigSerializeWrapper": {
        "dataVersion": {"counter": counter, "timestamp": 1700000000000}, "topicConfigTable": table}}).encode()


def register(client, address, group, broker_id, topics=(), counter=1, **more):
    fields = {"brokerName": group, "brokerAddr": address, "clusterName": "DefaultCluster", "brokerId": str(broker_id),
              "haServerAddr": address.split(":")[0] + ":10912", **more}
    return client.call(103, fields, registration(topics, counter))


class RegistryTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="cjmq-registry-")
        self.addCleanup(shutil.rmtree, self.folder)
        self.registry = Registry(self.folder).start()
        self.addCleanup(lambda: self.registry.stop())

    def connect(self):
        client = Remoting(self.registry.port)
        self.addCleanup(client.close)
        return client

    def console(self):
        console = Console(self.registry.telnet_port)
        self.addCleanup(console.close)
        return console

    def route(self, client, topic):
        header, body = client.call(105, {"topic": topic})
        return (header["code"], json.loads(body)) if header["code"] == 0 else (header["code"], header["remark"])

    # --- documents ---

    def test_console_quick_start_answers_as_the_guide_says(self):
        c = self.console()
        self.assertEqual(c.command("topic get"), '{"message":"unknow error","status":12}')
        self.assertEqual(c.command("topic set " + TOPIC), '{"message":"ok","status":0}')
        self.assertEqual(c.result("topic get"), {"message": TOPIC, "status": 0})
        self.assertEqual(c.command("broker set " + BROKER % "FULL"), '{"message":"ok","status":0}')
        self.assertEqual(c.result("broker get"), {"message": BROKER % "FULL", "status": 0})
        self.assertEqual(c.command("topic set []"), '{"message":"parameter exception, help command","status":4}')

    def test_console_guides_json_over_several_lines_is_stored_compact(self):
        c = self.console()
        for name in ("deployment_four_brokers.json", "deployment_two_brokers.json", "broker_multi.json"):
            text = guide(name)
            self.assertEqual(c.result("broker set " + text.strip())["status"], 0)
            stored = c.result("broker get")["message"]
            self.assertNotIn("\n", stored)
            self.assertEqual(json.loads(stored), json.loads(text))

    def test_console_refusal_names_element_field_value_and_what_is_allowed(self):
        c = self.console()
        answer = c.result("broker set " + BROKER % "full")
        self.assertEqual(answer["status"], 12)
        self.assertEqual(answer["message"], 'element 0 (127.0.0.1:50088), field permission: "full" is not allowed; '
                                            'allowed: NONE, READ, WRITE, FULL (or its number, 0 to 3)')
        self.assertEqual(c.command("broker get"), '{"message":"unknow error","status":12}')

    def test_console_history_diff_rollback_go_through_versions(self):
        c = self.console()
        for permission in ("FULL", "READ"):
            c.command("broker set " + BROKER % permission)
        self.assertIn('~ broker 127.0.0.1:50088 permission: "FULL" -> "READ"', c.command("broker diff"))
        self.assertEqual(c.result("broker rollback 1")["status"], 0)
        self.assertEqual(c.result("broker get")["message"], BROKER % "FULL")
        rows = c.command("broker history").splitlines()
        self.assertEqual(len(rows), 4)
        self.assertRegex(rows[1], r"^ +3 .* jmq +127\.0\.0\.1:\d+ +rollback to 1$")
        self.assertEqual(c.result("broker rollback 9"), {"message": "the broker document has no version 9", "status": 12})

    def test_documents_survive_a_restart_and_a_kill(self):
        c = self.console()
        c.command("topic set " + TOPIC)
        self.registry.stop(signal.SIGKILL)
        self.registry.start()
        c = self.console()
        self.assertEqual(c.result("topic get")["message"], TOPIC)
        self.assertEqual(c.result("topic set " + TOPIC.replace('"queues":5', '"queues":6'))["status"], 0)
        self.assertEqual(self.registry.stop(), 0)
        self.registry.start()
        self.assertEqual(json.loads(self.console().result("topic get")["message"])[0]["queues"], 6)

    def test_document_command_needs_the_password(self):
        client = self.connect()
        fields = {"name": "topic", "action": "set", "user": "jmq", "password": "wrong", "peer": "10.0.0.1:1"}
        header, _ = client.call(7004, fields, TOPIC.encode())
        self.assertEqual((header["code"], header["remark"]), (16, "auth error, check user and password"))
        self.assertEqual(client.call(7001, {"name": "topic"})[0]["code"], 22)
        header, body = client.call(7004, {**fields, "password": "jmq"}, TOPIC.encode())
        self.assertEqual((header["code"], header["extFields"]["outcome"], header["extFields"]["status"]), (0, "done", "0"))
        header, body = client.call(7001, {"name": "topic"})
        self.assertEqual((header["extFields"]["version"], body.decode()), ("1", TOPIC))
        self.assertRegex(self.console().command("topic history"), r"10\.0\.0\.1:1 via 127\.0\.0\.1:\d+ +set")

    def test_versions_are_told_and_taken_over_with_time_and_author(self):
        c, client = self.console(), self.connect()
        c.command("topic set " + TOPIC)
        header, body = client.call(7001, {"name": "topic"})
        mine = header["extFields"]
        self.assertEqual((mine["author"], mine["origin"], mine["version"]), ("jmq", "set", "1"))
        login = {"name": "topic", "action": "import", "user": "jmq", "password": "jmq"}
        early = {**login, "timestamp": str(int(mine["timestamp"]) - 1000), "author": "ann", "peer": "10.0.0.9:1", "origin": "set at r2:9876"}
        late = {**early, "timestamp": str(int(mine["timestamp"]) + 5000)}
        for fields, text in ((early, TOPIC.replace("5", "6")), (early, TOPIC.replace("5", "6")), (late, TOPIC.replace("5", "7"))):
            header, answer = client.call(7004, fields, text.encode())
            self.assertEqual((header["code"], header["extFields"]["outcome"], answer), (0, "done", b""))
        self.assertEqual(header["extFields"]["timestamp"], late["timestamp"])
        header, body = client.call(7006, {"name": "topic"})
        self.assertEqual(header["extFields"], {"kept": "0", "more": "false"})
        rows = json.loads(body)
        self.assertEqual([(r["version"], str(r["time"])) for r in rows],
                         [(3, late["timestamp"]), (1, mine["timestamp"]), (2, early["timestamp"])])
        self.assertEqual(rows[2]["crc32"], zlib.crc32(TOPIC.replace("5", "6").encode()))
        self.assertEqual(c.result("topic get")["message"], TOPIC.replace("5", "7"))
        header, body = client.call(7001, {"name": "topic", "time": early["timestamp"]})
        self.assertEqual((body.decode(), header["extFields"]["author"], header["extFields"]["peer"], header["extFields"]["origin"]),
                         (TOPIC.replace("5", "6"), "ann", "10.0.0.9:1", "set at r2:9876"))
        self.assertEqual(client.call(7001, {"name": "topic", "time": "1"})[0]["code"], 22)
        self.assertEqual(json.loads(client.call(7006, {"name": "topic", "before": mine["timestamp"]})[1])[0]["version"], 2)
        self.assertIn(" ann           10.0.0.9:1 ", c.command("topic history"))
        c.command("topic set " + TOPIC)  # newer than what came from a clock ahead
        self.assertEqual(c.result("topic get")["message"], TOPIC)
        for bad in ({"timestamp": "0"}, {"timestamp": "x"}, {"timestamp": str(1 << 62)}, {"author": "a\nb"}, {"origin": "o" * 256}):
            self.assertEqual(client.call(7004, {**late, **bad}, TOPIC.encode())[0]["code"], 1, bad)
        self.assertEqual(client.call(7004, {**late, "password": "wrong"}, TOPIC.encode())[0]["code"], 16)

    def test_document_command_guessing_is_paused(self):
        client = self.connect()
        fields = {"name": "topic", "action": "get", "user": "jmq", "password": "wrong"}
        for _ in range(10):
            self.assertEqual(client.call(7004, fields)[0]["remark"], "auth error, check user and password")
        header, _ = client.call(7004, {**fields, "password": "jmq"})
        self.assertEqual(header["code"], 16)
        self.assertIn("10 wrong passwords from 127.0.0.1; try again in", header["remark"])

    def test_watcher_hears_of_a_change_within_100_ms(self):
        watcher = self.connect()
        header, _ = watcher.call(7002, {"brokerAddr": "127.0.0.1:50088"})
        self.assertEqual(header["extFields"], {"brokerVersion": "0", "topicVersion": "0"})
        console = self.console()
        start = time.monotonic()
        console.command("broker set " + BROKER % "FULL")
        header, body = watcher.read()
        self.assertLess(time.monotonic() - start, 0.1)
        self.assertEqual((header["code"], header["flag"] & 2), (7003, 2))
        self.assertEqual((header["extFields"]["name"], header["extFields"]["version"]), ("broker", "1"))
        self.assertEqual(body.decode(), BROKER % "FULL")

    # --- brokers and routes ---

    def test_route_of_a_registered_broker_needs_no_document(self):
        client, broker = self.connect(), self.connect()
        self.assertEqual(self.route(client, "T1"), (17, NO_ROUTE + "T1: no such topic: neither in the topic document nor registered by a "
                                                                   "live broker"))
        self.assertEqual(register(broker, "127.0.0.1:10911", "broker-a", 0, ["T1"])[0]["code"], 0)
        header, body = client.call(105, {"topic": "T1"})
        self.assertEqual(body.decode(), '{"brokerDatas":[{"brokerAddrs":{"0":"127.0.0.1:10911"},"brokerName":"broker-a",'
                                        '"cluster":"DefaultCluster"}],"filterServerTable":{},"queueDatas":[{"brokerName":"broker-a",'
                                        '"perm":6,"readQueueNums":4,"topicSynFlag":0,"topicSysFlag":0,"writeQueueNums":4}]}')

    def test_route_names_the_cause_when_there_is_none(self):
        client, broker, c = self.connect(), self.connect(), self.console()
        c.command("topic set " + TOPIC)
        self.assertEqual(self.route(client, "topic_simple"), (17, NO_ROUTE + "topic_simple: no broker of its groups is alive (jmq102)"))
        register(broker, "127.0.0.1:50088", "jmq102", 0)
        self.assertEqual(self.route(client, "topic_simple")[0], 0)
        c.command("broker set " + BROKER % "NONE")
        self.assertEqual(self.route(client, "topic_simple"), (17, NO_ROUTE + "topic_simple: no permission: the brokers of its groups "
                                                                             "(jmq102) may neither be read nor written"))

    def test_route_follows_a_permission_change_at_once(self):
        client, broker, c = self.connect(), self.connect(), self.console()
        c.command("topic set " + TOPIC)
        register(broker, "127.0.0.1:50088", "jmq102", 0, ["own"])
        for permission, bits in (("FULL", 6), ("READ", 4), ("WRITE", 2)):
            c.command("broker set " + BROKER % permission)
            for topic, queues in (("topic_simple", 5), ("own", 4)):
                queue = self.route(client, topic)[1]["queueDatas"][0]
                self.assertEqual((queue["perm"], queue["writeQueueNums"]), (bits, queues))

    def test_route_leaves_out_a_slave_with_permission_none(self):
        client, master, slave, c = self.connect(), self.connect(), self.connect(), self.console()
        document = BROKER % "FULL"
        slave_entry = document[1:-1].replace("jmq102_m", "jmq102_s").replace("50088", "50090")
        c.command("topic set " + TOPIC)
        register(master, "127.0.0.1:50088", "jmq102", 0)
        header, _ = register(slave, "127.0.0.1:50090", "jmq102", 1)
        self.assertEqual(header["extFields"], {"haServerAddr": "127.0.0.1:10912", "masterAddr": "127.0.0.1:50088"})
        for permission, addresses in (("NONE", {"0": "127.0.0.1:50088"}), ("READ", {"0": "127.0.0.1:50088", "1": "127.0.0.1:50090"})):
            c.command("broker set " + document[:-1] + "," + slave_entry.replace("FULL", permission) + "]")
            self.assertEqual(self.route(client, "topic_simple")[1]["brokerDatas"][0]["brokerAddrs"], addresses)
        table = c.command("cluster")
        self.assertRegex(table, r"jmq102 +MASTER +FULL +127\.0\.0\.1:50088 +yes +0 s ago +document")
        self.assertRegex(table, r"jmq102 +SLAVE +READ +127\.0\.0\.1:50090 +yes")

    def test_cluster_says_when_a_broker_that_is_gone_was_heard(self):
        client, broker, c = self.connect(), self.connect(), self.console()
        c.command("broker set " + BROKER % "FULL")
        self.assertRegex(c.command("cluster"), r"127\.0\.0\.1:50088 +no +- +document")
        before = int(time.time() * 1000)
        register(broker, "127.0.0.1:50088", "jmq102", 0)
        broker.close()
        eventually(lambda: not json.loads(client.call(7005)[1])[0]["alive"])
        self.assertGreaterEqual(json.loads(client.call(7005)[1])[0]["lastHeartbeat"], before)
        self.assertRegex(c.command("cluster"), r"127\.0\.0\.1:50088 +no +\d+ s ago +document")

    # --- promotion ---

    def members(self, client, group="jmq102"):
        """{id: address} of a group as tools see it."""
        return json.loads(client.call(106)[1])["brokerAddrTable"][group]["brokerAddrs"]

    def test_promotion_shows_in_routes_cluster_and_answers_at_once(self):
        c = self.console()
        pair = '[{"alias":"jmq102_m","ip":"127.0.0.1","permission":"FULL","port":50088},' \
               '{"alias":"jmq102_s","ip":"127.0.0.1","permission":"%s","port":50090}]'
        promoted = pair.replace("jmq102_m", "x").replace("jmq102_s", "jmq102_m").replace("x", "jmq102_s")
        promoted = promoted.replace("FULL", "%s", 1).replace('"%s","port":50090', '"FULL","port":50090')
        self.assertEqual(c.command("broker set " + pair % "READ"), '{"message":"ok","status":0}')
        self.assertEqual(c.command("topic set " + TOPIC), '{"message":"ok","status":0}')
        old, new, client = self.connect(), self.connect(), self.connect()
        self.assertEqual(register(old, "127.0.0.1:50088", "jmq102", 0, ["own"])[0]["code"], 0)
        header = register(new, "127.0.0.1:50090", "jmq102", 1)[0]
        self.assertEqual((header["extFields"]["masterAddr"], header["extFields"]["haServerAddr"]), ("127.0.0.1:50088", "127.0.0.1:10912"))
        both = {"0": "127.0.0.1:50088", "1": "127.0.0.1:50090"}
        for topic in ("topic_simple", "own"):
            self.assertEqual(self.route(client, topic)[1]["brokerDatas"][0]["brokerAddrs"], both)
        self.assertEqual(c.command("broker promote jmq102_s"), '{"message":"ok","status":0}')
        swapped = {"0": "127.0.0.1:50090", "1": "127.0.0.1:50088"}
        self.assertEqual(c.result("broker get"), {"message": promoted % "READ", "status": 0})
        for topic in ("topic_simple", "own"):
            code, route = self.route(client, topic)
            self.assertEqual((route["brokerDatas"][0]["brokerAddrs"], route["queueDatas"][0]["perm"]), (swapped, 6))
        self.assertEqual(self.members(client), swapped)
        rows = [line.split()[:4] for line in c.command("cluster").splitlines()[1:]]
        self.assertEqual(rows, [["jmq102", "MASTER", "FULL", "127.0.0.1:50090"], ["jmq102", "SLAVE", "READ", "127.0.0.1:50088"]])
        # the old master has not heard of it, and is told who is master now
        header = register(old, "127.0.0.1:50088", "jmq102", 0, ["own"], 2)[0]
        self.assertEqual((header["code"], header["extFields"]["masterAddr"]), (0, "127.0.0.1:50090"))
        self.assertEqual(self.members(client), swapped)
        self.assertEqual(register(new, "127.0.0.1:50090", "jmq102", 0)[0].get("extFields") or {}, {})
        self.assertIn("  promote jmq102_s\r\n", c.command("broker history 1") + "\r\n")
        # dead, and not noticed yet: still one master
        old.close()
        eventually(lambda: self.members(client) == {"0": "127.0.0.1:50090"})

    def test_promotion_refused_names_the_cause(self):
        c = self.console()
        self.assertEqual(c.result("broker promote a")["message"], "there is no broker document yet")
        c.command("broker set " + guide("deployment_four_brokers.json").replace("\n", ""))
        before = c.command("broker history")
        for line, status, text in (("a_s", 12, 'has no broker "a_s"; there are: jmq100_m, jmq100_s, jmq102_m, jmq102_s'),
                                   ("jmq102_m", 12, "is the master of group jmq102 already"), ("", 4, "parameter exception")):
            answer = c.result("broker promote " + line)
            self.assertEqual(answer["status"], status)
            self.assertIn(text, answer["message"])
        answer = c.result("broker promote jmq102_s")
        self.assertEqual(answer["status"], 12)
        self.assertRegex(answer["message"], r"jmq102_s \(192.168.1.\d:50088\) does not seem to be alive.* 'broker promote jmq102_s force'")
        self.assertEqual(c.command("broker history"), before)
        self.assertEqual(c.result("topic promote jmq102_s")["status"], 4)
        self.assertEqual(c.command("broker promote jmq102_s force"), '{"message":"ok","status":0}')

    def test_broker_whose_connection_closes_is_dropped_at_once(self):
        client, broker = self.connect(), self.connect()
        register(broker, "127.0.0.1:10911", "broker-a", 0, ["T1"])
        self.assertEqual(self.route(client, "T1")[0], 0)
        broker.close()
        eventually(lambda: self.route(client, "T1")[0] == 17)
        self.assertIn("broker lost, its connection closed address=127.0.0.1:10911", self.registry.log())

    def test_broker_not_heard_of_expires(self):
        client, broker = self.connect(), self.connect()
        register(broker, "127.0.0.1:10911", "broker-a", 0, ["T1"], heartbeatTimeoutMillis="1000")
        self.assertEqual(self.route(client, "T1")[0], 0)
        eventually(lambda: self.route(client, "T1")[0] == 17)
        self.assertIn("broker lost, not heard of", self.registry.log())

    def test_compressed_registration_and_crc(self):
        client, broker = self.connect(), self.connect()

        def block(text):
            return struct.pack(">I", len(text)) + text.encode()
        plain = block('{"counter":1,"timestamp":2}') + struct.pack(">I", 1) + block("T9 3 3 6 SINGLE_TAG") + block("[]")
        packed = zlib.compress(plain)
        fields = {"brokerName": "b", "brokerAddr": "127.0.0.1:10911", "clusterName": "C", "brokerId": "0", "haServerAddr": "",
                  "compressed": "true", "bodyCrc32": str(zlib.crc32(packed) & 0x7FFFFFFF)}
        self.assertEqual(broker.call(103, {**fields, "bodyCrc32": "1"}, packed)[0]["remark"], "crc32 not match")
        self.assertEqual(broker.call(103, fields, packed)[0]["code"], 0)
        self.assertEqual(self.route(client, "T9")[1]["queueDatas"][0]["readQueueNums"], 3)

    def test_lists_and_permissions(self):
        client, broker = self.connect(), self.connect()
        register(broker, "127.0.0.1:10911", "broker-a", 0, ["T1", "T2"])
        self.assertEqual(json.loads(client.call(206)[1]), {"topicList": ["T1", "T2"]})
        self.assertEqual(json.loads(client.call(224, {"cluster": "nowhere"})[1]), {"topicList": []})
        self.assertEqual(json.loads(client.call(304)[1]), {"brokerAddr": "127.0.0.1:10911", "topicList": ["DefaultCluster", "broker-a"]})
        self.assertEqual(json.loads(client.call(106)[1]), {
            "brokerAddrTable": {"broker-a": {"brokerAddrs": {"0": "127.0.0.1:10911"}, "brokerName": "broker-a",
                                             "cluster": "DefaultCluster"}},
            "clusterAddrTable": {"DefaultCluster": ["broker-a"]}})
        self.assertEqual(client.call(205, {"brokerName": "broker-a"})[0]["extFields"], {"wipeTopicCount": "2"})
        self.assertEqual(self.route(client, "T1")[1]["queueDatas"][0]["perm"], 4)
        self.assertEqual(client.call(327, {"brokerName": "broker-a"})[0]["extFields"], {"addTopicCount": "2"})
        self.assertEqual(client.call(216, {"topic": "T1"})[0]["code"], 0)
        self.assertEqual(self.route(client, "T1")[0], 17)
        header, body = client.call(322, {"brokerName": "broker-a", "brokerAddr": "127.0.0.1:10911", "clusterName": "DefaultCluster",
                                         "brokerId": "0"}, b'{"counter":1,"timestamp":1700000000000}')
        self.assertEqual(header["extFields"], {"changed": "false"})
        self.assertEqual(client.call(12345)[0]["code"], 3)

    # --- configuration ---

    def test_kv_configuration_survives_a_restart(self):
        client = self.connect()
        self.assertEqual(client.call(101, {"namespace": "n", "key": "k"})[0]["code"], 22)
        self.assertEqual(client.call(100, {"namespace": "n", "key": "k", "value": "v1"})[0]["code"], 0)
        self.registry.stop()
        self.registry.start()
        client = self.connect()
        self.assertEqual(client.call(101, {"namespace": "n", "key": "k"})[0]["extFields"], {"value": "v1"})
        self.assertEqual(json.loads(client.call(219, {"namespace": "n"})[1]), {"table": {"k": "v1"}})
        self.assertEqual(client.call(102, {"namespace": "n", "key": "k"})[0]["code"], 0)
        self.assertEqual(client.call(219, {"namespace": "n"})[0]["code"], 22)

    def test_namesrv_config_is_told_without_the_password_and_changed_within_limits(self):
        client = self.connect()
        text = client.call(319)[1].decode()
        self.assertIn("listenPort=%d\n" % self.registry.port, text)
        self.assertNotIn("adminPassword", text)
        header, _ = client.call(318, {}, b"orderMessageEnable=true\nadminPassword=x\n")
        self.assertEqual(header["code"], 16)
        self.assertIn("orderMessageEnable=false\n", client.call(319)[1].decode())
        self.assertEqual(client.call(318, {}, b"orderMessageEnable=true\n")[0]["code"], 0)
        self.assertIn("orderMessageEnable=true\n", client.call(319)[1].decode())
        self.assertEqual(client.call(318, {}, b"brokerExpireMs=soon\n")[0]["code"], 1)

    # --- console ---

    def test_console_monitor_and_permiquery(self):
        c = self.console()
        c.command("topic set " + TOPIC)
        self.assertEqual(c.result("permiquery -l topic -t topic_simple"), {"message": '"FULL"', "status": 0, "type": "topic"})
        self.assertEqual(c.result("permiquery -l app -t topic_simple -a app4Product.host1")["message"], '"WRITE"')
        self.assertEqual(c.result("permiquery -l broker")["status"], 8)
        self.assertEqual(c.result("permiquery")["status"], 4)
        self.assertEqual(c.result("monitor -i nothing")["status"], 7)
        self.assertEqual(c.result("monitor")["status"], 4)
        stat = json.loads(c.result("monitor -i stat")["message"])
        self.assertEqual((stat["topicVersion"], stat["brokersAlive"]), (1, 0))
        self.assertIn("topic_simple  TOPIC  5       jmq102!", c.command("topics"))

    def test_cluster_status_lists_brokers_that_are_not_alive(self):
        client, c = self.connect(), self.console()
        c.command("broker set " + BROKER % "FULL")
        self.assertEqual(json.loads(client.call(7005)[1]), [{
            "address": "127.0.0.1:50088", "group": "jmq102", "role": "MASTER", "permission": "FULL", "alive": False, "lastHeartbeat": 0,
            "source": "document", "brokerId": 0, "alias": "jmq102_m", "syncMode": "SYNCHRONOUS"}])

    def test_second_instance_on_the_same_port_says_what_is_wrong(self):
        out = subprocess.run([PROGRAM, f"--listenPort={self.registry.port}", "--bindAddress=127.0.0.1", "--telnetPort=0",
                              f"--storePathRootDir={self.folder}/other", f"--logDir={self.folder}/other"], capture_output=True, text=True,
                             timeout=WAIT_S, check=False)
        self.assertEqual(out.returncode, 1)
        self.assertIn("127.0.0.1:%d" % self.registry.port, out.stderr)
        self.assertIn("listenPort=%d bindAddress=127.0.0.1" % self.registry.port, out.stderr)

    def test_console_port_in_use_is_named_with_its_setting(self):
        port = self.registry.telnet_port
        stderr = self.start_fails(self.folder + "/other", f"--telnetPort={port}")
        self.assertIn("cannot listen on 127.0.0.1:%d" % port, stderr)
        self.assertIn("telnetPort=%d" % port, stderr)

    def test_empty_user_and_password_are_refused(self):
        self.assertIn("adminPassword is empty", self.start_fails(self.folder + "/other", "--adminPassword="))
        self.assertIn("adminUser is empty", self.start_fails(self.folder + "/other", "--adminUser="))

    def start_fails(self, folder, *more):
        out = subprocess.run([PROGRAM, "--listenPort=0", "--bindAddress=127.0.0.1", "--telnetPort=0", f"--storePathRootDir={folder}",
                              f"--logDir={self.folder}/other", *more], capture_output=True, text=True, timeout=WAIT_S, check=False)
        self.assertEqual(out.returncode, 1, out.stderr)
        return out.stderr

    def test_second_instance_on_the_same_folder_is_refused(self):
        self.assertIn(f"{self.folder}/data/lock is locked: another registry uses this folder", self.start_fails(self.folder + "/data"))

    def test_folder_that_cannot_be_made_is_named_at_start(self):
        open(self.folder + "/file", "w", encoding="utf-8").close()
        self.assertIn(f"cannot create folder {self.folder}/file", self.start_fails(self.folder + "/file/data"))


if __name__ == "__main__":
    unittest.main()
