"""Network namespaces of a test: one for each node and one with the bridge that joins them.

A socket belongs for ever to the namespace of the thread that made it. So the harness need not be reachable by the nodes:
a client thread enters a node's namespace, connects to its loopback, and can leave again. All names begin with a prefix
that holds the harness's process id; removing the namespaces removes interfaces, addresses, routes and nftables with them.
"""

import ctypes
import os
import shutil
import subprocess

CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


class Unsupported(Exception):
    """This machine, or this gnomond, cannot run that test."""


def run(*command, text=None):
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def enter(namespace):
    """The calling thread's next sockets are made there. None: where the process began."""
    path = f"/run/netns/{namespace}" if namespace else f"/proc/{os.getpid()}/ns/net"
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _libc.setns(descriptor, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"setns {path}")
    finally:
        os.close(descriptor)


def why_not():
    """None if namespaces can be made here, else the reason."""
    if os.geteuid() != 0:
        return "not root"
    if not shutil.which("ip"):
        return "the program ip is missing (package iproute2)"
    name = f"gnj{os.getpid()}-try"
    try:
        run("ip", "netns", "add", name)
        try:
            run("ip", "-n", name, "link", "add", "bridge", "type", "bridge")
            run("ip", "-n", name, "link", "add", "try0", "type", "veth", "peer", "name", "try1")
            run("nsenter", f"--net=/run/netns/{name}", "true")
        finally:
            run("ip", "netns", "del", name)
    except (RuntimeError, OSError) as error:
        return str(error)
    return None


def why_no_filter():
    """None if packets can be dropped in a namespace of ours, else the reason."""
    if not shutil.which("nft"):
        return "the program nft is missing (package nftables)"
    name = f"gnj{os.getpid()}-try"
    try:
        run("ip", "netns", "add", name)
        try:
            run("nsenter", f"--net=/run/netns/{name}", "nft", "-f", "-",
                text="table inet t { chain in { type filter hook input priority 0; numgen random mod 100 < 1 drop\n}\n}\n")
        finally:
            run("ip", "netns", "del", name)
    except (RuntimeError, OSError) as error:
        return str(error)
    return None


class Network:
    """Node i has 10.77.0.i on eth0, all on one bridge."""

    def __init__(self, nodes):
        self.prefix, self.nodes = f"gnj{os.getpid()}", nodes
        self.deaf, self.loss = {}, {}

    def namespace(self, node):
        return f"{self.prefix}-n{node}"

    @property
    def switch(self):
        return f"{self.prefix}-sw"

    @staticmethod
    def address(node):
        return f"10.77.0.{node}"

    def create(self):
        run("ip", "netns", "add", self.switch)
        run("ip", "-n", self.switch, "link", "add", "bridge", "type", "bridge")
        run("ip", "-n", self.switch, "link", "set", "bridge", "up")
        for node in self.nodes:
            name = self.namespace(node)
            run("ip", "netns", "add", name)
            run("ip", "-n", name, "link", "set", "lo", "up")
            run("ip", "-n", self.switch, "link", "add", f"n{node}", "type", "veth", "peer", "name", "eth0", "netns", name)
            run("ip", "-n", self.switch, "link", "set", f"n{node}", "master", "bridge", "up")
            run("ip", "-n", name, "addr", "add", f"{self.address(node)}/24", "dev", "eth0")
            run("ip", "-n", name, "link", "set", "eth0", "up")

    def remove(self):
        for name in [self.switch, *map(self.namespace, self.nodes)]:
            if os.path.exists(f"/run/netns/{name}"):
                subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)

    def _filter(self, node):
        """Writes the node's rules for what comes in."""
        rules = [f"ip saddr {self.address(other)} drop" for other in sorted(self.deaf.get(node, ()))]
        if self.loss.get(node):
            rules.append(f"meta l4proto tcp numgen random mod 100 < {self.loss[node]} drop")
        text = "table inet jepsen\ndelete table inet jepsen\n"
        if rules:
            text += "table inet jepsen { chain in { type filter hook input priority 0; policy accept;\n"
            text += "\n".join(rules) + "\n}\n}\n"
        run("nsenter", f"--net=/run/netns/{self.namespace(node)}", "nft", "-f", "-", text=text)

    def partition(self, deaf):
        """deaf: {node: nodes from which it hears nothing}."""
        self.deaf = deaf
        for node in self.nodes:
            self._filter(node)

    def lose(self, node, percent):
        """So much of what comes to the node gets lost."""
        self.loss[node] = percent
        self._filter(node)
