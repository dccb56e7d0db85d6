"""Faults of the four-node deployment (SYNCHRONOUS) under load: no message that was acknowledged may be missing afterwards.

usage: fault_test.py SCENARIO [--seed N] [--circles N] [--keep]
       fault_test.py --table RUNS [SCENARIO...]     every scenario so often; prints the table of docs/reliability.md

Each run prints one line of JSON: what was acknowledged, uncertain, failed, delivered, lost, repeated, and the longest time in ms that
producers and consumers were without service, all of them and those of the shard that was hurt. It fails when an acknowledged message was
not delivered, is not in the logs of both brokers of its shard at the end, when these logs differ, or when a shard does not serve
again in time (faults.py: RECOVERY_S). Moments are random: --seed repeats them.

MQBROKER, MQREGISTRY and TRAFFIC name the programs, LOST_POWER_LIBRARY what power_lost preloads."""
import argparse
import contextlib
import json
import os
import random
import shutil
import statistics
import sys
import tempfile
import time

import hosts
from deployments import TOPIC, eventually
from faults import HA_PORT, PROXY, RECOVERY_S, FaultCluster, Load, Reader, bodies
from slow_link import SlowLink

SHARD = "jmq102"  # the one that is hurt
OTHER = "jmq100"
SCENARIOS = {}
COUNTS = ("acknowledged", "uncertain", "failed", "delivered", "lost", "repeated")


def scenario(shards=(SHARD,), settings=(), broker_settings=None, synced=False, may_lose=False, **load):
    """`shards`: those that are hurt, whose interruption is told. `synced`: their brokers note what is synced. `may_lose`: what is in no
    log any more; but nothing else."""
    def keep(fn):
        SCENARIOS[fn.__name__] = dict(run=fn, shards=shards, settings=settings, broker_settings=broker_settings, synced=synced,
                                      may_lose=may_lose, load=load)
        return fn
    return keep


class Run:
    """What a scenario works with: c the cluster, load the traffic, and random moments."""

    def __init__(self, cluster, load, rng, arguments):
        self.c, self.load, self.rng, self.arguments = cluster, load, rng, arguments
        self.outage_ms = 0
        self.link = None
        self.lost, self.delivered = None, 0  # set by a scenario that has a consumer of its own

    @contextlib.contextmanager
    def outage(self):
        """From a fault to its cure: a promotion, a start, a cable plugged in. The longest one is told."""
        began = time.monotonic()
        yield
        self.outage_ms = max(self.outage_ms, (time.monotonic() - began) * 1000)

    def some_load(self, least=100, most=900):
        """A random moment: after so many more acknowledged messages."""
        self.load.more(self.rng.randint(least, most))

    def kill_master(self, group=SHARD):
        self.c.master(group).kill()

    def bring_back_slave(self, group=SHARD):
        """The broker that is now the slave starts and catches up."""
        self.c.slave(group).start()
        self.c.await_in_step(group)

    def check(self, condition, what):
        if not condition:
            raise AssertionError(what)


# --- processes ---

@scenario()
def master_killed(r):
    """kill -9 of a master; its slave is promoted; the old one comes back as slave."""
    r.some_load()
    with r.outage():
        r.kill_master()
        r.load.more(50, group=OTHER)  # producers go on with the other shard
        r.c.promote(SHARD)
    r.load.flows(SHARD)
    r.bring_back_slave()
    r.load.more(200, group=SHARD)  # acknowledged by both again
    r.some_load()


@scenario()
def master_killed_and_back(r):
    """kill -9 of a master, which starts again; nobody promotes."""
    r.some_load()
    with r.outage():
        r.kill_master()
        r.load.more(50, group=OTHER)
        r.c.master(SHARD).start()
    r.load.flows(SHARD)
    r.c.await_in_step(SHARD)
    r.load.more(200, group=SHARD)


@scenario()
def slave_killed(r):
    """kill -9 of a slave: messages are stored and answered SLAVE_NOT_AVAILABLE until it is back."""
    r.some_load()
    before = r.load.report()
    with r.outage():
        r.c.slave(SHARD).kill()
        r.load.flows(SHARD)
        r.some_load()
        report = r.load.report()
        told = report["statuses"].get("11", 0) - before["statuses"].get("11", 0)
        r.check(told > 0, "nobody was told SLAVE_NOT_AVAILABLE: %r" % report["statuses"])
        r.bring_back_slave()
    r.load.more(200, group=SHARD)
    r.load.stop_sending()
    report = r.load.all_delivered()
    r.check(report["failed"] == 0, "sends failed: %r" % report["statuses"])
    r.check(report["uncertain_delivered"] == report["uncertain"], "stored messages did not come: %r" % report)


@scenario(shards=(SHARD, OTHER))
def both_masters_killed(r):
    """kill -9 of a master, promotion, kill -9 of the other master before the first is back, promotion; both return."""
    r.some_load()
    for group in (SHARD, OTHER):
        with r.outage():
            r.kill_master(group)
            r.c.promote(group)
        r.load.flows(group)
    for group in (SHARD, OTHER):
        r.bring_back_slave(group)
        r.load.more(200, group=group)
    r.some_load()


@scenario(shards=(SHARD, OTHER))
def registries_killed(r):
    """kill -9 of one registry, then of both; brokers and clients serve on, one broker even starts meanwhile. A document that is pushed
    to one registry reaches the other when that is back."""
    first, second = r.c.registries.values()
    r.some_load()
    first.kill()
    r.some_load()
    second.kill()
    r.some_load()
    r.c.slave(OTHER).kill()
    r.bring_back_slave(OTHER)
    for group in r.c.groups:
        r.load.more(200, group=group)
    first.start()
    r.c.await_registered(first)
    topics = json.loads(r.c.document("topic.json"))
    topics[0]["queues"] = 6
    r.c.done(r.c.masters[OTHER], "topic set " + json.dumps(topics, separators=(",", ":")))
    r.some_load()
    second.start()
    r.c.await_registered(second)
    wanted = {group: 6 for group in r.c.groups}
    for address in r.c.registries:
        eventually(lambda: {g: queues for g, (_, queues, _) in (r.c.route(TOPIC, address) or {}).items()} == wanted,
                   lambda: "6 queues at registry %s: %r" % (address, r.c.route(TOPIC, address)), RECOVERY_S)
    r.some_load()


def lose_shard(r, take_down):
    """Both hosts of a shard, and the registry on one of them, at once; they start again in any order."""
    r.some_load()
    addresses = [r.c.masters[SHARD], r.c.slaves[SHARD]]
    with r.outage():
        for address in r.rng.sample(addresses, 2):
            take_down(address)
        r.load.more(50, group=OTHER)
        for address in r.rng.sample(addresses, 2):
            r.c.start_host(address)
        r.c.await_state(r.c.masters[SHARD], "MASTER", "FENCED")
        if r.c.replication(r.c.masters[SHARD])["state"] == "FENCED":  # its slave kept more of the log: it says 'promote that broker'
            r.c.promote(SHARD)
    r.load.more(100, "stored", SHARD)
    r.c.await_in_step(SHARD)
    r.load.more(200, group=SHARD)
    r.some_load()


@scenario(rate=600)
def shard_killed(r):
    """kill -9 of everything on both hosts of a shard at once."""
    lose_shard(r, r.c.crash)


@scenario(settings=("flushDiskType=SYNC_FLUSH",), synced=True, rate=600)
def power_lost(r):
    """SYNC_FLUSH: both hosts of a shard lose their power at once: of their logs there is what was synced, and nothing else."""
    lose_shard(r, r.c.lose_power)


@scenario(synced=True, may_lose=True, rate=600, consumers=0)
def power_lost_unsynced(r):
    """The same with ASYNC_FLUSH, which loses what was not synced. A consumer that had read it skips nothing of what comes in its place."""
    reader = Reader(r.c, SHARD)

    def read_and_lose_power(address):
        if r.c.master(SHARD).process and r.c.slave(SHARD).process:  # the first one
            reader.read()
        r.c.lose_power(address)

    lose_shard(r, read_and_lose_power)
    eventually(reader.is_behind, "messages beyond the reader's offsets", RECOVERY_S)
    reader.read()
    r.load.stop_sending()
    reader.read()
    r.lost, r.delivered = r.load.acknowledged(SHARD) - reader.seen, len(reader.seen)


# --- operators ---

@scenario()
def promoted_under_load(r):
    """Everything is alive; the slave is promoted: a planned switch."""
    r.some_load()
    with r.outage():
        r.c.promote(SHARD)
    r.load.flows(SHARD)
    r.c.await_in_step(SHARD)
    r.load.more(200, group=SHARD)
    r.some_load()


@scenario()
def full_circle(r):
    """Master lost, slave promoted, old master back as slave, promoted again: so often."""
    for _ in range(r.arguments.circles):
        r.some_load(20, 120)
        with r.outage():
            r.kill_master()
            r.c.promote(SHARD)
        r.load.more(20, "stored", SHARD)
        r.bring_back_slave()
        r.some_load(20, 120)
        r.c.promote(SHARD)
        r.load.more(20, "stored", SHARD)
        r.c.await_in_step(SHARD)
    r.load.flows(SHARD)


# --- networks ---

def cut_off_until_felt(r, host):
    """Unplugs a master's host, until the other shard has had all the load for a while."""
    host.unplug()
    r.load.more(r.rng.randint(300, 2000), group=OTHER)


@scenario()
def host_cut_off(r):
    """The cable of a master's host is out for some seconds; nobody promotes."""
    r.some_load()
    host = r.c.net[r.c.masters[SHARD]]
    with r.outage():
        cut_off_until_felt(r, host)
        host.plug()
    r.load.flows(SHARD)
    r.c.await_in_step(SHARD)
    r.load.more(200, group=SHARD)


@scenario()
def host_cut_off_promoted(r):
    """The cable of a master's host is out; the slave is promoted; the old master, which lives on, is demoted when it is joined again."""
    r.some_load()
    host = r.c.net[r.c.masters[SHARD]]
    with r.outage():
        cut_off_until_felt(r, host)
        r.c.promote(SHARD)
    r.load.flows(SHARD)
    host.plug()
    r.c.await_state(str(host), "SLAVE")
    r.c.await_in_step(SHARD)
    r.load.more(200, group=SHARD)
    r.some_load()


@scenario()
def split_brain(r):
    """A master is cut off from slave and registries, not from the clients; the slave is promoted, so that clients find two masters. What
    the old one is sent must not be acknowledged; it is fenced and cut when it is joined again."""
    r.some_load()
    old, new = r.c.net[r.c.masters[SHARD]], r.c.net[r.c.slaves[SHARD]]
    with r.outage():
        r.c.net.isolate(old, but=[r.c.client])
        r.load.more(100, "uncertain")  # the old master takes messages, and says that it is alone
        r.c.promote(SHARD)
        r.load.more(100, group=OTHER)
        r.c.net.rejoin(old)
    r.c.await_state(str(old), "SLAVE")
    r.c.await_in_step(SHARD)
    r.load.flows(SHARD)
    r.load.more(200, group=SHARD)
    r.check(r.c.cut_files(str(old)), "the old master %s kept nothing of what it had to cut" % old)
    r.check(not r.c.cut_files(str(new)), "the new master %s cut its log" % new)
    r.some_load()


@scenario(broker_settings={"192.168.1.5": ("brokerIP2=" + PROXY, "slaveTimeout=1000")})
def sick_link(r):
    """The link between master and slave is slow, stalls in one direction and the other, and is cut in the middle of records; at
    last the master dies right after a cut, and the slave is promoted."""
    r.some_load()
    link = r.link
    for direction in ("down", "up"):  # down: the log; up: the slave's reports
        link.rate(r.rng.randint(20000, 60000), direction)
        r.load.more(200, "stored", SHARD)
        link.rate(0, direction)
        r.c.await_in_step(SHARD)
        link.stall(direction)
        r.load.more(100, "stored", SHARD)
        link.go(direction)
        r.c.await_in_step(SHARD)
        r.load.more(50, group=SHARD)
    for _ in range(5):
        accepted = link.statistics()["accepted"]
        link.cut_after(r.rng.randint(1, 60000), "down")
        eventually(lambda: link.statistics()["accepted"] > accepted, "the slave connects again", RECOVERY_S)
        r.c.await_in_step(SHARD)
        r.load.more(50, group=SHARD)
    link.cut()
    r.load.more(r.rng.randint(1, 50), "stored", SHARD)
    with r.outage():
        r.kill_master()
        r.c.promote(SHARD)
    r.load.flows(SHARD)
    link.join()
    r.bring_back_slave()
    r.load.more(200, group=SHARD)


@scenario(broker_settings={"192.168.1.5": ("brokerIP2=" + PROXY,)}, consumers=0)
def read_from_lone_master(r):
    """A master loses the link to its slave, and a consumer reads what it stores alone. It dies, the slave is promoted, the old master
    returns as slave, and messages are acknowledged again before the consumer finds the new master: with offsets that this one gave
    to other messages meanwhile."""
    reader = Reader(r.c, SHARD)
    r.some_load()
    reader.read()
    r.link.cut()
    r.load.more(r.rng.randint(100, 400), "uncertain")
    reader.read()
    with r.outage():
        r.kill_master()
        r.c.promote(SHARD)
    r.bring_back_slave()
    eventually(reader.is_behind, "messages beyond the reader's offsets", RECOVERY_S)
    r.load.more(200, group=SHARD)
    reader.read()
    r.load.stop_sending()
    reader.read()
    r.lost, r.delivered = r.load.acknowledged(SHARD) - reader.seen, len(reader.seen)
    r.check(reader.moved or r.lost, "the reader was not ahead of the new master")


# --- a run ---

def links(cluster, spec):
    if not spec["broker_settings"]:
        return None
    return SlowLink(cluster.net.add(PROXY), HA_PORT, cluster.masters[SHARD], HA_PORT)


def account(name, seed, spec, r, report, seconds):
    """The line of a run."""
    shards = [report["brokers"][group] for group in spec["shards"]]
    return {
        "scenario": name, "seed": seed, "seconds": round(seconds, 1),
        **{key: report[key] for key in COUNTS},
        "outage_ms": round(r.outage_ms),
        "producers_ms": round(max(p["stored_interruption_ms"] for p in report["producers"])),
        "shard_producers_ms": round(max(s["stored_interruption_ms"] for s in shards)),
        "shard_acknowledged_ms": round(max(s["producer_interruption_ms"] for s in shards)),
        "consumers_ms": round(report["consumer_interruption_ms"]),
        "shard_consumers_ms": round(max(s["consumer_interruption_ms"] for s in shards))}


def check_end(r, report, may_lose):
    """Whole again: the same logs on both brokers of each shard, and in them, and delivered, all that was acknowledged."""
    stored = set()
    for group in r.c.groups:
        stored |= bodies(r.c.await_same_logs(group))
    missing = r.load.acknowledged() - stored
    if may_lose:
        skipped = r.lost - missing
        r.check(not skipped, "%d acknowledged messages are in the logs and were not delivered: %r" % (len(skipped), sorted(skipped)[:10]))
        return
    r.check(not missing, "%d acknowledged messages are in no log: %r" % (len(missing), sorted(missing)[:10]))
    r.check(report["lost"] == 0, "%d acknowledged messages were not delivered: %r" % (report["lost"], report["lost_examples"]))


def run_in(folder, name, seed, arguments):
    spec = SCENARIOS[name]
    began = time.monotonic()
    with FaultCluster(folder, spec["settings"], spec["broker_settings"]) as c:
        link = links(c, spec)
        for group in spec["shards"] if spec["synced"] else ():
            for address in (c.masters[group], c.slaves[group]):
                c.note_what_is_synced(address)
        c.start()
        with Load(c, folder, **spec["load"]) as load:
            r = Run(c, load, random.Random(seed), arguments)
            r.link = link
            load.more(300)
            for group in c.groups:
                load.more(100, "delivered" if spec["load"].get("consumers", 2) else "stored", group)
            load.mark()
            spec["run"](r)
            figures = load.report()
            load.stop_sending()
            report = load.all_delivered() if r.lost is None else load.report()
            figures.update((key, report[key]) for key in COUNTS)
            if r.lost is not None:
                figures.update(lost=len(r.lost), lost_examples=sorted(r.lost)[:10], delivered=r.delivered)
            line = account(name, seed, spec, r, figures, time.monotonic() - began)
            print(json.dumps(line), flush=True)
            check_end(r, figures, spec["may_lose"])
            return line


def run(name, seed, arguments):
    print("%s: seed %d" % (name, seed), flush=True)
    folder = tempfile.mkdtemp(prefix="cjmq-fault-")
    try:
        line = run_in(folder, name, seed, arguments)
    except BaseException:
        sys.stderr.write("scenario %s failed; repeat it with: fault_test.py %s --seed %d\n" % (name, name, seed))
        raise
    finally:
        if arguments.keep:
            sys.stderr.write("kept: %s\n" % folder)
        else:
            shutil.rmtree(folder)
    return line


# --- the table ---

COLUMNS = ("outage_ms", "producers_ms", "shard_producers_ms", "shard_consumers_ms")


def table(names, runs, arguments):
    rows = []
    for name in names:
        lines = [run(name, random.randrange(1 << 30), arguments) for _ in range(runs)]
        counts = [sum(line[key] for line in lines) for key in COUNTS if key != "delivered"]
        times = ["%d (%d)" % (statistics.median(line[key] for line in lines), max(line[key] for line in lines)) for key in COLUMNS]
        if SCENARIOS[name]["load"].get("consumers") == 0:
            times[-1] = "-"
        rows.append("| %s |" % " | ".join([name, *map(str, counts), *times]))
    print("| scenario | acknowledged | uncertain | failed | lost | repeated | outage | a producer | shard's producers | shard's consumers |")
    print("|---" * 10 + "|")
    print("\n".join(rows))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=", ".join(SCENARIOS))
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(3), "big"))
    parser.add_argument("--circles", type=int, default=20, help="of full_circle (20)")
    parser.add_argument("--keep", action="store_true", help="leave the folder with logs and stores")
    parser.add_argument("--table", type=int, metavar="RUNS", help="run each scenario so often")
    arguments = parser.parse_args()
    for name in arguments.scenarios:
        if name not in SCENARIOS:
            parser.error("no scenario %s; there are: %s" % (name, ", ".join(SCENARIOS)))
    hosts.skip_unless_possible()
    hosts.clean_up_on_sigterm()
    if arguments.table:
        table(arguments.scenarios or list(SCENARIOS), arguments.table, arguments)
    elif arguments.scenarios:
        for name in arguments.scenarios:
            run(name, arguments.seed, arguments)
    else:
        parser.error("which scenario? " + ", ".join(SCENARIOS))


if __name__ == "__main__":
    main()
