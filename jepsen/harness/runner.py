"""One test: cluster, clients, nemesis, healing, final reads, verdict."""

import json
import os
import pathlib
import random
import signal
import threading
import time

from harness import cluster as clusters
from harness import history, nemesis
from harness.client import Client, NoConnection, Refused, Unknown, Watchdog
from harness.history import FAIL, INFO, INVOKE, NEMESIS, OK
from workloads import all_workloads

RECOVERY = 60  # seconds after the healing in which final reads must succeed
TORN_DISK = (nemesis.DiskFull, nemesis.BitFlip)  # under these a node may end itself, and may refuse to start


class Interrupted(Exception):
    pass


class Worker(threading.Thread):
    """A client. It takes a new process number after every operation of unknown outcome."""

    def __init__(self, test, number):
        super().__init__(name=f"client-{number}")
        self.test, self.number, self.process, self.failure = test, number, number, None
        self.rng = random.Random(f"{test.seed}/client/{number}")
        self.client = Client(test.cluster, number, test.watchdog)
        self.no_connection = 0

    def run(self):
        pause = self.test.concurrency / self.test.rate
        try:
            due = time.monotonic() + self.rng.random() * pause
            while not self.test.ended.wait(max(0.0, due - time.monotonic())):
                due = max(due + pause, time.monotonic() - 1.0)  # a short hold-up is made good, a long one is not
                if self._connected():
                    self.operation(*self.test.workload.next(self.rng, self.number))
        except Exception as error:  # pylint: disable=broad-except
            self.failure = error
            self.test.ended.set()

    def _connected(self):
        try:
            self.client.connect()
            return True
        except NoConnection:
            self.no_connection += 1
            self.test.ended.wait(0.05)
            return False

    def operation(self, f, argument):
        """True if it succeeded."""
        recorder, node = self.test.recorder, self.client.node.number
        recorder.add(INVOKE, f, argument, self.process, node=node)
        kind, value, text = OK, None, None
        try:
            with self.client.operation():
                value = self.test.workload.execute(self.client, f, argument)
        except Refused as error:
            kind, text = FAIL, str(error)
        except Unknown as error:
            kind, text = INFO, str(error)
        recorder.add(kind, f, value if kind == OK else argument, self.process, error=text, node=node)
        if kind == INFO:
            self.process += self.test.concurrency
        return kind == OK


class Test:
    """directory: where history, logs and data go."""

    def __init__(self, arguments, directory):
        self.arguments, self.directory, self.seed = arguments, pathlib.Path(directory), arguments.seed
        self.concurrency, self.recorder, self.watchdog = arguments.concurrency, history.Recorder(), Watchdog()
        rng = random.Random(f"{self.seed}/test")
        self.cluster = clusters.Cluster(arguments.gnomond, directory, arguments.nodes, arguments.option,
                                        not arguments.no_namespaces)
        self.cluster.session = arguments.session
        workload = all_workloads()[arguments.workload]
        self.parameters = workload.draw(rng)
        self.workload = workload(self.parameters)
        self.rate = arguments.rate or workload.rate
        self.nemeses = nemesis.make(arguments.nemesis, self.cluster, rng)
        self.ended, self.findings, self.workers, self.active = threading.Event(), [], [], set()
        self.duration, self.injected = 0.0, 0

    def run(self):
        """Returns the result as a map; whatever happens, nothing is left running."""
        try:
            self._start()
            self._load()
            self._finish()
        except clusters.StartError as error:
            self.findings.append(f"a node did not start: {error}")
        finally:
            self.ended.set()
            for worker in self.workers:
                if worker.is_alive():
                    worker.join()
                worker.client.close()
            self._deaths()
            self.cluster.close(self.arguments.keep)
            if self.watchdog.is_alive():
                self.watchdog.stop()
        return self._judge()

    def _start(self):
        for each in self.nemeses:
            each.prepare()
        self.cluster.start()
        self.watchdog.start()
        client = Client(self.cluster, 0, self.watchdog)
        thread = threading.Thread(target=self._set_up, args=(client,))  # it enters a namespace; this thread must not
        thread.start()
        thread.join()
        if self.findings:
            raise RuntimeError(f"the set-up failed: {self.findings[0]}")
        for each in self.nemeses:
            each.started()
        self.workers = [Worker(self, number) for number in range(self.concurrency)]

    def _set_up(self, client):
        try:
            client.connect()
            self.workload.setup(client, self._table_options())
        except (Refused, Unknown, NoConnection) as error:
            self.findings.append(str(error))
        finally:
            client.close()

    def _table_options(self):
        options = {"shards": self.arguments.shards}
        if len(self.cluster.nodes) > 1:
            options["replicas"] = min(3, len(self.cluster.nodes))
        used = [f"{name} = {value}" for name, value in options.items() if value > 1 or len(options) > 1]
        return f" WITH ({', '.join(used)})" if used else ""

    def _load(self):
        began = time.monotonic()
        plan = nemesis.schedule(self.nemeses, self.arguments.time)
        for worker in self.workers:
            worker.start()
        for second, each, heals in plan:
            if self.ended.wait(max(0.0, began + second - time.monotonic())):
                break
            self._act(each, heals)
        self.ended.wait(max(0.0, began + self.arguments.time - time.monotonic()))
        self.duration = time.monotonic() - began
        self.ended.set()
        for worker in self.workers:
            worker.join()
        for worker in self.workers:
            if worker.failure:
                raise worker.failure

    def _act(self, each, heals):
        if not heals:
            self.active.add(each)
            self.injected += 1
        word = f"{'heal' if heals else 'start'}-{each.name}"
        self.recorder.add(INFO, word, None, NEMESIS)
        try:
            done = each.heal() if heals else each.disrupt()
        except clusters.StartError as error:
            if error.status is None or error.status < 0 or not any(isinstance(a, TORN_DISK) for a in self.active - {each}):
                raise
            done = f"node refused to start while its disk is bad: exit status {error.status}"
        if heals:
            self.active.discard(each)
        self.recorder.add(INFO, word, done, NEMESIS)
        self._deaths()

    def _deaths(self):
        """A node that ended without being asked is a finding, unless its disk was made bad and it exited by itself."""
        for node in self.cluster.nodes:
            node.running()
            for status in node.deaths:
                bad_disk = any(isinstance(each, TORN_DISK) for each in self.nemeses)
                if not (bad_disk and isinstance(status, int) and status > 0):
                    self.findings.append(f"node {node.number} died by itself: {status}")
            node.deaths.clear()

    def _finish(self):
        """Heals everything, then asks for the final reads at every node."""
        for each in self.nemeses:
            self._act(each, True)
        self.cluster.restart_dead()
        self.recorder.add(INFO, "final", None, NEMESIS)
        for each in self.nemeses:
            each.finished()
        threads = [threading.Thread(target=self._final, args=(node,)) for node in self.cluster.nodes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self._compare_replicas()

    def _compare_replicas(self):
        if len(self.cluster.nodes) == 1 or not self.cluster.gnomonctl:
            return
        deadline = time.monotonic() + 3 * RECOVERY  # replicas that were on their way go on after the healing
        while True:
            status, text = self.cluster.control("check", timeout=RECOVERY)
            self.recorder.add(INFO, "check", f"{status} {text}"[-2000:], NEMESIS)
            settled = status in (0, 4) and "not compared" not in text  # a replica may be on its way
            if settled or time.monotonic() > deadline:
                break
            time.sleep(1)
        if status:
            self.findings.append(f"gnomonctl check: {status} {text[-1000:]}")

    def _final(self, node):
        process = max((worker.process for worker in self.workers), default=0) + self.concurrency
        worker = Worker(self, node.number - 1)
        worker.process = process + process % self.concurrency + node.number - 1
        worker.client.close()
        worker.client = Client(self.cluster, node.number - 1, self.watchdog)
        deadline = time.monotonic() + RECOVERY
        for f, argument in self.workload.final():
            while True:
                try:
                    worker.client.connect()
                    if worker.operation(f, argument):
                        break
                except NoConnection:
                    pass
                if time.monotonic() > deadline:
                    self.findings.append(f"{RECOVERY} s after the healing node {node.number} does not answer {f} {argument}")
                    worker.client.close()
                    return
                time.sleep(0.1)
        worker.client.close()

    def _judge(self):
        events = self.recorder.events()
        path = self.directory / "history.edn"
        arguments = self.arguments
        header = {"workload": arguments.workload, "nemesis": arguments.nemesis, "nodes": arguments.nodes, "shards": arguments.shards,
                  "seed": self.seed, "time": arguments.time, "concurrency": self.concurrency, "parameters": self.parameters}
        history.write(events, path, header)
        for each in self.nemeses:
            self.findings.extend(each.findings)
        result = judge(header, events)
        result["findings"] = self.findings
        if self.findings:
            result["verdict"] = "invalid"
        result.update(faults=self.injected, duration=round(self.duration, 1), longest_gap=longest_gap(events),
                      connects_refused=sum(worker.no_connection for worker in self.workers), history=str(path),
                      logs=[str(node.log) for node in self.cluster.nodes])
        for each in self.nemeses:
            if isinstance(each, nemesis.BitFlip):
                result["bitflip"] = {"refused": each.refusals, "started": each.survivals}
        (self.directory / "result.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        return result


def judge(header, events):
    """Runs the workload's checker; {verdict, counts, anomalies, notes, ...}."""
    workload = all_workloads()[header["workload"]](header.get("parameters") or {})
    operations = history.operations(events)
    counts = {kind: sum(op.type == kind for op in operations) for kind in ("ok", "fail", "info")}
    began = time.monotonic()
    outcome = workload.check(operations)
    return {**{key: header.get(key) for key in ("workload", "nemesis", "nodes", "shards", "seed", "time", "concurrency")},
            "verdict": outcome.verdict, "unknown": outcome.unknown, "operations": len(operations), **counts,
            "anomalies": outcome.counts, "examples": outcome.examples, "notes": outcome.notes,
            "check_seconds": round(time.monotonic() - began, 2)}


def longest_gap(events):
    """The longest time, in seconds, in which no client's operation succeeded, up to the final reads."""
    last, longest = events[0].time if events else 0, 0
    for event in events:
        if event.process == NEMESIS and event.f == "final":
            longest = max(longest, event.time - last)
            break
        if event.type == OK:
            longest, last = max(longest, event.time - last), event.time
    return round(longest / 1e9, 2)


def raise_on_signals():
    """Ctrl-C and SIGTERM unwind, so that namespaces and mounts are removed."""
    def handler(number, _):
        signal.signal(number, signal.SIG_IGN)
        raise Interrupted(signal.Signals(number).name)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, handler)


def find_gnomond(root):
    """The program of the build that was made last."""
    found = [path for path in (root / "build/release/node/gnomond", root / "build/node/gnomond") if os.access(path, os.X_OK)]
    return max(found, key=lambda path: path.stat().st_mtime, default=None)
