"""Messages for later against a real broker: delayed sends, failed messages, bounds, what operators see and change, mqadmin retry.
MQBROKER, MQREGISTRY and MQADMIN name the programs; arguments go to unittest. Crashes and sick databases: retry_crash_test.py,
retry_faults_test.py."""
import re
import unittest

from registry_test import Console, Registry, eventually
from rmq import *

RETRY_COMMAND, UPDATE_TOPIC = 7009, 17
SCHEDULE, TIMER = "SCHEDULE_TOPIC_XXXX", "rmq_sys_wheel_timer"
LEVELS_S = [1, 2, 1, 3, 2, 1, 1, 2, 1, 3, 1, 2, 1, 1, 2, 1, 3, 2]
LEVELS = " ".join("%ds" % s for s in LEVELS_S)
LATE_MS_MAX = 1000  # asserted; what is measured is printed, and is below 100 on an idle machine
FOREVER_MS = 86400000


def now_ms():
    return int(time.time() * 1000)


def heartbeat(connection, group, topic="none", client_id="client"):
    """Makes a consumer group known."""
    body = {"clientID": client_id, "producerDataSet": [], "consumerDataSet": [{
        "groupName": group, "consumeType": "CONSUME_PASSIVELY", "messageModel": "CLUSTERING", "consumeFromWhere": "CONSUME_FROM_FIRST_OFFSET",
        "subscriptionDataSet": [{"topic": topic, "subString": "*", "subVersion": 1}]}]}
    answer = connection.call(HEARTBEAT, {}, json.dumps(body).encode())
    assert answer.code == 0, answer


def send_back(connection, record, group, level=0, max_times=None):
    """What a RocketMQ client does with a message that its listener could not process."""
    ext = {"offset": record.phys_offset, "group": group, "delayLevel": level, "originMsgId": "", "originTopic": record.topic, "unitMode": "false"}
    if max_times is not None:
        ext["maxReconsumeTimes"] = max_times
    return connection.call(SEND_BACK, ext)


def await_records(connection, topic, count, queue=0, timeout=20, begin=0):
    """The messages of a queue, as soon as there are `count`."""
    deadline = time.monotonic() + timeout
    while True:
        exists = connection.pull(topic, queue, begin, count=1).code != 17
        found = connection.pull_all(topic, queue, begin) if exists else []
        if len(found) >= count:
            return found
        if time.monotonic() > deadline:
            raise AssertionError("%d of %d messages came to %s within %d s" % (len(found), count, topic, timeout))
        time.sleep(0.02)


def retry(connection, words, user="tester"):
    """The text that a retry command answers."""
    answer = connection.call(RETRY_COMMAND, {"command": words, "user": user})
    if answer.code != 0:
        raise AssertionError("retry %s: %r" % (words, answer))
    return answer.body.decode()


def listed(connection, filters=""):
    """Rows of `retry list`: dicts by the words of its heading."""
    lines = retry(connection, "list --limit 10000 " + filters).splitlines()
    if lines == ["no rows"]:
        return []
    heads = lines[0].split()
    return [dict(zip(heads, line.split(None, len(heads) - 1))) for line in lines[1:]]


def await_rows(connection, filters, count):
    found = []

    def reached():
        found[:] = listed(connection, filters)
        return len(found) == count
    eventually(reached)
    return found


def counters(connection):
    """All name=value of `retry stats` above the first app."""
    text = retry(connection, "stats").split("\napp ")[0]
    return {name: int(value) for name, value in re.findall(r"(\w+)=(-?\d+)\b", text)}


class RetryTest(unittest.TestCase):
    settings = {}

    @classmethod
    def setUpClass(cls):
        cls.broker = Broker(messageDelayLevel=LEVELS, telnetPort=free_port(), defaultTopicQueueNums=4, **cls.settings).start()

    @classmethod
    def tearDownClass(cls):
        status = cls.broker.stop()
        shutil.rmtree(cls.broker.folder)
        assert status == 0, (status, cls.broker.stderr)

    def setUp(self):
        self.c = self.broker.connect()
        self.topic = "T-" + self._testMethodName[5:60]
        self.group = "G-" + self._testMethodName[5:60]

    def tearDown(self):
        self.c.close()

    def send_ok(self, body, **options):
        answer = self.c.send(self.topic, body, **options)
        self.assertEqual(answer.code, 0, answer)
        return answer

    def send_later(self, body, delay_ms=FOREVER_MS, **options):
        options["properties"] = dict(options.get("properties") or {}, TIMER_DELAY_MS=str(delay_ms))
        return self.send_ok(body, **options)

    def stored(self, body=b"message", **options):
        """A message that lies in its topic, for consumers to fail on."""
        begin = int(self.send_ok(body, **options).ext["queueOffset"])
        return self.c.pull_all(self.topic, 0, begin)[0]

    def dead_letter(self, body=b"poison", **options):
        record = self.stored(body, **options)
        heartbeat(self.c, self.group)
        before = len(self.c.pull_all("%DLQ%" + self.group, 0)) if self.c.pull("%DLQ%" + self.group, 0, 0).code != 17 else 0
        answer = send_back(self.c, record, self.group, level=-1)
        self.assertEqual(answer.code, 0, answer)
        return await_records(self.c, "%DLQ%" + self.group, before + 1)[-1]


class Delayed(RetryTest):
    def test_all_levels_and_those_above_the_last_come_in_their_time(self):
        levels = list(range(1, len(LEVELS_S) + 1)) + [len(LEVELS_S) + 1, 1000000, 1 << 40]
        for level in levels:
            self.send_ok(b"%d" % level, properties={"DELAY": str(level), "TAGS": "A", "KEYS": "k%d" % level}, queue=level % 4)
        self.assertEqual([q for q in range(4) for _ in self.c.pull_all(self.topic, q)], [])
        late = []
        waiting = [r for q in range(len(LEVELS_S)) for r in self.c.pull_all(SCHEDULE, q) if r.properties["REAL_TOPIC"] == self.topic]
        self.assertEqual(len(waiting), len(levels))
        stored = {int(r.body): r for r in waiting}
        for queue in range(4):
            mine = [level for level in levels if level % 4 == queue]
            for record in await_records(self.c, self.topic, len(mine), queue):
                level = int(record.body)
                mine.remove(level)
                effective = min(level, len(LEVELS_S))
                self.assertEqual(stored[level].queue, effective - 1)
                late.append(record.store_ms - stored[level].store_ms - LEVELS_S[effective - 1] * 1000)
                self.assertEqual((record.properties["TAGS"], record.properties["KEYS"]), ("A", "k%d" % level))
                self.assertEqual((record.flag, record.born), (stored[level].flag, stored[level].born))
                for internal in ("DELAY", "REAL_TOPIC", "REAL_QID"):
                    self.assertNotIn(internal, record.properties)
            self.assertEqual(mine, [])
        self.report_late("levels", late)

    def report_late(self, what, late):
        print("%s: %d messages, late by at most %d ms, %.1f ms in the mean" % (what, len(late), max(late), sum(late) / len(late)))
        self.assertGreaterEqual(min(late), 0, "too early")
        self.assertLess(max(late), LATE_MS_MAX)

    def test_times_are_kept_within_milliseconds(self):
        due = {}
        for n in range(40):
            at = now_ms() + 150 + n * 45
            due[n] = at
            self.send_ok(b"%d" % n, properties={"TIMER_DELIVER_MS": str(at)})
        found = await_records(self.c, self.topic, 40)
        self.report_late("TIMER_DELIVER_MS", [r.store_ms - due[int(r.body)] for r in found])
        self.assertEqual(len(found), 40)

    def test_each_of_the_three_ways_to_name_a_time(self):
        begin = now_ms()
        for body, properties in ((b"s", {"TIMER_DELAY_SEC": "1"}), (b"ms", {"TIMER_DELAY_MS": "700"}),
                                 (b"at", {"TIMER_DELIVER_MS": str(begin + 1300)}),
                                 (b"level first", {"DELAY": "1", "TIMER_DELAY_SEC": "1000"}),
                                 (b"seconds first", {"TIMER_DELAY_SEC": "2", "TIMER_DELAY_MS": "1", "TIMER_DELIVER_MS": "1"}),
                                 (b"level 0 is none", {"DELAY": "0", "TIMER_DELAY_MS": "400"})):
            self.send_ok(body, properties=properties)
        found = await_records(self.c, self.topic, 6)
        self.assertEqual([r.body for r in found][:2], [b"level 0 is none", b"ms"])
        for record, least in ((found[0], 400), (found[1], 700)):
            self.assertLess(abs(record.store_ms - begin - least), LATE_MS_MAX)
        self.assertEqual(found[-1].body, b"seconds first")
        self.assertLess(found[-1].store_ms - begin, 2000 + LATE_MS_MAX)

    def test_past_times_are_at_once(self):
        for n, properties in enumerate(({"TIMER_DELIVER_MS": "1"}, {"TIMER_DELAY_MS": "0"}, {"TIMER_DELAY_SEC": "-5"},
                                        {"TIMER_DELIVER_MS": str(now_ms() - 10)}, {"DELAY": "-3"})):
            self.send_ok(b"%d" % n, properties=properties)
            self.assertEqual(len(self.c.pull_all(self.topic, 0)), n + 1, properties)

    def test_too_far_and_nonsense_are_refused_with_the_reason(self):
        for properties, text in (({"TIMER_DELAY_SEC": "315360001"}, "timerMaxDelaySec=315360000"),
                                 ({"TIMER_DELAY_MS": "315360000001"}, "timerMaxDelaySec=315360000"),
                                 ({"TIMER_DELIVER_MS": "9223372036854775807"}, "timerMaxDelaySec=315360000"),
                                 ({"TIMER_DELAY_SEC": "soon"}, "TIMER_DELAY_SEC=soon"), ({"TIMER_DELAY_MS": "1.5"}, "TIMER_DELAY_MS=1.5"),
                                 ({"TIMER_DELIVER_MS": "99999999999999999999"}, "TIMER_DELIVER_MS="), ({"DELAY": "x"}, "DELAY=x")):
            answer = self.c.send(self.topic, b"no", properties=properties)
            self.assertEqual((answer.code, text in answer.remark), (13, True), (properties, answer))
            half = {"TRAN_MSG": "true", "PGROUP": "tx", "UNIQ_KEY": "key", **properties}
            answer = self.c.send(self.topic, b"no", group="tx", properties=half, sys_flag=4)
            self.assertEqual((answer.code, text in answer.remark), (13, True), (half, answer))
        answer = self.c.send(self.topic, encode_batch([(b"a", {}), (b"b", {})]), code=SEND_BATCH, batch=True, properties={"DELAY": "1"})
        self.assertEqual((answer.code, "batch" in answer.remark), (13, True), answer)
        self.assertEqual(listed(self.c, "--topic " + self.topic), [])

    def test_years_wait_as_a_row(self):
        at = now_ms() + 9 * 365 * 86400000
        self.send_ok(b"in nine years", properties={"TIMER_DELIVER_MS": str(at), "KEYS": "k1 k2", "UNIQ_KEY": "0A0B"}, group="pension")
        [row] = await_rows(self.c, "--topic " + self.topic, 1)
        self.assertEqual((row["KIND"], row["STATE"], row["APP"], row["MESSAGE-ID"]), ("TIMER", "WAITING", "pension", "0A0B"))
        shown = retry(self.c, "show " + row["ID"])
        for text in ("in nine years", "keys           k1 k2", "business id    k1", "goes to        %s, queue 0" % self.topic):
            self.assertIn(text, shown)

    def test_internal_properties_of_the_sender_do_not_count(self):
        stale = {"DELAY": "1", "REAL_TOPIC": "Elsewhere", "REAL_QID": "9", "CJMQ_RETRY_ID": "1", "TIMER_OUT_MS": "5"}
        self.send_ok(b"mine", queue=2, properties=stale)
        [record] = await_records(self.c, self.topic, 1, queue=2)
        self.assertEqual(record.body, b"mine")

    def test_clients_cannot_write_into_the_internal_topics(self):
        for topic in (SCHEDULE, TIMER, "CJMQ_RETRY_OP"):
            self.assertEqual(self.c.send(topic, b"done 0").code, 16, topic)

    def test_large_bodies_of_any_bytes(self):
        body = bytes(range(256)) * 16000  # 4 MB less a bit
        self.send_later(body, 300)
        [record] = await_records(self.c, self.topic, 1)
        self.assertEqual(record.body, body)

    def test_held_pull_is_woken_by_what_comes_due(self):
        self.send_ok(b"first")
        puller = self.broker.connect()
        held = puller.post_pull(self.topic, 0, 1, suspend_ms=15000)
        at = now_ms() + 400
        self.send_ok(b"due", properties={"TIMER_DELIVER_MS": str(at)})
        self.assertEqual([r.body for r in decode_records(puller.answer(held, timeout=8).body)], [b"due"])
        self.assertLess(now_ms() - at, LATE_MS_MAX)

    def test_transaction_with_a_delay_waits_after_its_commit(self):
        properties = {"TRAN_MSG": "true", "PGROUP": "tx", "UNIQ_KEY": "key", "TIMER_DELAY_MS": "600"}
        half = self.c.send(self.topic, b"half", group="tx", properties=properties, sys_flag=4)
        self.assertEqual(half.code, 0, half)
        end = {"producerGroup": "tx", "tranStateTableOffset": half.ext["queueOffset"], "msgId": "key", "fromTransactionCheck": "false",
               "commitLogOffset": int(half.ext["msgId"][16:], 16), "commitOrRollback": 8}
        committed = now_ms()
        self.assertEqual(self.c.call(37, end).code, 0)
        [record] = await_records(self.c, self.topic, 1)
        self.assertEqual(record.body, b"half")
        self.assertGreaterEqual(record.store_ms, committed + 600)
        self.assertLess(record.store_ms, committed + 600 + LATE_MS_MAX)

    def test_topic_that_lost_its_queue_still_gets_its_messages(self):
        self.send_later(b"moved", 700, queue=3)
        shrunk = self.c.call(UPDATE_TOPIC, {"topic": self.topic, "defaultTopic": "TBW102", "readQueueNums": 1, "writeQueueNums": 1, "perm": 6,
                                            "topicFilterType": "SINGLE_TAG", "topicSysFlag": 0, "order": "false"})
        self.assertEqual(shrunk.code, 0, shrunk)
        self.assertEqual([r.body for r in await_records(self.c, self.topic, 1)], [b"moved"])

    def test_topic_that_is_gone_sends_to_the_dead_letters_and_holds_nobody_up(self):
        self.send_later(b"nowhere to go", 700, group=self.group)
        gone = self.c.call(215, {"topic": self.topic})
        self.assertEqual(gone.code, 0, gone)
        [dead] = await_records(self.c, "%DLQ%" + self.group, 1)
        self.assertEqual(dead.body, b"nowhere to go")
        self.assertIn("CJMQ_DEAD_REASON", dead.properties)


class Failed(RetryTest):
    """Consumers that could not process a message."""

    def back(self, record, **options):
        heartbeat(self.c, self.group)
        answer = send_back(self.c, record, self.group, **options)
        self.assertEqual(answer.code, 0, answer)

    def next_try(self, n=0, timeout=20):
        return await_records(self.c, "%RETRY%" + self.group, n + 1, timeout=timeout)[n]

    def test_comes_again_later_by_the_table_with_all_that_it_was(self):
        record = first = self.stored(properties={"TAGS": "A", "KEYS": "k", "UNIQ_KEY": "0A0B"})
        for n in range(3):
            failed = now_ms()
            self.back(record)
            [row] = await_rows(self.c, "--app %s --state waiting" % self.group, 1)
            self.assertEqual((row["KIND"], row["ATTEMPTS"], row["TOPIC"], row["KEYS"]), ("RETRY", str(n + 1), self.topic, "k"))
            record = self.next_try(n)
            delay = LEVELS_S[3 + n - 1] * 1000
            self.assertGreaterEqual(record.store_ms - failed, delay)
            self.assertLess(record.store_ms - failed, delay + LATE_MS_MAX)
            self.assertEqual((record.body, record.reconsume, record.flag, record.born), (first.body, n + 1, first.flag, first.born))
            self.assertEqual((record.properties["RETRY_TOPIC"], record.properties["TAGS"]), (self.topic, "A"))
        self.assertEqual(listed(self.c, "--app " + self.group), [])

    def test_level_of_the_request_counts(self):
        failed = now_ms()
        self.back(self.stored(), level=2)
        self.assertGreaterEqual(self.next_try().store_ms - failed, 2000)

    def test_last_try_goes_to_the_dead_letters_with_why_when_and_how_often(self):
        record, begin = self.stored(), now_ms()
        self.back(record, level=1, max_times=1)
        self.back(self.next_try(), max_times=1)
        [dead] = await_records(self.c, "%DLQ%" + self.group, 1)
        self.assertEqual((dead.body, dead.properties["RETRY_TOPIC"], dead.properties["CJMQ_DEAD_TRIES"]), (b"message", self.topic, "2"))
        self.assertIn("maxReconsumeTimes", dead.properties["CJMQ_DEAD_REASON"])
        self.assertTrue(begin + 1000 <= int(dead.properties["CJMQ_DEAD_MS"]) <= now_ms())
        [row] = await_rows(self.c, "--app %s --state dead" % self.group, 1)
        self.assertEqual((row["STATE"], row["TOPIC"]), ("DEAD", self.topic))
        self.assertIn("maxReconsumeTimes", retry(self.c, "show " + row["ID"]))

    def test_negative_level_is_dead_at_once(self):
        dead = self.dead_letter()
        self.assertIn("delayLevel < 0", dead.properties["CJMQ_DEAD_REASON"])
        self.assertEqual(dead.properties["CJMQ_DEAD_TRIES"], "1")

    def test_clients_own_send_to_the_retry_topic_waits_by_its_level(self):
        """What a client does when its send back was refused."""
        heartbeat(self.c, self.group)
        sent = now_ms()
        answer = self.c.send("%RETRY%" + self.group, b"again", reconsume=1, max_reconsume=16,
                             properties={"DELAY": "4", "RETRY_TOPIC": self.topic, "ORIGIN_MESSAGE_ID": "0C0D"})
        self.assertEqual(answer.code, 0, answer)
        [row] = await_rows(self.c, "--app " + self.group, 1)
        self.assertEqual((row["KIND"], row["TOPIC"], row["ATTEMPTS"]), ("RETRY", self.topic, "1"))
        record = self.next_try()
        self.assertEqual((record.body, record.reconsume, record.properties["ORIGIN_MESSAGE_ID"]), (b"again", 1, "0C0D"))
        self.assertGreaterEqual(record.store_ms, sent + LEVELS_S[3] * 1000)

    def test_unknown_group_and_unknown_record_are_refused(self):
        record = self.stored()
        answer = send_back(self.c, record, "NobodyKnows")
        self.assertEqual((answer.code, "NobodyKnows" in answer.remark), (26, True), answer)
        heartbeat(self.c, self.group)
        record.phys_offset = 1 << 50
        answer = send_back(self.c, record, self.group)
        self.assertEqual((answer.code, str(1 << 50) in answer.remark), (1, True), answer)


class Policy(unittest.TestCase):
    """The topic document says how an app's failed messages come again."""

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="cjmq-policy-")
        self.addCleanup(shutil.rmtree, self.folder)
        self.registry = Registry(self.folder).start()
        self.addCleanup(self.registry.stop)
        port = free_port()
        consumers = {
            "atOnce": {"retry": False},
            "steady": {"retryPolicy": {"maxRetrys": 2, "retryDelay": 600, "maxRetryDelay": 5000, "useExponentialBackOff": False,
                                       "expireTime": 60000}},
            "growing": {"retryPolicy": {"maxRetrys": 0, "retryDelay": 300, "maxRetryDelay": 5000, "useExponentialBackOff": True,
                                        "backOffMultiplier": 3, "expireTime": 2500}}}
        console = Console(self.registry.telnet_port)
        for line in ('broker set [{"alias":"jmq102_m","ip":"127.0.0.1","port":%d,"permission":"FULL","id":1}]' % port,
                     'topic set [{"topic":"topic_simple","groups":["jmq102"],"queues":1,"producers":{"producer":{}},"consumers":%s}]'
                     % json.dumps(consumers, separators=(",", ":"))):
            self.assertEqual(console.result(line), {"message": "ok", "status": 0})
        console.close()
        self.broker = Broker(folder=self.folder + "/broker", listenPort=port, brokerName="", messageDelayLevel=LEVELS,
                             namesrvAddr="127.0.0.1:%d" % self.registry.port).start()
        self.addCleanup(lambda: self.broker.process and self.broker.kill())
        self.c = self.broker.connect()
        eventually(lambda: self.c.send("topic_simple", b"ready").code == 0)

    def fail(self, app, times):
        """The record of each try of a message that fails so often; the last is a dead letter if it gives up."""
        heartbeat(self.c, app, "topic_simple")
        begin = int(self.c.send("topic_simple", b"of " + app.encode()).ext["queueOffset"])
        [record] = self.c.pull_all("topic_simple", 0, begin, group=app)
        tries = []
        for n in range(times):
            failed = now_ms()
            answer = send_back(self.c, record, app)
            self.assertEqual(answer.code, 0, answer)
            deadline = time.monotonic() + 10
            while True:
                found = [r for t in ("%RETRY%", "%DLQ%") if self.c.pull(t + app, 0, 0, app).code != 17
                         for r in self.c.pull_all(t + app, 0, group=app) if r.body == record.body]
                if len(found) > n:
                    break
                self.assertLess(time.monotonic(), deadline, "try %d did not come" % n)
                time.sleep(0.01)
            record = max(found, key=lambda r: r.phys_offset)
            tries.append((record, record.store_ms - failed))
        return tries

    def test_policy_of_the_document(self):
        for app, delays in (("steady", [600, 600]), ("growing", [300, 900])):
            tries = self.fail(app, 3)
            for (record, waited), delay in zip(tries, delays):
                self.assertEqual(record.topic, "%RETRY%" + app)
                self.assertTrue(delay <= waited < delay + LATE_MS_MAX, (app, waited, delay))
            record, waited = tries[-1]
            self.assertEqual(record.topic, "%DLQ%" + app)
            self.assertIn({"steady": "maxRetrys", "growing": "expireTime"}[app], record.properties["CJMQ_DEAD_REASON"])
            self.assertEqual(record.properties["CJMQ_DEAD_TRIES"], "3")

    def test_retry_false_is_at_once_and_leaves_no_row(self):
        for record, waited in self.fail("atOnce", 4):
            self.assertEqual(record.topic, "%RETRY%atOnce")
            self.assertLess(waited, LATE_MS_MAX)
        self.assertEqual(listed(self.c, "--app atOnce"), [])
        self.assertEqual(self.c.pull(SCHEDULE, 2, 0).code in (17, 19, 20, 21), True)


class Bounds(unittest.TestCase):
    """Delayed sends are refused past a bound; a consumer's retries are not."""

    def reach(self, broker, bound, group="producer"):
        """Sends until one is refused, and returns how many were taken."""
        c = broker.connect()
        taken = 0
        while True:
            answer = c.send("Bound", b"x", properties={"TIMER_DELAY_SEC": "3600"}, group=group)
            if answer.code != 0:
                self.assertEqual((answer.code, bound in answer.remark), (2, True), answer)
                return taken
            taken += 1
            self.assertLess(taken, 2000)
            time.sleep(0.005)  # rows are counted when the database has them

    def retries_go_on(self, broker, n=3):
        c = broker.connect()
        heartbeat(c, "G")
        for i in range(n):
            begin = int(c.send("Plain", b"%d" % i).ext["queueOffset"])
            [record] = c.pull_all("Plain", 0, begin)
            self.assertEqual(send_back(c, record, "G", level=1).code, 0)
        self.assertEqual(len(await_records(c, "%RETRY%G", n)), n)

    def test_rows(self):
        with Broker(retryRowsMax=30, messageDelayLevel=LEVELS) as broker:
            self.assertGreaterEqual(self.reach(broker, "retryRowsMax=30"), 30)
            self.retries_go_on(broker)
            c = broker.connect()
            self.assertEqual(c.send("Bound", b"not for later").code, 0)
            self.assertIn("dropped", retry(c, "drop --topic Bound --yes"))
            eventually(lambda: c.send("Bound", b"x", properties={"TIMER_DELAY_SEC": "3600"}).code == 0)

    def test_bytes(self):
        with Broker(retryBytesMax=5000, messageDelayLevel=LEVELS) as broker:
            self.assertGreater(self.reach(broker, "retryBytesMax=5000"), 3)
            self.retries_go_on(broker)

    def test_rows_of_an_app_leave_room_for_others(self):
        with Broker(retryRowsPerAppMax=20, messageDelayLevel=LEVELS) as broker:
            self.assertGreaterEqual(self.reach(broker, "retryRowsPerAppMax=20", "greedy"), 20)
            self.assertGreaterEqual(self.reach(broker, "retryRowsPerAppMax=20", "other"), 20)
            self.retries_go_on(broker)

    def flood(self, c, count, at, topic, group):
        body = b"x" * 200
        posts = [c.post(*send_request(topic, body, properties={"TIMER_DELIVER_MS": str(at)}, group=group)) for _ in range(count)]
        self.assertEqual({c.answer(o).code for o in posts}, {0})

    def test_poisonous_app_does_not_hold_up_another(self):
        """20000 messages of one app and one of another are due at the same moment."""
        with Broker(messageDelayLevel=LEVELS) as broker:
            c = broker.connect()
            at = now_ms() + 4000
            for _ in range(20):
                self.flood(c, 1000, at, "Flood", "poison")
            for n in range(5):
                self.assertEqual(c.send("Calm", b"%d" % n, properties={"TIMER_DELIVER_MS": str(at + n)}, group="calm").code, 0)
            if now_ms() > at - 300:
                self.skipTest("this machine was too slow to have all waiting before the first is due")
            calm = await_records(c, "Calm", 5)
            flood = await_records(c, "Flood", 20000, timeout=40)
            late = max(r.store_ms - at - int(r.body) for r in calm)
            span = flood[-1].store_ms - flood[0].store_ms
            print("calm app late by at most %d ms while 20000 of another came out within %d ms" % (late, span))
            self.assertLess(late, max(LATE_MS_MAX, span / 4))
            self.assertEqual(len(flood), 20000)

    def test_rates(self):
        with Broker(retryRateMax=200, retryRatePerAppMax=50, messageDelayLevel=LEVELS) as broker:
            c = broker.connect()
            at = now_ms() + 600
            for app, topic, count in (("a", "A", 150), ("b", "B", 150)):
                self.flood(c, count, at, topic, app)
            for topic in ("A", "B"):
                times = [r.store_ms for r in await_records(c, topic, 150)]
                rate = (len(times) - 1) * 1000 / (times[-1] - times[0])
                print("%s: %.0f a second" % (topic, rate))
                self.assertLess(rate, 100)  # a bucket begins full: 150 in not less than 2 s
                self.assertGreater(rate, 25)


class Operators(RetryTest):
    """The words of `retry`, by request 7009 where not said otherwise."""

    def refused(self, words, text):
        answer = self.c.call(RETRY_COMMAND, {"command": words, "user": "tester"})
        self.assertEqual((answer.code, text in answer.remark), (1, True), (words, answer))

    def test_wrong_words_are_refused_with_the_reason(self):
        for words, text in (("", "command"), ("frobnicate", "list, show, stats"), ("list --colour red", "--colour"), ("list --topic", "wants a value"),
                            ("list --state tired", "waiting or dead"), ("list --limit 0", "1 to 100000"), ("list --limit x", "1 to 100000"),
                            ("list --due-before yesterday", "'yesterday' is no time"), ("show", "wants the id"), ("show x", "'x' is no id"),
                            ("show 999999999999", "no such row"), ("show 1 2", "'2' is no id"), ("drop", "or filters"), ("drop --yes", "or filters"),
                            ("drop 1 --topic T", "exclude each other"), ("delay 1", "--to TIME"), ("delay 1 --to -5s", "no time"),
                            ("requeue --topic NoRowsHere --yes", "no row"), ("drop 123456789", "no such row")):
            self.refused(words, text)

    def test_filters(self):
        for n in range(4):
            self.send_later(b"%d" % n, 3600000 * (n + 1), group="filters%d" % (n % 2))
        await_rows(self.c, "--topic " + self.topic, 4)
        self.assertEqual(len(listed(self.c, "--app filters1")), 2)
        self.assertEqual(len(listed(self.c, "--topic %s --due-before 150m" % self.topic)), 2)
        self.assertEqual(len(listed(self.c, "--topic %s --due-before %d" % (self.topic, now_ms() + 5400000))), 1)
        self.assertEqual(len(listed(self.c, "--topic %s --app filters0 --due-before 2h" % self.topic)), 1)
        self.assertEqual(listed(self.c, "--topic %s --state dead" % self.topic), [])
        limited = retry(self.c, "list --topic %s --limit 3" % self.topic)
        self.assertIn("3 rows are shown", limited)
        self.assertEqual(len(limited.splitlines()), 5)

    def test_stats_count_by_app_and_topic(self):
        for n in range(3):
            self.send_later(b"%d" % n, group="counted")
        await_rows(self.c, "--app counted", 3)
        text = retry(self.c, "stats --app counted")
        self.assertIn("role active, database sqlite", text)
        self.assertRegex(text, r"app counted waiting=3 due=0 in_flight=0 dead=0 bytes=\d{3,} next=\d{4}-")
        self.assertIn("  topic %s waiting=3 dead=0" % self.topic, text)
        self.assertRegex(text, r"oldest=\d{4}-")

    def test_requeue_one_row_is_at_once(self):
        self.send_later(b"now please")
        [row] = await_rows(self.c, "--topic " + self.topic, 1)
        asked = now_ms()
        self.assertEqual(retry(self.c, "requeue " + row["ID"]).strip(), "1 row requeued")
        [record] = await_records(self.c, self.topic, 1)
        self.assertEqual(record.body, b"now please")
        self.assertLess(record.store_ms - asked, LATE_MS_MAX)
        await_rows(self.c, "--topic " + self.topic, 0)
        self.refused("show " + row["ID"], "no such row")

    def test_more_than_one_row_wants_yes(self):
        for n in range(700):  # more than one portion
            self.c.post(*send_request(self.topic, b"%d" % n, properties={"TIMER_DELAY_SEC": "86400"}))
        await_rows(self.c, "--topic " + self.topic, 700)
        self.assertIn("700 rows would be requeued; the same with --yes does it", retry(self.c, "requeue --topic " + self.topic))
        self.assertEqual(len(listed(self.c, "--topic " + self.topic)), 700)
        self.assertIn("700 rows requeued", retry(self.c, "requeue --topic %s --yes" % self.topic))
        found = await_records(self.c, self.topic, 700)
        self.assertEqual(sorted(int(r.body) for r in found), list(range(700)))
        await_rows(self.c, "--topic " + self.topic, 0)

    def test_delay_puts_off_and_brings_forward(self):
        self.send_later(b"a", 1500)
        self.send_later(b"b", FOREVER_MS)
        first, second = sorted(await_rows(self.c, "--topic " + self.topic, 2), key=lambda r: r["DUE"])
        self.assertIn("1 row delayed", retry(self.c, "delay %s --to 3h" % first["ID"]))
        at = now_ms() + 1200
        self.assertIn("1 row delayed", retry(self.c, "delay %s --to %d" % (second["ID"], at)))
        [record] = await_records(self.c, self.topic, 1)
        self.assertEqual(record.body, b"b")
        self.assertTrue(at <= record.store_ms < at + LATE_MS_MAX)
        [left] = await_rows(self.c, "--topic " + self.topic, 1)
        self.assertEqual(left["ID"], first["ID"])

    def test_dropped_rows_never_come(self):
        for n in range(2):
            self.send_later(b"%d" % n, 1200)
        kept, dropped = await_rows(self.c, "--topic " + self.topic, 2)
        self.assertIn("1 row dropped", retry(self.c, "drop " + dropped["ID"]))
        [record] = await_records(self.c, self.topic, 1)
        self.assertEqual(self.broker_row(record), kept["ID"])
        await_rows(self.c, "--topic " + self.topic, 0)
        self.assertEqual(len(self.c.pull_all(self.topic, 0)), 1)

    def broker_row(self, record):
        return record.properties["CJMQ_RETRY_ID"]

    def test_dead_letters_go_back_to_their_topic(self):
        self.dead_letter(b"first")
        self.dead_letter(b"second")
        rows = await_rows(self.c, "--app %s --state dead" % self.group, 2)
        before = len(self.c.pull_all(self.topic, 0))
        self.assertIn("1 row requeued", retry(self.c, "requeue " + rows[0]["ID"]))
        back = await_records(self.c, self.topic, before + 1)[-1]
        self.assertEqual((back.body, back.topic), (b"first", self.topic))
        [left] = await_rows(self.c, "--app %s --state dead" % self.group, 1)
        self.assertIn("1 row dropped", retry(self.c, "drop --app %s --state dead" % self.group))
        await_rows(self.c, "--app " + self.group, 0)
        self.assertEqual(len(self.c.pull_all("%DLQ%" + self.group, 0)), 2)  # the log keeps both

    def test_changes_are_logged_with_who_and_from_where(self):
        self.send_later(b"x")
        [row] = await_rows(self.c, "--topic " + self.topic, 1)
        retry(self.c, "drop " + row["ID"], user="alice")
        line = next(l for l in self.broker.log().splitlines() if "user=alice" in l)
        for text in ("verb=drop", "rows=1", "id=" + row["ID"], "peer=127.0.0.1:"):
            self.assertIn(text, line)
        with open(self.broker.folder + "/store/commitlog/" + "0" * 20, "rb") as log:
            kept = b"CJMQ_OP_WHO\x01alice\x02" in log.read(4 << 20)  # slaves and later readers of the log know it, too
        self.assertTrue(kept)

    def test_console_has_the_same_words(self):
        self.send_later(b"seen")
        [row] = await_rows(self.c, "--topic " + self.topic, 1)
        console = Console(self.broker.settings["telnetPort"])
        self.addCleanup(console.close)
        self.assertIn(row["ID"], console.command("retry list --topic " + self.topic))
        self.assertIn("seen", console.command("retry show " + row["ID"]))
        self.assertIn("waiting=", console.command("retry stats"))
        self.assertIn('"status":4', console.command("retry list --colour red"))
        self.assertIn("list, show", console.command("retry"))
        self.assertIn("1 row dropped", console.command("retry drop " + row["ID"]))
        await_rows(self.c, "--topic " + self.topic, 0)
        self.assertTrue(any("verb=drop" in l and "user=jmq" in l for l in self.broker.log().splitlines()))


if __name__ == "__main__":
    unittest.main(verbosity=2)
