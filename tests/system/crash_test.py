"""Sends under SYNC_FLUSH, kills the broker with SIGKILL at a random moment, restarts it, and verifies - round after round on one store:

  1. every acknowledged message is there, with its content, at the queue offset it was acknowledged at;
  2. queue offsets of each queue are contiguous from 0 on, and no message is in a queue twice;
  3. what is there was sent by us (nothing torn is delivered).

Small files, so that the log and the consume queues roll over many times. Some rounds are killed while they recover, some stop cleanly.
Usage: crash_test.py [ROUNDS [SEED]]; MQBROKER names the program."""
import random
import select
import shutil
import sys
import threading
import zlib

from rmq import *

TOPIC, QUEUES, CONNECTIONS, WINDOW = "Crash", 4, 6, 12
LOG_FILE_BYTES, QUEUE_FILE_BYTES = 512 * 1024, 1000 * 20
FULL_EVERY = 10  # rounds between verifications of everything; the others look at what is new


class Sent:
    """What was sent and what was acknowledged. A message is known by the number that its body begins with."""

    def __init__(self):
        self.next = 0
        self.bodies = {}       # number -> (CRC, length) of the body
        self.acknowledged = {}  # number -> (queue, offset)
        self.unverified = {}    # those of them that were not read back yet

    def make_body(self, rng):
        number = self.next
        self.next += 1
        size = rng.choice((20, 200, 200, 1000, 1000, 2000, 12000))
        body = (b"%010d" % number) + rng.randbytes(size)
        self.bodies[number] = (zlib.crc32(body), len(body))
        return number, body


class Sender:
    """One connection with WINDOW requests in flight; single messages and client batches."""

    def __init__(self, port, sent, rng):
        self.connection = Connection(port)
        self.sent, self.rng = sent, rng
        self.in_flight = {}  # opaque -> (queue, numbers)
        self.out = b""
        self.failed = None
        self.connection.sock.setblocking(False)

    def fill(self):
        while len(self.in_flight) < WINDOW and len(self.out) < 1 << 18:
            queue, batch = self.rng.randrange(QUEUES), self.rng.random() < 0.15
            messages = [self.sent.make_body(self.rng) for _ in range(self.rng.randrange(1, 12) if batch else 1)]
            body = encode_batch([(b, {}) for _, b in messages]) if batch else messages[0][1]
            code, ext, body = send_request(TOPIC, body, queue, code=SEND_BATCH if batch else SEND_V2, batch=batch, queues=QUEUES)
            self.connection.opaque += 1
            self.in_flight[self.connection.opaque] = (queue, [n for n, _ in messages])
            self.out += encode_frame(code, ext, body, self.connection.opaque)

    def write(self):
        self.fill()
        try:
            self.out = self.out[self.connection.sock.send(self.out):]
        except BlockingIOError:
            pass

    def read(self):
        """Takes over what was acknowledged; False at the connection's end."""
        alive = self.connection.receive()
        while (frame := self.connection.take_frame()) is not None:
            queue, numbers = self.in_flight.pop(frame.opaque)
            if frame.code != 0:
                self.failed = self.failed or frame
                continue
            for i, number in enumerate(numbers):
                self.sent.unverified[number] = (queue, int(frame.ext["queueOffset"]) + i)
        return alive


def send_until_ended(senders, stops_cleanly):
    """Until every connection has ended; answers that still lay in the sockets count."""
    open_senders = {s.connection.sock: s for s in senders}
    while open_senders:
        readable, writable, _ = select.select(list(open_senders), list(open_senders), [], 30)
        for sock in readable:
            if not open_senders[sock].read():
                del open_senders[sock]
        for sock in writable:
            if sock not in open_senders:
                continue
            try:
                open_senders[sock].write()
            except ConnectionError:
                while open_senders[sock].read():
                    pass
                del open_senders[sock]
    for s in senders:
        s.connection.close()
        assert s.failed is None or (stops_cleanly and "stopping" in s.failed.remark), "a send was refused: %r" % s.failed


class Verifier:
    """Reads back what is stored, from where it came to the last time or from the beginning."""

    def __init__(self, sent):
        self.sent = sent
        self.restart()

    def restart(self):
        self.found, self.ends = {}, [0] * QUEUES
        self.sent.unverified.update(self.sent.acknowledged)

    def verify(self, broker):
        connection = broker.connect()
        for queue in range(QUEUES):
            records = connection.pull_all(TOPIC, queue, self.ends[queue])
            offsets = [r.queue_offset for r in records]
            assert offsets == list(range(self.ends[queue], self.ends[queue] + len(records))), "queue %d has a gap in its offsets" % queue
            self.ends[queue] += len(records)
            for r in records:
                number = int(r.body[:10])
                assert self.sent.bodies.get(number) == (zlib.crc32(r.body), len(r.body)), "message %d has another content" % number
                assert r.queue == queue and number not in self.found, "message %d is there twice or in another queue" % number
                self.found[number] = (queue, r.queue_offset)
        for number, place in self.sent.unverified.items():
            assert self.found.get(number) == place, "acknowledged message %d was at queue %d offset %d, now: %s" % (
                (number,) + place + (self.found.get(number, "lost"),))
        self.sent.acknowledged.update(self.sent.unverified)
        self.sent.unverified.clear()
        connection.close()
        return len(self.found)


def kill_while_recovering(broker, rng):
    recovering = subprocess.Popen(broker.arguments(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        recovering.wait(rng.uniform(0.0, 0.02))
    except subprocess.TimeoutExpired:
        pass
    recovering.kill()
    recovering.wait()


def run_round(broker, sent, rng):
    """Sends until the broker is gone. Returns what happened."""
    senders = [Sender(broker.port, sent, rng) for _ in range(CONNECTIONS)]
    cleanly, again = rng.random() < 0.1, rng.random() < 0.15
    timer = threading.Timer(rng.uniform(0.02, 0.16), broker.process.terminate if cleanly else broker.process.kill)
    timer.start()
    send_until_ended(senders, cleanly)
    timer.join()
    broker.reap()
    if again:
        kill_while_recovering(broker, rng)
    return "%d acknowledged, %s%s" % (len(sent.unverified), "stopped" if cleanly else "killed", ", killed again while it recovered" if again else "")


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1 << 32)
    print("crash test: %d rounds, seed %d" % (rounds, seed), flush=True)
    rng, sent = random.Random(seed), Sent()
    verifier = Verifier(sent)
    broker = Broker(flushDiskType="SYNC_FLUSH", mappedFileSizeCommitLog=LOG_FILE_BYTES, mappedFileSizeConsumeQueue=QUEUE_FILE_BYTES,
                    maxTransferCountOnMessageInMemory=1000, maxMessageSize=262144, flushConsumeQueueThoroughInterval=300)
    passed = False
    try:
        for n in range(rounds):
            broker.start()
            if n % FULL_EVERY == 0:
                verifier.restart()
            if n > 0:
                verifier.verify(broker)
            print("round %d: %s" % (n, run_round(broker, sent, rng)), flush=True)
        broker.start()
        verifier.restart()
        stored = verifier.verify(broker)
        assert broker.stop() == 0
        files = len(os.listdir(broker.folder + "/store/commitlog"))
        print("%d messages sent, %d acknowledged, %d stored in %d log files: all acknowledged are in their place" % (
            sent.next, len(sent.acknowledged), stored, files))
        assert len(sent.acknowledged) > rounds * 20, "too few messages were acknowledged for this to mean anything"
        assert files > rounds / 5, "the log did not roll over"
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
