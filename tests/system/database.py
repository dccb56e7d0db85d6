#!/usr/bin/env python3
"""Runs a command beside a database server of its own, in a scratch folder, on a Unix socket only.

    database.py postgresql|mariadb COMMAND [ARG ...]

The command finds in its environment:
    CJMQ_TEST_RETRY_STORE      what to give as retryStore
    CJMQ_TEST_SERVER_CONTROL   a program that stops (hard) and starts the server, or lets it stand still and go on:
                               CONTROL stop|start|freeze|thaw
Exit status: the command's; 77 when the server is not installed, or cannot run here.
Other tests use it as a module: `with database.server("postgresql") as db: db.url, db.stop(), db.start()`.
"""
import contextlib
import glob
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time


class Missing(Exception):
    """The server cannot be run on this machine."""


def find_program(name, *folders):
    for folder in folders:
        for path in sorted(glob.glob(os.path.join(folder, name)), reverse=True):
            if os.access(path, os.X_OK):
                return path
    path = shutil.which(name)
    if path is None:
        raise Missing(f"{name} is not installed")
    return path


class Server:
    """A server process. Servers refuse to run as root: then the package's own user runs it."""

    user = None
    socket_name = None

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="cjmq-db-", dir="/tmp")
        self.process = None
        self.prefix = []
        if os.geteuid() == 0:
            try:
                entry = pwd.getpwnam(self.user)
            except KeyError:
                raise Missing(f"there is no user {self.user} to run the server as") from None
            os.chown(self.folder, entry.pw_uid, entry.pw_gid)
            self.prefix = [find_program("setpriv"), f"--reuid={self.user}", f"--regid={entry.pw_gid}", "--clear-groups"]

    def run(self, *args):
        done = subprocess.run(self.prefix + list(args), cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        if done.returncode != 0:
            raise Missing(f"{args[0]} failed: {done.stdout.decode(errors='replace')[-800:]}")

    def start(self):
        log = open(os.path.join(self.folder, "server.log"), "ab")
        self.process = subprocess.Popen(self.prefix + self.command(), cwd=self.folder, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        log.close()
        with open(os.path.join(self.folder, "control.pid"), "w", encoding="ascii") as f:
            f.write(str(self.process.pid))
        deadline = time.monotonic() + 60
        while not self.ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                with open(os.path.join(self.folder, "server.log"), encoding="utf-8", errors="replace") as f:
                    raise RuntimeError("the server does not start: " + f.read()[-1500:])
            time.sleep(0.05)

    def ready(self):
        probe = socket.socket(socket.AF_UNIX)
        try:
            probe.connect(os.path.join(self.folder, self.socket_name))
            return self.answers()
        except OSError:
            return False
        finally:
            probe.close()

    def stop(self, how=signal.SIGKILL):
        if self.process is None:
            return
        self.process.send_signal(how)
        self.process.wait(timeout=60)
        self.process = None

    def signal_all(self, number):
        """To the server and the processes that it started."""
        self.process.send_signal(number)
        pid = self.process.pid
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as f:
            for child in f.read().split():
                os.kill(int(child), number)

    def freeze(self):
        self.signal_all(signal.SIGSTOP)

    def thaw(self):
        self.signal_all(signal.SIGCONT)

    def close(self):
        if self.process is not None and self.process.poll() is None:
            self.thaw()
        self.stop(signal.SIGQUIT if self.user == "postgres" else signal.SIGTERM)
        shutil.rmtree(self.folder, ignore_errors=True)


class Postgresql(Server):
    user = "postgres"
    socket_name = ".s.PGSQL.5432"

    def __init__(self):
        folders = "/usr/lib/postgresql/*/bin"
        self.postgres, initdb = find_program("postgres", folders), find_program("initdb", folders)
        self.psql = find_program("psql", folders)
        super().__init__()
        self.run(initdb, "-D", "data", "-U", "cjmq", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync")
        self.url = f"postgresql://cjmq@/postgres?host={self.folder}"

    def command(self):
        return [self.postgres, "-D", os.path.join(self.folder, "data"), "-k", self.folder, "-h", "", "-c", "fsync=off",
                "-c", "unix_socket_permissions=0777"]

    def answers(self):
        return self.sql("SELECT 1") is not None

    def sql(self, text):
        done = subprocess.run([self.psql, "-XAt", self.url, "-c", text], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
        return done.stdout.decode() if done.returncode == 0 else None


class Mariadb(Server):
    user = "mysql"
    socket_name = "my.sock"

    def __init__(self):
        self.mariadbd = find_program("mariadbd", "/usr/sbin")
        install = find_program("mariadb-install-db")
        self.client = find_program("mariadb")
        super().__init__()
        self.run(install, "--no-defaults", "--datadir=" + os.path.join(self.folder, "data"), "--auth-root-authentication-method=normal",
                 "--skip-test-db")
        self.url = f"mysql://root@localhost/cjmq?socket={self.folder}/my.sock"

    def command(self):
        return [self.mariadbd, "--no-defaults", "--datadir=" + os.path.join(self.folder, "data"), "--skip-networking",
                f"--socket={self.folder}/my.sock", f"--pid-file={self.folder}/my.pid", "--innodb-flush-log-at-trx-commit=2",
                "--max-allowed-packet=64M"]

    def answers(self):
        return self.sql("CREATE DATABASE IF NOT EXISTS cjmq") is not None

    def sql(self, text):
        done = subprocess.run([self.client, "--no-defaults", "-uroot", f"--socket={self.folder}/my.sock", "-NBe", text],
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
        return done.stdout.decode() if done.returncode == 0 else None


@contextlib.contextmanager
def server(name):
    db = {"postgresql": Postgresql, "mariadb": Mariadb}[name]()
    try:
        db.start()
        yield db
    finally:
        db.close()


def serve_control(db, path, command):
    """Runs the command; stops and starts the server as the control program asks through two named pipes."""
    ask, answer = path + ".ask", path + ".answer"
    os.mkfifo(ask)
    os.mkfifo(answer)
    with open(path, "w", encoding="ascii") as f:
        f.write(f'#!/bin/sh\necho "$1" >{ask}\nread -r answer <{answer}\n[ "$answer" = done ]\n')
    os.chmod(path, 0o755)
    env = dict(os.environ, CJMQ_TEST_RETRY_STORE=db.url, CJMQ_TEST_SERVER_CONTROL=path)
    process = subprocess.Popen(command, env=env)
    asked = os.open(ask, os.O_RDONLY | os.O_NONBLOCK)
    while process.poll() is None:
        what = os.read(asked, 64).decode().strip()
        if what == "":
            time.sleep(0.02)
            continue
        {"stop": db.stop, "start": db.start, "freeze": db.freeze, "thaw": db.thaw}[what]()
        with open(answer, "w", encoding="ascii") as f:
            f.write("done\n")
    os.close(asked)
    return process.returncode


def main():
    if len(sys.argv) < 3 or sys.argv[1] not in ("postgresql", "mariadb"):
        print(__doc__, file=sys.stderr)
        return 2
    try:
        with server(sys.argv[1]) as db:
            return serve_control(db, os.path.join(db.folder, "control"), sys.argv[2:])
    except Missing as e:
        print(f"skipped: {e}")
        return 77


if __name__ == "__main__":
    sys.exit(main())
