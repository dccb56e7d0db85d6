"""Kills the broker with SIGKILL at random moments while messages wait and come due, and spoils its database - round after round on one store.

Each round sends delayed messages and gives failed ones back, for 0 to 3 s from then, so that what is due, in flight, stored and not yet
in the database differs at every kill. At the end, when all that was acknowledged has come:

  1. every acknowledged message lies in its target: none was lost;
  2. no message lies there twice, acknowledged or not: a row is delivered once per log;
  3. none came before its time, and no row is left.

Some rounds begin with a database that was deleted, is garbage, or ends in the middle; in some another program locks it for a while.
Where the log ends with an append of due messages, it is sometimes torn as a machine without power leaves it: some of the messages are
there, the record that says so is not.
Usage: retry_crash_test.py [ROUNDS [SEED]]; MQBROKER names the program."""
import random
import re
import sqlite3
import threading
import urllib.parse

from retry_test import await_records, counters, heartbeat, listed, now_ms, send_back
from rmq import *

TOPIC, SOURCE, GROUP, QUEUES = "Later", "Failing", "group", 3
LEVELS = "1s 2s 1s 3s 2s 1s"
SETTLE_S = 60


class Ledger:
    """What was asked for, by the number that each body begins with."""

    def __init__(self):
        self.next = 0
        self.due = {}           # number -> earliest time in ms at which it may come
        self.acknowledged = set()

    def number(self, due_ms):
        self.next += 1
        self.due[self.next] = due_ms
        return self.next


class Traffic:
    """One connection, many requests at once."""

    def __init__(self, broker, ledger, rng):
        self.connection, self.ledger, self.rng = broker.connect(), ledger, rng
        self.in_flight = {}  # opaque -> number
        self.refused = None

    def prepare(self, count):
        """Messages that a consumer will fail on: records of SOURCE."""
        heartbeat(self.connection, GROUP, SOURCE)
        numbers = [self.ledger.number(None) for _ in range(count)]
        posts = [self.connection.post(*send_request(SOURCE, b"%d" % n)) for n in numbers]
        begin = min(int(self.connection.answer(o).ext["queueOffset"]) for o in posts)
        return self.connection.pull_all(SOURCE, 0, begin)

    def delay(self):
        level = self.rng.random() < 0.3
        delay_ms = 1000 * self.rng.randrange(1, 3) if level else self.rng.choice((self.rng.randrange(1, 300), self.rng.randrange(1, 3000)))
        number = self.ledger.number(now_ms() + delay_ms)
        properties = {"DELAY": str(delay_ms // 1000)} if level else {"TIMER_DELIVER_MS": str(self.ledger.due[number])}
        body = b"%d " % number + b"x" * self.rng.choice((10, 100, 3000))
        code, ext, body = send_request(TOPIC, body, number % QUEUES, properties, "app%d" % (number % 7), queues=QUEUES)
        self.post(number, code, ext, body)

    def fail(self, record):
        number, level = int(record.body), self.rng.randrange(1, 4)
        self.ledger.due[number] = now_ms() + 1000 * (1, 2, 1)[level - 1]
        ext = {"offset": record.phys_offset, "group": GROUP, "delayLevel": level, "originTopic": SOURCE, "unitMode": "false"}
        self.post(number, SEND_BACK, ext)

    def post(self, number, code, ext, body=b""):
        self.in_flight[self.connection.post(code, ext, body)] = number

    def take_answers(self):
        while (frame := self.connection.take_frame()) is not None:
            number = self.in_flight.pop(frame.opaque, None)
            if number is None:
                continue  # one that was only prepared
            if frame.code == 0:
                self.ledger.acknowledged.add(number)
            else:
                self.refused = self.refused or frame

    def run(self, seconds):
        """Sends for so long, then waits until the connection ends; answers that lie in the socket count."""
        quiet = time.monotonic() + seconds
        try:
            failing = self.prepare(60)
            while True:
                for _ in range(40 - len(self.in_flight) if time.monotonic() < quiet else 0):
                    if failing and self.rng.random() < 0.3:
                        self.fail(failing.pop())
                    else:
                        self.delay()
                time.sleep(0.01)
                if (self.in_flight or time.monotonic() >= quiet) and not self.connection.receive():
                    break
                self.take_answers()
        except (ConnectionError, TimeoutError):
            while self.connection.receive():
                pass
        self.take_answers()
        assert self.refused is None, "refused: %r" % self.refused


def spoil(folder, rng):
    """What may happen to a database file while the broker is down. Returns what did."""
    path = folder + "/store/retry/retry.db"
    how = rng.choice(("left as it is",) * 6 + ("deleted", "garbage", "cut short", "emptied", "its journal lost"))
    if not os.path.exists(path) or how == "left as it is":
        return "database left as it is"
    if how == "deleted":
        shutil.rmtree(folder + "/store/retry")
    elif how == "its journal lost":
        for end in ("-wal", "-shm"):
            if os.path.exists(path + end):
                os.unlink(path + end)
    else:
        data = b"" if how == "emptied" else rng.randbytes(50000)
        if how == "cut short":
            with open(path, "rb") as f:
                data = f.read()
            data = data[:len(data) // 2]
        with open(path, "wb") as f:
            f.write(data)
        if how != "cut short":
            for end in ("-wal", "-shm"):
                if os.path.exists(path + end):
                    os.unlink(path + end)
    return "database " + how


def records_of(path):
    """(offset in the file, record) of a log file, up to its end."""
    with open(path, "rb") as f:
        data = f.read()
    found, at = [], 0
    while at + 8 <= len(data):
        size, magic = struct.unpack(">II", data[at:at + 8])
        if size == 0 or magic == 0xCBD43194:
            break
        found.append((at, Record(data[at:at + size])))
        at += size
    return found


def tear(folder, rng):
    """Loses the end of the last append, if that is a delivery: nobody was told of it. Returns what was done."""
    for path in sorted((folder + "/store/commitlog/" + name for name in os.listdir(folder + "/store/commitlog")), reverse=True):
        try:
            records = records_of(path)
        except (AssertionError, struct.error, UnicodeDecodeError, IndexError):
            return "log torn by itself"
        if records:
            break
    else:
        return "log empty"
    if records[-1][1].topic != "CJMQ_RETRY_OP":
        return "log ends elsewhere"
    ids = set(re.findall(r"\d+", records[-1][1].body.decode()))
    first = len(records) - 1
    while first > 0 and records[first - 1][1].properties.get("CJMQ_RETRY_ID") in ids:
        first -= 1
    lose = rng.randrange(first, len(records))
    with open(path, "r+b") as f:
        f.seek(records[lose][0] + rng.randrange(0, 60))
        end = records[-1][0] + records[-1][1].size
        f.write(b"\0" * (end - f.tell()))
    return "%d of %d deliveries lost, and their op record" % (len(records) - 1 - lose if lose < len(records) - 1 else 0, len(records) - 1 - first)


def lock_database(folder, seconds):
    """Another program holds the write lock for a while."""
    database = sqlite3.connect("file:" + urllib.parse.quote(folder + "/store/retry/retry.db"), uri=True, timeout=2, isolation_level=None)
    try:
        database.execute("BEGIN IMMEDIATE")
        time.sleep(seconds)
        database.execute("ROLLBACK")
    except sqlite3.OperationalError:
        pass  # the broker holds it, or is gone
    finally:
        database.close()


def run_round(broker, ledger, rng):
    what = [spoil(broker.folder, rng)]
    broker.settings["flushDiskType"] = rng.choice(("SYNC_FLUSH", "ASYNC_FLUSH"))
    what.append(broker.settings["flushDiskType"])
    began = time.monotonic()
    broker.start()
    start_ms = (time.monotonic() - began) * 1000
    seconds = rng.uniform(0.1, 1.6)
    timer = threading.Timer(seconds, broker.process.kill)
    locker = None
    if rng.random() < 0.2 and os.path.exists(broker.folder + "/store/retry/retry.db"):
        locker = threading.Thread(target=lock_database, args=(broker.folder, seconds * rng.random()))
        locker.start()
        what.append("database locked")
    traffic = Traffic(broker, ledger, rng)
    before = len(ledger.acknowledged)
    timer.start()
    traffic.run(seconds * rng.choice((2, rng.random())))
    timer.join()
    if locker is not None:
        locker.join()
    broker.reap()
    if rng.random() < 0.5:
        what.append(tear(broker.folder, rng))
    return "%d acknowledged; up in %d ms, killed after %.2f s; %s" % (len(ledger.acknowledged) - before, start_ms, seconds, ", ".join(what))


def delivered(connection):
    """number -> places and times at which it came."""
    found = {}
    for topic, queues in ((TOPIC, QUEUES), ("%RETRY%" + GROUP, 1)):
        for queue in range(queues):
            for r in connection.pull_all(topic, queue):
                found.setdefault(int(r.body.split()[0]), []).append((topic, r.phys_offset, r.store_ms, r.properties.get("CJMQ_RETRY_ID", "at once")))
    return found


def verify(broker, ledger):
    connection = broker.connect()
    deadline = time.monotonic() + SETTLE_S
    while True:
        found = delivered(connection)
        lost = ledger.acknowledged - set(found)
        if not lost or time.monotonic() > deadline:
            break
        time.sleep(0.2)
    assert not lost, "%d of %d acknowledged messages did not come, the first: %s" % (len(lost), len(ledger.acknowledged), sorted(lost)[:5])
    while listed(connection, "--state waiting"):
        assert time.monotonic() < deadline, "rows are left: %r" % listed(connection, "--state waiting")[:3]
        time.sleep(0.2)
    found = delivered(connection)
    twice = {n: places for n, places in found.items() if len(places) > 1}
    assert not twice, "%d messages came twice, one of them: %r" % (len(twice), sorted(twice.items())[0])
    for number, [(_, _, store_ms, _)] in found.items():
        due_ms = ledger.due[number]
        assert store_ms >= due_ms, "message %d came %d ms too early" % (number, due_ms - store_ms)
    assert connection.pull("%DLQ%" + GROUP, 0, 0).code == 17, "something became a dead letter"
    return len(found)


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1 << 32)
    print("retry crash test: %d rounds, seed %d" % (rounds, seed), flush=True)
    rng, ledger = random.Random(seed), Ledger()
    broker = Broker(messageDelayLevel=LEVELS, mappedFileSizeCommitLog=1 << 20, flushConsumeQueueThoroughInterval=300,
                    retryDatabaseTimeout=300)
    passed = False
    try:
        for n in range(rounds):
            print("round %d: %s" % (n, run_round(broker, ledger, rng)), flush=True)
        broker.start()
        came = verify(broker, ledger)
        print("at the end: %r" % counters(broker.connect()))
        assert broker.stop() == 0
        print("%d asked for, %d acknowledged, %d came: none lost, none twice, none early" % (ledger.next, len(ledger.acknowledged), came))
        assert len(ledger.acknowledged) > rounds * 20, "too few messages were acknowledged for this to mean anything"
        passed = True
    finally:
        if broker.process is not None:
            broker.kill()
        if passed:
            shutil.rmtree(broker.folder)
        else:
            print("FAILED with seed %d; the store is left in %s" % (seed, broker.folder), flush=True)


if __name__ == "__main__":
    main()
