"""Kills brokers with SIGKILL at random moments while one group has its failed messages kept by two others - round after round on one set
of stores. kill -9 is no loss of power: what a log was given is in it.

Each round gives messages back to `origin` (retryType REMOTE), for 1 to 3 s from then, and kills it, or one of the groups that keep them
(`keeper`, `other`), or several; sometimes the retry database of one is deleted while it is down, and sometimes a keeper stands still for
longer than origin waits for it. At the end, when all that was acknowledged has come:

  1. every acknowledged message lies in the app's retry topic of some group: none was lost;
  2. no message lies there twice, in the same group or in two: none was doubled by being asked for again;
  3. none came before its time, no row is left anywhere, and most of them came by way of a keeper.
Usage: retry_remote_crash_test.py [ROUNDS [SEED]]; MQBROKER and MQREGISTRY name the programs."""
import random
import threading

from registry_test import Console, Registry
from retry_crash_test import Ledger
from retry_test import counters, heartbeat, listed, now_ms
from rmq import *

SOURCE, GROUP = "Failing", "group"
LEVELS_MS = (1000, 2000, 3000)
GROUPS = ("origin", "keeper", "other")
SETTLE_S = 60
PER_ROUND = 150


def start_cluster(folder):
    registry = Registry(folder + "/registry")
    os.mkdir(registry.folder)
    registry.start()
    brokers = {name: Broker(folder=folder + "/" + name, brokerName="", namesrvAddr="127.0.0.1:%d" % registry.port, telnetPort=0,
                            messageDelayLevel="1s 2s 3s", mappedFileSizeCommitLog=1 << 20, flushConsumeQueueThoroughInterval=300,
                            retryRemoteTimeout=200) for name in GROUPS}
    console = Console(registry.telnet_port)
    document = [{"alias": name + "_m", "ip": "127.0.0.1", "port": b.port, "permission": "FULL",
                 "retryType": "REMOTE" if name == "origin" else "DB"} for name, b in brokers.items()]
    for line in ("broker set " + json.dumps(document), 'topic set [{"topic":"%s","groups":["origin"],"queues":1}]' % SOURCE):
        assert json.loads(console.command(line))["status"] == 0
    console.close()
    return registry, brokers


class Traffic:
    """Gives failed messages back, many at once, and notes which were acknowledged."""

    def __init__(self, broker, ledger, rng):
        self.broker, self.ledger, self.rng = broker, ledger, rng
        self.in_flight, self.before = {}, len(ledger.acknowledged)

    def take_answers(self):
        while (frame := self.c.take_frame()) is not None:
            number = self.in_flight.pop(frame.opaque, None)  # None: one that was only prepared
            if number is not None and frame.code == 0:
                self.ledger.acknowledged.add(number)

    def records(self):
        heartbeat(self.c, GROUP, SOURCE)
        while self.c.send("Other", b"x").code != 0:  # it takes its role
            time.sleep(0.01)
        posts = [self.c.post(*send_request(SOURCE, b"%d" % self.ledger.number(None) + b" " * self.rng.choice((1, 50, 2000))))
                 for _ in range(PER_ROUND)]
        begin = min(int(self.c.answer(o).ext["queueOffset"]) for o in posts)
        return self.c.pull_all(SOURCE, 0, begin)

    def give_back(self, record):
        number, level = int(record.body), self.rng.randrange(3)
        self.ledger.due[number] = now_ms() + LEVELS_MS[level]
        ext = {"offset": record.phys_offset, "group": GROUP, "delayLevel": level + 1, "originTopic": SOURCE, "unitMode": "false"}
        self.in_flight[self.c.post(SEND_BACK, ext)] = number

    def run(self, until):
        """Returns how many were acknowledged; what lies in the socket when the broker is gone counts."""
        try:
            self.c = self.broker.connect(timeout=5)
            for record in self.records():
                if time.monotonic() > until:
                    break
                self.give_back(record)
                if self.rng.random() < 0.2:
                    time.sleep(0.01)
            while self.in_flight and self.c.receive():
                self.take_answers()
        except (ConnectionError, TimeoutError):
            try:
                while self.c.receive():
                    pass
                self.take_answers()
            except (AttributeError, ConnectionError, TimeoutError):
                pass
        return len(self.ledger.acknowledged) - self.before


def stand_still(broker, seconds):
    try:
        broker.process.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
    finally:
        if broker.process.poll() is None:
            broker.process.send_signal(signal.SIGCONT)


def run_round(brokers, ledger, rng):
    down = [name for name, b in brokers.items() if b.process is None]
    what = []
    for name in down:
        path = brokers[name].folder + "/store/retry"
        if rng.random() < 0.2 and os.path.exists(path):
            shutil.rmtree(path)
            what.append("database of %s deleted" % name)
    rng.shuffle(down)
    late = None  # one that stays down for this round
    if "origin" in down and len(down) > 1 and rng.random() < 0.3:
        late = next(name for name in down if name != "origin")
        what.append(late + " still down")
    for name in down:
        if name != late:
            brokers[name].settings["flushDiskType"] = rng.choice(("SYNC_FLUSH", "ASYNC_FLUSH"))
            brokers[name].start()
    victims = rng.choice((["origin"], ["origin"], ["keeper"], ["other"], ["origin", "keeper"], ["origin", "other"], ["keeper", "other"], list(GROUPS)))
    victims = [v for v in victims if v != late]
    seconds = rng.uniform(0.1, 1.0)
    timers = [threading.Timer(seconds + (0 if i == 0 else rng.uniform(0, 0.3)), brokers[v].process.kill) for i, v in enumerate(victims)]
    still = next((n for n in ("keeper", "other") if n not in victims and n != late), None)
    if still is not None and rng.random() < 0.3:
        timers.append(threading.Timer(seconds * rng.random(), stand_still, (brokers[still], rng.uniform(0.1, 0.8))))
        what.append(still + " stands still")
    for t in timers:
        t.start()
    count = Traffic(brokers["origin"], ledger, rng).run(time.monotonic() + seconds)
    for t in timers:
        t.join()
    for v in victims:
        brokers[v].reap()
    return "%d acknowledged; %s killed after %.2f s%s" % (count, " and ".join(victims), seconds, "".join("; " + w for w in what))


def delivered(brokers):
    """number -> groups and times at which it came."""
    found = {}
    for name, broker in brokers.items():
        c = broker.connect()
        if c.pull("%RETRY%" + GROUP, 0, 0).code == 17:
            continue
        for r in c.pull_all("%RETRY%" + GROUP, 0):
            found.setdefault(int(r.body), []).append((name, r.phys_offset, r.store_ms))
    return found


def verify(brokers, ledger):
    deadline = time.monotonic() + SETTLE_S
    while True:
        found = delivered(brokers)
        left = {name: len(listed(b.connect(), "--state waiting")) for name, b in brokers.items()}
        lost = ledger.acknowledged - set(found)
        if (not lost and not any(left.values())) or time.monotonic() > deadline:
            break
        time.sleep(0.3)
    assert not lost, "%d of %d acknowledged messages did not come, the first: %s" % (len(lost), len(ledger.acknowledged), sorted(lost)[:5])
    assert not any(left.values()), "rows are left: %r" % left
    found = delivered(brokers)
    twice = {n: places for n, places in found.items() if len(places) > 1}
    assert not twice, "%d messages came twice, one of them: %r" % (len(twice), sorted(twice.items())[0])
    for number, [(_, _, store_ms)] in found.items():
        assert store_ms >= ledger.due[number], "message %d came %d ms too early" % (number, ledger.due[number] - store_ms)
    where = {name: sum(places[0][0] == name for places in found.values()) for name in GROUPS}
    return len(found), where


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 30
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1 << 32)
    print("retry remote crash test: %d rounds, seed %d" % (rounds, seed), flush=True)
    rng, ledger = random.Random(seed), Ledger()
    folder = tempfile.mkdtemp(prefix="cjmq-remote-crash-")
    registry, brokers = start_cluster(folder)
    passed = False
    try:
        for n in range(rounds):
            print("round %d: %s" % (n, run_round(brokers, ledger, rng)), flush=True)
        for b in brokers.values():
            if b.process is None:
                b.start()
        came, where = verify(brokers, ledger)
        print("at the end: %r" % counters(brokers["origin"].connect()))
        for name, b in brokers.items():
            assert b.stop() == 0, (name, b.stderr)
        print("%d asked for, %d acknowledged, %d came, %r: none lost, none twice, none early" % (ledger.next, len(ledger.acknowledged), came, where))
        assert len(ledger.acknowledged) > rounds * 20, "too few messages were acknowledged for this to mean anything"
        assert where["keeper"] + where["other"] > came / 2, "the other groups kept little: %r" % where
        passed = True
    finally:
        for b in brokers.values():
            if b.process is not None:
                b.kill()
        registry.stop()
        if passed:
            shutil.rmtree(folder)
        else:
            print("FAILED with seed %d; the stores are left in %s" % (seed, folder), flush=True)


if __name__ == "__main__":
    main()
