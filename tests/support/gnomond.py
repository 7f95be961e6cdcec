"""Gnomonds under test: on scratch directories and free loopback ports, one alone or a cluster of them. Used by the tests,
the demos and the benchmarks."""

import os
import pathlib
import random
import signal
import socket
import subprocess
import time
import urllib.request


_marks = []  # sockets that say which ports are taken


def _ports():
    """Of these the kernel gives none to who connects or listens at port 0."""
    text = pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii")
    low, high = map(int, text.split())
    return max(range(10000, low), range(high + 1, 65536), key=len) or range(20000, 30000)


def free_port():
    """A port that is this process's until it ends, also while the node that listens there is down: another test beside this
    one sees that the UDP port of that number is taken, and no connection begins at it."""
    ports, rng = _ports(), random.SystemRandom()
    while True:
        port, mark = rng.choice(ports), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with socket.socket() as probe:
            try:
                mark.bind(("127.0.0.1", port))
                probe.bind(("127.0.0.1", port))
            except OSError:
                mark.close()
                continue
        _marks.append(mark)
        return port


class StartError(Exception):
    """The server ended before it was ready; the text is its log's end."""


class Server:
    def __init__(self, program, directory, *options, env=None):
        self.program, self.directory, self.options = str(program), pathlib.Path(directory), list(options)
        self.env = env
        self.process, self.port, self.http_port = None, free_port(), None

    @property
    def log(self):
        return self.directory / "gnomond.log"

    def begin(self):
        """Starts it and waits for nothing; what comes back says a line when it is ready."""
        ready_read, ready_write = os.pipe()
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [self.program, "--data-dir", str(self.directory / "data"), "--listen", f"127.0.0.1:{self.port}",
                 "--http-listen", "127.0.0.1:0", "--ready-fd", str(ready_write), *self.options],
                stdout=log, stderr=log, pass_fds=[ready_write], start_new_session=True, env=self.env)
        os.close(ready_write)
        return os.fdopen(ready_read)

    def start(self):
        """Returns the seconds until the server said that it is ready."""
        started = time.perf_counter()
        with self.begin() as ready:
            line = ready.readline()
        if not line:
            self.process.wait()
            raise StartError(f"gnomond ended with status {self.process.returncode}; its log ends:\n"
                             + self.log.read_text(errors="replace")[-3000:])
        fields = dict(field.split("=") for field in line.split())
        self.port, self.http_port = int(fields["port"]), int(fields["http_port"])
        return time.perf_counter() - started

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process = None

    def stop(self):
        """Asks it to end (SIGTERM) and returns its exit status; None if it was not running."""
        if not self.process:
            return None
        self.process.terminate()
        status = self.process.wait()
        self.process = None
        return status

    def uri(self):
        return f"postgresql://gnomon@127.0.0.1:{self.port}/gnomon"

    def metrics(self):
        """{name with its labels: value}; {} if it is not running or does not answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}/metrics", timeout=2) as answer:
                lines = answer.read().decode().splitlines()
        except OSError:
            return {}
        pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
        return {name: float(value) for name, _, value in pairs}


class Cluster:
    """Nodes on one machine, each in a zone of its own, numbered from 1 as they say it themselves."""

    def __init__(self, program, directory, *options):
        self.program, self.directory, self.options = program, pathlib.Path(directory), list(options)
        self.nodes = []  # Server; node number i is nodes[i - 1]

    def add(self):
        """Starts one more node: the first founds the cluster, the others join it. Returns the seconds until ready."""
        number, port = len(self.nodes) + 1, free_port()
        address = f"127.0.0.1:{port}"
        directory = self.directory / f"node-{number}"
        directory.mkdir()
        server = Server(self.program, directory, "--cluster-listen", address, "--zone", f"zone-{number}", *self.options)
        server.address = address
        if self.nodes:
            server.options += ["--join", ",".join(node.address for node in self.nodes if node.process)]
        self.nodes.append(server)
        return server.start()

    def votes(self, number):
        """Whether the node was given a vote in the meta group, as the logs tell."""
        words = f"membership change group=1 server={number} change=promote"
        return any(words in node.log.read_text(errors="replace") for node in self.nodes)

    def running(self):
        return [node for node in self.nodes if node.process]

    def stop(self):
        for node in self.running():
            node.process.terminate()
        for node in self.running():
            try:
                node.process.wait(30)
            except subprocess.TimeoutExpired:
                node.process.kill()
                node.process.wait()
            node.process = None

    def leaders(self):
        """How many groups each node leads: {number: groups}, of those that run."""
        return {number: int(node.metrics().get("gnomon_raft_leaders", 0))
                for number, node in enumerate(self.nodes, 1) if node.process}
