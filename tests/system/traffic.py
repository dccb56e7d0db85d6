"""Runs traffic (traffic/traffic.c): producers and consumers that count what was acknowledged, came, came again, and is lost.

    with Traffic("192.168.1.3:9876", host=client) as traffic:
        ...                       # things go wrong
        report = traffic.finish() # stops, waits for what was acknowledged
    assert report["lost"] == 0

TRAFFIC names the program."""
import json
import os
import subprocess
import sys
import tempfile


class Traffic:
    def __init__(self, namesrv, host=None, **options):
        """`host`: of hosts.py; None: here. Options are the program's, with _ for -."""
        program = os.environ.get("TRAFFIC")
        if not program or not os.access(program, os.X_OK):
            sys.exit("TRAFFIC must name the traffic program, it is %r" % program)
        arguments = [program, "--namesrv", namesrv]
        for name, value in options.items():
            arguments += ["--" + name.replace("_", "-"), str(value)]
        self.warnings = tempfile.TemporaryFile("w+")  # a pipe that nobody reads would hold the client up when it is full
        pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.warnings, text=True)
        self.host = host
        self.process = host.start(arguments, **pipes) if host else subprocess.Popen(arguments, **pipes)
        self.last = None
        line = self.process.stdout.readline()
        if line != "ready\n":
            self.process.communicate(timeout=60)
            self.forget()
            raise AssertionError("traffic did not start: %r %s" % (line, self.said()))

    def tell(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().strip()
        if not answer or answer.startswith("error"):
            raise AssertionError("traffic: %s: %r" % (command, answer))
        return answer

    def mark(self):
        self.tell("mark")

    def stop(self):
        self.tell("stop")

    def drain(self, ms=20000):
        """0, or the number of acknowledged messages that have not come."""
        answer = self.tell("drain %d" % ms)
        return 0 if answer == "drained" else int(answer.split()[1])

    def report(self):
        self.last = json.loads(self.tell("report"))
        return self.last

    def finish(self):
        """Stops, drains, ends; the last report."""
        self.stop()
        output, _ = self.process.communicate("quit\n", timeout=120)
        if self.process.returncode != 0:
            raise AssertionError("traffic ended with %d: %s" % (self.process.returncode, self.said()))
        self.last = json.loads(output)
        self.forget()
        return self.last

    def said(self):
        self.warnings.seek(0)
        return self.warnings.read()

    def forget(self):
        if self.host and self.process in self.host.processes:
            self.host.processes.remove(self.process)
        self.process = None

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.forget()
            if exc[0] is not None and self.said():
                sys.stderr.write("traffic said:\n" + self.said()[-4000:])
