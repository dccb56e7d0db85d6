"""Drives the console with the real telnet program on a pseudo-terminal: what an operator types, what he sees.

usage: test_terminal.py CONSOLE_SERVER; exit status 77 (skipped) when there is no telnet program
"""
import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time

WAIT_SECONDS = 10


class Terminal:
    """A program on a pseudo-terminal."""

    def __init__(self, *argv):
        self.seen = b""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ["TERM"] = "xterm"
            os.execvp(argv[0], argv)

    def type(self, keys):
        os.write(self.fd, keys.encode())

    def expect(self, text):
        """Waits until `text` has come, forgets everything up to it, and returns what came before it."""
        wanted = text.encode()
        deadline = time.monotonic() + WAIT_SECONDS
        while wanted not in self.seen:
            left = deadline - time.monotonic()
            ready = left > 0 and select.select([self.fd], [], [], left)[0]
            try:
                more = os.read(self.fd, 4096) if ready else b""
            except OSError:
                more = b""
            if not more:
                raise AssertionError(f"expected {wanted!r}, seen {self.seen!r}")
            self.seen += more
        before, _, self.seen = self.seen.partition(wanted)
        return before

    def close(self):
        os.close(self.fd)
        os.waitpid(self.pid, 0)


def plain_session(port):
    """JMQ's quick start in the client's own line mode; no option byte is sent, so the client stays in it."""
    t = Terminal("telnet", "127.0.0.1", port)
    t.expect("Escape character is '^]'.\r\n")
    t.type("topic get\n")
    t.expect('{"message":"no auth, auth firstly","status":1}\r\n>')
    t.type("auth -u jmq -p jmq\n")
    t.expect('{"message":"auth success","status":3,"type":"auth"}\r\n>')
    t.type('  topic set [ {"topic": "topic_simple",\n')
    t.expect("...>")
    t.type('    "groups": ["jmq102"], "queues": 5} ]\n')
    t.expect('{"message":"ok","status":0}\r\n>')
    t.type("half a line\x03")
    t.expect("^C")
    t.expect("\r\n>")
    t.type("topic get\n")
    t.expect('topic get\r\n{"message":"[ {\\"topic\\": \\"topic_simple\\",\\n    '
             '\\"groups\\": [\\"jmq102\\"], \\"queues\\": 5} ]","status":0}\r\n>')
    t.type("later\n")
    t.expect("it is later now\r\n>")
    return t


def line_editing(t):
    t.type("to\tg\t\r")
    t.expect("topic get")
    t.expect('"status":0}\r\n>')
    t.type("\x1b[A")
    t.expect("topic get")
    t.type("\x15")  # ctrl-u
    t.expect("\r\x1b[J>")
    t.type("\u4e2d\u6587")  # double width: backspace goes back two columns
    t.expect("\u4e2d\u6587")
    t.type("\x7f")
    t.expect("\b\b\x1b[K")
    t.type("!\r")
    t.expect("!\r\n\u4e2d!:text is not found.\r\n>")
    t.type("topic set [\r")
    t.expect("...>")
    t.type("abc\x03")
    t.expect("^C\r\n>")
    t.type("history\r")
    listing = t.expect("history\r\n").decode() + t.expect("\r\n>").decode()
    assert "auth" not in listing, listing
    t.type("exit\r")
    t.expect("Connection closed by foreign host.")
    t.close()


def asked_for(port):
    t = plain_session(port)
    t.type("edit on\n")
    t.expect("line editing is on\r\n>")
    line_editing(t)


def negotiated(port):
    """`open HOST -PORT` lets the client negotiate first: it gets line editing without asking."""
    t = Terminal("telnet")
    t.expect("telnet> ")
    t.type(f"open 127.0.0.1 -{port}\n")
    t.expect("Escape character is '^]'.\r\n")
    t.expect(">")
    t.type("auth -u jmq -p jmq\r")
    t.expect('{"message":"auth success","status":3,"type":"auth"}\r\n>')
    line_editing(t)


def main():
    if shutil.which("telnet") is None:
        print("skipped: there is no telnet program (Debian: inetutils-telnet)")
        return 77
    server = subprocess.Popen([sys.argv[1]], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        port = server.stdout.readline().decode().strip()
        assert re.fullmatch(r"\d+", port), port
        asked_for(port)
        negotiated(port)
    finally:
        server.stdin.close()
        status = server.wait(WAIT_SECONDS)
    assert status == 0, f"console_server ended with {status}"
    return 0


if __name__ == "__main__":
    sys.exit(main())
