"""retryType REMOTE: a group hands its failed messages that wait on to a group with DB. A registry and brokers of up to three groups on
loopback: what is delivered where and when, and once, while groups are down, refuse, do not answer, are killed, or change their retryType.
MQBROKER and MQREGISTRY name the programs; arguments go to unittest."""
import re
import unittest
import zlib

from registry_test import Console, Registry, eventually
from retry_test import LATE_MS_MAX, await_records, await_rows, counters, heartbeat, listed, now_ms, retry, send_back
from rmq import *

FORWARD, APPS, ROUTE = 7010, 7011, 105
KEPT, REFUSED, AGAIN, UNFIT, ELSEWHERE, MALFORMED = 0, 7010, 2, 13, 14, 1
TOPIC = "Orders"
LEVELS = "1s 1s 3s 2s 2s 2s"  # a first failure waits at level 3, a second one at level 4
FIRST_MS, SECOND_MS = 3000, 2000
TIMER_TOPIC = "rmq_sys_wheel_timer"


def encode_record(topic, body, properties, reconsume=1):
    """A record as it lies in a commit log, with IPv4 hosts."""
    text, host = encode_properties(properties).encode(), socket.inet_aton("127.0.0.1") + struct.pack(">I", 1)
    data = struct.pack(">IIiiqqiq", 0xDAA320A7, zlib.crc32(body) & 0x7FFFFFFF, 0, 0, 0, 0, 0, now_ms()) + host
    data += struct.pack(">q", now_ms()) + host + struct.pack(">iqI", reconsume, 0, len(body)) + body
    data += bytes([len(topic)]) + topic.encode() + struct.pack(">H", len(text)) + text
    return struct.pack(">I", 4 + len(data)) + data


class Cluster(unittest.TestCase):
    """Group `origin` fails; `keeper` and `other` may keep what it failed on."""

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="cjmq-remote-")
        self.addCleanup(shutil.rmtree, self.folder)
        self.registry = Registry(self.folder + "/registry")
        os.mkdir(self.registry.folder)
        self.registry.start()
        self.addCleanup(self.registry.stop)
        self.brokers, self.entries = {}, {}
        self.app = "app" + self._testMethodName[4:60]

    def broker(self, group, retry_type, **settings):
        """One more, not started and not yet in the document."""
        settings = {"retryRemoteTimeout": 400, "messageDelayLevel": LEVELS, "telnetPort": 0, "brokerName": "",
                    "namesrvAddr": "127.0.0.1:%d" % self.registry.port, **settings}
        broker = Broker(folder="%s/%s" % (self.folder, group), **settings)
        self.brokers[group] = broker
        self.entries[group] = {"alias": group + "_m", "ip": "127.0.0.1", "port": broker.port, "permission": "FULL", "retryType": retry_type}
        self.addCleanup(lambda: broker.process and broker.kill())
        return broker

    def slave(self, group, **settings):
        """A slave of the group, which acknowledges what both have from now on."""
        entry, name = self.entries[group], group + "_s"
        entry["syncMode"] = "SYNCHRONOUS"
        broker = self.broker(name, entry["retryType"], **settings)
        self.entries[name].update(alias=name, permission="READ", syncMode="SYNCHRONOUS")
        return broker

    def promote(self, group):
        """The master is gone."""
        self.entries[group].update(role="SLAVE", permission="READ")
        self.change(group + "_s", role="MASTER", permission="FULL")
        c = self.brokers[group + "_s"].connect()
        eventually(lambda: "role active" in retry(c, "stats"))
        return c

    def tell(self, line):
        console = Console(self.registry.telnet_port)
        self.assertEqual(console.result(line), {"message": "ok", "status": 0})
        console.close()

    def set_document(self):
        self.tell("broker set " + json.dumps(list(self.entries.values()), separators=(",", ":")))

    def change(self, group, **members):
        self.entries[group].update(members)
        self.set_document()

    def start(self, *groups, consumers=None):
        """Documents, and the brokers of all groups, or those named."""
        topic = {"topic": TOPIC, "groups": ["origin"], "queues": 1}
        if consumers is not None:
            topic.update(producers={"producer": {}}, consumers=consumers)
        self.set_document()
        self.tell("topic set " + json.dumps([topic], separators=(",", ":")))
        for group in groups or self.brokers:
            self.brokers[group].start()
        self.a = self.brokers["origin"].connect()
        eventually(lambda: self.a.send(TOPIC, b"ready").code == 0)
        heartbeat(self.a, self.app, TOPIC)

    def stop(self):
        for broker in self.brokers.values():
            if broker.process is not None:
                self.assertEqual(broker.stop(), 0, broker.stderr)

    def fail(self, body, connection=None):
        """A message of origin that is given back; when it was, and when it is due."""
        c = connection or self.a
        begin = int(c.send(TOPIC, body).ext["queueOffset"])
        [record] = c.pull_all(TOPIC, 0, begin, group=self.app)
        answer = send_back(c, record, self.app)
        self.assertEqual(answer.code, 0, answer)
        return now_ms()

    def came(self, connection, topic=None):
        topic = topic or "%RETRY%" + self.app
        return [r for r in connection.pull_all(topic, 0, group=self.app)] if connection.pull(topic, 0, 0, self.app).code != 17 else []

    def assert_in_time(self, record, failed_ms, wait_ms=FIRST_MS):
        late = record.store_ms - failed_ms - wait_ms
        print("%s: %d ms late" % (self._testMethodName, late))
        self.assertGreaterEqual(late, -20)  # it was stored before it was acknowledged
        self.assertLess(late, LATE_MS_MAX)

    def routed(self, app=None):
        """The groups whose %RETRY% topic of the app consumers are led to."""
        client = Connection(self.registry.port)
        answer = client.call(ROUTE, {"topic": "%RETRY%" + (app or self.app)})
        client.close()
        return sorted(q["brokerName"] for q in json.loads(answer.body)["queueDatas"]) if answer.code == 0 else []

    def has_forwarded(self, count=1):
        eventually(lambda: counters(self.a).get("forwarded") == count)

    def log(self, group, text):
        return [line for line in self.brokers[group].log().splitlines() if text in line]


class Remote(Cluster):
    def test_is_kept_and_delivered_by_the_other_group(self):
        self.broker("origin", "REMOTE")
        self.broker("keeper", "DB")
        self.start()
        b = self.brokers["keeper"].connect()
        failed = self.fail(b"1")
        [row] = await_rows(b, "--app " + self.app, 1)
        self.assertEqual((row["KIND"], row["STATE"], row["TOPIC"], row["ATTEMPTS"]), ("RETRY", "WAITING", TOPIC, "1"))
        await_rows(self.a, "", 0)
        shown = retry(b, "show " + row["ID"])
        self.assertRegex(shown, r"property +CJMQ_RETRY_FROM=origin:\d+:\d+\n")
        eventually(lambda: self.routed() == ["keeper", "origin"])
        self.assertLess(now_ms(), failed + FIRST_MS)  # consumers find it before the message comes
        [record] = await_records(b, "%RETRY%" + self.app, 1)
        self.assert_in_time(record, failed)
        self.assertEqual((record.body, record.reconsume, record.properties["RETRY_TOPIC"]), (b"1", 1, TOPIC))
        self.assertNotIn("CJMQ_RETRY_FROM", record.properties)
        # what fails again stays there
        heartbeat(b, self.app, TOPIC)
        failed = now_ms()
        self.assertEqual(send_back(b, record, self.app).code, 0)
        record = await_records(b, "%RETRY%" + self.app, 2)[1]
        self.assert_in_time(record, failed, SECOND_MS)
        self.assertEqual(record.reconsume, 2)
        self.assertEqual(send_back(b, record, self.app, -1).code, 0)
        [dead] = await_rows(b, "--state dead", 1)
        # keeper has no topic Orders: sent for again, it comes to the app that failed
        self.assertEqual(retry(b, "requeue " + dead["ID"]).split()[:3], ["1", "row", "requeued"])
        self.assertEqual(await_records(b, "%RETRY%" + self.app, 3)[2].body, b"1")
        self.assertEqual(self.came(self.a), [])
        self.assertIn("remote on, groups=1 asked keeper at 127.0.0.1:%d" % self.brokers["keeper"].port, retry(self.a, "stats"))
        self.assertIn("of other groups:", retry(b, "stats"))
        self.assertEqual(counters(b)["kept"], 1)
        self.stop()

    def test_consumers_are_led_to_the_other_group_before_anything_fails(self):
        self.broker("origin", "REMOTE")
        self.broker("keeper", "DB")
        self.broker("other", "REMOTE")
        self.start("origin", "other")
        eventually(lambda: self.log("origin", "apps cannot be announced"))
        self.brokers["keeper"].start()
        names = ["later%d" % n for n in range(1500)]  # more than one request takes
        for name in names:
            heartbeat(self.a, name, TOPIC)
        eventually(lambda: self.routed() == ["keeper", "origin"], timeout=30)
        eventually(lambda: all(self.routed(name) == ["keeper", "origin"] for name in names[::100] + names[-1:]), timeout=30)
        self.assertEqual(len(self.log("origin", "apps cannot be announced")), 1, self.log("origin", "apps cannot"))
        self.entries["other"]["retryType"] = "DB"
        self.change("keeper", retryType="REMOTE")
        eventually(lambda: self.routed() == ["keeper", "origin", "other"], timeout=30)
        self.change("origin", retryType="DB")  # nobody needs to know any more
        heartbeat(self.a, "late", TOPIC)
        time.sleep(5)
        self.assertEqual(self.routed("late"), ["origin"])
        self.stop()

    def test_many_come_once_each_and_delayed_sends_stay(self):
        self.broker("origin", "REMOTE")
        self.broker("keeper", "DB")
        self.start()
        b = self.brokers["keeper"].connect()
        count = 300
        later = self.a.send(TOPIC, b"later", properties={"TIMER_DELAY_MS": "86400000"})
        self.assertEqual(later.code, 0)
        begin = min(int(self.a.send(TOPIC, b"%d" % n).ext["queueOffset"]) for n in range(count))
        posts = [self.a.post(SEND_BACK, {"offset": r.phys_offset, "group": self.app, "delayLevel": 0, "originTopic": TOPIC, "unitMode": "false"})
                 for r in self.a.pull_all(TOPIC, 0, begin, group=self.app)]
        self.assertEqual([self.a.answer(o).code for o in posts], [0] * count)
        records = await_records(b, "%RETRY%" + self.app, count, timeout=30)
        self.assertEqual(sorted(int(r.body) for r in records), list(range(count)))
        self.assertEqual(self.came(self.a), [])
        self.assertEqual([row["KIND"] for row in listed(self.a)], ["TIMER"])
        self.assertEqual(counters(self.a)["forwarded"], count)
        self.stop()

    def test_group_that_is_down_delays_nothing(self):
        self.broker("origin", "REMOTE")
        self.broker("keeper", "DB")
        self.start("origin")
        failed = self.fail(b"1")
        [record] = await_records(self.a, "%RETRY%" + self.app, 1)
        self.assert_in_time(record, failed)
        await_rows(self.a, "", 0)
        [line] = self.log("origin", "group keeper does not keep failed messages")
        self.assertIn("refused", line)
        self.brokers["keeper"].start()  # it is asked again, by and by
        failed = self.fail(b"2")
        b = self.brokers["keeper"].connect()

        def kept():
            self.fail(b"more")
            return counters(self.a).get("forwarded", 0) > 0
        end = time.monotonic() + 30
        while not kept():
            self.assertLess(time.monotonic(), end)
            time.sleep(0.3)
        eventually(lambda: self.log("origin", "group keeper keeps failed messages again"))
        self.assertTrue(await_records(b, "%RETRY%" + self.app, 1))
        self.stop()

    def test_group_that_refuses_is_passed_over(self):
        self.broker("origin", "REMOTE")
        self.broker("keeper", "DB")
        self.broker("other", "DB")
        self.start()
        self.fail(b"1")
        self.has_forwarded()
        first = re.search(r"asked (\w+) at", retry(self.a, "stats")).group(1)
        second = {"keeper": "other", "other": "keeper"}[first]
        self.change(first, permission="NONE")
        at_first = self.brokers[first].connect()
        eventually(lambda: at_first.send("Any", b"x").code == 16)
        failed = self.fail(b"2")
        self.has_forwarded(2)
        at_second = self.brokers[second].connect()
        [record] = await_records(at_second, "%RETRY%" + self.app, 1)
        self.assertEqual(record.body, b"2")
        self.assert_in_time(record, failed)
        self.assertEqual(len(self.log("origin", "group %s does not keep failed messages" % first)), 1)
        self.assertEqual(self.came(self.a), [])
        self.stop()

    def test_retry_policy_of_the_topic_document_counts_in_both_groups(self):
        self.broker("origin", "REMOTE")
        self.broker("keeper", "DB")
        self.start(consumers={self.app: {"retryPolicy": {"maxRetrys": 2, "retryDelay": 1500, "maxRetryDelay": 5000,
                                                         "useExponentialBackOff": False, "expireTime": 60000}}})
        b = self.brokers["keeper"].connect()
        failed = self.fail(b"1")
        self.has_forwarded()
        [record] = await_records(b, "%RETRY%" + self.app, 1)
        self.assert_in_time(record, failed, 1500)
        heartbeat(b, self.app, TOPIC)
        failed = now_ms()
        self.assertEqual(send_back(b, record, self.app).code, 0)
        record = await_records(b, "%RETRY%" + self.app, 2)[1]
        self.assert_in_time(record, failed, 1500)
        self.assertEqual(send_back(b, record, self.app).code, 0)  # its third failure, and two retries were allowed
        [dead] = await_rows(b, "--state dead", 1)
        self.assertIn("maxRetrys", dead["LAST-ERROR"])
        self.stop()

    def test_retry_type_changes_live(self):
        self.broker("origin", "DB")
        self.broker("keeper", "DB")
        self.start()
        b = self.brokers["keeper"].connect()
        self.fail(b"1")
        await_rows(self.a, "", 1)
        time.sleep(0.3)
        self.assertEqual(len(listed(self.a)), 1)
        self.change("origin", retryType="REMOTE")
        self.has_forwarded()  # also what waited before
        self.change("origin", retryType="DB")
        eventually(lambda: "remote off" in retry(self.a, "stats"))
        failed = self.fail(b"2")
        [record] = await_records(self.a, "%RETRY%" + self.app, 1)
        self.assertEqual(record.body, b"2")
        self.assert_in_time(record, failed)
        [record] = await_records(b, "%RETRY%" + self.app, 1)
        self.assertEqual(record.body, b"1")
        self.stop()

    def test_without_a_group_with_db_it_is_told_once_and_works_as_db(self):
        self.broker("origin", "REMOTE")
        self.broker("keeper", "REMOTE")
        self.start()
        failed = self.fail(b"1")
        [record] = await_records(self.a, "%RETRY%" + self.app, 1)
        self.assert_in_time(record, failed)
        self.change("keeper", permission="READ")
        self.change("keeper", permission="FULL")
        [line] = self.log("origin", "no other group's master retryType DB")
        self.assertIn("cure=", line)
        self.change("keeper", retryType="DB")
        eventually(lambda: self.log("origin", "failed messages that wait go to another group groups=keeper"))
        self.fail(b"2")
        self.has_forwarded()
        self.stop()


class Unanswered(Cluster):
    """The group that was asked says nothing for a while: it may have the messages or not."""

    def setUp(self):
        super().setUp()
        self.broker("origin", "REMOTE")
        self.broker("keeper", "DB")
        self.start()
        self.fail(b"first")  # the connection stands
        self.has_forwarded()
        self.keeper = self.brokers["keeper"]
        await_rows(self.keeper.connect(), "", 1)
        self.keeper.process.send_signal(signal.SIGSTOP)
        self.addCleanup(lambda: self.keeper.process and self.keeper.process.send_signal(signal.SIGCONT))
        self.fail(b"second")
        eventually(lambda: counters(self.a)["unknown"] >= 2)

    def assert_once(self):
        """Each message came at the keeper, once, and none at origin."""
        b, a = self.keeper.connect(), self.brokers["origin"].connect()
        records = await_records(b, "%RETRY%" + self.app, 2)
        await_rows(a, "", 0)
        await_rows(b, "", 0)
        time.sleep(0.5)
        self.assertEqual(sorted(r.body for r in self.came(b)), [b"first", b"second"])
        self.assertEqual(self.came(a), [])
        self.stop()

    def test_late_answer_doubles_nothing(self):
        self.keeper.process.send_signal(signal.SIGCONT)
        self.assert_once()

    def test_what_is_due_meanwhile_waits_for_the_answer_and_others_do_not(self):
        failed = self.fail(b"third")  # not asked for: the question about the second is open
        [record] = await_records(self.a, "%RETRY%" + self.app, 1)
        self.assertEqual(record.body, b"third")
        self.assert_in_time(record, failed)
        self.keeper.process.send_signal(signal.SIGCONT)
        b = self.keeper.connect()
        records = await_records(b, "%RETRY%" + self.app, 2)
        self.assertEqual(sorted(r.body for r in records), [b"first", b"second"])
        await_rows(self.a, "", 0)
        self.stop()

    def test_origin_killed_meanwhile_asks_the_same_group(self):
        origin = self.brokers["origin"]
        origin.kill()
        time.sleep(FIRST_MS / 1000)  # it is due when origin is back
        self.keeper.process.send_signal(signal.SIGCONT)
        origin.start()
        eventually(lambda: self.log("origin", "is asked again whether it has them"))
        self.assert_once()

    def test_keeper_killed_meanwhile_is_asked_when_it_is_back(self):
        self.keeper.kill()
        self.keeper.start()
        self.assert_once()

    def test_group_that_left_the_document_is_waited_for_no_longer(self):
        del self.entries["keeper"]
        self.set_document()
        [record] = await_records(self.a, "%RETRY%" + self.app, 1)
        self.assertEqual(record.body, b"second")
        self.assertEqual(len(self.log("origin", "group keeper left the broker document before it said")), 1)
        await_rows(self.a, "", 0)


class Asking(Cluster):
    """Asks `keeper` to keep messages, in the name of origin."""

    def start_both(self, *more):
        self.start("keeper", "origin", *more)
        self.keeper = self.brokers["keeper"]
        self.b = self.keeper.connect()
        self.address = "127.0.0.1:%d" % self.brokers["origin"].port
        self.next = 1000
        eventually(lambda: self.ask([self.record(app="warm-up")]).code == KEPT)

    def record(self, body=b"body", topic=TIMER_TOPIC, app=None, drop=(), **changed):
        self.next += 1
        properties = {"REAL_TOPIC": "%RETRY%" + (app or self.app), "REAL_QID": "0", "TIMER_OUT_MS": str(now_ms() + 86400000),
                      "RETRY_TOPIC": TOPIC, "CJMQ_RETRY_FROM": "origin:%d:1700000000000" % self.next, **changed}
        return encode_record(topic, body, {k: v for k, v in properties.items() if k not in drop})

    def ask(self, records, connection=None, **ext):
        body = b"".join(records)
        return (connection or self.b).call(FORWARD, {"address": self.address, "brokerName": "origin", "count": len(records), **ext}, body)

    def rows(self):
        return len(listed(self.b, "--app " + self.app))


class Promoted(Asking):
    def test_promoted_slave_of_origin_asks_the_same_group(self):
        self.broker("origin", "REMOTE")
        self.slave("origin")
        self.broker("keeper", "DB")
        self.start()
        self.fail(b"first")
        self.has_forwarded()
        b, keeper = self.brokers["keeper"].connect(), self.brokers["keeper"].process
        keeper.send_signal(signal.SIGSTOP)
        try:
            self.fail(b"second")
            eventually(lambda: counters(self.a)["unknown"] >= 2)
            self.brokers["origin"].kill()
            self.a = self.promote("origin")
            eventually(lambda: self.log("origin_s", "is asked again whether it has them"))
        finally:
            keeper.send_signal(signal.SIGCONT)
        self.assertEqual(sorted(r.body for r in await_records(b, "%RETRY%" + self.app, 2)), [b"first", b"second"])
        await_rows(self.a, "", 0)
        await_rows(b, "", 0)
        self.assertEqual(len(self.came(b)), 2)
        self.stop()

    def test_promoted_slave_of_the_keeper_knows_what_its_group_has(self):
        self.broker("origin", "REMOTE")
        self.broker("keeper", "DB")
        self.slave("keeper")
        self.start_both("keeper_s")
        records = [self.record(b"%d" % n) for n in range(3)]
        self.assertEqual(self.ask(records).code, KEPT)
        slave = self.brokers["keeper_s"].connect()
        self.assertEqual(self.ask(records, slave).code, ELSEWHERE)
        self.entries["keeper"]["syncMode"] = self.entries["keeper_s"]["syncMode"] = "ASYNCHRONOUS"
        self.keeper.kill()
        self.b = self.promote("keeper")
        eventually(lambda: self.ask(records).code == KEPT)
        self.assertEqual(self.rows(), 3)
        failed = self.fail(b"4")
        [record] = await_records(self.b, "%RETRY%" + self.app, 1)
        self.assert_in_time(record, failed)
        self.stop()

    def test_keeper_whose_slave_is_gone_takes_nothing_that_only_it_has(self):
        self.broker("origin", "REMOTE")
        self.broker("keeper", "DB")
        self.slave("keeper", slaveTimeout=500)
        self.start_both("keeper_s")
        self.brokers["keeper_s"].kill()
        eventually(lambda: self.b.send("Any", b"x").code == 11)
        answer = self.ask([self.record()])
        self.assertEqual((answer.code, "no slave in step" in answer.remark), (REFUSED, True), answer)
        self.assertEqual(self.rows(), 0)
        failed = self.fail(b"1")
        [record] = await_records(self.a, "%RETRY%" + self.app, 1)
        self.assert_in_time(record, failed)
        self.stop()


class Asked(Asking):
    """What a broker answers to whoever asks."""

    def setUp(self):
        super().setUp()
        self.broker("origin", "REMOTE")
        self.broker("keeper", "DB")
        self.start_both()

    def test_same_rows_are_kept_once_also_after_a_restart(self):
        records = [self.record(b"%d" % n) for n in range(3)]
        for _ in range(3):
            self.assertEqual(self.ask(records).code, KEPT)
        self.assertEqual(self.ask(records[1:] + [records[1], self.record()]).code, KEPT)  # some are known, one is there twice
        eventually(lambda: self.rows() == 4)
        for end in (self.keeper.kill, self.keeper.stop):
            end()
            self.keeper.start()
            self.b = self.keeper.connect()
            answers = []

            def told():
                answers.append(self.ask(records).code)
                return answers[-1] != AGAIN and answers[-1] != ELSEWHERE
            eventually(told)
            self.assertEqual(answers[-1], KEPT, answers)
            self.assertEqual(self.rows(), 4)
        self.stop()

    def test_what_came_since_the_start_hides_nothing(self):
        record = self.record()
        self.assertEqual(self.ask([record]).code, KEPT)
        self.keeper.kill()
        self.keeper.settings["retryRemoteRecallRows"] = 1000
        self.keeper.start()
        self.b = self.keeper.connect()
        eventually(lambda: self.b.send("Any", b"x").code == 0)
        posts = [self.b.post(*send_request("Any", b"x", properties={"TIMER_DELAY_MS": "86400000"})) for _ in range(1500)]
        self.assertEqual({self.b.answer(o).code for o in posts}, {0})
        eventually(lambda: self.ask([record]).code == KEPT)
        self.assertEqual(self.rows(), 1)
        self.stop()

    def test_unknown_group_that_may_not_come_to_be_is_refused(self):
        self.keeper.stop()
        self.keeper.settings["autoCreateSubscriptionGroup"] = "false"
        self.keeper.start()
        self.b = self.keeper.connect()
        answers = []

        def looked():
            answers.append(self.ask([self.record()]))
            return answers[-1].code not in (AGAIN, ELSEWHERE)
        eventually(looked)
        self.assertEqual(answers[-1].code, UNFIT, answers[-1])
        self.assertIn("autoCreateSubscriptionGroup", answers[-1].remark)
        failed = self.fail(b"1")
        [record] = await_records(self.a, "%RETRY%" + self.app, 1)
        self.assert_in_time(record, failed)
        self.stop()

    def test_at_once_on_several_connections_keeps_it_once(self):
        connections = [self.keeper.connect() for _ in range(8)]
        for _ in range(10):
            record, body = self.record(), {"address": self.address, "brokerName": "origin", "count": 1}
            posts = [(c, c.post(FORWARD, body, record)) for c in connections]
            codes = [c.answer(o).code for c, o in posts]
            self.assertLessEqual(set(codes), {KEPT, AGAIN})
            self.assertIn(KEPT, codes)
        eventually(lambda: self.rows() == 10)
        self.stop()

    def test_who_is_not_in_the_document_is_refused(self):
        for ext in ({"address": "127.0.0.1:1"}, {"brokerName": "keeper"}, {"brokerName": "x" * 5000}, {"address": "x" * 5000}):
            answer = self.ask([self.record()], **ext)
            self.assertEqual(answer.code, ELSEWHERE, answer)
            self.assertIn("not in the broker document", answer.remark)
        for missing in ("address", "brokerName", "count"):
            answer = self.b.call(FORWARD, {k: v for k, v in (("address", self.address), ("brokerName", "origin"), ("count", 1)) if k != missing},
                                 self.record())
            self.assertEqual(answer.code, MALFORMED, answer)
            self.assertIn("the field %s is missing" % missing, answer.remark)
        self.assertEqual(self.rows(), 0)
        self.stop()

    def test_records_that_are_none_of_a_retry_are_refused(self):
        good = self.record()
        for why, records, ext in (
                ("its topic is not", [self.record(topic="Orders")], {}),
                ("no %RETRY% topic", [self.record(REAL_TOPIC="Orders")], {}),
                ("no %RETRY% topic", [self.record(REAL_TOPIC="%RETRY%../../etc")], {}),
                ("no %RETRY% topic", [self.record(REAL_TOPIC="%RETRY%" + "a" * 400)], {}),
                ("no %RETRY% topic", [self.record(drop=("REAL_TOPIC",))], {}),
                ("names no app", [self.record(REAL_TOPIC="%RETRY%")], {}),
                ("TIMER_OUT_MS is no time", [self.record(TIMER_OUT_MS="soon")], {}),
                ("no row of group origin", [self.record(CJMQ_RETRY_FROM="keeper:1:2")], {}),
                ("no row of group origin", [self.record(CJMQ_RETRY_FROM="origin:1")], {}),
                ("no row of group origin", [self.record(CJMQ_RETRY_FROM="origin:1:2" + "0" * 300)], {}),
                ("only a delivery has", [self.record(CJMQ_RETRY_ID="1")], {}),
                ("record 2 of 2", [good, self.record(REAL_TOPIC="Orders")], {}),
                ("the body ends within record 1", [good[:-1]], {}),
                ("the body ends within record 1", [good[:40]], {}),
                ("the body ends within record 1", [b""], {}),
                ("the body ends within record 2", [good], {"count": 2}),
                ("bytes follow the last record", [good, good], {"count": 1}),
                ("record 1 of 1", [good[:100] + bytes([good[100] ^ 1]) + good[101:]], {}),
                ("record 1 of 1", [struct.pack(">I", len(good)) + os.urandom(len(good) - 4)], {}),
                ("1 to 1024", [good], {"count": 0}), ("1 to 1024", [good], {"count": 1 << 40}), ("1 to 1024", [good], {"count": -1}),
                ("maxMessageSize", [self.record(b"x" * (5 << 20))], {})):
            answer = self.ask(records, **ext)
            self.assertEqual(answer.code, UNFIT, (why, answer))
            self.assertIn(why, answer.remark)
        self.assertEqual(self.rows(), 0)
        self.assertEqual(self.ask([good]).code, KEPT)
        self.stop()

    def test_apps_are_announced_by_groups_of_the_document_with_names_that_may_be(self):
        def announce(body, connection=None, **ext):
            return (connection or self.b).call(APPS, {"address": self.address, "brokerName": "origin", **ext}, body)
        for why, code, body, ext in (
                ("not in the broker document", ELSEWHERE, b"one\n", {"address": "127.0.0.1:1"}),
                ("not in the broker document", ELSEWHERE, b"one\n", {"brokerName": "keeper"}),
                ("the body ends within a name", UNFIT, b"one", {}),
                ("up to 1024 were expected", UNFIT, b"one\n" * 1025, {}),
                ("1 of 3 apps", REFUSED, b"good\n../../etc\nbetter\n", {}),
                ("2 of 2 apps", REFUSED, b"\n" + b"x" * 5000 + b"\n", {}),
                ("1 of 1 apps", REFUSED, os.urandom(200).replace(b"\n", b"!") + b"\n", {})):
            answer = announce(body, **ext)
            self.assertEqual(answer.code, code, (why, answer))
            self.assertIn(why, answer.remark)
        for missing in ("address", "brokerName"):
            answer = self.b.call(APPS, {k: v for k, v in (("address", self.address), ("brokerName", "origin")) if k != missing}, b"one\n")
            self.assertIn("the field %s is missing" % missing, answer.remark)
        answer = announce(b"one\n", self.brokers["origin"].connect())
        self.assertEqual(answer.code, REFUSED, answer)
        self.assertIn("retryType is REMOTE", answer.remark)
        self.assertEqual(announce(b"").code, KEPT)
        eventually(lambda: [self.routed(app) for app in ("good", "better", "one")] == [["keeper"], ["keeper"], []])
        self.stop()

    def test_broker_without_db_refuses(self):
        a = self.brokers["origin"].connect()
        answers = []

        def looked():
            answers.append(self.ask([self.record()], a))
            return answers[-1].code != AGAIN
        eventually(looked)
        self.assertEqual(answers[-1].code, REFUSED, answers[-1])
        self.assertIn("retryType is REMOTE", answers[-1].remark)
        self.stop()

    def test_client_cannot_make_the_broker_believe_that_it_keeps_a_row(self):
        record = self.record(b"real")
        key = Record(record).properties["CJMQ_RETRY_FROM"]
        for properties in ({"TIMER_DELAY_MS": "86400000"}, {"DELAY": "3"}):
            answer = self.b.send("Any", b"forged", properties={"CJMQ_RETRY_FROM": key, **properties})
            self.assertEqual(answer.code, 0, answer)
        self.keeper.kill()
        self.keeper.start()
        self.b = self.keeper.connect()
        eventually(lambda: self.ask([record]).code == KEPT)
        eventually(lambda: self.rows() == 1)
        self.stop()


if __name__ == "__main__":
    unittest.main(verbosity=2)
