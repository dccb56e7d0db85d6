"""The retry database in trouble while the broker runs, and a slave that takes over in the middle of waiting messages.
MQBROKER and MQREGISTRY name the programs; arguments go to unittest."""
import ctypes
import os
import sqlite3
import unittest

import replication_test
from registry_test import eventually
from replication_test import APP, READER, TOPIC
from retry_test import FOREVER_MS, LATE_MS_MAX, LEVELS, await_records, await_rows, counters, heartbeat, listed, now_ms, retry, send_back
from rmq import *

DISK_BYTES = 16 << 20


class Database(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="cjmq-retry-")
        self.addCleanup(shutil.rmtree, self.folder, True)

    def broker(self, **settings):
        broker = Broker(folder=self.folder + "/broker", messageDelayLevel=LEVELS, **settings).start()
        self.addCleanup(lambda: broker.process and broker.kill())
        return broker, broker.connect()

    def send(self, c, numbers, delay_ms, size=10):
        posts = [c.post(*send_request("Later", b"%d " % n + b"x" * size, properties={"TIMER_DELAY_MS": str(delay_ms)})) for n in numbers]
        self.assertEqual({c.answer(o).code for o in posts}, {0})

    def numbers(self, records):
        return sorted(int(r.body.split()[0]) for r in records)

    def test_locked_by_another_program_delays_and_blocks_nothing(self):
        broker, c = self.broker(retryDatabaseTimeout=200)
        self.send(c, range(50), 1000)
        await_rows(c, "", 50)
        other = sqlite3.connect(broker.folder + "/store/retry/retry.db", timeout=5, isolation_level=None)
        self.addCleanup(other.close)
        other.execute("BEGIN IMMEDIATE")
        locked = time.monotonic()
        while time.monotonic() - locked < 2.5:  # past the time at which the first were due
            began = time.monotonic()
            self.assertEqual(c.send("Plain", b"x").code, 0)
            self.send(c, [1000], FOREVER_MS)
            self.assertLess(time.monotonic() - began, 1)
            time.sleep(0.01)
        eventually(lambda: "database is locked" in broker.log())
        other.execute("ROLLBACK")
        self.assertEqual(self.numbers(await_records(c, "Later", 50)), list(range(50)))
        eventually(lambda: c.call(7009, {"command": "stats", "user": "t"}).code == 0 and counters(c)["behind"] == 0)
        self.assertEqual(self.numbers(c.pull_all("Later", 0)), list(range(50)))

    def test_deleted_while_running_is_built_anew_from_the_log(self):
        broker, c = self.broker()
        self.send(c, range(30), 300)
        await_records(c, "Later", 30)
        self.send(c, range(30, 60), 2500)
        self.send(c, range(60, 70), FOREVER_MS)
        await_rows(c, "", 40)
        for end in ("", "-wal", "-shm"):
            if os.path.exists(broker.folder + "/store/retry/retry.db" + end):
                os.unlink(broker.folder + "/store/retry/retry.db" + end)
        self.assertEqual(self.numbers(await_records(c, "Later", 60)), list(range(60)))
        await_rows(c, "", 10)
        broker.kill()
        broker.start()
        c = broker.connect()
        self.assertEqual(len(await_rows(c, "", 10)), 10)
        self.assertEqual(self.numbers(c.pull_all("Later", 0)), list(range(60)))

    def test_folder_that_cannot_be_written_is_said_and_blocks_nothing(self):
        blocker = self.folder + "/a-file"
        with open(blocker, "w"):
            pass
        broker, c = self.broker(retryStore="sqlite:%s/retry.db" % blocker)
        self.send(c, range(10), 300)
        answer = c.call(7009, {"command": "stats", "user": "t"})
        self.assertEqual((answer.code, "not available" in answer.remark), (1, True), answer)
        self.assertIn("a-file", broker.log())
        os.unlink(blocker)
        os.mkdir(blocker)
        self.assertEqual(self.numbers(await_records(c, "Later", 10)), list(range(10)))

    def test_unknown_database_stops_the_start_with_the_setting(self):
        for url in ("oracle:x", "nonsense"):
            broker = Broker(folder=self.folder + "/broker", retryStore=url)
            status, text = broker.start_fails()
            self.assertEqual((status != 0, "retryStore=" + url in text), (True, True), text)

    def small_disk(self):
        """A file system of its own, of a few MB."""
        folder = self.folder + "/disk"
        os.mkdir(folder)
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.mount(b"tmpfs", folder.encode(), b"tmpfs", 0, b"size=%d" % DISK_BYTES) != 0:
            self.skipTest("needs CAP_SYS_ADMIN to mount a small tmpfs: " + os.strerror(ctypes.get_errno()))
        self.addCleanup(libc.umount2, folder.encode(), 2)
        return folder

    def test_full_disk_delays_and_loses_nothing(self):
        disk = self.small_disk()
        broker, c = self.broker(retryStore="sqlite:%s/retry.db" % disk)
        self.send(c, range(50), 1500)
        await_rows(c, "", 50)
        with open(disk + "/filler", "wb", buffering=0) as filler:
            try:
                while True:
                    filler.write(b"x" * 4096)
            except OSError:
                pass
        for first in range(100, 1000, 100):
            self.send(c, range(first, first + 100), 1000, size=3000)
        eventually(lambda: "full" in c.call(7009, {"command": "stats", "user": "t"}).remark)
        self.assertIn("full", broker.log())
        self.assertEqual(c.send("Plain", b"x").code, 0)
        os.unlink(disk + "/filler")
        wanted = list(range(50)) + list(range(100, 1000))
        self.assertEqual(self.numbers(await_records(c, "Later", len(wanted), timeout=30)), wanted)
        await_rows(c, "", 0)
        self.assertEqual(self.numbers(c.pull_all("Later", 0)), wanted)


class Takeover(replication_test.ByDocument):
    """A pair made by the broker document: the slave keeps the same rows, delivers nothing, and goes on when it is promoted."""

    def start(self, sync="SYNCHRONOUS"):
        first, second = self.start_pair(sync, messageDelayLevel=LEVELS)
        self.due = {}
        return first, second

    def send_later(self, c, numbers, delay_ms):
        posts = []
        for n in numbers:
            self.due[n] = now_ms() + delay_ms(n)
            posts.append(c.post(*send_request(TOPIC, b"%08d" % n, n % 4, {"TIMER_DELIVER_MS": str(self.due[n])}, APP)))
        self.assertEqual({c.answer(o).code for o in posts}, {0})

    def fail(self, c, numbers, level):
        """Messages that a consumer gives back."""
        heartbeat(c, READER, TOPIC)
        for n in numbers:
            answer = c.send(TOPIC, b"%08d" % n, group=APP)
            self.assertEqual(answer.code, 0, answer)
            [record] = c.pull_all(TOPIC, 0, int(answer.ext["queueOffset"]), int(answer.ext["queueOffset"]) + 1, READER)
            self.due[n] = now_ms() + 1000
            answer = send_back(c, record, READER, level)
            self.assertEqual(answer.code, 0, answer)

    def came(self, c):
        """number -> times in ms at which it was delivered, of what waited."""
        found = {}
        for topic, queues in ((TOPIC, 4), ("%RETRY%" + READER, 1)):
            for queue in range(queues):
                if c.pull(topic, queue, 0, READER).code == 17:
                    continue
                for r in c.pull_all(topic, queue, group=READER):
                    if "CJMQ_RETRY_ID" in r.properties:
                        found.setdefault(int(r.body), []).append(r.store_ms)
        return found

    def await_all(self, c):
        eventually(lambda: set(self.came(c)) == set(self.due))
        eventually(lambda: listed(c) == [])
        came = self.came(c)
        twice = {n: times for n, times in came.items() if len(times) != 1}
        self.assertEqual(twice, {})
        early = {n: times[0] - self.due[n] for n, times in came.items() if times[0] < self.due[n]}
        self.assertEqual(early, {})
        return came

    def test_slave_has_the_same_rows_and_delivers_nothing(self):
        first, second = self.start()
        c, at_slave = first.connect(), second.connect()
        self.send_later(c, range(30), lambda n: 600 if n < 10 else FOREVER_MS)
        rows = await_rows(c, "", 20)
        eventually(lambda: listed(at_slave) == rows)
        self.assertIn("role slave", retry(at_slave, "stats"))
        self.assertEqual(counters(at_slave)["delivered"], 0)
        eventually(lambda: counters(c)["delivered"] == 10)
        refused = at_slave.call(7009, {"command": "drop " + rows[0]["ID"], "user": "t"})
        self.assertEqual((refused.code, "slave" in refused.remark), (1, True), refused)
        retry(c, "drop " + rows[0]["ID"])
        retry(c, "delay %s --to 50d" % rows[1]["ID"])
        eventually(lambda: len(listed(c)) == 19 and listed(at_slave) == listed(c))
        self.await_same_log(first, second)

    def test_promoted_after_the_masters_death_goes_on_from_the_right_row(self):
        for round in range(3):
            with self.subTest(round=round):
                first, second = self.start() if round == 0 else (second, first)
                c = first.connect()
                base = round * 1000
                self.send_later(c, range(base, base + 300), lambda n: 400 + (n % 300) * 8)
                self.fail(c, range(base + 300, base + 310), 1)
                eventually(lambda: len(self.came(c)) > base / 1000 * 310 + 40)  # some are out, most wait
                first.kill()
                self.operator("broker promote jmq102_s")
                self.await_state(second, "MASTER")
                came = self.await_all(second.connect())
                self.assertEqual(len(came), (round + 1) * 310)
                first.start()
                self.await_state(first, "SLAVE")
                self.await_in_step(second)
                self.await_same_log(first, second)
                eventually(lambda: listed(first.connect()) == [])

    def test_planned_promotion_under_deliveries(self):
        first, second = self.start()
        self.send_later(first.connect(), range(400), lambda n: 300 + n * 6)
        c = first.connect()
        eventually(lambda: len(self.came(c)) > 50)
        self.operator("broker promote jmq102_s")
        self.await_state(second, "MASTER")
        self.await_state(first, "SLAVE")
        came = self.await_all(second.connect())
        late = max(times[0] - self.due[n] for n, times in came.items())
        print("planned promotion: 400 messages, the last late by %d ms" % late)
        self.await_same_log(first, second)
        self.assertEqual(counters(first.connect())["waiting"], 0)


for name in [n for n in dir(replication_test.ByDocument) if n.startswith("test_")]:
    setattr(Takeover, name, None)  # those of the base run in replication_test.py


if __name__ == "__main__":
    unittest.main(verbosity=2)
