"""The four-node deployment under load, for fault tests: who is master now, how the slaves follow, and whether everything that
was acknowledged is where it must be.

    with FaultCluster(folder) as c:
        c.start()
        with Load(c, folder) as load:
            load.more(500)             # acknowledged since now
            c.master("jmq102").kill()
            c.promote("jmq102")        # by telnet, as an operator does
            load.flows("jmq102")       # sends and deliveries of this shard go on
            c.slave("jmq102").start()  # the old master
            c.await_in_step("jmq102")

Moments are given by progress, not by time: load.more() waits for so many messages."""
import os
import struct

from deployments import BROKER_PORT, CONSUMER, PRODUCER, TOPIC, FourNode, eventually, log_records, program
from rmq import MAX_OFFSET, Connection, Record, decode_records
from traffic import Traffic

RECOVERY_S = int(os.environ.get("FAULT_RECOVERY_S", "25"))  # the bound: what has not recovered by then has not recovered
PROXY = "192.168.1.20"
HA_PORT = 50089
PULL_NOTHING, PULL_MOVED = 19, 21
PULL_CODES = (0, PULL_NOTHING, 20, PULL_MOVED)
BODY_HEAD = 20  # run 8, producer 4, sequence 8: traffic.c


class FaultCluster(FourNode):
    def __init__(self, folder, settings=(), broker_settings=None):
        """`settings` of all brokers; `broker_settings`: {address: settings}. As on the command line, without --."""
        super().__init__(folder)
        self.masters, self.slaves = dict(self.masters), dict(self.slaves)
        for address, broker in self.brokers.items():
            broker.arguments += ["--" + s for s in (*settings, *(broker_settings or {}).get(address, ()))]

    @property
    def groups(self):
        return list(self.masters)

    # --- what operators see and do ---

    def replication(self, address):
        """State of a broker, {} while it cannot be asked."""
        try:
            return super().replication(address)
        except (OSError, EOFError):
            return {}

    def await_state(self, address, *states):
        """Until a broker is in one of these."""
        eventually(lambda: self.replication(address).get("state") in states,
                   lambda: "%s of %s, which is %r" % (" or ".join(states), address, self.replication(address)), RECOVERY_S)

    def await_in_step(self, group=None):
        """Until a group (or each) is whole: its master has its slave in step."""
        for g in [group] if group else self.groups:
            master, slave = self.masters[g], self.slaves[g]
            eventually(lambda: self.replication(master).get("inStep", 0) >= 1 and self.replication(slave).get("following"),
                       lambda: "slave in step: master %r, slave %r" % (self.replication(master), self.replication(slave)), RECOVERY_S)

    def promote(self, group, at=None):
        """The slave becomes the master, by one telnet command on its host (`at`: on another one's). Returns when it takes messages."""
        master, slave = self.masters[group], self.slaves[group]
        self.done(at or slave, "broker promote %s_s" % group)
        self.masters[group], self.slaves[group] = slave, master
        self.await_state(slave, "MASTER")

    def master(self, group):
        return self.brokers[self.masters[group]]

    def slave(self, group):
        return self.brokers[self.slaves[group]]

    # --- hosts ---

    def crash(self, address):
        """kill -9 of all that runs on a host."""
        self.net[address].crash()
        for daemons in (self.registries, self.brokers):
            if address in daemons:
                daemons[address].process = None

    def note_what_is_synced(self, address):
        """From its start on a host's broker notes how much of its log is sure to be on the disk (lost_power.c)."""
        broker = self.brokers[address]
        folder = broker.home + "/synced"
        os.makedirs(folder, exist_ok=True)
        broker.environment.update(LD_PRELOAD=program("LOST_POWER_LIBRARY"), LOST_POWER=folder, ASAN_OPTIONS="verify_asan_link_order=0")

    def lose_power(self, address):
        """A host loses its power: its log has no more than what was synced. Returns how many bytes of records went."""
        self.crash(address)
        home, lost = self.brokers[address].home, 0
        for name in os.listdir(home + "/synced"):
            with open("%s/synced/%s" % (home, name), "rb") as noted, open("%s/store/commitlog/%s" % (home, name), "r+b") as log:
                synced = struct.unpack("=q", noted.read())[0]
                log.seek(synced)
                tail = log.read()
                log.seek(synced)
                log.write(bytes(len(tail)))
                lost += len(tail.rstrip(b"\0"))
        return lost

    def start_host(self, address):
        for daemons in (self.registries, self.brokers):
            if address in daemons:
                daemons[address].start()

    # --- at the end ---

    def await_same_logs(self, group):
        """Until the slave has exactly its master's log; returns its records."""
        def same():
            ends = {self.replication(a).get("logEnd") for a in (self.masters[group], self.slaves[group])}
            if len(ends) != 1 or None in ends:
                return None
            logs = [self.records(a) for a in (self.masters[group], self.slaves[group])]
            return logs[0] if logs[0] == logs[1] else None

        return eventually(same, lambda: "the log of %s at master %s is that at slave %s; they are %r and %r" % (
            group, self.masters[group], self.slaves[group], self.replication(self.masters[group]),
            self.replication(self.slaves[group])), RECOVERY_S)

    def records(self, address):
        return log_records(self.brokers[address].home + "/store/commitlog")

    def cut_files(self, address):
        """What a demoted master kept of its log: [(path, bytes)]."""
        folder = self.brokers[address].home + "/store/cut"
        if not os.path.isdir(folder):
            return []
        return [(path, os.path.getsize(path)) for path in (os.path.join(folder, name) for name in sorted(os.listdir(folder)))]

    # --- registries ---

    def await_registered(self, registry):
        """Until a registry that came back knows all masters again."""
        address = str(registry.host)
        eventually(lambda: set(self.route(TOPIC, address) or {}) == set(self.groups),
                   lambda: "route of registry %s: %r" % (address, self.route(TOPIC, address)), RECOVERY_S)


class Load(Traffic):
    """Producers and consumers, with a book of every event."""

    def __init__(self, cluster, folder, **options):
        self.stopped, self.book = False, folder + "/events"
        super().__init__(cluster.namesrv, host=cluster.client, **{
            "topic": TOPIC, "producer_app": PRODUCER, "consumer_app": CONSUMER, "producers": 4, "consumers": 2, "rate": 1200, "bytes": 300,
            "log": self.book, "drain_ms": RECOVERY_S * 1000, **options})

    def figure(self, name, group=None):
        """A count of the report, of one shard's or all of them."""
        report = self.report()
        return report["brokers"].get(group, {}).get(name, 0) if group else report[name]

    def more(self, count, name="acknowledged", group=None):
        """Waits until a figure has grown by so much."""
        target = self.figure(name, group) + count
        eventually(lambda: self.figure(name, group) >= target,
                   lambda: "%d more %s of %s: %r" % (count, name, group or "all", self.last), RECOVERY_S)

    def flows(self, group, count=100):
        """Waits until a shard takes messages and delivers them; `stored` counts those without a copy as well."""
        self.more(count, "stored", group)
        self.more(count, "delivered", group)

    def stop_sending(self):
        if not self.stopped:
            self.stop()
            self.stopped = True

    def all_delivered(self):
        """Waits for what was acknowledged and has not come; the report."""
        self.drain(RECOVERY_S * 1000)
        return self.report()

    def acknowledged(self, group=None):
        """(producer, sequence) of what was answered SEND_OK, by the book."""
        with open(self.book, encoding="utf-8") as book:
            words = (line.split() for line in book)
            return {(int(w[2]), int(w[3])) for w in words
                    if w[1] == "sent" and w[4] == "acknowledged" and (group is None or w[6] == group)}


class Reader:
    """A consumer that keeps its offsets to itself: reads a shard's queues wherever it is told, going on where it was."""

    def __init__(self, cluster, group, queues=5):
        self.cluster, self.group = cluster, group
        self.offsets = {queue: 0 for queue in range(queues)}
        self.seen = set()
        self.moved = 0  # how often a broker sent it elsewhere

    def connect(self):
        with self.cluster.client.inside():
            return Connection(BROKER_PORT, address=self.cluster.masters[self.group])

    def read(self):
        """Everything there is at the shard's master."""
        connection = self.connect()
        try:
            for queue in self.offsets:
                while self.read_some(connection, queue):
                    pass
        finally:
            connection.close()

    def read_some(self, connection, queue):
        """One pull; False at the end."""
        answer = connection.pull(TOPIC, queue, self.offsets[queue], CONSUMER)
        if answer.code not in PULL_CODES:
            raise AssertionError("pull of queue %d at %d: %r" % (queue, self.offsets[queue], answer))
        self.moved += answer.code == PULL_MOVED
        if answer.code == PULL_NOTHING:
            return False
        self.seen |= {identity for record in decode_records(answer.body) for identity in identities(record)}
        self.offsets[queue] = int(answer.ext["nextBeginOffset"])
        return True

    def is_behind(self, least=20):
        """Whether every queue of the master has gone on beyond where this reader is."""
        connection = self.connect()
        try:
            return all(int(connection.call(MAX_OFFSET, {"topic": TOPIC, "queueId": queue}).ext["offset"]) >= offset + least
                       for queue, offset in self.offsets.items())
        finally:
            connection.close()


def identities(record):
    """(producer, sequence) of a message of the traffic program, as a list; none of others."""
    return [struct.unpack_from(">Iq", record.body, 8)] if record.topic == TOPIC and len(record.body) >= BODY_HEAD else []


def bodies(records):
    """(producer, sequence) of the traffic program's messages among a log's records."""
    found = set()
    for _, data in records:
        if len(data) > BODY_HEAD + 80:
            found.update(identities(Record(data)))
    return found

