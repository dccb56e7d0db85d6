"""Hosts of their own for system tests: network namespaces with exactly the addresses that a test asks for, joined by a router.

    with Network("192.168.1.2", "192.168.1.3") as net:
        a, b = net.hosts
        process = b.start([program, "--bindAddress=192.168.1.3"])
        with a.inside():                       # this thread's new sockets are a's
            sock = socket.create_connection(("192.168.1.3", 9876))
        net.cut(a, b)                          # nothing passes between them, neither is told
        b.unplug(); b.plug()                   # the cable

Each host has one link to the router, its address as /32 on it, and all else by the router, so addresses of any subnets may be mixed.
What is not to pass is dropped without a word, as by a dead switch: senders find out by their own timeouts.

The namespaces have no names. They live as long as this process has them open or a process runs in them, and those are killed
by the kernel with the thread that started them: nothing is left behind, however the test ends. To look into a host of a running test:
nsenter --net=PATH with the path that Host.path names. One thread makes networks and starts processes; inside() works in any.

Without CAP_NET_ADMIN and CAP_SYS_ADMIN skip_unless_possible() prints why and exits with 77, which ctest counts as skipped."""
import contextlib
import ctypes
import ipaddress
import os
import shutil
import signal
import subprocess
import sys
import threading

CLONE_NEWNET = 0x40000000
PR_SET_PDEATHSIG = 1
SKIPPED = 77
REPLY_MARK = "<<reply>>"  # of telnet/type_lines.exp
ROUTER_ADDRESS = "169.254.1.1"  # each host's router, on its link only

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result, what):
    if result != 0:
        error = ctypes.get_errno()
        raise OSError(error, "%s: %s" % (what, os.strerror(error)))


def _enter(fd):
    _check(_libc.setns(fd, CLONE_NEWNET), "setns")


def _die_with_parent():
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def new_namespace():
    """A network namespace, as an open file. A thread of its own makes it and ends: this one stays where it is."""
    result = []

    def make():
        try:
            _check(_libc.unshare(CLONE_NEWNET), "unshare")
            result.append(os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC))
        except OSError as error:
            result.append(error)

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    if isinstance(result[0], OSError):
        raise result[0]
    return result[0]


def skip_unless_possible():
    """Ends the test as skipped where namespaces cannot be made. Call it before anything else."""
    if shutil.which("ip") is None:
        print("skipped: needs ip (Debian: iproute2)")
        sys.exit(SKIPPED)
    try:
        fd = new_namespace()
    except OSError:
        print("skipped: needs CAP_NET_ADMIN")
        sys.exit(SKIPPED)
    try:
        _run_ip(fd, ["link set lo up"])
    except RuntimeError:
        print("skipped: needs CAP_NET_ADMIN")
        sys.exit(SKIPPED)
    finally:
        os.close(fd)


def clean_up_on_sigterm():
    """SIGTERM ends the test by an exception, so that its folders are removed as after any failure."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


def _run_ip(fd, lines):
    """Commands of `ip` in a namespace, all at once."""
    done = subprocess.run(["ip", "-batch", "-"], input="".join(line + "\n" for line in lines), text=True, capture_output=True,
                          preexec_fn=lambda: _enter(fd))
    if done.returncode != 0:
        raise RuntimeError("ip: %s(commands: %s)" % (done.stderr, "; ".join(lines)))


class Namespace:
    def __init__(self):
        self.fd = new_namespace()

    @property
    def path(self):
        return "/proc/%d/fd/%d" % (os.getpid(), self.fd)

    def ip(self, *lines):
        _run_ip(self.fd, lines)

    @contextlib.contextmanager
    def inside(self):
        """In it this thread's new sockets belong to the namespace; they stay usable afterwards. Processes are started by start()."""
        before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _enter(self.fd)
            yield self
        finally:
            _enter(before)
            os.close(before)

    def close(self):
        os.close(self.fd)


class Host(Namespace):
    def __init__(self, network, address, link):
        super().__init__()
        self.network, self.address, self.link = network, str(ipaddress.ip_address(address)), link
        self.plugged = True
        self.processes = []

    def __str__(self):
        return self.address

    def start(self, arguments, environment=None, **options):
        """subprocess.Popen in this host, in a session of its own. It is killed with this test at the latest."""
        def before_exec():
            _die_with_parent()
            _enter(self.fd)

        process = subprocess.Popen(arguments, preexec_fn=before_exec, start_new_session=True,
                                   env=dict(os.environ, **(environment or {})), **options)
        self.processes.append(process)
        return process

    def run(self, arguments, timeout=30, check=True, **options):
        """Runs a program in this host to its end; returns what it printed. With `check` a failure raises what it said."""
        options.setdefault("stdout", subprocess.PIPE)
        options.setdefault("stderr", subprocess.STDOUT)
        text = options.pop("input", None)
        process = self.start(arguments, text=True, stdin=subprocess.PIPE, **options)
        try:
            output, _ = process.communicate(text, timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            output, _ = process.communicate()
            raise AssertionError("%s in %s has not ended within %d s; it printed: %s" % (arguments, self, timeout, output))
        finally:
            self.processes.remove(process)
        if check and process.returncode != 0:
            raise AssertionError("%s in %s: exit status %d: %s" % (arguments, self, process.returncode, output))
        return output

    def kill(self, process):
        """kill -9."""
        process.kill()
        self._reap(process, 10)

    def stop(self, process, timeout=30):
        """SIGTERM; the exit status."""
        process.terminate()
        return self._reap(process, timeout)

    def _reap(self, process, timeout):
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError("process %d of %s has not ended within %d s" % (process.pid, self, timeout)) from None
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()
        if process in self.processes:
            self.processes.remove(process)
        return process.returncode

    def telnet(self, address, port, *lines, login="auth -u jmq -p jmq"):
        """Types lines into the real telnet program, run by expect in this host, and returns the console's reply to each."""
        script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "telnet", "type_lines.exp")
        output = self.run(["expect", "-f", script, address, str(port), login, *lines])
        replies = output.split(REPLY_MARK)[1:]
        assert len(replies) == len(lines), output
        return [reply.strip() for reply in replies]

    def crash(self):
        """All processes of this host are gone, at once."""
        for process in self.processes:
            process.kill()
        for process in list(self.processes):
            self._reap(process, 10)

    # --- the cable ---

    def unplug(self):
        if self.plugged:
            self.network.router.ip("link set %s down" % self.link)
            self.plugged = False

    def plug(self):
        if not self.plugged:
            self.network.router.ip("link set %s up" % self.link, "route add %s/32 dev %s" % (self.address, self.link))
            self.plugged = True


class Network:
    def __init__(self, *addresses):
        self.router = Namespace()
        self.hosts = []
        self.cuts = {}  # (from, to) -> number of the router's rule
        try:
            self.router.ip("link set lo up")
            with self.router.inside(), open("/proc/sys/net/ipv4/ip_forward", "w") as forward:
                forward.write("1")
            for address in addresses:
                self.add(address)
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def __getitem__(self, address):
        """The host of an address."""
        for host in self.hosts:
            if host.address == address:
                return host
        raise KeyError(address)

    def add(self, address):
        """One more host."""
        host = Host(self, address, "port%d" % len(self.hosts))
        self.hosts.append(host)
        # The blackhole counts while the cable is out: without it the router would say that there is no route, which no switch does.
        self.router.ip(
            "link add %s type veth peer name eth0 netns %s" % (host.link, host.path),
            "addr add %s/32 dev %s" % (ROUTER_ADDRESS, host.link),
            "link set %s up" % host.link,
            "route add %s/32 dev %s" % (host.address, host.link),
            "route add blackhole %s/32 metric 1000" % host.address)
        host.ip(
            "link set lo up",
            "addr add %s/32 dev eth0" % host.address,
            "link set eth0 up",
            "route add %s dev eth0" % ROUTER_ADDRESS,
            "route add default via %s" % ROUTER_ADDRESS)
        return host

    # --- what passes ---

    def cut_one_way(self, source, destination):
        """What `source` sends does not reach `destination` any more."""
        if (source, destination) in self.cuts:
            return
        number = 1 + max(self.cuts.values(), default=100)
        self.router.ip("rule add from %s to %s priority %d blackhole" % (source, destination, number))
        self.cuts[source, destination] = number

    def join_one_way(self, source, destination):
        number = self.cuts.pop((source, destination), None)
        if number is not None:
            self.router.ip("rule del priority %d" % number)

    def cut(self, a, b):
        """Nothing passes between two hosts."""
        self.cut_one_way(a, b)
        self.cut_one_way(b, a)

    def join(self, a, b):
        self.join_one_way(a, b)
        self.join_one_way(b, a)

    def isolate(self, host, but=()):
        """Cuts a host from all others except those of `but`."""
        for other in self.hosts:
            if other is not host and other not in but:
                self.cut(host, other)

    def rejoin(self, host):
        for other in self.hosts:
            if other is not host:
                self.join(host, other)

    def close(self):
        for host in self.hosts:
            host.crash()
        for host in self.hosts:
            host.close()
        self.hosts = []
        self.router.close()
