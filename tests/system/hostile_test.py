"""Clients that mean harm, or do not know better, against a real broker. MQBROKER names the program; arguments go to
unittest."""
import json
import threading
import time
import unittest

from rmq import *

UPDATE_CONFIG, LOCK = 25, 41


def heartbeat(client_id, groups):
    return json.dumps({"clientID": client_id, "producerDataSet": [], "consumerDataSet": [
        {"groupName": g, "consumeType": "CONSUME_PASSIVELY", "messageModel": "CLUSTERING",
         "consumeFromWhere": "CONSUME_FROM_LAST_OFFSET", "subscriptionDataSet": []} for g in groups]}).encode()


def pull_header(**changes):
    return dict({"consumerGroup": "g", "topic": "Small", "queueId": 0, "queueOffset": 0, "maxMsgNums": 1, "sysFlag": 4,
                 "commitOffset": 0, "suspendTimeoutMillis": 0, "subscription": "*", "subVersion": 1}, **changes)


class Hostile(unittest.TestCase):
    def setUp(self):
        self.broker = Broker().start()
        self.addCleanup(self.stop)
        self.c = self.broker.connect()

    def stop(self):
        status = self.broker.stop()
        shutil.rmtree(self.broker.folder)
        self.assertEqual(status, 0, self.broker.stderr)

    def test_client_that_does_not_read_small_replies_costs_bounded_memory(self):
        """What a reply keeps in memory counts, not only its bytes: 100 bytes once held 3 KB."""
        for _ in range(4):
            self.assertEqual(self.c.send("Small", b"x").code, 0)
        before = self.broker.memory("RssAnon")
        greedy = self.broker.connect().sock
        greedy.settimeout(1)
        asked, frame = 0, encode_frame(PULL, pull_header())
        try:  # until the broker stops reading us
            while asked < 400000:
                greedy.sendall(frame * 100)
                asked += 100
        except TimeoutError:
            pass
        self.assertLess(asked, 400000, "the broker went on reading")
        self.assertEqual(self.c.send("Small", b"others are served").code, 0)
        # connectionUnsentBytesMax is 32 MiB; the address sanitizer doubles what is asked for
        self.assertLess(self.broker.memory("RssAnon") - before, 96 << 20, "%d pulls asked" % asked)

    def test_heartbeat_with_thousands_of_groups_is_answered_soon(self):
        """Each new group once cost two files written and synced, on the event loop."""
        begin = time.monotonic()
        self.assertEqual(self.c.call(HEARTBEAT, {}, heartbeat("c@1", ["group%05d" % i for i in range(5000)])).code, 0)
        self.assertLess(time.monotonic() - begin, 10)
        config = self.broker.folder + "/store/config/"
        with open(config + "topics.json") as f:
            self.assertIn("%RETRY%group04999", json.load(f)["topicConfigTable"])
        deadline = time.monotonic() + 10  # groups are saved behind the answer
        while True:
            try:
                with open(config + "subscriptionGroup.json") as f:
                    if "group04999" in json.load(f)["subscriptionGroupTable"]:
                        break
            except FileNotFoundError:
                pass
            self.assertLess(time.monotonic(), deadline, "the groups were not saved")
            time.sleep(0.02)

    def test_longest_hold_time_is_held(self):
        self.assertEqual(self.c.send("Small", b"x").code, 0)
        held = self.c.post(PULL, pull_header(queueOffset=1, sysFlag=6, suspendTimeoutMillis=(1 << 63) - 1))
        self.assertEqual(self.c.send("Small", b"y").code, 0)
        self.assertEqual(self.c.answer(held).code, 0)

    def test_lock_of_what_is_no_queue_is_left_out(self):
        good = {"topic": "Small", "brokerName": "b", "queueId": 3}
        queues = [None, 7, "x", {}, {"queueId": 1}, {"topic": "Small"}, {"topic": "Small", "queueId": 1e300},
                  {"topic": "Small", "queueId": -1}, good]
        answer = self.c.call(LOCK, {}, json.dumps({"consumerGroup": "g", "clientId": "c", "mqSet": queues}).encode())
        self.assertEqual((answer.code, json.loads(answer.body)), (0, {"lockOKMQSet": [good]}))


class SeveralLanes(unittest.TestCase):
    def test_settings_changed_by_several_clients_at_once(self):
        """Each change frees what the one before had noted: two at once once freed it twice."""
        with Broker(reactorThreads=4) as broker:
            def change(connection):
                for size in range(2000):
                    answers.append(connection.call(UPDATE_CONFIG, {}, b"maxMessageSize=%d\n" % (4000000 + size)).code)
            answers = []
            threads = [threading.Thread(target=change, args=(broker.connect(),)) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            self.assertEqual((len(answers), set(answers)), (8000, {0}))


if __name__ == "__main__":
    unittest.main()
