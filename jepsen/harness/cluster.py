"""Nodes: how they are started, ended, frozen and found again. All that the harness knows of gnomond's options is here."""

import os
import pathlib
import re
import shutil
import signal
import subprocess
import threading
import time
import urllib.request

from harness import netns
from harness.netns import Unsupported
from harness.proxy import Proxy

SQL_PORT, HTTP_PORT, PEER_PORT = 5433, 8433, 7433
START_TIMEOUT = 60
FAKETIME = "/usr/lib/*/faketime/libfaketimeMT.so.1"


class StartError(Exception):
    """A node ended, or said nothing, instead of getting ready. status is its exit status, None if it hung."""

    def __init__(self, node, status, log):
        super().__init__(f"node {node} did not get ready, exit status {status}; its log ends:\n{log[-2000:]}")
        self.status, self.log = status, log


class Node:
    """One gnomond: number from 1, its directory, its process."""

    def __init__(self, cluster, number):
        self.cluster, self.number = cluster, number
        self.directory = cluster.directory / f"node-{number}"
        self.data, self.log = self.directory / "data", self.directory / "gnomond.log"
        self.namespace = cluster.network.namespace(number) if cluster.network else None
        self.process, self.port, self.http_port, self.proxy = None, None, None, None
        self.environment, self.paused, self.wanted, self.starts = dict(os.environ), False, False, 0
        self.deaths = []  # exit statuses of deaths that nobody asked for
        self.directory.mkdir(parents=True)
        self.data.mkdir()

    def _command(self, ready):
        command = [str(self.cluster.gnomond), "--data-dir", str(self.data), "--ready-fd", str(ready),
                   *self.cluster.options, *self.cluster.membership_options(self)]
        if self.namespace:
            return ["nsenter", f"--net=/run/netns/{self.namespace}", *command,
                    "--listen", f"127.0.0.1:{SQL_PORT}", "--http-listen", f"127.0.0.1:{HTTP_PORT}"]
        return [*command, "--listen", f"127.0.0.1:{self.port or 0}", "--http-listen", f"127.0.0.1:{self.http_port or 0}"]

    def start(self, timeout=START_TIMEOUT):
        """Returns when it said that it is ready."""
        if self.process:
            return
        ready_read, ready_write = os.pipe()
        log_start = self.log.stat().st_size if self.log.exists() else 0
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self._command(ready_write), stdout=log, stderr=log, env=self.environment,
                                            pass_fds=[ready_write], start_new_session=True)
        os.close(ready_write)
        self.paused, self.wanted, self.starts = False, True, self.starts + 1
        timer = threading.Timer(timeout, self.process.kill)
        timer.start()
        with os.fdopen(ready_read) as ready:
            line = ready.readline()
        hung = not timer.is_alive()
        timer.cancel()
        if not line:
            status = self.process.wait()
            self.process = None
            with open(self.log, "rb") as log:
                log.seek(log_start)
                text = log.read().decode(errors="replace")
            raise StartError(self.number, None if hung else status, text)
        fields = dict(field.split("=") for field in line.split())
        self.port, self.http_port = int(fields["port"]), int(fields["http_port"])

    def _signal(self, number):
        if self.process:
            self.process.send_signal(number)

    def kill(self):
        if self.process and self.process.poll() is None:
            self.wanted = False
            self._signal(signal.SIGKILL)
            self.process.wait()
            self.process = None

    def stop(self, timeout=60):
        """SIGTERM; returns the exit status. One that does not end in time counts as a death by itself."""
        if not self.running():
            return None
        self.wanted = False
        self.resume()
        self._signal(signal.SIGTERM)
        try:
            status = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGABRT)
            self.process.wait()
            self.deaths.append("hung for a minute after SIGTERM")
            status = None
        self.process = None
        return status

    def pause(self):
        if self.running():
            self._signal(signal.SIGSTOP)
            self.paused = True

    def resume(self):
        if self.paused:
            self._signal(signal.SIGCONT)
            self.paused = False

    def running(self):
        """Also notices a death: exit status or -signal goes to deaths."""
        if self.process and self.process.poll() is not None:
            self.deaths.append(self.process.returncode)
            self.process = None
        return self.process is not None

    def address(self):
        """Where clients connect, from within the node's namespace."""
        return self.proxy.address if self.proxy else ("127.0.0.1", self.port)

    def add_proxy(self, seed):
        self.proxy = Proxy(self.namespace, ("127.0.0.1", self.port), seed)

    def metrics(self):
        """{name: value} of the plain metrics; {} if it does not answer."""
        result = {}

        def ask():
            try:
                if self.namespace:
                    netns.enter(self.namespace)
                with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}/metrics", timeout=2) as answer:
                    for line in answer.read().decode().splitlines():
                        name, _, value = line.rpartition(" ")
                        if name and not name.startswith("#"):
                            result[name] = float(value)
            except (OSError, ValueError):
                pass
        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()
        return result


class Cluster:
    """n nodes; in namespaces where the machine permits it."""

    def __init__(self, gnomond, directory, count, options=(), namespaces=True):
        self.gnomond, self.directory, self.options = pathlib.Path(gnomond).resolve(), pathlib.Path(directory), list(options)
        self.network, self.mounts = None, []
        help_text = subprocess.run([self.gnomond, "--help"], capture_output=True, text=True, check=True).stdout
        self.known_options = set(re.findall(r"--[a-z-]+", help_text))
        if count > 1 and not self.can_join:
            raise Unsupported(f"{self.gnomond.name} has no option --join: it cannot be {count} nodes")
        self.no_network = None if namespaces else "switched off"
        self.no_network = self.no_network or netns.why_not()
        if self.no_network and count > 1:
            raise Unsupported(f"several nodes need network namespaces: {self.no_network}")
        if not self.no_network:
            self.network = netns.Network(range(1, count + 1))
        self.nodes = [Node(self, number) for number in range(1, count + 1)]

    @property
    def can_join(self):
        return "--join" in self.known_options

    def membership_options(self, node):
        """What makes a process a member: the first node founds the cluster, the others join it."""
        if len(self.nodes) == 1:
            return []
        options = ["--node-id", str(node.number), "--peer-listen", f"{self.network.address(node.number)}:{PEER_PORT}"]
        if node.number > 1:
            options += ["--join", f"{self.network.address(1)}:{PEER_PORT}"]
        return options

    def start(self):
        if self.network:
            self.network.create()
        for node in self.nodes:
            node.start()

    def leader(self):
        """The node that leads most groups; None if none says so."""
        led = [(node.metrics().get("gnomon_raft_leaders", 0), node) for node in self.nodes if node.running()]
        most = max(led, key=lambda pair: pair[0], default=(0, None))
        return most[1] if most[0] > 0 else None

    def restart_dead(self):
        """Starts what is not running. StartError passes through."""
        for node in self.nodes:
            node.resume()
            if not node.running():
                node.start()

    def small_disk(self, node, megabytes):
        """Puts the node's data on a tmpfs of that size; before its start."""
        if os.geteuid() != 0:
            raise Unsupported("a small disk needs root, to mount a tmpfs")
        try:
            netns.run("mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=700", "gnomon-jepsen", str(node.data))
        except RuntimeError as error:
            raise Unsupported(f"no right to mount: {error}") from None
        self.mounts.append(node.data)

    def close(self, keep):
        """Ends every process, unmounts, removes namespaces and, unless keep, the data. May be called at any time."""
        for node in self.nodes:
            node.wanted = False
            if node.proxy:
                node.proxy.stop()
                node.proxy = None
            node.resume()
            node.kill()
        for path in self.mounts:
            if keep:
                shutil.copytree(path, path.with_name("data-kept"), dirs_exist_ok=True, ignore=shutil.ignore_patterns("filler"))
            for _ in range(50):
                if subprocess.run(["umount", str(path)], capture_output=True, check=False).returncode == 0:
                    break
                time.sleep(0.1)
            else:
                subprocess.run(["umount", "-l", str(path)], capture_output=True, check=False)
        self.mounts = []
        if self.network:
            self.network.remove()
        if not keep:
            for node in self.nodes:
                shutil.rmtree(node.data, ignore_errors=True)
                shutil.rmtree(node.directory / "before-flip", ignore_errors=True)
