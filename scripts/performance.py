#!/usr/bin/env python3
"""Measures CJMQ beside the machine's own limits and writes the table of docs/performance.md.

    scripts/performance.py [--rounds 5] [--seconds 2.5] [--build build/release] [--probes ../shared/probes] [--dir DIR] [--write]
                           [--replication [--rocketmq JARS] | --retry ROWS]

Every round takes the limits F (disk.c), E1, EP, E64 (ref.c with lg.c) and then, on fresh stores, all phases with ASYNC_FLUSH and SYNC_FLUSH.
What is printed is the median over the rounds. With --write the table replaces what stands between the markers in docs/performance.md.
Needs a release build, a C compiler, and for the probes liburing-dev and librabbitmq-dev. Everything is on loopback, and one machine
carries the load generator too: compare within one run only.

--rocketmq measures RocketMQ's own brokers instead. JARS is a folder that tests/interop's Maven project fills:
    mvn -f tests/interop/apache-server/pom.xml -Papache49 dependency:copy-dependencies -DoutputDirectory=JARS
"""
import argparse
import json
import os
import re
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
MARKS = "<!-- figures: begin -->", "<!-- figures: end -->"
REPLICATED_WARM_S = 0.3
FIRST_FILES_S = 4  # SYNC_FLUSH fills log files with zeros in the background; a broker in service has done so
ROCKETMQ_MARKS = "<!-- rocketmq: begin -->", "<!-- rocketmq: end -->"
REPLICATED_MARKS = "<!-- replication: begin -->", "<!-- replication: end -->"
RETRY_MARKS = "<!-- retry: begin -->", "<!-- retry: end -->"
RETRY_APPS, RETRY_DUE, RETRY_DUE_S = 1_000, 50_000, 10  # delay level 3 of RocketMQ's table: 10 s
BACKLOG_MESSAGES = 100_000
FLUSHES = "ASYNC_FLUSH", "SYNC_FLUSH"
REPLICATED_SHAPES = {"1x1": (), "1x64": ("-f", "64"), "64x1": ("-c", "64"), "256x1": ("-c", "256"), "16x64": ("-c", "16", "-f", "64"),
                     "64x64": ("-c", "64", "-f", "64")}


def free_port():
    """A port that is free now, with those beside it that a broker takes (listenPort - 2, listenPort + 1) free as well."""
    while True:
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
        try:
            for beside in (-2, 1):
                with socket.socket() as s:
                    s.bind(("127.0.0.1", port + beside))
            return port
        except OSError:
            continue


def status_kib(pid, key):
    with open(f"/proc/{pid}/status") as f:
        for line in f:
            if line.startswith(key + ":"):
                return int(line.split()[1])
    return 0


class Server:
    """A daemon started by this script and ended by it."""

    def __init__(self, argv, log):
        self.out = open(log, "w")
        self.started = time.perf_counter()
        self.process = subprocess.Popen(argv, stdout=self.out, stderr=subprocess.STDOUT)
        self.pid = self.process.pid

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)
        self.out.close()


def frame(code):
    header = json.dumps({"code": code, "flag": 0, "language": "OTHER", "opaque": 1, "version": 409}).encode()
    return struct.pack(">II", 4 + len(header), len(header)) + header


def runtime_info(port):
    with socket.create_connection(("127.0.0.1", port)) as s, s.makefile("rb") as answer:
        s.sendall(frame(28))
        length, header = struct.unpack(">II", answer.read(8))
        answer.read(header & 0xffffff)
        return json.loads(answer.read(length - 4 - (header & 0xffffff)))["table"]


def first_answer_ms(server, port, code):
    """Milliseconds from exec to the answer to a first request."""
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port)) as s:
                s.sendall(frame(code))
                if s.recv(4):
                    return 1000 * (time.perf_counter() - server.started)
        except OSError:
            if server.process.poll() is not None:
                sys.exit(f"a server ended at its start; see {server.out.name}")


class Bench:
    def __init__(self, args, work):
        self.args, self.work = args, work
        self.bin = os.path.join(args.build, "bin")
        self.results = {}  # name -> list of values, one a round

    def add(self, name, value):
        self.results.setdefault(name, []).append(value)

    def median(self, name):
        values = self.results.get(name)
        return statistics.median(values) if values else float("nan")

    # --- the machine's limits ---

    def build_probes(self):
        flags = {"disk": ["-luring", "-lpthread"], "ref": ["-march=native", "-lpthread"], "lg": ["-lpthread", "-lrabbitmq"]}
        for name, extra in flags.items():
            source = os.path.join(self.args.probes, name + ".c")
            subprocess.run(["cc", "-O2", "-w", source, "-o", os.path.join(self.work, name)] + extra, check=True)

    def probe(self, *argv):
        return subprocess.run([os.path.join(self.work, argv[0]), *argv[1:]], check=True, capture_output=True, text=True).stdout

    def limits(self):
        out = self.probe("disk", self.work, "fdatasync", "zero", "4096", "2000")
        self.add("F", float(re.search(r"per_s=([\d.]+)", out).group(1)))
        port = free_port()
        folder = os.path.join(self.work, "ref.d")
        os.makedirs(folder, exist_ok=True)
        ref = subprocess.Popen([os.path.join(self.work, "ref"), str(port), folder, "null"])
        try:
            self.wait_for_port(port)
            for name, conns, depth in (("E1", 1, 1), ("EP", 1, 64), ("E64", 64, 1)):
                out = self.probe("lg", "rmq", "pub", str(port), str(conns), str(depth), str(self.args.seconds), "0", str(ref.pid))
                self.add(name, float(re.search(r"ack_per_s=([\d.]+)", out).group(1)))
        finally:
            ref.kill()
            ref.wait()

    @staticmethod
    def wait_for_port(port):
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                return
            except OSError:
                time.sleep(0.01)

    # --- CJMQ ---

    def mqbench(self, port, pid, *options):
        out = subprocess.run([os.path.join(self.bin, "mqbench"), "-b", f"127.0.0.1:{port}", "--quiet", "--json", "-", "-p", str(pid), *options],
                             check=True, capture_output=True, text=True).stdout
        return json.loads(out[out.index("{"):])

    def note_sends(self, prefix, r):
        self.add(prefix + " /s", r["sent"]["perSecond"])
        for key in ("p50Us", "p99Us", "p999Us"):
            self.add(f"{prefix} {key}", r["sendLatency"][key])
        self.add(prefix + " cpu", r["server"]["cpuUsPerMessage"])
        self.add(prefix + " errors", r["sent"]["errors"])

    def phases(self, flush):
        folder = tempfile.mkdtemp(dir=self.work)
        registry_port, port = free_port(), free_port()
        registry = Server([os.path.join(self.bin, "mqregistry"), f"--listenPort={registry_port}", "--telnetPort=0", "--bindAddress=127.0.0.1",
                           f"--storePathRootDir={folder}/registry", f"--logDir={folder}/logs"], f"{folder}/registry.out")
        registry_ms = first_answer_ms(registry, registry_port, 106)
        broker = Server([os.path.join(self.bin, "mqbroker"), "--brokerName=bench", "--brokerIP1=127.0.0.1", "--bindAddress=127.0.0.1",
                         f"--listenPort={port}", "--telnetPort=0", f"--namesrvAddr=127.0.0.1:{registry_port}", f"--flushDiskType={flush}",
                         f"--storePathRootDir={folder}/store", f"--logDir={folder}/logs"], f"{folder}/broker.out")
        try:
            self.add("start registry ms", registry_ms)
            self.add("start broker ms", first_answer_ms(broker, port, 28))
            # SYNC_FLUSH fills its first log file with zeros in the background; wait for it, as a broker in service has done.
            time.sleep(2)
            self.add(flush + " idle rss", (status_kib(registry.pid, "VmRSS") + status_kib(broker.pid, "VmRSS")) / 1024)
            s = str(self.args.seconds)
            self.note_sends(flush + " 1x1", self.mqbench(port, broker.pid, "-d", s))
            self.note_sends(flush + " 1x64", self.mqbench(port, broker.pid, "-d", s, "-f", "64"))
            self.note_sends(flush + " 64x1", self.mqbench(port, broker.pid, "-d", s, "-c", "64"))
            self.add(flush + " loaded anon", (status_kib(registry.pid, "RssAnon") + status_kib(broker.pid, "RssAnon")) / 1024)
            self.mqbench(port, broker.pid, "-t", "Backlog", "-N", str(BACKLOG_MESSAGES), "-f", "64")
            r = self.mqbench(port, broker.pid, "-t", "Backlog", "-m", "consume", "-B", "32")
            self.add(flush + " backlog /s", r["received"]["perSecond"])
            self.add(flush + " backlog cpu", r["server"]["cpuUsPerMessage"])
            r = self.mqbench(port, broker.pid, "-t", "Both", "-m", "both", "-f", "64", "-d", s, "-B", "128")
            self.note_sends(flush + " both", r)
            self.add(flush + " both out /s", r["received"]["perSecond"])
            r = self.mqbench(port, broker.pid, "-t", "EndToEnd", "-m", "e2e", "-r", "1000", "-w", "0.5", "-d", s)
            for key in ("p50Us", "p99Us", "p999Us"):
                self.add(f"{flush} e2e {key}", r["endToEndLatency"][key])
            self.add(flush + " loaded rss", (status_kib(registry.pid, "VmRSS") + status_kib(broker.pid, "VmRSS")) / 1024)
        finally:
            broker.stop()
            registry.stop()
            shutil.rmtree(folder)

    def alone_round(self):
        self.limits()
        for flush in FLUSHES:
            self.phases(flush)

    # --- a master and one slave ---

    def member(self, folder, name, port, *options):
        return Server([os.path.join(self.bin, "mqbroker"), "--brokerName=bench", "--brokerIP1=127.0.0.1", "--bindAddress=127.0.0.1",
                       f"--listenPort={port}", "--fastListenPort=0", f"--storePathRootDir={folder}/{name}",
                       f"--logDir={folder}/{name}-logs", *options], f"{folder}/{name}.out")

    @staticmethod
    def console(port, command):
        with socket.create_connection(("127.0.0.1", port)) as s:
            s.sendall(f"auth -u jmq -p jmq\r\n{command}\r\nexit\r\n".encode())
            text = b""
            while part := s.recv(65536):
                text += part
            return text.decode()

    def await_in_step(self, console, *servers):
        while True:
            for server in servers:
                if server.process.poll() is not None:
                    sys.exit(f"a server ended; see {server.out.name}")
            try:
                if 'inStep\\":1' in self.console(console, "monitor -i replication"):
                    return
            except OSError:
                pass
            time.sleep(0.05)

    def pair(self, folder, flush, role):
        """A master and the slave that follows it."""
        os.makedirs(folder)
        port, console, slave_port = (free_port() for _ in range(3))
        master = self.member(folder, "master", port, f"--haListenPort={port + 1}", f"--telnetPort={console}", f"--brokerRole={role}",
                             f"--flushDiskType={flush}")
        slave = self.member(folder, "slave", slave_port, "--haListenPort=0", "--telnetPort=0", "--brokerRole=SLAVE", "--brokerId=1",
                            f"--haMasterAddress=127.0.0.1:{port + 1}", f"--flushDiskType={flush}")
        self.await_in_step(console, master, slave)
        return port, slave_port, master, slave

    def rocketmq_member(self, folder, name, port, **properties):
        properties = {"brokerName": os.path.basename(folder), "brokerIP1": "127.0.0.1", "brokerIP2": "127.0.0.1", "listenPort": port,
                      "haListenPort": port + 1, "storePathRootDir": f"{folder}/{name}", "storePathCommitLog": f"{folder}/{name}/commitlog",
                      "waitTimeMillsInSendQueue": 20000, **properties}
        os.makedirs(f"{folder}/conf", exist_ok=True)
        for log in ("namesrv", "broker"):
            with open(f"{folder}/conf/logback_{log}.xml", "w") as f:
                f.write('<configuration><root level="OFF"/></configuration>')
        with open(f"{folder}/{name}.properties", "w") as f:
            f.writelines(f"{key}={value}\n" for key, value in properties.items())
        opens = ("--add-opens=java.base/java.nio=ALL-UNNAMED", "--add-opens=java.base/sun.nio.ch=ALL-UNNAMED",
                 "--add-opens=java.base/jdk.internal.ref=ALL-UNNAMED", "--add-exports=java.base/jdk.internal.ref=ALL-UNNAMED")
        server = Server(["java", "-Xms1g", "-Xmx1g", "-XX:+AlwaysPreTouch", *opens, f"-Duser.home={folder}/{name}-home",
                         f"-Drocketmq.home.dir={folder}", "-cp", f"{self.args.rocketmq}/*", "org.apache.rocketmq.broker.BrokerStartup",
                         "-c", f"{folder}/{name}.properties"], f"{folder}/{name}.out")
        self.wait_for_port(port)
        return server

    def rocketmq_pair(self, folder, flush, role):
        os.makedirs(folder)
        port = free_port()
        master = self.rocketmq_member(folder, "master", port, brokerRole=role, brokerId=0, flushDiskType=flush)
        slave_port = free_port()
        slave = self.rocketmq_member(folder, "slave", slave_port, brokerRole="SLAVE", brokerId=1, flushDiskType=flush,
                                     haMasterAddress=f"127.0.0.1:{port + 1}")
        while True:  # the slave comes some seconds later, and nothing tells when
            try:
                for options in REPLICATED_SHAPES.values():  # what the Java machine compiles on the way is not measured
                    self.mqbench(port, master.pid, "-d", "3", *options)
                break
            except subprocess.CalledProcessError as e:
                if master.process.poll() is not None or slave.process.poll() is not None:
                    sys.exit(f"a server ended; see {master.out.name}, {slave.out.name}: {e.stderr}")
                time.sleep(1)
        return port, slave_port, master, slave

    def replicated_sends(self, name, pair, options):
        port, slave_port, master, _ = pair
        seconds = self.args.seconds + REPLICATED_WARM_S
        r = self.mqbench(port, master.pid, "-d", str(self.args.seconds), "-w", str(REPLICATED_WARM_S), *options)
        begun = time.perf_counter()
        end = int(runtime_info(port)["commitLogMaxOffset"])
        while int(runtime_info(slave_port)["commitLogMaxOffset"]) < end:
            time.sleep(0.002)
        behind = time.perf_counter() - begun
        self.note_sends(name, r)
        self.add(name + " both /s", r["sent"]["perSecond"] * seconds / (seconds + behind))

    def replicated_round(self):
        """The same sends, in turns (there and back), to a master that waits for its slave and to one that does not."""
        roles = "ASYNC_MASTER", "SYNC_MASTER"
        for flush in FLUSHES:
            folder = tempfile.mkdtemp(dir=self.work)
            pairs, start = {}, self.rocketmq_pair if self.args.rocketmq else self.pair
            try:
                for role in roles:
                    pairs[role] = start(f"{folder}/{role}", flush, role)
                time.sleep(FIRST_FILES_S)
                for shape, options in REPLICATED_SHAPES.items():
                    for role in roles + roles[::-1]:
                        self.replicated_sends(f"{flush} {role} {shape}", pairs[role], options)
            finally:
                for _, _, master, slave in pairs.values():
                    slave.stop()
                    master.stop()
                shutil.rmtree(folder)

    def cost(self, name, other, values):
        """Of SYNCHRONOUS against ASYNCHRONOUS: the median over the rounds."""
        return 100 * statistics.median(1 - y / x for x, y in zip(self.results[name + values], self.results[other + values]))

    def replicated_table(self):
        m = self.median
        rows = [f"Medians of {self.args.rounds} rounds, {self.args.seconds} s a phase, 1 KiB bodies; both brokers and the producer on one "
                "machine.", "",
                "| flush, sends | ASYNCHRONOUS /s | SYNCHRONOUS /s | cost | cost until the slave has it | p50 us | p99 us |",
                "|---|---|---|---|---|---|---|"]
        for flush in FLUSHES:
            for shape in REPLICATED_SHAPES:
                a, s = f"{flush} ASYNC_MASTER {shape}", f"{flush} SYNC_MASTER {shape}"
                rows.append(f"| {flush} {shape} | {m(a + ' /s'):,.0f} | {m(s + ' /s'):,.0f} | {self.cost(a, s, ' /s'):.0f} % "
                            f"| {self.cost(a, s, ' both /s'):.0f} % "
                            f"| {m(a + ' p50Us'):,.0f}, {m(s + ' p50Us'):,.0f} | {m(a + ' p99Us'):,.0f}, {m(s + ' p99Us'):,.0f} |")
        return "\n".join(rows)

    # --- messages for later ---

    @staticmethod
    def await_waiting(port, rows, at_most):
        def now():
            return int(runtime_info(port)["timerCongestNum"])

        while (now() > rows) if at_most else (now() < rows):
            time.sleep(0.02)

    def retry_sends(self, port, pid, name):
        self.add(f"{name} /s", self.mqbench(port, pid, "-d", str(self.args.seconds), "-w", "0.5", "-f", "64")["sent"]["perSecond"])

    def retry(self):
        """Sends before and while rows wait, and how fast rows come and go."""
        folder, rows = tempfile.mkdtemp(dir=self.work), self.args.retry
        port = free_port()
        options = ("--haListenPort=0", "--telnetPort=0", f"--retryRowsMax={2 * rows + RETRY_DUE}")
        broker = self.member(folder, "retry", port, *options)
        try:
            self.wait_for_port(port)
            self.mqbench(port, broker.pid, "-d", str(self.args.seconds), "-f", "64")  # the first log files are made
            for _ in range(3):
                self.retry_sends(port, broker.pid, "before")
            self.add("anon before", status_kib(broker.pid, "RssAnon") / 1024)
            begun = time.perf_counter()
            later = ("-t", "Later", "-f", "64", "--apps", str(RETRY_APPS))
            self.add("later /s", self.mqbench(port, broker.pid, "-N", str(rows), "--delay", "18", *later)["sent"]["perSecond"])
            self.await_waiting(port, rows, False)
            self.add("rows in /s", rows / (time.perf_counter() - begun))
            for _ in range(3):
                self.retry_sends(port, broker.pid, "with rows")
            self.add("anon with rows", status_kib(broker.pid, "RssAnon") / 1024)
            begun = time.perf_counter()
            self.mqbench(port, broker.pid, "-N", str(RETRY_DUE), "--delay", "3", *later)
            self.await_waiting(port, rows + 1, False)
            self.await_waiting(port, rows, True)
            self.add("rows out /s", RETRY_DUE / (time.perf_counter() - begun - RETRY_DUE_S))
            broker.stop()
            broker = self.member(folder, "retry", port, *options)
            self.add("restart ms", first_answer_ms(broker, port, 28))
            self.await_waiting(port, rows, False)
        finally:
            broker.stop()
            shutil.rmtree(folder)

    def retry_table(self):
        m = self.median
        low, high = min(self.results["rows in /s"]), max(self.results["rows in /s"])
        return "\n".join([
            f"{self.args.retry:,} rows wait, of {RETRY_APPS:,} apps, 1 KiB bodies, in SQLite. Medians of {self.args.rounds} rounds.", "",
            "| what | |", "|---|---|",
            f"| delayed sends 1x64, per second | {m('later /s'):,.0f} |",
            f"| rows into the database, per second (lowest and highest round) | {m('rows in /s'):,.0f} ({low:,.0f}, {high:,.0f}) |",
            f"| {RETRY_DUE:,} rows that fall due at once: delivered per second | {m('rows out /s'):,.0f} |",
            f"| other sends 1x64: without rows, with them (ratio), per second | {m('before /s'):,.0f}, {m('with rows /s'):,.0f} "
            f"({m('with rows /s') / m('before /s'):.2f}) |",
            f"| anonymous memory of the broker: without rows, with them, MB | {m('anon before'):.1f}, {m('anon with rows'):.1f} |",
            f"| start with the rows to the first answer, ms | {m('restart ms'):,.0f} |"])

    # --- the table ---

    def table(self):
        m = self.median
        rows = [f"Limits of this machine in this run: F {m('F'):,.0f}/s, E1 {m('E1'):,.0f}/s, EP {m('EP'):,.0f}/s, E64 {m('E64'):,.0f}/s. "
                f"Medians of {self.args.rounds} rounds, {self.args.seconds} s a phase, 1 KiB bodies.", ""]
        rows += ["| sends | per second | ratio | aim | p50 us | p99 us | p99.9 us | server CPU us/message |", "|---|---|---|---|---|---|---|---|"]
        aims = {("ASYNC_FLUSH", "1x1"): ("E1", "0.85 E1"), ("ASYNC_FLUSH", "1x64"): ("EP", "0.4 EP"), ("ASYNC_FLUSH", "64x1"): ("E64", "0.55 E64"),
                ("SYNC_FLUSH", "1x1"): ("F", "0.85 F"), ("SYNC_FLUSH", "1x64"): ("F", "17 F"), ("SYNC_FLUSH", "64x1"): ("F", "10 F")}
        for (flush, shape), (limit, aim) in aims.items():
            p = f"{flush} {shape}"
            rows.append(f"| {p} | {m(p + ' /s'):,.0f} | {m(p + ' /s') / m(limit):.2f} {limit} | {aim} | {m(p + ' p50Us'):,.0f} | {m(p + ' p99Us'):,.0f} "
                        f"| {m(p + ' p999Us'):,.0f} | {m(p + ' cpu'):.2f} |")
        rows += ["", "| the rest | ASYNC_FLUSH | SYNC_FLUSH | aim |", "|---|---|---|---|"]

        def row(text, value, aim):
            rows.append(f"| {text} | {value('ASYNC_FLUSH')} | {value('SYNC_FLUSH')} | {aim} |")

        row(f"backlog of {BACKLOG_MESSAGES:,} messages consumed, per second (to own 1x64)",
            lambda f: f"{m(f + ' backlog /s'):,.0f} ({m(f + ' backlog /s') / m(f + ' 1x64 /s'):.1f}x)", "2x own 1x64")
        row("... server CPU us/message", lambda f: f"{m(f + ' backlog cpu'):.2f}", "")
        row("1x64 producer and a consumer at once: in, out per second", lambda f: f"{m(f + ' both /s'):,.0f}, {m(f + ' both out /s'):,.0f}", "out = in")
        row("end to end at 1,000/s: p50, p99, p99.9 us",
            lambda f: f"{m(f + ' e2e p50Us'):,.0f}, {m(f + ' e2e p99Us'):,.0f}, {m(f + ' e2e p999Us'):,.0f}", "p99 150 async")
        row("registry + broker idle, resident MB", lambda f: f"{m(f + ' idle rss'):.1f}", "8")
        row("registry + broker under load, anonymous MB", lambda f: f"{m(f + ' loaded anon'):.1f}", "48")
        row("registry + broker after all phases, resident MB (mapped log pages are the kernel's cache)", lambda f: f"{m(f + ' loaded rss'):.0f}", "")
        rows.append(f"| start to first answer, ms: registry, broker | {m('start registry ms'):.1f}, {m('start broker ms'):.1f} | | 12 |")
        errors = sum(sum(v) for k, v in self.results.items() if k.endswith(" errors"))
        rows += ["", f"Failed sends over all rounds: {errors:.0f}."]
        return "\n".join(rows)


def write_document(table, marks):
    path = os.path.join(ROOT, "docs", "performance.md")
    with open(path) as f:
        text = f.read()
    begin, end = text.index(marks[0]) + len(marks[0]), text.index(marks[1])
    with open(path, "w") as f:
        f.write(text[:begin] + "\n" + table + "\n" + text[end:])
    print(f"\nwritten into {path}")


def suite(bench):
    """What one round measures, what makes the table of all, and where that stands in the document."""
    if bench.args.retry:
        return bench.retry, bench.retry_table, RETRY_MARKS
    if bench.args.replication:
        return bench.replicated_round, bench.replicated_table, ROCKETMQ_MARKS if bench.args.rocketmq else REPLICATED_MARKS
    bench.build_probes()
    return bench.alone_round, bench.table, MARKS


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.5)
    parser.add_argument("--build", default=os.path.join(ROOT, "build", "release"))
    parser.add_argument("--probes", default=os.path.join(ROOT, "..", "shared", "probes"))
    parser.add_argument("--dir", default=None, help="folder on the disk to be measured (default: the build folder)")
    parser.add_argument("--write", action="store_true", help="put the table into docs/performance.md")
    parser.add_argument("--replication", action="store_true", help="measure a master and a slave instead")
    parser.add_argument("--rocketmq", metavar="JARS", help="with --replication: RocketMQ's brokers from this folder")
    parser.add_argument("--retry", type=int, metavar="ROWS", help="measure a broker with so many messages for later instead")
    args = parser.parse_args()
    work = tempfile.mkdtemp(prefix="performance-", dir=args.dir or args.build)
    try:
        bench = Bench(args, work)
        measure, tabulate, marks = suite(bench)
        for i in range(args.rounds):
            print(f"round {i + 1} of {args.rounds}", flush=True)
            measure()
        table = tabulate()
    finally:
        shutil.rmtree(work)
    print(table)
    if args.write:
        write_document(table, marks)


if __name__ == "__main__":
    main()
