"""A master and its slaves on loopback: what is acknowledged when, what a slave takes over, promotion, the return of a former master.
Hosts that die and links that break are in deployment_test.py and fault_test.py. MQBROKER and MQREGISTRY name the programs."""
import glob
import json
import os
import shutil
import signal
import socket
import tempfile
import time
import unittest

from registry_test import Console, Registry, eventually, free_port
from rmq import QUERY_OFFSET, UPDATE_OFFSET, Broker, decode_records, send_request

SLAVE_NOT_AVAILABLE, FLUSH_SLAVE_TIMEOUT, NO_PERMISSION = 11, 12, 16
UPDATE_TOPIC, GET_ALL_TOPICS, CREATE_GROUP, GET_ALL_GROUPS = 17, 21, 200, 201
TOPIC, APP, READER = "topic_simple", "app4Product", "app4Consumer"
LOG_FILE_BYTES = 1 << 20


def free_ports(count):
    """Ports in a row that nobody listens on."""
    while True:
        base = 20000 + (free_port() * 7) % 12000
        held = []
        try:
            for i in range(count):
                held.append(socket.create_server(("127.0.0.1", base + i)))
            return base
        except OSError:
            continue
        finally:
            for s in held:
                s.close()


class Pair(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="cjmq-pair-")
        self.addCleanup(shutil.rmtree, self.folder, True)
        self.brokers = []

    def broker(self, name, **settings):
        settings = {"mappedFileSizeCommitLog": LOG_FILE_BYTES, "telnetPort": free_port(), "haReconnectInterval": 50,
                    "logLevel": "debug", **settings}
        broker = Broker(folder="%s/%s" % (self.folder, name), **settings)
        self.brokers.append(broker)
        self.addCleanup(lambda: broker.process and broker.kill())
        return broker

    def stop(self, broker):
        self.assertEqual(broker.stop(), 0, broker.stderr)

    def status(self, broker):
        """What `monitor -i replication` says."""
        console = Console(broker.settings["telnetPort"])
        try:
            return json.loads(console.result("monitor -i replication")["message"])
        finally:
            console.close()

    def await_state(self, broker, state):
        def reached():
            try:
                return self.status(broker)["state"] == state
            except (OSError, EOFError):
                return False  # it starts anew
        eventually(reached)

    def await_in_step(self, master, count=1):
        eventually(lambda: self.status(master).get("inStep") == count)

    def stands_still(self, broker):
        """All threads of a program that was sent SIGSTOP have got it."""
        states = []
        for path in glob.glob("/proc/%d/task/*/stat" % broker.process.pid):
            with open(path) as f:
                states.append(f.read().rsplit(")", 1)[1].split()[0])
        return states and set(states) == {"T"}

    def log_bytes(self, broker):
        """The commit log, file by file, without what is behind the blanks."""
        out = {}
        for path in sorted(glob.glob(broker.folder + "/store/commitlog/*")):
            with open(path, "rb") as f:
                data = f.read()
            at = 0
            while at + 8 <= len(data):
                size = int.from_bytes(data[at:at + 4], "big")
                magic = data[at + 4:at + 8]
                if magic == b"\xcb\xd4\x31\x94" or size == 0:
                    break
                at += size
            out[os.path.basename(path)] = data[:at]
        return {name: data for name, data in out.items() if data}

    def await_same_log(self, one, other):
        eventually(lambda: self.status(one)["logEnd"] == self.status(other)["logEnd"])
        self.assertEqual(self.log_bytes(one), self.log_bytes(other))

    def send(self, connection, count, first=0, size=100, topic=TOPIC, group="producer"):
        """Sends messages numbered from `first` on and returns their codes."""
        posts = [connection.post(*send_arguments(topic, b"%08d" % n + b"x" * size, group)) for n in range(first, first + count)]
        return [connection.answer(opaque).code for opaque in posts]

    def bodies(self, broker, topic=TOPIC, queues=4, group=READER):
        connection = broker.connect()
        found = []
        for queue in range(queues):
            found += [m.body[:8] for m in connection.pull_all(topic, queue, group=group)]
        return sorted(int(b) for b in found)


def send_arguments(topic, body, group):
    return send_request(topic, body, queue=int(body[:8]) % 4, group=group)


class ByProperties(Pair):
    """RocketMQ's way: brokerRole, brokerId, and haMasterAddress instead of a registry."""

    def pair(self, role="SYNC_MASTER", **slave_settings):
        port = free_ports(4)
        master = self.broker("master", brokerName="g", brokerRole=role, listenPort=port, haListenPort=port + 1)
        slave = self.broker("slave", brokerName="g", brokerRole="SLAVE", brokerId=1, listenPort=port + 3,
                            haMasterAddress="127.0.0.1:%d" % (port + 1), **slave_settings)
        return master.start(), slave

    def test_acknowledged_with_success_only_when_the_slave_has_it(self):
        master, slave = self.pair()
        connection = master.connect()
        self.assertEqual(set(self.send(connection, 10)), {SLAVE_NOT_AVAILABLE})
        answer = connection.send(TOPIC, b"00000010")
        self.assertIn("stored on this broker only", answer.remark)
        self.assertIn("msgId", answer.ext)
        slave.start()
        self.await_in_step(master)
        self.assertEqual(set(self.send(connection, 200, 11)), {0})
        self.await_same_log(master, slave)
        slave.kill()
        eventually(lambda: set(self.send(connection, 1, 300)) == {SLAVE_NOT_AVAILABLE})
        slave.start()
        self.await_in_step(master)
        self.assertEqual(set(self.send(connection, 1, 400)), {0})
        self.stop(slave)
        self.stop(master)

    def test_stopped_slave_answers_timeout_once_and_is_left_out(self):
        port = free_ports(4)
        master = self.broker("master", brokerName="g", brokerRole="SYNC_MASTER", listenPort=port, haListenPort=port + 1,
                             slaveTimeout=300).start()
        slave = self.broker("slave", brokerName="g", brokerRole="SLAVE", brokerId=1, listenPort=port + 3,
                            haMasterAddress="127.0.0.1:%d" % (port + 1)).start()
        connection = master.connect()
        self.await_in_step(master)
        self.assertEqual(self.send(connection, 1), [0])
        slave.process.send_signal(signal.SIGSTOP)
        eventually(lambda: self.stands_still(slave))
        answer = connection.send(TOPIC, b"00000001")
        self.assertIn(answer.code, (FLUSH_SLAVE_TIMEOUT, SLAVE_NOT_AVAILABLE), answer)
        eventually(lambda: self.send(connection, 1, 2) == [SLAVE_NOT_AVAILABLE])
        began = time.monotonic()
        self.assertEqual(set(self.send(connection, 50, 3)), {SLAVE_NOT_AVAILABLE})
        self.assertLess(time.monotonic() - began, 0.3)  # nobody waits for it any more
        slave.process.send_signal(signal.SIGCONT)
        self.await_in_step(master)
        self.assertEqual(self.send(connection, 1, 60), [0])
        self.await_same_log(master, slave)

    def test_automatic_fallback_is_success_and_visible(self):
        port = free_ports(2)
        master = self.broker("master", brokerName="g", brokerRole="SYNC_MASTER", listenPort=port, haListenPort=port + 1,
                             enableAutoInSyncReplicas="true").start()
        self.assertEqual(set(self.send(master.connect(), 3)), {0})
        console = Console(master.settings["telnetPort"])
        self.assertIn("DEGRADED to asynchronous", console.command("replication"))
        console.close()

    def test_slave_catches_up_from_nothing_over_several_files_and_goes_on_after_restarts(self):
        master, slave = self.pair("ASYNC_MASTER")
        connection = master.connect()
        self.assertEqual(set(self.send(connection, 3000, size=1200)), {0})
        self.assertGreater(len(glob.glob(master.folder + "/store/commitlog/*")), 3)
        slave.start()
        self.await_same_log(master, slave)
        slave.kill()
        self.send(connection, 500, 3000, size=1200)
        slave.start()
        self.await_same_log(master, slave)
        self.stop(slave)
        self.send(connection, 500, 3500, size=1200)
        slave.start()
        self.await_same_log(master, slave)
        master.kill()
        master.start()
        connection = master.connect()
        self.send(connection, 500, 4000, size=1200)
        self.await_same_log(master, slave)
        self.assertEqual(self.bodies(slave), self.bodies(master))
        self.assertEqual(self.bodies(slave), list(range(4500)))

    def test_slave_takes_over_topics_groups_and_offsets(self):
        master, slave = self.pair("ASYNC_MASTER")
        slave.start()
        connection = master.connect()
        self.assertEqual(connection.call(UPDATE_TOPIC, {"topic": "Made", "readQueueNums": 3, "writeQueueNums": 3, "perm": 6,
                                                        "topicFilterType": "SINGLE_TAG", "defaultTopic": "TBW102", "topicSysFlag": 0,
                                                        "order": "false"}).code, 0)
        group = {"groupName": "made", "retryMaxTimes": 5}
        self.assertEqual(connection.call(CREATE_GROUP, {}, json.dumps(group).encode()).code, 0)
        self.send(connection, 8, topic="Made")
        self.assertEqual(connection.call(UPDATE_OFFSET, {"consumerGroup": "made", "topic": "Made", "queueId": 1,
                                                         "commitOffset": 2}).code, 0)
        at_slave = slave.connect()

        def same():
            topics = json.loads(at_slave.call(GET_ALL_TOPICS).body)["topicConfigTable"]
            groups = json.loads(at_slave.call(GET_ALL_GROUPS).body)["subscriptionGroupTable"]
            answer = at_slave.call(QUERY_OFFSET, {"consumerGroup": "made", "topic": "Made", "queueId": 1})
            return topics.get("Made", {}).get("readQueueNums") == 3 and groups.get("made", {}).get("retryMaxTimes") == 5 \
                and answer.ext.get("offset") == "2"
        eventually(same)
        self.assertIn(b"master", at_slave.call(UPDATE_TOPIC, {"topic": "Other", "readQueueNums": 1, "writeQueueNums": 1, "perm": 6,
                                                              "topicFilterType": "SINGLE_TAG", "defaultTopic": "TBW102",
                                                              "topicSysFlag": 0, "order": "false"}).remark.encode())

    def test_consumers_read_and_commit_at_the_slave_while_the_master_is_away(self):
        master, slave = self.pair("ASYNC_MASTER")
        slave.start()
        connection = master.connect()
        self.send(connection, 40)
        commit = {"consumerGroup": READER, "topic": TOPIC, "queueId": 1}
        self.assertEqual(connection.call(UPDATE_OFFSET, {**commit, "commitOffset": 4}).code, 0)
        self.await_same_log(master, slave)
        at_slave = slave.connect()
        eventually(lambda: at_slave.call(QUERY_OFFSET, commit).ext.get("offset") == "4")
        master.kill()
        self.assertEqual(len(at_slave.pull_all(TOPIC, 1, 4, group=READER)), 6)
        self.assertEqual(at_slave.call(UPDATE_OFFSET, {**commit, "commitOffset": 9}).code, 0)
        master.start()
        back = master.connect()
        eventually(lambda: back.call(QUERY_OFFSET, commit).ext.get("offset") == "9")
        self.assertEqual(back.call(UPDATE_OFFSET, {**commit, "commitOffset": 3}).code, 0)  # a reset counts again
        eventually(lambda: at_slave.call(QUERY_OFFSET, commit).ext.get("offset") == "3")

    def test_held_pull_at_the_slave_is_answered_by_the_next_message(self):
        for flush in ("ASYNC_FLUSH", "SYNC_FLUSH"):
            with self.subTest(flush):
                self.check_held_pull(flush)

    def check_held_pull(self, flush):
        shutil.rmtree(self.folder)
        master, slave = self.pair("ASYNC_MASTER", flushDiskType=flush)
        slave.start()
        connection = master.connect()
        self.send(connection, 4)
        self.await_same_log(master, slave)
        at_slave = slave.connect()
        eventually(lambda: at_slave.pull(TOPIC, 0, 0, group=READER).code == 0)  # the topic comes a moment after its messages
        opaque = at_slave.post_pull(TOPIC, 0, 1, group=READER, suspend_ms=15000)
        time.sleep(0.05)  # the pull is held by then, or finds the message at once: both are right
        began = time.monotonic()
        self.send(connection, 1, 4)
        answer = at_slave.answer(opaque)
        self.assertEqual(answer.code, 0)
        self.assertEqual(decode_records(answer.body)[0].body[:8], b"00000004")
        self.assertLess(time.monotonic() - began, 3)
        self.stop(slave)
        self.stop(master)

    def test_slave_refuses_messages_and_names_the_master(self):
        master, slave = self.pair()
        slave.start()
        self.await_in_step(master)
        answer = slave.connect().send(TOPIC, b"00000000")
        self.assertEqual(answer.code, NO_PERMISSION)
        self.assertIn("SLAVE", answer.remark)

    def test_slave_of_another_group_is_refused_and_told_why(self):
        port = free_ports(4)
        master = self.broker("master", brokerName="g", listenPort=port, haListenPort=port + 1).start()
        slave = self.broker("slave", brokerName="other", brokerRole="SLAVE", brokerId=1, listenPort=port + 3,
                            haMasterAddress="127.0.0.1:%d" % (port + 1)).start()
        eventually(lambda: "not of other" in self.status(slave)["problem"])
        self.assertEqual(self.status(master)["slaves"], [])

    def test_ha_port_in_use_stops_the_start_with_its_name(self):
        port = free_ports(3)
        with socket.create_server(("127.0.0.1", port + 1)):
            broker = self.broker("master", listenPort=port, haListenPort=port + 1)
            status, text = broker.start_fails()
            self.assertNotEqual(status, 0)
            self.assertIn("haListenPort=%d" % (port + 1), text)


class ByDocument(Pair):
    """JMQ's way: the broker document says who is what."""

    def setUp(self):
        super().setUp()
        os.mkdir(self.folder + "/registry")
        self.registry = Registry(self.folder + "/registry").start()
        self.addCleanup(self.registry.stop)
        self.master_port = free_ports(6)
        self.slave_port = self.master_port + 3

    def document(self, sync="SYNCHRONOUS", slave_permission="NONE"):
        return json.dumps([
            {"alias": "jmq102_m", "ip": "127.0.0.1", "port": self.master_port, "permission": "FULL", "syncMode": sync, "id": 1},
            {"alias": "jmq102_s", "ip": "127.0.0.1", "port": self.slave_port, "permission": slave_permission, "syncMode": sync,
             "id": 2}], separators=(",", ":"))

    def operator(self, line):
        console = Console(self.registry.telnet_port)
        try:
            self.assertEqual(console.result(line), {"message": "ok", "status": 0}, line)
        finally:
            console.close()

    def member(self, name, port, **settings):
        return self.broker(name, brokerName="", listenPort=port, namesrvAddr="127.0.0.1:%d" % self.registry.port, **settings)

    def start_pair(self, sync="SYNCHRONOUS", slave_permission="NONE", **settings):
        self.operator("broker set " + self.document(sync, slave_permission))
        self.operator('topic set [{"topic":"%s","groups":["jmq102"],"queues":4,"producers":{"%s":{}},"consumers":{"%s":{}}}]'
                      % (TOPIC, APP, READER))
        first = self.member("first", self.master_port, **settings).start()
        second = self.member("second", self.slave_port, **settings).start()
        self.await_state(first, "MASTER")
        self.await_in_step(first)
        return first, second

    def send_ok(self, broker, count, first=0):
        self.assertEqual(set(self.send(broker.connect(), count, first, group=APP)), {0})

    def test_none_slave_serves_nobody_and_says_why(self):
        first, second = self.start_pair()
        self.send_ok(first, 10)
        self.await_same_log(first, second)
        connection = second.connect()
        for answer, cure in ((connection.send(TOPIC, b"00000001", group=APP), "messages go to the master"),
                             (connection.pull(TOPIC, 0, 0, group=READER), "the master of its group serves")):
            self.assertEqual(answer.code, NO_PERMISSION)
            self.assertIn("role SLAVE, permission NONE", answer.remark)
            self.assertIn(cure, answer.remark)

    def test_planned_promotion_loses_nothing_and_cuts_nothing_even_asynchronous(self):
        first, second = self.start_pair("ASYNCHRONOUS")
        self.send_ok(first, 500)
        stored, number = 500, 500
        connection = first.connect()
        console = Console(self.registry.telnet_port)
        console.sock.sendall(b"broker promote jmq102_s\r\n")
        code = 0
        while code == 0:
            answer = connection.send(TOPIC, b"%08d" % number, group=APP, queue=number % 4)
            code = answer.code
            stored += code == 0
            number += 1
        self.assertEqual(code, NO_PERMISSION, answer)
        console.close()
        self.await_state(second, "MASTER")
        self.await_state(first, "SLAVE")
        self.await_same_log(first, second)
        self.assertEqual(glob.glob(first.folder + "/store/cut/*"), [])
        self.assertEqual(self.bodies(second), list(range(stored)))
        self.send_ok(second, 10, stored)
        self.await_same_log(first, second)

    def promote_far_behind(self, handover_ms):
        first, second = self.start_pair(handoverTimeout=handover_ms, mappedFileSizeCommitLog=64 << 20)
        self.stop(second)
        shutil.rmtree(second.folder + "/store")
        connection = first.connect()
        for _ in range(15):
            posts = [connection.post(*send_request(TOPIC, bytes(1 << 20), group=APP)) for _ in range(20)]
            self.assertLessEqual({connection.answer(o).code for o in posts}, {0, SLAVE_NOT_AVAILABLE})
        second.start()
        eventually(lambda: self.status(second).get("following"))
        self.operator("broker promote jmq102_s force")
        return first, second

    def test_slave_far_behind_that_is_promoted_gets_the_time_it_takes(self):
        first, second = self.promote_far_behind(200)
        self.await_state(second, "MASTER")
        self.await_state(first, "SLAVE")
        self.await_in_step(second)
        self.await_same_log(second, first)
        self.assertEqual(glob.glob(first.folder + "/store/cut/*"), [])

    def test_slave_far_behind_that_is_promoted_cuts_nothing_of_the_living_master(self):
        first, second = self.promote_far_behind(0)
        self.await_state(second, "FENCED")
        self.await_state(first, "SLAVE")
        answer = second.connect().send(TOPIC, b"00000000", group=APP)
        self.assertIn("broker promote 127.0.0.1:%d" % self.master_port, answer.remark)
        self.operator("broker rollback")
        self.await_state(first, "MASTER")
        self.await_in_step(first)
        self.await_same_log(first, second)
        self.assertEqual(glob.glob(first.folder + "/store/cut/*"), [])

    def test_broker_left_out_by_a_typo_comes_back_with_the_rollback(self):
        first, second = self.start_pair()
        self.send_ok(first, 10)
        self.await_same_log(first, second)
        document = json.loads(self.document())
        document[1]["ip"] = "127.0.0.55"
        self.operator("broker set " + json.dumps(document, separators=(",", ":")))
        self.await_state(second, "MASTER")  # of a group of its own
        self.operator("broker rollback")
        self.await_state(second, "SLAVE")
        self.await_state(first, "MASTER")
        self.await_in_step(first)
        self.send_ok(first, 10, 10)
        self.await_same_log(first, second)
        self.assertEqual(self.bodies(first), list(range(20)))

    def test_full_circle_master_lost_promoted_returned_promoted_again(self):
        first, second = self.start_pair()
        self.send_ok(first, 100)
        first.kill()
        self.operator("broker promote jmq102_s")
        self.await_state(second, "MASTER")
        connection = second.connect()
        self.assertEqual(set(self.send(connection, 50, 100, group=APP)), {SLAVE_NOT_AVAILABLE})
        first.start()
        self.await_state(first, "SLAVE")
        self.await_in_step(second)
        self.send_ok(second, 50, 150)
        self.await_same_log(first, second)
        self.operator("broker promote jmq102_s")
        self.await_state(first, "MASTER")
        self.await_state(second, "SLAVE")
        self.await_in_step(first)
        self.send_ok(first, 50, 200)
        self.await_same_log(first, second)
        self.assertEqual(self.bodies(first), list(range(250)))

    def test_returning_master_cuts_what_only_it_had_and_keeps_the_bytes(self):
        first, second = self.start_pair()
        self.send_ok(first, 100)
        self.await_same_log(first, second)
        second.kill()
        connection = first.connect()
        eventually(lambda: self.send(connection, 1, 100, group=APP) == [SLAVE_NOT_AVAILABLE])
        self.send(connection, 20, 101, size=1000, group=APP)
        mine = self.log_bytes(first)
        first.kill()
        self.operator("broker promote jmq102_s force")  # neither of them is alive
        second.start()
        self.await_state(second, "MASTER")
        self.send(second.connect(), 30, 1000, group=APP)
        first.start()
        self.await_state(first, "SLAVE")
        self.await_in_step(second)
        self.await_same_log(first, second)
        cut = glob.glob(first.folder + "/store/cut/*")
        self.assertEqual(len(cut), 1)
        offset = int(os.path.basename(cut[0]).split("-")[0])
        with open(cut[0], "rb") as f:
            kept = f.read()
        name = "%020d" % (offset // LOG_FILE_BYTES * LOG_FILE_BYTES)
        self.assertEqual(kept, mine[name][offset % LOG_FILE_BYTES:])
        self.assertIn(cut[0], first.log())
        console = Console(first.settings["telnetPort"])
        self.assertIn(os.path.basename(cut[0]), console.command("replication"))
        console.close()
        self.operator("broker promote jmq102_s")
        self.await_state(first, "MASTER")
        self.assertEqual(self.bodies(first), list(range(100)) + list(range(1000, 1030)))

    def test_promoted_while_down_and_no_registry_a_former_master_is_fenced_by_its_group(self):
        first, second = self.start_pair()
        self.send_ok(first, 10)
        first.kill()
        self.operator("broker promote jmq102_s")
        self.await_state(second, "MASTER")
        self.registry.stop(signal.SIGKILL)
        first.start()
        self.await_state(first, "FENCED")
        answer = first.connect().send(TOPIC, b"00000000", group=APP)
        self.assertEqual(answer.code, NO_PERMISSION)
        self.assertIn("newer master", answer.remark)
        self.registry.start()
        self.await_state(first, "SLAVE")
        self.await_in_step(second)

    def lose_tail(self, broker, bytes_lost):
        """What a machine does that loses its power: the log's last bytes never came to the disk."""
        path = max(glob.glob(broker.folder + "/store/commitlog/*"), key=lambda p: bool(self.file_end(p)) * int(os.path.basename(p)))
        end = self.file_end(path)
        with open(path, "r+b") as f:
            f.seek(end - bytes_lost)
            f.write(b"\0" * bytes_lost)

    def file_end(self, path):
        with open(path, "rb") as f:
            return len(f.read().rstrip(b"\0"))

    def test_master_that_lost_its_tail_does_not_make_the_slave_cut_it(self):
        first, second = self.start_pair()
        self.send_ok(first, 100)
        self.await_same_log(first, second)
        first.kill()
        self.lose_tail(first, 500)
        first.start()
        self.await_state(first, "FENCED")
        answer = first.connect().send(TOPIC, b"00000000", group=APP)
        self.assertEqual(answer.code, NO_PERMISSION)
        self.assertIn("broker promote 127.0.0.1:%d" % self.slave_port, answer.remark)
        self.operator("broker promote 127.0.0.1:%d" % self.slave_port)
        self.await_state(second, "MASTER")
        self.await_in_step(second)
        self.send_ok(second, 10, 100)
        self.await_same_log(first, second)
        self.assertEqual(self.bodies(second), list(range(110)))

    def test_promoted_broker_is_told_who_has_more_than_it(self):
        third_port = free_ports(3)
        document = json.loads(self.document())
        document.append({**document[1], "alias": "jmq102_b", "port": third_port, "id": 3})
        self.document = lambda *_: json.dumps(document, separators=(",", ":"))
        first, second = self.start_pair()
        third = self.member("third", third_port).start()
        self.await_in_step(first, 2)
        self.send_ok(first, 10)
        self.await_same_log(first, third)
        self.stop(third)
        self.await_in_step(first, 1)
        self.send_ok(first, 100, 10)  # two of three have them
        self.await_same_log(first, second)
        first.kill()
        third.start()
        self.await_state(third, "SLAVE")
        self.operator("broker promote 127.0.0.1:%d" % third_port)
        self.await_state(third, "FENCED")
        answer = third.connect().send(TOPIC, b"00000000", group=APP)
        self.assertEqual(answer.code, NO_PERMISSION)
        self.assertIn("broker promote 127.0.0.1:%d" % self.slave_port, answer.remark)
        self.operator("broker promote 127.0.0.1:%d" % self.slave_port)
        self.await_state(second, "MASTER")
        self.await_in_step(second)
        self.await_same_log(second, third)
        self.send_ok(second, 10, 110)
        self.assertEqual(self.bodies(second), list(range(120)))

    def test_brokers_serve_from_their_copies_while_the_registry_is_down(self):
        first, second = self.start_pair()
        self.send_ok(first, 10)
        self.registry.stop(signal.SIGKILL)
        for broker in (second, first):
            broker.kill()
        first.start()
        second.start()
        self.await_state(first, "MASTER")
        self.await_in_step(first)
        self.send_ok(first, 10, 10)
        self.await_same_log(first, second)
        self.registry.start()

    def test_sync_mode_changes_live(self):
        first, second = self.start_pair("ASYNCHRONOUS")
        second.kill()
        self.send_ok(first, 3)
        self.operator("broker set " + self.document("SYNCHRONOUS"))
        eventually(lambda: self.send(first.connect(), 1, group=APP) == [SLAVE_NOT_AVAILABLE])
        self.operator("broker set " + self.document("ASYNCHRONOUS"))
        eventually(lambda: self.send(first.connect(), 1, group=APP) == [0])


if __name__ == "__main__":
    unittest.main(verbosity=2)
