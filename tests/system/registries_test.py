"""Several registries that share nothing: brokers carry the documents' versions between them. MQBROKER and MQREGISTRY name the programs."""
import json
import os
import re
import signal
import sqlite3
import time
import unittest
import zlib

from registry_link_test import DOCUMENT_GET, Cluster, broker_document, topic_document
from registry_test import eventually, free_port
from rmq import Broker

DOCUMENT_VERSIONS = 7006
SCHEMA_1 = """
CREATE TABLE document (name TEXT NOT NULL, version INTEGER NOT NULL, time_ms INTEGER NOT NULL, user TEXT NOT NULL, peer TEXT NOT NULL,
                       origin TEXT NOT NULL, bytes INTEGER NOT NULL, crc32 INTEGER NOT NULL, body BLOB NOT NULL, PRIMARY KEY (name, version));
CREATE TABLE kv (namespace TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (namespace, key)) WITHOUT ROWID;
PRAGMA application_id=%d; PRAGMA user_version=1;
""" % 0x434A4D52


class Registries(Cluster):
    def brokers(self, n, **settings):
        """Brokers of all registries so far, not started, each in its own folder."""
        brokers = []
        for i in range(n):
            addresses = ";".join("127.0.0.1:%d" % r.port for r in self.registries)
            os.makedirs("%s/broker%d" % (self.folder, i), exist_ok=True)
            broker = Broker(folder="%s/broker%d" % (self.folder, i), **{"brokerName": "broker-%d" % i, "namesrvAddr": addresses, **settings})
            self.addCleanup(lambda broker=broker: broker.process and broker.kill())
            brokers.append(broker)
        return brokers

    def versions(self, registry, name="topic"):
        """[(time, crc32)] of a registry, newest first."""
        out, before, more = [], 0, "true"
        while more == "true":
            answer = self.ask(registry, DOCUMENT_VERSIONS, name=name, before=before)
            self.assertEqual(answer.code, 0, answer)
            page = [(v["time"], v["crc32"]) for v in json.loads(answer.body)]
            out, more = out + page, answer.ext["more"]
            before = page[-1][0] if page else 0
        return out

    def made(self, registry, stamp, name="topic"):
        """(text, author, peer, origin) of a version."""
        answer = self.ask(registry, DOCUMENT_GET, name=name, time=stamp[0], crc32=stamp[1])
        self.assertEqual(answer.code, 0, answer)
        return answer.body.decode(), answer.ext["author"], answer.ext["peer"], answer.ext["origin"]

    def joined(self, n, *registries, name="topic"):
        """Waits until all have the same n versions, and no more come."""
        eventually(lambda: all(len(self.versions(r, name)) >= n for r in registries))
        lists = [self.versions(r, name) for r in registries]
        for versions in lists:
            self.assertEqual(len(versions), n)
            self.assertEqual(versions, lists[0])

    def write_database(self, registry, rows):
        """A registry's file as the first versions of CJMQ wrote it: rows of (name, time, text)."""
        os.makedirs(registry.folder + "/data")
        with sqlite3.connect(registry.folder + "/data/registry.db") as db:
            db.executescript(SCHEMA_1)
            numbers = {}
            for name, ms, text in rows:
                numbers[name] = numbers.get(name, 0) + 1
                db.execute("INSERT INTO document VALUES (?,?,?,'jmq','10.0.0.9:4','set',?,?,?)",
                           (name, numbers[name], ms, len(text), zlib.crc32(text.encode()), zlib.compress(text.encode())))
        db.close()

    def test_registry_that_was_down_gets_every_version(self):
        up, down = self.registry().start(), self.registry()
        console = self.console(up)
        self.done(console, "topic set " + topic_document(9))
        brokers = self.brokers(2)
        for broker in brokers:
            broker.start()
        console = self.console(up)
        for queues in range(5, 9):
            self.done(console, "topic set " + topic_document(queues))
        self.done(console, "topic rollback")
        self.done(console, "broker set " + broker_document(50088))
        down.start()
        eventually(lambda: self.text(down) == topic_document(7))
        self.joined(6, up, down)
        self.joined(1, up, down, name="broker")
        for stamp in self.versions(up):
            text, author, peer, origin = self.made(up, stamp)
            self.assertEqual(self.made(down, stamp), (text, author, peer, "%s at 127.0.0.1:%d" % (origin, up.port)))
        self.assertIn("rollback to 4 at 127.0.0.1:%d" % up.port, self.console(down).command("topic history"))
        time.sleep(1.2)  # both brokers have had their turn by now: twice is not once more
        self.joined(6, up, down)
        for broker in brokers:
            self.stop(broker)

    def test_both_histories_hold_what_was_pushed_while_separated(self):
        a, b = self.registry().start(), self.registry().start()
        self.done(self.console(a), "topic set " + topic_document(5))
        self.done(self.console(b), "topic set " + topic_document(6))
        self.done(self.console(a), "topic set " + topic_document(7))
        self.done(self.console(b), "topic set " + topic_document(8))
        newest = max(self.versions(a) + self.versions(b))
        expected = topic_document(8) if newest in self.versions(b) else topic_document(7)
        brokers = self.brokers(2)
        for broker in brokers:
            broker.start()
        self.joined(4, a, b)
        for registry in (a, b):
            self.assertEqual(self.versions(registry)[0], newest)
            self.assertEqual(self.text(registry), expected)
        time.sleep(1.2)
        self.joined(4, a, b)
        # what is pushed to one now is in force in both, and newer than all
        self.done(self.console(a), "topic set " + topic_document(9))
        self.joined(5, a, b)
        self.assertEqual((self.text(a), self.text(b)), (topic_document(9), topic_document(9)))
        for broker in brokers:
            self.stop(broker)

    def test_change_by_a_brokers_console_is_the_same_version_everywhere(self):
        a, b = self.registry().start(), self.registry().start()
        broker = self.broker().start()
        console = self.console(broker)
        self.done(console, "topic set " + topic_document(5))
        self.joined(1, a, b)
        self.done(console, "topic set " + topic_document(6))
        self.done(console, "topic rollback")
        self.joined(3, a, b)
        stamp = self.versions(b)[0]
        self.assertEqual(self.made(b, stamp)[:3], self.made(a, stamp)[:3])
        self.assertEqual(self.made(b, stamp)[3], "rollback to 1 at 127.0.0.1:%d" % a.port)
        time.sleep(1.2)
        self.joined(3, a, b)
        self.stop(broker)

    def test_promotion_at_one_registry_holds_in_the_routes_of_the_other(self):
        a, b = self.registry().start(), self.registry().start()
        pair = self.brokers(2, brokerName="")
        document = [{"alias": "jmq102_" + role, "ip": "127.0.0.1", "port": broker.port, "permission": permission}
                    for role, permission, broker in zip("ms", ("FULL", "READ"), pair)]
        for broker in pair:
            broker.settings["telnetPort"] = free_port()
            broker.start()
        self.done(self.console(a), "broker set " + json.dumps(document))
        master, slave = ("127.0.0.1:%d" % broker.port for broker in pair)
        for promoted, expected in (("", {"0": master, "1": slave}), ("jmq102_s", {"0": slave, "1": master}),
                                   ("jmq102_s", {"0": master, "1": slave})):
            if promoted:
                self.done(self.console(a), "broker promote " + promoted)
            for registry in (a, b):
                eventually(lambda: self.names(registry).get("jmq102") == expected)
        roles = [json.loads(self.result(broker, "monitor -i role")["message"]) for broker in pair]
        self.assertEqual(roles, ["MASTER", "SLAVE"])
        self.joined(3, a, b, name="broker")
        self.assertEqual(self.text(a, "broker"), self.text(b, "broker"))
        for broker in pair:
            self.stop(broker)

    def test_registry_that_hangs_during_a_round_is_caught_up_later(self):
        a, b, c = self.registry().start(), self.registry().start(), self.registry().start()
        (broker,) = self.brokers(1)
        broker.start()
        for registry in (a, b, c):
            eventually(lambda: "broker-0" in self.names(registry))
        b.process.send_signal(signal.SIGSTOP)
        try:
            self.done(self.console(a), "topic set " + topic_document(5))
            eventually(lambda: re.search("registry 127.0.0.1:%d: (topic|broker) document versions are not told" % b.port, broker.log()))
            self.joined(1, a, c)
        finally:
            b.process.send_signal(signal.SIGCONT)
        self.joined(1, a, b, c)
        self.stop(broker)

    def test_broker_stops_during_a_round(self):
        a, b = self.registry().start(), self.registry().start()
        (broker,) = self.brokers(1)
        broker.start()
        for registry in (a, b):
            eventually(lambda: "broker-0" in self.names(registry))
        b.process.send_signal(signal.SIGSTOP)
        try:
            self.done(self.console(a), "topic set " + topic_document(5))
            time.sleep(0.7)  # the request to the one that hangs is under way
            self.stop(broker)
        finally:
            b.process.send_signal(signal.SIGCONT)
        broker.start()
        self.joined(1, a, b)
        self.stop(broker)

    def test_refused_password_is_told_once_and_names_the_registry(self):
        a = self.registry().start()
        b = self.registry()
        b.arguments = ("--adminPassword=another", "--telnetBind=127.0.0.1")
        self.done(self.console(a), "topic set " + topic_document(5))
        b.start()
        (broker,) = self.brokers(1)
        broker.start()
        line = "registry 127.0.0.1:%d does not let this broker carry documents to it" % b.port
        eventually(lambda: line in broker.log())
        self.assertIn("adminUser and adminPassword", broker.log())
        self.done(self.console(a), "topic set " + topic_document(6))
        time.sleep(1.2)
        self.assertEqual(broker.log().count(line), 1)
        self.assertEqual(self.versions(b), [])
        self.stop(broker)
        # with the right one for both
        a.stop()
        a.arguments = b.arguments
        a.start()
        broker.settings["adminPassword"] = "another"
        broker.settings["telnetBind"] = "127.0.0.1"
        broker.start()
        self.joined(2, a, b)
        self.stop(broker)

    def test_commands_go_to_a_registry_that_has_the_newest_version(self):
        behind, a = self.registry(), self.registry().start()
        behind.arguments = ("--adminPassword=another", "--telnetBind=127.0.0.1")
        behind.start()
        self.done(self.console(a), "topic set " + topic_document(5))
        broker = self.broker(brokerName="broker-a").start()
        eventually(lambda: "does not let this broker carry documents" in broker.log())
        self.assertEqual(self.text(broker), topic_document(5))
        self.done(self.console(broker), "topic set " + topic_document(6))
        self.done(self.console(broker), "topic rollback")
        self.assertEqual(self.text(a), topic_document(5))
        self.assertEqual(self.versions(behind), [])
        self.stop(broker)

    def test_brokers_own_copy_fills_registries_that_lost_it(self):
        a = self.registry().start()
        broker = self.broker()
        self.done(self.console(a), "broker set " + broker_document(broker.port, "READ"))
        self.done(self.console(a), "topic set " + topic_document(5))
        broker.start()
        eventually(lambda: json.loads(self.result(broker, "permiquery -l broker")["message"]) == "READ")
        eventually(lambda: os.path.exists(broker.folder + "/store/config/topicDocument.json"))
        before = self.versions(a), self.versions(a, "broker")
        made = self.made(a, before[0][0])
        copy = broker.folder + "/store/config/topicDocument.json"

        def lose():
            a.stop()
            os.unlink(a.folder + "/data/registry.db")
            a.start()
            self.joined(1, a)
            self.joined(1, a, name="broker")
            self.assertEqual((self.versions(a), self.versions(a, "broker")), before)
        lose()
        by_whom = (*made[:3], "set at 127.0.0.1:%d" % a.port)
        self.assertEqual(self.made(a, before[0][0]), by_whom)
        broker.stop()  # its copy on the disk says the same
        broker.start()
        lose()
        self.assertEqual(self.made(a, before[0][0]), by_whom)
        broker.stop()
        with open(copy, encoding="utf-8") as f:
            text = f.read()
        with open(copy, "w", encoding="utf-8") as f:  # as a broker of before wrote it
            f.write(re.sub(r'"author":"[^"]*","peer":"[^"]*","origin":"[^"]*",', "", text))
        broker.start()
        lose()
        self.assertEqual(self.made(a, before[0][0])[3], "copy kept at broker 127.0.0.1:%d" % broker.port)
        self.stop(broker)

    def test_databases_of_the_first_schema_are_joined(self):
        a, b = self.registry(), self.registry()
        self.write_database(a, [("topic", 1000, topic_document(5)), ("topic", 1000, topic_document(6)), ("topic", 900, topic_document(7))])
        self.write_database(b, [("topic", 5000, topic_document(8)), ("broker", 4000, broker_document(50088))])
        a.start()
        self.assertEqual(self.text(a), topic_document(7))
        self.assertEqual([ms for ms, _ in self.versions(a)], [1002, 1001, 1000])
        b.start()
        (broker,) = self.brokers(1)
        broker.start()
        self.joined(4, a, b)
        self.joined(1, a, b, name="broker")
        self.assertEqual((self.text(a), self.text(b)), (topic_document(8), topic_document(8)))
        self.stop(broker)
        for registry in (a, b):
            registry.stop()
            registry.start()
            self.assertEqual(self.text(registry), topic_document(8))
        self.joined(4, a, b)

    def test_more_versions_than_a_page_and_a_registry_that_keeps_few(self):
        a, b, few = self.registry(), self.registry(), self.registry()
        few.arguments = ("--documentVersionsKept=3",)
        self.write_database(a, [("topic", 10 + i, topic_document(1 + i % 90)) for i in range(520)])
        for registry in (a, b, few):
            registry.start()
        (broker,) = self.brokers(1)
        broker.start()
        self.joined(520, a, b)
        self.joined(3, few)
        self.assertEqual(self.versions(few), self.versions(a)[:3])
        eventually(lambda: "topic document: 523 versions carried" in broker.log())
        self.stop(broker)


if __name__ == "__main__":
    unittest.main()
