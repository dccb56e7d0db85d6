"""Transactions and request-reply against a real broker, with raw frames. MQBROKER names the program; arguments go to unittest."""
import random
import shutil
import tempfile
import time
import unittest

from rmq import *

END_TRANSACTION, CHECK_TRANSACTION, SEND_REPLY, SEND_REPLY_V2, PUSH_REPLY = 37, 39, 324, 325, 326
COMMIT, ROLLBACK, UNKNOWN = 8, 12, 0
HALF, OP, GIVEN_UP = "RMQ_SYS_TRANS_HALF_TOPIC", "RMQ_SYS_TRANS_OP_HALF_TOPIC", "TRANS_CHECK_MAX_TIME_TOPIC"
QUICK = {"transactionCheckInterval": 200, "transactionTimeOut": 0, "flushConsumerOffsetInterval": 100}


def heartbeat(connection, group, client_id="client"):
    body = {"clientID": client_id, "producerDataSet": [{"groupName": group}], "consumerDataSet": []}
    answer = connection.call(HEARTBEAT, {}, json.dumps(body).encode())
    assert answer.code == 0, answer


def prepare(connection, topic, body, queue=0, group="tx", properties=None, sys_flag=4, key="key"):
    """Sends a half message: (answer, fields of a 37 without the decision)."""
    own = {"TRAN_MSG": "true", "PGROUP": group, "UNIQ_KEY": key}
    own.update(properties or {})
    answer = connection.send(topic, body, queue=queue, group=group, properties=own, sys_flag=sys_flag)
    if answer.code != 0:
        return answer, None
    return answer, {"producerGroup": group, "tranStateTableOffset": answer.ext["queueOffset"],
                    "commitLogOffset": int(answer.ext["msgId"][16:], 16), "msgId": key, "fromTransactionCheck": "false"}


def end(connection, fields, how, **more):
    return connection.call(END_TRANSACTION, dict(fields, commitOrRollback=how, **more))


def await_question(connection, timeout=20, key=None):
    """The next 39 (for that key), as (its fields, the record in it)."""
    deadline = time.monotonic() + timeout
    while True:
        for i, frame in enumerate(connection.requests):
            if frame.code == CHECK_TRANSACTION and key in (None, frame.ext["msgId"]):
                del connection.requests[i]
                [record] = decode_records(frame.body)
                return frame, record
        frame = connection.take_frame()
        if frame is not None:
            (connection.others.__setitem__(frame.opaque, frame) if frame.flag & RESPONSE else connection.requests.append(frame))
        elif not select.select([connection.sock], [], [], deadline - time.monotonic())[0]:
            raise TimeoutError("the broker did not ask")
        elif not connection.receive():
            raise ConnectionError("the broker closed the connection")


def answer_question(connection, frame, group, how):
    return connection.call(END_TRANSACTION, {
        "producerGroup": group, "tranStateTableOffset": frame.ext["tranStateTableOffset"],
        "commitLogOffset": frame.ext["commitLogOffset"], "commitOrRollback": how, "fromTransactionCheck": "true",
        "msgId": frame.ext["msgId"], "transactionId": frame.ext["transactionId"]})


def await_records(connection, topic, queue, count):
    deadline = time.monotonic() + 20
    while True:
        exists = connection.pull(topic, queue, 0, count=1).code != 17
        found = connection.pull_all(topic, queue) if exists else []
        if len(found) >= count or time.monotonic() > deadline:
            return found
        time.sleep(0.02)


class BrokerTest(unittest.TestCase):
    settings = {}

    @classmethod
    def setUpClass(cls):
        cls.broker = Broker(**cls.settings).start()

    @classmethod
    def tearDownClass(cls):
        status = cls.broker.stop()
        shutil.rmtree(cls.broker.folder)
        assert status == 0, (status, cls.broker.stderr)

    def setUp(self):
        self.c = self.broker.connect()
        self.topic = "T-" + self._testMethodName[-40:]
        self.group = "G-" + self._testMethodName[-40:]
        self.assertEqual(self.c.send(self.topic, b"first", queue=3).code, 0)  # makes the topic

    def tearDown(self):
        self.c.close()

    def bodies(self, queue=0):
        return [r.body for r in self.c.pull_all(self.topic, queue)]


class Ends(BrokerTest):
    """No check interferes: the interval is the default."""

    def test_half_message_is_stored_unseen_with_its_real_target(self):
        answer, fields = prepare(self.c, self.topic, b"hidden", queue=2, group=self.group, properties={"TAGS": "A"})
        self.assertEqual((answer.ext["queueId"], answer.ext["MSG_REGION"]), ("2", "DefaultRegion"))
        [half] = self.c.pull_all(HALF, 0, int(answer.ext["queueOffset"]), int(answer.ext["queueOffset"]) + 1)
        self.assertEqual((half.queue, half.body, half.sys_flag & 0xC, half.flag), (0, b"hidden", 0, 7))
        self.assertEqual(half.phys_offset, fields["commitLogOffset"])
        for name, value in {"REAL_TOPIC": self.topic, "REAL_QID": "2", "PGROUP": self.group, "TRAN_MSG": "true", "TAGS": "A",
                            "CLUSTER": "DefaultCluster", "UNIQ_KEY": "key"}.items():
            self.assertEqual(half.properties[name], value)
        self.assertEqual(self.bodies(2), [])

    def test_commit_makes_it_visible_with_all_that_was_sent(self):
        answer, fields = prepare(self.c, self.topic, b"real", queue=1, group=self.group, properties={"TAGS": "A", "KEYS": "k"})
        done = end(self.c, fields, COMMIT)
        self.assertEqual(done.code, 0, done)
        [record] = self.c.pull_all(self.topic, 1)
        self.assertEqual((record.topic, record.queue, record.queue_offset, record.body), (self.topic, 1, 0, b"real"))
        self.assertEqual((record.sys_flag & 0xC, record.flag), (COMMIT, 7))
        self.assertEqual((record.properties["TAGS"], record.properties["REAL_TOPIC"]), ("A", self.topic))
        self.assertEqual([r.body for r in self.c.pull_all(OP, 0)][-1], answer.ext["queueOffset"].encode())
        self.assertEqual(self.c.pull_all(OP, 0)[-1].properties["TAGS"], "d")

    def test_oneway_commit_wakes_a_held_pull(self):
        _, fields = prepare(self.c, self.topic, b"wake", group=self.group)
        puller = self.broker.connect()
        held = puller.post_pull(self.topic, 0, 0, suspend_ms=10000)
        self.c.post(END_TRANSACTION, dict(fields, commitOrRollback=COMMIT), flag=ONEWAY)
        found = puller.answer(held, timeout=8)
        self.assertEqual([r.body for r in decode_records(found.body)], [b"wake"])

    def test_rollback_leaves_an_op_message_alone(self):
        answer, fields = prepare(self.c, self.topic, b"no", group=self.group)
        self.assertEqual(end(self.c, fields, ROLLBACK).code, 0)
        self.assertEqual(self.bodies(), [])
        self.assertEqual(self.c.pull_all(OP, 0)[-1].body, answer.ext["queueOffset"].encode())

    def test_unknown_changes_nothing(self):
        _, fields = prepare(self.c, self.topic, b"later", group=self.group)
        self.assertEqual(end(self.c, fields, UNKNOWN).code, 0)
        self.assertEqual(self.bodies(), [])
        self.assertEqual(end(self.c, fields, COMMIT).code, 0)
        self.assertEqual(self.bodies(), [b"later"])

    def test_second_end_is_refused_and_changes_nothing(self):
        _, fields = prepare(self.c, self.topic, b"once", group=self.group)
        for _ in range(3):  # without waiting: also while the first is on its way
            self.c.post(END_TRANSACTION, dict(fields, commitOrRollback=COMMIT), flag=ONEWAY)
        for how in (COMMIT, ROLLBACK):
            again = end(self.c, fields, how)
            self.assertEqual((again.code, "ended" in again.remark), (1, True), again)
        self.assertEqual(self.bodies(), [b"once"])

    def test_wrong_ends_are_refused_with_the_reason(self):
        answer, fields = prepare(self.c, self.topic, b"mine", group=self.group)
        ordinary = self.c.send(self.topic, b"ordinary", queue=2)
        for wrong, text in (({"producerGroup": "other"}, "belongs to producer group " + self.group),
                            ({"tranStateTableOffset": int(answer.ext["queueOffset"]) + 1}, "tranStateTableOffset"),
                            ({"commitLogOffset": fields["commitLogOffset"] + 1}, "no message"),
                            ({"commitLogOffset": 1 << 50}, "no message"), ({"commitLogOffset": -1}, "no message"),
                            ({"commitLogOffset": int(ordinary.ext["msgId"][16:], 16)}, "no prepared one"),
                            ({"tranStateTableOffset": "x"}, "tranStateTableOffset"), ({"commitOrRollback": 4}, "commitOrRollback")):
            refused = self.c.call(END_TRANSACTION, dict(fields, commitOrRollback=COMMIT) | wrong)
            self.assertEqual((refused.code, text in refused.remark), (1, True), (wrong, refused))
        self.assertEqual(self.bodies(), [])
        self.assertEqual(end(self.c, fields, COMMIT).code, 0)

    def test_property_or_flag_alone_make_a_transaction(self):
        _, by_flag = prepare(self.c, self.topic, b"flag", group=self.group, properties={"TRAN_MSG": "false"})
        _, by_property = prepare(self.c, self.topic, b"property", group=self.group, sys_flag=0)
        self.assertEqual(self.bodies(), [])
        self.assertEqual(end(self.c, by_property, COMMIT).code, 0)
        self.assertEqual(end(self.c, by_flag, COMMIT).code, 0)
        self.assertEqual(self.bodies(), [b"property", b"flag"])

    def test_properties_of_a_former_life_do_not_count(self):
        stale = {"TRAN_PREPARED_QUEUE_OFFSET": "0", "TRANSACTION_CHECK_TIMES": "99", "REAL_TOPIC": "Elsewhere", "REAL_QID": "9"}
        _, fields = prepare(self.c, self.topic, b"again", group=self.group, properties=stale)
        self.assertEqual(end(self.c, fields, COMMIT).code, 0)
        [record] = self.c.pull_all(self.topic, 0)
        self.assertEqual((record.body, record.properties["REAL_TOPIC"]), (b"again", self.topic))

    def test_retried_message_of_a_transaction_is_an_ordinary_one(self):
        answer = self.c.send("%RETRY%" + self.group, b"retry", properties={"TRAN_MSG": "true", "PGROUP": "p"}, reconsume=1)
        self.assertEqual(answer.code, 0, answer)
        self.assertEqual([r.body for r in self.c.pull_all("%RETRY%" + self.group, 0)], [b"retry"])

    def test_batch_and_oversized_properties_are_illegal(self):
        answer = self.c.send(self.topic, encode_batch([(b"a", {})]), code=SEND_BATCH, batch=True, properties={"TRAN_MSG": "true"})
        self.assertEqual((answer.code, "batch" in answer.remark), (13, True), answer)
        answer, _ = prepare(self.c, self.topic, b"fat", group=self.group, properties={"x": "y" * 32650})
        self.assertEqual((answer.code, "transaction" in answer.remark), (13, True), answer)

    def test_commit_reaches_a_topic_that_lost_its_queue(self):
        _, fields = prepare(self.c, self.topic, b"moved", queue=3, group=self.group)
        shrunk = self.c.call(17, {"topic": self.topic, "defaultTopic": "TBW102", "readQueueNums": 1, "writeQueueNums": 1, "perm": 6,
                                  "topicFilterType": "SINGLE_TAG", "topicSysFlag": 0, "order": "false"})
        self.assertEqual(shrunk.code, 0, shrunk)
        self.assertEqual(end(self.c, fields, COMMIT).code, 0)
        self.assertEqual(self.bodies(0), [b"moved"])


class Limits(unittest.TestCase):
    def test_transactions_can_be_switched_off(self):
        with Broker(rejectTransactionMessage="true") as broker:
            answer, _ = prepare(broker.connect(), "T", b"x")
            self.assertEqual((answer.code, "rejectTransactionMessage" in answer.remark), (16, True), answer)

    def test_open_transactions_are_bounded(self):
        with Broker(transactionsOpenMax=3) as broker:
            c = broker.connect()
            open_ones = [prepare(c, "T", b"%d" % i)[1] for i in range(3)]
            answer, _ = prepare(c, "T", b"one more")
            self.assertEqual((answer.code, "transactionsOpenMax=3" in answer.remark), (2, True), answer)
            self.assertEqual(end(c, open_ones[1], ROLLBACK).code, 0)
            self.assertEqual(prepare(c, "T", b"now")[0].code, 0)

    def test_slave_answers_11(self):
        with Broker(brokerRole="SLAVE", brokerId=1) as broker:
            answer = end(broker.connect(), {"producerGroup": "g", "tranStateTableOffset": 0, "commitLogOffset": 0}, COMMIT)
            self.assertEqual(answer.code, 11, answer)


class Checks(BrokerTest):
    settings = QUICK

    def prepare_asked(self, body, queue=0):
        """A half message, and the broker's first question about it."""
        heartbeat(self.c, self.group)
        answer, fields = prepare(self.c, self.topic, body, queue=queue, group=self.group, key=self.group)
        self.assertEqual(answer.code, 0, answer)
        return fields, *await_question(self.c, key=self.group)

    def test_producer_is_asked_with_the_message_under_its_real_topic(self):
        fields, question, record = self.prepare_asked(b"asked", queue=2)
        self.assertTrue(question.flag & ONEWAY)
        self.assertEqual((record.topic, record.queue, record.body, record.flag), (self.topic, 2, b"asked", 7))
        self.assertEqual(record.properties["TRANSACTION_CHECK_TIMES"], "1")
        self.assertEqual(question.ext["transactionId"], self.group)
        self.assertEqual(question.ext["offsetMsgId"], "7F000001%08X%016X" % (self.broker.port, int(question.ext["commitLogOffset"])))
        self.assertEqual([record.queue_offset, record.phys_offset],
                         [int(question.ext["tranStateTableOffset"]), int(question.ext["commitLogOffset"])])
        self.assertGreater(record.queue_offset, int(fields["tranStateTableOffset"]))
        self.assertEqual(answer_question(self.c, question, self.group, COMMIT).code, 0)
        self.assertEqual(self.bodies(2), [b"asked"])

    def test_unknown_is_asked_again_and_then_committed(self):
        _, question, _ = self.prepare_asked(b"thrice")
        for times in ("2", "3"):
            self.assertEqual(answer_question(self.c, question, self.group, UNKNOWN).code, 0)
            question, record = await_question(self.c, key=self.group)
            self.assertEqual(record.properties["TRANSACTION_CHECK_TIMES"], times)
            self.assertEqual(self.bodies(), [])
        self.assertEqual(answer_question(self.c, question, self.group, COMMIT).code, 0)
        self.assertEqual(self.bodies(), [b"thrice"])

    def test_commit_by_the_first_half_message_after_a_check_counts_once(self):
        fields, question, _ = self.prepare_asked(b"late")
        while (late := end(self.c, fields, COMMIT)).code != 0:
            self.assertIn("at this moment", late.remark)  # the next check holds it just now
        again = answer_question(self.c, question, self.group, COMMIT)
        self.assertEqual((again.code, "ended before" in again.remark), (1, True), again)
        self.assertEqual(self.bodies(), [b"late"])

    def test_rolled_back_after_a_check_is_not_asked_again(self):
        _, question, _ = self.prepare_asked(b"no")
        while (done := answer_question(self.c, question, self.group, ROLLBACK)).code != 0:
            self.assertIn("at this moment", done.remark)
        self.c.requests.clear()
        with self.assertRaises(TimeoutError):
            await_question(self.c, timeout=0.8, key=self.group)
        self.assertEqual(self.bodies(), [])

    def test_immune_message_is_not_asked_before_its_time(self):
        heartbeat(self.c, self.group)
        _, fields = prepare(self.c, self.topic, b"immune", group=self.group, key=self.group,
                            properties={"CHECK_IMMUNITY_TIME_IN_SECONDS": "2"})
        begin = time.monotonic()
        await_question(self.c, key=self.group)
        self.assertGreater(time.monotonic() - begin, 1.5)

    def test_group_is_asked_on_one_connection_each_time_in_turn(self):
        other = self.broker.connect()
        heartbeat(self.c, self.group, "one")
        heartbeat(other, self.group, "two")
        prepare(self.c, self.topic, b"turn", group=self.group, key=self.group)
        asked = [int(await_question(c, key=self.group)[1].properties["TRANSACTION_CHECK_TIMES"]) for c in (self.c, other, self.c, other)]
        self.assertEqual(sorted(asked), [1, 2, 3, 4])
        self.assertEqual(asked[0] % 2, asked[2] % 2)


class GivenUp(BrokerTest):
    settings = dict(QUICK, transactionCheckMax=2)

    def test_transaction_that_nobody_ends_is_moved_away(self):
        _, fields = prepare(self.c, self.topic, b"abandoned", group=self.group)
        [moved] = await_records(self.c, GIVEN_UP, 0, 1)
        self.assertEqual((moved.body, moved.properties["REAL_TOPIC"]), (b"abandoned", self.topic))
        self.assertEqual(moved.properties["TRANSACTION_CHECK_TIMES"], "2")
        late = end(self.c, fields, COMMIT)
        self.assertEqual((late.code, "ended before" in late.remark), (1, True), late)
        self.assertEqual(self.bodies(), [])
        self.assertEqual(len(self.c.pull_all(GIVEN_UP, 0)), 1)


class Restarts(unittest.TestCase):
    """Each test has a store that outlives its brokers."""

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="cjmq-transactions-")

    def tearDown(self):
        shutil.rmtree(self.folder)

    def broker(self, **settings):
        return Broker(folder=self.folder, flushDiskType="SYNC_FLUSH", listenPort=getattr(self, "port", None), **settings)

    def kill(self, broker):
        self.port = broker.port
        broker.kill()

    def test_half_message_survives_kill_and_is_asked_for(self):
        broker = self.broker().start()
        c = broker.connect()
        prepare(c, "T", b"open", key="open")
        _, ended = prepare(c, "T", b"ended", key="ended")
        _, rolled = prepare(c, "T", b"rolled", key="rolled")
        self.assertEqual((end(c, ended, COMMIT).code, end(c, rolled, ROLLBACK).code), (0, 0))
        self.kill(broker)
        with self.broker(**QUICK) as broker:
            c = broker.connect()
            heartbeat(c, "tx")
            question, record = await_question(c)
            self.assertEqual(record.body, b"open")
            self.assertEqual(answer_question(c, question, "tx", COMMIT).code, 0)
            self.assertEqual([r.body for r in c.pull_all("T", 0)], [b"ended", b"open"])
            again = end(c, ended, COMMIT)
            self.assertEqual((again.code, "ended before" in again.remark), (1, True), again)
            with self.assertRaises(TimeoutError):
                await_question(c, timeout=0.8, key="ended")

    def test_copies_of_checks_are_one_transaction_after_kill(self):
        broker = self.broker(**QUICK).start()
        c = broker.connect()
        heartbeat(c, "tx")
        prepare(c, "T", b"copied")
        for _ in range(3):
            question, _ = await_question(c)
        self.kill(broker)
        shutil.rmtree(self.folder + "/store/config")  # the saved position: everything is read again
        with self.broker(**QUICK) as broker:
            c = broker.connect()
            heartbeat(c, "tx")
            c.send("T", b"other queue", queue=1)
            question, _ = await_question(c)
            while (done := answer_question(c, question, "tx", COMMIT)).code != 0:
                self.assertIn("at this moment", done.remark)
            c.requests.clear()
            with self.assertRaises(TimeoutError):
                await_question(c, timeout=0.8)
            self.assertEqual([r.body for r in c.pull_all("T", 0)], [b"copied"])

    def test_commit_whose_op_message_a_crash_cut_off_is_not_repeated(self):
        broker = self.broker().start()
        c = broker.connect()
        _, fields = prepare(c, "T", b"cut")
        self.assertEqual(end(c, fields, COMMIT).code, 0)
        [op] = c.pull_all(OP, 0)
        self.kill(broker)
        with open(self.folder + "/store/commitlog/" + "0" * 20, "r+b") as log:
            log.seek(op.phys_offset)
            log.write(b"\0" * op.size)
        with self.broker(**QUICK) as broker:
            c = broker.connect()
            heartbeat(c, "tx")
            self.assertIn("its op message was added", broker.log())
            again = end(c, fields, COMMIT)
            self.assertEqual((again.code, "ended before" in again.remark), (1, True), again)
            with self.assertRaises(TimeoutError):
                await_question(c, timeout=0.8)
            self.assertEqual([r.body for r in c.pull_all("T", 0)], [b"cut"])
            self.assertEqual([r.body for r in c.pull_all(OP, 0)], [b"0"])
        with self.broker(**QUICK) as broker:  # and the op message is there for good
            c = broker.connect()
            heartbeat(c, "tx")
            with self.assertRaises(TimeoutError):
                await_question(c, timeout=0.8)

    def test_position_moves_on_and_is_used(self):
        with self.broker(**QUICK) as broker:
            self.port = broker.port
            c = broker.connect()
            for i in range(50):
                _, fields = prepare(c, "T", b"%d" % i)
                self.assertEqual(end(c, fields, COMMIT if i % 2 else ROLLBACK).code, 0)
            offsets, deadline = None, time.monotonic() + 20
            while offsets != [50, 50] and time.monotonic() < deadline:
                found = [c.call(QUERY_OFFSET, {"consumerGroup": "CID_RMQ_SYS_TRANS", "topic": t, "queueId": 0}) for t in (HALF, OP)]
                offsets = [int(f.ext["offset"]) if f.code == 0 else None for f in found]
                time.sleep(0.02)
            self.assertEqual(offsets, [50, 50])
            _, fields = prepare(c, "T", b"left")
        with self.broker() as broker:
            c = broker.connect()
            deadline = time.monotonic() + 20
            while (done := end(c, fields, COMMIT)).code != 0 and time.monotonic() < deadline:
                self.assertRegex(done.remark, "still being read|ended before")
                self.assertNotIn("ended before", done.remark)
            self.assertEqual(done.code, 0, done)
            self.assertEqual(len(c.pull_all("T", 0)), 26)

    def test_many_open_transactions_are_all_found_again(self):
        broker = self.broker().start()
        c = broker.connect()
        opaques = []
        for i in range(2000):
            opaques.append(c.post(*send_request("T", b"%d" % i, group="tx", sys_flag=4,
                                                properties={"TRAN_MSG": "true", "PGROUP": "tx", "UNIQ_KEY": "k%d" % i})))
        self.assertEqual({c.answer(o).code for o in opaques}, {0})
        self.kill(broker)
        with self.broker(**QUICK) as broker:
            c = broker.connect()
            heartbeat(c, "tx")
            answered, deadline = set(), time.monotonic() + 60
            while len(answered) < 2000 and time.monotonic() < deadline:
                question, record = await_question(c)
                c.post(END_TRANSACTION, {"producerGroup": "tx", "tranStateTableOffset": record.queue_offset, "msgId": "",
                                         "commitLogOffset": record.phys_offset, "commitOrRollback": COMMIT}, flag=ONEWAY)
                answered.add(record.body)
            self.assertEqual(len(answered), 2000)
            bodies = [r.body for r in await_records(c, "T", 0, 2000)]
            self.assertEqual(sorted(bodies), sorted(b"%d" % i for i in range(2000)))


class Crashes(unittest.TestCase):
    """SIGKILL at random moments of transactions under way, on one store; in the end each committed message is there once."""
    ROUNDS, WINDOW, QUEUES = 8, 40, 3

    def plan(self, number):
        return (COMMIT, ROLLBACK, UNKNOWN)[number % 3]  # UNKNOWN: commit when asked

    def answer_questions(self, c):
        """Tells the broker what it asked, as planned."""
        for frame in [f for f in c.requests if f.code == CHECK_TRANSACTION]:
            [record] = decode_records(frame.body)
            how = ROLLBACK if self.plan(int(record.body)) == ROLLBACK else COMMIT
            c.post(END_TRANSACTION, {"producerGroup": "tx", "tranStateTableOffset": record.queue_offset, "commitLogOffset": record.phys_offset,
                                     "commitOrRollback": how, "fromTransactionCheck": "true", "msgId": ""}, flag=ONEWAY)
            self.asked += 1
        c.requests.clear()

    def take_answers(self, c, in_flight):
        while (frame := c.take_frame()) is not None:
            if not frame.flag & RESPONSE:
                c.requests.append(frame)
                continue
            number = in_flight.pop(frame.opaque)
            self.assertEqual(frame.code, 0, frame)
            self.acknowledged.add(number)
            if self.plan(number) != UNKNOWN:
                fields = {"producerGroup": "tx", "tranStateTableOffset": frame.ext["queueOffset"], "msgId": "",
                          "commitLogOffset": int(frame.ext["msgId"][16:], 16), "commitOrRollback": self.plan(number)}
                for _ in range(2 if number % 7 == 0 else 1):  # now and then twice
                    c.post(END_TRANSACTION, fields, flag=ONEWAY)

    def run_until(self, c, end_time):
        in_flight = {}
        while time.monotonic() < end_time:
            while len(in_flight) < self.WINDOW:
                opaque = c.post(*send_request("T", b"%d" % self.next, queue=self.next % self.QUEUES, group="tx", sys_flag=4,
                                              properties={"TRAN_MSG": "true", "PGROUP": "tx", "UNIQ_KEY": "k%d" % self.next}))
                in_flight[opaque] = self.next
                self.next += 1
            if select.select([c.sock], [], [], 0.05)[0]:
                self.assertTrue(c.receive())
            self.take_answers(c, in_flight)
            self.answer_questions(c)

    def settle(self, broker, c):
        """Answers questions until the broker has none left."""
        quiet_since = time.monotonic()
        while time.monotonic() - quiet_since < 2:
            if select.select([c.sock], [], [], 0.1)[0]:
                self.assertTrue(c.receive())
                while (frame := c.take_frame()) is not None:
                    c.requests.append(frame)
                if any(f.code == CHECK_TRANSACTION for f in c.requests):
                    quiet_since = time.monotonic()
                self.answer_questions(c)

    def test_each_committed_message_is_there_once_after_kills(self):
        rng, folder = random.Random(20), tempfile.mkdtemp(prefix="cjmq-transactions-")
        self.next = self.asked = 0
        self.acknowledged = set()
        settings = dict(QUICK, transactionTimeOut=300, mappedFileSizeCommitLog=1 << 20, flushDiskType="SYNC_FLUSH",
                        mappedFileSizeConsumeQueue=20000, reactorThreads=2)
        try:
            for round_number in range(self.ROUNDS + 1):
                broker = Broker(folder=folder, **settings).start()
                c = broker.connect()
                heartbeat(c, "tx")
                if round_number == self.ROUNDS:
                    break
                self.run_until(c, time.monotonic() + rng.uniform(0.2, 1.2))
                broker.kill()
            self.settle(broker, c)
            bodies = [int(r.body) for q in range(self.QUEUES) for r in c.pull_all("T", q)]
            found = set(bodies)
            self.assertEqual(len(bodies), len(found), "some were committed twice")
            self.assertEqual([b for b in bodies if self.plan(b) == ROLLBACK], [])
            missing = [n for n in self.acknowledged if self.plan(n) != ROLLBACK and n not in found]
            self.assertEqual(missing, [])
            self.assertGreater(self.asked, self.ROUNDS)
            self.assertEqual(broker.stop(), 0)
        finally:
            broker.kill() if broker.process else None
            shutil.rmtree(folder)


class Replies(BrokerTest):
    def reply(self, client_id, body=b"pong", code=SEND_REPLY_V2, connection=None):
        properties = {"CORRELATION_ID": "c1", "REPLY_TO_CLIENT": client_id, "TTL": "3000", "MSG_TYPE": "reply", "CLUSTER": "DefaultCluster"}
        if client_id is None:
            del properties["REPLY_TO_CLIENT"]
        made, ext, body = send_request("DefaultCluster_REPLY_TOPIC", body, properties=properties, code=SEND if code == SEND_REPLY else SEND_V2)
        return (connection or self.c).post(code, ext, body)

    def await_push(self, requester):
        """The next request of the broker on that connection."""
        deadline = time.monotonic() + 20
        while not requester.requests:
            if (frame := requester.take_frame()) is not None:
                requester.requests.append(frame)
            elif not select.select([requester.sock], [], [], deadline - time.monotonic())[0] or not requester.receive():
                raise AssertionError("nothing was pushed")
        return requester.requests.pop()

    def answer_push(self, requester, push, code=0):
        requester.sock.sendall(encode_frame(code, {}, b"", push.opaque, RESPONSE))

    def test_reply_reaches_the_requester_and_the_replier_hears_of_it(self):
        requester = self.broker.connect()
        heartbeat(requester, self.group, self.group)
        for code in (SEND_REPLY, SEND_REPLY_V2):
            opaque = self.reply(self.group, b"pong", code)
            push = self.await_push(requester)
            self.assertEqual((push.code, push.body, push.flag & ONEWAY), (PUSH_REPLY, b"pong", 0))
            self.assertEqual((push.ext["topic"], push.ext["producerGroup"], push.ext["flag"]), ("DefaultCluster_REPLY_TOPIC", "producer", "7"))
            self.assertEqual(push.ext["storeHost"], "127.0.0.1:%d" % self.broker.port)
            self.assertRegex(push.ext["bornHost"], r"^127\.0\.0\.1:\d+$")
            properties = dict(p.split("\x01") for p in push.ext["properties"].split("\x02") if p)
            self.assertEqual(properties["CORRELATION_ID"], "c1")
            self.assertIn("PUSH_REPLY_TIME", properties)
            self.assertNotIn(opaque, self.c.others)
            self.answer_push(requester, push)
            answer = self.c.answer(opaque)
            self.assertEqual(answer.code, 0, answer)
            stored = self.c.pull_all("DefaultCluster_REPLY_TOPIC", 0)[-1]
            self.assertEqual((stored.body, stored.queue_offset), (b"pong", int(answer.ext["queueOffset"])))
            self.assertEqual(int(answer.ext["msgId"][16:], 16), stored.phys_offset)

    def test_requester_that_is_gone_or_refuses_is_an_error_with_the_reason(self):
        answer = self.c.answer(self.reply("nobody"))
        self.assertEqual((answer.code, "<nobody> not found" in answer.remark), (1, True), answer)
        answer = self.c.answer(self.reply(None))
        self.assertEqual(answer.code, 1, answer)
        requester = self.broker.connect()
        heartbeat(requester, self.group, self.group)
        opaque = self.reply(self.group)
        self.answer_push(requester, self.await_push(requester), 1)
        answer = self.c.answer(opaque)
        self.assertEqual((answer.code, "answered code 1" in answer.remark), (1, True), answer)
        opaque = self.reply(self.group)
        self.await_push(requester)
        requester.close()
        answer = self.c.answer(opaque)
        self.assertEqual((answer.code, "did not take it" in answer.remark), (1, True), answer)

    def test_consumer_is_no_requester(self):
        consumer = self.broker.connect()
        body = {"clientID": self.group, "producerDataSet": [], "consumerDataSet": [{
            "consumeFromWhere": "CONSUME_FROM_FIRST_OFFSET", "consumeType": "CONSUME_PASSIVELY", "groupName": self.group,
            "messageModel": "CLUSTERING", "subscriptionDataSet": [], "unitMode": False}]}
        self.assertEqual(consumer.call(HEARTBEAT, {}, json.dumps(body).encode()).code, 0)
        self.assertEqual(self.c.answer(self.reply(self.group)).code, 1)

    def test_requester_that_reconnected_is_found_by_its_new_connection(self):
        old, new = self.broker.connect(), self.broker.connect()
        heartbeat(old, self.group, self.group)
        heartbeat(new, self.group, self.group)
        opaque = self.reply(self.group)
        self.answer_push(new, self.await_push(new))
        self.assertEqual(self.c.answer(opaque).code, 0)
        new.close()
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:  # the old one is found again with its next heartbeat
            heartbeat(old, self.group, self.group)
            opaque = self.reply(self.group)
            if select.select([old.sock], [], [], 0.5)[0]:
                break
            self.c.answer(opaque)
        self.answer_push(old, self.await_push(old))
        self.assertEqual(self.c.answer(opaque).code, 0)


class ReplyLimits(unittest.TestCase):
    reply, await_push, answer_push = Replies.reply, Replies.await_push, Replies.answer_push

    def test_store_can_be_switched_off_and_held_bytes_are_bounded(self):
        with Broker(storeReplyMessageEnable="false", repliesHeldBytesMax=65536, replyPushTimeoutMs=500) as broker:
            self.c, requester = broker.connect(), broker.connect()
            heartbeat(requester, "g", "me")
            first = self.reply("me", b"x" * 60000)
            push = self.await_push(requester)
            second = self.c.answer(self.reply("me", b"x" * 60000))
            self.assertEqual((second.code, "repliesHeldBytesMax=65536" in second.remark), (2, True), second)
            self.answer_push(requester, push)
            answer = self.c.answer(first)
            self.assertEqual((answer.code, answer.ext["msgId"], answer.ext["queueOffset"]), (0, "0", "0"), answer)
            self.assertEqual(self.c.pull_all("DefaultCluster_REPLY_TOPIC", 0), [])
            late = self.c.answer(self.reply("me"))  # nobody answers this one
            self.assertEqual((late.code, "timed out" in late.remark), (1, True), late)

    def test_broker_stops_while_a_requester_is_silent(self):
        broker = Broker().start()
        self.c, requester = broker.connect(), broker.connect()
        heartbeat(requester, "g", "me")
        self.reply("me")
        self.await_push(requester)
        self.assertEqual(broker.stop(), 0)
        shutil.rmtree(broker.folder)


if __name__ == "__main__":
    unittest.main()
