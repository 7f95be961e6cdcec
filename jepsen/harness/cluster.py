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

import psycopg

from harness import netns
from harness.netns import Unsupported
from harness.proxy import Proxy

SQL_PORT, HTTP_PORT, PEER_PORT, PEER_PROXY_PORT = 5433, 8433, 7433, 7434
START_TIMEOUT = 180
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
        self.process, self.port, self.http_port, self.proxy, self.peer_proxy = None, None, None, None, None
        self.environment, self.paused, self.starts = dict(os.environ), False, 0
        self.identity, self.joins = None, number > 1  # identity: its number in the cluster, once it said so
        self.deaths = []  # exit statuses of deaths that nobody asked for
        self._word, self._said, self._log_start = threading.Event(), "", 0
        self.directory.mkdir(parents=True)
        self.data.mkdir()

    def _command(self, ready):
        command = [str(self.cluster.gnomond), "--data-dir", str(self.data), "--ready-fd", str(ready),
                   *self.cluster.membership_options(self), *self.cluster.options]
        if self.namespace:
            return ["nsenter", f"--net=/run/netns/{self.namespace}", *command,
                    "--listen", f"127.0.0.1:{SQL_PORT}", "--http-listen", f"127.0.0.1:{HTTP_PORT}"]
        return [*command, "--listen", f"127.0.0.1:{self.port or 0}", "--http-listen", f"127.0.0.1:{self.http_port or 0}"]

    def launch(self):
        """Starts the process; wait_ready waits for it. A node of a cluster gets ready when it hears a majority."""
        if self.process:
            return
        if self.cluster.peer_proxy_seed is not None and not self.peer_proxy:
            address = self.cluster.network.address(self.number)
            self.peer_proxy = Proxy(self.namespace, (address, PEER_PORT), f"{self.cluster.peer_proxy_seed}/{self.number}",
                                    (address, PEER_PROXY_PORT), frames=True)
        ready_read, ready_write = os.pipe()
        self._log_start = self.log.stat().st_size if self.log.exists() else 0
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self._command(ready_write), stdout=log, stderr=log, env=self.environment,
                                            pass_fds=[ready_write], start_new_session=True)
        os.close(ready_write)
        self.paused, self.starts, self._word, self._said = False, self.starts + 1, threading.Event(), ""
        threading.Thread(target=self._listen, args=(ready_read, self._word), daemon=True).start()

    def _listen(self, descriptor, word):
        with os.fdopen(descriptor) as ready:
            line = ready.readline()
        if line and word is self._word:
            fields = dict(field.split("=", 1) for field in line.split())
            self.port, self.http_port, self._said = int(fields["port"]), int(fields["http_port"]), line
            self.identity = int(fields.get("node", self.number))
        word.set()

    def wait_ready(self, timeout=START_TIMEOUT):
        """Returns when it said that it is ready, or at once if it is not to run."""
        if not self.process:
            return
        hung = not self._word.wait(timeout)
        if hung:
            self.process.send_signal(signal.SIGABRT)
            self._word.wait(10)
        if hung or not self._said:
            status = self.process.wait()
            self.process = None
            with open(self.log, "rb") as log:
                log.seek(self._log_start)
                text = log.read().decode(errors="replace")
            raise StartError(self.number, None if hung else status, text)

    def start(self, timeout=START_TIMEOUT):
        self.launch()
        self.wait_ready(timeout)

    def _signal(self, number):
        if self.process:
            self.process.send_signal(number)

    def kill(self):
        if self.running():
            self._signal(signal.SIGKILL)
            self.process.wait()
            self.process = None

    def stop(self, timeout=180):
        """SIGTERM; returns the exit status. One that does not end in time counts as a death by itself."""
        if not self.running():
            return None
        self.resume()
        self._signal(signal.SIGTERM)
        try:
            status = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGABRT)
            self.process.wait()
            self.deaths.append(f"hung for {timeout} s after SIGTERM")
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

    def _get(self, path):
        """The text at a path of its HTTP port, None if there is none; from a thread of its own, which enters the namespace."""
        result = []

        def ask():
            try:
                if self.namespace:
                    netns.enter(self.namespace)
                with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}{path}", timeout=2) as answer:
                    result.append(answer.read().decode())
            except (OSError, ValueError):
                pass
        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()
        return result[0] if result else None

    def is_ready(self):
        """Every replica that it has knows a leader."""
        return self.running() and not self.paused and self._get("/ready") is not None

    def metrics(self):
        """{name: value} of the plain metrics; {} if it does not answer."""
        result = {}
        for line in (self._get("/metrics") or "").splitlines():
            name, _, value = line.rpartition(" ")
            if name and not name.startswith("#"):
                result[name] = float(value)
        return result

    def query(self, sql, timeout=1.5):
        """The rows; None if it does not answer in time: a nemesis has others to heal."""
        if not self.running() or self.paused:
            return None
        result = []

        def ask():
            try:
                if self.namespace:
                    netns.enter(self.namespace)
                with psycopg.connect(host="127.0.0.1", port=self.port, user="gnomon", dbname="gnomon", autocommit=True,
                                     connect_timeout=3, sslmode="disable", gssencmode="disable") as connection:
                    result.append(connection.execute(sql).fetchall())
            except (OSError, psycopg.Error):
                pass
        thread = threading.Thread(target=ask, daemon=True)
        thread.start()
        thread.join(timeout)
        return result[0] if result else None

    def forget(self):
        """Its machine is gone: what starts here next is a new node, at the same address."""
        self.kill()
        for path in self.data.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        self.joins, self.identity = True, None


class Cluster:
    """n nodes; in namespaces where the machine permits it. Room for `spares` that join later."""

    def __init__(self, gnomond, directory, count, options=(), namespaces=True, spares=3):
        self.gnomond, self.directory, self.options = pathlib.Path(gnomond).resolve(), pathlib.Path(directory), list(options)
        self.network, self.mounts, self.peer_proxy_seed = None, [], None
        self.session = None  # SQL that each client begins a connection with
        self.gnomonctl = next((path for path in (self.gnomond.parent.parent / "ops/gnomonctl", self.gnomond.with_name("gnomonctl"))
                               if os.access(path, os.X_OK)), None)
        help_text = subprocess.run([self.gnomond, "--help"], capture_output=True, text=True, check=True).stdout
        self.known_options = set(re.findall(r"--[a-z-]+", help_text))
        if count > 1 and "--join" not in self.known_options:
            raise Unsupported(f"{self.gnomond.name} has no option --join: it cannot be {count} nodes")
        self.no_network = None if namespaces else "switched off"
        self.no_network = self.no_network or netns.why_not()
        if self.no_network and count > 1:
            raise Unsupported(f"several nodes need network namespaces: {self.no_network}")
        self.spares = spares if count > 1 else 0
        if not self.no_network:
            self.network = netns.Network(range(1, count + self.spares + 1))
        self.nodes = [Node(self, number) for number in range(1, count + 1)]

    def membership_options(self, node):
        """What makes a process a member: the first node founds the cluster, the others ask any other to be let in."""
        if len(self.nodes) == 1:
            return []
        def address(number, port):
            return f"{self.network.address(number)}:{port}"
        options = ["--cluster-listen", address(node.number, PEER_PORT), "--cluster-insecure", "yes",
                   "--zone", f"zone-{node.number}"]
        if self.peer_proxy_seed is not None:
            options += ["--cluster-address", address(node.number, PEER_PROXY_PORT)]
        if node.joins:
            options += ["--join", ",".join(address(other.number, PEER_PORT) for other in self.nodes if other is not node)]
        return options

    def start(self):
        if self.network:
            self.network.create()
        for node in self.nodes:
            node.start()
        if len(self.nodes) > 1 and not self.wait_settled(START_TIMEOUT, quiet=1):
            raise RuntimeError(f"{len(self.nodes)} nodes did not become a cluster in {START_TIMEOUT} s")

    def add_spare(self):
        """One more node; it is not launched yet."""
        node = Node(self, len(self.nodes) + 1)
        node.environment = dict(self.nodes[0].environment)
        self.spares -= 1
        self.nodes = [*self.nodes, node]
        return node

    def changes(self):
        """{(group, node's identity, change)} of members, as the logs tell."""
        found = set()
        for node in self.nodes:
            text = node.log.read_text(encoding="utf-8", errors="replace") if node.log.exists() else ""
            found.update(re.findall(r"raft: membership change (?:request=\d+ )?group=(\d+) server=(\d+) change=(\w+)", text))
        return found

    def wait_settled(self, timeout, removed=(), quiet=3):
        """Until all are ready, nobody has changed members for `quiet` seconds, a majority of those who should vote about
        the catalog do, and the (group, identity) in `removed` are members no more. False: not in time."""
        deadline, seen, since = time.monotonic() + timeout, None, 0.0
        while time.monotonic() < deadline:
            changes = self.changes()
            if changes != seen or not all(node.is_ready() for node in self.nodes):
                seen, since = changes, time.monotonic()
            voters = len({identity for group, identity, change in changes if group == "1" and change == "promote"}) + 1
            if (time.monotonic() - since >= quiet and voters >= min(5, len(self.nodes) - 1 + len(self.nodes) % 2)
                    and all((str(group), str(identity), "remove") in changes for group, identity in removed)):
                return True
            time.sleep(0.2)
        return False

    def control(self, *arguments, timeout=30):
        """Runs gnomonctl beside a node that runs; (exit status, what it printed)."""
        node = next((node for node in self.nodes if node.running() and not node.paused), None)
        if not node:
            return 3, "no node runs"
        addresses = [f"{self.network.address(each.number)}:{PEER_PORT}" for each in (node, *self.nodes) if each.running()]
        try:
            done = subprocess.run(["nsenter", f"--net=/run/netns/{node.namespace}", str(self.gnomonctl), *map(str, arguments),
                                   "--address", ",".join(addresses), "--insecure", "--yes"], capture_output=True, text=True,
                                  timeout=timeout, check=False, stdin=subprocess.DEVNULL)
        except subprocess.TimeoutExpired:
            return 1, f"nothing in {timeout} s"
        return done.returncode, (done.stdout + done.stderr).strip()

    def leader(self):
        """The node that leads most groups; None if none says so."""
        led = [(node.metrics().get("gnomon_raft_leaders", 0), node) for node in self.nodes if node.running() and not node.paused]
        most = max(led, key=lambda pair: pair[0], default=(0, None))
        return most[1] if most[0] > 0 else None

    def meta_leader(self):
        """Who leads the group with the catalog and the clock, as the logs tell; None if none says so."""
        terms = {}
        for node in self.nodes:
            text = node.log.read_text(encoding="utf-8", errors="replace") if node.log.exists() else ""
            for term in re.findall(r"raft: leads group=1 term=(\d+)", text):
                terms[int(term)] = node
        return terms[max(terms)] if terms else None

    def launch_dead(self):
        """Starts what is not running, all at once: a node may need the others to get ready."""
        for node in self.nodes:
            node.resume()
            if not node.running():
                node.launch()

    def restart_dead(self, timeout=START_TIMEOUT):
        """Starts what is not running, and waits. StartError passes through."""
        self.launch_dead()
        for node in self.nodes:
            node.wait_ready(timeout)

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
            for proxy in filter(None, (node.proxy, node.peer_proxy)):
                proxy.stop()
            node.proxy = node.peer_proxy = None
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
