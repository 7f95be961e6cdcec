"""Faults. Each nemesis disrupts, and later heals; the schedule of both is drawn from the seed.

A nemesis says in check() what it needs, prepares the nodes before they start, and returns from disrupt() and heal() what
it did, in words, for the history. `Unsupported` means: not on this machine, or not with this gnomond.
"""

import errno
import glob
import os
import random
import re
import shutil

from harness import cluster as clusters
from harness import netns
from harness.netns import Unsupported


class Nemesis:
    gap, length = (1.0, 3.0), (1.0, 4.0)  # seconds between faults, and of one; both drawn

    def __init__(self, name, cluster, rng):
        self.name, self.cluster, self.rng = name, cluster, rng
        self.findings = []  # what was wrong whatever the histories say

    def check(self):
        """Raises Unsupported."""

    def prepare(self):
        """Before the nodes start."""

    def started(self):
        """After they did."""

    def disrupt(self):
        raise NotImplementedError

    def heal(self):
        return "nothing to heal"

    def finished(self):
        """After the load, when all is healed and every node runs."""

    def _some_nodes(self):
        """One, a minority, a majority or all of them."""
        nodes = self.cluster.nodes
        count = self.rng.choice(sorted({1, (len(nodes) - 1) // 2 or 1, len(nodes) // 2 + 1, len(nodes)}))
        return self.rng.sample(nodes, count)


def _names(nodes):
    return "node " + ", ".join(str(node.number) for node in nodes)


class Kill(Nemesis):
    length = (0.0, 1.5)

    def __init__(self, name, cluster, rng):
        super().__init__(name, cluster, rng)
        if len(cluster.nodes) > 1:
            self.gap = (2.0, 6.0)  # a new leader is there after two seconds; then something should be done before the next fault

    def disrupt(self):
        nodes = self._some_nodes()
        for node in nodes:
            node.kill()
        return f"SIGKILL to {_names(nodes)}"

    def heal(self):
        """A node of a cluster gets ready only with others, which another nemesis may hold back: nobody waits for it here."""
        if len(self.cluster.nodes) == 1:
            self.cluster.restart_dead()
        else:
            self.cluster.launch_dead()
        return "all started"


class KillLeader(Kill):
    """Who leads the catalog's group, with the clock in it, or most groups."""

    def check(self):
        if len(self.cluster.nodes) < 3:
            raise Unsupported("where one can take over there are three nodes or more")

    def disrupt(self):
        node = self.cluster.meta_leader() if self.rng.random() < 0.6 else self.cluster.leader()
        if not node:
            return "nobody says that it leads"
        node.kill()
        return f"SIGKILL to {_names([node])}"


class Stop(Kill):
    def disrupt(self):
        nodes, statuses = self._some_nodes(), []
        for node in nodes:
            statuses.append(node.stop())
            if statuses[-1] not in (0, None):
                self.findings.append(f"exit status {statuses[-1]} after SIGTERM")
        return f"SIGTERM to {_names(nodes)}, exit status {statuses}"


class Pause(Nemesis):
    length = (0.2, 7.0)

    def disrupt(self):
        nodes = self._some_nodes()
        for node in nodes:
            node.pause()
        return f"SIGSTOP to {_names(nodes)}"

    def heal(self):
        for node in self.cluster.nodes:
            node.resume()
        return "SIGCONT to all"


class Partition(Nemesis):
    length = (1.0, 8.0)

    def check(self):
        if len(self.cluster.nodes) < 3:
            raise Unsupported("a partition needs three nodes or more")
        if netns.why_no_filter():
            raise Unsupported(f"packets cannot be dropped here: {netns.why_no_filter()}")

    def disrupt(self):
        numbers = [node.number for node in self.cluster.nodes]
        self.rng.shuffle(numbers)
        blocked = getattr(self, "_" + self.name.partition("-")[2].replace("-", "_"))(numbers)
        self.cluster.network.partition(blocked)
        return f"deaf: {blocked}"

    def heal(self):
        self.cluster.network.partition({})
        return "all hear each other"

    @staticmethod
    def _split(left, right):
        return {**{node: list(right) for node in left}, **{node: list(left) for node in right}}

    def _one(self, numbers):
        return self._split(numbers[:1], numbers[1:])

    def _halves(self, numbers):
        return self._split(numbers[:len(numbers) // 2], numbers[len(numbers) // 2:])

    def _ring(self, numbers):
        """Each hears a majority, no two the same one; of three, the ends of a line do not hear each other."""
        count, reach = len(numbers), (len(numbers) // 2 + 1) // 2
        if count == 3:
            return self._split(numbers[:1], numbers[2:])
        return {node: [numbers[(i + j) % count] for j in range(reach + 1, count - reach)] for i, node in enumerate(numbers)}

    @staticmethod
    def _oneway(numbers):
        """Some are not heard by others whom they hear."""
        cut = len(numbers) // 2
        return {node: numbers[:cut] for node in numbers[cut:]}

    def _leader(self, numbers):
        leader = self.cluster.meta_leader() if self.rng.random() < 0.6 else self.cluster.leader()
        number = leader.number if leader else numbers[0]
        return self._split([number], [other for other in numbers if other != number])


class Loss(Nemesis):
    """Packets get lost on their way in; on one node those between clients and server."""
    length = (1.0, 5.0)

    def check(self):
        if not self.cluster.network:
            raise Unsupported(f"packet loss needs a network namespace: {self.cluster.no_network}")
        if netns.why_no_filter():
            raise Unsupported(f"packets cannot be dropped here: {netns.why_no_filter()}")

    def disrupt(self):
        nodes, percent = self._some_nodes(), self.rng.choice((5, 20, 50))
        for node in nodes:
            self.cluster.network.lose(node.number, percent)
        return f"{percent} % of the packets to {_names(nodes)} get lost"

    def heal(self):
        for node in self.cluster.nodes:
            self.cluster.network.lose(node.number, 0)
        return "no more loss"


class _Proxied(Nemesis):
    """Between the clients and each node stands a proxy."""

    def started(self):
        for node in self.cluster.nodes:
            if not node.proxy:
                node.add_proxy(self.rng.random())


class Delay(_Proxied):
    length = (1.0, 5.0)

    def disrupt(self):
        seconds = self.rng.choice((0.01, 0.05, 0.3))
        for node in self.cluster.nodes:
            node.proxy.set_delay(seconds, seconds)
        return f"bytes come {seconds} to {2 * seconds} s late"

    def heal(self):
        for node in self.cluster.nodes:
            node.proxy.set_delay(0.0, 0.0)
        return "no more delay"


class Reset(_Proxied):
    gap, length = (0.2, 1.5), (0.0, 0.1)

    def disrupt(self):
        for node in self.cluster.nodes:
            node.proxy.reset_all()
        return "RST on every connection"


class HalfOpen(_Proxied):
    length = (5.0, 7.0)  # clients wait for 5 s

    def disrupt(self):
        for node in self.cluster.nodes:
            node.proxy.half_open_all()
        return "each connection carries nothing more in one direction"


class _Peers(Nemesis):
    """Between the nodes stand proxies: each node tells the others the address of its own."""

    def check(self):
        if len(self.cluster.nodes) < 2:
            raise Unsupported(f"{self.name} needs several nodes")

    def prepare(self):
        if self.cluster.peer_proxy_seed is None:
            self.cluster.peer_proxy_seed = self.rng.random()

    def _proxies(self):
        return [node.peer_proxy for node in self.cluster.nodes if node.peer_proxy]


class PeerDelay(_Peers):
    length = (1.0, 5.0)

    def disrupt(self):
        seconds, some = self.rng.choice((0.01, 0.05, 0.3)), self._proxies()
        if self.rng.random() < 0.5:
            some = self.rng.sample(some, 1)
        for proxy in some:
            proxy.set_delay(seconds, seconds)
        return f"what {len(some)} nodes hear and answer comes {seconds} to {2 * seconds} s late"

    def heal(self):
        for proxy in self._proxies():
            proxy.set_delay(0.0, 0.0)
        return "no more delay between nodes"


class PeerFrames(_Peers):
    """Frames get lost, come twice, and overtake each other."""
    length = (2.0, 6.0)

    def disrupt(self):
        lost, doubled, late = self.rng.choice((0, 0.01, 0.1)), self.rng.choice((0, 0.1, 0.5)), self.rng.choice((0.005, 0.1))
        for proxy in self._proxies():
            proxy.set_frames(lost, doubled, True)
            proxy.set_delay(0.0, late)
        return f"of the frames {100 * lost:g} % get lost, {100 * doubled:g} % come twice, all up to {late} s late in any order"

    def heal(self):
        for proxy in self._proxies():
            proxy.set_frames(0.0, 0.0, False)
            proxy.set_delay(0.0, 0.0)
        return "frames come as they were sent"


class PeerReset(_Peers):
    gap, length = (0.2, 1.5), (0.0, 0.1)

    def disrupt(self):
        for proxy in self._proxies():
            proxy.reset_all()
        return "RST on every connection between nodes"


class PeerHalfOpen(_Peers):
    length = (5.0, 7.0)

    def disrupt(self):
        some = self.rng.sample(self._proxies(), self.rng.randint(1, len(self._proxies())))
        for proxy in some:
            proxy.half_open_all()
        return f"each connection made to {len(some)} nodes by others carries nothing more in one direction"


class Clock(Nemesis):
    """The wall clock that a node sees jumps, by libfaketime; the monotonic one goes on."""
    cache = {"FAKETIME_CACHE_DURATION": "1"}  # libfaketime looks at the file once a second
    length = (0.5, 4.0)

    def check(self):
        if not glob.glob(clusters.FAKETIME):
            raise Unsupported("libfaketime is missing (package libfaketime)")

    def prepare(self):
        for node in self.cluster.nodes:
            self._set(node, 0)
            node.environment |= {"LD_PRELOAD": glob.glob(clusters.FAKETIME)[0], **self.cache,
                                 "FAKETIME_TIMESTAMP_FILE": str(node.directory / "faketime"),
                                 "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1",
                                 "FAKETIME_FORCE_MONOTONIC_FIX": "0"}  # else waits on a condition come late

    @staticmethod
    def _set(node, seconds):
        text, path = f"{seconds:+.3f}\n", node.directory / "faketime"
        path.with_suffix(".new").write_text(text, encoding="ascii")
        path.with_suffix(".new").replace(path)

    def _jump(self):
        return self.rng.choice((-1, 1)) * self.rng.choice((0.1, 1, 10, 600, 86400, 1_000_000_000))

    def disrupt(self):
        nodes, jumps = self._some_nodes(), []
        for node in nodes:
            jumps.append(self._jump())
            self._set(node, jumps[-1])
        return f"the clock of {_names(nodes)} jumps by {jumps} s"

    def heal(self):
        for node in self.cluster.nodes:
            self._set(node, 0)
        return "clocks are right"


class Strobe(Clock):
    """The clock goes to and fro as often as the schedule permits."""
    cache = {"FAKETIME_NO_CACHE": "1"}
    gap, length = (0.05, 0.1), (0.05, 0.1)


class DiskFull(Nemesis):
    """The data lie on a small tmpfs that something else fills. A node may end itself then; it is started again, also while
    the disk is still full, and then it may refuse."""
    megabytes = 96
    length = (0.5, 3.0)

    def check(self):
        if os.geteuid() != 0:
            raise Unsupported("a small disk needs root, to mount a tmpfs")

    def prepare(self):
        for node in self.cluster.nodes:
            self.cluster.small_disk(node, self.megabytes)

    def disrupt(self):
        done = []
        for node in self._some_nodes():
            stat = os.statvfs(node.data)
            leave = self.rng.choice((0, 0, 4096, 65536, 1 << 20))
            size = max(0, stat.f_bavail * stat.f_frsize - leave)
            with open(node.data / "filler", "wb") as file:
                try:
                    os.posix_fallocate(file.fileno(), 0, max(1, size))
                except OSError as error:  # the node was faster; what is left now is what it left
                    if error.errno != errno.ENOSPC:
                        raise
            done.append(f"node {node.number} has {leave} bytes left")
            if self.rng.random() < 0.3:
                done.append(self._restart(node))
        return "; ".join(done)

    def _restart(self, node):
        node.kill()
        try:
            node.start()
        except clusters.StartError as error:
            if error.status is None or error.status < 0:
                self.findings.append(f"start on a full disk: {error}")
            return f"killed; its start was refused, exit status {error.status}"
        return "killed and started"

    def heal(self):
        for node in self.cluster.nodes:
            (node.data / "filler").unlink(missing_ok=True)
        Kill.heal(self)
        return "space again, all started"


class BitFlip(Nemesis):
    """A bit of a file rots while the node is down. The node must refuse to start, loudly, or answer as if nothing had
    happened. When it refuses, the directory as it was is put back. The kind of file is drawn first, then the file, then
    the bit; half of the flips go to the part that was written last."""
    gap, length = (0.3, 1.5), (0.5, 3.0)
    small = ("OPTIONS", "IDENTITY", "CURRENT")  # drawn more seldom

    def __init__(self, name, cluster, rng):
        super().__init__(name, cluster, rng)
        self.flipped, self.refusals, self.survivals = [], {}, {}

    @staticmethod
    def kind(path):
        """Files of one kind differ in digits only."""
        folder = re.sub(r"[0-9]+", "#", path.parent.name.split("-")[0])
        return folder + "/" + re.sub(r"[0-9]+", "#", path.name)

    def _choose(self, node):
        files = [path for path in sorted(node.data.rglob("*"))
                 if path.is_file() and path.stat().st_size and path.name not in ("LOG", "LOCK") and ".old." not in path.name]
        kinds = {}
        for path in files:
            kinds.setdefault(self.kind(path), []).append(path)
        weights = [1 if any(word in kind for word in self.small) else 4 for kind in sorted(kinds)]
        kind = self.rng.choices(sorted(kinds), weights)[0]
        return kind, self.rng.choice(kinds[kind])

    def _flip(self, path):
        data = path.read_bytes()
        used = len(data.rstrip(b"\0")) or len(data)
        least = max(0, used - 4096) if self.rng.random() < 0.5 else 0
        offset, bit = self.rng.randrange(least, used), self.rng.randrange(8)
        after = data[offset] ^ (1 << bit)
        self._write(path, offset, after)
        self.flipped.append((path, offset, data[offset], after))
        return f"bit {bit} of byte {offset} of {len(data)} (used {used})"

    def disrupt(self):
        node = self.rng.choice(self.cluster.nodes)
        if self.rng.random() < 0.5:
            node.stop()
        else:
            node.kill()
        kept = node.directory / "before-flip"
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(node.data, kept)
        kind, path = self._choose(node)
        where = self._flip(path)
        what = f"node {node.number}: {kind} ({path.relative_to(node.data)}), {where}"
        try:
            node.start()
            self.survivals[kind] = self.survivals.get(kind, 0) + 1
            return f"{what}: it starts"
        except clusters.StartError as error:
            self._refused(kind, what, error)
        self._mend(node, kept)
        self.flipped.clear()
        node.start()
        return f"{what}: refused, put back"

    def _mend(self, node, kept):
        """The bit alone where that can be: what a node of a cluster said before it gave up must not be forgotten."""
        path, offset, before, after = self.flipped[-1]
        if len(self.cluster.nodes) > 1 and self._still(path, offset, after):
            self._write(path, offset, before)
        else:
            self._put_back(node, kept)

    def _refused(self, kind, what, error):
        self.refusals[kind] = self.refusals.get(kind, 0) + 1
        if error.status is None or error.status < 0:
            self.findings.append(f"{what}: no refusal but a crash or a hang: {error}")
        elif not any(" error " in line or " fatal " in line or line.startswith("gnomond:") for line in error.log.splitlines()):
            self.findings.append(f"{what}: refused in silence: {error}")

    @staticmethod
    def _put_back(node, kept):
        for path in node.data.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        shutil.copytree(kept, node.data, dirs_exist_ok=True)

    def heal(self):
        """What still is as it was flipped is flipped back; a node that gave up because of it starts again."""
        healed = []
        for path, offset, before, after in self.flipped:
            node = next(node for node in self.cluster.nodes if node.data in path.parents)
            if self._still(path, offset, after):
                node.stop()
                if self._still(path, offset, after):
                    self._write(path, offset, before)
                    healed.append(path.name)
        self.flipped.clear()
        self.cluster.restart_dead()
        return f"flipped back: {healed}"

    @staticmethod
    def _write(path, offset, byte):
        with open(path, "r+b") as file:
            file.seek(offset)
            file.write(bytes([byte]))

    @staticmethod
    def _still(path, offset, after):
        try:
            with open(path, "rb") as file:
                file.seek(offset)
                return file.read(1) == bytes([after])
        except FileNotFoundError:
            return False


class Membership(Nemesis):
    """Nodes join under load; a node is lost for ever, and a new one comes up at its address. No second one is lost before
    the cluster has replaced the first: that would be more than is promised."""
    gap, length = (1.0, 3.0), (0.5, 4.0)
    patience = 90

    def __init__(self, name, cluster, rng):
        super().__init__(name, cluster, rng)
        self.lost, self.removed = None, []  # removed: (group, identity) that must be gone before the next is lost

    def check(self):
        if len(self.cluster.nodes) < 3:
            raise Unsupported("a node can only be lost for ever where there are three or more")

    def disrupt(self):
        if self.cluster.spares and self.rng.random() < 0.4:
            node = self.cluster.add_spare()
            node.launch()
            return f"node {node.number} joins"
        if self.lost or not self.cluster.wait_settled(3.5, self.removed):
            return "nothing: the last change is not over yet"
        node = self.rng.choice(self.cluster.nodes)
        rows = self.rng.choice([other for other in self.cluster.nodes if other is not node]).query(
            "SELECT id, members FROM gnomon_groups")
        if rows is None:
            return "nothing: nobody tells who has what"
        was = node.identity
        self.removed = [(1, was)] + [(group, was) for group, members in rows
                                     if group != 1 and str(was) in members.split(",")]
        self.lost = node
        node.forget()
        return f"node {node.number} (in the cluster {was}) is lost for ever, with replicas of {len(self.removed)} groups"

    def heal(self):
        self.cluster.launch_dead()
        lost, self.lost = self.lost, None
        return f"a new node starts as node {lost.number}" if lost else "nothing to heal"

    def finished(self):
        if not self.cluster.wait_settled(self.patience, self.removed):
            changes = self.cluster.changes()
            missing = [pair for pair in self.removed if (str(pair[0]), str(pair[1]), "remove") not in changes]
            self.findings.append(f"{self.patience} s after the end the members are not what they should be; (group, node) still "
                                 f"to be removed: {missing}; ready: {[node.is_ready() for node in self.cluster.nodes]}")


class _Controlled(Nemesis):
    """What an operator has gnomonctl do. That it is refused in the middle of other faults is no finding."""
    gap, length = (0.3, 2.0), (0.0, 0.5)

    def check(self):
        if len(self.cluster.nodes) < 3:
            raise Unsupported(f"{self.name} needs three nodes or more")
        if not self.cluster.gnomonctl:
            raise Unsupported("gnomonctl is not built")

    def _groups(self):
        """[(group, [identity])], and the identities of active nodes."""
        node = self.rng.choice(self.cluster.nodes)
        rows = node.query("SELECT id, members FROM gnomon_groups WHERE members <> '' ORDER BY id")  # others have ended
        nodes = node.query("SELECT id FROM gnomon_nodes WHERE state = 'active' ORDER BY id")
        if not rows or not nodes:
            return None, None
        return [(group, [int(member) for member in members.split(",")]) for group, members in rows], [row[0] for row in nodes]

    def _told(self, *command):
        status, text = self.cluster.control(*command, timeout=5)
        return f"gnomonctl {' '.join(map(str, command))}: {status} {' '.join(text.split())[:120]}"


class Transfer(_Controlled):
    """Leadership of the catalog's group and of others goes from node to node."""

    def disrupt(self):
        groups, nodes = self._groups()
        if groups is None:
            return "nothing: nobody tells who has what"
        group, members = self.rng.choice(groups + groups[:1])
        return self._told("transfer-leader", group, self.rng.choice(nodes if group == 1 else members))


class Move(_Controlled):
    """A fourth node is there from the beginning; replicas move to whoever has none."""

    def started(self):
        if len(self.cluster.nodes) == 3 and self.cluster.spares:
            self.cluster.add_spare().start()

    def disrupt(self):
        groups, nodes = self._groups()
        if groups is None:
            return "nothing: nobody tells who has what"
        group, members = self.rng.choice(groups[1:])
        others = [node for node in nodes if node not in members]
        if not others:
            return "nothing: every node has a replica"
        return self._told("move", group, self.rng.choice(members), self.rng.choice(others), "--no-wait")


class Drain(Move):
    """A node is emptied, and takes part again."""
    gap, length = (0.5, 2.0), (2.0, 6.0)

    def disrupt(self):
        self.drained = self.rng.choice(self.cluster.nodes).identity
        return self._told("drain", self.drained, "--no-wait")

    def heal(self):
        return self._told("undrain", self.drained) if getattr(self, "drained", None) else "nothing to heal"


class Split(_Controlled):
    """Groups are split, of which parts are split again; at a slot of any kind, for the most part in the middle."""
    gap, length = (0.5, 3.0), (0.5, 2.0)
    MOST_GROUPS = 16

    def disrupt(self):
        rows = self.rng.choice(self.cluster.nodes).query(
            "SELECT id, slot_lo, slot_hi FROM gnomon_groups WHERE distribution > 0 ORDER BY id")
        if not rows or len(rows) > self.MOST_GROUPS:
            return f"nothing: there are {len(rows)} groups" if rows else "nothing: nobody tells who has what"
        group, low, high = self.rng.choice(rows)
        at = [] if self.rng.random() < 0.7 or high - low < 2 else [self.rng.randrange(low + 1, high)]
        return self._told("split", group, *at, "--no-wait")


class Merge(Split):
    """Groups are split and merged again, with the neighbour below or above, now and then before they have settled."""

    def disrupt(self):
        if self.rng.random() < 0.4:
            return super().disrupt()
        rows = self.rng.choice(self.cluster.nodes).query(
            "SELECT id FROM gnomon_groups WHERE distribution > 0 ORDER BY distribution, slot_lo")
        if not rows:
            return "nothing: nobody tells who has what"
        at = self.rng.randrange(len(rows))
        into = [] if self.rng.random() < 0.5 or len(rows) < 2 else ["--into", rows[at - 1 if at else 1][0]]
        return self._told("merge", rows[at][0], *into)


NEMESES = {
    "none": None, "kill": Kill, "kill-leader": KillLeader, "stop": Stop, "pause": Pause,
    "partition-one": Partition, "partition-halves": Partition, "partition-ring": Partition, "partition-oneway": Partition,
    "partition-leader": Partition, "loss": Loss, "delay": Delay, "reset": Reset, "half-open": HalfOpen,
    "peer-delay": PeerDelay, "peer-frames": PeerFrames, "peer-reset": PeerReset, "peer-half-open": PeerHalfOpen,
    "clock": Clock, "strobe": Strobe, "disk-full": DiskFull, "bitflip": BitFlip,
    "membership": Membership, "transfer": Transfer, "move": Move, "drain": Drain, "split": Split,
    "merge": Merge,
}


def make(names, cluster, rng):
    """The nemeses of a comma-separated list; each with a stream of randomness of its own."""
    result = []
    for name in names.split(","):
        if name not in NEMESES:
            raise ValueError(f"no nemesis {name}; there are {', '.join(NEMESES)}")
        if NEMESES[name]:
            nemesis = NEMESES[name](name, cluster, random.Random(f"{rng.random()}/{name}"))
            nemesis.check()
            result.append(nemesis)
    return result


def schedule(nemeses, seconds):
    """[(second, nemesis, heal?)] in order; every disruption is followed by its healing."""
    plan = []
    for nemesis in nemeses:
        now = nemesis.rng.uniform(*nemesis.gap)
        while now < seconds:
            plan.append((now, nemesis, False))
            now += nemesis.rng.uniform(*nemesis.length)
            plan.append((min(now, seconds), nemesis, True))
            now += nemesis.rng.uniform(*nemesis.gap)
    return sorted(plan, key=lambda step: step[0])
