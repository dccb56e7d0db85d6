"""Drives a real broker with raw frames. MQBROKER names the program; arguments go to unittest."""
import os
import random
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import unittest

from rmq import *


def pull_until(connection, topic, queue, count, **options):
    """Messages of a queue once there are `count` (waiting with held pulls)."""
    messages, offset, deadline = [], 0, time.monotonic() + 20
    while len(messages) < count and time.monotonic() < deadline:
        frame = connection.pull(topic, queue, offset, suspend_ms=1000, **options)
        if frame.code == 0:
            messages += decode_records(frame.body)
        offset = int(frame.ext["nextBeginOffset"])
    return messages


class OneBroker(unittest.TestCase):
    """Tests of a class share a broker; each has a connection of its own, and its topics."""

    @classmethod
    def setUpClass(cls):
        cls.broker = Broker().start()

    @classmethod
    def tearDownClass(cls):
        status = cls.broker.stop()
        shutil.rmtree(cls.broker.folder)
        assert status == 0, (status, cls.broker.stderr)

    def setUp(self):
        self.c = self.broker.connect()

    def tearDown(self):
        self.c.close()


class Sends(OneBroker):
    def test_boot_line_is_that_of_the_guides(self):
        self.assertEqual(self.broker.boot_line, "The broker[broker-a, 127.0.0.1:%d] boot success. serializeType=JSON" % self.broker.port)
        self.assertIn(self.broker.boot_line, self.broker.log())

    def check_stored(self, answer, topic, queue, body, properties):
        self.assertEqual(answer.code, 0, answer)
        offset = int(answer.ext["queueOffset"])
        got = self.c.pull(topic, queue, offset, count=1)
        self.assertEqual(got.code, 0, got)
        [record] = decode_records(got.body)
        self.assertEqual((record.topic, record.queue, record.queue_offset, record.body), (topic, queue, offset, body))
        self.assertEqual(record.flag, 7)
        for name, value in properties.items():
            self.assertEqual(record.properties[name], value)
        self.assertEqual(record.properties["CLUSTER"], "DefaultCluster")
        msg_id = answer.ext["msgId"]
        self.assertEqual(msg_id, "7F000001%08X%016X" % (self.broker.port, record.phys_offset))
        self.assertEqual((answer.ext["MSG_REGION"], answer.ext["TRACE_ON"]), ("DefaultRegion", "true"))
        self.assertEqual(int(answer.ext["queueId"]), queue)

    def test_send_with_long_names_is_stored(self):
        answer = self.c.send("Long", b"hello", queue=2, code=SEND, properties={"TAGS": "A", "KEYS": "k1 k2"})
        self.check_stored(answer, "Long", 2, b"hello", {"TAGS": "A", "KEYS": "k1 k2"})

    def test_send_with_letters_is_stored(self):
        self.check_stored(self.c.send("Letters", b"\0" * 5000, queue=1), "Letters", 1, b"\0" * 5000, {})

    def test_send_empty_body_is_stored(self):
        self.check_stored(self.c.send("Empty", b"", queue=0), "Empty", 0, b"", {})

    def test_negative_queue_lets_the_broker_pick_each_in_turn(self):
        queues = [int(self.c.send("Turn", b"x", queue=-1).ext["queueId"]) for _ in range(8)]
        self.assertEqual(sorted(queues), [0, 0, 1, 1, 2, 2, 3, 3])

    def test_client_batch_is_stored_in_consecutive_offsets(self):
        items = [(b"body %d" % i, {"TAGS": "T%d" % i}) for i in range(20)]
        for code in (SEND_BATCH, SEND_V2, SEND):
            answer = self.c.send("Batch", encode_batch(items), queue=1, code=code, batch=True, properties={"WAIT": "true"})
            self.assertEqual(answer.code, 0, answer)
            first, ids = int(answer.ext["queueOffset"]), answer.ext["msgId"].split(",")
            records = self.c.pull_all("Batch", 1, first, first + 20)
            self.assertEqual([r.body for r in records], [body for body, _ in items])
            self.assertEqual([r.queue_offset for r in records], list(range(first, first + 20)))
            self.assertEqual([int(i[16:], 16) for i in ids], [r.phys_offset for r in records])
            self.assertEqual([r.properties["TAGS"] for r in records], ["T%d" % i for i in range(20)])
            self.assertEqual({r.properties["WAIT"] for r in records}, {"true"})
            self.assertEqual({r.flag for r in records}, {3})

    def test_malformed_batch_is_refused_as_a_whole(self):
        good = encode_batch([(b"one", {}), (b"two", {})])
        for bad in (good[:-1], good[:30], struct.pack(">I", 4) + good[4:], b"short", good + b"x"):
            answer = self.c.send("BadBatch", bad, code=SEND_BATCH, batch=True)
            self.assertEqual(answer.code, 13, answer)
            self.assertRegex(answer.remark, "item [01] of the batch is malformed|item 2 of")
        self.assertEqual(self.c.send("BadBatch", b"", code=SEND_BATCH, batch=True).code, 13)

    def test_pipelined_sends_keep_their_order_in_the_queue(self):
        opaques = [self.c.post(*send_request("Pipe", b"%d" % i, queue=3)) for i in range(500)]
        offsets = [int(self.c.answer(o).ext["queueOffset"]) for o in opaques]
        self.assertEqual(offsets, list(range(500)))
        self.assertEqual([r.body for r in self.c.pull_all("Pipe", 3)], [b"%d" % i for i in range(500)])

    def test_oneway_send_is_stored_and_not_answered(self):
        code, ext, body = send_request("Oneway", b"quiet")
        oneway = self.c.post(code, ext, body, flag=ONEWAY)
        self.assertEqual([r.body for r in pull_until(self.c, "TBW102", 0, 0)], [])
        answer = self.c.send("Oneway", b"loud")
        self.assertEqual(answer.ext["queueOffset"], "1")
        self.assertNotIn(oneway, self.c.others)

    def test_missing_field_is_named(self):
        code, ext, body = send_request("T", b"x", code=SEND)
        del ext["bornTimestamp"]
        answer = self.c.call(code, ext, body)
        self.assertEqual((answer.code, "bornTimestamp" in answer.remark), (1, True), answer)
        code, ext, body = send_request("T", b"x")
        ext["e"] = "one"
        answer = self.c.call(code, ext, body)
        self.assertEqual((answer.code, "queueId=one" in answer.remark), (1, True), answer)

    def test_refusals_have_their_codes(self):
        for topic, options, code in (
                ("bad topic!", {}, 1), ("x" * 128, {}, 1), ("SCHEDULE_TOPIC_XXXX", {}, 16), ("RMQ_SYS_TRANS_HALF_TOPIC", {}, 16),
                ("Known", {"queue": 99}, 1), ("Fat", {"properties": {"x": "y" * 32800}}, 13)):
            answer = self.c.send(topic, b"x", **options)
            self.assertEqual(answer.code, code, (topic, answer))
            self.assertTrue(answer.remark)
            self.assertIn("MSG_REGION", answer.ext)
        answer = self.c.send("Big", b"x" * (4 * 1024 * 1024 + 1))
        self.assertEqual(answer.code, 13, answer)
        self.assertIn("maxMessageSize=4194304", answer.remark)

    def test_largest_body_is_stored(self):
        body = os.urandom(4 * 1024 * 1024)
        self.assertEqual(self.c.send("Largest", body).code, 0)
        self.assertEqual([r.body for r in self.c.pull_all("Largest", 0)], [body])

    def test_unknown_topic_without_template_is_17(self):
        code, ext, body = send_request("NoTemplate", b"x")
        ext["c"] = "NoSuchTemplate"
        self.assertEqual(self.c.call(code, ext, body).code, 17)

    def test_send_to_retry_topic_past_the_last_try_goes_to_the_dead_letters(self):
        answer = self.c.send("%RETRY%again", b"once", reconsume=1, max_reconsume=3)
        self.assertEqual(answer.code, 0, answer)
        self.assertEqual(self.c.pull_all("%RETRY%again", 0)[0].body, b"once")
        self.assertEqual(self.c.send("%RETRY%again", b"dead", reconsume=3, max_reconsume=3).code, 0)
        self.assertEqual([r.body for r in self.c.pull_all("%DLQ%again", 0)], [b"dead"])


class Pulls(OneBroker):
    def assert_outcome(self, frame, code, next_offset, low, high, remark=None):
        self.assertEqual(frame.code, code, frame)
        self.assertEqual([int(frame.ext[k]) for k in ("nextBeginOffset", "minOffset", "maxOffset", "suggestWhichBrokerId")],
                         [next_offset, low, high, 0], frame)
        if remark:
            self.assertEqual(frame.remark, remark)

    def test_statuses_have_code_remark_and_all_four_fields(self):
        for i in range(10):
            self.c.send("Status", b"x", queue=1, properties={"TAGS": "A"})
        self.assert_outcome(self.c.pull("Status", 1, 0, count=4), 0, 4, 0, 10, "FOUND")
        self.assert_outcome(self.c.pull("Status", 1, 10), 19, 10, 0, 10, "OFFSET_OVERFLOW_ONE")
        self.assert_outcome(self.c.pull("Status", 1, 11), 21, 10, 0, 10, "OFFSET_OVERFLOW_BADLY")
        self.assert_outcome(self.c.pull("Status", 1, 0, expression="B"), 20, 10, 0, 10, "NO_MATCHED_MESSAGE")
        self.assert_outcome(self.c.pull("Status", 0, 0), 19, 0, 0, 0)
        self.assert_outcome(self.c.pull("Status", 0, 5), 21, 0, 0, 0)

    def test_refusals_have_their_codes(self):
        self.c.send("Refuse", b"x")
        self.assertEqual(self.c.pull("NoSuchTopic", 0, 0).code, 17)
        self.assertEqual(self.c.pull("Refuse", 99, 0).code, 1)
        self.assertEqual(self.c.pull("Refuse", -1, 0).code, 1)
        self.assertEqual(self.c.answer(self.c.post_pull("Refuse", 0, 0, group="nobody", carried=False)).code, 24)
        code, ext, body = PULL, {"consumerGroup": "g", "topic": "Refuse", "queueId": 0, "queueOffset": 0, "maxMsgNums": 1, "sysFlag": 4,
                                 "subscription": "a > 1", "expressionType": "SQL92"}, b""
        answer = self.c.call(code, ext, body)
        self.assertEqual((answer.code, "enablePropertyFilter" in answer.remark), (1, True), answer)
        del ext["queueOffset"]
        answer = self.c.call(code, ext, body)
        self.assertEqual((answer.code, "queueOffset" in answer.remark), (1, True), answer)

    def test_registered_subscription_is_used_and_must_be_new_enough(self):
        for tag in "ABAB":
            self.c.send("Registered", tag.encode(), properties={"TAGS": tag})
        heartbeat = {"clientID": "c1", "producerDataSet": [], "consumerDataSet": [{
            "consumeFromWhere": "CONSUME_FROM_FIRST_OFFSET", "consumeType": "CONSUME_PASSIVELY", "groupName": "reg", "messageModel": "CLUSTERING",
            "subscriptionDataSet": [{"classFilterMode": False, "codeSet": [65], "expressionType": "TAG", "subString": "A", "subVersion": 5,
                                     "tagsSet": ["A"], "topic": "Registered"}], "unitMode": False}]}
        self.assertEqual(self.c.call(HEARTBEAT, {}, json.dumps(heartbeat).encode()).code, 0)
        ext = {"consumerGroup": "reg", "topic": "Registered", "queueId": 0, "queueOffset": 0, "maxMsgNums": 32, "sysFlag": 0, "subVersion": 5}
        frame = self.c.call(PULL, ext)
        self.assertEqual([r.body for r in decode_records(frame.body)], [b"A", b"A"])
        self.assertEqual(self.c.call(PULL, dict(ext, subVersion=6)).code, 25)
        self.assertEqual(self.c.call(PULL, dict(ext, topic="TBW102")).code, 24)

    def test_tag_filter_selects_and_moves_past_what_does_not_match(self):
        for i in range(100):
            self.c.send("Tags", b"%d" % i, properties={"TAGS": "AB"[i % 2]})
        frame = self.c.pull("Tags", 0, 0, expression="B || C", count=10)
        records = decode_records(frame.body)
        self.assertEqual([r.body for r in records], [b"%d" % i for i in range(1, 21, 2)])
        self.assertIn(frame.ext["nextBeginOffset"], ("20", "21"))  # 20 has tag A: it may have been passed already

    def test_held_pull_is_answered_by_a_send_of_another_connection(self):
        self.c.send("Held", b"first")
        opaque = self.c.post_pull("Held", 0, 1, suspend_ms=15000)
        with self.assertRaises(TimeoutError):
            self.c.answer(opaque, timeout=0.3)
        other = self.broker.connect()
        begin = time.monotonic()
        other.send("Held", b"second")
        frame = self.c.answer(opaque)
        self.assertLess(time.monotonic() - begin, 1)
        self.assertEqual([r.body for r in decode_records(frame.body)], [b"second"])
        other.close()

    def test_held_pull_ends_with_19_when_its_time_is_over(self):
        self.c.send("Timeout", b"first")
        begin = time.monotonic()
        frame = self.c.pull("Timeout", 0, 1, suspend_ms=400)
        self.assertGreaterEqual(time.monotonic() - begin, 0.4)
        self.assertLess(time.monotonic() - begin, 2)
        self.assert_outcome(frame, 19, 1, 0, 1)

    def test_held_pull_of_another_tag_stays_held_and_skips_what_it_saw(self):
        self.c.send("HeldTag", b"0", properties={"TAGS": "A"})
        opaque = self.c.post_pull("HeldTag", 0, 1, expression="B", suspend_ms=1000)
        other = self.broker.connect()
        for i in range(50):
            other.send("HeldTag", b"no", properties={"TAGS": "A"})
        frame = self.c.answer(opaque)
        self.assert_outcome(frame, 20, 51, 0, 51, "NO_MATCHED_MESSAGE")
        opaque = self.c.post_pull("HeldTag", 0, 51, expression="B", suspend_ms=15000)
        other.send("HeldTag", b"yes", properties={"TAGS": "B"})
        self.assertEqual([r.body for r in decode_records(self.c.answer(opaque).body)], [b"yes"])
        other.close()

    def test_many_held_pulls_of_one_queue_all_wake(self):
        self.c.send("Crowd", b"0")
        connections = [self.broker.connect() for _ in range(20)]
        opaques = [c.post_pull("Crowd", 0, 1, group="g%d" % i, suspend_ms=15000) for i, c in enumerate(connections)]
        self.c.pull("Crowd", 0, 0)
        self.c.send("Crowd", b"1")
        for c, o in zip(connections, opaques):
            self.assertEqual([r.body for r in decode_records(c.answer(o).body)], [b"1"])
            c.close()

    def test_closing_a_connection_drops_its_held_pulls(self):
        for _ in range(50):
            c = self.broker.connect()
            for queue in range(4):
                c.post_pull("Dropped", queue, 0, suspend_ms=15000)
            c.close()
        self.assertEqual(self.c.send("Dropped", b"x").code, 0)
        self.assertEqual([r.body for r in self.c.pull_all("Dropped", 0)], [b"x"])

    def test_producer_and_held_consumer_lose_nothing(self):
        count, got = 3000, []

        def consume():
            consumer = self.broker.connect()
            offset = 0
            while len(got) < count:
                frame = consumer.pull("Flow", 0, offset, suspend_ms=15000)
                got.extend(decode_records(frame.body))
                offset = int(frame.ext["nextBeginOffset"])
            consumer.close()

        self.c.send("Flow", b"0")
        consumer = threading.Thread(target=consume)
        consumer.start()
        for i in range(1, count):
            self.assertEqual(self.c.send("Flow", b"%d" % i).code, 0)
        consumer.join(30)
        self.assertEqual([r.body for r in got], [b"%d" % i for i in range(count)])

    def test_offset_committed_by_a_pull_is_kept_even_when_held(self):
        self.c.send("Commit", b"x")
        opaque = self.c.post_pull("Commit", 0, 1, group="committer", suspend_ms=15000, commit=1)
        self.c.call(MIN_OFFSET, {"topic": "Commit", "queueId": 0})
        answer = self.c.call(QUERY_OFFSET, {"consumerGroup": "committer", "topic": "Commit", "queueId": 0})
        self.assertEqual((answer.code, answer.ext["offset"]), (0, "1"))
        self.c.send("Commit", b"y")
        self.assertEqual(self.c.answer(opaque).code, 0)


class OffsetsAndQueries(OneBroker):
    def offset(self, code, topic, queue, field="offset", **ext):
        answer = self.c.call(code, dict(ext, topic=topic, queueId=queue))
        self.assertEqual(answer.code, 0, answer)
        return int(answer.ext[field])

    def test_queue_offsets_and_times(self):
        before = int(time.time() * 1000)
        for i in range(5):
            self.c.send("Times", b"%d" % i)
        after = int(time.time() * 1000)
        self.assertEqual((self.offset(MIN_OFFSET, "Times", 0), self.offset(MAX_OFFSET, "Times", 0)), (0, 5))
        self.assertEqual((self.offset(MIN_OFFSET, "Never", 7), self.offset(MAX_OFFSET, "Never", 7)), (0, 0))
        self.assertTrue(before <= self.offset(EARLIEST_TIME, "Times", 0, "timestamp") <= after)
        self.assertEqual(self.offset(EARLIEST_TIME, "Never", 0, "timestamp"), -1)
        self.assertEqual(self.offset(SEARCH_OFFSET, "Times", 0, timestamp=before - 1000), 0)
        self.assertEqual(self.offset(SEARCH_OFFSET, "Times", 0, timestamp=after + 1000), 4)

    def test_consumer_offset_is_stored_and_a_new_group_starts_at_zero(self):
        self.c.send("Groups", b"x")
        query = {"consumerGroup": "fresh", "topic": "Groups", "queueId": 0}
        answer = self.c.call(QUERY_OFFSET, query)
        self.assertEqual((answer.code, answer.ext["offset"]), (0, "0"))
        self.assertEqual(self.c.call(QUERY_OFFSET, dict(query, setZeroIfNotFound="false")).code, 22)
        self.c.post(UPDATE_OFFSET, dict(query, commitOffset=1), flag=ONEWAY)
        self.assertEqual(self.c.call(QUERY_OFFSET, query).ext["offset"], "1")
        self.assertEqual(self.c.call(UPDATE_OFFSET, dict(query, topic="NoSuchTopic", commitOffset=1)).code, 17)

    def test_message_is_found_by_key_and_by_id(self):
        unique = "7F00000100002A9F18B4AAC2000%05X" % os.getpid()
        for i in range(3):
            answer = self.c.send("Keys", b"%d" % i, properties={"KEYS": "order-%d common" % i, "UNIQ_KEY": unique + str(i)})
        view = self.c.call(VIEW_MESSAGE, {"offset": int(answer.ext["msgId"][16:], 16)})
        self.assertEqual([r.body for r in decode_records(view.body)], [b"2"])
        self.assertEqual(self.c.call(VIEW_MESSAGE, {"offset": 1 << 40}).code, 1)

        def query(key, unique_only=False, count=1):
            ext = {"topic": "Keys", "key": key, "maxNum": 32, "beginTimestamp": 0, "endTimestamp": int(time.time() * 1000) + 60000}
            if unique_only:
                ext["_UNIQUE_KEY_QUERY"] = "true"
            deadline = time.monotonic() + 10
            while True:  # the index follows the log
                frame = self.c.call(QUERY_MESSAGE, ext)
                if frame.code == 0 and len(decode_records(frame.body)) >= count or time.monotonic() > deadline:
                    return frame

        self.assertEqual(sorted(r.body for r in decode_records(query("order-1").body)), [b"1"])
        self.assertEqual(sorted(r.body for r in decode_records(query("common", count=3).body)), [b"0", b"1", b"2"])
        self.assertEqual([r.body for r in decode_records(query(unique + "2", True).body)], [b"2"])
        frame = self.c.call(QUERY_MESSAGE, {"topic": "Keys", "key": "order", "maxNum": 1, "beginTimestamp": 0, "endTimestamp": 1 << 50})
        self.assertEqual(frame.code, 22)

    def await_message(self, topic, offset):
        """The message at a queue offset of queue 0, which comes later."""
        end = time.monotonic() + 20
        while time.monotonic() < end:
            frame = self.c.pull(topic, 0, offset, count=1)
            if frame.code == 0:
                return decode_records(frame.body)[0]
            time.sleep(0.02)
        self.fail("no message at %d of %s" % (offset, topic))

    def test_message_sent_back_comes_again_and_ends_as_a_dead_letter(self):
        heartbeat = {"clientID": "c2", "consumerDataSet": [{"groupName": "back", "consumeType": "CONSUME_PASSIVELY", "messageModel": "CLUSTERING",
                     "consumeFromWhere": "CONSUME_FROM_FIRST_OFFSET", "subscriptionDataSet": []}], "producerDataSet": []}
        self.assertEqual(self.c.call(HEARTBEAT, {}, json.dumps(heartbeat).encode()).code, 0)
        answer = self.c.send("Back", b"hard", properties={"TAGS": "A", "KEYS": "k"})
        phys, origin = int(answer.ext["msgId"][16:], 16), answer.ext["msgId"]
        ext = {"group": "back", "delayLevel": 1, "originTopic": "Back", "originMsgId": "x", "unitMode": "false", "maxReconsumeTimes": 2}
        for tries in (1, 2):
            self.assertEqual(self.c.call(SEND_BACK, dict(ext, offset=phys)).code, 0)
            record = self.await_message("%RETRY%back", tries - 1)
            self.assertEqual((record.body, record.reconsume, record.properties["RETRY_TOPIC"], record.properties["ORIGIN_MESSAGE_ID"],
                              record.properties["TAGS"]), (b"hard", tries, "Back", origin, "A"))
            phys = record.phys_offset
        self.assertEqual(self.c.call(SEND_BACK, dict(ext, offset=phys)).code, 0)
        [dead] = self.c.pull_all("%DLQ%back", 0)
        self.assertEqual((dead.body, dead.reconsume), (b"hard", 3))
        self.assertEqual((dead.properties["CJMQ_DEAD_REASON"], dead.properties["CJMQ_DEAD_TRIES"]),
                         ("2 tries are over (maxReconsumeTimes)", "3"))
        self.assertEqual(self.c.call(SEND_BACK, dict(ext, offset=1 << 40)).code, 1)
        self.assertEqual(self.c.call(SEND_BACK, dict(ext, offset=phys, group="nobody")).code, 26)


class Malformed(unittest.TestCase):
    """Requests damaged at random: each is answered or its connection closed, and the broker serves on."""

    def test_damaged_requests_are_answered_or_refused(self):
        seed = random.randrange(1 << 32)
        rng = random.Random(seed)
        batch = encode_batch([(b"one", {"KEYS": "k"}), (b"two", {"TAGS": "t"}), (b"", {})])
        requests = [
            send_request("Damaged", b"body", properties={"KEYS": "k", "TAGS": "t"}), send_request("Damaged", b"body", code=SEND),
            send_request("Damaged", batch, code=SEND_BATCH, batch=True), send_request("%RETRY%group", b"x", reconsume=1),
            (PULL, {"consumerGroup": "g", "topic": "Damaged", "queueId": 0, "queueOffset": 0, "maxMsgNums": 32, "sysFlag": 4,
                    "subscription": "a || b", "subVersion": 1}, b""),
            (QUERY_OFFSET, {"consumerGroup": "g", "topic": "Damaged", "queueId": 0}, b""),
            (UPDATE_OFFSET, {"consumerGroup": "g", "topic": "Damaged", "queueId": 0, "commitOffset": 1}, b""),
            (SEARCH_OFFSET, {"topic": "Damaged", "queueId": 0, "timestamp": 1}, b""),
            (QUERY_MESSAGE, {"topic": "Damaged", "key": "k", "maxNum": 3, "beginTimestamp": 0, "endTimestamp": 1 << 50}, b""),
            (VIEW_MESSAGE, {"offset": 0}, b""),
            (SEND_BACK, {"group": "g", "offset": 0, "delayLevel": 0, "maxReconsumeTimes": 2}, b""),
        ]
        odd_values = ["", "-1", "99999999999999999999", "2147483648", "-9223372036854775808", "x", "true", "%", "a" * 300, "\u0001\u0002", "\u00e9"]
        with Broker() as broker:
            c = broker.connect()
            for n in range(3000):
                code, ext, body = rng.choice(requests)
                ext, body = dict(ext), bytearray(body)
                for _ in range(rng.randrange(3)):
                    key = rng.choice(list(ext))
                    if rng.random() < 0.3 and len(ext) > 1:
                        del ext[key]
                    else:
                        ext[key] = rng.choice(odd_values)
                for _ in range(rng.randrange(4)):
                    if body:
                        body[rng.randrange(len(body))] = rng.randrange(256)
                if rng.random() < 0.2:
                    del body[rng.randrange(len(body) + 1):]
                frame = c.call(code, ext, bytes(body))
                self.assertTrue(frame.code == 0 or frame.remark or frame.code in (19, 20, 21), (seed, n, frame))
            self.assertEqual(c.send("Damaged", b"fine").code, 0, "seed %d" % seed)
            for n in range(300):  # now the frame itself
                broken = bytearray(encode_frame(*rng.choice(requests), opaque=1))
                for _ in range(rng.randrange(1, 6)):
                    broken[rng.randrange(4, len(broken))] = rng.randrange(256)
                with broker.connect().sock as sock:
                    sock.sendall(broken)
            self.assertEqual(broker.connect().send("Damaged", b"fine").code, 0, "seed %d" % seed)


class Operation(unittest.TestCase):
    """Starts, stops and settings: each test has brokers of its own."""

    def test_restart_keeps_messages_topics_and_offsets(self):
        for flush in ("ASYNC_FLUSH", "SYNC_FLUSH"):
            broker = Broker(flushDiskType=flush)
            with broker:
                c = broker.connect()
                for i in range(50):
                    self.assertEqual(c.send("Keep", b"%d" % i, queue=i % 4).code, 0)
                query = {"consumerGroup": "keeper", "topic": "Keep", "queueId": 2}
                c.pull("Keep", 0, 0, group="keeper")
                self.assertEqual(c.call(UPDATE_OFFSET, dict(query, commitOffset=7)).code, 0)
                c.close()
                self.assertEqual(broker.stop(), 0, broker.stderr)
                self.assertFalse(os.path.exists(broker.folder + "/store/abort"))
                broker.start()
                c = broker.connect()
                self.assertEqual(c.call(QUERY_OFFSET, query).ext["offset"], "7")
                bodies = [r.body for q in range(4) for r in c.pull_all("Keep", q)]
                self.assertEqual(sorted(bodies, key=int), [b"%d" % i for i in range(50)])
                self.assertEqual(c.send("Keep", b"more", queue=0).ext["queueOffset"], "13")
                c.close()

    def test_sync_flush_acknowledges_what_consumers_see(self):
        with Broker(flushDiskType="SYNC_FLUSH") as broker:
            connections = [broker.connect() for _ in range(8)]
            held = broker.connect()
            connections[0].send("Sync", b"first")
            opaque = held.post_pull("Sync", 0, 1, suspend_ms=15000)
            for n in range(50):
                opaques = [(c, c.post(*send_request("Sync", b"x", queue=k % 4))) for k, c in enumerate(connections)]
                self.assertEqual([c.answer(o).code for c, o in opaques], [0] * len(opaques))
            self.assertEqual(held.answer(opaque).code, 0)
            self.assertEqual(sum(len(held.pull_all("Sync", q)) for q in range(4)), 401)
            code, ext, body = send_request("Sync", b"y", properties={"WAIT": "false"})
            self.assertEqual(held.call(code, ext, body).code, 0)

    def test_permission_decides_what_is_served(self):
        broker = Broker(brokerPermission=4)
        with broker:
            c = broker.connect()
            answer = c.send("Perm", b"x")
            self.assertEqual(answer.code, 16, answer)
            for part in ("127.0.0.1:%d" % broker.port, "READ", "Perm"):
                self.assertIn(part, answer.remark)
            c.close()
        with Broker(brokerPermission=2) as broker:
            c = broker.connect()
            self.assertEqual(c.send("Perm", b"x").code, 0)
            answer = c.pull("Perm", 0, 0)
            self.assertEqual((answer.code, "Perm" in answer.remark), (16, True), answer)

    def test_reserve_not_there_refuses_writes_and_serves_reads(self):
        broker = Broker()
        with broker:
            c = broker.connect()
            self.assertEqual(c.send("Full", b"before").code, 0)
            c.close()
            self.assertEqual(broker.stop(), 0)
            broker.settings["diskReserveBytes"] = 1 << 49
            broker.start()
            c = broker.connect()
            deadline = time.monotonic() + 10
            answer = c.send("Full", b"after")
            self.assertEqual(answer.code, 14, answer)
            self.assertIn("diskReserveBytes", answer.remark)
            self.assertIn(broker.folder, answer.remark)
            self.assertEqual([r.body for r in c.pull_all("Full", 0)], [b"before"])
            self.assertLess(time.monotonic(), deadline)

    def test_full_disk_refuses_writes_until_space_comes_back(self):
        if os.geteuid() != 0:
            self.skipTest("mounting a small file system needs root")
        mount = tempfile.mkdtemp(prefix="cjmq-disk-")
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "none", mount], capture_output=True).returncode != 0:
            os.rmdir(mount)
            self.skipTest("this machine does not let us mount a tmpfs")
        try:
            ballast = mount + "/ballast"
            with open(ballast, "wb") as f:
                f.write(b"\0" * (8 << 20))
            with Broker(storePathRootDir=mount + "/store", mappedFileSizeCommitLog=1 << 20, diskReserveBytes=2 << 20,
                        mappedFileSizeConsumeQueue=20000, messageIndexEnable="false") as broker:
                c = broker.connect()
                stored = 0
                while (answer := c.send("Disk", b"x" * 65536)).code == 0:
                    stored += 1
                    self.assertLess(stored, 500, "the disk never filled")
                self.assertEqual(answer.code, 14, answer)
                self.assertIn("diskReserveBytes", answer.remark)
                self.assertEqual(len(c.pull_all("Disk", 0)), stored)
                os.unlink(ballast)
                deadline = time.monotonic() + 5
                while c.send("Disk", b"x" * 65536).code != 0:
                    self.assertLess(time.monotonic(), deadline, "writes did not resume")
                self.assertEqual(len(c.pull_all("Disk", 0)), stored + 1)
        finally:
            subprocess.run(["umount", "-l", mount], check=True)
            os.rmdir(mount)

    def test_consumer_that_does_not_read_costs_bounded_memory(self):
        with Broker(connectionUnsentBytesMax=1 << 20, maxTransferBytesOnMessageInMemory=1 << 20) as broker:
            c = broker.connect()
            for _ in range(64):
                self.assertEqual(c.send("Slow", b"x" * 65536).code, 0)
            greedy = broker.connect()
            before = broker.memory("RssAnon")
            greedy.sock.setblocking(False)
            asked = 0
            try:  # until the broker stops reading us
                for asked in range(20000):
                    greedy.sock.send(encode_frame(PULL, {
                        "consumerGroup": "g", "topic": "Slow", "queueId": 0, "queueOffset": 0, "maxMsgNums": 64, "sysFlag": 4,
                        "subscription": "*"}, opaque=asked))
            except BlockingIOError:
                pass
            self.assertEqual(c.send("Slow", b"others are served").code, 0)
            self.assertLess(broker.memory("RssAnon") - before, 16 << 20)
            self.assertLess(asked, 19999, "the broker went on reading")
            greedy.close()

    def test_port_in_use_is_named_with_its_setting(self):
        with Broker() as first:
            second = Broker(listenPort=first.port)
            status, text = second.start_fails()
            shutil.rmtree(second.folder)
            self.assertNotEqual(status, 0)
            for part in (str(first.port), "listenPort"):
                self.assertIn(part, text)

    def test_load_generator_gives_up_where_every_send_is_refused(self):
        with Broker(brokerPermission=4) as broker:
            command = [os.environ.get("MQBENCH", "mqbench"), "-b", "127.0.0.1:%d" % broker.port, "-t", "tr", "-N", "1"]
            done = subprocess.run(command, capture_output=True, text=True, timeout=30)
            self.assertEqual(done.returncode, 1, done.stderr)
            self.assertIn("NO_PERMISSION", done.stderr)
            self.assertRegex(done.stderr, r"given up after 0 of 1 messages: no send succeeded for 1\d s, \d+ failed")

    def test_load_generator_waits_for_a_broker_that_is_away_for_a_moment(self):
        with Broker() as broker:
            command = [os.environ.get("MQBENCH", "mqbench"), "-b", "127.0.0.1:%d" % broker.port, "-t", "tr", "-N", "1500", "-r", "500"]
            bench = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            time.sleep(1)
            broker.kill()
            time.sleep(1)
            broker.start()
            out, err = bench.communicate(timeout=30)
            self.assertEqual(bench.returncode, 0, err)
            self.assertIn("1500 messages", out)

    def test_two_brokers_on_one_store_are_refused(self):
        with Broker() as first:
            second = Broker(storePathRootDir=first.folder + "/store")
            status, text = second.start_fails()
            shutil.rmtree(second.folder)
            self.assertNotEqual(status, 0)
            self.assertIn(first.folder + "/store", text)
            c = first.connect()
            self.assertEqual(c.send("Mine", b"x").code, 0)
            c.close()

    def test_wrong_settings_are_named(self):
        broker = Broker()
        conf = broker.folder + "/broker.conf"
        with open(conf, "w") as f:
            f.write("# a comment\nlistenPort=x1\n")
        done = subprocess.run([mqbroker(), "-c", conf], capture_output=True, text=True)
        self.assertNotEqual(done.returncode, 0)
        self.assertRegex(done.stderr, r"broker\.conf:2.*listenPort.*x1")
        for setting, parts in (("deleteWhen=25", ["deleteWhen=25", "00 to 23"]), ("brokerIP1=no such host!", ["brokerIP1=no such host!"]),
                               ("brokerRole=SLAVE", ["brokerRole=SLAVE", "brokerId"]), ("noSuchSetting=1", ["noSuchSetting"]),
                               ("maxMessageSize=99000000", ["sendBatchBytesMax", "maxMessageSize=99000000"])):
            done = subprocess.run([mqbroker(), "--" + setting, "--logDir=" + broker.folder], capture_output=True, text=True)
            self.assertNotEqual(done.returncode, 0, setting)
            for part in parts:
                self.assertIn(part, done.stderr)
        shutil.rmtree(broker.folder)

    def test_stop_with_held_pulls_and_open_connections_is_clean(self):
        broker = Broker(flushDiskType="SYNC_FLUSH")
        with broker:
            c = broker.connect()
            c.send("Stop", b"x")
            for queue in range(4):
                c.post_pull("Stop", queue, 1 if queue == 0 else 0, suspend_ms=15000)
            c.call(MIN_OFFSET, {"topic": "Stop", "queueId": 0})
            begin = time.monotonic()
            self.assertEqual(broker.stop(), 0, broker.stderr)
            self.assertLess(time.monotonic() - begin, 5)
            self.assertFalse(os.path.exists(broker.folder + "/store/abort"))
            self.assertEqual([f for f in os.listdir(broker.folder + "/log") if f.endswith(".pid")], [])

    def test_several_lanes_wake_each_others_pulls(self):
        with Broker(reactorThreads=4) as broker:
            setup = broker.connect()
            setup.send("Lanes", b"0")
            pulls = [broker.connect() for _ in range(8)]
            for n in range(1, 100):
                opaques = [c.post_pull("Lanes", 0, n, group="g%d" % i, suspend_ms=15000) for i, c in enumerate(pulls)]
                setup.send("Lanes", b"%d" % n)
                for c, o in zip(pulls, opaques):
                    self.assertEqual([r.body for r in decode_records(c.answer(o, 10).body)], [b"%d" % n])


class SickDisk(unittest.TestCase):
    """SYNC_FLUSH on a disk that is slow, hangs or fails: a preloaded fdatasync() follows a file's orders."""

    def setUp(self):
        library = os.environ.get("SICK_DISK_LIBRARY")
        if not library:
            self.skipTest("SICK_DISK_LIBRARY does not name the library to preload")
        self.broker = Broker(flushDiskType="SYNC_FLUSH", syncFlushTimeout=300)
        self.orders = self.broker.folder + "/orders"
        self.broker.environment.update(LD_PRELOAD=library, SICK_DISK=self.orders, ASAN_OPTIONS="verify_asan_link_order=0")
        self.broker.start()
        self.c = self.broker.connect()

    def tearDown(self):
        self.order("healthy")
        status = self.broker.stop()
        shutil.rmtree(self.broker.folder)
        self.assertEqual(status, 0, self.broker.stderr)

    def order(self, text):
        with open(self.orders + ".new", "w") as f:
            f.write(text)
        os.rename(self.orders + ".new", self.orders)

    def hang(self):
        """After a slow flush the loop leaves flushing to the flusher and can tell the time."""
        self.order("slow 50")
        self.assertEqual(self.c.send("Sick", b"slow").code, 0)
        self.order("hang")

    def test_hanging_disk_answers_10_and_shows_the_message_when_it_is_durable(self):
        self.hang()
        begin = time.monotonic()
        answer = self.c.send("Sick", b"late")
        self.assertEqual(answer.code, 10, answer)
        self.assertGreaterEqual(time.monotonic() - begin, 0.3)
        self.assertEqual((answer.ext["queueOffset"], answer.ext["queueId"], len(answer.ext["msgId"])), ("1", "0", 32))
        self.assertIn("syncFlushTimeout=300", answer.remark)
        held = self.c.post_pull("Sick", 0, 1, suspend_ms=15000)
        self.assertEqual(self.c.call(MAX_OFFSET, {"topic": "Sick", "queueId": 0}).ext["offset"], "1")
        self.assertEqual(self.c.send("Sick", b"nobody waits", properties={"WAIT": "false"}).code, 0)
        self.order("healthy")
        self.assertEqual(decode_records(self.c.answer(held).body)[0].body, b"late")
        self.assertEqual([r.body for r in pull_until(self.c, "Sick", 0, 3)], [b"slow", b"late", b"nobody waits"])
        self.assertEqual(self.c.send("Sick", b"well").code, 0)

    def test_reads_and_other_clients_are_served_while_the_disk_hangs(self):
        self.hang()
        waiting = self.c.post(*send_request("Sick", b"waits"))
        other = self.broker.connect()
        begin = time.monotonic()
        self.assertEqual(len(other.pull_all("Sick", 0)), 1)
        self.assertLess(time.monotonic() - begin, 0.25)
        self.order("healthy")
        self.assertEqual(self.c.answer(waiting).code, 0)

    def test_failed_flush_is_final_for_writes(self):
        self.assertEqual(self.c.send("Sick", b"before").code, 0)
        self.order("fail")
        opaques = [self.c.post(*send_request("Sick", b"%d" % i)) for i in range(20)]
        answers = [self.c.answer(o) for o in opaques]
        self.assertNotIn(0, [a.code for a in answers])
        self.assertTrue(all("fdatasync" in a.remark for a in answers), answers)
        self.order("healthy")
        answer = self.c.send("Sick", b"after")
        self.assertEqual(answer.code, 14, answer)
        self.assertIn("fdatasync", answer.remark)
        self.assertEqual([r.body for r in self.c.pull_all("Sick", 0)], [b"before"])

    def test_second_signal_ends_a_broker_that_waits_for_the_disk(self):
        self.hang()
        self.c.post(*send_request("Sick", b"x"))
        self.c.call(MAX_OFFSET, {"topic": "Sick", "queueId": 0})
        process = self.broker.process
        process.terminate()
        with self.assertRaises(subprocess.TimeoutExpired):  # it waits for the message to be durable
            process.wait(0.3)
        process.terminate()
        self.assertEqual(process.wait(5), 128 + signal.SIGTERM)
        self.broker.reap()
        self.order("healthy")
        self.broker.start()
        self.c = self.broker.connect()
        self.assertEqual(pull_until(self.c, "Sick", 0, 1)[0].body, b"slow")

    def test_more_waiting_sends_than_allowed_are_refused_as_busy(self):
        self.broker.stop()
        self.broker.settings.update(sendsWaitingMax=10, syncFlushTimeout=60000)
        self.broker.start()
        self.c = self.broker.connect()
        self.hang()
        opaques = [self.c.post(*send_request("Sick", b"x")) for _ in range(15)]
        refused = [self.c.answer(o) for o in opaques[10:]]
        self.assertEqual([a.code for a in refused], [2] * 5, refused)
        self.assertIn("sendsWaitingMax=10", refused[0].remark)
        self.order("healthy")
        self.assertEqual([self.c.answer(o).code for o in opaques[:10]], [0] * 10)


if __name__ == "__main__":
    unittest.main(verbosity=2)
