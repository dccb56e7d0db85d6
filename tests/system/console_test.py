"""The broker's console in a real broker: where it listens, its limits, and what it does not show. MQBROKER names the program."""
import json
import os
import socket
import subprocess
import unittest

from registry_test import Console
from rmq import Broker, mqbroker

GET_BROKER_CONFIG, UPDATE_BROKER_CONFIG = 26, 25


def free_listen_port():
    """A port of 10000..19999, where JMQ's rule gives the listen port itself, whose console's port is free, too."""
    for port in range(14000 + os.getpid() % 1000, 19999, 2):
        try:
            with socket.create_server(("127.0.0.1", port)), socket.create_server(("127.0.0.1", port + 10000)):
                return port
        except OSError:
            continue
    raise AssertionError("no free port below 20000")


class ConsoleOfABroker(unittest.TestCase):
    def start(self, **settings):
        broker = Broker(**settings)
        self.addCleanup(broker.__exit__, None, None, None)
        return broker.start()

    def connect(self, port):
        console = Console(port)
        self.addCleanup(console.close)
        return console

    def test_default_port_is_not_the_listen_port(self):
        port = free_listen_port()
        broker = self.start(listenPort=port, telnetPort=-1)
        console = self.connect(port + 10000)
        self.assertEqual(json.loads(console.result("monitor -i config")["message"])["telnetPort"], str(port + 10000))
        self.assertIn("the telnet console listens on 127.0.0.1:%d" % (port + 10000), broker.log())

    def test_same_port_twice_is_refused_before_anything_starts(self):
        broker = Broker()
        self.addCleanup(broker.__exit__, None, None, None)
        broker.settings["telnetPort"] = broker.port
        status, stderr = broker.start_fails()
        self.assertEqual(status, 1)
        self.assertIn("telnetPort=%d is listenPort too" % broker.port, stderr)

    def test_port_in_use_is_named_with_its_setting(self):
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = other.getsockname()[1]
            broker = Broker()
            self.addCleanup(broker.__exit__, None, None, None)
            broker.settings["telnetPort"] = port
            status, stderr = broker.start_fails()
            self.assertEqual(status, 1)
            self.assertIn("cannot listen on 127.0.0.1:%d" % port, stderr)
            self.assertIn("telnetPort=%d" % port, stderr)

    def test_password_is_shown_nowhere(self):
        secret = "tiger-17"
        port = free_listen_port()
        broker = self.start(listenPort=port, telnetPort=-1, adminPassword=secret, telnetBind="127.0.0.1")
        with socket.create_connection(("127.0.0.1", port + 10000), timeout=10) as sock:
            console = Console.__new__(Console)
            console.sock = sock
            self.assertEqual(console.result("auth -u jmq -p " + secret)["status"], 3)
            config = json.loads(console.result("monitor -i config")["message"])
        self.assertEqual(config["adminPassword"], "******")
        answer = broker.connect().call(GET_BROKER_CONFIG)
        self.assertIn("adminPassword=******\n", answer.body.decode())
        shown = subprocess.run([mqbroker(), "-p", "--adminPassword=" + secret], capture_output=True, text=True)
        self.assertIn("# command line\n# not shown, put the password in place of the stars\nadminPassword=******\n", shown.stdout)
        for text in (json.dumps(config), answer.body.decode(), shown.stdout, broker.log()):
            self.assertNotIn(secret, text)

    def test_printed_settings_do_not_make_the_stars_a_password(self):
        broker = Broker()
        self.addCleanup(broker.__exit__, None, None, None)
        broker.settings["adminPassword"] = "******"
        status, stderr = broker.start_fails()
        self.assertEqual(status, 1)
        self.assertIn("adminPassword=****** stands for a value that is not shown", stderr)

    def test_limits_are_settings(self):
        port = free_listen_port()
        self.start(listenPort=port, telnetPort=-1, telnetSessionsMax=1, telnetLineBytesMax=1024, telnetLoginLineBytesMax=512)
        console = self.connect(port + 10000)
        with socket.create_connection(("127.0.0.1", port + 10000), timeout=10) as second:
            self.assertIn(b"too many sessions", second.recv(1000))
            self.assertEqual(second.recv(1000), b"")
        with self.assertRaisesRegex(EOFError, "command longer than 1024 bytes; closing.*status.:4"):
            console.command("x" * 2000)

    def test_settings_of_the_console_take_effect_at_a_start_only(self):
        answer = self.start().connect().call(UPDATE_BROKER_CONFIG, body=b"telnetSessionsMax=2\n")
        self.assertEqual(answer.code, 16, answer)
        self.assertIn("telnetSessionsMax takes effect at a start only", answer.remark)


if __name__ == "__main__":
    unittest.main()
