"""The tests' own hosts and slow links: what the deployment and fault tests stand on."""
import contextlib
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import unittest

import hosts
from slow_link import SlowLink

A, B, C = "192.168.1.2", "192.168.1.3", "10.42.0.141"


class Echo(threading.Thread):
    """Sends back what comes, in a host."""

    def __init__(self, host, port=7000):
        super().__init__(daemon=True)
        with host.inside():
            self.listener = socket.create_server((str(host), port))

    def run(self):
        with contextlib.suppress(OSError):
            while True:
                sock = self.listener.accept()[0]
                threading.Thread(target=self.serve, args=(sock,), daemon=True).start()

    def serve(self, sock):
        with sock, contextlib.suppress(OSError):
            while data := sock.recv(65536):
                sock.sendall(data)

    def stop(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.join()
        self.listener.close()


class Base(unittest.TestCase):
    def network(self, *addresses):
        net = hosts.Network(*addresses)
        self.addCleanup(net.close)
        return net

    def echo(self, host):
        echo = Echo(host)
        echo.start()
        self.addCleanup(echo.stop)
        return echo

    def connect(self, host, address, port=7000, timeout=5):
        with host.inside():
            sock = socket.create_connection((str(address), port), timeout)
        self.addCleanup(sock.close)
        return sock

    def echoed(self, sock, data=b"x"):
        sock.sendall(data)
        got = b""
        while len(got) < len(data):
            part = sock.recv(65536)
            if not part:
                raise ConnectionError("the link ended after %d of %d bytes" % (len(got), len(data)))
            got += part
        return got

    def silent(self, sock, wait_s=0.3):
        """Nothing comes, and nobody says why."""
        sock.settimeout(wait_s)
        sock.sendall(b"y")
        with self.assertRaises(TimeoutError):
            sock.recv(1)
        sock.settimeout(10)


class Hosts(Base):
    def test_hosts_of_different_subnets_reach_each_other_under_their_addresses(self):
        net = self.network(A, B, C)
        for host in net.hosts:
            self.echo(host)
        for source in net.hosts:
            for target in net.hosts:
                sock = self.connect(source, target)
                self.assertEqual(self.echoed(sock), b"x")
                self.assertEqual(sock.getsockname()[0], str(source))

    def test_this_process_stays_outside(self):
        net = self.network(A)
        with net[A].inside(), socket.socket() as inside:
            inside.bind((A, 0))
        with socket.socket() as outside, self.assertRaises(OSError):
            outside.bind((A, 0))
        self.assertIs(net[A], net.hosts[0])
        self.assertRaises(KeyError, net.__getitem__, B)

    def test_two_networks_with_the_same_addresses_do_not_meet(self):
        first, second = self.network(A, B), self.network(A, B)
        self.echo(first[A])
        self.assertEqual(self.echoed(self.connect(first[B], A)), b"x")
        with self.assertRaises(ConnectionRefusedError):
            self.connect(second[B], A)

    def test_cut_is_silent_and_joined_connections_go_on(self):
        net = self.network(A, B, C)
        a, b, c = net.hosts
        self.echo(a)
        from_b, from_c = self.connect(b, a), self.connect(c, a)
        net.cut(a, b)
        self.silent(from_b)
        self.assertEqual(self.echoed(from_c), b"x")
        with self.assertRaises(TimeoutError):
            self.connect(b, a, timeout=0.3)
        net.join(a, b)
        self.assertEqual(from_b.recv(1), b"y")  # sent again by TCP

    def test_cut_one_way_lets_the_other_way_pass(self):
        net = self.network(A, B)
        a, b = net.hosts
        with b.inside():
            receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with a.inside():
            sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(receiver.close)
        self.addCleanup(sender.close)
        receiver.bind((B, 7000))
        sender.bind((A, 7000))
        net.cut_one_way(b, a)
        sender.sendto(b"1", (B, 7000))
        receiver.settimeout(5)
        sender.settimeout(0.3)
        self.assertEqual(receiver.recv(10), b"1")
        receiver.sendto(b"2", (A, 7000))
        with self.assertRaises(TimeoutError):
            sender.recv(10)
        net.join(a, b)
        receiver.sendto(b"3", (A, 7000))
        self.assertEqual(sender.recv(10), b"3")

    def test_unplugged_host_hears_and_says_nothing_until_it_is_plugged_in(self):
        net = self.network(A, B)
        a, b = net.hosts
        self.echo(a)
        sock = self.connect(b, a)
        a.unplug()
        self.silent(sock)
        a.plug()
        self.assertEqual(sock.recv(1), b"y")
        self.assertEqual(self.echoed(self.connect(b, a)), b"x")

    def test_isolated_host_keeps_those_it_is_not_cut_from(self):
        net = self.network(A, B, C)
        a, b, c = net.hosts
        self.echo(a)
        from_b, from_c = self.connect(b, a), self.connect(c, a)
        net.isolate(a, but=[c])
        self.silent(from_b)
        self.assertEqual(self.echoed(from_c), b"x")
        net.rejoin(a)
        self.assertEqual(from_b.recv(1), b"y")


class Processes(Base):
    def test_process_runs_in_its_host_and_ends_as_told(self):
        a = self.network(A).hosts[0]
        self.assertIn("inet %s/32" % A, a.run(["ip", "addr", "show", "eth0"]))
        with self.assertRaisesRegex(AssertionError, "exit status 3: no"):
            a.run(["sh", "-c", "echo no; exit 3"])
        process = a.start(["sleep", "100"])
        self.assertEqual(a.stop(process), -signal.SIGTERM)
        process = a.start(["sleep", "100"])
        a.kill(process)
        self.assertEqual(process.returncode, -signal.SIGKILL)
        first, second = a.start(["sleep", "100"]), a.start(["sleep", "100"])
        a.crash()
        self.assertEqual((first.returncode, second.returncode, a.processes), (-9, -9, []))

    def test_nothing_is_left_of_a_test_that_is_killed(self):
        text = ("import hosts, sys, time\nnet = hosts.Network('%s')\np = net.hosts[0].start(['sleep', '100'])\n"
                "print(p.pid, flush=True)\ntime.sleep(100)\n" % A)
        test = subprocess.Popen([sys.executable, "-B", "-c", text], stdout=subprocess.PIPE, text=True,
                                cwd=os.path.dirname(os.path.abspath(__file__)))
        pid = int(test.stdout.readline())
        sleeper = os.pidfd_open(pid)
        self.addCleanup(os.close, sleeper)
        test.kill()
        test.wait()
        test.stdout.close()
        self.assertTrue(select.select([sleeper], [], [], 10)[0], "process %d outlived its test" % pid)

    def test_telnet_is_the_real_program(self):
        if not (shutil.which("telnet") and shutil.which("expect")):
            self.skipTest("there is no telnet or expect program")
        a = self.network(A).hosts[0]
        with a.inside():
            listener = socket.create_server((A, 7000))
        self.addCleanup(listener.close)

        def console():
            with listener.accept()[0] as sock, sock.makefile("rb") as lines:
                for line in lines:
                    if line.startswith(b"exit"):
                        return
                    text = b'{"status":3}' if line.startswith(b"auth") else b"you typed " + line.strip()
                    sock.sendall(text + b"\r\n>")

        thread = threading.Thread(target=console, daemon=True)
        thread.start()
        self.assertEqual(a.telnet(A, 7000, "one", 'two {"a":[1]} $x [y]'), ["you typed one", 'you typed two {"a":[1]} $x [y]'])
        thread.join(10)
        with self.assertRaisesRegex(AssertionError, "refused"):
            a.telnet(A, 7001, "one")


class Links(Base):
    def setUp(self):
        self.net = self.network(A, B, C)
        a, b, c = self.net.hosts
        self.echo(a)
        self.link = SlowLink(b, 7001, A, 7000)
        self.client = c

    def through(self):
        return self.connect(self.client, B, 7001)

    def test_passes_what_comes_both_ways(self):
        sock = self.through()
        data = os.urandom(300000)
        sender = threading.Thread(target=sock.sendall, args=(data,))
        sender.start()
        got = b""
        while len(got) < len(data):
            got += sock.recv(65536)
        sender.join()
        self.assertEqual(got, data)
        sock.shutdown(socket.SHUT_WR)
        self.assertEqual(sock.recv(1), b"")
        self.assertEqual(self.link.statistics()["up"], len(data))

    def test_rate_is_kept_and_lifted(self):
        sock = self.through()
        self.link.rate(100000, "up")
        start = time.monotonic()
        self.echoed(sock, bytes(30000))
        self.assertGreater(time.monotonic() - start, 0.2)
        self.link.rate(1)
        sock.sendall(bytes(1000))
        self.link.rate(0)
        got = 0
        while got < 1000:
            got += len(sock.recv(65536))

    def test_delay_comes_once_each_way(self):
        sock = self.through()
        self.link.delay(100)
        start = time.monotonic()
        self.echoed(sock)
        self.assertGreater(time.monotonic() - start, 0.19)

    def test_stalled_direction_holds_and_goes_on(self):
        sock = self.through()
        self.echoed(sock)
        self.link.stall("down")
        self.silent(sock)
        self.assertEqual(self.link.statistics()["up"], 2)
        self.link.go("down")
        self.assertEqual(sock.recv(1), b"y")

    def test_cut_resets_and_refuses_until_joined(self):
        sock = self.through()
        self.echoed(sock)
        self.link.cut()
        with self.assertRaises(ConnectionResetError):
            sock.recv(1)
        with self.assertRaises(ConnectionRefusedError):
            self.through()
        self.link.join()
        self.assertEqual(self.echoed(self.through()), b"x")

    def test_cut_in_the_middle_passes_exactly_that_much(self):
        sock = self.through()
        self.link.cut_after(5, "up")
        sock.sendall(b"0123456789")
        with self.assertRaises(ConnectionResetError):
            while sock.recv(1):
                pass
        self.assertEqual(self.link.statistics()["up"], 5)
        self.assertEqual(self.echoed(self.through()), b"x")

    def test_wrong_commands_are_errors(self):
        for words in (("rate", "sideways", 1), ("rate", "up"), ("jump", "up")):
            with self.assertRaises(AssertionError):
                self.link.tell(*words)


if __name__ == "__main__":
    hosts.skip_unless_possible()
    hosts.clean_up_on_sigterm()
    unittest.main()
