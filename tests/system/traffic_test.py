"""The traffic program itself: that its figures are right, above all that it sees what is lost and what comes twice.
MQBROKER, MQREGISTRY and TRAFFIC name the programs."""
import shutil
import tempfile
import time
import unittest

from registry_test import Registry
from rmq import Broker
from traffic import Traffic

TOPIC = "topic_simple"


class TrafficProgram(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="cjmq-traffic-")
        self.addCleanup(shutil.rmtree, self.folder)
        self.registry = Registry(self.folder)
        self.addCleanup(self.registry.stop)
        self.registry.start()
        self.namesrv = "127.0.0.1:%d" % self.registry.port
        self.broker = Broker(namesrvAddr=self.namesrv, registerNameServerPeriod=10000)
        self.addCleanup(self.broker.__exit__, None, None, None)
        self.broker.start()
        self.assertEqual(self.broker.connect().send(TOPIC, b"not of a run").code, 0)  # creates the topic

    def traffic(self, **options):
        traffic = Traffic(self.namesrv, **{"rate": 2000, "route_interval_ms": 500, **options})
        self.addCleanup(traffic.__exit__, None, None, None)
        return traffic

    def wait_for(self, traffic, **least):
        """Until the figures are at least these."""
        deadline = time.monotonic() + 20
        while True:
            report = traffic.report()
            if all(report[name] >= value for name, value in least.items()):
                return report
            self.assertLess(time.monotonic(), deadline, report)

    def test_all_that_was_acknowledged_is_delivered_once(self):
        log = self.folder + "/events"
        traffic = self.traffic(producers=3, consumers=2, log=log)
        self.wait_for(traffic, acknowledged=500)
        report = traffic.finish()
        self.assertEqual((report["lost"], report["repeated"], report["failed"], report["uncertain"], report["open"]), (0, 0, 0, 0, 0))
        self.assertEqual(report["delivered"], report["acknowledged"])
        self.assertEqual(report["foreign"], 1)
        self.assertEqual(report["lost_examples"], [])
        self.assertEqual(len(report["producers"]), 3)
        self.assertEqual(sum(p["sent"] for p in report["producers"]), report["acknowledged"])
        self.assertEqual(report["brokers"]["broker-a"]["delivered"], report["delivered"])
        self.assertEqual(report["brokers"]["broker-a"]["stored"], report["acknowledged"])
        self.assertEqual(report["stored_interruption_ms"], report["producer_interruption_ms"])
        self.assertEqual(report["send_ms"]["count"], report["acknowledged"])
        self.assertTrue(0 < report["send_ms"]["p50"] <= report["send_ms"]["p99"] <= report["send_ms"]["max"], report)
        with open(log) as events:
            kinds = [line.split()[1] for line in events]
        self.assertEqual((kinds.count("sent"), kinds.count("delivered")), (report["acknowledged"], report["delivered"]))

    def test_messages_that_do_not_come_are_lost(self):
        traffic = self.traffic(producers=2, expression="p0", drain_ms=500)
        self.wait_for(traffic, acknowledged=200)
        traffic.stop()
        others = traffic.report()["producers"][1]["sent"]
        self.assertGreater(others, 0)
        self.assertEqual(traffic.drain(500), others)
        report = traffic.finish()
        self.assertEqual(report["lost"], others)
        self.assertEqual(report["delivered"], report["acknowledged"] - others)
        self.assertEqual(len(report["lost_examples"]), 10)
        self.assertEqual({lost["producer"] for lost in report["lost_examples"]}, {1})

    def test_messages_without_a_consumer_are_lost(self):
        traffic = self.traffic(producers=1, consumers=0, drain_ms=1)
        self.wait_for(traffic, acknowledged=100)
        report = traffic.finish()
        self.assertEqual((report["lost"], report["delivered"]), (report["acknowledged"], 0))

    def test_message_that_comes_twice_is_repeated(self):
        traffic = self.traffic(producers=1)
        self.wait_for(traffic, delivered=50)
        traffic.stop()
        self.assertEqual(traffic.drain(), 0)
        connection = self.broker.connect()
        bodies = [m.body for q in range(4) for m in connection.pull_all(TOPIC, q) if m.properties.get("TAGS") == "p0"]
        self.assertEqual(connection.send(TOPIC, bodies[0]).code, 0)
        self.assertEqual(connection.send(TOPIC, bodies[0]).code, 0)
        report = self.wait_for(traffic, repeated=2)
        self.assertEqual((report["lost"], report["delivered"]), (0, report["acknowledged"]))

    def test_outage_is_an_interruption_and_loses_nothing(self):
        traffic = self.traffic(producers=2, rate=200, send_timeout_ms=500)
        self.wait_for(traffic, delivered=20)
        traffic.mark()
        self.broker.kill()
        began = time.monotonic()
        self.wait_for(traffic, failed=2, producer_interruption_ms=700)
        self.broker.start()
        self.wait_for(traffic, delivered=traffic.report()["delivered"] + 20)
        lasted_ms = (time.monotonic() - began) * 1000
        report = traffic.finish()
        self.assertEqual(report["lost"], 0)
        for name in ("producer_interruption_ms", "consumer_interruption_ms"):
            self.assertTrue(700 <= report[name] <= lasted_ms + 100, (name, report[name], lasted_ms))
        self.assertGreaterEqual(sum(report["statuses"].values()), report["failed"])

    def test_wrong_options_and_commands_are_refused(self):
        with self.assertRaisesRegex(AssertionError, 'rate "x": expected'):
            self.traffic(rate="x")
        with self.assertRaisesRegex(AssertionError, "traffic did not start"):
            Traffic("127.0.0.1:1", ready_ms=300)
        with self.assertRaisesRegex(AssertionError, "expected mark"):
            self.traffic().tell("jump")


if __name__ == "__main__":
    unittest.main()
