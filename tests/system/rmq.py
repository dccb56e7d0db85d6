"""RocketMQ remoting frames and a broker process, for system tests: python3's standard library only.

Connection speaks raw frames (JSON headers); Broker starts the real mqbroker in a temporary folder and waits for its boot line.
Specification: docs of the protocol, sections 1.1, 1.2, 3, 4, 5.1."""
import json
import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

SEND, PULL, QUERY_MESSAGE, QUERY_OFFSET, UPDATE_OFFSET = 10, 11, 12, 14, 15
SEARCH_OFFSET, MAX_OFFSET, MIN_OFFSET, EARLIEST_TIME, VIEW_MESSAGE = 29, 30, 31, 32, 33
HEARTBEAT, SEND_BACK, SEND_V2, SEND_BATCH = 34, 36, 310, 320
ONEWAY, RESPONSE = 2, 1


def mqbroker():
    path = os.environ.get("MQBROKER")
    if not path or not os.access(path, os.X_OK):
        sys.exit("MQBROKER must name the mqbroker program, it is %r" % path)
    return path


def free_port():
    """A port that nobody listens on now, with the two below it free as well (the fast port is listenPort - 2)."""
    while True:
        with socket.socket() as s, socket.socket() as fast:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
            try:
                fast.bind(("127.0.0.1", port - 2))
                return port
            except OSError:
                continue


def encode_frame(code, ext=None, body=b"", opaque=0, flag=0, version=409, language="OTHER"):
    header = {"code": code, "flag": flag, "language": language, "opaque": opaque, "version": version,
              "serializeTypeCurrentRPC": "JSON", "extFields": {k: str(v) for k, v in (ext or {}).items()}}
    text = json.dumps(header, separators=(",", ":")).encode()
    return struct.pack(">II", 4 + len(text) + len(body), len(text)) + text + body


class Frame:
    def __init__(self, data):
        header_len = struct.unpack(">I", data[:4])[0] & 0xFFFFFF
        header = json.loads(data[4:4 + header_len])
        self.code, self.opaque, self.flag = header["code"], header["opaque"], header["flag"]
        self.ext, self.remark = header.get("extFields") or {}, header.get("remark") or ""
        self.body = data[4 + header_len:]

    def __repr__(self):
        return "code %d, ext %r, remark %r, %d bytes" % (self.code, self.ext, self.remark, len(self.body))


class Connection:
    def __init__(self, port, timeout=20, address="127.0.0.1"):
        self.sock = socket.create_connection((address, port), timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.timeout = timeout
        self.opaque = 0
        self.buffer = b""
        self.others = {}   # answers that came while waiting for another
        self.requests = []  # what the broker asked us

    def post(self, code, ext=None, body=b"", flag=0, **more):
        """Sends a request and returns its opaque."""
        self.opaque += 1
        self.sock.sendall(encode_frame(code, ext, body, self.opaque, flag, **more))
        return self.opaque

    def take_frame(self):
        """A whole frame of what was received already, or None."""
        if len(self.buffer) < 4:
            return None
        length = struct.unpack(">I", self.buffer[:4])[0]
        if len(self.buffer) < 4 + length:
            return None
        data, self.buffer = self.buffer[4:4 + length], self.buffer[4 + length:]
        return Frame(data)

    def receive(self):
        """Reads what there is; False at the connection's end."""
        try:
            data = self.sock.recv(1 << 20)
        except ConnectionError:
            data = b""
        self.buffer += data
        return bool(data)

    def answer(self, opaque, timeout=None):
        deadline = time.monotonic() + (timeout or self.timeout)
        while opaque not in self.others:
            frame = self.take_frame()
            if frame is None:
                left = deadline - time.monotonic()
                if left <= 0 or not select.select([self.sock], [], [], left)[0]:
                    raise TimeoutError("no answer to request %d" % opaque)
                if not self.receive():
                    raise ConnectionError("the broker closed the connection")
            elif frame.flag & RESPONSE:
                self.others[frame.opaque] = frame
            else:
                self.requests.append(frame)
        return self.others.pop(opaque)

    def call(self, code, ext=None, body=b"", timeout=None, **more):
        return self.answer(self.post(code, ext, body, **more), timeout)

    def close(self):
        self.sock.close()

    # --- requests by name ---
    def send(self, topic, body, **options):
        return self.call(*send_request(topic, body, **options))

    def pull(self, topic, queue, offset, group="group", count=32, suspend_ms=0, expression="*", commit=None, timeout=None):
        return self.answer(self.post_pull(topic, queue, offset, group, count, suspend_ms, expression, commit), timeout)

    def post_pull(self, topic, queue, offset, group="group", count=32, suspend_ms=0, expression="*", commit=None, carried=True):
        flags = (4 if carried else 0) | (2 if suspend_ms else 0) | (1 if commit is not None else 0)
        return self.post(PULL, {
            "consumerGroup": group, "topic": topic, "queueId": queue, "queueOffset": offset, "maxMsgNums": count, "sysFlag": flags,
            "commitOffset": commit or 0, "suspendTimeoutMillis": suspend_ms, "subscription": expression, "subVersion": 1})

    def pull_all(self, topic, queue, begin=0, end=None, group="group"):
        """All messages of a queue from `begin` on, in order."""
        messages, offset = [], begin
        while end is None or offset < end:
            frame = self.pull(topic, queue, offset, group, 1000)
            if frame.code == 0:
                messages += decode_records(frame.body)
            elif frame.code == 19:
                break
            elif frame.code not in (20, 21):
                raise AssertionError("pull of %s/%d at %d: %r" % (topic, queue, offset, frame))
            offset = int(frame.ext["nextBeginOffset"])
        return messages


def encode_properties(properties):
    return "".join("%s\x01%s\x02" % item for item in (properties or {}).items())


def send_request(topic, body, queue=0, properties=None, group="producer", code=SEND_V2, sys_flag=0, queues=4, reconsume=0, batch=False,
                 max_reconsume=None):
    """Code, ext fields and body of a send, for call() or post()."""
    long_names = ["producerGroup", "topic", "defaultTopic", "defaultTopicQueueNums", "queueId", "sysFlag", "bornTimestamp", "flag",
                  "properties", "reconsumeTimes", "unitMode", "maxReconsumeTimes", "batch"]
    values = [group, topic, "TBW102", queues, queue, sys_flag, int(time.time() * 1000), 7, encode_properties(properties), reconsume, "false",
              max_reconsume, "true" if batch else "false"]
    names = long_names if code == SEND else "abcdefghijklm"
    return code, {n: v for n, v in zip(names, values) if v is not None}, body


def encode_batch(messages):
    """Body of a client batch of (body, properties)."""
    out = b""
    for body, properties in messages:
        text = encode_properties(properties).encode()
        out += struct.pack(">IIIII", 22 + len(body) + len(text), 0, 0, 3, len(body)) + body + struct.pack(">H", len(text)) + text
    return out


class Record:
    def __init__(self, data):
        (self.size, self.magic, self.crc, self.queue, self.flag, self.queue_offset, self.phys_offset, self.sys_flag,
         self.born) = struct.unpack(">IIIiiqqiq", data[:48])
        at = 56 if not self.sys_flag & 0x10 else 68
        self.store_ms, at = struct.unpack(">q", data[at:at + 8])[0], at + 8
        at += 8 if not self.sys_flag & 0x20 else 20
        self.reconsume, _, body_len = struct.unpack(">iqI", data[at:at + 16])
        at += 16
        self.body, at = data[at:at + body_len], at + body_len
        topic_len, at = data[at], at + 1
        self.topic, at = data[at:at + topic_len].decode(), at + topic_len
        length, at = struct.unpack(">H", data[at:at + 2])[0], at + 2
        pairs = [p.split("\x01") for p in data[at:at + length].decode().split("\x02") if p]
        self.properties = dict(pairs)
        assert at + length == self.size == len(data), "record sizes do not add up"


def decode_records(body):
    records = []
    while body:
        size = struct.unpack(">I", body[:4])[0]
        records.append(Record(body[:size]))
        body = body[size:]
    return records


class Broker:
    """The real program in a folder of its own. Settings are given as on the command line."""

    def __init__(self, folder=None, **settings):
        self.own_folder = folder is None
        self.folder = folder or tempfile.mkdtemp(prefix="cjmq-broker-")
        self.port = settings.pop("listenPort", None) or free_port()
        self.settings = dict(listenPort=self.port, brokerIP1="127.0.0.1", bindAddress="127.0.0.1", brokerName="broker-a", telnetPort=0, haListenPort=0,
                             storePathRootDir=self.folder + "/store", logDir=self.folder + "/log", diskReserveBytes=0,
                             fastListenPort=0, diskMaxUsedSpaceRatio=0)
        self.settings.update(settings)
        self.environment = dict(os.environ, HOME=self.folder)
        self.process = None
        self.connections = []

    def arguments(self):
        return [mqbroker()] + ["--%s=%s" % item for item in self.settings.items()]

    def start(self):
        self.process = subprocess.Popen(self.arguments(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                        env=self.environment)
        line = self.process.stdout.readline()
        if "boot success" not in line:
            raise AssertionError("the broker did not start: %r %r" % (line, self.process.stderr.read()))
        self.boot_line = line.rstrip("\n")
        return self

    def start_fails(self):
        """Starts a broker that must refuse to: returns (exit status, stderr)."""
        done = subprocess.run(self.arguments(), capture_output=True, text=True, timeout=30, env=self.environment)
        return done.returncode, done.stderr

    def connect(self, **options):
        """A connection, closed with the broker at the latest."""
        self.connections.append(Connection(self.port, **options))
        return self.connections[-1]

    def kill(self):
        self.process.kill()
        self.reap()

    def stop(self):
        """SIGTERM; returns the exit status."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.reap()

    def reap(self):
        if self.process is None:
            return 0
        try:
            _, self.stderr = self.process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
            raise AssertionError("the broker did not stop within 60 s")
        while self.connections:
            self.connections.pop().close()
        status, self.process = self.process.returncode, None
        return status

    def memory(self, name):
        """A VmX or RssX line of /proc/PID/status, in bytes."""
        with open("/proc/%d/status" % self.process.pid) as status:
            for line in status:
                if line.startswith(name + ":"):
                    return int(line.split()[1]) * 1024
        raise KeyError(name)

    def log(self):
        with open(self.folder + "/log/broker.log") as log:
            return log.read()

    def __enter__(self):
        return self.start()

    def __exit__(self, *exc):
        try:
            if self.process is not None:
                self.stop() if exc[0] is None else self.kill()
        finally:
            if self.own_folder:
                shutil.rmtree(self.folder, ignore_errors=True)
