#!/usr/bin/env python3
"""A TCP proxy that makes a link slow, late, stalled or broken, told so while it runs.

usage: slow_link.py LISTEN_ADDRESS LISTEN_PORT TARGET_ADDRESS TARGET_PORT

Prints "ready", then reads commands from standard input and answers each with one line, "ok" or "error: ..." (statistics: JSON).
DIRECTION is up (from those who connect), down (to them), or both:

    rate DIRECTION BYTES_PER_SECOND   0: as fast as it goes
    delay DIRECTION MS                each byte comes this much later
    stall DIRECTION | go DIRECTION    nothing passes, connections stay | goes on
    cut | join                        connections are reset and new ones refused | new ones are accepted again
    cut_after DIRECTION BYTES         passes so many more bytes, then resets all connections (new ones are accepted)
    statistics                        {"up": bytes, "down": bytes, "connections": open now, "accepted": ever}

The link holds at most 16 chunks of 64 KiB a direction and connection; then it stops reading, as a full switch does.
Tests use the class SlowLink, which runs this in a host of hosts.py."""
import asyncio
import json
import socket
import struct
import sys
import time

CHUNK, CHUNKS_HELD = 65536, 16


class Direction:
    """What holds for all connections' bytes of one direction."""

    def __init__(self, link):
        self.link = link
        self.rate, self.delay_ms, self.left, self.passed = 0, 0, None, 0
        self.free_at = 0.0  # when the next byte may leave at the rate
        self.open = asyncio.Event()
        self.open.set()
        self.changed = asyncio.Event()  # of the rate: who waits for its turn computes it anew

    def set_rate(self, rate):
        self.rate, self.free_at = rate, 0.0
        self.changed.set()
        self.changed = asyncio.Event()

    def piece(self):
        """Most bytes that leave at once: a fiftieth of a second's."""
        return max(1, min(CHUNK, self.rate // 50)) if self.rate else CHUNK

    async def turn(self, count):
        """Waits until `count` bytes may leave."""
        while True:
            await self.open.wait()
            now = time.monotonic()
            if not self.rate or self.free_at <= now:
                break
            try:
                await asyncio.wait_for(self.changed.wait(), self.free_at - now)
            except asyncio.TimeoutError:
                pass
        if self.rate:
            self.free_at = max(self.free_at, time.monotonic() - 0.02) + count / self.rate

    async def read(self, reader, held):
        while True:
            data = await reader.read(CHUNK)
            await held.put((time.monotonic() + self.delay_ms / 1000, data))
            if not data:
                return

    async def write(self, writer, held):
        while True:
            due, data = await held.get()
            await asyncio.sleep(max(0, due - time.monotonic()))
            if not data:
                await self.open.wait()
                writer.write_eof()
                return
            while data:
                size = self.piece()
                part, data = data[:size], data[size:]
                await self.turn(len(part))
                if self.left is not None:
                    part = part[:self.left]
                    self.left -= len(part)
                writer.write(part)
                self.passed += len(part)
                await writer.drain()
                if self.left == 0:
                    self.left = None
                    self.link.reset_all()
                    return


class Link:
    def __init__(self, listen, target):
        self.listen, self.target = listen, target
        self.up, self.down = Direction(self), Direction(self)
        self.writers, self.accepted, self.server = set(), 0, None

    async def join(self):
        if self.server is None:
            self.server = await asyncio.start_server(self.on_connection, *self.listen, reuse_address=True)

    def cut(self):
        if self.server is not None:
            self.server.close()
            self.server = None
        self.reset_all()

    def reset_all(self):
        for writer in list(self.writers):
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    async def on_connection(self, client_reader, client_writer):
        self.accepted += 1
        self.writers.add(client_writer)
        server_writer = None
        try:
            server_reader, server_writer = await asyncio.open_connection(*self.target)
            self.writers.add(server_writer)
            up, down = asyncio.Queue(CHUNKS_HELD), asyncio.Queue(CHUNKS_HELD)
            tasks = [asyncio.ensure_future(work) for work in (
                self.up.read(client_reader, up), self.up.write(server_writer, up),
                self.down.read(server_reader, down), self.down.write(client_writer, down))]
            try:
                await asyncio.gather(*tasks)
            finally:
                for task in tasks:
                    task.cancel()
        except OSError:
            pass  # one side is gone: so is the other, below
        finally:
            for writer in (client_writer, server_writer):
                if writer is not None:
                    self.writers.discard(writer)
                    writer.transport.abort()

    def directions(self, name):
        return {"up": [self.up], "down": [self.down], "both": [self.up, self.down]}[name]

    async def command(self, words):
        name, arguments = words[0], words[1:]
        if name == "statistics":
            return json.dumps({"up": self.up.passed, "down": self.down.passed, "connections": len(self.writers) // 2,
                               "accepted": self.accepted})
        if name == "cut":
            self.cut()
        elif name == "join":
            await self.join()
        else:
            for direction in self.directions(arguments[0]):
                if name == "rate":
                    direction.set_rate(int(arguments[1]))
                elif name == "delay":
                    direction.delay_ms = float(arguments[1])
                elif name == "stall":
                    direction.open.clear()
                elif name == "go":
                    direction.open.set()
                elif name == "cut_after":
                    direction.left = int(arguments[1])
                else:
                    return "error: no command " + name
        return "ok"


async def serve(listen, target):
    link = Link(listen, target)
    await link.join()
    print("ready", flush=True)
    commands = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    while line := await commands.readline():
        try:
            print(await link.command(line.decode().split()), flush=True)
        except (KeyError, IndexError, ValueError, OSError) as error:
            print("error: %s: %r" % (line.decode().strip(), error), flush=True)
    link.cut()


class SlowLink:
    """The proxy, run in a host: others reach (host, listen_port), it reaches the target."""

    def __init__(self, host, listen_port, target_address, target_port):
        self.host = host
        self.process = host.start(
            [sys.executable, "-B", __file__, str(host), str(listen_port), str(target_address), str(target_port)],
            text=True, stdin=-1, stdout=-1)
        line = self.process.stdout.readline()
        assert line == "ready\n", "slow_link.py did not start: %r" % line

    def tell(self, *words):
        self.process.stdin.write(" ".join(str(w) for w in words) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().strip()
        assert answer and not answer.startswith("error"), "%s: %r" % (words, answer)
        return answer

    def rate(self, bytes_per_second, direction="both"):
        self.tell("rate", direction, bytes_per_second)

    def delay(self, ms, direction="both"):
        self.tell("delay", direction, ms)

    def stall(self, direction="both"):
        self.tell("stall", direction)

    def go(self, direction="both"):
        self.tell("go", direction)

    def cut(self):
        self.tell("cut")

    def join(self):
        self.tell("join")

    def cut_after(self, count, direction):
        self.tell("cut_after", direction, count)

    def statistics(self):
        return json.loads(self.tell("statistics"))

    def close(self):
        self.host.kill(self.process)


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit(__doc__.split("\n\n")[1])
    asyncio.run(serve((sys.argv[1], int(sys.argv[2])), (sys.argv[3], int(sys.argv[4]))))
